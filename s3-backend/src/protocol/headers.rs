//! [`Headers`]: the header fields of an answer, kept as they came, in one piece of memory.
//!
//! An answer of S3 has about ten fields, of which a handful are asked for. Finding those by going through all of
//! them costs less than building a table would.

use std::fmt;

/// Header fields in the order in which they came.
#[derive(Clone, Default)]
pub(crate) struct Headers {
    /// Names and values, one after the other.
    text: Vec<u8>,
    fields: Vec<Field>,
}

/// Where a field stands in the text. The limits on heads are far below what 32 bits hold.
#[derive(Clone, Copy)]
struct Field {
    name: u32,
    value: u32,
    end: u32,
}

impl Headers {
    /// Room for so many fields of so many bytes in all.
    pub(crate) fn with_capacity(fields: usize, bytes: usize) -> Headers {
        Headers { text: Vec::with_capacity(bytes), fields: Vec::with_capacity(fields) }
    }

    /// Adds a field at the end. Blanks around the value are left out, as the protocol has it.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        let name_at = self.at();
        self.text.extend_from_slice(name);
        let value_at = self.at();
        self.text.extend_from_slice(value.trim_ascii());
        self.fields.push(Field { name: name_at, value: value_at, end: self.at() });
    }

    fn at(&self) -> u32 {
        u32::try_from(self.text.len()).expect("the heads of answers are limited to far less")
    }

    /// All fields: names as they were written, values without blanks around them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| {
            let (name, value, end) = (field.name as usize, field.value as usize, field.end as usize);
            (&self.text[name..value], &self.text[value..end])
        })
    }

    /// The values of every field of this name, in whatever case it was written.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let named = move |(found, value): (&[u8], &'a [u8])| {
            found.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
        };
        self.iter().filter_map(named)
    }

    /// The value of the first field of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        let mut named = self.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
        named.next().map(|(_, value)| value)
    }

    /// The first value of this name, if it is plain text: visible ASCII, blanks and tabs.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(plain)
    }
}

/// Visible ASCII, blanks and tabs as text.
pub(crate) fn plain(value: &[u8]) -> Option<&str> {
    let visible = value.iter().all(|&byte| matches!(byte, b' '..=b'~' | b'\t'));
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
        assert_eq!(headers.all("ETAG").collect::<Vec<_>>(), [b"\"a\"", b"\"b\""]);
        assert_eq!(headers.get("empty"), Some(&b""[..]));
        assert_eq!(headers.get("etag2"), None);
        assert_eq!(headers.iter().count(), 4);
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
