//! [`World`]: clients, a store, and what lies between them, moved by one queue of events in virtual time. It does for
//! the machine what the driver does: ask for the next step, do it, report how it ended.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Duration;

use object_storage::{ETag, ErrorKind, OperationId, PutMode, Result};

use super::checker::{Act, If, NEVER, State};
use super::faults::{FAULTS, WEATHERS};
use super::operation::{Names, Output, Prepared};
use super::policy::Policy;
use super::random::Random;
use super::scheduled::Scheduled;
use super::store::{Answer, Store};
use super::{CLIENTS_MAX, Counts, KEYS, OPERATIONS};
use crate::protocol::budget::Budget;
use crate::protocol::exchange::{Ended, Exchange, Unanswered};
use crate::protocol::request::Request;

mod clients;
mod network;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a signature is accepted: S3's 15 minutes.
const SIGNATURE_TIME: Duration = Duration::from_secs(15 * 60);

/// How long a look may take in all, as the driver has it.
pub(super) const LOOK_TIME_MAX: Duration = Duration::from_secs(10);

/// What is known of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is going on, or nobody knows and it may yet take effect.
    Open,
    /// If it ever took effect, then before this moment.
    OpenUntil(u32),
    Applied(u32),
    /// It did not and will not. `Some`: and before this moment its condition did not hold.
    NotApplied(Option<u32>),
    Read(u32, State),
    /// A read that failed, or died.
    Nothing,
}

/// One operation of a history.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) key: usize,
    pub(super) client: usize,
    pub(super) what: What,
    pub(super) call: u32,
    pub(super) said: Said,
    pub(super) content: u32,
    /// Which tags its object was seen to have.
    pub(super) tag: Option<ETag>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Read,
    Write(If),
    Delete(If),
}

impl Record {
    /// What it does, for the judge.
    pub(super) fn act(&self, state: State) -> Act {
        match (self.what, self.said) {
            (_, Said::Read(_, saw)) => Act::Read(saw),
            (What::Write(condition) | What::Delete(condition), Said::NotApplied(_)) => {
                Act::Refused(condition)
            }
            (What::Write(condition), _) => Act::Write(condition, state),
            (What::Delete(condition), _) => Act::Delete(condition),
            (What::Read, _) => Act::Read(0),
        }
    }
}

enum Event {
    /// A client that has nothing to do finds something, or goes on after a pause.
    Go {
        client: usize,
        life: u32,
    },
    Arrive {
        request: Rc<Request>,
        signed: Duration,
        reply: Option<Reply>,
    },
    Answer {
        to: Ticket,
        answer: Rc<Answer>,
    },
    Unanswered {
        to: Ticket,
        sent: bool,
    },
    Die {
        client: usize,
        life: u32,
        operation: usize,
    },
}

/// Which attempt of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticket {
    client: usize,
    number: u32,
}

/// How the store's answer gets back.
struct Reply {
    to: Ticket,
    after: Duration,
    /// Something else is said in its place.
    instead: Option<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// The operation, for the first time.
    First,
    /// The same again with the same id, after its outcome was left open.
    Again,
    /// To find out whether it was applied.
    Resolve { restarted: bool },
}

/// An exchange under way.
struct Drive<'n> {
    prepared: Prepared<'n>,
    request: Rc<Request>,
    exchange: Exchange<Output>,
    began: Duration,
    waits: Option<u32>,
}

struct Call<'n> {
    record: usize,
    purpose: Purpose,
    main: Drive<'n>,
    look: Option<Drive<'n>>,
    /// What a wrong policy says instead of the machine.
    verdict: Option<Result<Output>>,
}

/// Which object a client believes to be there, with its tag.
type Known = Option<(ETag, State)>;

struct Client<'n> {
    life: u32,
    call: Option<Call<'n>>,
    /// What to do next about a write whose outcome is open.
    open: Option<(usize, Purpose)>,
    known: [Known; KEYS],
    budget: Budget,
    budget_of_looks: Budget,
}

/// Everything there is.
pub(super) struct World<'n> {
    names: &'n Names,
    policy: Policy,
    random: Random,
    weather: u32,
    /// Whether what is between may pass second answers on.
    replays: bool,
    deletes: bool,
    attempts_max: u32,
    pub(super) store: Store,
    clients: Vec<Client<'n>>,
    pub(super) records: Vec<Record>,
    /// How each write is sent: by an upload of that number, or by a put with an id that the caller chose or not.
    ways: Vec<Way>,
    queue: BinaryHeap<Reverse<Scheduled<Event>>>,
    now: Duration,
    /// The count of events: a clock for the judge that no two events share.
    moment: u32,
    numbers: u32,
    pub(super) counts: Counts,
    pub(super) faults: [u64; FAULTS],
    pub(super) hash: u64,
    /// A line for everything that happens, when somebody wants to read it.
    pub(super) log: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
struct Way {
    upload: bool,
    given: bool,
    write_once: bool,
    mode: Option<PutMode>,
}

/// The write that has set up the register.
pub(super) const FIRST: State = 1;

/// The state that a write leads to, which is also its id.
pub(super) fn state_of(record: usize) -> State {
    State::try_from(record + 2).expect("a history has few operations")
}

fn id_of(record: usize) -> OperationId {
    OperationId::from_bits(u128::from(state_of(record)))
}

impl<'n> World<'n> {
    pub(super) fn new(names: &'n Names, seed: u64, policy: Policy, logs: bool) -> World<'n> {
        let mut random = Random::with_seed(seed);
        let first = OperationId::from_bits(u128::from(FIRST));
        let store = Store::new(first, policy == Policy::RepeatingTags, random.per_mille(500));
        let clients = 3 + random.index(CLIENTS_MAX - 2);
        let mut world = World {
            names,
            policy,
            // What is wrong shows sooner in rough weather.
            weather: match policy {
                Policy::Sound => WEATHERS[random.index(WEATHERS.len())],
                _ => WEATHERS[WEATHERS.len() - 1],
            },
            replays: policy == Policy::Replays || random.per_mille(250),
            deletes: policy == Policy::ReusedNames || random.per_mille(125),
            attempts_max: 1 + random.below(8),
            store,
            clients: Vec::new(),
            records: Vec::with_capacity(OPERATIONS),
            ways: Vec::with_capacity(OPERATIONS),
            queue: BinaryHeap::with_capacity(32),
            now: Duration::ZERO,
            moment: 0,
            numbers: 0,
            counts: Counts::default(),
            faults: [0; FAULTS],
            hash: 0xcbf2_9ce4_8422_2325,
            log: logs.then(Vec::new),
            random,
        };
        for client in 0..clients {
            world.clients.push(Client {
                life: 0,
                call: None,
                open: None,
                known: [const { None }; KEYS],
                budget: Budget::of_operations(),
                budget_of_looks: Budget::of_looks(),
            });
            let after = world.random.between_millis(0, 50);
            world.schedule(after, Event::Go { client, life: 0 });
        }
        world
    }

    /// Runs until nothing is under way any more, and everybody has looked at everything.
    pub(super) fn run(&mut self) {
        while let Some(Reverse(next)) = self.queue.pop() {
            self.now = next.at;
            self.moment += 1;
            self.happens(next.event);
        }
        for key in 0..KEYS {
            self.moment += 2;
            let saw = self.store.objects[key].as_ref().map(|version| (version.id, version.tag.clone()));
            let record = self.begins(0, key, What::Read, 0);
            let state = saw.as_ref().map_or(0, |(id, _)| self.state_seen(*id));
            self.records[record].call = self.moment - 1;
            self.records[record].said = Said::Read(self.moment, state);
            self.note(format_args!("at last key {key} holds {state}"));
        }
        self.counts.operations += self.records.len() as u64 - KEYS as u64;
        let open =
            self.records.iter().filter(|record| matches!(record.said, Said::Open | Said::OpenUntil(_)));
        self.counts.open += open.count() as u64;
    }

    /// What was said of a write and is not so, by the store's own record. Clients cannot know it; it finds also what
    /// none of them happened to notice.
    pub(super) fn lie(&self) -> Option<String> {
        let lie = |(number, record): (usize, &Record)| {
            let applied = self.store.applied.iter().any(|(id, _)| *id == id_of(number));
            match record.said {
                Said::NotApplied(_) if applied => {
                    Some(format!("{} was applied: {record:?}", state_of(number)))
                }
                Said::Applied(_) if !applied => Some(format!("{} was not: {record:?}", state_of(number))),
                _ => None,
            }
        };
        let writes = self.records.iter().enumerate();
        writes.filter(|(_, record)| matches!(record.what, What::Write(_))).find_map(lie)
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Go { client, life } => {
                self.mix(&[1, client as u64]);
                if self.clients[client].life != life {
                    return;
                }
                if self.clients[client].call.is_some() { self.advance(client) } else { self.begin(client) }
            }
            Event::Arrive { request, signed, reply } => self.arrive(&request, signed, reply),
            Event::Answer { to, answer } => {
                self.mix(&[3, to.client as u64, u64::from(answer.head.status)]);
                self.ended(to, |prepared, place| prepared.read(place, &answer));
            }
            Event::Unanswered { to, sent } => {
                self.mix(&[4, to.client as u64, u64::from(sent)]);
                self.ended(to, |_, _| unanswered(sent));
            }
            Event::Die { client, life, operation } => {
                let at_it = self.clients[client].call.as_ref().is_some_and(|call| call.record == operation);
                if self.clients[client].life == life && at_it {
                    self.die(client, operation);
                }
            }
        }
    }

    fn state_seen(&self, id: Option<OperationId>) -> State {
        // What nobody wrote is no state of any operation.
        id.and_then(|id| State::try_from(id.bits()).ok()).unwrap_or(State::MAX)
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.numbers += 1;
        self.queue.push(Reverse(Scheduled { at: self.now + after, number: self.numbers.into(), event }));
    }

    fn mix(&mut self, numbers: &[u64]) {
        let micros = u64::try_from(self.now.as_micros()).expect("a history lasts minutes");
        for number in numbers.iter().copied().chain([micros]) {
            self.hash = (self.hash ^ number).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn note(&mut self, text: std::fmt::Arguments<'_>) {
        if let Some(log) = &mut self.log {
            log.push(format!("{:?} {text}", self.now));
        }
    }
}

/// The span in which a record took effect: after its call, before its end, for certain or not. `None`: it says nothing.
pub(super) fn span(record: &Record) -> Option<(u32, bool)> {
    match record.said {
        Said::Open => Some((NEVER, false)),
        Said::OpenUntil(end) => Some((end, false)),
        Said::Applied(end) | Said::Read(end, _) | Said::NotApplied(Some(end)) => Some((end, true)),
        Said::NotApplied(None) | Said::Nothing => None,
    }
}

fn unanswered(sent: bool) -> Ended<Output> {
    Ended::Unanswered(Unanswered {
        sent,
        kind: ErrorKind::Unavailable,
        final_: false,
        message: String::new(),
        source: None,
    })
}
