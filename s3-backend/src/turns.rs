//! [`Turns`]: holds requests back while the store asks for fewer, in the order in which they came.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Instant;

use crate::clock;
use crate::protocol::concurrency::{Concurrency, Turn};

/// The requests of one shard to one store.
#[derive(Debug)]
pub(crate) struct Turns {
    /// What times are counted from.
    began: Instant,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    concurrency: Concurrency,
    /// Those who wait, by the order in which they came.
    waiting: BTreeMap<u64, Waker>,
    next_number: u64,
}

/// A request under way; dropping it says that the store said nothing to it.
#[derive(Debug)]
pub(crate) struct UnderWay<'a> {
    turns: &'a Turns,
    turn: Turn,
    throttled: Option<bool>,
}

impl Turns {
    pub(crate) fn new(began: Instant) -> Turns {
        Turns { began, state: RefCell::default() }
    }

    /// Begins another request if that may be at once: without a limit it always may, and costs a count.
    pub(crate) fn begin_now(&self, now: Instant) -> Option<UnderWay<'_>> {
        let mut state = self.state.borrow_mut();
        if !state.waiting.is_empty() {
            return None;
        }
        let turn = state.concurrency.begin(now.saturating_duration_since(self.began))?;
        Some(UnderWay { turns: self, turn, throttled: None })
    }

    /// Waits until another request may begin. It is to be polled after each [`SILENCE_MAX`] also without being woken.
    ///
    /// [`SILENCE_MAX`]: crate::protocol::concurrency::SILENCE_MAX
    ///
    /// Dropping the future leaves the queue.
    pub(crate) async fn begin(&self) -> UnderWay<'_> {
        let mut place = Place { turns: self, number: None };
        poll_fn(|cx| match place.poll(cx.waker()) {
            Some(turn) => Poll::Ready(UnderWay { turns: self, turn, throttled: None }),
            None => Poll::Pending,
        })
        .await
    }

    /// Wakes whoever is first in the queue; whether there is room is seen then.
    fn wake_first(&self) {
        let first = self.state.borrow().waiting.first_key_value().map(|(_, waker)| waker.clone());
        if let Some(waker) = first {
            waker.wake();
        }
    }
}

impl UnderWay<'_> {
    /// It was answered; `throttled`: with the wish for fewer requests.
    pub(crate) fn answered(mut self, throttled: bool) {
        self.throttled = Some(throttled);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.turns.state.borrow_mut().concurrency.end(&self.turn, self.throttled);
        self.turns.wake_first();
    }
}

/// A place in the queue.
struct Place<'a> {
    turns: &'a Turns,
    number: Option<u64>,
}

impl Place<'_> {
    fn poll(&mut self, waker: &Waker) -> Option<Turn> {
        let mut state = self.turns.state.borrow_mut();
        let first = match (self.number, state.waiting.first_key_value()) {
            (_, None) => true,
            (number, Some((first, _))) => number == Some(*first),
        };
        let now = clock::now().saturating_duration_since(self.turns.began);
        if first && let Some(turn) = state.concurrency.begin(now) {
            if let Some(number) = self.number.take() {
                state.waiting.remove(&number);
                drop(state);
                // There may be room for more than one.
                self.turns.wake_first();
            }
            return Some(turn);
        }
        let number = *self.number.get_or_insert_with(|| {
            state.next_number += 1;
            state.next_number
        });
        state.waiting.insert(number, waker.clone());
        None
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            let waker = self.turns.state.borrow_mut().waiting.remove(&number);
            // It may own what looks at this queue.
            drop(waker);
            self.turns.wake_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_waits_is_let_go_in_order_and_who_leaves_holds_up_nobody() {
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let began = clock::now();
            let turns = Turns::new(began);
            turns.begin_now(began).expect("there is no limit").answered(true);
            let only = turns.begin().now_or_never().expect("one is always allowed");
            let mut first = Box::pin(turns.begin());
            let mut second = Box::pin(turns.begin());
            let mut third = Box::pin(turns.begin());
            for waiting in [&mut first, &mut second, &mut third] {
                assert!(waiting.now_or_never().is_none());
            }
            assert!(turns.begin_now(began).is_none());
            drop(only);
            assert!(second.as_mut().now_or_never().is_none(), "not before the first");
            drop(first);
            let second = second.now_or_never().expect("its turn");
            assert!(third.as_mut().now_or_never().is_none());
            second.answered(false);
            drop(third.now_or_never().expect("its turn"));
            assert!(turns.state.borrow().waiting.is_empty());
        });
    }
}
