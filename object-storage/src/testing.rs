//! For the tests of whoever writes a store, or builds upon one (feature `testing`).
//!
//! [`conformance_tests!`] holds a store to every promise of the contract.

pub mod conformance;

#[doc(inline)]
pub use crate::conformance_tests;
