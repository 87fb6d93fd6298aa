//! [`Deadlines`]: limits on time for everything a shard has in flight, with one timer for all of them.
//!
//! A timer of the runtime for each limit of each operation costs a tenth of a small operation. Nearly all limits are
//! taken back long before they are reached, so they only stand in a table here, and one task sleeps until the
//! earliest of them that it has seen.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use compio::runtime::JoinHandle;
use futures_util::future::poll_fn;

use crate::clock;
use crate::timer::Timer;

/// The limits of one shard. Cloning it gives another handle to the same table.
#[derive(Clone, Default)]
pub(crate) struct Deadlines(Rc<Table>);

#[derive(Default)]
struct Table {
    entries: RefCell<Entries>,
    /// When the sleeping task wakes; `None`: there is no such task.
    wakes_at: Cell<Option<Instant>>,
    /// Dropping it ends the task.
    sleeper: RefCell<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Entries {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

struct Slot {
    /// `None`: without limit at the moment, or not taken.
    at: Option<Instant>,
    passed: bool,
    waker: Option<Waker>,
}

/// A time that was reached before the work was done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// A place in the table: the limit on one thing, which may be moved as it goes on.
pub(crate) struct Watch {
    table: Rc<Table>,
    slot: usize,
}

impl Deadlines {
    /// A watch without limit.
    pub(crate) fn watch(&self) -> Watch {
        let mut entries = self.0.entries.borrow_mut();
        let empty = Slot { at: None, passed: false, waker: None };
        let slot = match entries.free.pop() {
            Some(slot) => {
                entries.slots[slot] = empty;
                slot
            }
            None => {
                entries.slots.push(empty);
                entries.slots.len() - 1
            }
        };
        Watch { table: Rc::clone(&self.0), slot }
    }

    /// Runs `future` until `at`. (It comes pinned: an async function would hold one that it owns twice.)
    pub(crate) async fn within<F: Future>(
        &self,
        at: Instant,
        mut future: Pin<&mut F>,
    ) -> Result<F::Output, Elapsed> {
        // What is ready at once, as keys and small answers are, needs no place in the table.
        let mut watch = None;
        poll_fn(|cx| match &watch {
            Some(watch) => Watch::poll(watch, future.as_mut(), cx),
            None => match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Ok(output)),
                Poll::Pending => {
                    let watch = watch.insert(self.watch());
                    watch.until(at);
                    watch.wait(cx)
                }
            },
        })
        .await
    }
}

impl Watch {
    /// From now on the limit is `at`.
    pub(crate) fn until(&self, at: Instant) {
        {
            let slot = &mut self.table.entries.borrow_mut().slots[self.slot];
            slot.at = Some(at);
            slot.passed = false;
        }
        if self.table.wakes_at.get().is_none_or(|wakes_at| at < wakes_at) || !self.table.is_slept() {
            self.table.sleep_until(at);
        }
    }

    /// Runs `future` until the limit, wherever that is moved meanwhile. What is ready is never late.
    pub(crate) async fn run<F: Future>(&self, mut future: Pin<&mut F>) -> Result<F::Output, Elapsed> {
        poll_fn(|cx| self.poll(future.as_mut(), cx)).await
    }

    /// One poll of what is watched.
    pub(crate) fn poll<F: Future + ?Sized>(
        &self,
        future: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<F::Output, Elapsed>> {
        match future.poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.wait(cx),
        }
    }

    /// What is watched is not ready: it is late, or whoever polls it is woken when it is.
    fn wait<T>(&self, cx: &mut Context<'_>) -> Poll<Result<T, Elapsed>> {
        let slot = &mut self.table.entries.borrow_mut().slots[self.slot];
        if slot.passed {
            return Poll::Ready(Err(Elapsed));
        }
        match &mut slot.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut entries = self.table.entries.borrow_mut();
        let slot = &mut entries.slots[self.slot];
        slot.at = None;
        let waker = slot.waker.take();
        entries.free.push(self.slot);
        drop(entries);
        // It may own what looks at this table.
        drop(waker);
    }
}

impl Table {
    /// Makes the task that wakes whoever is late, in place of the one there is.
    fn sleep_until(self: &Rc<Table>, at: Instant) {
        self.wakes_at.set(Some(at));
        let table = Rc::downgrade(self);
        let sleeper = compio::runtime::spawn(sleep(table, at));
        let before = self.sleeper.borrow_mut().replace(sleeper);
        drop(before);
    }

    /// Whether the task is still there: it ends with its runtime, which the table may outlive.
    fn is_slept(&self) -> bool {
        self.sleeper.borrow().as_ref().is_some_and(|sleeper| !sleeper.is_finished())
    }

    /// Marks and wakes those whose limit is past; gives the earliest limit of the others.
    fn wake_the_late(&self, now: Instant) -> Option<Instant> {
        let mut late = Vec::new();
        let mut next: Option<Instant> = None;
        for slot in &mut self.entries.borrow_mut().slots {
            match slot.at {
                Some(at) if at <= now => {
                    slot.at = None;
                    slot.passed = true;
                    late.extend(slot.waker.take());
                }
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        for waker in late {
            waker.wake();
        }
        next
    }
}

async fn sleep(table: Weak<Table>, mut at: Instant) {
    let timer = Timer::new();
    loop {
        timer.sleep_until(at).await;
        let Some(table) = table.upgrade() else { return };
        match table.wake_the_late(clock::now()) {
            Some(next) => {
                table.wakes_at.set(Some(next));
                at = next;
            }
            None => {
                // Whoever comes next makes a new task.
                table.wakes_at.set(None);
                return;
            }
        }
    }
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.0.entries.borrow();
        write!(f, "Deadlines({} watched)", entries.slots.len() - entries.free.len())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::future::{join, pending};

    use super::*;

    fn after(ms: u64) -> Instant {
        clock::now() + Duration::from_millis(ms)
    }

    #[test]
    fn what_takes_too_long_is_given_up_and_what_is_ready_is_not() {
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let deadlines = Deadlines::default();
            assert_eq!(deadlines.within(after(5), pin!(pending::<()>())).await, Err(Elapsed));
            assert_eq!(deadlines.within(after(0), pin!(async { 7 })).await, Ok(7));
            let slow = pin!(compio::time::sleep(Duration::from_millis(5)));
            assert_eq!(deadlines.within(after(60_000), slow).await, Ok(()));
            assert_eq!(format!("{deadlines:?}"), "Deadlines(0 watched)");
        });
    }

    #[test]
    fn an_earlier_limit_is_kept_although_a_later_one_was_there_first() {
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let deadlines = Deadlines::default();
            let sleep = pin!(compio::time::sleep(Duration::from_millis(40)));
            let late = deadlines.within(after(60_000), sleep);
            let early = async {
                compio::time::sleep(Duration::from_millis(1)).await;
                deadlines.within(after(5), pin!(pending::<()>())).await
            };
            assert_eq!(join(late, early).await, (Ok(()), Err(Elapsed)));
        });
    }

    #[test]
    fn a_limit_moves_with_the_stages_of_what_it_limits() {
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let deadlines = Deadlines::default();
            let watch = deadlines.watch();
            watch.until(after(10));
            let stages = pin!(async {
                watch.until(after(60_000));
                compio::time::sleep(Duration::from_millis(30)).await;
                watch.until(after(5));
                pending::<()>().await;
            });
            assert_eq!(watch.run(stages).await, Err(Elapsed));
        });
    }
}
