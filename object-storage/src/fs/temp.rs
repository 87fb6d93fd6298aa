//! [`Temp`]: a file while it is being written, and what becomes of those that nobody finishes.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, flock, fstat, openat, unlinkat};
use rustix::io::{Errno, pwritev};

use crate::error::Error;
use crate::object::ETag;

use super::footer::{Footer, padding};
use super::tree::{FILE_MODE, Tree, entries, modified, now, random_name};

/// A file in `%tmp` that is locked while it is being written. Dropping it removes it, published or not: what
/// was linked elsewhere stays there.
///
/// It has a name from the beginning, and is not made by `O_TMPFILE`: such a file is on disk as one that nobody
/// refers to until the file itself is synced once more after it was linked. Without a journal, where a sync of
/// the directory does not write that, a power failure would take an acknowledged object away.
#[derive(Debug)]
pub(super) struct Temp {
    tree: Arc<Tree>,
    pub(super) name: String,
    /// Shared with the write in progress.
    pub(super) file: Arc<File>,
    /// Nothing is left to remove: it was renamed.
    pub(super) gone: bool,
}

impl Temp {
    /// Makes an empty one, with a random name that serves as the tag of what is published, too.
    pub(super) fn create(tree: &Arc<Tree>) -> Result<Temp, Errno> {
        let name = random_name();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(&tree.tmp, &name, flags, FILE_MODE)?;
        let temp = Temp { tree: tree.clone(), name, file: Arc::new(file.into()), gone: false };
        // Nobody sweeps a file so young, so nobody can be in the way.
        flock(&temp.file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(temp)
    }

    /// The tag of the object that this file becomes: nobody else comes up with its name either.
    pub(super) fn etag(&self) -> ETag {
        ETag::parse(&self.name).expect("hexadecimal digits make a tag")
    }

    /// Writes the last `chunks` of the data, then the footer, and makes the file durable.
    pub(super) fn finish(
        &self,
        chunks: &[Bytes],
        data_bytes: u64,
        footer: &mut Footer,
    ) -> Result<(), Unfinished> {
        write_end(&self.file, chunks, data_bytes, footer)?;
        self.tree.sync(&self.file).map_err(|errno| Unfinished::NotSynced(errno.into()))
    }
}

/// Writes the last chunks of a file and its footer, stamped with the present time.
pub(super) fn write_end(
    file: &File,
    chunks: &[Bytes],
    data_bytes: u64,
    footer: &mut Footer,
) -> io::Result<()> {
    footer.modified = now();
    let footer = footer.encode(data_bytes);
    // At an offset, as what was written through the ring has not moved the file's own position.
    let last_bytes: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let padding = padding(data_bytes + footer.len() as u64);
    let mut slices: Vec<_> =
        chunks.iter().map(Bytes::as_ref).chain([padding, &footer]).map(IoSlice::new).collect();
    write_all(file, &mut slices, data_bytes - last_bytes)
}

/// Why a file could not be finished. It is of no use then: after a failed sync the kernel may have dropped the
/// data and report success the next time, so a file is never synced twice.
#[derive(Debug)]
pub(super) enum Unfinished {
    NotWritten(io::Error),
    NotSynced(io::Error),
    /// What was to be written turned out not to be what the caller meant.
    Refused(Error),
}

impl From<io::Error> for Unfinished {
    fn from(error: io::Error) -> Unfinished {
        Unfinished::NotWritten(error)
    }
}

fn write_all(file: &File, mut slices: &mut [IoSlice<'_>], mut at: u64) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match pwritev(file, slices, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.gone {
            // What stays behind is swept later. Unlinking an open file is quick: its blocks go with the last
            // descriptor.
            let _ = unlinkat(&self.tree.tmp, &self.name, AtFlags::empty());
        }
    }
}

/// The present time by the file system's own clock, which a file made now bears.
pub(super) fn file_system_now(tree: &Arc<Tree>) -> io::Result<SystemTime> {
    Ok(modified(&fstat(&Temp::create(tree)?.file)?))
}

/// Removes from `%tmp` what was last changed longer ago than `age` and is not locked, and says how many.
///
/// What cannot be removed stays for the next time: a sweep is a convenience and fails nobody's start.
pub(super) fn sweep(tree: &Arc<Tree>, age: Duration) -> io::Result<usize> {
    let now = file_system_now(tree)?;
    let mut swept = 0;
    for entry in entries(&tree.tmp)? {
        let (name, file_type) = entry?;
        if !matches!(file_type, FileType::RegularFile | FileType::Directory) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(leftover) = openat(&tree.tmp, name.as_slice(), flags, Mode::empty()) else { continue };
        let Ok(stat) = fstat(&leftover) else { continue };
        let old = now.duration_since(modified(&stat)).is_ok_and(|passed| passed >= age);
        if !old || flock(&leftover, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let removed = if file_type == FileType::Directory {
            remove_directory(tree, &name)
        } else {
            unlinkat(&tree.tmp, name.as_slice(), AtFlags::empty()).map_err(io::Error::from)
        };
        swept += usize::from(removed.is_ok());
    }
    Ok(swept)
}

/// Removes a directory in `%tmp` with the files in it, among them those that are still being renamed into it.
pub(super) fn remove_directory(tree: &Tree, name: &[u8]) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(&tree.tmp, name, flags, Mode::empty())?;
    loop {
        for entry in entries(&directory)? {
            match unlinkat(&directory, entry?.0.as_slice(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match unlinkat(&tree.tmp, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
