//! What every contender has in common, so that they differ only in what is measured: the task they are given, the
//! counting of CPU time, memory and allocations, and the line they print.
//!
//! Rivals bring their own runtime; the one of `ours` and the floor is here (`runtime.rs`), so that both have the same.

mod allocations;
mod report;
#[cfg(feature = "compio")]
mod runtime;
mod snapshot;
mod task;
mod workload;

pub use allocations::Counting;
pub use report::Report;
#[cfg(feature = "compio")]
pub use runtime::{runtime, workers};
pub use task::{Task, fail, unavailable};
pub use workload::{Action, LIST_KEYS, MIB, PART_BYTES, PARTS_IN_FLIGHT, RING_BYTES, WRITE_BYTES, Workload};

use std::time::{Duration, Instant};

use snapshot::Snapshot;

/// The longest that is measured in one run. A contender that is slow beyond expectation (44 ms of delayed ACK for each
/// request, say) does fewer operations and says so.
const MEASURED_MAX: Duration = Duration::from_secs(4);
const WARMUP_MAX: Duration = Duration::from_secs(1);

/// Runs `work` as a warm-up, and then measures it.
///
/// `work` does the number of operations that it is given, [`Workload::in_flight`] at a time, and returns how many
/// bytes of payload went over (for a listing: how many keys came).
pub async fn measure(task: &Task, mut work: impl AsyncFnMut(u64) -> u64) -> Report {
    let begun = Instant::now();
    let first = task.whole(1);
    let mut moved = work(first).await;
    let rest = task.within(task.warmup.saturating_sub(first), first, begun.elapsed(), WARMUP_MAX);
    let warm = Instant::now();
    moved += work(rest).await;
    let pace = if rest > 0 { (rest, warm.elapsed()) } else { (first, begun.elapsed()) };
    let ops = task.within(task.ops, pace.0, pace.1, MEASURED_MAX).max(first);
    let before = Snapshot::take();
    moved += work(ops).await;
    let after = Snapshot::take();
    report::report(task, first + rest, ops, &before, &after, moved)
}

/// As [`measure`], for work that waits for nothing.
pub fn measure_sync(task: &Task, mut work: impl FnMut(u64) -> u64) -> Report {
    let mut moved = work(task.warmup);
    let before = Snapshot::take();
    moved += work(task.ops);
    let after = Snapshot::take();
    report::report(task, task.warmup, task.ops, &before, &after, moved)
}

/// Bytes to send: not all alike, and not shared with another worker's, as an application's would not be.
#[must_use]
pub fn payload(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    bytes.extend((0..len).map(|at| (at % 251) as u8));
    bytes
}
