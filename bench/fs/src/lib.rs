//! What both contenders have in common: the work, and how it is counted.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

/// The bytes of a small object.
pub const SMALL_BYTES: usize = 4 * 1024;
/// The bytes of a large object.
pub const LARGE_BYTES: usize = 1024 * 1024;

/// What an operation of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A put of 4 KiB to a key that was never used, in a directory that exists. It may replace.
    PutNew,
    /// The same, refused if the key is in use.
    PutCreate,
    /// A put of 4 KiB to the same key each time.
    PutSame,
    /// A put of 1 MiB to the same key each time.
    PutLarge,
    /// A get of 4 KiB.
    GetSmall,
    /// A get of 1 MiB as one piece.
    GetWhole,
    /// A get of 1 MiB, chunk by chunk, each dropped when the next is wanted.
    GetChunks,
}

impl Work {
    /// Every work with its name on the command line.
    pub const ALL: [(&'static str, Work); 7] = [
        ("put-4k-new", Work::PutNew),
        ("put-4k-create", Work::PutCreate),
        ("put-4k-same", Work::PutSame),
        ("put-1m-same", Work::PutLarge),
        ("get-4k", Work::GetSmall),
        ("get-1m", Work::GetWhole),
        ("get-1m-chunks", Work::GetChunks),
    ];

    /// Whether it writes.
    pub fn is_put(self) -> bool {
        matches!(self, Work::PutNew | Work::PutCreate | Work::PutSame | Work::PutLarge)
    }

    /// The size of the objects.
    pub fn bytes(self) -> usize {
        match self {
            Work::PutLarge | Work::GetWhole | Work::GetChunks => LARGE_BYTES,
            _ => SMALL_BYTES,
        }
    }

    /// The key of one operation.
    pub fn key(self, operation: usize) -> String {
        match self {
            Work::PutNew | Work::PutCreate => format!("shard/{operation:08}"),
            _ => "shard/object".to_owned(),
        }
    }
}

/// One run, as its process was told.
#[derive(Debug)]
pub struct Run {
    /// What to do.
    pub work: Work,
    /// How often.
    pub operations: usize,
    /// How many at once.
    pub at_once: usize,
    /// Whether puts are synced.
    pub durable: bool,
    /// Where: empty at first.
    pub directory: PathBuf,
}

impl Run {
    /// Reads `WORK OPERATIONS AT_ONCE durable|volatile CORES DIRECTORY` and binds the process to so many cores.
    ///
    /// # Panics
    ///
    /// When they cannot be read.
    pub fn from_args() -> Run {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let [work, operations, at_once, durability, cores, directory] = args.as_slice() else {
            panic!("WORK OPERATIONS AT_ONCE durable|volatile CORES DIRECTORY")
        };
        let work = Work::ALL.into_iter().find(|(name, _)| name == work).expect("a known work").1;
        let number = |text: &String| text.parse().expect("a number");
        let mut set = CpuSet::new();
        (0..number(cores)).for_each(|core| set.set(core));
        sched_setaffinity(None, &set).expect("these cores exist");
        Run {
            work,
            operations: number(operations),
            at_once: number(at_once),
            durable: durability == "durable",
            directory: directory.into(),
        }
    }

    /// How many operations come first, uncounted: threads, directories and caches are made.
    pub fn warm_up(&self) -> usize {
        (self.operations / 10).max(2 * self.at_once)
    }
}

/// The moment at which counting begins.
#[derive(Debug)]
pub struct Count {
    begun: Instant,
    cpu: Duration,
}

/// The CPU time of all threads of this process so far, user and system.
fn cpu() -> Duration {
    // What `getrusage` divides into user and system, undivided: it counts io_uring's workers too.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

impl Count {
    /// Begins.
    pub fn begin() -> Count {
        Count { cpu: cpu(), begun: Instant::now() }
    }

    /// Ends, and prints CPU and wall time of one operation, in µs.
    pub fn end(self, operations: usize) {
        let (wall, cpu) = (self.begun.elapsed(), cpu() - self.cpu);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / operations as f64;
        println!("{} {}", each(cpu), each(wall));
    }
}
