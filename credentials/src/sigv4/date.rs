//! The time of a signature, as text.

use std::fmt;
use std::str;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::Offset;

use super::SignError;

const TEXT_BYTES: usize = "20150830T123600Z".len();
const DAY_BYTES: usize = "20150830".len();

/// A moment to the second in UTC, as `x-amz-date` and signatures write it: `20150830T123600Z`.
///
/// Sixteen bytes, made without allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AmzDate([u8; TEXT_BYTES]);

impl AmzDate {
    /// The second that `time` falls in.
    ///
    /// # Errors
    ///
    /// [`SignError::Time`] outside the years 0 to 9999: the clock is wrong.
    pub fn new(time: SystemTime) -> Result<AmzDate, SignError> {
        let time = Timestamp::try_from(time).map_err(|_| SignError::Time)?;
        let time = Offset::UTC.to_datetime(time);
        let year = u16::try_from(time.year()).map_err(|_| SignError::Time)?;
        let mut text = *b"00000000T000000Z";
        let [high, low] = [year / 100, year % 100].map(|part| i8::try_from(part).unwrap_or(i8::MAX));
        for (at, part) in [
            (0, high),
            (2, low),
            (4, time.month()),
            (6, time.day()),
            (9, time.hour()),
            (11, time.minute()),
            (13, time.second()),
        ] {
            let part = part.unsigned_abs();
            text[at] = b'0' + part / 10;
            text[at + 1] = b'0' + part % 10;
        }
        Ok(AmzDate(text))
    }

    /// All of it, the value of `x-amz-date`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits and two letters")
    }

    /// Year, month and day: the day that a signing key holds for.
    #[must_use]
    pub fn day(&self) -> &str {
        &self.as_str()[..DAY_BYTES]
    }
}

impl AsRef<[u8]> for AmzDate {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for AmzDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AmzDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_date_is_written_in_sixteen_characters() {
        let date = AmzDate::new(SystemTime::UNIX_EPOCH + Duration::from_millis(1_440_938_160_999)).unwrap();
        assert_eq!((date.as_str(), date.day()), ("20150830T123600Z", "20150830"));
    }

    proptest! {
        #[test]
        fn every_date_is_what_a_formatter_makes_of_it(
            second in -80_000_000_000i64..260_000_000_000,
            nanosecond in 0i32..1_000_000_000,
        ) {
            let expected = Timestamp::new(second, nanosecond).ok();
            let time = match u64::try_from(second) {
                Ok(second) => SystemTime::UNIX_EPOCH + Duration::from_secs(second),
                Err(_) => SystemTime::UNIX_EPOCH - Duration::from_secs(second.unsigned_abs()),
            } + Duration::from_nanos(u64::from(nanosecond.unsigned_abs()));
            let text = expected
                .map(|time| time.strftime("%Y%m%dT%H%M%SZ").to_string())
                .filter(|text| text.len() == TEXT_BYTES && !text.starts_with('-'));
            prop_assert_eq!(AmzDate::new(time).ok().map(|date| date.to_string()), text);
        }
    }
}
