//! [`Keys`]: what this shard signs with. It asks the cache that all shards share once a second, not for every request.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use credentials::{CredentialsCache, CredentialsError, Host, Identity, Lease};

/// The keys of one shard.
#[derive(Debug)]
pub(crate) struct Keys {
    cache: Arc<CredentialsCache>,
    host: Host,
    kept: RefCell<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    identity: Rc<Identity>,
    lease: Lease,
    until: Instant,
}

/// That the clock was set, and keys expire sooner than they seemed to, is noticed after this long. No keys are given out
/// for so long that it matters: they are refreshed minutes before they expire, and those of sources that hand out none
/// earlier ten seconds.
const LEASE_MAX: Duration = Duration::from_secs(1);

impl Keys {
    pub(crate) fn new(cache: Arc<CredentialsCache>, host: Host) -> Keys {
        Keys { cache, host, kept: RefCell::default() }
    }

    /// Keys to sign with, if there are any that need not be asked for.
    pub(crate) fn at_hand(&self, now: Instant) -> Option<Rc<Identity>> {
        if let Some(kept) = &*self.kept.borrow()
            && now < kept.until
            && self.cache.holds(&kept.lease)
        {
            return Some(Rc::clone(&kept.identity));
        }
        self.ask(now)
    }

    #[cold]
    fn ask(&self, now: Instant) -> Option<Rc<Identity>> {
        let lease = self.cache.lease(&self.host);
        let kept = lease.map(|lease| Kept {
            identity: Rc::new(lease.identity().clone()),
            until: now + lease.fresh_for().map_or(LEASE_MAX, |fresh_for| fresh_for.min(LEASE_MAX)),
            lease,
        });
        let identity = kept.as_ref().map(|kept| Rc::clone(&kept.identity));
        *self.kept.borrow_mut() = kept;
        identity
    }

    /// Keys to sign with, as soon as there are any.
    pub(crate) async fn get(&self) -> Result<Identity, CredentialsError> {
        self.cache.get(&self.host).await
    }

    /// The store refuses the keys with this id.
    pub(crate) fn invalidate(&self, access_key_id: &str) {
        self.cache.invalidate(access_key_id);
    }
}

#[cfg(test)]
mod tests {
    use credentials::{Credentials, CredentialsChain, Inline, Secret};

    use super::*;
    use crate::clock;

    fn keys() -> Keys {
        let inline = Inline::from_parts(Some("AKID".to_owned()), Some(Secret::new("s")), None);
        let inline = inline.expect("well-formed keys");
        let cache = CredentialsCache::new(CredentialsChain::builder().inline(inline).build());
        Keys::new(cache, Host::builder().build())
    }

    fn id(identity: &Identity) -> Option<&str> {
        identity.credentials().map(Credentials::access_key_id)
    }

    #[test]
    fn what_was_asked_for_once_is_at_hand_until_it_is_refused() {
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let (keys, now) = (keys(), clock::now());
            assert!(keys.at_hand(now).is_none(), "nobody has asked yet");
            keys.get().await.expect("there are some");
            let first = keys.at_hand(now).expect("asked for");
            assert_eq!(id(&first), Some("AKID"));
            let second = keys.at_hand(now + LEASE_MAX / 2).expect("kept");
            assert!(Rc::ptr_eq(&first, &second));
            let third = keys.at_hand(now + LEASE_MAX).expect("asked for again");
            assert!(!Rc::ptr_eq(&first, &third));
            keys.invalidate("AKID");
            assert!(keys.at_hand(now).is_none());
        });
    }
}
