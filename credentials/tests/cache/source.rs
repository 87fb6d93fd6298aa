//! A source that answers as told, on a clock that is moved by hand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use credentials::{
    CacheOptions, Clock, Credentials, CredentialsCache, CredentialsChain, CredentialsError, FixedRandom,
    Host, HostBuilder, Identity, ProvideCredentials, ProviderError, ProviderErrorKind, Resolved, Retry,
    Secret, SourceName,
};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Wall and steady time, the same for all threads, in milliseconds.
#[derive(Clone, Default)]
pub(crate) struct Time {
    wall: Arc<AtomicU64>,
    steady: Arc<AtomicU64>,
}

const START: Duration = Duration::from_secs(1_800_000_000);

impl Time {
    pub(crate) fn pass(&self, time: Duration) {
        self.steady.fetch_add(millis(time), Ordering::SeqCst);
        self.set_wall_by(time);
    }

    /// Sets the wall clock only, as an operator does.
    pub(crate) fn set_wall_by(&self, time: Duration) {
        self.wall.fetch_add(millis(time), Ordering::SeqCst);
    }

    /// How much has passed of what counts for back-off.
    pub(crate) fn steady(&self) -> Duration {
        Duration::from_millis(self.steady.load(Ordering::SeqCst))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

impl Clock for Time {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + START + Duration::from_millis(self.wall.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        self.steady()
    }
}

/// What the source says next.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// New keys, `key-1` and so on, that live this long.
    Keys(Duration),
    /// Keys that never expire.
    Lasting,
    /// Keys that expired a minute ago.
    Dead,
    /// The keys with this id again, that live this long.
    Again(&'static str, Duration),
    Fails(Retry),
    Panics,
}

/// Answers with its script, and with the last line of it for ever.
pub(crate) struct Source {
    pub(crate) name: SourceName,
    pub(crate) eligible: bool,
    pub(crate) script: Mutex<VecDeque<Answer>>,
    pub(crate) asked: AtomicUsize,
    at_once: AtomicUsize,
    /// How often it lets others go first before it answers.
    pub(crate) yields: AtomicUsize,
}

impl Source {
    pub(crate) fn says(&self, script: impl IntoIterator<Item = Answer>) {
        *self.script.lock().unwrap() = script.into_iter().collect();
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

struct Provider(Arc<Source>);

impl ProvideCredentials for Provider {
    fn name(&self) -> SourceName {
        self.0.name
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move {
            let source = &self.0;
            assert_eq!(source.at_once.fetch_add(1, Ordering::SeqCst), 0, "asked by two at once");
            let leave = Leave(source);
            source.asked.fetch_add(1, Ordering::SeqCst);
            for _ in 0..source.yields.load(Ordering::SeqCst) {
                yield_once().await;
            }
            let answer = {
                let mut script = source.script.lock().unwrap();
                if script.len() > 1 { script.pop_front() } else { script.front().cloned() }
            };
            drop(leave);
            let (id, expires_at) = match answer.expect("a script") {
                Answer::Keys(lifetime) => (numbered(source.asked()), Some(host.now() + lifetime)),
                Answer::Lasting => (numbered(source.asked()), None),
                Answer::Dead => (numbered(source.asked()), Some(host.now() - MINUTE)),
                Answer::Again(id, lifetime) => (id.to_owned(), Some(host.now() + lifetime)),
                Answer::Fails(retry) => {
                    return Err(ProviderError::new(self.name(), ProviderErrorKind::Connect, retry, "down"));
                }
                Answer::Panics => panic!("a provider with a bug"),
            };
            let keys = Credentials::builder(id, Secret::new("s")).expires_at(expires_at);
            Ok(keys.build(self.name()).unwrap().into())
        })
    }

    fn stale_ok(&self) -> bool {
        self.0.eligible
    }
}

fn numbered(asked: usize) -> String {
    format!("key-{asked}")
}

struct Leave<'a>(&'a Source);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A cache over one source, and the time.
pub(crate) struct Stage {
    pub(crate) cache: Arc<CredentialsCache>,
    pub(crate) source: Arc<Source>,
    pub(crate) time: Time,
    pub(crate) host: Host,
}

pub(crate) fn eligible(script: impl IntoIterator<Item = Answer>) -> Stage {
    stage(true, script, CacheOptions::default().jitter(0.0))
}

pub(crate) fn stage(
    eligible: bool,
    script: impl IntoIterator<Item = Answer>,
    options: CacheOptions,
) -> Stage {
    named(SourceName::Custom("scripted"), eligible, script, options)
}

pub(crate) fn named(
    name: SourceName,
    eligible: bool,
    script: impl IntoIterator<Item = Answer>,
    options: CacheOptions,
) -> Stage {
    let source = Arc::new(Source {
        name,
        eligible,
        script: Mutex::new(script.into_iter().collect()),
        asked: AtomicUsize::new(0),
        at_once: AtomicUsize::new(0),
        yields: AtomicUsize::new(0),
    });
    let chain = CredentialsChain::builder()
        .provider(Provider(source.clone()))
        .without(SourceName::Environment)
        .without(SourceName::Profile)
        .without(SourceName::Container)
        .without(SourceName::WebIdentity)
        .build();
    let time = Time::default();
    let host = host(&time).build();
    Stage { cache: CredentialsCache::with_options(chain, options), source, time, host }
}

pub(crate) fn host(time: &Time) -> HostBuilder {
    Host::builder().clock(time.clone()).random(FixedRandom(1 << 63))
}

pub(crate) fn id(identity: &Identity) -> String {
    identity.credentials().unwrap().access_key_id().to_owned()
}

impl Stage {
    pub(crate) fn try_get(&self) -> Result<String, CredentialsError> {
        self.cache.get(&self.host).now_or_never().expect("nothing in memory waits").map(|keys| id(&keys))
    }

    pub(crate) fn get(&self) -> String {
        self.try_get().unwrap()
    }

    pub(crate) fn asked(&self) -> usize {
        self.source.asked()
    }
}
