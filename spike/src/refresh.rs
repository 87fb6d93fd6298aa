//! Short-lived credentials, used for longer than they live: shards write without a pause while their keys are
//! refreshed, refused, and not to be had.
//!
//! The S3 server of this crate takes the keys that a metadata service of its own issues, and refuses them once they
//! have expired. During an outage it goes on accepting the last ones, as AWS does.

mod source;

use std::fmt;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use credentials::{CacheOptions, CredentialsCache, MemoryEnvironment};
use object_storage::{Key, ObjectStorage, ObjectStorageExt, StorageConfig};
use s3_backend::S3Storage;

use self::source::{Metadata, chain};
use crate::server::{Server, ServerOptions};
use crate::shard::runtime;

/// What happens when.
#[derive(Clone, Debug)]
pub struct Refresh {
    /// How long keys live.
    pub lifetime: Duration,
    /// How long the shards write.
    pub time: Duration,
    /// When the store refuses keys that have not expired.
    pub refused_at: Duration,
    /// When the source of keys fails.
    pub outage: Range<Duration>,
    /// How many shards write, each on a thread and a runtime of its own.
    pub shards: usize,
    /// How long a shard rests between two operations.
    pub pause: Duration,
    /// How long a source that failed is left alone: at least, and at most.
    pub backoff: (Duration, Duration),
}

impl Refresh {
    /// Five minutes with keys that live for one, refreshed by the cache's own rules.
    #[must_use]
    pub fn five_minutes() -> Refresh {
        let seconds = Duration::from_secs;
        Refresh {
            lifetime: seconds(60),
            time: seconds(300),
            refused_at: seconds(130),
            outage: seconds(150)..seconds(270),
            shards: 4,
            pause: Duration::from_millis(5),
            // The cache's own.
            backoff: (seconds(300), seconds(600)),
        }
    }

    /// The same within seconds, with a back-off short enough to see the recovery too.
    #[must_use]
    pub fn seconds() -> Refresh {
        let millis = Duration::from_millis;
        Refresh {
            lifetime: millis(2000),
            time: millis(9000),
            refused_at: millis(3500),
            outage: millis(4500)..millis(7000),
            shards: 4,
            pause: millis(2),
            backoff: (millis(500), millis(1000)),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Refreshed {
    /// How many operations the shards carried out.
    pub operations: u64,
    /// What the operations that failed said, up to a dozen.
    pub failures: Vec<String>,
    /// How often the source was asked for keys and gave some, and the shortest time between two such answers that
    /// no refusal lies between.
    pub issued: u64,
    /// See `issued`.
    pub shortest: Option<Duration>,
    /// How often it was asked in vain.
    pub in_vain: u64,
    /// How many requests the store refused.
    pub refused: u64,
    /// The longest that one operation took.
    pub slowest: Duration,
}

impl Refreshed {
    /// What did not go as it must, in a line each; nothing if all went well.
    #[must_use]
    pub fn problems(&self, plan: &Refresh) -> Vec<String> {
        let mut problems = self.failures.clone();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                problems.push(what);
            }
        };
        expect(self.operations > 0, "nothing was written".to_owned());
        // Half of the keys' life goes by between two refreshes, and a tenth of that less for the jitter.
        let between = plan.lifetime / 2 - plan.lifetime / 20;
        let most = u64::try_from(plan.time.as_millis() / between.as_millis().max(1)).unwrap_or(u64::MAX) + 2;
        expect(
            (3..=most).contains(&self.issued),
            format!("{} keys were issued, not 3 to {most}", self.issued),
        );
        // The fetch itself takes time, and what is measured is its end.
        let shortest = self.shortest.unwrap_or_default();
        expect(
            shortest + Duration::from_millis(100) >= between,
            format!("{shortest:?} after keys were issued the source was asked again, not {between:?}"),
        );
        expect(self.in_vain > 0, "the source was not asked while it failed".to_owned());
        let (least, _) = plan.backoff;
        let outage = plan.outage.end.saturating_sub(plan.outage.start);
        let vain = u64::try_from(outage.as_millis() / least.as_millis().max(1)).unwrap_or(u64::MAX) + 1;
        expect(
            self.in_vain <= vain * source::ATTEMPTS_PER_FETCH,
            format!("the source was asked {} times while it failed, not {vain} times four", self.in_vain),
        );
        let refused = 2 * u64::try_from(plan.shards).unwrap_or(u64::MAX);
        expect(
            (1..=refused).contains(&self.refused),
            format!("{} requests were refused for their keys, not 1 to {refused}", self.refused),
        );
        problems
    }
}

impl fmt::Display for Refreshed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations, the slowest {:?}; {} keys issued, {} requests refused for their keys, the source asked \
             {} times while it failed",
            self.operations, self.slowest, self.issued, self.refused, self.in_vain
        )
    }
}

/// Lets the shards write, and everything happen.
///
/// # Errors
///
/// No server, thread or runtime is to be had.
#[expect(
    clippy::disallowed_methods,
    reason = "a program that measures: it owns the threads and looks at the clock"
)]
pub fn refresh(plan: &Refresh) -> io::Result<Refreshed> {
    let server = Arc::new(Server::start(ServerOptions::default())?);
    let metadata = Metadata::start(Arc::clone(&server), plan.lifetime)?;
    let (least, most) = plan.backoff;
    let cache = CredentialsCache::with_options(chain(), CacheOptions::default().backoff(least, most));
    let began = Instant::now();
    let tally = Tally::default();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for shard in 0..plan.shards {
            let (cache, server, metadata, tally, over) = (&cache, &server, &metadata, &tally, &over);
            scope.spawn(move || {
                let wrote = runtime(None).map_err(|error| error.to_string()).and_then(|runtime| {
                    runtime.block_on(write(shard, plan, cache, server, metadata, tally, over))
                });
                if let Err(problem) = wrote {
                    tally.failed(problem);
                }
            });
        }
        let mut refused = false;
        let mut counted = Duration::ZERO;
        while began.elapsed() < plan.time {
            let now = began.elapsed();
            metadata.fail(plan.outage.contains(&now));
            if now >= plan.refused_at && !std::mem::replace(&mut refused, true) {
                metadata.refuse();
            }
            metadata.expire();
            if now > counted + Duration::from_secs(1) {
                // The server's log is long, but not five minutes.
                counted = now;
                tally.refused.fetch_add(refusals(&server), Ordering::Relaxed);
                server.clear_requests();
            }
            thread::sleep(Duration::from_millis(10));
        }
        over.store(true, Ordering::Relaxed);
    });
    let failures = tally.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Refreshed {
        operations: tally.operations.into_inner(),
        failures,
        issued: metadata.issued(),
        shortest: metadata.shortest(),
        in_vain: metadata.in_vain(),
        refused: tally.refused.into_inner() + refusals(&server),
        slowest: Duration::from_micros(tally.slowest_micros.into_inner()),
    })
}

fn refusals(server: &Server) -> u64 {
    server.requests().iter().filter(|request| request.status == Some(400)).count() as u64
}

#[derive(Default)]
struct Tally {
    operations: AtomicU64,
    refused: AtomicU64,
    slowest_micros: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Tally {
    fn failed(&self, problem: String) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < 12 {
            failures.push(problem);
        }
    }
}

/// One shard: writes and reads back until it is over.
#[expect(clippy::disallowed_methods, reason = "measures how long operations take")]
async fn write(
    shard: usize,
    plan: &Refresh,
    cache: &Arc<CredentialsCache>,
    server: &Server,
    metadata: &Metadata,
    tally: &Tally,
    over: &AtomicBool,
) -> Result<(), String> {
    let config = StorageConfig::object("bucket").endpoint(server.endpoint()).region("us-east-1").build();
    let config = config.map_err(|error| error.to_string())?;
    let config = config.as_object().ok_or("an object store")?;
    let variables: MemoryEnvironment = metadata.variables();
    let host = s3_backend::system_host().to_builder().environment(variables).build();
    let storage = S3Storage::open_with_credentials(config, Arc::clone(cache), host).await;
    let storage: Rc<dyn ObjectStorage> = Rc::new(storage.map_err(|error| error.to_string())?);
    let mut number = 0_u64;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let key =
            Key::parse(&format!("shard-{shard}/{}", number % 100)).map_err(|error| error.to_string())?;
        let text = format!("{shard} {number}");
        let began = Instant::now();
        let done = match storage.put(&key, text.clone().into(), Default::default()).await {
            Err(error) => Err(error.to_string()),
            Ok(_) if !number.is_multiple_of(8) => Ok(()),
            Ok(_) => match storage.get_bytes(&key).await {
                Err(error) => Err(error.to_string()),
                Ok(bytes) if bytes == text.as_bytes() => Ok(()),
                Ok(_) => Err("something else came back".to_owned()),
            },
        };
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        tally.slowest_micros.fetch_max(took, Ordering::Relaxed);
        tally.operations.fetch_add(1, Ordering::Relaxed);
        if let Err(problem) = done {
            tally.failed(problem);
        }
        compio::time::sleep(plan.pause).await;
    }
    Ok(())
}
