//! A store that somebody else wrote, with nothing but what this crate offers everybody, held to the contract. It runs on
//! an executor of its own: neither the stores nor their tests need one runtime or the other.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use object_storage::testing::conformance::Subject;
use object_storage::testing::{Faults, FaultyStorage, conformance_tests};
use object_storage::{
    Capabilities, CopyOptions, DeleteOptions, GetOptions, GetOutcome, HeadOptions, HeadOutcome,
    InMemoryStorage, Key, ListOptions, ListPage, ListUploadsOptions, LocalBoxFuture, MultipartOptions,
    MultipartUpload, ObjectStorage, ObjectStorageExt, OperationId, PageToken, Payload, PutOptions,
    PutOutcome, Resolution, Result, ShutdownReport, UploadId, UploadsPage,
};

conformance_tests!(counting, block_on, || async {
    Subject::new(Rc::new(Counting::over(InMemoryStorage::new())))
});

conformance_tests!(counting_over_a_store_without_faults, block_on, || async {
    let inner = Rc::new(InMemoryStorage::new());
    let second = Rc::new(inner.as_ref().clone());
    Subject::new(Rc::new(Counting::over(FaultyStorage::new(inner, Faults::new(0))))).with_second(second)
});

/// Another store, counting what is written to it.
#[derive(Debug)]
struct Counting<S> {
    inner: S,
    bytes_written: Cell<u64>,
}

impl<S> Counting<S> {
    fn over(inner: S) -> Counting<S> {
        Counting { inner, bytes_written: Cell::new(0) }
    }
}

impl<S: ObjectStorage> ObjectStorage for Counting<S> {
    fn put<'a>(
        &'a self,
        key: &'a Key,
        payload: Payload,
        options: PutOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move {
            let len = payload.len();
            let outcome = self.inner.put(key, payload, options).await?;
            self.bytes_written.set(self.bytes_written.get() + len);
            Ok(outcome)
        })
    }

    fn get<'a>(&'a self, key: &'a Key, options: GetOptions) -> LocalBoxFuture<'a, Result<GetOutcome>> {
        self.inner.get(key, options)
    }

    fn head<'a>(&'a self, key: &'a Key, options: HeadOptions) -> LocalBoxFuture<'a, Result<HeadOutcome>> {
        self.inner.head(key, options)
    }

    fn list_page<'a>(
        &'a self,
        options: &'a ListOptions,
        page: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<ListPage>> {
        self.inner.list_page(options, page)
    }

    fn delete<'a>(&'a self, key: &'a Key, options: DeleteOptions) -> LocalBoxFuture<'a, Result<()>> {
        self.inner.delete(key, options)
    }

    fn delete_many<'a>(&'a self, keys: &'a [Key]) -> LocalBoxFuture<'a, Result<Vec<Result<()>>>> {
        self.inner.delete_many(keys)
    }

    fn copy<'a>(
        &'a self,
        from: &'a Key,
        to: &'a Key,
        options: CopyOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        self.inner.copy(from, to, options)
    }

    fn create_multipart_upload<'a>(
        &'a self,
        key: &'a Key,
        options: MultipartOptions,
    ) -> LocalBoxFuture<'a, Result<Rc<dyn MultipartUpload>>> {
        self.inner.create_multipart_upload(key, options)
    }

    fn resume_multipart_upload(&self, key: &Key, upload_id: &UploadId) -> Result<Rc<dyn MultipartUpload>> {
        self.inner.resume_multipart_upload(key, upload_id)
    }

    fn list_multipart_uploads_page<'a>(
        &'a self,
        options: &'a ListUploadsOptions,
        page: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<UploadsPage>> {
        self.inner.list_multipart_uploads_page(options, page)
    }

    fn resolve<'a>(&'a self, key: &'a Key, id: OperationId) -> LocalBoxFuture<'a, Result<Resolution>> {
        self.inner.resolve(key, id)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn shutdown(&self, deadline: Duration) -> LocalBoxFuture<'_, ShutdownReport> {
        self.inner.shutdown(deadline)
    }
}

/// A whole executor: polls, and sleeps until it is woken.
fn block_on(test: LocalBoxFuture<'static, ()>) {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut test = pin!(test);
    while test.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending {
        std::thread::park();
    }
}

#[test]
fn it_counts_what_was_written() {
    block_on(Box::pin(async {
        let store = Counting::over(InMemoryStorage::new());
        store.put_bytes(&Key::parse("a").expect("a key"), "four").await.expect("stored");
        assert_eq!(store.bytes_written.get(), 4);
    }));
}
