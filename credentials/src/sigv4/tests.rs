//! The published vectors, and a slow signer of another make.

use std::time::Duration;

use http::{Request, Uri};
use proptest::prelude::*;

use super::*;
use crate::provider::SourceName;
use crate::secret::Secret;

/// 2015-08-30T12:36:00Z, the moment of all published examples.
fn then() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160)
}

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn keys(token: Option<&str>) -> Credentials {
    Credentials::builder("AKIDEXAMPLE", Secret::new(SECRET))
        .session_token(token.map(Secret::new))
        .build(SourceName::Inline)
        .unwrap()
}

fn signer(service: &str, style: SigningStyle) -> Signer {
    Signer::new(keys(None), "us-east-1", service, style)
}

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// The signature alone.
fn signature(request: &request::Parts) -> &str {
    request.headers[AUTHORIZATION].to_str().unwrap().rsplit_once('=').unwrap().1
}

#[test]
fn the_documented_key_is_derived() {
    let key = key::derive(SECRET, "20150830", "us-east-1", "iam");
    assert_eq!(as_str(&hex(&key)), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
}

#[test]
fn the_vectors_of_the_published_suite_hold() {
    let signer = signer("service", SigningStyle::General);
    for (method, signed) in [
        ("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ] {
        let mut request = parts(method, "https://example.amazonaws.com/", &[]);
        signer.sign(&mut request, &PayloadHash::of(b""), then()).unwrap();
        assert_eq!(request.headers["x-amz-date"], "20150830T123600Z");
        assert_eq!(
            request.headers[AUTHORIZATION],
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature={signed}"
            )
        );
    }
}

#[test]
fn the_same_request_written_otherwise_has_the_same_signature() {
    let signer = signer("service", SigningStyle::General);
    let sign = |uri: &str, headers: &[(&str, &str)]| {
        let mut request = parts("GET", uri, headers);
        signer.sign(&mut request, &PayloadHash::of(b""), then()).unwrap();
        signature(&request).to_owned()
    };
    let plain = sign("https://example.amazonaws.com/", &[]);
    // Dots, empty segments, the scheme's own port, a host that is given, what proxies change.
    for uri in [
        "https://example.amazonaws.com/./",
        "https://example.amazonaws.com//a/../",
        "https://example.amazonaws.com:443/",
    ] {
        assert_eq!(sign(uri, &[]), plain, "{uri}");
    }
    assert_eq!(sign("/", &[("host", "example.amazonaws.com")]), plain);
    assert_eq!(sign("https://example.amazonaws.com/", &[("user-agent", "x"), ("te", "y")]), plain);
    assert_ne!(sign("https://example.amazonaws.com:444/", &[]), plain);
    let ordered = sign("https://h/?a=1&b=2&b=1", &[("x", "a b")]);
    assert_eq!(sign("https://h/?b=1&b=2&%61=1", &[("x", "  a   b ")]), ordered);
    assert_ne!(sign("https://h/?b=1&b=2&a=1", &[("x", "ab")]), ordered);
}

#[test]
fn s3_paths_are_signed_as_they_are_sent() {
    let signer = signer("s3", SigningStyle::S3);
    let canonical =
        |uri: &str| http_request::canonical_path(uri.parse::<Uri>().unwrap().path(), SigningStyle::S3);
    for (uri, path) in [
        ("https://h/a%20b/c", "/a%20b/c"),
        ("https://h/a/../b//c/./", "/a/../b//c/./"),
        ("https://h/a+b", "/a%2Bb"),
        ("https://h/%c3%a9%", "/%C3%A9%25"),
    ] {
        assert_eq!(canonical(uri), path, "{uri}");
    }
    let mut request = parts("PUT", "https://h/k", &[]);
    signer.sign(&mut request, &PayloadHash::Unsigned, then()).unwrap();
    assert_eq!(request.headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
    assert!(
        request.headers[AUTHORIZATION].to_str().unwrap().contains("host;x-amz-content-sha256;x-amz-date,")
    );
}

#[test]
fn a_token_is_signed_and_neither_it_nor_the_signature_is_printed() {
    let signer = Signer::new(keys(Some("t0k3n")), "us-east-1", "sts", SigningStyle::General);
    let mut request = parts("POST", "https://sts.amazonaws.com/", &[("x-amz-security-token", "stale")]);
    signer.sign(&mut request, &PayloadHash::of(b"x"), then()).unwrap();
    assert_eq!(request.headers["x-amz-security-token"], "t0k3n");
    let shown = format!("{request:?} {signer:?}");
    assert!(!shown.contains("t0k3n") && !shown.contains(signature(&request)) && !shown.contains(SECRET));
}

#[test]
fn a_day_later_the_key_is_another() {
    let signer = signer("service", SigningStyle::General);
    let sign = |time| {
        let mut request = parts("GET", "https://example.amazonaws.com/", &[]);
        signer.sign(&mut request, &PayloadHash::of(b""), time).unwrap();
        request.headers[AUTHORIZATION].clone()
    };
    let first = sign(then());
    let later = sign(then() + Duration::from_secs(86_400));
    assert!(later.to_str().unwrap().contains("/20150831/") && later != first);
    assert_eq!(sign(then()), first);
}

#[test]
fn what_cannot_be_signed_is_refused() {
    let sign = |signer: &Signer, uri: &str, time| {
        signer.sign(&mut parts("GET", uri, &[]), &PayloadHash::of(b""), time)
    };
    let good = signer("service", SigningStyle::General);
    assert_eq!(sign(&good, "/no-host", then()), Err(SignError::NoHost));
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(400_000_000_000);
    assert_eq!(sign(&good, "https://h/", far), Err(SignError::Time));
    let bad = Signer::new(keys(None), "us\r\neast", "s", SigningStyle::General);
    assert_eq!(sign(&bad, "https://h/", then()), Err(SignError::Scope));
}

#[test]
fn a_name_that_no_header_can_hold_leaves_no_trace() {
    let date = AmzDate::new(then()).unwrap();
    let request = CanonicalRequest {
        method: "GET",
        path: "/",
        query: "",
        headers: [("host", "h")],
        payload_hash: UNSIGNED_PAYLOAD,
    };
    let bad = Signer::new(keys(None), "us\r\neast", "s3", SigningStyle::S3);
    let mut out = b"authorization: ".to_vec();
    assert_eq!(bad.authorize(request, &date, &mut out), Err(SignError::Scope));
    assert_eq!(out, b"authorization: ");
    assert_eq!(bad.signature(request, &date), Err(SignError::Scope));
}

#[test]
fn the_value_for_a_header_ends_with_the_bare_signature() {
    let signer = signer("s3", SigningStyle::S3);
    let mut out = Vec::with_capacity(AUTHORIZATION_BYTES);
    // Back and forth: each moment has its own state in the key that is kept.
    for seconds in [0, 1, 0, 86_400, 86_401, 1] {
        let date = signer.date(then() + Duration::from_secs(seconds)).unwrap();
        assert_eq!(Ok(date), AmzDate::new(then() + Duration::from_secs(seconds)));
        let request = CanonicalRequest {
            method: "GET",
            path: "/b/k",
            query: "versionId=1",
            headers: [
                ("host", "h"),
                ("x-amz-content-sha256", UNSIGNED_PAYLOAD),
                ("x-amz-date", date.as_str()),
            ],
            payload_hash: UNSIGNED_PAYLOAD,
        };
        out.clear();
        signer.authorize(request, &date, &mut out).unwrap();
        let text = str::from_utf8(&out).unwrap();
        let (start, bare) = text.split_once(", Signature=").unwrap();
        assert_eq!(bare, signer.signature(request, &date).unwrap());
        let mut other = parts("GET", "https://h/b/k?versionId=1", &[]);
        let fresh = Signer::new(keys(None), "us-east-1", "s3", SigningStyle::S3);
        fresh.sign(&mut other, &PayloadHash::Unsigned, then() + Duration::from_secs(seconds)).unwrap();
        assert_eq!(other.headers[AUTHORIZATION], text);
        assert!(start.contains(date.day()));
    }
    assert_eq!(out.capacity(), AUTHORIZATION_BYTES);
}

#[test]
fn what_the_hashes_held_is_wiped() {
    fn is_wiped<T: zeroize::ZeroizeOnDrop>() {}
    // Of its states and its block HMAC consists; without the feature of that name this does not compile.
    is_wiped::<Sha256>();
}

/// The algorithm once more, from its description: own SHA-256, own HMAC, text glued line by line.
mod slow {
    pub(super) fn sha256(message: &[u8]) -> [u8; 32] {
        // The constants are fractions of roots of primes; computed, so that none is mistyped.
        let primes: Vec<u32> = (2..).filter(|n| (2..*n).all(|d| n % d != 0)).take(64).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 2 to the 32nd")]
        let fraction = |root: f64| ((root - root.floor()) * 4_294_967_296.0).floor() as u32;
        let k: Vec<u32> = primes.iter().map(|&p| fraction(f64::from(p).cbrt())).collect();
        let mut h: Vec<u32> = primes.iter().take(8).map(|&p| fraction(f64::from(p).sqrt())).collect();
        let mut padded = message.to_vec();
        padded.push(0x80);
        while padded.len() % 64 != 56 {
            padded.push(0);
        }
        padded.extend((message.len() as u64 * 8).to_be_bytes());
        for block in padded.chunks(64) {
            let mut w: Vec<u32> =
                block.chunks(4).map(|c| u32::from_be_bytes(c.try_into().unwrap())).collect();
            for i in 16..64 {
                let (a, b) = (w[i - 15], w[i - 2]);
                let s0 = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
                let s1 = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
                w.push(w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1));
            }
            let mut v = h.clone();
            for i in 0..64 {
                let s1 = v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25);
                let ch = (v[4] & v[5]) ^ (!v[4] & v[6]);
                let t1 = v[7].wrapping_add(s1).wrapping_add(ch).wrapping_add(k[i]).wrapping_add(w[i]);
                let s0 = v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22);
                let t2 = s0.wrapping_add((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
                v.rotate_right(1);
                v[4] = v[4].wrapping_add(t1);
                v[0] = t1.wrapping_add(t2);
            }
            for (h, v) in h.iter_mut().zip(v) {
                *h = h.wrapping_add(v);
            }
        }
        let bytes: Vec<u8> = h.into_iter().flat_map(u32::to_be_bytes).collect();
        bytes.try_into().unwrap()
    }

    pub(super) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
        let mut block = if key.len() > 64 { sha256(key).to_vec() } else { key.to_vec() };
        block.resize(64, 0);
        let pad = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
        sha256(&[pad(0x5c), sha256(&[pad(0x36), message.to_vec()].concat()).to_vec()].concat())
    }

    pub(super) fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn percent(text: &str) -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        text.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
    }
}

proptest! {
    #[test]
    fn a_slow_signer_of_another_make_agrees(
        secret in "[!-~]{1,80}",
        segments in prop::collection::vec("[a-zé %+=~]{1,6}", 0..4),
        query in prop::collection::vec(("[a-c]{1,2}", "[a-z é&=+/]{0,5}"), 0..4),
        headers in prop::collection::btree_map("x-amz-[a-f]{1,3}", "[a-z]{1,4}( {1,3}[a-z]{1,4})?", 0..4),
        body in prop::collection::vec(any::<u8>(), 0..100),
        token in prop::option::of("[!-~]{1,40}"),
        s3: bool,
        seconds in 0u64..4_000_000_000,
    ) {
        let style = if s3 { SigningStyle::S3 } else { SigningStyle::General };
        let credentials = Credentials::builder("AKIDEXAMPLE", Secret::new(&secret[..]))
            .session_token(token.clone().map(Secret::new))
            .build(SourceName::Inline)
            .unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let path: String = segments.iter().map(|segment| format!("/{}", slow::percent(segment))).collect();
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let wire_query: Vec<String> =
            query.iter().map(|(k, v)| format!("{}={}", slow::percent(k), slow::percent(v))).collect();
        let uri = format!("https://h.example:8443{path}?{}", wire_query.join("&"));
        let given: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        let mut request = parts("PUT", &uri, &given);
        Signer::new(credentials, "eu-west-1", "svc", style)
            .sign(&mut request, &PayloadHash::of(&body), time)
            .unwrap();

        let stamp = jiff::Timestamp::try_from(time).unwrap().strftime("%Y%m%dT%H%M%SZ").to_string();
        let body_hash = slow::hex(&slow::sha256(&body));
        let mut lines: Vec<(String, String)> = headers
            .into_iter()
            .map(|(k, v)| (k, v.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")))
            .collect();
        lines.push(("host".into(), "h.example:8443".into()));
        lines.push(("x-amz-date".into(), stamp.clone()));
        if s3 {
            lines.push(("x-amz-content-sha256".into(), body_hash.clone()));
        }
        if let Some(token) = &token {
            lines.push(("x-amz-security-token".into(), token.clone()));
        }
        lines.sort();
        let names: Vec<&str> = lines.iter().map(|(k, _)| &k[..]).collect();
        let mut sorted = wire_query;
        // Sorted by name, then by value: '=' would sort among the letters.
        sorted.sort_by_key(|pair| pair.replace('=', "\0"));
        let canonical = format!(
            "PUT\n{}\n{}\n{}\n{}\n{body_hash}",
            if s3 { path } else { path.replace('%', "%25") },
            sorted.join("&"),
            lines.iter().map(|(k, v)| format!("{k}:{v}\n")).collect::<String>(),
            names.join(";"),
        );
        let scope = format!("{}/eu-west-1/svc/aws4_request", &stamp[..8]);
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}",
            slow::hex(&slow::sha256(canonical.as_bytes()))
        );
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [&stamp[..8], "eu-west-1", "svc", "aws4_request"] {
            key = slow::hmac(&key, part.as_bytes()).to_vec();
        }
        prop_assert_eq!(signature(&request), slow::hex(&slow::hmac(&key, to_sign.as_bytes())));
    }

    #[test]
    fn a_request_written_in_canonical_form_is_signed_as_any_other(
        method in "[A-Z]{3,6}",
        segments in prop::collection::vec("[a-zé %+=~]{1,6}", 1..4),
        mut query in prop::collection::vec(("[a-cé%=]{1,2}", "[a-z é&=+/%]{0,5}"), 0..4),
        headers in prop::collection::btree_map("[a-z]{1,3}(-[a-z0-9]{1,9}){1,3}", "[!-~]{0,4}( {0,3}[!-~]{1,4})?", 0..6),
        hash in prop::option::of(any::<[u8; 32]>()),
        token in prop::option::of("[!-~]{1,400}"),
        seconds in 0u64..4_000_000_000,
    ) {
        let signer = Signer::new(keys(token.as_deref()), "eu-west-1", "s3", SigningStyle::S3);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let date = AmzDate::new(time).unwrap();
        let payload = hash.map_or(PayloadHash::Unsigned, PayloadHash::Sha256);
        let (mut path, mut text) = ("/".to_owned(), String::new());
        uri_encode_into(segments.join("/"), true, &mut path);
        canonical_query_into(&mut query, &mut text);

        let given: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        let mut request = parts(&method, &format!("https://h.example{path}?{text}"), &given);
        signer.sign(&mut request, &payload, time).unwrap();

        let payload_hash = payload.text();
        let mut all = given;
        all.extend([("host", "h.example"), ("x-amz-date", date.as_str()), ("x-amz-content-sha256", &payload_hash)]);
        all.extend(token.as_deref().map(|token| ("x-amz-security-token", token)));
        all.sort_unstable();
        let all: Vec<_> = all.into_iter().map(|(name, value)| (name, canonical_value(value))).collect();
        let canonical = CanonicalRequest {
            method: &method,
            path: &path,
            query: &text,
            headers: all.iter().map(|(name, value)| (*name, &**value)),
            payload_hash: &payload_hash,
        };
        let mut out = Vec::new();
        signer.authorize(canonical, &date, &mut out).unwrap();
        prop_assert_eq!(request.headers[AUTHORIZATION].as_bytes(), out);
    }

    #[test]
    fn no_text_makes_the_signer_panic(
        texts in prop::array::uniform8("[\0-\x7f]{0,30}"),
        headers in prop::collection::btree_map("[\0-@\\[-\x7f]{1,12}", "[\0-\x7f]{0,20}", 0..5),
        s3: bool,
    ) {
        let [region, service, method, path, query, payload_hash, name, value] = &texts;
        let style = if s3 { SigningStyle::S3 } else { SigningStyle::General };
        let signer = Signer::new(keys(None), &region[..], &service[..], style);
        let date = AmzDate::new(then()).unwrap();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (&name[..], canonical_value(value))).collect();
        let headers = headers.iter().map(|(name, value)| (*name, &**value));
        let mut out = Vec::new();
        let request = CanonicalRequest { method, path, query, headers, payload_hash };
        let signed = signer.authorize(request, &date, &mut out);
        prop_assert_eq!(signed.is_ok(), !out.is_empty());

        let request = Request::builder().method(&method[..]).uri(format!("https://h/{path}?{query}"));
        if let Ok(request) = request.header(&name[..], &value[..]).body(()) {
            let signed = signer.sign(&mut request.into_parts().0, &PayloadHash::of(value.as_bytes()), then());
            prop_assert_eq!(signed.is_ok(), !out.is_empty());
        }
    }

    #[test]
    fn no_uri_makes_the_signer_panic(path in "/[ -~]{0,40}") {
        if let Ok(uri) = format!("https://h{path}").parse::<Uri>() {
            for style in [SigningStyle::S3, SigningStyle::General] {
                let mut request = parts("GET", "https://h/", &[]);
                request.uri = uri.clone();
                signer("s", style).sign(&mut request, &PayloadHash::Unsigned, then()).unwrap();
            }
        }
    }
}
