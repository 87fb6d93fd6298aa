//! [`Scheduled`]: what happens at a moment of virtual time, in one order for every run of a seed.

use std::cmp::Ordering;
use std::time::Duration;

/// An event. Of two at one moment the one that was scheduled first, and so has the lower number, comes first.
pub(super) struct Scheduled<E> {
    pub(super) at: Duration,
    /// Its own: no two events of a simulation have the same.
    pub(super) number: u64,
    pub(super) event: E,
}

impl<E> PartialEq for Scheduled<E> {
    fn eq(&self, other: &Scheduled<E>) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Scheduled<E> {}

impl<E> PartialOrd for Scheduled<E> {
    fn partial_cmp(&self, other: &Scheduled<E>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Scheduled<E> {
    fn cmp(&self, other: &Scheduled<E>) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
