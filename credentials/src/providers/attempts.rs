//! One request to a service of the machine within its limits, what is left of it in memory, and the
//! pause before the next.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use zeroize::{Zeroize, Zeroizing};

use super::key_document;
use crate::host::{Host, HttpError, HttpErrorKind, HttpPhase, SendOptions};
use crate::provider::{ProviderError, ProviderErrorKind, Retry, SourceName};

/// The longest first pause; each later one is twice as long. Three pauses make at most 1.4 s, which is
/// short beside the limits of the requests between them.
const PAUSE_FIRST: Duration = Duration::from_millis(200);

/// [`HttpSend`](crate::HttpSend) keeps the limits and can tell which phase took too long. One that does
/// not is cut off this much later.
const GRACE: Duration = Duration::from_millis(500);

/// A complete answer. Its body may hold keys and is wiped where nobody else holds it too.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Ok(mut body) = std::mem::take(&mut self.body).try_into_mut() {
            body.as_mut().zeroize();
        }
    }
}

pub(super) async fn send(
    host: &Host,
    request: Request<Bytes>,
    options: &SendOptions,
) -> Result<Answer, HttpError> {
    let sent = bounded(host, options.attempt_timeout + GRACE, host.send(request, options)).await;
    let Some(sent) = sent else {
        let kind = HttpErrorKind::Timeout { phase: HttpPhase::Answer };
        return Err(HttpError::new(kind, "there is no end to the exchange"));
    };
    let (head, body) = sent?.into_parts();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// `None` if `future` takes longer than `limit`.
pub(super) async fn bounded<T>(host: &Host, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), host.sleep(limit)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

/// Waits before try number `failures + 1`. `false`, at once, if the host cannot wait.
pub(super) async fn pause(host: &Host, failures: u32) -> bool {
    let longest = PAUSE_FIRST * 2_u32.pow(failures.saturating_sub(1));
    host.pause(longest.mul_f64(0.5 + host.random() / 2.0)).await
}

/// A header that is never printed and is wiped with its last clone. `None` if the bytes could end the
/// header, or if servers need not agree on what they mean.
pub(super) fn secret_header(bytes: Zeroizing<Vec<u8>>) -> Option<HeaderValue> {
    if bytes.is_empty() || !bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(bytes)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// There is no complete answer.
pub(super) fn unanswered(provider: SourceName, origin: &str, error: HttpError) -> ProviderError {
    use ProviderErrorKind::{Connect, InvalidConfig, Malformed, Timeout, Unsupported};
    let (kind, retry, message) = match error.kind() {
        HttpErrorKind::Timeout { phase } => {
            let phase = phase.as_str();
            let message = format!("{origin} took too long, waiting for: {phase}");
            (Timeout { phase }, Retry::Transient, message)
        }
        HttpErrorKind::Broken => (
            Connect,
            Retry::Transient,
            format!("the connection to {origin} broke before the answer was whole"),
        ),
        HttpErrorKind::Tls => (Connect, Retry::Recoverable, format!("no TLS connection to {origin}")),
        HttpErrorKind::TooLarge => {
            (Malformed { field: "body" }, Retry::Recoverable, format!("the answer of {origin} is too long"))
        }
        HttpErrorKind::Malformed => {
            (Malformed { field: "answer" }, Retry::Transient, format!("the answer of {origin} is not HTTP"))
        }
        HttpErrorKind::Refused => {
            let kind = InvalidConfig { file: None, line: None };
            (kind, Retry::NonRecoverable, format!("the request to {origin} cannot be sent as configured"))
        }
        HttpErrorKind::NotConfigured => {
            let message = format!("keys come from {origin}, but this program has no HTTP for credentials");
            (Unsupported { feature: "http" }, Retry::NonRecoverable, message)
        }
        HttpErrorKind::Connect => (Connect, Retry::Transient, format!("cannot connect to {origin}")),
    };
    ProviderError::new(provider, kind, retry, message).with_source(error)
}

/// The answer's status says no. `sent` is the secret that went out with the request, if any: the answer
/// may echo it.
pub(super) fn refused(
    provider: SourceName,
    origin: &str,
    answer: &Answer,
    sent: Option<&HeaderValue>,
) -> ProviderError {
    let status = answer.status.as_u16();
    let code = key_document::error_code(answer.body())
        .filter(|code| sent.is_none_or(|sent| !echoes(sent.as_bytes(), code.as_bytes())));
    let message = match &code {
        Some(code) => format!("{origin} answered {status}, {code}"),
        None => format!("{origin} answered {status}"),
    };
    let retry = match status {
        408 | 429 | 500.. => Retry::Transient,
        _ => Retry::Recoverable,
    };
    let code = code.unwrap_or_else(|| format!("HTTP {status}"));
    ProviderError::new(provider, ProviderErrorKind::Service { code, request_id: None }, retry, message)
}

/// Whether one contains the other.
fn echoes(a: &[u8], b: &[u8]) -> bool {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    !short.is_empty() && long.windows(short.len()).any(|window| window == short)
}

/// The answer says yes and means nothing.
pub(super) fn malformed(provider: SourceName, origin: &str, field: &'static str) -> ProviderError {
    // "body" for all of it, else the name of what is missing or unusable.
    let message = match field {
        "body" => format!("the answer of {origin} is not the JSON object that holds keys"),
        field => format!("the answer of {origin} has no usable {field}"),
    };
    ProviderError::new(provider, ProviderErrorKind::Malformed { field }, Retry::Recoverable, message)
}
