//! [`InMemoryStorage`]: the contract in its plainest form, for the tests of this crate and of its dependents.

mod state;
mod upload;

use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::LocalBoxFuture;

use crate::capabilities::Capabilities;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::Key;
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

use self::state::State;
use self::upload::InMemoryUpload;

/// A store that keeps its objects in memory: the reference of what [`ObjectStorage`] promises, to the letter.
///
/// Made for tests. Every condition is honoured, every limit of S3 is checked, any [`Key`] is kept as it is
/// (also with `.` and `..` segments), and tags never repeat. Nothing survives the process.
///
/// Clones share their objects, and a clone may travel to another thread: give every shard one, and all see
/// the same store, as they would see one bucket. Each is shut down by itself.
///
/// Payloads are kept as they are and bodies hand out slices of them, without copying. Every operation happens
/// at the first poll of its future and never waits, so a dropped future was either never polled, and did
/// nothing, or has done all.
///
/// ```
/// use object_storage::{InMemoryStorage, Key, ObjectStorageExt};
///
/// # compio::runtime::Runtime::new()?.block_on(async {
/// let store = InMemoryStorage::new();
/// let key = Key::parse("greeting")?;
/// store.put_bytes(&key, "hello").await?;
/// assert_eq!(store.clone().get_bytes(&key).await?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct InMemoryStorage {
    // The house rule is Cells, one owner per core. This lock stands in for a store outside of the process,
    // which all shards share; it is held for the length of one map operation and never across an await.
    state: Arc<Mutex<State>>,
    client: Arc<Client>,
}

/// One of those who share a store, with the handles of its uploads.
#[derive(Default)]
struct Client {
    is_shut_down: AtomicBool,
}

impl Clone for InMemoryStorage {
    fn clone(&self) -> InMemoryStorage {
        InMemoryStorage { state: Arc::clone(&self.state), client: Arc::default() }
    }
}

impl InMemoryStorage {
    /// A new store without objects. It is freed when its last clone, upload handle and body are gone.
    #[must_use]
    pub fn new() -> InMemoryStorage {
        InMemoryStorage::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no operation panics while it holds the lock")
    }

    /// The state, for an operation that a store refuses once it is shut down.
    fn open(&self, operation: Operation) -> Result<MutexGuard<'_, State>> {
        if self.client.is_shut_down.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::ShutDown, operation, "the store was shut down"));
        }
        Ok(self.state())
    }

    /// The same client, not another as `clone` makes it.
    fn same(&self) -> InMemoryStorage {
        InMemoryStorage { state: Arc::clone(&self.state), client: Arc::clone(&self.client) }
    }
}

/// The time that a write is stamped with: whole seconds, as HTTP dates have them.
#[expect(clippy::disallowed_methods, reason = "this is the clock of the store, not of its caller")]
fn now() -> SystemTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs())
}

impl fmt::Debug for InMemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the lock: whoever prints a store while it is in use must not wait for it.
        f.write_str("InMemoryStorage")
    }
}

impl ObjectStorage for InMemoryStorage {
    fn put<'a>(
        &'a self,
        key: &'a Key,
        payload: Payload,
        options: PutOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move { self.open(Operation::PutObject)?.put(key, payload, options, now()) })
    }

    fn get<'a>(&'a self, key: &'a Key, options: GetOptions) -> LocalBoxFuture<'a, Result<GetOutcome>> {
        Box::pin(async move { self.open(Operation::GetObject)?.get(key, &options) })
    }

    fn head<'a>(&'a self, key: &'a Key, options: HeadOptions) -> LocalBoxFuture<'a, Result<HeadOutcome>> {
        Box::pin(async move { self.open(Operation::HeadObject)?.head(key, &options) })
    }

    fn list_page<'a>(
        &'a self,
        options: &'a ListOptions,
        page: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<ListPage>> {
        Box::pin(async move { self.open(Operation::ListObjects)?.list_page(options, page) })
    }

    fn delete<'a>(&'a self, key: &'a Key, options: DeleteOptions) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move { self.open(Operation::DeleteObject)?.delete(key, &options) })
    }

    fn delete_many<'a>(&'a self, keys: &'a [Key]) -> LocalBoxFuture<'a, Result<Vec<Result<()>>>> {
        Box::pin(async move {
            let unconditional = DeleteOptions::default();
            drop(self.open(Operation::DeleteObjects)?);
            Ok(keys.iter().map(|key| self.state().delete(key, &unconditional)).collect())
        })
    }

    fn copy<'a>(
        &'a self,
        from: &'a Key,
        to: &'a Key,
        options: CopyOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move { self.open(Operation::CopyObject)?.copy(from, to, options, now()) })
    }

    fn create_multipart_upload<'a>(
        &'a self,
        key: &'a Key,
        options: MultipartOptions,
    ) -> LocalBoxFuture<'a, Result<Rc<dyn MultipartUpload>>> {
        Box::pin(async move {
            let upload_id =
                self.open(Operation::CreateMultipartUpload)?.create_upload(key, options, now())?;
            self.resume_multipart_upload(key, &upload_id)
        })
    }

    fn resume_multipart_upload(&self, key: &Key, upload_id: &UploadId) -> Result<Rc<dyn MultipartUpload>> {
        Ok(Rc::new(InMemoryUpload::new(self.same(), key.clone(), upload_id.clone())))
    }

    fn list_multipart_uploads_page<'a>(
        &'a self,
        options: &'a ListUploadsOptions,
        page: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<UploadsPage>> {
        Box::pin(async move {
            self.open(Operation::ListMultipartUploads)?.list_uploads_page(options, page, now())
        })
    }

    fn resolve<'a>(&'a self, key: &'a Key, id: OperationId) -> LocalBoxFuture<'a, Result<Resolution>> {
        Box::pin(async move { Ok(self.open(Operation::HeadObject)?.resolve(key, id)) })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { verbatim_keys: true, ..Capabilities::ALL_CONDITIONS }
    }

    fn shutdown(&self, _: Duration) -> LocalBoxFuture<'_, ShutdownReport> {
        Box::pin(async move {
            self.client.is_shut_down.store(true, Ordering::Relaxed);
            let uploads = &mut self.state().uploads;
            let before = uploads.len();
            uploads.retain(|_, upload| !upload.is_tied_to(&self.client));
            ShutdownReport { uploads_aborted: before - uploads.len(), ..ShutdownReport::default() }
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;
    use crate::PutMode;
    use crate::ext::ObjectStorageExt;
    use crate::limits::{GIB, MIB, PUT_BYTES_MAX};
    use crate::object::ETag;
    use crate::options::CompleteOptions;
    use crate::storage::PartNumber;

    fn now<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("nothing here waits")
    }

    fn key(text: &str) -> Key {
        Key::parse(text).expect("valid key")
    }

    /// That many bytes which take one MiB of memory: the chunks are clones of one.
    fn payload(len: u64) -> Payload {
        let chunk = Bytes::from(vec![7; 1024 * 1024]);
        let mut payload: Payload = (0..len / MIB).map(|_| chunk.clone()).collect();
        let rest = usize::try_from(len % MIB).expect("below one MiB");
        payload.push(chunk.slice(..rest));
        payload
    }

    #[test]
    fn the_store_is_shared_by_clones_on_other_threads() {
        let store = InMemoryStorage::new();
        let elsewhere = store.clone();
        #[expect(clippy::disallowed_methods, reason = "the test is about another thread")]
        let thread = std::thread::spawn(move || now(elsewhere.put_bytes(&key("a"), "from there")).map(drop));
        thread.join().expect("no panic").expect("stored");
        assert_eq!(now(store.get_bytes(&key("a"))).expect("seen here"), "from there");
    }

    #[test]
    fn a_body_shares_the_memory_of_the_payload() {
        let store = InMemoryStorage::new();
        let chunk = Bytes::from(vec![1, 2, 3, 4]);
        now(store.put_bytes(&key("a"), chunk.clone())).expect("stored");
        let got = now(store.get_range(&key("a"), 1..3)).expect("there");
        assert_eq!(got.as_ptr(), chunk[1..].as_ptr());
    }

    #[test]
    fn a_future_that_was_never_polled_did_nothing() {
        let store = InMemoryStorage::new();
        drop(store.put(&key("a"), "x".into(), PutOptions::default()));
        assert!(!now(store.exists(&key("a"))).expect("answered"));
    }

    #[test]
    fn the_same_bytes_written_twice_have_two_tags() {
        let store = InMemoryStorage::new();
        let first = now(store.put_bytes(&key("a"), "same")).expect("stored").etag;
        let second = now(store.put_bytes(&key("a"), "same")).expect("stored").etag;
        assert_ne!(first, second);
        assert_eq!(first.as_str().len(), 32);
    }

    #[test]
    fn an_object_larger_than_a_put_allows_comes_in_parts_and_cannot_be_copied() {
        let store = InMemoryStorage::new();
        let large = key("large");
        let refused = now(store.put_bytes(&large, payload(PUT_BYTES_MAX + 1))).expect_err("too large");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        now(store.put_bytes(&large, payload(PUT_BYTES_MAX))).expect("just allowed");

        let upload = now(store.create_multipart_upload(&large, MultipartOptions::default())).expect("begun");
        let too_large = now(upload.upload_part(PartNumber::FIRST, payload(5 * GIB + 1)));
        assert_eq!(too_large.expect_err("part too large").kind(), ErrorKind::InvalidInput);
        let first = now(upload.upload_part(PartNumber::FIRST, payload(5 * GIB))).expect("stored");
        let second = PartNumber::FIRST.next().expect("two");
        let second = now(upload.upload_part(second, payload(1))).expect("stored");
        now(upload.complete(&[first, second], CompleteOptions::default())).expect("joined");
        assert_eq!(now(store.head_meta(&large)).expect("there").size, 5 * GIB + 1);

        let refused = now(store.copy(&large, &key("copy"), CopyOptions::default())).expect_err("too large");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_condition_on_an_absent_object_says_not_found() {
        let store = InMemoryStorage::new();
        let tag = ETag::parse("x").expect("valid");
        let put = now(store.put_if_match(&key("a"), "x", &tag)).expect_err("absent");
        let delete = now(store.delete_if_match(&key("a"), &tag)).expect_err("absent");
        now(store.put_bytes(&key("source"), "x")).expect("stored");
        let onto = CopyOptions::default().with_mode(PutMode::Match(tag));
        let copy = now(store.copy(&key("source"), &key("a"), onto)).expect_err("absent");
        assert!([put, delete, copy].iter().all(|error| error.kind() == ErrorKind::NotFound));
    }
}
