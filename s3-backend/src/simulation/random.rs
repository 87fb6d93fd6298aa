//! Random numbers that are the same everywhere and for ever: a seed names a history, also in ten years.

use std::time::Duration;

/// [SplitMix64](https://prng.di.unimi.it/splitmix64.c).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn with_seed(seed: u64) -> Random {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is small: the bias is far below anything counted here.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.next() % u64::from(end)).expect("a remainder is below the divisor")
    }

    pub(super) fn index(&mut self, end: usize) -> usize {
        let end = u32::try_from(end).expect("lists are short here");
        self.below(end) as usize
    }

    pub(super) fn per_mille(&mut self, chance: u32) -> bool {
        self.below(1000) < chance
    }

    pub(super) fn between_millis(&mut self, least: u32, most: u32) -> Duration {
        Duration::from_millis(u64::from(least + self.below(most - least + 1)))
    }

    /// Within 0 and 1.
    pub(super) fn jitter(&mut self) -> f64 {
        f64::from(self.below(1001)) / 1000.0
    }
}
