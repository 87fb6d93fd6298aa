//! [`Attributes`]: content headers and user metadata, checked when they are set.

use std::fmt;

use crate::limits::USER_METADATA_BYTES_MAX;

/// Content headers and user metadata of an object, stored with it and returned by head and get.
///
/// Values are checked as they are set, so that no attribute can smuggle a second header or exceed what S3
/// stores. See [Working with object metadata].
///
/// [Working with object metadata]: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// In order, as the metadata is: there are few of them, and most objects have one.
    headers: Vec<(ContentHeader, String)>,
    metadata: Vec<(String, String)>,
}

/// A header that describes the content; S3 keeps it and sends it back as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ContentHeader {
    /// `cache-control`
    CacheControl,
    /// `content-disposition`
    ContentDisposition,
    /// `content-encoding`: never acted upon here, bytes stay as they are.
    ContentEncoding,
    /// `content-language`
    ContentLanguage,
    /// `content-type`
    ContentType,
}

impl ContentHeader {
    /// Every header an object can keep.
    pub const ALL: [ContentHeader; 5] = [
        ContentHeader::CacheControl,
        ContentHeader::ContentDisposition,
        ContentHeader::ContentEncoding,
        ContentHeader::ContentLanguage,
        ContentHeader::ContentType,
    ];

    /// The name of the header, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ContentHeader::CacheControl => "cache-control",
            ContentHeader::ContentDisposition => "content-disposition",
            ContentHeader::ContentEncoding => "content-encoding",
            ContentHeader::ContentLanguage => "content-language",
            ContentHeader::ContentType => "content-type",
        }
    }
}

/// The name of the metadata that says which write an object comes from. Were it to be had as an attribute, copying
/// attributes from one object to another would forge it.
pub(crate) const OPERATION_ID_NAME: &str = "operation-id";

/// The longest value of a content header, in bytes: far above any real one, far below a server's header limit.
const HEADER_BYTES_MAX: usize = 1024;

impl Attributes {
    /// No attributes.
    #[must_use]
    pub fn new() -> Attributes {
        Attributes::default()
    }

    /// Sets a content header.
    ///
    /// # Errors
    ///
    /// [`InvalidAttribute`] when the value is empty, longer than 1,024 bytes, or not printable ASCII, or
    /// begins or ends with a space.
    pub fn with_header(mut self, header: ContentHeader, value: &str) -> Result<Attributes, InvalidAttribute> {
        check_value(header.name(), value, HEADER_BYTES_MAX)?;
        match self.headers.binary_search_by_key(&header, |(known, _)| *known) {
            Ok(at) => self.headers[at].1 = value.to_owned(),
            Err(at) => self.headers.insert(at, (header, value.to_owned())),
        }
        Ok(self)
    }

    /// Sets a piece of user metadata (`x-amz-meta-NAME`).
    ///
    /// # Errors
    ///
    /// [`InvalidAttribute`] when the name is not `[a-z0-9-]+` or is `operation-id` (where stores keep the
    /// [`OperationId`](crate::OperationId)), the value is not printable ASCII or begins or ends with a space, or
    /// names and values together would exceed 2,004 bytes (S3's 2 KiB less that id).
    pub fn with_metadata(mut self, name: &str, value: &str) -> Result<Attributes, InvalidAttribute> {
        let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(InvalidAttribute::new(name, "a metadata name is made of a-z, 0-9 and '-'"));
        }
        if name == OPERATION_ID_NAME {
            return Err(InvalidAttribute::new(name, "the name is reserved for the id of the write"));
        }
        check_value(name, value, USER_METADATA_BYTES_MAX)?;
        match self.find(name) {
            Ok(at) => self.metadata[at].1 = value.to_owned(),
            Err(at) => self.metadata.insert(at, (name.to_owned(), value.to_owned())),
        }
        let bytes: usize = self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > USER_METADATA_BYTES_MAX {
            return Err(InvalidAttribute::new(name, "user metadata exceeds 2004 bytes in all"));
        }
        Ok(self)
    }

    /// The value of a content header.
    #[must_use]
    pub fn header(&self, header: ContentHeader) -> Option<&str> {
        self.headers().find(|(known, _)| *known == header).map(|(_, value)| value)
    }

    /// The value of a piece of user metadata.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.find(name).ok().map(|at| self.metadata[at].1.as_str())
    }

    /// Where a piece of user metadata is, or would be.
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.metadata.binary_search_by(|(known, _)| known.as_str().cmp(name))
    }

    /// The content headers that are set, in order of name.
    pub fn headers(&self) -> impl Iterator<Item = (ContentHeader, &str)> {
        self.headers.iter().map(|(header, value)| (*header, value.as_str()))
    }

    /// The user metadata, in order of name.
    pub fn user_metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.metadata.is_empty()
    }
}

fn check_value(name: &str, value: &str, bytes_max: usize) -> Result<(), InvalidAttribute> {
    let problem = if value.is_empty() {
        "the value is empty"
    } else if value.len() > bytes_max {
        "the value is too long"
    } else if !value.bytes().all(|b| matches!(b, 0x20..=0x7e)) {
        "the value holds a byte that is not printable ASCII; encode it first"
    } else if value.trim_ascii().len() != value.len() {
        "the value begins or ends with a space, which HTTP would drop"
    } else {
        return Ok(());
    };
    Err(InvalidAttribute::new(name, problem))
}

/// An attribute that cannot be stored, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAttribute {
    name: String,
    problem: &'static str,
}

impl InvalidAttribute {
    fn new(name: &str, problem: &'static str) -> InvalidAttribute {
        InvalidAttribute { name: name.chars().take(80).collect(), problem }
    }
}

impl fmt::Display for InvalidAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attribute {:?}: {}", self.name, self.problem)
    }
}

impl std::error::Error for InvalidAttribute {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_cannot_smuggle_a_header() {
        let none = Attributes::new;
        assert!(none().with_metadata("a\r\nx", "v").is_err());
        assert!(none().with_metadata("a", "v\r\nx-evil: 1").is_err());
        assert!(none().with_metadata("A", "v").is_err());
        assert!(none().with_metadata("", "v").is_err());
        assert!(none().with_metadata("operation-id", "0").is_err());
        assert!(none().with_metadata("a", " v").is_err());
        assert!(none().with_metadata("a", "é").is_err());
        assert!(none().with_header(ContentHeader::ContentType, "text/plain\n").is_err());
        assert!(none().with_metadata("a", &"v".repeat(2048)).is_err());
        let both = none()
            .with_metadata("a", "1")
            .and_then(|a| a.with_header(ContentHeader::ContentType, "text/plain"));
        assert_eq!(both.expect("plain values").metadata("a"), Some("1"));
    }
}
