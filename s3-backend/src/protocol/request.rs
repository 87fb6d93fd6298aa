//! A request before and after it is signed, and the answer to it, as values.

use std::borrow::Cow;
use std::fmt;

use http::HeaderMap;
use object_storage::Payload;
use url::Url;

/// The HTTP method.
pub(crate) use rusty_s3::Method;

/// What S3 is asked, not signed yet.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Scheme, host and path; no query.
    pub(crate) url: Url,
    /// Not encoded.
    pub(crate) query: Vec<(&'static str, String)>,
    /// Lower-case names. Signed and sent, all of them: a proxy that strips a condition breaks the signature
    /// instead of turning a compare-and-swap into an overwrite.
    pub(crate) headers: Vec<(Cow<'static, str>, String)>,
    pub(crate) payload: Payload,
}

impl Request {
    pub(crate) fn new(method: Method, url: Url) -> Request {
        Request { method, url, query: Vec::new(), headers: Vec::new(), payload: Payload::new() }
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

    pub(crate) fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn header_if(self, name: &'static str, value: Option<impl Into<String>>) -> Request {
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

/// A URL that may carry a signature and a session token. Its `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SignedUrl(Url);

impl SignedUrl {
    pub(crate) fn new(url: Url) -> SignedUrl {
        SignedUrl(url)
    }

    /// The URL with everything in it: whoever holds it may do what it was signed for. Never print it.
    pub(crate) fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedUrl({}{})", self.0.origin().ascii_serialization(), self.0.path())
    }
}

/// A request as it goes out. Cloning it is cheap; the payload is shared.
#[derive(Clone, Debug)]
pub(crate) struct SignedRequest {
    /// The HTTP method.
    pub(crate) method: http::Method,
    /// Where to, with the signature.
    pub(crate) url: SignedUrl,
    /// Every header but `host` and `content-length`, which follow from the URL and the payload.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) payload: Payload,
}

/// Status and headers of an answer.
#[derive(Clone, Debug)]
pub(crate) struct ResponseHead {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_url_prints_without_its_signature() {
        let url = "https://user:pw@h/b/k?X-Amz-Signature=SECRET&X-Amz-Security-Token=SECRET"
            .parse()
            .expect("a URL");
        let printed = format!("{:?}", SignedUrl::new(url));
        assert_eq!(printed, "SignedUrl(https://h/b/k)");
    }
}
