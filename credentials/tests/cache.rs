//! One answer for the whole process: asked once, again on expiry or refusal, by one caller at a time.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a surprise is a failed test")]

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};

use credentials::{
    Credentials, CredentialsCache, CredentialsChain, FixedClock, Host, Identity, Inline, ProvideCredentials,
    ProviderError, ProviderErrorKind, Resolved, Retry, Secret, SourceName,
};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

const START: SystemTime = SystemTime::UNIX_EPOCH;

/// A source that numbers its keys, and can be told to fail, to expire its keys, and to take its time.
#[derive(Default)]
struct Source {
    asked: AtomicUsize,
    at_once: AtomicUsize,
    lifetime: Option<Duration>,
    yields: usize,
    fails: Mutex<bool>,
}

struct Provider(Arc<Source>);

impl ProvideCredentials for Provider {
    fn name(&self) -> SourceName {
        SourceName::Custom("numbered")
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move {
            let source = &self.0;
            assert_eq!(source.at_once.fetch_add(1, Ordering::SeqCst), 0, "asked by two at once");
            let leave = Leave(source);
            let number = source.asked.fetch_add(1, Ordering::SeqCst) + 1;
            for _ in 0..source.yields {
                yield_once().await;
            }
            drop(leave);
            if *source.fails.lock().unwrap() {
                return Err(ProviderError::new(
                    self.name(),
                    ProviderErrorKind::Connect,
                    Retry::Transient,
                    "down",
                ));
            }
            let keys = Credentials::builder(format!("key-{number}"), Secret::new("s"))
                .expires_at(source.lifetime.map(|lifetime| host.now() + lifetime));
            Ok(keys.build(self.name()).unwrap().into())
        })
    }
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

fn cache(source: Source) -> (Arc<CredentialsCache>, Arc<Source>) {
    let source = Arc::new(source);
    let chain = CredentialsChain::builder().provider(Provider(source.clone())).disable_environment().build();
    (CredentialsCache::new(chain), source)
}

fn host() -> (Host, FixedClock) {
    let clock = FixedClock::new(START);
    (Host::builder().clock(clock.clone()).build(), clock)
}

fn id(identity: &Identity) -> &str {
    identity.credentials().unwrap().access_key_id()
}

fn get(cache: &CredentialsCache, host: &Host) -> String {
    let identity = cache.get(host).now_or_never().expect("nothing in memory waits").unwrap();
    id(&identity).to_owned()
}

#[test]
fn keys_without_expiry_are_asked_for_once() {
    let (cache, source) = cache(Source::default());
    let (host, clock) = host();
    assert!(cache.cached(&host).is_none());
    assert_eq!(get(&cache, &host), "key-1");
    clock.set(START + Duration::from_secs(100 * 365 * 86_400));
    assert_eq!(get(&cache, &host), "key-1");
    assert_eq!(source.asked.load(Ordering::SeqCst), 1);
}

#[test]
fn expired_keys_are_never_given_out() {
    let lifetime = Duration::from_secs(60);
    let (cache, source) = cache(Source { lifetime: Some(lifetime), ..Source::default() });
    let (host, clock) = host();
    assert_eq!(get(&cache, &host), "key-1");
    clock.set(START + lifetime - Duration::from_nanos(1));
    assert_eq!(get(&cache, &host), "key-1");
    clock.set(START + lifetime);
    assert!(cache.cached(&host).is_none());
    *source.fails.lock().unwrap() = true;
    assert!(cache.get(&host).now_or_never().unwrap().is_err());
    *source.fails.lock().unwrap() = false;
    assert_eq!(get(&cache, &host), "key-3");
}

#[test]
fn a_refused_key_is_asked_for_again_but_only_by_its_own_id() {
    let (cache, source) = cache(Source::default());
    let (host, _) = host();
    cache.invalidate("key-1");
    assert_eq!(get(&cache, &host), "key-1");
    cache.invalidate("key-0");
    assert_eq!(get(&cache, &host), "key-1");
    cache.invalidate("key-1");
    assert_eq!(get(&cache, &host), "key-2");
    // The other requests that met the refusal report it late.
    cache.invalidate("key-1");
    assert_eq!(get(&cache, &host), "key-2");
    assert_eq!(source.asked.load(Ordering::SeqCst), 2);
}

#[test]
fn anonymity_is_remembered() {
    let cache = CredentialsCache::new(CredentialsChain::builder().inline(Inline::Anonymous).build());
    let (host, _) = host();
    assert!(matches!(cache.get(&host).now_or_never(), Some(Ok(Identity::Anonymous))));
    cache.invalidate("");
    assert!(matches!(cache.cached(&host), Some(Identity::Anonymous)));
}

#[test]
fn a_caller_that_is_dropped_half_way_lets_the_next_one_ask() {
    let (cache, source) = cache(Source { yields: 1, ..Source::default() });
    let (host, _) = host();
    let mut context = Context::from_waker(Waker::noop());
    let mut waiting = Box::pin(cache.get(&host));
    {
        let mut first = pin!(cache.get(&host));
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
    }
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    let Poll::Ready(Ok(identity)) = waiting.as_mut().poll(&mut context) else { panic!("still waiting") };
    assert_eq!(id(&identity), "key-2");
}

/// Wakes a thread that waits in [`block_on`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn shards_that_start_together_ask_once() {
    for _ in 0..50 {
        let (cache, source) = cache(Source { yields: 20, ..Source::default() });
        let start = Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let (host, _) = host();
                    start.wait();
                    assert_eq!(id(&block_on(cache.get(&host)).unwrap()), "key-1");
                });
            }
        });
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
    }
}
