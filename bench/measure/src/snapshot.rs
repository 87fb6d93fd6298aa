//! What the kernel and the allocator say of this process at one moment.

use std::time::Instant;

use crate::allocations;

/// One moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) at: Instant,
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) sleeps: u64,
    pub(crate) preemptions: u64,
    pub(crate) page_faults: u64,
    pub(crate) allocations: u64,
    pub(crate) allocated_bytes: u64,
}

impl Snapshot {
    pub(crate) fn take() -> Snapshot {
        // SAFETY: a `rusage` is plain numbers, for which zeroes are values.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a whole `rusage` that lives through the call. All threads of the process are
        // counted, those of io_uring too.
        let answer = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
        assert_eq!(answer, 0, "getrusage of oneself cannot fail");
        let (allocations, allocated_bytes) = allocations::counted();
        Snapshot {
            at: Instant::now(),
            user_us: microseconds(usage.ru_utime),
            system_us: microseconds(usage.ru_stime),
            sleeps: usage.ru_nvcsw as u64,
            preemptions: usage.ru_nivcsw as u64,
            page_faults: (usage.ru_minflt + usage.ru_majflt) as u64,
            allocations,
            allocated_bytes,
        }
    }
}

fn microseconds(time: libc::timeval) -> u64 {
    time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64
}

/// The most memory that this process ever had resident (`VmHWM`), in KiB.
pub(crate) fn memory_peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().strip_suffix("kB")).and_then(|kib| kib.trim().parse().ok()).unwrap_or(0)
}
