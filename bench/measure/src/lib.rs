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

use snapshot::Snapshot;

/// Runs `work` twice, first as a warm-up, and measures the second time.
///
/// `work` does the number of operations that it is given, [`Workload::in_flight`] at a time, and returns how many
/// bytes of payload went over (for a listing: how many keys came).
pub async fn measure(task: &Task, mut work: impl AsyncFnMut(u64) -> u64) -> Report {
    let warmed = work(task.warmup).await;
    let before = Snapshot::take();
    let moved = work(task.ops).await;
    let after = Snapshot::take();
    report::report(task, &before, &after, warmed + moved)
}

/// As [`measure`], for work that waits for nothing.
pub fn measure_sync(task: &Task, mut work: impl FnMut(u64) -> u64) -> Report {
    let warmed = work(task.warmup);
    let before = Snapshot::take();
    let moved = work(task.ops);
    let after = Snapshot::take();
    report::report(task, &before, &after, warmed + moved)
}

/// Bytes to send: not all alike, and not shared with another worker's, as an application's would not be.
#[must_use]
pub fn payload(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    bytes.extend((0..len).map(|at| (at % 251) as u8));
    bytes
}
