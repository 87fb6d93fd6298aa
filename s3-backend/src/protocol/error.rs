//! What a refusal means: S3's error document and status to [`ErrorKind`], in the one mapping table.
//!
//! See [Error responses](https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).

use std::time::Duration;

use object_storage::{Answer, ErrorKind};

use super::header;
use super::limits::{CODE_CHARS_MAX, ERROR_BODY_BYTES_MAX, MESSAGE_CHARS_MAX, WORD_CHARS_MAX};
use super::mend::{self, Aside, Mend};
use super::request::ResponseHead;
use super::xml::{self, Element};

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: ErrorKind,
    pub(crate) class: Class,
    pub(crate) message: String,
    pub(crate) answer: Answer,
    /// How long the store asks us to wait.
    pub(crate) retry_after: Option<Duration>,
    /// What it says about the way we asked.
    pub(crate) aside: Option<Box<Aside>>,
    /// What was mended since, so that asking again is not asking the same again.
    pub(crate) mended: Option<Mend>,
}

/// What a refusal says about the request it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// S3 itself says that this request was not carried out.
    Definite,
    /// Definite, and on account of keys whose time is over: with fresh ones the same request may do.
    StaleKeys,
    /// The store wants less. On S3 nothing was done; behind a proxy nobody knows.
    Throttle,
    /// Something failed on the way or inside; whether anything was done is open.
    Transient,
    /// Definite, and because the bytes that arrived were not the ones that were sent. Over another connection the same
    /// request may do.
    BadDigest,
    /// The answer contradicts its own checksum, or that of what was sent. For a read: not what is stored. Of a write:
    /// something is stored, and it is not what was sent.
    Corrupt,
    /// The answer makes no sense. For a read that ends it; of a write it says nothing.
    Violation,
    /// A document that does not read as one, or is another one: cut short or damaged on the way, most likely. As
    /// `Violation`, but over another connection the same request may do, also for a read.
    Garbled,
}

/// The condition that a request carried, which decides what 412 means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// None, or one on what is read.
    Other,
    /// `If-None-Match: *` on what is written.
    Create,
    /// `If-Match` on what is written.
    Match,
}

impl Refusal {
    /// An answer that breaks the protocol.
    pub(crate) fn violation(head: &ResponseHead, message: impl Into<String>) -> Refusal {
        Refusal {
            kind: ErrorKind::Protocol,
            class: Class::Violation,
            message: message.into(),
            answer: answer(head, None),
            retry_after: None,
            aside: None,
            mended: None,
        }
    }

    /// An answer whose document does not read as one, or is another one than was asked for.
    pub(crate) fn garbled(head: &ResponseHead, message: impl Into<String>) -> Refusal {
        Refusal { class: Class::Garbled, ..Refusal::violation(head, message) }
    }

    /// An answer that is not what its checksum says, or that names another checksum than the one that was sent.
    pub(crate) fn corrupt(head: &ResponseHead, message: impl Into<String>) -> Refusal {
        Refusal {
            kind: ErrorKind::Corrupt,
            class: Class::Corrupt,
            message: message.into(),
            answer: answer(head, None),
            retry_after: None,
            aside: None,
            mended: None,
        }
    }

    /// A refusal that we conclude ourselves from a good answer: S3 did as asked, and it is not what is wanted.
    pub(crate) fn concluded(head: &ResponseHead, kind: ErrorKind, message: impl Into<String>) -> Refusal {
        Refusal {
            kind,
            class: Class::Definite,
            message: message.into(),
            answer: answer(head, None),
            retry_after: None,
            aside: None,
            mended: None,
        }
    }

    /// Whether S3 met another write on the same key and did neither of the two for us.
    pub(crate) fn is_race(&self) -> bool {
        self.class == Class::Definite
            && matches!(self.answer.code.as_str(), "ConditionalRequestConflict" | "OperationAborted")
    }

    /// Reads an answer whose status is not a success.
    pub(crate) fn read(head: &ResponseHead, body: &[u8], condition: Condition, is_head: bool) -> Refusal {
        let document = body.get(..ERROR_BODY_BYTES_MAX.min(body.len())).and_then(error_document);
        let code = document.as_ref().and_then(|root| root.text_of("Code")).filter(|code| !code.is_empty());
        // S3 answers HEAD and 304 without a body. Anything else without S3's error document may come from
        // something in between that never asked S3.
        let from_s3 = code.is_some() || ((is_head || head.status == 304) && body.is_empty());
        let believed = from_s3 || is_plain(head, body) || is_redirect(head.status);
        let mut refusal = Refusal::judge(head, head.status, code, document.as_ref(), condition, believed);
        if is_head && head.status == 400 && body.is_empty() {
            // The answer to HEAD cannot say `ExpiredToken`; and there is hardly another way to ask wrongly.
            refusal.class = Class::StaleKeys;
        }
        if believed {
            refusal.aside = aside(head, document.as_ref(), code).map(Box::new);
        }
        refusal
    }

    /// Whether the connection is to blame, so that no other request should be entrusted to it.
    pub(crate) fn blames_connection(&self) -> bool {
        matches!(self.class, Class::BadDigest | Class::Corrupt | Class::Garbled)
    }

    /// The same about keys that hold for a session: a store that has forgotten them says that it never knew them, as
    /// SeaweedFS does of an expired session, and new ones may do.
    pub(crate) fn of_a_session(mut self) -> Refusal {
        if self.class == Class::Definite && self.answer.code == "InvalidAccessKeyId" {
            self.class = Class::StaleKeys;
        }
        self
    }

    /// Whether the keys are to blame, so that whoever holds them should ask their source again.
    pub(crate) fn blames_keys(&self) -> bool {
        self.class == Class::StaleKeys
            || matches!(self.answer.code.as_str(), "InvalidAccessKeyId" | "SignatureDoesNotMatch")
    }

    /// Reads an error document that came with status 200, as CopyObject and CompleteMultipartUpload send it when
    /// the failure came late.
    pub(crate) fn read_late(head: &ResponseHead, document: &Element, condition: Condition) -> Refusal {
        let code = document.text_of("Code");
        let status = code.map_or(500, status_of);
        Refusal::judge(head, status, code, Some(document), condition, code.is_some())
    }

    fn judge(
        head: &ResponseHead,
        status: u16,
        code: Option<&str>,
        document: Option<&Element>,
        condition: Condition,
        from_s3: bool,
    ) -> Refusal {
        let (kind, class) = classify(status, code.unwrap_or_default(), condition);
        let (kind, class) = match class {
            // Who is not S3 cannot speak for S3.
            Class::Definite | Class::StaleKeys | Class::BadDigest if !from_s3 => {
                (ErrorKind::Protocol, Class::Violation)
            }
            class => (kind, class),
        };
        Refusal {
            kind,
            class,
            message: message(head, document),
            answer: answer(head, code),
            retry_after: retry_after(head),
            aside: None,
            mended: None,
        }
    }
}

/// What a refusal says about the way we asked, if it is one of those that may.
fn aside(head: &ResponseHead, document: Option<&Element>, code: Option<&str>) -> Option<Aside> {
    let said = |name: &str| document.and_then(|root| root.text_of(name));
    match (head.status, code) {
        (301 | 307 | 308, _) | (400, None | Some("AuthorizationHeaderMalformed")) => {
            let region = head.headers.text("x-amz-bucket-region").or_else(|| said("Region"));
            let host = head.headers.text("location").and_then(mend::host_of).or_else(|| said("Endpoint"));
            let region = mend::region(region?)?.to_owned();
            Some(Aside { region: Some(region), host: host.map(str::to_owned), date: None })
        }
        // The answer to a HEAD cannot say which of all refusals it is.
        (403, None | Some("RequestTimeTooSkewed" | "RequestExpired")) => {
            Some(Aside { date: Some(header::date(&head.headers)?), ..Aside::default() })
        }
        _ => None,
    }
}

/// The root of S3's error document, if the body is one.
fn error_document(body: &[u8]) -> Option<Element> {
    let root = xml::parse(body).ok()?;
    match root.name.as_str() {
        "Error" => Some(root),
        // STS and some stores wrap it.
        "ErrorResponse" => root.children.into_iter().find(|child| child.name == "Error"),
        _ => None,
    }
}

/// Whether a store refused without any body: some do that, and the status says enough if they show who they are.
fn is_plain(head: &ResponseHead, body: &[u8]) -> bool {
    body.is_empty()
        && matches!(head.status, 401 | 403 | 404 | 412 | 416)
        && head.headers.get("x-amz-request-id").is_some()
}

/// Whether the request is to be made elsewhere, which whoever says it has not done itself. (302 and 303 can also
/// follow something that was done.)
fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 307 | 308)
}

/// The table.
fn classify(status: u16, code: &str, condition: Condition) -> (ErrorKind, Class) {
    use Class::{BadDigest, Definite, StaleKeys, Throttle, Transient, Violation};
    let unmatched = match condition {
        Condition::Create => ErrorKind::AlreadyExists,
        Condition::Match | Condition::Other => ErrorKind::PreconditionFailed,
    };
    match (status, code) {
        (
            _,
            "SlowDown" | "ServiceUnavailable" | "TooManyRequests" | "RequestLimitExceeded" | "Throttling",
        ) => (ErrorKind::Throttled, Throttle),
        (_, "InternalError" | "RequestTimeout" | "BadGateway" | "GatewayTimeout") => {
            (ErrorKind::Unavailable, Transient)
        }
        (
            _,
            "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "RequestExpired",
        ) => (ErrorKind::Unauthenticated, StaleKeys),
        (
            _,
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed" | "MissingSecurityHeader",
        ) => (ErrorKind::Unauthenticated, Definite),
        (_, "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError" | "PermanentRedirect") => {
            (ErrorKind::Config, Definite)
        }
        (_, "ConditionalRequestConflict" | "OperationAborted") => (ErrorKind::Conflict, Definite),
        (_, "EntityTooLarge" | "EntityTooSmall" | "InvalidPart" | "InvalidPartOrder" | "KeyTooLongError") => {
            (ErrorKind::InvalidInput, Definite)
        }
        // The digests that we send are of the bytes that we send: what does not fit them was damaged on the way.
        (
            _,
            "BadDigest"
            | "InvalidDigest"
            | "IncompleteBody"
            | "XAmzContentSHA256Mismatch"
            | "XAmzContentChecksumMismatch",
        ) => (ErrorKind::Corrupt, BadDigest),
        (_, "NotImplemented") => (ErrorKind::Unsupported, Definite),
        (301 | 302 | 303 | 307 | 308, _) => (ErrorKind::Config, Definite),
        (304, _) => (ErrorKind::NotModified, Definite),
        (401, _) => (ErrorKind::Unauthenticated, Definite),
        (403, _) => (ErrorKind::PermissionDenied, Definite),
        (404, _) => (ErrorKind::NotFound, Definite),
        (405 | 501, _) => (ErrorKind::Unsupported, Definite),
        (409, _) => (ErrorKind::Conflict, Definite),
        (412, _) => (unmatched, Definite),
        (416, _) => (ErrorKind::RangeNotSatisfiable, Definite),
        (408 | 425 | 499, _) => (ErrorKind::Unavailable, Transient),
        (429 | 503, _) => (ErrorKind::Throttled, Throttle),
        (400..=499, _) => (ErrorKind::InvalidInput, Definite),
        (500..=599, _) => (ErrorKind::Unavailable, Transient),
        _ => (ErrorKind::Protocol, Violation),
    }
}

/// The status that S3 gives an error when it is not late with it.
fn status_of(code: &str) -> u16 {
    match code {
        "InternalError" => 500,
        "SlowDown" | "ServiceUnavailable" => 503,
        "NoSuchKey" | "NoSuchBucket" | "NoSuchUpload" => 404,
        "PreconditionFailed" => 412,
        "AccessDenied" => 403,
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => 400,
        "ConditionalRequestConflict" | "OperationAborted" => 409,
        "InvalidRange" => 416,
        "NotImplemented" => 501,
        "EntityTooSmall" | "EntityTooLarge" | "InvalidPart" | "InvalidPartOrder" | "InvalidRequest"
        | "InvalidArgument" | "MalformedXML" => 400,
        // Not known to mean "not done".
        _ => 500,
    }
}

fn answer(head: &ResponseHead, code: Option<&str>) -> Answer {
    let request_id = head.headers.text("x-amz-request-id").unwrap_or_default();
    Answer::new(
        head.status,
        clean(code.unwrap_or_default(), CODE_CHARS_MAX),
        clean(request_id, CODE_CHARS_MAX),
    )
}

/// One line for a human: S3's own message, or where a redirect points.
fn message(head: &ResponseHead, document: Option<&Element>) -> String {
    if is_redirect(head.status) {
        let region = head.headers.text("x-amz-bucket-region");
        let region = region.or_else(|| document.and_then(|root| root.text_of("Region")));
        return match region {
            Some(region) => format!(
                "the bucket is in region {}, and the request could not be made there",
                clean(region, CODE_CHARS_MAX)
            ),
            None => "the store redirects elsewhere; redirects are not followed: set the endpoint and region"
                .to_owned(),
        };
    }
    let text = document.and_then(|root| root.text_of("Message")).unwrap_or_default();
    // A store may repeat what it was asked, and that was signed.
    if text.contains("X-Amz-") || text.contains("AWS4-HMAC") {
        String::new()
    } else {
        clean(text, MESSAGE_CHARS_MAX)
    }
}

/// What a server says, made fit for one line of a log. Words as long as a signature or a token are left out: it has
/// seen ours, and may repeat them.
fn clean(text: &str, chars_max: usize) -> String {
    let of_a_token = |c: char| c.is_ascii_alphanumeric() || "+/=_-%.~".contains(c);
    let mut out = String::new();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c| !of_a_token(c)).unwrap_or(rest.len());
        let (said, after) = rest.split_at(if word == 0 { first.len_utf8() } else { word });
        out.push_str(if word > WORD_CHARS_MAX { "[...]" } else { said });
        rest = after;
        if out.len() > chars_max * char::MAX.len_utf8() {
            break;
        }
    }
    out.chars().take(chars_max).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn retry_after(head: &ResponseHead) -> Option<Duration> {
    // See RFC 9110, section 10.2.3; the form with a date is not used by any store known to us.
    head.headers.text("retry-after")?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::super::headers::Headers;
    use super::*;

    fn head(status: u16) -> ResponseHead {
        ResponseHead { status, headers: Headers::default() }
    }

    fn read(status: u16, body: &str, condition: Condition) -> (ErrorKind, Class) {
        let refusal = Refusal::read(&head(status), body.as_bytes(), condition, false);
        (refusal.kind, refusal.class)
    }

    fn document(code: &str) -> String {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>")
    }

    #[test]
    fn an_error_document_reads_the_same_with_and_without_a_namespace() {
        for xmlns in ["", " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""] {
            let body =
                format!("<Error{xmlns}><Code>NoSuchKey</Code><Message>gone\nfor good</Message></Error>");
            let refusal = Refusal::read(&head(404), body.as_bytes(), Condition::Other, false);
            assert_eq!(refusal.kind, ErrorKind::NotFound);
            assert_eq!(refusal.class, Class::Definite);
            assert_eq!(refusal.answer.code, "NoSuchKey");
            assert_eq!(refusal.message, "gone for good");
        }
    }

    #[test]
    fn the_same_412_means_what_the_request_asked() {
        let body = document("PreconditionFailed");
        assert_eq!(read(412, &body, Condition::Create), (ErrorKind::AlreadyExists, Class::Definite));
        assert_eq!(read(412, &body, Condition::Match), (ErrorKind::PreconditionFailed, Class::Definite));
        assert_eq!(read(412, &body, Condition::Other), (ErrorKind::PreconditionFailed, Class::Definite));
    }

    #[test]
    fn who_is_not_s3_cannot_speak_for_s3() {
        let html = "<html><body>404 Not Found</body></html>";
        assert_eq!(read(404, html, Condition::Create), (ErrorKind::Protocol, Class::Violation));
        assert_eq!(
            read(403, "denied by the proxy", Condition::Other),
            (ErrorKind::Protocol, Class::Violation)
        );
        assert_eq!(read(400, "", Condition::Other), (ErrorKind::Protocol, Class::Violation));
        assert_eq!(read(404, "", Condition::Other), (ErrorKind::Protocol, Class::Violation));
        let mut named = head(404);
        named.headers.push(b"x-amz-request-id", b"R");
        let refusal = Refusal::read(&named, b"", Condition::Other, false);
        assert_eq!((refusal.kind, refusal.class), (ErrorKind::NotFound, Class::Definite));
        let huge = format!(
            "<Error><Code>NoSuchKey</Code><Message>{}</Message></Error>",
            "x".repeat(ERROR_BODY_BYTES_MAX)
        );
        assert_eq!(read(404, &huge, Condition::Other), (ErrorKind::Protocol, Class::Violation));
    }

    #[test]
    fn what_may_have_been_done_is_never_definite() {
        for status in [500, 502, 503, 504, 429, 408, 499, 599] {
            assert_ne!(read(status, "", Condition::Create).1, Class::Definite, "{status}");
        }
        assert_eq!(
            read(400, &document("RequestTimeout"), Condition::Create),
            (ErrorKind::Unavailable, Class::Transient)
        );
        assert_eq!(
            read(503, &document("SlowDown"), Condition::Create),
            (ErrorKind::Throttled, Class::Throttle)
        );
    }

    #[test]
    fn keys_whose_time_is_over_are_told_from_wrong_ones() {
        let judged =
            |code: &str| Refusal::read(&head(400), document(code).as_bytes(), Condition::Create, false);
        for code in [
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidToken",
            "TokenRefreshRequired",
            "RequestExpired",
        ] {
            let refusal = judged(code);
            assert_eq!(
                (refusal.kind, refusal.class),
                (ErrorKind::Unauthenticated, Class::StaleKeys),
                "{code}"
            );
            assert!(refusal.blames_keys());
        }
        for code in ["InvalidAccessKeyId", "SignatureDoesNotMatch"] {
            let refusal = judged(code);
            assert_eq!(
                (refusal.kind, refusal.class),
                (ErrorKind::Unauthenticated, Class::Definite),
                "{code}"
            );
            assert!(refusal.blames_keys());
        }
        for code in ["AccessDenied", "RequestTimeTooSkewed", "InvalidRequest"] {
            assert!(!judged(code).blames_keys(), "{code}");
        }
        assert!(Refusal::read(&head(400), b"", Condition::Other, true).blames_keys());
        assert!(!Refusal::read(&head(403), b"", Condition::Other, true).blames_keys());
    }

    #[test]
    fn bytes_that_were_damaged_on_the_way_are_refused_for_certain_and_may_go_again() {
        for code in ["BadDigest", "InvalidDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"] {
            let refusal = Refusal::read(&head(400), document(code).as_bytes(), Condition::Create, false);
            assert_eq!((refusal.kind, refusal.class), (ErrorKind::Corrupt, Class::BadDigest), "{code}");
            assert!(refusal.blames_connection(), "{code}");
        }
        let denied = Refusal::read(&head(403), document("AccessDenied").as_bytes(), Condition::Create, false);
        assert!(!denied.blames_connection());
    }

    #[test]
    fn a_late_error_is_judged_by_its_code() {
        let late = |code: &str| {
            let root = xml::parse(document(code).as_bytes()).expect("well-formed");
            let refusal = Refusal::read_late(&head(200), &root, Condition::Create);
            (refusal.kind, refusal.class)
        };
        assert_eq!(late("InternalError"), (ErrorKind::Unavailable, Class::Transient));
        assert_eq!(late("PreconditionFailed"), (ErrorKind::AlreadyExists, Class::Definite));
        assert_eq!(late("NoSuchUpload"), (ErrorKind::NotFound, Class::Definite));
        assert_eq!(late("SomethingNew"), (ErrorKind::Unavailable, Class::Transient));
    }

    #[test]
    fn a_redirect_was_not_carried_out_whoever_sends_it() {
        for status in [301, 307, 308] {
            assert_eq!(read(status, "<html>", Condition::Create), (ErrorKind::Config, Class::Definite));
        }
        assert_eq!(read(303, "<html>", Condition::Create).1, Class::Violation);
    }

    #[test]
    fn only_a_race_between_writes_is_worth_another_try() {
        let is_race = |code: &str| {
            Refusal::read(&head(409), document(code).as_bytes(), Condition::Create, false).is_race()
        };
        assert!(is_race("ConditionalRequestConflict") && is_race("OperationAborted"));
        assert!(!is_race("BucketNotEmpty") && !is_race("BucketAlreadyExists"));
    }

    #[test]
    fn a_word_as_long_as_a_signature_is_not_repeated() {
        let signature = "0123456789abcdef".repeat(4);
        assert_eq!(clean(&format!(" you sent ({signature})\nand é "), 99), "you sent ([...]) and é");
        assert_eq!(clean(&signature[1..], 99), &signature[1..]);
        assert_eq!(clean("abc def", 5), "abc d");
    }

    #[test]
    fn what_a_store_repeats_of_a_signed_request_is_not_shown() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>got X-Amz-Signature=SECRET</Message>\
                    <StringToSign>AWS4-HMAC-SHA256 SECRET</StringToSign></Error>";
        let refusal = Refusal::read(&head(403), body.as_bytes(), Condition::Other, false);
        assert_eq!(refusal.kind, ErrorKind::Unauthenticated);
        assert!(!format!("{refusal:?}").contains("SECRET"));
    }
}
