//! HTTP and name resolution as the sources of keys need them. Programs bring the implementation.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

/// Sends one request and brings its whole answer.
///
/// Whoever implements it keeps to these rules, because the sources rely on them:
///
/// - **No redirect is followed.** A 3xx is an answer like any other.
/// - **Nothing is repeated.** One call is at most one request; the sources repeat by themselves.
/// - **Certificates are verified**, against the name in the URL, even where
///   [`pin`](SendOptions::pin) says which address to connect to.
/// - **Headers go out as they are given**, plus those that HTTP demands (`host`, `content-length`; the
///   latter also with an empty `PUT` or `POST`, which instance metadata insists on). `host` is
///   `name:port` of the URL, without the port where it is the scheme's own.
/// - **Any status is `Ok`.** Errors are for exchanges without a complete answer.
pub trait HttpSend {
    /// Sends `request`, whose URI is absolute, within the limits of `options`.
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    ///
    /// [`HttpError`], if there is no complete answer. Its text holds neither query nor header nor body.
    fn send<'a>(
        &'a self,
        request: http::Request<Bytes>,
        options: &'a SendOptions,
    ) -> LocalBoxFuture<'a, Result<http::Response<Bytes>, HttpError>>;
}

/// The limits of one request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SendOptions {
    /// Name resolution, connecting and TLS together may take this long.
    pub connect_timeout: Duration,
    /// From the start of the connection attempt to the last byte of the answer.
    pub attempt_timeout: Duration,
    /// A longer answer is [`HttpErrorKind::TooLarge`], and is not read further.
    pub body_bytes_max: usize,
    /// Whether a proxy may see the request.
    pub proxy: ProxyUse,
    /// Connect to one of these addresses, in this order, and to no other: they have been checked, and a
    /// second look-up could give others. Name and port of the URL stay for `host`, TLS and the port.
    pub pin: Option<Vec<IpAddr>>,
    /// Request or answer carries secrets: log neither, and wipe buffers where that is possible
    /// (`Bytes::from_owner` over a zeroizing buffer).
    pub sensitive: bool,
}

impl SendOptions {
    /// Limits without proxy and pin, for something secret.
    #[must_use]
    pub fn new(connect_timeout: Duration, attempt_timeout: Duration, body_bytes_max: usize) -> SendOptions {
        SendOptions {
            connect_timeout,
            attempt_timeout,
            body_bytes_max,
            proxy: ProxyUse::Never,
            pin: None,
            sensitive: true,
        }
    }
}

/// Whether a proxy may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyUse {
    /// Connect directly, whatever is configured: the answerer is on this machine or its link, and a
    /// proxy would answer with its own machine's identity.
    Never,
    /// As the program configured it.
    AsConfigured,
}

/// Why there is no complete answer.
#[derive(Debug, Clone)]
pub struct HttpError {
    kind: HttpErrorKind,
    message: String,
}

/// Why there is no complete answer, as far as a source acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpErrorKind {
    /// No connection, and so no request was sent. The name does not resolve, nobody listens, there is
    /// no way there.
    Connect,
    /// The connection broke after it was made.
    Broken,
    /// A limit of [`SendOptions`] passed.
    Timeout {
        /// What was being waited for.
        phase: HttpPhase,
    },
    /// TLS failed: the certificate is not trusted, or the other side speaks something else.
    Tls,
    /// The answer has more bytes than were allowed.
    TooLarge,
    /// The answer is not HTTP.
    Malformed,
    /// The request cannot be sent as it is: a URI or header that this implementation refuses.
    Refused,
    /// The host has no HTTP at all.
    NotConfigured,
}

/// The parts of an exchange that can take too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpPhase {
    /// Until the connection stood, TLS included.
    Connect,
    /// From then on until the head of the answer.
    Answer,
    /// The body of the answer.
    Body,
}

impl HttpPhase {
    /// In words: what was being waited for.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            HttpPhase::Connect => "connect",
            HttpPhase::Answer => "answer",
            HttpPhase::Body => "body",
        }
    }
}

impl HttpError {
    /// An error whose `message` may name host and cause, and never query, header or body.
    #[must_use]
    pub fn new(kind: HttpErrorKind, message: impl Into<String>) -> HttpError {
        HttpError { kind, message: message.into() }
    }

    pub(crate) fn not_configured() -> HttpError {
        HttpError::new(HttpErrorKind::NotConfigured, "this program has no HTTP for credentials")
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> HttpErrorKind {
        self.kind
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for HttpError {}

/// Finds the addresses of a name.
pub trait Dns {
    /// All addresses of `name`, a host name without a port. Bounded by a few seconds.
    ///
    /// # Errors
    ///
    /// Whatever the resolver says. An empty list counts as an error too.
    fn resolve<'a>(&'a self, name: &'a str) -> LocalBoxFuture<'a, io::Result<Vec<IpAddr>>>;
}
