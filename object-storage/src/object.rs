//! What a store says about an object: [`ObjectMeta`], [`ETag`], and the outcomes that carry them.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::attributes::Attributes;
use crate::body::Body;
use crate::key::Key;

/// The version tag of an object: opaque, compared as a string, without quotes.
///
/// A tag that differs means that the object was written in between. Quotes are removed where a tag enters
/// ([`ETag::from_header`]) and put back once where it leaves ([`ETag::to_header`]). A weak tag (`W/"x"`)
/// keeps its `W/`, because it is another tag than `"x"`.
///
/// See [RFC 9110, section 8.8.3](https://www.rfc-editor.org/rfc/rfc9110#name-etag).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ETag(Arc<str>);

/// A text that cannot be an [`ETag`]: empty, longer than 1,024 bytes, with a byte that no header can carry, or a strong
/// tag that begins with `W/` (none is known to be in use; it could not be told from a weak one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidETag;

impl fmt::Display for InvalidETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an ETag is 1 to 1024 bytes of visible ASCII without quotes")
    }
}

impl std::error::Error for InvalidETag {}

/// The longest tag, in bytes. AWS sends 32 to 38; this leaves room for every dialect and stays a bound.
const ETAG_BYTES_MAX: usize = 1024;

impl ETag {
    /// Takes a tag as the caller of this crate knows it: without quotes. One pair of quotes is removed.
    ///
    /// # Errors
    ///
    /// [`InvalidETag`] when it could not be sent in a header.
    pub fn parse(text: &str) -> Result<ETag, InvalidETag> {
        ETag::from_header(text)
    }

    /// Takes a tag as a server sends it, quoted or not.
    ///
    /// # Errors
    ///
    /// [`InvalidETag`] when nothing is left, or what is left could not be sent back in a header.
    pub fn from_header(text: &str) -> Result<ETag, InvalidETag> {
        let text = text.trim_ascii();
        let (weak, opaque) = match text.strip_prefix("W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let opaque = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(opaque);
        // To the end whatever is met, so that the compiler looks at many bytes at once.
        let sendable = opaque.bytes().fold(true, |good, b| good & matches!(b, 0x21 | 0x23..=0x7e));
        // `"W/x"` without its quotes would be the weak tag `W/"x"`, which is another one.
        let ambiguous = !weak && opaque.starts_with("W/");
        if opaque.is_empty() || opaque.len() > ETAG_BYTES_MAX || !sendable || ambiguous {
            return Err(InvalidETag);
        }
        Ok(ETag(if weak { format!("W/{opaque}").into() } else { opaque.into() }))
    }

    /// The tag as it is sent: quoted once.
    #[must_use]
    pub fn to_header(&self) -> String {
        match self.0.strip_prefix("W/") {
            Some(opaque) => format!("W/\"{opaque}\""),
            None => format!("\"{}\"", self.0),
        }
    }

    /// The tag without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ETag({})", self.0)
    }
}

/// What a listing or a head knows about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectMeta {
    /// The key, as the store has it; listings may hold keys that only [`Key::verbatim`] admits.
    pub key: Key,
    /// The size of the whole object, in bytes.
    pub size: u64,
    /// The version tag; `None` only from a store that sent none.
    pub etag: Option<ETag>,
    /// When it was written, by the store's clock, to the second; `None` when the store did not say.
    pub last_modified: Option<SystemTime>,
}

impl ObjectMeta {
    /// The metadata of an object of this size.
    #[must_use]
    pub fn new(key: Key, size: u64) -> ObjectMeta {
        ObjectMeta { key, size, etag: None, last_modified: None }
    }
}

/// An applied write: the object is stored, durable as the store promises, and visible to every reader.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutOutcome {
    /// The tag of what was written; hand it to [`PutMode::Match`](crate::PutMode) to replace just this version.
    pub etag: ETag,
    /// The version id, in a versioned bucket.
    pub version: Option<String>,
}

impl PutOutcome {
    /// An outcome with this tag.
    #[must_use]
    pub fn new(etag: ETag) -> PutOutcome {
        PutOutcome { etag, version: None }
    }
}

/// What a head answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadOutcome {
    /// Key, size, tag, time.
    pub meta: ObjectMeta,
    /// Content headers and user metadata.
    pub attributes: Attributes,
}

impl HeadOutcome {
    /// What is known about an object.
    #[must_use]
    pub fn new(meta: ObjectMeta, attributes: Attributes) -> HeadOutcome {
        HeadOutcome { meta, attributes }
    }
}

/// What a get answered: everything about the object, and its bytes to be pulled.
///
/// The bytes all come from the version that `meta.etag` names, also when the object is replaced meanwhile.
#[derive(Debug)]
#[non_exhaustive]
pub struct GetOutcome {
    /// Key, size of the *whole* object, tag, time.
    pub meta: ObjectMeta,
    /// Content headers and user metadata.
    pub attributes: Attributes,
    /// Which bytes of the object the body holds.
    pub range: std::ops::Range<u64>,
    /// The bytes of `range`.
    pub body: Body,
}

impl GetOutcome {
    /// An answer whose body holds the bytes `range` of the object.
    #[must_use]
    pub fn new(
        meta: ObjectMeta,
        attributes: Attributes,
        range: std::ops::Range<u64>,
        body: Body,
    ) -> GetOutcome {
        GetOutcome { meta, attributes, range, body }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_are_removed_once_and_put_back_once() {
        let tag = ETag::from_header("\"abc\"").expect("quoted");
        assert_eq!(tag, ETag::from_header("abc").expect("bare"));
        assert_eq!(tag.as_str(), "abc");
        assert_eq!(tag.to_header(), "\"abc\"");
        let weak = ETag::from_header("W/\"abc\"").expect("weak");
        assert_ne!(weak, tag);
        assert_eq!(weak.to_header(), "W/\"abc\"");
        for bad in ["", "\"\"", "a\"b", "a b", "a\r\nx: y", "é", &"x".repeat(1025)] {
            assert_eq!(ETag::from_header(bad), Err(InvalidETag), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_tag_survives_the_way_out_and_back(text in "[!#-~]{1,64}") {
            let tag = ETag::from_header(&format!("\"{text}\"")).expect("sendable");
            prop_assert_eq!(ETag::from_header(&tag.to_header()).expect("own header"), tag);
        }
    }
}
