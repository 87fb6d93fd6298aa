//! The EC2 instance metadata service, last in the chain, in its second version only.
//!
//! ```text
//! PUT /latest/api/token                                    a token for this machine, kept for hours
//! GET /latest/meta-data/iam/security-credentials/          the name of the instance's role
//! GET /latest/meta-data/iam/security-credentials/NAME      its keys
//! ```
//!
//! Protocol: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>
//!
//! The first version needs no token, so that any request forged through a server reaches it. There is
//! no falling back to it.
//!
//! Nothing configures this source: it is there or not. If nobody listens, this is no EC2 instance and
//! the source is passed over, unless somebody named an endpoint, or it has answered before.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use zeroize::Zeroizing;

use super::attempts::{Answer, malformed, pause, refused, secret_header, send, unanswered};
use super::key_document::{KeyDocument, Unusable};
use super::target::{AddressError, Target, not_resolved};
use super::{is_set, variable};
use crate::credentials::Identity;
use crate::host::{Host, HttpError, HttpErrorKind, HttpPhase, SendOptions};
use crate::profile;
use crate::provider::{ProvideCredentials, ProviderError, ProviderErrorKind, Resolved, Retry, SourceName};

const DISABLED: &str = "AWS_EC2_METADATA_DISABLED";
const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const ENDPOINT_KEY: &str = "ec2_metadata_service_endpoint";
const MODE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
const MODE_KEY: &str = "ec2_metadata_service_endpoint_mode";

const TIMEOUT: &str = "AWS_METADATA_SERVICE_TIMEOUT";
const TIMEOUT_KEY: &str = "metadata_service_timeout";
const ATTEMPTS: &str = "AWS_METADATA_SERVICE_NUM_ATTEMPTS";
const ATTEMPTS_KEY: &str = "metadata_service_num_attempts";

const DEFAULT_V4: &str = "http://169.254.169.254";
const DEFAULT_V6: &str = "http://[fd00:ec2::254]";
const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/iam/security-credentials/";

const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_TTL_HEADER: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
/// Six hours, the longest there is.
const TOKEN_TTL_SECONDS: u64 = 21_600;
/// A token is not used so shortly before its end that it could die on the way.
const TOKEN_TTL_MARGIN_SECONDS: u64 = 120;

/// For the connection, and then again for the answer: the service is on the same machine.
const TIMEOUT_SECONDS: u32 = 1;
/// Whoever waits longer for a service of the same machine waits in vain.
const TIMEOUT_SECONDS_MAX: u32 = 10;
/// Each goes through all steps that are left: at most 4 * 3 * 2 s and 1.4 s of pauses.
const ATTEMPTS_DEFAULT: u32 = 4;
const ATTEMPTS_MAX: u32 = 10;
const TOKEN_BYTES_MAX: usize = 1024;
const ROLE_BYTES_MAX: usize = 1024;
const KEYS_BYTES_MAX: usize = 64 * 1024;
/// The limit of IAM for the name of a role.
const ROLE_NAME_CHARS_MAX: usize = 64;

/// Asks the service for the keys of the instance's role. Keeps the service's token, and nothing else
/// that was answered.
pub(crate) struct ImdsProvider {
    /// The profile that the configuration names.
    profile_name: Option<String>,
    /// The shared files may be read.
    profiles: bool,
    // Held for a look or a swap, never across an await.
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    token: Option<Token>,
    /// Somebody was there once. From then on silence is a failure.
    answered: bool,
}

struct Token {
    header: HeaderValue,
    /// Nobody else gets to see it.
    origin: String,
    /// By the monotonic clock.
    until: Duration,
}

/// Where the service is.
struct Endpoint {
    target: Target,
    /// Who says so; `None` for the well-known addresses.
    named_by: Option<&'static str>,
}

/// How long and how often the service is asked.
#[derive(Clone, Copy)]
struct Patience {
    timeout: Duration,
    attempts: u32,
}

/// Why one walk through the steps ended without an answer.
enum Failed {
    /// No connection, or no means to make one.
    Unreachable(HttpError),
    /// The next walk may fare better.
    Again(ProviderError),
    /// The token was refused, and is forgotten. A new one may do.
    TokenRefused(ProviderError),
    Final(ProviderError),
}

impl ImdsProvider {
    /// `profiles`: the shared files may be read, for the profile that the configuration names or for
    /// the selected one.
    pub(crate) fn new(profile_name: Option<String>, profiles: bool) -> ImdsProvider {
        ImdsProvider { profile_name, profiles, memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, host: &Host) -> Result<Resolved, ProviderError> {
        if is_disabled(host) {
            return Ok(Resolved::skipped("switched off by AWS_EC2_METADATA_DISABLED"));
        }
        let endpoint = self.endpoint(host).await?;
        let origin = endpoint.target.origin();
        let pin = match endpoint.target.addresses(host, |_| true).await {
            Ok(addresses) => addresses,
            Err(AddressError::NotResolved(error)) => {
                return Err(not_resolved(SourceName::Imds, &endpoint.target, error));
            }
            Err(AddressError::NotAllowed) => unreachable!("every address is allowed"),
        };
        let prefix = endpoint.target.uri().path().trim_end_matches('/');
        let patience = self.patience(host).await?;
        let service = Service { provider: self, host, origin, prefix, pin, timeout: patience.timeout };
        let mut failures = 0;
        loop {
            let (error, at_once) = match service.walk().await {
                Ok(resolved) => return Ok(resolved),
                Err(Failed::Unreachable(error)) => return self.unreachable(&endpoint, patience, error),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Again(error)) => (error, false),
                Err(Failed::TokenRefused(error)) => (error, true),
            };
            failures += 1;
            if failures == patience.attempts || !(at_once || pause(host, failures).await) {
                return Err(error);
            }
        }
    }

    /// Variable, profile, variable of the mode, mode of the profile, in this order.
    async fn endpoint(&self, host: &Host) -> Result<Endpoint, ProviderError> {
        let var = |name| variable(host, SourceName::Imds, name);
        if let Some(text) = var(ENDPOINT)? {
            return named(&text, ENDPOINT);
        }
        let mut profile_mode = None;
        if self.profiles {
            let name = profile::select(self.profile_name.as_deref(), host)?;
            let loaded = profile::load(host).await?;
            let profile = loaded.set.profile(&name.name);
            if let Some(text) = profile.and_then(|profile| profile.get(ENDPOINT_KEY)) {
                return named(text, ENDPOINT_KEY);
            }
            profile_mode = profile.and_then(|profile| profile.get(MODE_KEY)).map(str::to_owned);
        }
        let mode = match var(MODE)? {
            Some(mode) => Some((MODE, mode)),
            None => profile_mode.map(|mode| (MODE_KEY, mode)),
        };
        let text = match mode {
            None => DEFAULT_V4,
            Some((_, mode)) if mode.trim().eq_ignore_ascii_case("IPv4") => DEFAULT_V4,
            Some((_, mode)) if mode.trim().eq_ignore_ascii_case("IPv6") => DEFAULT_V6,
            Some((name, _)) => {
                let message = format!("{name} is neither IPv4 nor IPv6");
                return Err(ProviderError::invalid_config(SourceName::Imds, message));
            }
        };
        let target = Target::parse(text).expect("the well-known addresses are URIs");
        Ok(Endpoint { target, named_by: None })
    }

    /// As the CLI and the SDK for Python read it: variables before the profile.
    async fn patience(&self, host: &Host) -> Result<Patience, ProviderError> {
        let loaded = if self.profiles { Some(profile::load(host).await?) } else { None };
        let profile = match &loaded {
            Some(loaded) => loaded.set.profile(&profile::select(self.profile_name.as_deref(), host)?.name),
            None => None,
        };
        let number = |name, key, default: u32, max: u32| {
            let variable = variable(host, SourceName::Imds, name)?.map(|text| (text, name));
            let found =
                variable.or_else(|| profile.and_then(|p| p.get(key)).map(|text| (text.to_owned(), key)));
            let Some((text, by)) = found else { return Ok(default) };
            match text.trim().parse() {
                Ok(number) if (1..=max).contains(&number) => Ok(number),
                _ => {
                    let message = format!("{by} must be a number from 1 to {max}");
                    Err(ProviderError::invalid_config(SourceName::Imds, message))
                }
            }
        };
        let seconds = number(TIMEOUT, TIMEOUT_KEY, TIMEOUT_SECONDS, TIMEOUT_SECONDS_MAX)?;
        let attempts = number(ATTEMPTS, ATTEMPTS_KEY, ATTEMPTS_DEFAULT, ATTEMPTS_MAX)?;
        Ok(Patience { timeout: Duration::from_secs(seconds.into()), attempts })
    }

    fn unreachable(
        &self,
        endpoint: &Endpoint,
        patience: Patience,
        error: HttpError,
    ) -> Result<Resolved, ProviderError> {
        let origin = endpoint.target.origin();
        let answered = self.memory().answered;
        if answered || endpoint.named_by.is_some() {
            let failed = unanswered(SourceName::Imds, origin, error);
            return Err(match endpoint.named_by {
                Some(name) => failed.with_hint(format!("the endpoint is named by {name}")),
                None => failed.with_hint("it has answered before"),
            });
        }
        Ok(match error.kind() {
            HttpErrorKind::NotConfigured => {
                Resolved::skipped("this program has no HTTP for credentials, so the service is not asked")
            }
            HttpErrorKind::Timeout { .. } => {
                let seconds = patience.timeout.as_secs();
                Resolved::skipped(format!("no connection to {origin} within {seconds} s; not on EC2?"))
            }
            _ => Resolved::skipped(format!("no connection to {origin}; not on EC2?")),
        })
    }
}

impl ProvideCredentials for ImdsProvider {
    fn name(&self) -> SourceName {
        SourceName::Imds
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(self.ask(host))
    }

    fn configured<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Option<String>> {
        Box::pin(async move {
            if is_disabled(host) {
                return None;
            }
            if is_set(host, ENDPOINT) {
                return Some(format!("{ENDPOINT} is set"));
            }
            let endpoint = self.endpoint(host).await.ok()?;
            endpoint.named_by.map(|name| format!("{name} of the profile is set"))
        })
    }

    fn stale_ok(&self) -> bool {
        true
    }
}

fn is_disabled(host: &Host) -> bool {
    host.var(DISABLED).is_some_and(|value| value.to_string_lossy().trim().eq_ignore_ascii_case("true"))
}

fn named(text: &str, name: &'static str) -> Result<Endpoint, ProviderError> {
    let invalid = |what| {
        ProviderError::invalid_config(SourceName::Imds, format!("{name} {what}"))
            .with_hint("it names the service, as http://169.254.169.254 does, without the path of a request")
    };
    let target = Target::parse(text.trim_end_matches('/')).map_err(invalid)?;
    if target.uri().query().is_some() {
        return Err(invalid("has a query (`?`)"));
    }
    Ok(Endpoint { target, named_by: Some(name) })
}

/// One endpoint during one call.
struct Service<'a> {
    provider: &'a ImdsProvider,
    host: &'a Host,
    origin: &'a str,
    /// Of all paths; empty but for endpoints that somebody named.
    prefix: &'a str,
    pin: Vec<IpAddr>,
    /// Of each request, for the connection and again for the answer.
    timeout: Duration,
}

impl Service<'_> {
    async fn walk(&self) -> Result<Resolved, Failed> {
        let token = self.token().await?;
        let list = self.get(ROLE_PATH, &token, ROLE_BYTES_MAX).await?;
        if list.status == StatusCode::NOT_FOUND {
            return Ok(Resolved::skipped("the instance has no role attached"));
        }
        self.expect_ok(&list, &token)?;
        let role = role_name(list.body()).ok_or_else(|| self.malformed("role name"))?;
        let document = self.get(&format!("{ROLE_PATH}{role}"), &token, KEYS_BYTES_MAX).await?;
        self.expect_ok(&document, &token)?;
        self.keys(&document, role).map(Resolved::Found)
    }

    /// The token at hand, else a new one.
    async fn token(&self) -> Result<HeaderValue, Failed> {
        let kept = {
            let memory = self.provider.memory();
            let token = memory.token.as_ref();
            token
                .filter(|token| token.origin == self.origin && self.host.monotonic() < token.until)
                .map(|token| token.header.clone())
        };
        if let Some(header) = kept {
            return Ok(header);
        }
        let ttl = (TOKEN_TTL_HEADER, HeaderValue::from(TOKEN_TTL_SECONDS));
        let answer = match self.send(Method::PUT, TOKEN_PATH, ttl, TOKEN_BYTES_MAX).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.unanswered_put(error)),
        };
        self.provider.memory().answered = true;
        let status = answer.status;
        if status != StatusCode::OK {
            let error = refused(SourceName::Imds, self.origin, &answer, None);
            return Err(match status.as_u16() {
                500.. => Failed::Again(error),
                403 => Failed::Final(
                    error.with_hint("the instance metadata service is switched off for this instance"),
                ),
                404 | 405 => Failed::Final(error.with_hint(
                    "it knows no tokens: the first version of the service, which is not used, or another \
                     cloud's; set AWS_EC2_METADATA_DISABLED=true to leave it alone",
                )),
                _ => Failed::Final(error),
            });
        }
        let header = secret_header(Zeroizing::new(answer.body().to_vec()))
            .filter(|header| !header.as_bytes().contains(&b' '))
            .ok_or_else(|| self.malformed("token"))?;
        let ttl_seconds = answer
            .headers
            .get(TOKEN_TTL_HEADER)
            .and_then(|ttl| ttl.to_str().ok()?.trim().parse::<u64>().ok())
            // It serves now, and is asked for anew the next time.
            .unwrap_or(0)
            .min(TOKEN_TTL_SECONDS)
            .saturating_sub(TOKEN_TTL_MARGIN_SECONDS);
        let until = self.host.monotonic() + Duration::from_secs(ttl_seconds);
        let token = Token { header: header.clone(), origin: self.origin.to_owned(), until };
        self.provider.memory().token = Some(token);
        Ok(header)
    }

    fn unanswered_put(&self, error: HttpError) -> Failed {
        match error.kind() {
            HttpErrorKind::Connect
            | HttpErrorKind::NotConfigured
            | HttpErrorKind::Timeout { phase: HttpPhase::Connect } => Failed::Unreachable(error),
            HttpErrorKind::Broken => Failed::Again(unanswered(SourceName::Imds, self.origin, error)),
            // The answer was sent and died on the way: it does so each time.
            HttpErrorKind::Timeout { .. } => {
                Failed::Final(unanswered(SourceName::Imds, self.origin, error).with_hint(
                    "in a container? hop limit 1 lets the token's answer die on the way: \
                     set HttpPutResponseHopLimit=2 on the instance",
                ))
            }
            _ => Failed::Final(unanswered(SourceName::Imds, self.origin, error)),
        }
    }

    /// One GET with the token. A refused token and trouble of the service are errors, other statuses
    /// are not.
    async fn get(&self, path: &str, token: &HeaderValue, bytes_max: usize) -> Result<Answer, Failed> {
        let header = (TOKEN_HEADER, token.clone());
        let answer =
            self.send(Method::GET, path, header, bytes_max).await.map_err(|error| match error.kind() {
                HttpErrorKind::Connect | HttpErrorKind::Timeout { phase: HttpPhase::Connect } => {
                    Failed::Unreachable(error)
                }
                HttpErrorKind::Broken | HttpErrorKind::Timeout { .. } => {
                    Failed::Again(unanswered(SourceName::Imds, self.origin, error))
                }
                _ => Failed::Final(unanswered(SourceName::Imds, self.origin, error)),
            })?;
        if answer.status == StatusCode::UNAUTHORIZED {
            self.provider.memory().token = None;
            return Err(Failed::TokenRefused(refused(SourceName::Imds, self.origin, &answer, Some(token))));
        }
        if answer.status.is_server_error() {
            return Err(Failed::Again(refused(SourceName::Imds, self.origin, &answer, Some(token))));
        }
        Ok(answer)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        (name, value): (HeaderName, HeaderValue),
        bytes_max: usize,
    ) -> Result<Answer, HttpError> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{}{path}", self.origin, self.prefix)
            .parse()
            .map_err(|_| HttpError::new(HttpErrorKind::Refused, "the URI is too long"))?;
        request.headers_mut().insert(name, value);
        let mut options = SendOptions::new(self.timeout, self.timeout * 2, bytes_max);
        options.pin = Some(self.pin.clone());
        send(self.host, request, &options).await
    }

    fn expect_ok(&self, answer: &Answer, token: &HeaderValue) -> Result<(), Failed> {
        if answer.status == StatusCode::OK {
            return Ok(());
        }
        Err(Failed::Final(refused(SourceName::Imds, self.origin, answer, Some(token))))
    }

    fn malformed(&self, field: &'static str) -> Failed {
        Failed::Final(malformed(SourceName::Imds, self.origin, field))
    }

    fn keys(&self, answer: &Answer, role: &str) -> Result<Identity, Failed> {
        let unusable = |unusable: Unusable| self.malformed(unusable.0);
        let document = KeyDocument::parse(answer.body()).map_err(unusable)?;
        if document.has_code() && !document.code().is_some_and(|code| code.eq_ignore_ascii_case("Success")) {
            return Err(self.no_success(document.code()));
        }
        // A service in trouble hands out keys past their end. Whether to take them is for the chain to judge, which
        // knows whether there is anything better.
        let parts = document.into_parts().map_err(unusable)?;
        let via = format!("role {role} of the instance, from {}", self.origin);
        parts.build(SourceName::Imds, via).map(Identity::from).map_err(unusable)
    }

    fn no_success(&self, code: Option<&str>) -> Failed {
        let code = code.unwrap_or("no code that can be shown");
        let message = format!("{} has no keys for the instance's role: {code}", self.origin);
        let kind = ProviderErrorKind::Service { code: code.to_owned(), request_id: None };
        let error = ProviderError::new(SourceName::Imds, kind, Retry::Recoverable, message);
        Failed::Final(match code {
            "AssumeRoleUnauthorizedAccess" => error.with_hint(
                "the trust policy of the instance's role must allow ec2.amazonaws.com to assume it",
            ),
            _ => error,
        })
    }
}

/// The first line, if IAM would accept it as the name of a role. It becomes part of a path.
fn role_name(body: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(body).ok()?.lines().next()?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let is_name = !line.is_empty()
        && line.len() <= ROLE_NAME_CHARS_MAX
        && line.chars().all(allowed)
        && line.chars().any(|c| c != '.');
    is_name.then_some(line)
}
