//! Bytes that change on the way, in either direction: found, tried again over another connection, and never data. What
//! was stored as something else is never called "not applied".

use std::error::Error as _;

use bytes::Bytes;
use object_storage::config::{Checksums, Transport};
use object_storage::{
    CompleteOptions, Error, ErrorKind, GetOptions, HeadOptions, MultipartOptions, ObjectStorage, PartNumber,
    Payload, UploadId,
};
use tests::scripted::{Answer, Seen, Server, Step, answer};

use crate::operations::{BYTES, Op, key, payload};
use crate::store::{config, kind_of, open, outcome, run, store};

const CRC64NVME: &str = "x-amz-checksum-crc64nvme";

/// CRC-64/NVME bit by bit, as its definition has it, in Base64: nothing of the code under test.
fn crc64nvme(bytes: &[u8]) -> String {
    let mut crc = u64::MAX;
    for byte in bytes {
        crc ^= u64::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x9a6c_9329_ac4b_c9b5 } else { crc >> 1 };
        }
    }
    base64(&(!crc).to_be_bytes())
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The answer to a get of the whole object.
fn got(body: &[u8], header: &str, value: &str) -> Answer {
    Answer::new(200).header("etag", "\"new\"").header(header, value).body(body)
}

/// What a reader gets: the bytes, and how it ended.
async fn read(server: &Server, checksums: Checksums) -> (Vec<u8>, Option<ErrorKind>) {
    let store = open(config(server.address()).checksums(checksums)).await;
    let mut came = Vec::new();
    let mut body = match store.get(&key("k"), GetOptions::default()).await {
        Ok(got) => got.body,
        Err(error) => return (came, Some(kind_of(&error, Some(server)))),
    };
    while let Some(chunk) = body.next_chunk().await {
        match chunk {
            Ok(chunk) => came.extend_from_slice(&chunk),
            Err(error) => return (came, Some(kind_of(&error, Some(server)))),
        }
    }
    (came, None)
}

#[test]
fn the_reference_is_right() {
    assert_eq!(crc64nvme(b"123456789"), base64(&0xae8b_1486_0a79_9888_u64.to_be_bytes()));
}

#[test]
fn a_flipped_bit_in_an_answer_is_corrupt_and_never_data() {
    run(async {
        for length in [1, 4096, 300_000, 2_000_000] {
            let right: Vec<u8> =
                (0..length).map(|at: usize| u8::try_from(at % 251).expect("small")).collect();
            let crc = crc64nvme(&right);
            for flipped in [0, length / 2, length - 1] {
                let mut wrong = right.clone();
                wrong[flipped] ^= 0x10;
                let server = Server::always(answer(got(&wrong, CRC64NVME, &crc)));
                let (came, failed) = read(&server, Checksums::WhenSupported).await;
                let row = format!("{length} bytes, flipped at {flipped}");
                assert_eq!(failed, Some(ErrorKind::Corrupt), "{row}");
                assert!(came.len() < length, "{row}: the last chunk was handed out");
                assert_eq!(server.seen()[0].header("x-amz-checksum-mode").as_deref(), Some("ENABLED"));
            }
            let server = Server::always(answer(got(&right, CRC64NVME, &crc)));
            assert_eq!(read(&server, Checksums::WhenSupported).await, (right, None), "{length} bytes");
        }
    });
}

#[test]
fn a_small_body_that_is_wrong_is_asked_for_again_over_other_connections() {
    if tests::transport() != Transport::Direct {
        // Over cyper no body comes whole, and the reader asks again.
        return;
    }
    run(async {
        let crc = crc64nvme(BYTES);
        let wrong = || answer(got(b"0123456780", CRC64NVME, &crc));
        let server = Server::new(vec![wrong(), wrong(), answer(got(BYTES, CRC64NVME, &crc))]);
        assert_eq!(read(&server, Checksums::WhenSupported).await, (BYTES.to_vec(), None));
        assert_eq!((server.seen().len(), server.connections()), (3, 3));

        let server = Server::always(wrong());
        let store = open(config(server.address()).attempts_max(8)).await;
        let error = store.get(&key("k"), GetOptions::default()).await.map(drop).expect_err("wrong");
        assert_eq!(kind_of(&error, Some(&server)), ErrorKind::Corrupt);
        assert_eq!((server.seen().len(), server.connections()), (3, 3), "twice again, and no more");
        for digest in [crc, crc64nvme(b"0123456780")] {
            assert!(error.to_string().contains(&digest), "{error} says what was stated and what was found");
        }

        // After a long body that was wrong, the next request goes over another connection too.
        let long = vec![7; 500_000];
        let server = Server::always(answer(got(&long, CRC64NVME, &crc64nvme(b"other"))));
        let store = crate::store::store(&server).await;
        for _ in 0..2 {
            let got = store.get(&key("k"), GetOptions::default()).await.expect("begun");
            assert_eq!(got.body.bytes().await.expect_err("wrong").kind(), ErrorKind::Corrupt);
        }
        assert_eq!(server.connections(), 2);
    });
}

#[test]
fn whatever_the_store_keeps_is_compared() {
    let wrong = [
        (CRC64NVME, crc64nvme(b"other")),
        ("x-amz-checksum-crc32c", base64(&[1; 4])),
        ("x-amz-checksum-crc32", base64(&[1; 4])),
        ("x-amz-checksum-sha256", base64(&[1; 32])),
        (CRC64NVME, "nonsense".to_owned()),
    ];
    run(async {
        for (header, value) in &wrong {
            for checksums in [Checksums::WhenSupported, Checksums::WhenRequired] {
                let server = Server::always(answer(got(BYTES, header, value)));
                let (came, failed) = read(&server, checksums).await;
                assert_eq!((came.len(), failed), (0, Some(ErrorKind::Corrupt)), "{header}: {value}");
            }
            let server = Server::always(answer(got(BYTES, header, value)));
            assert_eq!(read(&server, Checksums::Off).await, (BYTES.to_vec(), None), "{header}: {value}");
        }
    });
}

#[test]
fn what_is_no_checksum_of_these_bytes_is_not_compared_with_them() {
    let other = crc64nvme(b"other");
    run(async {
        let of_parts = base64(&[1; 4]);
        let answers = [
            got(BYTES, "x-amz-checksum-crc32", &format!("{of_parts}-3")),
            got(BYTES, "x-amz-checksum-crc32", &of_parts).header("x-amz-checksum-type", "COMPOSITE"),
            got(BYTES, "x-amz-checksum-sha1", &base64(&[1; 20])),
            got(BYTES, "x-amz-checksum-new9", "whatever"),
            got(BYTES, CRC64NVME, ""),
        ];
        for said in answers {
            let server = Server::always(answer(said.clone()));
            let read = read(&server, Checksums::WhenSupported).await;
            assert_eq!(read, (BYTES.to_vec(), None), "{said:?}");
        }
        // Of a range, even if it is the checksum of the whole; and of a HEAD, which has no bytes.
        for op in [Op::Range, Op::Head] {
            let said = op.good().header(CRC64NVME, &other);
            let server = Server::always(answer(if op == Op::Head { said.head() } else { said.raw() }));
            assert_eq!(outcome(&op.run(&store(&server).await).await, &server), None, "{op:?}");
            assert_eq!(server.seen()[0].header("x-amz-checksum-mode"), None, "{op:?}");
        }
        let server = Server::always(answer(Op::Head.good().header(CRC64NVME, "nonsense").head()));
        assert!(store(&server).await.head(&key("k"), HeadOptions::default()).await.is_ok());
    });
}

/// The part of an upload that this store began.
async fn upload_part(server: &Server) -> Result<(), Error> {
    let store = store(server).await;
    let upload = store.create_multipart_upload(&key("k"), MultipartOptions::default()).await?;
    upload.upload_part(PartNumber::FIRST, payload()).await.map(drop)
}

/// Runs a write of [`payload`] before a server that does these steps with it.
async fn write(op: Op, steps: Vec<Step>, rest: Option<Step>) -> (Server, Result<(), Error>) {
    let mut all = Vec::new();
    if op == Op::Part {
        all.push(Op::NewUpload.good_step());
    }
    all.extend(steps);
    let server = Server::with(tests::scripted::Setup { steps: all, rest, ..Default::default() });
    let result = match op {
        Op::Part => upload_part(&server).await,
        _ => op.run(&open(config(server.address()).attempts_max(8)).await).await,
    };
    (server, result)
}

/// The requests that carried the payload.
fn carried(server: &Server) -> Vec<Seen> {
    server.seen().into_iter().filter(|seen| !seen.body.is_empty()).collect()
}

#[test]
fn every_attempt_carries_the_checksum_of_its_bytes_signed() {
    run(async {
        for op in [Op::Put, Op::Create, Op::Match, Op::Part] {
            let retried = answer(Answer::error(400, "BadDigest"));
            let (server, result) = write(op, vec![retried, op.good_step()], None).await;
            assert_eq!(outcome(&result, &server), None, "{op:?}: {result:?}");
            let seen = carried(&server);
            assert_eq!(seen.len(), 2, "{op:?}");
            for seen in seen {
                assert_eq!(seen.header(CRC64NVME), Some(crc64nvme(&seen.body)), "{op:?}");
                assert!(seen.signed_headers().iter().any(|name| name == CRC64NVME), "{op:?}");
            }
        }
        let server = Server::always(Op::PutEmpty.good_step());
        Op::PutEmpty.run(&store(&server).await).await.expect("stored");
        assert_eq!(server.seen()[0].header(CRC64NVME), Some(crc64nvme(b"")));
    });
}

#[test]
fn bytes_that_the_store_refuses_as_damaged_go_again_twice_and_were_not_applied() {
    run(async {
        for op in [Op::Put, Op::Create, Op::Match, Op::Part, Op::Complete, Op::Batch] {
            for code in ["BadDigest", "InvalidDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"] {
                let (server, result) = write(op, vec![], Some(answer(Answer::error(400, code)))).await;
                let row = format!("{op:?} {code}: {result:?}");
                assert_eq!(outcome(&result, &server), Some(ErrorKind::Corrupt), "{row}");
                assert_eq!(carried(&server).len(), 3, "{row}");
                if tests::transport() == Transport::Direct {
                    assert_eq!(server.connections(), 3, "{row}");
                }
            }
        }
        // "Not applied" is not said of an earlier attempt that nobody knows of.
        let reset = vec![tests::scripted::Act::ReadAll, tests::scripted::Act::Reset];
        let refused = Some(answer(Answer::error(400, "BadDigest")));
        let (server, result) = write(Op::Put, vec![reset], refused).await;
        assert_eq!(outcome(&result, &server), Some(ErrorKind::Indeterminate), "{result:?}");
    });
}

#[test]
fn a_write_that_was_stored_as_something_else_is_mended_or_indeterminate() {
    let wrong = |op: Op| answer(op.good().header(CRC64NVME, &crc64nvme(b"other")));
    run(async {
        for op in [Op::Put, Op::Part] {
            let (server, result) = write(op, vec![wrong(op), wrong(op), op.good_step()], None).await;
            assert_eq!(outcome(&result, &server), None, "{op:?}: {result:?}");
            assert_eq!(carried(&server).len(), 3, "{op:?}");
        }
        for (op, attempts) in [(Op::Put, 3), (Op::Part, 3), (Op::Create, 1), (Op::Match, 1)] {
            let (server, result) = write(op, vec![], Some(wrong(op))).await;
            assert_eq!(outcome(&result, &server), Some(ErrorKind::Indeterminate), "{op:?}: {result:?}");
            assert_eq!(carried(&server).len(), attempts, "{op:?}");
            let error = result.expect_err("not what was sent");
            let cause = error.source().and_then(|cause| cause.downcast_ref::<Error>());
            assert_eq!(cause.map(Error::kind), Some(ErrorKind::Corrupt), "{op:?}: {error:?}");
        }
        // What fits, and what says nothing, is believed.
        let whole = payload().to_bytes();
        let fits = answer(Op::Create.good().header(CRC64NVME, &crc64nvme(&whole)));
        let (server, result) = write(Op::Create, vec![fits], None).await;
        assert_eq!(outcome(&result, &server), None, "{result:?}");
    });
}

#[test]
fn an_upload_says_what_its_object_is() {
    let parts = [Bytes::from(vec![b'a'; 70_000]), Bytes::from_static(b"the end")];
    let whole: Vec<u8> = parts.concat();
    let tagged = |tag: &str| answer(Answer::new(200).header("etag", tag));
    run(async {
        let joined = |crc: String| {
            answer(Answer::new(200).body(format!(
                "<CompleteMultipartUploadResult><ETag>\"j\"</ETag><ChecksumCRC64NVME>{crc}</ChecksumCRC64NVME>\
                 </CompleteMultipartUploadResult>"
            )))
        };
        for (said, expected) in
            [(crc64nvme(&whole), None), (crc64nvme(b"other"), Some(ErrorKind::Indeterminate))]
        {
            let server =
                Server::new(vec![Op::NewUpload.good_step(), tagged("\"1\""), tagged("\"2\""), joined(said)]);
            let store = store(&server).await;
            let upload = store.create_multipart_upload(&key("k"), MultipartOptions::default()).await;
            let upload = upload.expect("begun");
            let mut sent = Vec::new();
            for (part, number) in parts.iter().zip([1, 4]) {
                let number = PartNumber::new(number).expect("a part number");
                sent.push(upload.upload_part(number, Payload::from(part.clone())).await.expect("sent"));
            }
            let result = upload.complete(&sent, CompleteOptions::default()).await.map(drop);
            assert_eq!(outcome(&result, &server), expected, "{result:?}");

            let seen = server.seen();
            assert_eq!(seen[0].header("x-amz-checksum-algorithm").as_deref(), Some("CRC64NVME"));
            assert_eq!(seen[0].header("x-amz-checksum-type").as_deref(), Some("FULL_OBJECT"));
            assert_eq!(seen[2].header(CRC64NVME), Some(crc64nvme(&parts[1])));
            assert_eq!(seen[3].header("x-amz-mp-object-size"), Some(whole.len().to_string()));
            assert_eq!(seen[3].header(CRC64NVME), Some(crc64nvme(&whole)));
            let body = String::from_utf8(seen[3].body.clone()).expect("XML");
            for part in &parts {
                let crc = format!("<ChecksumCRC64NVME>{}</ChecksumCRC64NVME>", crc64nvme(part));
                assert!(body.contains(&crc), "{body}");
            }
        }
    });
}

/// S3 refuses the checksum of a part in an upload that was begun with another, or with none. Who takes an upload up
/// again learns from the list of its parts how it was begun.
#[test]
fn an_upload_that_is_taken_up_again_learns_from_its_parts() {
    let tagged = |tag: &str| answer(Answer::new(200).header("etag", tag));
    let (first, second) = (&b"first"[..], &b"second"[..]);
    let list = |algorithm: &str| {
        answer(Answer::new(200).body(format!(
            "<ListPartsResult>{algorithm}<Part><PartNumber>1</PartNumber><ETag>\"1\"</ETag><Size>5</Size>\
             <ChecksumCRC64NVME>{}</ChecksumCRC64NVME></Part></ListPartsResult>",
            crc64nvme(first)
        )))
    };
    run(async {
        for (algorithm, known) in [("<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>", true), ("", false)] {
            let server = Server::new(vec![
                tagged("\"0\""),
                list(algorithm),
                tagged("\"2\""),
                Op::Complete.good_step(),
            ]);
            let store = store(&server).await;
            let upload = store.resume_multipart_upload(&key("k"), &UploadId::new("U1")).expect("an id");
            let part = |number| PartNumber::new(number).expect("a part number");
            upload.upload_part(part(9), Payload::from(second)).await.expect("sent");
            let mut parts = upload.list_parts_page(None).await.expect("a page").parts;
            parts.push(upload.upload_part(part(2), Payload::from(second)).await.expect("sent"));
            upload.complete(&parts, CompleteOptions::default()).await.expect("joined");
            let seen = server.seen();
            assert_eq!(seen[0].header(CRC64NVME), None);
            assert_eq!(seen[2].header(CRC64NVME), known.then(|| crc64nvme(second)));
            assert_eq!(seen[3].header(CRC64NVME), known.then(|| crc64nvme(&[first, second].concat())));
            assert_eq!(seen[3].header("x-amz-mp-object-size").as_deref(), Some("11"));
        }
    });
}

#[test]
fn nothing_is_sent_that_was_not_wanted() {
    run(async {
        for checksums in [Checksums::WhenRequired, Checksums::Off] {
            for op in [Op::Put, Op::Create, Op::NewUpload, Op::Part, Op::Complete, Op::Get, Op::Batch] {
                let server = Server::always(op.good_step());
                let store = open(config(server.address()).checksums(checksums)).await;
                assert_eq!(outcome(&op.run(&store).await, &server), None, "{op:?}");
                let head = server.seen()[0].text().to_ascii_lowercase();
                assert!(!head.contains("x-amz-checksum") && !head.contains("x-amz-mp-"), "{op:?}: {head}");
                // S3 takes no bulk delete without.
                assert_eq!(head.contains("content-md5"), op == Op::Batch, "{op:?}: {head}");
            }
        }
        let server = Server::always(Op::NewUpload.good_step());
        let store = open(config(server.address()).checksums(Checksums::Off)).await;
        let upload = store.create_multipart_upload(&key("k"), MultipartOptions::default()).await;
        let upload = upload.expect("begun");
        drop(upload.upload_part(PartNumber::FIRST, payload()).await);
        assert_eq!(server.seen()[1].header(CRC64NVME), None);
    });
}
