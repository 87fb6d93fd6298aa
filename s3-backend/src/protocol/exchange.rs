//! [`Exchange`]: one operation's whole life as a state machine. It is told how each attempt ended and says what
//! to do next; it has no clock, no randomness and no socket.
//!
//! The rule it keeps: of a write, **a refusal is believed only while no earlier attempt can have been applied**.
//! As soon as an attempt left and came back without a definite refusal, the write may be applied, now or later;
//! then only a success ends it well, and everything else ends as `Indeterminate`.

use std::time::Duration;

use object_storage::{Error, ErrorKind, Key, Operation, Result};

use super::error::{Class, Refusal};
use super::limits::CORRUPT_RETRIES_MAX;
use super::retry::RetryPolicy;

/// What an operation does to the store, which decides what may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: repeat at will.
    Read,
    /// The same bytes under the same name, or the same name gone: repeating it changes nothing more. (Another
    /// writer's overwrite can be overwritten again; that is what an unconditional write means.)
    Repeatable,
    /// Its own success would make a second attempt fail: never repeated once it may have been applied.
    Conditional,
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

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step<T> {
    /// Sign the request afresh and send it.
    Attempt,
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
    policy: RetryPolicy,
    attempts: u32,
    /// Whether an earlier attempt of this write can have been applied.
    maybe: bool,
    /// Whether an attempt was made again because of stale keys, which helps once or not at all.
    rekeyed: bool,
    /// How often an attempt was made again because bytes did not arrive as they were sent.
    corrupt_retries: u32,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    Ready,
    Paused(Duration),
    Ended(Result<T>),
    Over,
}

impl<T> Exchange<T> {
    pub(crate) fn new(
        operation: Operation,
        key: Option<Key>,
        effect: Effect,
        policy: RetryPolicy,
    ) -> Exchange<T> {
        Exchange {
            operation,
            key,
            effect,
            policy,
            attempts: 0,
            maybe: false,
            rekeyed: false,
            corrupt_retries: 0,
            state: State::Ready,
        }
    }

    /// What to do next. After `Attempt`, report with [`ended`](Self::ended).
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

    /// How the attempt ended. `elapsed` has passed since the first one began; `jitter` lies within 0 and 1.
    pub(crate) fn ended(&mut self, ended: Ended<T>, elapsed: Duration, jitter: f64) {
        self.state = match ended {
            Ended::Done(output) => State::Ended(Ok(output)),
            Ended::NotBegun(error) => State::Ended(Err(self.conclude(error))),
            Ended::Refused(refusal) => self.refused(refusal, elapsed, jitter),
            Ended::Unanswered(unanswered) => self.unanswered(unanswered, elapsed, jitter),
        };
    }

    fn refused(&mut self, refusal: Refusal, elapsed: Duration, jitter: f64) -> State<T> {
        let class = refusal.class;
        if !matches!(class, Class::Definite | Class::StaleKeys | Class::BadDigest) {
            self.may_be_applied();
        }
        let again = match class {
            // "Another write was going on": this one left no trace, so it can be tried as if for the first time.
            // Not a completion, which S3 wants to see begun anew, with every part.
            Class::Definite => {
                refusal.is_race()
                    && self.effect != Effect::Read
                    && self.operation != Operation::CompleteMultipartUpload
                    && !self.maybe
            }
            Class::StaleKeys => !std::mem::replace(&mut self.rekeyed, true),
            Class::Throttle | Class::Transient => true,
            Class::Violation => self.effect != Effect::Read,
            Class::BadDigest | Class::Corrupt => {
                self.corrupt_retries += 1;
                self.corrupt_retries <= CORRUPT_RETRIES_MAX
            }
        };
        let retry_after = refusal.retry_after;
        let error = self.error(refusal.kind, refusal.message).with_answer(refusal.answer);
        self.again_or(again, class, elapsed, retry_after, jitter, error)
    }

    fn unanswered(&mut self, unanswered: Unanswered, elapsed: Duration, jitter: f64) -> State<T> {
        if unanswered.sent {
            self.may_be_applied();
        }
        let mut error = self.error(unanswered.kind, unanswered.message);
        if let Some(source) = unanswered.source {
            error = error.with_source(source);
        }
        self.again_or(!unanswered.final_, Class::Transient, elapsed, None, jitter, error)
    }

    fn may_be_applied(&mut self) {
        self.maybe |= self.effect != Effect::Read;
    }

    fn again_or(
        &self,
        again: bool,
        class: Class,
        elapsed: Duration,
        retry_after: Option<Duration>,
        jitter: f64,
        error: Error,
    ) -> State<T> {
        let repeatable = self.effect != Effect::Conditional || !self.maybe;
        let pause = (again && repeatable)
            .then(|| self.policy.pause(class, self.attempts, elapsed, retry_after, jitter))
            .flatten();
        match pause {
            Some(pause) => State::Paused(pause),
            None => State::Ended(Err(self.conclude(error))),
        }
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
        if !self.maybe {
            return last;
        }
        let message = match self.operation {
            Operation::CreateMultipartUpload => "an empty upload may have been left behind",
            _ => {
                "the request was sent and no trustworthy answer came: it may have been applied, or be so later"
            }
        };
        let answer = last.answer().cloned();
        let error = self.error(ErrorKind::Indeterminate, message.to_owned()).with_source(last);
        match answer {
            Some(answer) => error.with_answer(answer),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::error::Condition;
    use super::super::headers::Headers;
    use super::super::request::ResponseHead;
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { attempts_max: 4, time_max: Duration::from_secs(60) };

    fn exchange(effect: Effect) -> Exchange<u32> {
        Exchange::new(Operation::PutObject, Key::parse("k").ok(), effect, POLICY)
    }

    fn refused(status: u16, code: &str) -> Ended<u32> {
        let body = format!("<Error><Code>{code}</Code></Error>");
        let head = ResponseHead { status, headers: Headers::default() };
        Ended::Refused(Refusal::read(&head, body.as_bytes(), Condition::Create, false))
    }

    fn unanswered(sent: bool) -> Ended<u32> {
        Ended::Unanswered(Unanswered {
            sent,
            kind: ErrorKind::Unavailable,
            final_: false,
            message: "reset".to_owned(),
            source: None,
        })
    }

    /// Runs the machine over these endings and gives what the caller gets.
    fn run(effect: Effect, endings: Vec<Ended<u32>>) -> Result<u32> {
        let mut exchange = exchange(effect);
        let mut endings = endings.into_iter();
        loop {
            match exchange.step() {
                Step::Attempt => match endings.next() {
                    Some(ended) => exchange.ended(ended, Duration::ZERO, 0.5),
                    None => panic!("another attempt was made: {exchange:?}"),
                },
                Step::Wait(_) => {}
                Step::Done(result) => return result,
            }
        }
    }

    fn kind(effect: Effect, endings: Vec<Ended<u32>>) -> ErrorKind {
        run(effect, endings).expect_err("a failure").kind()
    }

    #[test]
    fn a_conditional_write_that_may_have_been_applied_is_not_repeated() {
        assert_eq!(kind(Effect::Conditional, vec![unanswered(true)]), ErrorKind::Indeterminate);
        assert_eq!(kind(Effect::Conditional, vec![refused(500, "InternalError")]), ErrorKind::Indeterminate);
        assert_eq!(kind(Effect::Conditional, vec![refused(503, "SlowDown")]), ErrorKind::Indeterminate);
        assert_eq!(kind(Effect::Conditional, vec![refused(404, "")]), ErrorKind::Indeterminate);
    }

    #[test]
    fn a_refusal_is_believed_while_nothing_can_have_been_applied() {
        let refusal = || refused(412, "PreconditionFailed");
        assert_eq!(kind(Effect::Conditional, vec![refusal()]), ErrorKind::AlreadyExists);
        assert_eq!(kind(Effect::Conditional, vec![unanswered(false), refusal()]), ErrorKind::AlreadyExists);
        let conflict = refused(409, "ConditionalRequestConflict");
        assert_eq!(kind(Effect::Conditional, vec![conflict, refusal()]), ErrorKind::AlreadyExists);
    }

    #[test]
    fn stale_keys_are_replaced_once_even_for_a_conditional_write() {
        let stale = || refused(400, "ExpiredToken");
        for effect in [Effect::Read, Effect::Repeatable, Effect::Conditional] {
            assert_eq!(run(effect, vec![stale(), Ended::Done(7)]).expect("applied"), 7);
            assert_eq!(kind(effect, vec![stale(), stale()]), ErrorKind::Unauthenticated);
        }
        let exists = refused(412, "PreconditionFailed");
        assert_eq!(kind(Effect::Conditional, vec![stale(), exists]), ErrorKind::AlreadyExists);
        // Wrong keys stay wrong.
        for code in ["InvalidAccessKeyId", "SignatureDoesNotMatch"] {
            assert_eq!(kind(Effect::Read, vec![refused(403, code)]), ErrorKind::Unauthenticated);
        }
        // That this attempt was refused does not deny the one before.
        assert_eq!(
            run(Effect::Repeatable, vec![unanswered(true), stale(), Ended::Done(7)]).expect("again"),
            7
        );
        let twice = vec![unanswered(true), stale(), stale()];
        assert_eq!(kind(Effect::Repeatable, twice), ErrorKind::Indeterminate);
        let late = vec![unanswered(false), stale(), unanswered(true)];
        assert_eq!(kind(Effect::Conditional, late), ErrorKind::Indeterminate);
    }

    fn corrupt() -> Ended<u32> {
        let head = ResponseHead { status: 200, headers: Headers::default() };
        Ended::Refused(Refusal::corrupt(&head, "another checksum"))
    }

    #[test]
    fn bytes_damaged_on_the_way_go_again_twice_and_a_refusal_of_them_is_believed() {
        let bad = || refused(400, "BadDigest");
        for effect in [Effect::Read, Effect::Repeatable, Effect::Conditional] {
            assert_eq!(run(effect, vec![bad(), bad(), Ended::Done(7)]).expect("applied"), 7);
            assert_eq!(kind(effect, vec![bad(), bad(), bad()]), ErrorKind::Corrupt);
        }
        let late = vec![unanswered(true), bad(), bad(), bad()];
        assert_eq!(kind(Effect::Repeatable, late), ErrorKind::Indeterminate);
    }

    #[test]
    fn a_write_that_was_stored_as_something_else_is_never_called_not_applied() {
        assert_eq!(run(Effect::Repeatable, vec![corrupt(), Ended::Done(7)]).expect("mended"), 7);
        let thrice = || (0..3).map(|_| corrupt()).collect::<Vec<_>>();
        let error = run(Effect::Repeatable, thrice()).expect_err("never what was sent");
        assert!(error.is_indeterminate());
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<Error>());
        assert_eq!(cause.map(Error::kind), Some(ErrorKind::Corrupt));
        assert_eq!(kind(Effect::Conditional, vec![corrupt()]), ErrorKind::Indeterminate);
        assert_eq!(kind(Effect::Read, thrice()), ErrorKind::Corrupt);
        assert_eq!(run(Effect::Read, vec![corrupt(), corrupt(), Ended::Done(7)]).expect("read"), 7);
    }

    #[test]
    fn an_overwrite_is_repeated_and_a_later_refusal_does_not_deny_the_earlier_attempt() {
        assert_eq!(run(Effect::Repeatable, vec![unanswered(true), Ended::Done(7)]).expect("applied"), 7);
        let denied = || refused(403, "AccessDenied");
        assert_eq!(kind(Effect::Repeatable, vec![denied()]), ErrorKind::PermissionDenied);
        assert_eq!(kind(Effect::Repeatable, vec![unanswered(true), denied()]), ErrorKind::Indeterminate);
        assert_eq!(kind(Effect::Repeatable, vec![unanswered(false), denied()]), ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_read_ends_with_what_went_wrong() {
        let resets = (0..4).map(|_| unanswered(true)).collect();
        assert_eq!(kind(Effect::Read, resets), ErrorKind::Unavailable);
        assert_eq!(kind(Effect::Read, vec![refused(404, "NoSuchKey")]), ErrorKind::NotFound);
        assert_eq!(kind(Effect::Read, vec![refused(404, "")]), ErrorKind::Protocol);
    }

    #[derive(Clone, Debug)]
    enum Input {
        Refused(u16, &'static str),
        Unanswered(bool),
        Done,
    }

    fn inputs() -> impl Strategy<Value = Vec<Input>> {
        let refused = (
            prop::sample::select(vec![301, 400, 403, 404, 409, 412, 416, 500, 503, 200]),
            prop::sample::select(vec![
                "",
                "SlowDown",
                "InternalError",
                "PreconditionFailed",
                "NoSuchKey",
                "ExpiredToken",
                "InvalidToken",
                "InvalidAccessKeyId",
                "BadDigest",
                "Odd",
            ]),
        )
            .prop_map(|(status, code)| Input::Refused(status, code));
        let input = prop_oneof![refused, any::<bool>().prop_map(Input::Unanswered), Just(Input::Done)];
        prop::collection::vec(input, 1..8)
    }

    proptest! {
        /// However attempts end: the machine ends, makes no more attempts than allowed, and says "not applied" of
        /// a write only when every attempt was definitely refused or never left.
        #[test]
        fn not_applied_is_said_only_where_it_is_true(effect in 0usize..3, inputs in inputs()) {
            let effect = [Effect::Read, Effect::Repeatable, Effect::Conditional][effect];
            let mut exchange = exchange(effect);
            let mut could_be_applied = false;
            let mut made = 0;
            let mut stale = 0;
            let mut last_was_stale = false;
            let result = loop {
                match exchange.step() {
                    Step::Attempt => {
                        let input = inputs.get(made).cloned().unwrap_or(Input::Unanswered(false));
                        made += 1;
                        // After keys were refused twice nothing follows.
                        prop_assert!(stale < 2 || !last_was_stale);
                        last_was_stale = false;
                        let ended = match input {
                            Input::Done => Ended::Done(1),
                            Input::Unanswered(sent) => {
                                could_be_applied |= sent;
                                unanswered(sent)
                            }
                            Input::Refused(status, code) => {
                                let ended = refused(status, code);
                                if let Ended::Refused(refusal) = &ended {
                                    could_be_applied |=
                                        !matches!(refusal.class, Class::Definite | Class::StaleKeys | Class::BadDigest);
                                    last_was_stale = refusal.class == Class::StaleKeys;
                                    stale += u32::from(last_was_stale);
                                }
                                ended
                            }
                        };
                        exchange.ended(ended, Duration::ZERO, 1.0);
                    }
                    Step::Wait(pause) => prop_assert!(pause <= Duration::from_secs(20)),
                    Step::Done(result) => break result,
                }
            };
            prop_assert!(made <= 4);
            if let Err(error) = result {
                let unknown = effect != Effect::Read && could_be_applied;
                prop_assert_eq!(error.is_indeterminate(), unknown, "{:?}", error);
            }
        }
    }
}
