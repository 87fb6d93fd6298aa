//! Where I/O begins: the one loop that does what an [`Exchange`] says and reports back.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use credentials::{CredentialsCache, CredentialsError, Host};
use futures_util::StreamExt;
use futures_util::future::poll_immediate;
use object_storage::config::{Checksums, Timeouts};
use object_storage::{Error, ErrorKind, Operation, Result};

use crate::clock;
use crate::deadline::{Deadlines, Elapsed};
use crate::protocol::error::Refusal;
use crate::protocol::exchange::{Ended, Exchange, Step, Unanswered};
use crate::protocol::limits::{DRAIN_TIME_MAX, ERROR_BODY_BYTES_MAX, XML_BYTES_MAX};
use crate::protocol::operations::{Action, AnswerBody, GetObject, Opened, Place, speaks_for_the_store};
use crate::protocol::presign::{self, PresignedUrl};
use crate::protocol::request::{Method, Request};
use crate::protocol::retry::RetryPolicy;
use crate::protocol::sign::Signing;
use crate::transport::{Cause, Chunks, Reach, ReadFailure, Response, SendFailure, StageLimits, Transport};

/// Everything one shard needs to carry out operations.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) place: Place,
    pub(crate) signing: Signing,
    pub(crate) deadlines: Deadlines,
    pub(crate) transport: Rc<dyn Transport>,
    pub(crate) credentials: Arc<CredentialsCache>,
    pub(crate) host: Host,
    pub(crate) timeouts: Timeouts,
    pub(crate) attempts_max: u32,
    pub(crate) checksums: Checksums,
}

/// An answer, and the body if it is the object itself.
type Answered<T> = (T, Option<Chunks>);

impl Driver {
    /// Carries out an operation whose answer is read whole.
    pub(crate) async fn run<A: Action>(&self, action: &A) -> Result<A::Output> {
        Ok(self.drive(action).await?.0)
    }

    /// Opens an object; its bytes are to be pulled.
    pub(crate) async fn open(&self, action: &GetObject<'_>) -> Result<(Opened, Chunks)> {
        let (opened, body) = self.drive(action).await?;
        Ok((opened, body.expect("a get hands its body on")))
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
        let request = action.request(&self.place)?;
        let url = self.place.address.url(&request.path);
        let url =
            url.map_err(|problem| Error::new(ErrorKind::Unsupported, operation, problem.to_string()))?;
        let ends = clock::now() + self.timeouts.operation;
        let identity = match self.deadlines.within(ends, pin!(self.credentials.get(&self.host))).await {
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
        Ok(presign::presign(url, &request, keys, self.signing.region(), clock::wall(), valid))
    }

    async fn drive<A: Action>(&self, action: &A) -> Result<Answered<A::Output>> {
        let started = clock::now();
        let request = action.request(&self.place)?;
        let time_max = self.time_of(A::OPERATION, &request);
        let policy = RetryPolicy { attempts_max: self.attempts_max, time_max };
        let mut first = true;
        let mut exchange = Exchange::new(A::OPERATION, action.key().cloned(), action.effect(), policy);
        loop {
            match exchange.step() {
                Step::Attempt => {
                    let now = if first { started } else { clock::now() };
                    first = false;
                    let ended = Box::pin(self.attempt(action, &request, now, started + time_max)).await;
                    let ended = match ended {
                        Ended::Done((output, body)) if exchange.is_in_doubt() => {
                            Ended::Done((action.doubt(output), body))
                        }
                        ended => ended,
                    };
                    match ended {
                        // The usual end needs neither a clock nor a die.
                        ended @ Ended::Done(_) => exchange.ended(ended, Duration::ZERO, 0.0),
                        ended => exchange.ended(ended, clock::now().duration_since(started), fastrand::f64()),
                    }
                }
                Step::Wait(pause) => compio::time::sleep(pause).await,
                Step::Done(result) => return result,
            }
        }
    }

    /// One attempt: keys, signature, request, answer. It is over when the operation's time is.
    pub(crate) async fn attempt<A: Action>(
        &self,
        action: &A,
        request: &Request,
        began: Instant,
        ends: Instant,
    ) -> Ended<Answered<A::Output>> {
        let mut began = began;
        let mut getting = pin!(self.credentials.get(&self.host));
        let identity = match poll_immediate(getting.as_mut()).await {
            Some(identity) => Ok(identity),
            None => {
                let waited = self.deadlines.within(ends, getting).await;
                began = clock::now();
                waited
            }
        };
        let identity = match identity {
            Ok(Ok(identity)) => identity,
            Ok(Err(error)) => return Ended::NotBegun(without_keys(A::OPERATION, error)),
            // The fetch goes on for those who come later.
            Err(_) => {
                return Ended::Unanswered(too_late("finding credentials took the operation's whole time"));
            }
        };
        let left = ends.saturating_duration_since(began);
        if left.is_zero() {
            // Sending now and giving up at once would only make the outcome unknown.
            return Ended::Unanswered(too_late(
                "the operation's time was over before it could be tried again",
            ));
        }
        let signed = match self.signing.sign(request, &identity, clock::wall()) {
            Ok(signed) => signed,
            Err(problem) => {
                let error = Error::new(ErrorKind::Config, A::OPERATION, problem.to_string());
                return Ended::NotBegun(error.with_source(problem));
            }
        };
        let limits = self.limits(A::OPERATION, request, began, left);
        let ended = match self.transport.send(&signed, &limits).await {
            Err(failure) => Ended::Unanswered(unanswered(failure)),
            Ok(response) => {
                let mut reading = pin!(self.answer(action, request, response));
                let read = match poll_immediate(reading.as_mut()).await {
                    Some(ended) => Ok(ended),
                    None => {
                        // An answer that begins in the last moment may still be read.
                        let ends = ends.max(clock::now() + limits.body);
                        self.deadlines.within(ends, reading).await
                    }
                };
                match read {
                    Ok(ended) => ended,
                    Err(_) => Ended::Unanswered(broken(ReadFailure {
                        cause: Cause::Timeout,
                        message: "the answer took longer than the operation may".to_owned(),
                    })),
                }
            }
        };
        if let (Ended::Refused(refusal), Some(keys)) = (&ended, identity.credentials())
            && refusal.blames_keys()
        {
            self.credentials.invalidate(keys.access_key_id());
        }
        if let Ended::Refused(refusal) = &ended
            && refusal.blames_connection()
        {
            self.transport.forget_idle();
        }
        ended
    }

    /// Reads an answer as its status and the action ask for.
    async fn answer<A: Action>(
        &self,
        action: &A,
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
                let read = action.read(&self.place, head, &[]).and_then(|output| {
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
            AnswerBody::Xml => match Box::pin(collect(&mut response.body, XML_BYTES_MAX)).await {
                Ok(body) => body,
                Err(failure) => return Ended::Unanswered(broken(failure)),
            },
        };
        match action.read(&self.place, head, &body) {
            Ok(output) => Ended::Done((output, None)),
            Err(refusal) => {
                action.excuse(refusal).map_or_else(Ended::Refused, |output| Ended::Done((output, None)))
            }
        }
    }

    /// How long all attempts of an operation may take together.
    fn time_of(&self, operation: Operation, request: &Request) -> Duration {
        if joins(operation) {
            return self.timeouts.complete_operation();
        }
        let sending = self.timeouts.send_of(request.payload.len()).saturating_sub(self.timeouts.send);
        self.timeouts.operation.saturating_add(sending)
    }

    fn limits(&self, operation: Operation, request: &Request, began: Instant, left: Duration) -> StageLimits {
        let timeouts = &self.timeouts;
        let (head, body) = if joins(operation) {
            (timeouts.complete, timeouts.complete)
        } else {
            (timeouts.head, timeouts.body)
        };
        let send = timeouts.send_of(request.payload.len());
        StageLimits { began, connect: timeouts.connect, send, head, body, total: left }
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
