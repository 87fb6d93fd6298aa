//! The blocking pool, used by a bounded number of closures at a time.
//!
//! A closure that holds a file lock must never need a second closure to let go of it: that is what makes waiting
//! for a lock inside of one safe, however few may run.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use compio::BufResult;
use compio::buf::IntoInner;
use compio::driver::op::Asyncify;
use compio::runtime::submit;

/// Lets a bounded number of closures into the blocking pool; the others wait in line.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Mutex<Line>>);

// A lock, because a permit ends on the thread where its closure ends: the future that waits for it may be
// dropped, the closure cannot be stopped.
#[derive(Debug)]
struct Line {
    free: usize,
    next: u64,
    waiting: VecDeque<(u64, Waker)>,
    /// Those who were let in and have not noticed yet.
    called: Vec<u64>,
}

impl Gate {
    pub(super) fn new(permits: NonZeroUsize) -> Gate {
        let line = Line { free: permits.get(), next: 0, waiting: VecDeque::new(), called: Vec::new() };
        Gate(Arc::new(Mutex::new(line)))
    }

    /// Runs a closure on a thread of the blocking pool, once there is room.
    ///
    /// Dropping the future before it began prevents the closure; later it runs to its end, unseen.
    pub(super) async fn run<T: Send + 'static>(&self, closure: impl FnOnce() -> T + Send + 'static) -> T {
        let permit = Waiting { line: self.0.clone(), number: None }.await;
        // A panic must not take a thread of the shared pool with it.
        let run = AssertUnwindSafe(move || {
            let _permit = permit;
            closure()
        });
        // As `spawn_blocking` does it, without a task of its own between the thread and this future: half the polls
        // and wakes, and one system call less.
        let operation = Asyncify::new(move || BufResult(Ok(0), std::panic::catch_unwind(run)));
        match submit(operation).await.1.into_inner() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// The right to occupy one thread.
struct Permit(Arc<Mutex<Line>>);

impl Drop for Permit {
    fn drop(&mut self) {
        lock(&self.0).let_next_in();
    }
}

struct Waiting {
    line: Arc<Mutex<Line>>,
    number: Option<u64>,
}

impl Line {
    /// A place is free: the first in line gets it, so that nobody can overtake.
    fn let_next_in(&mut self) {
        match self.waiting.pop_front() {
            None => self.free += 1,
            Some((number, waker)) => {
                self.called.push(number);
                waker.wake();
            }
        }
    }

    fn was_called(&mut self, number: u64) -> bool {
        let at = self.called.iter().position(|called| *called == number);
        at.map(|at| self.called.swap_remove(at)).is_some()
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().expect("nothing panics while it holds the lock")
}

impl Future for Waiting {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        let this = &mut *self;
        let mut line = lock(&this.line);
        match this.number {
            None if line.free > 0 => line.free -= 1,
            None => {
                let number = line.next;
                line.next += 1;
                line.waiting.push_back((number, cx.waker().clone()));
                this.number = Some(number);
                return Poll::Pending;
            }
            Some(number) if line.was_called(number) => this.number = None,
            Some(number) => {
                let place = line.waiting.iter_mut().find(|(waiting, _)| *waiting == number);
                let (_, waker) = place.expect("whoever was not called is in line");
                waker.clone_from(cx.waker());
                return Poll::Pending;
            }
        }
        Poll::Ready(Permit(this.line.clone()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut line = lock(&self.line);
        if line.was_called(number) {
            line.let_next_in();
        } else {
            line.waiting.retain(|(waiting, _)| *waiting != number);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn gate(permits: usize) -> Gate {
        Gate::new(NonZeroUsize::new(permits).expect("not zero"))
    }

    #[test]
    fn places_are_given_in_order_and_never_lost() {
        let gate = gate(1);
        let wait = || Waiting { line: gate.0.clone(), number: None };
        let first = wait().now_or_never().expect("there is room");
        let (mut second, mut third, mut fourth) = (wait(), wait(), wait());
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        assert!((&mut fourth).now_or_never().is_none());
        // One leaves the line, one is called and leaves before it notices.
        drop(third);
        drop(first);
        drop(second);
        let permit = (&mut fourth).now_or_never().expect("the place was handed on");
        drop(permit);
        assert_eq!(lock(&gate.0).free, 1);
        assert!(lock(&gate.0).waiting.is_empty() && lock(&gate.0).called.is_empty());
    }

    #[compio::test]
    async fn no_more_closures_run_at_once_than_were_let_in() {
        use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
        let gate = gate(3);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let closures = (0..40).map(|_| {
            let (running, most) = (running.clone(), most.clone());
            gate.run(move || {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                std::thread::yield_now();
                running.fetch_sub(1, SeqCst);
            })
        });
        futures_util::future::join_all(closures).await;
        assert!((1..=3).contains(&most.load(SeqCst)));
    }
}
