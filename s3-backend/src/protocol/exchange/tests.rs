//! The machine by itself: what it does after each ending, and what it never does after any.

use proptest::prelude::*;

use super::super::error::Condition;
use super::super::headers::Headers;
use super::super::request::ResponseHead;
use super::*;

const POLICY: RetryPolicy = RetryPolicy { attempts_max: 4, time_max: Duration::from_secs(60) };

const ID: OperationId = OperationId::from_bits(0xab);

fn trace() -> Trace {
    Trace { id: Some(ID), proof: Some(Proof::Id(ID)), ..Trace::default() }
}

fn with(operation: Operation, effect: Effect, trace: Trace) -> Exchange<u32> {
    Exchange::new(operation, Key::parse("k").ok(), effect, trace, POLICY)
}

fn refused(status: u16, code: &str) -> Ended<u32> {
    let body = format!("<Error><Code>{code}</Code></Error>");
    let head = ResponseHead { status, headers: Headers::default() };
    Ended::Refused(Refusal::read(&head, body.as_bytes(), Condition::Create, false))
}

fn mended(mend: Mend) -> Ended<u32> {
    match refused(403, "RequestTimeTooSkewed") {
        Ended::Refused(refusal) => Ended::Refused(Refusal { mended: Some(mend), ..refusal }),
        other => other,
    }
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

fn object(tag: &str, id: Option<OperationId>) -> Sighting {
    Sighting::Object(Seen { etag: ETag::parse(tag).ok(), version: None, id })
}

fn blind() -> Sighting {
    Sighting::Failed(Error::new(ErrorKind::Unavailable, Operation::HeadObject, "no"))
}

fn moment(budget: &mut Budget) -> Moment<'_> {
    Moment { elapsed: Duration::ZERO, now: Duration::ZERO, jitter: 0.5, budget }
}

/// Runs the machine over these endings and sightings and gives what the caller gets: 1 for "found to be ours".
fn drive(mut exchange: Exchange<u32>, endings: Vec<Ended<u32>>, sightings: Vec<Sighting>) -> Result<u32> {
    let mut budget = Budget::of_operations();
    let (mut endings, mut sightings) = (endings.into_iter(), sightings.into_iter());
    loop {
        match exchange.step() {
            Step::Attempt => match endings.next() {
                Some(ended) => exchange.ended(ended, moment(&mut budget)),
                None => panic!("another attempt was made: {exchange:?}"),
            },
            Step::Look => match sightings.next() {
                Some(sighting) => exchange.looked(sighting, moment(&mut budget), |_| 1),
                None => panic!("it was looked at again: {exchange:?}"),
            },
            Step::Wait(_) => {}
            Step::Done(result) => {
                assert!(endings.next().is_none() && sightings.next().is_none(), "it ended early: {result:?}");
                return result;
            }
        }
    }
}

/// Without anything that could prove a write.
fn run(effect: Effect, endings: Vec<Ended<u32>>) -> Result<u32> {
    drive(with(Operation::PutObject, effect, Trace::default()), endings, Vec::new())
}

fn kind(effect: Effect, endings: Vec<Ended<u32>>) -> ErrorKind {
    run(effect, endings).expect_err("a failure").kind()
}

/// A conditional put.
fn put(trace: Trace, endings: Vec<Ended<u32>>, sightings: Vec<Sighting>) -> Result<u32, ErrorKind> {
    let result = drive(with(Operation::PutObject, Effect::Conditional, trace.clone()), endings, sightings);
    result.map_err(|error| {
        assert_eq!(error.operation_id(), trace.id.filter(|_| error.is_indeterminate()));
        error.kind()
    })
}

#[test]
fn a_conditional_write_is_sent_again_and_a_later_refusal_is_no_proof() {
    let exists = || refused(412, "PreconditionFailed");
    let open = || vec![unanswered(true), refused(503, "SlowDown"), refused(404, "")];
    assert_eq!(run(Effect::Conditional, vec![unanswered(true), Ended::Done(7)]).expect("applied"), 7);
    for first in open() {
        assert_eq!(kind(Effect::Conditional, vec![first, exists()]), ErrorKind::Indeterminate);
    }
    for first in open() {
        assert_eq!(put(trace(), vec![first, exists()], vec![object("t", Some(ID))]), Ok(1));
    }
    for first in open() {
        let others = object("t", Some(OperationId::from_bits(1)));
        assert_eq!(put(trace(), vec![first, exists()], vec![others]), Err(ErrorKind::Indeterminate));
    }
    for sighting in [Sighting::Nothing, blind(), object("t", None)] {
        let ended = put(trace(), vec![unanswered(true), exists()], vec![sighting]);
        assert_eq!(ended, Err(ErrorKind::Indeterminate));
    }
}

#[test]
fn a_write_that_ran_out_of_attempts_is_looked_for_before_anything_is_said() {
    let all = || (0..4).map(|_| unanswered(true)).collect::<Vec<_>>();
    assert_eq!(put(trace(), all(), vec![object("t", Some(ID))]), Ok(1));
    assert_eq!(put(trace(), all(), vec![Sighting::Nothing]), Err(ErrorKind::Indeterminate));
    let denied = vec![unanswered(true), refused(403, "AccessDenied")];
    assert_eq!(put(trace(), denied, vec![object("t", Some(ID))]), Ok(1));
}

#[test]
fn under_a_name_written_once_anothers_object_is_an_answer() {
    let once = || Trace { write_once: true, ..trace() };
    let ended =
        |sighting| put(once(), vec![unanswered(true), refused(412, "PreconditionFailed")], vec![sighting]);
    assert_eq!(ended(object("t", Some(OperationId::from_bits(1)))), Err(ErrorKind::AlreadyExists));
    // Of a store that loses metadata nothing can be concluded, nor from a tag that did not come out as computed.
    assert_eq!(ended(object("t", None)), Err(ErrorKind::Indeterminate));
    let tag = ETag::parse("joined-1").expect("a tag");
    let by_tag = Trace { proof: Some(Proof::Tag(tag)), ..once() };
    let endings = || vec![unanswered(true), refused(412, "PreconditionFailed")];
    let other = object("other-1", Some(OperationId::from_bits(1)));
    assert_eq!(put(by_tag.clone(), endings(), vec![other]), Err(ErrorKind::Indeterminate));
    assert_eq!(put(by_tag, endings(), vec![object("joined-1", None)]), Ok(1));
}

#[test]
fn as_long_as_the_old_version_is_there_it_is_tried_again() {
    let replaces = || Trace { replaces: ETag::parse("old").ok(), ..trace() };
    let old = || object("old", Some(OperationId::from_bits(1)));
    let failed = || refused(412, "PreconditionFailed");
    let once = put(replaces(), vec![unanswered(true), failed(), Ended::Done(7)], vec![old()]);
    assert_eq!(once, Ok(7));
    let endings = vec![unanswered(true), failed(), failed(), failed()];
    assert_eq!(put(replaces(), endings, vec![old(), old(), old()]), Err(ErrorKind::Indeterminate));
}

#[test]
fn a_write_that_may_have_been_made_by_an_earlier_call_is_looked_for_when_it_is_refused() {
    let again = || Trace { driven_before: true, ..trace() };
    let exists = || vec![refused(412, "PreconditionFailed")];
    assert_eq!(put(again(), exists(), vec![object("t", Some(ID))]), Ok(1));
    assert_eq!(put(again(), exists(), vec![object("t", None)]), Err(ErrorKind::AlreadyExists));
    assert_eq!(put(again(), exists(), vec![Sighting::Nothing]), Err(ErrorKind::AlreadyExists));
    assert_eq!(put(again(), exists(), vec![blind()]), Err(ErrorKind::Indeterminate));
    assert_eq!(put(again(), vec![refused(403, "AccessDenied")], vec![]), Err(ErrorKind::PermissionDenied));
    assert_eq!(put(again(), vec![unanswered(false), Ended::Done(7)], vec![]), Ok(7));
}

#[test]
fn a_write_that_may_have_been_replayed_is_looked_for_when_it_is_refused() {
    let replayed = || Trace { replayed: true, ..trace() };
    let exists = || vec![refused(412, "PreconditionFailed")];
    assert_eq!(put(replayed(), exists(), vec![object("t", Some(ID))]), Ok(1));
    let denied = Sighting::Failed(Error::new(ErrorKind::PermissionDenied, Operation::HeadObject, "no"));
    for sighting in [object("t", None), Sighting::Nothing, denied] {
        assert_eq!(put(replayed(), exists(), vec![sighting]), Err(ErrorKind::AlreadyExists));
    }
    assert_eq!(put(replayed(), exists(), vec![blind()]), Err(ErrorKind::Indeterminate));
}

/// Its second copy is told that there is nothing, or something else, and that is what we hear.
#[test]
fn a_deletion_that_may_have_been_replayed_is_believed_to_be_refused_while_something_is_there() {
    let delete = |replayed, endings, sightings| {
        let trace = Trace { replayed, leaves_nothing: true, ..Trace::default() };
        let exchange = with(Operation::DeleteObject, Effect::Conditional, trace);
        drive(exchange, endings, sightings).map_err(|error| error.kind())
    };
    for (status, code, kind) in
        [(404, "NoSuchKey", ErrorKind::NotFound), (412, "PreconditionFailed", ErrorKind::AlreadyExists)]
    {
        let refusal = || vec![refused(status, code)];
        for sighting in [object("t", None), object("old", Some(ID))] {
            assert_eq!(delete(true, refusal(), vec![sighting]), Err(kind), "{code}");
        }
        for sighting in [Sighting::Nothing, blind()] {
            assert_eq!(delete(true, refusal(), vec![sighting]), Err(ErrorKind::Indeterminate), "{code}");
        }
        assert_eq!(delete(false, refusal(), vec![]), Err(kind), "nobody replays, and nobody looks");
        let later = vec![unanswered(true), refused(status, code)];
        assert_eq!(delete(true, later, vec![]), Err(ErrorKind::Indeterminate), "a look could show nothing");
    }
    assert_eq!(delete(true, vec![refused(403, "AccessDenied")], vec![]), Err(ErrorKind::PermissionDenied));
    assert_eq!(delete(true, vec![refused(404, "NoSuchBucket")], vec![]), Err(ErrorKind::NotFound));
}

/// A replay that arrives while the first copy is being stored is told 409, and that is what we hear.
#[test]
fn a_write_that_may_have_met_its_own_replay_is_looked_for_however_it_ends() {
    let endings = || {
        let mut endings = vec![refused(409, "ConditionalRequestConflict")];
        endings.extend((0..3).map(|_| unanswered(false)));
        endings
    };
    for trace in [Trace { replayed: true, ..trace() }, Trace { driven_before: true, ..trace() }] {
        assert_eq!(put(trace.clone(), endings(), vec![object("t", Some(ID))]), Ok(1));
        assert_eq!(put(trace.clone(), endings(), vec![Sighting::Nothing]), Err(ErrorKind::Unavailable));
        assert_eq!(put(trace, endings(), vec![blind()]), Err(ErrorKind::Indeterminate));
    }
    assert_eq!(put(trace(), endings(), vec![]), Err(ErrorKind::Unavailable), "nobody replays");
}

#[test]
fn a_refusal_is_believed_while_nothing_can_have_been_applied() {
    let refusal = || refused(412, "PreconditionFailed");
    for endings in [
        vec![refusal()],
        vec![unanswered(false), refusal()],
        vec![refused(409, "ConditionalRequestConflict"), refusal()],
    ] {
        assert_eq!(put(trace(), endings, vec![]), Err(ErrorKind::AlreadyExists));
    }
    let conflicts = (0..4).map(|_| refused(409, "ConditionalRequestConflict")).collect();
    assert_eq!(put(trace(), conflicts, vec![]), Err(ErrorKind::Conflict));
}

#[test]
fn a_completion_that_met_a_conflict_is_not_sent_again() {
    let complete = |endings, sightings| {
        let exchange = with(Operation::CompleteMultipartUpload, Effect::Conditional, trace());
        drive(exchange, endings, sightings).map_err(|error| error.kind())
    };
    let conflict = || refused(409, "ConditionalRequestConflict");
    assert_eq!(complete(vec![conflict()], vec![]), Err(ErrorKind::Conflict));
    assert_eq!(complete(vec![unanswered(true), conflict()], vec![object("t-1", Some(ID))]), Ok(1));
    assert_eq!(complete(vec![refused(404, "NoSuchUpload")], vec![]), Err(ErrorKind::NotFound));
    let gone = || vec![unanswered(true), refused(404, "NoSuchUpload")];
    assert_eq!(complete(gone(), vec![object("t-1", Some(ID))]), Ok(1));
    assert_eq!(complete(gone(), vec![Sighting::Nothing]), Err(ErrorKind::Indeterminate));
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
    assert_eq!(run(Effect::Repeatable, vec![unanswered(true), stale(), Ended::Done(7)]).expect("again"), 7);
    let twice = vec![unanswered(true), stale(), stale()];
    assert_eq!(kind(Effect::Repeatable, twice), ErrorKind::Indeterminate);
}

#[test]
fn what_was_mended_is_tried_once_more_for_each_kind_of_mending() {
    for mend in [Mend::Region, Mend::Clock] {
        assert_eq!(run(Effect::Conditional, vec![mended(mend), Ended::Done(7)]).expect("applied"), 7);
        assert_eq!(kind(Effect::Conditional, vec![mended(mend), mended(mend)]), ErrorKind::Unauthenticated);
    }
    let both = vec![mended(Mend::Region), mended(Mend::Clock), refused(400, "ExpiredToken"), Ended::Done(7)];
    assert_eq!(run(Effect::Conditional, both).expect("applied"), 7);
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

#[test]
fn without_a_budget_nothing_is_repeated_and_all_the_same_it_is_looked_for() {
    let mut budget = Budget::of_operations();
    while budget.spend(Class::Transient, Duration::ZERO) {}
    let mut exchange = with(Operation::PutObject, Effect::Conditional, trace());
    assert!(matches!(exchange.step(), Step::Attempt));
    exchange.ended(unanswered(true), moment(&mut budget));
    assert!(matches!(exchange.step(), Step::Look));
    exchange.looked(object("t", Some(ID)), moment(&mut budget), |_| 1);
    assert!(matches!(exchange.step(), Step::Done(Ok(1))));
}

#[derive(Clone, Debug)]
enum Input {
    Refused(u16, &'static str),
    Mended(bool),
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
            "NoSuchUpload",
            "ConditionalRequestConflict",
            "ExpiredToken",
            "InvalidToken",
            "InvalidAccessKeyId",
            "Odd",
        ]),
    )
        .prop_map(|(status, code)| Input::Refused(status, code));
    let input = prop_oneof![
        4 => refused,
        1 => any::<bool>().prop_map(Input::Mended),
        2 => any::<bool>().prop_map(Input::Unanswered),
        1 => Just(Input::Done)
    ];
    prop::collection::vec(input, 1..8)
}

fn traces() -> impl Strategy<Value = Trace> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(proof, before, replaces, once)| Trace {
            id: Some(ID),
            proof: proof.then_some(Proof::Id(ID)),
            driven_before: before,
            replayed: false,
            replaces: replaces.then(|| ETag::parse("old").expect("a tag")),
            write_once: once && !replaces,
            leaves_nothing: false,
        },
    )
}

fn sighting(number: u8) -> Sighting {
    match number % 6 {
        0 => object("t", Some(ID)),
        1 => object("t", Some(OperationId::from_bits(1))),
        2 => object("old", None),
        3 => object("t", None),
        4 => Sighting::Nothing,
        _ => blind(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// However attempts end and whatever is seen: the machine ends, makes no more attempts than allowed, and says "not
    /// applied" of a write only when every attempt was definitely refused or never left, or when under a name written
    /// once another's object was seen. It says "applied" only when the store said so, or the id was seen.
    #[test]
    fn not_applied_is_said_only_where_it_is_true(
        effect in 0usize..3,
        trace in traces(),
        inputs in inputs(),
        looks in prop::collection::vec(any::<u8>(), 5),
        dropped_after in 0usize..40,
    ) {
        let effect = [Effect::Read, Effect::Repeatable, Effect::Conditional][effect];
        let trace = if effect == Effect::Conditional { trace } else { Trace::default() };
        let mut exchange = with(Operation::PutObject, effect, trace.clone());
        let mut budget = Budget::of_operations();
        let (mut could_be_applied, mut made, mut looked, mut proven) = (false, 0, 0, false);
        let (mut acknowledged, mut others, mut blinded) = (false, false, false);
        let mut steps = 0;
        let result = loop {
            if steps == dropped_after {
                // A value: dropping it at any step is all there is to cancelling, and what it knew is in its trace.
                return Ok(());
            }
            steps += 1;
            match exchange.step() {
                Step::Attempt => {
                    let input = inputs.get(made).cloned().unwrap_or(Input::Unanswered(false));
                    made += 1;
                    let ended = match input {
                        Input::Done => {
                            acknowledged = true;
                            Ended::Done(1)
                        }
                        Input::Mended(region) => mended(if region { Mend::Region } else { Mend::Clock }),
                        Input::Unanswered(sent) => {
                            could_be_applied |= sent;
                            unanswered(sent)
                        }
                        Input::Refused(status, code) => {
                            let ended = refused(status, code);
                            if let Ended::Refused(refusal) = &ended {
                                could_be_applied |=
                                    !matches!(refusal.class, Class::Definite | Class::StaleKeys);
                            }
                            ended
                        }
                    };
                    exchange.ended(ended, moment(&mut budget));
                }
                Step::Look => {
                    prop_assert!(trace.proof.is_some() && (could_be_applied || trace.driven_before));
                    let number = looks.get(looked).copied().unwrap_or_default();
                    looked += 1;
                    proven |= number % 6 == 0;
                    others |= number % 6 == 1;
                    blinded |= number % 6 == 5;
                    exchange.looked(sighting(number), moment(&mut budget), |_| 1);
                }
                Step::Wait(pause) => prop_assert!(pause <= Duration::from_secs(20)),
                Step::Done(result) => break result,
            }
        };
        prop_assert!(made <= 4 && looked <= 4);
        match result {
            Ok(_) => prop_assert!(acknowledged || proven),
            Err(error) => {
                let open = effect != Effect::Read && could_be_applied && !(trace.write_once && others);
                prop_assert_eq!(error.is_indeterminate(), open || blinded, "{:?}", error);
                prop_assert_eq!(error.operation_id().is_some(), error.is_indeterminate() && trace.id.is_some());
            }
        }
    }
}

fn corrupt() -> Ended<u32> {
    let head = ResponseHead { status: 200, headers: Headers::default() };
    Ended::Refused(Refusal::corrupt(&head, "another checksum"))
}

#[test]
fn bytes_damaged_on_the_way_go_again_twice_and_a_refusal_of_them_is_believed() {
    let bad = || refused(400, "BadDigest");
    for effect in [Effect::Read, Effect::Repeatable, Effect::Conditional] {
        let put = || with(Operation::PutObject, effect, Trace::default());
        assert_eq!(drive(put(), vec![bad(), bad(), Ended::Done(7)], vec![]).expect("applied"), 7);
        let error = drive(put(), vec![bad(), bad(), bad()], vec![]).expect_err("never as it was sent");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    let late = vec![unanswered(true), bad(), bad(), bad()];
    let error = drive(with(Operation::PutObject, Effect::Repeatable, Trace::default()), late, vec![]);
    assert_eq!(error.expect_err("open").kind(), ErrorKind::Indeterminate);
}

/// What the store has kept bears our id and is not what was sent: nobody looks at it to call it a success.
#[test]
fn a_write_that_was_stored_as_something_else_is_neither_applied_nor_not_applied() {
    let thrice = || (0..3).map(|_| corrupt()).collect::<Vec<_>>();
    for trace in [trace(), Trace::default()] {
        let put = |effect| with(Operation::PutObject, effect, trace.clone());
        assert_eq!(
            drive(put(Effect::Repeatable), vec![corrupt(), Ended::Done(7)], vec![]).expect("mended"),
            7
        );
        let error = drive(put(Effect::Repeatable), thrice(), vec![]).expect_err("never what was sent");
        assert!(error.is_indeterminate());
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<Error>());
        assert_eq!(cause.map(Error::kind), Some(ErrorKind::Corrupt));
        let error = drive(put(Effect::Conditional), vec![corrupt()], vec![]).expect_err("not what was sent");
        assert!(error.is_indeterminate());
    }
    let get = || with(Operation::GetObject, Effect::Read, Trace::default());
    assert_eq!(drive(get(), thrice(), vec![]).expect_err("damaged").kind(), ErrorKind::Corrupt);
    assert_eq!(drive(get(), vec![corrupt(), corrupt(), Ended::Done(7)], vec![]).expect("read"), 7);
    // And the test would notice.
    let mut wrong = with(Operation::PutObject, Effect::Conditional, trace());
    wrong.wrong = Some(Wrong::TakesSpoiledForItsOwn);
    assert_eq!(drive(wrong, vec![corrupt()], vec![object("t", Some(ID))]).expect("a lie"), 1);
}
