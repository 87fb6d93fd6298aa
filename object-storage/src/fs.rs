//! [`CompioFsStorage`]: objects as files of a local directory, durable, and safe between processes.

mod blocking;
mod directory;
mod failure;
mod footer;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod list;
mod lock;
mod multipart;
mod names;
mod operations;
mod options;
mod publish;
mod read;
mod ring;
mod start;
mod temp;
mod tree;
mod write;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::capabilities::Capabilities;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::Key;
use crate::limits::{DELETE_KEYS_MAX, PUT_BYTES_MAX};
use crate::object::{GetOutcome, HeadOutcome, PutOutcome};
use crate::operation_id::OperationId;
use crate::options::{
    CopyOptions, DeleteOptions, GetOptions, HeadOptions, ListOptions, ListUploadsOptions, MultipartOptions,
    PutOptions,
};
use crate::payload::Payload;
use crate::storage::{
    ListPage, MultipartUpload, ObjectStorage, PageToken, Resolution, ShutdownReport, UploadId, UploadsPage,
};

use self::blocking::Gate;
use self::failure::Task;
use self::multipart::FsUpload;
use self::names::Location;
use self::operations::{Operations, UnderWay};
pub use self::options::{Durability, FsOptions};
use self::publish::refuse_verbatim;
use self::tree::{Tree, is_random_name};
use self::write::{new_footer, write_file};

/// Objects as files of a local directory.
///
/// **Durable.** With [`Durability::Full`], the default, a write is acknowledged when file and directories are
/// synced. A crash at any moment leaves every acknowledged object whole, and of any other either the version
/// before, the new one, or nothing. A reader can see a version for the moment between its publication and the
/// last sync, in which a power failure still takes it back; its writer has not been told yet.
///
/// **Several processes** may use the directory at once, on one machine: conditions hold between all of them.
/// They all see a write as soon as it is acknowledged.
///
/// **Names.** Keys that only [`Key::verbatim`] admits are refused with `InvalidInput`. No key leads out of the
/// directory, and symbolic links in it are errors, never followed. Files have the mode 0600 and directories
/// 0700. The directory belongs to the store: a copy of the whole is a good backup, but files and directories
/// in it must not be removed or moved by others while a store is open. Directories that became empty stay.
///
/// **Dropped futures.** A write that is dropped before its last step leaves nothing; the last step (make
/// durable, publish, sync; for `complete` and `copy` everything) runs in a thread that cannot be stopped, so the
/// write may still happen shortly after the drop. An upload whose creation was dropped is removed again by that thread,
/// or by [`shutdown`](ObjectStorage::shutdown); so is one that is [tied](MultipartUpload::abort_on_drop) to a dropped
/// handle. A temporary file that a killed process leaves is swept when a
/// store is opened an hour later.
///
/// **Memory and copies.** Large payloads are handed to the kernel as they are; payloads up to 1 MiB too, from a
/// thread of the blocking pool. Bodies are read in chunks of 256 KiB as they are pulled; objects up to 64 KiB are
/// read at once. `complete` and `copy` copy inside the kernel, and need space for a second copy meanwhile.
///
/// Needs a compio runtime, Linux, and a local file system with hard links that tells upper from lower case.
///
/// ```
/// use object_storage::{CompioFsStorage, FsOptions, Key, ObjectStorageExt};
///
/// # compio::runtime::Runtime::new()?.block_on(async {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let store = CompioFsStorage::open(directory.join("store"), FsOptions::default()).await?;
/// let key = Key::parse("logs/1")?;
/// let put = store.put_if_absent(&key, "first").await?;
/// store.put_if_match(&key, "second", &put.etag).await?;
/// assert_eq!(store.get_bytes(&key).await?, "second");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CompioFsStorage {
    tree: Arc<Tree>,
    gate: Gate,
    operations: Operations,
}

impl CompioFsStorage {
    /// Opens a directory as a store. Makes it, with those above it, when it is missing, tries out whether its
    /// file system can hold the promises of a store, and sweeps away what killed processes left behind.
    ///
    /// Symbolic links in `root` itself are followed, once, now. Dropping the future leaves at most an empty
    /// directory.
    ///
    /// # Errors
    ///
    /// - `Config`: `root` is not a directory, or is on a file system that cannot be used; the message says why.
    /// - `PermissionDenied`, `NoSpace`, `Io`: what the kernel said about the directory.
    pub async fn open(root: impl AsRef<Path>, options: FsOptions) -> Result<CompioFsStorage> {
        let gate = Gate::new(options.blocking_max);
        let root = root.as_ref().to_owned();
        let tree = gate.run(move || start::start(&root, options)).await?;
        Ok(CompioFsStorage { tree, gate, operations: Operations::default() })
    }

    /// Runs one closure of an operation in the blocking pool. The operation is under way until the closure has ended.
    async fn run<T: Send + 'static>(
        &self,
        under_way: UnderWay,
        closure: impl FnOnce(&Arc<Tree>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let tree = self.tree.clone();
        let closure = move || {
            let _under_way = under_way;
            closure(&tree)
        };
        self.gate.run(closure).await
    }

    /// Waits for operations, and aborts the uploads that are tied to handles.
    async fn drain(&self) {
        loop {
            self.operations.ended().await;
            let tied = self.operations.tied();
            if tied.is_empty() {
                return;
            }
            for (id, key) in tied {
                let upload = FsUpload::new(self.clone(), key, id);
                if upload.abort().await.is_err() {
                    compio::time::sleep(ABORT_AGAIN_AFTER).await;
                }
            }
        }
    }
}

/// The pause after an upload could not be removed: a disk that refuses will refuse for a while.
const ABORT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The longest time that a shutdown waits: a year, which is a number that clocks can add.
const SHUTDOWN_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The same error, naming the write whose outcome it leaves open.
fn named(error: Error, id: OperationId) -> Error {
    if error.is_indeterminate() { error.with_operation_id(id) } else { error }
}

impl ObjectStorage for CompioFsStorage {
    fn put<'a>(
        &'a self,
        key: &'a Key,
        payload: Payload,
        options: PutOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move {
            let task = Task::on(Operation::PutObject, key);
            refuse_verbatim(&task, key)?;
            if payload.len() > PUT_BYTES_MAX {
                return Err(
                    task.error(ErrorKind::InvalidInput, "a put has at most 5 GiB: use a multipart upload")
                );
            }
            let under_way = self.operations.begin(&task)?;
            let (tree, publish_task, key) = (self.tree.clone(), task.clone(), key.clone());
            let (mode, before) = (options.mode, options.operation_id);
            let id = before.unwrap_or_else(OperationId::random);
            let publish = move |temp, etag| {
                let _under_way = under_way;
                let published = publish::publish(&tree, &publish_task, &key, &mode, temp, etag);
                published.or_else(|refused| {
                    let done = publish::driven_before(&tree, &publish_task, &key, before, refused)?;
                    Ok((done, None))
                })
            };
            let put =
                write_file(&self.tree, &self.gate, &task, payload, options.attributes, Some(id), publish)
                    .await;
            put.map_err(|error| named(error, id))
        })
    }

    fn get<'a>(&'a self, key: &'a Key, options: GetOptions) -> LocalBoxFuture<'a, Result<GetOutcome>> {
        Box::pin(async move {
            let task = Task::on(Operation::GetObject, key);
            refuse_verbatim(&task, key)?;
            // An empty range is a mistake of the caller, whatever is stored.
            options
                .range
                .as_ref()
                .map_or(Ok(()), |range| range.check())
                .map_err(|e| read::range_error(&task, e))?;
            let key = key.clone();
            let under_way = self.operations.begin(&task)?;
            let got = self.run(under_way, move |tree| read::get(tree, &key, &options));
            got.await?.into_outcome(task)
        })
    }

    fn head<'a>(&'a self, key: &'a Key, options: HeadOptions) -> LocalBoxFuture<'a, Result<HeadOutcome>> {
        Box::pin(async move {
            let task = Task::on(Operation::HeadObject, key);
            refuse_verbatim(&task, key)?;
            let key = key.clone();
            self.run(self.operations.begin(&task)?, move |tree| read::head(tree, &key, &options)).await
        })
    }

    fn list_page<'a>(
        &'a self,
        options: &'a ListOptions,
        page: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<ListPage>> {
        Box::pin(async move {
            let (options, page) = (options.clone(), page.cloned());
            let under_way = self.operations.begin(&Task::new(Operation::ListObjects))?;
            self.run(under_way, move |tree| list::list_page(tree, &options, page.as_ref())).await
        })
    }

    fn delete<'a>(&'a self, key: &'a Key, options: DeleteOptions) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let task = Task::on(Operation::DeleteObject, key);
            refuse_verbatim(&task, key)?;
            let key = key.clone();
            let deleted = move |tree: &Arc<Tree>| publish::delete(tree, &key, options.if_match.as_ref());
            self.run(self.operations.begin(&task)?, deleted).await
        })
    }

    fn delete_many<'a>(&'a self, keys: &'a [Key]) -> LocalBoxFuture<'a, Result<Vec<Result<()>>>> {
        Box::pin(async move {
            let mut results = Vec::with_capacity(keys.len());
            let under_way = self.operations.begin(&Task::new(Operation::DeleteObjects))?;
            // In batches, so that one call does not keep a thread for minutes.
            for batch in keys.chunks(DELETE_KEYS_MAX) {
                let keys = batch.to_vec();
                let deleted = move |tree: &Arc<Tree>| Ok(publish::delete_many(tree, &keys));
                results.extend(self.run(under_way.clone(), deleted).await?);
            }
            Ok(results)
        })
    }

    fn copy<'a>(
        &'a self,
        from: &'a Key,
        to: &'a Key,
        options: CopyOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move {
            let (from_task, to_task) =
                (Task::on(Operation::CopyObject, from), Task::on(Operation::CopyObject, to));
            refuse_verbatim(&from_task, from)?;
            refuse_verbatim(&to_task, to)?;
            let (from, to) = (from.clone(), to.clone());
            let under_way = self.operations.begin(&to_task)?;
            let copied = move |tree: &Arc<Tree>| copy(tree, (&from_task, &from), (&to_task, &to), &options);
            self.run(under_way, copied).await
        })
    }

    fn create_multipart_upload<'a>(
        &'a self,
        key: &'a Key,
        options: MultipartOptions,
    ) -> LocalBoxFuture<'a, Result<Rc<dyn MultipartUpload>>> {
        Box::pin(async move {
            let task = Task::on(Operation::CreateMultipartUpload, key);
            refuse_verbatim(&task, key)?;
            let owned = key.clone();
            let operation_id = options.operation_id.unwrap_or_else(OperationId::random);
            let unseen = multipart::Unseen::new(&self.operations);
            let awaited = unseen.clone();
            let under_way = self.operations.begin(&task)?;
            let created = move |tree: &Arc<Tree>| {
                let id = multipart::create(tree, &owned, options.attributes, operation_id)?;
                Ok(unseen.upload(tree, owned, id))
            };
            let created = self.run(under_way, created).await;
            let id = created.map_err(|error| named(error, operation_id))?.seen();
            drop(awaited);
            let upload: Rc<dyn MultipartUpload> = Rc::new(FsUpload::new(self.clone(), key.clone(), id));
            Ok(upload)
        })
    }

    fn resume_multipart_upload(&self, key: &Key, upload_id: &UploadId) -> Result<Rc<dyn MultipartUpload>> {
        let task = Task::on(Operation::ListParts, key);
        refuse_verbatim(&task, key)?;
        if !is_random_name(upload_id.as_str()) {
            return Err(
                task.error(ErrorKind::InvalidInput, "an upload id is 32 lower-case hexadecimal digits")
            );
        }
        Ok(Rc::new(FsUpload::new(self.clone(), key.clone(), upload_id.clone())))
    }

    fn list_multipart_uploads_page<'a>(
        &'a self,
        options: &'a ListUploadsOptions,
        page: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<UploadsPage>> {
        Box::pin(async move {
            let (options, page) = (options.clone(), page.cloned());
            let listed = move |tree: &Arc<Tree>| multipart::list_uploads(tree, &options, page.as_ref());
            let under_way = self.operations.begin(&Task::new(Operation::ListMultipartUploads))?;
            self.run(under_way, listed).await
        })
    }

    fn resolve<'a>(&'a self, key: &'a Key, id: OperationId) -> LocalBoxFuture<'a, Result<Resolution>> {
        Box::pin(async move {
            let task = Task::on(Operation::HeadObject, key);
            refuse_verbatim(&task, key)?;
            let key = key.clone();
            self.run(self.operations.begin(&task)?, move |tree| publish::resolve(tree, &key, id)).await
        })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL_CONDITIONS
    }

    fn shutdown(&self, deadline: Duration) -> LocalBoxFuture<'_, ShutdownReport> {
        Box::pin(async move {
            let _shutting_down = self.operations.begin_shutdown();
            // What has not ended by then is in the report.
            let _ = compio::time::timeout(deadline.min(SHUTDOWN_MAX), self.drain()).await;
            self.operations.report()
        })
    }
}

/// Copies an object, under the condition on the source and that on the destination.
fn copy(
    tree: &Arc<Tree>,
    from: (&Task, &Key),
    to: (&Task, &Key),
    options: &CopyOptions,
) -> Result<PutOutcome> {
    let source = read::open_object(tree, from.0, &Location::of(from.1).path())?;
    let (footer, data_bytes) = source.footer(from.0)?;
    if options.source_if_match.as_ref().is_some_and(|wanted| *wanted != footer.etag) {
        let message = format!("the source has the tag {}", footer.etag);
        return Err(from.0.error(ErrorKind::PreconditionFailed, message));
    }
    if data_bytes > PUT_BYTES_MAX {
        return Err(from.0.error(ErrorKind::InvalidInput, "a copy has at most 5 GiB"));
    }
    // As on S3, where the id is metadata: whoever keeps the source's keeps its id too.
    let (attributes, operation_id) = match &options.attributes {
        Some(attributes) => (attributes, Some(OperationId::random())),
        None => (&footer.attributes, footer.operation_id),
    };
    publish::store(tree, to.0, to.1, &options.mode, |temp| {
        multipart::copy_data(&source.file, data_bytes, &temp.file)?;
        Ok((data_bytes, new_footer(temp, attributes.clone(), operation_id)))
    })
}
