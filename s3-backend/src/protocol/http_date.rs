//! Dates as HTTP has them, to the second.

use std::time::{Duration, SystemTime};

use super::headers::plain;

/// The length of the one form in which servers write a date, in bytes.
const USUAL_BYTES: usize = 29;

const MONTHS: [[u8; 3]; 12] = [
    *b"Jan", *b"Feb", *b"Mar", *b"Apr", *b"May", *b"Jun", *b"Jul", *b"Aug", *b"Sep", *b"Oct", *b"Nov",
    *b"Dec",
];

const MONTH_DAYS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// How many days of a year without a leap day lie before each month.
const DAYS_BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// From that of the first day of 1970 on.
const WEEKDAYS: [[u8; 3]; 7] = [*b"Thu", *b"Fri", *b"Sat", *b"Sun", *b"Mon", *b"Tue", *b"Wed"];

/// The time that a text names, in any of the forms that mail and HTTP have had for it.
pub(crate) fn http_date(text: &[u8]) -> Option<SystemTime> {
    if let Ok(usual) = text.try_into()
        && let Some(time) = usual_date(usual)
    {
        return Some(time);
    }
    let zoned = jiff::fmt::rfc2822::DateTimeParser::new().parse_zoned(plain(text)?).ok()?;
    Some(SystemTime::from(zoned.timestamp()))
}

/// A date in the usual form, `Sun, 06 Nov 1994 08:49:37 GMT`, at a fraction of what a parser of all forms costs. `None`: it
/// is in another, before 1970, or none.
fn usual_date(text: &[u8; USUAL_BYTES]) -> Option<SystemTime> {
    let &[n1, n2, n3, b',', b' ', d1, d2, b' ', m1, m2, m3, b' ', y1, y2, y3, y4, b' ', ref time @ ..] = text
    else {
        return None;
    };
    let &[h1, h2, b':', i1, i2, b':', s1, s2, b' ', b'G', b'M', b'T'] = time else { return None };
    let number = |tens: u8, ones: u8| {
        let digits = tens.is_ascii_digit() && ones.is_ascii_digit();
        digits.then(|| u64::from(tens - b'0') * 10 + u64::from(ones - b'0'))
    };
    let (year, day) = (number(y1, y2)? * 100 + number(y3, y4)?, number(d1, d2)?);
    let (hour, minute, second) = (number(h1, h2)?, number(i1, i2)?, number(s1, s2)?);
    let month = MONTHS.iter().position(|known| *known == [m1, m2, m3])?;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let month_days = MONTH_DAYS[month] + u64::from(leap && month == 1);
    if year < 1970 || !(1..=month_days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let leap_days = leap_days_before(year) - leap_days_before(1970) + u64::from(leap && month > 1);
    let days = (year - 1970) * 365 + leap_days + DAYS_BEFORE[month] + day - 1;
    // What says another day of the week is left to the parser.
    if WEEKDAYS[usize::try_from(days % 7).ok()?] != [n1, n2, n3] {
        return None;
    }
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// How many leap days there were from the year 1 on.
const fn leap_days_before(year: u64) -> u64 {
    let years = year - 1;
    years / 4 - years / 100 + years / 400
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usual(text: &str) -> Option<SystemTime> {
        usual_date(text.as_bytes().try_into().expect("its length"))
    }

    fn any(text: &str) -> Option<SystemTime> {
        let zoned = jiff::fmt::rfc2822::DateTimeParser::new().parse_zoned(text).ok()?;
        Some(SystemTime::from(zoned.timestamp()))
    }

    #[test]
    fn a_date_is_read_in_more_than_one_form() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "6 Nov 1994 08:49:37 +0000"] {
            assert_eq!(http_date(text.as_bytes()), Some(at), "{text}");
        }
        let before = http_date(b"Wed, 31 Dec 1969 23:59:59 GMT");
        assert_eq!(before, Some(SystemTime::UNIX_EPOCH - Duration::from_secs(1)));
        assert_eq!(http_date(b"Mon, 06 Nov 1994 08:49:37 GMT"), None);
        assert_eq!(http_date(b"tomorrow"), None);
    }

    #[test]
    fn every_day_until_2500_is_the_one_that_the_parser_of_all_forms_finds() {
        for day in 0..193_600 {
            let time = jiff::Timestamp::from_second(day * 86_400 + day % 86_400).expect("a time");
            let text = time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            assert_eq!(usual(&text), Some(SystemTime::from(time)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_parser_of_all_forms_makes_of_it(
            text in "(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3][0-9] (Jan|Feb|Dec|Foo) (0|1|2|9)[0-9]{3} [0-2][0-9]:[0-6][0-9]:[0-6][0-9] GMT",
        ) {
            if let Some(time) = usual(&text) {
                prop_assert_eq!(any(&text), Some(time));
            }
        }

        #[test]
        fn every_second_is_read_as_it_was_written(second in 0i64..4_000_000_000) {
            let time = jiff::Timestamp::from_second(second).expect("a time");
            let text = time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            prop_assert_eq!(usual(&text), Some(SystemTime::from(time)));
        }

        #[test]
        fn no_text_panics(text in "[A-Za-z0-9:, ]{29}") {
            let _ = http_date(text.as_bytes());
        }
    }
}
