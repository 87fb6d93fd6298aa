//! [`Timeouts`]: how long each stage of a request may take, and why the defaults are what they are.

use std::time::Duration;

use crate::limits::MIB;

/// Default of `connect_timeout`. Two lost SYNs are repeated after 1 and 3 seconds: 3.1 s outlives both and is
/// what the AWS SDKs allow.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_millis(3100);

/// Default of `send_timeout`. With one second per MiB on top, a part of 8 MiB has 13 s: a slow link still ends it.
pub const SEND_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// The rate at which a request body must leave at least, in bytes per second, once `send_timeout` is used up:
/// 1 MiB/s, the rate below which a server that stores logs cannot keep up anyway.
pub const SEND_BYTES_PER_SECOND_MIN: u64 = MIB;

/// Default of `head_timeout`. Small requests are answered in well under a second and a large part, which the
/// store writes to its disks first, in a few; ten leave room for a store that is slow but alive.
pub const HEAD_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// How many times `head_timeout` the wait for a response may grow to: it doubles with each attempt, 10, 20 and then 40
/// seconds by default. A store that is slow but alive answers in the end, instead of being asked the same again and
/// again; one that is dead is found out in ten seconds all the same.
pub const HEAD_TIMEOUT_GROWTH_MAX: u32 = 4;

/// Default of `body_timeout`. A store that pauses to repair itself goes on within seconds; one that is silent for
/// ten is better asked again, for the bytes that are missing.
pub const BODY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Default of `complete_timeout`. Joining 10,000 parts takes AWS minutes, during which it sends a blank now and then.
pub const COMPLETE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);

/// How many times `complete_timeout` an operation that joins or copies may last in all: 5, so 600 s by default.
pub const COMPLETE_SILENCES_MAX: u32 = 5;

/// Default of `operation_timeout`. Room for several attempts with the limits above; whoever waits longer than a
/// minute for one write has other plans to make.
pub const OPERATION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// Every duration here is above zero and below this.
pub const TIMEOUT_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long each stage of a request may take. Every one is finite.
///
/// A transport that cannot tell two neighbouring stages apart (when the connection stood, when the last byte of
/// the request left) bounds them together by their sum.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From asking for a connection to having one: DNS, TCP and TLS.
    pub connect: Duration,
    /// For sending the body of a request, with one second per MiB of it on top: see [`Timeouts::send_of`].
    pub send: Duration,
    /// From the last byte of the request to the head of the response, in the first attempt. Later ones wait longer: see
    /// [`Timeouts::head_of`].
    pub head: Duration,
    /// Between two pieces of a response body. There is no limit on the whole of a body that keeps coming.
    pub body: Duration,
    /// The longest silence of a store that joins parts or copies: stands in for `head` and `body` in
    /// CompleteMultipartUpload and CopyObject.
    pub complete: Duration,
    /// For all attempts of one operation together, with the pauses between them, up to the head of the response.
    /// What `send` grants for the bytes of the body comes on top. CompleteMultipartUpload and CopyObject
    /// have [`Timeouts::complete_operation`] instead. A write whose outcome is in doubt afterwards may take up to ten
    /// seconds more, for a look at the object.
    pub operation: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: CONNECT_TIMEOUT_DEFAULT,
            send: SEND_TIMEOUT_DEFAULT,
            head: HEAD_TIMEOUT_DEFAULT,
            body: BODY_TIMEOUT_DEFAULT,
            complete: COMPLETE_TIMEOUT_DEFAULT,
            operation: OPERATION_TIMEOUT_DEFAULT,
        }
    }
}

impl Timeouts {
    /// How long sending a request body of this many bytes may take.
    #[must_use]
    pub fn send_of(&self, body_bytes: u64) -> Duration {
        let at_slowest = Duration::from_secs(body_bytes.div_ceil(SEND_BYTES_PER_SECOND_MIN));
        self.send.saturating_add(at_slowest)
    }

    /// How long the `nth` attempt of an operation may wait for the head of the response, counted from 1: `head`, twice
    /// that, and so on up to [`HEAD_TIMEOUT_GROWTH_MAX`] times, and never beyond `operation`.
    #[must_use]
    pub fn head_of(&self, nth: u32) -> Duration {
        let doublings = nth.saturating_sub(1).min(HEAD_TIMEOUT_GROWTH_MAX.ilog2());
        self.head.saturating_mul(1 << doublings).min(self.operation)
    }

    /// How long all attempts of one CompleteMultipartUpload or CopyObject may take together.
    #[must_use]
    pub fn complete_operation(&self) -> Duration {
        self.complete.saturating_mul(COMPLETE_SILENCES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_8_mib_has_13_seconds_to_leave() {
        let timeouts = Timeouts::default();
        assert_eq!(timeouts.send_of(8 * MIB), Duration::from_secs(13));
        assert_eq!(timeouts.send_of(0), SEND_TIMEOUT_DEFAULT);
        assert_eq!(timeouts.send_of(1), Duration::from_secs(6));
        assert_eq!(timeouts.complete_operation(), Duration::from_secs(600));
    }

    #[test]
    fn later_attempts_wait_longer_for_an_answer_and_never_longer_than_the_operation() {
        let seconds = |timeouts: &Timeouts, nths: std::ops::Range<u32>| -> Vec<u64> {
            nths.map(|nth| timeouts.head_of(nth).as_secs()).collect()
        };
        let timeouts = Timeouts::default();
        assert_eq!(seconds(&timeouts, 1..6), [10, 20, 40, 40, 40]);
        assert_eq!(timeouts.head_of(u32::MAX), Duration::from_secs(40));
        let short = Timeouts { operation: Duration::from_secs(25), ..timeouts };
        assert_eq!(seconds(&short, 1..5), [10, 20, 25, 25]);
        let longest = Timeouts { head: TIMEOUT_LIMIT, operation: TIMEOUT_LIMIT, ..Timeouts::default() };
        assert_eq!(longest.head_of(9), TIMEOUT_LIMIT);
    }
}
