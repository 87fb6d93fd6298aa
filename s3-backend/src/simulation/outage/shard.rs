//! [`Shard`]: operations under way, moved by one queue of events. It does for the machine what the driver does: waits for
//! a turn, sends, reports how it ended.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use object_storage::config::{
    ATTEMPTS_MAX_DEFAULT, HEAD_TIMEOUT_DEFAULT, OPERATION_TIMEOUT_DEFAULT, UrlStyle,
};
use object_storage::{ErrorKind, Key, OperationId, PutMode};

use super::super::operation::{Names, Output, Prepared};
use super::super::random::Random;
use super::super::scheduled::Scheduled;
use super::super::store::Answer;
use super::super::world::LOOK_TIME_MAX;
use super::{BEGINS, Client, ENDS, Load, Outage, Scenario, Toll, WATCHED, Work};
use crate::protocol::address::Address;
use crate::protocol::budget::Budget;
use crate::protocol::concurrency::{Concurrency, SILENCE_MAX, Turn, wait_max};
use crate::protocol::exchange::{Ended, Exchange, Moment, Sighting, Step, Unanswered};
use crate::protocol::operations::Place;
use crate::protocol::retry::RetryPolicy;

/// Which operation.
type Number = u64;

enum Event {
    /// A caller wants something. `task`: it will want more when it has been served.
    Begin { task: bool },
    /// A pause is over.
    Go(Number),
    /// Whoever still waits for the turn of this attempt waits no longer.
    TurnMissed(Number, u32),
    /// Who waits looks whether there is room now.
    LookForRoom,
    /// An attempt ends.
    End(Number, Fate),
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Served,
    Refused,
    SlowDown,
    InternalError,
    TimedOut,
}

/// An operation of which nobody has heard the end.
struct Underway {
    task: bool,
    prepared: What,
    began: Duration,
    sent: bool,
    attempts: u32,
    main: Exchange<Output>,
    look: Option<Looking>,
    turn: Option<Turn>,
}

struct Looking {
    exchange: Exchange<Output>,
    began: Duration,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Get,
    Overwrite,
    Create,
}

/// The answers of the store, made once.
struct Answers {
    stored: Answer,
    object: Answer,
    nothing: Answer,
    slow_down: Answer,
    internal_error: Answer,
}

/// Successes are counted by moments of so many milliseconds,
const MOMENT_MILLIS: u32 = 100;

/// of which a second has so many.
const MOMENTS: usize = 10;

pub(super) struct Shard<'s> {
    scenario: &'s Scenario,
    names: Names,
    answers: Answers,
    /// Whether what is between may send a request twice, for all that the machine knows.
    replays: bool,
    random: Random,
    budget: Budget,
    budget_of_looks: Budget,
    concurrency: Concurrency,
    /// Those who wait for a turn, in the order in which they came.
    waiting: VecDeque<Number>,
    looks_for_room: bool,
    under_way: BTreeMap<Number, Underway>,
    queue: BinaryHeap<Reverse<Scheduled<Event>>>,
    now: Duration,
    numbers: u64,
    toll: Toll,
    /// Successes by the moment at which they came.
    successes: Vec<u32>,
    /// Operations by the moment at which they were begun: how many, and how many succeeded within a second.
    begun: Vec<(u32, u32)>,
}

impl Shard<'_> {
    pub(super) fn new(scenario: &Scenario) -> Shard<'_> {
        let endpoint = "http://127.0.0.1:9000".parse().expect("a URL");
        let address = Address::new(&endpoint, "bucket", UrlStyle::Path).expect("an address");
        let names = Names {
            place: Place { address, prefix: String::new() },
            keys: vec![Key::parse("0").expect("a key")],
            uploads: Vec::new(),
            parts: Vec::new(),
        };
        let mut stored = Answer::good(200, &[("etag", "\"1\"")]);
        stored.body.clear();
        let answers = Answers {
            stored,
            object: Answer {
                body: "7".to_owned(),
                ..Answer::good(200, &[("content-length", "1"), ("etag", "\"1\"")])
            },
            nothing: Answer::good(404, &[]),
            slow_down: Answer::error(503, "SlowDown"),
            internal_error: Answer::error(500, "InternalError"),
        };
        let moments = moment_of(ENDS + WATCHED) + 1;
        let mut shard = Shard {
            scenario,
            names,
            answers,
            replays: scenario.seed.is_multiple_of(2),
            random: Random::with_seed(scenario.seed),
            budget: Budget::of_operations(),
            budget_of_looks: Budget::of_looks(),
            concurrency: Concurrency::default(),
            waiting: VecDeque::new(),
            looks_for_room: false,
            under_way: BTreeMap::new(),
            queue: BinaryHeap::new(),
            now: Duration::ZERO,
            numbers: 0,
            toll: Toll { digest: 0xcbf2_9ce4_8422_2325, ..Toll::default() },
            successes: vec![0; moments],
            begun: vec![(0, 0); moments],
        };
        match scenario.load {
            Load::Arrivals(_) => shard.schedule(Duration::ZERO, Event::Begin { task: false }),
            Load::Tasks { tasks, think } => {
                for _ in 0..tasks {
                    let after = shard.about(think);
                    shard.schedule(after, Event::Begin { task: true });
                }
            }
        }
        shard
    }

    pub(super) fn run(mut self) -> Toll {
        while let Some(Reverse(next)) = self.queue.pop() {
            if next.at >= ENDS + WATCHED {
                break;
            }
            self.now = next.at;
            self.happens(next.event);
        }
        self.toll.recovered = self.recovered();
        self.toll.at_ease = self.at_ease();
        self.toll
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Begin { task } => {
                if let Load::Arrivals(per_second) = self.scenario.load {
                    // Evenly: what is measured is the client, not the dice.
                    self.schedule(Duration::from_secs(1) / per_second, Event::Begin { task: false });
                }
                self.begin(task);
            }
            Event::Go(number) => self.advance(number),
            Event::TurnMissed(number, attempts) => {
                let waits = |operation: &Underway| operation.attempts == attempts && operation.turn.is_none();
                if self.under_way.get(&number).is_some_and(waits)
                    && let Some(place) = self.waiting.iter().position(|waiting| *waiting == number)
                {
                    self.waiting.remove(place);
                    self.ended(number, unanswered(false, true));
                }
            }
            Event::LookForRoom => {
                self.looks_for_room = false;
                self.let_go();
            }
            Event::End(number, fate) => self.end(number, fate),
        }
    }

    fn begin(&mut self, task: bool) {
        let prepared = match (self.scenario.work, self.random.below(3)) {
            (Work::Creations, _) | (Work::Mixed, 0) => What::Create,
            (Work::Mixed, 1) => What::Overwrite,
            (Work::Mixed, _) => What::Get,
        };
        self.numbers += 1;
        let number = self.numbers;
        let policy = policy(self.scenario, OPERATION_TIMEOUT_DEFAULT);
        let main = prepare(&self.names, prepared).exchange(policy, self.replays);
        let (began, look, turn) = (self.now, None, None);
        self.begun[moment_of(self.now)].0 += 1;
        self.toll.operations += u64::from(in_outage(self.now));
        let operation = Underway { task, prepared, began, sent: false, attempts: 0, main, look, turn };
        self.under_way.insert(number, operation);
        self.advance(number);
    }

    /// Does what the machine says, until it has to wait for something.
    fn advance(&mut self, number: Number) {
        loop {
            let Some(operation) = self.under_way.get_mut(&number) else { return };
            let exchange = match &mut operation.look {
                Some(look) => &mut look.exchange,
                None => &mut operation.main,
            };
            match exchange.step() {
                Step::Attempt => {
                    operation.attempts += 1;
                    let attempts = operation.attempts;
                    let turn = if self.waiting.is_empty() { self.concurrency.begin(self.now) } else { None };
                    if let Some(turn) = turn {
                        return self.send(number, turn);
                    }
                    let left = operation.ends().saturating_sub(self.now);
                    self.waiting.push_back(number);
                    self.look_for_room();
                    return self.schedule(wait_max(left), Event::TurnMissed(number, attempts));
                }
                Step::Wait(pause) => return self.schedule(pause, Event::Go(number)),
                Step::Look
                    if self.scenario.client == Client::Once
                        || !self.budget_of_looks.admits_look(self.now) =>
                {
                    self.looked(number, Sighting::withheld());
                }
                Step::Look => {
                    let policy = policy(self.scenario, LOOK_TIME_MAX);
                    let exchange = Prepared::look(&self.names, 0).exchange(policy, self.replays);
                    operation.look = Some(Looking { exchange, began: self.now });
                }
                Step::Done(result) if operation.look.take().is_some() => {
                    let sighting = match result {
                        Ok(Output::Seen(seen)) => Sighting::Object(seen),
                        Ok(_) => unreachable!("a look sees"),
                        Err(error) if error.is_not_found() => Sighting::Nothing,
                        Err(error) => Sighting::Failed(error),
                    };
                    self.budget_of_looks.look_ended(sighting.is_answer());
                    self.looked(number, sighting);
                }
                Step::Done(result) => return self.finish(number, result.is_ok()),
            }
        }
    }

    /// Tells the machine what was seen.
    fn looked(&mut self, number: Number, sighting: Sighting) {
        let operation = self.under_way.get_mut(&number).expect("it is under way");
        let (elapsed, jitter) = (self.now - operation.began, self.random.jitter());
        let at = Moment { elapsed, now: self.now, jitter, budget: &mut self.budget };
        operation.main.looked(sighting, at, Output::Written);
    }

    fn finish(&mut self, number: Number, good: bool) {
        let operation = self.under_way.remove(&number).expect("it was under way");
        self.mix(&[number, u64::from(good)]);
        if good {
            self.successes[moment_of(self.now)] += 1;
            if self.now - operation.began <= Duration::from_secs(1) {
                self.begun[moment_of(operation.began)].1 += 1;
            }
        }
        if let Load::Tasks { think, .. } = self.scenario.load
            && operation.task
        {
            let after = self.about(think);
            self.schedule(after, Event::Begin { task: true });
        }
    }

    /// An attempt that has its turn.
    fn send(&mut self, number: Number, turn: Turn) {
        let operation = self.under_way.get_mut(&number).expect("it is under way");
        let left = operation.ends().saturating_sub(self.now);
        if left.is_zero() {
            self.concurrency.end(&turn, None);
            return self.ended(number, unanswered(false, true));
        }
        let first = !std::mem::replace(&mut operation.sent, true);
        let looks = operation.look.is_some();
        operation.turn = Some(turn);
        let outage = in_outage(self.now);
        if outage {
            self.toll.requests += 1;
            self.toll.looks += u64::from(looks);
            self.toll.tried += u64::from(first);
        }
        let latency = self.about(self.scenario.latency);
        let fate = if outage { self.fate() } else { Fate::Served };
        let after = match fate {
            Fate::Served | Fate::SlowDown | Fate::InternalError => latency,
            Fate::Refused => Duration::from_millis(1),
            Fate::TimedOut => HEAD_TIMEOUT_DEFAULT,
        };
        let (after, fate) = if after < left { (after, fate) } else { (left, Fate::TimedOut) };
        self.schedule(after, Event::End(number, fate));
    }

    fn fate(&mut self) -> Fate {
        match (self.scenario.outage, self.random.below(4)) {
            (Outage::Refused, _) | (Outage::Mixture, 0) => Fate::Refused,
            (Outage::SlowDown, _) | (Outage::Mixture, 1) => Fate::SlowDown,
            (Outage::InternalError, _) | (Outage::Mixture, 2) => Fate::InternalError,
            (Outage::Silence, _) | (Outage::Mixture, _) => Fate::TimedOut,
        }
    }

    fn end(&mut self, number: Number, fate: Fate) {
        let operation = self.under_way.get_mut(&number).expect("it is under way");
        let turn = operation.turn.take().expect("an attempt has a turn");
        let Answers { stored, object, nothing, slow_down, internal_error } = &self.answers;
        let (looks, what) = (operation.look.is_some(), operation.prepared);
        let answer = match (fate, what) {
            (Fate::Served, _) if looks => Some(nothing),
            (Fate::Served, What::Get) => Some(object),
            (Fate::Served, What::Overwrite | What::Create) => Some(stored),
            (Fate::SlowDown, _) => Some(slow_down),
            (Fate::InternalError, _) => Some(internal_error),
            (Fate::Refused | Fate::TimedOut, _) => None,
        };
        let ended = match answer {
            None => unanswered(fate == Fate::TimedOut, false),
            Some(answer) if looks => Prepared::look(&self.names, 0).read(&self.names.place, answer),
            Some(answer) => prepare(&self.names, what).read(&self.names.place, answer),
        };
        let throttled = match fate {
            Fate::Refused | Fate::TimedOut => None,
            // Who does not retry does not hold back either.
            _ if self.scenario.client == Client::Once => None,
            _ => Some(fate == Fate::SlowDown),
        };
        self.concurrency.end(&turn, throttled);
        self.mix(&[number, fate as u64]);
        self.ended(number, ended);
        self.let_go();
    }

    /// Lets those go for whom there is room.
    fn let_go(&mut self) {
        while let Some(first) = self.waiting.front().copied() {
            let Some(turn) = self.concurrency.begin(self.now) else {
                return self.look_for_room();
            };
            self.waiting.pop_front();
            self.send(first, turn);
        }
    }

    fn look_for_room(&mut self) {
        if !std::mem::replace(&mut self.looks_for_room, true) {
            self.schedule(SILENCE_MAX, Event::LookForRoom);
        }
    }

    /// Tells the machine how an attempt ended.
    fn ended(&mut self, number: Number, ended: Ended<Output>) {
        let operation = self.under_way.get_mut(&number).expect("it is under way");
        let (exchange, began, budget) = match &mut operation.look {
            Some(look) => (&mut look.exchange, look.began, &mut self.budget_of_looks),
            None => (&mut operation.main, operation.began, &mut self.budget),
        };
        let (elapsed, jitter) = (self.now - began, self.random.jitter());
        let serves = matches!(ended, Ended::Done(_));
        exchange.ended(ended, Moment { elapsed, now: self.now, jitter, budget });
        if serves {
            self.budget_of_looks.store_serves();
        }
        self.advance(number);
    }

    fn recovered(&self) -> Option<Duration> {
        let sum = |moments: &[u32]| moments.iter().map(|&count| u64::from(count)).sum::<u64>();
        let (calm, begins) = (moment_of(Duration::from_secs(10)), moment_of(BEGINS));
        let before = sum(&self.successes[calm..begins]);
        // `before` is that of 50 seconds.
        let enough = |from: usize, seconds: usize| {
            let span = &self.successes[from..from + seconds * MOMENTS];
            sum(span) * 50 * 20 >= before * seconds as u64 * 19
        };
        let ends = moment_of(ENDS);
        let moment = (ends..ends + 600).find(|&moment| enough(moment, 1) && enough(moment, 10))?;
        Some(time_of(moment - ends))
    }

    fn at_ease(&self) -> Option<Duration> {
        let ends = moment_of(ENDS);
        let at_ease = |&moment: &usize| {
            let span = &self.begun[moment..moment + MOMENTS];
            let begun: u32 = span.iter().map(|(begun, _)| begun).sum();
            let served: u32 = span.iter().map(|(_, served)| served).sum();
            begun > 0 && served * 20 >= begun * 19
        };
        Some(time_of((ends..ends + 600).find(at_ease)? - ends))
    }

    /// Half to one and a half times as long.
    fn about(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(0.5 + self.random.jitter())
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.numbers += 1;
        self.queue.push(Reverse(Scheduled { at: self.now + after, number: self.numbers, event }));
    }

    fn mix(&mut self, numbers: &[u64]) {
        let micros = u64::try_from(self.now.as_micros()).expect("minutes");
        for number in numbers.iter().copied().chain([micros]) {
            self.toll.digest = (self.toll.digest ^ number).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Underway {
    /// When the time of what is being done is over: of the operation, or of the look that follows.
    fn ends(&self) -> Duration {
        match &self.look {
            Some(look) => look.began + LOOK_TIME_MAX,
            None => self.began + OPERATION_TIMEOUT_DEFAULT,
        }
    }
}

fn policy(scenario: &Scenario, time_max: Duration) -> RetryPolicy {
    let attempts_max = if scenario.client == Client::Once { 1 } else { ATTEMPTS_MAX_DEFAULT };
    RetryPolicy { attempts_max, time_max }
}

fn prepare(names: &Names, what: What) -> Prepared<'_> {
    let id = OperationId::from_bits(7);
    match what {
        What::Get => Prepared::get(names, 0),
        What::Overwrite => Prepared::put(names, 0, PutMode::Overwrite, id, false, false, 7),
        What::Create => Prepared::put(names, 0, PutMode::Create, id, false, false, 7),
    }
}

fn unanswered(sent: bool, final_: bool) -> Ended<Output> {
    let kind = if sent || final_ { ErrorKind::Timeout } else { ErrorKind::Unavailable };
    Ended::Unanswered(Unanswered { sent, kind, final_, message: String::new(), source: None })
}

fn in_outage(now: Duration) -> bool {
    (BEGINS..ENDS).contains(&now)
}

fn moment_of(time: Duration) -> usize {
    usize::try_from(time.as_millis() / u128::from(MOMENT_MILLIS)).expect("minutes")
}

fn time_of(moments: usize) -> Duration {
    Duration::from_millis(u64::from(MOMENT_MILLIS) * moments as u64)
}
