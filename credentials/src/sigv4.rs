//! AWS Signature Version 4 in headers, for any service and any payload.
//!
//! Algorithm: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Write};
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, request};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::credentials::Credentials;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Never signed: the signature's own header, and what proxies and HTTP implementations may change.
const UNSIGNED: [&str; 13] = [
    "authorization",
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
];

/// Signs requests to one service in one region with one set of keys.
///
/// The key that signatures are made with holds for a day; it is derived on first use, kept, and wiped when
/// the signer goes. A signer belongs to one thread; make one per shard.
pub struct Signer {
    credentials: Credentials,
    region: String,
    service: String,
    style: SigningStyle,
    key: RefCell<Option<DayKey>>,
}

/// How a service wants paths and payloads to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SigningStyle {
    /// All services but S3: the path is normalised, and encoded a second time.
    General,
    /// S3: the path is what it is, encoded once, and the hash of the payload travels in
    /// `x-amz-content-sha256`.
    S3,
}

/// What the signature says about the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadHash {
    /// The SHA-256 of the body; [`PayloadHash::of`] computes it.
    Sha256([u8; 32]),
    /// `UNSIGNED-PAYLOAD`: the signature does not cover the body. S3 over https only.
    Unsigned,
}

impl PayloadHash {
    /// The hash of a body that is at hand.
    #[must_use]
    pub fn of(body: &[u8]) -> PayloadHash {
        PayloadHash::Sha256(Sha256::digest(body).into())
    }

    fn text(&self) -> String {
        match self {
            PayloadHash::Sha256(hash) => hex(hash),
            PayloadHash::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
        }
    }
}

/// Why a request cannot be signed: it, or the signer's region, is not fit to be sent. Correct the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignError {
    /// Neither the URI nor a header names the host.
    NoHost,
    /// The time lies outside the years 0 to 9999.
    Time,
    /// Region or service hold characters that a header cannot.
    Scope,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SignError::NoHost => "the request names no host",
            SignError::Time => "the time is outside the calendar",
            SignError::Scope => "region or service cannot stand in a header",
        })
    }
}

impl Error for SignError {}

/// A key and the day it holds for.
struct DayKey {
    day: String,
    key: Zeroizing<[u8; 32]>,
}

impl Signer {
    /// A signer for `service` (`s3`, `sts`) in `region`.
    #[must_use]
    pub fn new(
        credentials: Credentials,
        region: impl Into<String>,
        service: impl Into<String>,
        style: SigningStyle,
    ) -> Signer {
        let key = RefCell::new(None);
        Signer { credentials, region: region.into(), service: service.into(), style, key }
    }

    /// The keys that it signs with.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Adds `x-amz-date`, `x-amz-security-token` for temporary keys, for S3 `x-amz-content-sha256`, and
    /// `authorization`, in place of any that are there. Token and signature are marked sensitive.
    ///
    /// Everything that is in the request by then is signed, except for headers that are changed on the
    /// way; what is added later is not. The URI must be the one that is sent: percent-encoded, and in its
    /// query a `+` is a plus sign, not a blank.
    ///
    /// `time` is the service's time: it refuses signatures that are more than some minutes old or early.
    ///
    /// # Errors
    ///
    /// [`SignError`]; the request is then not changed in any way that matters, and must not be sent.
    pub fn sign(
        &self,
        request: &mut request::Parts,
        payload: &PayloadHash,
        time: SystemTime,
    ) -> Result<(), SignError> {
        let time = jiff::Timestamp::try_from(time).map_err(|_| SignError::Time)?;
        let date_time = time.strftime("%Y%m%dT%H%M%SZ").to_string();
        if date_time.len() != "20150830T123600Z".len() {
            return Err(SignError::Time);
        }
        let day = &date_time[.."20150830".len()];
        let payload = payload.text();

        let headers = &mut request.headers;
        headers.remove(AUTHORIZATION);
        headers.remove(SECURITY_TOKEN);
        headers.insert(DATE, header(&date_time)?);
        if let Some(token) = self.credentials.session_token() {
            let mut value = header(token.expose_secret())?;
            value.set_sensitive(true);
            headers.insert(SECURITY_TOKEN, value);
        }
        if self.style == SigningStyle::S3 {
            headers.insert(CONTENT_SHA256, header(&payload)?);
        }

        let (canonical, signed_headers) = self.canonical_request(request, &payload)?;
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let hash = hex(&Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("{ALGORITHM}\n{date_time}\n{scope}\n{hash}");
        let signature = hex(&self.with_day_key(day, |key| hmac(key, to_sign.as_bytes()))[..]);
        let mut value = header(&format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={signed_headers}, Signature={signature}",
            self.credentials.access_key_id()
        ))?;
        value.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, value);
        Ok(())
    }

    /// The canonical request, which holds the session token, and the names of the signed headers.
    fn canonical_request(
        &self,
        request: &request::Parts,
        payload: &str,
    ) -> Result<(Zeroizing<String>, String), SignError> {
        let headers = canonical_headers(&request.headers, &request.uri)?;
        let names = headers.keys().copied().collect::<Vec<_>>().join(";");
        let path = match self.style {
            SigningStyle::S3 => encode(&decode(request.uri.path().as_bytes()), b"/"),
            SigningStyle::General => encode(normalise(request.uri.path()).as_bytes(), b"/"),
        };
        let values_len: usize = headers.values().map(|value| value.len()).sum();
        let query = canonical_query(request.uri.query().unwrap_or_default());
        // Room for all of it: a text that grows leaves copies of the token behind.
        let room = 256 + path.len() + query.len() + 2 * names.len() + values_len + 4 * headers.len();
        let mut text = Zeroizing::new(String::with_capacity(room));
        for part in [request.method.as_str(), "\n", &path, "\n", &query, "\n"] {
            text.push_str(part);
        }
        for (name, value) in &headers {
            for part in [name, ":", value, "\n"] {
                text.push_str(part);
            }
        }
        for part in ["\n", &names, "\n", payload] {
            text.push_str(part);
        }
        Ok((text, names))
    }

    fn with_day_key<T>(&self, day: &str, sign: impl FnOnce(&[u8]) -> T) -> T {
        let mut slot = self.key.borrow_mut();
        let kept = match slot.take() {
            Some(kept) if kept.day == day => kept,
            _ => DayKey { day: day.to_owned(), key: self.derive(day) },
        };
        let kept = slot.insert(kept);
        sign(&kept.key[..])
    }

    fn derive(&self, day: &str) -> Zeroizing<[u8; 32]> {
        let secret = self.credentials.secret_access_key().expose_secret();
        let mut first = Zeroizing::new(String::with_capacity("AWS4".len() + secret.len()));
        first.push_str("AWS4");
        first.push_str(secret);
        let day_key = hmac(first.as_bytes(), day.as_bytes());
        let region_key = hmac(&day_key[..], self.region.as_bytes());
        let service_key = hmac(&region_key[..], self.service.as_bytes());
        hmac(&service_key[..], b"aws4_request")
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("credentials", &self.credentials)
            .field("region", &self.region)
            .field("service", &self.service)
            .field("style", &self.style)
            .finish_non_exhaustive()
    }
}

fn header(text: &str) -> Result<HeaderValue, SignError> {
    HeaderValue::from_str(text).map_err(|_| SignError::Scope)
}

fn hmac(key: &[u8], data: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    text
}

/// Names in order, each with its values: trimmed, runs of blanks as one, several joined by a comma.
fn canonical_headers<'a>(
    headers: &'a HeaderMap,
    uri: &Uri,
) -> Result<BTreeMap<&'a str, Zeroizing<String>>, SignError> {
    let mut canonical: BTreeMap<&str, Zeroizing<String>> = BTreeMap::new();
    for (name, value) in headers {
        let name = name.as_str();
        if UNSIGNED.contains(&name) {
            continue;
        }
        // What is not ASCII has no canonical form that all agree on; it is signed as Latin-1 would read.
        let value = match value.to_str() {
            Ok(text) => Zeroizing::new(text.to_owned()),
            Err(_) => Zeroizing::new(value.as_bytes().iter().copied().map(char::from).collect()),
        };
        let mut line = canonical.remove(name).unwrap_or_default();
        line.reserve(value.len() + 1);
        if !line.is_empty() {
            line.push(',');
        }
        for (index, word) in value.split([' ', '\t']).filter(|word| !word.is_empty()).enumerate() {
            if index > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
        canonical.insert(name, line);
    }
    if !canonical.contains_key(HOST.as_str()) {
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(SignError::NoHost)?;
        let port = uri
            .port_u16()
            .filter(|&port| !matches!((uri.scheme_str(), port), (Some("https"), 443) | (Some("http"), 80)));
        let host = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        canonical.insert("host", Zeroizing::new(host));
    }
    Ok(canonical)
}

/// Names and values encoded afresh and sorted as encoded.
fn canonical_query(query: &str) -> String {
    let again = |text: &str| encode(&decode(text.as_bytes()), b"");
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (again(name), again(value)))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// The path without empty, `.` and `..` segments.
fn normalise(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut text = format!("/{}", segments.join("/"));
    if text.len() > 1 && ["/", "/.", "/.."].iter().any(|end| path.ends_with(end)) {
        text.push('/');
    }
    text
}

/// Percent-encodes all but letters, digits, `-._~` and what is in `kept`.
pub(crate) fn encode(bytes: &[u8], kept: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(3 * bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    text
}

/// The bytes behind `%41`; a `%` without two digits stands for itself.
fn decode(text: &[u8]) -> Vec<u8> {
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

#[cfg(test)]
mod tests;
