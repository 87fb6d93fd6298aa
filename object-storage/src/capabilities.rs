//! [`Capabilities`]: what a store honours beyond the plain operations.

use crate::config::MULTIPART_PART_SIZE_DEFAULT;

/// Which conditions a store honours. What it does not honour it refuses with `Unsupported`; no store here
/// accepts a condition and ignores it.
///
/// For S3 this is what the configuration says of the endpoint, not a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// [`PutMode::Create`](crate::PutMode) on put.
    pub put_create: bool,
    /// [`PutMode::Match`](crate::PutMode) on put.
    pub put_match: bool,
    /// [`PutMode::Create`](crate::PutMode) on completing a multipart upload.
    pub complete_create: bool,
    /// [`PutMode::Match`](crate::PutMode) on completing a multipart upload.
    pub complete_match: bool,
    /// Conditions on the destination of a copy.
    pub copy_conditions: bool,
    /// `if_match` on delete.
    pub delete_match: bool,
    /// Keys that only [`Key::verbatim`](crate::Key::verbatim) admits, except those with `.` or `..` segments.
    pub verbatim_keys: bool,
    /// Listings come in byte order of the keys.
    pub ordered_list: bool,
    /// The size of the parts that [`BufferedMultipartWriter`](crate::BufferedMultipartWriter) begins with unless it
    /// is told otherwise, in bytes. 8 MiB unless the store is configured otherwise: large enough that a request's
    /// fixed cost (a first byte takes 10 to 30 ms) is small beside its transfer, small enough that five of them,
    /// 40 MiB, are a bearable price for one open writer.
    pub multipart_part_size: u64,
    /// The store states the CRC-64/NVME of what it is given to whatever keeps it. Who gathers bytes for it does well to
    /// compute that as they come: [`BufferedMultipartWriter`](crate::BufferedMultipartWriter) does.
    pub states_crc64_nvme: bool,
}

impl Capabilities {
    /// Everything the trait offers, on keys that [`Key::parse`](crate::Key::parse) admits.
    pub const ALL_CONDITIONS: Capabilities = Capabilities {
        put_create: true,
        put_match: true,
        complete_create: true,
        complete_match: true,
        copy_conditions: true,
        delete_match: true,
        verbatim_keys: false,
        ordered_list: true,
        multipart_part_size: MULTIPART_PART_SIZE_DEFAULT,
        states_crc64_nvme: false,
    };
}
