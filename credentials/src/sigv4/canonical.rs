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
pub(super) struct Text {
    /// All of it initialised, so that there is one check for room and not two.
    memory: Zeroizing<Vec<u8>>,
    length: usize,
}

/// Most requests fit, with a session token of the usual length.
const TEXT_BYTES: usize = 2048;

impl Text {
    fn push(&mut self, part: &[u8]) {
        self.room(part.len()).copy_from_slice(part);
    }

    fn push_header(&mut self, name: &[u8], value: &[u8]) {
        let line = self.room(name.len() + value.len() + 2);
        let (start, rest) = line.split_at_mut(name.len());
        start.copy_from_slice(name);
        rest[0] = b':';
        rest[1..=value.len()].copy_from_slice(value);
        rest[value.len() + 1] = b'\n';
    }

    /// Room for so many bytes, at the end.
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        let (start, end) = (self.length, self.length + bytes);
        if end > self.memory.len() {
            self.grow(end);
        }
        self.length = end;
        &mut self.memory[start..end]
    }

    /// By hand: a vector that grows leaves what it held behind.
    #[cold]
    fn grow(&mut self, bytes: usize) {
        let mut larger = Zeroizing::new(vec![0; bytes.next_power_of_two().max(TEXT_BYTES)]);
        larger[..self.memory.len()].copy_from_slice(&self.memory);
        self.memory = larger;
    }

    /// Ends the text.
    fn sha256(&mut self) -> [u8; 32] {
        let (padding, bytes) = padding(self.length);
        self.push(&padding[..bytes]);
        sha256(&self.memory[..self.length])
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, H: IntoIterator<Item = (N, V)>> CanonicalRequest<'_, H> {
    /// The request's hash in hexadecimal. The names of the headers, joined by `;`, are appended to `names`.
    pub(super) fn hash(self, text: &mut Text, names: &mut Vec<u8>) -> [u8; 64] {
        text.length = 0;
        for part in [self.method, self.path, self.query] {
            text.push(part.as_bytes());
            text.push(b"\n");
        }
        let start = names.len();
        for (name, value) in self.headers {
            let (name, value) = (name.as_ref(), value.as_ref());
            debug_assert_is_next(&names[start..], name, value);
            if names.len() > start {
                names.push(b';');
            }
            names.extend_from_slice(name);
            text.push_header(name, value);
        }
        text.push(b"\n");
        text.push(&names[start..]);
        text.push(b"\n");
        text.push(self.payload_hash.as_bytes());
        hex(&text.sha256())
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
