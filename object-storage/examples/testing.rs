//! How a program that builds upon a store is tested: servers that count together, over a store that goes wrong.
//!
//! ```sh
//! cargo test -p object-storage --features testing --example testing
//! ```

use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::future::join_all;
use object_storage::testing::{Faults, FaultyStorage};
use object_storage::{
    ErrorKind, InMemoryStorage, Key, ObjectStorage, OperationId, PutMode, PutOptions, Result,
};

// ---- The program -----------------------------------------------------------------------------------------------

/// A counter that several servers increment. One object holds how often each of them did: a line of name and count.
#[derive(Debug)]
struct Counter {
    store: Rc<dyn ObjectStorage>,
    key: Key,
    server: &'static str,
}

type Counts = BTreeMap<String, u64>;

impl Counter {
    /// Counts one further, exactly once, whatever happens on the way, and gives the sum of all servers.
    async fn increment(&self) -> Result<u64> {
        let (mut counts, mut condition) = self.read().await?;
        let ours = counts.get(self.server).copied().unwrap_or(0) + 1;
        loop {
            counts.insert(self.server.to_owned(), ours);
            if self.replace(&counts, condition).await? {
                return Ok(counts.values().sum());
            }
            (counts, condition) = self.read().await?;
            if counts.get(self.server) == Some(&ours) {
                // It was stored after all, and others have counted since.
                return Ok(counts.values().sum());
            }
        }
    }

    /// The counts, and the condition under which they are still these.
    async fn read(&self) -> Result<(Counts, PutMode)> {
        loop {
            let error = match self.store.get(&self.key, Default::default()).await {
                Ok(got) => match got.body.bytes().await {
                    Ok(bytes) => {
                        let etag = got.meta.etag.expect("a store that honours conditions gives tags");
                        return Ok((parse(&bytes), PutMode::Match(etag)));
                    }
                    Err(error) => error,
                },
                Err(error) if error.is_not_found() => return Ok((Counts::new(), PutMode::Create)),
                Err(error) => error,
            };
            if !is_trouble(error.kind()) {
                return Err(error);
            }
        }
    }

    /// Stores the counts under the condition. When this gives `false`, the condition does not hold any more, so nothing
    /// that was sent here can be stored later; it may have been before.
    async fn replace(&self, counts: &Counts, condition: PutMode) -> Result<bool> {
        let lines: String = counts.iter().map(|(server, count)| format!("{server} {count}\n")).collect();
        // The same again under the same id is always safe, also when nobody knows what became of the last one.
        let options = PutOptions::from(condition).with_operation_id(OperationId::random());
        loop {
            match self.store.put(&self.key, lines.clone().into(), options.clone()).await {
                Ok(_) => return Ok(true),
                Err(error) => match error.kind() {
                    ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed => return Ok(false),
                    ErrorKind::Indeterminate => {}
                    kind if is_trouble(kind) => {}
                    _ => return Err(error),
                },
            }
        }
    }
}

/// Whether to try again, after a pause that a real program would make.
fn is_trouble(kind: ErrorKind) -> bool {
    use ErrorKind::{Conflict, Corrupt, Throttled, Timeout, Unavailable};
    matches!(kind, Conflict | Corrupt | Throttled | Timeout | Unavailable)
}

fn parse(bytes: &[u8]) -> Counts {
    let text = std::str::from_utf8(bytes).expect("nobody writes anything else here");
    let line = |line: &str| {
        let (server, count) = line.split_once(' ').expect("name and count");
        (server.to_owned(), count.parse().expect("a number"))
    };
    text.lines().map(line).collect()
}

// ---- Its test --------------------------------------------------------------------------------------------------

const SEEDS: u64 = 100;
const INCREMENTS: u64 = 10;

/// Three servers, each with faults of its own, count in one store. Gives how many faults they met.
async fn count_together(seed: u64) -> usize {
    let inner = InMemoryStorage::new();
    let key = Key::parse("counter").expect("a key");
    let stores = [0, 1, 2].map(|server| {
        let faults = Faults::new(3 * seed + server).with_every_fault(50);
        FaultyStorage::new(Rc::new(inner.clone()), faults)
    });
    let counters = stores.iter().zip(["ada", "bob", "eve"]).map(|(store, server)| Counter {
        store: Rc::new(store.clone()),
        key: key.clone(),
        server,
    });
    join_all(counters.map(|counter| async move {
        for _ in 0..INCREMENTS {
            counter.increment().await.expect("nothing here is for good");
        }
    }))
    .await;
    for store in &stores {
        store.settle().await;
    }
    let left = inner.get(&key, Default::default()).await.expect("there").body.bytes().await.expect("whole");
    let counts = parse(&left);
    assert!(counts.len() == 3 && counts.values().all(|count| *count == INCREMENTS), "{counts:?}");
    stores.iter().map(|store| store.injected().len()).sum()
}

#[test]
fn every_increment_counts_once() {
    main();
}

#[expect(clippy::print_stdout, reason = "an example that says what it did")]
fn main() {
    let runtime = compio::runtime::Runtime::new().expect("a runtime");
    let faults: usize = (0..SEEDS).map(|seed| runtime.block_on(count_together(seed))).sum();
    let increments = SEEDS * 3 * INCREMENTS;
    println!("{increments} increments, each counted once, through {faults} faults");
}
