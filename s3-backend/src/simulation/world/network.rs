//! What lies between clients and the store.

use std::rc::Rc;
use std::time::Duration;

use super::super::NAMES;
use super::super::faults::{self, Fault};
use super::super::policy::Policy;
use super::super::store::{self, Answer};
use super::{Event, PATIENCE, Reply, SIGNATURE_TIME, Ticket, World};
use crate::protocol::request::Request;

impl World<'_> {
    pub(super) fn send(&mut self, to: Ticket, key: usize, request: Rc<Request>) {
        self.counts.attempts += 1;
        let fault = faults::draw(&mut self.random, self.weather).filter(|fault| match fault {
            Fault::Race => store::is_conditional(&request),
            // Elsewhere nobody can tell what happened between the two: see `Policy::Replays`.
            Fault::SecondAnswer => self.replays && (NAMES.contains(&key) || self.policy == Policy::Replays),
            _ => true,
        });
        let way = self.random.between_millis(1, 40);
        let back = self.random.between_millis(1, 40);
        let mut reply = Some(Reply { to, after: back, instead: None });
        let mut arrives = Some(way);
        if let Some(fault) = fault {
            self.faults[fault as usize] += 1;
            self.note(format_args!("client {}: {fault:?}", to.client));
            match fault {
                Fault::NotSent => {
                    (reply, arrives) = (None, None);
                    self.schedule(way, Event::Unanswered { to, sent: false });
                }
                Fault::LostOnTheWay => {
                    reply = None;
                    let late = self.random.per_mille(200);
                    arrives = late.then(|| self.random.between_millis(50, 10_000));
                    self.breaks(to);
                }
                Fault::Late => {
                    reply = None;
                    let most = if self.random.per_mille(250) { 1_000_000 } else { 3000 };
                    arrives = Some(self.random.between_millis(20, most));
                    self.breaks(to);
                }
                Fault::AnswerLost => {
                    reply = None;
                    let breaks = if self.random.per_mille(500) { way + back } else { PATIENCE };
                    self.schedule(breaks, Event::Unanswered { to, sent: true });
                }
                Fault::FailedBefore => {
                    (reply, arrives) = (None, None);
                    let answer = self.failure();
                    self.schedule(way + back, Event::Answer { to, answer: Rc::new(answer) });
                }
                Fault::FailedAfter if self.random.per_mille(500) => {
                    let answer = self.failure();
                    reply = Some(Reply { to, after: back, instead: Some(answer) });
                }
                Fault::FailedAfter => {
                    // Something in between has lost its patience, and the request goes on.
                    reply = None;
                    arrives = Some(self.random.between_millis(20, 3000));
                    let answer = self.failure();
                    self.schedule(way, Event::Answer { to, answer: Rc::new(answer) });
                }
                Fault::Race => {
                    (reply, arrives) = (None, None);
                    let answer = Answer::error(409, "ConditionalRequestConflict");
                    self.schedule(way + back, Event::Answer { to, answer: Rc::new(answer) });
                }
                Fault::Mendable => {
                    (reply, arrives) = (None, None);
                    let code = if self.random.per_mille(500) { "ExpiredToken" } else { "BadDigest" };
                    let answer = Answer::error(400, code);
                    self.schedule(way + back, Event::Answer { to, answer: Rc::new(answer) });
                }
                Fault::SentTwice => {
                    // After the one whose answer is passed on: the other order is `SecondAnswer`.
                    let again = way + self.random.between_millis(1, 5000);
                    let (request, signed) = (Rc::clone(&request), self.now);
                    self.schedule(again, Event::Arrive { request, signed, reply: None });
                }
                Fault::SecondAnswer => {
                    let again = self.random.between_millis(1, 300);
                    let meets_itself = store::is_conditional(&request) && self.random.per_mille(250);
                    let (request, signed) = (Rc::clone(&request), self.now);
                    self.schedule(way, Event::Arrive { request, signed, reply: None });
                    arrives = Some(way + again);
                    let instead = meets_itself.then(|| Answer::error(409, "ConditionalRequestConflict"));
                    reply = Some(Reply { to, after: back, instead });
                }
                Fault::Garbled => {
                    reply = Some(Reply { to, after: back, instead: Some(Answer::garbled()) });
                }
                Fault::Crash => unreachable!("clients die by operations, not by attempts"),
            }
        }
        if let Some(after) = arrives {
            let signed = self.now;
            self.schedule(after, Event::Arrive { request, signed, reply });
        }
    }

    /// The connection breaks, or patience ends.
    fn breaks(&mut self, to: Ticket) {
        let after = if self.random.per_mille(600) { self.random.between_millis(1, 80) } else { PATIENCE };
        self.schedule(after, Event::Unanswered { to, sent: true });
    }

    fn failure(&mut self) -> Answer {
        match self.random.below(8) {
            0 => Answer::error(500, "InternalError"),
            1 => Answer::error(503, "SlowDown"),
            2 => Answer::error(429, "TooManyRequests"),
            3 => Answer { body: String::new(), ..Answer::error(502, "") },
            4 => Answer { body: "<html>gateway timeout</html>".to_owned(), ..Answer::error(504, "") },
            5 => Answer::error(408, "RequestTimeout"),
            // The failure comes after the status.
            6 => Answer::error(200, "InternalError"),
            _ => Answer { body: String::new(), ..Answer::error(503, "") },
        }
    }

    pub(super) fn arrive(&mut self, request: &Request, signed: Duration, reply: Option<Reply>) {
        if self.now - signed > SIGNATURE_TIME {
            return;
        }
        let answer = self.store.arrive(request, self.now);
        self.mix(&[7, u64::from(answer.head.status), self.store.applied.len() as u64]);
        if self.log.is_some() {
            let text = format!("{:?} {} -> {}", request.method, request.path, answer.head.status);
            let heard = reply.as_ref().map(|reply| reply.to);
            self.note(format_args!("store: {text} for {heard:?}, {:?}", request.headers));
        }
        if let Some(Reply { to, after, instead }) = reply {
            let answer = Rc::new(instead.unwrap_or(answer));
            self.schedule(after, Event::Answer { to, answer });
        }
    }
}
