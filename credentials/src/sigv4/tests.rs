//! The vectors that AWS publishes, and a second implementation that is as plain as can be.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::provider::SourceName;
use crate::secret::Secret;

/// 2015-08-30T12:36:00Z, the time of the test suite.
const SUITE_TIME: u64 = 1_440_938_160;
/// 2013-05-24T00:00:00Z, the time of the examples of S3.
const S3_TIME: u64 = 1_369_353_600;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn keys(id: &str, secret: &str, token: Option<&str>) -> Credentials {
    Credentials::builder(id, Secret::new(secret))
        .session_token(token.map(Secret::new))
        .build(SourceName::Inline)
        .unwrap()
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// `SignedHeaders` and `Signature`.
fn parts(request: &Request<()>) -> (String, String) {
    let value = request.headers()[AUTHORIZATION].to_str().unwrap();
    let (_, value) = value.split_once("SignedHeaders=").unwrap();
    let (headers, signature) = value.split_once(", Signature=").unwrap();
    (headers.to_owned(), signature.to_owned())
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-test-suite.html>
#[test]
fn the_test_suite_of_aws_agrees() {
    let keys = keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None);
    let signer =
        Signer::new(&keys, Scope::new("us-east-1", "service", PathStyle::EncodedAgain), at(SUITE_TIME));
    const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];
    const MULTIPLE: &[(&str, &str)] = &[
        ("my-header1", "value4"),
        ("my-header1", "value1"),
        ("my-header1", "value3"),
        ("my-header1", "value2"),
    ];
    const TRIM: &[(&str, &str)] = &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")];
    for (method, path, headers, body, signed, signature) in [
        (
            "GET",
            "/",
            &[][..],
            "",
            "host;x-amz-date",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            &[],
            "",
            "host;x-amz-date",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "POST",
            "/",
            &[],
            "",
            "host;x-amz-date",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "POST",
            "/",
            FORM,
            "Param1=value1",
            "content-type;host;x-amz-date",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
        (
            "GET",
            "/",
            MULTIPLE,
            "",
            "host;my-header1;x-amz-date",
            "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        ),
        (
            "GET",
            "/",
            TRIM,
            "",
            "host;my-header1;my-header2;x-amz-date",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
    ] {
        let mut request = request(method, &format!("https://example.amazonaws.com{path}"), headers);
        signer.sign_headers(&mut request, Payload::Bytes(body.as_bytes()), at(SUITE_TIME)).unwrap();
        assert_eq!(parts(&request), (signed.to_owned(), signature.to_owned()), "{method} {path}");
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>
#[test]
fn the_examples_of_s3_agree() {
    let keys = keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None);
    let signer = Signer::new(&keys, Scope::new("us-east-1", "s3", PathStyle::AsSent), at(S3_TIME));
    const PUT: &[(&str, &str)] =
        &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
    for (method, path, headers, body, signature) in [
        (
            "GET",
            "/test.txt",
            &[("range", "bytes=0-9")][..],
            "",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test%24file.text",
            PUT,
            "Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        ("GET", "/?lifecycle", &[], "", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            "GET",
            "/?max-keys=2&prefix=J",
            &[],
            "",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        let mut request = request(method, &format!("https://examplebucket.s3.amazonaws.com{path}"), headers);
        signer.sign_headers(&mut request, Payload::Bytes(body.as_bytes()), at(S3_TIME)).unwrap();
        assert_eq!(parts(&request).1, signature, "{method} {path}");
    }
}

#[test]
fn the_session_token_is_sent_signed_and_marked() {
    let keys = keys("AKIDEXAMPLE", "s", Some("token=="));
    let signer = Signer::new(&keys, Scope::new("r", "sts", PathStyle::EncodedAgain), at(0));
    let mut request = request("POST", "https://h/", &[("x-amz-security-token", "another")]);
    signer.sign_headers(&mut request, Payload::Bytes(b""), at(0)).unwrap();
    assert_eq!(request.headers()["x-amz-security-token"], "token==");
    assert!(request.headers()["x-amz-security-token"].is_sensitive());
    assert!(request.headers()["authorization"].is_sensitive());
    assert_eq!(parts(&request).0, "host;x-amz-date;x-amz-security-token");
    assert!(!request.headers().contains_key("x-amz-content-sha256"));
}

#[test]
fn a_key_of_yesterday_signs_as_one_of_today_does() {
    let keys = keys("AKIDEXAMPLE", "s", None);
    let scope = || Scope::new("r", "s3", PathStyle::AsSent);
    let (yesterday, today) = (at(S3_TIME), at(S3_TIME + 86_400));
    let old = Signer::new(&keys, scope(), yesterday);
    assert!(old.is_current(&keys, at(S3_TIME + 86_399)));
    assert!(!old.is_current(&keys, today));
    assert!(!old.is_current(&super::tests::keys("AKIDEXAMPLE", "other", None), yesterday));
    let sign = |signer: &Signer| {
        let mut request = request("GET", "https://h/k", &[]);
        signer.sign_headers(&mut request, Payload::Unsigned, today).unwrap();
        parts(&request)
    };
    assert_eq!(sign(&old), sign(&Signer::new(&keys, scope(), today)));
}

#[test]
fn a_second_signature_replaces_the_first() {
    let keys = keys("AKIDEXAMPLE", "s", None);
    let signer = Signer::new(&keys, Scope::new("r", "s3", PathStyle::AsSent), at(0));
    let mut twice = request("GET", "https://h/k", &[("if-match", "\"e\"")]);
    signer.sign_headers(&mut twice, Payload::Unsigned, at(0)).unwrap();
    signer.sign_headers(&mut twice, Payload::Unsigned, at(60)).unwrap();
    let mut once = request("GET", "https://h/k", &[("if-match", "\"e\"")]);
    signer.sign_headers(&mut once, Payload::Unsigned, at(60)).unwrap();
    assert_eq!(twice.headers(), once.headers());
    assert!(parts(&once).0.contains("if-match"));
}

#[test]
fn what_a_client_changes_is_not_signed() {
    let keys = keys("AKIDEXAMPLE", "s", None);
    let signer = Signer::new(&keys, Scope::new("r", "s3", PathStyle::AsSent), at(0));
    let headers: Vec<(&str, &str)> =
        UNSIGNED.iter().filter(|name| **name != "authorization").map(|name| (*name, "1")).collect();
    let mut request = request("GET", "https://h/k", &headers);
    signer.sign_headers(&mut request, Payload::Unsigned, at(0)).unwrap();
    assert_eq!(parts(&request).0, "host;x-amz-content-sha256;x-amz-date");
}

#[test]
fn a_path_that_the_service_would_rewrite_is_refused() {
    let keys = keys("AKIDEXAMPLE", "s", None);
    let signer = Signer::new(&keys, Scope::new("r", "sts", PathStyle::EncodedAgain), at(0));
    for (path, fine) in [
        ("/", true),
        ("/a/b", true),
        ("/a/", true),
        ("/a%20b", true),
        ("//a", false),
        ("/a//b", false),
        ("/./a", false),
        ("/a/..", false),
    ] {
        let mut request = request("POST", &format!("https://h{path}"), &[]);
        let result = signer.sign_headers(&mut request, Payload::Bytes(b""), at(0));
        assert_eq!(result, if fine { Ok(()) } else { Err(SignError::Path) }, "{path}");
    }
    let mut request = request("POST", "/only/a/path", &[]);
    assert_eq!(signer.sign_headers(&mut request, Payload::Bytes(b""), at(0)), Err(SignError::NoHost));
}

#[test]
fn the_host_is_signed_as_it_is_sent() {
    let none = HeaderMap::new();
    for (uri, host) in [
        ("https://h/", "h"),
        ("https://h:443/", "h"),
        ("http://h:80/", "h"),
        ("http://h:443/", "h:443"),
        ("http://127.0.0.1:9000/x", "127.0.0.1:9000"),
        ("http://[::1]:9000/x", "[::1]:9000"),
    ] {
        assert_eq!(host_of(&uri.parse().unwrap(), &none).unwrap(), host, "{uri}");
    }
}

/// HMAC as RFC 2104 writes it.
fn slow_hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > 64 { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block.resize(64, 0);
    let pad = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([&pad(0x36)[..], message].concat());
    Sha256::digest([&pad(0x5c)[..], &inner[..]].concat()).to_vec()
}

fn slow_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn slow_encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

proptest! {
    #[test]
    fn a_plain_implementation_gives_the_same_signature(
        secret in "[!-~]{1,80}",
        token in proptest::option::of("[!-~]{1,40}"),
        seconds in 0_u64..4_000_000_000,
        segments in proptest::collection::vec("[a-zA-Z0-9 $+=%~é]{1,6}", 0..4),
        query in proptest::collection::btree_map("[a-zA-Z0-9 +/&=é-]{1,5}", "[a-z ~%+/=é]{0,5}", 0..4),
        headers in proptest::collection::btree_map("x-[a-z]{1,5}", "[ -~]{0,12}", 0..5),
        body in proptest::collection::vec(any::<u8>(), 0..50),
        s3 in any::<bool>(),
    ) {
        // Values as they are; the request gets them encoded.
        let path: String = segments.iter().map(|segment| format!("/{}", slow_encode(segment))).collect();
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let text: Vec<String> =
            query.iter().rev().map(|(k, v)| format!("{}={}", slow_encode(k), slow_encode(v))).collect();
        let uri = format!("https://host.example:8443{path}?{}", text.join("&"));
        let pairs: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let mut request = request("PUT", &uri, &pairs);
        let style = if s3 { PathStyle::AsSent } else { PathStyle::EncodedAgain };
        let keys = keys("AKIDEXAMPLE", &secret, token.as_deref());
        let signer = Signer::new(&keys, Scope::new("eu-1", "svc", style), at(seconds));
        signer.sign_headers(&mut request, Payload::Bytes(&body), at(seconds)).unwrap();

        let time = request.headers()["x-amz-date"].to_str().unwrap().to_owned();
        let back: jiff::civil::DateTime = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", &time).unwrap();
        prop_assert_eq!(
            back.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second(),
            i64::try_from(seconds).unwrap()
        );
        let hash = slow_hex(&Sha256::digest(&body));
        let mut all: BTreeMap<String, String> = headers.clone();
        all.insert("host".into(), "host.example:8443".into());
        all.insert("x-amz-date".into(), time.clone());
        if let Some(token) = &token {
            all.insert("x-amz-security-token".into(), token.clone());
        }
        if s3 {
            all.insert("x-amz-content-sha256".into(), hash.clone());
        }
        let lines: String = all
            .iter()
            .map(|(k, v)| format!("{k}:{}\n", v.split(' ').filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")))
            .collect();
        let names = all.keys().cloned().collect::<Vec<_>>().join(";");
        let mut sorted: Vec<(String, String)> =
            query.iter().map(|(k, v)| (slow_encode(k), slow_encode(v))).collect();
        sorted.sort();
        let sorted: Vec<String> = sorted.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let path = if s3 { path } else { path.replace('%', "%25") };
        let canonical = format!("PUT\n{path}\n{}\n{lines}\n{names}\n{hash}", sorted.join("&"));
        let scope = format!("{}/eu-1/svc/aws4_request", &time[..8]);
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", slow_hex(&Sha256::digest(canonical)));
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [&time[..8], "eu-1", "svc", "aws4_request"] {
            key = slow_hmac(&key, part.as_bytes());
        }
        prop_assert_eq!(parts(&request), (names, slow_hex(&slow_hmac(&key, to_sign.as_bytes()))));
    }
}
