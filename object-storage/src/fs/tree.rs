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
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fchmod, fstat, fsync, mkdirat, openat, openat2,
    statat,
};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::operation_id::OperationId;

use super::directory::Directory;
use super::footer::crc32;
use super::lock::KeyLocks;
use super::names::{LOCK, TMP, UPLOADS, join};
use super::options::Durability;

/// Permissions of every file: the owner's only, whatever the umask allows.
pub(super) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Permissions of every directory.
pub(super) const DIRECTORY_MODE: Mode = Mode::RWXU;

/// How many directories stay open for those who write there: a descriptor each, for every store. Paths share the
/// places by hash; one that finds its place taken by another is opened anew, and its syncs are not shared.
const KEPT_DIRECTORIES: usize = 16;

/// The most directories that are remembered as durable. Beyond it all are forgotten, and synced once more.
const DURABLE_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    pub(super) tmp: OwnedFd,
    pub(super) uploads: OwnedFd,
    pub(super) locks: KeyLocks,
    pub(super) durability: Durability,
    pub(super) resolver: Resolver,
    /// Directories whose entries in all their parents are known to be on disk. What another process or task
    /// made may not be synced yet, so a directory gets in here only by a sync of our own. As directories are
    /// never removed, what is in here stays true.
    durable: Mutex<HashSet<String>>,
    kept_directories: [Mutex<Option<Arc<Directory>>>; KEPT_DIRECTORIES],
}

/// How paths are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolver {
    /// By the kernel, in one go.
    Openat2,
    /// Component by component.
    Stepwise,
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
            locks: KeyLocks::new(locks),
            uploads,
            durability,
            resolver,
            durable: Mutex::default(),
            kept_directories: Default::default(),
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

    /// The directory at a path, for those who are about to change what is in it and will sync it. The empty path is
    /// the root.
    ///
    /// Everybody gets a descriptor that was opened before his change: see [`Directory`].
    pub(super) fn directory(&self, path: &str) -> Result<Arc<Directory>, Errno> {
        let place = &self.kept_directories[crc32(path.as_bytes()) as usize % KEPT_DIRECTORIES];
        let place = || place.lock().expect("nothing panics while it holds the lock");
        let kept = place().clone();
        if let Some(directory) = kept.filter(|kept| kept.path() == path && !kept.has_failed()) {
            // To look whether somebody took it away costs a third of opening it anew.
            if path.is_empty() || directory.is(&statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW)?) {
                return Ok(directory);
            }
            self.durable().clear();
        }
        let fd = self.open_directory(path)?;
        let opened = Arc::new(Directory::new(path.to_owned(), fd, self.durability)?);
        *place() = Some(opened.clone());
        Ok(opened)
    }

    /// The same, after making it and those above it where they are missing, so that a file synced into it cannot be
    /// lost because of them.
    pub(super) fn make_directories(&self, directories: &[String]) -> io::Result<Arc<Directory>> {
        let path = directories.join("/");
        match self.directory(&path) {
            Err(Errno::NOENT) => self.durable().clear(),
            opened if self.is_durable(&path) => return Ok(opened?),
            _ => {}
        }
        let mut parent = self.open_directory("")?;
        let mut below = String::new();
        for name in directories {
            below = join(&below, name);
            make_directory(&parent, name)?;
            let child = self.resolver.open(&parent, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
            if !self.is_durable(&below) {
                fsync(&parent)?;
                let mut durable = self.durable();
                if durable.len() == DURABLE_MAX {
                    durable.clear();
                }
                durable.insert(below.clone());
            }
            parent = child;
        }
        Ok(self.directory(&path)?)
    }

    /// Whether nothing needs to be synced for the entries of a directory in its parents to be on disk, as far as
    /// this store promises that.
    fn is_durable(&self, path: &str) -> bool {
        self.durability == Durability::None || path.is_empty() || self.durable().contains(path)
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

/// The present time by the clock that local file systems stamp their files with, to the second.
pub(super) fn now() -> SystemTime {
    UNIX_EPOCH
        + Duration::from_secs(u64::try_from(clock_gettime(ClockId::RealtimeCoarse).tv_sec).unwrap_or(0))
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
pub(super) fn random_name() -> String {
    OperationId::random().to_string()
}

/// Whether a text could have come from [`random_name`].
pub(super) fn is_random_name(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
