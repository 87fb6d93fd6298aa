//! [`Creating`]: the creation of an upload, whose answer somebody must hear.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;
use object_storage::{Key, Result};

use super::Shared;
use crate::driver::Driver;
use crate::protocol::operations::Begun;

/// A request that begins an upload, with all its attempts.
pub(crate) struct Creation {
    pub(crate) driver: Rc<Driver>,
    pub(crate) key: Key,
    pub(crate) request: LocalBoxFuture<'static, Result<Begun>>,
}

/// Waits for a creation. Dropped once that has begun, it leaves it to the reaper: the id without which the upload
/// cannot be aborted is in the answer.
pub(crate) struct Creating {
    shared: Rc<Shared>,
    /// `None` when it was answered.
    creation: Option<Creation>,
    has_begun: bool,
}

impl Creating {
    pub(super) fn new(shared: Rc<Shared>, creation: Creation) -> Creating {
        Creating { shared, creation: Some(creation), has_begun: false }
    }
}

impl Future for Creating {
    type Output = Result<Begun>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Begun>> {
        self.has_begun = true;
        let creation = self.creation.as_mut().expect("not polled again after it was answered");
        let ended = creation.request.as_mut().poll(cx);
        if ended.is_ready() {
            self.creation = None;
        }
        ended
    }
}

impl Drop for Creating {
    fn drop(&mut self) {
        let Some(creation) = self.creation.take().filter(|_| self.has_begun) else { return };
        let mut state = self.shared.state.borrow_mut();
        if !state.has_task {
            // Its runtime has ended, or the store was shut down: nobody will hear the answer.
            state.in_doubt += 1;
            drop(state);
            return drop(creation);
        }
        state.creations.push_back(creation);
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// The task waits for a creation. Dropped before that was answered there may be an upload whose id nobody knows.
pub(super) struct Carrying {
    shared: Rc<Shared>,
    is_answered: bool,
}

impl Carrying {
    pub(super) fn new(shared: Rc<Shared>) -> Carrying {
        shared.state.borrow_mut().creations_active += 1;
        Carrying { shared, is_answered: false }
    }

    pub(super) fn answered(mut self) -> Rc<Shared> {
        self.is_answered = true;
        Rc::clone(&self.shared)
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        let mut state = self.shared.state.borrow_mut();
        state.creations_active -= 1;
        state.in_doubt += usize::from(!self.is_answered);
    }
}
