//! [`clean_up`]: aborts an upload, and makes sure that it stays aborted.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::storage::MultipartUpload;

use super::uploader::guarded;

/// How often an upload is aborted whose parts keep landing.
///
/// Parts that were on the wire when they were cancelled land within a moment or never. With the pauses in
/// between, three rounds cover some three seconds.
const ROUNDS_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Aborts `upload`. Where a part may have landed after the abort (`unsettled`), looks, and aborts again.
///
/// # Errors
///
/// The upload, or parts of it, may still be there.
pub(super) async fn clean_up(upload: &dyn MultipartUpload, unsettled: bool) -> Result<()> {
    let mut round = 1;
    loop {
        let aborted = guarded(Operation::AbortMultipartUpload, upload.key(), async { upload.abort().await });
        let left = match aborted.await {
            Ok(()) if unsettled => what_is_left(upload).await?,
            Ok(()) => None,
            // The store has tried again where that helps; only this it leaves to us.
            Err(error) if error.is_indeterminate() => Some(error),
            Err(error) => return Err(error),
        };
        match left {
            None => return Ok(()),
            Some(left) if round == ROUNDS_MAX => return Err(left),
            Some(_) => compio::time::sleep(PAUSE).await,
        }
        round += 1;
    }
}

/// An error that says so if the upload still has parts.
async fn what_is_left(upload: &dyn MultipartUpload) -> Result<Option<Error>> {
    let listed = guarded(Operation::ListParts, upload.key(), async { upload.list_parts_page(None).await });
    match listed.await {
        Ok(page) if page.parts.is_empty() && page.next.is_none() => Ok(None),
        Ok(_) => Ok(Some(
            Error::new(
                ErrorKind::Indeterminate,
                Operation::AbortMultipartUpload,
                "parts landed after the abort",
            )
            .with_key(upload.key()),
        )),
        Err(error) if error.is_not_found() => Ok(None),
        // Allowed to abort and not to list, or a store that cannot list: the abort itself went well.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
