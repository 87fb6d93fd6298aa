//! What happens before a store is handed out: the root is made, looked at, tried out and swept.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FsWord, Mode, NFS_SUPER_MAGIC, OFlags, fstatfs, fsync, linkat, mkdir, open, statat,
    unlinkat,
};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Operation, Result};

use super::failure::Task;
use super::options::{Durability, FsOptions};
use super::temp::{Temp, sweep};
use super::tree::{DIRECTORY_MODE, Tree, random_name};

/// File systems of other machines, where locks, links or renames do not hold between clients, with the names to
/// be told: see `statfs(2)`.
const REMOTE: [(FsWord, &str); 3] = [(NFS_SUPER_MAGIC, "NFS"), (0xFF53_4D42, "CIFS"), (0xFE53_4D42, "SMB")];

/// Opens the tree below `path`, making it if need be.
pub(super) fn start(path: &Path, options: FsOptions) -> Result<Arc<Tree>> {
    let task = Task::new(Operation::Open);
    let refused = |errno| task.failed(&format!("cannot make the directory {}", path.display()), errno);
    make_root(path, options.durability).map_err(refused)?;
    let root = match open_root(path) {
        Err(Errno::NOTDIR) => return Err(config(&task, path, "is not a directory")),
        opened => opened.map_err(|errno| task.failed(&format!("cannot open {}", path.display()), errno))?,
    };
    let kind = fstatfs(&root).map_err(|errno| task.failed("cannot look at the file system", errno))?.f_type;
    if let Some((_, name)) = REMOTE.iter().find(|(magic, _)| *magic == kind) {
        let problem =
            format!("is on {name}, where locks and renames do not hold between machines; use a local disk");
        return Err(config(&task, path, &problem));
    }
    let tree = Tree::open(root, options.durability)
        .map_err(|error| task.failed("cannot make the directories of the store", error))?;
    let tree = Arc::new(tree);
    if let Some(problem) =
        try_out(&tree).map_err(|errno| task.failed("cannot try out the directory", errno))?
    {
        return Err(config(&task, path, problem));
    }
    sweep(&tree, options.sweep_after).map_err(|error| task.failed("cannot sweep temporary files", error))?;
    Ok(tree)
}

fn config(task: &Task, path: &Path, problem: &str) -> Error {
    task.error(ErrorKind::Config, format!("{} {problem}", path.display()))
}

fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes a directory and those above it, each synced into its parent.
fn make_root(path: &Path, durability: Durability) -> Result<(), Errno> {
    let parent = match path.parent() {
        None => return Ok(()),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    let made = match mkdir(path, DIRECTORY_MODE) {
        Err(Errno::NOENT) => {
            make_root(parent, durability)?;
            mkdir(path, DIRECTORY_MODE)
        }
        made => made,
    };
    let is_new = match made {
        Ok(()) => true,
        // A parent that cannot be written to is no obstacle when the directory is there.
        Err(Errno::EXIST) => false,
        Err(Errno::ACCESS | Errno::ROFS | Errno::PERM) if statat(CWD, path, AtFlags::empty()).is_ok() => {
            false
        }
        Err(other) => return Err(other),
    };
    if durability == Durability::None {
        return Ok(());
    }
    // Another process may have made it a moment ago. Who owns the parent may forbid us to read it, though.
    match open_root(parent).and_then(fsync) {
        Err(error) if is_new => Err(error),
        _ => Ok(()),
    }
}

/// Tries what the store relies on. Says what is wrong with the file system.
fn try_out(tree: &Arc<Tree>) -> Result<Option<&'static str>, Errno> {
    let temp = Temp::create(tree)?;
    let name = format!("x{}", random_name());
    let composed = format!("{name}\u{e9}");
    match linkat(&tree.tmp, &temp.name, &tree.tmp, &composed, AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
            return Ok(Some("is on a file system without hard links, which create-if-absent may need"));
        }
        Err(Errno::ILSEQ | Errno::INVAL) => {
            return Ok(Some("is on a file system that does not take every name of UTF-8"));
        }
        Err(other) => return Err(other),
    }
    let is_found = |other: String| statat(&tree.tmp, other, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    let problem = if is_found(format!("{}\u{e9}", name.to_uppercase())) {
        Some("is on a file system that takes upper and lower case for the same, and keys are not")
    } else if is_found(format!("{name}e\u{301}")) {
        Some(
            "is on a file system that takes different spellings of a character for the same, and keys are not",
        )
    } else {
        None
    };
    unlinkat(&tree.tmp, &composed, AtFlags::empty())?;
    Ok(problem)
}
