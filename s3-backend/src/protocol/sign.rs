//! Signing: [`Request`] to [`SignedRequest`], by a query string from rusty-s3.
//!
//! Every attempt is signed afresh, with the time of that attempt. The payload itself is not signed
//! (`UNSIGNED-PAYLOAD`); every header is.

use std::time::SystemTime;

use credentials::{Credentials, Identity};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use super::limits::{SIGNATURE_SECONDS, SIGNATURE_SECONDS_MIN};
use super::request::{Method, Request, SignedRequest, SignedUrl};

/// Signs `request` for `region` at `now`; an anonymous identity leaves it unsigned.
pub(crate) fn sign(request: &Request, identity: &Identity, region: &str, now: Timestamp) -> SignedRequest {
    let mut query: Vec<(&str, &str)> =
        request.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    query.sort_unstable();
    let mut headers: Vec<(&str, &str)> =
        request.headers.iter().map(|(name, value)| (name.as_ref(), value.as_str())).collect();
    headers.sort_unstable();

    let url = match identity.credentials() {
        Some(keys) => rusty_s3::signing::sign(
            &now,
            request.method,
            request.url.clone(),
            keys.access_key_id(),
            keys.secret_access_key().expose_secret(),
            keys.session_token().map(|token| token.expose_secret()),
            region,
            valid_seconds(keys, now),
            query.iter().copied(),
            headers.iter().copied(),
        ),
        None => {
            let mut url = request.url.clone();
            if !query.is_empty() {
                url.query_pairs_mut().extend_pairs(&query);
            }
            url
        }
    };
    assert!(
        url.origin() == request.url.origin() && url.path() == request.url.path(),
        "signing adds a query string and nothing else"
    );

    SignedRequest {
        method: method(request.method),
        url: SignedUrl::new(url),
        headers: headers.into_iter().map(|(name, value)| header(name, value)).collect::<HeaderMap>(),
        payload: request.payload.clone(),
    }
}

/// How long a signature made now may be used: not longer than its keys, as far as that is long enough to arrive.
/// (Keys past their expiry are used while their source is in trouble, and then extended by the service.)
fn valid_seconds(keys: &Credentials, now: Timestamp) -> u64 {
    let Some(expires_at) = keys.expires_at() else { return SIGNATURE_SECONDS };
    let left = expires_at.duration_since(SystemTime::from(now)).unwrap_or_default();
    left.as_secs().clamp(SIGNATURE_SECONDS_MIN, SIGNATURE_SECONDS)
}

fn method(method: Method) -> http::Method {
    match method {
        Method::Head => http::Method::HEAD,
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Delete => http::Method::DELETE,
    }
}

fn header(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    let name = HeaderName::from_bytes(name.as_bytes()).expect("header names come from the operations");
    let value = HeaderValue::from_str(value).expect("header values were checked where they were parsed");
    (name, value)
}

#[cfg(test)]
mod tests {
    use credentials::sigv4::{
        AmzDate, CanonicalRequest, Signer, SigningStyle, UNSIGNED_PAYLOAD, canonical_value, uri_encode_into,
    };
    use credentials::{Credentials, Secret, SourceName};
    use proptest::prelude::*;

    use super::*;

    fn keys(token: Option<&str>) -> Identity {
        let keys = Credentials::builder("AKIDEXAMPLE", Secret::new("wJalrXUtnFEMI"))
            .session_token(token.map(Secret::new))
            .build(SourceName::Inline);
        Identity::Keys(keys.expect("well-formed keys"))
    }

    #[test]
    fn headers_and_query_are_signed_and_the_path_is_untouched() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let url: url::Url = "https://h.example/b/a%20b".parse().expect("a URL");
        let request = Request::new(Method::Put, url.clone())
            .query("uploadId", "x y")
            .query("partNumber", "7")
            .header("x-amz-meta-b", "2")
            .header("if-none-match", "*");
        let signed = sign(&request, &keys(Some("TOKEN")), "eu-west-1", now);
        let out = signed.url.expose();
        assert_eq!(out.path(), url.path());
        let query = out.query().expect("signed");
        for part in [
            "X-Amz-Date=20260102T030405Z",
            "X-Amz-Security-Token=TOKEN",
            "X-Amz-SignedHeaders=host%3Bif-none-match%3Bx-amz-meta-b",
            "partNumber=7",
            "uploadId=x%20y",
            "X-Amz-Expires=300",
        ] {
            assert!(query.contains(part), "{part} in {query}");
        }
        assert_eq!(signed.headers.get("if-none-match").map(HeaderValue::as_bytes), Some(&b"*"[..]));
        assert!(!format!("{signed:?}").contains("TOKEN"));
    }

    #[test]
    fn a_signature_does_not_outlive_its_keys() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        for (left, valid) in [(-100, 60), (0, 60), (59, 60), (61, 61), (299, 299), (300, 300), (3600, 300)] {
            let at = now.checked_add(jiff::SignedDuration::from_secs(left)).expect("a time");
            let keys = Credentials::builder("A", Secret::new("s")).expires_at(SystemTime::from(at));
            let keys = keys.build(SourceName::Imds).expect("well-formed keys");
            assert_eq!(valid_seconds(&keys, now), valid, "{left} seconds left");
            let request = Request::new(Method::Get, "https://h/b".parse().expect("a URL"));
            let signed = sign(&request, &Identity::Keys(keys), "r", now);
            let query = signed.url.expose().query().expect("signed");
            assert!(query.contains(&format!("X-Amz-Expires={valid}&")), "{query}");
        }
    }

    #[test]
    fn nobody_signs_nothing() {
        let request = Request::new(Method::Get, "http://h/b".parse().expect("a URL")).query("prefix", "a b");
        let signed = sign(&request, &Identity::Anonymous, "r", Timestamp::UNIX_EPOCH);
        assert_eq!(signed.url.expose().as_str(), "http://h/b?prefix=a+b");
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
            let mut request =
                Request::new(METHODS[method], format!("https://{host}{path}").parse().expect("a URL"));
            request.query = query.into_iter().collect();
            request.headers =
                headers.iter().map(|(name, value)| (name.clone().into(), value.clone())).collect();
            let url = sign(&request, &Identity::Keys(keys.clone()), &region, now).url;
            let query = url.expose().query().expect("signed");
            let (query, signature) = query.rsplit_once("&X-Amz-Signature=").expect("signed");

            let mut headers: Vec<(&str, String)> = headers
                .iter()
                .map(|(name, value)| (&name[..], canonical_value(value).into_owned()))
                .collect();
            headers.push(("host", host));
            headers.sort_unstable();
            let method = super::method(METHODS[method]);
            let canonical = CanonicalRequest {
                method: method.as_str(),
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
