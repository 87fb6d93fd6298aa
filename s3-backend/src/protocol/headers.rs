//! [`Headers`]: the header fields of an answer, kept as they came, in one piece of memory.
//!
//! An answer of S3 has about ten fields, of which a handful are asked for. Finding those by going through all of
//! them costs less than building a table would.

use std::fmt;
use std::ops::Range;

/// Header fields in the order in which they came.
#[derive(Clone, Default)]
pub(crate) struct Headers {
    /// Names and values, and what stood between them.
    text: Vec<u8>,
    fields: Vec<Field>,
}

/// Where a field stands in the text. The limits on heads are far below what 32 bits hold.
#[derive(Clone, Copy)]
struct Field {
    name: u32,
    name_end: u32,
    value: u32,
    end: u32,
}

impl Headers {
    /// Room for so many fields of so many bytes in all.
    #[cfg(any(feature = "cyper", feature = "simulation", feature = "fuzzing", test))]
    pub(crate) fn with_capacity(fields: usize, bytes: usize) -> Headers {
        Headers { text: Vec::with_capacity(bytes), fields: Vec::with_capacity(fields) }
    }

    /// The head of an answer, of which the fields are to be [found](Self::find): it is copied in one piece.
    pub(crate) fn of_head(head: &[u8], fields: usize) -> Headers {
        Headers { text: head.to_vec(), fields: Vec::with_capacity(fields) }
    }

    /// Adds a field that stands in the head at these places. Blanks around the value are left out, as the protocol has
    /// it.
    pub(crate) fn find(&mut self, name: Range<usize>, value: Range<usize>) {
        let mut value = value;
        let text = &self.text[value.clone()];
        if let (Some(first), Some(last)) = (text.first(), text.last())
            && (first.is_ascii_whitespace() || last.is_ascii_whitespace())
        {
            value.start += text.len() - text.trim_ascii_start().len();
            value.end = value.start + text.trim_ascii().len();
        }
        self.fields.push(Field {
            name: narrow(name.start),
            name_end: narrow(name.end),
            value: narrow(value.start),
            end: narrow(value.end),
        });
    }

    /// Adds a field at the end. Blanks around the value are left out, as the protocol has it.
    #[cfg(any(feature = "cyper", feature = "simulation", feature = "fuzzing", test))]
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        let at = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        let name_end = at + name.len();
        self.find(at..name_end, name_end..self.text.len());
    }

    /// All fields: names as they were written, values without blanks around them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields
            .iter()
            .map(|field| (self.part(field.name, field.name_end), self.part(field.value, field.end)))
    }

    fn part(&self, from: u32, to: u32) -> &[u8] {
        &self.text[from as usize..to as usize]
    }

    /// The value of the first field of this name, in whatever case it was written.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        let named = |field: &&Field| {
            // Of the same length are one or two; only those are looked at.
            (field.name_end - field.name) as usize == name.len()
                && self.part(field.name, field.name_end).eq_ignore_ascii_case(name.as_bytes())
        };
        self.fields.iter().find(named).map(|field| self.part(field.value, field.end))
    }

    /// The first value of this name, if it is plain text: visible ASCII, blanks and tabs.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(plain)
    }
}

fn narrow(at: usize) -> u32 {
    u32::try_from(at).expect("the heads of answers are limited to far less")
}

/// Visible ASCII, blanks and tabs as text.
pub(crate) fn plain(value: &[u8]) -> Option<&str> {
    // To the end whatever is met, so that the compiler looks at many bytes at once.
    let visible = value.iter().fold(true, |visible, &byte| visible & matches!(byte, b' '..=b'~' | b'\t'));
    visible.then(|| str::from_utf8(value).expect("ASCII is UTF-8"))
}

/// Names only: values may repeat what a request was signed with.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| String::from_utf8_lossy(name))).finish()
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Headers {
    fn from(fields: [(&str, &str); N]) -> Headers {
        Headers::from(&fields[..])
    }
}

#[cfg(test)]
impl From<&[(&str, &str)]> for Headers {
    fn from(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.push(name.as_bytes(), value.as_bytes());
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_any_case_and_in_order() {
        let headers =
            Headers::from([("ETag", " \"a\" "), ("x-amz-meta-a", "1"), ("etag", "\"b\""), ("empty", "")]);
        assert_eq!(headers.text("etag"), Some("\"a\""));
        assert_eq!(headers.text("ETAG"), Some("\"a\""));
        assert_eq!(headers.get("empty"), Some(&b""[..]));
        assert_eq!(headers.get("etag2"), None);
        assert_eq!(headers.iter().count(), 4);
    }

    #[test]
    fn a_head_is_copied_in_one_piece_and_its_fields_are_found_in_it() {
        let head = b"HTTP/1.1 200 OK\r\nETag:  \"a\" \r\nempty: \r\n\r\n";
        let mut headers = Headers::of_head(head, 2);
        headers.find(17..21, 22..28);
        headers.find(30..35, 36..37);
        assert_eq!(headers.text("etag"), Some("\"a\""));
        assert_eq!(headers.get("empty"), Some(&b""[..]));
        assert_eq!(headers.iter().count(), 2);
    }

    #[test]
    fn what_is_not_plain_is_no_text_and_nothing_prints_a_value() {
        let mut headers = Headers::default();
        headers.push(b"a", b"caf\xc3\xa9");
        headers.push(b"b", b"SECRET");
        assert_eq!(headers.text("a"), None);
        assert!(headers.get("a").is_some());
        assert_eq!(format!("{headers:?}"), "[\"a\", \"b\"]");
    }
}
