//! [`Tree`]: the directory below which everything lives, and the only way to open anything in it.
//!
//! Every path is resolved by the kernel from the root's descriptor with `openat2`, which refuses to leave the
//! root, to follow any symbolic link and to cross into another mount. Where the kernel or a sandbox does not
//! know `openat2`, each component is opened by itself with `O_NOFOLLOW`, which comes to the same for paths made
//! by [`names`](super::names), as those hold no `..`.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, ResolveFlags, Stat, fchmod, flock, fstat, fsync,
    mkdirat, openat, openat2, statat,
};
use rustix::io::Errno;

use super::footer::crc32;
use super::names::{LOCK, TMP, UPLOADS, join};
use super::options::Durability;

/// Permissions of every file: the owner's only, whatever the umask allows.
pub(super) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Permissions of every directory.
pub(super) const DIRECTORY_MODE: Mode = Mode::RWXU;

/// The number of files whose locks keep compare and replace together: keys share them by hash. With 256, two
/// of 16 writers at work meet by chance in two of five cases, and then one waits for a rename.
const LOCKS: u32 = 256;

/// How many of them stay open: a descriptor each, for every store.
const KEPT_LOCKS: usize = 16;

/// The most directories that are remembered as durable. Beyond it all are forgotten, and synced once more.
const DURABLE_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    pub(super) tmp: OwnedFd,
    locks: OwnedFd,
    pub(super) uploads: OwnedFd,
    pub(super) durability: Durability,
    pub(super) resolver: Resolver,
    /// Directories whose entries in all their parents are known to be on disk. What another process or task
    /// made may not be synced yet, so a directory gets in here only by a sync of our own. As directories are
    /// never removed, what is in here stays true.
    durable: Mutex<HashSet<String>>,
    /// The locks of keys that are replaced again and again stay open.
    kept_locks: [Mutex<KeptLock>; KEPT_LOCKS],
}

/// How paths are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolver {
    /// By the kernel, in one go.
    Openat2,
    /// Component by component.
    Stepwise,
}

/// The lock of a key, until it is dropped.
#[derive(Debug)]
pub(super) enum Locked<'a> {
    Kept(MutexGuard<'a, KeptLock>),
    Own(#[expect(dead_code, reason = "closing the descriptor unlocks")] OwnedFd),
}

/// The number of a lock and its open file.
type KeptLock = Option<(u32, OwnedFd)>;

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if let Locked::Kept(kept) = self
            && let Some((_, file)) = &**kept
            && flock(file, FlockOperation::Unlock).is_err()
        {
            // Closing it unlocks.
            **kept = None;
        }
    }
}

impl Tree {
    /// Takes hold of an existing root and makes the store's own directories in it, durably.
    pub(super) fn open(root: OwnedFd, durability: Durability) -> io::Result<Tree> {
        let resolver = Resolver::find(&root)?;
        let own = |name: &str| -> io::Result<OwnedFd> {
            make_directory(&root, name)?;
            Ok(resolver.open(&root, name, OFlags::RDONLY | OFlags::DIRECTORY)?)
        };
        let (tmp, locks, uploads) = (own(TMP)?, own(LOCK)?, own(UPLOADS)?);
        if durability == Durability::Full {
            fsync(&root)?;
        }
        Ok(Tree {
            root,
            tmp,
            locks,
            uploads,
            durability,
            resolver,
            durable: Mutex::default(),
            kept_locks: Default::default(),
        })
    }

    /// Opens what stands at a path for reading, without waiting for a fifo's other end.
    pub(super) fn open_file(&self, path: &str) -> Result<File, Errno> {
        self.resolver
            .open(&self.root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)
            .map(File::from)
    }

    /// Opens a directory; the empty path is the root.
    pub(super) fn open_directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { "." } else { path };
        self.resolver.open(&self.root, path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Opens a directory, after making it and those above it where they are missing, so that a file synced into
    /// it cannot be lost because of them.
    ///
    /// Every write gets a descriptor of its own: the kernel reports a failed write-back once to each, so that of
    /// those who sync a shared one only the first would hear of it.
    pub(super) fn make_directories(&self, directories: &[String]) -> io::Result<OwnedFd> {
        let path = directories.join("/");
        if self.durability == Durability::None || path.is_empty() || self.durable().contains(&path) {
            match self.open_directory(&path) {
                Err(Errno::NOENT) => self.durable().clear(),
                opened => return Ok(opened?),
            }
        }
        let mut parent = self.open_directory("")?;
        let mut path = String::new();
        for name in directories {
            path = join(&path, name);
            make_directory(&parent, name)?;
            let child = self.resolver.open(&parent, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
            if self.durability == Durability::Full && !self.durable().contains(&path) {
                fsync(&parent)?;
                let mut durable = self.durable();
                if durable.len() == DURABLE_MAX {
                    durable.clear();
                }
                durable.insert(path.clone());
            }
            parent = child;
        }
        Ok(parent)
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<String>> {
        self.durable.lock().expect("nothing panics while it holds the lock")
    }

    /// Syncs a file or directory, if this store is durable.
    pub(super) fn sync(&self, fd: impl AsFd) -> Result<(), Errno> {
        match self.durability {
            Durability::Full => fsync(fd),
            Durability::None => Ok(()),
        }
    }

    /// Waits for the lock that everybody takes who replaces or removes the object of this key, in this process
    /// or another.
    pub(super) fn lock_key(&self, key: &str) -> Result<Locked<'_>, Errno> {
        let number = crc32(key.as_bytes()) % LOCKS;
        let Ok(mut kept) = self.kept_locks[number as usize % KEPT_LOCKS].try_lock() else {
            // Another thread of ours is at it. With a descriptor of our own we wait for it, if need be, as for
            // another process.
            let file = self.open_lock(number)?;
            lock_exclusive(&file)?;
            return Ok(Locked::Own(file));
        };
        let file = match kept.take() {
            Some((kept, file)) if kept == number => file,
            _ => self.open_lock(number)?,
        };
        let (_, file) = kept.insert((number, file));
        lock_exclusive(file)?;
        Ok(Locked::Kept(kept))
    }

    fn open_lock(&self, number: u32) -> Result<OwnedFd, Errno> {
        let name = format!("{number:02x}");
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        // An open that may create locks the directory, against all others.
        match openat(&self.locks, &name, flags, Mode::empty()) {
            Err(Errno::NOENT) => openat(&self.locks, &name, flags | OFlags::CREATE, FILE_MODE),
            opened => opened,
        }
    }
}

/// The longest wait for a lock. Who holds one of a key needs it for a rename; half a minute means that he was
/// stopped, or that his disk hangs.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often a lock is tried for: at first as often as a rename takes, later as seldom as costs nothing.
const LOCK_PAUSES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(10));

/// Waits for a lock, on a thread that may block, but not for ever: `TIMEDOUT` when somebody keeps it.
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

impl Resolver {
    fn find(root: &OwnedFd) -> Result<Resolver, Errno> {
        match Resolver::Openat2.open(root, ".", OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(_) => Ok(Resolver::Openat2),
            // Older sandboxes answer EPERM for calls that they do not know.
            Err(Errno::NOSYS | Errno::PERM) => Ok(Resolver::Stepwise),
            Err(other) => Err(other),
        }
    }

    fn open(self, from: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match self {
            Resolver::Openat2 => {
                let resolve = ResolveFlags::BENEATH
                    | ResolveFlags::NO_SYMLINKS
                    | ResolveFlags::NO_MAGICLINKS
                    | ResolveFlags::NO_XDEV;
                rustix::io::retry_on_intr(|| openat2(from, path, flags, Mode::empty(), resolve))
            }
            Resolver::Stepwise => {
                let mut parent = None;
                let mut rest = path;
                while let Some((name, below)) = rest.split_once('/') {
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                    let from = parent.as_ref().unwrap_or(from);
                    parent = Some(openat(from, name, flags, Mode::empty())?);
                    rest = below;
                }
                openat(parent.as_ref().unwrap_or(from), rest, flags, Mode::empty())
            }
        }
    }
}

/// Makes a directory unless it is there, open to its owner only.
pub(super) fn make_directory(parent: impl AsFd, name: &str) -> Result<(), Errno> {
    match mkdirat(&parent, name, DIRECTORY_MODE) {
        Err(Errno::EXIST) => Ok(()),
        Err(other) => Err(other),
        Ok(()) => {
            // A umask that takes even the owner's rights away would lock us out of our own directory.
            let made = openat(
                &parent,
                name,
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            );
            made.and_then(|made| fchmod(made, DIRECTORY_MODE))
        }
    }
}

/// What stands in a directory, one after the other, without `.` and `..`.
pub(super) fn entries(
    directory: impl AsFd,
) -> io::Result<impl Iterator<Item = io::Result<(Vec<u8>, FileType)>>> {
    let entries = Dir::read_from(&directory)?;
    let directory = directory.as_fd().try_clone_to_owned()?;
    Ok(entries.filter_map(move |entry| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error.into())),
        };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            return None;
        }
        let file_type = match entry.file_type() {
            FileType::Unknown => match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => return None,
                Err(error) => return Some(Err(error.into())),
            },
            known => known,
        };
        Some(Ok((name.to_bytes().to_vec(), file_type)))
    }))
}

/// When a file was last written, by the clock of its file system, to the second.
pub(super) fn modified(stat: &Stat) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0))
}

/// The size of a file, in bytes, if it is a regular one. Anything else is none of ours, and reading it could wait
/// for ever.
pub(super) fn regular_bytes(file: &File) -> Result<Option<u64>, Errno> {
    let stat = fstat(file)?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(regular.then(|| u64::try_from(stat.st_size).unwrap_or(0)))
}

/// A name that nobody else comes up with: 128 random bits as 32 hexadecimal digits.
pub(super) fn random_name() -> Result<String, Errno> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::io::retry_on_intr(|| {
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
        })?;
    }
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

/// Whether a text could have come from [`random_name`].
pub(super) fn is_random_name(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
