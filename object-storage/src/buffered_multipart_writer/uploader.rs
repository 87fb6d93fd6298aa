//! [`Uploader`]: the task that sends what the writer has cut. It outlives a dropped writer by as much as it takes
//! to clean up, so that dropping needs neither a spawn nor a request.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use crate::attributes::Attributes;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::Key;
use crate::operation_id::OperationId;
use crate::options::{CompleteOptions, MultipartOptions, PutMode, PutOptions};
use crate::storage::{MultipartUpload, ObjectStorage, Part};

use super::clean_up::clean_up;
use super::cutter::CutPart;
use super::window::{End, First, Window};

pub(super) struct Uploader {
    pub(super) storage: Rc<dyn ObjectStorage>,
    pub(super) key: Key,
    pub(super) concurrency: usize,
    pub(super) mode: PutMode,
    pub(super) attributes: Attributes,
    pub(super) operation_id: Option<OperationId>,
    pub(super) write_once: bool,
    pub(super) window: Rc<RefCell<Window>>,
    /// The request that makes the object visible, put or complete, may have reached the store.
    pub(super) last_request_sent: Cell<bool>,
}

/// A part that the store has.
struct Sent {
    part: Part,
    held: u64,
    blocks: Vec<BytesMut>,
}

/// What happens next while parts are sent.
enum Step {
    Send(CutPart),
    Ended(Result<Sent>),
    AllSent,
    Stop,
}

/// Why no further parts are sent.
struct GaveUp {
    /// `None` when the writer wanted it so.
    error: Option<Error>,
    /// A part may still land after an abort.
    unsettled: bool,
}

impl Uploader {
    /// Uploads, and says in the window how it ended.
    pub(super) async fn run(self) {
        let end = match poll_fn(|cx| self.window.borrow_mut().poll_first(cx)).await {
            First::Put(whole) => self.put(whole).await,
            First::Create => self.multipart().await,
            First::Stop => End::failed(None, None),
        };
        self.window.borrow_mut().close(end);
    }

    /// One put, cancelled when the writer is not there any more to see its outcome.
    async fn put(&self, whole: CutPart) -> End {
        let bytes = whole.payload.len();
        let mut options = PutOptions::from(self.mode.clone()).with_attributes(self.attributes.clone());
        options.operation_id = self.operation_id;
        options.write_once = self.write_once;
        self.last_request_sent.set(true);
        let put = pin!(guarded(Operation::PutObject, &self.key, async {
            self.storage.put(&self.key, whole.payload, options).await
        }));
        let stopped = pin!(poll_fn(|cx| self.window.borrow_mut().poll_stopped(cx)));
        match select(put, stopped).await {
            Either::Left((Ok(outcome), _)) => {
                self.window.borrow_mut().uploaded_part(bytes, whole.held, whole.blocks);
                End::Completed(outcome)
            }
            Either::Left((Err(error), _)) if error.is_indeterminate() => self.unknown(error),
            Either::Left((Err(error), _)) => End::failed(Some(error), None),
            Either::Right(_) => self.unknown(self.error(
                ErrorKind::Indeterminate,
                Operation::PutObject,
                "the put was given up before its answer came",
            )),
        }
    }

    async fn multipart(&self) -> End {
        if let Err(error) = self.check_capabilities() {
            return End::failed(Some(error), None);
        }
        let mut options = MultipartOptions::default().with_attributes(self.attributes.clone());
        options.operation_id = self.operation_id;
        // Not cancelled when the writer stops: the answer holds the id without which nothing can be aborted.
        let created = guarded(Operation::CreateMultipartUpload, &self.key, async {
            self.storage.create_multipart_upload(&self.key, options).await
        });
        let upload = match created.await {
            Ok(upload) => upload,
            Err(error) => return End::failed(Some(self.definite(error)), None),
        };
        let aborted_by_store = upload.abort_on_drop();
        match self.send_parts(&*upload).await {
            Ok(parts) => self.complete(&*upload, &parts).await,
            // Dropping the handle is all there is to do: the store goes on where this task might end too early.
            Err(gave_up) if aborted_by_store && self.window.borrow().is_dropped() => {
                End::failed(gave_up.error, None)
            }
            Err(gave_up) => {
                self.window.borrow_mut().give_up();
                let left_behind = clean_up(&*upload, gave_up.unsettled).await.err();
                End::failed(gave_up.error, left_behind)
            }
        }
    }

    /// Before 5 TiB are uploaded, not after.
    fn check_capabilities(&self) -> Result<()> {
        let can = self.storage.capabilities();
        let honoured = match self.mode {
            PutMode::Overwrite => true,
            PutMode::Create => can.complete_create,
            PutMode::Match(_) => can.complete_match,
        };
        if honoured {
            return Ok(());
        }
        Err(self.error(
            ErrorKind::Unsupported,
            Operation::CompleteMultipartUpload,
            "this store does not honour the condition on completing a multipart upload",
        ))
    }

    /// Sends parts until the writer has no more. The parts come back by number.
    async fn send_parts(&self, upload: &dyn MultipartUpload) -> Result<Vec<Part>, GaveUp> {
        let mut sent: Vec<Part> = Vec::new();
        let mut in_flight = FuturesUnordered::new();
        loop {
            match poll_fn(|cx| self.poll_step(cx, &mut in_flight)).await {
                Step::Send(part) => in_flight.push(send_part(upload, part)),
                Step::Ended(Ok(Sent { part, held, blocks })) => {
                    self.window.borrow_mut().uploaded_part(part.size, held, blocks);
                    sent.push(part);
                }
                Step::Ended(Err(error)) => {
                    return Err(GaveUp { error: Some(self.definite(error)), unsettled: true });
                }
                Step::AllSent => {
                    sent.sort_unstable_by_key(|part| part.number);
                    return Ok(sent);
                }
                Step::Stop => return Err(GaveUp { error: None, unsettled: !in_flight.is_empty() }),
            }
        }
    }

    fn poll_step(
        &self,
        cx: &mut Context<'_>,
        in_flight: &mut FuturesUnordered<impl Future<Output = Result<Sent>>>,
    ) -> Poll<Step> {
        if self.window.borrow().is_stopped() {
            return Poll::Ready(Step::Stop);
        }
        if in_flight.len() < self.concurrency
            && let Some(part) = self.window.borrow_mut().next_part()
        {
            return Poll::Ready(Step::Send(part));
        }
        if let Poll::Ready(Some(ended)) = in_flight.poll_next_unpin(cx) {
            return Poll::Ready(Step::Ended(ended));
        }
        let mut window = self.window.borrow_mut();
        if in_flight.is_empty() && window.is_drained() {
            return Poll::Ready(Step::AllSent);
        }
        window.register_uploader(cx);
        Poll::Pending
    }

    /// Carried to its end even when the writer is dropped: cut short it could leave parts behind which nobody
    /// may abort, because the object may have been made of them.
    async fn complete(&self, upload: &dyn MultipartUpload, parts: &[Part]) -> End {
        let mut options = CompleteOptions::from(self.mode.clone());
        options.write_once = self.write_once;
        self.last_request_sent.set(true);
        let completed = guarded(Operation::CompleteMultipartUpload, &self.key, async {
            upload.complete(parts, options).await
        });
        match completed.await {
            Ok(outcome) => End::Completed(outcome),
            Err(error) if error.is_indeterminate() => self.unknown(error),
            Err(error) => {
                self.window.borrow_mut().give_up();
                let left_behind = clean_up(upload, false).await.err();
                End::failed(Some(error), left_behind)
            }
        }
    }

    /// A part, or an upload, of which nothing is known is still an object that is not there: it becomes visible
    /// by completing alone.
    fn definite(&self, error: Error) -> Error {
        if !error.is_indeterminate() {
            return error;
        }
        self.error(ErrorKind::Aborted, error.operation(), "the upload was given up, nothing is stored")
            .with_source(error)
    }

    /// Stored or not. What failed on its way to the store, or ended with its runtime, does not know the id.
    fn unknown(&self, error: Error) -> End {
        End::unknown(match self.operation_id {
            Some(id) => error.with_operation_id(id),
            None => error,
        })
    }

    fn error(&self, kind: ErrorKind, operation: Operation, message: &str) -> Error {
        Error::new(kind, operation, message).with_key(&self.key)
    }
}

impl Drop for Uploader {
    /// Reached without an end when the runtime is dropped: whoever waits must not wait for ever.
    fn drop(&mut self) {
        if self.window.borrow().end().is_some() {
            return;
        }
        let lost = |kind, operation| self.error(kind, operation, "the runtime of the writer was dropped");
        let end = if self.last_request_sent.get() {
            self.unknown(lost(ErrorKind::Indeterminate, Operation::CompleteMultipartUpload))
        } else {
            End::failed(
                Some(lost(ErrorKind::Aborted, Operation::UploadPart)),
                Some(lost(ErrorKind::Unavailable, Operation::AbortMultipartUpload)),
            )
        };
        self.window.borrow_mut().close(end);
    }
}

async fn send_part(upload: &dyn MultipartUpload, part: CutPart) -> Result<Sent> {
    let CutPart { number, payload, held, blocks } = part;
    let size = payload.len();
    let stored =
        guarded(Operation::UploadPart, upload.key(), async { upload.upload_part(number, payload).await });
    // Number and size are ours; of what the store says only the tag is needed.
    let etag = stored.await?.etag;
    Ok(Sent { part: Part::new(number, etag, size), held, blocks })
}

/// Turns a panic of the store into an error, so that it ends this writer and not the clean-up after it. What the
/// store did before it panicked is unknown.
pub(super) async fn guarded<T>(
    operation: Operation,
    key: &Key,
    request: impl Future<Output = Result<T>>,
) -> Result<T> {
    AssertUnwindSafe(request).catch_unwind().await.unwrap_or_else(|panic| {
        let message = format!("the store panicked: {}", said(&*panic));
        Err(Error::new(ErrorKind::Indeterminate, operation, message).with_key(key))
    })
}

/// What a panic said, when it said it in words.
fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}
