//! [`FsOptions`]: what may be chosen when a [`CompioFsStorage`](crate::CompioFsStorage) is opened.

use std::num::NonZeroUsize;
use std::time::Duration;

pub use crate::config::Durability;

/// How a [`CompioFsStorage`](crate::CompioFsStorage) works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsOptions {
    /// What an acknowledged write survives; everything when left out.
    pub durability: Durability,
    /// The most threads of the runtime's blocking pool that this store uses at once; 32 when left out.
    ///
    /// The pool has 256, shared by everything on the shard, and the shard spins while all of them are busy.
    /// A disk that is waited upon serves its queue no faster with more.
    pub blocking_max: NonZeroUsize,
    /// How old an unfinished file must be before opening a store sweeps it away; an hour when left out. Files
    /// that somebody is still writing stay, whatever their age.
    pub sweep_after: Duration,
}

impl Default for FsOptions {
    fn default() -> FsOptions {
        FsOptions {
            durability: Durability::Full,
            blocking_max: const { NonZeroUsize::new(32).expect("not zero") },
            sweep_after: Duration::from_secs(3600),
        }
    }
}

impl FsOptions {
    /// The same options with this durability.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> FsOptions {
        self.durability = durability;
        self
    }

    /// The same options with this many blocking threads at once.
    #[must_use]
    pub fn with_blocking_max(mut self, threads: NonZeroUsize) -> FsOptions {
        self.blocking_max = threads;
        self
    }

    /// The same options, sweeping unfinished files of this age.
    #[must_use]
    pub fn with_sweep_after(mut self, age: Duration) -> FsOptions {
        self.sweep_after = age;
        self
    }
}
