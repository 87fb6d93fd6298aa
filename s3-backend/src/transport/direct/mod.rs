//! [`DirectTransport`]: HTTP/1.1 straight on compio's sockets.
//!
//! A request's head and the payload's own memory leave in one vectored write, a small request's without waiting for the
//! ring; an answer is read into large buffers that are used again, and handed out as slices of them. How far a request got
//! is known to the byte, because every write says how much of it the kernel has taken.
//!
//! What is not here, because S3 needs none of it: HTTP/2, redirects, decompression, cookies, trailers.

mod answer;
mod body;
mod buffers;
mod connect;
mod connection;
mod framing;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod head;
mod low_water;
pub(crate) mod one_shot;
mod permits;
mod pool;
mod reader;
mod tls_machine;

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use credentials::Host;
use futures_util::future::LocalBoxFuture;
use url::Url;

use self::answer::Answer;
use self::body::IncomingBody;
use self::buffers::{Buffers, MEDIUM_ROOM_BYTES, SMALL_BYTES};
use self::connect::{Connector, NotConnected, Proxy};
use self::connection::{AtOnce, Broken, Heard, JOINED_BYTES_MAX, Sent};
use self::framing::Decoder;
use self::head::{Framing, NotHttp, Parsed};
use self::pool::{CONNECTIONS_MAX, Lease, Pool};
use super::{Cause, Chunks, Reach, Response, SendFailure, StageLimits, Transport};
use crate::clock;
use crate::deadline::{Deadlines, Elapsed, Watch};
use crate::protocol::address::Origin;
use crate::protocol::request::{Method, SignedRequest};

/// The lines of [`DirectTransport::constant`].
const CONSTANT_LINES: usize = 3;

/// HTTP/1.1 over connections of this shard.
pub(crate) struct DirectTransport {
    connector: Connector,
    pool: Rc<Pool>,
    deadlines: Deadlines,
    origin: Origin,
    /// The header fields that are the same for every request.
    constant: String,
}

/// What a request is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Sending,
    Waiting,
}

/// How far one attempt is, for whoever must say so when it is given up.
struct Progress<'a> {
    watch: &'a Watch,
    limits: &'a StageLimits,
    /// No stage ends later.
    ends: Instant,
    stage: Cell<Stage>,
    /// How long the stage may take.
    takes: Cell<Duration>,
    reach: Cell<Reach>,
}

impl DirectTransport {
    /// A transport to `origin`. `host` resolves names, if it can.
    ///
    /// # Errors
    ///
    /// When the proxy is not an http one.
    pub(crate) fn new(
        origin: Origin,
        tls: Arc<rustls::ClientConfig>,
        proxy: Option<&Url>,
        user_agent: &str,
        host: Host,
        deadlines: Deadlines,
    ) -> Result<DirectTransport, &'static str> {
        let proxy = match proxy {
            None => None,
            Some(url) => Some(Proxy::of(url).ok_or("only http proxies are spoken to")?),
        };
        // Bytes are to come as they are stored.
        let constant = format!(
            "host: {}\r\nuser-agent: {user_agent}\r\naccept-encoding: identity\r\n",
            origin.authority
        );
        assert!(
            constant.lines().count() == CONSTANT_LINES,
            "what goes into a header was checked where it was parsed"
        );
        let connector = Connector::new(origin.clone(), proxy, tls, host, Buffers::default());
        let pool = Pool::new(CONNECTIONS_MAX);
        Ok(DirectTransport { connector, pool, deadlines, origin, constant })
    }

    async fn exchange(
        &self,
        request: &SignedRequest<'_>,
        limits: &StageLimits,
    ) -> Result<Response, SendFailure> {
        let started = limits.began;
        let watch = self.deadlines.watch();
        let progress = Progress::new(&watch, limits);
        match watch.run(pin!(self.attempt(request, &progress, started))).await {
            Ok(result) => result,
            Err(Elapsed) => Err(progress.too_late()),
        }
    }

    async fn attempt(
        &self,
        request: &SignedRequest<'_>,
        progress: &Progress<'_>,
        started: Instant,
    ) -> Result<Response, SendFailure> {
        let mut now = started;
        // Usually there is a connection at hand, and no need for a limit on waiting for one.
        let waits = Cell::new(false);
        let wait = |now| {
            if !waits.replace(true) {
                progress.enter(Stage::Connecting, now);
            }
        };
        loop {
            let permit = match self.pool.try_permit() {
                Some(permit) => permit,
                None => {
                    wait(now);
                    let permit = self.pool.permit().await;
                    // What follows has its own time.
                    now = clock::now();
                    permit
                }
            };
            let idle = self.pool.take(now);
            let was_idle = idle.is_some();
            let connection = match idle {
                Some(connection) => connection,
                None => {
                    wait(now);
                    let connection = Box::pin(self.connector.connect()).await.map_err(not_connected)?;
                    now = clock::now();
                    Box::new(connection)
                }
            };
            match self.over(Lease { connection, permit }, request, progress, now).await {
                // It was closed while it lay idle. Every one that was is gone after this, so there is an end to it.
                Err(failure) if was_idle && failure.reach == Reach::NotSent => {
                    now = clock::now();
                    waits.set(false);
                }
                result => return result,
            }
        }
    }

    /// Sends the request over this connection and waits for the head of its answer.
    async fn over(
        &self,
        mut lease: Lease,
        request: &SignedRequest<'_>,
        progress: &Progress<'_>,
        now: Instant,
    ) -> Result<Response, SendFailure> {
        let connection = &mut lease.connection;
        let payload = &request.request.payload;
        let mut answer = Answer::new(request.request.method == Method::Head);
        let mut head = connection.head_room();
        self.write_head(request, &mut head);
        let mut sent_at = now;
        let sent = match connection.send_at_once(&mut head, payload) {
            Ok(AtOnce::All) => {
                connection.keep_head_room(head);
                Ok(Sent::Wholly)
            }
            Ok(AtOnce::Some(at)) => {
                let left = |left| progress.reach.set(if left { Reach::PartlySent } else { Reach::NotSent });
                left(at > 0);
                progress.enter(Stage::Sending, now);
                let sending = connection.send_rest(head, payload, at, left, |heard| answer.look(heard));
                // In memory of its own, which a small request does without.
                let sent = Box::pin(sending).await;
                sent_at = clock::now();
                sent
            }
            Err(error) => Err(error.into()),
        };
        progress.enter(Stage::Waiting, sent_at);
        let mut ended = match sent {
            Ok(Sent::Wholly) => {
                progress.reach.set(Reach::Sent);
                false
            }
            Ok(Sent::Partly(heard)) => heard == Heard::End,
            // What it said before is heard already, and nothing that comes now can be read.
            Err(broken @ Broken::Tls(_)) => return Err(progress.broken(&broken)),
            Err(broken) => {
                // It may have said why before it broke, and that may be here already.
                match connection.hear(SMALL_BYTES).await {
                    Ok(Heard::Something) => true,
                    Ok(Heard::End) | Err(_) => return Err(progress.broken(&broken)),
                }
            }
        };
        let parsed = loop {
            answer.look(connection.heard());
            match answer.take() {
                Some(Ok(parsed)) => break parsed,
                Some(Err(not_http)) => return Err(progress.not_http(not_http)),
                None if ended => return Err(progress.no_answer()),
                None => {
                    let heard =
                        connection.hear(SMALL_BYTES).await.map_err(|broken| progress.broken(&broken))?;
                    ended = heard == Heard::End;
                }
            }
        };
        let wholly = progress.reach.get() == Reach::Sent;
        if progress.reach.get() == Reach::NotSent {
            return Err(progress.not_http(NotHttp("it came before anything had been sent")));
        }
        if !wholly && (200..300).contains(&parsed.head.status) {
            // It cannot be about bytes that have not left: it is a lie, or the late answer to another request.
            return Err(progress.not_http(NotHttp("success was answered before the request had been sent")));
        }
        Ok(self.answered(lease, parsed, wholly && !ended, progress.limits.body))
    }

    /// The answer with this head, whose body is on the connection.
    fn answered(&self, mut lease: Lease, parsed: Parsed, reusable: bool, silence_max: Duration) -> Response {
        let reusable = reusable && parsed.reusable;
        let head = parsed.head;
        if let Framing::Length(length) = parsed.framing
            && let Some(whole) = whole_body(lease.connection.heard(), length)
        {
            // Whatever follows was not asked for.
            if reusable && lease.connection.heard().is_empty() {
                self.pool.give_back(lease);
            } else {
                lease.connection.close();
            }
            return Response { head, body: Chunks::whole(whole) };
        }
        let body = IncomingBody::new(
            lease,
            Decoder::new(parsed.framing),
            reusable,
            Rc::clone(&self.pool),
            self.deadlines.watch(),
            silence_max,
        );
        Response { head, body: Chunks::stream(body) }
    }

    /// Writes the head of a request, as it is sent, into an empty buffer.
    fn write_head(&self, request: &SignedRequest<'_>, head: &mut Vec<u8>) {
        // The usual fields without a session token; one that is longer grows once or twice.
        const FIELDS_BYTES: usize = 512;
        let proxy = self.connector.hands_on();
        // What a small request has behind its head finds room there too.
        let payload_bytes = usize::try_from(request.request.payload.len().min(JOINED_BYTES_MAX)).unwrap_or(0);
        head.reserve(FIELDS_BYTES + request.target.len() + self.constant.len() + payload_bytes);
        head.extend_from_slice(request.request.method.to_str().as_bytes());
        head.push(b' ');
        if proxy.is_some() {
            head.extend_from_slice(self.origin.url().as_bytes());
        }
        head.extend_from_slice(request.target.as_bytes());
        head.extend_from_slice(b" HTTP/1.1\r\n");
        head.extend_from_slice(self.constant.as_bytes());
        request.for_each_header(|name, value| write_field(head, name, value));
        if let Some(authorization) = proxy.and_then(Proxy::authorization) {
            write_field(head, "proxy-authorization", authorization.as_bytes());
        }
        if request.states_length() {
            let length = request.request.payload.len();
            write_field(head, "content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
    }
}

/// Neither ends a line: both were checked where they were parsed.
#[inline(always)]
fn write_field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    debug_assert!(!name.contains("\n") && !value.contains(&b'\n'), "{name} ends its line");
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

impl Transport for DirectTransport {
    fn send<'a>(
        &'a self,
        request: &'a SignedRequest<'a>,
        limits: &'a StageLimits,
    ) -> LocalBoxFuture<'a, Result<Response, SendFailure>> {
        Box::pin(self.exchange(request, limits))
    }

    #[cfg(test)]
    fn future_bytes(&self, request: &SignedRequest<'_>, limits: &StageLimits) -> usize {
        size_of_val(&self.exchange(request, limits))
    }

    fn forget_idle(&self) {
        self.pool.forget_idle();
    }
}

impl fmt::Debug for DirectTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectTransport").field("origin", &self.origin.url()).finish_non_exhaustive()
    }
}

/// A body of `length` bytes that has come whole; a small one in memory of its own.
fn whole_body(heard: &mut VecDeque<Bytes>, length: u64) -> Option<Bytes> {
    let length = usize::try_from(length).ok()?;
    if length == 0 {
        return Some(Bytes::new());
    }
    let first = heard.front_mut()?;
    if first.len() < length {
        return None;
    }
    let mut body = first.split_to(length);
    // Its connection's buffer is free at once, and nobody who keeps a small object keeps more than as much again with it.
    if length <= MEDIUM_ROOM_BYTES / 2 {
        body = Bytes::copy_from_slice(&body);
    }
    if first.is_empty() {
        heard.pop_front();
    }
    Some(body)
}

impl<'a> Progress<'a> {
    fn new(watch: &'a Watch, limits: &'a StageLimits) -> Progress<'a> {
        Progress {
            watch,
            limits,
            ends: limits.ends,
            stage: Cell::new(Stage::Connecting),
            takes: Cell::new(Duration::ZERO),
            reach: Cell::new(Reach::NotSent),
        }
    }

    fn enter(&self, stage: Stage, now: Instant) {
        let takes = match stage {
            Stage::Connecting => self.limits.connect,
            Stage::Sending => self.limits.send,
            Stage::Waiting => self.limits.head,
        };
        let ends = self.ends.min(now + takes);
        self.stage.set(stage);
        self.takes.set(ends.saturating_duration_since(now));
        self.watch.until(ends);
    }

    fn too_late(&self) -> SendFailure {
        let what = match self.stage.get() {
            Stage::Connecting => "connecting",
            Stage::Sending => "sending",
            Stage::Waiting => "waiting for an answer",
        };
        let message = format!("{what} took longer than {:?}", self.takes.get());
        SendFailure { reach: self.reach.get(), cause: Cause::Timeout, message }
    }

    fn broken(&self, broken: &Broken) -> SendFailure {
        SendFailure { reach: self.reach.get(), cause: broken.cause(), message: broken.to_string() }
    }

    fn not_http(&self, not_http: NotHttp) -> SendFailure {
        let message = format!("the answer makes no sense: {}", not_http.0);
        SendFailure { reach: self.reach.get(), cause: Cause::Malformed, message }
    }

    fn no_answer(&self) -> SendFailure {
        let message = "the connection ended before an answer".to_owned();
        SendFailure { reach: self.reach.get(), cause: Cause::Connection, message }
    }
}

fn not_connected(not: NotConnected) -> SendFailure {
    SendFailure { reach: Reach::NotSent, cause: not.cause, message: not.message }
}
