//! Random numbers that are the same everywhere and for ever: a seed names the same faults in ten years.

use crate::error::Operation;

/// [SplitMix64](https://prng.di.unimi.it/splitmix64.c).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The numbers for one call. They depend on nothing but these three, so that a call more of one operation does
    /// not change what happens to the others.
    pub(super) fn of(seed: u64, operation: Operation, number: u64) -> Random {
        let mut random = Random(seed);
        random.0 = random.next() ^ operation as u64;
        random.0 = random.next() ^ number;
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0. The bias is far below anything that a test counts.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number within these two.
    pub(super) fn within(&mut self, (least, most): (u64, u64)) -> u64 {
        least + self.below((most - least).saturating_add(1))
    }
}
