//! [`Scripted`]: a store that counts its requests, takes its time, and fails where it is told to.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;

use crate::{
    Attributes, Capabilities, CompleteOptions, CopyOptions, DeleteOptions, ETag, Error, ErrorKind,
    GetOptions, GetOutcome, HeadOptions, HeadOutcome, Key, ListOptions, ListPage, ListUploadsOptions,
    LocalBoxFuture, MultipartOptions, MultipartUpload, ObjectStorage, Operation, OperationId, PageToken,
    Part, PartNumber, PartsPage, Payload, PutMode, PutOptions, PutOutcome, Resolution, Result,
    ShutdownReport, UploadId, UploadsPage,
};

/// What happens to a request instead of what should.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// It has no effect and ends with this error.
    Fails(ErrorKind),
    /// It takes effect, and nobody is told.
    AnswerLost,
    /// The store itself breaks.
    Panics,
}

#[derive(Debug, Default)]
pub(super) struct Scripted {
    pub(super) objects: RefCell<BTreeMap<Key, (Payload, Attributes)>>,
    /// Parts by number, of every upload that is neither completed nor aborted.
    pub(super) uploads: RefCell<BTreeMap<String, BTreeMap<u16, Payload>>>,
    /// The checksums that parts came with.
    pub(super) checksums: RefCell<BTreeMap<u16, Option<u64>>>,
    /// Every request that was begun, with the number of the part where there is one.
    pub(super) log: RefCell<Vec<(Operation, u16)>>,
    /// How often every request yields before it has its effect.
    pub(super) yields: Cell<u32>,
    /// Requests of this kind wait until it is taken back.
    pub(super) held_back: Cell<Option<Operation>>,
    /// Each happens once.
    pub(super) faults: RefCell<HashMap<(Operation, u16), Fault>>,
    /// So many listings of parts show a part that landed late.
    pub(super) late_parts: Cell<u32>,
    pub(super) no_conditions: Cell<bool>,
    pub(super) states_crc64_nvme: Cell<bool>,
    pub(super) in_flight: Cell<usize>,
    pub(super) in_flight_max: Cell<usize>,
}

impl Scripted {
    pub(super) fn count(&self, operation: Operation) -> usize {
        self.log.borrow().iter().filter(|(seen, _)| *seen == operation).count()
    }

    pub(super) fn fault(&self, operation: Operation, number: u16, fault: Fault) {
        self.faults.borrow_mut().insert((operation, number), fault);
    }

    pub(super) fn object(&self, key: &Key) -> Option<bytes::Bytes> {
        self.objects.borrow().get(key).map(|(payload, _)| payload.to_bytes())
    }

    /// One request: `effect` happens after the delays, unless the script says otherwise.
    async fn request<T>(
        &self,
        operation: Operation,
        number: u16,
        effect: impl FnOnce(&Scripted) -> Result<T>,
    ) -> Result<T> {
        self.log.borrow_mut().push((operation, number));
        let _in_flight = InFlight::new(self);
        for _ in 0..self.yields.get() {
            yield_once().await;
        }
        while self.held_back.get() == Some(operation) {
            compio::time::sleep(Duration::from_millis(1)).await;
        }
        let fault = self.faults.borrow_mut().remove(&(operation, number));
        let failed = |kind| Error::new(kind, operation, "scripted");
        match fault {
            None => effect(self),
            Some(Fault::Fails(kind)) => Err(failed(kind)),
            Some(Fault::AnswerLost) => {
                effect(self)?;
                Err(failed(ErrorKind::Indeterminate))
            }
            Some(Fault::Panics) => panic!("scripted panic in {operation}"),
        }
    }

    fn store(
        &self,
        key: &Key,
        payload: Payload,
        attributes: Attributes,
        mode: &PutMode,
    ) -> Result<PutOutcome> {
        let mut objects = self.objects.borrow_mut();
        if *mode == PutMode::Create && objects.contains_key(key) {
            return Err(Error::new(ErrorKind::AlreadyExists, Operation::PutObject, "it is there"));
        }
        objects.insert(key.clone(), (payload, attributes));
        Ok(PutOutcome::new(tag()))
    }
}

struct InFlight<'a>(&'a Scripted);

impl InFlight<'_> {
    fn new(store: &Scripted) -> InFlight<'_> {
        store.in_flight.set(store.in_flight.get() + 1);
        store.in_flight_max.set(store.in_flight_max.get().max(store.in_flight.get()));
        InFlight(store)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn tag() -> ETag {
    ETag::parse("tag").expect("a tag")
}

fn unused<'a, T: 'a>(operation: Operation) -> LocalBoxFuture<'a, Result<T>> {
    async move { Err(Error::new(ErrorKind::Unsupported, operation, "the writer has no use for this")) }
        .boxed_local()
}

/// The store as the writer holds it.
#[derive(Debug, Clone)]
pub(super) struct Handle(pub(super) Rc<Scripted>);

impl ObjectStorage for Handle {
    fn put<'a>(
        &'a self,
        key: &'a Key,
        payload: Payload,
        options: PutOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        self.0
            .request(Operation::PutObject, 0, move |store| {
                store.store(key, payload, options.attributes, &options.mode)
            })
            .boxed_local()
    }

    fn create_multipart_upload<'a>(
        &'a self,
        key: &'a Key,
        options: MultipartOptions,
    ) -> LocalBoxFuture<'a, Result<Rc<dyn MultipartUpload>>> {
        self.0
            .request(Operation::CreateMultipartUpload, 0, move |store| {
                let id = format!("upload-{}", store.log.borrow().len());
                store.uploads.borrow_mut().insert(id.clone(), BTreeMap::new());
                let upload = Upload {
                    store: self.clone(),
                    key: key.clone(),
                    id: UploadId::new(&id),
                    attributes: options.attributes,
                };
                Ok(Rc::new(upload) as Rc<dyn MultipartUpload>)
            })
            .boxed_local()
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::ALL_CONDITIONS;
        capabilities.complete_create = !self.0.no_conditions.get();
        capabilities.states_crc64_nvme = self.0.states_crc64_nvme.get();
        capabilities
    }

    fn get<'a>(&'a self, _: &'a Key, _: GetOptions) -> LocalBoxFuture<'a, Result<GetOutcome>> {
        unused(Operation::GetObject)
    }

    fn head<'a>(&'a self, _: &'a Key, _: HeadOptions) -> LocalBoxFuture<'a, Result<HeadOutcome>> {
        unused(Operation::HeadObject)
    }

    fn list_page<'a>(
        &'a self,
        _: &'a ListOptions,
        _: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<ListPage>> {
        unused(Operation::ListObjects)
    }

    fn delete<'a>(&'a self, _: &'a Key, _: DeleteOptions) -> LocalBoxFuture<'a, Result<()>> {
        unused(Operation::DeleteObject)
    }

    fn delete_many<'a>(&'a self, _: &'a [Key]) -> LocalBoxFuture<'a, Result<Vec<Result<()>>>> {
        unused(Operation::DeleteObjects)
    }

    fn copy<'a>(&'a self, _: &'a Key, _: &'a Key, _: CopyOptions) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        unused(Operation::CopyObject)
    }

    fn resume_multipart_upload(&self, _: &Key, _: &UploadId) -> Result<Rc<dyn MultipartUpload>> {
        Err(Error::new(ErrorKind::Unsupported, Operation::UploadPart, "the writer has no use for this"))
    }

    fn list_multipart_uploads_page<'a>(
        &'a self,
        _: &'a ListUploadsOptions,
        _: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<UploadsPage>> {
        unused(Operation::ListMultipartUploads)
    }

    fn shutdown(&self, _: Duration) -> LocalBoxFuture<'_, ShutdownReport> {
        async { ShutdownReport::default() }.boxed_local()
    }

    fn resolve<'a>(&'a self, _: &'a Key, _: OperationId) -> LocalBoxFuture<'a, Result<Resolution>> {
        unused(Operation::HeadObject)
    }
}

#[derive(Debug)]
struct Upload {
    store: Handle,
    key: Key,
    id: UploadId,
    attributes: Attributes,
}

impl Upload {
    fn gone(operation: Operation) -> Error {
        Error::new(ErrorKind::NotFound, operation, "no such upload")
    }
}

impl MultipartUpload for Upload {
    fn key(&self) -> &Key {
        &self.key
    }

    fn upload_id(&self) -> &UploadId {
        &self.id
    }

    fn upload_part(&self, number: PartNumber, payload: Payload) -> LocalBoxFuture<'_, Result<Part>> {
        self.store
            .0
            .request(Operation::UploadPart, number.get(), move |store| {
                let mut uploads = store.uploads.borrow_mut();
                let parts =
                    uploads.get_mut(self.id.as_str()).ok_or_else(|| Upload::gone(Operation::UploadPart))?;
                let size = payload.len();
                store.checksums.borrow_mut().insert(number.get(), payload.crc64_nvme());
                parts.insert(number.get(), payload.to_bytes().to_vec().into());
                Ok(Part::new(number, tag(), size))
            })
            .boxed_local()
    }

    fn complete<'a>(
        &'a self,
        parts: &'a [Part],
        options: CompleteOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        self.store
            .0
            .request(Operation::CompleteMultipartUpload, 0, move |store| {
                assert!(parts.is_sorted_by_key(|part| part.number));
                let mut uploads = store.uploads.borrow_mut();
                let held = uploads
                    .get(self.id.as_str())
                    .ok_or_else(|| Upload::gone(Operation::CompleteMultipartUpload))?;
                let all = parts.iter().map(|part| held[&part.number.get()].to_bytes()).collect();
                let outcome = store.store(&self.key, all, self.attributes.clone(), &options.mode)?;
                uploads.remove(self.id.as_str());
                Ok(outcome)
            })
            .boxed_local()
    }

    fn abort(&self) -> LocalBoxFuture<'_, Result<()>> {
        self.store
            .0
            .request(Operation::AbortMultipartUpload, 0, move |store| {
                store.uploads.borrow_mut().remove(self.id.as_str());
                Ok(())
            })
            .boxed_local()
    }

    fn list_parts_page<'a>(&'a self, _: Option<&'a PageToken>) -> LocalBoxFuture<'a, Result<PartsPage>> {
        self.store
            .0
            .request(Operation::ListParts, 0, move |store| match store.late_parts.get() {
                0 => Err(Upload::gone(Operation::ListParts)),
                late => {
                    store.late_parts.set(late - 1);
                    Ok(PartsPage::new(vec![Part::new(PartNumber::FIRST, tag(), 1)], None))
                }
            })
            .boxed_local()
    }
}
