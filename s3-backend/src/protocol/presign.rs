//! Presigned URLs, by rusty-s3: whoever holds one may make that request until it expires.

use std::fmt;
use std::time::{Duration, SystemTime};

use credentials::Credentials;
use jiff::Timestamp;
use url::Url;

use super::request::Request;

/// The longest that S3 lets a presigned URL be valid.
pub(crate) const VALID_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A URL that carries the right to make one request, for a while. Its `Debug` shows neither signature nor token, and
/// it has no `Display`: who prints it gives the right away.
#[derive(Clone, PartialEq, Eq)]
pub struct PresignedUrl {
    url: Url,
    expires_at: SystemTime,
}

impl PresignedUrl {
    /// The URL with everything in it.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.url
    }

    /// When the store begins to refuse it: to the second, by the store's clock.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresignedUrl({}{})", self.url.origin().ascii_serialization(), self.url.path())
    }
}

/// Puts the right to make `request` into its URL. It lasts `valid`, but never longer than the keys do.
///
/// The header fields of the request are signed, and so must be sent by whoever uses the URL.
pub(crate) fn presign(
    url: Url,
    request: &Request,
    keys: &Credentials,
    region: &str,
    now: SystemTime,
    valid: Duration,
) -> PresignedUrl {
    let mut query: Vec<(&str, &str)> =
        request.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    query.sort_unstable();
    let mut headers: Vec<(&str, &str)> =
        request.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    headers.sort_unstable();
    let valid_seconds = valid_seconds(keys, now, valid);
    let timestamp = Timestamp::try_from(now).unwrap_or(Timestamp::MAX);
    let signed = rusty_s3::signing::sign(
        &timestamp,
        request.method,
        url.clone(),
        keys.access_key_id(),
        keys.secret_access_key().expose_secret(),
        keys.session_token().map(|token| token.expose_secret()),
        region,
        valid_seconds,
        query.iter().copied(),
        headers.iter().copied(),
    );
    assert!(
        signed.origin() == url.origin() && signed.path() == url.path(),
        "signing adds a query string and nothing else"
    );
    PresignedUrl { url: signed, expires_at: now + Duration::from_secs(valid_seconds) }
}

/// How long a signature made now may be used: not longer than its keys.
fn valid_seconds(keys: &Credentials, now: SystemTime, valid: Duration) -> u64 {
    let left = match keys.expires_at() {
        Some(expires_at) => expires_at.duration_since(now).unwrap_or_default(),
        None => valid,
    };
    // S3 takes no URL that is valid for less than a second.
    valid.min(left).as_secs().max(1)
}

#[cfg(test)]
mod tests {
    use credentials::sigv4::{
        AmzDate, CanonicalRequest, Signer, SigningStyle, UNSIGNED_PAYLOAD, canonical_value, uri_encode_into,
    };
    use credentials::{Secret, SourceName};
    use proptest::prelude::*;

    use super::super::request::Method;
    use super::*;

    #[test]
    fn a_url_does_not_outlive_its_keys_and_prints_without_its_signature() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045);
        for (left, valid) in [(0, 1), (59, 59), (299, 299), (301, 300)] {
            let keys = Credentials::builder("A", Secret::new("s"))
                .session_token(Some(Secret::new("TOKEN")))
                .expires_at(now + Duration::from_secs(left));
            let keys = keys.build(SourceName::Imds).expect("well-formed keys");
            let request = Request::new(Method::Get, "/b/k".to_owned());
            let url = "https://h/b/k".parse().expect("a URL");
            let url = presign(url, &request, &keys, "r", now, Duration::from_secs(300));
            let query = url.expose().query().expect("signed");
            assert!(query.contains(&format!("X-Amz-Expires={valid}&")), "{query}");
            assert_eq!(url.expires_at(), now + Duration::from_secs(valid));
            assert_eq!(format!("{url:?}"), "PresignedUrl(https://h/b/k)");
        }
    }

    /// Before, between and behind the names that signing adds.
    const NAMES: [&str; 8] =
        ["X", "X-Amz-E", "X-Id", "list-type", "partNumber", "prefix", "uploadId", "versions"];
    const METHODS: [Method; 5] = [Method::Head, Method::Get, Method::Post, Method::Put, Method::Delete];

    proptest! {
        /// Two implementations that share nothing but the hash: rusty-s3's and that of `credentials`.
        #[test]
        fn a_presigned_url_has_the_signature_that_the_header_signer_makes_of_its_parts(
            id in "[A-Z0-9]{1,20}",
            secret in "[!-~]{1,80}",
            token in prop::option::of("[!-~]{1,200}"),
            region in "[a-z]{2}-[a-z]{4,9}-[1-9]",
            second in 0i64..4_000_000_000,
            method in 0..METHODS.len(),
            port in prop::option::of(1024u16..),
            segments in prop::collection::vec("[a-zA-Zé0-9 %+=~&]{1,8}", 1..4),
            query in prop::collection::btree_map(prop::sample::select(&NAMES[..]), "[ -~é]{0,12}", 0..5),
            headers in prop::collection::btree_map(
                "(if-match|range|x-amz-[a-z]{1,6}|[a-i]{1,4})",
                "[!-~]{0,6}( {1,3}[!-~]{1,4})?",
                0..4,
            ),
        ) {
            let keys = Credentials::builder(id, Secret::new(secret)).session_token(token.map(Secret::new));
            let keys = keys.build(SourceName::Inline).expect("well-formed keys");
            let now = Timestamp::from_second(second).expect("a time");
            let host = port.map_or("h.example".to_owned(), |port| format!("h.example:{port}"));
            let mut path = "/bucket/".to_owned();
            uri_encode_into(segments.join("/"), true, &mut path);
            let mut request = Request::new(METHODS[method], path.clone());
            request.query = query.into_iter().collect();
            request.headers =
                headers.iter().map(|(name, value)| (name.clone().into(), value.clone().into())).collect();
            let url = format!("https://{host}{path}").parse().expect("a URL");
            let valid = Duration::from_secs(300);
            let url = presign(url, &request, &keys, &region, SystemTime::from(now), valid);
            let query = url.expose().query().expect("signed");
            let (query, signature) = query.rsplit_once("&X-Amz-Signature=").expect("signed");

            let mut headers: Vec<(&str, String)> = headers
                .iter()
                .map(|(name, value)| (&name[..], canonical_value(value).into_owned()))
                .collect();
            headers.push(("host", host));
            headers.sort_unstable();
            let canonical = CanonicalRequest {
                method: METHODS[method].to_str(),
                path: &path,
                query,
                headers: headers.iter().map(|(name, value)| (*name, &value[..])),
                payload_hash: UNSIGNED_PAYLOAD,
            };
            let signer = Signer::new(keys, region, "s3", SigningStyle::S3);
            let date = AmzDate::new(SystemTime::from(now)).expect("a date");
            prop_assert_eq!(signer.signature(canonical, &date), Ok(signature.to_owned()));
        }
    }
}
