//! [`Trouble`]: what a faulty store and the handles of its uploads share, and what becomes of a call.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures_util::future::LocalBoxFuture;

use crate::error::{Answer, Error, ErrorKind, Operation, Result};
use crate::key::Key;
use crate::operation_id::OperationId;
use crate::storage::MultipartUpload;

use super::faults::{Call, Decision, Fault, Faults};
use super::injected::Injected;

/// The most faults that are remembered, the latest: a test of a million calls at 1 % has as many, and they take some
/// hundred bytes each.
const INJECTED_MAX: usize = 10_000;

/// The most that are shown.
const SHOWN_MAX: usize = 50;

pub(super) struct Trouble {
    pub(super) faults: Faults,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    calls: u64,
    calls_of: HashMap<Operation, u64>,
    injected: VecDeque<Injected>,
    /// Writes that were sent and have not arrived, with the number of the call that they arrive before.
    late: Vec<(u64, LocalBoxFuture<'static, ()>)>,
    calm: bool,
    unreachable: bool,
    crashed: bool,
    /// How often the process has died: what belongs to an earlier life goes on for ever.
    crashes: u64,
    crash_watchers: Vec<Waker>,
    is_shut_down: bool,
    /// Calls that have begun and not reached the store.
    approaching: usize,
    /// How often it was left open whether there is an upload.
    uploads_in_doubt: usize,
    /// Handles that must not be dropped, because that would abort their uploads, and nobody is there who would: one each
    /// for an upload whose completion got lost, or whose process died.
    kept: Vec<Rc<dyn MultipartUpload>>,
}

impl Trouble {
    pub(super) fn new(faults: Faults) -> Trouble {
        Trouble { faults, state: RefCell::default() }
    }

    /// Begins a call: counts it, decides what happens to it, and lets arrive what is due.
    pub(super) async fn begin(&self, call: Call, key: Option<&Key>) -> Turn<'_> {
        if self.state.borrow().crashed {
            // Nobody is there any more who would call.
            pending::<()>().await;
        }
        let (turn, arriving) = {
            let mut state = self.state.borrow_mut();
            state.calls += 1;
            let number = state.calls;
            let nth = state.calls_of.entry(call.operation).or_default();
            *nth += 1;
            let nth = *nth;
            let mut decision = self.faults.decide(call, number, nth);
            if state.calm {
                decision.fault = None;
            }
            if state.unreachable {
                decision.fault = Some(Fault::Unavailable);
            }
            // What a shutdown leaves to be done can go wrong still.
            let clears_away =
                matches!(call.operation, Operation::AbortMultipartUpload | Operation::ListParts);
            let is_shut_out = state.is_shut_down && !clears_away;
            if is_shut_out {
                decision.fault = None;
            }
            let (operation, key, life) = (call.operation, key.cloned(), state.crashes);
            let turn = Turn { trouble: self, operation, key, number, nth, life, is_shut_out, decision };
            (turn, take_due(&mut state.late, number))
        };
        let _approaching = Approaching::new(self);
        for write in arriving {
            write.await;
        }
        if turn.decision.fault == Some(Fault::Slow) {
            turn.log();
            yield_times(turn.decision.slow_polls[0]).await;
        }
        if turn.decision.fault == Some(Fault::CrashBefore) {
            turn.crash();
        }
        turn.stay_alive().await;
        turn
    }

    pub(super) fn injected(&self) -> Vec<Injected> {
        self.state.borrow().injected.iter().cloned().collect()
    }

    pub(super) fn calls(&self) -> u64 {
        self.state.borrow().calls
    }

    pub(super) fn set_unreachable(&self, unreachable: bool) {
        self.state.borrow_mut().unreachable = unreachable;
    }

    /// The process runs again, if it had died. What the dead one had under way never comes back.
    pub(super) fn restart(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let died = std::mem::take(&mut state.crashed);
        if died {
            state.uploads_in_doubt = 0;
        }
        died
    }

    /// Refuses what is new, sees to it that what has begun reaches the store, and what is late too: once the store is
    /// shut down, nothing can.
    pub(super) async fn shut_down(&self) {
        if self.state.borrow().crashed {
            pending::<()>().await;
        }
        self.state.borrow_mut().is_shut_down = true;
        // There is no clock to wait by, and who is dropped or never polled again is not waited for: as many polls as
        // the slowest takes.
        for _ in 0..self.faults.slow_polls_max() {
            if self.state.borrow().approaching == 0 {
                break;
            }
            yield_times(1).await;
        }
        let arriving = take_due(&mut self.state.borrow_mut().late, u64::MAX);
        for write in arriving {
            write.await;
        }
    }

    pub(super) fn uploads_in_doubt(&self) -> usize {
        self.state.borrow().uploads_in_doubt
    }

    pub(super) fn doubt_upload(&self) {
        self.state.borrow_mut().uploads_in_doubt += 1;
    }

    pub(super) fn trust_upload(&self) {
        self.state.borrow_mut().uploads_in_doubt -= 1;
    }

    /// Keeps a handle from being dropped.
    pub(super) fn keep(&self, upload: Rc<dyn MultipartUpload>) {
        self.state.borrow_mut().kept.push(upload);
    }

    /// Which life of the process this is; while it is dead, none that anything belongs to.
    pub(super) fn life(&self) -> u64 {
        self.state.borrow().crashes
    }

    pub(super) async fn settle(&self) {
        let arriving = {
            let mut state = self.state.borrow_mut();
            state.calm = true;
            state.unreachable = false;
            take_due(&mut state.late, u64::MAX)
        };
        for write in arriving {
            write.await;
        }
    }

    pub(super) async fn crashed(&self) {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if state.crashed {
                return Poll::Ready(());
            }
            if !state.crash_watchers.iter().any(|watcher| watcher.will_wake(cx.waker())) {
                state.crash_watchers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may be a panic in here that is reported.
        let Ok(state) = self.state.try_borrow() else { return write!(f, "seed {}", self.faults.seed) };
        let latest = state.injected.len().min(SHOWN_MAX);
        write!(f, "seed {}: {} calls, the latest {latest} faults:", self.faults.seed, state.calls)?;
        let shown = state.injected.iter().skip(state.injected.len() - latest);
        shown.into_iter().try_for_each(|injected| write!(f, "\n  {injected}"))
    }
}

/// Whoever reads why a test failed needs the seed, and hardly ever more than what happened last.
impl Drop for Trouble {
    fn drop(&mut self) {
        #[expect(clippy::print_stderr, reason = "a panic is being reported, and this belongs to it")]
        if std::thread::panicking() {
            eprintln!("{self}");
        }
    }
}

/// Those that arrive before this call, in the order in which they do.
fn take_due(
    late: &mut Vec<(u64, LocalBoxFuture<'static, ()>)>,
    number: u64,
) -> Vec<LocalBoxFuture<'static, ()>> {
    late.sort_by_key(|(due, _)| *due);
    let due = late.partition_point(|(due, _)| *due <= number);
    late.drain(..due).map(|(_, write)| write).collect()
}

async fn yield_times(times: u64) {
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A call that has begun and not reached the store.
struct Approaching<'a>(&'a Trouble);

impl Approaching<'_> {
    fn new(trouble: &Trouble) -> Approaching<'_> {
        trouble.state.borrow_mut().approaching += 1;
        Approaching(trouble)
    }
}

impl Drop for Approaching<'_> {
    fn drop(&mut self) {
        self.0.state.borrow_mut().approaching -= 1;
    }
}

/// A call under way.
pub(super) struct Turn<'a> {
    trouble: &'a Trouble,
    operation: Operation,
    key: Option<Key>,
    /// Among all calls.
    number: u64,
    /// Among those of its operation.
    nth: u64,
    /// The life of the process that it belongs to.
    life: u64,
    /// Whether the store was shut down before.
    is_shut_out: bool,
    pub(super) decision: Decision,
}

impl Turn<'_> {
    /// The answer to a read.
    pub(super) async fn read<T>(&self, read: impl Future<Output = Result<T>>) -> Result<T> {
        if let Some(error) = self.refusal() {
            return Err(error);
        }
        let answer = read.await;
        self.arrive(answer).await
    }

    /// The answer to a write. `id` names it where something can bear its id; `late` is the write once more, to arrive
    /// later, and there if that is what happens to it.
    pub(super) async fn write<T>(
        &self,
        id: Option<OperationId>,
        write: impl Future<Output = Result<T>>,
        late: Option<LocalBoxFuture<'static, ()>>,
    ) -> Result<T> {
        if let Some(error) = self.refusal() {
            return Err(error);
        }
        match self.decision.fault {
            Some(Fault::RequestLost) => Err(self.lost(id)),
            Some(Fault::Late) => {
                self.send(late.expect("whoever can be late brings what arrives then"));
                Err(self.lost(id))
            }
            Some(Fault::AnswerLost) => match write.await {
                Err(error) if is_never_sent(&error) => Err(error),
                _ => self.arrive(Err(self.lost(id))).await,
            },
            _ => {
                let answer = write.await;
                self.arrive(answer).await
            }
        }
    }

    /// The refusal of a call of which nothing was done, if that is what happens.
    pub(super) fn refusal(&self) -> Option<Error> {
        if let Some(error) = self.shut_out() {
            return Some(error);
        }
        self.is_refused().then(|| self.refusal_of(self.key.as_ref(), self.log()))
    }

    /// The refusal of a store that was shut down.
    pub(super) fn shut_out(&self) -> Option<Error> {
        self.is_shut_out.then(|| {
            let error = Error::new(ErrorKind::ShutDown, self.operation, "the store was shut down");
            match &self.key {
                Some(key) => error.with_key(key),
                None => error,
            }
        })
    }

    /// Whether it is refused before anything is done.
    pub(super) fn is_refused(&self) -> bool {
        use Fault::{Conflict, Throttled, Timeout, Unavailable};
        matches!(self.decision.fault, Some(Unavailable | Timeout | Throttled | Conflict))
    }

    /// What is then said of this key.
    pub(super) fn refusal_of(&self, key: Option<&Key>, cause: Injected) -> Error {
        let (kind, message, answer) = match cause.fault {
            Fault::Throttled => (ErrorKind::Throttled, "reduce your request rate", Some((503, "SlowDown"))),
            Fault::Conflict => {
                let answer = (409, "ConditionalRequestConflict");
                (ErrorKind::Conflict, "another write was going on", Some(answer))
            }
            Fault::Timeout => (ErrorKind::Timeout, "no connection within the time allowed", None),
            _ => (ErrorKind::Unavailable, "the store cannot be reached", None),
        };
        let error = self.error(kind, message, key, cause);
        match answer {
            Some((status, code)) => error.with_answer(Answer::new(status, code, "")),
            None => error,
        }
    }

    /// The error of a write of which nobody knows whether it was or will be applied.
    pub(super) fn lost(&self, id: Option<OperationId>) -> Error {
        let error = self.lost_of(self.key.as_ref(), self.log());
        match id {
            Some(id) => error.with_operation_id(id),
            None => error,
        }
    }

    /// What is then said of this key.
    pub(super) fn lost_of(&self, key: Option<&Key>, cause: Injected) -> Error {
        let message = match self.operation {
            Operation::CreateMultipartUpload => "an empty upload may have been left behind",
            _ => "the request was sent and no answer came: it may have been applied, or be so later",
        };
        self.error(ErrorKind::Indeterminate, message, key, cause)
    }

    /// An error about the key of the call, noted down.
    pub(super) fn failure(&self, kind: ErrorKind, message: &str) -> Error {
        self.error(kind, message, self.key.as_ref(), self.log())
    }

    fn error(&self, kind: ErrorKind, message: &str, key: Option<&Key>, cause: Injected) -> Error {
        let error = Error::new(kind, self.operation, message).with_source(cause);
        match key {
            Some(key) => error.with_key(key),
            None => error,
        }
    }

    /// What arrives later, if that is what happens.
    pub(super) fn late(
        &self,
        write: impl FnOnce() -> LocalBoxFuture<'static, ()>,
    ) -> Option<LocalBoxFuture<'static, ()>> {
        (self.decision.fault == Some(Fault::Late)).then(write)
    }

    /// Sends a write that arrives later.
    pub(super) fn send(&self, late: LocalBoxFuture<'static, ()>) {
        let due = self.number.saturating_add(self.decision.late_calls);
        self.trouble.state.borrow_mut().late.push((due, late));
    }

    /// An answer of the store, on the last stretch of its way.
    pub(super) async fn arrive<T>(&self, answer: T) -> T {
        match self.decision.fault {
            Some(Fault::Slow) => yield_times(self.decision.slow_polls[1]).await,
            Some(Fault::CrashAfter) => self.crash(),
            _ => {}
        }
        self.stay_alive().await;
        answer
    }

    fn crash(&self) {
        self.log();
        let watchers = {
            let mut state = self.trouble.state.borrow_mut();
            state.crashed = true;
            state.crashes += 1;
            std::mem::take(&mut state.crash_watchers)
        };
        watchers.into_iter().for_each(Waker::wake);
    }

    /// Does not come back in a process that has died.
    async fn stay_alive(&self) {
        let alive = {
            let state = self.trouble.state.borrow();
            self.life == state.crashes
        };
        if !alive {
            pending::<()>().await;
        }
    }

    /// Notes down that it happened.
    pub(super) fn log(&self) -> Injected {
        let injected = Injected {
            seed: self.trouble.faults.seed,
            operation: self.operation,
            nth: self.nth,
            key: self.key.as_ref().map(|key| key.as_str().to_owned()),
            fault: self.decision.fault.expect("something happened"),
        };
        let mut state = self.trouble.state.borrow_mut();
        if state.injected.len() == INJECTED_MAX {
            state.injected.pop_front();
        }
        state.injected.push_back(injected.clone());
        injected
    }
}

/// Whether a store refuses so without asking a server.
pub(super) fn is_never_sent(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::ShutDown)
}
