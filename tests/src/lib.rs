//! What every store promises, run against all of them, and the servers it takes to do so.
//!
//! The promises are those of the documentation of [`object_storage::ObjectStorage`]; each is one function in
//! [`mod@conformance`]. A store is put to the test with one line, see [`conformance!`].

use object_storage::config::Transport;

pub mod conformance;
pub mod fault_proxy;
pub mod matrix;
pub mod moto;
pub mod oidc;
pub mod scales;
pub mod scripted;
pub mod seaweedfs;
mod server;

/// The transport that the stores under test use: the default, or what the environment names
/// (`OBJECT_STORAGE_TESTS_TRANSPORT=cyper`), so that every test can be run over either.
///
/// # Panics
///
/// When the environment names none that there is.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "how whoever runs the tests chooses")]
pub fn transport() -> Transport {
    match std::env::var("OBJECT_STORAGE_TESTS_TRANSPORT").as_deref() {
        Err(_) | Ok("") | Ok("direct") => Transport::Direct,
        Ok("cyper") => Transport::Cyper,
        Ok(other) => panic!("OBJECT_STORAGE_TESTS_TRANSPORT is {other:?}, not \"direct\" or \"cyper\""),
    }
}
