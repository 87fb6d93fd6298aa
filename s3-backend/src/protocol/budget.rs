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
    /// How many were asked for since the last success, whoever had it, and how many of them granted unpaid.
    wanted: u32,
    unpaid: u32,
}

/// Fifty retries at once before any has to be earned, as the AWS SDKs have it.
const TOKENS_MAX: u32 = 500;

/// The looks that clear up an ambiguous write have tokens of their own, for five that fail: certainty must not starve
/// because everything else is being retried.
const TOKENS_OF_LOOKS_MAX: u32 = 50;

/// With one token earned by each success, a tenth of the requests may be retries of this price.
const COST_OF_FAILURE: u32 = 10;

/// Cheaper: a store that asks for less is alive, and the pause it asks for does most of the work.
const COST_OF_THROTTLING: u32 = 5;

/// Without tokens one retry may be made in this time, so that an idle writer whose tokens went in an outage long past
/// is not refused a second attempt ...
const FLOOR: Duration = Duration::from_secs(1);

/// ... but while nothing succeeds at all, only for one in so many that are wanted. Retries and looks together then add 4
/// % to a long outage, whatever the load; with what was saved up and what is under way when it begins that is less than
/// a tenth of ten minutes of four operations a second. (One a second alone would be a quarter.)
const WANTED_PER_FLOOR: u32 = 50;

impl Budget {
    /// For the operations of one shard.
    pub(crate) fn of_operations() -> Budget {
        Budget::full(TOKENS_MAX)
    }

    /// For clearing up what ambiguous attempts left open.
    pub(crate) fn of_looks() -> Budget {
        Budget::full(TOKENS_OF_LOOKS_MAX)
    }

    fn full(tokens_max: u32) -> Budget {
        Budget { tokens: tokens_max, tokens_max, floor_at: None, wanted: 0, unpaid: 0 }
    }

    /// Something succeeded.
    pub(crate) fn earn(&mut self) {
        self.gain(1);
    }

    /// Whether an attempt that ended like this may be repeated. `now` is the time since any fixed moment.
    pub(crate) fn spend(&mut self, class: Class, now: Duration) -> bool {
        let cost = match class {
            // The next attempt differs from this one, and is made once.
            Class::StaleKeys => 0,
            Class::Throttle => COST_OF_THROTTLING,
            Class::Definite
            | Class::Transient
            | Class::Violation
            | Class::Garbled
            | Class::BadDigest
            | Class::Corrupt => COST_OF_FAILURE,
        };
        if let Some(rest) = self.tokens.checked_sub(cost) {
            self.tokens = rest;
            return true;
        }
        self.grants_unpaid(now)
    }

    /// Whether a look may begin that nobody has asked for. It costs nothing unless it [fails](Self::look_ended), so
    /// that any number may look at once where the store answers: what one outage leaves in doubt may be much.
    pub(crate) fn admits_look(&mut self, now: Duration) -> bool {
        self.tokens >= COST_OF_FAILURE || self.grants_unpaid(now)
    }

    /// A look has ended. An answer gives back what one that failed has cost.
    pub(crate) fn look_ended(&mut self, answered: bool) {
        if answered {
            self.gain(COST_OF_FAILURE);
        } else {
            self.tokens = self.tokens.saturating_sub(COST_OF_FAILURE);
        }
    }

    fn gain(&mut self, tokens: u32) {
        self.tokens = self.tokens.saturating_add(tokens).min(self.tokens_max);
        self.store_serves();
    }

    /// Something succeeded that earns nothing here: the outage that was saved in is over. (Were that learned from looks
    /// alone, then the next 49 would be withheld, however long after it they are wanted.)
    pub(crate) fn store_serves(&mut self) {
        self.wanted = 0;
        self.unpaid = 0;
    }

    fn grants_unpaid(&mut self, now: Duration) -> bool {
        self.wanted = self.wanted.saturating_add(1);
        let granted = self.wanted > self.unpaid.saturating_mul(WANTED_PER_FLOOR)
            && self.floor_at.is_none_or(|at| now.saturating_sub(at) >= FLOOR);
        if granted {
            self.unpaid += 1;
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
    fn an_outage_is_met_with_a_burst_and_then_one_retry_in_fifty_at_most_one_a_second() {
        for (pause_millis, expected) in [(10, 600), (100, 120), (1000, 12)] {
            let mut budget = Budget::of_operations();
            let burst = (0..51).filter(|_| budget.spend(Class::Transient, second(0))).count();
            assert_eq!(burst, 50 + 1);
            // Ten minutes in which somebody wants to retry after each pause.
            let granted = (1..=600_000 / pause_millis)
                .filter(|tick| budget.spend(Class::Transient, Duration::from_millis(tick * pause_millis)))
                .count();
            assert!(granted.abs_diff(expected) <= 1, "{granted} every {pause_millis} ms");
        }
    }

    #[test]
    fn who_is_idle_may_try_twice_long_after_the_tokens_went() {
        let mut budget = Budget::of_operations();
        while budget.spend(Class::Transient, second(0)) {}
        for minute in 1..10 {
            // The outage is over, and every tenth request or so fails once.
            budget.earn();
            assert!(budget.spend(Class::Transient, second(minute * 60)), "{minute}");
        }
    }

    #[test]
    fn looks_are_free_where_they_are_answered_and_end_where_they_are_not() {
        let mut budget = Budget::of_looks();
        for _ in 0..1000 {
            assert!(budget.admits_look(second(0)), "as many at once as are wanted");
        }
        for _ in 0..5 {
            assert!(budget.admits_look(second(0)));
            budget.look_ended(false);
        }
        assert!(budget.admits_look(second(0)), "the floor");
        assert!((0..49).all(|_| !budget.admits_look(second(1))));
        budget.look_ended(true);
        assert!((0..100).all(|_| budget.admits_look(second(1))), "the store answers again");
    }

    #[test]
    fn a_look_long_after_an_outage_is_made_once_anything_has_succeeded() {
        let mut budget = Budget::of_looks();
        for _ in 0..6 {
            assert!(budget.admits_look(second(0)));
            budget.look_ended(false);
        }
        assert!(!budget.admits_look(second(3600)), "for all that is known the store is still out");
        budget.store_serves();
        assert!(budget.admits_look(second(3600)));
        assert!(!budget.admits_look(second(3600)), "one a second, until looks are answered again");
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
