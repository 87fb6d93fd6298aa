//! [`Injected`]: a fault that happened, for logs, and as the cause of the errors that it led to.

use std::fmt;

use crate::error::Operation;

use super::faults::Fault;

/// A fault that a [`FaultyStorage`](super::FaultyStorage) has injected.
///
/// It is also the cause ([`source`](std::error::Error::source)) of the error that it led to, so that a test can tell
/// which errors were its own doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Injected {
    /// The seed of the store.
    pub seed: u64,
    /// What was called.
    pub operation: Operation,
    /// Which call of that operation it was, counted from 1: what
    /// [`Faults::with_scripted`](super::Faults::with_scripted) takes.
    pub nth: u64,
    /// The key, where the call was about one.
    pub key: Option<String>,
    /// What happened to it.
    pub fault: Fault,
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "injected by seed {}: {} {}", self.seed, self.operation, self.nth)?;
        if let Some(key) = &self.key {
            write!(f, " {key:?}")?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl std::error::Error for Injected {}
