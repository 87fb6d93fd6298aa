//! Between s3s's inputs and outputs and the objects of the store.

use bytes::Bytes;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{
    Checksum, ChecksumType, CopySource, CreateMultipartUploadInput, ETag, GetObjectInput, GetObjectOutput,
    HeadObjectInput, HeadObjectOutput, PutObjectInput, Range, StorageClass, Timestamp,
};
use s3s::{S3Result, s3_error};

use super::conditions::ReadConditions;
use super::integrity::{Algorithm, Received, hex};
use super::segments::Segments;
use super::store::{ContentHeaders, Object, Selection};

/// What S3 says of an object that was stored without a content type.
const CONTENT_TYPE: &str = "binary/octet-stream";

/// An object without headers, as other programs put it.
pub(super) fn plain(bytes: Bytes, now: Timestamp) -> Object {
    let md5 = Md5::checksum(&bytes);
    let checksum = whole(Algorithm::Crc64Nvme.digest([&bytes]));
    let body = Segments::new(vec![bytes]);
    from_received(Received { body, md5, checksum }, ContentHeaders::default(), now)
}

pub(super) fn from_received(received: Received, headers: ContentHeaders, now: Timestamp) -> Object {
    Object {
        etag: hex(&received.md5),
        checksum: whole(received.checksum),
        body: received.body,
        modified: now,
        headers,
        part_lengths: Vec::new(),
    }
}

/// Marks a checksum as one over all bytes of the object.
fn whole(mut checksum: Checksum) -> Checksum {
    checksum.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
    checksum
}

/// The entity tag as s3s writes it, quoted.
pub(super) fn etag(object: &Object) -> ETag {
    ETag::Strong(object.etag.clone())
}

/// A length as the outputs have it.
pub(super) fn signed(length: u64) -> i64 {
    i64::try_from(length).expect("no object in memory is that long")
}

/// `aws-chunked` is how the body travelled, not how it is encoded: S3 does not store it.
fn stored_encoding(header: Option<String>) -> Option<String> {
    let header = header?;
    let kept: Vec<&str> =
        header.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

impl From<&mut PutObjectInput> for ContentHeaders {
    fn from(input: &mut PutObjectInput) -> Self {
        ContentHeaders {
            cache_control: input.cache_control.take(),
            content_disposition: input.content_disposition.take(),
            content_encoding: stored_encoding(input.content_encoding.take()),
            content_language: input.content_language.take(),
            content_type: input.content_type.take(),
            expires: input.expires.take(),
            metadata: input.metadata.take(),
            storage_class: input.storage_class.take(),
        }
    }
}

impl From<&mut CreateMultipartUploadInput> for ContentHeaders {
    fn from(input: &mut CreateMultipartUploadInput) -> Self {
        ContentHeaders {
            cache_control: input.cache_control.take(),
            content_disposition: input.content_disposition.take(),
            content_encoding: stored_encoding(input.content_encoding.take()),
            content_language: input.content_language.take(),
            content_type: input.content_type.take(),
            expires: input.expires.take(),
            metadata: input.metadata.take(),
            storage_class: input.storage_class.take(),
        }
    }
}

/// Bucket and key of a copy source, percent-decoded by s3s.
pub(super) fn copy_source(source: &CopySource) -> S3Result<(&str, &str)> {
    match source {
        CopySource::Bucket { bucket, key, version_id: None } => Ok((bucket, key)),
        CopySource::Bucket { version_id: Some(_), .. } => Err(no_versions()),
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(s3_error!(NotImplemented, "Access points are not implemented"))
        }
    }
}

/// Versioning is never enabled here, so the only version is `null`.
pub(super) fn check_version(version_id: Option<&str>) -> S3Result<()> {
    match version_id {
        None | Some("null") => Ok(()),
        Some(_) => Err(no_versions()),
    }
}

fn no_versions() -> s3s::S3Error {
    s3_error!(NoSuchVersion, "The specified version does not exist.")
}

/// What GET and HEAD have in common.
pub(super) struct Read {
    pub(super) conditions: ReadConditions,
    pub(super) range: Option<Range>,
    pub(super) part_number: Option<i32>,
    pub(super) with_checksum: bool,
}

impl From<&mut GetObjectInput> for Read {
    fn from(input: &mut GetObjectInput) -> Self {
        Read {
            conditions: ReadConditions {
                if_match: input.if_match.take(),
                if_none_match: input.if_none_match.take(),
                if_modified_since: input.if_modified_since.take(),
                if_unmodified_since: input.if_unmodified_since.take(),
            },
            range: input.range,
            part_number: input.part_number,
            with_checksum: input.checksum_mode.is_some(),
        }
    }
}

impl From<&mut HeadObjectInput> for Read {
    fn from(input: &mut HeadObjectInput) -> Self {
        Read {
            conditions: ReadConditions {
                if_match: input.if_match.take(),
                if_none_match: input.if_none_match.take(),
                if_modified_since: input.if_modified_since.take(),
                if_unmodified_since: input.if_unmodified_since.take(),
            },
            range: input.range,
            part_number: input.part_number,
            with_checksum: input.checksum_mode.is_some(),
        }
    }
}

/// The head of the answer to a read; GET adds the bytes.
pub(super) fn head(object: &Object, selection: &Selection, read: &Read) -> HeadObjectOutput {
    let headers = object.headers.clone();
    // A checksum of the whole says nothing about a part of it.
    let checksum =
        if read.with_checksum && !selection.partial { object.checksum.clone() } else { Checksum::default() };
    HeadObjectOutput {
        accept_ranges: Some("bytes".into()),
        cache_control: headers.cache_control,
        checksum_crc32: checksum.checksum_crc32,
        checksum_crc32c: checksum.checksum_crc32c,
        checksum_crc64nvme: checksum.checksum_crc64nvme,
        checksum_sha1: checksum.checksum_sha1,
        checksum_sha256: checksum.checksum_sha256,
        checksum_type: checksum.checksum_type,
        content_disposition: headers.content_disposition,
        content_encoding: headers.content_encoding,
        content_language: headers.content_language,
        content_length: Some(signed(selection.bytes.end - selection.bytes.start)),
        content_range: selection.content_range(object),
        content_type: headers.content_type.or_else(|| Some(CONTENT_TYPE.into())),
        e_tag: Some(etag(object)),
        expires: headers.expires,
        last_modified: Some(object.modified.clone()),
        metadata: headers.metadata,
        parts_count: read
            .part_number
            .filter(|_| !object.part_lengths.is_empty())
            .map(|_| i32::try_from(object.part_lengths.len()).expect("an object has at most 10,000 parts")),
        // S3 leaves the header out for STANDARD.
        storage_class: headers.storage_class.filter(|class| class.as_str() != StorageClass::STANDARD),
        ..Default::default()
    }
}

/// The answer to GET: the same head, and a stream of slices of what is stored.
pub(super) fn get(object: &Object, selection: &Selection, read: &Read) -> GetObjectOutput {
    let head = head(object, selection, read);
    GetObjectOutput {
        body: Some(object.body.slice(selection.bytes.clone()).into_stream()),
        accept_ranges: head.accept_ranges,
        cache_control: head.cache_control,
        checksum_crc32: head.checksum_crc32,
        checksum_crc32c: head.checksum_crc32c,
        checksum_crc64nvme: head.checksum_crc64nvme,
        checksum_sha1: head.checksum_sha1,
        checksum_sha256: head.checksum_sha256,
        checksum_type: head.checksum_type,
        content_disposition: head.content_disposition,
        content_encoding: head.content_encoding,
        content_language: head.content_language,
        content_length: head.content_length,
        content_range: head.content_range,
        content_type: head.content_type,
        e_tag: head.e_tag,
        expires: head.expires,
        last_modified: head.last_modified,
        metadata: head.metadata,
        parts_count: head.parts_count,
        storage_class: head.storage_class,
        ..Default::default()
    }
}
