//! The table itself: one line per fault, one entry per operation.

use super::Op;

/// A row.
#[derive(Debug)]
pub struct Fault {
    /// Its number in the catalogue.
    pub id: &'static str,
    /// What goes wrong.
    pub name: &'static str,
    /// What each operation then does, in the order of [`OPS`]. The legend is in `MATRIX.md`.
    pub symbols: &'static str,
}

/// The columns.
pub const OPS: [Op; 17] = [
    Op::Put,
    Op::PutCreate,
    Op::PutMatch,
    Op::Get,
    Op::Range,
    Op::Head,
    Op::List,
    Op::Delete,
    Op::DeleteMatch,
    Op::Batch,
    Op::Copy,
    Op::NewUpload,
    Op::Part,
    Op::Complete,
    Op::Abort,
    Op::ListParts,
    Op::Credentials,
];

const fn fault(id: &'static str, name: &'static str, symbols: &'static str) -> Fault {
    Fault { id, name, symbols }
}

/// The rows.
#[rustfmt::skip]
pub const FAULTS: [Fault; 38] = [
    fault("F01", "DNS fails / times out",
        "R R R R R R R R R R R R R R R R R"),
    fault("F02", "connect refused / unreachable",
        "R R R R R R R R R R R R R R R R R"),
    fault("F03", "connect timeout",
        "R R R R R R R R R R R R R R R R R"),
    fault("F04", "TLS: bad cert, name, expiry",
        "T T T T T T T T T T T T T T T T T"),
    fault("F05", "TLS: handshake reset / timeout",
        "R R R R R R R R R R R R R R R R R"),
    fault("F06", "stale pooled connection, 0 bytes written",
        "R0 R0 R0 R0 R0 R0 R0 R0 R0 R0 R0 R0 R0 R0 R0 R0 R0"),
    fault("F07", "reset while sending the request",
        "A1 A2 A3 R R R R A4 A5 A6 A7 A8 A9 A10 A11 R R"),
    fault("F08", "reset after request, before response head",
        "A1 A2 A3 R R R R A4 A5 A6 A7 A8 A9 A10 A11 R R"),
    fault("F09", "reset inside response head or body",
        "A1 A2 A3 D D R R A4 A5 A6 A7 A8 A9 A10 A11 R R"),
    fault("F10", "timeout while sending",
        "A1 A2 A3 R R R R A4 A5 A6 A7 A8 A9 A10 A11 R R"),
    fault("F11", "timeout waiting for response head",
        "A1 A2 A3 R R R R A4 A5 A6 A7 A8 A9 A10 A11 R R"),
    fault("F12", "timeout / slow drip in response body",
        "A1 A2 A3 D D R R A4 A5 A6 A7 A8 A9 A10 A11 R R"),
    fault("F13", "500 InternalError / 502 / 504 / 499",
        "A1 A2 A3 R R R R A4 A5 A6 A7 A8 A9 A10 A11 R R"),
    fault("F14", "503 SlowDown, 429",
        "RT+A1 RT+A2 RT+A3 RT RT RT RT RT+A4 RT+A5 RT+A6 RT+A7 RT+A8 RT+A9 RT+A10 RT+A11 RT RT"),
    fault("F15", "408, 400 RequestTimeout",
        "A1 A2 A3 R R R R A4 A5 A6 A7 A8 A9 A10 A11 R R"),
    fault("F16", "409 ConditionalRequestConflict / OperationAborted",
        "RT RT RT E E E E E RT E RT E E N E E -"),
    fault("F17", "412 PreconditionFailed",
        "P A2 A3 E E E P P A5 P A7 P P A10 P P -"),
    fault("F18", "200 with an `<Error>` body",
        "- - - - - - R - - A6 A7 A8 - A10 - R E"),
    fault("F19", "200, empty or truncated XML",
        "- - - - - - R - - A6 A7 A8 - A10 - R R"),
    fault("F20", "301 / 307 / 308 redirect",
        "X X X X X X X X X X X X X X X X X"),
    fault("F21", "403 RequestTimeTooSkewed / expired signature",
        "K K K K K K K K K K K K K K K K K"),
    fault("F22", "400 ExpiredToken / InvalidToken / TokenRefreshRequired",
        "C C C C C C C C C C C C C C C C E"),
    fault("F23", "403 AccessDenied / SignatureDoesNotMatch",
        "C1 C1 C1 C1 C1 C1 C1 C1 C1 C1 C1 C1 C1 C1 C1 C1 E"),
    fault("F24", "404 NoSuchKey",
        "P P A3 E E E P OK A5 OK E P P P P P E"),
    fault("F25", "404 NoSuchBucket",
        "E E E E E E E E E E E E E E E E -"),
    fault("F26", "404 NoSuchUpload",
        "- - - - - - - - - - - - A12 A10 OK OK -"),
    fault("F27", "400 EntityTooSmall / InvalidPart / InvalidPartOrder",
        "E E E - - - - - - - E - E B10 - - -"),
    fault("F28", "400 BadDigest / InvalidDigest / checksum mismatch (upload)",
        "I I I - - - - - - I - - I I - - -"),
    fault("F29", "truncated body (length short)",
        "A1 A2 A3 D D - R A4 A5 A6 A7 A8 A9 A10 A11 R R"),
    fault("F30", "corrupted body (length right)",
        "- - - I I - R - - A6 A7 A8 - A10 - R R"),
    fault("F31", "wrong range: 200 for a range, shifted 206, wrong total",
        "- - - - P - - - - - - - - - - - -"),
    fault("F32", "body longer than declared or than the cap; XML bomb; huge header",
        "P+A1 P+A2 P+A3 P P P P P+A4 P+A5 P+A6 P+A7 P+A8 P+A9 P+A10 P+A11 P P"),
    fault("F33", "ETag unquoted, weak, changed, missing",
        "Q Q Q Q Q Q Q - - - Q - Q Q - - -"),
    fault("F34", "request applied twice (proxy or transport replays it)",
        "A1 A2 A3 - - - - A4 A5 A6 A7 A8 A9 A10 A11 - R"),
    fault("F35", "zombie: attempt lands after the operation ended",
        "Z:A1 Z:A2 Z:A3 - - - - Z:A4 Z:A5 Z:A6 Z:A7 Z:A8 Z:A9 Z:A10 Z:A11 - -"),
    fault("F36", "caller drops the future",
        "U:A1 U:A2 U:A3 - - - - U:A4 U:A5 U:A6 U:A7 U:A8 U:A9 U:A10 U:A11 - -"),
    fault("F37", "process dies",
        "U:A1 U:A2 U:A3 - - - - U:A4 U:A5 U:A6 U:A7 U:A8 U:A9 U:A10 U:A11 - -"),
    fault("F38", "success status, condition silently ignored",
        "- W W - - - - - W - W - - W - - -"),
];
