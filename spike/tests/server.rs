//! The in-process server over a real socket: requests written by hand, so that what is on the wire is what the
//! test says, and signed here; URLs presigned by rusty-s3, so that a second signer agrees.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test, in helpers as well")]

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use s3s::crypto::{Checksum, Md5, Sha256};
use s3s::dto::{Timestamp, TimestampFormat};
use spike::server::{Server, ServerOptions};

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("S3 answers in UTF-8")
    }

    /// What stands in the first `<name>` of the body.
    fn xml(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next()
    }

    fn all(&self, name: &str) -> Vec<String> {
        let text = self.text();
        text.split(&format!("<{name}>"))
            .skip(1)
            .map(|rest| rest.split("</").next().unwrap_or_default().replace("&quot;", "\""))
            .collect()
    }

    /// Status and S3's error code.
    fn refusal(&self) -> (u16, String) {
        (self.status, self.xml("Code").unwrap_or_default())
    }

    fn etag(&self) -> String {
        self.header("etag").expect("an ETag").to_owned()
    }
}

/// One request. `path` is put on the wire as it is.
struct Ask<'a> {
    server: &'a Server,
    method: &'a str,
    path: &'a str,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    /// Sent, but not covered by the signature.
    unsigned: Vec<(String, String)>,
    body: &'a [u8],
    /// In place of the hash of the body, as streaming uploads have it.
    payload: Option<&'a str>,
    secret: String,
}

fn ask<'a>(server: &'a Server, method: &'a str, path: &'a str) -> Ask<'a> {
    Ask {
        server,
        method,
        path,
        query: Vec::new(),
        headers: Vec::new(),
        unsigned: Vec::new(),
        body: b"",
        payload: None,
        secret: ServerOptions::default().secret_access_key,
    }
}

impl<'a> Ask<'a> {
    fn query(mut self, query: &[(&str, &str)]) -> Self {
        self.query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn body(mut self, body: &'a [u8]) -> Self {
        self.body = body;
        self
    }

    /// The version 4 signature in a header:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
    fn send(mut self) -> Answer {
        let date = amz_date();
        let hash = self.payload.map_or_else(|| hex(&Sha256::checksum(self.body)), str::to_owned);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            self.headers.push(("host".into(), format!("127.0.0.1:{}", self.server.port())));
        }
        self.headers.push(("x-amz-date".into(), date.clone()));
        self.headers.push(("x-amz-content-sha256".into(), hash.clone()));
        self.headers.sort();
        let encode = |text: &str| {
            text.bytes().fold(String::new(), |mut out, byte| {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                        out.push(char::from(byte));
                    }
                    _ => write!(out, "%{byte:02X}").unwrap(),
                }
                out
            })
        };
        let mut pairs: Vec<String> =
            self.query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        pairs.sort();
        let query = pairs.join("&");
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let lines = self.headers.iter().fold(String::new(), |mut lines, (name, value)| {
            writeln!(lines, "{name}:{value}").unwrap();
            lines
        });
        let canonical = format!("{}\n{}\n{query}\n{lines}\n{names}\n{hash}", self.method, self.path);
        let day = &date[..8];
        let scope = format!("{day}/us-east-1/s3/aws4_request");
        let hashed = hex(&Sha256::checksum(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}");
        let mut key = hmac(format!("AWS4{}", self.secret).as_bytes(), day.as_bytes());
        for step in ["us-east-1", "s3", "aws4_request"] {
            key = hmac(&key, step.as_bytes());
        }
        let signature = hex(&hmac(&key, to_sign.as_bytes()));
        let id = ServerOptions::default().access_key_id;
        self.unsigned.push((
            "authorization".into(),
            format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"),
        ));
        let target = if query.is_empty() { self.path.to_owned() } else { format!("{}?{query}", self.path) };
        let headers: Vec<_> = self.headers.into_iter().chain(self.unsigned).collect();
        exchange(self.server, self.method, &target, &headers, self.body)
    }
}

/// Writes one request to a new connection and reads the answer to its end.
fn exchange(
    server: &Server,
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a complete head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

fn presigned(server: &Server, method: &str, url: &url::Url, body: &[u8]) -> Answer {
    let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let target = format!("{}?{}", url.path(), url.query().unwrap_or_default());
    exchange(server, method, &target, &[("host".into(), host)], body)
}

#[expect(clippy::disallowed_methods, reason = "the server compares the signature's date with its clock")]
fn amz_date() -> String {
    let mut text = Vec::new();
    Timestamp::from(SystemTime::now()).format(TimestampFormat::DateTime, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    format!("{}Z", text.split('.').next().unwrap().replace(['-', ':'], ""))
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    assert!(key.len() <= 64, "a longer key would have to be hashed first");
    let pad =
        |with: u8| (0..64).map(|at| key.get(at).copied().unwrap_or_default() ^ with).collect::<Vec<u8>>();
    let inner = Sha256::checksum(&[pad(0x36), message.to_vec()].concat());
    Sha256::checksum(&[pad(0x5c), inner.to_vec()].concat())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn start() -> Server {
    Server::start(ServerOptions::default()).unwrap()
}

/// With parts of at least four bytes.
fn start_small() -> Server {
    Server::start(ServerOptions { min_part_size: 4, ..Default::default() }).unwrap()
}

#[test]
fn an_object_comes_back_with_everything_that_was_said_about_it() {
    let server = start();
    let put = ask(&server, "PUT", "/bucket/key")
        .body(b"hello")
        .header("content-type", "text/plain")
        .header("cache-control", "no-cache")
        .header("content-encoding", "zstd")
        .header("content-disposition", "inline")
        .header("content-language", "en")
        .header("x-amz-meta-colour", "blue")
        .header("x-amz-storage-class", "STANDARD_IA")
        .send();
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(put.etag(), "\"5d41402abc4b2a76b9719d911017c592\"");

    for (method, body) in [("GET", "hello"), ("HEAD", "")] {
        let got = ask(&server, method, "/bucket/key").send();
        assert_eq!((got.status, got.text().as_str()), (200, body));
        for (name, value) in [
            ("content-length", "5"),
            ("content-type", "text/plain"),
            ("cache-control", "no-cache"),
            ("content-encoding", "zstd"),
            ("content-disposition", "inline"),
            ("content-language", "en"),
            ("x-amz-meta-colour", "blue"),
            ("x-amz-storage-class", "STANDARD_IA"),
            ("accept-ranges", "bytes"),
            ("etag", "\"5d41402abc4b2a76b9719d911017c592\""),
        ] {
            assert_eq!(got.header(name), Some(value), "{name} of {method}");
        }
        assert!(got.header("last-modified").is_some() && got.header("x-amz-request-id").is_some());
    }
    assert_eq!(server.object_bytes("bucket", "key").unwrap(), "hello");
}

#[test]
fn an_unsigned_request_and_a_wrong_secret_are_refused() {
    let server = start();
    let unsigned = exchange(&server, "GET", "/bucket/key", &[("host".into(), "127.0.0.1".into())], b"");
    assert_eq!(unsigned.refusal(), (403, "AccessDenied".into()));
    let wrong = Ask { secret: "wrong".into(), ..ask(&server, "GET", "/bucket/key") }.send();
    assert_eq!(wrong.refusal(), (403, "SignatureDoesNotMatch".into()));

    let bucket = presign_bucket(&server);
    let wrong = Credentials::new(ServerOptions::default().access_key_id, "wrong");
    let url = bucket.get_object(Some(&wrong), "key").sign(Duration::from_secs(60));
    assert_eq!(presigned(&server, "GET", &url, b"").refusal(), (403, "SignatureDoesNotMatch".into()));
    let unknown = Credentials::new("AKNOBODY", "wrong");
    let url = bucket.get_object(Some(&unknown), "key").sign(Duration::from_secs(60));
    assert_eq!(presigned(&server, "GET", &url, b"").refusal(), (403, "InvalidAccessKeyId".into()));
}

#[test]
fn a_signed_header_that_a_proxy_strips_breaks_the_signature_and_an_unsigned_one_is_refused() {
    let server = start();
    let smuggled =
        Ask { unsigned: vec![("x-amz-meta-a".into(), "1".into())], ..ask(&server, "PUT", "/bucket/key") };
    assert_eq!(smuggled.send().refusal(), (403, "AccessDenied".into()));

    let bucket = presign_bucket(&server);
    let credentials = credentials();
    let mut put = bucket.put_object(Some(&credentials), "key");
    put.headers_mut().insert("if-none-match", "*");
    let url = put.sign(Duration::from_secs(60));
    assert_eq!(presigned(&server, "PUT", &url, b"x").refusal(), (403, "SignatureDoesNotMatch".into()));
    assert!(server.keys("bucket").is_empty());
}

#[test]
fn a_body_that_is_not_what_its_checksum_says_is_not_stored() {
    let server = start();
    let crc = ask(&server, "PUT", "/bucket/key").header("x-amz-checksum-crc32", "AAAAAA==").body(b"hello");
    assert_eq!(crc.send().refusal(), (400, "BadDigest".into()));
    let md5 =
        ask(&server, "PUT", "/bucket/key").header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==").body(b"hello");
    assert_eq!(md5.send().refusal(), (400, "BadDigest".into()));
    assert!(server.keys("bucket").is_empty());
    let right = ask(&server, "PUT", "/bucket/key").header("x-amz-checksum-crc32", "NhCmhg==").body(b"hello");
    assert_eq!(right.send().header("x-amz-checksum-crc32"), Some("NhCmhg=="));
    let got = ask(&server, "GET", "/bucket/key").header("x-amz-checksum-mode", "ENABLED").send();
    assert_eq!(got.header("x-amz-checksum-crc32"), Some("NhCmhg=="));
}

#[test]
fn a_body_that_was_changed_under_way_is_not_stored() {
    let server = start();
    let hash_of_another = hex(&Sha256::checksum(b"other"));
    let changed =
        Ask { payload: Some(&hash_of_another), ..ask(&server, "PUT", "/bucket/key").body(b"hello") };
    assert_eq!(changed.send().refusal(), (400, "XAmzContentSHA256Mismatch".into()));
    assert!(server.keys("bucket").is_empty());
}

#[test]
fn a_chunked_body_is_stored_without_its_chunks_once_its_trailer_is_right() {
    let server = start();
    let put = |checksum: &str| {
        let body = format!("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n");
        let ask = ask(&server, "PUT", "/bucket/key")
            .header("content-encoding", "aws-chunked,zstd")
            .header("x-amz-decoded-content-length", "5")
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .body(body.as_bytes());
        Ask { payload: Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), ..ask }.send()
    };
    assert_eq!(put("AAAAAA==").refusal(), (400, "BadDigest".into()));
    assert!(server.keys("bucket").is_empty());
    assert_eq!(put("NhCmhg==").status, 200);
    let got = ask(&server, "GET", "/bucket/key").send();
    assert_eq!((got.text().as_str(), got.header("content-encoding")), ("hello", Some("zstd")));
}

#[test]
fn presigned_urls_need_the_session_token_when_there_is_one() {
    let token = "a/token+with=signs";
    let server =
        Server::start(ServerOptions { session_token: Some(token.into()), ..Default::default() }).unwrap();
    server.put_raw("bucket", "key", "hello");
    let bucket = presign_bucket(&server);
    let options = ServerOptions::default();
    let (id, secret) = (options.access_key_id, options.secret_access_key);
    let get = |credentials: Credentials| {
        let url = bucket.get_object(Some(&credentials), "key").sign(Duration::from_secs(60));
        presigned(&server, "GET", &url, b"")
    };
    assert_eq!(get(Credentials::new_with_token(&id, &secret, token)).text(), "hello");
    assert_eq!(get(Credentials::new_with_token(&id, &secret, "other")).refusal().1, "InvalidToken");
    assert_eq!(get(Credentials::new(&id, &secret)).refusal().1, "InvalidToken");
    let header = ask(&server, "GET", "/bucket/key").header("x-amz-security-token", token).send();
    assert_eq!(header.text(), "hello");
    assert!(
        server.requests().iter().all(|request| !request.query.as_deref().unwrap_or("").contains("signs"))
    );
}

#[test]
fn a_key_on_the_wire_is_the_key_in_the_store() {
    let server = start();
    for (path, key) in [
        ("/bucket/a//b", "a//b"),
        ("/bucket//x", "/x"),
        ("/bucket//", "/"),
        ("/bucket///", "//"),
        ("/bucket/dir/", "dir/"),
        ("/bucket/../x", "../x"),
        ("/bucket/a/./b", "a/./b"),
        ("/bucket/.", "."),
        ("/bucket/a%20b%2Bc%252F/%C3%A9/%F0%9F%98%80", "a b+c%2F/é/😀"),
        ("/bucket/%00%0A", "\0\n"),
    ] {
        let put = ask(&server, "PUT", path).body(key.as_bytes()).send();
        assert_eq!(put.status, 200, "{path}: {put:?}");
        assert_eq!(server.object_bytes("bucket", key).as_deref(), Some(key.as_bytes()), "{path}");
        assert_eq!(ask(&server, "GET", path).send().body, key.as_bytes(), "{path}");
        assert_eq!(ask(&server, "DELETE", path).send().status, 204, "{path}");
        assert!(server.keys("bucket").is_empty(), "{path}");
    }
    let long = format!("/bucket/{}", "k".repeat(1025));
    assert_eq!(ask(&server, "PUT", &long).send().refusal(), (400, "KeyTooLongError".into()));
}

#[test]
fn keys_of_others_are_listed_as_they_are() {
    let server = start();
    for key in ["a//b", "/x", "dir/", "../x", "a b+c%2F/é/😀", "\u{1}"] {
        server.put_raw("bucket", key, key.to_owned());
    }
    let listed = ask(&server, "GET", "/bucket").query(&[("list-type", "2"), ("encoding-type", "url")]).send();
    assert_eq!(listed.all("Key"), ["%01", "../x", "/x", "a+b%2Bc%252F/%C3%A9/%F0%9F%98%80", "a//b", "dir/"]);
    assert_eq!(listed.xml("KeyCount").as_deref(), Some("6"));
}

#[test]
fn a_listing_is_paged_by_tokens_that_survive_a_delimiter() {
    let server = start();
    for number in 0..1005 {
        server.put_raw("bucket", &format!("many/{number:04}"), "");
    }
    server.put_raw("bucket", "one", "");
    let first = ask(&server, "GET", "/bucket").query(&[("list-type", "2"), ("max-keys", "5000")]).send();
    assert_eq!(first.all("Key").len(), 1000);
    assert_eq!((first.xml("MaxKeys"), first.xml("IsTruncated")), (Some("1000".into()), Some("true".into())));
    let token = first.xml("NextContinuationToken").unwrap();
    let rest =
        ask(&server, "GET", "/bucket").query(&[("list-type", "2"), ("continuation-token", &token)]).send();
    assert_eq!(rest.all("Key").len(), 6);
    assert_eq!(rest.xml("IsTruncated").as_deref(), Some("false"));

    let grouped = ask(&server, "GET", "/bucket")
        .query(&[("list-type", "2"), ("delimiter", "/"), ("max-keys", "1")])
        .send();
    assert_eq!((grouped.all("Key").len(), grouped.xml("KeyCount")), (0, Some("1".into())));
    assert!(grouped.text().contains("<CommonPrefixes><Prefix>many/</Prefix></CommonPrefixes>"));
    let token = grouped.xml("NextContinuationToken").unwrap();
    let next = ask(&server, "GET", "/bucket")
        .query(&[("list-type", "2"), ("delimiter", "/"), ("continuation-token", &token)])
        .send();
    assert_eq!(next.all("Key"), ["one"]);
    let bad = ask(&server, "GET", "/bucket").query(&[("list-type", "2"), ("continuation-token", "x")]).send();
    assert_eq!(bad.refusal(), (400, "InvalidArgument".into()));
    let none = ask(&server, "GET", "/bucket").query(&[("list-type", "2"), ("max-keys", "0")]).send();
    assert_eq!((none.xml("KeyCount"), none.xml("IsTruncated")), (Some("0".into()), Some("false".into())));

    let marked = ask(&server, "GET", "/bucket").query(&[("delimiter", "/"), ("max-keys", "1")]).send();
    assert_eq!(marked.xml("NextMarker").as_deref(), Some("many/"));
    let next = ask(&server, "GET", "/bucket").query(&[("delimiter", "/"), ("marker", "many/")]).send();
    assert_eq!(next.all("Key"), ["one"]);
}

#[test]
fn of_sixteen_creates_at_once_exactly_one_wins() {
    let server = start();
    let barrier = Barrier::new(16);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..16)
            .map(|racer: u8| {
                let (server, barrier) = (&server, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let body = [racer; 100_000];
                    ask(server, "PUT", "/bucket/key").header("if-none-match", "*").body(&body).send().status
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 15, "{statuses:?}");
}

#[test]
fn compare_and_swap_and_conditional_delete_take_quoted_and_unquoted_tags() {
    let server = start();
    let absent = ask(&server, "PUT", "/bucket/key").header("if-match", "\"0\"").body(b"x").send();
    assert_eq!(absent.refusal(), (404, "NoSuchKey".into()));
    let one = ask(&server, "PUT", "/bucket/key").body(b"one").send().etag();
    let two = ask(&server, "PUT", "/bucket/key").header("if-match", &one).body(b"two").send();
    assert_eq!(two.status, 200);
    let stale = ask(&server, "PUT", "/bucket/key").header("if-match", &one).body(b"three").send();
    assert_eq!(stale.refusal(), (412, "PreconditionFailed".into()));
    let delete = |tag: &str| ask(&server, "DELETE", "/bucket/key").header("if-match", tag).send();
    assert_eq!(delete(&one).refusal(), (412, "PreconditionFailed".into()));
    assert_eq!(delete(two.etag().trim_matches('"')).status, 204);
    assert_eq!(delete(&two.etag()).refusal(), (404, "NoSuchKey".into()));
    assert_eq!(ask(&server, "DELETE", "/bucket/key").send().status, 204);
}

#[test]
fn reads_answer_ranges_and_conditions() {
    let server = start();
    server.put_raw("bucket", "key", "0123456789");
    let range = |text: &str| ask(&server, "GET", "/bucket/key").header("range", text).send();
    let middle = range("bytes=2-4");
    assert_eq!((middle.status, middle.text().as_str()), (206, "234"));
    assert_eq!(middle.header("content-range"), Some("bytes 2-4/10"));
    assert_eq!(range("bytes=7-").text(), "789");
    assert_eq!(range("bytes=-2").text(), "89");
    assert_eq!(range("bytes=10-").refusal(), (416, "InvalidRange".into()));
    let head = ask(&server, "HEAD", "/bucket/key").header("range", "bytes=2-4").send();
    assert_eq!((head.status, head.header("content-length")), (206, Some("3")));

    let etag = ask(&server, "HEAD", "/bucket/key").send().etag();
    let same = ask(&server, "GET", "/bucket/key").header("if-none-match", &etag).send();
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some(etag.as_str())));
    let changed = ask(&server, "GET", "/bucket/key").header("if-match", "\"0\"").send();
    assert_eq!(changed.refusal(), (412, "PreconditionFailed".into()));
    assert_eq!(ask(&server, "HEAD", "/bucket/absent").send().status, 404);
    assert_eq!(ask(&server, "GET", "/nosuch/key").send().refusal(), (404, "NoSuchBucket".into()));
}

fn complete_xml(parts: &[(i32, String)]) -> String {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

fn create_upload(server: &Server, path: &str) -> String {
    let created = ask(server, "POST", path).query(&[("uploads", "")]).send();
    created.xml("UploadId").unwrap()
}

#[test]
fn a_multipart_upload_becomes_one_object() {
    let server = start_small();
    let id = create_upload(&server, "/bucket/key");
    assert_eq!(server.open_uploads("bucket"), 1);
    let part = |number: &str, body: &[u8]| {
        let query = [("partNumber", number), ("uploadId", id.as_str())];
        ask(&server, "PUT", "/bucket/key").query(&query).body(body).send()
    };
    let first = part("1", b"1234").etag();
    let second = part("2", b"56").etag();
    assert_eq!(part("0", b"x").refusal(), (400, "InvalidArgument".into()));
    let parts = ask(&server, "GET", "/bucket/key").query(&[("uploadId", &id), ("max-parts", "1")]).send();
    assert_eq!((parts.all("PartNumber"), parts.xml("IsTruncated")), (vec!["1".into()], Some("true".into())));
    let uploads = ask(&server, "GET", "/bucket").query(&[("uploads", ""), ("prefix", "k")]).send();
    assert_eq!(uploads.all("UploadId"), std::slice::from_ref(&id));

    let xml = complete_xml(&[(1, first), (2, second)]);
    let complete = || {
        let ask = ask(&server, "POST", "/bucket/key").query(&[("uploadId", &id)]);
        ask.header("if-none-match", "*").body(xml.as_bytes()).send()
    };
    let done = complete();
    assert_eq!(done.xml("ETag").as_deref(), Some("\"1068c9009a6d5af54518805d9aeba212-2\""), "{done:?}");
    assert_eq!(complete().xml("ETag"), done.xml("ETag"), "asking again is answered the same");
    assert_eq!(server.object_bytes("bucket", "key").unwrap(), "123456");
    assert_eq!(server.open_uploads("bucket"), 0);
    assert_eq!(part("3", b"7").refusal(), (404, "NoSuchUpload".into()));
    assert_eq!(ask(&server, "GET", "/bucket/key").query(&[("partNumber", "2")]).send().text(), "56");
    assert_eq!(server.count("CompleteMultipartUpload"), 2);
}

#[test]
fn a_multipart_upload_that_is_wrong_is_refused_and_can_be_aborted() {
    let server = start();
    let id = create_upload(&server, "/bucket/key");
    let part = |number: &str| {
        let query = [("partNumber", number), ("uploadId", id.as_str())];
        ask(&server, "PUT", "/bucket/key").query(&query).body(b"small").send().etag()
    };
    let (first, second) = (part("1"), part("2"));
    let complete = |parts: &[(i32, String)]| {
        let xml = complete_xml(parts);
        ask(&server, "POST", "/bucket/key").query(&[("uploadId", &id)]).body(xml.as_bytes()).send().refusal()
    };
    assert_eq!(complete(&[(1, first.clone()), (2, second)]), (400, "EntityTooSmall".into()));
    assert_eq!(complete(&[(1, "\"0\"".into())]), (400, "InvalidPart".into()));
    server.put_raw("bucket", "key", "other");
    let xml = complete_xml(&[(1, first)]);
    let lost = ask(&server, "POST", "/bucket/key").query(&[("uploadId", &id)]).header("if-none-match", "*");
    assert_eq!(lost.body(xml.as_bytes()).send().refusal(), (412, "PreconditionFailed".into()));
    assert_eq!(server.open_uploads("bucket"), 1);
    let abort = || ask(&server, "DELETE", "/bucket/key").query(&[("uploadId", &id)]).send();
    assert_eq!(abort().status, 204);
    assert_eq!(abort().refusal(), (404, "NoSuchUpload".into()));
    assert_eq!(server.open_uploads("bucket"), 0);
}

#[test]
fn copies_keep_or_replace_what_was_said_and_honour_conditions_on_both_sides() {
    let server = start_small();
    let put =
        ask(&server, "PUT", "/bucket/a%20b").header("x-amz-meta-colour", "blue").body(b"0123456789").send();
    let copy =
        |to: &'static str, source: &str| ask(&server, "PUT", to).header("x-amz-copy-source", source).send();
    let copied = copy("/bucket/copy", "/bucket/a%20b");
    assert_eq!((copied.status, copied.xml("ETag")), (200, Some(put.etag())), "{copied:?}");
    assert_eq!(ask(&server, "HEAD", "/bucket/copy").send().header("x-amz-meta-colour"), Some("blue"));
    let replaced = ask(&server, "PUT", "/bucket/copy")
        .header("x-amz-copy-source", "bucket/a%20b")
        .header("x-amz-metadata-directive", "REPLACE")
        .header("x-amz-meta-colour", "red");
    assert_eq!(replaced.send().status, 200);
    assert_eq!(ask(&server, "HEAD", "/bucket/copy").send().header("x-amz-meta-colour"), Some("red"));

    assert_eq!(copy("/bucket/x", "bucket/absent").refusal(), (404, "NoSuchKey".into()));
    assert_eq!(copy("/bucket/copy", "bucket/copy").refusal(), (400, "InvalidRequest".into()));
    let refused = |name: &str, value: &str| {
        let ask = ask(&server, "PUT", "/bucket/copy").header("x-amz-copy-source", "bucket/a%20b");
        ask.header(name, value).send().refusal()
    };
    assert_eq!(refused("if-none-match", "*"), (412, "PreconditionFailed".into()));
    assert_eq!(refused("x-amz-copy-source-if-match", "\"0\""), (412, "PreconditionFailed".into()));
    assert_eq!(refused("x-amz-copy-source-if-none-match", &put.etag()), (412, "PreconditionFailed".into()));

    let id = create_upload(&server, "/bucket/joined");
    let part = ask(&server, "PUT", "/bucket/joined")
        .query(&[("partNumber", "1"), ("uploadId", &id)])
        .header("x-amz-copy-source", "bucket/a%20b")
        .header("x-amz-copy-source-range", "bytes=2-5")
        .send();
    let xml = complete_xml(&[(1, part.xml("ETag").unwrap())]);
    let done = ask(&server, "POST", "/bucket/joined").query(&[("uploadId", &id)]).body(xml.as_bytes()).send();
    assert_eq!(done.status, 200);
    assert_eq!(server.object_bytes("bucket", "joined").unwrap(), "2345");
}

#[test]
fn a_bulk_delete_answers_key_by_key_and_wants_a_checksum() {
    let server = start();
    for key in ["a", "b&<", "c"] {
        server.put_raw("bucket", key, "x");
    }
    let delete = |xml: &str| {
        let md5 = STANDARD.encode(Md5::checksum(xml.as_bytes()));
        ask(&server, "POST", "/bucket")
            .query(&[("delete", "")])
            .header("content-md5", &md5)
            .body(xml.as_bytes())
            .send()
    };
    let xml = "<Delete><Object><Key>a</Key></Object><Object><Key>b&amp;&lt;</Key></Object>\
               <Object><Key>absent</Key></Object><Object><Key>c</Key><ETag>0</ETag></Object></Delete>";
    let without = ask(&server, "POST", "/bucket").query(&[("delete", "")]).body(xml.as_bytes()).send();
    assert_eq!(without.refusal(), (400, "InvalidRequest".into()));
    let wrong = ask(&server, "POST", "/bucket")
        .query(&[("delete", "")])
        .header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==");
    assert_eq!(wrong.body(xml.as_bytes()).send().refusal(), (400, "BadDigest".into()));

    let answer = delete(xml);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.text().matches("<Deleted>").count(), 3);
    assert_eq!(answer.all("Code"), ["PreconditionFailed"]);
    assert_eq!(server.keys("bucket"), ["c"]);
    let quiet = delete("<Delete><Quiet>true</Quiet><Object><Key>c</Key></Object></Delete>");
    assert!(!quiet.text().contains("<Deleted>"));
    let many: String = (0..1001).map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
    assert_eq!(delete(&format!("<Delete>{many}</Delete>")).refusal(), (400, "MalformedXML".into()));
}

#[test]
fn buckets_come_and_go_with_their_lifecycle() {
    let server = start();
    assert_eq!(ask(&server, "PUT", "/another").send().status, 200);
    assert_eq!(ask(&server, "HEAD", "/another").send().status, 200);
    assert_eq!(ask(&server, "GET", "/").send().all("Name"), ["another", "bucket"]);
    let get = || ask(&server, "GET", "/another").query(&[("lifecycle", "")]).send();
    assert_eq!(get().refusal(), (404, "NoSuchLifecycleConfiguration".into()));
    let xml = "<LifecycleConfiguration><Rule><ID>one</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>\
               <Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
    let md5 = STANDARD.encode(Md5::checksum(xml.as_bytes()));
    let put = ask(&server, "PUT", "/another").query(&[("lifecycle", "")]).header("content-md5", &md5);
    let put = put.body(xml.as_bytes()).send();
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(get().all("Days"), ["1"]);
    server.put_raw("another", "key", "");
    assert_eq!(ask(&server, "DELETE", "/another").send().refusal(), (409, "BucketNotEmpty".into()));
    ask(&server, "DELETE", "/another/key").send();
    assert_eq!(ask(&server, "DELETE", "/another").send().status, 204);
    assert_eq!(ask(&server, "HEAD", "/another").send().status, 404);
}

#[test]
fn a_bucket_in_the_host_name_works_beside_one_in_the_path() {
    let server =
        Server::start(ServerOptions { domain: Some("localhost".into()), ..Default::default() }).unwrap();
    let host = format!("bucket.localhost:{}", server.port());
    let put = ask(&server, "PUT", "//x").header("host", &host).body(b"hello").send();
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(server.object_bytes("bucket", "/x").unwrap(), "hello");
    assert_eq!(ask(&server, "GET", "/bucket//x").send().text(), "hello");
    let listed = ask(&server, "GET", "/").query(&[("list-type", "2")]).header("host", &host).send();
    assert_eq!(listed.all("Key"), ["/x"]);
    assert!(
        Server::start(ServerOptions { domain: Some("not a domain".into()), ..Default::default() }).is_err()
    );
}

#[test]
fn with_tls_a_client_that_trusts_the_authority_gets_in() {
    let options = ServerOptions { tls: true, domain: Some("s3.test".into()), ..Default::default() };
    let server = Server::start(options).unwrap();
    server.put_raw("bucket", "key", "hello");
    assert!(server.endpoint().starts_with("https://"));
    let url = presign_bucket(&server).get_object(Some(&credentials()), "key").sign(Duration::from_secs(60));
    let get = |roots: rustls::RootCertStore, name: &'static str| {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from(name).unwrap();
        let client = rustls::ClientConnection::new(config.into(), name).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        let mut stream = rustls::StreamOwned::new(client, socket);
        let target = format!("{}?{}", url.path(), url.query().unwrap());
        let host = format!("127.0.0.1:{}", server.port());
        write!(stream, "GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    let trusting = || {
        use rustls::pki_types::pem::PemObject;
        let ca = server.ca_pem().unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        roots
    };
    for name in ["127.0.0.1", "localhost", "bucket.s3.test"] {
        assert!(get(trusting(), name).unwrap().ends_with("hello"), "{name}");
    }
    assert!(get(trusting(), "elsewhere.test").is_err());
    assert!(get(rustls::RootCertStore::empty(), "127.0.0.1").is_err());
}

fn presign_bucket(server: &Server) -> Bucket {
    Bucket::new(server.endpoint().parse().unwrap(), UrlStyle::Path, "bucket", "us-east-1").unwrap()
}

fn credentials() -> Credentials {
    let options = ServerOptions::default();
    Credentials::new(options.access_key_id, options.secret_access_key)
}

#[test]
fn urls_presigned_by_rusty_s3_are_accepted() {
    let server = start();
    let bucket = presign_bucket(&server);
    let credentials = credentials();
    let minute = Duration::from_secs(60);
    let key = "a b+c%2F/é/😀";
    let url = bucket.put_object(Some(&credentials), key).sign(minute);
    assert_eq!(presigned(&server, "PUT", &url, b"hello").status, 200);
    let url = bucket.get_object(Some(&credentials), key).sign(minute);
    assert_eq!(presigned(&server, "GET", &url, b"").text(), "hello");
    let url = bucket.list_objects_v2(Some(&credentials)).sign(minute);
    let listed = presigned(&server, "GET", &url, b"").text();
    let listed = rusty_s3::actions::ListObjectsV2::parse_response(&listed).unwrap();
    assert_eq!(listed.contents.len(), 1);

    let long_ago = url::Url::parse(&url.to_string().replace("X-Amz-Expires=60", "X-Amz-Expires=61")).unwrap();
    assert_eq!(presigned(&server, "GET", &long_ago, b"").refusal().1, "SignatureDoesNotMatch");
}

#[test]
fn requests_are_counted_by_operation_and_shown_without_what_signs_them() {
    let server = start();
    assert!(server.requests().is_empty());
    ask(&server, "PUT", "/bucket/key").body(b"x").send();
    ask(&server, "GET", "/bucket/absent").send();
    let url = presign_bucket(&server).get_object(Some(&credentials()), "key").sign(Duration::from_secs(60));
    presigned(&server, "GET", &url, b"");
    let requests = server.requests();
    let seen: Vec<_> = requests
        .iter()
        .map(|request| (request.method.as_str(), request.path.as_str(), request.status.unwrap()))
        .collect();
    assert_eq!(
        seen,
        [("PUT", "/bucket/key", 200), ("GET", "/bucket/absent", 404), ("GET", "/bucket/key", 200)]
    );
    assert_eq!((server.count("GetObject"), server.count("CreateMultipartUpload")), (2, 0));
    let query = requests[2].query.as_deref().unwrap();
    assert!(query.contains("X-Amz-Signature=&") || query.ends_with("X-Amz-Signature="), "{query}");
    server.clear_requests();
    assert!(server.requests().is_empty() && server.count("GetObject") == 0);
}

#[test]
fn a_large_object_streams_both_ways() {
    let server = start();
    let body: Vec<u8> = (0..20_000_003_u32).map(|at| at.to_le_bytes()[usize::from(at % 3 == 0)]).collect();
    let put = ask(&server, "PUT", "/bucket/large").body(&body).send();
    assert_eq!(put.status, 200);
    let range = ask(&server, "GET", "/bucket/large").header("range", "bytes=1048570-3145735").send();
    assert_eq!(range.body, body[1_048_570..3_145_736]);
    assert_eq!(ask(&server, "GET", "/bucket/large").send().body, body);
    assert_eq!(server.object_bytes("bucket", "large").unwrap(), Bytes::from(body));
}

#[test]
fn a_small_read_on_a_kept_connection_does_not_wait_for_an_acknowledgement() {
    let server = start();
    server.put_raw("bucket", "key", "hello");
    let url = presign_bucket(&server).get_object(Some(&credentials()), "key").sign(Duration::from_secs(60));
    let request = format!(
        "GET {}?{} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n\r\n",
        url.path(),
        url.query().unwrap(),
        server.port()
    );
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 4096];
    let mut slow = 0;
    for _ in 0..50 {
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let began = elapsed_clock();
        while !answer.ends_with(b"hello") {
            let read = stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "the server keeps the connection");
            answer.extend_from_slice(&buffer[..read]);
        }
        slow += usize::from(began.elapsed() >= Duration::from_millis(35));
    }
    // Without TCP_NODELAY all of them take 40 ms; a busy machine may be late now and then.
    assert!(slow < 25, "{slow} of 50 answers took as long as a delayed acknowledgement");
}

#[expect(clippy::disallowed_methods, reason = "a test of latency needs a clock")]
fn elapsed_clock() -> std::time::Instant {
    std::time::Instant::now()
}

#[test]
fn a_dropped_server_is_gone() {
    let server = start();
    let port = server.port();
    let idle = TcpStream::connect(("127.0.0.1", port)).unwrap();
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    drop(idle);
}
