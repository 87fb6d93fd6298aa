//! Object storage for servers that run one compio (io_uring) runtime per core.
//!
//! [`ObjectStorage`] is the contract, used everywhere as `Rc<dyn ObjectStorage>`: one store per shard, not
//! `Send`, with owned buffers and outcomes that can be relied upon. This crate holds the words of the contract,
//! the stores that need no network, and [`BufferedMultipartWriter`]; the crate `s3-backend` adds `S3Storage`.
#![cfg_attr(
    not(feature = "writer"),
    allow(rustdoc::broken_intra_doc_links, reason = "a build without the writer has nothing to link to")
)]

mod attributes;
mod body;
#[cfg(feature = "writer")]
mod buffered_multipart_writer;
mod capabilities;
pub mod config;
mod error;
mod ext;
mod factory;
#[cfg(feature = "fs")]
mod fs;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod key;
pub mod limits;
#[cfg(feature = "memory")]
mod listing;
#[cfg(feature = "memory")]
mod memory;
mod object;
mod operation_id;
mod options;
mod payload;
mod range;
mod storage;
mod sweep;
#[cfg(feature = "testing")]
pub mod testing;

pub use attributes::{Attributes, ContentHeader, InvalidAttribute};
pub use body::Body;
#[cfg(feature = "writer")]
pub use buffered_multipart_writer::{BufferedMultipartWriter, BufferedMultipartWriterOptions};
pub use capabilities::Capabilities;
pub use config::StorageConfig;
pub use error::{Answer, Error, ErrorKind, Operation, Result};
pub use ext::{COALESCE_GAP_BYTES, COALESCED_BYTES_MAX, Lister, ObjectStorageExt};
pub use factory::StorageFactory;
#[cfg(feature = "fs")]
pub use fs::{CompioFsStorage, Durability, FsOptions};
pub use futures_util::future::LocalBoxFuture;
pub use key::{InvalidKey, Key, KeyRule};
#[cfg(feature = "memory")]
pub use memory::InMemoryStorage;
pub use object::{ETag, GetOutcome, HeadOutcome, InvalidETag, ObjectMeta, PutOutcome};
pub use operation_id::{InvalidOperationId, OperationId};
pub use options::{
    CompleteOptions, CopyOptions, DeleteOptions, GetOptions, HeadOptions, ListOptions, ListUploadsOptions,
    MultipartOptions, PutMode, PutOptions, ReadConditions,
};
pub use payload::Payload;
pub use range::{ByteRange, InvalidRange, RangePolicy};
pub use storage::{
    ListPage, MultipartUpload, ObjectStorage, PageToken, Part, PartNumber, PartsPage, Resolution,
    ShutdownReport, UploadId, UploadInfo, UploadsPage,
};
pub use sweep::{SweepFailure, SweepReport};
