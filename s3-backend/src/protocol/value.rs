//! [`Value`]: the value of a header field of a request.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use credentials::sigv4::canonical_value;
use object_storage::OperationId;

use super::checksum::Crc64Nvme;

/// Text that ends no line: a control character in it is a bug of whoever has parsed it.
#[derive(Clone)]
pub(crate) struct Value(Text);

#[derive(Clone)]
enum Text {
    /// Of this program, without a blank too many.
    Fixed(&'static str),
    /// Made for one request, of ASCII without blanks. It needs no memory of its own.
    Short([u8; SHORT_BYTES_MAX], u8),
    /// From outside.
    Given(String),
}

/// The longest of them is an operation id.
const SHORT_BYTES_MAX: usize = 32;

impl Value {
    /// As it is sent.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Fixed(text) => text.as_bytes(),
            Text::Short(bytes, length) => &bytes[..usize::from(*length)],
            Text::Given(text) => text.as_bytes(),
        }
    }

    /// As it is signed.
    pub(crate) fn canonical(&self) -> Cow<'_, [u8]> {
        match &self.0 {
            Text::Fixed(_) | Text::Short(..) => Cow::Borrowed(self.bytes()),
            Text::Given(text) => match canonical_value(text) {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
        }
    }

    fn short<const N: usize>(text: [u8; N]) -> Value {
        let mut bytes = [0; SHORT_BYTES_MAX];
        bytes[..N].copy_from_slice(&text);
        Value(Text::Short(bytes, u8::try_from(N).expect("it is short")))
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Value {
        Value(Text::Fixed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        let ends_a_line = text.bytes().fold(false, |ends, byte| ends | matches!(byte, b'\r' | b'\n' | 0));
        assert!(!ends_a_line, "what goes into a header was checked where it was parsed");
        Value(Text::Given(text))
    }
}

impl From<OperationId> for Value {
    fn from(id: OperationId) -> Value {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(id.bits().to_be_bytes()) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        Value::short(text)
    }
}

impl From<Crc64Nvme> for Value {
    fn from(crc: Crc64Nvme) -> Value {
        Value::short(crc.base64())
    }
}

impl Deref for Value {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Text::Fixed(text) => text,
            Text::Short(..) => str::from_utf8(self.bytes()).expect("what is short is ASCII"),
            Text::Given(text) => text,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Value {}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use object_storage::Payload;

    use super::*;

    #[test]
    fn what_is_short_is_written_as_it_is_everywhere_else() {
        let id = OperationId::from_bits(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(*Value::from(id), id.to_string());
        let crc = Crc64Nvme::of(&Payload::from("123456789"));
        assert_eq!(*Value::from(crc), crc.text());
    }

    #[test]
    fn blanks_are_sent_as_they_were_given_and_signed_as_one() {
        let value = Value::from("a  b".to_owned());
        assert_eq!((value.bytes(), &*value.canonical()), (&b"a  b"[..], &b"a b"[..]));
    }

    #[test]
    #[should_panic(expected = "checked where it was parsed")]
    fn no_value_ends_its_line() {
        drop(Value::from("a\r\nx-evil: 1".to_owned()));
    }
}
