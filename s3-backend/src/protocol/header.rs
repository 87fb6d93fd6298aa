//! Reading the headers of an answer: each value parsed once, a value that makes no sense told apart from none.

use std::ops::Range;
use std::time::SystemTime;

use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use object_storage::{Attributes, ContentHeader, ETag, OperationId};

use super::headers::{Headers, plain};

/// What the headers of user metadata begin with.
pub(crate) const METADATA_PREFIX: &str = "x-amz-meta-";

/// The header of the metadata that says which write an object comes from. [`Attributes`] refuses the name, so that
/// nobody forges it by copying them, and readers do not see it.
pub(crate) const OPERATION_ID: &str = "x-amz-meta-operation-id";

/// A header whose value breaks the protocol, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadHeader(pub(crate) &'static str);

/// The entity tag, without quotes.
pub(crate) fn etag(headers: &Headers) -> Result<Option<ETag>, BadHeader> {
    match headers.get("etag") {
        None => Ok(None),
        Some(value) => {
            let text = plain(value).ok_or(BadHeader("etag"))?;
            ETag::from_header(text).map(Some).map_err(|_| BadHeader("etag"))
        }
    }
}

/// The length of the body, in bytes.
pub(crate) fn content_length(headers: &Headers) -> Result<Option<u64>, BadHeader> {
    match headers.get("content-length") {
        None => Ok(None),
        Some(value) => {
            let length = plain(value).and_then(decimal);
            length.map(Some).ok_or(BadHeader("content-length"))
        }
    }
}

/// Which bytes of the object a 206 holds, and the size of the whole object.
pub(crate) fn content_range(headers: &Headers) -> Result<(Range<u64>, u64), BadHeader> {
    headers.text("content-range").and_then(parse_content_range).ok_or(BadHeader("content-range"))
}

/// `bytes 0-99/1234`. An unknown total (`*`) is no answer: the caller could not check the range against it.
fn parse_content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, total) = text.trim_ascii().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (decimal(first)?, decimal(last)?, decimal(total)?);
    (first <= last && last < total).then(|| (first..last + 1, total))
}

/// Digits and nothing else: `u64::from_str` would take a sign.
fn decimal(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// The time in `last-modified`; a value that is no HTTP date counts as none.
pub(crate) fn last_modified(headers: &Headers) -> Option<SystemTime> {
    http_date(headers, "last-modified")
}

/// What time it is for the store; a value that is no HTTP date counts as none.
pub(crate) fn date(headers: &Headers) -> Option<SystemTime> {
    http_date(headers, "date")
}

fn http_date(headers: &Headers, name: &str) -> Option<SystemTime> {
    let text = headers.text(name)?;
    if let Some(time) = usual_date(text.as_bytes()) {
        return Some(time);
    }
    let zoned = jiff::fmt::rfc2822::DateTimeParser::new().parse_zoned(text).ok()?;
    Some(SystemTime::from(zoned.timestamp()))
}

/// A date in the one form in which servers write it, `Sun, 06 Nov 1994 08:49:37 GMT`, at a tenth of what a parser of all
/// forms costs. `None`: it is in another, or none.
fn usual_date(text: &[u8]) -> Option<SystemTime> {
    let [_, _, _, b',', b' ', date @ .., b' ', b'G', b'M', b'T'] = text else { return None };
    let &[d1, d2, b' ', ref month @ .., b' ', y1, y2, y3, y4, b' ', h1, h2, b':', m1, m2, b':', s1, s2] =
        date
    else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0, |number: i16, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i16::from(digit - b'0'))
        })
    };
    let small = |digits: [u8; 2]| i8::try_from(number(&digits)?).ok();
    let month = MONTHS.iter().position(|known| *known == month)?;
    let date = Date::new(number(&[y1, y2, y3, y4])?, i8::try_from(month).ok()? + 1, small([d1, d2])?).ok()?;
    let time = Time::new(small([h1, h2])?, small([m1, m2])?, small([s1, s2])?, 0).ok()?;
    // What says another day of the week is left to the parser.
    let day = date.weekday().to_monday_zero_offset();
    let named = WEEKDAYS.get(usize::try_from(day).ok()?)?;
    if text[..3] != **named {
        return None;
    }
    Some(SystemTime::from(Offset::UTC.to_timestamp(date.to_datetime(time)).ok()?))
}

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// The write that the object comes from; a value that is no id counts as none.
pub(crate) fn operation_id(headers: &Headers) -> Option<OperationId> {
    headers.text(OPERATION_ID)?.parse().ok()
}

/// Content headers and user metadata. What we would refuse to write (somebody else may have stored it) is left out.
pub(crate) fn attributes(headers: &Headers) -> Attributes {
    let mut attributes = Attributes::new();
    for (name, value) in headers.iter() {
        // Once through all of them; most are neither.
        if matches!(name.first(), Some(b'c' | b'C')) {
            let header = ContentHeader::ALL
                .into_iter()
                .find(|known| known.name().as_bytes().eq_ignore_ascii_case(name));
            if let (Some(header), Some(value)) = (header, plain(value))
                && attributes.header(header).is_none()
            {
                attributes = attributes.clone().with_header(header, value).unwrap_or(attributes);
            }
            continue;
        }
        let Some((prefix, name)) = name.split_at_checked(METADATA_PREFIX.len()) else { continue };
        // Nearly all others are told by one character, behind what all names of S3's own begin with.
        if !prefix[6].eq_ignore_ascii_case(&b'm') || !prefix.eq_ignore_ascii_case(METADATA_PREFIX.as_bytes())
        {
            continue;
        }
        if let (Some(name), Some(value)) = (plain(name), plain(value)) {
            let name = name.to_ascii_lowercase();
            // The id of the write is among those that `with_metadata` refuses.
            attributes = attributes.clone().with_metadata(&name, value).unwrap_or(attributes);
        }
    }
    attributes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_content_range_is_read_strictly() {
        assert_eq!(parse_content_range("bytes 0-9/10"), Some((0..10, 10)));
        assert_eq!(parse_content_range("bytes 3-3/10"), Some((3..4, 10)));
        for bad in [
            "bytes 0-10/10",
            "bytes 5-4/10",
            "bytes 0-9/*",
            "bytes */10",
            "0-9/10",
            "bytes +0-9/10",
            "bytes 0-9/10x",
            "",
        ] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
        let beyond = format!("bytes 0-{}/{}", u64::MAX, u64::MAX);
        assert_eq!(parse_content_range(&beyond), None);
    }

    #[test]
    fn an_http_date_is_read() {
        let headers = Headers::from([("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        let since = last_modified(&headers).and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        assert_eq!(since.map(|since| since.as_secs()), Some(784_111_777));
    }

    proptest! {
        #[test]
        fn the_usual_date_is_what_the_parser_of_all_forms_makes_of_it(
            text in "(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3][0-9] (Jan|Feb|Dec|Foo) (19|20)[0-9]{2} [0-2][0-9]:[0-6][0-9]:[0-6][0-9] GMT",
        ) {
            if let Some(time) = usual_date(text.as_bytes()) {
                let zoned = jiff::fmt::rfc2822::DateTimeParser::new().parse_zoned(&text).expect("a date");
                prop_assert_eq!(time, SystemTime::from(zoned.timestamp()));
            }
        }

        #[test]
        fn every_second_is_read_as_it_was_written(second in 0i64..4_000_000_000) {
            let time = jiff::Timestamp::from_second(second).expect("a time");
            let text = time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            prop_assert_eq!(usual_date(text.as_bytes()), Some(SystemTime::from(time)));
        }

        #[test]
        fn no_content_range_panics(text in "(bytes )?[0-9*/+ -]{0,30}") {
            if let Some((range, total)) = parse_content_range(&text) {
                prop_assert!(range.start < range.end && range.end <= total);
            }
        }
    }
}
