//! [`BufferedMultipartWriter`]: one object from writes of any size, in bounded memory.
//!
//! A write goes through three hands: the *cutter* (`cutter.rs`) gathers it into parts, the *window*
//! (`window.rs`) holds them until there is room, the *uploader* (`uploader.rs`), a task of its own, sends them. The
//! memory of short writes goes round (`blocks.rs`).

mod async_write;
mod blocks;
mod clean_up;
mod cutter;
mod options;
mod part_sizes;
#[cfg(test)]
mod tests;
mod uploader;
mod window;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;
use compio::runtime::Runtime;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::Key;
use crate::object::PutOutcome;
use crate::storage::ObjectStorage;

pub use self::options::BufferedMultipartWriterOptions;

use self::blocks::Blocks;
use self::cutter::{BLOCK_BYTES_MAX, COPY_BELOW_BYTES, CutPart, Cutter};
use self::uploader::Uploader;
use self::window::{End, Window};

/// Writes one object of any size, up to 5 TiB, through a small window of memory.
///
/// ```no_run
/// use std::rc::Rc;
///
/// use object_storage::{
///     BufferedMultipartWriter, BufferedMultipartWriterOptions, Key, ObjectStorage, PutMode, Result,
/// };
///
/// async fn export(storage: Rc<dyn ObjectStorage>) -> Result<()> {
///     let options = BufferedMultipartWriterOptions::from(PutMode::Create);
///     let mut writer = BufferedMultipartWriter::new(storage, Key::parse("exports/2026.csv")?, options)?;
///     for line in 0..10_000_000 {
///         writer.write(format!("{line},...\n")).await?;
///     }
///     let stored = writer.finish().await?;
///     println!("{} bytes, tag {}", writer.completed(), stored.etag);
///     Ok(())
/// }
/// ```
///
/// **When bytes are safe.** Only when [`finish`](Self::finish) has returned `Ok`: then the whole object is stored,
/// durable and visible, all at once. Before that nothing is visible, and parts that the store has already
/// ([`uploaded`](Self::uploaded)) disappear when the writer is dropped. Whoever acknowledges writes to somebody
/// else does it after `finish`.
///
/// **Parts.** All parts have `part_size` bytes (8 MiB unless asked otherwise), the last one at most that, and up
/// to `concurrency` of them (4) are uploaded at once while the writer goes on accepting. An object that fits one
/// part is stored by a single put, with the same condition, and no multipart upload is begun. After 500 parts
/// the size grows, so that 10,000 parts reach 5 TiB;
/// [`expected_size`](BufferedMultipartWriterOptions::expected_size) keeps all parts equal.
///
/// **Memory.** At most `concurrency + 1` times the size of the part being filled, counting every byte from
/// being accepted until the store has acknowledged its part, the room left in the blocks of 256 KiB into which short
/// writes are copied, and the blocks of acknowledged parts that are kept to be filled again: freed as soon as other
/// bytes need their room, all but those of one part when nothing is being uploaded, and all when the writer finishes;
/// never filled while the store has a slice of them. [`write`](Self::write) waits when there is no room. Writes of 16 KiB and more are shared, not
/// copied, and counted by their length: a `Bytes` that is a slice of something larger keeps all of it in memory
/// until its last byte is uploaded. Copy such slices with [`write_slice`](Self::write_slice).
///
/// **Failure.** Retrying is the store's business. When a part fails for good, the parts being sent are
/// cancelled, the upload is aborted, and then the next call returns the error; the ones after that return
/// `Aborted`. Begin again with a new writer.
///
/// **Dropping** a writer that was not finished gives the object up: parts being sent are cancelled and the
/// upload is aborted in the background, which needs the runtime to live on for a moment.
/// [`abort`](Self::abort) waits for it, and so does [`shutdown`](crate::ObjectStorage::shutdown) of the store, for all
/// of its writers. If the process or the runtime ends first, or the store cannot be reached, the upload stays behind and
/// costs space until it is swept ([`sweep_uploads`](crate::ObjectStorageExt::sweep_uploads)); a lifecycle rule of the
/// bucket can do that too. Once the last request is on its way nothing is aborted any more, because the object may already be
/// made of these parts: completing is then carried to its end in the background, and a single put is
/// cancelled and leaves the object stored or not.
///
/// On S3: [PutObject] or [CreateMultipartUpload], [UploadPart] and [CompleteMultipartUpload].
///
/// [PutObject]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
/// [CreateMultipartUpload]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html
/// [UploadPart]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html
/// [CompleteMultipartUpload]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
pub struct BufferedMultipartWriter {
    key: Key,
    parts_held_max: u64,
    object_bytes_max: u64,
    cutter: Cutter,
    /// Shared with cutter and window.
    idle: Blocks,
    /// Parts just cut, on their way into the window; empty between calls, kept for its memory.
    cut: Vec<CutPart>,
    window: Rc<RefCell<Window>>,
    accepted: u64,
    finishing: bool,
}

impl BufferedMultipartWriter {
    /// A writer of the object `key`. No request is made before there is more than one part to send, or
    /// [`finish`](Self::finish) is called.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: a part size outside 5 MiB to 5 GiB, a concurrency outside 1 to 64, an expected size
    ///   beyond 5 TiB.
    /// - `Config`: not called on a compio runtime, whose tasks send the parts.
    pub fn new(
        storage: Rc<dyn ObjectStorage>,
        key: Key,
        options: BufferedMultipartWriterOptions,
    ) -> Result<BufferedMultipartWriter> {
        let store = storage.capabilities();
        let sizes = options.part_sizes(store.multipart_part_size).map_err(|error| error.with_key(&key))?;
        let idle = Blocks::default();
        let window = Rc::new(RefCell::new(Window::new(idle.clone())));
        let parts_held_max = options.concurrency as u64 + 1;
        let uploader = Uploader {
            storage,
            key: key.clone(),
            concurrency: options.concurrency,
            mode: options.mode,
            attributes: options.attributes,
            operation_id: options.operation_id,
            write_once: options.write_once,
            window: Rc::clone(&window),
            last_request_sent: Cell::new(false),
        };
        // Detached: dropping the handle would cancel the task that cleans up after a dropped writer. It ends
        // by itself when the writer is finished or dropped.
        Runtime::try_with_current(|runtime| runtime.spawn(uploader.run()).detach()).map_err(|_| {
            let message = "a BufferedMultipartWriter is made on a compio runtime, inside block_on";
            Error::new(ErrorKind::Config, Operation::CreateMultipartUpload, message).with_key(&key)
        })?;
        Ok(BufferedMultipartWriter {
            key,
            parts_held_max,
            object_bytes_max: sizes.object_bytes_max(),
            cutter: Cutter::new(sizes, store.states_crc64_nvme, idle.clone()),
            idle,
            cut: Vec::new(),
            window,
            accepted: 0,
            finishing: false,
        })
    }

    /// Adds bytes to the object. Waits only while the window is full.
    ///
    /// Short writes are cheap: they are copied into blocks, without an allocation each. Writes of 16 KiB and more
    /// are not copied.
    ///
    /// Up to half a part (4 MiB unless asked otherwise) is accepted whole or not at all; more is accepted in
    /// pieces of half a part, in order. Dropping this future therefore loses no byte and doubles none:
    /// [`accepted`](Self::accepted) tells how far it came, go on from there.
    ///
    /// # Errors
    ///
    /// - The error of the request that failed, once, when the upload has failed; its kind says why. `Aborted` every
    ///   time after that. Nothing is stored: begin a new writer.
    /// - `Indeterminate`: `finish` was called before and its outcome is unknown.
    /// - `InvalidInput`: more than 5 TiB, or more than 10,000 parts of the expected size; none of these bytes
    ///   was accepted, what came before can be finished. Also after `finish`.
    pub async fn write(&mut self, bytes: impl Into<Bytes>) -> Result<()> {
        let mut bytes = bytes.into();
        if self.takes_at_once(bytes.len()) {
            self.copy_now(&bytes);
            return Ok(());
        }
        self.admit(bytes.len())?;
        while bytes.len() > self.piece_bytes_max() {
            let piece = bytes.split_to(self.piece_bytes_max());
            self.write_piece(piece).await?;
        }
        self.write_piece(bytes).await
    }

    /// Adds bytes to the object by copying them, also when they are many. For what is borrowed, and for slices
    /// of much larger buffers. Everything else is as with [`write`](Self::write).
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    pub async fn write_slice(&mut self, mut bytes: &[u8]) -> Result<()> {
        if self.takes_at_once(bytes.len()) {
            self.copy_now(bytes);
            return Ok(());
        }
        self.admit(bytes.len())?;
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(self.piece_bytes_max()));
            self.copy_piece(piece).await?;
            bytes = rest;
        }
        Ok(())
    }

    /// Stores the object: sends what is left, waits for every part, and joins them under the condition of
    /// `mode`. Without a single write it stores an empty object.
    ///
    /// Calling it again returns the same outcome. Dropping this future stops nothing: the object is being
    /// completed in the background, and calling `finish` again waits for that. Dropping the writer too gives the
    /// object up unless the last request is on its way.
    ///
    /// # Errors
    ///
    /// After every error but `Indeterminate` the object is not stored, and the abort of the upload has been
    /// answered before this returns; should it have failed, [`abort`](Self::abort) tells.
    ///
    /// - `AlreadyExists` (`Create`), `PreconditionFailed` and `NotFound` (`Match`): another object is there,
    ///   or none.
    /// - `NotFound` also when somebody else aborted the upload.
    /// - `Conflict`: another write was going on. Write everything again with a new writer.
    /// - `Unsupported`: the store would ignore the condition.
    /// - `Indeterminate`: the last request was sent and no answer came that can be believed.
    ///   [`Error::operation_id`](crate::Error::operation_id) names the write: ask
    ///   [`resolve`](crate::ObjectStorage::resolve), or write the same with a new writer that is given the
    ///   [same id](BufferedMultipartWriterOptions::operation_id). The upload is not aborted, because the object may be made of its parts; if it turns
    ///   out not to be there, [`list_uploads`](crate::ObjectStorageExt::list_uploads) finds what is left.
    /// - The error of a part that failed, the first time it can be told, and `Aborted` after that.
    pub async fn finish(&mut self) -> Result<PutOutcome> {
        if !self.finishing {
            self.finishing = true;
            let rest = self.cutter.finish();
            self.window.borrow_mut().finish(rest);
        }
        poll_fn(|cx| self.window.borrow_mut().poll_end(cx)).await;
        let mut window = self.window.borrow_mut();
        match window.end() {
            Some(End::Completed(outcome)) => Ok(outcome.clone()),
            _ => Err(window.failure(&self.key)),
        }
    }

    /// Gives the object up: cancels the parts being sent, aborts the upload, and waits until that is done.
    ///
    /// Parts that were on the wire can land after the abort: the store is asked, and the upload aborted
    /// again if so, for some seconds. Dropping this future leaves all this to the background, as dropping the
    /// writer does.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the object has been stored already. Delete it instead.
    /// - `Indeterminate`, after a dropped or failed `finish`: whether the object is stored is not known. Read it.
    /// - Others: the object is not stored, but the upload may have stayed behind. Find it with
    ///   [`list_uploads`](crate::ObjectStorageExt::list_uploads).
    pub async fn abort(mut self) -> Result<()> {
        self.finishing = true;
        self.window.borrow_mut().stop();
        poll_fn(|cx| self.window.borrow_mut().poll_end(cx)).await;
        let mut window = self.window.borrow_mut();
        match window.take_end() {
            Some(End::Completed(_)) => {
                let message = "the object has been stored: delete it instead";
                Err(Error::new(ErrorKind::InvalidInput, Operation::AbortMultipartUpload, message)
                    .with_key(&self.key))
            }
            Some(End::Failed { unknown: true, first, operation_id, .. }) => {
                Err(first.unwrap_or_else(|| window::over(&self.key, true, operation_id)))
            }
            Some(End::Failed { left_behind: Some(error), .. }) => Err(error),
            Some(End::Failed { .. }) | None => Ok(()),
        }
    }

    /// The key of the object.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Bytes taken from the caller so far. They are in memory or on their way.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Bytes of parts that the store has acknowledged. They are not visible and **not safe**: without a
    /// successful [`finish`](Self::finish) they disappear.
    #[must_use]
    pub fn uploaded(&self) -> u64 {
        self.window.borrow().uploaded()
    }

    /// Bytes that are stored for good: nothing until [`finish`](Self::finish) has succeeded, then all of them.
    #[must_use]
    pub fn completed(&self) -> u64 {
        match self.window.borrow().end() {
            Some(End::Completed(_)) => self.accepted,
            _ => 0,
        }
    }

    /// The memory that the writer holds now, in bytes: at most `concurrency + 1` times
    /// [`part_size`](Self::part_size).
    #[must_use]
    pub fn held(&self) -> u64 {
        self.cutter.held() + self.window.borrow().held() + self.idle.held()
    }

    /// The size of the part being filled, in bytes.
    #[must_use]
    pub fn part_size(&self) -> u64 {
        self.cutter.part_size()
    }

    /// Accepts bytes, half a part at most. Dropped, it has accepted none.
    async fn write_piece(&mut self, piece: Bytes) -> Result<()> {
        let len = piece.len();
        self.room_for(len, len < COPY_BELOW_BYTES).await?;
        self.cutter.push(piece, &mut self.cut);
        self.accept(len);
        Ok(())
    }

    /// As [`write_piece`](Self::write_piece), by copying.
    async fn copy_piece(&mut self, piece: &[u8]) -> Result<()> {
        self.room_for(piece.len(), true).await?;
        self.copy_now(piece);
        Ok(())
    }

    /// Whether a short write fits the open block, and nothing forbids it: the way that nearly every short write
    /// goes, kept free of everything else.
    fn takes_at_once(&self, len: usize) -> bool {
        let bytes = len as u64;
        len < COPY_BELOW_BYTES
            && bytes <= self.cutter.spare()
            && bytes <= self.object_bytes_max - self.accepted
            && !self.finishing
            && self.window.borrow().is_open()
    }

    fn copy_now(&mut self, bytes: &[u8]) {
        self.cutter.copy(bytes, &mut self.cut);
        self.accept(bytes.len());
    }

    /// The most that is accepted at once, in bytes. With nothing in flight the cutter holds a part and a block
    /// at most; half a part and another block then still fit two parts, the least that a writer may hold. So
    /// room always comes.
    fn piece_bytes_max(&self) -> usize {
        usize::try_from(self.cutter.part_size() / 2).unwrap_or(usize::MAX)
    }

    /// Waits until so many bytes can be accepted. What is copied may go into the room of the open block, which is
    /// paid for already; what is kept as it is needs memory of its own.
    async fn room_for(&mut self, len: usize, copied: bool) -> Result<()> {
        self.admit(len)?;
        let len = len as u64;
        poll_fn(|cx| {
            self.window.borrow_mut().poll_room(cx, &self.key, |held_in_window| {
                if copied && len <= self.cutter.spare() {
                    return true;
                }
                let held_max = self.parts_held_max * self.cutter.part_size();
                let wanted = held_in_window + self.cutter.held() + BLOCK_BYTES_MAX;
                if wanted + len > held_max {
                    return false;
                }
                // What is copied fills idle blocks first, and takes fresh memory beside them only for the end of a
                // part that has no room for a whole block.
                let beside_idle = if copied { wanted } else { wanted + len };
                self.idle.keep_at_most(held_max - beside_idle);
                true
            })
        })
        .await
    }

    /// Counts what the cutter took, and hands on what it cut.
    fn accept(&mut self, len: usize) {
        self.accepted += len as u64;
        if !self.cut.is_empty() {
            self.window.borrow_mut().send(self.cut.drain(..));
        }
    }

    /// Refuses bytes that can never become part of the object.
    fn admit(&self, len: usize) -> Result<()> {
        self.check()?;
        let message = if self.finishing {
            "the writer was finished: nothing can be added"
        } else if len as u64 > self.object_bytes_max - self.accepted {
            "the object would exceed 5 TiB, or 10,000 parts of the expected size"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidInput, Operation::UploadPart, message).with_key(&self.key))
    }

    /// The failure of the upload, if it has failed.
    fn check(&self) -> Result<()> {
        let mut window = self.window.borrow_mut();
        if window.has_failed() { Err(window.failure(&self.key)) } else { Ok(()) }
    }
}

impl Drop for BufferedMultipartWriter {
    /// Only tells the uploader; what is to be done then is its work.
    fn drop(&mut self) {
        self.window.borrow_mut().drop_writer();
    }
}

impl fmt::Debug for BufferedMultipartWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedMultipartWriter")
            .field("key", &self.key)
            .field("accepted", &self.accepted())
            .field("uploaded", &self.uploaded())
            .field("completed", &self.completed())
            .finish_non_exhaustive()
    }
}
