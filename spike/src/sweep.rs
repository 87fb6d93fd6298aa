//! `spike sweep`: aborts the uploads that killed writers left behind, or says which they are.

use std::time::Duration;

use object_storage::{
    Error, ErrorKind, ListUploadsOptions, ObjectStorage, ObjectStorageExt, Operation, PageToken,
};

use crate::complain;
use crate::exit::Exit;
use crate::report::Table;
use crate::run::Store;

/// What is to be swept.
pub(crate) struct Sweep {
    pub(crate) store: Store,
    pub(crate) older_than: Duration,
    /// Whether they are only named.
    pub(crate) dry_run: bool,
}

pub(crate) async fn sweep(task: &Sweep, table: &Table) -> Exit {
    let swept = async {
        let store = s3_backend::factory(&task.store.config)?.open().await?;
        if task.dry_run { look(&*store, task, table).await } else { abort(&*store, task, table).await }
    };
    swept.await.unwrap_or_else(|error: Error| complain(&error))
}

async fn abort(store: &dyn ObjectStorage, task: &Sweep, table: &Table) -> Result<Exit, Error> {
    let report = store.sweep_uploads("", task.older_than).await?;
    for failure in &report.failures {
        let upload = &failure.upload;
        table.line(&format!("FAILED {:?} {}: {}", upload.key.as_str(), upload.upload_id, failure.error));
    }
    let failed = report.failures.len() + report.failures_unlisted;
    table.line(&format!(
        "uploads: {} found, {} aborted, {} not old enough, {failed} failed",
        report.found, report.aborted, report.young
    ));
    if let Some(error) = &report.cut_short {
        table.line(&format!("FAILED: the listing ended early: {error}"));
    }
    Ok(if report.is_clean() { Exit::Passed } else { Exit::Failed })
}

async fn look(store: &dyn ObjectStorage, task: &Sweep, table: &Table) -> Result<Exit, Error> {
    let (mut found, mut old) = (0, 0);
    let mut token: Option<PageToken> = None;
    loop {
        let page = store.list_multipart_uploads_page(&ListUploadsOptions::default(), token.as_ref()).await?;
        found += page.uploads.len();
        for upload in page.older_than(task.older_than) {
            old += 1;
            table.line(&format!("{:?} {}", upload.key.as_str(), upload.upload_id));
        }
        match page.next {
            None => break,
            next if next == token => {
                let message = "the store names the page it was asked for as the next one";
                return Err(Error::new(ErrorKind::Protocol, Operation::ListMultipartUploads, message));
            }
            next => token = next,
        }
    }
    table.line(&format!("uploads: {found} found, {old} would be aborted, {} not old enough", found - old));
    Ok(Exit::Passed)
}
