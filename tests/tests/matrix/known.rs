//! Cells that do not hold, each with its reason. A cell that is not listed and does not hold fails the run.

use object_storage::config::Transport;
use tests::matrix::{Cell, Op};

use crate::world::Target;

/// Why a server cannot play a cell.
pub(crate) fn server_cannot_play(target: &Target, cell: &Cell) -> Option<&'static str> {
    if cell.op == Op::Copy && cell.is_conditional() && !target.copies_conditionally {
        return Some(
            "the server ignores conditions on the destination of a copy, so the store refuses to ask for one",
        );
    }
    None
}

/// Why a cell does not hold.
pub(crate) fn does_not_hold(_target: &Target, _transport: Transport, cell: &Cell) -> Option<&'static str> {
    match (cell.fault.id, cell.op) {
        ("F30", Op::Range) => {
            Some("stores keep a checksum of the whole object, with which a range of it cannot be compared")
        }
        _ => None,
    }
}
