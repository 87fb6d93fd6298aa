//! Every shard of a thread-per-core process at work at once, each through a store of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::{Either, select};
use object_storage::{Key, ObjectStorageExt, StorageFactory};

use super::compare_and_swap;
use super::create_if_absent::create_once;
use crate::scenario::{Context, Failure, Outcome, Scenario, ensure, failure, noise, passed};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "every-shard",
    about: "one runtime and one store per core, all at once: own objects, one shared counter, one winner",
    run: |cx| Box::pin(run(cx)),
};

/// Also on a machine with one core there must be somebody to race with; beyond 16 nothing new is learnt.
const SHARDS_MIN: usize = 2;
const SHARDS_MAX: usize = 16;
const OBJECTS_EACH: usize = 20;
const INCREMENTS_EACH: u64 = 5;
/// How often a shard looks whether it is still wanted.
const STOP_STEP: Duration = Duration::from_millis(20);

async fn run(cx: &Context) -> Outcome {
    let cores = std::thread::available_parallelism().map_or(SHARDS_MIN, usize::from);
    let shards = cores.clamp(SHARDS_MIN, SHARDS_MAX);
    let counter = cx.key("counter")?;
    cx.store.put_bytes(&counter, "").await?;

    let mut threads = Threads::default();
    for shard in 0..shards {
        let work = Shard {
            factory: cx.factory.clone(),
            prefix: cx.prefix.clone(),
            shard,
            stop: Arc::clone(&threads.stop),
        };
        threads.start(work, shard % cores)?;
    }
    let mut winners = 0;
    for done in threads.join().await? {
        winners += usize::from(done?.won);
    }

    let objects = cx.listed("objects/").await?.len();
    ensure!(
        objects == shards * OBJECTS_EACH,
        "{objects} objects are listed instead of {}",
        shards * OBJECTS_EACH
    );
    let promised = cx.capabilities();
    if promised.put_create {
        ensure!(winners == 1, "{winners} of {shards} shards created the same object");
    }
    if promised.put_match {
        let total = compare_and_swap::read(&*cx.store, &counter).await?.0.total();
        let expected = shards as u64 * INCREMENTS_EACH;
        ensure!(total == expected, "a counter that all shards incremented {expected} times says {total}");
    }
    let together = match (promised.put_create, promised.put_match) {
        (true, true) => ", a shared counter, one winner",
        _ => " (no conditions promised)",
    };
    passed(format!("{shards} shards at once: {objects} objects{together}"))
}

/// The shards' threads. Dropped, it tells them to stop and waits until they have.
#[derive(Default)]
struct Threads {
    running: Vec<JoinHandle<Result<Done, String>>>,
    stop: Arc<AtomicBool>,
}

/// What a shard reports when its work is done.
struct Done {
    /// Whether its create was the one that won.
    won: bool,
}

impl Threads {
    fn start(&mut self, work: Shard, core: usize) -> Result<(), Failure> {
        let name = format!("shard-{}", work.shard);
        let thread = std::thread::Builder::new().name(name).spawn(move || run_shard(&work, core));
        self.running.push(thread.map_err(|error| failure(format!("no thread for a shard: {error}")))?);
        Ok(())
    }

    /// Waits for every shard, without blocking this one.
    async fn join(&mut self) -> Result<Vec<Result<Done, Failure>>, Failure> {
        while !self.running.iter().all(JoinHandle::is_finished) {
            compio::time::sleep(STOP_STEP / 4).await;
        }
        let ended = self.running.drain(..).map(|thread| match thread.join() {
            Ok(done) => done.map_err(Failure),
            Err(panic) => Err(failure(format!("a shard panicked: {}", crate::run::panic_text(&*panic)))),
        });
        Ok(ended.collect())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.running.drain(..) {
            // It was not wanted any more; how it ended is of no interest.
            let _ = thread.join();
        }
    }
}

/// What a shard takes to its thread. A failure comes back as text: nothing else of it may cross.
struct Shard {
    factory: StorageFactory,
    prefix: String,
    shard: usize,
    stop: Arc<AtomicBool>,
}

/// A shard's whole life: a runtime of its own, on its core, with a store of its own.
fn run_shard(work: &Shard, core: usize) -> Result<Done, String> {
    let runtime = spike::shard::runtime(Some(core))
        .map_err(|error| format!("shard {}: no runtime: {error}", work.shard))?;
    runtime.block_on(async {
        let stopped = async {
            while !work.stop.load(Ordering::Relaxed) {
                compio::time::sleep(STOP_STEP).await;
            }
        };
        match select(std::pin::pin!(work.run()), std::pin::pin!(stopped)).await {
            Either::Left((done, _)) => {
                done.map_err(|Failure(reason)| format!("shard {}: {reason}", work.shard))
            }
            Either::Right(((), _)) => Err(format!("shard {} was stopped", work.shard)),
        }
    })
}

impl Shard {
    async fn run(&self) -> Result<Done, Failure> {
        let store = self.factory.open().await?;
        for number in 0..OBJECTS_EACH {
            let key = Key::parse(&format!("{}objects/{}-{number}", self.prefix, self.shard))?;
            let bytes = noise((self.shard * OBJECTS_EACH + number) as u64, 10_000);
            store.put_bytes(&key, bytes.clone()).await?;
            ensure!(store.get_bytes(&key).await? == bytes, "{key:?} came back as other bytes");
        }
        let promised = store.capabilities();
        let mut won = false;
        if promised.put_create {
            let key = Key::parse(&format!("{}created-once", self.prefix))?;
            won = create_once(&*store, &key, self.shard.to_string()).await?;
        }
        let counter = Key::parse(&format!("{}counter", self.prefix))?;
        if promised.put_match {
            compare_and_swap::count(&*store, &counter, self.shard, INCREMENTS_EACH).await?;
        }
        Ok(Done { won })
    }
}
