//! [`Fault`] and [`Faults`]: what can go wrong, how often, and the decision what does. Values only: no future, no store.

use std::fmt;
use std::ops::{Range, RangeInclusive};

use crate::error::Operation;

use super::random::Random;

/// Something that goes wrong with one call, and what its caller is told.
///
/// Every error is one that the contract provides for that situation, as a store gives it whose own retries have not
/// helped. What the contract rules out is never injected: no stale read, no half object, no refusal of what was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The store cannot be reached, and nothing was done: `Unavailable`.
    Unavailable,
    /// A wait ended before anything was done: `Timeout`.
    Timeout,
    /// The store asks for less, and nothing was done: `Throttled`.
    Throttled,
    /// Another write was going on, and nothing of this one landed: `Conflict`. Happens to completions, and to puts,
    /// copies and deletes under a condition.
    Conflict,
    /// The write got lost on the way: `Indeterminate`, and it is never applied.
    RequestLost,
    /// The store did as asked, whatever came of it, and the answer got lost: `Indeterminate`. What a store refuses
    /// without asking a server (`InvalidInput`, `Unsupported`) is refused all the same.
    AnswerLost,
    /// `Indeterminate`, and the write arrives later: some calls after this one, or with
    /// [`settle`](super::FaultyStorage::settle). Not for parts: sent again meanwhile, they would have other tags in
    /// stores whose tags are not made of the content.
    Late,
    /// Of many deletes some are done and told of, some are done and some not with `Indeterminate` for either.
    PartlyDone,
    /// The body of a get breaks off after some bytes: `Unavailable` or `Timeout` from the body.
    BodyBreaksOff,
    /// The body of a get ends too soon: `Corrupt` from the body.
    BodyEndsEarly,
    /// The body of a get is not what was stored: some bytes, of which one is wrong, and then `Corrupt` from the body.
    /// Only where all of an object is read, because only that is compared with a checksum.
    BodyIsDamaged,
    /// Nothing goes wrong, but it takes some polls before the store is asked, and some before the answer arrives.
    Slow,
    /// The process dies before the store was asked: see [`until_crash`](super::FaultyStorage::until_crash).
    CrashBefore,
    /// The process dies when the store has done as asked: see [`until_crash`](super::FaultyStorage::until_crash).
    CrashAfter,
}

impl Fault {
    /// Every fault.
    pub const ALL: &[Fault] = &[
        Fault::Unavailable,
        Fault::Timeout,
        Fault::Throttled,
        Fault::Conflict,
        Fault::RequestLost,
        Fault::AnswerLost,
        Fault::Late,
        Fault::PartlyDone,
        Fault::BodyBreaksOff,
        Fault::BodyEndsEarly,
        Fault::BodyIsDamaged,
        Fault::Slow,
        Fault::CrashBefore,
        Fault::CrashAfter,
    ];

    /// Whether this can happen to such an operation at all. (A look by
    /// [`resolve`](crate::ObjectStorage::resolve) is a `HeadObject`.)
    #[must_use]
    pub fn happens_to(self, operation: Operation) -> bool {
        use Operation::{
            AbortMultipartUpload, CompleteMultipartUpload, CopyObject, CreateMultipartUpload, DeleteObject,
            DeleteObjects, GetObject, HeadObject, ListMultipartUploads, ListObjects, ListParts, PutObject,
            UploadPart,
        };
        let late = matches!(
            operation,
            PutObject
                | DeleteObject
                | DeleteObjects
                | CopyObject
                | CreateMultipartUpload
                | CompleteMultipartUpload
                | AbortMultipartUpload
        );
        let write = late || operation == UploadPart;
        let read =
            matches!(operation, GetObject | HeadObject | ListObjects | ListParts | ListMultipartUploads);
        match self {
            Fault::Unavailable
            | Fault::Timeout
            | Fault::Throttled
            | Fault::Slow
            | Fault::CrashBefore
            | Fault::CrashAfter => read || write,
            Fault::RequestLost | Fault::AnswerLost => write,
            Fault::Late => late,
            Fault::Conflict => {
                matches!(operation, PutObject | DeleteObject | CopyObject | CompleteMultipartUpload)
            }
            Fault::PartlyDone => operation == DeleteObjects,
            Fault::BodyBreaksOff | Fault::BodyEndsEarly | Fault::BodyIsDamaged => operation == GetObject,
        }
    }

    fn is_crash(self) -> bool {
        matches!(self, Fault::CrashBefore | Fault::CrashAfter)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Unavailable => "unavailable",
            Fault::Timeout => "timeout",
            Fault::Throttled => "throttled",
            Fault::Conflict => "conflict",
            Fault::RequestLost => "request lost",
            Fault::AnswerLost => "answer lost",
            Fault::Late => "arrives late",
            Fault::PartlyDone => "partly done",
            Fault::BodyBreaksOff => "body breaks off",
            Fault::BodyEndsEarly => "body ends early",
            Fault::BodyIsDamaged => "body is damaged",
            Fault::Slow => "slow",
            Fault::CrashBefore => "crash before it",
            Fault::CrashAfter => "crash after it",
        })
    }
}

/// Which faults happen, and how often: for [`FaultyStorage`](super::FaultyStorage).
///
/// What happens to the n-th call of an operation depends on the seed, on the operation and on n, and on nothing else:
/// the same seed and the same calls meet the same faults. Without rates, script and outages nothing happens.
#[derive(Clone, Debug)]
pub struct Faults {
    pub(super) seed: u64,
    /// Later ones count, and those for one operation before those for all.
    rates: Vec<Rate>,
    script: Vec<(Operation, u64, Fault)>,
    outages: Vec<Range<u64>>,
    late_calls: (u64, u64),
    slow_polls: (u64, u64),
}

#[derive(Clone, Debug)]
struct Rate {
    /// `None`: of all operations.
    operation: Option<Operation>,
    fault: Fault,
    per_mille: u64,
}

/// One call, as far as it matters to faults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) operation: Operation,
    /// A write under a condition.
    pub(super) conditional: bool,
    /// A get of all of an object.
    pub(super) whole: bool,
}

impl Call {
    fn admits(self, fault: Fault) -> bool {
        fault.happens_to(self.operation)
            && match fault {
                Fault::Conflict => self.conditional || self.operation == Operation::CompleteMultipartUpload,
                Fault::BodyIsDamaged => self.whole,
                _ => true,
            }
    }
}

impl Faults {
    /// No faults yet. The seed decides which calls will meet them: print it when a test fails.
    #[must_use]
    pub fn new(seed: u64) -> Faults {
        Faults {
            seed,
            rates: Vec::new(),
            script: Vec::new(),
            outages: Vec::new(),
            late_calls: (1, 8),
            slow_polls: (1, 4),
        }
    }

    /// The same, and this fault happens to so many of a thousand calls, of every operation that it can happen to.
    #[must_use]
    pub fn with_rate(mut self, fault: Fault, per_mille: u32) -> Faults {
        self.rates.push(Rate { operation: None, fault, per_mille: per_mille.into() });
        self
    }

    /// The same, and this fault happens to so many of a thousand calls of this operation, whatever holds for others.
    ///
    /// # Panics
    ///
    /// When it cannot happen to that operation ([`Fault::happens_to`]).
    #[must_use]
    pub fn with_rate_of(mut self, operation: Operation, fault: Fault, per_mille: u32) -> Faults {
        assert_fits(operation, fault);
        self.rates.push(Rate { operation: Some(operation), fault, per_mille: per_mille.into() });
        self
    }

    /// The same, and every fault but crashes happens to so many of a thousand calls that it can happen to. (A
    /// put can meet six that hurt: at 20, one in eight puts goes wrong.)
    #[must_use]
    pub fn with_every_fault(self, per_mille: u32) -> Faults {
        let all = Fault::ALL.iter().filter(|fault| !fault.is_crash());
        all.fold(self, |faults, fault| faults.with_rate(*fault, per_mille))
    }

    /// The same, and this fault happens to the n-th call of this operation, counted from 1, instead of what the rates
    /// would have happen to it. Where it cannot happen to that very call (a conflict without a condition), nothing does.
    ///
    /// # Panics
    ///
    /// When it cannot happen to that operation ([`Fault::happens_to`]).
    #[must_use]
    pub fn with_scripted(mut self, operation: Operation, nth: u64, fault: Fault) -> Faults {
        assert_fits(operation, fault);
        self.script.push((operation, nth, fault));
        self
    }

    /// The same, and of all calls those with these numbers, counted from 1, are refused as `Unavailable`.
    #[must_use]
    pub fn with_outage(mut self, calls: Range<u64>) -> Faults {
        self.outages.push(calls);
        self
    }

    /// The same, and late writes arrive that many calls after theirs; 1 to 8 unless this is said.
    #[must_use]
    pub fn with_late_calls(mut self, calls: RangeInclusive<u64>) -> Faults {
        self.late_calls = (*calls.start(), *calls.end().max(calls.start()));
        self
    }

    /// The same, and slow calls take that many polls before the store is asked, and before the answer arrives; 1 to 4
    /// unless this is said.
    #[must_use]
    pub fn with_slow_polls(mut self, polls: RangeInclusive<u64>) -> Faults {
        self.slow_polls = (*polls.start(), *polls.end().max(polls.start()));
        self
    }

    /// What happens to the call with this number among all calls, the `nth` of its operation.
    pub(super) fn decide(&self, call: Call, number: u64, nth: u64) -> Decision {
        let mut random = Random::of(self.seed, call.operation, nth);
        let die = random.below(1000);
        let scripted =
            self.script.iter().find(|(operation, at, _)| (*operation, *at) == (call.operation, nth));
        let fault = match scripted {
            Some((.., fault)) => Some(*fault).filter(|fault| call.admits(*fault)),
            None if self.outages.iter().any(|outage| outage.contains(&number)) => Some(Fault::Unavailable),
            None => self.drawn(call, die),
        };
        Decision {
            fault,
            late_calls: random.within(self.late_calls),
            slow_polls: [random.within(self.slow_polls), random.within(self.slow_polls)],
            random,
        }
    }

    pub(super) fn slow_polls_max(&self) -> u64 {
        self.slow_polls.1
    }

    fn drawn(&self, call: Call, mut die: u64) -> Option<Fault> {
        for fault in Fault::ALL.iter().copied().filter(|fault| call.admits(*fault)) {
            match die.checked_sub(self.rate(call.operation, fault)) {
                Some(rest) => die = rest,
                None => return Some(fault),
            }
        }
        None
    }

    fn rate(&self, operation: Operation, fault: Fault) -> u64 {
        let last = |of: Option<Operation>| {
            self.rates.iter().rev().find(|rate| rate.operation == of && rate.fault == fault)
        };
        last(Some(operation)).or_else(|| last(None)).map_or(0, |rate| rate.per_mille)
    }
}

fn assert_fits(operation: Operation, fault: Fault) {
    assert!(fault.happens_to(operation), "{fault:?} cannot happen to {operation}");
}

/// What happens to one call.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) fault: Option<Fault>,
    pub(super) late_calls: u64,
    /// Before the store is asked, and before the answer arrives.
    pub(super) slow_polls: [u64; 2],
    /// For what else has to be decided.
    pub(super) random: Random,
}

impl Decision {
    /// Whether the write ends as `Indeterminate`, so that it needs an id to be asked for.
    pub(super) fn leaves_doubt(&self) -> bool {
        matches!(self.fault, Some(Fault::RequestLost | Fault::AnswerLost | Fault::Late))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: Call = Call { operation: Operation::PutObject, conditional: true, whole: false };

    #[test]
    fn a_rate_is_kept() {
        let faults = Faults::new(7).with_every_fault(20).with_rate(Fault::Late, 100);
        let of_a_put = (1..=10_000).filter_map(|nth| faults.decide(PUT, nth, nth).fault);
        let (mut late, mut others) = (0, 0);
        of_a_put.for_each(|fault| if fault == Fault::Late { late += 1 } else { others += 1 });
        assert!((900..1100).contains(&late), "{late} of about 1000");
        assert!((1200..1600).contains(&others), "{others} of about 1400, seven kinds");
    }

    #[test]
    fn one_operation_can_have_rates_of_its_own_and_a_script_stands_above_them() {
        let faults = Faults::new(7)
            .with_rate_of(Operation::PutObject, Fault::Throttled, 1000)
            .with_rate(Fault::Throttled, 0)
            .with_scripted(Operation::PutObject, 3, Fault::AnswerLost)
            .with_outage(5..6);
        let decided: Vec<_> = (1..=5).map(|nth| faults.decide(PUT, nth, nth).fault).collect();
        let throttled = Some(Fault::Throttled);
        assert_eq!(
            decided,
            [throttled, throttled, Some(Fault::AnswerLost), throttled, Some(Fault::Unavailable)]
        );
        let head = Call { operation: Operation::HeadObject, conditional: false, whole: false };
        assert_eq!(faults.decide(head, 1, 1).fault, None);
    }

    #[test]
    fn what_cannot_happen_to_a_call_does_not() {
        let faults = Faults::new(7).with_rate(Fault::Conflict, 1000).with_rate(Fault::BodyIsDamaged, 1000);
        assert_eq!(faults.decide(PUT, 1, 1).fault, Some(Fault::Conflict));
        assert_eq!(faults.decide(Call { conditional: false, ..PUT }, 1, 1).fault, None);
        let get = Call { operation: Operation::GetObject, conditional: false, whole: false };
        assert_eq!(faults.decide(get, 1, 1).fault, None);
        assert_eq!(faults.decide(Call { whole: true, ..get }, 1, 1).fault, Some(Fault::BodyIsDamaged));
    }

    #[test]
    #[should_panic(expected = "Late cannot happen to UploadPart")]
    fn a_script_that_cannot_happen_is_refused() {
        let _ = Faults::new(7).with_scripted(Operation::UploadPart, 1, Fault::Late);
    }
}
