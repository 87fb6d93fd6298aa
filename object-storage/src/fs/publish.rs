//! Where a write becomes visible: rename and unlink, each with its condition and its syncs.
//!
//! The order that makes an acknowledged write survive a power failure: the directories above are on disk before
//! the file is published in them, the file is on disk before it gets its name, and the name is on disk before
//! the caller hears of it. In between, others may see an object that a power failure can still take away
//! together with everything that was not acknowledged.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use rustix::fs::{AtFlags, RenameFlags, linkat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::Key;
use crate::object::{ETag, PutOutcome};
use crate::operation_id::OperationId;
use crate::options::PutMode;
use crate::storage::Resolution;

use super::directory::{Directory, SharedSync};
use super::failure::Task;
use super::footer::Footer;
use super::names::Location;
use super::read::{meta, open_object};
use super::temp::{Temp, Unfinished};
use super::tree::Tree;

/// How often a directory that vanishes between two steps is made anew before we give up: only somebody who
/// removes directories under a running store can cause that, so twice is plenty.
const DIRECTORY_ATTEMPTS: usize = 3;

/// Makes a whole object out of what `build` writes into an empty file, and publishes it under `key`.
///
/// `build` returns the length of the data it wrote and the footer for it. It is called a second time, with a new
/// file, when the first could not be synced: the kernel may have dropped what it could not write.
pub(super) fn store(
    tree: &Arc<Tree>,
    task: &Task,
    key: &Key,
    mode: &PutMode,
    mut build: impl FnMut(&Temp) -> Result<(u64, Footer), Unfinished>,
) -> Result<PutOutcome> {
    let mut first = true;
    loop {
        let temp = Temp::create(tree).map_err(|errno| task.failed("cannot make a temporary file", errno))?;
        let built = build(&temp).and_then(|(data_bytes, mut footer)| {
            temp.finish(&[], data_bytes, &mut footer)?;
            Ok(footer.etag)
        });
        match built {
            Ok(etag) => {
                let directory = give_name(tree, task, key, mode, temp)?;
                directory.sync().map_err(|errno| task.name_in_doubt(errno))?;
                return Ok(PutOutcome::new(etag));
            }
            Err(unfinished) => give_up_unless_first(task, unfinished, std::mem::take(&mut first))?,
        }
    }
}

/// Decides whether a file that could not be finished is written once more: only after a failed sync, and once.
pub(super) fn give_up_unless_first(task: &Task, unfinished: Unfinished, first: bool) -> Result<()> {
    match unfinished {
        Unfinished::NotSynced(_) if first => Ok(()),
        Unfinished::NotSynced(cause) => Err(task.failed("cannot sync the file", cause)),
        Unfinished::NotWritten(cause) => Err(task.failed("cannot write the file", cause)),
        Unfinished::Refused(error) => Err(error),
    }
}

/// Gives a finished file its name, under the condition of `mode`, and syncs that, unless somebody else is about to:
/// then it is published when his sync has ended.
pub(super) fn publish(
    tree: &Arc<Tree>,
    task: &Task,
    key: &Key,
    mode: &PutMode,
    temp: Temp,
    etag: ETag,
) -> Result<(PutOutcome, Option<SharedSync>)> {
    let directory = give_name(tree, task, key, mode, temp)?;
    let shared = directory.sync_or_join().map_err(|errno| task.name_in_doubt(errno))?;
    Ok((PutOutcome::new(etag), shared))
}

/// Gives a finished file its name. Its directory is to be synced then.
fn give_name(
    tree: &Arc<Tree>,
    task: &Task,
    key: &Key,
    mode: &PutMode,
    mut temp: Temp,
) -> Result<Arc<Directory>> {
    let location = Location::of(key);
    let mut attempts = DIRECTORY_ATTEMPTS;
    loop {
        attempts -= 1;
        let directory = match tree.make_directories(&location.directories) {
            Ok(directory) => directory,
            Err(error) if is_not_found(&error) && attempts > 0 => continue,
            Err(error) => return Err(task.failed("cannot make the directory of the object", error)),
        };
        match give_name_in(tree, task, key, mode, &mut temp, &directory, &location)? {
            Named::Yes => return Ok(directory),
            Named::DirectoryVanished if attempts > 0 => {}
            Named::DirectoryVanished => {
                return Err(
                    task.error(ErrorKind::Io, "the directory of the object is removed again and again")
                );
            }
        }
    }
}

enum Named {
    Yes,
    DirectoryVanished,
}

fn give_name_in(
    tree: &Tree,
    task: &Task,
    key: &Key,
    mode: &PutMode,
    temp: &mut Temp,
    directory: &Directory,
    location: &Location,
) -> Result<Named> {
    // Where no object is yet there is nothing to compare, and so no lock to take: the file system itself gives a
    // free name or refuses, and whoever replaces or removes finds a name that exists. A key whose lock is still
    // open was replaced a moment ago, and will be there; of the others most are new.
    let may_be_free = match mode {
        PutMode::Create => true,
        PutMode::Overwrite => !tree.locks.was_taken_lately(key.as_str()),
        PutMode::Match(_) => false,
    };
    if may_be_free {
        match give_free_name(tree, temp, directory, location) {
            Ok(()) => return Ok(Named::Yes),
            Err(Errno::EXIST) if *mode == PutMode::Overwrite => {}
            Err(Errno::EXIST) => {
                return Err(task.error(ErrorKind::AlreadyExists, "an object is already there"));
            }
            Err(Errno::NOENT) => return Ok(Named::DirectoryVanished),
            Err(errno) => return Err(task.publish_failed("cannot move the object into place", errno)),
        }
    }
    let _locked = tree.locks.lock(key.as_str()).map_err(|errno| task.failed("cannot lock the key", errno))?;
    if let PutMode::Match(etag) = mode {
        check_match(tree, task, location, etag)?;
    }
    match renameat(&tree.tmp, &temp.name, directory, &location.file) {
        Ok(()) => {
            temp.gone = true;
            Ok(Named::Yes)
        }
        Err(Errno::NOENT) => Ok(Named::DirectoryVanished),
        Err(errno) => Err(task.publish_failed("cannot rename the object into place", errno)),
    }
}

/// Gives a file its name unless another has it: `EXIST`.
fn give_free_name(
    tree: &Tree,
    temp: &mut Temp,
    directory: &Directory,
    location: &Location,
) -> Result<(), Errno> {
    match renameat_with(&tree.tmp, &temp.name, directory, &location.file, RenameFlags::NOREPLACE) {
        Ok(()) => {
            temp.gone = true;
            Ok(())
        }
        // The file system, or a sandbox, has no such call. A link does the same, for one more step.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
            linkat(&tree.tmp, &temp.name, directory, &location.file, AtFlags::empty())
        }
        Err(errno) => Err(errno),
    }
}

/// Refuses unless the object has this tag. Only the lock of the key keeps the answer true.
fn check_match(tree: &Tree, task: &Task, location: &Location, etag: &ETag) -> Result<()> {
    let current = open_object(tree, task, &location.path())?.footer(task)?.0.etag;
    if current == *etag {
        return Ok(());
    }
    Err(task.error(ErrorKind::PreconditionFailed, format!("the object has the tag {current}")))
}

/// What a refused put amounts to when the caller may have made it before: done, if the object that is there is the
/// one that it stored then.
pub(super) fn driven_before(
    tree: &Tree,
    task: &Task,
    key: &Key,
    before: Option<OperationId>,
    refused: Error,
) -> Result<PutOutcome> {
    let conditional = matches!(refused.kind(), ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed);
    let Some(id) = before.filter(|_| conditional) else { return Err(refused) };
    match find(tree, task, key, id)? {
        Resolution::Applied(outcome) => Ok(outcome),
        _ => Err(refused),
    }
}

/// Whether the object of a key is the one that the write `id` stored.
pub(super) fn resolve(tree: &Tree, key: &Key, id: OperationId) -> Result<Resolution> {
    find(tree, &Task::on(Operation::HeadObject, key), key, id)
}

fn find(tree: &Tree, task: &Task, key: &Key, id: OperationId) -> Result<Resolution> {
    let location = Location::of(key);
    let (footer, data_bytes) = match open_object(tree, task, &location.path()) {
        Ok(opened) => opened.footer(task)?,
        Err(error) if error.is_not_found() => return Ok(Resolution::NotThere { current: None }),
        Err(error) => return Err(error),
    };
    if footer.operation_id != Some(id) {
        return Ok(Resolution::NotThere { current: Some(meta(key, data_bytes, &footer)) });
    }
    // Whoever published it may have been killed, or told an error, before the name was on disk.
    let directory = tree.directory(&location.directory());
    directory.and_then(|directory| directory.sync()).map_err(|errno| task.name_in_doubt(errno))?;
    Ok(Resolution::Applied(PutOutcome::new(footer.etag)))
}

/// Removes the object of a key, if it has this tag.
pub(super) fn delete(tree: &Tree, key: &Key, if_match: Option<&ETag>) -> Result<()> {
    let task = Task::on(Operation::DeleteObject, key);
    let Some(directory) = unlink(tree, &task, key, if_match)? else { return Ok(()) };
    directory
        .sync()
        .map_err(|errno| task.in_doubt("the object is removed and its directory could not be synced", errno))
}

/// Removes many objects, syncing each directory once.
pub(super) fn delete_many(tree: &Tree, keys: &[Key]) -> Vec<Result<()>> {
    let mut results: Vec<Result<()>> = Vec::with_capacity(keys.len());
    let mut unsynced: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, key) in keys.iter().enumerate() {
        let task = Task::on(Operation::DeleteObjects, key);
        results.push(refuse_verbatim(&task, key).and_then(|()| {
            if unlink(tree, &task, key, None)?.is_some() {
                unsynced.entry(Location::of(key).directory()).or_default().push(at);
            }
            Ok(())
        }));
    }
    for (path, removed) in unsynced {
        // By path, not by descriptor: a thousand keys may live in as many directories.
        let Err(error) = tree.directory(&path).and_then(|directory| directory.sync()) else {
            continue;
        };
        for at in removed {
            let task = Task::on(Operation::DeleteObjects, &keys[at]);
            results[at] =
                Err(task.in_doubt("the object is removed and its directory could not be synced", error));
        }
    }
    results
}

/// Takes the name of an object away. Returns the directory to be synced, also when no object was there: whoever
/// removed it may have been killed before the sync, and we are about to say that it is gone.
fn unlink(tree: &Tree, task: &Task, key: &Key, if_match: Option<&ETag>) -> Result<Option<Arc<Directory>>> {
    let location = Location::of(key);
    let directory = match tree.directory(&location.directory()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) if if_match.is_some() => return Err(task.not_found()),
        // Directories are never removed: nothing has ever been here.
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(task.failed("cannot open the directory of the object", errno)),
    };
    let _locked = tree.locks.lock(key.as_str()).map_err(|errno| task.failed("cannot lock the key", errno))?;
    if let Some(etag) = if_match {
        check_match(tree, task, &location, etag)?;
    }
    match unlinkat(&directory, &location.file, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(Some(directory)),
        Err(errno) => Err(task.publish_failed("cannot remove the object", errno)),
    }
}

/// Refuses a key that has no path, naming the rule it breaks.
pub(super) fn refuse_verbatim(task: &Task, key: &Key) -> Result<(), Error> {
    match key.broken_rule() {
        None => Ok(()),
        Some(rule) => Err(task.error(
            ErrorKind::InvalidInput,
            format!("a directory holds only keys that Key::parse admits, and of this one {rule}"),
        )),
    }
}

fn is_not_found(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}
