//! Get and head: an object is opened once, and everything said about it comes from that one file.
//!
//! Files are never changed after they were published, so a body goes on giving the bytes of the version it was
//! opened on while the object is replaced or deleted.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;

use crate::body::Body;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::Key;
use crate::object::{GetOutcome, HeadOutcome, ObjectMeta};
use crate::options::{GetOptions, HeadOptions, ReadConditions};
use crate::range::InvalidRange;

use super::failure::Task;
use super::footer::Footer;
use super::names::Location;
use super::ring::RingFile;
use super::tree::{Tree, regular_bytes};

/// Files up to this size, in bytes, are read whole where they are opened: one trip to the blocking pool costs
/// more than copying this much.
const WHOLE_BYTES_MAX: u64 = 64 * 1024;

/// How much a body reads at a time, in bytes: larger reads are not faster, and what is not yet pulled costs
/// this much memory for each body.
const CHUNK_BYTES: usize = 256 * 1024;

/// A regular file that was opened as an object.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    bytes: u64,
}

/// Opens the file of an object.
pub(super) fn open_object(tree: &Tree, task: &Task, path: &str) -> Result<Opened> {
    let file = match tree.open_file(path) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Err(task.not_found()),
        Err(Errno::LOOP) => {
            return Err(task.failed("a symbolic link stands where the object should be", Errno::LOOP));
        }
        // What a socket, or a device without driver, answers.
        Err(errno @ (Errno::NXIO | Errno::NODEV)) => {
            return Err(not_a_file(task).with_source(std::io::Error::from(errno)));
        }
        Err(errno) => return Err(task.failed("cannot open the object", errno)),
    };
    match regular_bytes(&file) {
        Ok(Some(bytes)) => Ok(Opened { file, bytes }),
        Ok(None) => Err(not_a_file(task)),
        Err(errno) => Err(task.failed("cannot look at the object", errno)),
    }
}

fn not_a_file(task: &Task) -> Error {
    task.error(ErrorKind::Corrupt, "something that is not a regular file stands where the object should be")
}

impl Opened {
    /// The size of the whole file, in bytes.
    pub(super) fn file_bytes(&self) -> u64 {
        self.bytes
    }

    /// The footer and the size of the data.
    pub(super) fn footer(&self, task: &Task) -> Result<(Footer, u64)> {
        Footer::read(&self.file, self.bytes)
            .map_err(|error| task.failed("cannot read the footer of the object", error))?
            .map_err(|damaged| task.damaged(&damaged))
    }
}

/// What the blocking half of a get brings back.
pub(super) struct Got {
    meta: ObjectMeta,
    footer: Footer,
    range: Range<u64>,
    data: Data,
}

enum Data {
    Whole(Bytes),
    /// Too large for that.
    InFile(File),
}

/// The blocking half of a get.
pub(super) fn get(tree: &Tree, key: &Key, options: &GetOptions) -> Result<Got> {
    let task = Task::on(Operation::GetObject, key);
    let opened = open_object(tree, &task, &Location::of(key).path())?;
    let whole = if opened.bytes <= WHOLE_BYTES_MAX {
        let mut whole = vec![0; usize::try_from(opened.bytes).expect("at most WHOLE_BYTES_MAX")];
        let read = opened.file.read_exact_at(&mut whole, 0);
        read.map_err(|error| task.failed("cannot read the object", error))?;
        Some(Footer::split(whole).map_err(|damaged| task.damaged(&damaged))?)
    } else {
        None
    };
    let (footer, data_bytes, data) = match whole {
        Some((footer, data)) => (footer, data.len() as u64, Some(data)),
        None => {
            let (footer, data_bytes) = opened.footer(&task)?;
            (footer, data_bytes, None)
        }
    };
    check_conditions(&task, &footer, &options.conditions)?;
    let range = match &options.range {
        None => 0..data_bytes,
        Some(range) => {
            range.resolve(data_bytes, options.range_policy).map_err(|invalid| range_error(&task, invalid))?
        }
    };
    let data = match data {
        Some(data) => {
            let at = |offset: u64| usize::try_from(offset).expect("within memory");
            Data::Whole(data.slice(at(range.start)..at(range.end)))
        }
        None => {
            // io_uring would answer EAGAIN for what is not in the page cache.
            fcntl_setfl(&opened.file, OFlags::empty())
                .map_err(|errno| task.failed("cannot prepare the object for reading", errno))?;
            Data::InFile(opened.file)
        }
    };
    Ok(Got { meta: meta(key, data_bytes, &footer), footer, range, data })
}

pub(super) fn range_error(task: &Task, invalid: InvalidRange) -> Error {
    let kind = match invalid {
        InvalidRange::Empty => ErrorKind::InvalidInput,
        InvalidRange::NotSatisfiable => ErrorKind::RangeNotSatisfiable,
    };
    task.error(kind, invalid.to_string())
}

impl Got {
    /// The half on the shard: the rest is read as it is pulled.
    pub(super) fn into_outcome(self, task: Task) -> Result<GetOutcome> {
        let body = match self.data {
            Data::Whole(data) => Body::from_payload(data.into()),
            Data::InFile(file) => {
                let file = RingFile::new(Arc::new(file))
                    .map_err(|error| task.failed("cannot read the object", error))?;
                Body::from_stream(self.range.end - self.range.start, chunks(file, self.range.clone(), task))
            }
        };
        Ok(GetOutcome::new(self.meta, self.footer.attributes, self.range, body))
    }
}

/// The bytes of `range` of a file, a chunk at a time.
///
/// The last chunk is kept along, and its memory is used again when the caller has dropped it by then: fresh
/// memory costs as much in page faults as the copy into it.
fn chunks(file: RingFile, range: Range<u64>, task: Task) -> impl stream::Stream<Item = Result<Bytes>> {
    let state = (file, range, Bytes::new(), task);
    stream::try_unfold(state, |(file, range, last, task)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let mut buffer = last.try_into_mut().unwrap_or_default();
        buffer.resize(wanted, 0);
        match file.read_at(buffer, range.start).await {
            Ok(read) if read.is_empty() => {
                let missing = range.end - range.start;
                Err(task.error(ErrorKind::Corrupt, format!("the file ended {missing} bytes too early")))
            }
            Ok(read) => {
                let chunk = read.freeze();
                let rest = range.start + chunk.len() as u64..range.end;
                Ok(Some((chunk.clone(), (file, rest, chunk, task))))
            }
            Err(error) => Err(task.failed("cannot read the object", error)),
        }
    })
}

/// Everything about an object but its bytes.
pub(super) fn head(tree: &Tree, key: &Key, options: &HeadOptions) -> Result<HeadOutcome> {
    let task = Task::on(Operation::HeadObject, key);
    let (footer, data_bytes) = open_object(tree, &task, &Location::of(key).path())?.footer(&task)?;
    check_conditions(&task, &footer, &options.conditions)?;
    Ok(HeadOutcome::new(meta(key, data_bytes, &footer), footer.attributes))
}

pub(super) fn meta(key: &Key, data_bytes: u64, footer: &Footer) -> ObjectMeta {
    let mut meta = ObjectMeta::new(key.clone(), data_bytes);
    meta.etag = Some(footer.etag.clone());
    meta.last_modified = Some(footer.modified);
    meta
}

fn check_conditions(task: &Task, footer: &Footer, conditions: &ReadConditions) -> Result<()> {
    if conditions.if_match.as_ref().is_some_and(|wanted| *wanted != footer.etag) {
        return Err(
            task.error(ErrorKind::PreconditionFailed, format!("the object has the tag {}", footer.etag))
        );
    }
    if conditions.if_none_match.as_ref() == Some(&footer.etag) {
        return Err(task.error(ErrorKind::NotModified, "the object still has this tag"));
    }
    Ok(())
}
