//! One set of keys for the whole process, asked for once and again when it expires.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use futures_util::lock::Mutex;

use crate::chain::{CredentialsChain, CredentialsError};
use crate::credentials::{Credentials, Identity};
use crate::explain::Explain;
use crate::host::Host;

/// Remembers what a [`CredentialsChain`] found, for all shards of a process.
///
/// While one caller asks the chain, the others wait for its answer, on whatever thread they are. Keys
/// without an expiry are asked for once; others again when they have expired.
pub struct CredentialsCache {
    chain: CredentialsChain,
    // Held for a look or a pointer swap, never across an await. Readers do not exclude each other.
    entry: RwLock<Option<Entry>>,
    // Whoever holds it asks the chain. It wakes waiters of other threads, and a holder that is dropped
    // half-way passes it on.
    gate: Mutex<()>,
}

#[derive(Clone)]
struct Entry {
    identity: Identity,
    /// A service refused these keys; ask again before the next use.
    refused: bool,
}

/// What to do for a caller who wants keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// Give it what is there.
    Use,
    /// Ask the chain first.
    Fetch,
}

/// The cache's whole policy. Time is an argument.
fn decide(now: SystemTime, entry: Option<&Entry>) -> Decision {
    match entry {
        Some(entry) if !entry.refused => match entry.identity.credentials() {
            Some(keys) if keys.is_expired(now) => Decision::Fetch,
            _ => Decision::Use,
        },
        _ => Decision::Fetch,
    }
}

impl CredentialsCache {
    /// An empty cache; the first caller asks the chain.
    #[must_use]
    pub fn new(chain: CredentialsChain) -> Arc<CredentialsCache> {
        Arc::new(CredentialsCache { chain, entry: RwLock::new(None), gate: Mutex::new(()) })
    }

    /// Keys that have not expired, or anonymity.
    ///
    /// If they are at hand this returns at the first poll. Otherwise one caller asks the chain through
    /// its own `host` and the others wait. Dropping the future of the one that asks lets the next
    /// waiter ask; nothing is lost.
    ///
    /// # Errors
    ///
    /// As [`CredentialsChain::resolve`]. A failure is not remembered: the next caller asks anew, and so
    /// does each that was waiting.
    pub async fn get(&self, host: &Host) -> Result<Identity, CredentialsError> {
        if let Some(identity) = self.cached(host) {
            return Ok(identity);
        }
        let _gate = self.gate.lock().await;
        // Whoever held the gate before may have brought them.
        if let Some(identity) = self.cached(host) {
            return Ok(identity);
        }
        let identity = self.chain.resolve(host).await?;
        let entry = Entry { identity: identity.clone(), refused: false };
        *self.entry.write().unwrap_or_else(PoisonError::into_inner) = Some(entry);
        Ok(identity)
    }

    /// What is at hand and may be used now, without asking anybody.
    #[must_use]
    pub fn cached(&self, host: &Host) -> Option<Identity> {
        let now = host.now();
        let entry = self.entry.read().unwrap_or_else(PoisonError::into_inner);
        match decide(now, entry.as_ref()) {
            Decision::Use => entry.as_ref().map(|entry| entry.identity.clone()),
            Decision::Fetch => None,
        }
    }

    /// Tells that a service refused the keys with this id, so that the next caller asks the chain. Does
    /// nothing if the cache holds others by now: many requests report the same refusal, late.
    pub fn invalidate(&self, access_key_id: &str) {
        let mut entry = self.entry.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entry.as_mut()
            && entry.identity.credentials().map(Credentials::access_key_id) == Some(access_key_id)
        {
            entry.refused = true;
        }
    }

    /// The plan behind the cache, for its region and endpoint.
    #[must_use]
    pub fn chain(&self) -> &CredentialsChain {
        &self.chain
    }

    /// Asks every source anew and reports; the cached keys stay.
    pub async fn explain(&self, host: &Host) -> Explain {
        self.chain.explain(host).await
    }
}

impl fmt::Debug for CredentialsCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.entry.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("CredentialsCache")
            .field("chain", &self.chain)
            .field("identity", &entry.as_ref().map(|entry| &entry.identity))
            .finish()
    }
}
