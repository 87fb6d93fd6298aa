//! The library half of `spike`, for the program and for tests: the S3 server that runs inside the process, a shard's
//! runtime, and what takes minutes.

pub mod refresh;
pub mod server;
pub mod shard;
