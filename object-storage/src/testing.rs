//! For the tests of whoever builds upon a store, or writes one (feature `testing`, for dev-dependencies). No runtime comes
//! with it, and none is needed but the one that the store lives on.
//!
//! # A program that builds upon a store
//!
//! Give it a [`FaultyStorage`]: a store that goes wrong as often as you like, by seed, and only in the ways that the
//! contract provides for. Then look whether the program kept its own promises. One fault at one place:
//!
//! ```
//! use std::rc::Rc;
//!
//! use object_storage::testing::{Fault, Faults, FaultyStorage};
//! use object_storage::{InMemoryStorage, Key, ObjectStorage, ObjectStorageExt, Operation, Resolution};
//!
//! # compio::runtime::Runtime::new()?.block_on(async {
//! let faults = Faults::new(1).with_scripted(Operation::PutObject, 3, Fault::AnswerLost);
//! let store = FaultyStorage::new(Rc::new(InMemoryStorage::new()), faults);
//! let key = Key::parse("greeting")?;
//! store.put_bytes(&key, "hello").await?;
//! store.put_bytes(&key, "hello again").await?;
//! let error = store.put_bytes(&key, "good bye").await.expect_err("the third put is in doubt");
//! assert!(error.is_indeterminate());
//! let id = error.operation_id().expect("every put in doubt has one");
//! assert!(matches!(store.resolve(&key, id).await?, Resolution::Applied(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Every fault everywhere, through many seeds, is the test to have: [`Faults::with_every_fault`] and, for programs that
//! must survive it, crashes ([`FaultyStorage::until_crash`]). The crate's `examples/testing.rs` is such a test, whole, of
//! servers that count together.
//!
//! # A store
//!
//! [`conformance_tests!`] makes a `#[test]` of every promise that the documentation of
//! [`ObjectStorage`](crate::ObjectStorage) makes, and holds the store to it. The crate's `tests/outsider.rs` is a store
//! that somebody else could have written, with its executor. Some faults of stores show only when they are used at once,
//! and the promises about that cannot find all: run them more than once.

pub mod conformance;
mod faulty;

#[doc(inline)]
pub use crate::conformance_tests;
pub use faulty::{Fault, Faults, FaultyStorage, Injected};
