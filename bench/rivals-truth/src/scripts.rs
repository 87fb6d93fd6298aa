//! The scripts: what is asked, what then happens to it, and how to see what became of it.

use tests::fault_proxy::{Act, Attempt, Rewrite, Rule, S3Operation, Stage, Tamper};
use tests::scripted::Answer;

pub const BUCKET: &str = "bucket";

/// What every script is about.
pub const KEY: &str = "rivals/a";
pub const OTHER: &str = "rivals/b";
pub const OLD: &str = "old bytes";
pub const NEW: &str = "new bytes, which are longer";

/// What is asked of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Create,
    /// Put, on the condition that the version is still there that a head has just shown.
    Match,
    /// A multipart upload of one part.
    Multipart,
    Copy,
    Get,
    /// Delete both keys in one request.
    DeleteBoth,
}

/// Looks at an object of the store.
pub type Look<'a> = &'a dyn Fn(&str) -> Option<Vec<u8>>;

pub struct Script {
    pub name: &'static str,
    pub ask: Ask,
    pub before: &'static [(&'static str, &'static str)],
    pub rules: fn() -> Vec<Rule>,
    /// Whether the write is there afterwards; of a get, whether "read" would be true.
    pub done: fn(Look<'_>) -> bool,
    pub if_done: &'static str,
    pub if_not: &'static str,
}

fn rule(operation: S3Operation, attempt: Attempt, stage: Stage, act: Act) -> Rule {
    Rule { operation: Some(operation), attempt, stage, act }
}

fn error(status: u16, code: &str) -> Act {
    Act::Answer(Answer::error(status, code))
}

fn late_error() -> Act {
    Act::Answer(Answer::new(200).body("<Error><Code>InternalError</Code><Message>late</Message></Error>"))
}

fn holds_new(look: Look<'_>) -> bool {
    look(KEY).is_some_and(|bytes| bytes == NEW.as_bytes())
}

const FIRST: Attempt = Attempt::Nth(1);

pub fn scripts() -> Vec<Script> {
    let put = |name, ask, before, rules| Script {
        name,
        ask,
        before,
        rules,
        done: holds_new,
        if_done: "written",
        if_not: "not written",
    };
    let batch = |name, rules| Script {
        name,
        ask: Ask::DeleteBoth,
        before: &[(KEY, OLD), (OTHER, OLD)],
        rules,
        done: |look| look(KEY).is_none() && look(OTHER).is_none(),
        if_done: "both gone",
        if_not: "not gone",
    };
    vec![
        put("put if absent: stored, the connection is reset before the answer", Ask::Create, &[], || {
            vec![rule(S3Operation::PutObjectIfNoneMatch, FIRST, Stage::Answered, Act::Reset)]
        }),
        put("put if absent: stored, the connection is closed before the answer", Ask::Create, &[], || {
            vec![rule(S3Operation::PutObjectIfNoneMatch, FIRST, Stage::Answered, Act::Close)]
        }),
        put(
            "put if it matches: stored, the connection is closed before the answer",
            Ask::Match,
            &[(KEY, OLD)],
            || vec![rule(S3Operation::PutObjectIfMatch, FIRST, Stage::Answered, Act::Close)],
        ),
        put("put if it matches: 503 of a proxy, though it was stored", Ask::Match, &[(KEY, OLD)], || {
            let act = Act::Answer(Answer::html(503));
            vec![rule(S3Operation::PutObjectIfMatch, FIRST, Stage::Answered, act)]
        }),
        put("put if absent: 409 to every attempt, nothing stored", Ask::Create, &[], || {
            let act = error(409, "ConditionalRequestConflict");
            vec![rule(S3Operation::PutObjectIfNoneMatch, Attempt::Every, Stage::Request, act)]
        }),
        put("put if absent: 500, though it was stored", Ask::Create, &[], || {
            let act = error(500, "InternalError");
            vec![rule(S3Operation::PutObjectIfNoneMatch, FIRST, Stage::Answered, act)]
        }),
        put("put if absent: a proxy takes the condition off", Ask::Create, &[(KEY, OLD)], || {
            let act = Act::Tamper(Tamper::NoConditions);
            vec![rule(S3Operation::PutObjectIfNoneMatch, Attempt::Every, Stage::Request, act)]
        }),
        put("put if absent: a proxy sends it twice, the second answer comes", Ask::Create, &[], || {
            vec![rule(S3Operation::PutObjectIfNoneMatch, FIRST, Stage::Answered, Act::Twice(2))]
        }),
        put("complete: joined, the answer is lost, then 404 NoSuchUpload", Ask::Multipart, &[], || {
            let gone = error(404, "NoSuchUpload");
            vec![
                rule(S3Operation::CompleteMultipartUpload, FIRST, Stage::Answered, Act::Reset),
                rule(S3Operation::CompleteMultipartUpload, Attempt::Every, Stage::Request, gone),
            ]
        }),
        put("complete: 200 with an error inside, always", Ask::Multipart, &[], || {
            vec![rule(S3Operation::CompleteMultipartUpload, Attempt::Every, Stage::Request, late_error())]
        }),
        put("copy: 200 with an error inside, always", Ask::Copy, &[(OTHER, NEW)], || {
            vec![rule(S3Operation::CopyObject, Attempt::Every, Stage::Request, late_error())]
        }),
        batch("batch delete: nothing is deleted, and the answer leaves a key out", || {
            let said = "<DeleteResult><Deleted><Key>rivals/a</Key></Deleted></DeleteResult>";
            let act = Act::Answer(Answer::new(200).body(said));
            vec![rule(S3Operation::DeleteObjects, Attempt::Every, Stage::Request, act)]
        }),
        batch("batch delete: nothing is deleted, and the answer names a key that was not asked for", || {
            let said = "<DeleteResult><Error><Key>rivals/x</Key><Code>AccessDenied</Code><Message>no</Message></Error>\
                        </DeleteResult>";
            let act = Act::Answer(Answer::new(200).body(said));
            vec![rule(S3Operation::DeleteObjects, Attempt::Every, Stage::Request, act)]
        }),
        Script {
            name: "get: the body contradicts the checksum that came with it",
            ask: Ask::Get,
            before: &[(KEY, NEW)],
            rules: || {
                let wrong = Rewrite::Header("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=".to_owned());
                vec![rule(S3Operation::GetObject, Attempt::Every, Stage::Answered, Act::Rewrite(wrong))]
            },
            done: |_| false,
            if_done: "",
            if_not: "other bytes than the checksum's",
        },
        Script {
            name: "get: the connection breaks in the body, once",
            ask: Ask::Get,
            before: &[(KEY, NEW)],
            rules: || vec![rule(S3Operation::GetObject, FIRST, Stage::AnswerBody(500), Act::Reset)],
            done: |_| true,
            if_done: "whole",
            if_not: "",
        },
    ]
}
