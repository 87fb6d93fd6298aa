//! [`Upload`]: one upload as its handle and the reaper share it.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;

use futures_util::future::poll_fn;
use object_storage::{Error, ErrorKind, Key, Result, UploadId};

use super::completing::Completions;
use crate::driver::Driver;
use crate::protocol::operations::{AbortMultipartUpload, ListParts};
use crate::wakers::Wakers;

#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) driver: Rc<Driver>,
    pub(crate) key: Key,
    pub(crate) id: UploadId,
    stage: Cell<Stage>,
    pub(super) completions: Cell<Completions>,
    parts_under_way: Cell<u32>,
    /// A part was given up, or not answered: it may land after an abort.
    is_unsettled: Cell<bool>,
    /// The reaper, when it waits for parts to end.
    waiting: Wakers,
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
            completions: Cell::new(Completions::new()),
            parts_under_way: Cell::new(0),
            is_unsettled: Cell::new(false),
            waiting: Wakers::default(),
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
        let place = self.waiting.place();
        poll_fn(|cx| {
            if self.parts_under_way.get() == 0 {
                return Poll::Ready(());
            }
            place.wait(cx.waker());
            Poll::Pending
        })
        .await;
    }

    pub(super) async fn abort(&self) -> Result<()> {
        let abort = AbortMultipartUpload { key: &self.key, upload_id: &self.id };
        match self.driver.clear_away(&abort).await {
            // Its uploads went with it.
            Err(error) if error.answer().is_some_and(|answer| answer.code == "NoSuchBucket") => Ok(()),
            ended => ended,
        }
    }

    /// What is left of the upload, once its abort was answered. Where that cannot be found out, the store's word for
    /// the abort is taken.
    pub(super) async fn left(&self) -> Left {
        let list = ListParts { key: &self.key, upload_id: &self.id, page: None, parts_max: 1 };
        match self.driver.clear_away(&list).await {
            Ok(listed) if listed.page.parts.is_empty() && listed.page.next.is_none() => Left::NoParts,
            Ok(_) => Left::Parts,
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::Unsupported => Left::Nothing,
                _ => Left::Unknown,
            },
        }
    }
}

/// What a look at an aborted upload has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// The store does not know it any more.
    Nothing,
    /// A listing without parts: what some stores say of an upload that is gone, and every store of one that is empty.
    NoParts,
    Parts,
    Unknown,
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
        if upload.parts_under_way.get() == 0 {
            upload.waiting.wake_all();
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
