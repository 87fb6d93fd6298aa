//! `S3Storage`: S3, and what speaks S3, as an [`ObjectStorage`](object_storage::ObjectStorage) for compio, without
//! the AWS SDK and without a tokio runtime.
//!
//! Inside are two halves. `protocol` holds everything that decides, as values in and values out: what is sent, what
//! an answer means, what may be tried again. `transport` moves bytes. One loop, the driver, stands between them.
//! Without the feature `cyper` only the first half is built, and nothing that does I/O is in the tree.

#![cfg_attr(
    not(feature = "cyper"),
    expect(dead_code, unused_imports, reason = "without a transport nobody asks the protocol")
)]

mod protocol;

#[cfg(feature = "cyper")]
mod clock;
#[cfg(feature = "cyper")]
mod driver;
#[cfg(feature = "cyper")]
mod host;
#[cfg(feature = "cyper")]
mod multipart;
#[cfg(feature = "cyper")]
mod open;
#[cfg(feature = "cyper")]
mod storage;
#[cfg(feature = "cyper")]
mod transport;

#[cfg(feature = "cyper")]
pub use crate::host::system_host;
#[cfg(feature = "cyper")]
pub use crate::open::{credentials_chain, factory};
#[cfg(feature = "cyper")]
pub use crate::storage::S3Storage;
