//! The state of the server and S3's rules over it: values in, values out, no HTTP and no clock.
//!
//! The server keeps one [`Store`] behind one mutex. Bodies are complete before the mutex is taken, so every
//! method here is one atomic step, conditions included.

use std::collections::BTreeMap;
use std::ops::Range as Bytes;
use std::sync::Arc;

use s3s::dto::{Checksum, ETagCondition, LifecycleRule, Metadata, Range, StorageClass, Timestamp};
use s3s::{S3ErrorCode, S3Result, s3_error};

use super::conditions::{WriteConditions, check_delete};
use super::multipart::Uploads;
use super::segments::Segments;

/// Object keys are at most this long:
/// [naming objects](https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
const KEY_BYTES_MAX: usize = 1024;

/// User metadata, names and values together:
/// [user-defined metadata](https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html).
const METADATA_BYTES_MAX: usize = 2048;

/// The largest object that one PutObject, UploadPart or CopyObject may write:
/// [limits](https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
pub(super) const SINGLE_WRITE_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// Every bucket.
#[derive(Debug)]
pub(super) struct Store {
    buckets: BTreeMap<String, Bucket>,
    region: String,
}

/// Objects in byte order of their keys, and the uploads that are not objects yet.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) created: Timestamp,
    pub(super) objects: BTreeMap<String, Arc<Object>>,
    pub(super) uploads: Uploads,
    pub(super) lifecycle: Option<Vec<LifecycleRule>>,
}

/// One object. Never changed, only replaced, so a reader holds a consistent one.
#[derive(Debug, Default)]
pub(super) struct Object {
    pub(super) body: Segments,
    /// Without quotes.
    pub(super) etag: String,
    /// Whole seconds, as S3 keeps it.
    pub(super) modified: Timestamp,
    pub(super) headers: ContentHeaders,
    pub(super) checksum: Checksum,
    /// The lengths of the parts it was joined from; empty when it was written at once.
    pub(super) part_lengths: Vec<u64>,
}

/// What is stored beside the bytes and given back with them.
#[derive(Clone, Debug, Default)]
pub(super) struct ContentHeaders {
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) expires: Option<Timestamp>,
    pub(super) metadata: Option<Metadata>,
    pub(super) storage_class: Option<StorageClass>,
}

impl ContentHeaders {
    pub(super) fn check(&self) -> S3Result<()> {
        let bytes: usize = self.metadata.iter().flatten().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > METADATA_BYTES_MAX {
            return Err(s3_error!(
                MetadataTooLarge,
                "Your metadata headers exceed the maximum allowed metadata size"
            ));
        }
        Ok(())
    }
}

impl Store {
    pub(super) fn new(region: &str) -> Self {
        Store { buckets: BTreeMap::new(), region: region.to_owned() }
    }

    /// Creates an empty bucket.
    ///
    /// S3 insists on `LocationConstraint` everywhere but in us-east-1, and there alone it answers 200 for a
    /// bucket that the caller already owns.
    pub(super) fn create_bucket(
        &mut self,
        name: &str,
        constraint: Option<&str>,
        now: &Timestamp,
    ) -> S3Result<()> {
        let fits = match constraint {
            None | Some("") => self.region == "us-east-1",
            Some(constraint) => constraint == self.region,
        };
        if !fits {
            return Err(s3_error!(
                IllegalLocationConstraintException,
                "The {} location constraint is incompatible for the region specific endpoint this request was \
                 sent to.",
                constraint.unwrap_or("unspecified")
            ));
        }
        if self.buckets.contains_key(name) {
            return if self.region == "us-east-1" { Ok(()) } else { Err(s3_error!(BucketAlreadyOwnedByYou)) };
        }
        self.add_bucket(name, now);
        Ok(())
    }

    /// What the program that starts the server does: no rule applies.
    pub(super) fn add_bucket(&mut self, name: &str, now: &Timestamp) {
        let bucket = Bucket {
            created: now.clone(),
            objects: BTreeMap::new(),
            uploads: Uploads::default(),
            lifecycle: None,
        };
        self.buckets.insert(name.to_owned(), bucket);
    }

    /// Removes an empty bucket; its unfinished uploads do not count and go with it.
    pub(super) fn delete_bucket(&mut self, name: &str) -> S3Result<()> {
        if !self.bucket(name)?.objects.is_empty() {
            return Err(s3_error!(BucketNotEmpty, "The bucket you tried to delete is not empty"));
        }
        self.buckets.remove(name);
        Ok(())
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = (&String, &Bucket)> {
        self.buckets.iter()
    }

    pub(super) fn bucket(&self, name: &str) -> S3Result<&Bucket> {
        self.buckets.get(name).ok_or_else(|| no_such_bucket(name))
    }

    pub(super) fn bucket_mut(&mut self, name: &str) -> S3Result<&mut Bucket> {
        self.buckets.get_mut(name).ok_or_else(|| no_such_bucket(name))
    }
}

fn no_such_bucket(name: &str) -> s3s::S3Error {
    s3_error!(NoSuchBucket, "The specified bucket does not exist: {name}")
}

impl Bucket {
    pub(super) fn get(&self, key: &str) -> S3Result<&Arc<Object>> {
        self.objects.get(key).ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
    }

    /// Puts `object` under `key` if `conditions` hold of what is there now.
    pub(super) fn put(
        &mut self,
        key: &str,
        object: Object,
        conditions: &WriteConditions,
    ) -> S3Result<Arc<Object>> {
        check_key(key)?;
        object.headers.check()?;
        conditions.check(self.objects.get(key).map(Arc::as_ref))?;
        let object = Arc::new(object);
        self.objects.insert(key.to_owned(), object.clone());
        Ok(object)
    }

    /// Removes `key`; one that is not there is removed already, unless a condition asks for it.
    pub(super) fn delete(&mut self, key: &str, if_match: Option<&ETagCondition>) -> S3Result<()> {
        check_key(key)?;
        check_delete(if_match, self.objects.get(key).map(Arc::as_ref))?;
        self.objects.remove(key);
        Ok(())
    }
}

pub(super) fn check_key(key: &str) -> S3Result<()> {
    if key.len() > KEY_BYTES_MAX {
        return Err(s3_error!(KeyTooLongError, "Your key is too long"));
    }
    Ok(())
}

/// The part of an object that a read asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) bytes: Bytes<u64>,
    /// Answered with 206 and a `Content-Range`.
    pub(super) partial: bool,
}

impl Selection {
    /// Resolves `Range` or `partNumber`, not both, against an object.
    pub(super) fn of(object: &Object, range: Option<&Range>, part_number: Option<i32>) -> S3Result<Self> {
        let whole = 0..object.body.len();
        match (range, part_number) {
            (None, None) => Ok(Selection { bytes: whole, partial: false }),
            (Some(range), None) => {
                let bytes = range.check(object.body.len())?;
                // An empty object satisfies no range, not even its last byte.
                if bytes.is_empty() {
                    return Err(S3ErrorCode::InvalidRange.into());
                }
                Ok(Selection { bytes, partial: true })
            }
            (None, Some(number)) => {
                let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
                let index =
                    index.ok_or_else(|| s3_error!(InvalidArgument, "partNumber must be at least 1"))?;
                if object.part_lengths.is_empty() && index == 0 {
                    return Ok(Selection { partial: !whole.is_empty(), bytes: whole });
                }
                let length = *object.part_lengths.get(index).ok_or_else(|| {
                    let mut error = s3_error!(InvalidRange, "The requested partnumber is not satisfiable");
                    error.set_code(S3ErrorCode::Custom("InvalidPartNumber".into()));
                    error.set_status_code(hyper::StatusCode::RANGE_NOT_SATISFIABLE);
                    error
                })?;
                let start: u64 = object.part_lengths[..index].iter().sum();
                Ok(Selection { bytes: start..start + length, partial: true })
            }
            (Some(_), Some(_)) => Err(s3_error!(
                InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter"
            )),
        }
    }

    /// `bytes first-last/length`, for the answer to a partial read that has any byte.
    pub(super) fn content_range(&self, object: &Object) -> Option<String> {
        (self.partial && !self.bytes.is_empty())
            .then(|| format!("bytes {}-{}/{}", self.bytes.start, self.bytes.end - 1, object.body.len()))
    }
}

#[cfg(test)]
mod tests {
    use s3s::dto::ETag;

    use super::*;

    fn object(body: &'static [u8]) -> Object {
        Object {
            body: Segments::new(vec![bytes::Bytes::from_static(body)]),
            etag: format!("{}", body.len()),
            ..Object::default()
        }
    }

    fn store() -> Store {
        let mut store = Store::new("us-east-1");
        store.create_bucket("bucket", None, &Timestamp::default()).unwrap();
        store
    }

    fn code<T: std::fmt::Debug>(result: S3Result<T>) -> String {
        result.unwrap_err().code().as_str().to_owned()
    }

    #[test]
    fn a_bucket_is_deleted_only_when_empty() {
        let mut store = store();
        let bucket = store.bucket_mut("bucket").unwrap();
        bucket.put("key", object(b"x"), &WriteConditions::default()).unwrap();
        assert_eq!(code(store.delete_bucket("bucket")), "BucketNotEmpty");
        store.bucket_mut("bucket").unwrap().delete("key", None).unwrap();
        store.delete_bucket("bucket").unwrap();
        assert_eq!(code(store.delete_bucket("bucket")), "NoSuchBucket");
    }

    #[test]
    fn only_us_east_1_needs_no_location_and_forgives_a_second_create() {
        let mut store = store();
        let now = Timestamp::default();
        store.create_bucket("bucket", None, &now).unwrap();
        assert_eq!(
            code(store.create_bucket("other", Some("eu-west-1"), &now)),
            "IllegalLocationConstraintException"
        );
        let mut europe = Store::new("eu-west-1");
        assert_eq!(code(europe.create_bucket("bucket", None, &now)), "IllegalLocationConstraintException");
        europe.create_bucket("bucket", Some("eu-west-1"), &now).unwrap();
        assert_eq!(code(europe.create_bucket("bucket", Some("eu-west-1"), &now)), "BucketAlreadyOwnedByYou");
    }

    #[test]
    fn a_refused_write_leaves_what_was_there() {
        let mut store = store();
        let bucket = store.bucket_mut("bucket").unwrap();
        let create = WriteConditions { if_none_match: Some(ETagCondition::Any), ..Default::default() };
        bucket.put("key", object(b"one"), &create).unwrap();
        assert_eq!(code(bucket.put("key", object(b"three"), &create)), "PreconditionFailed");
        assert_eq!(bucket.get("key").unwrap().body.to_bytes(), "one");
        let stale = Some(ETagCondition::ETag(ETag::Strong("5".into())));
        assert_eq!(code(bucket.delete("key", stale.as_ref())), "PreconditionFailed");
        assert!(bucket.get("key").is_ok());
    }

    #[test]
    fn a_key_of_1024_bytes_is_the_longest() {
        let mut store = store();
        let bucket = store.bucket_mut("bucket").unwrap();
        bucket.put(&"k".repeat(1024), object(b""), &WriteConditions::default()).unwrap();
        assert_eq!(
            code(bucket.put(&"é".repeat(513), object(b""), &WriteConditions::default())),
            "KeyTooLongError"
        );
    }

    #[test]
    fn metadata_beyond_two_kilobytes_is_refused() {
        let mut store = store();
        let bucket = store.bucket_mut("bucket").unwrap();
        let mut large = object(b"");
        large.headers.metadata = Some([("k".to_owned(), "v".repeat(2048))].into());
        assert_eq!(code(bucket.put("key", large, &WriteConditions::default())), "MetadataTooLarge");
    }

    #[test]
    fn ranges_are_clipped_to_the_object_and_refused_outside_it() {
        let ten = object(b"0123456789");
        let of = |text: &str| Selection::of(&ten, Some(&Range::parse(text).unwrap()), None);
        assert_eq!(of("bytes=2-4").unwrap().bytes, 2..5);
        assert_eq!(of("bytes=2-400").unwrap().bytes, 2..10);
        assert_eq!(of("bytes=9-").unwrap().bytes, 9..10);
        assert_eq!(of("bytes=-3").unwrap().bytes, 7..10);
        assert_eq!(of("bytes=-30").unwrap().bytes, 0..10);
        assert_eq!(of("bytes=-3").unwrap().content_range(&ten).as_deref(), Some("bytes 7-9/10"));
        assert_eq!(code(of("bytes=10-")), "InvalidRange");
        assert_eq!(code(of("bytes=-0")), "InvalidRange");
        let empty = object(b"");
        for text in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(code(Selection::of(&empty, Some(&Range::parse(text).unwrap()), None)), "InvalidRange");
        }
    }

    #[test]
    fn a_part_of_a_joined_object_is_read_by_its_number() {
        let joined = Object { part_lengths: vec![4, 6], ..object(b"0123456789") };
        let part = |number| Selection::of(&joined, None, Some(number));
        assert_eq!(part(2).unwrap(), Selection { bytes: 4..10, partial: true });
        assert_eq!(code(part(3)), "InvalidPartNumber");
        assert_eq!(code(part(0)), "InvalidArgument");
    }
}
