//! [`KeyLocks`]: what keeps compare and replace together, in this process and between processes.
//!
//! A lock is a file that is locked. Threads of this process take turns before they ask for it: those that wait
//! then sleep until it is theirs, where a file lock can only be tried for again and again if the wait for it is to
//! have an end.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;

use super::footer::crc32;
use super::tree::FILE_MODE;

/// The number of files: keys share them by hash. With 256, two of 16 writers at work meet by chance in two of five
/// cases, and then one waits for a rename.
const LOCKS: usize = 256;

/// How many of them stay open: a descriptor each, for every store.
const KEPT_LOCKS: usize = 16;

/// The longest wait for a turn, and then for the file. Who holds one of a key needs it for a rename; half a minute
/// means that he was stopped, or that his disk hangs.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often a file is tried for: at first as often as a rename takes, later as seldom as costs nothing.
const LOCK_PAUSES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(10));

const NO_PANIC: &str = "nothing panics while it holds the lock";

/// The locks of a store.
#[derive(Debug)]
pub(super) struct KeyLocks {
    directory: OwnedFd,
    turns: [Turn; LOCKS],
    /// Files with their numbers. Those of keys that are replaced again and again stay open.
    kept: [Mutex<Option<(usize, OwnedFd)>>; KEPT_LOCKS],
}

/// Whose turn it is among the threads of this process.
#[derive(Debug, Default)]
struct Turn {
    queue: Mutex<Queue>,
    free: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    taken: bool,
    waiting: usize,
}

/// The lock of a key, until it is dropped.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    locks: &'a KeyLocks,
    number: usize,
    file: Option<OwnedFd>,
}

impl KeyLocks {
    /// The locks whose files are in this directory.
    pub(super) fn new(directory: OwnedFd) -> KeyLocks {
        let turns = std::array::from_fn(|_| Turn::default());
        KeyLocks { directory, turns, kept: Default::default() }
    }

    /// Waits, on a thread that may block, for the lock that everybody takes who replaces or removes the object of
    /// this key. `TIMEDOUT` when somebody keeps it.
    pub(super) fn lock(&self, key: &str) -> Result<Locked<'_>, Errno> {
        let number = number(key);
        self.turns[number].take()?;
        // From here on, dropping it ends the turn.
        let mut locked = Locked { locks: self, number, file: None };
        let kept = self.kept(number).take_if(|(kept, _)| *kept == number);
        let file = match kept {
            Some((_, file)) => file,
            None => self.open(number)?,
        };
        lock_exclusive(&file)?;
        locked.file = Some(file);
        Ok(locked)
    }

    /// Whether the lock of this key, or of one that shares it, was taken not long ago.
    pub(super) fn was_taken_lately(&self, key: &str) -> bool {
        let number = number(key);
        self.kept(number).as_ref().is_some_and(|(kept, _)| *kept == number)
    }

    /// Where a file may stay open.
    fn kept(&self, number: usize) -> MutexGuard<'_, Option<(usize, OwnedFd)>> {
        self.kept[number % KEPT_LOCKS].lock().expect(NO_PANIC)
    }

    fn open(&self, number: usize) -> Result<OwnedFd, Errno> {
        let name = format!("{number:02x}");
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        // An open that may create locks the directory, against all others.
        match openat(&self.directory, &name, flags, Mode::empty()) {
            Err(Errno::NOENT) => openat(&self.directory, &name, flags | OFlags::CREATE, FILE_MODE),
            opened => opened,
        }
    }
}

fn number(key: &str) -> usize {
    crc32(key.as_bytes()) as usize % LOCKS
}

impl Turn {
    fn take(&self) -> Result<(), Errno> {
        let mut queue = self.queue.lock().expect(NO_PANIC);
        if queue.taken {
            queue.waiting += 1;
            let waited = self.free.wait_timeout_while(queue, LOCK_WAIT_MAX, |queue| queue.taken);
            queue = waited.expect(NO_PANIC).0;
            queue.waiting -= 1;
            if queue.taken {
                return Err(Errno::TIMEDOUT);
            }
        }
        queue.taken = true;
        Ok(())
    }

    fn end(&self) {
        let mut queue = self.queue.lock().expect(NO_PANIC);
        queue.taken = false;
        let somebody_waits = queue.waiting > 0;
        drop(queue);
        if somebody_waits {
            self.free.notify_one();
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // If it cannot be unlocked, closing it does that.
        if let Some(file) = self.file.take()
            && flock(&file, FlockOperation::Unlock).is_ok()
        {
            *self.locks.kept(self.number) = Some((self.number, file));
        }
        self.locks.turns[self.number].end();
    }
}

/// Waits for a file lock, on a thread that may block, but not for ever: `TIMEDOUT` when somebody keeps it.
#[expect(clippy::disallowed_methods, reason = "called on the blocking pool only; flock itself has no limit")]
pub(super) fn lock_exclusive(fd: impl AsFd) -> Result<(), Errno> {
    let (mut pause, pause_max) = LOCK_PAUSES;
    let mut waited = Duration::ZERO;
    loop {
        match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if waited >= LOCK_WAIT_MAX => return Err(Errno::TIMEDOUT),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                std::thread::sleep(pause);
                waited += pause;
                pause = (pause * 2).min(pause_max);
            }
            ended => return ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    fn locks() -> (tempfile::TempDir, KeyLocks) {
        let directory = tempfile::tempdir().expect("a directory");
        let opened = std::fs::OpenOptions::new().read(true).open(directory.path()).expect("opens");
        (directory, KeyLocks::new(opened.into()))
    }

    /// What another process finds.
    fn others(directory: &tempfile::TempDir, key: &str) -> Result<(), Errno> {
        let path = directory.path().join(format!("{:02x}", number(key)));
        let file = std::fs::OpenOptions::new().read(true).open(path).expect("made by its holder");
        flock(&file, FlockOperation::NonBlockingLockExclusive)
    }

    #[test]
    fn a_lock_that_stays_open_is_held_only_while_it_is_held() {
        let (directory, locks) = locks();
        let near = (0..).map(|key| key.to_string()).find(|near| {
            // In the same place, and not the same.
            number(near) % KEPT_LOCKS == number("a") % KEPT_LOCKS && number(near) != number("a")
        });
        let near = near.expect("one in seventeen");
        for _ in 0..2 {
            let held = locks.lock("a").expect("free");
            assert_eq!(others(&directory, "a"), Err(Errno::WOULDBLOCK));
            let near_held = locks.lock(&near).expect("not in its way");
            assert_eq!(others(&directory, &near), Err(Errno::WOULDBLOCK));
            drop(held);
            assert_eq!(others(&directory, "a"), Ok(()));
            assert!(locks.was_taken_lately("a"));
            drop(near_held);
            assert_eq!(others(&directory, &near), Ok(()));
            // Now the other one stays open.
            assert!(locks.was_taken_lately(&near) && !locks.was_taken_lately("a"));
        }
    }

    #[test]
    fn threads_take_turns_and_all_of_them_get_one() {
        let (_directory, locks) = locks();
        let (inside, turns) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _locked = locks.lock("a").expect("free in time");
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        turns.fetch_add(1, SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, SeqCst);
                    }
                });
            }
        });
        assert_eq!(turns.into_inner(), 800);
        let queue = locks.turns[number("a")].queue.lock().expect("nobody panicked");
        assert!(!queue.taken && queue.waiting == 0);
    }
}
