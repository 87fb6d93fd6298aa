//! [`Outage`]: one shard under load while its store refuses everything for ten minutes. What does the client add to the
//! trouble, and how soon does it serve again?
//!
//! The shard runs the product's operations, its machine, its budgets and its limit on concurrency in virtual time; the
//! store is a latency and a way to fail. It is compared with a client that sends every operation once, at once, and looks
//! at nothing, under the same load: the same arrivals, or the same tasks. For tests and for the program `simulate`.

mod shard;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use self::shard::Shard;

/// How the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Nobody listens: an attempt fails within a millisecond, and was certainly not sent.
    Refused,
    /// 503 with the code `SlowDown`.
    SlowDown,
    /// 500 with the code `InternalError`.
    InternalError,
    /// Requests are taken, and nothing comes back.
    Silence,
    /// Each attempt meets any of the others.
    Mixture,
}

impl Outage {
    /// Every one.
    pub const ALL: [Outage; 5] =
        [Outage::Refused, Outage::SlowDown, Outage::InternalError, Outage::Silence, Outage::Mixture];
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outage::Refused => "connection refused",
            Outage::SlowDown => "503 SlowDown",
            Outage::InternalError => "500 InternalError",
            Outage::Silence => "silence",
            Outage::Mixture => "a mixture",
        })
    }
}

/// What the shard is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// So many operations begin each second, whatever becomes of them.
    Arrivals(u32),
    /// So many tasks, each of which begins an operation some time after its last has ended.
    Tasks {
        /// How many.
        tasks: u32,
        /// The mean of the time between two operations.
        think: Duration,
    },
}

impl Load {
    /// Those that the table shows.
    pub const ALL: [Load; 3] = [
        Load::Arrivals(200),
        Load::Tasks { tasks: 32, think: Duration::from_millis(100) },
        Load::Arrivals(4),
    ];
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Load::Arrivals(per_second) => write!(f, "{per_second} arrivals a second"),
            Load::Tasks { tasks, think } => write!(f, "{tasks} tasks, {think:?} between"),
        }
    }
}

/// What is done: a third each of gets, overwrites and creations, or creations only. They are the dearest: each that is
/// left in doubt wants a look at its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A third each.
    Mixed,
    /// `PutMode::Create` only.
    Creations,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Work::Mixed => "mixed",
            Work::Creations => "creations",
        })
    }
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// This library with its defaults.
    Ours,
    /// One that sends every operation once, at once, and looks at nothing.
    Once,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// How the store fails.
    pub outage: Outage,
    /// How much is asked for.
    pub load: Load,
    /// What is asked for.
    pub work: Work,
    /// The mean time to an answer.
    pub latency: Duration,
    /// Who does it.
    pub client: Client,
    /// What decides the rest.
    pub seed: u64,
}

/// When the outage begins: the shard has long found its pace.
const BEGINS: Duration = Duration::from_secs(60);

/// When it ends.
const ENDS: Duration = Duration::from_secs(60 + 600);

/// How long the shard is watched after that, at least as long as any operation lasts.
const WATCHED: Duration = Duration::from_secs(75);

/// What the runs of several seeds gave, the worst of each.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Row {
    /// Operations that were begun in the outages.
    pub operations: u64,
    /// Requests of a client that does not retry, under the same load.
    pub once: u64,
    /// Requests of ours.
    pub ours: u64,
    /// Looks among them.
    pub looks: u64,
    /// Ours for each of one that does not retry.
    pub ratio: f64,
    /// Ours for each operation of which any was sent.
    pub ratio_of_tried: f64,
    /// See [`Toll::recovered`].
    pub recovered: Option<Duration>,
    /// See [`Toll::at_ease`].
    pub at_ease: Option<Duration>,
    /// `recovered` of a client that does not retry.
    pub once_recovered: Option<Duration>,
}

impl Row {
    /// Runs the scenarios of these seeds. They are not to be none.
    #[must_use]
    pub fn of(outage: Outage, load: Load, seeds: Range<u64>) -> Row {
        let zero = Some(Duration::ZERO);
        let mut row = Row { recovered: zero, at_ease: zero, once_recovered: zero, ..Row::default() };
        // `None` is worse than any time.
        let worse = |one: Option<Duration>, other: Option<Duration>| Some(one?.max(other?));
        for seed in seeds {
            let ours = Scenario::of_seed(outage, load, Client::Ours, seed).run();
            let once = Scenario::of_seed(outage, load, Client::Once, seed).run();
            row.operations += ours.operations;
            row.once += once.requests;
            row.ours += ours.requests;
            row.looks += ours.looks;
            row.ratio = row.ratio.max(quotient(ours.requests, once.requests));
            row.ratio_of_tried = row.ratio_of_tried.max(ours.ratio_of_tried());
            row.recovered = worse(row.recovered, ours.recovered);
            row.at_ease = worse(row.at_ease, ours.at_ease);
            row.once_recovered = worse(row.once_recovered, once.recovered);
        }
        row
    }
}

/// What a run gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Toll {
    /// Operations begun during the outage.
    pub operations: u64,
    /// Operations of which a first request was sent during the outage. Fewer where the limit on concurrency held some
    /// back until their time was over.
    pub tried: u64,
    /// All requests sent during the outage.
    pub requests: u64,
    /// Those of them that looked at an object whose write was in doubt.
    pub looks: u64,
    /// How long after the outage as many operations succeed in each second as before it, less a twentieth. `None`: not
    /// while the shard was watched.
    pub recovered: Option<Duration>,
    /// How long after the outage, of the operations begun in a second, all but a twentieth succeed within a second.
    pub at_ease: Option<Duration>,
    /// A digest of everything that happened.
    pub digest: u64,
}

impl Toll {
    /// Requests for each operation of which any was sent.
    #[must_use]
    pub fn ratio_of_tried(&self) -> f64 {
        quotient(self.requests, self.tried)
    }
}

fn quotient(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of minutes lie far below 2^52")]
    let quotient = part as f64 / whole.max(1) as f64;
    quotient
}

impl Scenario {
    /// The one of this seed, which also decides what is done and how fast the store answers.
    #[must_use]
    pub fn of_seed(outage: Outage, load: Load, client: Client, seed: u64) -> Scenario {
        let work = if seed.is_multiple_of(2) { Work::Mixed } else { Work::Creations };
        let latency = Duration::from_millis(if (seed / 2).is_multiple_of(2) { 20 } else { 100 });
        Scenario { outage, load, work, latency, client, seed }
    }

    /// Runs it.
    #[must_use]
    pub fn run(&self) -> Toll {
        Shard::new(self).run()
    }
}
