//! Bytes as text: percent-encoding as signatures want it, a query in its canonical order, hexadecimal.
//!
//! Everything appends to a string that the caller may use again, and allocates only when that grows.

use std::cmp::Ordering;
use std::str;

/// Whether a byte stands for itself in a URI: letters, digits and `-._~`.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    plain
};

/// Appends `text` to `out` with all but letters, digits and `-._~` as `%` and two upper-case digits;
/// with `keep_slash`, a `/` stays too.
///
/// This is the encoding that the signature prescribes: `UriEncode` of
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>. Sent in the same form,
/// a path or a query needs no second encoding to be signed.
///
/// ```
/// let mut path = String::from("/bucket/");
/// credentials::sigv4::uri_encode_into("a b/é", true, &mut path);
/// assert_eq!(path, "/bucket/a%20b/%C3%A9");
/// ```
pub fn uri_encode_into(text: impl AsRef<[u8]>, keep_slash: bool, out: &mut String) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let is_kept = |byte: u8| PLAIN[usize::from(byte)] || (keep_slash && byte == b'/');
    let mut rest = text.as_ref();
    loop {
        let run = rest.iter().position(|&byte| !is_kept(byte)).unwrap_or(rest.len());
        let (kept, coded) = rest.split_at(run);
        out.push_str(str::from_utf8(kept).expect("what is kept is ASCII"));
        let Some((&byte, after)) = coded.split_first() else { return };
        out.push('%');
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
        rest = after;
    }
}

/// Appends the query that `pairs` of names and values make, in the form in which it is sent and signed:
/// encoded as by [`uri_encode_into`], in the order of the encoded names, and of the values where names
/// are the same. A name without a value has a `=` all the same. `pairs` is left in that order.
///
/// ```
/// let mut query = String::new();
/// credentials::sigv4::canonical_query_into(&mut [("prefix", "a/"), ("list-type", "2")], &mut query);
/// assert_eq!(query, "list-type=2&prefix=a%2F");
/// ```
pub fn canonical_query_into<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &mut [(N, V)], out: &mut String) {
    pairs.sort_unstable_by(|(name, value), (other_name, other_value)| {
        encoded_order(name.as_ref(), other_name.as_ref())
            .then_with(|| encoded_order(value.as_ref(), other_value.as_ref()))
    });
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push('&');
        }
        uri_encode_into(name, false, out);
        out.push('=');
        uri_encode_into(value, false, out);
    }
}

/// How two texts compare once they are encoded. `%` sorts before all that stays plain, and the digits
/// behind it sort as the byte does.
fn encoded_order(one: &[u8], other: &[u8]) -> Ordering {
    let rank = |&byte: &u8| (PLAIN[usize::from(byte)], byte);
    one.iter().map(rank).cmp(other.iter().map(rank))
}

/// The bytes behind `%41`; a `%` without two digits stands for itself.
pub(super) fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).expect("two digits make a byte"));
                at += 3;
            }
            _ => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    bytes
}

/// A SHA-256 in lower-case hexadecimal.
// Once in the program: unrolled it is long, and every signature needs it twice.
#[inline(never)]
pub(super) fn hex(hash: &[u8; 32]) -> [u8; 64] {
    // A table of both digits: arithmetic, which the compiler does for many bytes at once, took five times as long.
    const PAIRS: [[u8; 2]; 256] = {
        let mut pairs = [[0; 2]; 256];
        let mut byte = 0;
        while byte < 256 {
            pairs[byte] = [b"0123456789abcdef"[byte >> 4], b"0123456789abcdef"[byte & 15]];
            byte += 1;
        }
        pairs
    };
    let mut text = [0; 64];
    for (pair, &byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(hash) {
        *pair = PAIRS[usize::from(byte)];
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &[u8], keep_slash: bool) -> String {
        let mut out = String::new();
        uri_encode_into(text, keep_slash, &mut out);
        out
    }

    #[test]
    fn only_what_is_reserved_is_encoded() {
        let plain = "AZaz09-._~";
        assert_eq!(encoded(plain.as_bytes(), false), plain);
        assert_eq!(encoded(b"/a b+%\xff\0", false), "%2Fa%20b%2B%25%FF%00");
        assert_eq!(encoded(b"/a/", true), "/a/");
        assert_eq!(encoded(b"", true), "");
    }

    #[test]
    fn a_name_without_value_keeps_its_sign_and_values_order_equal_names() {
        let mut query = "x?".to_owned();
        canonical_query_into(&mut [("b", ""), ("a", "2"), ("a", "10"), ("a-", "")], &mut query);
        assert_eq!(query, "x?a=10&a=2&a-=&b=");
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(text: Vec<u8>, keep_slash: bool) {
            let encoded = encoded(&text, keep_slash);
            prop_assert!(encoded.bytes().all(|b| PLAIN[usize::from(b)] || b == b'%' || b == b'/'));
            prop_assert_eq!(decode(encoded.as_bytes()), text);
        }

        #[test]
        fn pairs_stand_in_the_order_of_their_encoded_form(
            mut pairs: Vec<(Vec<u8>, Vec<u8>)>,
            mut alike in prop::collection::vec(("[a%/-]{0,3}", "[b=é~]{0,3}"), 0..6),
        ) {
            fn by_text<T: AsRef<[u8]>>(pairs: &[(T, T)]) -> String {
                let mut texts: Vec<_> = pairs
                    .iter()
                    .map(|(name, value)| (encoded(name.as_ref(), false), encoded(value.as_ref(), false)))
                    .collect();
                texts.sort();
                let texts: Vec<String> = texts.into_iter().map(|(n, v)| format!("{n}={v}")).collect();
                texts.join("&")
            }
            let (mut query, mut alike_query) = (String::new(), String::new());
            canonical_query_into(&mut pairs, &mut query);
            canonical_query_into(&mut alike, &mut alike_query);
            prop_assert_eq!(query, by_text(&pairs));
            prop_assert_eq!(alike_query, by_text(&alike));
        }
    }
}
