//! Every operation, cut at every stage: who may be tried again, and what may be said of it.

use std::time::Duration;

use futures_util::future::{join_all, ready};
use futures_util::stream::{self, StreamExt as _};
use object_storage::{
    CompleteOptions, ETag, ErrorKind, MultipartOptions, ObjectStorage, OperationId, Part, PartNumber,
    PutMode, UploadId,
};
use tests::scripted::{Act, Answer, Blackhole, Nobody, Server, Step, answer};

use crate::operations::{Effect, Op, READS, WRITES, key, payload, put_options};
use crate::store::{ATTEMPTS, SHORT, SOON, config, kind_of, now, open, outcome, run, store};

/// Ways to leave open whether the request was carried out.
fn ambiguous(op: Op) -> Vec<(&'static str, Step)> {
    let good = op.good().raw();
    let half = good[..op.good().head().len() / 2].to_vec();
    let mut stages = vec![
        ("reset, nothing read", vec![Act::Reset]),
        ("closed after the head", vec![Act::ReadHead, Act::Close]),
        ("reset after the head", vec![Act::ReadHead, Act::Reset]),
        ("closed after the request", vec![Act::ReadAll, Act::Close]),
        ("reset after the request", vec![Act::ReadAll, Act::Reset]),
        ("closed in the answer's head", vec![Act::ReadAll, Act::Send(half.clone()), Act::Close]),
        ("reset in the answer's head", vec![Act::ReadAll, Act::Send(half), Act::Reset]),
        ("garbage", answer(*b"\x16\x03\x01 this is no HTTP\r\n\r\n")),
        ("an answer in HTTP/9", answer(*b"HTTP/9.9 200 OK\r\ncontent-length: 0\r\n\r\n")),
        ("500", answer(Answer::error(500, "InternalError"))),
        ("500 without a body", answer(Answer::new(500))),
        ("502 of a proxy", answer(Answer::html(502))),
        ("503", answer(Answer::error(503, "SlowDown"))),
        ("503 of a proxy", answer(Answer::html(503))),
        ("504 of a proxy", answer(Answer::html(504))),
        ("429", answer(Answer::error(429, "TooManyRequests"))),
        ("408", answer(Answer::new(408))),
    ];
    if op != Op::Head {
        // The answer to a HEAD has no body in which it could say so.
        stages.push(("400 RequestTimeout", answer(Answer::error(400, "RequestTimeout"))));
    }
    if op.is_large() {
        stages.push(("closed in the body", vec![Act::ReadBody(5000), Act::Close]));
        stages.push(("reset in the body", vec![Act::ReadBody(5000), Act::Reset]));
    }
    if !op.head_decides() && !op.good().raw().is_empty() && op.good().head().len() < good.len() {
        let cut = good[..good.len() - 1].to_vec();
        stages.push(("closed in the answer's body", vec![Act::ReadAll, Act::Send(cut.clone()), Act::Close]));
        stages.push(("reset in the answer's body", vec![Act::ReadAll, Act::Send(cut), Act::Reset]));
    }
    stages
}

/// Answers that make no sense from a store: somebody else speaks, or S3 is not itself.
fn senseless(op: Op) -> Vec<(&'static str, Answer)> {
    let mut answers = vec![
        ("404 of a proxy", Answer::html(404)),
        ("403 of a proxy", Answer::html(403)),
        ("412 of a proxy", Answer::html(412)),
        ("409 of a proxy", Answer::html(409)),
        ("400 of a proxy", Answer::html(400)),
        ("407 of a proxy", Answer::html(407)),
        ("an oversized error document", Answer::error(404, &"x".repeat(100_000))),
        ("an error document cut short", Answer::new(403).body("<Error><Code>AccessDenied</Code>")),
        ("202", Answer::new(202).header("etag", "\"new\"")),
        ("418 with JSON", Answer::new(418).body("{}")),
    ];
    if op.effect() != Effect::Read {
        answers.extend([
            ("404 without a word", Answer::new(404)),
            ("412 without a word", Answer::new(412)),
            ("403 without a word", Answer::new(403)),
            (
                "200 of a proxy",
                Answer::new(200).header("etag", "").body("<html><body>Hello<br></body></html>"),
            ),
        ]);
    }
    answers
}

#[test]
fn what_was_never_sent_is_never_indeterminate() {
    let (nobody, blackhole) = (Nobody::new(), Blackhole::new());
    run(join_all(WRITES.into_iter().chain(READS).map(|op| {
        let (nobody, hole) = (nobody.address(), blackhole.address());
        async move {
            let refused = open(config(nobody)).await;
            let error = op.run(&refused).await.expect_err("nobody is there");
            assert_eq!(kind_of(&error, None), ErrorKind::Unavailable, "{op:?} {error:?}");

            let started = now();
            let silent = open(config(hole).connect_timeout(SHORT).attempts_max(1)).await;
            let error = op.run(&silent).await.expect_err("nobody answers");
            assert_eq!(kind_of(&error, None), ErrorKind::Timeout, "{op:?} {error:?}");
            assert!(started.elapsed() < SOON, "{op:?} took {:?}", started.elapsed());
        }
    })));
}

/// One row per operation and stage.
pub(crate) fn every_cell() {
    let ops = WRITES.into_iter().chain(READS);
    let cells = ops.flat_map(|op| ambiguous(op).into_iter().map(move |(name, step)| cell(op, name, step)));
    // Most of their time is spent pausing before the next attempt.
    run(stream::iter(cells).buffer_unordered(CELLS_AT_ONCE).for_each(|()| ready(())));
}

const CELLS_AT_ONCE: usize = 96;

async fn cell(op: Op, name: &'static str, step: Step) {
    let row = format!("{op:?}, {name}");
    // Once, then a good answer.
    let server = Server::new(vec![step.clone(), op.good_step()]);
    let result = op.run(&store(&server).await).await;
    let requests = server.seen().len();
    // A body that breaks off after its head was believed is asked for again from there: by a range, which the script
    // answers otherwise.
    let streaming = matches!(op, Op::Get | Op::Range) && name.contains("answer's body");
    let malformed = matches!(name, "garbage" | "an answer in HTTP/9");
    match op.effect() {
        Effect::Read if streaming => {
            assert_eq!(outcome(&result, &server), Some(ErrorKind::Protocol), "{row}: {result:?}");
            return;
        }
        _ => {
            assert_eq!(outcome(&result, &server), None, "{row}: {result:?}");
            assert_eq!(requests, 2, "{row}: once more");
        }
    }
    // Always.
    let server = Server::always(step.clone());
    let result = op.run(&store(&server).await).await;
    let kind = outcome(&result, &server);
    assert_attempts(op, &server, &row);
    if op.effect() == Effect::Read {
        let expected = match name {
            "503" | "429" | "503 of a proxy" => ErrorKind::Throttled,
            _ if malformed => ErrorKind::Protocol,
            _ => ErrorKind::Unavailable,
        };
        assert_eq!(kind, Some(expected), "{row}: {result:?}");
        return;
    }
    assert_eq!(kind, Some(ErrorKind::Indeterminate), "{row}: {result:?}");
    // A later refusal does not deny the earlier attempt.
    for refusal in [Answer::error(403, "AccessDenied"), Answer::error(412, "PreconditionFailed")] {
        let server = Server::new(vec![step.clone(), answer(refusal)]);
        let result = op.run(&store(&server).await).await;
        assert_eq!(
            outcome(&result, &server),
            Some(ErrorKind::Indeterminate),
            "{row}, then refused: {result:?}"
        );
    }
}

/// All attempts were made; those whose object tells are followed by as many looks at most.
fn assert_attempts(op: Op, server: &Server, row: &str) {
    let (requests, attempts) = (server.seen().len(), ATTEMPTS as usize);
    if op.leaves_proof() {
        assert!((attempts + 1..=2 * attempts).contains(&requests), "{row}: {requests}");
    } else {
        assert_eq!(requests, attempts, "{row}");
    }
}

#[test]
fn what_may_have_been_applied_is_sent_again_and_then_called_indeterminate() {
    every_cell();
}

#[test]
fn who_is_not_the_store_cannot_speak_for_it() {
    run(async {
        for op in WRITES.into_iter().chain(READS) {
            join_all(senseless(op).into_iter().map(|(name, said)| async move {
                if op == Op::Head && !name.starts_with("202") {
                    // A HEAD has no body by which to tell who answered.
                    return;
                }
                let row = format!("{op:?}, {name}");
                let server = Server::always(answer(said));
                let result = op.run(&store(&server).await).await;
                let (expected, requests) = match op.effect() {
                    Effect::Read => (ErrorKind::Protocol, Some(1)),
                    Effect::Conditional | Effect::Repeatable => (ErrorKind::Indeterminate, None),
                };
                assert_eq!(outcome(&result, &server), Some(expected), "{row}: {result:?}");
                match requests {
                    Some(requests) => assert_eq!(server.seen().len(), requests, "{row}"),
                    None => assert_attempts(op, &server, &row),
                }
            }))
            .await;
        }
    });
}

/// What S3 refuses for certain, it refuses: no second attempt, and the kind says what to do.
#[test]
fn a_definite_refusal_is_reported_as_what_it_is_after_one_attempt() {
    let refusals = [
        (403, "AccessDenied", ErrorKind::PermissionDenied),
        (403, "SignatureDoesNotMatch", ErrorKind::Unauthenticated),
        (403, "RequestTimeTooSkewed", ErrorKind::Unauthenticated),
        (403, "InvalidAccessKeyId", ErrorKind::Unauthenticated),
        (404, "NoSuchBucket", ErrorKind::NotFound),
        (501, "NotImplemented", ErrorKind::Unsupported),
        (405, "MethodNotAllowed", ErrorKind::Unsupported),
        (400, "InvalidArgument", ErrorKind::InvalidInput),
        (409, "BucketNotEmpty", ErrorKind::Conflict),
    ];
    run(async {
        for op in WRITES.into_iter().chain(READS) {
            join_all(refusals.into_iter().map(|(status, code, kind)| async move {
                // The answer to a HEAD has no body: only its status speaks.
                if op == Op::Head && code != "AccessDenied" {
                    return;
                }
                let row = format!("{op:?}, {code}");
                let said = Answer::error(status, code);
                let server = Server::always(answer(if op == Op::Head { said.head() } else { said.raw() }));
                let result = op.run(&store(&server).await).await;
                assert_eq!(outcome(&result, &server), Some(kind), "{row}: {result:?}");
                // A session that a store never heard of may be one that it has forgotten.
                let requests = if code == "InvalidAccessKeyId" { 2 } else { 1 };
                assert_eq!(server.seen().len(), requests, "{row}");
                let error = result.expect_err("refused");
                let answer = error.answer().expect("there was one");
                assert_eq!((answer.status, answer.request_id.as_str()), (status, "R1"), "{row}");
            }))
            .await;
        }
    });
}

/// Nothing was done, so even a conditional write is sent again, once, with what the credentials say then.
#[test]
fn keys_that_have_expired_are_asked_for_again_and_the_request_is_sent_once_more() {
    let codes =
        ["ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired", "InvalidToken"];
    run(async {
        for op in WRITES.into_iter().chain(READS) {
            join_all(codes.into_iter().map(|code| async move {
                let said = Answer::error(400, code);
                let stale = || answer(if op == Op::Head { said.head() } else { said.raw() });
                let row = format!("{op:?}, {code}");
                let server = Server::new(vec![stale(), answer(op.good())]);
                let result = op.run(&store(&server).await).await;
                assert_eq!(outcome(&result, &server), None, "{row}: {result:?}");
                assert_eq!(server.seen().len(), 2, "{row}");
                let server = Server::always(stale());
                let result = op.run(&store(&server).await).await;
                // The answer to a HEAD cannot say which of all bad requests it was.
                let kind = if op == Op::Head { ErrorKind::InvalidInput } else { ErrorKind::Unauthenticated };
                assert_eq!(outcome(&result, &server), Some(kind), "{row}: {result:?}");
                assert_eq!(server.seen().len(), 2, "{row}");
            }))
            .await;
        }
    });
}

#[test]
fn a_condition_that_does_not_hold_is_told_from_an_outcome_nobody_knows() {
    let cells = [
        (Op::Create, ErrorKind::AlreadyExists),
        (Op::CreateEmpty, ErrorKind::AlreadyExists),
        (Op::CopyCreate, ErrorKind::AlreadyExists),
        (Op::CompleteCreate, ErrorKind::AlreadyExists),
        (Op::Match, ErrorKind::PreconditionFailed),
        (Op::DeleteMatch, ErrorKind::PreconditionFailed),
    ];
    run(join_all(cells.into_iter().map(|(op, kind)| async move {
        // Stores that say it without a document are believed if they say who they are.
        let short = Answer::new(412).header("x-amz-request-id", "R1");
        for refusal in [Answer::error(412, "PreconditionFailed"), short] {
            // Somebody in between may have sent it twice: where the object tells, it is asked. Of a deletion, that there
            // is one.
            let server = Server::new(vec![answer(refusal), Op::another_is_there()]);
            let result = op.run(&store(&server).await).await;
            let requests = 1 + usize::from(op.leaves_proof() || op == Op::DeleteMatch);
            assert_eq!((outcome(&result, &server), server.seen().len()), (Some(kind), requests), "{op:?}");
        }
    })));
}

/// What the id on the object tells after an answer was lost.
#[test]
fn a_lost_answer_is_cleared_up_by_the_id_on_the_object() {
    let lost = || vec![Act::ReadAll, Act::Reset];
    let refusals = [
        (Op::Create, Answer::error(412, "PreconditionFailed")),
        (Op::CreateEmpty, Answer::error(412, "PreconditionFailed")),
        (Op::Match, Answer::error(412, "PreconditionFailed")),
        (Op::Match, Answer::error(404, "NoSuchKey")),
    ];
    run(join_all(refusals.into_iter().map(|(op, refusal)| async move {
        let id = OperationId::from_bits(0xab);
        let mode = match op {
            Op::Match => PutMode::Match(crate::operations::tag()),
            _ => PutMode::Create,
        };
        let ours = Op::Head.good().header("x-amz-meta-operation-id", &id.to_string());
        let cells = [
            (answer(ours.head()), None),
            (Op::another_is_there(), Some(ErrorKind::Indeterminate)),
            (answer(Op::Head.good().head()), Some(ErrorKind::Indeterminate)),
            (answer(Answer::new(404).head()), Some(ErrorKind::Indeterminate)),
            (answer(Answer::new(403).head()), Some(ErrorKind::Indeterminate)),
        ];
        for (seen, expected) in cells {
            let server = Server::new(vec![lost(), answer(refusal.clone()), seen]);
            let put = put_options(mode.clone()).with_operation_id(id);
            let result = store(&server).await.put(&key("a key"), payload(), put).await;
            if let Ok(outcome) = &result {
                assert_eq!(outcome.etag.as_str(), "new");
            }
            let open = result.as_ref().err().and_then(object_storage::Error::operation_id);
            assert_eq!(open, expected.map(|_| id), "{op:?}: {result:?}");
            assert_eq!(outcome(&result.map(drop), &server), expected, "{op:?}");
            let seen = server.seen();
            assert_eq!(seen.len(), 3, "{op:?}");
            assert!(seen[2].request_line().starts_with("HEAD "), "{op:?}");
            for attempt in &seen[..2] {
                assert_eq!(attempt.header("x-amz-meta-operation-id"), Some(id.to_string()), "{op:?}");
            }
        }
    })));
}

#[test]
fn a_completion_is_cleared_up_by_the_id_of_its_beginning_or_the_tag_of_its_parts() {
    run(async {
        let gone = || answer(Answer::error(404, "NoSuchUpload"));
        let lost = || vec![Act::ReadAll, Act::Reset];
        let id = OperationId::from_bits(7);
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        let parts = [Part::new(PartNumber::FIRST, ETag::parse(md5).expect("a tag"), 1)];
        let joined = format!("\"{}-1\"", "59adb24ef3cdbe0297f05b395827453f");

        let ours = Op::Head.good().header("x-amz-meta-operation-id", &id.to_string());
        let begun = Op::NewUpload.good_step();
        let server = Server::new(vec![begun, lost(), gone(), answer(ours.head())]);
        let store = store(&server).await;
        let options = MultipartOptions::default().with_operation_id(id);
        let upload = store.create_multipart_upload(&key("k"), options).await.expect("begun");
        upload.complete(&parts, CompleteOptions::default()).await.expect("applied");
        assert_eq!(server.seen()[0].header("x-amz-meta-operation-id"), Some(id.to_string()));

        for (tag, expected) in [(joined.as_str(), None), ("\"other-1\"", Some(ErrorKind::Indeterminate))] {
            let seen = Answer::new(200).header("etag", tag).length(Some(1)).head();
            let server = Server::new(vec![lost(), gone(), answer(seen)]);
            let store = crate::store::store(&server).await;
            let upload = store.resume_multipart_upload(&key("k"), &UploadId::new("U1")).expect("an id");
            let result = upload.complete(&parts, CompleteOptions::default()).await.map(drop);
            assert_eq!(outcome(&result, &server), expected, "{tag}: {result:?}");
        }
        // On the first attempt it is what it says.
        let server = Server::new(vec![Op::NewUpload.good_step(), gone(), answer(Answer::new(404).head())]);
        let store = crate::store::store(&server).await;
        let upload =
            store.create_multipart_upload(&key("k"), MultipartOptions::default()).await.expect("begun");
        let result = upload.complete(&parts, CompleteOptions::default()).await.map(drop);
        assert_eq!(outcome(&result, &server), Some(ErrorKind::NotFound), "{result:?}");
    });
}

/// "Another write was going on": nothing of ours landed, so even a conditional write may go again. A completion may
/// not: its upload is spent.
#[test]
fn a_conflict_with_another_write_is_tried_again() {
    run(join_all([Op::Put, Op::Create, Op::Match, Op::DeleteMatch, Op::CopyCreate].map(|op| async move {
        let conflict = answer(Answer::error(409, "ConditionalRequestConflict"));
        let server = Server::new(vec![conflict.clone(), conflict, op.good_step()]);
        let result = op.run(&store(&server).await).await;
        assert_eq!((outcome(&result, &server), server.seen().len()), (None, 3), "{op:?}: {result:?}");
    })));
    run(async {
        let server = Server::always(answer(Answer::error(409, "ConditionalRequestConflict")));
        let result = Op::CompleteCreate.run(&store(&server).await).await;
        assert_eq!((outcome(&result, &server), server.seen().len()), (Some(ErrorKind::Conflict), 1));
    });
}

#[test]
fn what_is_gone_already_counts_as_deleted() {
    let cells = [(Op::Delete, "NoSuchKey", None), (Op::Abort, "NoSuchUpload", None)];
    let kept = [
        // By whom? It may have been sent twice.
        (Op::DeleteMatch, "NoSuchKey", Some(ErrorKind::Indeterminate)),
        (Op::Delete, "NoSuchBucket", Some(ErrorKind::NotFound)),
        (Op::Complete, "NoSuchUpload", Some(ErrorKind::NotFound)),
    ];
    run(join_all(cells.into_iter().chain(kept).map(|(op, code, expected)| async move {
        let server = Server::always(answer(Answer::error(404, code)));
        let result = op.run(&store(&server).await).await;
        assert_eq!(outcome(&result, &server), expected, "{op:?} {code}: {result:?}");
    })));
}

/// After an outage in which looks failed, the first write in doubt is looked at again once anything has succeeded.
#[test]
fn looks_come_back_after_an_outage_whatever_it_is_that_succeeds() {
    run(async {
        let lost = || vec![Act::ReadAll, Act::Close];
        // Six creations with a look each: five are paid for, and one a second is free.
        let outage = vec![lost(); 12];
        let after = vec![Op::Get.good_step(), lost(), Op::another_is_there()];
        let server = Server::new([outage, after].concat());
        let store = open(config(server.address()).attempts_max(1)).await;
        for _ in 0..6 {
            let result = Op::Create.run(&store).await;
            assert_eq!(outcome(&result, &server), Some(ErrorKind::Indeterminate), "{result:?}");
        }
        assert_eq!(server.seen().len(), 12);
        compio::time::sleep(Duration::from_millis(1100)).await;
        Op::Get.run(&store).await.expect("the store is back");
        let _result = Op::Create.run(&store).await;
        let methods: Vec<_> = server.seen().iter().skip(12).map(|seen| seen.request_line()).collect();
        assert_eq!(methods.len(), 3, "a get, a creation, and a look: {methods:?}");
        assert!(methods[2].starts_with("HEAD "), "{methods:?}");
    });
}
