//! [`Operations`]: what a store has under way, and which uploads it is to abort, so that it can be shut down.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use crate::error::{ErrorKind, Operation, Result};
use crate::key::Key;
use crate::storage::{ShutdownReport, UploadId, UploadInfo};

use super::failure::Task;

/// The operations of one store. Cloning it gives another handle to the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Operations(Arc<Mutex<State>>);

// A lock, because an operation ends on the thread of its last closure, which goes on when its future is dropped.
#[derive(Debug, Default)]
struct State {
    phase: Phase,
    under_way: usize,
    /// How many calls of shutdown wait.
    shutdowns: usize,
    /// Uploads that nobody but the holder of a handle, or whoever dropped one, knows of.
    tied: BTreeMap<UploadId, Key>,
    /// How many of them were aborted since the shutdown began.
    aborted: usize,
    waiting: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Only what clears away is begun.
    ShuttingDown,
    ShutDown,
}

/// An operation under way, until the last clone of this is dropped: by its future, or by its closure.
#[derive(Clone, Debug)]
pub(super) struct UnderWay {
    _counted: Arc<Counted>,
}

#[derive(Debug)]
struct Counted(Operations);

impl Drop for Counted {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.under_way -= 1;
        let waiting = if state.under_way == 0 { std::mem::take(&mut state.waiting) } else { Vec::new() };
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// A shutdown that waits, until this is dropped.
#[derive(Debug)]
pub(super) struct ShuttingDown(Operations);

impl Drop for ShuttingDown {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.shutdowns -= 1;
        if state.shutdowns == 0 {
            state.phase = Phase::ShutDown;
        }
    }
}

impl Operations {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }

    /// Begins an operation, unless the store is shut down.
    pub(super) fn begin(&self, task: &Task) -> Result<UnderWay> {
        let clears_away = matches!(task.operation, Operation::AbortMultipartUpload | Operation::ListParts);
        let mut state = self.lock();
        match state.phase {
            Phase::Open => {}
            Phase::ShuttingDown if clears_away => {}
            _ => {
                drop(state);
                return Err(task.error(ErrorKind::ShutDown, "the store was shut down"));
            }
        }
        state.under_way += 1;
        Ok(UnderWay { _counted: Arc::new(Counted(self.clone())) })
    }

    /// From now on only what clears away is begun; nothing at all once the last of what this gives is dropped.
    pub(super) fn begin_shutdown(&self) -> ShuttingDown {
        let mut state = self.lock();
        state.phase = Phase::ShuttingDown;
        if state.shutdowns == 0 {
            state.aborted = 0;
        }
        state.shutdowns += 1;
        ShuttingDown(self.clone())
    }

    /// What was done since the shutdown began, and what is left.
    pub(super) fn report(&self) -> ShutdownReport {
        let state = self.lock();
        let left = state.tied.iter().map(|(id, key)| UploadInfo::new(key.clone(), id.clone(), None));
        let mut uploads_left: Vec<_> = left.collect();
        uploads_left.sort_by(|one, next| (&one.key, &one.upload_id).cmp(&(&next.key, &next.upload_id)));
        ShutdownReport {
            operations_unfinished: state.under_way,
            uploads_aborted: state.aborted,
            uploads_left,
            ..ShutdownReport::default()
        }
    }

    /// Waits until nothing is under way.
    pub(super) async fn ended(&self) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.under_way == 0 {
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Remembers an upload that is to be aborted at the latest when the store is shut down.
    pub(super) fn tie(&self, key: &Key, id: &UploadId) {
        self.lock().tied.insert(id.clone(), key.clone());
    }

    /// The upload may not be aborted any more, as it is being completed. Says whether it was tied.
    pub(super) fn untie(&self, id: &UploadId) -> bool {
        self.lock().tied.remove(id).is_some()
    }

    /// The upload is gone.
    pub(super) fn aborted(&self, id: &UploadId) {
        let mut state = self.lock();
        if state.tied.remove(id).is_some() {
            state.aborted += 1;
        }
    }

    pub(super) fn tied(&self) -> BTreeMap<UploadId, Key> {
        self.lock().tied.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_shutdowns_the_one_that_ends_first_does_not_keep_the_other_from_clearing_away() {
        let operations = Operations::default();
        let begin =
            |operation| operations.begin(&Task::new(operation)).map(drop).map_err(|error| error.kind());
        let (first, second) = (operations.begin_shutdown(), operations.begin_shutdown());
        assert_eq!(begin(Operation::PutObject), Err(ErrorKind::ShutDown));
        drop(first);
        assert_eq!(begin(Operation::AbortMultipartUpload), Ok(()));
        drop(second);
        assert_eq!(begin(Operation::AbortMultipartUpload), Err(ErrorKind::ShutDown));
        // What was left can be tried once more.
        let _third = operations.begin_shutdown();
        assert_eq!(begin(Operation::AbortMultipartUpload), Ok(()));
    }
}
