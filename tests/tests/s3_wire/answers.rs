//! Answers that are whole and wrong: each must end as a typed error, in bounded time and memory, and never as data.

use std::time::Duration;

use futures_util::future::join_all;
use object_storage::{
    ErrorKind, GetOptions, HeadOptions, ListOptions, ListUploadsOptions, ObjectStorage, PageToken, PutMode,
    UploadId,
};
use tests::scripted::{Act, Answer, Server, answer};

use crate::operations::{BYTES, Effect, Op, READS, WRITES, key, payload, put_options};
use crate::store::{ATTEMPTS, SHORT, SOON, config, kind_of, now, open, outcome, run, store};

const XML_OPS: [Op; 9] = [
    Op::Batch,
    Op::Copy,
    Op::CopyCreate,
    Op::NewUpload,
    Op::Complete,
    Op::CompleteCreate,
    Op::List,
    Op::ListUploads,
    Op::ListParts,
];

/// 200, and then something else than was promised.
#[test]
fn a_status_of_success_is_not_believed_before_the_document_is_read() {
    let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let entity = "<!DOCTYPE lolz [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]><Error><Code>&b;</Code></Error>";
    let wide = format!("<ListBucketResult>{}</ListBucketResult>", "<Contents/>".repeat(300_000));
    let attributes: String = (0..20_000).map(|n| format!(" a{n}=\"x\"")).collect();
    let bodies = [
        ("empty", String::new()),
        ("blank", " \r\n\r\n ".to_owned()),
        ("cut short", "<ListBucketResult><Contents><Key>a".to_owned()),
        ("another document", "<Other/>".to_owned()),
        ("HTML", "<html><body><h1>Welcome<br></body></html>".to_owned()),
        ("JSON", "{\"error\": 1}".to_owned()),
        ("deep", deep),
        ("a bomb of entities", entity.to_owned()),
        ("wide", wide),
        ("attributes", format!("<Other{attributes}/>")),
        ("too long", format!("<ListBucketResult><x>{}</x></ListBucketResult>", "x".repeat(9 << 20))),
        ("NUL", "<a>\0</a>".to_owned()),
    ];
    run(async {
        for op in XML_OPS {
            join_all(bodies.iter().map(|(name, body)| async move {
                let row = format!("{op:?}, {name}");
                let started = now();
                let server = Server::always(answer(Answer::new(200).body(body.clone())));
                let result = op.run(&open(config(server.address()).attempts_max(1)).await).await;
                let expected =
                    if op.effect() == Effect::Read { ErrorKind::Protocol } else { ErrorKind::Indeterminate };
                assert_eq!(outcome(&result, &server), Some(expected), "{row}: {result:?}");
                assert!(started.elapsed() < SOON, "{row} took {:?}", started.elapsed());
            }))
            .await;
        }
    });
}

#[test]
fn a_read_whose_document_was_cut_short_is_made_again_and_a_few_times_only() {
    run(async {
        for op in XML_OPS.into_iter().filter(|op| op.effect() == Effect::Read) {
            let cut = || answer(Answer::new(200).body("<ListBucketResult><Contents>".to_owned()));
            let server = Server::new(vec![cut(), cut(), op.good_step()]);
            let result = op.run(&store(&server).await).await;
            assert_eq!(outcome(&result, &server), None, "{op:?}: {result:?}");
            let server = Server::always(cut());
            let result = op.run(&open(config(server.address()).attempts_max(8)).await).await;
            assert_eq!(outcome(&result, &server), Some(ErrorKind::Protocol), "{op:?}: {result:?}");
            assert_eq!(server.seen().len(), 3, "{op:?}");
        }
    });
}

#[test]
fn an_error_under_a_status_of_success_is_an_error() {
    let codes = [
        ("InternalError", None),
        ("SlowDown", None),
        ("SomethingNew", None),
        ("AccessDenied", Some(ErrorKind::PermissionDenied)),
        ("NoSuchUpload", Some(ErrorKind::NotFound)),
        ("NoSuchBucket", Some(ErrorKind::NotFound)),
    ];
    run(async {
        for op in XML_OPS {
            join_all(codes.into_iter().map(|(code, definite)| async move {
                let row = format!("{op:?}, {code}");
                let late = Answer::new(200).body(format!("  \n<Error><Code>{code}</Code></Error>"));
                let server = Server::new(vec![answer(late), op.good_step()]);
                let result = op.run(&store(&server).await).await;
                let expected = match (definite, op.effect()) {
                    (Some(kind), _) => Some(kind),
                    (None, _) => None,
                };
                assert_eq!(outcome(&result, &server), expected, "{row}: {result:?}");
            }))
            .await;
        }
    });
}

/// A captive portal answers everything with 200 and a page; an empty 200 to a DELETE is what some stores say.
#[test]
fn a_page_is_no_proof_that_something_was_deleted() {
    run(async {
        for op in [Op::Delete, Op::DeleteMatch, Op::Abort] {
            let server = Server::always(answer(Answer::html(200)));
            let result = op.run(&store(&server).await).await;
            assert_eq!(outcome(&result, &server), Some(ErrorKind::Indeterminate), "{op:?}");
            let server = Server::always(answer(Answer::new(200).header("content-type", "text/html")));
            let result = op.run(&store(&server).await).await;
            assert_eq!(outcome(&result, &server), None, "{op:?}: {result:?}");
        }
    });
}

#[test]
fn a_redirect_is_reported_with_the_region_and_never_followed() {
    let trap = Server::always(answer(Answer::new(200).header("etag", "\"trap\"").body(BYTES)));
    let location = format!("http://{}/bucket/elsewhere", trap.address());
    run(async {
        for op in WRITES.into_iter().chain(READS) {
            join_all([301, 307, 308].into_iter().map(|status| {
                let location = &location;
                async move {
                    let row = format!("{op:?}, {status}");
                    let named = Answer::error(status, "PermanentRedirect")
                        .header("location", location)
                        .header("x-amz-bucket-region", "eu-central-7");
                    let bare = Answer::html(status).header("location", location);
                    for (said, region) in [(named, true), (bare, false)] {
                        let said = if op == Op::Head { said.head() } else { said.raw() };
                        let server = Server::always(answer(said));
                        let result = op.run(&store(&server).await).await;
                        assert_eq!(outcome(&result, &server), Some(ErrorKind::Config), "{row}: {result:?}");
                        assert_eq!(server.seen().len(), 1, "{row}");
                        let text = format!("{:?}", result.expect_err("redirected"));
                        assert_eq!(text.contains("eu-central-7"), region, "{row}: {text}");
                    }
                }
            }))
            .await;
        }
    });
    assert_eq!(trap.connections(), 0, "nobody went there");
}

/// Somebody else's error page of a gigabyte, one byte at a time.
#[test]
fn an_endless_error_page_ends() {
    run(join_all([Op::Get, Op::Create, Op::Put, Op::List].into_iter().map(|op| async move {
        let head = Answer::new(403).length(Some(1 << 30)).head();
        let flood: Vec<u8> = [head.clone(), vec![b'x'; 1 << 20]].concat();
        let dripping =
            vec![Act::ReadAll, Act::Send(head), Act::Drip(vec![b'x'; 400], Duration::from_millis(20))];
        for step in [vec![Act::ReadAll, Act::Send(flood), Act::Stall], dripping] {
            let started = now();
            let server = Server::always(step);
            let small =
                config(server.address()).attempts_max(1).operation_timeout(SHORT).connect_timeout(SHORT);
            let small = small.head_timeout(SHORT).body_timeout(SHORT).send_timeout(SHORT);
            let result = op.run(&open(small).await).await;
            let kind = outcome(&result, &server);
            match op.effect() {
                Effect::Read => {
                    assert!(matches!(kind, Some(ErrorKind::Protocol | ErrorKind::Timeout)), "{kind:?}");
                }
                _ => assert_eq!(kind, Some(ErrorKind::Indeterminate), "{op:?}"),
            }
            assert!(started.elapsed() < Duration::from_secs(4), "{op:?} took {:?}", started.elapsed());
        }
    })));
}

/// A good head of an answer to a put says it all, whatever becomes of a body that should not be there.
#[test]
fn a_put_that_was_acknowledged_is_acknowledged_whatever_follows() {
    run(join_all([Op::Put, Op::Create, Op::Match, Op::Part].into_iter().map(|op| async move {
        let head = Answer::new(200).header("etag", "\"new\"").length(Some(1 << 30)).head();
        let tails = [
            vec![Act::Close],
            vec![Act::Reset],
            vec![Act::Stall],
            vec![Act::Drip(vec![b'x'; 3000], Duration::from_millis(10))],
        ];
        for tail in tails {
            let started = now();
            let row = format!("{op:?}, {:?}", tail.first().map(std::mem::discriminant));
            let step = [vec![Act::ReadAll, Act::Send(head.clone())], tail].concat();
            let server = Server::always(step);
            let result = op.run(&store(&server).await).await;
            assert_eq!(outcome(&result, &server), None, "{row}: {result:?}");
            assert_eq!(server.seen().len(), 1, "{row}");
            assert!(started.elapsed() < Duration::from_secs(3), "{row} took {:?}", started.elapsed());
        }
    })));
}

#[test]
fn a_get_gives_the_bytes_that_were_asked_for_or_an_error() {
    let get = || Answer::new(200).header("etag", "\"new\"");
    let part = |range: &str| Answer::new(206).header("etag", "\"new\"").header("content-range", range);
    let cells: Vec<(&str, Op, Vec<u8>, ErrorKind)> = vec![
        ("shorter", Op::Get, get().body(&BYTES[..7]).length(Some(10)).raw(), ErrorKind::Unavailable),
        ("no length", Op::Get, get().body(BYTES).length(None).raw(), ErrorKind::Protocol),
        (
            "chunked",
            Op::Get,
            [
                get().length(None).header("transfer-encoding", "chunked").head(),
                b"a\r\n0123456789\r\n0\r\n\r\n".to_vec(),
            ]
            .concat(),
            ErrorKind::Protocol,
        ),
        ("two lengths", Op::Get, get().header("content-length", "7").body(BYTES).raw(), ErrorKind::Protocol),
        (
            "a signed length",
            Op::Get,
            get().length(None).header("content-length", "+10").body(BYTES).raw(),
            ErrorKind::Protocol,
        ),
        ("a part for the whole", Op::Get, part("bytes 0-9/10").body(BYTES).raw(), ErrorKind::Protocol),
        (
            "nothing for the whole",
            Op::Get,
            Answer::new(204).header("etag", "\"new\"").raw(),
            ErrorKind::Protocol,
        ),
        (
            "a tag of blanks",
            Op::Get,
            Answer::new(200).header("etag", "\" \"").body(BYTES).raw(),
            ErrorKind::Protocol,
        ),
        ("the whole for a part", Op::Range, get().body(BYTES).raw(), ErrorKind::Protocol),
        ("a shifted part", Op::Range, part("bytes 3-5/10").body(&BYTES[3..6]).raw(), ErrorKind::Protocol),
        ("a longer part", Op::Range, part("bytes 2-5/10").body(&BYTES[2..6]).raw(), ErrorKind::Protocol),
        ("a part of no total", Op::Range, part("bytes 2-4/*").body(&BYTES[2..5]).raw(), ErrorKind::Protocol),
        (
            "a part without a range",
            Op::Range,
            get().body(&BYTES[2..5]).raw().replace_status(),
            ErrorKind::Protocol,
        ),
        (
            "a part that contradicts itself",
            Op::Range,
            part("bytes 2-4/10").body(&BYTES[2..4]).raw(),
            ErrorKind::Protocol,
        ),
        (
            "several parts",
            Op::Range,
            Answer::new(206).header("content-type", "multipart/byteranges; boundary=x").body("--x").raw(),
            ErrorKind::Protocol,
        ),
        (
            "a clamped part",
            Op::Range,
            part("bytes 2-3/4").body(&BYTES[2..4]).raw(),
            ErrorKind::RangeNotSatisfiable,
        ),
    ];
    run(join_all(cells.into_iter().map(|(name, op, raw, expected)| async move {
        let server = Server::always(vec![Act::ReadAll, Act::Send(raw), Act::Close]);
        let result = op.run(&open(config(server.address()).attempts_max(1)).await).await;
        assert_eq!(outcome(&result, &server), Some(expected), "{name}: {result:?}");
    })));
    // What goes on beyond its length is cut there, and the connection is not used again.
    run(async {
        let long = get()
            .body(b"0123456789HTTP/1.1 200 OK\r\netag: \"trap\"\r\ncontent-length: 10\r\n\r\ntraptraptr")
            .length(Some(10))
            .raw();
        let server = Server::new(vec![answer(long), Op::Get.good_step()]);
        let store = store(&server).await;
        for _ in 0..2 {
            let result = Op::Get.run(&store).await;
            assert_eq!(outcome(&result, &server), None, "{result:?}");
        }
        assert_eq!(server.connections(), 2);
    });
}

trait ReplaceStatus {
    fn replace_status(self) -> Vec<u8>;
}

impl ReplaceStatus for Vec<u8> {
    /// The same answer as a 206.
    fn replace_status(self) -> Vec<u8> {
        String::from_utf8(self).expect("text").replacen("200", "206", 1).into_bytes()
    }
}

#[test]
fn a_tag_is_taken_with_and_without_quotes_and_a_write_without_one_is_not_believed() {
    let tags = [
        (Some("\"abc\""), Some("abc")),
        (Some("abc"), Some("abc")),
        (Some("W/\"abc\""), Some("W/abc")),
        (Some("\"\""), None),
        (Some(""), None),
        (Some("\"a b\""), None),
        (Some("\"a\"b\""), None),
        (Some("\u{e9}"), None),
        (None, None),
    ];
    run(join_all(tags.into_iter().map(|(sent, expected)| async move {
        let said = sent.map_or(Answer::new(200), |tag| Answer::new(200).header("etag", tag));
        let server = Server::always(answer(said));
        let store = store(&server).await;
        match (store.put(&key("k"), payload(), put_options(PutMode::Create)).await, expected) {
            (Ok(outcome), Some(tag)) => assert_eq!(outcome.etag.as_str(), tag),
            (Err(error), None) => {
                assert_eq!(kind_of(&error, Some(&server)), ErrorKind::Indeterminate, "{sent:?}");
                assert!(server.seen().len() > ATTEMPTS as usize, "{sent:?}: sent again, and looked for");
            }
            (result, _) => panic!("{sent:?}: {result:?}"),
        }
    })));
}

#[test]
fn a_head_of_a_thousand_headers_or_a_megabyte_is_refused() {
    let many: String = (0..1000).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let long = format!("x-long: {}\r\n", "x".repeat(1 << 20));
    let endless = "x: y\r\n".repeat(1 << 18);
    run(async {
        for op in [Op::Get, Op::List, Op::Put, Op::Create, Op::Delete] {
            join_all([&many, &long, &endless].map(|headers| async move {
                let head = format!("HTTP/1.1 200 OK\r\netag: \"x\"\r\n{headers}content-length: 0\r\n\r\n");
                let server = Server::always(vec![Act::ReadAll, Act::Send(head.into_bytes()), Act::Close]);
                let result = op.run(&open(config(server.address()).attempts_max(2)).await).await;
                let expected =
                    if op.effect() == Effect::Read { ErrorKind::Protocol } else { ErrorKind::Indeterminate };
                assert_eq!(outcome(&result, &server), Some(expected), "{op:?}: {result:?}");
            }))
            .await;
        }
    });
}

#[test]
fn what_is_stored_compressed_comes_back_compressed() {
    // The header of a gzip stream, and then nothing that could be decompressed.
    let bomb = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03not gzip at all";
    run(async {
        for encoding in ["gzip", "br", "deflate", "zstd"] {
            let said =
                Answer::new(200).header("etag", "\"e\"").header("content-encoding", encoding).body(bomb);
            let server = Server::always(answer(said));
            let got = store(&server).await.get(&key("k"), GetOptions::default()).await.expect("opened");
            let attribute = got.attributes.header(object_storage::ContentHeader::ContentEncoding);
            assert_eq!(attribute.map(str::to_owned), Some(encoding.to_owned()));
            assert_eq!(&got.body.bytes().await.expect("read")[..], bomb);
        }
    });
}

fn listing(inside: &str) -> Answer {
    Answer::new(200).body(format!("<ListBucketResult>{inside}</ListBucketResult>"))
}

fn entry(key: &str) -> String {
    format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>")
}

#[test]
fn a_listing_that_lies_is_refused_and_one_that_turns_in_circles_ends() {
    let more = |token: &str| format!("<IsTruncated>true</IsTruncated>{token}");
    let url = "<EncodingType>url</EncodingType>";
    let many: String = (0..1001).map(|n| entry(&format!("a/{n:05}"))).collect();
    let bad = [
        ("a foreign key", entry("b/1")),
        ("a foreign common prefix", "<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>".to_owned()),
        ("a common prefix without text", "<CommonPrefixes/>".to_owned()),
        ("more than was asked for", many),
        ("an entry without a size", "<Contents><Key>a/1</Key></Contents>".to_owned()),
        ("a negative size", "<Contents><Key>a/1</Key><Size>-1</Size></Contents>".to_owned()),
        (
            "a size beyond all bounds",
            format!("<Contents><Key>a/1</Key><Size>{}0</Size></Contents>", u64::MAX),
        ),
        ("an entry without a key", "<Contents><Size>1</Size></Contents>".to_owned()),
        ("an empty key", format!("{url}{}", entry(""))),
        ("no UTF-8", format!("{url}{}", entry("a/%FF"))),
        ("a key too long", entry(&format!("a/{}", "x".repeat(1100)))),
        ("more without a token", more("")),
        ("more with an empty token", more("<NextContinuationToken></NextContinuationToken>")),
        ("the same token again", more("<NextContinuationToken>T1</NextContinuationToken>")),
    ];
    run(join_all(bad.into_iter().map(|(name, inside)| async move {
        let server = Server::always(answer(listing(&inside)));
        let store = store(&server).await;
        let page = PageToken::new("T1");
        let error = store.list_page(&ListOptions::prefix("a/"), Some(&page)).await.expect_err(name);
        assert_eq!(kind_of(&error, Some(&server)), ErrorKind::Protocol, "{name}: {error:?}");
        assert_eq!(server.seen().len(), 1, "{name}");
    })));

    run(async {
        // A store that states no IsTruncated but gives a token has more to say.
        let server = Server::always(answer(listing("<NextContinuationToken>T2</NextContinuationToken>")));
        let page = store(&server).await.list_page(&ListOptions::default(), None).await.expect("a page");
        assert_eq!(page.next.as_ref().map(PageToken::as_str), Some("T2"));

        // Somebody else's control characters must not hide the rest of the page.
        let odd = [entry("a/%20%2B+%25&amp;"), entry("a/%00"), entry("a/&#10;b"), entry("a/é")].concat();
        let inside = format!("{url}{odd}");
        let server = Server::always(answer(listing(&inside)));
        let page = store(&server).await.list_page(&ListOptions::prefix("a/"), None).await.expect("a page");
        let keys: Vec<&str> = page.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, ["a/ + %&", "a/\0", "a/\nb", "a/é"]);
    });
}

/// A page of ten may have 144 KiB, and a completion 64.
#[test]
fn an_answer_is_read_up_to_what_its_question_can_be_answered_with() {
    run(async {
        let padded = |bytes: usize| listing(&format!("<!--{}-->", "x".repeat(bytes)));
        let options = ListOptions::default().with_page_size(10);
        for (kib, fits) in [(140, true), (150, false)] {
            let server = Server::always(answer(padded(kib << 10)));
            let result = store(&server).await.list_page(&options, None).await.map(drop);
            let expected = (!fits).then_some(ErrorKind::Protocol);
            assert_eq!(outcome(&result, &server), expected, "{kib} KiB: {result:?}");
        }
        for (kib, fits) in [(60, true), (70, false)] {
            let blank = vec![b' '; kib << 10];
            let document =
                b"<CompleteMultipartUploadResult><ETag>&quot;e&quot;</ETag></CompleteMultipartUploadResult>";
            let server = Server::always(answer(Answer::new(200).body([&blank[..], document].concat())));
            let result = Op::Complete.run(&store(&server).await).await;
            let expected = (!fits).then_some(ErrorKind::Indeterminate);
            assert_eq!(outcome(&result, &server), expected, "{kib} KiB: {result:?}");
        }
    });
}

#[test]
fn a_page_of_more_parts_or_uploads_than_were_asked_for_is_refused() {
    run(async {
        let uploads = "<Upload><Key>a</Key><UploadId>u</UploadId></Upload>".repeat(3);
        let body = format!("<ListMultipartUploadsResult>{uploads}</ListMultipartUploadsResult>");
        let server = Server::always(answer(Answer::new(200).body(body)));
        let store_ = store(&server).await;
        for (page_size, expected) in [(3, None), (2, Some(ErrorKind::Protocol))] {
            let options = ListUploadsOptions::default().with_page_size(page_size);
            let result = store_.list_multipart_uploads_page(&options, None).await.map(drop);
            assert_eq!(outcome(&result, &server), expected, "{result:?}");
        }
        let parts: String = (1..=1001)
            .map(|n| format!("<Part><PartNumber>{n}</PartNumber><ETag>e</ETag><Size>1</Size></Part>"))
            .collect();
        let server = Server::always(answer(
            Answer::new(200).body(format!("<ListPartsResult>{parts}</ListPartsResult>")),
        ));
        let result = Op::ListParts.run(&store(&server).await).await;
        assert_eq!(outcome(&result, &server), Some(ErrorKind::Protocol), "{result:?}");
    });
}

#[test]
fn uploads_and_parts_that_turn_in_circles_end() {
    run(async {
        let same = "<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>U1</NextUploadIdMarker>";
        let body = format!("<ListMultipartUploadsResult>{same}</ListMultipartUploadsResult>");
        let server = Server::always(answer(Answer::new(200).body(body)));
        let store_ = store(&server).await;
        let options = ListUploadsOptions::default();
        let first =
            store_.list_multipart_uploads_page(&options, None).await.expect("a page").next.expect("more");
        let error = store_.list_multipart_uploads_page(&options, Some(&first)).await.expect_err("a circle");
        assert_eq!(kind_of(&error, Some(&server)), ErrorKind::Protocol);

        let part = "<Part><PartNumber>7</PartNumber><ETag>e</ETag><Size>1</Size></Part>";
        let body = format!("<ListPartsResult><IsTruncated>true</IsTruncated>{part}</ListPartsResult>");
        let server = Server::always(answer(Answer::new(200).body(body)));
        let upload =
            store(&server).await.resume_multipart_upload(&key("k"), &UploadId::new("U1")).expect("an id");
        let first = upload.list_parts_page(None).await.expect("a page").next.expect("more");
        let error = upload.list_parts_page(Some(&first)).await.expect_err("a circle");
        assert_eq!(kind_of(&error, Some(&server)), ErrorKind::Protocol);
    });
}

#[test]
fn a_batch_is_judged_key_by_key_and_a_key_that_nobody_asked_for_spoils_it() {
    let deleted = |key: &str| format!("<Deleted><Key>{key}</Key></Deleted>");
    let failed = |key: &str, code: &str| format!("<Error><Key>{key}</Key><Code>{code}</Code></Error>");
    let keys = [key("a"), key("a b&<é"), key(" "), key("c")];
    let escaped = deleted("a b&amp;&lt;&#233;");
    let all = [deleted("a"), escaped.clone(), deleted(" "), deleted("c")].concat();
    type Kinds = [Option<ErrorKind>; 4];
    let cells: Vec<(&str, String, Kinds)> = vec![
        ("all", all.clone(), [None; 4]),
        ("in another order", [deleted("c"), deleted(" "), escaped.clone(), deleted("a")].concat(), [None; 4]),
        (
            "one not mentioned",
            [deleted("a"), escaped.clone(), deleted("c")].concat(),
            [None, None, Some(ErrorKind::Indeterminate), None],
        ),
        (
            "some failed",
            [failed("a", "AccessDenied"), escaped, failed(" ", "InternalError"), deleted("c")].concat(),
            [Some(ErrorKind::PermissionDenied), None, Some(ErrorKind::Indeterminate), None],
        ),
        (
            "both deleted and failed",
            [all.clone(), failed("c", "AccessDenied")].concat(),
            [None, None, None, Some(ErrorKind::Indeterminate)],
        ),
        ("gone already", [all.clone(), failed("c", "NoSuchKey")].concat(), [None; 4]),
        ("another key", [all.clone(), deleted("x")].concat(), [Some(ErrorKind::Indeterminate); 4]),
        ("part of a key", [all, deleted("a b")].concat(), [Some(ErrorKind::Indeterminate); 4]),
        ("nothing", String::new(), [Some(ErrorKind::Indeterminate); 4]),
    ];
    run(join_all(cells.into_iter().map(|(name, inside, expected)| {
        let keys = &keys;
        async move {
            let body = format!("<DeleteResult>{inside}</DeleteResult>");
            let server = Server::always(answer(Answer::new(200).body(body)));
            let results = store(&server).await.delete_many(keys).await.expect("tried");
            let kinds: Vec<Option<ErrorKind>> = results
                .iter()
                .map(|result| result.as_ref().err().map(|error| kind_of(error, Some(&server))))
                .collect();
            assert_eq!(kinds, expected, "{name}: {results:?}");
            for (key, result) in keys.iter().zip(&results) {
                assert!(
                    result.as_ref().err().is_none_or(|error| error.key() == Some(key.as_str())),
                    "{name}"
                );
            }
        }
    })));
}

#[test]
fn a_batch_repeated_after_a_lost_answer_does_not_deny_what_the_first_one_may_have_done() {
    let body = "<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code></Error></DeleteResult>";
    run(async {
        let lost = vec![Act::ReadAll, Act::Close];
        let server = Server::new(vec![lost, answer(Answer::new(200).body(body))]);
        let results = store(&server).await.delete_many(&[key("a")]).await.expect("tried");
        let error = results[0].as_ref().expect_err("denied the second time");
        assert_eq!(kind_of(error, Some(&server)), ErrorKind::Indeterminate);
    });
}

#[test]
fn a_store_that_ignores_the_condition_of_a_read_is_found_out() {
    run(async {
        let other = Answer::new(200).header("etag", "\"other\"").body(BYTES);
        let server = Server::always(answer(other));
        let store = store(&server).await;
        let wanted = crate::operations::tag();
        let error = store.get(&key("k"), GetOptions::default().with_if_match(wanted.clone())).await;
        assert_eq!(kind_of(&error.expect_err("ignored"), Some(&server)), ErrorKind::PreconditionFailed);
        let error = store.head(&key("k"), HeadOptions::default().with_if_match(wanted)).await;
        assert_eq!(kind_of(&error.expect_err("ignored"), Some(&server)), ErrorKind::PreconditionFailed);
    });
}
