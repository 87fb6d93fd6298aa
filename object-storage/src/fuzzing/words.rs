//! The words of the contract, as callers and servers may write them.

use crate::attributes::{Attributes, ContentHeader};
use crate::key::{Key, KeyRule};
use crate::limits::KEY_BYTES_MAX;
use crate::object::ETag;
use crate::operation_id::OperationId;
use crate::range::{ByteRange, RangePolicy};

/// Any bytes as text, read as a key, a tag, an operation id, an attribute and a range.
pub fn words(bytes: &[u8]) {
    numbers(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    key(text);
    tag(text);
    if let Ok(id) = text.parse::<OperationId>() {
        assert_eq!(id.to_string(), text, "an id has one spelling");
    }
    let (name, value) = text.split_once(':').unwrap_or((text, "v"));
    attributes(name, value);
}

fn key(text: &str) {
    let verbatim = Key::verbatim(text);
    assert_eq!(verbatim.is_ok(), (1..=KEY_BYTES_MAX).contains(&text.len()));
    match Key::parse(text) {
        Ok(key) => {
            assert_eq!(key.as_str(), text, "nothing is made of a key but itself");
            assert!(!key.is_verbatim() && key.broken_rule().is_none());
            let odd = |segment: &str| matches!(segment, "" | "." | "..");
            assert!(!text.split('/').any(odd) && !text.chars().any(char::is_control), "{text:?}");
        }
        Err(invalid) => {
            let shown = invalid.to_string();
            assert!(shown.len() < 2048 && !shown.chars().any(char::is_control), "{shown:?}");
            if let Ok(key) = verbatim {
                assert_eq!(key.broken_rule(), Some(invalid.rule()));
                assert!(!matches!(invalid.rule(), KeyRule::Empty | KeyRule::TooLong));
            }
        }
    }
}

fn tag(text: &str) {
    let Ok(etag) = ETag::from_header(text) else { return };
    let header = etag.to_header();
    assert!(header.bytes().all(|byte| matches!(byte, 0x21..=0x7e)), "{header:?}");
    assert_eq!(ETag::from_header(&header), Ok(etag.clone()), "it is sent back as the very tag that it is");
    assert_eq!(ETag::parse(etag.as_str()), Ok(etag.clone()), "and survives being written down");
    // Quoted or not, weak or not: what came quoted goes back as it came.
    let trimmed = text.trim_ascii();
    if trimmed.ends_with('"') {
        assert_eq!(header, trimmed);
    }
}

fn attributes(name: &str, value: &str) {
    let with = Attributes::new().with_metadata(name, value);
    let header = Attributes::new().with_header(ContentHeader::ContentType, value);
    for attributes in [with, header].into_iter().flatten() {
        let all = attributes.user_metadata().map(|(_, value)| value);
        for value in all.chain(attributes.headers().map(|(_, value)| value)) {
            assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{value:?} is two header fields");
            assert_eq!(value.trim(), value, "a header field loses its blanks");
        }
    }
}

fn numbers(bytes: &[u8]) {
    let mut numbers = bytes.chunks(8).map(|chunk| {
        let mut wide = [0; 8];
        wide[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(wide)
    });
    let mut next = || numbers.next().unwrap_or(u64::MAX);
    let (a, b, size) = (next(), next(), next());
    for range in [ByteRange::Bounded(a..b), ByteRange::From(a), ByteRange::Suffix(a)] {
        let asked = range.to_header();
        assert_eq!(asked.is_err(), range.check().is_err());
        for policy in [RangePolicy::Exact, RangePolicy::Clamped] {
            let Ok(found) = range.resolve(size, policy) else { continue };
            assert!(asked.is_ok() && found.start < found.end && found.end <= size, "{found:?} of {size}");
            let clamped = range.resolve(size, RangePolicy::Clamped);
            assert_eq!(clamped, Ok(found), "both policies mean the same bytes");
        }
    }
}
