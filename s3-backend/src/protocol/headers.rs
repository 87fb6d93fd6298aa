//! [`Headers`]: the header fields of an answer, kept as they came, in one piece of memory.
//!
//! An answer of S3 has about ten fields, of which a handful are asked for. Finding those by going through all of
//! them costs less than building a table of them by name would.

use std::fmt;

/// Header fields in the order in which they came.
#[derive(Clone, Default)]
pub(crate) struct Headers {
    /// The text, in which names and values stand, and what stood between them; behind it the [`Field`]s. Memory of their
    /// own would cost more than all that is ever asked of them.
    memory: Vec<u8>,
    text_bytes: usize,
}

/// Where a field stands in the text, as memory has it: where its name begins and how long that is, and the same of its
/// value, without the blanks around it.
pub(crate) type Field = [[u8; 4]; 4];

/// Makes a [`Field`].
#[inline]
pub(crate) fn field(name: usize, name_bytes: usize, value: usize, value_bytes: usize) -> Field {
    let narrow = |number| u32::try_from(number).expect("the heads of answers are limited to far less");
    let numbers = [narrow(name), narrow(name_bytes), narrow(value), narrow(value_bytes)];
    numbers.map(u32::to_ne_bytes)
}

/// The name or the value of a field.
fn part(text: &[u8], at: [u8; 4], bytes: [u8; 4]) -> &[u8] {
    &text[u32::from_ne_bytes(at) as usize..][..u32::from_ne_bytes(bytes) as usize]
}

impl Headers {
    /// The head of an answer, with the fields that stand in it.
    pub(crate) fn of_head(head: &[u8], fields: impl ExactSizeIterator<Item = Field>) -> Headers {
        let mut memory = Vec::with_capacity(head.len() + fields.len() * size_of::<Field>());
        memory.extend_from_slice(head);
        for field in fields {
            memory.extend_from_slice(field.as_flattened());
        }
        Headers { memory, text_bytes: head.len() }
    }

    /// Adds a field at the end. Blanks around the value are left out, as the protocol has it.
    #[cfg(any(feature = "cyper", feature = "simulation", feature = "fuzzing", test))]
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        let (at, value) = (self.text_bytes, value.trim_ascii());
        self.memory.splice(at..at, name.iter().chain(value).copied());
        self.text_bytes += name.len() + value.len();
        let field = field(at, name.len(), at + name.len(), value.len());
        self.memory.extend_from_slice(field.as_flattened());
    }

    fn fields(&self) -> &[Field] {
        self.memory[self.text_bytes..].as_chunks().0.as_chunks().0
    }

    /// All fields: names as they were written, values without blanks around them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields().iter().map(|&[name, name_bytes, value, value_bytes]| {
            (part(&self.memory, name, name_bytes), part(&self.memory, value, value_bytes))
        })
    }

    /// The value of the first field of this name, in whatever case it was written.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        // Of the same length are one or two; only those are looked at.
        let bytes = u32::try_from(name.len()).ok()?.to_ne_bytes();
        let named = |&&[at, name_bytes, ..]: &&Field| {
            name_bytes == bytes && part(&self.memory, at, bytes).eq_ignore_ascii_case(name.as_bytes())
        };
        let &[_, _, value, value_bytes] = self.fields().iter().find(named)?;
        Some(part(&self.memory, value, value_bytes))
    }

    /// The first value of this name, if it is plain text: visible ASCII, blanks and tabs.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(plain)
    }
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
        let mut headers = Headers::of_head(head, [field(17, 4, 24, 3), field(30, 5, 37, 0)].into_iter());
        headers.push(b"later", b" x ");
        assert_eq!(headers.text("etag"), Some("\"a\""));
        assert_eq!(headers.get("empty"), Some(&b""[..]));
        assert_eq!(headers.text("later"), Some("x"));
        assert_eq!(headers.iter().count(), 3);
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
