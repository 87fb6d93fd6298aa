//! [`CyperTransport`]: HTTP over [cyper] (hyper on compio) and rustls.
//!
//! What cyper 0.9 leaves to be desired, and what it means here:
//!
//! - It sets no TCP_NODELAY and reads in pieces of 8 KiB, which costs time and CPU but nothing else.
//! - It has no timeouts, so they are put around it.
//! - It tells apart neither the stages of a request nor how far it got, so the request's body reports that: hyper
//!   pulls it only once the request belongs to a connection, and drops an empty one as soon as the head is in that
//!   connection's buffer. (hyper-util sends a request again by itself only when hyper hands it back untouched, so
//!   what was reported stays true.)
//! - It reads only while nothing is left to be written. A server that answers early and then stops reading is
//!   therefore not heard: the limit on sending ends the attempt, and the outcome is open although it was told.
//! - Its pool cannot be told to forget a connection: what is tried again because bytes were damaged on the way may go
//!   over the same one.
//!
//! [cyper]: https://docs.rs/cyper/0.9.0/cyper/

use std::error::Error as StdError;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use compio::time::{timeout, timeout_at};
use futures_util::future::{Either, LocalBoxFuture, poll_fn, select};
use futures_util::stream::{Stream, StreamExt, unfold};
use futures_util::task::AtomicWaker;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderName, HeaderValue, USER_AGENT};
use object_storage::Payload;
use url::Url;

use super::resolve::addresses_of;
use super::{Cause, Chunks, Reach, ReadFailure, Response, SendFailure, StageLimits, Transport};
use crate::clock;
use crate::protocol::address::Origin;
use crate::protocol::headers::Headers;
use crate::protocol::request::{Method, ResponseHead, SignedRequest};

/// HTTP over cyper: one client, and so one pool of connections, per shard.
#[derive(Debug)]
pub(crate) struct CyperTransport {
    client: cyper::Client,
    /// Scheme, host and port, without a slash at the end.
    origin: String,
    user_agent: HeaderValue,
}

/// The largest piece of a payload that is handed to hyper at once, in bytes. hyper stops pulling when it has about
/// 400 KiB unsent, so this bounds what a connection buffers, whatever the size of the chunks.
const PIECE_BYTES_MAX: usize = 128 * 1024;

impl CyperTransport {
    /// No redirects, no proxy but the one given, no decompression, and this TLS configuration.
    pub(crate) fn new(
        origin: &Origin,
        tls: Arc<rustls::ClientConfig>,
        proxy: Option<&Url>,
        user_agent: HeaderValue,
    ) -> Result<CyperTransport, cyper::Error> {
        let builder =
            cyper::Client::builder().use_rustls(tls).redirect(cyper::redirect::Policy::none()).referer(false);
        let builder = match proxy {
            None => builder.no_proxy().custom_resolver(Resolver),
            Some(proxy) => builder.proxy(cyper::proxy::Proxy::all(proxy.as_str())?),
        };
        Ok(CyperTransport { client: builder.build()?, origin: origin.url(), user_agent })
    }

    async fn exchange(
        &self,
        request: &SignedRequest<'_>,
        limits: &StageLimits,
    ) -> Result<Response, SendFailure> {
        let started = limits.began;
        let progress = Arc::new(Progress::new(started, request.request.payload.len()));
        let mut sending = pin!(self.client.execute(self.outgoing(request, &progress)?));
        let response = loop {
            let (stage, began) = progress.stage();
            let ends = (began + stage.limit(limits)).min(limits.ends);
            let passed = pin!(progress.passed(stage));
            match select(pin!(timeout_at(ends, sending.as_mut())), passed).await {
                Either::Left((Ok(Ok(response)), _)) => break response,
                Either::Left((Ok(Err(error)), _)) => return Err(failure(&error, &progress)),
                Either::Left((Err(_), _)) if progress.stage().0 == stage => {
                    let message = format!("{} took longer than {:?}", stage.name(), ends - began);
                    return Err(SendFailure { reach: progress.reach(), cause: Cause::Timeout, message });
                }
                // The next stage has begun, with a limit of its own.
                Either::Left((Err(_), _)) | Either::Right(_) => {}
            }
        };
        if response.status().is_success() && progress.reach() != Reach::Sent {
            // It cannot be about bytes that have not left: it is a lie, or the late answer to another request.
            return Err(SendFailure {
                reach: progress.reach(),
                cause: Cause::Malformed,
                message: "success was answered before the request had been sent".to_owned(),
            });
        }
        let mut headers = Headers::default();
        for (name, value) in response.headers() {
            headers.push(name.as_str().as_bytes(), value.as_bytes());
        }
        let head = ResponseHead { status: response.status().as_u16(), headers };
        Ok(Response { head, body: chunks(response, limits.body) })
    }

    fn outgoing(
        &self,
        request: &SignedRequest<'_>,
        progress: &Arc<Progress>,
    ) -> Result<cyper::Request, SendFailure> {
        let method = match request.request.method {
            Method::Head => http::Method::HEAD,
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Put => http::Method::PUT,
            Method::Delete => http::Method::DELETE,
        };
        let text = format!("{}{}", self.origin, request.target);
        let url: Url = match text.parse() {
            // What the parser changes would not be what was signed.
            Ok(url) if Url::as_str(&url) == text => url,
            _ => {
                return Err(SendFailure {
                    reach: Reach::NotSent,
                    cause: Cause::Malformed,
                    message: "this transport cannot send such a path".to_owned(),
                });
            }
        };
        let mut out = cyper::Request::new(method, url);
        let headers = out.headers_mut();
        request.for_each_header(|name, value| {
            let name =
                HeaderName::from_bytes(name.as_bytes()).expect("header names come from the operations");
            let mut value =
                HeaderValue::from_bytes(value).expect("header values were checked where they were parsed");
            value.set_sensitive(matches!(name.as_str(), "authorization" | "x-amz-security-token"));
            headers.append(name, value);
        });
        headers.insert(USER_AGENT, self.user_agent.clone());
        // Bytes are to come as they are stored. It must be said: cyper would send an empty header of its own.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if request.states_length() {
            // Without a length hyper would send the stream chunked, which S3 refuses.
            headers.insert(CONTENT_LENGTH, HeaderValue::from(request.request.payload.len()));
        }
        *out.body_mut() = cyper::Body::stream(Outgoing::new(&request.request.payload, Arc::clone(progress)));
        Ok(out)
    }
}

impl Transport for CyperTransport {
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
}

/// What cyper asks for addresses.
#[derive(Debug)]
struct Resolver;

impl cyper::resolve::Resolve for Resolver {
    type Err = cyper::Error;

    async fn resolve(
        &self,
        uri: &http::Uri,
    ) -> Result<impl Stream<Item = std::net::IpAddr> + '_, cyper::Error> {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(futures_util::stream::iter(addresses_of(host).await.map_err(cyper::Error::System)?))
    }
}

/// How far the body of a request has been pulled. Shared with the body, which cyper wants to be `Send`.
#[derive(Debug)]
struct Progress {
    started: Instant,
    /// Bytes to send.
    length: u64,
    /// Bytes pulled so far.
    pulled: AtomicU64,
    /// When the first and the last byte were pulled, in nanoseconds after `started`; 0: not yet. Of an empty body:
    /// when it was dropped.
    first: AtomicU64,
    last: AtomicU64,
    /// Who waits for the next stage.
    waiting: AtomicWaker,
}

/// What a request is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Sending,
    Waiting,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Connecting => "connecting",
            Stage::Sending => "sending",
            Stage::Waiting => "waiting for an answer",
        }
    }

    fn limit(self, limits: &StageLimits) -> Duration {
        match self {
            Stage::Connecting => limits.connect,
            Stage::Sending => limits.send,
            Stage::Waiting => limits.head,
        }
    }
}

impl Progress {
    fn new(started: Instant, length: u64) -> Progress {
        let zero = || AtomicU64::new(0);
        Progress { started, length, pulled: zero(), first: zero(), last: zero(), waiting: AtomicWaker::new() }
    }

    fn pulled(&self, bytes: usize) {
        let after =
            u64::try_from(clock::now().duration_since(self.started).as_nanos()).unwrap_or(u64::MAX).max(1);
        let pulled = self.pulled.load(Ordering::Relaxed) + bytes as u64;
        self.pulled.store(pulled, Ordering::Relaxed);
        if self.first.load(Ordering::Relaxed) == 0 {
            self.first.store(after, Ordering::Relaxed);
        }
        if pulled >= self.length {
            self.last.store(after, Ordering::Relaxed);
        }
        self.waiting.wake();
    }

    /// The stage, and when it began.
    fn stage(&self) -> (Stage, Instant) {
        let at = |nanos: &AtomicU64| match nanos.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(self.started + Duration::from_nanos(nanos)),
        };
        match (at(&self.first), at(&self.last)) {
            (None, _) => (Stage::Connecting, self.started),
            (Some(first), None) => (Stage::Sending, first),
            (Some(_), Some(last)) => (Stage::Waiting, last),
        }
    }

    /// Waits until `stage` is over. Without this a long limit on one stage would also be that of the next ones.
    async fn passed(&self, stage: Stage) {
        poll_fn(|cx| {
            self.waiting.register(cx.waker());
            if self.stage().0 == stage { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    fn reach(&self) -> Reach {
        match self.stage().0 {
            Stage::Connecting => Reach::NotSent,
            Stage::Sending => Reach::PartlySent,
            Stage::Waiting => Reach::Sent,
        }
    }
}

/// The body of a request: the payload's own memory in pieces, reporting each as it is pulled.
struct Outgoing {
    chunks: std::vec::IntoIter<Bytes>,
    current: Bytes,
    progress: Arc<Progress>,
}

impl Outgoing {
    fn new(payload: &Payload, progress: Arc<Progress>) -> Outgoing {
        Outgoing { chunks: payload.clone().into_chunks().into_iter(), current: Bytes::new(), progress }
    }
}

impl Stream for Outgoing {
    type Item = cyper::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<cyper::Result<Bytes>>> {
        if self.current.is_empty() {
            match self.chunks.next() {
                None => return Poll::Ready(None),
                Some(chunk) => self.current = chunk,
            }
        }
        let bytes = self.current.len().min(PIECE_BYTES_MAX);
        let piece = self.current.split_to(bytes);
        self.progress.pulled(bytes);
        Poll::Ready(Some(Ok(piece)))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // Nothing is ever pulled of an empty body. Its end is the sign that the head went into a connection's buffer,
        // or that the attempt is over, and then nobody looks any more.
        if self.progress.length == 0 {
            self.progress.pulled(0);
        }
    }
}

/// The body of an answer, with a limit on the silence between two pieces.
fn chunks(response: cyper::Response, silence_max: Duration) -> Chunks {
    let pieces = unfold(Some(response), move |response| async move {
        let mut response = response?;
        match timeout(silence_max, response.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(response))),
            Ok(Some(Err(error))) => {
                Some((Err(ReadFailure { cause: Cause::Connection, message: describe(&error) }), None))
            }
            Err(_) => {
                let message = format!("the body stalled for {silence_max:?}");
                Some((Err(ReadFailure { cause: Cause::Timeout, message }), None))
            }
        }
    });
    Chunks::stream(pieces)
}

fn failure(error: &cyper::Error, progress: &Progress) -> SendFailure {
    let connecting = matches!(error, cyper::Error::HyperClient(error) if error.is_connect());
    // hyper says "canceled" of requests that it hands back without having begun them, and of no others.
    let untouched = causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>());
    let untouched = untouched.is_some_and(hyper::Error::is_canceled);
    let pulled = progress.pulled.load(Ordering::Relaxed) > 0;
    let reach = if (connecting || untouched) && !pulled { Reach::NotSent } else { progress.reach() };
    let cause = causes(error).find_map(cause_of).unwrap_or(Cause::Connection);
    SendFailure { reach, cause, message: describe(error) }
}

/// The error and what is behind it, down to the last. An `io::Error` hides what it wraps from `source`.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| behind(*error))
}

fn behind<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn cause_of(error: &(dyn StdError + 'static)) -> Option<Cause> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        let hopeless =
            matches!(tls, rustls::Error::InvalidCertificate(_) | rustls::Error::PeerIncompatible(_));
        return hopeless.then_some(Cause::Certificate);
    }
    // hyper does not export the type of its parse errors, only this question.
    let hyper = error.downcast_ref::<hyper::Error>()?;
    hyper.is_parse().then_some(Cause::Malformed)
}

/// The whole chain in one line. None of these errors prints a URL; if one ever does, a signature does not get out.
fn describe(error: &cyper::Error) -> String {
    let mut line = String::new();
    let mut last = String::new();
    for cause in causes(error) {
        let text = cause.to_string();
        if !last.contains(&text) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&text);
        }
        last = text;
    }
    if line.contains("X-Amz-") { "the request failed".to_owned() } else { line }
}
