//! [`Directory`]: a directory in which objects get their names, and the syncs that all who write there share.
//!
//! Whoever changed a directory needs a sync that began after his change; it need not be his own. So one sync is
//! run for all changes that were made before it begins, and those made meanwhile share the next one: with many
//! writes under way a few syncs serve them all, and only the two threads that lead them wait for the disk.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use rustix::fs::{Stat, fstat, fsync};
use rustix::io::Errno;

use super::options::Durability;

/// An open directory.
///
/// The kernel reports a failed write-back once to every descriptor that was open when it happened. All who share
/// this descriptor opened it before their changes, and when a sync of it fails, that is the answer to all of them
/// who have none yet, and the descriptor is not used again.
#[derive(Debug)]
pub(super) struct Directory {
    path: String,
    fd: OwnedFd,
    /// Device and number of the inode.
    place: (u64, u64),
    durability: Durability,
    syncs: Mutex<Syncs>,
    /// A sync has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Syncs {
    /// How many changes asked for a sync so far. Each has its number, from one on.
    changes: u64,
    /// The last change that is on disk, with all before it.
    synced: u64,
    running: bool,
    /// Somebody waits to lead the next sync, for all who come before it begins.
    led: bool,
    /// What the last sync of this descriptor said.
    failed: Option<Errno>,
    /// Threads that wait for `ended`.
    asleep: usize,
    waiting: Vec<(u64, Waker)>,
}

impl Syncs {
    /// What became of a change, once that is known.
    fn outcome(&self, change: u64) -> Option<Result<(), Errno>> {
        match self.failed {
            _ if change <= self.synced => Some(Ok(())),
            Some(errno) => Some(Err(errno)),
            None => None,
        }
    }
}

impl Directory {
    pub(super) fn new(path: String, fd: OwnedFd, durability: Durability) -> Result<Directory, Errno> {
        let place = place(&fstat(&fd)?);
        Ok(Directory { path, fd, place, durability, syncs: Mutex::default(), ended: Condvar::new() })
    }

    /// The path it was opened at.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether this is what was found at its path.
    pub(super) fn is(&self, found: &Stat) -> bool {
        self.place == place(found)
    }

    /// Whether a sync of it failed.
    pub(super) fn has_failed(&self) -> bool {
        self.lock().failed.is_some()
    }

    /// Waits until the changes that the caller made are on disk, if this store is durable.
    pub(super) fn sync(self: &Arc<Self>) -> Result<(), Errno> {
        match self.sync_or_join()? {
            None => Ok(()),
            Some(shared) => shared.wait(),
        }
    }

    /// The same, unless somebody else is about to sync it: then what it takes to wait for him. He does so whether
    /// or not anybody waits.
    pub(super) fn sync_or_join(self: &Arc<Self>) -> Result<Option<SharedSync>, Errno> {
        if self.durability == Durability::None {
            return Ok(None);
        }
        let mut syncs = self.lock();
        syncs.changes += 1;
        let change = syncs.changes;
        if syncs.led {
            return Ok(Some(SharedSync { directory: self.clone(), change }));
        }
        if syncs.running {
            syncs.led = true;
            while syncs.running {
                syncs = self.sleep(syncs);
            }
            syncs.led = false;
        }
        self.lead(syncs).map(|()| None)
    }

    /// Runs one sync for all changes so far.
    fn lead<'a>(&'a self, mut syncs: MutexGuard<'a, Syncs>) -> Result<(), Errno> {
        let mut result = syncs.failed.map_or(Ok(()), Err);
        if result.is_ok() {
            let last = syncs.changes;
            syncs.running = true;
            drop(syncs);
            result = fsync(&self.fd);
            syncs = self.lock();
            syncs.running = false;
            match result {
                Ok(()) => syncs.synced = last,
                Err(errno) => syncs.failed = Some(errno),
            }
        }
        let mut waiting = std::mem::take(&mut syncs.waiting);
        let still = waiting.extract_if(.., |(change, _)| syncs.outcome(*change).is_none()).collect();
        syncs.waiting = still;
        let asleep = syncs.asleep;
        drop(syncs);
        if asleep > 0 {
            self.ended.notify_all();
        }
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
        result
    }

    /// Sleeps until a sync has ended. Waking nobody costs a system call, so those who sleep are counted.
    fn sleep<'a>(&'a self, mut syncs: MutexGuard<'a, Syncs>) -> MutexGuard<'a, Syncs> {
        syncs.asleep += 1;
        let mut syncs = self.ended.wait(syncs).expect(NO_PANIC);
        syncs.asleep -= 1;
        syncs
    }

    fn lock(&self) -> MutexGuard<'_, Syncs> {
        self.syncs.lock().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "nothing panics while it holds the lock";

fn place(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A sync that somebody else runs. As a future, or by [`wait`](SharedSync::wait), it says how that ended.
#[derive(Debug)]
pub(super) struct SharedSync {
    directory: Arc<Directory>,
    change: u64,
}

impl SharedSync {
    /// Waits on a thread that may block.
    fn wait(self) -> Result<(), Errno> {
        let mut syncs = self.directory.lock();
        loop {
            match syncs.outcome(self.change) {
                Some(outcome) => return outcome,
                None => syncs = self.directory.sleep(syncs),
            }
        }
    }
}

impl Future for SharedSync {
    type Output = Result<(), Errno>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Errno>> {
        let mut syncs = self.directory.lock();
        if let Some(outcome) = syncs.outcome(self.change) {
            return Poll::Ready(outcome);
        }
        match syncs.waiting.iter_mut().find(|(change, _)| *change == self.change) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => syncs.waiting.push((self.change, cx.waker().clone())),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use futures_util::FutureExt;
    use futures_util::task::{ArcWake, waker};

    use super::*;

    fn directory() -> (tempfile::TempDir, Arc<Directory>) {
        let directory = tempfile::tempdir().expect("a directory");
        let fd = std::fs::OpenOptions::new().read(true).open(directory.path()).expect("opens").into();
        let opened = Directory::new(String::new(), fd, Durability::Full).expect("a directory");
        (directory, Arc::new(opened))
    }

    struct Woken(AtomicUsize);

    impl ArcWake for Woken {
        fn wake_by_ref(this: &Arc<Self>) {
            this.0.fetch_add(1, SeqCst);
        }
    }

    /// As if a sync were under way, and somebody waited to lead the next.
    fn begin(directory: &Directory) {
        let mut syncs = directory.lock();
        (syncs.running, syncs.led) = (true, true);
    }

    /// The one under way has ended so, for the changes up to `synced`.
    fn end(directory: &Directory, synced: u64, failed: Option<Errno>) -> Result<(), Errno> {
        let mut syncs = directory.lock();
        (syncs.running, syncs.led) = (false, false);
        (syncs.synced, syncs.failed) = (synced, failed);
        directory.lead(syncs)
    }

    #[test]
    fn a_change_is_on_disk_only_after_a_sync_that_began_after_it() {
        let (_path, directory) = directory();
        directory.sync().expect("alone");
        begin(&directory);
        let mut shared = directory.sync_or_join().expect("not failed").expect("somebody leads");
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let waker = waker(woken.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(shared.poll_unpin(&mut cx).is_pending());
        assert!(shared.poll_unpin(&mut cx).is_pending());
        // The sync that was under way does not count: it began before. The next one does.
        assert_eq!(directory.lock().outcome(2), None);
        end(&directory, 1, None).expect("synced");
        assert_eq!(woken.0.load(SeqCst), 1);
        assert_eq!(shared.poll_unpin(&mut cx), Poll::Ready(Ok(())));
        assert!(directory.lock().waiting.is_empty());
        assert!(directory.sync_or_join().expect("synced").is_none(), "nobody to join");
    }

    #[test]
    fn a_failed_sync_is_the_answer_to_all_who_have_none_and_the_descriptor_is_done_with() {
        let (_path, directory) = directory();
        directory.sync().expect("alone");
        begin(&directory);
        let early = directory.sync_or_join().expect("not failed").expect("somebody leads");
        let late = directory.sync_or_join().expect("not failed").expect("somebody leads");
        assert_eq!(end(&directory, 2, Some(Errno::IO)), Err(Errno::IO));
        assert_eq!(early.now_or_never(), Some(Ok(())), "a sync had covered it before");
        assert_eq!(late.wait(), Err(Errno::IO));
        assert_eq!(directory.sync(), Err(Errno::IO), "whose change came after may have been lost, too");
        assert!(directory.has_failed());
    }

    #[test]
    fn many_threads_share_syncs_and_none_is_forgotten() {
        let (_path, directory) = directory();
        let joined = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        if let Some(shared) = directory.sync_or_join().expect("syncs") {
                            joined.fetch_add(1, SeqCst);
                            shared.wait().expect("syncs");
                        }
                    }
                });
            }
        });
        let syncs = directory.lock();
        assert_eq!((syncs.changes, syncs.synced), (1600, 1600));
        assert!(!syncs.running && !syncs.led && syncs.waiting.is_empty());
    }

    #[test]
    fn a_store_that_is_not_durable_syncs_nothing() {
        let (_path, directory) = directory();
        let directory = Arc::into_inner(directory).expect("one owner");
        let directory = Arc::new(Directory { durability: Durability::None, ..directory });
        directory.sync().expect("nothing to do");
        assert_eq!(directory.lock().changes, 0);
    }
}
