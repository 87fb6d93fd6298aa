//! The one shape of a complaint: where it is, what is wrong, what to do.

use std::fmt;

use crate::error::{Error, ErrorKind, Operation};

/// The table that is ours in a document of somebody else's.
pub(super) const STORAGE: &str = "system.storage";
/// Where the settings of the fs store stand.
pub(super) const FS: &str = "system.storage.fs";
/// Where the settings of an object store stand. URL and builder speak of the same options by the same names.
pub(super) const OBJECT: &str = "system.storage.object";

/// A `Config` error about the setting at `path`. Neither `what` nor `advice` may show a secret.
pub(super) fn problem(path: impl fmt::Display, what: impl fmt::Display, advice: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Config, Operation::Open, format!("{path}: {what}; {advice}"))
}

/// How much of a refused value an error shows, in characters: enough to find it.
const SHOWN_CHARS_MAX: usize = 80;

/// A value as an error may show it: quoted, escaped, cut. Not for secrets.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}
