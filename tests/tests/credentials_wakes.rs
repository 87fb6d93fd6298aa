//! One fetch on one shard wakes those who wait on the others: compio's wakes across threads, proven.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a surprise is a failed test")]
#![expect(clippy::disallowed_methods, reason = "the test plays the program, which owns threads and files")]

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use compio::runtime::Runtime;
use credentials::{
    Credentials, CredentialsCache, CredentialsChain, Host, ProvideCredentials, ProviderError, Resolved,
    Secret, SourceName,
};
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};

const SHARDS: usize = 4;

/// More than the 64 wakes from other threads that compio's executor holds before it lets the waker spin.
const WAITERS: usize = 300;

const FETCH: Duration = Duration::from_millis(400);

/// Numbered keys, each after a while.
struct Slow(Arc<AtomicUsize>);

impl ProvideCredentials for Slow {
    fn name(&self) -> SourceName {
        SourceName::Custom("slow")
    }

    fn resolve<'a>(&'a self, _: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move {
            let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            compio::time::sleep(FETCH).await;
            let keys = Credentials::builder(format!("key-{number}"), Secret::new("s"));
            Ok(keys.build(self.name()).unwrap().into())
        })
    }
}

fn cache() -> (Arc<CredentialsCache>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let chain = CredentialsChain::builder().provider(Slow(asked.clone())).disable_environment().build();
    (CredentialsCache::new(chain), asked)
}

fn host() -> Host {
    Host::builder().spawner(|task| compio::runtime::spawn(task).detach()).build()
}

/// Asks for keys, counting how often it is polled.
async fn get(cache: &Arc<CredentialsCache>, host: &Host) -> (String, usize) {
    let mut polls = 0;
    let mut get = pin!(cache.get(host));
    let identity = poll_fn(|cx| {
        polls += 1;
        get.as_mut().poll(cx)
    });
    let identity = identity.await.unwrap();
    (identity.credentials().unwrap().access_key_id().to_owned(), polls)
}

/// How long this thread has been on a CPU.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn a_fetch_on_one_shard_wakes_hundreds_of_waiters_on_every_other() {
    let (cache, asked) = cache();
    let start = Barrier::new(SHARDS);
    thread::scope(|scope| {
        for _ in 0..SHARDS {
            scope.spawn(|| {
                Runtime::new().unwrap().block_on(async {
                    let host = Rc::new(host());
                    start.wait();
                    let waiters = (0..WAITERS).map(|_| {
                        let (cache, host) = (cache.clone(), host.clone());
                        compio::runtime::spawn(async move { get(&cache, &host).await })
                    });
                    let waiters: Vec<_> = waiters.collect();
                    // Their first poll, and the start of the fetch.
                    compio::time::sleep(FETCH / 8).await;
                    let before = cpu_time();
                    for got in join_all(waiters).await {
                        let (id, polls) = got.unwrap();
                        assert_eq!(id, "key-1");
                        assert!(polls <= 3, "polled {polls} times");
                    }
                    let spent = cpu_time() - before;
                    assert!(spent < FETCH / 4, "waiting took {spent:?} of CPU");
                });
            });
        }
    });
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn a_runtime_that_ends_in_the_middle_of_its_fetch_wakes_the_other_shards() {
    let (cache, asked) = cache();
    let (fetching, fetches) = mpsc::channel();
    let (waiting, waits) = mpsc::channel();
    thread::scope(|scope| {
        let cache = &cache;
        scope.spawn(move || {
            let runtime = Runtime::new().unwrap();
            runtime.block_on(async {
                let host = host();
                let gave_up = compio::time::timeout(FETCH / 8, cache.get(&host)).await;
                assert!(gave_up.is_err());
                fetching.send(()).unwrap();
            });
            for _ in 1..SHARDS {
                waits.recv().unwrap();
            }
            // With the fetch in it.
            drop(runtime);
        });
        fetches.recv().unwrap();
        for _ in 1..SHARDS {
            let waiting = waiting.clone();
            scope.spawn(move || {
                Runtime::new().unwrap().block_on(async {
                    let host = Rc::new(host());
                    let waiters = (0..WAITERS).map(|_| {
                        let (cache, host) = (cache.clone(), host.clone());
                        compio::runtime::spawn(async move { get(&cache, &host).await })
                    });
                    let waiters: Vec<_> = waiters.collect();
                    compio::time::sleep(FETCH / 8).await;
                    waiting.send(()).unwrap();
                    for got in join_all(waiters).await {
                        assert_eq!(got.unwrap().0, "key-2");
                    }
                });
            });
        }
    });
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn a_shard_may_sit_in_a_long_computation_while_it_is_woken() {
    let (cache, _) = cache();
    let start = Barrier::new(2);
    let began = std::time::Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            Runtime::new().unwrap().block_on(async {
                let host = Rc::new(host());
                let waiters = (0..WAITERS).map(|_| {
                    let (cache, host) = (cache.clone(), host.clone());
                    compio::runtime::spawn(async move { get(&cache, &host).await })
                });
                let waiters: Vec<_> = waiters.collect();
                start.wait();
                compio::time::sleep(FETCH / 8).await;
                thread::sleep(4 * FETCH);
                for got in join_all(waiters).await {
                    assert_eq!(got.unwrap().0, "key-1");
                }
            });
        });
        scope.spawn(|| {
            Runtime::new().unwrap().block_on(async {
                let host = host();
                let own = get(&cache, &host);
                let mut own = pin!(own);
                // This shard fetches.
                assert!(own.as_mut().now_or_never().is_none());
                start.wait();
                own.await;
                // It is not held up by waking the other.
                assert!(began.elapsed() < 3 * FETCH, "{:?}", began.elapsed());
            });
        });
    });
}
