//! [`sweep`]: finds uploads that nobody will complete any more, and aborts them.

use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt};

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::options::ListUploadsOptions;
use crate::storage::{MultipartUpload, ObjectStorage, PageToken, UploadInfo, UploadsPage};

/// What [`sweep_uploads`](crate::ObjectStorageExt::sweep_uploads) found and did. Every upload found was aborted, was
/// too young, or is among the failures.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SweepReport {
    /// Uploads seen under the prefix.
    pub found: usize,
    /// Uploads that were aborted, each known to be gone.
    pub aborted: usize,
    /// Uploads left alone because they are not old enough, or bear no time.
    pub young: usize,
    /// Uploads that may still be there, the first thousand of them.
    pub failures: Vec<SweepFailure>,
    /// Failures that are not listed, beyond the first thousand.
    pub failures_unlisted: usize,
    /// Why the listing could not be read to its end. What came before was swept; call it again for the rest.
    pub cut_short: Option<Error>,
}

impl SweepReport {
    /// Whether the whole listing was seen, and nothing old is left of it.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty() && self.cut_short.is_none()
    }
}

/// An upload that could not be aborted.
#[derive(Debug)]
#[non_exhaustive]
pub struct SweepFailure {
    /// Which.
    pub upload: UploadInfo,
    /// Why; of `Indeterminate`: parts kept landing, or the abort was not answered.
    pub error: Error,
}

/// At 1 KiB for key, id and error this is a MiB.
const FAILURES_LISTED_MAX: usize = 1000;

/// How many uploads are aborted at once. At 20 ms a request a page of a thousand then takes five seconds.
const CONCURRENCY: usize = 8;

/// How often an upload is aborted whose parts keep landing.
const ROUNDS_MAX: u32 = 3;

pub(crate) async fn sweep<S: ObjectStorage + ?Sized>(
    storage: &S,
    prefix: &str,
    older_than: Duration,
) -> Result<SweepReport> {
    let options = ListUploadsOptions::prefix(prefix);
    let mut report = SweepReport::default();
    let mut token: Option<PageToken> = None;
    loop {
        let page = match storage.list_multipart_uploads_page(&options, token.as_ref()).await {
            Ok(page) => page,
            Err(error) if token.is_none() => return Err(error),
            Err(error) => {
                report.cut_short = Some(error);
                return Ok(report);
            }
        };
        let next = page.next.clone();
        report.found += page.uploads.len();
        let old: Vec<UploadInfo> = page.older_than(older_than).cloned().collect();
        report.young += page.uploads.len() - old.len();
        let mut ended = stream::iter(old)
            .map(|upload| async move { (abort(storage, &upload).await, upload) })
            .buffer_unordered(CONCURRENCY);
        while let Some((result, upload)) = ended.next().await {
            match result {
                Ok(()) => report.aborted += 1,
                Err(error) if report.failures.len() < FAILURES_LISTED_MAX => {
                    report.failures.push(SweepFailure { upload, error });
                }
                Err(_) => report.failures_unlisted += 1,
            }
        }
        match next {
            None => return Ok(report),
            next if next == token => {
                let message = "the store names the page it was asked for as the next one";
                let error = Error::new(ErrorKind::Protocol, Operation::ListMultipartUploads, message);
                report.cut_short = Some(error);
                return Ok(report);
            }
            next => token = next,
        }
    }
}

async fn abort<S: ObjectStorage + ?Sized>(storage: &S, upload: &UploadInfo) -> Result<()> {
    let handle = storage.resume_multipart_upload(&upload.key, &upload.upload_id)?;
    for _ in 0..ROUNDS_MAX {
        handle.abort().await?;
        if is_gone(&*handle).await? {
            return Ok(());
        }
    }
    let message = "parts kept landing after the abort: somebody is still sending them";
    Err(Error::new(ErrorKind::Indeterminate, Operation::AbortMultipartUpload, message).with_key(&upload.key))
}

/// Whether an upload that was aborted is gone.
///
/// # Errors
///
/// It could not be found out.
pub(crate) async fn is_gone(upload: &dyn MultipartUpload) -> Result<bool> {
    match upload.list_parts_page(None).await {
        // Some stores list no parts of an upload that is gone, instead of saying so.
        Ok(page) => Ok(page.parts.is_empty() && page.next.is_none()),
        Err(error) if error.is_not_found() => Ok(true),
        // Allowed to abort and not to list, or a store that cannot list: the abort itself went well.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

impl UploadsPage {
    /// The uploads of this page that were begun so long before it was made, or longer. Times are the store's own, to a
    /// second or so. Zero gives all; else an upload without a time is none of them.
    ///
    /// A store that does not say when it made the page is taken to go by this machine's clock.
    pub fn older_than(&self, age: Duration) -> impl Iterator<Item = &UploadInfo> {
        let as_of = self.as_of.unwrap_or_else(now);
        self.uploads.iter().filter(move |upload| {
            let began = upload.initiated.and_then(|initiated| as_of.duration_since(initiated).ok());
            age.is_zero() || began.is_some_and(|passed| passed >= age)
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the age of what a store dates without saying its own time")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;
    use crate::storage::UploadId;

    fn second(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn age_goes_by_the_clock_of_the_store_and_what_has_none_is_young() {
        let key = Key::parse("k").expect("a key");
        let upload =
            |id: &str, at: Option<u64>| UploadInfo::new(key.clone(), UploadId::new(id), at.map(second));
        let uploads = vec![
            upload("old", Some(100)),
            upload("just", Some(140)),
            upload("young", Some(141)),
            upload("of tomorrow", Some(900)),
            upload("timeless", None),
        ];
        let page = UploadsPage::new(uploads, None).with_as_of(Some(second(200)));
        let older = |age| -> Vec<&str> {
            page.older_than(Duration::from_secs(age)).map(|upload| upload.upload_id.as_str()).collect()
        };
        assert_eq!(older(60), ["old", "just"]);
        assert_eq!(older(1), ["old", "just", "young"]);
        assert_eq!(older(0).len(), 5);
    }
}
