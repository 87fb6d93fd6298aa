//! What every store promises, run against all of them, and the servers it takes to do so.
//!
//! The promises are those of the documentation of [`object_storage::ObjectStorage`]; each is one function in
//! [`mod@conformance`]. A store is put to the test with one line, see [`conformance!`].

pub mod conformance;
pub mod moto;
pub mod oidc;
pub mod scripted;
pub mod seaweedfs;
mod server;
