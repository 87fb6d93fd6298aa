//! [`Concurrency`]: how many requests may be under way at once when the store asks for fewer. A value.
//!
//! As long as the store never asks there is no limit, and all that is kept is a count. The first `SlowDown` sets a
//! limit; each further one lowers it by a factor, successes raise it one by one (additive increase, multiplicative
//! decrease: shards that do not know of each other end up with equal shares), and faster once the store has been
//! content for long. A limit that has grown far beyond what was needed is dropped.

use std::time::Duration;

/// The requests of one shard to one store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Concurrency {
    in_flight: u32,
    /// How often the limit was lowered: tells requests that began before from those that began after.
    lowered: u32,
    /// How often all that was under way was no longer counted: see [`SILENCE_MAX`].
    forgotten: u32,
    /// When the last request began under a limit.
    begun_at: Duration,
    limit: Option<Limit>,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    requests_max: u32,
    /// Successes since it last changed.
    successes: u32,
    /// How often it was raised since it was last lowered.
    raised: u32,
}

/// A request that was let go. It is given back with how it ended.
#[derive(Debug)]
pub(crate) struct Turn {
    lowered: u32,
    forgotten: u32,
}

/// What the first `SlowDown` makes of any number of requests under way: a start from which both directions are near.
const START: u32 = 16;

/// A limit above this that is not half used has not mattered for long. One that is used stays, or all who wait for their
/// turn would go at once, to a store that has just recovered.
const LIFTED_AT: u32 = 256;

/// So often the limit is raised by one, and then by a quarter: at a store that answers within 100 ms it is back from 1
/// to 100 after 2 seconds and not after 10.
const RAISED_BY_ONE: u32 = 8;

/// After so long without a beginning, what is under way no longer counts: a limit of one must not mean that a single
/// request without an answer holds everything up for as long as somebody waits for it. One more request in a
/// second is no burden.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(1);

impl Concurrency {
    /// Whether there is a limit, and so whether it matters what time it is.
    pub(crate) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Whether another request may begin now; it is under way then. `now` is the time since any fixed moment. Who may not
    /// begin asks again when a request has ended, and after [`SILENCE_MAX`].
    pub(crate) fn begin(&mut self, now: Duration) -> Option<Turn> {
        if let Some(limit) = self.limit {
            if self.in_flight >= limit.requests_max {
                if now.saturating_sub(self.begun_at) < SILENCE_MAX {
                    return None;
                }
                self.forgotten = self.forgotten.wrapping_add(1);
                self.in_flight = 0;
            }
            self.begun_at = now;
        }
        self.in_flight += 1;
        Some(Turn { lowered: self.lowered, forgotten: self.forgotten })
    }

    /// The turn of a request that was let go a while ago and begins only now, unless it no longer counts: then others have
    /// gone instead, and it has to ask again.
    pub(crate) fn go(&self, turn: Turn) -> Option<Turn> {
        (turn.forgotten == self.forgotten).then_some(Turn { lowered: self.lowered, ..turn })
    }

    /// A request has ended. `throttled`: the store asked for less; `None`: it said nothing to this.
    pub(crate) fn end(&mut self, turn: &Turn, throttled: Option<bool>) {
        if turn.forgotten == self.forgotten {
            self.in_flight = self.in_flight.checked_sub(1).expect("every end belongs to a begin");
        }
        match (throttled, &mut self.limit) {
            (Some(true), None) => {
                let under_way = self.in_flight.saturating_add(1).min(START);
                self.lower(under_way);
            }
            // Answers to what was sent before the limit was lowered say nothing about the new one.
            (Some(true), Some(limit)) if turn.lowered == self.lowered => {
                let requests_max = limit.requests_max;
                self.lower(requests_max);
            }
            (Some(false), Some(limit)) => {
                limit.successes += 1;
                if limit.successes >= limit.requests_max {
                    let more = if limit.raised < RAISED_BY_ONE { 1 } else { limit.requests_max.div_ceil(4) };
                    limit.requests_max = limit.requests_max.saturating_add(more);
                    limit.raised += 1;
                    limit.successes = 0;
                    if limit.requests_max > LIFTED_AT && self.in_flight < limit.requests_max / 2 {
                        self.limit = None;
                    }
                }
            }
            (Some(true), Some(_)) | (Some(false), None) | (None, _) => {}
        }
    }

    fn lower(&mut self, from: u32) {
        self.lowered = self.lowered.wrapping_add(1);
        self.limit = Some(Limit { requests_max: seven_tenths(from), successes: 0, raised: 0 });
    }
}

/// How long to wait in line, for memory or for a turn, when so much of the operation's time is left. Who is let in shall
/// have time to use it: were the whole time waited, then a store that has recovered would go on getting only requests
/// whose callers are about to give up, and no success would ever raise the limit; and a write that is sent in its last
/// moment ends in doubt, where it need not have been sent.
pub(crate) fn wait_max(left: Duration) -> Duration {
    left / 2
}

fn seven_tenths(requests: u32) -> u32 {
    (requests * 7 / 10).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn begun(concurrency: &mut Concurrency, wanted: usize) -> Vec<Turn> {
        (0..wanted).map_while(|_| concurrency.begin(NOW)).collect()
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
            let turn = concurrency.begin(NOW).expect("one is always allowed");
            concurrency.end(&turn, Some(true));
        }
        assert_eq!(begun(&mut concurrency, 9).len(), 1);
        concurrency.end(&Turn { lowered: 0, forgotten: 0 }, None);
        for wanted in 2..10 {
            for _ in 1..wanted {
                let turn = concurrency.begin(NOW).expect("allowed");
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
    fn a_store_that_is_content_for_long_soon_has_no_limit() {
        let mut concurrency = Concurrency::default();
        let turn = concurrency.begin(NOW).expect("no limit");
        concurrency.end(&turn, Some(true));
        // Everything that may be under way is answered, again and again.
        let rounds = (1..100).find(|_| {
            for turn in begun(&mut concurrency, 1000) {
                concurrency.end(&turn, Some(false));
            }
            concurrency.limit.is_none()
        });
        assert_eq!(rounds, Some(23));
    }

    #[test]
    fn a_limit_that_is_used_stays() {
        let mut concurrency = Concurrency::default();
        let turn = concurrency.begin(NOW).expect("no limit");
        concurrency.end(&turn, Some(true));
        let mut turns = begun(&mut concurrency, 10_000);
        while turns.len() < 5000 {
            // Each that ends is followed by whoever waits.
            let turn = turns.remove(0);
            concurrency.end(&turn, Some(false));
            turns.extend(begun(&mut concurrency, 10_000));
        }
        assert!(concurrency.limit.is_some() && turns.len() < 10_000);
    }

    #[test]
    fn a_request_without_an_answer_does_not_hold_everything_up() {
        let mut concurrency = Concurrency::default();
        let turn = concurrency.begin(NOW).expect("no limit");
        concurrency.end(&turn, Some(true));
        let silent = concurrency.begin(NOW).expect("one is always allowed");
        assert!(concurrency.begin(SILENCE_MAX / 2).is_none());
        let next = concurrency.begin(SILENCE_MAX).expect("the other one is silent");
        assert!(concurrency.begin(SILENCE_MAX).is_none(), "one, and not any number");
        concurrency.end(&silent, None);
        assert!(concurrency.begin(SILENCE_MAX).is_none(), "it did not count any more");
        concurrency.end(&next, Some(false));
        assert_eq!(begun(&mut concurrency, 99).len(), 2);
    }

    proptest! {
        #[test]
        fn somebody_may_always_go_on(ends in prop::collection::vec(prop::option::of(any::<bool>()), 0..300)) {
            let mut concurrency = Concurrency::default();
            let mut turns = Vec::new();
            for end in ends {
                match concurrency.begin(NOW) {
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
