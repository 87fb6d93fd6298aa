//! What a symbol of the table means for an operation.

use std::ops::RangeInclusive;

use object_storage::ErrorKind;

use super::{ATTEMPTS, Cell, Effect, Ends, Op, Said, Times};

pub(super) const OK: Said = None;
pub(super) const UNKNOWN: Said = Some(ErrorKind::Indeterminate);

pub(super) fn kinds(kinds: &[ErrorKind]) -> Vec<Said> {
    kinds.iter().copied().map(Some).collect()
}

pub(super) fn ends(meant: &[Said], today: &[Said], requests: RangeInclusive<usize>) -> Ends {
    Ends { meant: meant.to_vec(), today: today.to_vec(), requests }
}

/// What a read says when every attempt met the fault.
fn failed(fault: &str) -> Vec<Said> {
    kinds(match fault {
        "F14" => &[ErrorKind::Throttled],
        "F03" | "F10" | "F11" | "F12" => &[ErrorKind::Timeout, ErrorKind::Unavailable],
        "F01" | "F05" => &[ErrorKind::Unavailable, ErrorKind::Timeout],
        "F19" | "F30" | "F32" => &[ErrorKind::Protocol, ErrorKind::Unavailable, ErrorKind::Corrupt],
        "F29" => &[ErrorKind::Unavailable, ErrorKind::Protocol],
        _ => &[ErrorKind::Unavailable],
    })
}

/// After an attempt that may have been carried out.
pub(super) fn ambiguous(op: Op, conditional: bool, times: Times) -> Ends {
    match (op.effect(conditional), times) {
        (Effect::Read, _) => unreachable!("a read leaves nothing open"),
        (Effect::Repeatable, Times::Once) => ends(&[OK], &[], 2..=2),
        (Effect::Repeatable, Times::Always) => ends(&[UNKNOWN], &[], 2..=ATTEMPTS),
        // No stamp can prove a deletion.
        (Effect::Conditional, Times::Once) if op == Op::DeleteMatch => {
            ends(&[OK, UNKNOWN], &[], 1..=ATTEMPTS)
        }
        (Effect::Conditional, Times::Once) => ends(&[OK], &[UNKNOWN], 1..=ATTEMPTS),
        (Effect::Conditional, Times::Always) => ends(&[OK, UNKNOWN], &[], 1..=ATTEMPTS),
    }
}

/// Tried again with nothing to worry about.
pub(super) fn again(cell: &Cell, times: Times) -> Ends {
    match times {
        Times::Once => ends(&[OK], &[], 2..=2),
        Times::Always => ends(&failed(cell.fault.id), &[], 2..=ATTEMPTS),
    }
}

/// Refused for good.
pub(super) fn refused(meant: &[ErrorKind]) -> Ends {
    ends(&kinds(meant), &[], 1..=1)
}

/// What the entry of a cell means.
pub(super) fn of(cell: &Cell, times: Times) -> Ends {
    use ErrorKind::{
        AlreadyExists, Config, Conflict, Corrupt, InvalidInput, NotFound, PermissionDenied,
        PreconditionFailed, Protocol, Unauthenticated,
    };
    let (op, fault) = (cell.op, cell.fault.id);
    let conditional = cell.is_conditional();
    let unresolved = match (op, op.effect(conditional)) {
        (Op::PutCreate | Op::Copy | Op::Complete, Effect::Conditional) => AlreadyExists,
        _ => PreconditionFailed,
    };
    match (cell.symbol, fault) {
        // Nothing was sent, whatever the operation is.
        ("R", "F01" | "F02" | "F03") => ends(&failed(fault), &[], 0..=0),
        ("R", "F05") => match times {
            Times::Once => ends(&[OK], &[], 1..=1),
            Times::Always => ends(&failed(fault), &[], 0..=0),
        },
        ("T", _) => ends(&kinds(&[Config]), &[], 0..=0),
        ("R0", _) => ends(&[OK], &[], 1..=1),
        // Nothing of ours landed: again, as if for the first time.
        ("RT", "F16") => match times {
            Times::Once => ends(&[OK], &[], 2..=2),
            Times::Always => ends(&kinds(&[Conflict]), &[], 2..=ATTEMPTS),
        },
        // Others are not refused this way by S3. Trying again is as true as giving up, since nothing landed.
        ("E", "F16") => match (op.effect(conditional), times) {
            (Effect::Read, _) => refused(&[Conflict]),
            (_, Times::Once) => ends(&[OK, Some(Conflict)], &[], 1..=2),
            (_, Times::Always) => ends(&kinds(&[Conflict]), &[], 1..=ATTEMPTS),
        },
        ("N", _) => refused(&[Conflict]),
        ("A2" | "A5" | "A7" | "A10" | "A3", "F17") => refused(&[unresolved]),
        ("E" | "P", "F17") => ends(&kinds(&[PreconditionFailed, Protocol]), &[UNKNOWN], 1..=ATTEMPTS),
        ("A3" | "A5" | "E", "F24") => refused(&[NotFound]),
        ("P", "F24") => ends(&kinds(&[NotFound, Protocol]), &[UNKNOWN], 1..=ATTEMPTS),
        ("A10" | "A12", "F26") => refused(&[NotFound]),
        // To whom cleans up this is success; the trait says what it is.
        ("OK", "F26") if op == Op::ListParts => refused(&[NotFound]),
        ("OK", _) => ends(&[OK], &[], 1..=1),
        ("E", "F25") => refused(&[NotFound]),
        ("E" | "B10", "F27") => refused(&[InvalidInput]),
        ("R" | "RT", _) if op.effect(conditional) == Effect::Read => again(cell, times),
        ("D", _) => match times {
            Times::Once => ends(&[OK], &failed(fault), 1..=2),
            Times::Always => ends(&[&[OK], &failed(fault)[..]].concat(), &[], 1..=2 * ATTEMPTS),
        },
        ("X", _) => ends(&kinds(&[Config]), &[], 1..=2),
        ("K", _) if op == Op::Head => ends(&kinds(&[PermissionDenied, Unauthenticated]), &[], 1..=2),
        ("K", _) => match times {
            // Over plain http nobody's clock is trusted.
            Times::Once => ends(&[OK, Some(Unauthenticated)], &[], 1..=2),
            Times::Always => ends(&kinds(&[Unauthenticated]), &[], 1..=2),
        },
        ("C", _) => match times {
            Times::Once => ends(&[OK], &[], 2..=2),
            // The answer to a HEAD cannot say which of all bad requests it was.
            Times::Always if op == Op::Head => ends(&kinds(&[InvalidInput, Unauthenticated]), &[], 2..=2),
            Times::Always => ends(&kinds(&[Unauthenticated]), &[], 2..=2),
        },
        ("C1", _) => match times {
            Times::Once => ends(&[OK, Some(PermissionDenied), Some(Unauthenticated)], &[], 1..=2),
            Times::Always => ends(&kinds(&[PermissionDenied, Unauthenticated]), &[], 1..=2),
        },
        ("I", _) => match times {
            Times::Once => ends(&[OK], &kinds(&[Corrupt]), 1..=ATTEMPTS),
            Times::Always => ends(&kinds(&[Corrupt]), &[], 1..=ATTEMPTS),
        },
        ("P", "F31") => refused(&[Protocol]),
        ("P", _) => ends(&[&[OK], &failed(fault)[..]].concat(), &[], 1..=ATTEMPTS),
        ("Q", _) => ends(&[OK], &[], 1..=1),
        ("W", _) => ends(&kinds(&[Unauthenticated, PermissionDenied]), &[], 1..=2),
        _ => ambiguous(op, conditional, times),
    }
}
