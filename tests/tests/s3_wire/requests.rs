//! What is sent, byte by byte, and where it goes.

use std::process::Command;

use object_storage::config::UrlStyle;
use object_storage::{ETag, ErrorKind, ObjectStorage, PutMode, UploadId};
use tests::scripted::{Answer, Seen, Server, answer};

use crate::operations::{Op, READS, WRITES, key, payload, put_options};
use crate::store::{SECRET, config, open, outcome, run, store};

async fn seen(op: Op) -> Seen {
    let server = Server::always(op.good_step());
    let result = op.run(&store(&server).await).await;
    assert_eq!(outcome(&result, &server), None, "{op:?}: {result:?}");
    let mut seen = server.seen();
    assert_eq!(seen.len(), 1, "{op:?}");
    assert_eq!(seen[0].header("host"), Some(server.address().to_string()), "{op:?}");
    seen.remove(0)
}

#[test]
fn every_request_says_who_we_are_and_nothing_that_was_not_meant() {
    run(async {
        for op in WRITES.into_iter().chain(READS) {
            let seen = seen(op).await;
            let agent = seen.header("user-agent").expect("one");
            assert!(agent.starts_with("s3-backend/"), "{op:?}: {agent}");
            assert_eq!(seen.header("accept-encoding").as_deref(), Some("identity"), "{op:?}");
            for absent in
                ["transfer-encoding", "expect", "referer", "cookie", "te", "upgrade", "proxy-authorization"]
            {
                assert_eq!(seen.headers(absent), Vec::<String>::new(), "{op:?}");
            }
            assert!(!seen.text().contains(SECRET), "{op:?}");
            for line in seen.text().split("\r\n").skip(1).take_while(|line| !line.is_empty()) {
                let (name, value) = line.split_once(": ").expect("a header");
                assert!(!value.is_empty(), "{op:?}: {name} is empty");
            }
            let length: Option<usize> = seen.header("content-length").and_then(|text| text.parse().ok());
            match op {
                Op::Put | Op::Create | Op::Match | Op::Part => {
                    assert_eq!(length, Some(320_001), "{op:?}");
                    assert_eq!(seen.body.len(), 320_001, "{op:?}");
                }
                Op::PutEmpty | Op::CreateEmpty => assert_eq!(length, Some(0), "{op:?}"),
                _ => assert_eq!(length.unwrap_or(0), seen.body.len(), "{op:?}"),
            }
        }
    });
}

/// A proxy that strips a condition then breaks the signature instead of the compare-and-swap.
#[test]
fn conditions_are_sent_once_and_signed() {
    let cells = [
        (Op::Create, "if-none-match", "*"),
        (Op::CreateEmpty, "if-none-match", "*"),
        (Op::CopyCreate, "if-none-match", "*"),
        (Op::CompleteCreate, "if-none-match", "*"),
        (Op::Match, "if-match", "\"old\""),
        (Op::DeleteMatch, "if-match", "\"old\""),
    ];
    run(async {
        for (op, name, value) in cells {
            let seen = seen(op).await;
            assert_eq!(seen.header(name).as_deref(), Some(value), "{op:?}");
            let signed = seen.signed_headers();
            for name in [name, "host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"] {
                assert!(signed.iter().any(|header| header == name), "{op:?}: {name} in {signed:?}");
            }
        }
    });
}

/// Every attempt is signed by itself and sends the same bytes.
#[test]
fn an_attempt_repeats_the_bytes_of_the_one_before() {
    run(async {
        let server = Server::new(vec![answer(Answer::error(500, "InternalError")), Op::Put.good_step()]);
        let result = Op::Put.run(&store(&server).await).await;
        assert_eq!(outcome(&result, &server), None);
        let seen = server.seen();
        assert_eq!(seen[0].body, seen[1].body);
        assert_eq!(seen[0].body.len(), 320_001);
    });
}

#[test]
fn the_bucket_can_stand_in_the_host() {
    run(async {
        let server = Server::always(answer(Answer::new(200).header("etag", "\"e\"")));
        let port = server.address().port();
        let builder = config(server.address())
            .endpoint(format!("http://localhost:{port}"))
            .url_style(UrlStyle::VirtualHost)
            .connect_timeout(std::time::Duration::from_secs(5));
        let store = open(builder).await;
        let result = store.put(&key("a/b c"), payload(), put_options(PutMode::Overwrite)).await.map(drop);
        // Whether `bucket.localhost` has an address is the resolver's business; what is sent is ours.
        match outcome(&result, &server) {
            Some(kind) => assert_eq!(kind, ErrorKind::Unavailable, "{result:?}"),
            None => {
                let seen = server.seen();
                assert_eq!(seen[0].header("host"), Some(format!("bucket.localhost:{port}")));
                assert!(
                    seen[0].request_line().starts_with("PUT /a/b%20c HTTP/1.1"),
                    "{}",
                    seen[0].request_line()
                );
            }
        }
    });
}

/// An id or a tag from a store goes back as it came, and cannot break out of its place.
#[test]
fn what_a_store_said_goes_back_quoted_and_encoded() {
    run(async {
        let server = Server::always(Op::Match.good_step());
        let store = store(&server).await;
        let etag = ETag::parse("a&<b>'c").expect("a tag");
        let result = store.put(&key("k"), payload(), put_options(PutMode::Match(etag.clone()))).await;
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(server.seen()[0].header("if-match").as_deref(), Some("\"a&<b>'c\""));

        let server = Server::always(Op::Complete.good_step());
        let store = crate::store::store(&server).await;
        let upload = store.resume_multipart_upload(&key("k"), &UploadId::new("a&b=c d/é")).expect("an id");
        let parts = [object_storage::Part::new(object_storage::PartNumber::FIRST, etag, 1)];
        let result = upload.complete(&parts, object_storage::CompleteOptions::default()).await;
        assert!(result.is_ok(), "{result:?}");
        let seen = server.seen().remove(0);
        assert_eq!(seen.query("uploadId").as_deref(), Some("a%26b%3Dc%20d%2F%C3%A9"));
        let body = String::from_utf8(seen.body).expect("text");
        assert!(body.contains("<ETag>&quot;a&amp;&lt;b&gt;&apos;c&quot;</ETag>"), "{body}");
    });
}

#[test]
fn a_configured_proxy_is_used() {
    run(async {
        let proxy = Server::always(Op::Put.good_step());
        let target = Server::always(Op::Put.good_step());
        let builder = config(target.address()).proxy(format!("http://{}", proxy.address()));
        let result = Op::Put.run(&open(builder).await).await;
        assert_eq!(outcome(&result, &proxy), None, "{result:?}");
        assert_eq!((proxy.seen().len(), target.connections()), (1, 0));
        let line = proxy.seen()[0].request_line();
        assert!(line.starts_with(&format!("PUT http://{}/bucket/", target.address())), "{line}");
        assert_eq!(proxy.seen()[0].header("host"), Some(target.address().to_string()));
    });
}

/// Where the child process finds the server that it shall reach.
const TARGET: &str = "S3_WIRE_TEST_TARGET";

#[test]
fn a_proxy_of_the_environment_is_not_used() {
    let trap = Server::always(Op::Put.good_step());
    let target = Server::always(Op::Put.good_step());
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "requests::put_in_a_child_process", "--nocapture"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        child.env(name, format!("http://{}", trap.address()));
    }
    child.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("REQUEST_METHOD");
    child.env(TARGET, target.address().to_string());
    let output = child.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!((trap.connections(), target.seen().len()), (0, 1));
}

/// The other half of the test above; by itself it has nothing to do.
#[test]
#[expect(clippy::disallowed_methods, reason = "how the parent process hands an address over")]
fn put_in_a_child_process() {
    let Ok(target) = std::env::var(TARGET) else { return };
    run(async {
        let store = open(config(target.parse().expect("an address"))).await;
        Op::Put.run(&store).await.expect("reached");
    });
}
