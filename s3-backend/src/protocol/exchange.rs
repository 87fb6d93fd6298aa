//! [`Exchange`]: one operation's whole life as a state machine. It is told how each attempt ended and says what
//! to do next; it has no clock, no randomness and no socket.
//!
//! The rule it keeps: of a write, **a refusal is believed only while no earlier attempt can have been applied**.
//! As soon as an attempt left and came back without a definite refusal, the write may be applied, now or later. It is
//! then sent again under the same condition, and when that is refused, or no more attempts are left, the object itself
//! is looked at: if it bears the id of this operation, it was applied. What a look cannot prove either ends as
//! `Indeterminate`.

use std::time::Duration;

use object_storage::{ETag, Error, ErrorKind, Key, Operation, OperationId, PutOutcome, Result};

use super::budget::Budget;
use super::error::{Class, Refusal};
use super::limits::CORRUPT_RETRIES_MAX;
use super::mend::Mend;
use super::retry::RetryPolicy;

/// What an operation does to the store, which decides what a refusal means once it may have been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: repeat at will, and believe every answer.
    Read,
    /// The same bytes under the same name, or the same name gone: repeating it changes nothing more. (Another
    /// writer's overwrite can be overwritten again; that is what an unconditional write means.)
    Repeatable,
    /// Its own success makes a second attempt fail. It is repeated all the same, because its condition keeps it from
    /// being applied twice; the refusal that may follow proves nothing.
    Conditional,
}

/// What tells this write from everybody else's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    /// Its id, for whoever has to find out later.
    pub(crate) id: Option<OperationId>,
    /// What the object looks like if this operation was applied; `None`: nothing on it would tell.
    pub(crate) proof: Option<Proof>,
    /// Whether the caller may have sent this very operation before, in an earlier call.
    pub(crate) driven_before: bool,
    /// Whether something in between may send a request twice and pass the second answer on. (nginx does that with PUT
    /// when a server behind it fails, unless it is told not to.)
    pub(crate) replayed: bool,
    /// The version that the write is to replace. As long as it is there, nothing has landed.
    pub(crate) replaces: Option<ETag>,
    /// It creates an object under a name that is never overwritten or deleted.
    pub(crate) write_once: bool,
    /// It deletes one version: nothing is left that could tell, and nothing there is what its success looks like.
    pub(crate) leaves_nothing: bool,
}

/// How an object shows which write it comes from.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    /// It bears this id. (A plain copy of an object bears the id of its source, but under another key: copying an
    /// object of ours back to where it came from brings back what we wrote, which is no lie.)
    Id(OperationId),
    /// It has this tag, computed from its parts: for an upload that was begun by somebody else.
    Tag(ETag),
}

/// What was seen under the key.
#[derive(Debug)]
pub(crate) enum Sighting {
    Object(Seen),
    Nothing,
    /// It could not be looked at.
    Failed(Error),
}

impl Sighting {
    /// So many looks have failed that this one was not made.
    pub(crate) fn withheld() -> Sighting {
        let message = "looks at objects have failed of late, and no further one is made for now";
        Sighting::Failed(Error::new(ErrorKind::Unavailable, Operation::HeadObject, message))
    }

    /// Whether the store has answered the look at all.
    pub(crate) fn is_answer(&self) -> bool {
        match self {
            Sighting::Object(_) | Sighting::Nothing => true,
            Sighting::Failed(error) => !matches!(
                error.kind(),
                ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Throttled | ErrorKind::Protocol
            ),
        }
    }
}

/// An object, as far as it tells which write it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) etag: Option<ETag>,
    pub(crate) version: Option<String>,
    pub(crate) id: Option<OperationId>,
}

/// How one attempt ended.
#[derive(Debug)]
pub(crate) enum Ended<T> {
    /// With the answer that was asked for.
    Done(T),
    /// With another answer.
    Refused(Refusal),
    /// Without an answer.
    Unanswered(Unanswered),
    /// Before it began: there are no keys to sign with, or the request cannot be shaped.
    NotBegun(Error),
}

/// An attempt without an answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    /// Whether any byte of the request can have reached the store.
    pub(crate) sent: bool,
    /// `Unavailable` or `Timeout`; `Protocol` for an answer that is no HTTP.
    pub(crate) kind: ErrorKind,
    /// Whether trying again can help: a certificate that is wrong now will be wrong then.
    pub(crate) final_: bool,
    pub(crate) message: String,
    pub(crate) source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// When something is reported, and what may be spent on trying again.
#[derive(Debug)]
pub(crate) struct Moment<'a> {
    /// The time since the first attempt began.
    pub(crate) elapsed: Duration,
    /// The time since any moment that is the same for all who share the budget.
    pub(crate) now: Duration,
    /// Any number within 0 and 1.
    pub(crate) jitter: f64,
    pub(crate) budget: &'a mut Budget,
}

impl Moment<'_> {
    /// One at which nothing needs to be decided: neither a clock nor a die is asked.
    pub(crate) fn at_ease(budget: &mut Budget) -> Moment<'_> {
        Moment { elapsed: Duration::ZERO, now: Duration::ZERO, jitter: 0.0, budget }
    }
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step<T> {
    /// Sign the request afresh and send it.
    Attempt,
    /// Look at the object under the key.
    Look,
    /// Let this much time pass.
    Wait(Duration),
    /// Hand this to the caller.
    Done(Result<T>),
}

/// One operation from its first attempt to its outcome.
#[derive(Debug)]
pub(crate) struct Exchange<T> {
    operation: Operation,
    key: Option<Key>,
    effect: Effect,
    trace: Trace,
    policy: RetryPolicy,
    attempts: u32,
    /// Whether an earlier attempt of this write can have been applied.
    maybe: bool,
    /// Whether an attempt was made again because of stale keys, which helps once or not at all.
    rekeyed: bool,
    /// How often an attempt was made again because bytes did not arrive as they were sent.
    corrupt_retries: u32,
    /// Whether the store has kept something that was not sent. It bears our id, which so proves nothing any more.
    spoiled: bool,
    /// Whether the store has met another write that may be this one: an earlier call's, or a replay's twin.
    met_itself: bool,
    /// As `rekeyed` for a wrong region, and for a wrong clock.
    moved: bool,
    clock_set: bool,
    state: State<T>,
    #[cfg(test)]
    wrong: Option<Wrong>,
}

#[derive(Debug)]
enum State<T> {
    Ready,
    Paused(Duration),
    /// How it would end if a look proved nothing.
    Doubted(Error),
    Ended(Result<T>),
    Over,
}

impl<T> Exchange<T> {
    pub(crate) fn new(
        operation: Operation,
        key: Option<Key>,
        effect: Effect,
        trace: Trace,
        policy: RetryPolicy,
    ) -> Exchange<T> {
        Exchange {
            operation,
            key,
            effect,
            trace,
            policy,
            attempts: 0,
            maybe: false,
            rekeyed: false,
            corrupt_retries: 0,
            spoiled: false,
            met_itself: false,
            moved: false,
            clock_set: false,
            state: State::Ready,
            #[cfg(test)]
            wrong: None,
        }
    }

    /// What to do next. After `Attempt`, report with [`ended`](Self::ended); after `Look`, with
    /// [`looked`](Self::looked).
    pub(crate) fn step(&mut self) -> Step<T> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Ready => {
                self.attempts += 1;
                Step::Attempt
            }
            State::Paused(pause) => {
                self.state = State::Ready;
                Step::Wait(pause)
            }
            State::Doubted(last) => {
                self.state = State::Doubted(last);
                Step::Look
            }
            State::Ended(result) => Step::Done(result),
            State::Over => {
                unreachable!("no step is asked for after the end, nor while an attempt is under way")
            }
        }
    }

    /// Whether an earlier attempt of this write can have been applied.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.maybe
    }

    /// How the attempt ended.
    pub(crate) fn ended(&mut self, ended: Ended<T>, mut at: Moment<'_>) {
        self.state = match ended {
            Ended::Done(output) => {
                at.budget.earn();
                State::Ended(Ok(output))
            }
            Ended::NotBegun(error) => self.close(error, false),
            Ended::Refused(refusal) => self.refused(refusal, &mut at),
            Ended::Unanswered(unanswered) => self.unanswered(unanswered, &mut at),
        };
    }

    fn refused(&mut self, refusal: Refusal, at: &mut Moment<'_>) -> State<T> {
        let class = refusal.class;
        if !matches!(class, Class::Definite | Class::StaleKeys | Class::BadDigest)
            && !self.does(Wrong::TakesThrottlingForRefusal)
        {
            self.may_be_applied();
        }
        self.spoiled |= class == Class::Corrupt && self.effect != Effect::Read;
        let retry_after = refusal.retry_after;
        // What was mended differs from what was refused, and needs no pause.
        let (again, pace) = match (refusal.mended, class) {
            (Some(Mend::Region), _) => (!std::mem::replace(&mut self.moved, true), Class::StaleKeys),
            (Some(Mend::Clock), _) => (!std::mem::replace(&mut self.clock_set, true), Class::StaleKeys),
            (None, Class::StaleKeys) => (!std::mem::replace(&mut self.rekeyed, true), class),
            // "Another write was going on": this attempt left no trace. Not a completion, which S3 wants to see begun
            // anew, with every part.
            (None, Class::Definite) => {
                let again = refusal.is_race()
                    && self.effect != Effect::Read
                    && self.operation != Operation::CompleteMultipartUpload;
                (again, class)
            }
            (None, Class::Throttle | Class::Transient) => (true, class),
            (None, Class::Violation) => (self.effect != Effect::Read, class),
            (None, Class::Garbled) if self.effect != Effect::Read => (true, class),
            // What was kept wrongly would itself refuse a conditional write.
            (None, Class::Corrupt) if self.effect == Effect::Conditional => (false, class),
            (None, Class::Garbled | Class::BadDigest | Class::Corrupt) => {
                self.corrupt_retries += 1;
                (self.corrupt_retries <= CORRUPT_RETRIES_MAX, class)
            }
        };
        // What our own success, in an earlier attempt, would make the store say.
        let may_be_our_doing = class == Class::Definite
            && match refusal.kind {
                ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed => true,
                ErrorKind::NotFound => refusal.answer.code != "NoSuchBucket",
                _ => refusal.is_race(),
            };
        self.met_itself |= refusal.is_race() && self.seen_before();
        let error = self.error(refusal.kind, refusal.message).with_answer(refusal.answer);
        match again.then(|| self.pause(pace, retry_after, at)).flatten() {
            Some(pause) => State::Paused(pause),
            None => self.close(error, may_be_our_doing),
        }
    }

    fn unanswered(&mut self, unanswered: Unanswered, at: &mut Moment<'_>) -> State<T> {
        if unanswered.sent {
            self.may_be_applied();
        }
        let mut error = self.error(unanswered.kind, unanswered.message);
        if let Some(source) = unanswered.source {
            error = error.with_source(source);
        }
        let again = !unanswered.final_;
        match again.then(|| self.pause(Class::Transient, None, at)).flatten() {
            Some(pause) => State::Paused(pause),
            None => self.close(error, false),
        }
    }

    /// Whether the store can have seen this write before an attempt of this call arrives.
    fn seen_before(&self) -> bool {
        self.trace.driven_before || self.trace.replayed
    }

    fn may_be_applied(&mut self) {
        self.maybe |= self.effect != Effect::Read;
    }

    /// The pause before another attempt, if there may be one.
    fn pause(&self, class: Class, retry_after: Option<Duration>, at: &mut Moment<'_>) -> Option<Duration> {
        let pause = self.policy.pause(class, self.attempts, at.elapsed, retry_after, at.jitter)?;
        at.budget.spend(class, at.now).then_some(pause)
    }

    /// No further attempt is made: either that is the end, or the object has to tell.
    fn close(&self, last: Error, may_be_our_doing: bool) -> State<T> {
        // However it ends: what an attempt ran into before may have been its own replay, and have been applied.
        let open = self.maybe || self.met_itself || (self.seen_before() && may_be_our_doing);
        let provable =
            self.trace.proof.is_some() && (!self.spoiled || self.does(Wrong::TakesSpoiledForItsOwn));
        // A deletion is not proven by what is there; but if something is, a refusal of the first attempt can be believed.
        let refutable = self.trace.leaves_nothing && !self.maybe;
        if open && (provable || refutable) && !self.does(Wrong::BelievesLaterRefusals) {
            return State::Doubted(last);
        }
        State::Ended(Err(self.conclude(last)))
    }

    /// What a look showed. `done` makes an outcome of what was found to be ours.
    pub(crate) fn looked(
        &mut self,
        sighting: Sighting,
        mut at: Moment<'_>,
        done: impl FnOnce(PutOutcome) -> T,
    ) {
        let State::Doubted(last) = std::mem::replace(&mut self.state, State::Over) else {
            unreachable!("nobody looks who was not told to");
        };
        self.state = match sighting {
            Sighting::Object(seen) if self.is_ours(&seen) => match seen.etag {
                Some(etag) => {
                    let mut outcome = PutOutcome::new(etag);
                    outcome.version = seen.version;
                    State::Ended(Ok(done(outcome)))
                }
                None => State::Ended(Err(
                    self.in_doubt(last, "it was applied, and the store does not name its tag")
                )),
            },
            // Keys that may write and not look are not unusual; that it was replayed as well is.
            Sighting::Failed(error)
                if error.kind() == ErrorKind::PermissionDenied
                    && !self.maybe
                    && !self.trace.driven_before =>
            {
                State::Ended(Err(last))
            }
            Sighting::Failed(error) => {
                let message = "it may have been applied, and the object could not be looked at";
                State::Ended(Err(self.in_doubt(last.with_source(error), message)))
            }
            Sighting::Nothing if self.trace.leaves_nothing => {
                let message =
                    "it is gone: by this request, which may have been sent twice on its way, or by another";
                State::Ended(Err(self.in_doubt(last, message)))
            }
            // Nothing was open but what an earlier call, or a replay, may have done, and that is not there.
            Sighting::Object(_) | Sighting::Nothing if !self.maybe => State::Ended(Err(last)),
            Sighting::Object(seen) => self.saw_another(&seen, last, &mut at),
            Sighting::Nothing if self.does(Wrong::TakesAbsenceForRefusal) => State::Ended(Err(last)),
            Sighting::Nothing => {
                let message =
                    "it may have been applied and deleted since, or be applied later: nothing is there now";
                State::Ended(Err(self.in_doubt(last, message)))
            }
        };
    }

    fn is_ours(&self, seen: &Seen) -> bool {
        match &self.trace.proof {
            Some(Proof::Id(_)) if self.does(Wrong::TakesAnyObjectForItsOwn) => true,
            Some(Proof::Id(id)) => seen.id == Some(*id),
            Some(Proof::Tag(tag)) => seen.etag.as_ref() == Some(tag),
            None => false,
        }
    }

    /// An object is there, and not ours.
    fn saw_another(&self, seen: &Seen, last: Error, at: &mut Moment<'_>) -> State<T> {
        if self.trace.replaces.is_some() && self.trace.replaces == seen.etag {
            if self.does(Wrong::TakesTheOldVersionForRefusal) {
                return State::Ended(Err(last));
            }
            // Nothing has landed yet, and it still can.
            return match self.pause(Class::Transient, None, at) {
                Some(pause) => State::Paused(pause),
                None => {
                    let message = "the version it was to replace is still there; it may be applied later";
                    State::Ended(Err(self.in_doubt(last, message)))
                }
            };
        }
        // Under such a name nothing can have been replaced, and nothing of ours can land any more. An object without any
        // id is no proof: there are stores that lose metadata.
        let by_another = seen.id.is_some() && matches!(self.trace.proof, Some(Proof::Id(_)));
        if (self.trace.write_once && by_another) || self.does(Wrong::TakesAnothersIdForRefusal) {
            return State::Ended(Err(self.error(
                ErrorKind::AlreadyExists,
                "another write created it, and under this name nothing is ever replaced".to_owned(),
            )));
        }
        let message = match seen.id {
            Some(_) => "another write's object is there: this one may have been applied and replaced",
            None => "an object of unknown origin is there: this write may have been applied and replaced",
        };
        State::Ended(Err(self.in_doubt(last, message)))
    }

    fn error(&self, kind: ErrorKind, message: String) -> Error {
        let error = Error::new(kind, self.operation, message);
        match &self.key {
            Some(key) => error.with_key(key),
            None => error,
        }
    }

    /// The error as the caller may have it: the promise "not applied" is made only where it is true.
    fn conclude(&self, last: Error) -> Error {
        if !self.maybe || self.does(Wrong::BelievesLaterRefusals) {
            return last;
        }
        let message = match self.operation {
            Operation::CreateMultipartUpload => "an empty upload may have been left behind",
            _ => {
                "the request was sent and no trustworthy answer came: it may have been applied, or be so later"
            }
        };
        self.in_doubt(last, message)
    }

    fn in_doubt(&self, last: Error, message: &str) -> Error {
        let answer = last.answer().cloned();
        let mut error = self.error(ErrorKind::Indeterminate, message.to_owned()).with_source(last);
        if let Some(id) = self.trace.id {
            error = error.with_operation_id(id);
        }
        match answer {
            Some(answer) => error.with_answer(answer),
            None => error,
        }
    }

    /// Whether it is made to do wrong, to see whether anybody notices.
    #[cfg(test)]
    fn does(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    #[cfg(not(test))]
    fn does(&self, _: Wrong) -> bool {
        false
    }
}

/// Policies in use elsewhere, and shortcuts that suggest themselves, each of which lies about some write. The tests hold
/// them to the same promise and must catch every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// Retries conditional writes and takes the answer to the last attempt for that of the operation.
    BelievesLaterRefusals,
    /// "Another id is on it, so ours lost."
    TakesAnothersIdForRefusal,
    /// "Nothing is there, so nothing was applied."
    TakesAbsenceForRefusal,
    /// "The version it was to replace is still there, so it was not applied."
    TakesTheOldVersionForRefusal,
    /// "503 means that nothing happened."
    TakesThrottlingForRefusal,
    /// "An object is there, so it worked."
    TakesAnyObjectForItsOwn,
    /// "It bears our id, so it worked", of an object whose checksum said otherwise.
    TakesSpoiledForItsOwn,
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod model;
