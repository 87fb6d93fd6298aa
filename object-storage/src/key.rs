//! [`Key`]: the name of an object, checked once.

use std::fmt;
use std::sync::Arc;

use crate::limits::KEY_BYTES_MAX;

/// The name of an object: a string, not a path.
///
/// A `Key` that exists is one that can be sent. [`Key::parse`] is the everyday door: what it admits
/// works on every store. [`Key::verbatim`] holds any key that S3 allows, because buckets are shared
/// with other programs; stores that cannot take such a key refuse it with `InvalidInput` or
/// `Unsupported`, before any request is made.
///
/// Cloning is cheap (a reference count; a key may travel to another shard), comparison is by bytes, which is also the order of listings.
///
/// ```
/// use object_storage::Key;
///
/// let key = Key::parse("logs/2026/a b+c%2F/é/😀")?;
/// assert_eq!(key.as_str(), "logs/2026/a b+c%2F/é/😀");
/// assert!(Key::parse("a//b").is_err());
/// assert!(Key::verbatim("a//b")?.is_verbatim());
/// # Ok::<(), object_storage::InvalidKey>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// Admits a key that works on every store: 1 to 1,024 bytes of UTF-8, no control characters, no
    /// `.` or `..` segment, no `/` at either end, no `//`.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] names the rule that was broken. Nothing was sent anywhere.
    pub fn parse(text: &str) -> Result<Key, InvalidKey> {
        check_any(text)?;
        match check_everyday(text) {
            Some(rule) => Err(InvalidKey::new(text, rule)),
            None => Ok(Key(text.into())),
        }
    }

    /// Admits any key that S3 can hold: 1 to 1,024 bytes of UTF-8.
    ///
    /// For keys that somebody else chose: leading, trailing and doubled slashes, `.` and `..` segments, control
    /// characters. Listings return such keys as they are. Those with control characters can be read and deleted
    /// where they exist; no store here writes one.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] when even S3 would not hold it: [`KeyRule::Empty`] or [`KeyRule::TooLong`].
    pub fn verbatim(text: &str) -> Result<Key, InvalidKey> {
        check_any(text)?;
        Ok(Key(text.into()))
    }

    /// The key as it was given, without any encoding.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether only S3 can hold this key: [`Key::parse`] would refuse it.
    #[must_use]
    pub fn is_verbatim(&self) -> bool {
        check_everyday(&self.0).is_some()
    }

    /// The rule of [`Key::parse`] that this key breaks, if it breaks one.
    #[must_use]
    pub fn broken_rule(&self) -> Option<KeyRule> {
        check_everyday(&self.0)
    }
}

/// What S3 itself cannot take.
fn check_any(text: &str) -> Result<(), InvalidKey> {
    let rule = if text.is_empty() {
        KeyRule::Empty
    } else if text.len() > KEY_BYTES_MAX {
        KeyRule::TooLong
    } else {
        return Ok(());
    };
    Err(InvalidKey::new(text, rule))
}

/// What would mean something else as a path or inside a URL.
fn check_everyday(text: &str) -> Option<KeyRule> {
    // U+FFFE and U+FFFF are no control characters, but as little fit for the XML in which S3 speaks.
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}')) {
        return Some(KeyRule::ControlCharacter);
    }
    if text.starts_with('/') {
        return Some(KeyRule::LeadingSlash);
    }
    if text.ends_with('/') {
        return Some(KeyRule::TrailingSlash);
    }
    text.split('/').find_map(|segment| match segment {
        "" => Some(KeyRule::DoubleSlash),
        "." | ".." => Some(KeyRule::DotSegment),
        _ => None,
    })
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Key {
    /// Keys compare and hash as their strings do: a map of keys can be asked with a `&str`.
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl TryFrom<&str> for Key {
    type Error = InvalidKey;

    fn try_from(text: &str) -> Result<Key, InvalidKey> {
        Key::parse(text)
    }
}

impl std::str::FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Key, InvalidKey> {
        Key::parse(text)
    }
}

/// The rule that a refused key broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyRule {
    /// The key has no bytes.
    Empty,
    /// The key has more than 1,024 bytes of UTF-8.
    TooLong,
    /// The key holds a control character (NUL, newline, DEL, ...), U+FFFE or U+FFFF.
    ControlCharacter,
    /// The key begins with `/`.
    LeadingSlash,
    /// The key ends with `/`.
    TrailingSlash,
    /// The key holds `//`.
    DoubleSlash,
    /// A segment of the key is `.` or `..`.
    DotSegment,
}

impl fmt::Display for KeyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyRule::Empty => "it is empty",
            KeyRule::TooLong => "it is longer than 1024 bytes",
            KeyRule::ControlCharacter => "it holds a control character",
            KeyRule::LeadingSlash => "it begins with '/'",
            KeyRule::TrailingSlash => "it ends with '/'",
            KeyRule::DoubleSlash => "it holds '//'",
            KeyRule::DotSegment => "a segment of it is '.' or '..'",
        })
    }
}

/// A text that cannot be a [`Key`], and why.
#[derive(Clone, PartialEq, Eq)]
pub struct InvalidKey {
    text: String,
    rule: KeyRule,
}

/// How much of a refused key an error shows, in characters: enough to find it.
const SHOWN_CHARS_MAX: usize = 80;

impl InvalidKey {
    fn new(text: &str, rule: KeyRule) -> InvalidKey {
        InvalidKey { text: text.chars().take(SHOWN_CHARS_MAX).collect(), rule }
    }

    /// The rule that was broken.
    #[must_use]
    pub fn rule(&self) -> KeyRule {
        self.rule
    }
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} cannot be a key: {}", self.text, self.rule)
    }
}

impl fmt::Debug for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvalidKey({self})")
    }
}

impl std::error::Error for InvalidKey {}

#[cfg(test)]
mod tests {
    use super::{Key, KeyRule};

    fn rule(text: &str) -> KeyRule {
        Key::parse(text).expect_err(text).rule()
    }

    #[test]
    fn a_key_that_would_mean_something_else_as_a_path_is_refused() {
        assert_eq!(rule(""), KeyRule::Empty);
        assert_eq!(rule(&"k".repeat(1025)), KeyRule::TooLong);
        assert_eq!(rule("a\0b"), KeyRule::ControlCharacter);
        assert_eq!(rule("a\nb"), KeyRule::ControlCharacter);
        assert_eq!(rule("a\u{7f}b"), KeyRule::ControlCharacter);
        assert_eq!(rule("//evil/x"), KeyRule::LeadingSlash);
        assert_eq!(rule("/x"), KeyRule::LeadingSlash);
        assert_eq!(rule("../b"), KeyRule::DotSegment);
        assert_eq!(rule("a/../b"), KeyRule::DotSegment);
        assert_eq!(rule("."), KeyRule::DotSegment);
        assert_eq!(rule("a/."), KeyRule::DotSegment);
        assert_eq!(rule("a//b"), KeyRule::DoubleSlash);
        assert_eq!(rule("a/"), KeyRule::TrailingSlash);
    }

    #[test]
    fn an_odd_but_harmless_key_is_kept_as_it_is() {
        for text in ["a b+c%2F/é/😀", "...", "a/..b", "~", "%2e%2e/x", "a;b?c#d&e=f", &"k".repeat(1024)] {
            assert_eq!(Key::parse(text).expect(text).as_str(), text);
        }
    }

    #[test]
    fn a_foreign_key_passes_the_verbatim_door_only() {
        for text in ["a//b", "/x", "a/", "../x", ".", "a/./b"] {
            let key = Key::verbatim(text).expect(text);
            assert!(key.is_verbatim());
            assert_eq!(key.as_str(), text);
        }
        assert_eq!(Key::verbatim("a\0b").map(|key| key.broken_rule()), Ok(Some(KeyRule::ControlCharacter)));
        assert!(Key::verbatim("").is_err());
        assert!(Key::verbatim(&"k".repeat(1025)).is_err());
        assert!(!Key::verbatim("a/b").expect("plain").is_verbatim());
    }
}
