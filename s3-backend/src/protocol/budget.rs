//! [`Budget`]: how much of the traffic may be repetition. A value: whoever asks it says what time it is.
//!
//! Pauses alone do not protect a store that is down: every operation would still be sent as often as its policy
//! allows. Tokens are earned by what succeeds and spent on what is repeated, so that in a lasting failure a shard
//! sends hardly more than it would without retries, while in good times every operation has all its attempts.

use std::time::Duration;

use super::error::Class;

/// What one shard may spend on repeating requests to one store.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    tokens: u32,
    tokens_max: u32,
    /// When a retry was last granted although there was nothing left to pay it with.
    floor_at: Option<Duration>,
}

/// Fifty retries at once before any has to be earned, as the AWS SDKs have it.
const TOKENS_MAX: u32 = 500;

/// The looks that clear up an ambiguous write have tokens of their own, for ten times 5 retries: certainty must not
/// starve because everything else is being retried.
const TOKENS_OF_LOOKS_MAX: u32 = 50;

/// With one token earned by each success, a tenth of the requests may be retries of this price.
const COST_OF_FAILURE: u32 = 10;

/// Cheaper: a store that asks for less is alive, and the pause it asks for does most of the work.
const COST_OF_THROTTLING: u32 = 5;

/// Without tokens one retry may be made in this time, so that an idle writer still notices when the store is back.
const FLOOR: Duration = Duration::from_secs(1);

impl Budget {
    /// For the operations of one shard.
    pub(crate) fn of_operations() -> Budget {
        Budget { tokens: TOKENS_MAX, tokens_max: TOKENS_MAX, floor_at: None }
    }

    /// For clearing up what ambiguous attempts left open.
    pub(crate) fn of_looks() -> Budget {
        Budget { tokens: TOKENS_OF_LOOKS_MAX, tokens_max: TOKENS_OF_LOOKS_MAX, floor_at: None }
    }

    /// Something succeeded.
    pub(crate) fn earn(&mut self) {
        self.tokens = self.tokens.saturating_add(1).min(self.tokens_max);
    }

    /// Whether an attempt that ended like this may be repeated. `now` is the time since any fixed moment.
    pub(crate) fn spend(&mut self, class: Class, now: Duration) -> bool {
        let cost = match class {
            // The next attempt differs from this one, and is made once.
            Class::StaleKeys => 0,
            Class::Throttle => COST_OF_THROTTLING,
            Class::Definite | Class::Transient | Class::Violation | Class::BadDigest | Class::Corrupt => {
                COST_OF_FAILURE
            }
        };
        if let Some(rest) = self.tokens.checked_sub(cost) {
            self.tokens = rest;
            return true;
        }
        let granted = self.floor_at.is_none_or(|at| now.saturating_sub(at) >= FLOOR);
        if granted {
            self.floor_at = Some(now);
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_outage_is_met_with_a_burst_and_then_one_retry_a_second() {
        let mut budget = Budget::of_operations();
        let burst = (0..1000).filter(|_| budget.spend(Class::Transient, second(1))).count();
        assert_eq!(burst, 50 + 1);
        // Ten minutes in which somebody wants to retry every 10 ms.
        let granted = (0..60_000)
            .filter(|tick| budget.spend(Class::Transient, second(1) + Duration::from_millis(tick * 10)))
            .count();
        assert!((598..=600).contains(&granted), "{granted}");
    }

    #[test]
    fn a_tenth_of_the_traffic_may_be_retries() {
        let mut budget = Budget::of_operations();
        while budget.spend(Class::Transient, second(1)) {}
        for _ in 0..100 {
            budget.earn();
        }
        // Within the second in which the floor has been used up.
        assert_eq!((0..100).filter(|_| budget.spend(Class::Transient, second(1))).count(), 10);
        assert!(budget.spend(Class::StaleKeys, second(1)), "what differs costs nothing");
    }

    #[test]
    fn no_more_can_be_saved_than_was_given() {
        let mut budget = Budget::of_looks();
        for _ in 0..1000 {
            budget.earn();
        }
        assert_eq!((0..1000).filter(|_| budget.spend(Class::Throttle, second(1))).count(), 10 + 1);
    }
}
