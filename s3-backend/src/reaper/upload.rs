//! [`Upload`]: one upload as its handle and the reaper share it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures_util::future::poll_fn;
use object_storage::{Error, ErrorKind, Key, Result, UploadId};

use crate::driver::Driver;
use crate::protocol::operations::{AbortMultipartUpload, ListParts};

#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) driver: Rc<Driver>,
    pub(crate) key: Key,
    pub(crate) id: UploadId,
    stage: Cell<Stage>,
    parts_under_way: Cell<u32>,
    /// A part was given up, or not answered: it may land after an abort.
    is_unsettled: Cell<bool>,
    /// The reaper, when it waits for parts to end.
    waiting: RefCell<Option<Waker>>,
}

/// Who sees to the end of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its caller, or whoever the caller tells the id.
    Free,
    /// The reaper, when the handle is dropped.
    Tied,
    /// The reaper.
    Left,
    /// It is being joined, and is not aborted.
    Completing,
    /// It may have been joined: nobody may abort it.
    InDoubt,
    /// There is nothing left of it.
    Over,
}

/// A part under way; dropped without a word it may still land.
pub(crate) struct SendingPart<'a> {
    upload: &'a Upload,
    is_settled: bool,
}

impl Upload {
    pub(crate) fn new(driver: Rc<Driver>, key: Key, id: UploadId) -> Rc<Upload> {
        Rc::new(Upload {
            driver,
            key,
            id,
            stage: Cell::new(Stage::Free),
            parts_under_way: Cell::new(0),
            is_unsettled: Cell::new(false),
            waiting: RefCell::default(),
        })
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Returns the stage before.
    pub(crate) fn enter(&self, stage: Stage) -> Stage {
        self.stage.replace(stage)
    }

    pub(crate) fn sending_part(&self) -> SendingPart<'_> {
        self.parts_under_way.set(self.parts_under_way.get() + 1);
        SendingPart { upload: self, is_settled: false }
    }

    /// Whether no part can land any more that was sent so far.
    pub(crate) fn is_settled(&self) -> bool {
        !self.is_unsettled.get() && self.parts_under_way.get() == 0
    }

    /// Waits until no part is under way.
    pub(super) async fn parts_ended(&self) {
        poll_fn(|cx| {
            if self.parts_under_way.get() == 0 {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(super) async fn abort(&self) -> Result<()> {
        self.driver.clear_away(&AbortMultipartUpload { key: &self.key, upload_id: &self.id }).await
    }

    /// Whether the store knows the upload no more. Where that cannot be found out, its word for the abort is taken.
    pub(super) async fn is_gone(&self) -> bool {
        let list = ListParts { key: &self.key, upload_id: &self.id, page: None, parts_max: 1 };
        match self.driver.clear_away(&list).await {
            Ok(_) => false,
            Err(error) => {
                matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::Unsupported
                )
            }
        }
    }
}

impl SendingPart<'_> {
    /// It was answered.
    pub(crate) fn settled(mut self) {
        self.is_settled = true;
    }
}

impl Drop for SendingPart<'_> {
    fn drop(&mut self) {
        let upload = self.upload;
        upload.parts_under_way.set(upload.parts_under_way.get() - 1);
        if !self.is_settled {
            upload.is_unsettled.set(true);
        }
        if upload.parts_under_way.get() == 0
            && let Some(waker) = upload.waiting.take()
        {
            waker.wake();
        }
    }
}

/// Whether another attempt, minutes later, would be refused as this one was.
pub(super) fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::InvalidInput | ErrorKind::Config
    )
}
