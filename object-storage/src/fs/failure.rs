//! What an error of the kernel means to the caller: the one table from errno to [`ErrorKind`].

use std::io;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Operation};
use crate::key::Key;

use super::footer::Damaged;

/// What is being done to what, so that an error can say so.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) operation: Operation,
    pub(super) key: Option<Key>,
}

impl Task {
    pub(super) fn on(operation: Operation, key: &Key) -> Task {
        Task { operation, key: Some(key.clone()) }
    }

    pub(super) fn new(operation: Operation) -> Task {
        Task { operation, key: None }
    }

    pub(super) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        let error = Error::new(kind, self.operation, message);
        match &self.key {
            Some(key) => error.with_key(key),
            None => error,
        }
    }

    /// A step failed before anything could be seen of the write, or while reading.
    pub(super) fn failed(&self, step: &str, cause: impl Into<io::Error>) -> Error {
        let cause = cause.into();
        self.error(kind_of(&cause), step).with_source(cause)
    }

    /// A step failed after which the write may or may not be there.
    pub(super) fn in_doubt(&self, step: &str, cause: impl Into<io::Error>) -> Error {
        self.error(ErrorKind::Indeterminate, step).with_source(cause.into())
    }

    /// Linking, renaming or unlinking failed. The refusals named here change nothing; after anything else, an
    /// I/O error above all, the directory may be in either state.
    pub(super) fn publish_failed(&self, step: &str, cause: Errno) -> Error {
        match cause {
            Errno::NOSPC
            | Errno::DQUOT
            | Errno::ACCESS
            | Errno::PERM
            | Errno::ROFS
            | Errno::NOENT
            | Errno::NOTDIR
            | Errno::ISDIR
            | Errno::LOOP
            | Errno::MLINK
            | Errno::XDEV
            | Errno::NOMEM
            | Errno::OPNOTSUPP => self.failed(step, cause),
            _ => self.in_doubt(step, cause),
        }
    }

    /// An object has its name, and nobody knows whether it keeps it through a power failure.
    pub(super) fn name_in_doubt(&self, cause: Errno) -> Error {
        self.in_doubt("the object is in place and its directory could not be synced", cause)
    }

    pub(super) fn damaged(&self, damaged: &Damaged) -> Error {
        self.error(ErrorKind::Corrupt, damaged.0)
    }

    pub(super) fn not_found(&self) -> Error {
        self.error(ErrorKind::NotFound, "no such object")
    }
}

fn kind_of(cause: &io::Error) -> ErrorKind {
    let Some(errno) = Errno::from_io_error(cause) else {
        return match cause.kind() {
            io::ErrorKind::UnexpectedEof => ErrorKind::Corrupt,
            _ => ErrorKind::Io,
        };
    };
    match errno {
        Errno::NOSPC | Errno::DQUOT => ErrorKind::NoSpace,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => ErrorKind::PermissionDenied,
        // A symbolic link, or a file where a directory should be: not as we have left it.
        Errno::LOOP | Errno::NOTDIR => ErrorKind::Corrupt,
        // Another file system is mounted inside the tree; nothing can be renamed into it.
        Errno::XDEV => ErrorKind::Config,
        // Out of descriptors or memory: later there may be some.
        Errno::TIMEDOUT => ErrorKind::Timeout,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => ErrorKind::Unavailable,
        _ => ErrorKind::Io,
    }
}
