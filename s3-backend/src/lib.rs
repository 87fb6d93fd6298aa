//! `S3Storage`: S3, and what speaks S3, as an [`ObjectStorage`](object_storage::ObjectStorage) for compio, without
//! the AWS SDK and without a tokio runtime.
//!
//! Inside are two halves. `protocol` holds everything that decides, as values in and values out: what is sent, what
//! an answer means, what may be tried again. `transport` moves bytes. One loop, the driver, stands between them.
//! Without the feature `direct` only the first half is built, and nothing that does I/O is in the tree.

#![cfg_attr(
    not(feature = "direct"),
    expect(
        dead_code,
        unused_imports,
        unreachable_pub,
        reason = "without a transport nobody asks the protocol"
    )
)]

mod protocol;

#[cfg(all(feature = "direct", any(test, feature = "fuzzing")))]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(any(test, feature = "simulation"))]
#[doc(hidden)]
pub mod simulation;

#[cfg(feature = "direct")]
mod admission;
#[cfg(feature = "direct")]
mod clock;
#[cfg(feature = "direct")]
mod deadline;
#[cfg(feature = "direct")]
mod driver;
#[cfg(feature = "direct")]
mod host;
#[cfg(feature = "direct")]
mod keys;
#[cfg(feature = "direct")]
mod memory;
#[cfg(feature = "direct")]
mod multipart;
#[cfg(feature = "direct")]
mod open;
#[cfg(feature = "direct")]
mod reaper;
#[cfg(feature = "direct")]
mod resume;
#[cfg(feature = "direct")]
mod storage;
#[cfg(feature = "direct")]
mod timer;
#[cfg(feature = "direct")]
mod transport;
#[cfg(feature = "direct")]
mod turns;
#[cfg(feature = "direct")]
mod verified;
#[cfg(feature = "direct")]
mod wakers;

#[cfg(feature = "direct")]
pub use crate::host::system_host;
#[cfg(feature = "direct")]
pub use crate::open::{credentials_chain, factory};
#[cfg(feature = "direct")]
pub use crate::protocol::presign::PresignedUrl;
#[cfg(feature = "direct")]
pub use crate::reaper::leaked_uploads;
#[cfg(feature = "direct")]
pub use crate::storage::S3Storage;
