//! S3's numbers, which every store here keeps, so that code tested on one store runs on the others.
//!
//! From [Amazon S3 multipart upload limits] and [object key naming].
//!
//! [Amazon S3 multipart upload limits]: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
//! [object key naming]: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html

/// Bytes in one KiB.
pub const KIB: u64 = 1024;
/// Bytes in one MiB.
pub const MIB: u64 = 1024 * KIB;
/// Bytes in one GiB.
pub const GIB: u64 = 1024 * MIB;
/// Bytes in one TiB.
pub const TIB: u64 = 1024 * GIB;

/// The longest key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 1024;

/// The smallest part of a multipart upload, in bytes. Only the last part may be smaller.
pub const PART_BYTES_MIN: u64 = 5 * MIB;

/// The largest part of a multipart upload, in bytes.
pub const PART_BYTES_MAX: u64 = 5 * GIB;

/// The most parts of one multipart upload; also the highest part number.
pub const PARTS_MAX: u16 = 10_000;

/// The largest object that one put can store, in bytes.
pub const PUT_BYTES_MAX: u64 = 5 * GIB;

/// The largest object, in bytes. AWS raised its own limit since; the stores that speak S3 did not all follow.
pub const OBJECT_BYTES_MAX: u64 = 5 * TIB;

/// The most entries (objects and common prefixes together) of one list page.
pub const LIST_PAGE_MAX: usize = 1000;

/// The most keys one DeleteObjects request carries. `delete_many` takes any number and splits.
pub const DELETE_KEYS_MAX: usize = 1000;

/// The most bytes of user metadata of one object, names and values added up: S3's 2 KiB, less the 44 that the id of the
/// write takes (`operation-id` and 32 digits).
pub const USER_METADATA_BYTES_MAX: usize = 2 * 1024 - 44;
