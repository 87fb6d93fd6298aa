//! Whether another attempt is worth making, and when: pure arithmetic.

use std::time::Duration;

use super::error::Class;

/// How often and how long one operation tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    /// Attempts in all, the first included.
    pub(crate) attempts_max: u32,
    /// No attempt begins later than this after the first.
    pub(crate) time_max: Duration,
}

/// The mean first pause is half of this: long enough for a connection to be closed, short beside any timeout.
const BASE: Duration = Duration::from_millis(50);
const CAP: Duration = Duration::from_secs(5);

/// A store that asks for less means it: it gets five times as long.
const THROTTLE_BASE: Duration = Duration::from_millis(250);
const THROTTLE_CAP: Duration = Duration::from_secs(20);

/// How much longer than asked a pause may be, so that those who were told the same time do not return together.
const RETRY_AFTER_SPREAD: Duration = Duration::from_secs(5);

/// The longest pause a server can impose.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

impl RetryPolicy {
    /// The pause before the next attempt, or `None` when this one was the last.
    ///
    /// `attempts` were made, `elapsed` has passed since the first began. `jitter` lies within 0 and 1: [full
    /// jitter] spreads the pauses over the whole interval.
    ///
    /// [full jitter]: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    pub(crate) fn pause(
        &self,
        class: Class,
        attempts: u32,
        elapsed: Duration,
        retry_after: Option<Duration>,
        jitter: f64,
    ) -> Option<Duration> {
        if attempts >= self.attempts_max {
            return None;
        }
        let (base, cap) = match class {
            Class::Throttle => (THROTTLE_BASE, THROTTLE_CAP),
            // Nobody is overloaded: the next attempt differs from this one.
            Class::StaleKeys => (Duration::ZERO, Duration::ZERO),
            Class::Definite
            | Class::Transient
            | Class::Violation
            | Class::Garbled
            | Class::BadDigest
            | Class::Corrupt => (BASE, CAP),
        };
        let doublings = attempts.saturating_sub(1).min(20);
        let backoff = base.saturating_mul(1 << doublings).min(cap).mul_f64(jitter.clamp(0.0, 1.0));
        let pause = match retry_after {
            Some(asked) => {
                asked.min(RETRY_AFTER_MAX).max(backoff) + RETRY_AFTER_SPREAD.mul_f64(jitter.clamp(0.0, 1.0))
            }
            None => backoff,
        };
        (elapsed + pause < self.time_max).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { attempts_max: 8, time_max: Duration::from_secs(60) };

    #[test]
    fn pauses_double_up_to_a_cap_and_end() {
        let pause = |attempts| POLICY.pause(Class::Transient, attempts, Duration::ZERO, None, 1.0);
        assert_eq!(pause(1), Some(Duration::from_millis(50)));
        assert_eq!(pause(3), Some(Duration::from_millis(200)));
        assert_eq!(pause(7), Some(Duration::from_millis(3200)));
        assert_eq!(pause(8), None);
    }

    #[test]
    fn a_pause_never_reaches_beyond_the_time_of_the_operation() {
        let late = Duration::from_millis(59_960);
        assert_eq!(POLICY.pause(Class::Transient, 1, late, None, 1.0), None);
        let asked = Some(Duration::from_secs(61));
        assert_eq!(POLICY.pause(Class::Throttle, 1, Duration::ZERO, asked, 0.0), None);
        let asked = Some(Duration::from_secs(3));
        assert_eq!(POLICY.pause(Class::Throttle, 1, Duration::ZERO, asked, 0.0), asked);
    }
}
