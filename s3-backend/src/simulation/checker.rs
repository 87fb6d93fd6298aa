//! The judge: whether one order of all that was done under a key explains everything that was said of it.
//!
//! That is linearizability, decided exactly by the search of [Wing and Gong] with a memory of what was tried: an
//! operation takes effect at one moment between its call and its end. What ended as `Indeterminate` may take effect
//! at any later time, or never. What ended in another error is left out: nothing can be explained with it.
//!
//! [Wing and Gong]: https://doi.org/10.1006/jpdc.1993.1015

use std::collections::HashSet;

/// Which write's object is there; 0: none is.
pub(super) type State = u8;

/// What was done, if it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Read(State),
    Write(If, State),
    Delete(If),
    /// It was refused because the condition did not hold.
    Refused(If),
}

/// A condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum If {
    Always,
    Absent,
    /// An object with the same tag as this write's is there.
    Tag(State),
}

/// One thing that was done under a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) act: Act,
    /// It took effect after this moment,
    pub(super) call: u32,
    /// and before this one,
    pub(super) end: u32,
    /// or maybe never.
    pub(super) certain: bool,
}

/// The end of what may take effect at any later time.
pub(super) const NEVER: u32 = u32::MAX;

/// Whether there is such an order. `tag_of` gives the tag of each write's object.
pub(super) fn is_linearizable(first: State, entries: &[Entry], tag_of: &dyn Fn(State) -> u32) -> bool {
    assert!(entries.len() <= 64, "a set of entries is 64 bits");
    let mut certain = 0;
    for (i, entry) in entries.iter().enumerate() {
        certain |= u64::from(entry.certain) << i;
    }
    let mut search = Search { entries, tag_of, certain, tried: HashSet::new() };
    search.goes_on(0, first, 0)
}

struct Search<'a> {
    entries: &'a [Entry],
    tag_of: &'a dyn Fn(State) -> u32,
    certain: u64,
    tried: HashSet<(u64, State)>,
}

impl Search<'_> {
    /// Whether everything that is not in `done` can follow. `latest` is the latest call of what is.
    fn goes_on(&mut self, mut done: u64, state: State, mut latest: u32) -> bool {
        // What changes nothing and holds now comes now, unless something could not come after it any more.
        let mut earliest_end = self.earliest_end(done);
        let mut i = 0;
        while i < self.entries.len() {
            let entry = &self.entries[i];
            let passive = matches!(entry.act, Act::Read(_) | Act::Refused(_));
            if passive
                && self.is_next(i, done, latest, earliest_end)
                && !self.shuts_out(entry.call, done, latest)
                && self.apply(entry.act, state).is_some()
            {
                done |= 1 << i;
                latest = latest.max(entry.call);
                earliest_end = self.earliest_end(done);
                i = 0;
            } else {
                i += 1;
            }
        }
        if done & self.certain == self.certain {
            return true;
        }
        if !self.tried.insert((done, state)) {
            return false;
        }
        // What certainly happened first: what only may have is needed rarely.
        for certain in [true, false] {
            for i in 0..self.entries.len() {
                let entry = self.entries[i];
                if entry.certain != certain || !self.is_next(i, done, latest, earliest_end) {
                    continue;
                }
                if let Some(next) = self.apply(entry.act, state)
                    && self.goes_on(done | (1 << i), next, latest.max(entry.call))
                {
                    return true;
                }
            }
        }
        false
    }

    /// When the first of what certainly happened, and is not done, has ended.
    fn earliest_end(&self, done: u64) -> u32 {
        let left = self.entries.iter().enumerate().filter(|(i, entry)| entry.certain && done & (1 << i) == 0);
        left.map(|(_, entry)| entry.end).min().unwrap_or(NEVER)
    }

    fn is_next(&self, i: usize, done: u64, latest: u32, earliest_end: u32) -> bool {
        let entry = &self.entries[i];
        done & (1 << i) == 0 && entry.call < earliest_end && latest < entry.end
    }

    /// Whether something that may still happen could not come after what was called then.
    fn shuts_out(&self, call: u32, done: u64, latest: u32) -> bool {
        let mut left = self.entries.iter().enumerate().filter(|(i, _)| done & (1 << i) == 0);
        left.any(|(_, entry)| !entry.certain && (latest + 1..=call).contains(&entry.end))
    }

    fn apply(&self, act: Act, state: State) -> Option<State> {
        match act {
            Act::Read(saw) => (saw == state).then_some(state),
            Act::Write(condition, to) => self.holds(condition, state).then_some(to),
            Act::Delete(condition) => self.holds(condition, state).then_some(0),
            Act::Refused(condition) => (!self.holds(condition, state)).then_some(state),
        }
    }

    fn holds(&self, condition: If, state: State) -> bool {
        match condition {
            If::Always => true,
            If::Absent => state == 0,
            If::Tag(of) => state != 0 && (self.tag_of)(state) == (self.tag_of)(of),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn entry(act: Act, call: u32, end: u32) -> Entry {
        Entry { act, call, end, certain: true }
    }

    fn maybe(act: Act, call: u32, end: u32) -> Entry {
        Entry { act, call, end, certain: false }
    }

    fn good(entries: &[Entry]) -> bool {
        is_linearizable(1, entries, &|state| u32::from(state))
    }

    const TO_2: Act = Act::Write(If::Tag(1), 2);
    const TO_3: Act = Act::Write(If::Tag(1), 3);

    #[test]
    fn one_of_two_exchanges_of_the_same_version_can_win() {
        assert!(good(&[entry(TO_2, 1, 4)]));
        assert!(!good(&[entry(TO_2, 1, 4), entry(TO_3, 2, 3)]));
        assert!(good(&[entry(TO_2, 1, 4), entry(Act::Refused(If::Tag(1)), 2, 3)]));
        assert!(!good(&[entry(Act::Refused(If::Tag(1)), 1, 2), entry(TO_2, 3, 4)]));
    }

    #[test]
    fn what_may_have_happened_explains_what_was_seen_and_is_not_needed() {
        let lost = maybe(TO_2, 1, NEVER);
        assert!(good(&[lost, entry(Act::Read(1), 2, 3), entry(Act::Read(2), 8, 9)]));
        assert!(good(&[lost, entry(TO_3, 2, 3), entry(Act::Read(3), 8, 9)]));
        assert!(!good(&[lost, entry(Act::Read(2), 2, 3), entry(Act::Read(1), 4, 5)]));
        // Nobody wrote this.
        assert!(!good(&[entry(Act::Read(2), 2, 3)]));
        // It can have happened up to a moment, and not after.
        let bounded = maybe(TO_2, 1, 5);
        assert!(good(&[bounded, entry(Act::Read(2), 8, 9)]));
        assert!(!good(&[bounded, entry(Act::Read(1), 6, 7), entry(Act::Read(2), 8, 9)]));
        assert!(good(&[bounded, entry(Act::Read(1), 4, 7), entry(Act::Read(2), 8, 9)]));
    }

    #[test]
    fn reads_keep_the_order_of_time() {
        let write = entry(TO_2, 1, 10);
        assert!(good(&[write, entry(Act::Read(1), 2, 3), entry(Act::Read(2), 4, 5)]));
        assert!(!good(&[write, entry(Act::Read(2), 2, 3), entry(Act::Read(1), 4, 5)]));
        assert!(good(&[write, entry(Act::Read(2), 2, 5), entry(Act::Read(1), 3, 6)]));
    }

    #[test]
    fn a_name_is_created_once_and_gone_when_deleted() {
        let create = |to| Act::Write(If::Absent, to);
        let good = |entries: &[Entry]| is_linearizable(0, entries, &|state| u32::from(state));
        assert!(good(&[entry(create(1), 1, 2), entry(Act::Refused(If::Absent), 3, 4)]));
        assert!(!good(&[entry(create(1), 1, 2), entry(create(2), 3, 4)]));
        let deleted = entry(Act::Delete(If::Tag(1)), 3, 4);
        assert!(good(&[entry(create(1), 1, 2), deleted, entry(Act::Read(0), 5, 6)]));
        assert!(!good(&[entry(create(1), 1, 2), deleted, entry(Act::Read(1), 5, 6)]));
    }

    /// The definition itself: every order of every choice of what may have happened.
    fn by_trying_all(left: &[Entry], state: State, latest: u32) -> bool {
        if left.iter().all(|entry| !entry.certain) {
            return true;
        }
        (0..left.len()).any(|i| {
            let mut rest = left.to_vec();
            let entry = rest.remove(i);
            let in_time = latest < entry.end
                && rest.iter().filter(|other| other.certain).all(|other| entry.call < other.end);
            let search =
                Search { entries: left, tag_of: &|tag| u32::from(tag), certain: 0, tried: HashSet::new() };
            match search.apply(entry.act, state) {
                Some(next) if in_time => by_trying_all(&rest, next, latest.max(entry.call)),
                _ => false,
            }
        })
    }

    #[test]
    fn the_search_agrees_with_the_definition() {
        let mut random = Random::with_seed(5);
        let mut counts = [0_u32; 2];
        for case in 0..30_000 {
            let entries: Vec<Entry> = (0..3 + random.below(4))
                .map(|_| {
                    let mut state = |least: u32| State::try_from(least + random.below(3)).expect("small");
                    let (saw, of, to) = (state(0), state(1), state(2));
                    let condition = match random.below(4) {
                        0 => If::Always,
                        1 => If::Absent,
                        _ => If::Tag(of),
                    };
                    let act = match random.below(8) {
                        0..2 => Act::Read(saw),
                        2 => Act::Refused(condition),
                        3 => Act::Delete(condition),
                        _ => Act::Write(condition, to),
                    };
                    let call = random.below(30);
                    let certain = matches!(act, Act::Read(_) | Act::Refused(_)) || random.below(3) > 0;
                    let end =
                        if !certain && random.below(2) == 0 { NEVER } else { call + 1 + random.below(12) };
                    Entry { act, call, end, certain }
                })
                .collect();
            let by_definition = by_trying_all(&entries, 1, 0);
            assert_eq!(good(&entries), by_definition, "case {case}: {entries:?}");
            counts[usize::from(by_definition)] += 1;
        }
        assert!(counts.iter().all(|&count| count > 3000), "{counts:?}");
    }
}
