//! The caches of this process that any part of it may share.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::CredentialsCache;
use crate::chain::CredentialsChain;

/// A program has a handful of configurations; those that are gone make room for new ones.
static SHARED: Mutex<Vec<Weak<CredentialsCache>>> = Mutex::new(Vec::new());

/// The cache of a chain that was configured like this one, or a new one. They are compared, secrets
/// included, where they are: nothing that depends on a secret is computed or kept.
pub(super) fn shared(chain: CredentialsChain) -> Arc<CredentialsCache> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = None;
    shared.retain(|cache| {
        let alive = cache.upgrade();
        let keep = alive.is_some();
        if found.is_none() {
            found = alive.filter(|cache| cache.chain.is_like(&chain));
        }
        keep
    });
    found.unwrap_or_else(|| {
        let cache = CredentialsCache::new(chain);
        shared.push(Arc::downgrade(&cache));
        cache
    })
}
