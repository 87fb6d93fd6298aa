//! [`Admission`]: which operations a store still begins, and how many are under way, so that it can be shut down.

use std::cell::Cell;
use std::task::{Context, Poll};

use object_storage::{Error, ErrorKind, Operation, Result};

use crate::wakers::{Place, Wakers};

/// What one store has under way.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    phase: Cell<Phase>,
    under_way: Cell<usize>,
    /// The shutdowns that wait for the last of them.
    waiting: Wakers,
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

    /// For one who waits until nothing is under way.
    pub(crate) fn place(&self) -> Place<'_> {
        self.waiting.place()
    }

    /// Ready when nothing is under way. Who has `place` is woken then.
    pub(crate) fn poll_idle(&self, place: &Place<'_>, cx: &mut Context<'_>) -> Poll<()> {
        if self.under_way.get() == 0 {
            return Poll::Ready(());
        }
        place.wait(cx.waker());
        Poll::Pending
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        let left = self.0.under_way.get() - 1;
        self.0.under_way.set(left);
        if left == 0 && self.0.phase.get() != Phase::Open {
            self.0.waiting.wake_all();
        }
    }
}
