//! What can happen to a request on its way, and how often it does here.

use super::random::Random;

/// What happens to one attempt, or to the client that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Fault {
    NotSent,
    LostOnTheWay,
    Late,
    AnswerLost,
    FailedBefore,
    FailedAfter,
    Race,
    Mendable,
    SentTwice,
    SecondAnswer,
    Garbled,
    Crash,
}

/// How many faults there are.
pub const FAULTS: usize = 12;

/// Every fault: what it is, and how often an attempt meets it in the middle one of three weathers, in a thousand.
pub(super) const TABLE: [(Fault, &str, u32); FAULTS] = [
    (Fault::NotSent, "certainly not sent", 25),
    (Fault::LostOnTheWay, "lost on the way, or so it seems until it arrives late", 40),
    (Fault::Late, "arrives up to 1,000 s later; after 15 minutes its signature is not accepted", 50),
    (Fault::AnswerLost, "applied, and the answer lost (reset, timeout)", 60),
    (Fault::FailedBefore, "500, 502, 503, 504, 429 or 408, not applied", 40),
    (Fault::FailedAfter, "the same, applied or to be applied", 40),
    (Fault::Race, "409, not applied (writes under a condition)", 30),
    (Fault::Mendable, "refused for keys that have expired or bytes that were damaged", 10),
    (Fault::SentTwice, "arrives again later", 30),
    (Fault::SecondAnswer, "arrives twice, the second answer is passed on (names written once)", 20),
    (Fault::Garbled, "applied, and the answer replaced by a page", 10),
    (Fault::Crash, "the client dies (once in so many operations)", 40),
];

/// In calm, usual and rough weather a fault is as frequent as stated times this, in tenths.
pub(super) const WEATHERS: [u32; 3] = [3, 10, 20];

/// What happens to an attempt, if anything does.
pub(super) fn draw(random: &mut Random, weather: u32) -> Option<Fault> {
    let mut die = random.below(1000);
    for (fault, _, per_mille) in TABLE {
        if fault == Fault::Crash {
            continue;
        }
        let share = per_mille * weather / 10;
        if die < share {
            return Some(fault);
        }
        die -= share;
    }
    None
}

/// Whether the client dies during an operation.
pub(super) fn crashes(random: &mut Random, weather: u32) -> bool {
    random.per_mille(TABLE[Fault::Crash as usize].2 * weather / 10)
}
