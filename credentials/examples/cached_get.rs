//! How long it takes to get keys that are at hand: `cargo run --release -p credentials --example cached_get`.
#![expect(clippy::unwrap_used, reason = "a measurement: a surprise ends it")]
#![expect(clippy::disallowed_methods, reason = "a measurement looks at the clock and owns its threads")]
#![expect(clippy::print_stdout, reason = "this is where the result goes")]

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use credentials::{
    Credentials, CredentialsCache, CredentialsChain, Host, ProvideCredentials, ProviderError, Resolved,
    Secret, SourceName,
};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

const ROUNDS: u32 = 5_000_000;

/// Keys for an hour.
struct Hour;

impl ProvideCredentials for Hour {
    fn name(&self) -> SourceName {
        SourceName::Custom("hour")
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move {
            let keys = Credentials::builder("ASIA", Secret::new("s"))
                .expires_at(host.now() + Duration::from_secs(3600));
            Ok(keys.build(self.name()).unwrap().into())
        })
    }
}

fn main() {
    let chain = CredentialsChain::builder().provider(Hour).disable_environment().build();
    let cache = CredentialsCache::new(chain);
    for threads in [1, 2, 4] {
        let start = Barrier::new(threads);
        let slowest = thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| measure(&cache, &start))).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
        });
        println!("{threads} threads: {:?} per get", slowest / ROUNDS);
    }
}

fn measure(cache: &Arc<CredentialsCache>, start: &Barrier) -> Duration {
    let host = Host::builder().build();
    cache.get(&host).now_or_never().unwrap().unwrap();
    start.wait();
    let began = Instant::now();
    for _ in 0..ROUNDS {
        std::hint::black_box(cache.get(&host).now_or_never().unwrap().unwrap());
    }
    began.elapsed()
}
