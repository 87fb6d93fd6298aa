//! Presigned URLs, before a server whose signatures are checked by code that is not ours.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use object_storage::{Error, ErrorKind, Key, ObjectStorageExt, PutMode, StorageConfig};
use s3_backend::{PresignedUrl, S3Storage};
use spike::server::{Server, ServerOptions};

const BUCKET: &str = "presigned";
const VALID: Duration = Duration::from_secs(60);

/// Makes the request of a URL as anybody would, and gives the status and the body.
fn ask(method: &str, url: &PresignedUrl, fields: &str, body: &str) -> (u16, String) {
    let url = url.expose();
    let authority = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
    let mut stream = TcpStream::connect(&authority).expect("the server listens");
    let query = url.query().expect("signed");
    let head = format!(
        "{method} {}?{query} HTTP/1.1\r\nhost: {authority}\r\n{fields}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        url.path(),
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

fn run(test: impl AsyncFnOnce(S3Storage)) {
    let options = ServerOptions { buckets: vec![BUCKET.into()], ..ServerOptions::default() };
    let server = Server::start(options.clone()).expect("a server");
    let config = StorageConfig::object(BUCKET)
        .endpoint(server.endpoint())
        .region(options.region)
        .access_key_id(options.access_key_id)
        .secret_access_key(options.secret_access_key)
        .transport(tests::transport())
        .build()
        .expect("a configuration");
    let config = config.as_object().expect("an object store").clone();
    compio::runtime::Runtime::new().expect("a runtime").block_on(async {
        test(S3Storage::open(&config, s3_backend::system_host()).await.expect("opened")).await;
    });
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("a key")
}

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn whoever_has_the_url_gets_the_object_and_no_other() {
    run(async |store| {
        store.put_bytes(&key("a b+c/é"), "hello").await.expect("written");
        store.put_bytes(&key("other"), "secret").await.expect("written");
        let url = store.presign_get(&key("a b+c/é"), VALID).await.expect("signed");
        let (status, body) = ask("GET", &url, "", "");
        assert_eq!((status, body.contains("hello")), (200, true));
        assert_eq!(ask("DELETE", &url, "", "").0, 403, "it was signed for another request");
        assert!(store.exists(&key("a b+c/é")).await.expect("looked"));
    });
}

#[test]
fn the_condition_of_a_presigned_put_is_signed() {
    run(async |store| {
        let url = store.presign_put(&key("new"), PutMode::Create, VALID).await.expect("signed");
        assert_eq!(ask("PUT", &url, "", "without").0, 403, "its header field is part of the signature");
        assert_eq!(ask("PUT", &url, "if-none-match: *\r\n", "first").0, 200);
        assert_eq!(ask("PUT", &url, "if-none-match: *\r\n", "second").0, 412);
        assert_eq!(store.get_bytes(&key("new")).await.expect("read"), "first");
    });
}

#[test]
fn a_url_for_longer_than_s3_allows_is_not_made() {
    run(async |store| {
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        assert!(store.presign_get(&key("k"), week).await.is_ok());
        for wrong in [week + Duration::from_secs(1), Duration::from_millis(999), Duration::ZERO] {
            assert_eq!(kind(store.presign_get(&key("k"), wrong).await), Some(ErrorKind::InvalidInput));
        }
    });
}
