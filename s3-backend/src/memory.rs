//! [`Memory`]: has operations wait, in the order in which they came, until there is memory for what they keep.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use object_storage::config::BODY_WINDOW_BYTES;

use crate::protocol::memory::{self, Need, Share, Taken, Ticket};

/// The memory of one shard.
#[derive(Debug)]
pub(crate) struct Memory {
    /// For what is sent and what is parsed.
    work: Rc<Room>,
    /// For what bodies have read and not handed out.
    bodies: Rc<Room>,
}

/// Memory that an operation, or a body, may use until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    room: Rc<Room>,
    /// `None` only while it is being dropped.
    taken: Option<Taken>,
}

/// There is not enough at the moment, or others wait for some.
#[derive(Debug)]
pub(crate) struct Full;

#[derive(Debug)]
struct Room(RefCell<State>);

#[derive(Debug)]
struct State {
    share: Share,
    /// Those who wait, and those who were let in and have only to come for it.
    places: BTreeMap<Ticket, Place>,
}

#[derive(Debug)]
enum Place {
    Waiting(Waker),
    LetIn(Taken),
}

impl Memory {
    /// Room for so many bytes, one part among them.
    pub(crate) fn new(memory_limit: u64, part_size: u64) -> Memory {
        let room = |share| Rc::new(Room(RefCell::new(State { share, places: BTreeMap::new() })));
        let (work, bodies) = memory::split(memory_limit, part_size);
        Memory { work: room(work), bodies: room(bodies) }
    }

    fn room(&self, need: Need) -> Option<(&Rc<Room>, u64)> {
        match need {
            Need::Nothing | Need::Bytes(0) => None,
            Need::Bytes(bytes) => Some((&self.work, bytes)),
            Need::Window => Some((&self.bodies, BODY_WINDOW_BYTES)),
        }
    }

    /// What is needed, if it can be had at once. Usually it can, and that costs a subtraction.
    pub(crate) fn take(&self, need: Need) -> Result<Option<Held>, Full> {
        let Some((room, bytes)) = self.room(need) else { return Ok(None) };
        let taken = room.0.borrow_mut().share.take(bytes).ok_or(Full)?;
        Ok(Some(room.held(taken)))
    }

    /// Waits for what is needed.
    ///
    /// Dropping the future leaves the line.
    pub(crate) async fn wait(&self, need: Need) -> Option<Held> {
        let (room, bytes) = self.room(need)?;
        let mut stay = Stay { room, bytes, ticket: None };
        Some(poll_fn(|cx| stay.poll(cx.waker())).await)
    }

    /// How many bytes such needs have in all.
    pub(crate) fn bytes_max(&self, need: Need) -> u64 {
        self.room(need).map_or(0, |(room, _)| room.0.borrow().share.bytes_max())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            self.room.give_back(taken);
        }
    }
}

impl Room {
    fn held(self: &Rc<Room>, taken: Taken) -> Held {
        Held { room: Rc::clone(self), taken: Some(taken) }
    }

    fn give_back(&self, taken: Taken) {
        self.0.borrow_mut().share.give_back(taken);
        self.let_in();
    }

    /// Lets those in for whom there is room now, and wakes them and nobody else. What they waited for is theirs from
    /// then on: who is woken late holds up nobody behind it who needs less than the rest.
    fn let_in(&self) {
        loop {
            let mut state = self.0.borrow_mut();
            let Some((ticket, taken)) = state.share.admit() else { return };
            let place = state.places.insert(ticket, Place::LetIn(taken));
            drop(state);
            match place {
                // It may own what looks at this line.
                Some(Place::Waiting(waker)) => waker.wake(),
                _ => unreachable!("who is in line waits"),
            }
        }
    }
}

/// A stay in the line.
struct Stay<'a> {
    room: &'a Rc<Room>,
    bytes: u64,
    ticket: Option<Ticket>,
}

impl Stay<'_> {
    fn poll(&mut self, waker: &Waker) -> Poll<Held> {
        let mut state = self.room.0.borrow_mut();
        let ticket = match self.ticket {
            Some(ticket) => ticket,
            None => {
                if let Some(taken) = state.share.take(self.bytes) {
                    return Poll::Ready(self.room.held(taken));
                }
                *self.ticket.insert(state.share.line_up(self.bytes))
            }
        };
        match state.places.remove(&ticket) {
            Some(Place::LetIn(taken)) => {
                self.ticket = None;
                Poll::Ready(self.room.held(taken))
            }
            before => {
                state.places.insert(ticket, Place::Waiting(waker.clone()));
                drop(state);
                drop(before);
                Poll::Pending
            }
        }
    }
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut state = self.room.0.borrow_mut();
        let place = state.places.remove(&ticket);
        state.share.leave(ticket);
        drop(state);
        match place {
            // What it was given and did not come for is for the others.
            Some(Place::LetIn(taken)) => self.room.give_back(taken),
            // It may have been the one that the others waited behind.
            place => {
                drop(place);
                self.room.let_in();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Wake};

    use futures_util::FutureExt;
    use futures_util::future::LocalBoxFuture;
    use object_storage::limits::MIB;
    use proptest::prelude::*;

    use super::*;

    const PART: u64 = 5 * MIB;

    /// Five MiB for work, and three for bodies.
    fn memory() -> Memory {
        Memory::new(8 * MIB, PART)
    }

    fn free(memory: &Memory) -> (u64, u64) {
        let of = |room: &Room| room.0.borrow().share.free();
        (of(&memory.work), of(&memory.bodies))
    }

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_needed_is_had_until_it_is_dropped_and_nothing_needs_nothing() {
        let memory = memory();
        let held = memory.take(Need::Bytes(2 * MIB)).expect("room");
        assert_eq!(free(&memory), (3 * MIB, 3 * MIB));
        assert!(memory.take(Need::Bytes(4 * MIB)).is_err());
        for nothing in [Need::Nothing, Need::Bytes(0)] {
            assert!(memory.take(nothing).expect("always").is_none());
            assert!(memory.wait(nothing).now_or_never().expect("always").is_none());
        }
        drop(held);
        assert_eq!(free(&memory), (PART, 3 * MIB));
        let window = memory.take(Need::Window).expect("room").expect("some");
        assert_eq!(free(&memory), (PART, 3 * MIB - BODY_WINDOW_BYTES));
        drop(window);
        assert_eq!(free(&memory), (PART, 3 * MIB));
    }

    #[test]
    fn bodies_that_nobody_reads_hold_up_no_write() {
        let memory = memory();
        let held: Vec<_> = std::iter::from_fn(|| memory.take(Need::Window).ok()).collect();
        assert_eq!(held.len(), 6);
        let mut next = Box::pin(memory.wait(Need::Window));
        assert!(next.as_mut().now_or_never().is_none());
        assert!(memory.take(Need::Bytes(PART)).expect("its own share").is_some());
        drop(held);
        assert!(next.now_or_never().is_some());
    }

    #[test]
    fn only_those_for_whom_there_is_room_are_woken() {
        let memory = memory();
        let all = memory.take(Need::Bytes(PART)).expect("room");
        let wakes: Vec<Arc<Wakes>> = (0..100).map(|_| Arc::default()).collect();
        let wait = |_| memory.wait(Need::Bytes(2 * MIB)).boxed_local();
        let mut waiting: Vec<LocalBoxFuture<'_, Option<Held>>> = wakes.iter().map(wait).collect();
        let poll = |waiting: &mut LocalBoxFuture<'_, Option<Held>>, wakes: &Arc<Wakes>| {
            let waker = Waker::from(Arc::clone(wakes));
            Future::poll(waiting.as_mut(), &mut Context::from_waker(&waker))
        };
        for (waiting, wakes) in waiting.iter_mut().zip(&wakes) {
            assert!(poll(waiting, wakes).is_pending());
        }
        drop(all);
        let woken = |wakes: &[Arc<Wakes>]| -> Vec<u32> {
            wakes.iter().map(|wakes| wakes.0.load(Ordering::Relaxed)).collect()
        };
        assert_eq!(woken(&wakes)[..3], [1, 1, 0]);
        assert_eq!(woken(&wakes).iter().sum::<u32>(), 2);
        // The first has not come for it, and holds up nobody.
        let Poll::Ready(second) = poll(&mut waiting[1], &wakes[1]) else { panic!("it was let in") };
        drop(second);
        assert_eq!(woken(&wakes)[..4], [1, 1, 1, 0]);
        // It never will.
        drop(waiting.remove(0));
        assert_eq!(woken(&wakes)[..5], [1, 1, 1, 1, 0]);
        drop(waiting);
        assert_eq!(free(&memory).0, PART);
        assert!(memory.work.0.borrow().places.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Act {
        Want(u64),
        Poll(prop::sample::Index),
        Drop(prop::sample::Index),
    }

    enum Task<'a> {
        Waits(LocalBoxFuture<'a, Option<Held>>),
        Has(#[expect(dead_code, reason = "it is held")] Option<Held>),
    }

    proptest! {
        /// Tasks that begin, look whether it is their turn, and are dropped at any moment, waiting or not, let in or not.
        #[test]
        fn whoever_is_dropped_whenever_nothing_is_lost(
            acts in prop::collection::vec(prop_oneof![
                2 => (0..8 * MIB).prop_map(Act::Want),
                2 => any::<prop::sample::Index>().prop_map(Act::Poll),
                1 => any::<prop::sample::Index>().prop_map(Act::Drop),
            ], 0..120),
        ) {
            let memory = memory();
            let mut tasks: Vec<Task<'_>> = Vec::new();
            for act in acts {
                match act {
                    Act::Want(bytes) => tasks.push(match memory.take(Need::Bytes(bytes)) {
                        Ok(held) => Task::Has(held),
                        Err(Full) => Task::Waits(Box::pin(memory.wait(Need::Bytes(bytes)))),
                    }),
                    Act::Poll(at) if !tasks.is_empty() => {
                        let at = at.index(tasks.len());
                        if let Task::Waits(waiting) = &mut tasks[at]
                            && let Some(held) = waiting.now_or_never()
                        {
                            tasks[at] = Task::Has(held);
                        }
                    }
                    Act::Drop(at) if !tasks.is_empty() => drop(tasks.swap_remove(at.index(tasks.len()))),
                    Act::Poll(_) | Act::Drop(_) => {}
                }
                let state = memory.work.0.borrow();
                let let_in: u64 = state.places.values().filter(|place| matches!(place, Place::LetIn(_))).count() as u64;
                prop_assert_eq!(state.share.waiting() as u64 + let_in, state.places.len() as u64);
            }
            // Everybody who stays is served.
            while let Some(at) = tasks.iter_mut().position(|task| match task {
                Task::Waits(waiting) => waiting.now_or_never().is_some(),
                Task::Has(_) => true,
            }) {
                drop(tasks.swap_remove(at));
            }
            prop_assert!(tasks.is_empty(), "{} wait for ever", tasks.len());
            prop_assert_eq!(free(&memory).0, PART);
            prop_assert!(memory.work.0.borrow().places.is_empty());
        }
    }
}
