//! Multipart uploads: a directory each, `%uploads/ID/`, with the parts as files and a `description`.
//!
//! The directory appears and vanishes by one rename, so there is never half an upload. Its lock is held from
//! the moment a complete begins to look at the parts until they are joined and gone; whoever waited for it
//! finds that the directory is no longer in its place. Parts are sent without it: a rename into a directory that
//! is being removed either fails, or is removed with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use futures_util::future::LocalBoxFuture;
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, copy_file_range, flock, fstat, mkdirat, openat,
    renameat, statat,
};
use rustix::io::Errno;

use crate::attributes::Attributes;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::Key;
use crate::limits::{LIST_PAGE_MAX, OBJECT_BYTES_MAX, PART_BYTES_MAX, PART_BYTES_MIN};
use crate::object::{ETag, PutOutcome};
use crate::operation_id::OperationId;
use crate::options::{CompleteOptions, ListUploadsOptions, PutMode};
use crate::payload::Payload;
use crate::storage::{
    MultipartUpload, PageToken, Part, PartNumber, PartsPage, UploadId, UploadInfo, UploadsPage,
};

use super::failure::Task;
use super::footer::Footer;
use super::list::{check_page_size, foreign_token};
use super::lock::lock_exclusive;
use super::operations::Operations;
use super::publish::{driven_before, store};
use super::temp::{self, Temp, Unfinished, remove_directory, write_end};
use super::tree::{DIRECTORY_MODE, FILE_MODE, Tree, entries, is_random_name, random_name, regular_bytes};
use super::write::{new_footer, write_file};
use super::{CompioFsStorage, named};

/// The file that says which object the upload is for.
const DESCRIPTION: &str = "description";

/// One upload to a [`CompioFsStorage`].
#[derive(Debug)]
pub(super) struct FsUpload {
    store: CompioFsStorage,
    key: Key,
    id: UploadId,
}

impl FsUpload {
    /// A handle; whether there is such an upload is seen when it is used.
    pub(super) fn new(store: CompioFsStorage, key: Key, id: UploadId) -> FsUpload {
        assert!(is_random_name(id.as_str()), "the id was checked, or made here");
        FsUpload { store, key, id }
    }

    fn task(&self, operation: Operation) -> Task {
        Task::on(operation, &self.key)
    }

    fn owned(&self) -> (Arc<Tree>, Key, UploadId) {
        (self.store.tree.clone(), self.key.clone(), self.id.clone())
    }
}

impl MultipartUpload for FsUpload {
    fn key(&self) -> &Key {
        &self.key
    }

    fn upload_id(&self) -> &UploadId {
        &self.id
    }

    fn upload_part(&self, number: PartNumber, payload: Payload) -> LocalBoxFuture<'_, Result<Part>> {
        Box::pin(async move {
            let task = self.task(Operation::UploadPart);
            let size = payload.len();
            if size > PART_BYTES_MAX {
                return Err(task.error(ErrorKind::InvalidInput, "a part has at most 5 GiB"));
            }
            let (tree, key, id) = self.owned();
            let publish_task = task.clone();
            let under_way = self.store.operations.begin(&task)?;
            let publish = move |temp, etag| {
                let _under_way = under_way;
                let part = publish_part(&tree, &publish_task, &key, &id, number, temp, etag, size)?;
                Ok((part, None))
            };
            let store = &self.store;
            write_file(&store.tree, &store.gate, &task, payload, Attributes::new(), None, publish).await
        })
    }

    fn complete<'a>(
        &'a self,
        parts: &'a [Part],
        options: CompleteOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move {
            let task = self.task(Operation::CompleteMultipartUpload);
            let (tree, key, id) = self.owned();
            let parts = parts.to_vec();
            let operations = self.store.operations.clone();
            let under_way = operations.begin(&task)?;
            let joined = move || {
                let _under_way = under_way;
                // Not before this begins, which it never does if it is given up while it waits for a thread.
                let is_tied = operations.untie(&id);
                let joined = complete(&tree, &task, &key, &id, &parts, &options.mode);
                if is_tied && joined.as_ref().is_err_and(|error| !error.is_indeterminate()) {
                    operations.tie(&key, &id);
                }
                joined
            };
            self.store.gate.run(joined).await
        })
    }

    fn abort(&self) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let task = self.task(Operation::AbortMultipartUpload);
            let (tree, key, id) = self.owned();
            let operations = self.store.operations.clone();
            let under_way = operations.begin(&task)?;
            let aborted = move || {
                let _under_way = under_way;
                let aborted = abort(&tree, &task, &key, &id);
                if aborted.is_ok() {
                    operations.aborted(&id);
                }
                aborted
            };
            self.store.gate.run(aborted).await
        })
    }

    fn list_parts_page<'a>(&'a self, page: Option<&'a PageToken>) -> LocalBoxFuture<'a, Result<PartsPage>> {
        Box::pin(async move {
            let task = self.task(Operation::ListParts);
            let after = match page {
                None => 0,
                Some(token) => read_parts_token(token, &self.id).ok_or_else(|| foreign_token(&task))?,
            };
            let (tree, key, id) = self.owned();
            let under_way = self.store.operations.begin(&task)?;
            let listed = move || {
                let _under_way = under_way;
                list_parts(&tree, &task, &key, &id, after)
            };
            self.store.gate.run(listed).await
        })
    }

    /// The writer's task aborts what it gives up; the store remembers it for what that task does not live to do.
    fn abort_on_drop(&self) -> bool {
        self.store.operations.tie(&self.key, &self.id);
        false
    }
}

/// Whether anybody still waits for an upload that is being made: clones of it are held by both sides.
#[derive(Clone)]
pub(super) struct Unseen {
    operations: Operations,
    sides: Arc<()>,
}

impl Unseen {
    pub(super) fn new(operations: &Operations) -> Unseen {
        Unseen { operations: operations.clone(), sides: Arc::new(()) }
    }

    /// The upload that was made, on its way to whoever waits; removed at once if nobody does any more.
    pub(super) fn upload(self, tree: &Tree, key: Key, id: UploadId) -> UnseenUpload {
        let task = Task::on(Operation::CreateMultipartUpload, &key);
        let is_awaited = Arc::strong_count(&self.sides) > 1;
        let is_removed = !is_awaited && abort(tree, &task, &key, &id).is_ok();
        UnseenUpload { operations: self.operations, key, id, is_left: !is_removed }
    }
}

/// An upload that was made. If it is dropped unseen it is aborted when the store is shut down.
pub(super) struct UnseenUpload {
    operations: Operations,
    key: Key,
    id: UploadId,
    is_left: bool,
}

impl UnseenUpload {
    pub(super) fn seen(mut self) -> UploadId {
        self.is_left = false;
        self.id.clone()
    }
}

impl Drop for UnseenUpload {
    fn drop(&mut self) {
        if self.is_left {
            self.operations.tie(&self.key, &self.id);
        }
    }
}

/// An open upload.
struct Upload {
    directory: OwnedFd,
    description: Footer,
}

/// Makes the directory of a new upload.
pub(super) fn create(
    tree: &Arc<Tree>,
    key: &Key,
    attributes: Attributes,
    operation_id: OperationId,
) -> Result<UploadId> {
    let task = Task::on(Operation::CreateMultipartUpload, key);
    let failed = |error: io::Error| task.failed("cannot make the upload", error);
    let id = random_name();
    mkdirat(&tree.tmp, &id, DIRECTORY_MODE).map_err(|errno| failed(errno.into()))?;
    let describe = || -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(&tree.tmp, &id, flags, Mode::empty())?;
        // Against sweepers, until it is in its place.
        flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let description = File::from(openat(&directory, DESCRIPTION, flags, FILE_MODE)?);
        let etag = ETag::parse(&id).expect("hexadecimal digits make a tag");
        let key = Some(key.as_str().to_owned());
        let operation_id = Some(operation_id);
        let mut footer = Footer { etag, modified: UNIX_EPOCH, attributes, operation_id, key };
        write_end(&description, &[], 0, &mut footer)?;
        tree.sync(&description)?;
        tree.sync(&directory)?;
        Ok(directory)
    };
    let described = describe().map_err(failed).and_then(|_locked| {
        renameat(&tree.tmp, &id, &tree.uploads, &id)
            .map_err(|errno| task.publish_failed("cannot rename the upload into place", errno))
    });
    if let Err(error) = described {
        // What stays behind is swept later.
        let _ = remove_directory(tree, id.as_bytes());
        return Err(error);
    }
    tree.sync(&tree.uploads).map_err(|errno| task.in_doubt("the upload was made and not synced", errno))?;
    Ok(UploadId::new(&id))
}

fn no_upload(task: &Task) -> Error {
    task.error(ErrorKind::NotFound, "no such upload: it was completed or aborted, or is one to another key")
}

fn open_upload(tree: &Tree, task: &Task, key: &Key, id: &UploadId) -> Result<Upload> {
    let directory = match open_directory(tree, id) {
        Err(Errno::NOENT) => return Err(no_upload(task)),
        opened => opened.map_err(|errno| task.failed("cannot open the upload", errno))?,
    };
    let description = describe(task, &directory)?.ok_or_else(|| no_upload(task))?;
    if description.key.as_deref() != Some(key.as_str()) {
        return Err(no_upload(task));
    }
    Ok(Upload { directory, description })
}

fn open_directory(tree: &Tree, id: &UploadId) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(&tree.uploads, id.as_str(), flags, Mode::empty())
}

/// The description in the directory of an upload; `None` when it is being removed.
fn describe(task: &Task, directory: &OwnedFd) -> Result<Option<Footer>> {
    Ok(open_part(task, directory, DESCRIPTION)?.map(|(_, footer, _)| footer))
}

/// A file in the directory of an upload, its footer and the length of its data; `None` when there is none.
fn open_part(task: &Task, directory: &OwnedFd, name: &str) -> Result<Option<(File, Footer, u64)>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(task.failed("cannot open a part", errno)),
    };
    let bytes = regular_bytes(&file).map_err(|errno| task.failed("cannot look at a part", errno))?;
    let bytes = bytes.ok_or_else(|| task.error(ErrorKind::Corrupt, "a part is not a regular file"))?;
    let (footer, data_bytes) = Footer::read(&file, bytes)
        .map_err(|error| task.failed("cannot read the footer of a part", error))?
        .map_err(|damaged| task.damaged(&damaged))?;
    Ok(Some((file, footer, data_bytes)))
}

fn part_name(number: PartNumber) -> String {
    format!("{:05}", number.get())
}

#[expect(clippy::too_many_arguments, reason = "one call, from the closure that captured them")]
fn publish_part(
    tree: &Tree,
    task: &Task,
    key: &Key,
    id: &UploadId,
    number: PartNumber,
    mut temp: Temp,
    etag: ETag,
    size: u64,
) -> Result<Part> {
    let upload = open_upload(tree, task, key, id)?;
    match renameat(&tree.tmp, &temp.name, &upload.directory, part_name(number)) {
        Ok(()) => temp.gone = true,
        Err(Errno::NOENT) => return Err(no_upload(task)),
        Err(errno) => return Err(task.publish_failed("cannot rename the part into place", errno)),
    }
    tree.sync(&upload.directory)
        .map_err(|errno| task.in_doubt("the part is in place and not synced", errno))?;
    Ok(Part::new(number, etag, size))
}

/// Waits for the lock of an upload. Says whether the upload is still there.
fn lock(tree: &Tree, task: &Task, directory: &OwnedFd, id: &UploadId) -> Result<bool> {
    let locked = || -> Result<bool, Errno> {
        lock_exclusive(directory)?;
        let ours = fstat(directory)?;
        match statat(&tree.uploads, id.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => Ok((there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(other) => Err(other),
        }
    };
    locked().map_err(|errno| task.failed("cannot lock the upload", errno))
}

fn complete(
    tree: &Arc<Tree>,
    task: &Task,
    key: &Key,
    id: &UploadId,
    parts: &[Part],
    mode: &PutMode,
) -> Result<PutOutcome> {
    let upload = open_upload(tree, task, key, id)?;
    if !lock(tree, task, &upload.directory, id)? {
        return Err(no_upload(task));
    }
    check_parts(task, &upload, parts)?;
    let operation_id = upload.description.operation_id;
    let outcome = store(tree, task, key, mode, |temp| {
        let mut joined_bytes = 0;
        for part in parts {
            // Opened anew, as ten thousand descriptors are too many; the part may have been replaced since.
            let (file, data_bytes) = find_part(task, &upload, part).map_err(Unfinished::Refused)?;
            copy_data(&file, data_bytes, &temp.file)?;
            joined_bytes += data_bytes;
        }
        Ok((joined_bytes, new_footer(temp, upload.description.attributes.clone(), operation_id)))
    });
    let outcome = outcome.map_err(|error| match operation_id {
        Some(id) => named(error, id),
        None => error,
    });
    // A re-drive of what an earlier upload has stored is applied.
    let outcome = outcome.or_else(|refused| driven_before(tree, task, key, operation_id, refused))?;
    // The object is there. An upload that cannot be removed, or that a power failure brings back, costs space
    // until it is aborted, and nothing else.
    if let Ok(name) = take_away(tree, id) {
        let _ = remove_directory(tree, name.as_bytes());
    }
    Ok(outcome)
}

fn invalid(task: &Task, message: impl Into<String>) -> Error {
    task.error(ErrorKind::InvalidInput, message)
}

fn check_parts(task: &Task, upload: &Upload, parts: &[Part]) -> Result<()> {
    let Some((last, others)) = parts.split_last() else {
        return Err(invalid(task, "an object is joined from at least one part"));
    };
    if !parts.is_sorted_by(|one, next| one.number < next.number) {
        return Err(invalid(task, "the parts must ascend by number"));
    }
    let mut joined_bytes = 0u64;
    for part in others {
        let data_bytes = find_part(task, upload, part)?.1;
        if data_bytes < PART_BYTES_MIN {
            return Err(invalid(
                task,
                format!("part {} has {data_bytes} bytes, less than 5 MiB", part.number),
            ));
        }
        joined_bytes += data_bytes;
    }
    joined_bytes += find_part(task, upload, last)?.1;
    if joined_bytes > OBJECT_BYTES_MAX {
        return Err(invalid(task, "the object would have more than 5 TiB"));
    }
    Ok(())
}

fn find_part(task: &Task, upload: &Upload, part: &Part) -> Result<(File, u64)> {
    match open_part(task, &upload.directory, &part_name(part.number))? {
        Some((file, footer, data_bytes)) if footer.etag == part.etag => Ok((file, data_bytes)),
        Some(_) => Err(invalid(task, format!("part {} was replaced since", part.number))),
        None => Err(invalid(task, format!("part {} was not uploaded", part.number))),
    }
}

/// Copies the first `data_bytes` bytes of a file to the end of another, inside the kernel where it can.
pub(super) fn copy_data(from: &File, data_bytes: u64, to: &File) -> io::Result<()> {
    let mut at = 0;
    while at < data_bytes {
        let wanted = usize::try_from(data_bytes - at).unwrap_or(usize::MAX);
        match copy_file_range(from, Some(&mut at), to, None, wanted) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            // Some file systems, and some sandboxes, have no such call.
            Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::PERM) => {
                return copy_by_hand(from, at, data_bytes, to);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(mut from: &File, at: u64, data_bytes: u64, mut to: &File) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};
    from.seek(SeekFrom::Start(at))?;
    let mut buffer = vec![0; 256 * 1024];
    let mut rest = from.take(data_bytes - at);
    loop {
        match rest.read(&mut buffer)? {
            0 if rest.limit() > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            0 => return Ok(()),
            read => to.write_all(&buffer[..read])?,
        }
    }
}

/// Moves a locked upload to where it no longer counts. Returns its name there.
fn take_away(tree: &Tree, id: &UploadId) -> Result<String, Errno> {
    let name = random_name();
    renameat(&tree.uploads, id.as_str(), &tree.tmp, &name)?;
    Ok(name)
}

fn abort(tree: &Tree, task: &Task, key: &Key, id: &UploadId) -> Result<()> {
    let in_doubt = |errno: Errno| task.in_doubt("the upload is gone and that is not synced", errno);
    let directory = match open_directory(tree, id) {
        // Whoever removed it may not have synced yet.
        Err(Errno::NOENT) => return tree.sync(&tree.uploads).map_err(in_doubt),
        opened => opened.map_err(|errno| task.failed("cannot open the upload", errno))?,
    };
    if !lock(tree, task, &directory, id)? {
        return tree.sync(&tree.uploads).map_err(in_doubt);
    }
    match describe(task, &directory) {
        // An upload to another key: the one that was meant does not exist.
        Ok(Some(description)) if description.key.as_deref() != Some(key.as_str()) => return Ok(()),
        // A damaged one must be possible to get rid of.
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Corrupt => {}
        Err(error) => return Err(error),
    }
    let name = take_away(tree, id).map_err(|errno| task.publish_failed("cannot remove the upload", errno))?;
    tree.sync(&tree.uploads).map_err(in_doubt)?;
    // What stays behind is swept later.
    let _ = remove_directory(tree, name.as_bytes());
    Ok(())
}

/// A token of a listing of parts is the id and the five digits of the last number shown.
fn read_parts_token(token: &PageToken, id: &UploadId) -> Option<u16> {
    let digits = token.as_str().strip_prefix(id.as_str())?;
    let number = digits.parse().ok().and_then(PartNumber::new)?;
    (part_name(number) == digits).then_some(number.get())
}

fn list_parts(tree: &Tree, task: &Task, key: &Key, id: &UploadId, after: u16) -> Result<PartsPage> {
    let upload = open_upload(tree, task, key, id)?;
    let failed = |error| task.failed("cannot read the upload", error);
    let mut numbers = Vec::new();
    for entry in entries(&upload.directory).map_err(failed)? {
        let (name, file_type) = entry.map_err(failed)?;
        let number =
            std::str::from_utf8(&name).ok().and_then(|name| name.parse().ok()).and_then(PartNumber::new);
        if let Some(number) = number
            && file_type == FileType::RegularFile
            && part_name(number).as_bytes() == name
            && number.get() > after
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    let more = numbers.len() > LIST_PAGE_MAX;
    numbers.truncate(LIST_PAGE_MAX);
    let next =
        numbers.last().filter(|_| more).map(|last| PageToken::new(format!("{id}{}", part_name(*last))));
    let mut parts = Vec::with_capacity(numbers.len());
    for number in numbers {
        // `None`: the upload is being removed.
        if let Some((_, footer, data_bytes)) = open_part(task, &upload.directory, &part_name(number))? {
            parts.push(Part::new(number, footer.etag, data_bytes));
        }
    }
    Ok(PartsPage::new(parts, next))
}

/// One page of the uploads, by key, then by id. A token is the id and the key of the last one shown.
///
/// Every page reads the descriptions of all uploads and keeps those that come next: memory is bounded by the
/// page, and uploads are few, as each is either in progress or a leftover.
pub(super) fn list_uploads(
    tree: &Arc<Tree>,
    options: &ListUploadsOptions,
    token: Option<&PageToken>,
) -> Result<UploadsPage> {
    let task = Task::new(Operation::ListMultipartUploads);
    let page_size = check_page_size(&task, options.page_size)?;
    let after = match token {
        None => None,
        Some(token) => {
            let last = token.as_str().split_at_checked(32).map(|(id, key)| (key.to_owned(), id.to_owned()));
            let own = |(key, id): &(String, String)| {
                is_random_name(id) && key.starts_with(&options.prefix) && Key::parse(key).is_ok()
            };
            Some(last.filter(own).ok_or_else(|| foreign_token(&task))?)
        }
    };
    let failed = |error| task.failed("cannot read the directory of the uploads", error);
    let mut found = BTreeMap::new();
    let mut more = false;
    for entry in entries(&tree.uploads).map_err(failed)? {
        let (name, file_type) = entry.map_err(failed)?;
        let id = std::str::from_utf8(&name).ok().filter(|name| is_random_name(name));
        let Some(id) = id.filter(|_| file_type == FileType::Directory) else { continue };
        let directory = match open_directory(tree, &UploadId::new(id)) {
            Err(Errno::NOENT) => continue,
            opened => opened.map_err(|errno| task.failed("cannot open an upload", errno))?,
        };
        let Some(description) = describe(&task, &directory)? else { continue };
        let Some(key) = description.key else { continue };
        let place = (key, id.to_owned());
        if !place.0.starts_with(&options.prefix) || after.as_ref().is_some_and(|after| place <= *after) {
            continue;
        }
        found.insert(place, description.modified);
        if found.len() > page_size {
            found.pop_last();
            more = true;
        }
    }
    let as_of = if found.is_empty() { None } else { temp::file_system_now(tree).ok() };
    let next =
        found.last_key_value().filter(|_| more).map(|((key, id), _)| PageToken::new(format!("{id}{key}")));
    let mut uploads = Vec::with_capacity(found.len());
    for ((key, id), initiated) in found {
        let key = Key::parse(&key).map_err(|invalid| {
            task.error(ErrorKind::Corrupt, "an upload is to a key that cannot be").with_source(invalid)
        })?;
        uploads.push(UploadInfo::new(key, UploadId::new(&id), Some(initiated)));
    }
    Ok(UploadsPage::new(uploads, next).with_as_of(as_of))
}
