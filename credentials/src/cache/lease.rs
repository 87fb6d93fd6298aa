//! [`Lease`]: what a shard may go on using for a while without asking the cache that all shards share.

use std::time::Duration;

use crate::credentials::Identity;

/// What the cache gave out, and for how long that may be relied upon.
///
/// A shard that signs each of a hundred thousand requests a second need not count itself in and out of memory that all
/// shards share for each of them: it keeps a lease, asks [whether it still holds](super::CredentialsCache::holds),
/// which writes nothing, and looks at the clock itself.
#[derive(Debug, Clone)]
pub struct Lease {
    identity: Identity,
    fresh_for: Option<Duration>,
    /// What the cache knew, by number.
    pub(super) version: u64,
}

impl Lease {
    pub(super) fn new(identity: Identity, fresh_for: Option<Duration>, version: u64) -> Lease {
        Lease { identity, fresh_for, version }
    }

    /// What was given out.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How long after it was given out the keys begin to be refreshed, by the clock as it was then; `None`: they do not
    /// expire. Whoever must notice that the clock was set takes a new lease now and then.
    #[must_use]
    pub fn fresh_for(&self) -> Option<Duration> {
        self.fresh_for
    }
}
