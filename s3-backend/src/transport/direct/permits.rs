//! [`Permits`]: so many at a time, the others wait in order. For one shard.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A number of permits. Cloning gives another handle.
#[derive(Clone)]
pub(super) struct Permits(Rc<RefCell<State>>);

struct State {
    free: usize,
    /// Those who wait, the first first.
    queue: VecDeque<Waiting>,
    next_id: u64,
}

struct Waiting {
    id: u64,
    waker: Waker,
    /// It was given a permit, and has only to come for it.
    granted: bool,
}

/// One permit; dropping it gives it back.
pub(super) struct Permit(Permits);

impl Permits {
    pub(super) fn new(number: usize) -> Permits {
        Permits(Rc::new(RefCell::new(State { free: number, queue: VecDeque::new(), next_id: 0 })))
    }

    /// Waits for a permit. Who began to wait first gets the first that is free.
    ///
    /// Dropping the future leaves the queue.
    pub(super) async fn acquire(&self) -> Permit {
        let mut place = Place { permits: self, id: None };
        poll_fn(|cx| place.poll(cx)).await
    }

    /// A permit, if one is free: then nobody waits.
    pub(super) fn try_acquire(&self) -> Option<Permit> {
        let mut state = self.0.borrow_mut();
        state.free = state.free.checked_sub(1)?;
        Some(Permit(self.clone()))
    }

    fn release(&self) {
        let mut state = self.0.borrow_mut();
        match state.queue.iter_mut().find(|waiting| !waiting.granted) {
            Some(waiting) => {
                waiting.granted = true;
                let waker = waiting.waker.clone();
                drop(state);
                waker.wake();
            }
            None => state.free += 1,
        }
    }
}

/// A place in the queue.
struct Place<'a> {
    permits: &'a Permits,
    id: Option<u64>,
}

impl Place<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Permit> {
        let mut state = self.permits.0.borrow_mut();
        let Some(id) = self.id else {
            if state.free > 0 {
                state.free -= 1;
                return Poll::Ready(Permit(self.permits.clone()));
            }
            let id = state.next_id;
            state.next_id += 1;
            state.queue.push_back(Waiting { id, waker: cx.waker().clone(), granted: false });
            self.id = Some(id);
            return Poll::Pending;
        };
        let at = state.queue.iter().position(|waiting| waiting.id == id).expect("it left nobody's place");
        if state.queue[at].granted {
            state.queue.remove(at);
            self.id = None;
            return Poll::Ready(Permit(self.permits.clone()));
        }
        state.queue[at].waker.clone_from(cx.waker());
        Poll::Pending
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let mut state = self.permits.0.borrow_mut();
        let at = state.queue.iter().position(|waiting| waiting.id == id);
        let left = at.and_then(|at| state.queue.remove(at));
        drop(state);
        // What it was given and did not come for goes to the next.
        if left.is_some_and(|left| left.granted) {
            self.permits.release();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_waits_longest_is_next_and_who_leaves_loses_nothing_for_the_others() {
        let permits = Permits::new(1);
        let first = permits.acquire().now_or_never().expect("free");
        let mut second = Box::pin(permits.acquire());
        let mut third = Box::pin(permits.acquire());
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none(), "the second was given it");
        assert!(permits.acquire().now_or_never().is_none(), "nobody overtakes");
        drop(second);
        let permit = third.as_mut().now_or_never().expect("the second has left");
        drop(permit);
        assert!(permits.acquire().now_or_never().is_some());
        assert_eq!(permits.0.borrow().free, 1);
    }
}
