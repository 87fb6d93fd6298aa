//! [`Turns`]: holds requests back while the store asks for fewer, in the order in which they came.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::clock;
use crate::protocol::concurrency::{Concurrency, SILENCE_MAX, Turn};

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
    waiting: BTreeMap<u64, Waiting>,
    /// Those who were let in and have only to come for their turn.
    let_in: BTreeMap<u64, Turn>,
    next_number: u64,
}

#[derive(Debug)]
struct Waiting {
    waker: Waker,
    /// When it was polled last.
    looked_at: Duration,
}

/// Who has not looked for so long is passed over until it does: its future is held by somebody who does something else
/// first, maybe something that needs a turn. Twice the time after which everybody looks.
const ABSENT_AFTER: Duration = SILENCE_MAX.saturating_mul(2);

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
        // The time matters to a limit only.
        let now = match state.concurrency.is_limited() {
            true => now.saturating_duration_since(self.began),
            false => Duration::ZERO,
        };
        let turn = state.concurrency.begin(now)?;
        Some(UnderWay { turns: self, turn, throttled: None })
    }

    /// Waits until another request may begin. It is to be polled after each [`SILENCE_MAX`] also without being woken.
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

    fn now(&self) -> Duration {
        clock::now().saturating_duration_since(self.began)
    }

    /// Lets those in for whom there is room now, and wakes them. The turn is theirs from then on, so that who is woken
    /// and does not come holds up nobody for longer than a request [without an answer](SILENCE_MAX).
    fn let_in(&self, now: Duration) {
        loop {
            let mut state = self.state.borrow_mut();
            let is_there = |waiting: &Waiting| now.saturating_sub(waiting.looked_at) <= ABSENT_AFTER;
            let first = state.waiting.iter().find(|(_, waiting)| is_there(waiting));
            let Some(number) = first.map(|(number, _)| *number) else { return };
            let Some(turn) = state.concurrency.begin(now) else { return };
            state.let_in.insert(number, turn);
            let waiting = state.waiting.remove(&number);
            drop(state);
            if let Some(Waiting { waker, .. }) = waiting {
                // It may own what looks at this queue.
                waker.wake();
            }
        }
    }

    /// A request has ended, or was not begun although it might have been.
    fn end(&self, turn: &Turn, throttled: Option<bool>) {
        let mut state = self.state.borrow_mut();
        state.concurrency.end(turn, throttled);
        if !state.waiting.is_empty() {
            drop(state);
            self.let_in(self.now());
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
        self.turns.end(&self.turn, self.throttled);
    }
}

/// A place in the queue.
struct Place<'a> {
    turns: &'a Turns,
    number: Option<u64>,
}

impl Place<'_> {
    fn poll(&mut self, waker: &Waker) -> Option<Turn> {
        if let Some(turn) = self.come() {
            return Some(turn);
        }
        let looked_at = self.turns.now();
        let mut state = self.turns.state.borrow_mut();
        let number = *self.number.get_or_insert_with(|| {
            state.next_number += 1;
            state.next_number
        });
        let before = state.waiting.insert(number, Waiting { waker: waker.clone(), looked_at });
        drop(state);
        drop(before);
        self.turns.let_in(looked_at);
        self.come()
    }

    /// The turn that it was given, unless that was so long ago that others have gone instead: it is the first again then.
    fn come(&mut self) -> Option<Turn> {
        let mut state = self.turns.state.borrow_mut();
        let turn = state.let_in.remove(&self.number?)?;
        let turn = state.concurrency.go(turn)?;
        self.number = None;
        Some(turn)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number.take() else { return };
        let mut state = self.turns.state.borrow_mut();
        let (waiting, let_in) = (state.waiting.remove(&number), state.let_in.remove(&number));
        drop(state);
        // It may own what looks at this queue.
        drop(waiting);
        if let Some(turn) = let_in {
            self.turns.end(&turn, None);
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

    #[test]
    fn who_does_not_come_for_a_turn_holds_up_nobody_for_long_and_is_the_first_again_when_it_looks() {
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let began = clock::now();
            let turns = Turns::new(began);
            turns.begin_now(began).expect("there is no limit").answered(true);
            let only = turns.begin().now_or_never().expect("one is always allowed");
            // Their caller awaits something else, which needs a turn too.
            let mut absent: Vec<_> = (0..5).map(|_| Box::pin(turns.begin())).collect();
            for absent in &mut absent {
                assert!(absent.now_or_never().is_none());
            }
            let mut last = Box::pin(turns.begin());
            assert!(last.as_mut().now_or_never().is_none());
            drop(only);
            assert!(last.as_mut().now_or_never().is_none(), "not before the first");
            let mut waited = 0;
            let last = loop {
                waited += 1;
                compio::time::sleep(SILENCE_MAX + Duration::from_millis(50)).await;
                if let Some(last) = last.as_mut().now_or_never() {
                    break last;
                }
            };
            assert!(waited <= 2, "{waited} seconds, as if it were the turn of each");
            for absent in &mut absent {
                assert!(absent.now_or_never().is_none(), "one at a time");
            }
            drop(last);
            let mut absent = absent.into_iter();
            let first = absent.next().and_then(FutureExt::now_or_never).expect("its turn, again");
            let second = absent.next().expect("five");
            assert!(turns.begin_now(began).is_none());
            drop(first);
            drop(second.now_or_never().expect("its turn"));
            drop(absent);
            assert!(turns.state.borrow().waiting.is_empty() && turns.state.borrow().let_in.is_empty());
            assert!(turns.begin_now(began).is_some(), "nothing is under way");
        });
    }

    thread_local! {
        static LOOKED_AT: RefCell<Option<Turns>> = const { RefCell::new(None) };
    }

    /// A waker that owns a task which looks at the queue when it ends.
    struct Looks;

    impl std::task::Wake for Looks {
        fn wake(self: std::sync::Arc<Self>) {}
    }

    impl Drop for Looks {
        fn drop(&mut self) {
            LOOKED_AT.with_borrow(|turns| {
                turns.as_ref().expect("there").begin_now(clock::now());
            });
        }
    }

    #[test]
    fn wakers_may_own_what_looks_at_the_queue() {
        LOOKED_AT.set(Some(Turns::new(clock::now())));
        LOOKED_AT.with_borrow(|turns| {
            let turns = turns.as_ref().expect("there");
            turns.begin_now(turns.began).expect("there is no limit").answered(true);
            let only = turns.begin().now_or_never().expect("one is always allowed");
            let mut waiting = Box::pin(turns.begin());
            for _ in 0..2 {
                let waker = Waker::from(std::sync::Arc::new(Looks));
                let looked = waiting.as_mut().poll(&mut std::task::Context::from_waker(&waker));
                assert!(looked.is_pending());
            }
            drop(only);
            assert!(waiting.now_or_never().is_some());
        });
    }
}
