//! The seam to the network: one signed request goes out, an answer comes in, or a report how far it got.

#[cfg(feature = "cyper")]
mod cyper;
pub(crate) mod direct;
mod resolve;
mod tls;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{LocalBoxStream, Stream};

#[cfg(feature = "cyper")]
pub(crate) use self::cyper::CyperTransport;
pub(crate) use self::direct::DirectTransport;
pub(crate) use self::resolve::addresses_of;
pub(crate) use self::tls::{Roots, client_config};
use crate::protocol::request::{ResponseHead, SignedRequest};

/// Sends requests. One per shard; keeps connections open between requests.
pub(crate) trait Transport: fmt::Debug {
    /// Sends one request, once: it is never repeated after a byte of it may have left, and no redirect is followed.
    ///
    /// Dropping the future gives the request up wherever it is, and closes its connection.
    fn send<'a>(
        &'a self,
        request: &'a SignedRequest<'a>,
        limits: &'a StageLimits,
    ) -> LocalBoxFuture<'a, Result<Response, SendFailure>>;

    /// The size of the future behind [`send`](Self::send), in bytes.
    #[cfg(test)]
    fn future_bytes(&self, request: &SignedRequest<'_>, limits: &StageLimits) -> usize;

    /// Closes the connections that lie idle: over one of them bytes did not arrive as they were sent. What comes next
    /// goes over another. A transport that cannot tell its pool to do so leaves it.
    fn forget_idle(&self) {}
}

/// How long each stage of one attempt may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StageLimits {
    /// When the attempt begins: now, but for what it took to sign it.
    pub(crate) began: Instant,
    /// Until there is a connection: DNS, TCP, TLS.
    pub(crate) connect: Duration,
    /// Until the body of the request has left.
    pub(crate) send: Duration,
    /// From then until the head of the answer.
    pub(crate) head: Duration,
    /// Between two pieces of the answer's body.
    pub(crate) body: Duration,
    /// When all stages up to the head of the answer must be over.
    pub(crate) ends: Instant,
}

/// The head of an answer, and its body to be pulled.
pub(crate) struct Response {
    pub(crate) head: ResponseHead,
    /// Dropping it before its end closes the connection.
    pub(crate) body: Chunks,
}

/// The body of an answer as it comes.
pub(crate) enum Chunks {
    /// All of it, if it has not been taken. Most answers are so short that they come with their head.
    Whole(Option<Bytes>),
    Stream(LocalBoxStream<'static, Result<Bytes, ReadFailure>>),
}

impl Chunks {
    pub(crate) fn whole(bytes: Bytes) -> Chunks {
        Chunks::Whole((!bytes.is_empty()).then_some(bytes))
    }

    pub(crate) fn stream(chunks: impl Stream<Item = Result<Bytes, ReadFailure>> + 'static) -> Chunks {
        Chunks::Stream(Box::pin(chunks))
    }
}

impl Stream for Chunks {
    type Item = Result<Bytes, ReadFailure>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut *self {
            Chunks::Whole(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Chunks::Stream(chunks) => chunks.as_mut().poll_next(cx),
        }
    }
}

/// How far a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// No byte of it can have left.
    NotSent,
    /// Some bytes may have left, not all.
    PartlySent,
    /// All of it may have left.
    Sent,
}

/// A request that was not answered.
#[derive(Debug)]
pub(crate) struct SendFailure {
    /// How far the request got. (An answer that has begun is a [`Response`], however it goes on.)
    pub(crate) reach: Reach,
    pub(crate) cause: Cause,
    /// One line for humans, without any part of the URL.
    pub(crate) message: String,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A stage took longer than its limit.
    Timeout,
    /// The connection could not be made, or broke.
    Connection,
    /// The other side's certificate is not to be trusted, or it speaks no TLS that is safe. Trying again changes
    /// nothing.
    Certificate,
    /// What came back is not HTTP.
    Malformed,
}

/// An answer whose body broke off.
#[derive(Debug)]
pub(crate) struct ReadFailure {
    pub(crate) cause: Cause,
    pub(crate) message: String,
}
