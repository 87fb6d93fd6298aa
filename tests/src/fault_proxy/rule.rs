//! [`Rule`]: which request meets which fault, as a value.

use std::time::Duration;

use super::operation::S3Operation;
use crate::scripted::Answer;

/// "The so-many-th attempt of this operation, at this stage, meets this."
#[derive(Clone, Debug)]
pub struct Rule {
    /// The operation; `None`: any.
    pub operation: Option<S3Operation>,
    /// Which of its attempts, counted per operation and key from 1.
    pub attempt: Attempt,
    /// When.
    pub stage: Stage,
    /// What.
    pub act: Act,
}

/// Which attempts of an operation a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// This one, counted from 1.
    Nth(u32),
    /// Every one.
    Every,
}

impl Attempt {
    pub(super) fn includes(self, attempt: u32) -> bool {
        match self {
            Attempt::Nth(nth) => nth == attempt,
            Attempt::Every => true,
        }
    }
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The connection stands and nothing was read. Attempts are connections here, and operations unknown.
    Connected,
    /// The head of the request was read.
    Head,
    /// Head and so many bytes of the body (all of it, where there is less) were read.
    Body(usize),
    /// The request was read whole; the server behind has seen nothing of it.
    Request,
    /// The server has carried it out and answered; the client has seen nothing of that.
    Answered,
    /// So many thousandths of the answer's head were sent.
    AnswerHead(usize),
    /// The answer's head and so many thousandths of its body were sent.
    AnswerBody(usize),
    /// All of the answer was sent.
    Over,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Act {
    /// Hang up rudely: RST.
    Reset,
    /// Hang up in an orderly way: FIN.
    Close,
    /// Say and read nothing any more, until the client hangs up.
    Stall,
    /// Let so much time pass, then go on.
    Pause(Duration),
    /// Answer this. At [`Stage::Request`] the request is not carried out, at [`Stage::Answered`] it was.
    Answer(Answer),
    /// Change the answer.
    Rewrite(Rewrite),
    /// Change the request before it is carried out; signatures are not mended.
    Tamper(Tamper),
    /// Carry the request out twice, and give the client this of the two answers: 1 or 2.
    Twice(u8),
    /// Keep the request to carry it out later ([`FaultProxy::release`](super::FaultProxy::release)), and hang up.
    Hold,
    /// Send the answer in pieces of this many bytes, with this pause before each.
    Drip(usize, Duration),
}

/// A change to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tamper {
    /// Without its conditions.
    NoConditions,
    /// With one bit of the body turned over.
    FlipBit,
    /// With another signing time.
    SkewDate,
}

/// A change to an answer that the server gave.
#[derive(Clone, Debug)]
pub enum Rewrite {
    /// One bit of the body, in its middle, turned over; the length is right.
    FlipBit,
    /// This text in the body becomes that, everywhere; the length is mended.
    Replace(&'static str, &'static str),
    /// Another body, under the same status; the length is mended.
    Body(Vec<u8>),
    /// Half of the body, under a length that says so.
    HalfBody,
    /// More bytes than the head states.
    Lengthen(usize),
    /// No `Content-Length`; the end of the connection ends the body.
    NoLength,
    /// No header of this (lower-case) name.
    NoHeader(&'static str),
    /// This header with this value instead.
    Header(&'static str, String),
    /// The ETag without its quotes.
    BareETag,
    /// The ETag as a weak one.
    WeakETag,
    /// This status line instead, as in `206 Partial Content`.
    Status(&'static str),
}
