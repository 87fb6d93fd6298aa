//! [`clean_up`]: aborts an upload, and makes sure that it stays aborted.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::storage::MultipartUpload;
use crate::sweep::is_gone;

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
    let gone = guarded(Operation::ListParts, upload.key(), async { is_gone(upload).await });
    if gone.await? {
        return Ok(None);
    }
    let message = "parts landed after the abort";
    let error = Error::new(ErrorKind::Indeterminate, Operation::AbortMultipartUpload, message);
    Ok(Some(error.with_key(upload.key())))
}
