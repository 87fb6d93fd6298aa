//! A request before and after it is signed, and the answer to it, as values.

use std::borrow::Cow;
use std::fmt;

use credentials::sigv4::AmzDate;
use object_storage::Payload;

use super::headers::Headers;
use super::value::Value;

/// The HTTP method.
pub(crate) use rusty_s3::Method;

/// A header field of a request: its name in lower case, its value without blanks around it.
pub(crate) type Field = (Cow<'static, str>, Value);

/// What S3 is asked, not signed yet.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// The path from the root, percent-encoded as it is sent.
    pub(crate) path: String,
    /// Not encoded.
    pub(crate) query: Vec<(&'static str, String)>,
    /// Signed and sent, all of them: a proxy that strips a condition breaks the signature instead of turning a
    /// compare-and-swap into an overwrite. In the order of their names, in which they are signed.
    pub(crate) headers: Vec<Field>,
    pub(crate) payload: Payload,
}

impl Request {
    pub(crate) fn new(method: Method, path: String) -> Request {
        Request { method, path, query: Vec::new(), headers: Vec::new(), payload: Payload::new() }
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Request {
        self.query.push((name, value.into()));
        self
    }

    pub(crate) fn query_if(self, name: &'static str, value: Option<impl Into<String>>) -> Request {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    pub(crate) fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Request {
        let name = name.into();
        // Behind the last, if they come in order.
        let at = self.headers.iter().rposition(|(before, _)| *before < name).map_or(0, |at| at + 1);
        self.headers.insert(at, (name, value.into()));
        self
    }

    pub(crate) fn header_if(self, name: &'static str, value: Option<impl Into<Value>>) -> Request {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    pub(crate) fn payload(mut self, payload: Payload) -> Request {
        self.payload = payload;
        self
    }
}

/// A request as one attempt sends it. It has no name of its own for the host: that is the transport's.
pub(crate) struct SignedRequest<'a> {
    pub(crate) request: &'a Request,
    /// Path and query, encoded.
    pub(crate) target: Cow<'a, str>,
    /// `None`: it is sent as nobody's.
    pub(crate) signature: Option<Signature<'a>>,
}

/// What a signature adds to the header. Who holds it may do what it was made for: never print it.
pub(crate) struct Signature<'a> {
    pub(crate) date: AmzDate,
    pub(crate) payload_hash: Cow<'static, str>,
    pub(crate) token: Option<&'a str>,
    pub(crate) authorization: Vec<u8>,
}

impl SignedRequest<'_> {
    /// Every header field but `host`, `content-length` and what a transport says of itself.
    // Inlined, so that names are copied as the constants that they are.
    #[inline(always)]
    pub(crate) fn for_each_header(&self, mut each: impl FnMut(&str, &[u8])) {
        for (name, value) in &self.request.headers {
            each(name, value.bytes());
        }
        if let Some(signature) = &self.signature {
            each("x-amz-date", signature.date.as_ref());
            each("x-amz-content-sha256", signature.payload_hash.as_bytes());
            if let Some(token) = signature.token {
                each("x-amz-security-token", token.as_bytes());
            }
            each("authorization", &signature.authorization);
        }
    }

    /// Whether a length is stated although it is zero: where the method promises a body.
    pub(crate) fn states_length(&self) -> bool {
        !self.request.payload.is_empty() || !matches!(self.request.method, Method::Get | Method::Head)
    }
}

impl fmt::Debug for SignedRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedRequest({} {})", self.request.method.to_str(), self.request.path)
    }
}

/// Status and headers of an answer.
#[derive(Clone, Debug)]
pub(crate) struct ResponseHead {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: Headers,
}
