//! Multipart uploads: parts kept apart until CompleteMultipartUpload joins them into an object, all at once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum, ChecksumType, CompletedPart, Timestamp};
use s3s::{S3ErrorCode, S3Result, s3_error};

use super::conditions::WriteConditions;
use super::integrity::{Algorithm, Received, hex};
use super::segments::Segments;
use super::store::{Bucket, ContentHeaders, Object, check_key};

/// Part numbers run from 1 to this:
/// [limits](https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
pub(super) const PART_NUMBER_MAX: i32 = 10_000;

/// How many finished uploads are remembered, so that a repeated Complete gets the same answer. AWS remembers
/// them for a time it does not name; a test server does not live that long.
const FINISHED_MAX: usize = 10_000;

/// The uploads of one bucket.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    open: BTreeMap<String, Upload>,
    finished: HashMap<String, Finished>,
    finished_order: VecDeque<String>,
    started: u64,
}

/// An upload that is neither completed nor aborted.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) headers: ContentHeaders,
    pub(super) checksum: Option<UploadChecksum>,
    pub(super) initiated: Timestamp,
    pub(super) parts: BTreeMap<i32, Part>,
}

/// The checksum that CreateMultipartUpload chose for every part and for the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UploadChecksum {
    pub(super) algorithm: Algorithm,
    /// Over all bytes, rather than over the checksums of the parts.
    pub(super) full_object: bool,
}

impl UploadChecksum {
    /// Reads `x-amz-checksum-algorithm` and `x-amz-checksum-type`, with
    /// [S3's defaults](https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html).
    pub(super) fn parse(algorithm: Option<&str>, kind: Option<&str>) -> S3Result<Option<Self>> {
        let Some(algorithm) = algorithm.map(Algorithm::parse).transpose()? else { return Ok(None) };
        let composite_known = algorithm != Algorithm::Crc64Nvme;
        let full_known = !matches!(algorithm, Algorithm::Sha1 | Algorithm::Sha256);
        let full_object = match kind {
            None => !composite_known,
            Some(ChecksumType::FULL_OBJECT) if full_known => true,
            Some(ChecksumType::COMPOSITE) if composite_known => false,
            Some(other) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "The {other} checksum type cannot be used with the {} checksum algorithm.",
                    algorithm.name()
                ));
            }
        };
        Ok(Some(UploadChecksum { algorithm, full_object }))
    }

    pub(super) fn kind(self) -> ChecksumType {
        let name = if self.full_object { ChecksumType::FULL_OBJECT } else { ChecksumType::COMPOSITE };
        ChecksumType::from_static(name)
    }

    fn of(self, parts: &[&Part], body: &Segments) -> Checksum {
        let mut checksum = if self.full_object {
            self.algorithm.digest(body.iter())
        } else {
            let digests: Vec<Bytes> = parts
                .iter()
                .filter_map(|part| self.algorithm.value(&part.checksum))
                .map(|value| STANDARD.decode(value).expect("we wrote this base64").into())
                .collect();
            let mut checksum = self.algorithm.digest(digests.iter());
            let value = self.algorithm.value(&checksum).map(|value| format!("{value}-{}", parts.len()));
            self.algorithm.set(&mut checksum, value);
            checksum
        };
        checksum.checksum_type = Some(self.kind());
        checksum
    }
}

/// One part.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) body: Segments,
    pub(super) md5: [u8; 16],
    pub(super) checksum: Checksum,
    pub(super) modified: Timestamp,
}

impl Part {
    pub(super) fn new(received: Received, modified: Timestamp) -> Self {
        let Received { body, md5, checksum } = received;
        Part { body, md5, checksum, modified }
    }

    pub(super) fn etag(&self) -> String {
        hex(&self.md5)
    }
}

#[derive(Debug)]
struct Finished {
    key: String,
    object: Arc<Object>,
}

/// What CompleteMultipartUpload asks for.
#[derive(Debug, Default)]
pub(super) struct Complete<'a> {
    pub(super) key: &'a str,
    pub(super) upload_id: &'a str,
    pub(super) parts: &'a [CompletedPart],
    pub(super) conditions: WriteConditions,
    /// `x-amz-mp-object-size`
    pub(super) object_bytes: Option<i64>,
    /// Of the whole object, where the client sent one.
    pub(super) checksum: Checksum,
    pub(super) part_bytes_min: u64,
}

impl Uploads {
    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// Begins an upload and names it. Names sort by time.
    pub(super) fn create(
        &mut self,
        key: &str,
        headers: ContentHeaders,
        checksum: Option<UploadChecksum>,
        now: Timestamp,
    ) -> S3Result<String> {
        check_key(key)?;
        headers.check()?;
        self.started += 1;
        // AWS puts dots, dashes and underscores into its names; a client must carry them unharmed.
        let upload_id = format!("{:012}.{}_-", self.started, hex(&Md5::checksum(key.as_bytes())[..6]));
        let upload =
            Upload { key: key.to_owned(), headers, checksum, initiated: now, parts: BTreeMap::new() };
        self.open.insert(upload_id.clone(), upload);
        Ok(upload_id)
    }

    pub(super) fn get(&self, key: &str, upload_id: &str) -> S3Result<&Upload> {
        self.open.get(upload_id).filter(|upload| upload.key == key).ok_or_else(no_such_upload)
    }

    /// Keeps a part, in place of an earlier one of the same number.
    pub(super) fn put_part(&mut self, key: &str, upload_id: &str, number: i32, part: Part) -> S3Result<()> {
        check_part_number(number)?;
        let upload = self.open.get_mut(upload_id).filter(|upload| upload.key == key);
        upload.ok_or_else(no_such_upload)?.parts.insert(number, part);
        Ok(())
    }

    /// Forgets an upload and its parts. A completed one is no longer there to abort.
    pub(super) fn abort(&mut self, key: &str, upload_id: &str) -> S3Result<()> {
        self.get(key, upload_id)?;
        self.open.remove(upload_id);
        Ok(())
    }

    /// The open uploads by key and then by age, which is the order S3 lists them in.
    pub(super) fn by_key(&self) -> BTreeMap<(&str, &str), &Upload> {
        self.open.iter().map(|(id, upload)| ((upload.key.as_str(), id.as_str()), upload)).collect()
    }

    fn finish(&mut self, upload_id: &str, finished: Finished) {
        self.open.remove(upload_id);
        if self.finished_order.len() == FINISHED_MAX
            && let Some(oldest) = self.finished_order.pop_front()
        {
            self.finished.remove(&oldest);
        }
        self.finished_order.push_back(upload_id.to_owned());
        self.finished.insert(upload_id.to_owned(), finished);
    }
}

impl Bucket {
    /// Joins the parts into the object under the key, if the conditions hold of what is there now.
    ///
    /// A refusal leaves the upload as it was, to be completed otherwise or aborted. Asking again after success
    /// gets the same answer again and changes nothing, conditions or not.
    pub(super) fn complete(&mut self, ask: &Complete<'_>, now: Timestamp) -> S3Result<Arc<Object>> {
        if let Some(done) = self.uploads.finished.get(ask.upload_id).filter(|done| done.key == ask.key) {
            return Ok(done.object.clone());
        }
        let upload = self.uploads.get(ask.key, ask.upload_id)?;
        let parts = chosen(upload, ask)?;
        let body = Segments::join(parts.iter().map(|part| &part.body));
        if ask.object_bytes.is_some_and(|said| u64::try_from(said) != Ok(body.len())) {
            return Err(s3_error!(
                InvalidRequest,
                "The provided 'x-amz-mp-object-size' header does not match what was computed"
            ));
        }
        let said = Algorithm::declared_in(&ask.checksum)?;
        let kept = upload.checksum.or(said.map(|algorithm| UploadChecksum { algorithm, full_object: true }));
        let checksum = kept.map(|kept| kept.of(&parts, &body)).unwrap_or_default();
        if let Some(algorithm) = said
            && algorithm.value(&ask.checksum) != algorithm.value(&checksum)
        {
            return Err(s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            ));
        }
        let md5s: Vec<u8> = parts.iter().flat_map(|part| part.md5).collect();
        let object = Object {
            etag: format!("{}-{}", hex(&Md5::checksum(&md5s)), parts.len()),
            modified: now,
            headers: upload.headers.clone(),
            checksum,
            part_lengths: parts.iter().map(|part| part.body.len()).collect(),
            body,
        };
        let object = self.put(ask.key, object, &ask.conditions)?;
        self.uploads.finish(ask.upload_id, Finished { key: ask.key.to_owned(), object: object.clone() });
        Ok(object)
    }
}

/// The parts that a Complete lists, checked against those that were uploaded.
fn chosen<'a>(upload: &'a Upload, ask: &Complete<'_>) -> S3Result<Vec<&'a Part>> {
    if ask.parts.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    let mut parts = Vec::with_capacity(ask.parts.len());
    let mut previous = 0;
    for listed in ask.parts {
        let (Some(number), Some(etag)) = (listed.part_number, &listed.e_tag) else {
            return Err(s3_error!(MalformedXML, "A part must have a number and an entity tag"));
        };
        if number <= previous {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number."
            ));
        }
        previous = number;
        let part = upload.parts.get(&number).filter(|part| etag.as_strong() == Some(&part.etag()));
        let part = part.filter(|part| checksums_agree(listed, part)).ok_or_else(|| {
            s3_error!(
                InvalidPart,
                "Part {number} could not be found. It may not have been uploaded, or its entity tag differs."
            )
        })?;
        parts.push(part);
    }
    let (_last, before) = parts.split_last().expect("the list is not empty");
    if let Some(small) = before.iter().find(|part| part.body.len() < ask.part_bytes_min) {
        return Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size: {} < {}",
            small.body.len(),
            ask.part_bytes_min
        ));
    }
    Ok(parts)
}

fn checksums_agree(listed: &CompletedPart, part: &Part) -> bool {
    [
        (&listed.checksum_crc32, &part.checksum.checksum_crc32),
        (&listed.checksum_crc32c, &part.checksum.checksum_crc32c),
        (&listed.checksum_crc64nvme, &part.checksum.checksum_crc64nvme),
        (&listed.checksum_sha1, &part.checksum.checksum_sha1),
        (&listed.checksum_sha256, &part.checksum.checksum_sha256),
    ]
    .iter()
    .all(|(said, kept)| said.is_none() || said == kept)
}

pub(super) fn check_part_number(number: i32) -> S3Result<()> {
    if (1..=PART_NUMBER_MAX).contains(&number) {
        return Ok(());
    }
    Err(s3_error!(
        InvalidArgument,
        "Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive"
    ))
}

fn no_such_upload() -> s3s::S3Error {
    s3s::S3Error::with_message(
        S3ErrorCode::NoSuchUpload,
        "The specified upload does not exist. It may have been aborted or completed.",
    )
}

#[cfg(test)]
mod tests {
    use s3s::dto::{ETag, ETagCondition};

    use super::*;
    use crate::server::store::Store;

    const MIN: u64 = 4;

    struct Fixture {
        store: Store,
        upload_id: String,
    }

    impl Fixture {
        fn new() -> Self {
            let mut store = Store::new("us-east-1");
            store.add_bucket("bucket", &Timestamp::default());
            let mut fixture = Fixture { store, upload_id: String::new() };
            let uploads = &mut fixture.bucket().uploads;
            fixture.upload_id =
                uploads.create("key", ContentHeaders::default(), None, Timestamp::default()).unwrap();
            fixture
        }

        fn bucket(&mut self) -> &mut Bucket {
            self.store.bucket_mut("bucket").unwrap()
        }

        /// Uploads a part and says how Complete lists it.
        fn part(&mut self, number: i32, body: &'static [u8]) -> CompletedPart {
            let md5 = Md5::checksum(body);
            let part = Part {
                body: Segments::new(vec![Bytes::from_static(body)]),
                md5,
                checksum: Checksum::default(),
                modified: Timestamp::default(),
            };
            let upload_id = self.upload_id.clone();
            self.bucket().uploads.put_part("key", &upload_id, number, part).unwrap();
            listed(number, &hex(&md5))
        }

        fn complete(&mut self, parts: &[CompletedPart]) -> Result<Arc<Object>, String> {
            self.complete_if(parts, WriteConditions::default())
        }

        fn complete_if(
            &mut self,
            parts: &[CompletedPart],
            conditions: WriteConditions,
        ) -> Result<Arc<Object>, String> {
            let upload_id = self.upload_id.clone();
            let ask = Complete {
                key: "key",
                upload_id: &upload_id,
                parts,
                conditions,
                part_bytes_min: MIN,
                ..Default::default()
            };
            let outcome = self.bucket().complete(&ask, Timestamp::default());
            outcome.map_err(|error| error.code().as_str().to_owned())
        }
    }

    fn listed(number: i32, etag: &str) -> CompletedPart {
        CompletedPart {
            part_number: Some(number),
            e_tag: Some(ETag::Strong(etag.into())),
            ..Default::default()
        }
    }

    #[test]
    fn parts_are_joined_in_order_under_the_entity_tag_that_aws_computes() {
        let mut fixture = Fixture::new();
        let second = fixture.part(7, b"56");
        let first = fixture.part(1, b"1234");
        let object = fixture.complete(&[first, second]).unwrap();
        assert_eq!(object.body.to_bytes(), "123456");
        // md5(md5("1234") || md5("56")), computed with another tool.
        assert_eq!(object.etag, "1068c9009a6d5af54518805d9aeba212-2");
        assert_eq!(object.part_lengths, [4, 2]);
        assert_eq!(fixture.bucket().uploads.count(), 0);
    }

    #[test]
    fn only_the_last_part_may_be_small() {
        let mut fixture = Fixture::new();
        let small = fixture.part(1, b"123");
        let last = fixture.part(2, b"4");
        assert_eq!(fixture.complete(&[small.clone(), last]).unwrap_err(), "EntityTooSmall");
        assert!(fixture.complete(&[small]).is_ok());
    }

    #[test]
    fn a_part_that_is_unknown_replaced_or_out_of_order_is_refused() {
        let mut fixture = Fixture::new();
        let old = fixture.part(1, b"1234");
        let new = fixture.part(1, b"abcd");
        let second = fixture.part(2, b"5678");
        assert_eq!(fixture.complete(&[old]).unwrap_err(), "InvalidPart");
        assert_eq!(fixture.complete(&[new.clone(), listed(3, "x")]).unwrap_err(), "InvalidPart");
        assert_eq!(fixture.complete(&[second, new.clone()]).unwrap_err(), "InvalidPartOrder");
        assert_eq!(fixture.complete(&[new.clone(), new.clone()]).unwrap_err(), "InvalidPartOrder");
        assert_eq!(fixture.complete(&[]).unwrap_err(), "MalformedXML");
        assert_eq!(fixture.bucket().uploads.count(), 1, "a refused complete leaves the upload open");
        assert_eq!(
            fixture.complete(&[new]).unwrap().body.to_bytes(),
            "abcd",
            "parts not listed are left out"
        );
    }

    #[test]
    fn a_repeated_complete_gets_the_same_answer_even_with_a_condition() {
        let mut fixture = Fixture::new();
        let part = fixture.part(1, b"1234");
        let create = || WriteConditions { if_none_match: Some(ETagCondition::Any), ..Default::default() };
        let first = fixture.complete_if(std::slice::from_ref(&part), create()).unwrap();
        let again = fixture.complete_if(&[part], create()).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
    }

    #[test]
    fn a_conditional_complete_that_loses_leaves_the_upload_open() {
        let mut fixture = Fixture::new();
        let part = fixture.part(1, b"1234");
        fixture.bucket().put("key", Object::default(), &WriteConditions::default()).unwrap();
        let create = WriteConditions { if_none_match: Some(ETagCondition::Any), ..Default::default() };
        assert_eq!(fixture.complete_if(&[part], create).unwrap_err(), "PreconditionFailed");
        assert_eq!(fixture.bucket().uploads.count(), 1);
    }

    #[test]
    fn an_aborted_or_unknown_upload_is_gone_for_everyone() {
        let mut fixture = Fixture::new();
        let part = fixture.part(1, b"1234");
        let upload_id = fixture.upload_id.clone();
        let code = |outcome: S3Result<()>| outcome.unwrap_err().code().as_str().to_owned();
        assert_eq!(code(fixture.bucket().uploads.abort("other", &upload_id)), "NoSuchUpload");
        fixture.bucket().uploads.abort("key", &upload_id).unwrap();
        assert_eq!(code(fixture.bucket().uploads.abort("key", &upload_id)), "NoSuchUpload");
        assert_eq!(fixture.complete(&[part]).unwrap_err(), "NoSuchUpload");
    }

    #[test]
    fn the_size_said_in_advance_must_be_the_size_that_came() {
        let mut fixture = Fixture::new();
        let parts = [fixture.part(1, b"1234")];
        let upload_id = fixture.upload_id.clone();
        let ask = |object_bytes| Complete {
            key: "key",
            upload_id: &upload_id,
            parts: &parts,
            object_bytes: Some(object_bytes),
            ..Default::default()
        };
        let refused = fixture.bucket().complete(&ask(5), Timestamp::default()).unwrap_err();
        assert_eq!(refused.code().as_str(), "InvalidRequest");
        assert!(fixture.bucket().complete(&ask(4), Timestamp::default()).is_ok());
    }

    #[test]
    fn part_numbers_run_from_one_to_ten_thousand() {
        assert!(check_part_number(1).is_ok() && check_part_number(10_000).is_ok());
        assert!(check_part_number(0).is_err() && check_part_number(10_001).is_err());
    }

    #[test]
    fn a_composite_checksum_is_over_the_checksums_of_the_parts() {
        let chosen = UploadChecksum::parse(Some("SHA256"), None).unwrap().unwrap();
        assert!(!chosen.full_object);
        let body = Segments::new(vec![Bytes::from_static(b"hello")]);
        let part = Part {
            checksum: Algorithm::Sha256.digest(body.iter()),
            md5: [0; 16],
            modified: Timestamp::default(),
            body: body.clone(),
        };
        let checksum = chosen.of(&[&part], &body);
        // sha256(sha256("hello")), computed with another tool.
        assert_eq!(
            checksum.checksum_sha256.as_deref(),
            Some("lZXJ35AHUUjrBoYDZd8zWEt1v/eCpRDGzUiDpBmDPVA=-1")
        );
        assert!(UploadChecksum::parse(Some("SHA256"), Some("FULL_OBJECT")).is_err());
        assert!(UploadChecksum::parse(Some("CRC64NVME"), Some("COMPOSITE")).is_err());
    }
}
