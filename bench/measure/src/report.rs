//! The line that a contender prints and the runner reads.

use serde::{Deserialize, Serialize};

use crate::Task;
use crate::snapshot::{Snapshot, memory_peak_kib};

/// One run of one contender: totals over [`ops`](Report::ops) operations.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The workload's name.
    pub workload: String,
    /// Operations measured.
    pub ops: u64,
    /// Operations before those, not measured.
    pub warmup: u64,
    /// Bytes of payload that went over (keys, for a listing), the warm-up included, by the contender's own count.
    pub moved: u64,
    /// CPU time in user space, of all threads, in microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, in microseconds.
    pub system_us: u64,
    /// Time on the clock, in microseconds.
    pub wall_us: u64,
    /// How often a thread went to sleep, and so had to be woken.
    pub sleeps: u64,
    /// How often a thread was made to wait for another one: high numbers mean a noisy machine.
    pub preemptions: u64,
    /// Pages that had to be given or mapped.
    pub page_faults: u64,
    /// Allocations; a reallocation is one.
    pub allocations: u64,
    /// Bytes of those allocations.
    pub allocated_bytes: u64,
    /// `VmHWM` at the end, in KiB.
    pub memory_peak_kib: u64,
}

impl Report {
    /// Prints the line.
    pub fn print(&self) {
        println!("{}", serde_json::to_string(self).expect("numbers and a name are JSON"));
    }
}

pub(crate) fn report(
    task: &Task,
    warmup: u64,
    ops: u64,
    before: &Snapshot,
    after: &Snapshot,
    moved: u64,
) -> Report {
    Report {
        workload: task.workload.name.clone(),
        ops,
        warmup,
        moved,
        user_us: after.user_us - before.user_us,
        system_us: after.system_us - before.system_us,
        wall_us: u64::try_from((after.at - before.at).as_micros())
            .expect("a run takes less than 500,000 years"),
        sleeps: after.sleeps - before.sleeps,
        preemptions: after.preemptions - before.preemptions,
        page_faults: after.page_faults - before.page_faults,
        allocations: after.allocations - before.allocations,
        allocated_bytes: after.allocated_bytes - before.allocated_bytes,
        memory_peak_kib: memory_peak_kib(),
    }
}
