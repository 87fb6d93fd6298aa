//! Variables, files and a clock out of memory, for tests and for programs that bring their own.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use futures_util::future::LocalBoxFuture;

use super::{Clock, Environment, FileContent, Files};

/// A map of variables. Collect it from pairs; `Debug` shows names only.
#[derive(Clone, Default)]
pub struct MemoryEnvironment(BTreeMap<String, OsString>);

impl<K: Into<String>, V: Into<OsString>> FromIterator<(K, V)> for MemoryEnvironment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> MemoryEnvironment {
        MemoryEnvironment(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Environment for MemoryEnvironment {
    fn var(&self, name: &str) -> Option<OsString> {
        self.0.get(name).cloned()
    }
}

impl fmt::Debug for MemoryEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A map of files, by exact path. Collect it from pairs; `Debug` shows paths only.
#[derive(Clone, Default)]
pub struct MemoryFiles(BTreeMap<PathBuf, FileContent>);

impl MemoryFiles {
    /// Adds or replaces a file.
    pub fn insert(&mut self, path: impl Into<PathBuf>, content: FileContent) {
        self.0.insert(path.into(), content);
    }
}

impl<P: Into<PathBuf>, B: Into<Vec<u8>>> FromIterator<(P, B)> for MemoryFiles {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(pairs: I) -> MemoryFiles {
        let files = pairs.into_iter().map(|(path, bytes)| (path.into(), FileContent::new(bytes.into())));
        MemoryFiles(files.collect())
    }
}

impl Files for MemoryFiles {
    fn read<'a>(&'a self, path: &'a Path, bytes_max: usize) -> LocalBoxFuture<'a, io::Result<FileContent>> {
        Box::pin(async move {
            let content = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
            if content.bytes().len() > bytes_max {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            Ok(content.clone())
        })
    }
}

impl fmt::Debug for MemoryFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A clock that stands still until it is set. Clones show the same time.
#[derive(Debug, Clone)]
pub struct FixedClock(Rc<Cell<SystemTime>>);

impl FixedClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: SystemTime) -> FixedClock {
        FixedClock(Rc::new(Cell::new(now)))
    }

    /// Moves this clock and its clones.
    pub fn set(&self, now: SystemTime) {
        self.0.set(now);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> SystemTime {
        self.0.get()
    }
}
