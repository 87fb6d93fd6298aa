//! [`Window`]: what the writer and its uploader share. The writer puts parts and orders in, the uploader takes
//! them out and says how it went; each wakes the other.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::Key;
use crate::object::PutOutcome;
use crate::operation_id::OperationId;

use super::blocks::Blocks;
use super::cutter::{CutPart, Rest};

#[derive(Default)]
pub(super) struct Window {
    /// Cut and not yet sent, in order.
    queue: VecDeque<CutPart>,
    /// The whole object, when it fits into one put.
    whole: Option<CutPart>,
    order: Order,
    /// Nobody waits for the end.
    is_dropped: bool,
    /// A failed upload is being cleaned up: nothing more is taken, and the error is told when that is over.
    giving_up: bool,
    end: Option<End>,
    /// Memory of the parts that are queued or being sent, in bytes.
    held: u64,
    /// Blocks of parts that are uploaded, while more parts may come.
    idle: Blocks,
    /// Bytes that the store has acknowledged.
    uploaded: u64,
    writer: Option<Waker>,
    uploader: Option<Waker>,
}

/// What the writer wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    /// Upload what comes.
    #[default]
    Upload,
    /// Nothing more comes: complete.
    Finish,
    /// Give up.
    Stop,
}

/// How it ended.
pub(super) enum End {
    /// The object is stored.
    Completed(PutOutcome),
    /// The object is not stored, or nobody knows.
    Failed {
        /// Told once, to the first who asks.
        first: Option<Error>,
        /// The last request, put or complete, was sent and its outcome is not known.
        unknown: bool,
        /// The write that is open then.
        operation_id: Option<OperationId>,
        /// Why the upload could not be aborted.
        left_behind: Option<Error>,
    },
}

impl End {
    /// Not stored, for this reason; `left_behind` if the upload could not be aborted.
    pub(super) fn failed(first: Option<Error>, left_behind: Option<Error>) -> End {
        End::Failed { first, unknown: false, operation_id: None, left_behind }
    }

    /// Stored or not.
    pub(super) fn unknown(error: Error) -> End {
        let operation_id = error.operation_id();
        End::Failed { first: Some(error), unknown: true, operation_id, left_behind: None }
    }
}

/// What the uploader does first.
pub(super) enum First {
    /// Store the whole object by one put.
    Put(CutPart),
    /// Begin a multipart upload.
    Create,
    /// Nothing.
    Stop,
}

/// The side of the writer.
impl Window {
    /// `idle`: where the blocks of uploaded parts go.
    pub(super) fn new(idle: Blocks) -> Window {
        Window { idle, ..Window::default() }
    }

    /// Adds parts to be sent.
    pub(super) fn send(&mut self, parts: impl IntoIterator<Item = CutPart>) {
        for part in parts {
            self.held += part.held;
            self.queue.push_back(part);
        }
        wake(&mut self.uploader);
    }

    /// Says that nothing more comes.
    pub(super) fn finish(&mut self, rest: Rest) {
        if self.giving_up || self.end.is_some() {
            return;
        }
        self.order = Order::Finish;
        self.idle.keep_at_most(0);
        match rest {
            Rest::Whole(part) => {
                self.held += part.held;
                self.whole = Some(part);
            }
            Rest::Last(part) => self.send([part]),
            Rest::Nothing => {}
        }
        wake(&mut self.uploader);
    }

    /// Says that the object is not wanted any more, and frees what was not sent.
    pub(super) fn stop(&mut self) {
        self.order = Order::Stop;
        self.drop_queue();
        wake(&mut self.uploader);
    }

    /// Says that nobody is there any more to hear how it ended.
    pub(super) fn drop_writer(&mut self) {
        self.is_dropped = true;
        self.stop();
    }

    /// Ready when `fits` says so of the bytes held here, or when that will never be: then with the error.
    pub(super) fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
        key: &Key,
        fits: impl FnOnce(u64) -> bool,
    ) -> Poll<Result<()>> {
        if self.end.is_some() {
            return Poll::Ready(Err(self.failure(key)));
        }
        if !self.giving_up && fits(self.held) {
            return Poll::Ready(Ok(()));
        }
        register(&mut self.writer, cx);
        Poll::Pending
    }

    /// Ready when everything is over.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.end.is_some() {
            return Poll::Ready(());
        }
        register(&mut self.writer, cx);
        Poll::Pending
    }

    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    pub(super) fn take_end(&mut self) -> Option<End> {
        self.end.take()
    }

    /// Whether nothing has failed so far.
    pub(super) fn is_open(&self) -> bool {
        !self.giving_up && self.end.is_none()
    }

    /// Whether the upload has failed, and was cleaned up.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.end, Some(End::Failed { .. }))
    }

    pub(super) fn held(&self) -> u64 {
        self.held
    }

    pub(super) fn uploaded(&self) -> u64 {
        self.uploaded
    }

    /// The error of an upload that has ended and is not completed: the first time its cause, later that it is
    /// over.
    pub(super) fn failure(&mut self, key: &Key) -> Error {
        match &mut self.end {
            Some(End::Failed { first, unknown, operation_id, .. }) => {
                first.take().unwrap_or_else(|| over(key, *unknown, *operation_id))
            }
            _ => over(key, false, None),
        }
    }
}

/// The side of the uploader.
impl Window {
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<First> {
        if self.order == Order::Stop {
            return Poll::Ready(First::Stop);
        }
        if let Some(part) = self.whole.take() {
            return Poll::Ready(First::Put(part));
        }
        if !self.queue.is_empty() {
            return Poll::Ready(First::Create);
        }
        register(&mut self.uploader, cx);
        Poll::Pending
    }

    pub(super) fn next_part(&mut self) -> Option<CutPart> {
        self.queue.pop_front()
    }

    /// Whether no further part will ever come.
    pub(super) fn is_drained(&self) -> bool {
        self.order == Order::Finish && self.queue.is_empty()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.order == Order::Stop
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.is_dropped
    }

    /// Ready when the writer wants it to stop.
    pub(super) fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_stopped() {
            return Poll::Ready(());
        }
        self.register_uploader(cx);
        Poll::Pending
    }

    pub(super) fn register_uploader(&mut self, cx: &mut Context<'_>) {
        register(&mut self.uploader, cx);
    }

    /// The store has these bytes; their memory is free. These blocks of it are used again if more comes.
    pub(super) fn uploaded_part(&mut self, bytes: u64, held: u64, blocks: Vec<BytesMut>) {
        self.uploaded += bytes;
        self.held -= held;
        if self.order == Order::Upload {
            self.idle.give_back(blocks, self.held == 0);
        }
        wake(&mut self.writer);
    }

    /// Nothing more is sent. The writer is told when [`close`](Window::close) comes.
    pub(super) fn give_up(&mut self) {
        self.giving_up = true;
        self.drop_queue();
        self.held = 0;
    }

    /// Says how it ended. Only the first end counts.
    pub(super) fn close(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
            self.drop_queue();
            self.held = 0;
        }
        wake(&mut self.writer);
    }

    /// Nothing of it is sent any more, and nothing more comes.
    fn drop_queue(&mut self) {
        self.idle.keep_at_most(0);
        for part in self.queue.drain(..).chain(self.whole.take()) {
            self.held = self.held.saturating_sub(part.held);
        }
    }
}

pub(super) fn over(key: &Key, unknown: bool, operation_id: Option<OperationId>) -> Error {
    let (kind, message) = if unknown {
        (ErrorKind::Indeterminate, "the writer has ended, and whether the object is stored is not known")
    } else {
        (ErrorKind::Aborted, "the writer has given up: begin a new one")
    };
    let error = Error::new(kind, Operation::CompleteMultipartUpload, message).with_key(key);
    match operation_id {
        Some(id) => error.with_operation_id(id),
        None => error,
    }
}

fn register(waker: &mut Option<Waker>, cx: &mut Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
