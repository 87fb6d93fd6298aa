//! [`S3Storage`]: each method of the trait names an operation and drives it.

use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::poll_fn;
use object_storage::config::Checksums;
use object_storage::limits::{DELETE_KEYS_MAX, PUT_BYTES_MAX};
use object_storage::{
    Answer, Body, Capabilities, CopyOptions, DeleteOptions, Error, ErrorKind, GetOptions, GetOutcome,
    HeadOptions, HeadOutcome, Key, KeyRule, ListOptions, ListPage, ListUploadsOptions, LocalBoxFuture,
    MultipartOptions, MultipartUpload, ObjectStorage, Operation, OperationId, PageToken, Payload, PutMode,
    PutOptions, PutOutcome, Resolution, Result, ShutdownReport, UploadId, UploadsPage,
};

use crate::admission::Phase;
use crate::clock;
use crate::driver::Driver;
use crate::memory::Held;
use crate::multipart::S3MultipartUpload;
use crate::protocol::checksum::Crc64Nvme;
use crate::protocol::operations::{
    CopyObject, CreateBucket, CreateMultipartUpload, DeleteBucket, DeleteObject, DeleteObjects, GetObject,
    HeadObject, ListMultipartUploads, ListObjectsV2, Opened, PutBucketLifecycleConfiguration, PutObject,
};
use crate::protocol::presign::PresignedUrl;
use crate::reaper::{Creation, Reaper, Upload};
use crate::resume;
use crate::transport::Chunks;
use crate::verified::Verified;

/// A bucket (or a prefix of one) on S3, or on a store that speaks S3.
///
/// One per shard: it keeps that shard's connections. Built by a [factory](crate::factory), or by
/// [`S3Storage::open`](crate::S3Storage::open).
///
/// Writes are never reported as "not applied" unless that is certain: see [`ErrorKind::Indeterminate`]. Everything is
/// tried again when that can help, conditional writes too: every object bears the [id](OperationId) of its write as
/// metadata (`x-amz-meta-operation-id`, hidden from readers), so that after a lost answer a look at the object tells
/// whether it is ours. `Indeterminate` is left for what such a look cannot prove. The look may take up to ten seconds
/// beyond the operation's own time.
///
/// A body that breaks off is asked for again from there, of the same version. Repetition has a budget: where most
/// requests fail, each shard sends at most about a tenth more than it would without, looks included; a write in doubt that
/// gets no look then is `Indeterminate`. When the store asks for less, fewer requests are under way at once until it is
/// content; who waits for a turn for half of the operation's time gets [`ErrorKind::Throttled`], and nothing was sent.
///
/// # Memory
///
/// What the operations of a store keep in memory at once is limited by
/// [`memory_limit`](object_storage::config::ObjectConfig::memory_limit). Puts, parts, pages and gets beyond it wait in the
/// order in which they came, with nothing sent, for at most half of the operation's time; then they are
/// [`ErrorKind::Timeout`]. Whoever holds more open bodies than there is room for waits for itself.
///
/// # Uploads that are given up
///
/// A task of this store, spawned when its first upload is begun, aborts the uploads of dropped
/// [writers](object_storage::BufferedMultipartWriter), of dropped handles that were
/// [tied](MultipartUpload::abort_on_drop) to theirs, and of dropped futures of
/// [`create_multipart_upload`](ObjectStorage::create_multipart_upload): it aborts, and looks, until the upload is seen to
/// be gone, for some minutes if the store does not answer. It goes on when the store is dropped, and ends with the runtime;
/// [`leaked_uploads`](crate::leaked_uploads) counts what is left then, and [`shutdown`](ObjectStorage::shutdown) avoids it.
///
/// # Integrity
///
/// Unless [`Checksums`] says otherwise, a put and every part carry a CRC64NVME, computed once, before the first
/// attempt. A store that finds other bytes refuses them; that is tried again over another connection, at most twice,
/// and then is [`ErrorKind::Corrupt`]: nothing was stored. A store that answers with another checksum has stored
/// something else: this too is tried again where a repetition does no harm, and then is
/// [`ErrorKind::Indeterminate`] with a cause of kind `Corrupt`, because *something* is there under the key. Completing
/// an upload states the size of the object and, if the checksum of each part is known, that of the object.
///
/// A get of a whole object is compared with what the store has kept of it (a checksum over all its bytes: CRC64NVME,
/// CRC32C, CRC32 or SHA-256). Small bodies are compared before `get` returns, and asked for again as above. In larger
/// ones a mismatch is an error *instead of the last chunk*: what came before it is not verified until the end has
/// come. A range of some of the bytes cannot be compared, nor can an object of which the store has no such checksum.
#[derive(Debug)]
pub struct S3Storage {
    pub(crate) driver: Rc<Driver>,
    pub(crate) capabilities: Capabilities,
    /// What rusty-s3 shapes bodies for.
    pub(crate) shape: rusty_s3::Bucket,
    pub(crate) reaper: Rc<Reaper>,
}

/// The longest time that a shutdown waits: a year, which is a number that clocks can add.
const SHUTDOWN_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

impl S3Storage {
    /// The address of the bucket: endpoint and bucket, without keys or signatures.
    #[must_use]
    pub fn location(&self) -> String {
        let route = self.driver.route();
        let address = &route.place.address;
        format!("{}{}", address.origin().url(), address.bucket_path())
    }

    /// Makes the bucket: [CreateBucket].
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when there is one of that name, ours or somebody else's; `Indeterminate` when no answer
    /// came; those of every operation.
    ///
    /// [CreateBucket]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
    pub async fn create_bucket(&self) -> Result<()> {
        let route = self.driver.route();
        self.driver.run(&CreateBucket { region: route.signing.region() }).await
    }

    /// Removes the bucket, which must be empty, or succeeds when it is gone: [DeleteBucket].
    ///
    /// # Errors
    ///
    /// `Conflict` when there are still objects in it; those of every operation.
    ///
    /// [DeleteBucket]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html
    pub async fn delete_bucket(&self) -> Result<()> {
        self.driver.run(&DeleteBucket).await
    }

    /// Lets the whole bucket expire: objects, and uploads that were never completed, older than so many days
    /// are removed by the store itself. Replaces every other lifecycle rule of the bucket:
    /// [PutBucketLifecycleConfiguration].
    ///
    /// # Errors
    ///
    /// `Unsupported` from stores that do not offer it; those of every operation.
    ///
    /// [PutBucketLifecycleConfiguration]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html
    pub async fn expire_bucket_after(&self, days: u16) -> Result<()> {
        self.driver.run(&PutBucketLifecycleConfiguration { days }).await
    }

    /// A URL with which anybody may get this object, until it expires: after `valid`, or with the keys that it is
    /// signed with if that is earlier. No request is made, and nobody has looked whether the object is there.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: `valid` is longer than S3's seven days, or less than a second. `Unauthenticated`: there are no
    /// keys to sign with, or the store is used anonymously.
    pub async fn presign_get(&self, key: &Key, valid: Duration) -> Result<PresignedUrl> {
        let get = GetObject { key, options: GetOptions::default(), checksums: Checksums::Off };
        self.driver.presign(&get, valid).await
    }

    /// A URL with which anybody may put bytes under this key, until it expires as that of
    /// [`presign_get`](Self::presign_get) does. With [`PutMode::Create`] or [`PutMode::Match`] the header field
    /// `if-none-match: *` or `if-match` is signed, and whoever puts must send it.
    ///
    /// # Errors
    ///
    /// As [`presign_get`](Self::presign_get); `InvalidInput` also for a key that no store writes.
    pub async fn presign_put(&self, key: &Key, mode: PutMode, valid: Duration) -> Result<PresignedUrl> {
        let put =
            PutObject { key, payload: Payload::new(), options: mode.into(), checksum: None, stamp: None };
        self.driver.presign(&put, valid).await
    }

    fn honours(
        &self,
        operation: Operation,
        key: &Key,
        conditional: bool,
        honoured: bool,
        option: &str,
    ) -> Result<()> {
        if conditional && !honoured {
            let message = format!("this endpoint is not known to honour this condition (`{option}`)");
            return Err(Error::new(ErrorKind::Unsupported, operation, message).with_key(key));
        }
        Ok(())
    }

    /// No async function: that would keep what it is given and what is made of it.
    fn put_object<'a>(
        &'a self,
        key: &'a Key,
        payload: Payload,
        options: PutOptions,
    ) -> impl Future<Output = Result<PutOutcome>> + 'a {
        let mut put = PutObject { key, payload, options, checksum: None, stamp: None };
        async move {
            let conditional = put.options.mode != PutMode::Overwrite;
            let honoured = self.capabilities.put_create;
            self.honours(Operation::PutObject, key, conditional, honoured, "conditional_put")?;
            if put.payload.len() > PUT_BYTES_MAX {
                let message = "one put stores at most 5 GiB: use a multipart upload";
                return Err(Error::new(ErrorKind::InvalidInput, Operation::PutObject, message).with_key(key));
            }
            put.checksum = self.driver.sends_checksums().then(|| Crc64Nvme::of(&put.payload));
            put.stamp = Some(put.options.operation_id.unwrap_or_else(OperationId::random));
            self.driver.run(&put).await
        }
    }

    fn get_object<'a>(
        &'a self,
        key: &'a Key,
        options: GetOptions,
    ) -> impl Future<Output = Result<GetOutcome>> + 'a {
        let get = GetObject { key, options, checksums: self.driver.checksums };
        async move {
            let (opened, chunks, held) = self.driver.open(&get).await?;
            Ok(self.got(key, opened, chunks, held))
        }
    }

    /// What was opened, as the caller gets it.
    fn got(&self, key: &Key, opened: Opened, chunks: Chunks, held: Option<Held>) -> GetOutcome {
        let length = opened.range.end - opened.range.start;
        if let Chunks::Whole(bytes) = chunks {
            let body = Body::from_chunk(length, bytes.unwrap_or_default());
            return GetOutcome::new(opened.meta, opened.attributes, opened.range, body);
        }
        let chunks = resume::chunks(Rc::clone(&self.driver), key.clone(), &opened, chunks, held);
        let body = match opened.checksum {
            Some(checksum) => {
                let transport = Rc::clone(&self.driver.route().transport);
                Body::from_stream(
                    length,
                    Verified::new(Box::pin(chunks), checksum.check(), length, key.clone(), transport),
                )
            }
            None => Body::from_stream(length, chunks),
        };
        GetOutcome::new(opened.meta, opened.attributes, opened.range, body)
    }

    /// The handle of an upload. `checksums`: it was begun with checksums of the kind that we send. `given`: the caller chose
    /// the operation id.
    fn upload(
        &self,
        key: &Key,
        upload_id: &UploadId,
        checksums: bool,
        operation_id: Option<OperationId>,
        given: bool,
    ) -> Result<Rc<dyn MultipartUpload>> {
        self.driver.route().place.full(Operation::UploadPart, key)?;
        if upload_id.as_str().is_empty() {
            // Without an id "complete" and "abort" would be other operations, "delete the object" among them.
            return Err(Error::new(ErrorKind::InvalidInput, Operation::UploadPart, "the upload id is empty")
                .with_key(key));
        }
        Ok(Rc::new(S3MultipartUpload::new(
            Upload::new(Rc::clone(&self.driver), key.clone(), upload_id.clone()),
            Rc::clone(&self.reaper),
            operation_id,
            given,
            self.capabilities.complete_create,
            checksums,
        )))
    }

    async fn delete_objects(&self, keys: &[Key]) -> Vec<Result<()>> {
        // One entry per key: S3 answers a key that is named twice as it likes.
        let mut results: HashMap<&Key, Result<()>> = HashMap::new();
        let mut asked: Vec<Key> = Vec::new();
        let route = self.driver.route();
        for key in keys {
            if results.contains_key(key) {
                continue;
            }
            let mut result = route.place.full(Operation::DeleteObjects, key).map(|_| ());
            if result.is_ok() && key.broken_rule() == Some(KeyRule::ControlCharacter) {
                // The body of DeleteObjects is XML, which cannot hold it: it goes by itself.
                result =
                    self.driver.run_admitted(&DeleteObject { key, options: DeleteOptions::default() }).await;
            } else if result.is_ok() {
                asked.push(key.clone());
            }
            results.insert(key, result);
        }
        for batch in asked.chunks(DELETE_KEYS_MAX) {
            match self.driver.run_admitted(&DeleteObjects { keys: batch, shape: &self.shape }).await {
                Ok(said) => {
                    for (key, result) in batch.iter().zip(said) {
                        if let Some(slot) = results.get_mut(key) {
                            *slot = result;
                        }
                    }
                }
                Err(error) => {
                    for key in batch {
                        if let Some(slot) = results.get_mut(key) {
                            *slot = Err(repeat(&error, key));
                        }
                    }
                }
            }
        }
        // A key that was given twice gets the same answer twice.
        keys.iter()
            .map(|key| match &results[key] {
                Ok(()) => Ok(()),
                Err(error) => Err(repeat(error, key)),
            })
            .collect()
    }
}

/// The same error once more, for another key of the same request.
fn repeat(error: &Error, key: &Key) -> Error {
    let copy = Error::new(error.kind(), error.operation(), error.message()).with_key(key);
    match error.answer() {
        Some(answer) => {
            copy.with_answer(Answer::new(answer.status, answer.code.clone(), answer.request_id.clone()))
        }
        None => copy,
    }
}

impl ObjectStorage for S3Storage {
    fn put<'a>(
        &'a self,
        key: &'a Key,
        payload: Payload,
        options: PutOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(self.put_object(key, payload, options))
    }

    fn get<'a>(&'a self, key: &'a Key, options: GetOptions) -> LocalBoxFuture<'a, Result<GetOutcome>> {
        Box::pin(self.get_object(key, options))
    }

    fn head<'a>(&'a self, key: &'a Key, options: HeadOptions) -> LocalBoxFuture<'a, Result<HeadOutcome>> {
        Box::pin(async move { self.driver.run(&HeadObject { key, options }).await })
    }

    fn list_page<'a>(
        &'a self,
        options: &'a ListOptions,
        page: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<ListPage>> {
        Box::pin(async move { self.driver.run(&ListObjectsV2 { options, page }).await })
    }

    fn delete<'a>(&'a self, key: &'a Key, options: DeleteOptions) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let (conditional, honoured) = (options.if_match.is_some(), self.capabilities.delete_match);
            self.honours(Operation::DeleteObject, key, conditional, honoured, "conditional_delete")?;
            self.driver.run(&DeleteObject { key, options }).await
        })
    }

    fn delete_many<'a>(&'a self, keys: &'a [Key]) -> LocalBoxFuture<'a, Result<Vec<Result<()>>>> {
        Box::pin(async move {
            let _admitted = self.driver.admission.admit(Operation::DeleteObjects)?;
            Ok(self.delete_objects(keys).await)
        })
    }

    fn copy<'a>(
        &'a self,
        from: &'a Key,
        to: &'a Key,
        options: CopyOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move {
            let conditional = options.mode != PutMode::Overwrite;
            let honoured = self.capabilities.copy_conditions;
            self.honours(Operation::CopyObject, to, conditional, honoured, "conditional_copy")?;
            let stamp = OperationId::random();
            self.driver.run(&CopyObject { from, to, options, stamp }).await
        })
    }

    fn create_multipart_upload<'a>(
        &'a self,
        key: &'a Key,
        options: MultipartOptions,
    ) -> LocalBoxFuture<'a, Result<Rc<dyn MultipartUpload>>> {
        Box::pin(async move {
            let checksums = self.driver.sends_checksums();
            let given = options.operation_id.is_some();
            let stamp = options.operation_id.unwrap_or_else(OperationId::random);
            let (driver, owned) = (Rc::clone(&self.driver), key.clone());
            let request = Box::pin(async move {
                driver.run(&CreateMultipartUpload { key: &owned, options, checksums, stamp }).await
            });
            let creation = Creation { driver: Rc::clone(&self.driver), key: key.clone(), request };
            let begun = self.reaper.creating(creation).await;
            if begun.as_ref().map_or_else(Error::is_indeterminate, |begun| begun.maybe_another) {
                self.reaper.in_doubt();
            }
            self.upload(key, &begun?.id, checksums, Some(stamp), given)
        })
    }

    fn resume_multipart_upload(&self, key: &Key, upload_id: &UploadId) -> Result<Rc<dyn MultipartUpload>> {
        self.upload(key, upload_id, false, None, false)
    }

    fn list_multipart_uploads_page<'a>(
        &'a self,
        options: &'a ListUploadsOptions,
        page: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<UploadsPage>> {
        Box::pin(async move { self.driver.run(&ListMultipartUploads { options, page }).await })
    }

    fn resolve<'a>(&'a self, key: &'a Key, id: OperationId) -> LocalBoxFuture<'a, Result<Resolution>> {
        Box::pin(self.driver.resolve(key, id))
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn shutdown(&self, deadline: Duration) -> LocalBoxFuture<'_, ShutdownReport> {
        Box::pin(async move {
            let Driver { admission, deadlines, .. } = &*self.driver;
            let ends = clock::now() + deadline.min(SHUTDOWN_MAX);
            admission.enter(Phase::ShuttingDown);
            let (draining, place) = (self.reaper.drain(), admission.place());
            let drained = pin!(poll_fn(|cx| {
                let idle = admission.poll_idle(&place, cx).is_ready();
                if draining.poll(cx).is_ready() && idle { Poll::Ready(()) } else { Poll::Pending }
            }));
            // What has not ended by then is in the report.
            let _ = deadlines.within(ends, drained).await;
            let (mut report, is_last) = draining.end();
            if is_last {
                admission.enter(Phase::ShutDown);
            }
            report.operations_unfinished = admission.under_way();
            self.driver.route().transport.forget_idle();
            report
        })
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of_val;
    use std::time::Duration;

    use credentials::{Host, Identity};
    use object_storage::StorageConfig;

    use super::*;
    use crate::protocol::operations::Action;
    use crate::transport::StageLimits;

    #[test]
    fn who_gathers_bytes_is_told_whether_their_checksum_will_be_stated() {
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            for checksums in [Checksums::WhenSupported, Checksums::WhenRequired, Checksums::Off] {
                let config = StorageConfig::object("bucket")
                    .endpoint("http://127.0.0.1:1")
                    .region("us-east-1")
                    .access_key_id("A")
                    .secret_access_key("s")
                    .checksums(checksums)
                    .build()
                    .expect("a configuration");
                let config = config.as_object().expect("an object store").clone();
                let storage = S3Storage::open(&config, Host::builder().build()).await.expect("opened");
                let states = storage.capabilities().states_crc64_nvme;
                assert_eq!(states, checksums == Checksums::WhenSupported, "{checksums:?}");
            }
        });
    }

    /// An operation's futures are moved into memory of their own, so their size is time: 15.6 KiB for 2.6 KiB cost 15
    /// to 25 % of a small put. They are made smaller by locals that end before the next await, by blocks in place of
    /// async functions, and by boxes for what hardly ever happens.
    #[test]
    fn the_futures_of_small_operations_are_small() {
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let config = StorageConfig::object("bucket")
                .endpoint("http://127.0.0.1:1")
                .region("us-east-1")
                .access_key_id("A")
                .secret_access_key("s")
                .build()
                .expect("a configuration");
            let config = config.as_object().expect("an object store").clone();
            let storage = S3Storage::open(&config, Host::builder().build()).await.expect("opened");
            let key = Key::parse("k").expect("a key");
            let options = PutOptions::default();
            let put = PutObject { key: &key, payload: Payload::new(), options, checksum: None, stamp: None };
            let route = storage.driver.route();
            let request = put.request(&route.place).expect("sendable");
            let identity = Identity::Anonymous;
            let signed = route.signing.sign(&request, &identity, std::time::SystemTime::UNIX_EPOCH);
            let signed = signed.expect("sendable");
            let second = Duration::from_secs(1);
            let began = crate::clock::now();
            let limits = StageLimits {
                began,
                connect: second,
                send: second,
                head: second,
                body: second,
                ends: began + second,
            };
            let checksums = storage.driver.checksums;
            let get = GetObject { key: &key, options: GetOptions::default(), checksums };
            let sizes = [
                size_of_val(&storage.put_object(&key, Payload::new(), PutOptions::default())),
                size_of_val(&storage.get_object(&key, GetOptions::default())),
                size_of_val(&storage.driver.attempt(&put, &request, 1, began, began + second)),
                size_of_val(&storage.driver.attempt(&get, &request, 1, began, began + second)),
                route.transport.future_bytes(&signed, &limits),
            ];
            // Two boxes for a whole put: of its own future with that of an attempt in it, and of the transport's. Up to
            // 1,032 bytes an allocation of glibc's takes its fast path.
            let [put, get, put_attempt, get_attempt, send] = sizes;
            assert!(put.max(get) <= 1032 && put_attempt.max(get_attempt) <= 472 && send <= 768, "{sizes:?}");
        });
    }
}
