//! A request in canonical form, and its hash, without the text ever standing anywhere as a whole.
//!
//! Form: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html#create-canonical-request>

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest, Sha256};

use super::encoding::hex;

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

impl<'a, H: IntoIterator<Item = (&'a str, &'a str)>> CanonicalRequest<'a, H> {
    /// The request's hash in hexadecimal. The names of the headers, joined by `;`, are appended to `names`.
    pub(super) fn hash(self, names: &mut Vec<u8>) -> [u8; 64] {
        // Piece by piece: joining them in a buffer on the stack first was measured 10 % slower, and the
        // buffer would have to be wiped of the session token. The hash wipes the block that it keeps.
        let mut text = Sha256::new();
        for part in [self.method, "\n", self.path, "\n", self.query, "\n"] {
            text.update(part);
        }
        let start = names.len();
        let mut last = "";
        for (name, value) in self.headers {
            debug_assert!(last < name, "{name} stands behind {last}");
            debug_assert!(!name.bytes().any(|b| b.is_ascii_uppercase()), "{name} is not in lower case");
            debug_assert!(canonical_value(value) == value, "the value of {name} has too many blanks");
            for part in [name, ":", value, "\n"] {
                text.update(part);
            }
            if !last.is_empty() {
                names.push(b';');
            }
            names.extend_from_slice(name.as_bytes());
            last = name;
        }
        text.update("\n");
        text.update(&names[start..]);
        text.update("\n");
        text.update(self.payload_hash);
        hex(&text.finalize().into())
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
