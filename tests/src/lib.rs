//! What every store promises, run against all of them, and the servers it takes to do so.
//!
//! The promises are in [`object_storage::testing::conformance`]; a store is put to the test with one line, see
//! [`conformance_tests!`](object_storage::testing::conformance_tests!).

use object_storage::LocalBoxFuture;
use object_storage::config::Transport;

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

/// Drives a test to its end on a compio runtime of its own.
///
/// # Panics
///
/// When the system gives no runtime, or the test panics.
pub fn on_compio(test: LocalBoxFuture<'static, ()>) {
    compio::runtime::Runtime::new().expect("a compio runtime starts").block_on(test);
}
