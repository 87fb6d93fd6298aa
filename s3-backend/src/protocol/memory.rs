//! [`Share`]: how much memory operations may keep at once, and who has to wait for some. A value.
//!
//! The limit of a shard is split in two. What is sent and what is parsed draws on one share, the bodies of gets on the
//! other, because these are kept for as long as a caller likes: bodies that nobody reads hold up other gets, never a
//! write. An operation takes everything it needs at once, before it begins, and waits with nothing; and it does so
//! before it waits for anything else (its turn, a connection). So nobody who has memory waits for somebody who waits
//! for memory.

use std::collections::BTreeMap;

use object_storage::config::BODY_WINDOW_BYTES;

/// What an operation keeps in memory from its beginning to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing that grows: heads and small documents, of which each connection has at most one.
    Nothing,
    /// So many bytes: a payload, or a large document.
    Bytes(u64),
    /// What of a body is read and not handed out, until its end was: [`BODY_WINDOW_BYTES`]. A shorter one is not
    /// counted for less, because as long as it is open it keeps a connection too.
    Window,
}

/// The most that open bodies keep together, in bytes: 192 windows. A shard has 256 connections at most, and bodies that
/// somebody holds and does not read leave a quarter of them to everybody else.
const BODIES_BYTES_MAX: u64 = 192 * BODY_WINDOW_BYTES;

/// Splits the limit of a shard into the share of everything that is sent or parsed, and that of bodies: half of it each,
/// but always a part for the first, and never more than can be used for the second.
pub(crate) fn split(memory_limit: u64, part_size: u64) -> (Share, Share) {
    let bodies = (memory_limit / 2).min(BODIES_BYTES_MAX).min(memory_limit.saturating_sub(part_size));
    assert!(bodies >= BODY_WINDOW_BYTES, "a configuration holds a part and a window");
    (Share::new(memory_limit - bodies), Share::new(bodies))
}

/// A number of bytes, who has some of them, and in which order others wait for some.
///
/// Who needs more than all of them gets all of them, when nobody has any.
#[derive(Debug)]
pub(crate) struct Share {
    bytes_max: u64,
    free: u64,
    /// What those want who wait, in the order in which they came.
    waiting: BTreeMap<Ticket, u64>,
    next: Ticket,
}

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// Bytes that were taken. They are given back as they are.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what is not given back is lost"]
pub(crate) struct Taken(u64);

impl Share {
    fn new(bytes_max: u64) -> Share {
        Share { bytes_max, free: bytes_max, waiting: BTreeMap::new(), next: Ticket(0) }
    }

    /// Takes so many bytes if they are there and nobody waits for any.
    pub(crate) fn take(&mut self, bytes: u64) -> Option<Taken> {
        if self.waiting.is_empty() { self.cut(bytes) } else { None }
    }

    fn cut(&mut self, bytes: u64) -> Option<Taken> {
        let bytes = bytes.min(self.bytes_max);
        self.free = self.free.checked_sub(bytes)?;
        Some(Taken(bytes))
    }

    /// Gets in line for so many bytes.
    pub(crate) fn line_up(&mut self, bytes: u64) -> Ticket {
        let ticket = self.next;
        self.next = Ticket(ticket.0 + 1);
        self.waiting.insert(ticket, bytes);
        ticket
    }

    /// The first in line, who is no longer, and what it waited for, if that is there. To be asked again until nobody is
    /// let in, whenever something was given back or somebody left. Nobody is let in before the first: large ones would
    /// wait for ever.
    pub(crate) fn admit(&mut self) -> Option<(Ticket, Taken)> {
        let (&ticket, &bytes) = self.waiting.first_key_value()?;
        let taken = self.cut(bytes)?;
        self.waiting.remove(&ticket);
        Some((ticket, taken))
    }

    /// Leaves the line.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    /// What was taken is free again.
    pub(crate) fn give_back(&mut self, taken: Taken) {
        self.free += taken.0;
        assert!(self.free <= self.bytes_max, "nothing is given back twice");
    }

    /// How many bytes there are in all.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// How many of them nobody has.
    #[cfg(test)]
    pub(crate) fn free(&self) -> u64 {
        self.free
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use object_storage::limits::MIB;
    use proptest::prelude::*;

    use super::*;

    fn sizes((sending, bodies): (Share, Share)) -> (u64, u64) {
        (sending.bytes_max, bodies.bytes_max)
    }

    #[test]
    fn both_shares_have_room_for_one_of_theirs_whatever_the_limit() {
        assert_eq!(sizes(split(256 * MIB, 8 * MIB)), (160 * MIB, 96 * MIB));
        assert_eq!(sizes(split(1024 * MIB, 8 * MIB)), (928 * MIB, 96 * MIB));
        assert_eq!(sizes(split(8 * MIB, 5 * MIB)), (5 * MIB, 3 * MIB));
        assert_eq!(sizes(split(5 * MIB + BODY_WINDOW_BYTES, 5 * MIB)), (5 * MIB, BODY_WINDOW_BYTES));
    }

    #[test]
    fn what_is_there_is_had_at_once_and_what_is_not_is_waited_for_in_order() {
        let mut share = Share::new(10);
        let (four, five) = (share.take(4).expect("there"), share.take(5).expect("there"));
        assert_eq!(share.take(2), None);
        let (six, one) = (share.line_up(6), share.line_up(1));
        assert_eq!(share.take(1), None, "others came first");
        assert_eq!(share.admit(), None, "the first wants more than there is, and nobody passes it");
        share.give_back(five);
        let (first, taken) = share.admit().expect("enough for the first");
        assert_eq!((first, &taken), (six, &Taken(6)));
        assert_eq!(share.admit(), None);
        share.give_back(four);
        assert_eq!(share.admit().expect("enough").0, one);
        assert_eq!(share.admit(), None);
        assert_eq!(share.free, 3);
        share.give_back(taken);
    }

    #[test]
    fn who_wants_more_than_there_is_gets_all_of_it_alone() {
        let mut share = Share::new(10);
        let one = share.take(1).expect("there");
        assert_eq!(share.take(1_000), None);
        let large = share.line_up(1_000);
        let small = share.line_up(1);
        assert_eq!(share.admit(), None);
        share.give_back(one);
        let (ticket, all) = share.admit().expect("nobody has any");
        assert_eq!((ticket, &all), (large, &Taken(10)));
        assert_eq!(share.admit(), None);
        share.give_back(all);
        assert_eq!(share.admit().expect("there").0, small);
    }

    #[test]
    fn who_leaves_lets_the_next_in() {
        let mut share = Share::new(10);
        let _nine = share.take(9).expect("there");
        let large = share.line_up(5);
        let small = share.line_up(1);
        assert_eq!(share.admit(), None);
        share.leave(large);
        assert_eq!(share.admit().expect("there").0, small);
    }

    #[derive(Clone, Debug)]
    enum Act {
        Want(u64),
        End(prop::sample::Index),
        Leave(prop::sample::Index),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0..150_u64).prop_map(Act::Want),
            3 => any::<prop::sample::Index>().prop_map(Act::End),
            1 => any::<prop::sample::Index>().prop_map(Act::Leave),
        ]
    }

    proptest! {
        /// Against a list of who has what and a line of who wants what.
        #[test]
        fn no_byte_is_lost_or_made_and_everybody_is_let_in_in_order(acts in prop::collection::vec(act(), 0..200)) {
            let mut share = Share::new(100);
            let mut having: Vec<Taken> = Vec::new();
            let mut line: VecDeque<(Ticket, u64)> = VecDeque::new();
            for act in acts {
                match act {
                    Act::Want(bytes) => match share.take(bytes) {
                        Some(taken) => {
                            prop_assert!(line.is_empty(), "nobody was overtaken");
                            prop_assert_eq!(taken.0, bytes.min(100));
                            having.push(taken);
                        }
                        None => line.push_back((share.line_up(bytes), bytes)),
                    },
                    Act::End(at) if !having.is_empty() => {
                        let taken = having.swap_remove(at.index(having.len()));
                        share.give_back(taken);
                    }
                    Act::Leave(at) if !line.is_empty() => {
                        let (ticket, _) = line.remove(at.index(line.len())).expect("in line");
                        share.leave(ticket);
                    }
                    Act::End(_) | Act::Leave(_) => {}
                }
                while let Some((ticket, taken)) = share.admit() {
                    let (first, wanted) = line.pop_front().expect("somebody waited");
                    prop_assert_eq!((ticket, taken.0), (first, wanted.min(100)));
                    having.push(taken);
                }
                let had: u64 = having.iter().map(|taken| taken.0).sum();
                prop_assert_eq!(had + share.free, 100);
                prop_assert_eq!(share.waiting.len(), line.len());
                if let Some((_, wanted)) = line.front() {
                    prop_assert!((*wanted).min(100) > share.free, "nobody waits for what is there");
                }
            }
            // When all have ended, all were let in.
            while let Some(taken) = having.pop() {
                share.give_back(taken);
                while let Some((_, taken)) = share.admit() {
                    having.push(taken);
                }
            }
            prop_assert_eq!((share.free, share.waiting.len()), (100, 0));
        }
    }
}
