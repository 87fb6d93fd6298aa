//! What STS said: keys, or what to do about the failure. One table says which failures pass.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::endpoint::StsEndpoint;
use super::request::Role;
use super::xml::{self, Element};
use crate::credentials::{Credentials, CredentialsPart};
use crate::host::{HttpError, HttpErrorKind};
use crate::provider::{ProviderError, ProviderErrorKind, Retry, SourceName};
use crate::secret::Secret;

/// The longest codes have some 40 letters, request ids 36.
const WORD_BYTES_MAX: usize = 64;
/// What is shown of a message, in characters.
const MESSAGE_CHARS_MAX: usize = 200;
/// A message that holds this much of a secret in a row is not shown at all.
const ECHO_BYTES: usize = 6;

/// What was asked, for reading the answer.
pub(super) struct Context<'a> {
    pub(super) source: SourceName,
    pub(super) endpoint: &'a StsEndpoint,
    pub(super) role: &'a Role,
    /// Secrets of the request. Messages of STS quote what they complain about.
    pub(super) hidden: Vec<&'a str>,
    /// The proof is a token.
    pub(super) by_token: bool,
}

/// An exchange that brought no keys.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: ProviderError,
    pub(super) again: Again,
    pub(super) retry_after: Option<Duration>,
    pub(super) server_time: Option<SystemTime>,
}

/// Whether the same exchange may go better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    Never,
    /// After a pause.
    Later,
    /// At once, if the token's file holds another token by now.
    WithNewToken,
    /// At once, if the clocks differ: signed with the time of STS.
    WithTheirTime,
}

impl Failure {
    pub(super) fn final_one(error: ProviderError) -> Failure {
        Failure { error, again: Again::Never, retry_after: None, server_time: None }
    }
}

/// The table of codes. Names are compared without the suffix `Exception`, which some services add.
fn classify(status: StatusCode, code: &str, by_token: bool) -> (Retry, Again) {
    let code = code.strip_suffix("Exception").unwrap_or(code);
    match code {
        "IDPCommunicationError" => return (Retry::Transient, Again::Later),
        "RequestLimitExceeded"
        | "SlowDown"
        | "BandwidthLimitExceeded"
        | "LimitExceeded"
        | "PriorRequestNotComplete" => return (Retry::Transient, Again::Later),
        "InvalidIdentityToken" if by_token => return (Retry::NonRecoverable, Again::WithNewToken),
        "ExpiredToken" if by_token => return (Retry::Recoverable, Again::WithNewToken),
        "AccessDenied"
        | "IDPRejectedClaim"
        | "InvalidIdentityToken"
        | "MalformedPolicyDocument"
        | "PackedPolicyTooLarge"
        | "RegionDisabled" => return (Retry::NonRecoverable, Again::Never),
        "RequestTimeTooSkewed"
        | "RequestExpired"
        | "RequestInTheFuture"
        | "SignatureDoesNotMatch"
        | "InvalidSignature"
        | "AuthFailure" => return (Retry::Recoverable, Again::WithTheirTime),
        _ => {}
    }
    let prefixes = ["Throttl", "TooManyRequests", "RequestThrottled", "RequestTimeout"];
    if prefixes.iter().any(|prefix| code.starts_with(prefix))
        || status.is_server_error()
        || matches!(status.as_u16(), 408 | 429)
    {
        return (Retry::Transient, Again::Later);
    }
    (Retry::Recoverable, Again::Never)
}

impl Context<'_> {
    pub(super) fn read(&self, response: &Response<Bytes>) -> Result<Credentials, Box<Failure>> {
        let status = response.status();
        if status == StatusCode::OK {
            return self.keys(response.body()).map_err(|field| {
                let message = format!("{} sent no usable {field} for {}", self.endpoint, self.role.arn());
                let kind = ProviderErrorKind::Malformed { field };
                Box::new(Failure::final_one(ProviderError::new(
                    self.source,
                    kind,
                    Retry::Recoverable,
                    message,
                )))
            });
        }
        Err(Box::new(self.refused(status, response.headers(), response.body())))
    }

    fn keys(&self, body: &[u8]) -> Result<Credentials, &'static str> {
        let action = if self.by_token { "AssumeRoleWithWebIdentity" } else { "AssumeRole" };
        let root = xml::parse(body).ok_or("answer")?;
        if root.name != format!("{action}Response") {
            return Err("answer");
        }
        let result = root.child(&format!("{action}Result")).ok_or("answer")?;
        let keys = result.child("Credentials").ok_or("Credentials")?;
        let text = |name: &'static str| keys.text_of(name).ok_or(name);
        let expires_at: jiff::Timestamp = text("Expiration")?.parse().map_err(|_| "Expiration")?;
        let account_id = result
            .child("AssumedRoleUser")
            .and_then(|user| user.text_of("Arn"))
            .and_then(|arn| arn.split(':').nth(4))
            .filter(|id| !id.is_empty() && id.len() <= 12 && id.bytes().all(|byte| byte.is_ascii_digit()));
        Credentials::builder(text("AccessKeyId")?, Secret::new(text("SecretAccessKey")?))
            .session_token(Secret::new(text("SessionToken")?))
            .expires_at(SystemTime::from(expires_at))
            .account_id(account_id.map(str::to_owned))
            .via(format!("role {} through {}", self.role.arn(), self.endpoint))
            .stale_ok(true)
            .build(self.source)
            .map_err(|invalid| match invalid.part {
                CredentialsPart::AccessKeyId => "AccessKeyId",
                CredentialsPart::SecretAccessKey => "SecretAccessKey",
                CredentialsPart::SessionToken => "SessionToken",
                CredentialsPart::AccountId => "Arn",
            })
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        let root = xml::parse(body);
        let error = root.as_ref().and_then(error_element);
        // Decisions go by the code as it is; what is shown of it is another matter.
        let sent_code = error.and_then(|error| error.text_of("Code")).unwrap_or_default();
        let code = self.word(sent_code);
        let request_id = root
            .as_ref()
            .filter(|_| error.is_some())
            .and_then(|root| root.text_of("RequestId").or(root.text_of("RequestID")))
            .or_else(|| headers.get("x-amzn-requestid")?.to_str().ok())
            .and_then(|id| self.word(id));
        let (retry, again) = classify(status, sent_code, self.by_token);
        let mut message = format!("{} answered ", self.endpoint);
        message += code.as_deref().unwrap_or("no code");
        message += &format!(" (HTTP {}", status.as_u16());
        if let Some(id) = &request_id {
            message += &format!(", request {id}");
        }
        message += &format!(") for {}", self.role.arn());
        if let Some(text) = error.and_then(|error| self.message(error)) {
            message += &format!(": {text}");
        }
        let hint = self.hint(status, sent_code);
        let code = code.unwrap_or_else(|| format!("HTTP {}", status.as_u16()));
        let kind = ProviderErrorKind::Service { code, request_id };
        let mut error = ProviderError::new(self.source, kind, retry, message);
        if let Some(hint) = hint {
            error = error.with_hint(hint);
        }
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let retry_after = header("x-amz-retry-after").and_then(|text| text.parse().ok());
        let server_time = header("date").and_then(|text| {
            let parser = jiff::fmt::rfc2822::DateTimeParser::new();
            parser.parse_timestamp(text).ok().map(SystemTime::from)
        });
        Failure { error, again, retry_after: retry_after.map(Duration::from_millis), server_time }
    }

    fn hint(&self, status: StatusCode, code: &str) -> Option<&'static str> {
        match code.strip_suffix("Exception").unwrap_or(code) {
            "AccessDenied" if self.by_token => {
                Some("the role's trust policy does not allow this token's issuer, audience or subject")
            }
            "AccessDenied" => {
                Some("the role's trust policy must allow the caller, and the caller needs sts:AssumeRole")
            }
            "InvalidIdentityToken" => {
                Some("the account of the role must know the token's issuer as an identity provider")
            }
            "ExpiredToken" if self.by_token => Some("whoever writes the token file has stopped to renew it"),
            "RegionDisabled" => Some("activate STS in that region, or set another region"),
            "InvalidClientTokenId" | "UnrecognizedClient" | "ExpiredToken" => {
                Some("the keys that the role is assumed with are not accepted")
            }
            "ValidationError" => Some("check role_arn, duration_seconds and external_id"),
            "" if status.is_redirection() => Some("redirects are not followed; is it the endpoint of STS?"),
            "" => Some("the answer is not the one of an STS; is the endpoint right?"),
            _ => None,
        }
    }

    /// A code or an id, if it is one.
    fn word(&self, text: &str) -> Option<String> {
        let is_word = (1..=WORD_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
        // An external id of two letters stands in many a word without being quoted there.
        let quotes = |secret: &&str| match secret.len() {
            0 => false,
            1..ECHO_BYTES => text == *secret,
            _ => shares_a_part(text, secret),
        };
        (is_word && !self.hidden.iter().any(quotes)).then(|| text.to_owned())
    }

    /// The beginning of the message, unless it quotes a secret.
    fn message(&self, error: &Element) -> Option<String> {
        let text = error.text_of("Message")?;
        let shown: String = text
            .chars()
            .take(MESSAGE_CHARS_MAX)
            .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
            .collect();
        let quotes = |secret: &&str| match secret.len() {
            0 => false,
            1..ECHO_BYTES => shown.contains(secret),
            _ => shares_a_part(&shown, secret),
        };
        (!self.hidden.iter().any(quotes)).then_some(shown)
    }

    pub(super) fn unanswered(&self, error: HttpError) -> Failure {
        use ProviderErrorKind::{Connect, InvalidConfig, Malformed, Timeout, Unsupported};
        let (kind, retry, again, what) = match error.kind() {
            HttpErrorKind::Connect => {
                (Connect, Retry::Transient, Again::Later, "cannot be connected to".to_owned())
            }
            HttpErrorKind::Broken => {
                let what = "broke the connection before its answer was whole".to_owned();
                (Connect, Retry::Transient, Again::Later, what)
            }
            HttpErrorKind::Timeout { phase } => {
                let phase = phase.as_str();
                let what = format!("took too long, waiting for: {phase}");
                (Timeout { phase }, Retry::Transient, Again::Later, what)
            }
            HttpErrorKind::Tls => {
                (Connect, Retry::Recoverable, Again::Never, "cannot be trusted: TLS failed".to_owned())
            }
            HttpErrorKind::TooLarge => {
                let what = "sent an answer that is too long".to_owned();
                (Malformed { field: "body" }, Retry::Recoverable, Again::Never, what)
            }
            HttpErrorKind::Malformed => {
                let what = "sent an answer that is not HTTP".to_owned();
                (Malformed { field: "answer" }, Retry::Recoverable, Again::Never, what)
            }
            HttpErrorKind::Refused => {
                let kind = InvalidConfig { file: None, line: None };
                (kind, Retry::NonRecoverable, Again::Never, "cannot be asked as configured".to_owned())
            }
            HttpErrorKind::NotConfigured => {
                let what = "cannot be asked: this program has no HTTP for credentials".to_owned();
                (Unsupported { feature: "http" }, Retry::NonRecoverable, Again::Never, what)
            }
        };
        let message = format!("{} {what}; it was asked for {}", self.endpoint, self.role.arn());
        let error = ProviderError::new(self.source, kind, retry, message).with_source(error);
        Failure { again, ..Failure::final_one(error) }
    }
}

/// The element with code and message. STS has it below `ErrorResponse`. moto puts `Errors` between the two, as EC2
/// does below `Response`; stores that serve STS beside S3 (SeaweedFS) refuse a signature with S3's bare `Error`.
fn error_element(root: &Element) -> Option<&Element> {
    match root.name.as_str() {
        "Error" => Some(root),
        "ErrorResponse" | "Response" => {
            root.child("Error").or_else(|| root.child("Errors").and_then(|errors| errors.child("Error")))
        }
        _ => None,
    }
}

/// Whether any [`ECHO_BYTES`] of `secret` in a row stand in `text`.
fn shares_a_part(text: &str, secret: &str) -> bool {
    let secret = secret.as_bytes();
    let part_of_secret = |part: &[u8]| secret.windows(ECHO_BYTES).any(|window| window == part);
    text.as_bytes().windows(ECHO_BYTES).any(part_of_secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_wherever_a_service_puts_it() {
        let error = "<Error><Code>AccessDenied</Code></Error>";
        for document in [
            format!("<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"),
            format!("<ErrorResponse><Errors>{error}</Errors><RequestId>1</RequestId></ErrorResponse>"),
            format!("<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"),
            error.to_owned(),
        ] {
            let root = xml::parse(document.as_bytes()).unwrap();
            assert_eq!(error_element(&root).and_then(|error| error.text_of("Code")), Some("AccessDenied"));
        }
        for document in ["<html><Error><Code>AccessDenied</Code></Error></html>", "<ErrorResponse/>"] {
            assert!(error_element(&xml::parse(document.as_bytes()).unwrap()).is_none(), "{document}");
        }
    }

    #[test]
    fn the_table_of_codes() {
        use Again::{Later, Never, WithNewToken, WithTheirTime};
        use Retry::{NonRecoverable, Recoverable, Transient};
        for (status, code, by_token, expected) in [
            (400, "IDPCommunicationError", true, (Transient, Later)),
            (400, "Throttling", false, (Transient, Later)),
            (400, "ThrottlingException", false, (Transient, Later)),
            (400, "ThrottledException", false, (Transient, Later)),
            (400, "TooManyRequestsException", false, (Transient, Later)),
            (400, "RequestLimitExceeded", false, (Transient, Later)),
            (400, "SlowDown", false, (Transient, Later)),
            (400, "BandwidthLimitExceeded", false, (Transient, Later)),
            (400, "LimitExceededException", false, (Transient, Later)),
            (400, "RequestThrottledException", false, (Transient, Later)),
            (400, "RequestTimeoutException", false, (Transient, Later)),
            (500, "", true, (Transient, Later)),
            (503, "ServiceUnavailable", true, (Transient, Later)),
            (429, "", false, (Transient, Later)),
            (400, "InvalidIdentityToken", true, (NonRecoverable, WithNewToken)),
            (400, "InvalidIdentityTokenException", true, (NonRecoverable, WithNewToken)),
            (400, "ExpiredTokenException", true, (Recoverable, WithNewToken)),
            (403, "ExpiredToken", false, (Recoverable, Never)),
            (403, "AccessDenied", true, (NonRecoverable, Never)),
            (403, "AccessDeniedException", false, (NonRecoverable, Never)),
            (403, "IDPRejectedClaim", true, (NonRecoverable, Never)),
            (400, "MalformedPolicyDocument", false, (NonRecoverable, Never)),
            (400, "PackedPolicyTooLarge", false, (NonRecoverable, Never)),
            (403, "RegionDisabledException", false, (NonRecoverable, Never)),
            (403, "SignatureDoesNotMatch", false, (Recoverable, WithTheirTime)),
            (403, "InvalidClientTokenId", false, (Recoverable, Never)),
            (400, "ValidationError", false, (Recoverable, Never)),
            (404, "", false, (Recoverable, Never)),
            (302, "", false, (Recoverable, Never)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(classify(status, code, by_token), expected, "{status} {code} {by_token}");
        }
    }
}
