//! [`Wakers`]: any number of tasks that wait for the same thing, each with a place that it takes along when it leaves.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::Waker;

/// Those who wait. Empty it allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    waiting: RefCell<BTreeMap<u64, Waker>>,
    places: Cell<u64>,
}

/// The place of one who waits; nobody is woken for one that was dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    wakers: &'a Wakers,
    number: u64,
}

impl Wakers {
    pub(crate) fn place(&self) -> Place<'_> {
        let number = self.places.get();
        self.places.set(number + 1);
        Place { wakers: self, number }
    }

    pub(crate) fn wake_all(&self) {
        let waiting = self.waiting.take();
        waiting.into_values().for_each(Waker::wake);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }
}

impl Place<'_> {
    /// Has this waker woken the next time.
    pub(crate) fn wait(&self, waker: &Waker) {
        let before = self.wakers.waiting.borrow_mut().insert(self.number, waker.clone());
        // It may own what looks at these places.
        drop(before);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let waker = self.wakers.waiting.borrow_mut().remove(&self.number);
        drop(waker);
    }
}
