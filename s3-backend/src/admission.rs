//! [`Admission`]: which operations a store still begins, and how many are under way, so that it can be shut down.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

use object_storage::{Error, ErrorKind, Operation, Result};

/// What one store has under way.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    phase: Cell<Phase>,
    under_way: Cell<usize>,
    /// The shutdown that waits for the last of them.
    waiting: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Open,
    /// Only what clears away is begun.
    ShuttingDown,
    ShutDown,
}

/// An operation under way.
#[derive(Debug)]
pub(crate) struct Admitted<'a>(&'a Admission);

impl Admission {
    /// Begins an operation, unless the store is shut down.
    pub(crate) fn admit(&self, operation: Operation) -> Result<Admitted<'_>> {
        let clears_away = || matches!(operation, Operation::AbortMultipartUpload | Operation::ListParts);
        match self.phase.get() {
            Phase::Open => {}
            Phase::ShuttingDown if clears_away() => {}
            _ => return Err(Error::new(ErrorKind::ShutDown, operation, "the store was shut down")),
        }
        self.under_way.set(self.under_way.get() + 1);
        Ok(Admitted(self))
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.get()
    }

    /// Ready when nothing is under way. One waits at a time; the last that asked is woken.
    pub(crate) fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.under_way.get() == 0 {
            return Poll::Ready(());
        }
        *self.waiting.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let left = self.0.under_way.get() - 1;
        self.0.under_way.set(left);
        if left == 0
            && self.0.phase.get() != Phase::Open
            && let Some(waker) = self.0.waiting.take()
        {
            waker.wake();
        }
    }
}
