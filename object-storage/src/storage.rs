//! The contract: [`ObjectStorage`] and [`MultipartUpload`], what every store promises.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::LocalBoxFuture;

use crate::capabilities::Capabilities;
use crate::error::Result;
use crate::key::Key;
use crate::limits::PARTS_MAX;
use crate::object::{ETag, GetOutcome, HeadOutcome, ObjectMeta, PutOutcome};
use crate::operation_id::OperationId;
use crate::options::{
    CompleteOptions, CopyOptions, DeleteOptions, GetOptions, HeadOptions, ListOptions, ListUploadsOptions,
    MultipartOptions, PutOptions,
};
use crate::payload::Payload;

/// A store of objects, held by one shard as `Rc<dyn ObjectStorage>`.
///
/// **Outcomes.** `Ok` of a write means: applied, durable as the store promises, and seen by every read that
/// begins afterwards, on any shard or machine. `Err` of a write means: not applied, now or ever, unless its
/// kind is [`Indeterminate`](crate::ErrorKind::Indeterminate), which means that nobody can know. Objects are
/// replaced whole: no reader ever sees half of one.
///
/// **Concurrency.** Any number of operations may run at once through one store. They are ordered only by
/// waiting for one before starting the next.
///
/// **Dropped futures.** Dropping the future of a read has no effect. Dropping that of a write leaves it applied
/// or not applied, never half; whoever needs to know gives it an [`OperationId`] beforehand and asks
/// [`resolve`](Self::resolve). Nothing goes on being retried, but for what begins and what clears away uploads. What is
/// left of these is settled by [`shutdown`](Self::shutdown).
///
/// **Errors** that every method can return: `Unavailable`, `Timeout`, `Throttled` (try again; nothing was
/// done), `Unauthenticated`, `PermissionDenied`, `Config` (mend the set-up), `Protocol` (distrust the store),
/// `Io` and `NoSpace` (local disks), `ShutDown` (the store was shut down; nothing was done), `InvalidInput` (mend the call; nothing was sent), and for writes `Corrupt` (the
/// bytes were damaged on the way each time they were sent, and refused) and `Indeterminate`. Each method names what
/// else comes.
///
/// Not `Send`: every shard builds its own store from a [`StorageFactory`](crate::StorageFactory).
/// The short forms (`get_bytes`, `put_if_absent`, ...) are in [`ObjectStorageExt`](crate::ObjectStorageExt).
pub trait ObjectStorage: fmt::Debug {
    /// Stores an object, whole and at once, under the condition of `options.mode`.
    ///
    /// The payload is not copied by this call. On S3: [PutObject].
    ///
    /// # Errors
    ///
    /// `AlreadyExists` (with `Create`), `PreconditionFailed` and `NotFound` (with `Match`), `Conflict` (another
    /// write was going on, nothing of this one landed: try again), `InvalidInput` (larger than 5 GiB: use a
    /// multipart upload), `Unsupported` (the store would ignore the condition).
    ///
    /// [PutObject]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
    fn put<'a>(
        &'a self,
        key: &'a Key,
        payload: Payload,
        options: PutOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>>;

    /// Opens an object, or a range of it, for reading. The bytes are pulled from the body.
    ///
    /// All bytes come from one version, the one that `meta.etag` names. On S3: [GetObject].
    ///
    /// # Errors
    ///
    /// `NotFound`, `RangeNotSatisfiable`, `PreconditionFailed` (`if_match`), `NotModified` (`if_none_match`),
    /// `InvalidInput` (a range without bytes), `Corrupt` (what came is not what was stored, or that is damaged). The
    /// [`Body`](crate::Body) says when its bytes are verified.
    ///
    /// [GetObject]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    fn get<'a>(&'a self, key: &'a Key, options: GetOptions) -> LocalBoxFuture<'a, Result<GetOutcome>>;

    /// What a get would say of an object, without its bytes. On S3: [HeadObject].
    ///
    /// # Errors
    ///
    /// `NotFound`, `PreconditionFailed` (`if_match`), `NotModified` (`if_none_match`), `Corrupt`.
    ///
    /// [HeadObject]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    fn head<'a>(&'a self, key: &'a Key, options: HeadOptions) -> LocalBoxFuture<'a, Result<HeadOutcome>>;

    /// One page of a listing: the first when `page` is `None`, else the one that `page` (from
    /// [`ListPage::next`]) names. Give the same options with every page.
    ///
    /// Keys come in byte order where [`Capabilities::ordered_list`] holds. A page shows one moment; objects
    /// written or deleted between two pages may or may not show up. On S3: [ListObjectsV2].
    ///
    /// # Errors
    ///
    /// `InvalidInput` (a page size outside 1 to 1,000, a page token that is not of this listing).
    ///
    /// [ListObjectsV2]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
    fn list_page<'a>(
        &'a self,
        options: &'a ListOptions,
        page: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<ListPage>>;

    /// Deletes an object. Without a condition it succeeds also when there is none. On S3: [DeleteObject].
    ///
    /// # Errors
    ///
    /// With `if_match`: `PreconditionFailed` (another version is there), `NotFound` (none is there),
    /// `Conflict`, `Unsupported`; `Indeterminate` also where none is there and something on the way may have sent the
    /// request twice, so that nobody can tell who deleted it: `S3Storage` with an endpoint or a proxy of its own.
    ///
    /// [DeleteObject]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html
    fn delete<'a>(&'a self, key: &'a Key, options: DeleteOptions) -> LocalBoxFuture<'a, Result<()>>;

    /// Deletes any number of objects, and says of each whether it is gone; results are in the order of `keys`.
    ///
    /// Not atomic: some may be deleted and others not. A key that does not exist counts as deleted. On S3:
    /// [DeleteObjects], 1,000 keys a request; a key that the answer does not mention has failed.
    ///
    /// # Errors
    ///
    /// `Err` as a whole only when nothing was tried. Everything else is told per key.
    ///
    /// [DeleteObjects]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
    fn delete_many<'a>(&'a self, keys: &'a [Key]) -> LocalBoxFuture<'a, Result<Vec<Result<()>>>>;

    /// Copies an object within the store, under the conditions of `options`, up to 5 GiB. On S3: [CopyObject].
    ///
    /// # Errors
    ///
    /// `NotFound` (no source, or no destination to match), `PreconditionFailed` (the source has another tag than
    /// `source_if_match`, or the destination another than `Match`), `AlreadyExists` (`Create`), `Conflict`,
    /// `InvalidInput` (larger than 5 GiB), `Unsupported` (the store would ignore the condition).
    ///
    /// [CopyObject]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
    fn copy<'a>(
        &'a self,
        from: &'a Key,
        to: &'a Key,
        options: CopyOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>>;

    /// Begins a multipart upload. Nothing is visible under the key until it is completed.
    ///
    /// An upload that is neither completed nor aborted stays in the store and costs space: dropping the
    /// returned handle does not abort it (it can be resumed by its id), unless it was
    /// [tied to it](MultipartUpload::abort_on_drop). [`sweep_uploads`](crate::ObjectStorageExt::sweep_uploads) finds and
    /// aborts what is left. [`BufferedMultipartWriter`](crate::BufferedMultipartWriter) takes care of all this. On S3:
    /// [CreateMultipartUpload].
    ///
    /// Dropping this future begins no upload, or one that the store aborts in the background, at the latest when it is
    /// [shut down](Self::shutdown). On S3 the request goes on without its caller, because its answer holds the id. If the
    /// process or the runtime ends meanwhile, or no answer comes, there may be an upload that only a sweep finds: S3 keeps
    /// the operation id with it, and lists uploads without.
    ///
    /// # Errors
    ///
    /// Those of every method.
    ///
    /// [CreateMultipartUpload]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html
    fn create_multipart_upload<'a>(
        &'a self,
        key: &'a Key,
        options: MultipartOptions,
    ) -> LocalBoxFuture<'a, Result<Rc<dyn MultipartUpload>>>;

    /// The handle of an upload begun earlier, here or by another process. No request is made: an upload that
    /// does not exist shows as `NotFound` when the handle is used.
    ///
    /// # Errors
    ///
    /// `InvalidInput` or `Unsupported` when this store can have no upload of that key or id.
    fn resume_multipart_upload(&self, key: &Key, upload_id: &UploadId) -> Result<Rc<dyn MultipartUpload>>;

    /// One page of the uploads that were begun and neither completed nor aborted, by key, then by id.
    /// On S3: [ListMultipartUploads].
    ///
    /// # Errors
    ///
    /// `InvalidInput` (a page size outside 1 to 1,000, a page token that is not of this listing).
    ///
    /// [ListMultipartUploads]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html
    fn list_multipart_uploads_page<'a>(
        &'a self,
        options: &'a ListUploadsOptions,
        page: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<UploadsPage>>;

    /// Looks whether the object under `key` is the one that the write `id` stored: how an
    /// [`Indeterminate`](crate::ErrorKind::Indeterminate) put or completion is cleared up, at any time, also by
    /// another process after a restart. On S3: [HeadObject]; a completed upload bears the id that it was begun with.
    ///
    /// `Applied` proves that the write took effect, and nothing need be done. `NotThere` proves nothing by itself:
    /// the write may have taken effect and been replaced since, and one that is still on its way may yet take
    /// effect. To conclude, **re-drive** it: put the same bytes under the same key and condition with the same id
    /// again. Either that is accepted, or refused, and under a name that is never deleted or used again the refusal
    /// then is final: no earlier attempt can land any more, so one last `resolve` says which it was.
    ///
    /// A plain copy of an object bears the id of its source, so ask only about the key that was written.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    ///
    /// Those of every read: nothing was learned, ask again.
    ///
    /// [HeadObject]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    fn resolve<'a>(&'a self, key: &'a Key, id: OperationId) -> LocalBoxFuture<'a, Result<Resolution>>;

    /// What this store honours. It refuses everything else with `Unsupported`.
    fn capabilities(&self) -> Capabilities;

    /// Ends the work of this store in order, within `deadline` from now, and tells what is left undone.
    ///
    /// From its first poll on, every new operation is refused with [`ShutDown`](crate::ErrorKind::ShutDown), except
    /// that an upload may still be aborted and its parts listed. Operations under way are waited for. Uploads
    /// [tied to a handle](MultipartUpload::abort_on_drop) are aborted, whether that was dropped or not: a
    /// [`BufferedMultipartWriter`](crate::BufferedMultipartWriter) that is not finished by now fails with `ShutDown`, so
    /// finish writers first. Then idle connections are closed. Bodies handed out earlier can be read to their end;
    /// they are not waited for, nor asked for again when their connection breaks.
    ///
    /// It is over when all that is done, and at the deadline at the latest, but for the time until the runtime runs
    /// the task that waits. What has not ended then is counted: operations go on to their own limits of time if
    /// somebody polls them, and nothing more is tried for the uploads that are left; [`sweep_uploads`] finds them.
    ///
    /// Other stores of the same objects, such as those of other shards, are not touched: shut down each. Calling
    /// it again waits again, tries again to abort what was left, and tells of that only. Dropping the future leaves
    /// the store refusing new operations, and uploads being aborted as long as the runtime lives.
    ///
    /// **Without it**, a store that is dropped lets go of its connections, and aborts the uploads of dropped writers
    /// as long as its runtime lives. What a runtime that ends, or a process that is killed, leaves behind costs space
    /// until [`sweep_uploads`] is called.
    ///
    /// [`sweep_uploads`]: crate::ObjectStorageExt::sweep_uploads
    fn shutdown(&self, deadline: Duration) -> LocalBoxFuture<'_, ShutdownReport>;
}

/// What [`ObjectStorage::shutdown`] did, and what it left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Operations that were still under way at the deadline.
    pub operations_unfinished: usize,
    /// Uploads that were aborted during this call, each known to be gone.
    pub uploads_aborted: usize,
    /// Uploads that were to be aborted and are not known to be gone, by key, then by id.
    pub uploads_left: Vec<UploadInfo>,
    /// How often, since the store was opened, it was left open whether there is an upload: nobody may abort it, or its
    /// id is not known. The caller was told [`Indeterminate`](crate::ErrorKind::Indeterminate) when an upload was
    /// begun or completed, or did not wait for the answer.
    pub uploads_in_doubt: usize,
}

impl ShutdownReport {
    /// Whether everything was ended, and no upload is known or suspected to be left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.operations_unfinished == 0 && self.uploads_left.is_empty() && self.uploads_in_doubt == 0
    }
}

/// What [`ObjectStorage::resolve`] found under the key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolution {
    /// The object that this very write stored: it was applied.
    Applied(PutOutcome),
    /// Something else, or nothing. No proof that the write never was applied, nor that it never will be.
    NotThere {
        /// What is there instead; `None` when nothing is.
        current: Option<ObjectMeta>,
    },
}

/// An upload in parts. Parts may be sent at the same time and in any order, by number.
///
/// Clone the `Rc` to send parts from several tasks.
pub trait MultipartUpload: fmt::Debug {
    /// The key that the object will have.
    fn key(&self) -> &Key;

    /// The id under which the store knows this upload.
    fn upload_id(&self) -> &UploadId;

    /// Stores one part. A part sent again under the same number replaces the earlier one.
    ///
    /// Every part but the last must have at least 5 MiB, and none more than 5 GiB; the store checks the lower
    /// bound on completion, because only then is it known which part is the last. On S3: [UploadPart].
    ///
    /// Dropping this future leaves the part stored or not stored; send it again under the same number.
    ///
    /// # Errors
    ///
    /// `NotFound` (the upload was completed or aborted), `InvalidInput` (more than 5 GiB), `Indeterminate`
    /// (send the part again: the same number with the same bytes is harmless).
    ///
    /// [UploadPart]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html
    fn upload_part(&self, number: PartNumber, payload: Payload) -> LocalBoxFuture<'_, Result<Part>>;

    /// Joins the parts into one object, visible all at once, under the condition of `options.mode`.
    ///
    /// `parts` must ascend by number; parts that were uploaded and are not named are dropped. On S3:
    /// [CompleteMultipartUpload].
    ///
    /// Dropping this future leaves the upload either joined or pending;
    /// [`resolve`](ObjectStorage::resolve) with the id it was begun with tells which.
    ///
    /// # Errors
    ///
    /// `NotFound` (the upload was aborted or has been completed, or with `Match`: no object is there),
    /// `AlreadyExists` (`Create`), `PreconditionFailed` (`Match`), `Conflict`, `InvalidInput` (no parts, out of
    /// order, a part too small, or one that was not uploaded or replaced since), `Unsupported`, `Indeterminate`
    /// ([`resolve`](ObjectStorage::resolve) it). After every error but `Indeterminate` nothing was joined; the upload
    /// is still there unless it was not found, and can be completed otherwise or aborted.
    ///
    /// [CompleteMultipartUpload]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
    fn complete<'a>(
        &'a self,
        parts: &'a [Part],
        options: CompleteOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>>;

    /// Gives the upload up and frees its parts. Succeeds also when it is already gone.
    ///
    /// A part still being sent may land after this; abort again once it has ended. On S3:
    /// [AbortMultipartUpload].
    ///
    /// # Errors
    ///
    /// Those of every method; `Indeterminate` means: abort again.
    ///
    /// [AbortMultipartUpload]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html
    fn abort(&self) -> LocalBoxFuture<'_, Result<()>>;

    /// One page of the parts that the store has, by number. On S3: [ListParts].
    ///
    /// # Errors
    ///
    /// `NotFound` (the upload was completed or aborted), `InvalidInput` (a page token that is not of this
    /// listing).
    ///
    /// [ListParts]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html
    fn list_parts_page<'a>(&'a self, page: Option<&'a PageToken>) -> LocalBoxFuture<'a, Result<PartsPage>>;

    /// Ties the upload to this handle: when the last clone of its `Rc` is dropped before the upload was completed or
    /// aborted, the store is to abort it, and so it is when the store is [shut down](ObjectStorage::shutdown).
    ///
    /// For those who begin an upload and mean to complete it themselves, as
    /// [`BufferedMultipartWriter`](crate::BufferedMultipartWriter) does. Without this a dropped handle leaves the upload
    /// as it is, to be [resumed](ObjectStorage::resume_multipart_upload) by whoever knows its id.
    ///
    /// Returns whether the drop is enough. `false`: this store has nobody to do it in the background, and who gives the
    /// upload up calls [`abort`](Self::abort) too; a shutdown sees to it all the same, if the store knows of it.
    ///
    /// From the moment `complete` sends its request the upload is not aborted any more, because the object may be made
    /// of its parts; unless it was refused for certain.
    fn abort_on_drop(&self) -> bool {
        false
    }
}

/// The number of a part: 1 to 10,000. Parts are joined in order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartNumber(u16);

impl PartNumber {
    /// The first part.
    pub const FIRST: PartNumber = PartNumber(1);

    /// A part number, if it lies within 1 to 10,000.
    #[must_use]
    pub fn new(number: u16) -> Option<PartNumber> {
        (1..=PARTS_MAX).contains(&number).then_some(PartNumber(number))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }

    /// The number after this one; `None` after 10,000.
    #[must_use]
    pub fn next(self) -> Option<PartNumber> {
        PartNumber::new(self.0 + 1)
    }
}

impl fmt::Display for PartNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A part that the store has: what [`MultipartUpload::complete`] needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Its number.
    pub number: PartNumber,
    /// Its tag.
    pub etag: ETag,
    /// Its size, in bytes.
    pub size: u64,
}

impl Part {
    /// A part with this number, tag and size in bytes.
    #[must_use]
    pub fn new(number: PartNumber, etag: ETag, size: u64) -> Part {
        Part { number, etag, size }
    }
}

/// The id of a multipart upload: opaque, given by the store.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(Arc<str>);

impl UploadId {
    /// An id as a store gave it.
    #[must_use]
    pub fn new(id: &str) -> UploadId {
        UploadId(id.into())
    }

    /// The id as the store gave it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadId({})", self.0)
    }
}

/// Names the next page of a listing. Opaque, good only for the listing that gave it and with the same options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(String);

impl PageToken {
    /// A token with this text; its meaning is the store's own.
    #[must_use]
    pub fn new(text: impl Into<String>) -> PageToken {
        PageToken(text.into())
    }

    /// The text of the token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListPage {
    /// The objects of this page.
    pub objects: Vec<ObjectMeta>,
    /// With a delimiter: the beginnings, up to and with the delimiter, under which further keys lie.
    pub common_prefixes: Vec<String>,
    /// The next page; `None` when this is the last. A page may be empty and have a next one.
    pub next: Option<PageToken>,
}

impl ListPage {
    /// A page with these entries.
    #[must_use]
    pub fn new(objects: Vec<ObjectMeta>, common_prefixes: Vec<String>, next: Option<PageToken>) -> ListPage {
        ListPage { objects, common_prefixes, next }
    }
}

/// An upload that was begun and neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadInfo {
    /// The key that the object would have.
    pub key: Key,
    /// The id of the upload.
    pub upload_id: UploadId,
    /// When it was begun, by the store's clock; `None` when the store did not say.
    pub initiated: Option<SystemTime>,
}

impl UploadInfo {
    /// An upload to this key.
    #[must_use]
    pub fn new(key: Key, upload_id: UploadId, initiated: Option<SystemTime>) -> UploadInfo {
        UploadInfo { key, upload_id, initiated }
    }
}

/// One page of the uploads left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadsPage {
    /// The uploads of this page.
    pub uploads: Vec<UploadInfo>,
    /// The next page; `None` when this is the last.
    pub next: Option<PageToken>,
    /// When the store made this page, by the clock by which it dates uploads; `None` when it did not say.
    pub as_of: Option<SystemTime>,
}

impl UploadsPage {
    /// A page with these uploads.
    #[must_use]
    pub fn new(uploads: Vec<UploadInfo>, next: Option<PageToken>) -> UploadsPage {
        UploadsPage { uploads, next, as_of: None }
    }

    /// The same page, made at this moment by the store's clock.
    #[must_use]
    pub fn with_as_of(mut self, as_of: Option<SystemTime>) -> UploadsPage {
        self.as_of = as_of;
        self
    }
}

/// One page of the parts of an upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartsPage {
    /// The parts of this page.
    pub parts: Vec<Part>,
    /// The next page; `None` when this is the last.
    pub next: Option<PageToken>,
}

impl PartsPage {
    /// A page with these parts.
    #[must_use]
    pub fn new(parts: Vec<Part>, next: Option<PageToken>) -> PartsPage {
        PartsPage { parts, next }
    }
}
