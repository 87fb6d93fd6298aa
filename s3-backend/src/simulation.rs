//! A deterministic simulation of several clients over a store, with everything that can go wrong between them, checked
//! exactly.
//!
//! The clients run the product's own operations, its reading of answers and its machine (`protocol::exchange`),
//! in virtual time on one thread: a seed decides everything, and the same seed is the same history on every machine.
//! Three or four clients make 32 operations: compare-and-swap on one hot object by put and by completing an upload,
//! creation under names that several want, overwrites of a name of their own, conditional deletes and reads. What the
//! clients were told is then judged by `checker`: one order of the writes must explain all of it.
//!
//! For tests and for the program `simulate`; no part of the product.

mod checker;
pub mod cost;
mod faults;
mod operation;
pub mod outage;
mod policy;
mod random;
mod scheduled;
mod store;
mod world;

#[cfg(test)]
mod tests;

use std::ops::{AddAssign, Range};

use object_storage::config::UrlStyle;
use object_storage::{ETag, Key, Part, PartNumber, UploadId};

use self::checker::{Entry, State};
pub use self::faults::FAULTS;
use self::operation::Names;
pub use self::policy::{Policy, UnknownPolicy};
use self::world::{FIRST, Record, Said, World};
use crate::protocol::address::Address;
use crate::protocol::operations::Place;

/// The object that everybody replaces.
const REGISTER: usize = 0;

/// The names that several want to create; under every second one the caller gives its word that nothing is ever
/// replaced or deleted.
const NAMES: Range<usize> = 1..7;

const CLIENTS_MAX: usize = 4;

/// The names of one's own follow the others.
const KEYS: usize = NAMES.end + CLIENTS_MAX;

/// How many operations a history has.
pub const OPERATIONS: usize = 32;

/// What happened, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Operations begun by a client.
    pub operations: u64,
    /// Requests sent.
    pub attempts: u64,
    /// Writes that ended as `Ok`.
    pub applied: u64,
    /// Calls of writes that ended in an error that says "not applied".
    pub refused: u64,
    /// Calls of writes that ended as `Indeterminate`.
    pub indeterminate: u64,
    /// Open writes that a later `resolve` found to be applied.
    pub resolved: u64,
    /// Writes of which nobody knew in the end, those of dead clients included.
    pub open: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.operations += other.operations;
        self.attempts += other.attempts;
        self.applied += other.applied;
        self.refused += other.refused;
        self.indeterminate += other.indeterminate;
        self.resolved += other.resolved;
        self.open += other.open;
    }
}

/// One history and what was found in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct History {
    /// What decided it.
    pub seed: u64,
    /// A digest of everything that happened.
    pub hash: u64,
    /// How much happened.
    pub counts: Counts,
    /// How often each fault of [`fault_table`] happened, in that order.
    pub faults: [u64; FAULTS],
    /// Why no order of the writes explains what the clients were told.
    pub violation: Option<String>,
    /// A write that was said to be applied, or not to be, and the store knows better.
    pub lie: Option<String>,
    /// Everything that happened, a line each, if that was asked for.
    pub log: Vec<String>,
}

/// What is shared by all histories.
#[derive(Debug)]
pub struct Simulation {
    names: Names,
    policy: Policy,
}

impl Simulation {
    /// Clients that believe in `policy`.
    #[must_use]
    pub fn new(policy: Policy) -> Simulation {
        let endpoint = "http://127.0.0.1:9000".parse().expect("a URL");
        let address = Address::new(&endpoint, "bucket", UrlStyle::Path).expect("an address");
        let key = |number: usize| Key::parse(&number.to_string()).expect("a key");
        let part = Part::new(PartNumber::FIRST, ETag::parse("part").expect("a tag"), 1);
        let names = Names {
            place: Place { address, prefix: String::new() },
            keys: (0..KEYS).map(key).collect(),
            uploads: (0..OPERATIONS).map(|number| UploadId::new(&format!("u{number}"))).collect(),
            parts: vec![part],
        };
        Simulation { names, policy }
    }

    /// Runs the history of this seed and judges it.
    #[must_use]
    pub fn history(&self, seed: u64) -> History {
        self.run(seed, false)
    }

    /// The same history, with a line for everything that happens in it.
    #[must_use]
    pub fn story(&self, seed: u64) -> History {
        self.run(seed, true)
    }

    fn run(&self, seed: u64, logs: bool) -> History {
        let mut world = World::new(&self.names, seed, self.policy, logs);
        world.run();
        let violation = (0..KEYS).find_map(|key| self.judge(&world.records, key));
        let lie = world.lie();
        let mut log = world.log.take().unwrap_or_default();
        if logs {
            log.push(format!("applied, in this order: {:?}", world.store.applied));
        }
        History { seed, hash: world.hash, counts: world.counts, faults: world.faults, violation, lie, log }
    }

    /// What is wrong with what was said of one key.
    fn judge(&self, records: &[Record], key: usize) -> Option<String> {
        let of_key = || records.iter().enumerate().filter(|(_, record)| record.key == key);
        let entries: Vec<Entry> = of_key()
            .filter_map(|(number, record)| {
                let (end, certain) = world::span(record)?;
                Some(Entry { act: record.act(world::state_of(number)), call: record.call, end, certain })
            })
            .collect();
        let first = if key == REGISTER { FIRST } else { 0 };
        let repeating = self.policy == Policy::RepeatingTags;
        let tag_of = |state: State| match usize::from(state).checked_sub(2) {
            Some(number) if repeating => records.get(number).map_or(u32::MAX, |record| record.content),
            None if repeating => 0,
            _ => u32::from(state),
        };
        if !checker::is_linearizable(first, &entries, &tag_of) {
            let line = |(number, record): (usize, &Record)| {
                let Record { client, what, call, said, .. } = record;
                format!("{} by client {client} at {call}: {what:?}, {said:?}", world::state_of(number))
            };
            let said: Vec<String> = of_key().map(line).collect();
            return Some(format!("key {key}: no order explains\n  {}", said.join("\n  ")));
        }
        if repeating {
            return None;
        }
        mixed_up(of_key()).map(|problem| format!("key {key}: {problem}"))
    }
}

/// A tag names one version: two writes that are said to have the same one, or one that was applied once and has two.
fn mixed_up<'a>(records: impl Iterator<Item = (usize, &'a Record)>) -> Option<String> {
    let mut seen: Vec<(&ETag, State)> = Vec::new();
    for (number, record) in records {
        let Some(tag) = &record.tag else { continue };
        let state = match record.said {
            Said::Read(_, state) => state,
            _ => world::state_of(number),
        };
        let once = record.key < NAMES.end;
        for (other_tag, other) in &seen {
            let same = *other_tag == tag;
            if same != (*other == state) && (same || once) {
                return Some(format!("tag {tag} of write {state}, and {other_tag} of write {other}"));
            }
        }
        seen.push((tag, state));
    }
    None
}

/// Every fault: what it is, and how many in a thousand attempts meet it in usual weather. A third of the histories each
/// have 0.3, 1 and 2 times as many.
#[must_use]
pub fn fault_table() -> [(&'static str, u32); FAULTS] {
    faults::TABLE.map(|(_, what, per_mille)| (what, per_mille))
}
