//! A request in canonical form, and its hash.
//!
//! Form: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html#create-canonical-request>

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

use super::encoding::hex;
use super::hash::{padding, sha256};

/// The parts of a request in the form in which they are sent and signed: nothing is encoded, sorted or
/// trimmed again.
///
/// What is not in that form is signed all the same, and refused by the service. Builds with debug
/// assertions panic instead.
#[derive(Clone, Copy)]
pub struct CanonicalRequest<'a, H> {
    /// `GET`, `PUT`.
    pub method: &'a str,
    /// From the first `/` to the query, percent-encoded as by
    /// [`uri_encode_into`](super::uri_encode_into): once for S3, twice and without dot segments for all
    /// other services.
    pub path: &'a str,
    /// Without `?`, as by [`canonical_query_into`](super::canonical_query_into); empty if there is none.
    pub query: &'a str,
    /// Names and values of all headers to sign: each lower-case name once, in ascending order, with its
    /// value as [`canonical_value`] gives it. `host` must be among them, and, unless the query says it all,
    /// `x-amz-date`, `x-amz-security-token` for temporary keys, and `x-amz-content-sha256` for S3.
    ///
    /// It is walked through once: `headers.iter().copied()` of a slice, or an adapter over what the caller
    /// has, so that nothing needs to be collected.
    pub headers: H,
    /// The body's SHA-256 in lower-case hexadecimal, or `UNSIGNED-PAYLOAD`.
    pub payload_hash: &'a str,
}

/// Memory for the text of a request, used again for the next. A session token stands in it: it is wiped when
/// it goes, as the keys of its signer are.
#[derive(Default)]
pub(super) struct Text(Zeroizing<Vec<u8>>);

/// Most requests fit, with a session token of the usual length.
const TEXT_BYTES: usize = 2048;

impl Text {
    fn push(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        if self.0.capacity() - self.0.len() < part.len() {
            self.grow(part.len());
        }
        self.0.extend_from_slice(part);
    }

    /// By hand: a vector that grows leaves what it held behind.
    #[cold]
    fn grow(&mut self, more: usize) {
        let mut larger = Vec::with_capacity((2 * self.0.len() + more).max(TEXT_BYTES));
        larger.extend_from_slice(&self.0);
        self.0 = Zeroizing::new(larger);
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, H: IntoIterator<Item = (N, V)>> CanonicalRequest<'_, H> {
    /// The request's hash in hexadecimal. The names of the headers, joined by `;`, are appended to `names`.
    pub(super) fn hash(self, text: &mut Text, names: &mut Vec<u8>) -> [u8; 64] {
        text.0.clear();
        for part in [self.method, "\n", self.path, "\n", self.query, "\n"] {
            text.push(part);
        }
        let start = names.len();
        for (name, value) in self.headers {
            let (name, value) = (name.as_ref(), value.as_ref());
            debug_assert_is_next(&names[start..], name, value);
            if names.len() > start {
                names.push(b';');
            }
            names.extend_from_slice(name);
            text.push(name);
            text.push(b":");
            text.push(value);
            text.push(b"\n");
        }
        text.push(b"\n");
        text.push(&names[start..]);
        text.push(b"\n");
        text.push(self.payload_hash);
        let (padding, bytes) = padding(text.0.len());
        text.push(&padding[..bytes]);
        hex(&sha256(&text.0))
    }
}

/// What [`CanonicalRequest::headers`] asks for, behind the headers of these names.
fn debug_assert_is_next(before: &[u8], name: &[u8], value: &[u8]) {
    if cfg!(debug_assertions) {
        let last = before.rsplit(|&byte| byte == b';').next().unwrap_or_default();
        let (shown, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        assert!(last < name, "{shown} stands behind {}", String::from_utf8_lossy(last));
        assert!(!name.iter().any(u8::is_ascii_uppercase), "{shown} is not in lower case");
        assert!(canonical_value(&value) == value, "the value of {shown} has too many blanks");
    }
}

/// Without blanks at its ends, and with one for every run of them inside; borrowed if it is so already.
#[must_use]
pub fn canonical_value(value: &str) -> Cow<'_, str> {
    // Most values have none, which is seen faster than that what there is stands right.
    if !value.bytes().fold(false, |blank, byte| blank | matches!(byte, b' ' | b'\t')) {
        return Cow::Borrowed(value);
    }
    // `true` stands for the blank before the text, which must not be followed by another.
    let mut after_blank = true;
    let is_canonical = value.bytes().all(|byte| {
        let blank = byte == b' ';
        let good = byte != b'\t' && !(blank && after_blank);
        after_blank = blank;
        good
    });
    if is_canonical && (value.is_empty() || !after_blank) {
        return Cow::Borrowed(value);
    }
    // Room for all of it: a text that grows leaves copies behind.
    let mut text = String::with_capacity(value.len());
    for word in value.split([' ', '\t']).filter(|word| !word.is_empty()) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
    }
    Cow::Owned(text)
}

/// Prints neither headers nor query: a session token stands in one of them.
impl<H> fmt::Debug for CanonicalRequest<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CanonicalRequest")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("payload_hash", &self.payload_hash)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_is_canonical_when_its_words_stand_one_blank_apart(value in "[ \ta-cé]{0,12}") {
            let words: Vec<&str> = value.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            let canonical = canonical_value(&value);
            prop_assert_eq!(&canonical, &words.join(" "));
            prop_assert_eq!(matches!(canonical, Cow::Borrowed(_)), canonical == value);
        }
    }
}
