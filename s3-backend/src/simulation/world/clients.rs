//! What clients do: begin operations, do what the machine says, believe what it concludes, die and come back.

use std::rc::Rc;
use std::time::Duration;

use object_storage::{Error, ErrorKind, Operation, PutMode, PutOutcome, Result};

use super::super::checker::If;
use super::super::faults::{self, Fault};
use super::super::operation::{Output, Prepared, TIME_MAX};
use super::super::policy::Policy;
use super::super::{KEYS, NAMES, OPERATIONS, REGISTER};
use super::{
    Call, Drive, Event, LOOK_TIME_MAX, Purpose, Record, Said, Ticket, Way, What, World, id_of, state_of,
};
use crate::protocol::budget::Budget;
use crate::protocol::error::Class;
use crate::protocol::exchange::{Ended, Moment, Seen, Sighting, Step};
use crate::protocol::operations::Place;
use crate::protocol::retry::RetryPolicy;

impl<'n> World<'n> {
    pub(super) fn begin(&mut self, client: usize) {
        if let Some((record, purpose)) = self.clients[client].open.take() {
            return self.call(client, record, purpose);
        }
        if self.records.len() >= OPERATIONS {
            return;
        }
        let key = match self.random.below(10) {
            0..2 => REGISTER,
            2..6 if self.policy != Policy::ReusedNames => REGISTER,
            2..9 => NAMES.start + self.random.index(NAMES.len()),
            // A name of its own.
            _ => NAMES.end + client,
        };
        let (what, mode, upload) = self.chooses(client, key);
        let content = if self.policy == Policy::RepeatingTags {
            self.random.below(3)
        } else {
            u32::try_from(self.records.len()).expect("a history has few operations") + 1
        };
        let record = self.begins(client, key, what, content);
        self.ways[record] = Way {
            upload,
            given: self.random.per_mille(400),
            write_once: NAMES.contains(&key) && key % 2 == 0 && self.policy != Policy::ReusedNames,
            mode,
        };
        if self.ways[record].upload {
            let name = self.names.uploads[record].as_str();
            self.store.begin_upload(name, id_of(record), content);
        }
        if faults::crashes(&mut self.random, self.weather) {
            // Most operations take less than 100 ms, the others seconds.
            let most = if self.random.per_mille(700) { 100 } else { 5000 };
            let after = self.random.between_millis(0, most);
            let life = self.clients[client].life;
            self.schedule(after, Event::Die { client, life, operation: record });
        }
        self.call(client, record, Purpose::First);
    }

    /// What is done under a key, and whether by an upload.
    fn chooses(&mut self, client: usize, key: usize) -> (What, Option<PutMode>, bool) {
        let known = self.clients[client].known[key].clone();
        let is_name = NAMES.contains(&key);
        let (what, mode) = match (&known, self.random.below(16)) {
            (_, 0..4) => (What::Read, None),
            (Some((tag, state)), 4..8) if self.may_delete(key) => {
                (What::Delete(If::Tag(*state)), Some(PutMode::Match(tag.clone())))
            }
            _ if key >= NAMES.end => (What::Write(If::Always), Some(PutMode::Overwrite)),
            _ if is_name => (What::Write(If::Absent), Some(PutMode::Create)),
            (None, _) => (What::Read, None),
            _ if self.policy == Policy::Overwrite => (What::Write(If::Always), Some(PutMode::Overwrite)),
            (Some((tag, state)), _) => (What::Write(If::Tag(*state)), Some(PutMode::Match(tag.clone()))),
        };
        // A name of one's own is written once.
        let written = |record: &Record| record.key == key && record.what != What::Read;
        let (what, mode) = if key >= NAMES.end && self.records.iter().any(written) {
            (What::Read, None)
        } else {
            (what, mode)
        };
        let upload = matches!(what, What::Write(_)) && key < NAMES.end && self.random.per_mille(200);
        // Joined without a condition, which is done once: then the upload is gone.
        if upload && key == REGISTER && self.random.per_mille(300) {
            return (What::Write(If::Always), Some(PutMode::Overwrite), upload);
        }
        (what, mode, upload)
    }

    /// Whether objects under this key may be deleted. The register may: nobody creates it under the condition that it is
    /// absent. Names are deleted only to show why they must not be.
    fn may_delete(&mut self, key: usize) -> bool {
        match self.policy {
            Policy::ReusedNames => NAMES.contains(&key),
            _ => self.deletes && key == REGISTER && self.random.per_mille(125),
        }
    }

    pub(super) fn begins(&mut self, client: usize, key: usize, what: What, content: u32) -> usize {
        let said = if what == What::Read { Said::Nothing } else { Said::Open };
        let call = self.moment;
        self.records.push(Record { key, client, what, call, said, content, tag: None });
        self.ways.push(Way { upload: false, given: false, write_once: false, mode: None });
        self.records.len() - 1
    }

    fn call(&mut self, client: usize, record: usize, purpose: Purpose) {
        let key = self.records[record].key;
        let prepared = match purpose {
            Purpose::Resolve { .. } => Prepared::look(self.names, key),
            Purpose::First | Purpose::Again => self.prepare(record, purpose == Purpose::Again),
        };
        self.note(format_args!("client {client}: operation {} on key {key}, {purpose:?}", state_of(record)));
        if self.log.is_some() {
            let text = format!("  {:?} {:?}", self.records[record].what, self.ways[record]);
            self.note(format_args!("{text}"));
        }
        self.mix(&[2, client as u64, record as u64]);
        let main = self.drive(prepared, TIME_MAX);
        self.clients[client].call = Some(Call { record, purpose, main, look: None, verdict: None });
        self.advance(client);
    }

    fn prepare(&self, record: usize, again: bool) -> Prepared<'n> {
        let Record { key, what, content, .. } = self.records[record];
        let way = &self.ways[record];
        let id = id_of(record);
        match (what, &way.mode) {
            (What::Delete(_), Some(PutMode::Match(tag))) => Prepared::delete(self.names, key, tag.clone()),
            (What::Write(_), Some(mode)) if way.upload => {
                Prepared::complete(self.names, key, record, mode.clone(), id, way.write_once)
            }
            (What::Write(_), Some(mode)) => {
                let given = again || way.given;
                Prepared::put(self.names, key, mode.clone(), id, given, way.write_once, content)
            }
            // The content says which write it is from, where contents do not repeat.
            _ if way.given && self.policy != Policy::RepeatingTags => Prepared::get(self.names, key),
            _ => Prepared::look(self.names, key),
        }
    }

    fn drive(&self, prepared: Prepared<'n>, time_max: Duration) -> Drive<'n> {
        let policy = RetryPolicy { attempts_max: self.attempts_max, time_max };
        let request = Rc::new(prepared.request(&self.names.place));
        let exchange = prepared.exchange(policy, self.replays);
        Drive { prepared, request, exchange, began: self.now, waits: None }
    }

    /// Does what the machine says, until it has to wait for something.
    pub(super) fn advance(&mut self, client: usize) {
        loop {
            let mut call = self.clients[client].call.take().expect("it is at something");
            if let Some(verdict) = call.verdict.take() {
                return self.finish(client, &call, verdict);
            }
            let drive = call.look.as_mut().unwrap_or(&mut call.main);
            match drive.exchange.step() {
                Step::Attempt => {
                    self.numbers += 1;
                    drive.waits = Some(self.numbers);
                    let request = Rc::clone(&drive.request);
                    let to = Ticket { client, number: self.numbers };
                    let key = self.records[call.record].key;
                    self.clients[client].call = Some(call);
                    return self.send(to, key, request);
                }
                Step::Wait(pause) => {
                    self.clients[client].call = Some(call);
                    let life = self.clients[client].life;
                    return self.schedule(pause, Event::Go { client, life });
                }
                Step::Look if self.clients[client].budget_of_looks.admits_look(self.now) => {
                    let key = self.records[call.record].key;
                    call.look = Some(self.drive(Prepared::look(self.names, key), LOOK_TIME_MAX));
                    self.clients[client].call = Some(call);
                }
                Step::Look => self.looked(client, call, Sighting::withheld()),
                Step::Done(result) if call.look.is_some() => {
                    call.look = None;
                    let sighting = match result {
                        Ok(Output::Seen(seen)) => Sighting::Object(seen),
                        Ok(_) => unreachable!("a look sees"),
                        Err(error) if error.is_not_found() => Sighting::Nothing,
                        Err(error) => Sighting::Failed(error),
                    };
                    self.clients[client].budget_of_looks.look_ended(sighting.is_answer());
                    self.looked(client, call, sighting);
                }
                Step::Done(result) => return self.finish(client, &call, result),
            }
        }
    }

    /// Tells the machine what was seen.
    fn looked(&mut self, client: usize, mut call: Call<'n>, sighting: Sighting) {
        self.note(format_args!("client {client}: saw {sighting:?}"));
        call.verdict = self.wrongly_seen(call.record, &sighting);
        let at = Moment {
            elapsed: self.now - call.main.began,
            now: self.now,
            jitter: self.random.jitter(),
            budget: &mut self.clients[client].budget,
        };
        call.main.exchange.looked(sighting, at, Output::Written);
        self.clients[client].call = Some(call);
    }

    /// An attempt has ended, if anybody still waits for it.
    pub(super) fn ended(&mut self, to: Ticket, how: impl FnOnce(&Prepared<'n>, &Place) -> Ended<Output>) {
        let client = &mut self.clients[to.client];
        let Some(call) = &mut client.call else { return };
        let looks = call.look.is_some();
        let drive = call.look.as_mut().unwrap_or(&mut call.main);
        if drive.waits != Some(to.number) {
            return;
        }
        drive.waits = None;
        let mut ended = how(&drive.prepared, &self.names.place);
        if let Some(log) = &mut self.log {
            log.push(format!("{:?} client {}: {ended:?}", self.now, to.client));
        }
        if let Ended::Refused(refusal) = &mut ended
            && !looks
        {
            if self.policy == Policy::Throttled && refusal.class == Class::Throttle {
                refusal.class = Class::Definite;
            }
            let in_doubt = drive.exchange.is_in_doubt();
            let believed = match self.policy {
                Policy::BlindRetry => refusal.class == Class::Definite && !refusal.is_race(),
                Policy::Conflict => refusal.is_race(),
                _ => false,
            };
            if in_doubt && believed {
                call.verdict = Some(Err(Error::new(refusal.kind, Operation::PutObject, "believed")));
            }
        }
        let budget = if looks { &mut client.budget_of_looks } else { &mut client.budget };
        let elapsed = self.now - drive.began;
        let at = Moment { elapsed, now: self.now, jitter: self.random.jitter(), budget };
        let serves = matches!(ended, Ended::Done(_));
        drive.exchange.ended(ended, at);
        if serves {
            client.budget_of_looks.store_serves();
        }
        self.advance(to.client);
    }

    /// What a wrong policy concludes from a look.
    fn wrongly_seen(&self, record: usize, sighting: &Sighting) -> Option<Result<Output>> {
        let lost = |kind| Some(Err(Error::new(kind, Operation::PutObject, "believed")));
        let replaced = match self.records[record].what {
            What::Write(If::Tag(_)) => match &self.ways[record].mode {
                Some(PutMode::Match(tag)) => Some(tag),
                _ => None,
            },
            _ => None,
        };
        match (self.policy, sighting) {
            (Policy::AnotherId, Sighting::Object(seen))
                if seen.id != Some(id_of(record)) && seen.etag.as_ref() != replaced =>
            {
                lost(ErrorKind::PreconditionFailed)
            }
            (Policy::ObjectExists, Sighting::Object(Seen { etag: Some(tag), .. })) => {
                Some(Ok(Output::Written(PutOutcome::new(tag.clone()))))
            }
            (Policy::Absence, Sighting::Nothing) => lost(ErrorKind::Unavailable),
            (Policy::OldVersion, Sighting::Object(seen))
                if replaced.is_some() && seen.etag.as_ref() == replaced =>
            {
                lost(ErrorKind::Unavailable)
            }
            _ => None,
        }
    }

    fn finish(&mut self, client: usize, call: &Call<'n>, result: Result<Output>) {
        let Call { record, purpose, .. } = *call;
        self.note(format_args!("client {client}: operation {} ends: {result:?}", state_of(record)));
        let end = self.moment;
        let key = self.records[record].key;
        self.mix(&[5, record as u64, result.as_ref().map_or_else(|error| error.kind() as u64, |_| 99)]);
        let known = &mut self.clients[client].known[key];
        match (purpose, result) {
            (Purpose::Resolve { restarted }, found) => {
                return self.resolved(client, record, restarted, found);
            }
            (_, Ok(Output::Seen(seen))) => {
                *known = None;
                let state = self.state_seen(seen.id);
                self.records[record].said = Said::Read(end, state);
                self.records[record].tag.clone_from(&seen.etag);
                self.clients[client].known[key] = seen.etag.map(|tag| (tag, state));
            }
            (_, Ok(Output::Written(outcome))) => {
                self.counts.applied += 1;
                *known = Some((outcome.etag.clone(), state_of(record)));
                self.records[record].said = Said::Applied(end);
                self.records[record].tag = Some(outcome.etag);
            }
            (_, Ok(Output::Deleted)) => {
                self.counts.applied += 1;
                *known = None;
                self.records[record].said = Said::Applied(end);
            }
            (_, Err(error)) if self.records[record].what == What::Read => {
                *known = None;
                if error.is_not_found() {
                    self.records[record].said = Said::Read(end, 0);
                }
            }
            (_, Err(error)) if error.is_indeterminate() => {
                self.counts.indeterminate += 1;
                // Some go on as if nothing had been.
                if self.random.per_mille(750) {
                    self.clients[client].known[key] = None;
                }
                let next = match self.random.below(3) {
                    0 => Some(Purpose::Resolve { restarted: false }),
                    1 if self.may_be_driven_again(record) => Some(Purpose::Again),
                    _ => None,
                };
                self.clients[client].open = next.map(|purpose| (record, purpose));
            }
            (_, Err(error)) => {
                self.counts.refused += 1;
                *known = None;
                self.refused(record, purpose, error.kind());
            }
        }
        self.rest(client);
    }

    /// A refusal that is to be believed.
    fn refused(&mut self, record: usize, purpose: Purpose, kind: ErrorKind) {
        let end = self.moment;
        let of_condition = matches!(kind, ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed)
            || (kind == ErrorKind::NotFound && !self.ways[record].upload);
        let (What::Write(condition) | What::Delete(condition)) = self.records[record].what else { return };
        self.records[record].said = match (purpose, condition) {
            (Purpose::Again, _) if !of_condition => return,
            // The tag has moved: nothing of it lands any more, and what has landed may have been replaced.
            (Purpose::Again, If::Tag(_)) => Said::OpenUntil(end),
            (Purpose::Again | Purpose::First, _) => {
                Said::NotApplied((of_condition && condition != If::Always).then_some(end))
            }
            (Purpose::Resolve { .. }, _) => unreachable!("a look is no write"),
        };
    }

    /// A put can be sent again by whoever knows its id; an upload is gone with the process that had it.
    fn may_be_driven_again(&self, record: usize) -> bool {
        matches!(self.records[record].what, What::Write(_)) && !self.ways[record].upload
    }

    fn resolved(&mut self, client: usize, record: usize, restarted: bool, found: Result<Output>) {
        let ours = matches!(&found, Ok(Output::Seen(seen)) if seen.id == Some(id_of(record)));
        if ours {
            self.counts.resolved += 1;
            self.records[record].said = Said::Applied(self.moment);
        } else if restarted && self.policy == Policy::NotThere && found.is_ok() {
            self.records[record].said = Said::NotApplied(None);
        } else if self.may_be_driven_again(record) && self.random.per_mille(500) {
            self.clients[client].open = Some((record, Purpose::Again));
        }
        self.rest(client);
    }

    fn rest(&mut self, client: usize) {
        let (least, most) = if self.random.per_mille(50) { (1000, 20_000) } else { (0, 150) };
        let after = self.random.between_millis(least, most);
        let life = self.clients[client].life;
        self.schedule(after, Event::Go { client, life });
    }

    pub(super) fn die(&mut self, client: usize, record: usize) {
        self.faults[Fault::Crash as usize] += 1;
        self.note(format_args!("client {client} dies in operation {}", state_of(record)));
        self.mix(&[6, client as u64]);
        let remembers = self.ways[record].given && self.records[record].what != What::Read;
        let dead = &mut self.clients[client];
        dead.life += 1;
        dead.call = None;
        dead.known = [const { None }; KEYS];
        dead.open = remembers.then_some((record, Purpose::Resolve { restarted: true }));
        if matches!(self.records[record].what, What::Delete(_)) {
            dead.open = None;
        }
        (dead.budget, dead.budget_of_looks) = (Budget::of_operations(), Budget::of_looks());
        let (life, after) = (dead.life, self.random.between_millis(100, 30_000));
        self.schedule(after, Event::Go { client, life });
    }
}
