//! One set of keys for the whole process: asked for by one caller, used by all, refreshed before it expires.

mod lease;
mod options;
mod policy;
mod registry;
mod waiting;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures_util::future::{Either, select};

pub use self::lease::Lease;
pub use self::options::CacheOptions;
use self::policy::{Decision, Flight, Now, State, decide, refresh_of};
use self::waiting::Waiting;
use crate::chain::{CHAIN_MAX, CredentialsChain, CredentialsError, Fetched};
use crate::credentials::Identity;
use crate::explain::Explain;
use crate::host::Host;

/// A fetch that has not ended by then is given up by those who wait for it. The chain has ended before,
/// so the shard that fetches stands still, or was leaked.
const FETCH_MAX: Duration = CHAIN_MAX.saturating_add(Duration::from_secs(10));

/// Keeps what a [`CredentialsChain`] found, for all shards of a process.
///
/// Keys that do not expire are asked for once. Keys of services that hand out temporary ones (instance
/// metadata, containers, STS) are refreshed as the AWS SDKs agreed upon:
///
/// | when | what callers get |
/// |---|---|
/// | first use, or the last minute before expiry | all wait for the one fetch |
/// | before that, in the advisory window ([`CacheOptions::advisory_window`]) | the cached keys, while one fetch runs |
/// | the source cannot refresh them | the cached keys, even when they have expired; it is asked again after 5 to 10 minutes |
/// | nothing is cached and the source fails | the error; the source is asked again after a second |
/// | the source says that asking again is no use ([`Retry::NonRecoverable`](crate::Retry)) | the error, for 1 to 5 seconds, cached keys or not |
/// | a service refused them ([`invalidate`](CredentialsCache::invalidate)) | as in the last minute, but no sooner than a failed refresh allows |
///
/// Keys of other sources (processes, files, the program's own) are fetched anew ten seconds before they
/// expire and are never given out after that.
///
/// What the agreement leaves open, and is decided here:
///
/// - Keys that live shorter than their window, see [`CacheOptions`].
/// - A source that stands by the keys a service refuses is asked once a second, not for every request.
/// - Where the fetch is a task, nobody waits in the advisory window, not even who started it; an error
///   that is to be raised at once is then raised to those who come next.
/// - An answer that comes back after its fetch was given up does not replace a newer one.
///
/// The fetch is a task of the shard that was first to need it, spawned through its [`Host`]: it goes on
/// when the request that started it is dropped. A host that [cannot spawn](crate::HostBuilder::spawner)
/// has it driven by that request instead; if this is dropped another caller takes over.
pub struct CredentialsCache {
    chain: CredentialsChain,
    options: CacheOptions,
    // Held for a look or an exchange, never across an await. Readers do not exclude each other.
    state: RwLock<State>,
    // How often the state was changed. It is raised while nobody else has the state, and so cannot be read in between.
    version: AtomicU64,
    waiting: Arc<Waiting>,
}

/// What a caller does next.
enum Next {
    Return(Result<Identity, CredentialsError>),
    /// Ask the source; whoever cannot wait takes the identity.
    Fetch(Ticket, Option<Identity>),
    Wait(Flight),
}

impl CredentialsCache {
    /// An empty cache; the first caller asks the chain.
    #[must_use]
    pub fn new(chain: CredentialsChain) -> Arc<CredentialsCache> {
        CredentialsCache::with_options(chain, CacheOptions::default())
    }

    /// An empty cache with windows of its own.
    #[must_use]
    pub fn with_options(chain: CredentialsChain, options: CacheOptions) -> Arc<CredentialsCache> {
        let (state, version) = (RwLock::new(State::default()), AtomicU64::new(0));
        Arc::new(CredentialsCache { chain, options, state, version, waiting: Arc::default() })
    }

    /// The one cache that all parts of the process share whose chains are configured alike, so that one
    /// source is asked once for all of them. It lives as long as somebody holds it.
    ///
    /// For programs whose hosts all see the same environment and files, such as those of one machine: the
    /// chain's configuration is compared, not what its hosts would find.
    #[must_use]
    pub fn shared(chain: CredentialsChain) -> Arc<CredentialsCache> {
        registry::shared(chain)
    }

    /// Keys to sign with now, or anonymity.
    ///
    /// If they are at hand and not about to expire this returns at the first poll, and mostly otherwise
    /// too: see the table [above](CredentialsCache). Dropping the future leaves a spawned fetch running;
    /// one that it drove itself is taken over by the next caller.
    ///
    /// # Errors
    ///
    /// As [`CredentialsChain::resolve`]. Callers that waited together get the same error, and so do
    /// those who come within the next second (1 to 5 where asking again is no use).
    pub async fn get(self: &Arc<Self>, host: &Host) -> Result<Identity, CredentialsError> {
        // Nearly always, and without looking at the second clock.
        let fresh = self.state().fresh(host.now()).map(|(identity, _)| identity.clone());
        match fresh {
            Some(identity) => Ok(identity),
            // In memory of its own, so that the usual case is small.
            None => Box::pin(self.fetch_or_wait(host)).await,
        }
    }

    /// What [`get`](CredentialsCache::get) would give at once, for a shard to keep while it [holds](Self::holds);
    /// `None` while `get` has more to do than to hand out keys.
    #[must_use]
    pub fn lease(&self, host: &Host) -> Option<Lease> {
        let wall = host.now();
        let state = self.state();
        let (identity, until) = state.fresh(wall)?;
        let fresh_for = until.map(|until| until.duration_since(wall).unwrap_or_default());
        Some(Lease::new(identity.clone(), fresh_for, self.version.load(Ordering::Relaxed)))
    }

    /// Whether all is as it was when this lease was given out: the keys were neither refused nor replaced. The clock is
    /// not looked at.
    #[must_use]
    pub fn holds(&self, lease: &Lease) -> bool {
        // On another thread it may be noticed a little later, as if the thread had asked a little earlier.
        self.version.load(Ordering::Relaxed) == lease.version
    }

    #[cold]
    async fn fetch_or_wait(self: &Arc<Self>, host: &Host) -> Result<Identity, CredentialsError> {
        // A task of our own that came to nothing panicked, or the runtime took it and dropped it. Once is
        // enough; then it is driven here, where a panic meets somebody.
        let mut may_spawn = host.spawns();
        loop {
            let flight = match self.next(host) {
                Next::Return(result) => return result,
                Next::Wait(flight) => {
                    self.wait(host, flight).await;
                    flight
                }
                Next::Fetch(ticket, cached) => {
                    let flight = ticket.flight;
                    if may_spawn {
                        may_spawn = false;
                        host.spawn(Box::pin(ticket.fly()));
                        if let Some(identity) = cached {
                            return Ok(identity);
                        }
                        self.wait(host, flight).await;
                    } else {
                        ticket.fly().await;
                    }
                    flight
                }
            };
            let settled = self.state().settle(now(host), flight);
            if let Some(result) = settled {
                return result;
            }
        }
    }

    fn next(self: &Arc<Self>, host: &Host) -> Next {
        let mut state = self.state_mut();
        let (fetches, cached) = match decide(now(host), &state, &self.options) {
            Decision::Use(identity) => return Next::Return(Ok(identity)),
            Decision::Fail(error) => return Next::Return(Err(error)),
            Decision::Refresh(identity) => (state.begin(), Some(identity)),
            Decision::Wait => (state.begin(), None),
        };
        match (fetches, cached, state.flight()) {
            (Some(flight), cached, _) => {
                let first = state.is_empty();
                let cache = Arc::clone(self);
                Next::Fetch(Ticket { cache, host: host.clone(), flight, first, landed: false }, cached)
            }
            (None, Some(identity), _) => Next::Return(Ok(identity)),
            (None, None, Some(flight)) => Next::Wait(flight),
            (None, None, None) => unreachable!("a fetch that cannot begin is one that is under way"),
        }
    }

    /// Waits for a fetch to end, but not for ever.
    async fn wait(&self, host: &Host, flight: Flight) {
        let mut ended = std::pin::pin!(self.waiting.wait(host, || self.state().flight() != Some(flight)));
        if let Either::Left(((), _)) = select(ended.as_mut(), host.sleep(FETCH_MAX)).await {
            return;
        }
        self.state_mut().abandon(flight, None, &self.options);
        self.waiting.release();
    }

    /// What is at hand and would be given out now, without asking anybody.
    #[must_use]
    pub fn cached(&self, host: &Host) -> Option<Identity> {
        match self.look(host) {
            Decision::Use(identity) | Decision::Refresh(identity) => Some(identity),
            Decision::Wait | Decision::Fail(_) => None,
        }
    }

    fn look(&self, host: &Host) -> Decision {
        decide(now(host), &self.state(), &self.options)
    }

    /// Tells that a service refused the keys with this id, so that the next caller asks the source, back-off
    /// permitting. The keys stay, for the case that the source is in trouble. Does nothing if the cache
    /// holds others by now: many requests report the same refusal, late.
    pub fn invalidate(&self, access_key_id: &str) {
        self.state_mut().refuse(access_key_id);
    }

    /// The plan behind the cache, for its region and endpoint.
    #[must_use]
    pub fn chain(&self) -> &CredentialsChain {
        &self.chain
    }

    /// Asks every source anew and reports, with when the keys would be refreshed; the cached keys stay.
    pub async fn explain(&self, host: &Host) -> Explain {
        let refresh = |fetched: &Fetched| refresh_of(fetched, now(host), &self.options);
        let explain = self.chain.explain_with(host, refresh).await;
        let now = now(host);
        let state = self.state();
        match state.identity() {
            None => explain,
            Some(identity) => {
                let next_refresh = state.next_refresh(now, &self.options);
                let changed_from = state.changed_from().map(str::to_owned);
                explain.with_cached(identity, next_refresh, state.is_refused(), changed_from)
            }
        }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        let state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        self.version.fetch_add(1, Ordering::Relaxed);
        state
    }
}

fn now(host: &Host) -> Now {
    Now { wall: host.now(), steady: host.monotonic() }
}

/// The right to ask the source, and the duty to say how it ended, even if that is a panic.
struct Ticket {
    cache: Arc<CredentialsCache>,
    host: Host,
    flight: Flight,
    /// Nothing is cached.
    first: bool,
    landed: bool,
}

impl Ticket {
    async fn fly(mut self) {
        let answer = self.cache.chain.fetch(&self.host, self.first).await;
        let (now, draw) = (now(&self.host), self.host.random());
        self.cache.state_mut().land(now, &self.cache.options, self.flight, draw, answer);
        self.landed = true;
        self.cache.waiting.release();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.landed {
            return;
        }
        let panicked = std::thread::panicking().then(|| (now(&self.host), 0.0));
        self.cache.state_mut().abandon(self.flight, panicked, &self.cache.options);
        self.cache.waiting.release();
    }
}

impl fmt::Debug for CredentialsCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsCache")
            .field("chain", &self.chain)
            .field("identity", &self.state().identity())
            .finish_non_exhaustive()
    }
}
