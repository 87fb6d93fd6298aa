//! ECS, EKS Pod Identity and others that hand out keys over HTTP inside the container's host.
//!
//! Protocol: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Request, StatusCode};
use zeroize::Zeroizing;

use super::attempts::{malformed, pause, refused, secret_header, send, unanswered};
use super::key_document::KeyDocument;
use super::target::{AddressError, Target, not_resolved};
use super::{COPY_HINT, is_set, variable};
use crate::credentials::Credentials;
use crate::host::{Host, HttpErrorKind, SendOptions};
use crate::provider::{ProvideCredentials, ProviderError, ProviderErrorKind, Resolved, Retry, SourceName};

const RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";

/// What a relative URI is relative to.
const ECS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
const EKS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 23);
const EKS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The connection, and then 5 s for the answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(7);
const ATTEMPTS_MAX: u32 = 3;
/// Keys have about 2 KiB, most of it session token.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Tokens of Kubernetes have 1 to 2 KiB.
const TOKEN_FILE_BYTES_MAX: usize = 64 * 1024;

/// Reads its variables and its token file anew at each call, and asks the service they name.
pub(crate) struct ContainerProvider;

impl ProvideCredentials for ContainerProvider {
    fn name(&self) -> SourceName {
        SourceName::Container
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(resolve(host))
    }

    fn configured<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Option<String>> {
        Box::pin(async move {
            // The relative form wins where both are set.
            [RELATIVE_URI, FULL_URI]
                .into_iter()
                .find(|name| is_set(host, name))
                .map(|name| format!("{name} is set"))
        })
    }

    fn stale_ok(&self) -> bool {
        true
    }
}

async fn resolve(host: &Host) -> Result<Resolved, ProviderError> {
    let Some((name, target)) = target(host)? else {
        return Ok(Resolved::skipped(format!("{RELATIVE_URI} and _FULL_URI are not set")));
    };
    let mut options = SendOptions::new(CONNECT_TIMEOUT, ATTEMPT_TIMEOUT, BODY_BYTES_MAX);
    options.pin = addresses(host, name, &target).await?;
    let token = authorization(host).await?;
    let mut failures = 0;
    loop {
        let failed = match fetch(host, &target, token.as_ref(), &options).await {
            Ok(keys) => return Ok(Resolved::from(keys)),
            Err(failed) => failed,
        };
        failures += 1;
        if !failed.again || failures == ATTEMPTS_MAX || !pause(host, failures).await {
            return Err(failed.error);
        }
    }
}

/// The URI to ask and the variable that says so; `None` if neither variable is set.
fn target(host: &Host) -> Result<Option<(&'static str, Target)>, ProviderError> {
    let invalid = |name, problem| {
        ProviderError::invalid_config(SourceName::Container, format!("{name} {problem}")).with_hint(COPY_HINT)
    };
    if let Some(path) = variable(host, SourceName::Container, RELATIVE_URI)? {
        if !path.starts_with('/') || path.starts_with("//") {
            return Err(invalid(RELATIVE_URI, "does not begin with exactly one `/`"));
        }
        let origin = format!("http://{ECS}");
        let target = Target::parse(&format!("{origin}{path}")).map_err(|what| invalid(RELATIVE_URI, what))?;
        assert_eq!(target.origin(), origin, "what begins with `/` cannot be part of the authority");
        return Ok(Some((RELATIVE_URI, target)));
    }
    match variable(host, SourceName::Container, FULL_URI)? {
        Some(uri) => {
            let target = Target::parse(&uri).map_err(|what| invalid(FULL_URI, what))?;
            Ok(Some((FULL_URI, target)))
        }
        None => Ok(None),
    }
}

/// Where to connect. `None` leaves the look-up to HTTP: a certificate says who answers then.
async fn addresses(
    host: &Host,
    name: &'static str,
    target: &Target,
) -> Result<Option<Vec<IpAddr>>, ProviderError> {
    if target.is_https() {
        return Ok(target.literal().map(|address| vec![address]));
    }
    match target.addresses(host, may_be_asked_in_the_clear).await {
        Ok(addresses) => Ok(Some(addresses)),
        Err(AddressError::NotResolved(error)) => Err(not_resolved(SourceName::Container, target, error)),
        Err(AddressError::NotAllowed) => {
            let message = format!(
                "{name} names {}, which is neither this machine nor an address of ECS or EKS",
                target.origin()
            );
            Err(ProviderError::invalid_config(SourceName::Container, message)
                .with_hint("use https for a service elsewhere: the token must not travel in the clear"))
        }
    }
}

fn may_be_asked_in_the_clear(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address == ECS || address == EKS,
        IpAddr::V6(address) => address.is_loopback() || address == EKS_V6,
    }
}

/// The header that the service wants to see, if a token is configured.
async fn authorization(host: &Host) -> Result<Option<HeaderValue>, ProviderError> {
    if let Some(path) = variable(host, SourceName::Container, TOKEN_FILE)? {
        return read_token(host, &path).await.map(Some);
    }
    match variable(host, SourceName::Container, TOKEN)? {
        None => Ok(None),
        Some(token) => match secret_header(Zeroizing::new(token.into_bytes())) {
            Some(header) => Ok(Some(header)),
            None => {
                let message = format!("{TOKEN} contains a character that cannot be sent");
                Err(ProviderError::invalid_config(SourceName::Container, message).with_hint(COPY_HINT))
            }
        },
    }
}

async fn read_token(host: &Host, path: &str) -> Result<HeaderValue, ProviderError> {
    // Whoever mixes up the two variables has the token itself here.
    let shown = if Path::new(path).is_absolute() { path } else { "(not shown: not an absolute path)" };
    let failed = |problem: String| {
        let kind = ProviderErrorKind::File { path: shown.to_owned() };
        let message = format!("{TOKEN_FILE} {shown:?}: {problem}");
        // Token files are replaced while the program runs.
        ProviderError::new(SourceName::Container, kind, Retry::Recoverable, message)
    };
    let content = match host.read(Path::new(path), TOKEN_FILE_BYTES_MAX).await {
        Ok(content) => content,
        Err(error) => return Err(failed(format!("cannot be read: {}", error.kind())).with_source(error)),
    };
    let bytes = content.bytes();
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.iter().all(|byte| *byte == b' ') {
        return Err(failed("is empty".to_owned()));
    }
    secret_header(Zeroizing::new(bytes.to_vec()))
        .ok_or_else(|| failed("contains a character that cannot be sent".to_owned()))
}

struct Failed {
    error: ProviderError,
    /// The next try may fare better.
    again: bool,
}

async fn fetch(
    host: &Host,
    target: &Target,
    token: Option<&HeaderValue>,
    options: &SendOptions,
) -> Result<Credentials, Failed> {
    let origin = target.origin();
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = target.uri().clone();
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, token.clone());
    }
    let answer = send(host, request, options).await.map_err(|error| {
        let again = matches!(
            error.kind(),
            HttpErrorKind::Connect
                | HttpErrorKind::Broken
                | HttpErrorKind::Timeout { .. }
                | HttpErrorKind::Malformed
        );
        Failed { error: unanswered(SourceName::Container, origin, error), again }
    })?;
    if answer.status != StatusCode::OK {
        let again = answer.status.is_server_error();
        let error = refused(SourceName::Container, origin, &answer, token);
        let error = match answer.status.as_u16() {
            401 | 403 if token.is_none() => {
                error.with_hint(format!("neither {TOKEN_FILE} nor {TOKEN} is set"))
            }
            401 | 403 => error.with_hint("the service does not accept the authorization token"),
            300..=399 => error.with_hint("redirects are not followed"),
            _ => error,
        };
        return Err(Failed { error, again });
    }
    KeyDocument::parse(answer.body())
        .and_then(KeyDocument::into_parts)
        .and_then(|parts| parts.build(SourceName::Container, format!("from {origin}")))
        // An agent that is starting answers 200 with half a document.
        .map_err(|unusable| Failed {
            error: malformed(SourceName::Container, origin, unusable.0),
            again: true,
        })
}
