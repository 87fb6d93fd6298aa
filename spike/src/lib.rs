//! The library half of `spike`: the S3 server that runs inside the process, for the program and for tests.

pub mod server;
