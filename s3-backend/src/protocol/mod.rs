//! Values in, values out: what S3 is asked and what its answers mean. No clock, socket, file or runtime.

pub(crate) mod address;
pub(crate) mod budget;
pub(crate) mod checksum;
pub(crate) mod concurrency;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod header;
pub(crate) mod headers;
mod http_date;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod mend;
pub(crate) mod operations;
pub(crate) mod presign;
pub(crate) mod request;
pub(crate) mod resume;
pub(crate) mod retry;
pub(crate) mod sign;
pub(crate) mod value;
pub(crate) mod xml;
