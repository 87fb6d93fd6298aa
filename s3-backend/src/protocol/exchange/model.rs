//! The promise, held against a store that really applies writes or not: before the answer is lost, after, twice, late.
//!
//! One key, one writer that is the machine, and others who overwrite, create and delete under it with conditions of
//! their own. The store gives every version a tag that never repeats. A seed decides everything; the same checks that
//! the machine passes for every seed must catch each policy of [`Wrong`].

use fastrand::Rng;

use super::super::error::Condition;
use super::super::headers::Headers;
use super::super::request::ResponseHead;
use super::*;

const OURS: OperationId = OperationId::from_bits(1);

/// How many seeds the right policy is run over.
const SEEDS: u64 = 50_000;

/// Within how many seeds every wrong one must be caught.
const SEEDS_TO_CATCH: u64 = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    tag: u32,
    id: Option<OperationId>,
}

#[derive(Debug, Default)]
struct Store {
    current: Option<Version>,
    tags: u32,
    /// The tags of the versions that our write made.
    ours: Vec<u32>,
    /// Attempts of ours that are still on their way.
    late: u32,
    /// The more, the rarer others do something.
    calm: u8,
}

impl Store {
    fn write(&mut self, id: Option<OperationId>) -> u32 {
        self.tags += 1;
        self.current = Some(Version { tag: self.tags, id });
        if id == Some(OURS) {
            self.ours.push(self.tags);
        }
        self.tags
    }

    /// One attempt of ours arrives: what the store answers.
    fn arrive(&mut self, mode: Mode) -> Result<u32, (u16, &'static str)> {
        match (mode, &self.current) {
            (Mode::Create, None) => Ok(self.write(Some(OURS))),
            (Mode::Match(wanted), Some(version)) if version.tag == wanted => Ok(self.write(Some(OURS))),
            (Mode::Match(_), None) => Err((404, "NoSuchKey")),
            (Mode::Create, Some(_)) | (Mode::Match(_), Some(_)) => Err((412, "PreconditionFailed")),
        }
    }

    /// What others do meanwhile, and what arrives late.
    fn meanwhile(&mut self, rng: &mut Rng, mode: Mode, write_once: bool) {
        if self.late > 0 && rng.u8(..4) == 0 {
            self.late -= 1;
            // Nobody is there to hear the answer.
            let _unheard = self.arrive(mode);
        }
        let stamped = rng.bool().then(|| OperationId::from_bits(100 + u128::from(rng.u8(..))));
        match (rng.u8(..self.calm.max(3)), &self.current) {
            (0, None) => drop(self.write(stamped)),
            (1, Some(_)) if !write_once => drop(self.write(stamped)),
            (2, Some(_)) if !write_once => self.current = None,
            _ => {}
        }
    }

    fn sighting(&self, rng: &mut Rng) -> Sighting {
        if rng.u8(..10) == 0 {
            return Sighting::Failed(Error::new(ErrorKind::Unavailable, Operation::HeadObject, "not now"));
        }
        match &self.current {
            None => Sighting::Nothing,
            Some(version) => {
                Sighting::Object(Seen { etag: Some(etag(version.tag)), version: None, id: version.id })
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Create,
    Match(u32),
}

fn etag(tag: u32) -> ETag {
    ETag::parse(&format!("t{tag}")).expect("a tag")
}

fn refused(mode: Mode, status: u16, code: &str) -> Ended<ETag> {
    let condition = match mode {
        Mode::Create => Condition::Create,
        Mode::Match(_) => Condition::Match,
    };
    let body = format!("<Error><Code>{code}</Code></Error>");
    let head = ResponseHead { status, headers: Headers::default() };
    Ended::Refused(Refusal::read(&head, body.as_bytes(), condition, false))
}

fn unanswered(sent: bool) -> Ended<ETag> {
    let message = "reset".to_owned();
    Ended::Unanswered(Unanswered { sent, kind: ErrorKind::Unavailable, final_: false, message, source: None })
}

/// One attempt meets its fate.
fn attempt(store: &mut Store, rng: &mut Rng, mode: Mode, replayed: bool) -> Ended<ETag> {
    let answered = |arrived: Result<u32, (u16, &'static str)>| match arrived {
        Ok(tag) => Ended::Done(etag(tag)),
        Err((status, code)) => refused(mode, status, code),
    };
    match rng.u8(..13) {
        0 => unanswered(false),
        1 => unanswered(true),
        2 => {
            let _lost = store.arrive(mode);
            unanswered(true)
        }
        3 | 9 | 10 => {
            store.late += 1;
            unanswered(true)
        }
        4 => refused(mode, 503, "SlowDown"),
        5 => {
            // A proxy in between gave up waiting.
            let _lost = store.arrive(mode);
            refused(mode, 503, "SlowDown")
        }
        6 if replayed => {
            // A proxy sends it twice, and passes the second answer on.
            let _first = store.arrive(mode);
            answered(store.arrive(mode))
        }
        7 => refused(mode, 409, "ConditionalRequestConflict"),
        8 => {
            let _lost = store.arrive(mode);
            refused(mode, 500, "InternalError")
        }
        _ => answered(store.arrive(mode)),
    }
}

/// Runs one history. `Err`: what was said and is not true.
fn history(seed: u64, wrong: Option<Wrong>) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let mut store = Store { calm: [5, 30][rng.usize(..2)], ..Store::default() };
    let write_once = rng.u8(..5) == 0;
    // Then nobody else writes: a replay that is replaced before its second answer comes cannot be found out by anybody.
    let replayed = rng.u8(..8) == 0;
    let mode = if write_once || rng.u8(..3) == 0 { Mode::Create } else { Mode::Match(store.write(None)) };
    let trace = |driven_before| Trace {
        id: Some(OURS),
        proof: Some(Proof::Id(OURS)),
        driven_before,
        replaces: match mode {
            Mode::Create => None,
            Mode::Match(tag) => Some(etag(tag)),
        },
        replayed,
        write_once,
        leaves_nothing: false,
    };
    let policy =
        RetryPolicy { attempts_max: [1, 1, 2, 4][rng.usize(..4)], time_max: Duration::from_secs(60) };
    let mut budget = Budget::of_operations();
    // The first call may be dropped after any step; the second drives the same operation again.
    let dropped_after = if rng.u8(..8) == 0 { rng.usize(..6) } else { usize::MAX };
    let mut said = None;
    let mut calls = vec![false];
    if dropped_after != usize::MAX {
        calls.push(true);
    }
    for again in calls {
        let applied_before = store.ours.len();
        let late_before = store.late;
        let mut exchange =
            Exchange::new(Operation::PutObject, None, Effect::Conditional, trace(again), policy);
        exchange.wrong = wrong;
        let mut steps = 0;
        loop {
            if !replayed {
                store.meanwhile(&mut rng, mode, write_once);
            }
            if !again && steps == dropped_after {
                break;
            }
            steps += 1;
            let at =
                Moment { elapsed: Duration::ZERO, now: Duration::ZERO, jitter: 0.0, budget: &mut budget };
            match exchange.step() {
                Step::Attempt => exchange.ended(attempt(&mut store, &mut rng, mode, replayed), at),
                Step::Look => exchange.looked(store.sighting(&mut rng), at, |outcome| outcome.etag),
                Step::Wait(_) => {}
                Step::Done(result) => {
                    said = Some((result, applied_before, late_before));
                    break;
                }
            }
        }
        if said.is_some() {
            break;
        }
    }
    // Whatever was on its way arrives, among what others do.
    while store.late > 0 {
        store.meanwhile(&mut rng, mode, write_once);
    }
    let Some((result, applied_before, late_before)) = said else { return Ok(()) };
    match result {
        Ok(tag) if store.ours.iter().any(|ours| etag(*ours) == tag) => Ok(()),
        Ok(tag) => Err(format!("seed {seed}: \"applied\" with {tag}, of {:?}", store.ours)),
        Err(error) if error.is_indeterminate() => Ok(()),
        // Of what an earlier call did, and of what of it is late, this call says nothing.
        Err(_) if store.ours.len() == applied_before || late_before > 0 => Ok(()),
        Err(error) => Err(format!("seed {seed}: \"not applied\" ({error:?}), and it was")),
    }
}

/// The first seed for which a policy says what is not true.
fn caught(wrong: Option<Wrong>, seeds: u64) -> Option<String> {
    (0..seeds).find_map(|seed| history(seed, wrong).err())
}

#[test]
fn what_the_machine_says_of_a_write_is_true() {
    assert_eq!(caught(None, SEEDS), None);
}

#[test]
fn every_wrong_policy_is_caught() {
    let all = [
        Wrong::BelievesLaterRefusals,
        Wrong::TakesAnothersIdForRefusal,
        Wrong::TakesAbsenceForRefusal,
        Wrong::TakesTheOldVersionForRefusal,
        Wrong::TakesThrottlingForRefusal,
        Wrong::TakesAnyObjectForItsOwn,
    ];
    for wrong in all {
        let lie = caught(Some(wrong), SEEDS_TO_CATCH).unwrap_or_else(|| panic!("{wrong:?} goes unnoticed"));
        println!("{wrong:?}: {lie}");
    }
}

/// With tags that never repeat and nobody who deletes, a condition lets a write through at most once, however often it
/// is sent: what makes sending it again harmless.
#[test]
fn a_condition_lets_a_write_through_once() {
    for seed in 0..SEEDS {
        let mut rng = Rng::with_seed(seed);
        let mut store = Store { calm: 8, ..Store::default() };
        let mode = if rng.bool() { Mode::Create } else { Mode::Match(store.write(None)) };
        for _ in 0..20 {
            store.meanwhile(&mut rng, mode, true);
            let _ended = attempt(&mut store, &mut rng, mode, true);
        }
        assert!(store.ours.len() <= 1, "seed {seed}: {store:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 0..100 {
        let wrong = Some(Wrong::BelievesLaterRefusals);
        assert_eq!(history(seed, wrong), history(seed, wrong));
    }
}
