//! The operations: each takes what s3s parsed, applies one rule of the store under the lock, and answers.
//!
//! A body is received and hashed before the lock is taken, and nothing awaits while holding it. Only Complete
//! hashes under it, and only if the client chose a checksum over the whole object: the parts must not change
//! meanwhile.

use std::ops::Bound;
use std::sync::Arc;

use hyper::{HeaderMap, StatusCode};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket, BucketLocationConstraint, Checksum,
    ChecksumAlgorithm, ChecksumType, CommonPrefix, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult,
    CopySource, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, Delete, DeleteBucketInput, DeleteBucketLifecycleInput,
    DeleteBucketLifecycleOutput, DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, ETagCondition, EncodingType, Error,
    GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput,
    HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
    ListPartsInput, ListPartsOutput, MetadataDirective, MultipartUpload, Object, ObjectIdentifier,
    ObjectStorageClass, Owner, Part, PutBucketLifecycleConfigurationInput,
    PutBucketLifecycleConfigurationOutput, PutObjectInput, PutObjectOutput, Range, StorageClass,
    UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::conditions::{ReadConditions, Unchanged, WriteConditions};
use super::integrity::{Algorithm, Declared, Received, XmlBody, receive};
use super::listing::{Position, Query, page, page_size, read_token, token, url_encode};
use super::multipart::{Complete, Part as StoredPart, UploadChecksum, check_part_number};
use super::objects::{Read, check_version, copy_source, etag, from_received, get, head, signed};
use super::segments::Segments;
use super::store::{ContentHeaders, Object as StoredObject, SINGLE_WRITE_BYTES_MAX, Selection};
use super::{State, now};

/// DeleteObjects names at most this many keys:
/// [DeleteObjects](https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html).
const DELETED_KEYS_MAX: usize = 1000;

/// The S3 API over the store.
pub(super) struct Api {
    state: State,
}

impl Api {
    pub(super) fn new(state: State) -> Self {
        Api { state }
    }

    /// The object that a copy reads, if its conditions allow.
    fn source(&self, source: &CopySource, conditions: &ReadConditions) -> S3Result<Arc<StoredObject>> {
        let (bucket, key) = copy_source(source)?;
        let object = self.state.lock().bucket(bucket)?.get(key)?.clone();
        conditions.check(&object, Unchanged::PreconditionFailed)?;
        Ok(object)
    }

    fn owner(&self) -> Owner {
        Owner { display_name: Some("spike".into()), id: Some("spike".into()) }
    }
}

fn ok<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

/// A whole write goes in one request only up to 5 GiB.
fn check_single_write(length: u64) -> S3Result<()> {
    if length > SINGLE_WRITE_BYTES_MAX {
        return Err(s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum allowed size"));
    }
    Ok(())
}

fn check_declared_length(length: Option<i64>) -> S3Result<()> {
    check_single_write(length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default())
}

/// The status of an answer where it is not the one s3s gives. s3s ignores `S3Response::status`, so it travels as
/// an extension to the front, which applies it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status(pub(super) StatusCode);

/// MD5 and, for an object, checksum of what is copied. This reads all of it.
fn copied(body: Segments, algorithm: Option<Algorithm>) -> Received {
    use s3s::crypto::{Checksum as _, Md5};
    let mut md5 = Md5::new();
    for segment in body.iter() {
        md5.update(segment);
    }
    let checksum = algorithm.map(|algorithm| algorithm.digest(body.iter())).unwrap_or_default();
    Received { md5: md5.finalize(), checksum, body }
}

/// `bytes=first-last`, the one form that `x-amz-copy-source-range` has.
fn copy_range(text: &str, length: u64) -> S3Result<std::ops::Range<u64>> {
    let wrong = || {
        s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last within the source, whose \
             length is {length}"
        )
    };
    match Range::parse(text).map_err(|_| wrong())? {
        Range::Int { first, last: Some(last) } if last < length => Ok(first..last + 1),
        _ => Err(wrong()),
    }
}

#[derive(Default)]
struct Encoding(Option<EncodingType>);

impl Encoding {
    fn parse(asked: Option<EncodingType>) -> S3Result<Self> {
        match &asked {
            Some(other) if other.as_str() != EncodingType::URL => {
                Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request"))
            }
            _ => Ok(Encoding(asked)),
        }
    }

    fn apply(&self, text: &str) -> String {
        if self.0.is_some() { url_encode(text) } else { text.to_owned() }
    }
}

/// What both versions of ListObjects show of a page.
struct Listed {
    contents: Vec<Object>,
    common_prefixes: Vec<CommonPrefix>,
    next: Option<Position>,
}

impl Api {
    fn list(
        &self,
        bucket: &str,
        query: &Query<'_>,
        encoding: &Encoding,
        owner: Option<&Owner>,
    ) -> S3Result<Listed> {
        let store = self.state.lock();
        let page = page(&store.bucket(bucket)?.objects, query);
        let contents = page.keys.into_iter().map(|(key, object)| Object {
            e_tag: Some(etag(object)),
            key: Some(encoding.apply(key)),
            last_modified: Some(object.modified.clone()),
            owner: owner.cloned(),
            size: Some(signed(object.body.len())),
            storage_class: Some(match &object.headers.storage_class {
                Some(class) => ObjectStorageClass::from(class.as_str().to_owned()),
                None => ObjectStorageClass::from_static(ObjectStorageClass::STANDARD),
            }),
            ..Default::default()
        });
        let groups = page.groups.iter().map(|group| CommonPrefix { prefix: Some(encoding.apply(group)) });
        Ok(Listed { contents: contents.collect(), common_prefixes: groups.collect(), next: page.next })
    }
}

/// An empty delimiter is none.
fn delimiter(asked: &Option<String>) -> Option<&str> {
    asked.as_deref().filter(|delimiter| !delimiter.is_empty())
}

fn count(entries: usize) -> i32 {
    i32::try_from(entries).expect("a page holds at most 1,000 entries")
}

#[async_trait::async_trait]
impl S3 for Api {
    // Buckets.

    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let configuration = req.input.create_bucket_configuration.unwrap_or_default();
        let constraint = configuration.location_constraint.as_ref().map(BucketLocationConstraint::as_str);
        self.state.lock().create_bucket(&req.input.bucket, constraint, &now())?;
        ok(CreateBucketOutput { location: Some(format!("/{}", req.input.bucket)) })
    }

    async fn delete_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.state.lock().delete_bucket(&req.input.bucket)?;
        ok(DeleteBucketOutput::default())
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.state.lock().bucket(&req.input.bucket)?;
        ok(HeadBucketOutput { bucket_region: Some(self.state.region.to_string()), ..Default::default() })
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.state.lock().bucket(&req.input.bucket)?;
        // S3 writes us-east-1 as the empty location.
        let region = if &*self.state.region == "us-east-1" { "" } else { &self.state.region };
        ok(GetBucketLocationOutput {
            location_constraint: Some(BucketLocationConstraint::from(region.to_owned())),
        })
    }

    async fn list_buckets(
        &self,
        _req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let store = self.state.lock();
        let buckets = store.buckets().map(|(name, bucket)| Bucket {
            creation_date: Some(bucket.created.clone()),
            name: Some(name.clone()),
            ..Default::default()
        });
        ok(ListBucketsOutput {
            buckets: Some(buckets.collect()),
            owner: Some(self.owner()),
            ..Default::default()
        })
    }

    async fn put_bucket_lifecycle_configuration(
        &self,
        req: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        require_checked_body(&req)?;
        let configuration = req.input.lifecycle_configuration;
        let rules = configuration.map(|configuration| configuration.rules).unwrap_or_default();
        if rules.is_empty() {
            return Err(s3_error!(MalformedXML, "A lifecycle configuration has at least one rule"));
        }
        self.state.lock().bucket_mut(&req.input.bucket)?.lifecycle = Some(rules);
        ok(PutBucketLifecycleConfigurationOutput::default())
    }

    async fn get_bucket_lifecycle_configuration(
        &self,
        req: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        let rules = self.state.lock().bucket(&req.input.bucket)?.lifecycle.clone();
        let rules = rules.ok_or_else(|| s3_error!(NoSuchLifecycleConfiguration))?;
        ok(GetBucketLifecycleConfigurationOutput { rules: Some(rules), ..Default::default() })
    }

    async fn delete_bucket_lifecycle(
        &self,
        req: S3Request<DeleteBucketLifecycleInput>,
    ) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
        self.state.lock().bucket_mut(&req.input.bucket)?.lifecycle = None;
        ok(DeleteBucketLifecycleOutput {})
    }

    // Objects.

    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = &mut req.input;
        if input.write_offset_bytes.is_some() {
            return Err(s3_error!(NotImplemented, "Appending is for directory buckets"));
        }
        check_declared_length(input.content_length)?;
        let declared = Declared {
            length: input.content_length,
            content_md5: input.content_md5.take(),
            checksum: Checksum {
                checksum_crc32: input.checksum_crc32.take(),
                checksum_crc32c: input.checksum_crc32c.take(),
                checksum_crc64nvme: input.checksum_crc64nvme.take(),
                checksum_sha1: input.checksum_sha1.take(),
                checksum_sha256: input.checksum_sha256.take(),
                ..Default::default()
            },
            algorithm: announced(&req.headers, input.checksum_algorithm.take()),
            fallback: Some(Algorithm::Crc64Nvme),
            trailers: req.trailing_headers.take(),
        };
        let headers = ContentHeaders::from(&mut *input);
        let conditions =
            WriteConditions { if_match: input.if_match.take(), if_none_match: input.if_none_match.take() };
        let received = receive(input.body.take(), declared).await?;
        check_single_write(received.body.len())?;

        let object = from_received(received, headers, now());
        let object = self.state.lock().bucket_mut(&input.bucket)?.put(&input.key, object, &conditions)?;
        let checksum = object.checksum.clone();
        ok(PutObjectOutput {
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            checksum_type: checksum.checksum_type,
            e_tag: Some(etag(&object)),
            ..Default::default()
        })
    }

    async fn get_object(&self, mut req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let read = Read::from(&mut req.input);
        check_version(req.input.version_id.as_deref())?;
        let object = self.state.lock().bucket(&req.input.bucket)?.get(&req.input.key)?.clone();
        read.conditions.check(&object, Unchanged::NotModified)?;
        let selection = Selection::of(&object, read.range.as_ref(), read.part_number)?;
        ok(get(&object, &selection, &read))
    }

    async fn head_object(
        &self,
        mut req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let read = Read::from(&mut req.input);
        check_version(req.input.version_id.as_deref())?;
        let object = self.state.lock().bucket(&req.input.bucket)?.get(&req.input.key)?.clone();
        read.conditions.check(&object, Unchanged::NotModified)?;
        let selection = Selection::of(&object, read.range.as_ref(), read.part_number)?;
        let mut response = S3Response::new(head(&object, &selection, &read));
        // s3s answers 206 to GET but not to HEAD.
        if response.output.content_range.is_some() {
            response.extensions.insert(Status(StatusCode::PARTIAL_CONTENT));
        }
        Ok(response)
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = req.input;
        check_version(input.version_id.as_deref())?;
        if input.if_match_size.is_some() || input.if_match_last_modified_time.is_some() {
            return Err(s3_error!(NotImplemented, "Conditions on size and time are for directory buckets"));
        }
        self.state.lock().bucket_mut(&input.bucket)?.delete(&input.key, input.if_match.as_ref())?;
        ok(DeleteObjectOutput::default())
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        require_checked_body(&req)?;
        let Delete { objects, quiet } = req.input.delete;
        if objects.is_empty() || objects.len() > DELETED_KEYS_MAX {
            return Err(s3_error!(
                MalformedXML,
                "Between 1 and {DELETED_KEYS_MAX} keys can be deleted at once"
            ));
        }
        let mut store = self.state.lock();
        let bucket = store.bucket_mut(&req.input.bucket)?;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for ObjectIdentifier { key, e_tag, version_id, .. } in objects {
            let if_match = e_tag.map(|etag| match etag.value() {
                // In XML, unlike in a header, s3s reads * as an entity tag.
                "*" => ETagCondition::Any,
                _ => ETagCondition::ETag(etag),
            });
            match check_version(version_id.as_deref()).and_then(|()| bucket.delete(&key, if_match.as_ref())) {
                Ok(()) if quiet == Some(true) => {}
                Ok(()) => deleted.push(DeletedObject { key: Some(key), ..Default::default() }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(key),
                    message: error.message().map(str::to_owned),
                    ..Default::default()
                }),
            }
        }
        ok(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), ..Default::default() })
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        // s3s does not parse the conditions on the destination; AWS has them since 2025.
        let conditions = WriteConditions::from_headers(&req.headers)?;
        let input = req.input;
        let source = self.source(
            &input.copy_source,
            &ReadConditions {
                if_match: input.copy_source_if_match,
                if_none_match: input.copy_source_if_none_match,
                if_modified_since: input.copy_source_if_modified_since,
                if_unmodified_since: input.copy_source_if_unmodified_since,
            },
        )?;
        check_single_write(source.body.len()).map_err(|_| {
            s3_error!(InvalidRequest, "The specified copy source is larger than the maximum allowable size")
        })?;
        let replace =
            input.metadata_directive.as_ref().is_some_and(|it| it.as_str() == MetadataDirective::REPLACE);
        let onto_itself = copy_source(&input.copy_source)? == (input.bucket.as_str(), input.key.as_str());
        if onto_itself && !replace && input.storage_class.is_none() {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing \
                 the object's metadata, storage class, website redirect location or encryption attributes."
            ));
        }
        let mut headers = if replace {
            ContentHeaders {
                cache_control: input.cache_control,
                content_disposition: input.content_disposition,
                content_encoding: input.content_encoding,
                content_language: input.content_language,
                content_type: input.content_type,
                expires: input.expires,
                metadata: input.metadata,
                storage_class: None,
            }
        } else {
            source.headers.clone()
        };
        headers.storage_class = input.storage_class;

        // The copy of a joined object is written at once, so it gets an ordinary entity tag.
        let algorithm = match input.checksum_algorithm {
            Some(name) => Algorithm::parse(name.as_str())?,
            None => Algorithm::declared_in(&source.checksum)?.unwrap_or(Algorithm::Crc64Nvme),
        };
        let object = from_received(copied(source.body.clone(), Some(algorithm)), headers, now());
        let object = self.state.lock().bucket_mut(&input.bucket)?.put(&input.key, object, &conditions)?;
        let checksum = object.checksum.clone();
        ok(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                checksum_crc32: checksum.checksum_crc32,
                checksum_crc32c: checksum.checksum_crc32c,
                checksum_crc64nvme: checksum.checksum_crc64nvme,
                checksum_sha1: checksum.checksum_sha1,
                checksum_sha256: checksum.checksum_sha256,
                checksum_type: checksum.checksum_type,
                e_tag: Some(etag(&object)),
                last_modified: Some(object.modified.clone()),
            }),
            ..Default::default()
        })
    }

    // Lists.

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let encoding = Encoding::parse(input.encoding_type)?;
        let max = page_size(input.max_keys, "max-keys")?;
        // A token outranks start-after, which a client may go on sending with it.
        let after = match &input.continuation_token {
            Some(token) => Some(read_token(&input.bucket, token)?),
            None => input.start_after.clone().map(Position::Key),
        };
        let prefix = input.prefix.unwrap_or_default();
        let query = Query { prefix: &prefix, delimiter: delimiter(&input.delimiter), after, max };
        let owner = input.fetch_owner.unwrap_or_default().then(|| self.owner());
        let listed = self.list(&input.bucket, &query, &encoding, owner.as_ref())?;
        ok(ListObjectsV2Output {
            key_count: Some(count(listed.contents.len() + listed.common_prefixes.len())),
            contents: Some(listed.contents),
            common_prefixes: Some(listed.common_prefixes),
            continuation_token: input.continuation_token,
            delimiter: input.delimiter.map(|delimiter| encoding.apply(&delimiter)),
            is_truncated: Some(listed.next.is_some()),
            max_keys: Some(count(max)),
            next_continuation_token: listed.next.map(|next| token(&input.bucket, &next)),
            prefix: Some(encoding.apply(&prefix)),
            start_after: input.start_after.map(|key| encoding.apply(&key)),
            name: Some(input.bucket),
            encoding_type: encoding.0,
            ..Default::default()
        })
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = req.input;
        let encoding = Encoding::parse(input.encoding_type)?;
        let max = page_size(input.max_keys, "max-keys")?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = delimiter(&input.delimiter);
        // A marker that is a common prefix is where a page ended: what it stands for has been seen.
        let after = input.marker.clone().filter(|marker| !marker.is_empty()).map(|marker| {
            let is_group =
                delimiter.is_some_and(|delimiter| marker.len() > prefix.len() && marker.ends_with(delimiter));
            if is_group { Position::Group(marker) } else { Position::Key(marker) }
        });
        let query = Query { prefix: &prefix, delimiter, after, max };
        let listed = self.list(&input.bucket, &query, &encoding, Some(&self.owner()))?;
        // S3 gives a next marker only with a delimiter; otherwise the last key is the marker.
        let next_marker = listed.next.as_ref().filter(|_| delimiter.is_some()).map(|next| match next {
            Position::Key(text) | Position::Group(text) => encoding.apply(text),
        });
        ok(ListObjectsOutput {
            contents: Some(listed.contents),
            common_prefixes: Some(listed.common_prefixes),
            is_truncated: Some(listed.next.is_some()),
            marker: Some(encoding.apply(&input.marker.unwrap_or_default())),
            max_keys: Some(count(max)),
            next_marker,
            prefix: Some(encoding.apply(&prefix)),
            delimiter: input.delimiter.as_deref().map(|delimiter| encoding.apply(delimiter)),
            name: Some(input.bucket),
            encoding_type: encoding.0,
            ..Default::default()
        })
    }

    // Multipart uploads.

    async fn create_multipart_upload(
        &self,
        mut req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let headers = ContentHeaders::from(&mut req.input);
        let input = req.input;
        let checksum = UploadChecksum::parse(
            input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str),
            input.checksum_type.as_ref().map(ChecksumType::as_str),
        )?;
        let mut store = self.state.lock();
        let uploads = &mut store.bucket_mut(&input.bucket)?.uploads;
        let upload_id = uploads.create(&input.key, headers, checksum, now())?;
        ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload_id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: checksum.map(UploadChecksum::kind),
            ..Default::default()
        })
    }

    async fn upload_part(
        &self,
        mut req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = &mut req.input;
        check_part_number(input.part_number)?;
        check_declared_length(input.content_length)?;
        let chosen = {
            let store = self.state.lock();
            store.bucket(&input.bucket)?.uploads.get(&input.key, &input.upload_id)?.checksum
        };
        let declared = Declared {
            length: input.content_length,
            content_md5: input.content_md5.take(),
            checksum: Checksum {
                checksum_crc32: input.checksum_crc32.take(),
                checksum_crc32c: input.checksum_crc32c.take(),
                checksum_crc64nvme: input.checksum_crc64nvme.take(),
                checksum_sha1: input.checksum_sha1.take(),
                checksum_sha256: input.checksum_sha256.take(),
                ..Default::default()
            },
            algorithm: announced(&req.headers, input.checksum_algorithm.take()),
            fallback: chosen.map(|chosen| chosen.algorithm),
            trailers: req.trailing_headers.take(),
        };
        let received = receive(input.body.take(), declared).await?;
        check_single_write(received.body.len())?;
        if let Some(chosen) = chosen
            && chosen.algorithm.value(&received.checksum).is_none()
        {
            return Err(s3_error!(
                InvalidRequest,
                "Checksum Type mismatch occurred, expected checksum Type: {}",
                chosen.algorithm.name()
            ));
        }

        let part = StoredPart::new(received, now());
        let checksum = part.checksum.clone();
        let e_tag = Some(ETag::Strong(part.etag()));
        // The upload may have ended while the body arrived; then this part comes too late.
        let mut store = self.state.lock();
        let uploads = &mut store.bucket_mut(&input.bucket)?.uploads;
        uploads.put_part(&input.key, &input.upload_id, input.part_number, part)?;
        ok(UploadPartOutput {
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            e_tag,
            ..Default::default()
        })
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = req.input;
        check_part_number(input.part_number)?;
        let chosen = {
            let store = self.state.lock();
            store.bucket(&input.bucket)?.uploads.get(&input.key, &input.upload_id)?.checksum
        };
        let source = self.source(
            &input.copy_source,
            &ReadConditions {
                if_match: input.copy_source_if_match,
                if_none_match: input.copy_source_if_none_match,
                if_modified_since: input.copy_source_if_modified_since,
                if_unmodified_since: input.copy_source_if_unmodified_since,
            },
        )?;
        let range = match &input.copy_source_range {
            Some(text) => copy_range(text, source.body.len())?,
            None => 0..source.body.len(),
        };
        check_single_write(range.end - range.start)?;
        let part =
            StoredPart::new(copied(source.body.slice(range), chosen.map(|chosen| chosen.algorithm)), now());
        let result = CopyPartResult {
            checksum_crc32: part.checksum.checksum_crc32.clone(),
            checksum_crc32c: part.checksum.checksum_crc32c.clone(),
            checksum_crc64nvme: part.checksum.checksum_crc64nvme.clone(),
            checksum_sha1: part.checksum.checksum_sha1.clone(),
            checksum_sha256: part.checksum.checksum_sha256.clone(),
            e_tag: Some(ETag::Strong(part.etag())),
            last_modified: Some(part.modified.clone()),
        };
        let mut store = self.state.lock();
        let uploads = &mut store.bucket_mut(&input.bucket)?.uploads;
        uploads.put_part(&input.key, &input.upload_id, input.part_number, part)?;
        ok(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() })
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let host =
            req.headers.get(hyper::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let input = req.input;
        let location = format!("http://{host}/{}/{}", input.bucket, url_encode(&input.key));
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let ask = Complete {
            key: &input.key,
            upload_id: &input.upload_id,
            parts: &parts,
            conditions: WriteConditions { if_match: input.if_match, if_none_match: input.if_none_match },
            object_bytes: input.mpu_object_size,
            checksum: Checksum {
                checksum_crc32: input.checksum_crc32,
                checksum_crc32c: input.checksum_crc32c,
                checksum_crc64nvme: input.checksum_crc64nvme,
                checksum_sha1: input.checksum_sha1,
                checksum_sha256: input.checksum_sha256,
                ..Default::default()
            },
            part_bytes_min: self.state.part_bytes_min,
        };
        let object = self.state.lock().bucket_mut(&input.bucket)?.complete(&ask, now())?;
        let checksum = object.checksum.clone();
        ok(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            checksum_type: checksum.checksum_type,
            e_tag: Some(etag(&object)),
            key: Some(input.key),
            location: Some(location),
            ..Default::default()
        })
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = req.input;
        self.state.lock().bucket_mut(&input.bucket)?.uploads.abort(&input.key, &input.upload_id)?;
        ok(AbortMultipartUploadOutput::default())
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let input = req.input;
        let max = page_size(input.max_parts, "max-parts")?;
        let marker = input.part_number_marker.unwrap_or_default();
        let store = self.state.lock();
        let upload = store.bucket(&input.bucket)?.uploads.get(&input.key, &input.upload_id)?;
        let mut rest = upload.parts.range((Bound::Excluded(marker), Bound::Unbounded)).peekable();
        let parts: Vec<Part> = rest
            .by_ref()
            .take(max)
            .map(|(number, part)| Part {
                checksum_crc32: part.checksum.checksum_crc32.clone(),
                checksum_crc32c: part.checksum.checksum_crc32c.clone(),
                checksum_crc64nvme: part.checksum.checksum_crc64nvme.clone(),
                checksum_sha1: part.checksum.checksum_sha1.clone(),
                checksum_sha256: part.checksum.checksum_sha256.clone(),
                e_tag: Some(ETag::Strong(part.etag())),
                last_modified: Some(part.modified.clone()),
                part_number: Some(*number),
                size: Some(signed(part.body.len())),
            })
            .collect();
        let is_truncated = max > 0 && rest.peek().is_some();
        ok(ListPartsOutput {
            bucket: Some(input.bucket),
            checksum_algorithm: upload
                .checksum
                .map(|chosen| ChecksumAlgorithm::from(chosen.algorithm.name().to_owned())),
            checksum_type: upload.checksum.map(UploadChecksum::kind),
            is_truncated: Some(is_truncated),
            key: Some(input.key),
            max_parts: Some(count(max)),
            next_part_number_marker: parts.last().and_then(|part| part.part_number),
            owner: Some(self.owner()),
            part_number_marker: Some(marker),
            parts: Some(parts),
            storage_class: Some(
                upload.headers.storage_class.clone().unwrap_or_else(|| StorageClass::from_static("STANDARD")),
            ),
            upload_id: Some(input.upload_id),
            ..Default::default()
        })
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = req.input;
        if delimiter(&input.delimiter).is_some() {
            return Err(s3_error!(NotImplemented, "ListMultipartUploads has no delimiter here"));
        }
        let encoding = Encoding::parse(input.encoding_type)?;
        let max = page_size(input.max_uploads, "max-uploads")?;
        let prefix = input.prefix.unwrap_or_default();
        let key_marker = input.key_marker.unwrap_or_default();
        let id_marker = input.upload_id_marker.unwrap_or_default();
        let store = self.state.lock();
        let uploads = store.bucket(&input.bucket)?.uploads.by_key();
        let mut rest = uploads
            .into_iter()
            .filter(|((key, id), _)| {
                key.starts_with(&prefix)
                    && (*key > key_marker.as_str()
                        || (*key == key_marker && !id_marker.is_empty() && *id > id_marker.as_str()))
            })
            .peekable();
        let mut last = None;
        let mut listed = Vec::new();
        for ((key, id), upload) in rest.by_ref().take(max) {
            last = Some((key, id));
            listed.push(MultipartUpload {
                checksum_algorithm: upload
                    .checksum
                    .map(|chosen| ChecksumAlgorithm::from(chosen.algorithm.name().to_owned())),
                checksum_type: upload.checksum.map(UploadChecksum::kind),
                initiated: Some(upload.initiated.clone()),
                key: Some(encoding.apply(key)),
                owner: Some(self.owner()),
                storage_class: upload.headers.storage_class.clone(),
                upload_id: Some(id.to_owned()),
                ..Default::default()
            });
        }
        let next = last.filter(|_| rest.peek().is_some());
        ok(ListMultipartUploadsOutput {
            is_truncated: Some(next.is_some()),
            key_marker: Some(encoding.apply(&key_marker)),
            max_uploads: Some(count(max)),
            next_key_marker: next.map(|(key, _)| encoding.apply(key)),
            next_upload_id_marker: next.map(|(_, id)| id.to_owned()),
            prefix: Some(encoding.apply(&prefix)),
            upload_id_marker: Some(id_marker),
            uploads: Some(listed),
            bucket: Some(input.bucket),
            encoding_type: encoding.0,
            ..Default::default()
        })
    }
}

/// The checksum algorithm that a header names, or that s3s found announced as a trailer.
fn announced(headers: &HeaderMap, trailer: Option<ChecksumAlgorithm>) -> Option<String> {
    let header = headers.get("x-amz-sdk-checksum-algorithm").and_then(|name| name.to_str().ok());
    header.map(str::to_owned).or_else(|| trailer.map(|algorithm| algorithm.as_str().to_owned()))
}

fn require_checked_body<T>(req: &S3Request<T>) -> S3Result<()> {
    req.extensions.get::<XmlBody>().unwrap_or(&XmlBody::Unchecked).require()
}
