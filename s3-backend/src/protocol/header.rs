//! Reading the headers of an answer: each value parsed once, a value that makes no sense told apart from none.

use std::ops::Range;
use std::time::SystemTime;

use object_storage::{Attributes, ContentHeader, ETag, OperationId};

use super::headers::{Headers, plain};
use super::http_date::http_date;

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
            // That it is plain is looked at there.
            let tag = str::from_utf8(value).ok().and_then(|text| ETag::from_header(text).ok());
            tag.map(Some).ok_or(BadHeader("etag"))
        }
    }
}

/// The length of the body, in bytes.
pub(crate) fn content_length(headers: &Headers) -> Result<Option<u64>, BadHeader> {
    match headers.get("content-length") {
        None => Ok(None),
        Some(value) => decimal(value).map(Some).ok_or(BadHeader("content-length")),
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
    let (first, last, total) =
        (decimal(first.as_bytes())?, decimal(last.as_bytes())?, decimal(total.as_bytes())?);
    (first <= last && last < total).then(|| (first..last + 1, total))
}

/// A number of digits and nothing else: `u64::from_str` would take a sign.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    let number = text.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|_| !text.is_empty())
}

/// The time in `last-modified`; a value that is no HTTP date counts as none.
pub(crate) fn last_modified(headers: &Headers) -> Option<SystemTime> {
    headers.get("last-modified").and_then(http_date)
}

/// What time it is for the store; a value that is no HTTP date counts as none.
pub(crate) fn date(headers: &Headers) -> Option<SystemTime> {
    headers.get("date").and_then(http_date)
}

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
        // Nearly every object of ours bears it, and its name would be refused below.
        if name.eq_ignore_ascii_case(OPERATION_ID.as_bytes()) {
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
        fn no_content_range_panics(text in "(bytes )?[0-9*/+ -]{0,30}") {
            if let Some((range, total)) = parse_content_range(&text) {
                prop_assert!(range.start < range.end && range.end <= total);
            }
        }
    }
}
