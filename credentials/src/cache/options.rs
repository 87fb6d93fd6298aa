//! The numbers of the refresh, and the windows that follow from them.

use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// How the keys of a [`CredentialsCache`](super::CredentialsCache) are refreshed.
///
/// The defaults are those that the AWS SDKs agreed upon. Programs leave them alone; tests shorten them.
///
/// A window that is as long as the keys live would be open from the start and every request would ask
/// the source, so keys that live shorter than their window get one of half their life, the last quarter
/// of which is mandatory. No service issues such keys, but several hand out what is left of older ones.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    pub(super) advisory: Option<Duration>,
    pub(super) backoff: (Duration, Duration),
    pub(super) jitter: Option<f64>,
    pub(super) insist_after: Option<Duration>,
}

impl Default for CacheOptions {
    fn default() -> CacheOptions {
        CacheOptions { advisory: None, backoff: (5 * MINUTE, 10 * MINUTE), jitter: None, insist_after: None }
    }
}

impl CacheOptions {
    /// How long before their expiry keys are refreshed while they are still used. Unless set it follows
    /// from how long they live: 5 minutes for up to 20 minutes, 15 minutes for less than 90, else an
    /// hour.
    #[must_use]
    pub fn advisory_window(mut self, window: Duration) -> CacheOptions {
        self.advisory = Some(window);
        self
    }

    /// How long a source that failed to refresh keys is left alone: a time drawn between these two, 5
    /// and 10 minutes unless set.
    #[must_use]
    pub fn backoff(mut self, least: Duration, most: Duration) -> CacheOptions {
        self.backoff = (least, most.max(least));
        self
    }

    /// How much earlier this process opens its advisory window than others: from 0, not at all, to 1, a
    /// tenth of the window. Drawn once per cache unless set, so that processes that were started
    /// together do not refresh together.
    #[must_use]
    pub fn jitter(mut self, share: f64) -> CacheOptions {
        self.jitter = Some(share.clamp(0.0, 1.0));
        self
    }

    /// Asks the source again when a service refuses keys that a failed refresh left in use, once this
    /// long has passed since that attempt, instead of sitting out the back-off.
    ///
    /// Off unless set: the SDKs do sit it out, which spares the source and leaves requests failing for
    /// up to ten minutes after an outage that outlasted the keys.
    #[must_use]
    pub fn insist_when_refused(mut self, after: Duration) -> CacheOptions {
        self.insist_after = Some(after);
        self
    }

    pub(super) fn windows(&self, lifetime: Duration) -> Windows {
        let advisory = self.advisory.unwrap_or_else(|| {
            if lifetime <= 20 * MINUTE {
                5 * MINUTE
            } else if lifetime < 90 * MINUTE {
                15 * MINUTE
            } else {
                60 * MINUTE
            }
        });
        if advisory < lifetime {
            Windows { advisory, mandatory: MINUTE.min(advisory) }
        } else {
            Windows { advisory: lifetime / 2, mandatory: MINUTE.min(lifetime / 4) }
        }
    }
}

/// How long before the expiry of keys each way to refresh them begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Windows {
    /// One caller refreshes them, the others use them.
    pub(super) advisory: Duration,
    /// Nobody uses them before the source has been asked.
    pub(super) mandatory: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(lifetime: u64) -> (u64, u64) {
        let windows = CacheOptions::default().windows(Duration::from_secs(lifetime));
        (windows.advisory.as_secs(), windows.mandatory.as_secs())
    }

    #[test]
    fn the_advisory_window_follows_from_how_long_keys_live() {
        for (minutes, advisory) in [(15, 5), (20, 5), (21, 15), (60, 15), (89, 15), (90, 60), (360, 60)] {
            assert_eq!(seconds(minutes * 60), (advisory * 60, 60), "{minutes} minutes");
        }
        assert_eq!(seconds(20 * 60 + 1), (15 * 60, 60));
        assert_eq!(seconds(90 * 60 - 1), (15 * 60, 60));
        assert_eq!(seconds(5 * 60 + 1), (5 * 60, 60));
    }

    #[test]
    fn a_configured_window_counts_and_bounds_the_mandatory_one() {
        let windows = |window| {
            let options = CacheOptions::default().advisory_window(Duration::from_secs(window));
            options.windows(Duration::from_secs(3600))
        };
        assert_eq!(windows(120).advisory, Duration::from_secs(120));
        assert_eq!(windows(120).mandatory, MINUTE);
        assert_eq!(windows(20).mandatory, Duration::from_secs(20));
    }

    #[test]
    fn keys_that_live_shorter_than_their_window_are_not_asked_for_by_every_request() {
        assert_eq!(seconds(60), (30, 15));
        assert_eq!(seconds(300), (150, 60));
        assert_eq!(seconds(0), (0, 0));
    }
}
