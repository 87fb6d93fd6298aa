//! Variables, files, a clock and dice out of memory, for tests and for programs that bring their own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, SystemTime};

use futures_util::future::LocalBoxFuture;

use super::{Clock, Environment, FileContent, Files, Random};

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

/// A map of files, by exact path. Collect it from pairs; `Debug` shows paths only. Clones share their
/// content, so a test that keeps one can change files under a host, and see what was written.
#[derive(Clone, Default)]
pub struct MemoryFiles(Rc<RefCell<BTreeMap<PathBuf, FileContent>>>);

impl MemoryFiles {
    /// Adds or replaces a file.
    pub fn insert(&self, path: impl Into<PathBuf>, content: FileContent) {
        self.0.borrow_mut().insert(path.into(), content);
    }

    /// A file's content.
    #[must_use]
    pub fn get(&self, path: impl AsRef<Path>) -> Option<FileContent> {
        self.0.borrow().get(path.as_ref()).cloned()
    }
}

impl<P: Into<PathBuf>, B: Into<Vec<u8>>> FromIterator<(P, B)> for MemoryFiles {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(pairs: I) -> MemoryFiles {
        let files = pairs.into_iter().map(|(path, bytes)| (path.into(), FileContent::new(bytes.into())));
        MemoryFiles(Rc::new(RefCell::new(files.collect())))
    }
}

impl Files for MemoryFiles {
    fn read<'a>(&'a self, path: &'a Path, bytes_max: usize) -> LocalBoxFuture<'a, io::Result<FileContent>> {
        Box::pin(async move {
            let content = self.get(path).ok_or(io::ErrorKind::NotFound)?;
            if content.bytes().len() > bytes_max {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            Ok(content)
        })
    }

    fn write_private<'a>(&'a self, path: &'a Path, bytes: &'a [u8]) -> LocalBoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.insert(path, FileContent::new(bytes.to_vec()).with_unix_mode(0o600));
            Ok(())
        })
    }
}

impl fmt::Debug for MemoryFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.borrow().keys()).finish()
    }
}

/// A clock that stands still until it is set. Clones show the same time. Who sleeps by it sleeps until
/// it is set far enough.
#[derive(Debug, Clone)]
pub struct FixedClock(Rc<RefCell<Dial>>);

#[derive(Debug)]
struct Dial {
    now: SystemTime,
    sleepers: Vec<Waker>,
}

impl FixedClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: SystemTime) -> FixedClock {
        FixedClock(Rc::new(RefCell::new(Dial { now, sleepers: Vec::new() })))
    }

    /// Moves this clock and its clones.
    pub fn set(&self, now: SystemTime) {
        let mut dial = self.0.borrow_mut();
        dial.now = now;
        let sleepers = std::mem::take(&mut dial.sleepers);
        drop(dial);
        sleepers.into_iter().for_each(Waker::wake);
    }

    /// Moves this clock and its clones on.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> SystemTime {
        self.0.borrow().now
    }

    fn monotonic(&self) -> Duration {
        self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) -> Option<LocalBoxFuture<'_, ()>> {
        let end = self.now() + duration;
        Some(Box::pin(std::future::poll_fn(move |cx| {
            let mut dial = self.0.borrow_mut();
            if dial.now >= end {
                return Poll::Ready(());
            }
            dial.sleepers.push(cx.waker().clone());
            Poll::Pending
        })))
    }
}

/// Dice that always show the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct FixedRandom(pub u64);

impl Random for FixedRandom {
    fn bits(&self) -> u64 {
        self.0
    }
}
