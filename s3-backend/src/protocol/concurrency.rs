//! [`Concurrency`]: how many requests may be under way at once when the store asks for fewer. A value.
//!
//! As long as the store never asks there is no limit, and all that is kept is a count. The first `SlowDown` sets a
//! limit; each further one lowers it by a factor, successes raise it one by one (additive increase, multiplicative
//! decrease: shards that do not know of each other end up with equal shares), and a limit that has grown far beyond
//! what was needed is dropped.

/// The requests of one shard to one store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Concurrency {
    in_flight: u32,
    /// How often the limit was lowered: tells requests that began before from those that began after.
    lowered: u64,
    limit: Option<Limit>,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    requests_max: u32,
    /// Successes since it last changed.
    successes: u32,
}

/// A request that was let go. It is given back with how it ended.
#[derive(Debug)]
pub(crate) struct Turn {
    lowered: u64,
}

/// What the first `SlowDown` makes of any number of requests under way: a start from which both directions are near.
const START: u32 = 16;

/// Beyond this many at once the limit has not mattered for long.
const LIFTED_AT: u32 = 256;

impl Concurrency {
    /// Whether another request may begin now; it is under way then.
    pub(crate) fn begin(&mut self) -> Option<Turn> {
        if self.limit.is_some_and(|limit| self.in_flight >= limit.requests_max) {
            return None;
        }
        self.in_flight += 1;
        Some(Turn { lowered: self.lowered })
    }

    /// A request has ended. `throttled`: the store asked for less; `None`: it said nothing to this.
    pub(crate) fn end(&mut self, turn: &Turn, throttled: Option<bool>) {
        self.in_flight = self.in_flight.checked_sub(1).expect("every end belongs to a begin");
        match (throttled, &mut self.limit) {
            (Some(true), None) => {
                self.lowered += 1;
                let under_way = self.in_flight.saturating_add(1).min(START);
                self.limit = Some(Limit { requests_max: seven_tenths(under_way), successes: 0 });
            }
            // Answers to what was sent before the limit was lowered say nothing about the new one.
            (Some(true), Some(limit)) if turn.lowered == self.lowered => {
                self.lowered += 1;
                *limit = Limit { requests_max: seven_tenths(limit.requests_max), successes: 0 };
            }
            (Some(false), Some(limit)) => {
                limit.successes += 1;
                if limit.successes >= limit.requests_max {
                    *limit = Limit { requests_max: limit.requests_max + 1, successes: 0 };
                    if limit.requests_max > LIFTED_AT {
                        self.limit = None;
                    }
                }
            }
            (Some(true), Some(_)) | (Some(false), None) | (None, _) => {}
        }
    }
}

fn seven_tenths(requests: u32) -> u32 {
    (requests * 7 / 10).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn begun(concurrency: &mut Concurrency, wanted: usize) -> Vec<Turn> {
        (0..wanted).map_while(|_| concurrency.begin()).collect()
    }

    #[test]
    fn nothing_is_limited_until_the_store_asks() {
        let mut concurrency = Concurrency::default();
        let turns = begun(&mut concurrency, 10_000);
        assert_eq!(turns.len(), 10_000);
        // All of them were sent before anybody knew: they count as one.
        for turn in &turns {
            concurrency.end(turn, Some(true));
        }
        assert_eq!(begun(&mut concurrency, 100).len(), 11);
    }

    #[test]
    fn it_falls_by_a_factor_down_to_one_and_rises_one_by_one() {
        let mut concurrency = Concurrency::default();
        for _ in 0..20 {
            let turn = concurrency.begin().expect("one is always allowed");
            concurrency.end(&turn, Some(true));
        }
        assert_eq!(begun(&mut concurrency, 9).len(), 1);
        concurrency.end(&Turn { lowered: 0 }, None);
        for wanted in 2..10 {
            for _ in 1..wanted {
                let turn = concurrency.begin().expect("allowed");
                concurrency.end(&turn, Some(false));
            }
            let turns = begun(&mut concurrency, 99);
            assert_eq!(turns.len(), wanted, "after {} successes more", wanted - 1);
            for turn in &turns {
                concurrency.end(turn, None);
            }
        }
    }

    #[test]
    fn a_limit_that_is_never_met_is_dropped() {
        let mut concurrency = Concurrency::default();
        let turn = concurrency.begin().expect("no limit");
        concurrency.end(&turn, Some(true));
        for _ in 0..LIFTED_AT * LIFTED_AT {
            let turn = concurrency.begin().expect("allowed");
            concurrency.end(&turn, Some(false));
        }
        assert!(concurrency.limit.is_none());
    }

    proptest! {
        #[test]
        fn somebody_may_always_go_on(ends in prop::collection::vec(prop::option::of(any::<bool>()), 0..300)) {
            let mut concurrency = Concurrency::default();
            let mut turns = Vec::new();
            for end in ends {
                match concurrency.begin() {
                    Some(turn) => turns.push(turn),
                    None => prop_assert!(!turns.is_empty(), "the limit is at least one"),
                }
                if (turns.len() > 20 || end.is_some())
                    && let Some(turn) = turns.pop()
                {
                    concurrency.end(&turn, end);
                }
            }
        }
    }
}
