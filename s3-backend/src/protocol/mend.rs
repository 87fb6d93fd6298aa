//! What a refusal says about the way we asked, so that it can be asked again and better, once: for another region, or
//! by another clock.

use std::time::{Duration, SystemTime};

/// What was mended after a refusal, and makes the next attempt another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mend {
    /// It is signed for the bucket's own region, and sent there.
    Region,
    /// It is signed with the store's time.
    Clock,
}

/// What a refusal says besides the refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Aside {
    /// The region that the bucket is in.
    pub(crate) region: Option<String>,
    /// The host, with its port if it is said, where the request should go instead.
    pub(crate) host: Option<String>,
    /// What time it is for the store, when it may have refused on account of the time.
    pub(crate) date: Option<SystemTime>,
}

impl Aside {
    /// Whether the request may be repeated at the same host: nothing points elsewhere.
    pub(crate) fn stays_at(&self, authority: &str) -> bool {
        self.host.as_ref().is_none_or(|host| host.eq_ignore_ascii_case(authority))
    }
}

/// A region as it may stand in a host name and in a signature; anything else a server says is none.
pub(crate) fn region(text: &str) -> Option<&str> {
    let text = text.trim();
    let plain = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    (plain && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-'))
        .then_some(text)
}

/// The host, with its port, in the value of `location`.
pub(crate) fn host_of(location: &str) -> Option<&str> {
    let rest = location.trim().split_once("://")?.1;
    let host = rest.split(['/', '?', '#']).next()?;
    (!host.is_empty()).then_some(host)
}

/// S3 refuses what was signed more than 15 minutes off. A clock that is off by less than this is not why.
const SKEW_MIN: Duration = Duration::from_secs(5 * 60);

/// A server that is a day off is wrong itself, or lies.
const SKEW_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How many seconds the store's clock is ahead of ours, if it is so far off that a signature was refused for it. `used`
/// is the time that was signed, `ours` what our clock said.
pub(crate) fn skew(store: SystemTime, used: SystemTime, ours: SystemTime) -> Option<i64> {
    if distance(store, used) < SKEW_MIN || distance(store, ours) > SKEW_MAX {
        return None;
    }
    let seconds = i64::try_from(distance(store, ours).as_secs()).ok()?;
    Some(if store >= ours { seconds } else { -seconds })
}

fn distance(a: SystemTime, b: SystemTime) -> Duration {
    a.duration_since(b).unwrap_or_else(|earlier| earlier.duration())
}

/// Our time, corrected.
pub(crate) fn shifted(ours: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    let shifted = if seconds >= 0 { ours.checked_add(by) } else { ours.checked_sub(by) };
    shifted.unwrap_or(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_is_corrected_within_a_day_and_only_if_it_is_to_blame() {
        let noon = 1_000_000;
        assert_eq!(skew(at(noon + 3600), at(noon), at(noon)), Some(3600));
        assert_eq!(skew(at(noon - 3600), at(noon), at(noon)), Some(-3600));
        assert_eq!(skew(at(noon + 60), at(noon), at(noon)), None);
        assert_eq!(skew(at(noon + 90_000), at(noon), at(noon)), None);
        // It was corrected already, and that did not help.
        assert_eq!(skew(at(noon + 3600), at(noon + 3600), at(noon)), None);
        // It was corrected, and the store's clock was set since.
        assert_eq!(skew(at(noon), at(noon + 3600), at(noon)), Some(0));
        assert_eq!(shifted(at(noon), -7), at(noon - 7));
    }

    #[test]
    fn only_what_can_be_a_region_is_one() {
        assert_eq!(region(" eu-west-1 "), Some("eu-west-1"));
        for bad in ["", "-", "eu-west-1.evil.example", "EU", "a/b", "a b", &"a".repeat(64)] {
            assert_eq!(region(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn who_is_pointed_to_is_read_with_the_port() {
        assert_eq!(host_of("http://h.example:9000/b/k?x"), Some("h.example:9000"));
        assert_eq!(host_of("https://user@h.example"), Some("user@h.example"));
        for bad in ["/b/k", "", "://", "http:///x"] {
            assert_eq!(host_of(bad), None, "{bad:?}");
        }
        let aside = |host: &str| Aside { host: Some(host.to_owned()), ..Aside::default() };
        assert!(aside("H.example:9000").stays_at("h.example:9000") && Aside::default().stays_at("h"));
        assert!(!aside("h.example").stays_at("h.example:9000") && !aside("user@h").stays_at("h"));
    }
}
