//! STS, the service that gives keys for roles: AssumeRole and AssumeRoleWithWebIdentity.
//!
//! API: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>,
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
//!
//! ```text
//! request   what is asked, within STS's limits   settings -> form body
//! endpoint  whom                                 settings -> URL, region
//! answer    what it said                         bytes    -> keys, or what to do about the failure
//! ```
//!
//! All that waits is here. Secrets travel in bodies and headers, never in a URL.

mod answer;
mod endpoint;
mod request;
mod xml;

use std::cell::Cell;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use futures_util::future::{Either, select};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};

use self::answer::{Again, Failure};
use crate::chain::Settings;
use crate::credentials::Credentials;
use crate::host::{Host, HttpError, HttpErrorKind, HttpPhase, ProxyUse, SendOptions};
use crate::provider::{ProviderError, ProviderErrorKind, Retry, SourceName};
use crate::sigv4::{PayloadHash, SignError, Signer, SigningStyle};
use crate::token_file::{Token, TokenFile};

pub(crate) use request::{Role, RoleParts};

/// Name resolution, TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// From the start to the last byte: 3 s for the connection and 10 s for the answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(13);
/// Answers have 1 to 3 KiB.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The first and two more.
const ATTEMPTS_MAX: u32 = 3;
/// All attempts and pauses together, for all roles of a chain. Whoever waits for keys waits for this.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest first pause; each later one may be twice as long.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// How much longer than we would STS may make us wait, by `x-amz-retry-after`.
const RETRY_AFTER_MORE: Duration = Duration::from_secs(5);
/// Signatures are good for 5 minutes around the time of STS. A smaller difference is not why it refuses.
const SKEW_MIN: Duration = Duration::from_secs(4 * 60);

/// What proves that one may have the role.
#[derive(Clone, Copy)]
pub(crate) enum Proof<'a> {
    /// Other keys.
    Keys(&'a Credentials),
    /// A token of an OpenID Connect provider. Its file is read for every exchange, because it is replaced
    /// before it expires.
    Token(&'a TokenFile),
}

/// STS, for one source.
pub(crate) struct Sts {
    endpoint: endpoint::StsEndpoint,
    source: SourceName,
    /// The time that exchanges have taken so far.
    spent: Cell<Duration>,
}

impl Sts {
    /// Finds out which endpoint to ask. Asks nobody.
    pub(crate) async fn locate(
        settings: &Settings,
        host: &Host,
        source: SourceName,
    ) -> Result<Sts, ProviderError> {
        let endpoint = endpoint::find(settings, host, source).await?;
        Ok(Sts { endpoint, source, spent: Cell::default() })
    }

    /// Keys for `role`. Repeats what may pass by itself, for at most 30 s together with the roles taken on
    /// before. Dropping the future gives the request up; a session that STS may have begun by then ends by
    /// itself, unused.
    pub(crate) async fn assume(
        &self,
        host: &Host,
        role: &Role,
        proof: Proof<'_>,
    ) -> Result<Credentials, ProviderError> {
        let started = host.monotonic();
        let budget = EXCHANGE_TIMEOUT.saturating_sub(self.spent.get());
        let result = self.assume_within(host, role, proof, budget).await;
        self.spent.set(self.spent.get() + host.monotonic().saturating_sub(started));
        result
    }

    async fn assume_within(
        &self,
        host: &Host,
        role: &Role,
        proof: Proof<'_>,
        budget: Duration,
    ) -> Result<Credentials, ProviderError> {
        let started = host.monotonic();
        let session = role.session_name(host);
        let mut state = State { attempts: 0, token: None, token_changed: false, skew: None };
        if let Proof::Token(file) = proof {
            state.token = Some(file.read(host, self.source).await?);
        }
        loop {
            state.attempts += 1;
            let left = budget.saturating_sub(host.monotonic().saturating_sub(started));
            let failure = match self.attempt(host, role, &session, proof, &state, left).await {
                Ok(keys) => return Ok(keys),
                Err(failure) => *failure,
            };
            match failure.again {
                Again::Never => return Err(failure.error),
                Again::Later => {
                    let pause = pause(state.attempts, host.random(), failure.retry_after);
                    let spent = host.monotonic().saturating_sub(started);
                    if state.attempts >= ATTEMPTS_MAX || spent + pause >= budget {
                        return Err(failure.error);
                    }
                    // A host that cannot wait asks once.
                    if !host.pause(pause).await {
                        return Err(failure.error);
                    }
                }
                Again::WithNewToken => {
                    let Proof::Token(file) = proof else { return Err(failure.error) };
                    let new = file.read(host, self.source).await?;
                    if state.token_changed || state.token.as_ref() == Some(&new) {
                        return Err(failure.error);
                    }
                    state.token = Some(new);
                    state.token_changed = true;
                }
                Again::WithTheirTime => {
                    let skew = failure.server_time.and_then(|theirs| Skew::between(host.now(), theirs));
                    match skew {
                        Some(skew) if state.skew.is_none() => state.skew = Some(skew),
                        _ => return Err(failure.error),
                    }
                }
            }
        }
    }

    async fn attempt(
        &self,
        host: &Host,
        role: &Role,
        session: &str,
        proof: Proof<'_>,
        state: &State,
        left: Duration,
    ) -> Result<Credentials, Box<Failure>> {
        let token = state.token.as_ref().map(Token::expose);
        let request = match self.request(host, role, session, proof, state) {
            Ok(request) => request,
            Err(error) => {
                let kind = ProviderErrorKind::InvalidConfig { file: None, line: None };
                let message = format!("cannot sign the request to {}: {error}", self.endpoint);
                let error = ProviderError::new(self.source, kind, Retry::NonRecoverable, message);
                return Err(Box::new(Failure::final_one(error)));
            }
        };
        let limit = ATTEMPT_TIMEOUT.min(left);
        let mut options = SendOptions::new(CONNECT_TIMEOUT.min(limit), limit, BODY_BYTES_MAX);
        options.pin = self.endpoint.pin().map(<[_]>::to_vec);
        if !self.endpoint.is_local() {
            options.proxy = ProxyUse::AsConfigured;
        }
        // HttpSend keeps the limit by itself and knows the phase; this one is for those that do not.
        let sent = match select(pin!(host.send(request, &options)), host.sleep(limit)).await {
            Either::Left((sent, _)) => sent,
            Either::Right(_) => Err(HttpError::new(
                HttpErrorKind::Timeout { phase: HttpPhase::Answer },
                "no complete answer in time",
            )),
        };
        let context = answer::Context {
            source: self.source,
            endpoint: &self.endpoint,
            role,
            hidden: match proof {
                Proof::Keys(keys) => vec![
                    keys.secret_access_key().expose_secret(),
                    keys.session_token().map_or("", |token| token.expose_secret()),
                    keys.access_key_id(),
                    role.external_id().unwrap_or_default(),
                ],
                Proof::Token(_) => vec![token.unwrap_or_default()],
            },
            by_token: matches!(proof, Proof::Token(_)),
        };
        match sent {
            Ok(response) => context.read(&response),
            Err(error) => Err(Box::new(context.unanswered(error))),
        }
    }

    fn request(
        &self,
        host: &Host,
        role: &Role,
        session: &str,
        proof: Proof<'_>,
        state: &State,
    ) -> Result<Request<bytes::Bytes>, SignError> {
        let token = state.token.as_ref().map(Token::expose);
        let body = role.form(session, token);
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.uri().clone();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
        request.headers_mut().insert(CONTENT_TYPE, form);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/xml"));
        let Proof::Keys(keys) = proof else { return Ok(request) };
        let region = self.endpoint.region().unwrap_or_default();
        let signer = Signer::new(keys.clone(), region, "sts", SigningStyle::General);
        let (mut parts, body) = request.into_parts();
        let now = state.skew.map_or(host.now(), |skew| skew.applied_to(host.now()));
        signer.sign(&mut parts, &PayloadHash::of(&body), now)?;
        Ok(Request::from_parts(parts, body))
    }
}

/// What changes from attempt to attempt.
struct State {
    attempts: u32,
    token: Option<Token>,
    token_changed: bool,
    skew: Option<Skew>,
}

/// How far their clock is from ours.
#[derive(Clone, Copy)]
struct Skew {
    by: Duration,
    ahead: bool,
}

impl Skew {
    /// `None` if it is too small to matter.
    fn between(ours: SystemTime, theirs: SystemTime) -> Option<Skew> {
        let skew = match theirs.duration_since(ours) {
            Ok(by) => Skew { by, ahead: true },
            Err(behind) => Skew { by: behind.duration(), ahead: false },
        };
        (skew.by >= SKEW_MIN).then_some(skew)
    }

    fn applied_to(self, ours: SystemTime) -> SystemTime {
        let theirs = if self.ahead { ours.checked_add(self.by) } else { ours.checked_sub(self.by) };
        theirs.unwrap_or(ours)
    }
}

/// Before attempt `attempts + 1`: anything up to 1 s, 2 s, ..., and what STS asks for within reason.
fn pause(attempts: u32, random: f64, retry_after: Option<Duration>) -> Duration {
    let longest = PAUSE_FIRST * 2_u32.pow(attempts.saturating_sub(1).min(5));
    let own = longest.mul_f64(random.clamp(0.0, 1.0));
    retry_after.map_or(own, |theirs| theirs.clamp(own, own + RETRY_AFTER_MORE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_listen_to_the_service_within_reason() {
        let ms = Duration::from_millis;
        assert_eq!(pause(1, 0.5, None), ms(500));
        assert_eq!(pause(2, 0.5, None), ms(1_000));
        assert_eq!(pause(2, 0.0, None), ms(0));
        assert_eq!(pause(1, 0.5, Some(ms(1_500))), ms(1_500));
        assert_eq!(pause(1, 0.5, Some(ms(1))), ms(500));
        assert_eq!(pause(1, 0.5, Some(ms(3_600_000))), ms(5_500));
    }

    #[test]
    fn a_small_difference_of_clocks_is_none() {
        let ours = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert!(Skew::between(ours, ours + Duration::from_secs(239)).is_none());
        for theirs in [ours + Duration::from_secs(240), ours - Duration::from_secs(9_000)] {
            assert_eq!(Skew::between(ours, theirs).unwrap().applied_to(ours), theirs);
        }
    }
}
