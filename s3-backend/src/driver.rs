//! Where I/O begins: the one loop that does what an [`Exchange`] says and reports back.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use credentials::{CredentialsError, Identity};
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt};
use object_storage::config::{Checksums, Timeouts};
use object_storage::{Error, ErrorKind, Key, Operation, OperationId, PutOutcome, Resolution, Result};

use crate::admission::Admission;
use crate::clock::{self, Seconds};
use crate::deadline::{Deadlines, Elapsed};
use crate::keys::Keys;
use crate::memory::{Full, Held, Memory};
use crate::protocol::budget::Budget;
use crate::protocol::concurrency::{SILENCE_MAX, wait_max};
use crate::protocol::error::{Class, Refusal};
use crate::protocol::exchange::{Ended, Exchange, Moment, Sighting, Step, Trace, Unanswered};
use crate::protocol::limits::{DRAIN_TIME_MAX, ERROR_BODY_BYTES_MAX};
use crate::protocol::memory::Need;
use crate::protocol::mend::{self, Aside, Mend};
use crate::protocol::operations::{Action, AnswerBody, GetObject, Look, Opened, Place, speaks_for_the_store};
use crate::protocol::presign::{self, PresignedUrl};
use crate::protocol::request::{Method, Request};
use crate::protocol::retry::RetryPolicy;
use crate::protocol::sign::Signing;
use crate::transport::{Cause, Chunks, Reach, ReadFailure, Response, SendFailure, StageLimits, Transport};
use crate::turns::{Turns, UnderWay};

/// Everything one shard needs to carry out operations.
#[derive(Debug)]
pub(crate) struct Driver {
    /// Replaced when the store says that the bucket is in another region.
    route: RefCell<Rc<Route>>,
    elsewhere: Elsewhere,
    /// How many seconds the store's clock is ahead of ours, once it has refused a signature for it.
    skew_seconds: Cell<i64>,
    /// Whether somebody in between may send a request twice: nobody stands between us and AWS.
    replays: bool,
    /// Whether nobody in between can have written the time of an answer.
    trusts_dates: bool,
    /// What `Moment::now` is counted from.
    began: Instant,
    budget: RefCell<Budget>,
    /// For looks, which must not starve because everything else is being retried.
    budget_of_looks: RefCell<Budget>,
    /// For aborting uploads in the background, which must not take the tokens of looks either.
    budget_of_aborts: RefCell<Budget>,
    turns: Turns,
    pub(crate) admission: Admission,
    memory: Memory,
    pub(crate) deadlines: Deadlines,
    keys: Keys,
    seconds: Seconds,
    pub(crate) timeouts: Timeouts,
    pub(crate) attempts_max: u32,
    pub(crate) checksums: Checksums,
}

/// Where requests go, and how they are signed for it.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) place: Place,
    pub(crate) signing: Signing,
    pub(crate) transport: Rc<dyn Transport>,
}

/// Where a bucket of another region is reached.
pub(crate) enum Elsewhere {
    /// At the same host: an endpoint that was configured is never left.
    SameHost,
    /// At AWS's own host for that region.
    Aws(WayTo),
}

/// Makes the way to a region.
pub(crate) type WayTo = Box<dyn Fn(&str) -> Result<Route>>;

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Elsewhere::SameHost => "SameHost",
            Elsewhere::Aws(_) => "Aws",
        })
    }
}

/// What a driver is made of.
pub(crate) struct Parts {
    pub(crate) route: Route,
    pub(crate) elsewhere: Elsewhere,
    /// Whether something of whose ways we know nothing stands between us and the store, or is it.
    pub(crate) replays: bool,
    /// Whether answers come over TLS or from this machine.
    pub(crate) trusts_dates: bool,
    pub(crate) memory: Memory,
    pub(crate) deadlines: Deadlines,
    pub(crate) keys: Keys,
    pub(crate) timeouts: Timeouts,
    pub(crate) attempts_max: u32,
    pub(crate) checksums: Checksums,
}

/// How long it may take to look at an object whose write is in doubt, beyond the time of the operation: two attempts
/// with the usual limits, one of which meets a slow server.
const LOOK_TIME_MAX: Duration = Duration::from_secs(10);

/// An answer, and the body if it is the object itself.
type Answered<T> = (T, Option<Chunks>);

/// How a whole operation ended well.
struct Driven<T> {
    output: T,
    body: Option<Chunks>,
    /// The memory that it needs until its body has come.
    held: Option<Held>,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Driver {
        let began = clock::now();
        Driver {
            route: RefCell::new(Rc::new(parts.route)),
            elsewhere: parts.elsewhere,
            replays: parts.replays,
            skew_seconds: Cell::new(0),
            trusts_dates: parts.trusts_dates,
            began,
            budget: RefCell::new(Budget::of_operations()),
            budget_of_looks: RefCell::new(Budget::of_looks()),
            budget_of_aborts: RefCell::new(Budget::of_looks()),
            turns: Turns::new(began),
            admission: Admission::default(),
            memory: parts.memory,
            deadlines: parts.deadlines,
            keys: parts.keys,
            seconds: Seconds::new(began),
            timeouts: parts.timeouts,
            attempts_max: parts.attempts_max,
            checksums: parts.checksums,
        }
    }

    /// Where requests go at present.
    pub(crate) fn route(&self) -> Rc<Route> {
        Rc::clone(&self.route.borrow())
    }

    /// What second it is for the store, as far as it has told.
    fn second(&self, now: Instant) -> SystemTime {
        let second = self.seconds.at(now);
        match self.skew_seconds.get() {
            0 => second,
            ahead => mend::shifted(second, ahead),
        }
    }

    /// The pause before something is repeated for the `nth` time, if the policy and the budget allow it.
    pub(crate) fn pause(&self, class: Class, nth: u32) -> Option<Duration> {
        let policy = RetryPolicy { attempts_max: self.attempts_max, time_max: self.timeouts.operation };
        let pause = policy.pause(class, nth, Duration::ZERO, None, fastrand::f64())?;
        let now = clock::now().duration_since(self.began);
        self.budget.borrow_mut().spend(class, now).then_some(pause)
    }

    /// Carries out an operation whose answer is read whole.
    #[expect(clippy::manual_async_fn, reason = "an async function keeps its arguments twice")]
    pub(crate) fn run<'a, A: Action>(
        &'a self,
        action: &'a A,
    ) -> impl Future<Output = Result<A::Output>> + 'a {
        async move {
            let _admitted = self.admission.admit(A::OPERATION)?;
            Ok(self.drive(action, action.need(), self.time_of(action), &self.budget).await?.output)
        }
    }

    /// Carries out a request of an operation that was admitted as a whole.
    pub(crate) async fn run_admitted<A: Action>(&self, action: &A) -> Result<A::Output> {
        let time_max = self.time_of(action);
        Ok(self.drive(action, action.need(), time_max, &self.budget).await?.output)
    }

    /// Carries out what puts an end to something, also when the store is shut down or its memory is in use.
    pub(crate) async fn clear_away<A: Action>(&self, action: &A) -> Result<A::Output> {
        let time_max = self.time_of(action);
        Ok(self.drive(action, Need::Nothing, time_max, &self.budget_of_aborts).await?.output)
    }

    /// Opens an object; its bytes are to be pulled, with the memory that this needs.
    #[expect(clippy::manual_async_fn, reason = "an async function keeps its arguments twice")]
    pub(crate) fn open<'a>(
        &'a self,
        action: &'a GetObject<'_>,
    ) -> impl Future<Output = Result<(Opened, Chunks, Option<Held>)>> + 'a {
        async move {
            let _admitted = self.admission.admit(GetObject::OPERATION)?;
            let driven = self.drive(action, action.need(), self.timeouts.operation, &self.budget).await?;
            Ok((driven.output, driven.body.expect("a get hands its body on"), driven.held))
        }
    }

    /// Opens the rest of an object for somebody who has kept the memory for its bytes.
    pub(crate) async fn reopen(&self, action: &GetObject<'_>) -> Result<(Opened, Chunks)> {
        let _admitted = self.admission.admit(GetObject::OPERATION)?;
        let driven = self.drive(action, Need::Nothing, self.timeouts.operation, &self.budget).await?;
        Ok((driven.output, driven.body.expect("a get hands its body on")))
    }

    /// Whether writes carry a checksum.
    pub(crate) fn sends_checksums(&self) -> bool {
        self.checksums == Checksums::WhenSupported
    }

    /// A URL that holds the right to make this request.
    pub(crate) async fn presign<A: Action>(&self, action: &A, valid: Duration) -> Result<PresignedUrl> {
        let operation = A::OPERATION;
        if valid < Duration::from_secs(1) || valid > presign::VALID_MAX {
            let message = "a presigned URL is valid for one second to seven days";
            return Err(Error::new(ErrorKind::InvalidInput, operation, message));
        }
        let route = self.route();
        let request = action.request(&route.place)?;
        let url = route.place.address.url(&request.path);
        let url =
            url.map_err(|problem| Error::new(ErrorKind::Unsupported, operation, problem.to_string()))?;
        let ends = clock::now() + self.timeouts.operation;
        let identity = match self.deadlines.within(ends, pin!(self.keys.get())).await {
            Ok(identity) => identity.map_err(|error| without_keys(operation, error))?,
            Err(Elapsed) => {
                let message = "finding credentials took the operation's whole time";
                return Err(Error::new(ErrorKind::Timeout, operation, message));
            }
        };
        let Some(keys) = identity.credentials() else {
            let message = "nobody's right cannot be given away: the store is used anonymously";
            return Err(Error::new(ErrorKind::Unauthenticated, operation, message));
        };
        Ok(presign::presign(url, &request, keys, route.signing.region(), self.second(clock::now()), valid))
    }

    /// Whether the object under `key` is the one that the write `id` stored.
    pub(crate) async fn resolve(&self, key: &Key, id: OperationId) -> Result<Resolution> {
        let _admitted = self.admission.admit(Operation::HeadObject)?;
        let (look, time_max) = (Look { key }, self.timeouts.operation);
        match self.drive(&look, Need::Nothing, time_max, &self.budget_of_looks).await {
            Err(error) if error.is_not_found() => Ok(Resolution::NotThere { current: None }),
            Err(error) => Err(error),
            Ok(Driven { output: (meta, seen), .. }) => match seen.etag {
                Some(etag) if seen.id == Some(id) => {
                    let mut outcome = PutOutcome::new(etag);
                    outcome.version = seen.version;
                    Ok(Resolution::Applied(outcome))
                }
                _ if seen.id == Some(id) => {
                    let message = "the write was applied, and the store does not name the tag of the object";
                    let error = Error::new(ErrorKind::Protocol, Operation::HeadObject, message);
                    Err(error.with_key(key))
                }
                _ => Ok(Resolution::NotThere { current: Some(meta) }),
            },
        }
    }

    /// What is under the key of a write whose outcome is in doubt.
    fn look<'a>(&'a self, key: &'a Key) -> LocalBoxFuture<'a, Sighting> {
        let time_max = self.timeouts.operation.min(LOOK_TIME_MAX);
        Box::pin(async move {
            let now = clock::now().duration_since(self.began);
            if !self.budget_of_looks.borrow_mut().admits_look(now) {
                return Sighting::withheld();
            }
            let sighting =
                match self.drive(&Look { key }, Need::Nothing, time_max, &self.budget_of_looks).await {
                    Ok(Driven { output: (_, seen), .. }) => Sighting::Object(seen),
                    Err(error) if error.is_not_found() => Sighting::Nothing,
                    Err(error) => Sighting::Failed(error),
                };
            self.budget_of_looks.borrow_mut().look_ended(sighting.is_answer());
            sighting
        })
    }

    /// Carries out an operation. Nearly always its first attempt brings what was asked for, and there is nothing to decide.
    ///
    /// All of this is moved into memory of its own for every operation. What hardly ever happens has other memory.
    #[expect(clippy::manual_async_fn, reason = "an async function keeps its arguments twice")]
    fn drive<'a, A: Action>(
        &'a self,
        action: &'a A,
        need: Need,
        mut time_max: Duration,
        budget: &'a RefCell<Budget>,
    ) -> impl Future<Output = Result<Driven<A::Output>>> + 'a {
        async move {
            let started = clock::now();
            // Before anything is made for it, and before it waits for anything else.
            let (held, began) = match self.memory.take(need) {
                Ok(held) => (held, started),
                Err(Full) => {
                    let ends = started + wait_max(time_max);
                    (Box::pin(self.memory_for(action, need, ends)).await?, clock::now())
                }
            };
            let request = action.request(&self.route().place)?;
            time_max = time_max.saturating_add(self.time_of_bytes(&request));
            let (output, body) = match self.attempt(action, &request, 1, began, started + time_max).await {
                Ended::Done(answered) => {
                    budget.borrow_mut().earn();
                    self.store_serves();
                    answered
                }
                ended => Box::pin(self.go_on(action, &request, started, time_max, budget, ended)).await?,
            };
            Ok(Driven { output, body, held })
        }
    }

    /// Carries on with an operation whose first attempt ended like this. (What an action says of itself is the same before
    /// it is sent and after.)
    #[cold]
    async fn go_on<A: Action>(
        &self,
        action: &A,
        request: &Request,
        started: Instant,
        time_max: Duration,
        budget: &RefCell<Budget>,
        first: Ended<Answered<A::Output>>,
    ) -> Result<Answered<A::Output>> {
        let policy = RetryPolicy { attempts_max: self.attempts_max, time_max };
        let trace = Trace { replayed: self.replays, ..action.trace() };
        let mut exchange = Exchange::new(A::OPERATION, action.key().cloned(), action.effect(), trace, policy);
        let (mut attempts, mut first) = (0, Some(first));
        loop {
            match exchange.step() {
                Step::Attempt => {
                    attempts += 1;
                    let ended = match first.take() {
                        Some(ended) => ended,
                        None => {
                            let ends = started + time_max;
                            self.attempt(action, request, attempts, clock::now(), ends).await
                        }
                    };
                    match ended {
                        Ended::Done((output, body)) => {
                            let output = if exchange.is_in_doubt() { action.doubt(output) } else { output };
                            let done = Ended::Done((output, body));
                            exchange.ended(done, Moment::at_ease(&mut budget.borrow_mut()));
                            self.store_serves();
                        }
                        ended => exchange.ended(ended, self.moment(started, &mut budget.borrow_mut())),
                    }
                }
                Step::Look => {
                    let key = action.key().expect("only what is under a key leaves a proof");
                    let sighting = self.look(key).await;
                    exchange.looked(sighting, self.moment(started, &mut budget.borrow_mut()), |outcome| {
                        (action.found(outcome).expect("what leaves a proof can be made of it"), None)
                    });
                }
                Step::Wait(pause) => compio::time::sleep(pause).await,
                Step::Done(result) => return result,
            }
        }
    }

    /// Something succeeded, and those who clear up after others have heard of it.
    fn store_serves(&self) {
        self.budget_of_looks.borrow_mut().store_serves();
        self.budget_of_aborts.borrow_mut().store_serves();
    }

    /// Waits for the memory that an operation needs, for at most [half](wait_max) of its time. It has nothing meanwhile, and nothing of it was sent.
    async fn memory_for<A: Action>(&self, action: &A, need: Need, ends: Instant) -> Result<Option<Held>> {
        match self.deadlines.within(ends, pin!(self.memory.wait(need))).await {
            Ok(held) => Ok(held),
            Err(Elapsed) => {
                let (what, keepers) = match need {
                    Need::Window => ("bodies", "others that were neither read to their end nor dropped"),
                    Need::Bytes(_) | Need::Nothing => ("payloads and pages", "earlier operations"),
                };
                let message = format!(
                    "nothing was sent: the {} bytes that `memory_limit` has for {what} were kept by {keepers} for \
                     half of the operation's time",
                    self.memory.bytes_max(need)
                );
                let error = Error::new(ErrorKind::Timeout, A::OPERATION, message);
                Err(match action.key() {
                    Some(key) => error.with_key(key),
                    None => error,
                })
            }
        }
    }

    fn moment<'a>(&self, started: Instant, budget: &'a mut Budget) -> Moment<'a> {
        let now = clock::now();
        Moment {
            elapsed: now.duration_since(started),
            now: now.duration_since(self.began),
            jitter: fastrand::f64(),
            budget,
        }
    }

    /// The `nth` attempt: keys, signature, request, answer. It is over when the operation's time is.
    #[expect(clippy::manual_async_fn, reason = "an async function keeps its arguments twice")]
    pub(crate) fn attempt<'a, A: Action>(
        &'a self,
        action: &'a A,
        request: &'a Request,
        nth: u32,
        mut began: Instant,
        ends: Instant,
    ) -> impl Future<Output = Ended<Answered<A::Output>>> + 'a {
        async move {
            let identity = match self.keys.at_hand(began) {
                Some(identity) => identity,
                None => {
                    let found = Box::pin(self.keys_for(A::OPERATION, ends)).await;
                    began = clock::now();
                    match found {
                        Ok(identity) => identity,
                        Err(NoKeys::Refused(error)) => return Ended::NotBegun(error),
                        Err(NoKeys::Late(unanswered)) => return Ended::Unanswered(unanswered),
                    }
                }
            };
            let under_way = match self.turns.begin_now(began) {
                Some(under_way) => under_way,
                None => {
                    let waited = Box::pin(self.turn(began, ends)).await;
                    began = clock::now();
                    let Some(under_way) = waited else { return Ended::Unanswered(no_turn()) };
                    under_way
                }
            };
            if began >= ends {
                // Sending now and giving up at once would only make the outcome unknown.
                return Ended::Unanswered(too_late(
                    "the operation's time was over before it could be tried again",
                ));
            }
            let route = self.route();
            let time = self.second(began);
            let sent = {
                let signed = match route.signing.sign(request, &identity, time) {
                    Ok(signed) => signed,
                    Err(problem) => {
                        let error = Error::new(ErrorKind::Config, A::OPERATION, problem.to_string());
                        return Ended::NotBegun(error.with_source(problem));
                    }
                };
                let limits = self.limits(A::OPERATION, request, nth, began, ends);
                action.sending();
                let sent = route.transport.send(&signed, &limits).await;
                route.signing.sent(signed);
                sent
            };
            let ended = match sent {
                Err(failure) => Ended::Unanswered(unanswered(failure)),
                Ok(response) if matches!(response.body, Chunks::Whole(_)) => self
                    .answer(action, &route.place, request, response)
                    .now_or_never()
                    .expect("nobody waits for what is here"),
                Ok(response) => {
                    Box::pin(self.answer_in_time(action, &route.place, request, response, ends)).await
                }
            };
            match &ended {
                Ended::Done(_) => under_way.answered(false),
                Ended::Refused(refusal) => under_way.answered(refusal.class == Class::Throttle),
                Ended::Unanswered(_) | Ended::NotBegun(_) => drop(under_way),
            }
            match ended {
                Ended::Refused(refusal) => Ended::Refused(self.mended(refusal, &identity, &route, time)),
                ended => ended,
            }
        }
    }

    /// Keys that have to be asked for first. The fetch goes on for those who come later.
    #[cold]
    async fn keys_for(&self, operation: Operation, ends: Instant) -> Result<Rc<Identity>, NoKeys> {
        match self.deadlines.within(ends, pin!(self.keys.get())).await {
            Ok(Ok(identity)) => Ok(Rc::new(identity)),
            Ok(Err(error)) => Err(NoKeys::Refused(without_keys(operation, error))),
            Err(Elapsed) => {
                Err(NoKeys::Late(too_late("finding credentials took the operation's whole time")))
            }
        }
    }

    /// Reads an answer whose body is still to come.
    #[cold]
    async fn answer_in_time<A: Action>(
        &self,
        action: &A,
        place: &Place,
        request: &Request,
        response: Response,
        ends: Instant,
    ) -> Ended<Answered<A::Output>> {
        // One that begins in the last moment may still be read.
        let ends = ends.max(clock::now() + self.silence_max(A::OPERATION));
        match self.deadlines.within(ends, pin!(self.answer(action, place, request, response))).await {
            Ok(ended) => ended,
            Err(Elapsed) => Ended::Unanswered(broken(ReadFailure {
                cause: Cause::Timeout,
                message: "the answer took longer than the operation may".to_owned(),
            })),
        }
    }

    /// Waits for a turn, for at most [half](wait_max) of the time that is left.
    async fn turn(&self, now: Instant, ends: Instant) -> Option<UnderWay<'_>> {
        let until = now + wait_max(ends.saturating_duration_since(now));
        let mut turn = pin!(self.turns.begin());
        let mut now = now;
        while now < until {
            let look_again = until.min(now + SILENCE_MAX);
            if let Ok(under_way) = self.deadlines.within(look_again, turn.as_mut()).await {
                return Some(under_way);
            }
            now = clock::now();
        }
        None
    }

    /// A refusal, after mending what it complains about, as far as that is in our hands.
    fn mended(&self, refusal: Refusal, identity: &Identity, route: &Route, time: SystemTime) -> Refusal {
        let keys = identity.credentials();
        let mut refusal = match keys.and_then(credentials::Credentials::session_token) {
            Some(_) => refusal.of_a_session(),
            None => refusal,
        };
        refusal.mended = refusal.aside.as_ref().and_then(|aside| self.mend(aside, route, time));
        if refusal.mended.is_none()
            && refusal.blames_keys()
            && let Some(keys) = keys
        {
            self.keys.invalidate(keys.access_key_id());
        }
        if refusal.blames_connection() {
            route.transport.forget_idle();
        }
        refusal
    }

    /// Mends what a refusal says of the way we asked. `route` and `time` are those of the request.
    fn mend(&self, aside: &Aside, route: &Route, time: SystemTime) -> Option<Mend> {
        if let Some(region) = aside.region.as_deref().filter(|region| *region != route.signing.region()) {
            if self.route().signing.region() == region {
                // Another operation has found it out meanwhile.
                return Some(Mend::Region);
            }
            let way = match &self.elsewhere {
                Elsewhere::Aws(way) => way(region).ok()?,
                Elsewhere::SameHost if aside.stays_at(&route.place.address.origin().authority) => Route {
                    place: route.place.clone(),
                    signing: route.signing.in_region(region),
                    transport: Rc::clone(&route.transport),
                },
                Elsewhere::SameHost => return None,
            };
            *self.route.borrow_mut() = Rc::new(way);
            return Some(Mend::Region);
        }
        let date = aside.date.filter(|_| self.trusts_dates)?;
        self.skew_seconds.set(mend::skew(date, time, clock::wall())?);
        // Our clock may have been set within the second that `time` is from: the correction is none of that.
        self.seconds.forget(clock::now());
        Some(Mend::Clock)
    }

    /// Reads an answer as its status and the action ask for.
    async fn answer<A: Action>(
        &self,
        action: &A,
        place: &Place,
        request: &Request,
        mut response: Response,
    ) -> Ended<Answered<A::Output>> {
        let head = &response.head;
        // 202 promises nothing, 203 is a proxy's own version, and the rest is no answer to anything asked here.
        let good = match head.status {
            200 | 201 | 204 => true,
            206 => action.body() == AnswerBody::Object,
            _ => false,
        };
        if !good {
            return match Box::pin(collect(&mut response.body, ERROR_BODY_BYTES_MAX)).await {
                Err(failure) => Ended::Unanswered(broken(failure)),
                Ok(body) => {
                    let refusal =
                        Refusal::read(head, &body, action.condition(), request.method == Method::Head);
                    action.excuse(refusal).map_or_else(Ended::Refused, |output| Ended::Done((output, None)))
                }
            };
        }
        let body = match action.body() {
            AnswerBody::Object => {
                let read = action.read(place, head, &[]).and_then(|output| {
                    // What is all here is compared here, where it can still be asked for again.
                    if let Chunks::Whole(bytes) = &response.body {
                        action.verify(head, &output, bytes.as_deref().unwrap_or_default())?;
                    }
                    Ok(output)
                });
                return match read {
                    Ok(output) => Ended::Done((output, Some(response.body))),
                    Err(refusal) => Ended::Refused(refusal),
                };
            }
            AnswerBody::Ignored if matches!(response.body, Chunks::Whole(_)) => Vec::new(),
            AnswerBody::Ignored => {
                // Read to its end only so that the connection can be used again; the head has said everything, and
                // what it said holds whatever becomes of the rest.
                let mut drained = Box::pin(collect(&mut response.body, ERROR_BODY_BYTES_MAX));
                let _drained = self.deadlines.within(clock::now() + DRAIN_TIME_MAX, drained.as_mut()).await;
                Vec::new()
            }
            AnswerBody::Empty => match Box::pin(collect(&mut response.body, ERROR_BODY_BYTES_MAX)).await {
                Ok(body) => match speaks_for_the_store(head, &body) {
                    Ok(()) => body,
                    Err(refusal) => return Ended::Refused(refusal),
                },
                Err(failure) => return Ended::Unanswered(broken(failure)),
            },
            AnswerBody::Xml => match Box::pin(collect(&mut response.body, action.answer_bytes_max())).await {
                Ok(body) => body,
                Err(failure) => return Ended::Unanswered(broken(failure)),
            },
        };
        match action.read(place, head, &body) {
            Ok(output) => Ended::Done((output, None)),
            Err(refusal) => {
                action.excuse(refusal).map_or_else(Ended::Refused, |output| Ended::Done((output, None)))
            }
        }
    }

    /// How long all attempts of an operation may take together, without the time for its bytes.
    fn time_of<A: Action>(&self, _: &A) -> Duration {
        if joins(A::OPERATION) { self.timeouts.complete_operation() } else { self.timeouts.operation }
    }

    /// What a large request may take on top. (Those that join have only lists of parts to send.)
    fn time_of_bytes(&self, request: &Request) -> Duration {
        self.timeouts.send_of(request.payload.len()).saturating_sub(self.timeouts.send)
    }

    /// Those of the `nth` attempt.
    fn limits(
        &self,
        operation: Operation,
        request: &Request,
        nth: u32,
        began: Instant,
        ends: Instant,
    ) -> StageLimits {
        let timeouts = &self.timeouts;
        StageLimits {
            began,
            connect: timeouts.connect,
            send: timeouts.send_of(request.payload.len()),
            head: if joins(operation) { timeouts.complete } else { timeouts.head_of(nth) },
            body: self.silence_max(operation),
            ends,
        }
    }

    /// How long the store may be silent within an answer.
    fn silence_max(&self, operation: Operation) -> Duration {
        if joins(operation) { self.timeouts.complete } else { self.timeouts.body }
    }
}

/// Operations during which the store may be silent for long while it works.
fn joins(operation: Operation) -> bool {
    matches!(operation, Operation::CompleteMultipartUpload | Operation::CopyObject)
}

/// Reads a body to its end, or up to `bytes_max`: what is longer is cut there and will not parse.
async fn collect(body: &mut Chunks, bytes_max: usize) -> Result<Vec<u8>, ReadFailure> {
    let mut out = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if out.len() + chunk.len() > bytes_max {
            // Longer than anything S3 sends: an empty document is refused by every reader.
            return Ok(Vec::from(*b"<too-long"));
        }
        out.extend_from_slice(&chunk);
    }
    Ok(out)
}

fn unanswered(failure: SendFailure) -> Unanswered {
    Unanswered {
        sent: failure.reach > Reach::NotSent,
        kind: kind_of(failure.cause),
        final_: failure.cause == Cause::Certificate,
        message: failure.message,
        source: None,
    }
}

/// Why there are no keys to sign an attempt with.
enum NoKeys {
    Refused(Error),
    Late(Unanswered),
}

#[cold]
fn no_turn() -> Unanswered {
    let message =
        "the store wants fewer requests at once, and half of the operation's time went by before its turn";
    Unanswered { kind: ErrorKind::Throttled, ..too_late(message) }
}

/// Nothing was sent, because there was no time left for it.
fn too_late(message: &str) -> Unanswered {
    Unanswered {
        sent: false,
        kind: ErrorKind::Timeout,
        final_: true,
        message: message.to_owned(),
        source: None,
    }
}

/// An answer that broke off has been preceded by the whole request.
fn broken(failure: ReadFailure) -> Unanswered {
    Unanswered {
        sent: true,
        kind: kind_of(failure.cause),
        final_: false,
        message: format!("the answer broke off: {}", failure.message),
        source: None,
    }
}

/// What a failure of the network is to the caller.
pub(crate) fn kind_of(cause: Cause) -> ErrorKind {
    match cause {
        Cause::Timeout => ErrorKind::Timeout,
        Cause::Connection => ErrorKind::Unavailable,
        Cause::Certificate => ErrorKind::Config,
        Cause::Malformed => ErrorKind::Protocol,
    }
}

fn without_keys(operation: Operation, error: CredentialsError) -> Error {
    Error::new(ErrorKind::Unauthenticated, operation, "no credentials to sign with").with_source(error)
}

#[cfg(test)]
mod tests {
    use credentials::Host;
    use object_storage::StorageConfig;

    use super::*;
    use crate::S3Storage;

    fn opened(endpoint: Option<&str>) -> S3Storage {
        let mut config = StorageConfig::object("bucket").region("us-east-1");
        if let Some(endpoint) = endpoint {
            config = config.endpoint(endpoint);
        }
        let config =
            config.access_key_id("AKID").secret_access_key("secret").build().expect("a configuration");
        let object = config.as_object().expect("of an object store").clone();
        let runtime = compio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(S3Storage::open(&object, Host::builder().build())).expect("opened")
    }

    fn mended(store: &S3Storage, region: &str, host: Option<&str>) -> Option<Mend> {
        let region = Some(region.to_owned());
        let aside = Aside { region, host: host.map(str::to_owned), date: None };
        store.driver.mend(&aside, &store.driver.route(), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_bucket_of_aws_is_followed_to_the_host_of_its_region_whatever_is_pointed_to() {
        let store = opened(None);
        let before = store.location();
        assert!(before.contains("s3.us-east-1.amazonaws.com"), "{before}");
        assert_eq!(mended(&store, "us-east-1", None), None, "it is there already");
        assert_eq!(mended(&store, "eu-west-3", Some("evil.example")), Some(Mend::Region));
        assert_eq!(store.location(), before.replace("us-east-1", "eu-west-3"));
        assert_eq!(store.driver.route().signing.region(), "eu-west-3");
    }

    #[test]
    fn an_endpoint_that_was_configured_is_never_left() {
        let store = opened(Some("http://127.0.0.1:9"));
        let before = store.location();
        assert_eq!(mended(&store, "eu-west-3", Some("evil.example")), None);
        assert_eq!(store.driver.route().signing.region(), "us-east-1");
        assert_eq!(mended(&store, "eu-west-3", Some("127.0.0.1:9")), Some(Mend::Region));
        assert_eq!((store.location(), store.driver.route().signing.region()), (before, "eu-west-3"));
    }

    #[test]
    fn a_request_that_was_signed_just_before_the_clock_was_set_is_signed_anew_by_the_clock_as_it_is() {
        let driver = opened(Some("http://127.0.0.1:9")).driver;
        let (wall, hour) = (clock::wall(), Duration::from_secs(3600));
        driver.seconds.keep(wall - hour, clock::now() + hour);
        let signed = driver.second(clock::now());
        assert_eq!(signed, wall - hour);
        let aside = Aside { date: Some(wall), ..Aside::default() };
        assert_eq!(driver.mend(&aside, &driver.route(), signed), Some(Mend::Clock));
        let again = driver.second(clock::now());
        assert!(mend::skew(wall, again, wall).is_none(), "{again:?} is refused again");
    }
}
