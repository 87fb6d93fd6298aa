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
        ("F28", op) if op.sends_bytes() => Some(
            "no checksum goes out with the bytes and over the loopback they are not signed: a bit that turns over on \
             the way is stored",
        ),
        ("F30", Op::Get | Op::Range) => {
            Some("no checksum is verified on the way in: a bit that turned over is handed out")
        }
        ("F34", Op::PutCreate | Op::PutMatch | Op::DeleteMatch) => Some(
            "a 412 or 404 to the only attempt is believed, and a proxy that repeats requests by itself hands on the \
             second answer to what was carried out the first time",
        ),
        _ => None,
    }
}
