//! Signature Version 4 in headers, for any AWS service and any payload.
//!
//! Algorithm: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
//!
//! ```
//! use credentials::sigv4::{PathStyle, Payload, Scope, Signer};
//! # use credentials::{Credentials, Secret, SourceName};
//! # use std::time::SystemTime;
//! # let keys = Credentials::builder("AKIDEXAMPLE", Secret::new("s")).build(SourceName::Inline).unwrap();
//! # let now = SystemTime::UNIX_EPOCH;
//! let signer = Signer::new(&keys, Scope::new("eu-west-1", "s3", PathStyle::AsSent), now);
//! let mut request = http::Request::get("https://bucket.s3.eu-west-1.amazonaws.com/key").body(()).unwrap();
//! signer.sign_headers(&mut request, Payload::Unsigned, now).unwrap();
//! assert!(request.headers().contains_key("authorization"));
//! ```

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::credentials::Credentials;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Headers that a client, a proxy or a connection changes after signing. All others are signed.
const UNSIGNED: [&str; 12] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
];

/// RFC 3986's unreserved characters stay.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// For what a signature is good, beside the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    region: String,
    service: String,
    path: PathStyle,
}

/// How a service sees the path of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathStyle {
    /// As it was sent: S3. The header `x-amz-content-sha256` is added, which S3 demands.
    AsSent,
    /// Percent-encoded once more: every other service. These also drop `.`, `..` and empty segments
    /// before they check the signature, so paths that hold any are refused.
    EncodedAgain,
}

impl Scope {
    /// Region and service by their names in the API: `us-east-1`, `sts`.
    #[must_use]
    pub fn new(region: impl Into<String>, service: impl Into<String>, path: PathStyle) -> Scope {
        Scope { region: region.into(), service: service.into(), path }
    }
}

/// What the signature says about the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// This is the body. It is hashed: 0.8 ms per MiB.
    Bytes(&'a [u8]),
    /// The SHA-256 of the body.
    Sha256([u8; 32]),
    /// Nothing: `UNSIGNED-PAYLOAD`. Only S3 accepts it, and only TLS protects the body then.
    Unsigned,
    /// One of S3's other words in the place of a hash, such as `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    Keyword(&'static str),
}

/// Signs the requests of one day with keys derived once. Keep it as long as
/// [`is_current`](Signer::is_current) says; the derived key is wiped when it is dropped.
pub struct Signer {
    credentials: Credentials,
    scope: Scope,
    key: DayKey,
}

struct DayKey {
    /// `20150830`
    day: String,
    key: Zeroizing<[u8; 32]>,
}

impl Signer {
    /// Derives the key for the day of `now`, with four HMACs.
    #[must_use]
    pub fn new(credentials: &Credentials, scope: Scope, now: SystemTime) -> Signer {
        let key = DayKey::derive(credentials, &scope, &day(now));
        Signer { credentials: credentials.clone(), scope, key }
    }

    /// Whether it signs with these credentials, and its key still serves at `now`. One made for another
    /// day signs correctly too, but derives a key each time.
    #[must_use]
    pub fn is_current(&self, credentials: &Credentials, now: SystemTime) -> bool {
        self.credentials.is_same(credentials) && self.key.day == day(now)
    }

    /// Adds `x-amz-date`, for temporary keys `x-amz-security-token`, for S3 `x-amz-content-sha256`, and
    /// `authorization`.
    ///
    /// Every header already there is signed, except those that are changed on the way
    /// (`content-length`, `user-agent`, `accept-encoding` and the like); `host` is taken from the URI
    /// unless it is given. So whatever matters must be there before, and must not be changed afterwards.
    /// A second call replaces the first signature, with the time of the second.
    ///
    /// The query is signed as the values it stands for: `%2f` and `%2F` are the same, `+` is a plus.
    ///
    /// # Errors
    ///
    /// [`SignError`]: the request cannot be signed so that the service agrees. A bug of the caller.
    pub fn sign_headers<B>(
        &self,
        request: &mut Request<B>,
        payload: Payload<'_>,
        now: SystemTime,
    ) -> Result<(), SignError> {
        let time = stamp(now);
        let today = &time[..8];
        let payload = payload_word(payload);
        let host = host_of(request.uri(), request.headers())?;

        let headers = request.headers_mut();
        headers.insert(DATE, HeaderValue::from_str(&time).map_err(|_| SignError::Time)?);
        headers.remove(TOKEN);
        if let Some(token) = self.credentials.session_token() {
            headers.insert(TOKEN, sensitive(token.expose_secret())?);
        }
        if self.scope.path == PathStyle::AsSent {
            let value = HeaderValue::from_str(&payload).map_err(|_| SignError::Header)?;
            headers.insert(CONTENT_SHA256, value);
        }

        let (canonical, signed_headers) = canonical_request(request, self.scope.path, &host, &payload)?;
        let scope = format!("{today}/{}/{}/aws4_request", self.scope.region, self.scope.service);
        let hash = hex(&Sha256::digest(&canonical[..]));
        let string_to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{hash}");
        let signature = if self.key.day == today {
            self.key.sign(&string_to_sign)
        } else {
            DayKey::derive(&self.credentials, &self.scope, today).sign(&string_to_sign)
        };
        let id = self.credentials.access_key_id();
        let authorization = sensitive(&format!(
            "{ALGORITHM} Credential={id}/{scope}, SignedHeaders={signed_headers}, Signature={signature}"
        ))?;
        request.headers_mut().insert(AUTHORIZATION, authorization);
        Ok(())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("credentials", &self.credentials)
            .field("scope", &self.scope)
            .field("day", &self.key.day)
            .finish_non_exhaustive()
    }
}

/// Why a request cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignError {
    /// Neither the URI nor a header says the host.
    NoHost,
    /// The path has a `.`, `..` or empty segment, which the service would drop before it looks.
    Path,
    /// A header or a part of the scope has characters that cannot be sent.
    Header,
    /// The clock shows a year without four digits.
    Time,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SignError::NoHost => "a request without a host cannot be signed",
            SignError::Path => "a path with empty or dot segments cannot be signed for this service",
            SignError::Header => "a header cannot be signed: it has characters that cannot be sent",
            SignError::Time => "the clock shows a year that cannot be signed",
        })
    }
}

impl Error for SignError {}

impl DayKey {
    fn derive(credentials: &Credentials, scope: &Scope, day: &str) -> DayKey {
        let secret = credentials.secret_access_key().expose_secret();
        let mut first = Zeroizing::new(Vec::with_capacity(4 + secret.len()));
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(secret.as_bytes());
        let mut key = hmac(&first, day.as_bytes());
        for part in [scope.region.as_str(), scope.service.as_str(), "aws4_request"] {
            key = hmac(&key[..], part.as_bytes());
        }
        DayKey { day: day.to_owned(), key }
    }

    fn sign(&self, text: &str) -> String {
        hex(&hmac(&self.key[..], text.as_bytes())[..])
    }
}

fn hmac(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// The canonical request and the list of the headers in it.
fn canonical_request<B>(
    request: &Request<B>,
    path_style: PathStyle,
    host: &str,
    payload: &str,
) -> Result<(Zeroizing<Vec<u8>>, String), SignError> {
    let names = signed_names(request.headers());
    // It holds the session token.
    let mut out = Zeroizing::new(Vec::with_capacity(1024));
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b'\n');
    out.extend_from_slice(canonical_path(request.uri().path(), path_style)?.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(canonical_query(request.uri().query().unwrap_or("")).as_bytes());
    out.push(b'\n');
    for name in &names {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        if *name == HOST.as_str() {
            out.extend_from_slice(host.as_bytes());
        } else {
            for (index, value) in request.headers().get_all(*name).iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_trimmed(&mut out, value.as_bytes());
            }
        }
        out.push(b'\n');
    }
    let names = names.join(";");
    out.push(b'\n');
    out.extend_from_slice(names.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(payload.as_bytes());
    Ok((out, names))
}

/// In byte order, each once, `host` always.
fn signed_names(headers: &HeaderMap) -> Vec<&str> {
    let signed = |name: &&str| !UNSIGNED.contains(name) && *name != HOST.as_str();
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).filter(signed).collect();
    names.push(HOST.as_str());
    names.sort_unstable();
    names
}

fn canonical_path(path: &str, style: PathStyle) -> Result<Cow<'_, str>, SignError> {
    let path = if path.is_empty() { "/" } else { path };
    if style == PathStyle::AsSent {
        return Ok(path.into());
    }
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if matches!(segment, "." | "..") || (segment.is_empty() && !last) {
            return Err(SignError::Path);
        }
    }
    Ok(percent_encode(path.as_bytes(), RESERVED_IN_PATH).into())
}

fn canonical_query(query: &str) -> String {
    let encode = |text: &str| {
        let bytes: Vec<u8> = percent_decode_str(text).collect();
        percent_encode(&bytes, RESERVED).to_string()
    };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Without blanks at the ends, and with one for each run of blanks inside.
fn push_trimmed(out: &mut Vec<u8>, value: &[u8]) {
    let mut blank = false;
    for &byte in value.trim_ascii() {
        if byte == b' ' && blank {
            continue;
        }
        blank = byte == b' ';
        out.push(byte);
    }
}

/// As the client will send it.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Result<String, SignError> {
    if let Some(host) = headers.get(HOST) {
        return Ok(host.to_str().map_err(|_| SignError::Header)?.trim().to_owned());
    }
    let host = uri.host().ok_or(SignError::NoHost)?;
    let standard = match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    };
    Ok(match uri.port_u16() {
        Some(port) if Some(port) != standard => format!("{host}:{port}"),
        _ => host.to_owned(),
    })
}

fn payload_word(payload: Payload<'_>) -> Cow<'static, str> {
    match payload {
        Payload::Bytes(bytes) => hex(&Sha256::digest(bytes)).into(),
        Payload::Sha256(hash) => hex(&hash).into(),
        Payload::Unsigned => "UNSIGNED-PAYLOAD".into(),
        Payload::Keyword(word) => word.into(),
    }
}

fn sensitive(text: &str) -> Result<HeaderValue, SignError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| SignError::Header)?;
    value.set_sensitive(true);
    Ok(value)
}

/// `20150830T123600Z`
fn stamp(now: SystemTime) -> String {
    // Years before 0 and after 9999 are beyond both the calendar and any signature.
    jiff::Timestamp::try_from(now)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string()
}

fn day(now: SystemTime) -> String {
    let mut stamp = stamp(now);
    stamp.truncate(8);
    stamp
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests;
