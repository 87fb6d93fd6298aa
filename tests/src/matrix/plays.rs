//! How each fault is played: which act, at which stage.

use std::time::Duration;

use object_storage::ErrorKind;

use super::expect::{self, OK, UNKNOWN, ambiguous, ends};
use super::{ATTEMPTS, Cell, Effect, Ends, Op, Times};
use crate::fault_proxy::{Act, Rewrite, Stage, Tamper};
use crate::scripted::Answer;
use crate::scripted::tls::Flaw;

/// One way to play a cell.
#[derive(Clone, Debug)]
pub struct Play {
    /// What happens, for a person.
    pub name: &'static str,
    /// What happens.
    pub strike: Strike,
    /// What may come of it when it happens to the first attempt; `None`: not played.
    pub once: Option<Ends>,
    /// When it happens to every attempt.
    pub always: Option<Ends>,
    /// Whether it ends by a limit on time, which is then a short one.
    pub is_silence: bool,
}

/// More than any client reads of a head: hyper ends at 408 KiB.
const HUGE_BYTES: usize = 600_000;

/// What strikes.
#[derive(Clone, Debug)]
pub enum Strike {
    /// The proxy, at a stage of the request.
    Proxy(Stage, Act),
    /// The proxy, at a stage of the TLS connection.
    Handshake(Act),
    /// Nobody listens.
    Nobody,
    /// Nobody answers.
    Blackhole,
    /// The name of the host leads nowhere.
    NoName,
    /// The certificate is wrong; `None`: its authority is unknown.
    Certificate(Option<Flaw>),
    /// The connection in the pool ends this way before the operation begins.
    Stale(Act),
    /// The caller drops the future while the request is held up at this stage.
    Dropped(Stage),
    /// The caller's process is killed (SIGKILL) while the request is held up at this stage.
    Killed(Stage),
}

/// Every way in which a cell is played.
#[must_use]
pub fn plays(cell: &Cell) -> Vec<Play> {
    if !cell.is_applicable() || cell.elsewhere().is_some() {
        return Vec::new();
    }
    let fault = cell.fault.id;
    let mut plays = Plays { cell, list: Vec::new() };
    match fault {
        "F01" => plays.always("the name leads nowhere", Strike::NoName),
        "F02" => plays.always("nobody listens", Strike::Nobody),
        "F03" => plays.silent_always("nobody answers", Strike::Blackhole),
        "F04" => {
            plays.always("expired", Strike::Certificate(Some(Flaw::Expired)));
            plays.always("for later", Strike::Certificate(Some(Flaw::NotYet)));
            plays.always("another name", Strike::Certificate(Some(Flaw::WrongName)));
            plays.always("vouches for itself", Strike::Certificate(Some(Flaw::SelfSigned)));
            plays.always("unknown authority", Strike::Certificate(None));
        }
        "F05" => {
            plays.both("reset in the handshake", Strike::Handshake(Act::Reset));
            plays.both("closed in the handshake", Strike::Handshake(Act::Close));
            plays.silent("silence in the handshake", Strike::Handshake(Act::Stall));
        }
        "F06" => {
            plays.once("closed while idle", Strike::Stale(Act::Close));
            plays.once("reset while idle", Strike::Stale(Act::Reset));
        }
        "F07" => {
            plays.proxy("reset after the head", Stage::Head, Act::Reset);
            plays.proxy("closed after the head", Stage::Head, Act::Close);
            if cell.op.sends_bytes() {
                plays.proxy("reset in the body", Stage::Body(5000), Act::Reset);
                plays.proxy("closed in the body", Stage::Body(5000), Act::Close);
            }
        }
        "F08" => {
            plays.proxy("not carried out, reset", Stage::Request, Act::Reset);
            plays.proxy("not carried out, closed", Stage::Request, Act::Close);
            plays.proxy("carried out, reset", Stage::Answered, Act::Reset);
            plays.proxy("carried out, closed", Stage::Answered, Act::Close);
        }
        "F09" => {
            let stage = Stage::AnswerHead(500);
            let again =
                |times| if reads(cell) { expect::again(cell, times) } else { expect::of(cell, times) };
            plays.as_said("reset in the head", stage, Act::Reset, again);
            plays.as_said("closed in the head", stage, Act::Close, again);
            if cell.op.answers_bytes() {
                plays.proxy("reset in the body", Stage::AnswerBody(500), Act::Reset);
                plays.proxy("closed in the body", Stage::AnswerBody(500), Act::Close);
            }
        }
        "F10" => plays.silent("nobody reads", proxy(Stage::Head, Act::Stall)),
        "F11" => {
            plays.silent("not carried out, silence", proxy(Stage::Request, Act::Stall));
            plays.silent("carried out, silence", proxy(Stage::Answered, Act::Stall));
        }
        "F12" => {
            let slow = Act::Drip(100, Duration::from_millis(4));
            plays.with(
                "slow, but it comes",
                proxy(Stage::Answered, slow),
                None,
                Some(ends(&[OK], &[], 1..=1)),
            );
            if cell.op.answers_bytes() {
                plays.silent("silence in the body", proxy(Stage::AnswerBody(500), Act::Stall));
            } else {
                plays.silent("silence in the head", proxy(Stage::AnswerHead(900), Act::Stall));
            }
        }
        "F13" => {
            plays.statuses(&[
                ("500", Answer::error(500, "InternalError")),
                ("502 of a proxy", Answer::html(502)),
                ("504 of a proxy", Answer::html(504)),
                ("499", Answer::new(499)),
            ]);
        }
        "F14" => plays.statuses(&[
            ("503 SlowDown", Answer::error(503, "SlowDown")),
            ("429", Answer::error(429, "TooManyRequests")),
        ]),
        "F15" => {
            plays.statuses(&[("408", Answer::new(408))]);
            if cell.op != Op::Head {
                plays.statuses(&[("400 RequestTimeout", Answer::error(400, "RequestTimeout"))]);
            }
        }
        "F16" => {
            plays.refusal("409 ConditionalRequestConflict", Answer::error(409, "ConditionalRequestConflict"));
            if cell.op != Op::Head {
                plays.refusal("409 OperationAborted", Answer::error(409, "OperationAborted"));
            }
        }
        "F17" => plays.refusal("412", Answer::error(412, "PreconditionFailed")),
        "F18" => {
            let late = |code: &str| Answer::new(200).body(error_document(code));
            plays.proxy("not carried out", Stage::Request, Act::Answer(late("InternalError")));
            plays.proxy("carried out", Stage::Answered, Act::Answer(late("InternalError")));
            let denied = |_| expect::refused(&[ErrorKind::PermissionDenied]);
            let answer = Act::Answer(late("AccessDenied"));
            plays.as_said("not carried out, AccessDenied", Stage::Request, answer, denied);
        }
        "F19" => {
            plays.proxy("empty", Stage::Answered, Act::Rewrite(Rewrite::Body(Vec::new())));
            plays.proxy("half a document", Stage::Answered, Act::Rewrite(Rewrite::HalfBody));
        }
        "F20" => {
            for (name, status) in [("301", 301), ("307", 307), ("308", 308)] {
                let answer =
                    Answer::error(status, "PermanentRedirect").header("location", "http://127.0.0.1:1/");
                plays.refusal(name, answer.header("x-amz-bucket-region", "eu-west-7"));
            }
        }
        "F21" => {
            let answer =
                Answer::error(403, "RequestTimeTooSkewed").header("date", "Mon, 01 Jan 2001 00:00:00 GMT");
            plays.refusal("403 RequestTimeTooSkewed", answer);
            let told =
                ends(&expect::kinds(&[ErrorKind::Unauthenticated, ErrorKind::PermissionDenied]), &[], 1..=2);
            let skewed = proxy(Stage::Request, Act::Tamper(Tamper::SkewDate));
            plays.with("signed in another year", skewed, None, Some(told));
        }
        "F22" => {
            plays.refusal("400 ExpiredToken", Answer::error(400, "ExpiredToken"));
            plays.refusal("400 InvalidToken", Answer::error(400, "InvalidToken"));
            plays.refusal("400 TokenRefreshRequired", Answer::error(400, "TokenRefreshRequired"));
        }
        "F23" => {
            plays.refusal("403 AccessDenied", Answer::error(403, "AccessDenied"));
            plays.refusal("403 SignatureDoesNotMatch", Answer::error(403, "SignatureDoesNotMatch"));
        }
        "F24" if cell.symbol == "OK" && cell.op == Op::Batch => {
            let twice = Act::Twice(2);
            plays.always("gone already: carried out before", proxy(Stage::Answered, twice));
        }
        "F24" if cell.symbol == "OK" => {
            let gone = Act::Answer(Answer::error(404, "NoSuchKey"));
            plays.always("gone: carried out, 404", proxy(Stage::Answered, gone));
        }
        "F24" => plays.refusal("404 NoSuchKey", Answer::error(404, "NoSuchKey")),
        "F25" if cell.op == Op::Head => plays.refusal("404", Answer::new(404)),
        "F25" => plays.refusal("404 NoSuchBucket", Answer::error(404, "NoSuchBucket")),
        "F26" if cell.op == Op::Abort => {
            let gone = Act::Answer(Answer::error(404, "NoSuchUpload"));
            plays.always("gone: carried out, 404", proxy(Stage::Answered, gone));
        }
        "F26" => plays.refusal("404 NoSuchUpload", Answer::error(404, "NoSuchUpload")),
        "F27" => {
            plays.refusal("400 EntityTooSmall", Answer::error(400, "EntityTooSmall"));
            plays.refusal("400 InvalidPart", Answer::error(400, "InvalidPart"));
            plays.refusal("400 InvalidPartOrder", Answer::error(400, "InvalidPartOrder"));
        }
        "F28" => {
            plays.refusal("400 BadDigest", Answer::error(400, "BadDigest"));
            plays.refusal("400 InvalidDigest", Answer::error(400, "InvalidDigest"));
            if cell.op.sends_bytes() {
                let flipped = proxy(Stage::Request, Act::Tamper(Tamper::FlipBit));
                let (once, always) = (expect::of(cell, Times::Once), expect::of(cell, Times::Always));
                plays.with("a bit of the request turned over", flipped, Some(once), Some(always));
            }
        }
        "F29" if cell.op.answers_bytes() => {
            plays.proxy("closed in the body", Stage::AnswerBody(900), Act::Close);
        }
        "F29" => plays.proxy("closed in the head", Stage::AnswerHead(900), Act::Close),
        "F30" if cell.symbol == "I" => {
            plays.both("a bit turned over", proxy(Stage::Answered, Act::Rewrite(Rewrite::FlipBit)));
        }
        "F30" => {
            let how = Rewrite::Replace("Result", "Resulu");
            plays.proxy("another root element", Stage::Answered, Act::Rewrite(how));
        }
        "F31" => {
            let rewrite = |how| proxy(Stage::Answered, Act::Rewrite(how));
            plays.always("200", rewrite(Rewrite::Status("200 OK")));
            let range = |range: &str| rewrite(Rewrite::Header("content-range", range.to_owned()));
            plays.always("shifted", range("bytes 101-200/4000"));
            plays.always("a total that is too small", range("bytes 100-199/150"));
            plays.always("no Content-Range", rewrite(Rewrite::NoHeader("content-range")));
        }
        "F32" => {
            let rewrite = |how| proxy(Stage::Answered, Act::Rewrite(how));
            let huge = Rewrite::Header("x-huge", "h".repeat(HUGE_BYTES));
            plays.both("a head of 600 kB", rewrite(huge));
            // What comes after the end of an answer belongs to nobody: the answer counts, the connection does not.
            let longer = match cell.op {
                op if reads(cell) || !op.answers_xml() => Some(ends(
                    &[OK, UNKNOWN],
                    &expect::kinds(&[ErrorKind::Protocol, ErrorKind::Unavailable]),
                    1..=ATTEMPTS,
                )),
                _ => Some(ends(&[OK, UNKNOWN], &[], 1..=ATTEMPTS)),
            };
            plays.with("longer than declared", rewrite(Rewrite::Lengthen(1000)), longer.clone(), longer);
            if cell.op.answers_xml() {
                plays.both("a document that explodes", rewrite(Rewrite::Body(bomb())));
                plays.both("a document of 100,000 levels", rewrite(Rewrite::Body(b"<a>".repeat(100_000))));
            }
        }
        "F33" => {
            let rewrite = |how| proxy(Stage::Answered, Act::Rewrite(how));
            plays.always("bare", rewrite(Rewrite::BareETag));
            plays.always("weak", rewrite(Rewrite::WeakETag));
            let missing = match cell.op {
                op if op.answers_xml() => Rewrite::Replace("ETag>", "Etiquette>"),
                _ => Rewrite::NoHeader("etag"),
            };
            let said = |times| match cell.op.effect(false) {
                Effect::Read => ends(&[OK], &[], 1..=1),
                _ => ambiguous(cell.op, false, times),
            };
            plays.as_said("missing", Stage::Answered, Act::Rewrite(missing), said);
        }
        "F34" => {
            let once = Some(ends(&[OK], &[], 1..=1));
            plays.with("the first answer comes", proxy(Stage::Answered, Act::Twice(1)), once.clone(), None);
            let second = match cell.op.effect(false) {
                Effect::Conditional => Some(ends(&[OK, UNKNOWN], &[], 1..=ATTEMPTS)),
                _ => once,
            };
            plays.with("the second answer comes", proxy(Stage::Answered, Act::Twice(2)), second, None);
        }
        "F35" => plays.proxy("held back, carried out in the end", Stage::Request, Act::Hold),
        "F36" => {
            plays.with("before it is carried out", Strike::Dropped(Stage::Request), Some(dropped()), None);
            plays.with("after it was carried out", Strike::Dropped(Stage::Answered), Some(dropped()), None);
            if cell.op.sends_bytes() {
                plays.with("in the body", Strike::Dropped(Stage::Head), Some(dropped()), None);
            }
        }
        "F37" => {
            plays.with("before it is carried out", Strike::Killed(Stage::Request), Some(dropped()), None);
            plays.with("after it was carried out", Strike::Killed(Stage::Answered), Some(dropped()), None);
        }
        "F38" => {
            let stripped = proxy(Stage::Request, Act::Tamper(Tamper::NoConditions));
            plays.always("a proxy takes the condition off: the signature breaks", stripped);
        }
        other => unreachable!("{other} is no row"),
    }
    plays.list
}

fn reads(cell: &Cell) -> bool {
    cell.op.effect(false) == Effect::Read
}

/// A dropped future says nothing, and nothing is sent after it.
fn dropped() -> Ends {
    ends(&[UNKNOWN], &[], 1..=1)
}

fn proxy(stage: Stage, act: Act) -> Strike {
    Strike::Proxy(stage, act)
}

fn error_document(code: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>late</Message></Error>"
    )
}

fn bomb() -> Vec<u8> {
    let levels = (1..10).map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10)));
    let levels: String = levels.collect();
    format!("<!DOCTYPE r [<!ENTITY l0 \"lol\">{levels}]><r>&l9;</r>").into_bytes()
}

struct Plays<'a> {
    cell: &'a Cell,
    list: Vec<Play>,
}

impl Plays<'_> {
    fn with(&mut self, name: &'static str, strike: Strike, once: Option<Ends>, always: Option<Ends>) {
        self.list.push(Play { name, strike, once, always, is_silence: false });
    }

    fn both(&mut self, name: &'static str, strike: Strike) {
        let (once, always) = (expect::of(self.cell, Times::Once), expect::of(self.cell, Times::Always));
        self.with(name, strike, Some(once), Some(always));
    }

    fn once(&mut self, name: &'static str, strike: Strike) {
        self.with(name, strike, Some(expect::of(self.cell, Times::Once)), None);
    }

    fn always(&mut self, name: &'static str, strike: Strike) {
        self.with(name, strike, None, Some(expect::of(self.cell, Times::Always)));
    }

    fn silent(&mut self, name: &'static str, strike: Strike) {
        self.both(name, strike);
        self.list.last_mut().expect("just pushed").is_silence = true;
    }

    fn silent_always(&mut self, name: &'static str, strike: Strike) {
        self.always(name, strike);
        self.list.last_mut().expect("just pushed").is_silence = true;
    }

    fn proxy(&mut self, name: &'static str, stage: Stage, act: Act) {
        self.both(name, Strike::Proxy(stage, act));
    }

    fn as_said(&mut self, name: &'static str, stage: Stage, act: Act, said: impl Fn(Times) -> Ends) {
        self.with(name, Strike::Proxy(stage, act), Some(said(Times::Once)), Some(said(Times::Always)));
    }

    /// A refusal by a server that has carried nothing out.
    fn refusal(&mut self, name: &'static str, answer: Answer) {
        self.proxy(name, Stage::Request, Act::Answer(answer));
    }

    /// Answers that leave open whether anything was carried out: both ways.
    fn statuses(&mut self, answers: &[(&'static str, Answer)]) {
        for (name, answer) in answers {
            self.proxy(name, Stage::Request, Act::Answer(answer.clone()));
            self.proxy(name, Stage::Answered, Act::Answer(answer.clone()));
        }
    }
}
