//! The only place of this crate that looks at a clock.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime};

/// For measuring how long something takes.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver's clock; everything else takes the time as an argument"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// For signing: what time it is for everybody.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver's clock; everything else takes the time as an argument"
)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// What second it is for everybody, looked up once in each.
///
/// That the clock was set is noticed with the next second.
#[derive(Debug)]
pub(crate) struct Seconds {
    second: Cell<SystemTime>,
    /// When the next one begins.
    until: Cell<Instant>,
}

impl Seconds {
    pub(crate) fn new(now: Instant) -> Seconds {
        Seconds { second: Cell::new(SystemTime::UNIX_EPOCH), until: Cell::new(now) }
    }

    /// The second that `now` lies in.
    pub(crate) fn at(&self, now: Instant) -> SystemTime {
        if now >= self.until.get() {
            self.look();
        }
        self.second.get()
    }

    /// Looks again the next time: what was kept has turned out to be wrong, perhaps because the clock was set since.
    pub(crate) fn forget(&self, now: Instant) {
        self.until.set(now);
    }

    /// As if it had been looked up.
    #[cfg(test)]
    pub(crate) fn keep(&self, second: SystemTime, until: Instant) {
        self.second.set(second);
        self.until.set(until);
    }

    #[cold]
    fn look(&self) {
        // Not the moment that was asked for, which may be a while ago.
        let (wall, now) = (wall(), now());
        let past = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_nanos();
        let past = Duration::from_nanos(past.into());
        self.second.set(wall - past);
        self.until.set(now + (Duration::from_secs(1) - past));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_looked_up_once_and_is_the_one_that_it_is() {
        let seconds = Seconds::new(now());
        let whole =
            |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        let (before, second, after) = (wall(), seconds.at(now()), wall());
        assert!((whole(before)..=whole(after)).contains(&whole(second)));
        assert_eq!(seconds.at(seconds.until.get() - Duration::from_nanos(1)), second);
        assert!(seconds.until.get() <= now() + Duration::from_secs(1));
        seconds.second.set(SystemTime::UNIX_EPOCH);
        assert!(whole(seconds.at(seconds.until.get())) >= whole(before), "the next one is looked up");
        seconds.keep(SystemTime::UNIX_EPOCH, now() + Duration::from_secs(60));
        seconds.forget(now());
        assert!(whole(seconds.at(now())) >= whole(before), "what was wrong is not kept");
    }
}
