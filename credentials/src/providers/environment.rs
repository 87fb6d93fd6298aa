//! Keys in environment variables.
//!
//! Variables: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html>

use std::time::SystemTime;

use futures_util::future::LocalBoxFuture;

use super::{COPY_HINT, is_set, variable};
use crate::credentials::{Credentials, CredentialsPart};
use crate::host::Host;
use crate::provider::{ProvideCredentials, ProviderError, ProviderErrorKind, Resolved, Retry, SourceName};
use crate::secret::Secret;

const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
/// The older name. The SDKs disagree on which wins; here the documented one does.
const SECURITY_TOKEN: &str = "AWS_SECURITY_TOKEN";
const EXPIRATION: &str = "AWS_CREDENTIAL_EXPIRATION";
const ACCOUNT_ID: &str = "AWS_ACCOUNT_ID";
/// Some SDK or tool reads each of these. Not read here, but mentioned, so that nobody searches long.
const LEGACY: [&str; 3] = ["AWS_ACCESS_KEY", "AWS_SECRET_KEY", "SECRET_ACCESS_KEY"];
const EXPORT_HINT: &str =
    "set it anew together with the keys, as `aws configure export-credentials --format env` prints it";

/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and their companions.
pub(crate) struct EnvironmentProvider;

impl ProvideCredentials for EnvironmentProvider {
    fn name(&self) -> SourceName {
        SourceName::Environment
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move { resolve(host) })
    }

    fn configured<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Option<String>> {
        Box::pin(async move {
            [ACCESS_KEY_ID, SECRET_ACCESS_KEY]
                .into_iter()
                .find(|name| is_set(host, name))
                .map(|name| format!("{name} is set"))
        })
    }
}

fn resolve(host: &Host) -> Result<Resolved, ProviderError> {
    let var = |name| variable(host, SourceName::Environment, name);
    let secret = var(SECRET_ACCESS_KEY)?.map(Secret::new);
    let (id, secret) = match (var(ACCESS_KEY_ID)?, secret) {
        (Some(id), Some(secret)) => (id, secret),
        (Some(_), None) => return Err(half(SECRET_ACCESS_KEY, ACCESS_KEY_ID)),
        (None, Some(_)) => return Err(half(ACCESS_KEY_ID, SECRET_ACCESS_KEY)),
        (None, None) => return Ok(Resolved::skipped(why_not(host))),
    };
    let token = match var(SESSION_TOKEN)? {
        Some(token) => Some(token),
        None => var(SECURITY_TOKEN)?,
    };
    let expires_at = match var(EXPIRATION)? {
        Some(text) => Some(expiration(&text, host.now())?),
        None => None,
    };
    Credentials::builder(id, secret)
        .session_token(token.map(Secret::new))
        .expires_at(expires_at)
        .account_id(var(ACCOUNT_ID)?)
        .build(SourceName::Environment)
        .map(Resolved::from)
        .map_err(|invalid| {
            let name = match invalid.part {
                CredentialsPart::AccessKeyId => ACCESS_KEY_ID,
                CredentialsPart::SecretAccessKey => SECRET_ACCESS_KEY,
                CredentialsPart::SessionToken if is_set(host, SESSION_TOKEN) => SESSION_TOKEN,
                CredentialsPart::SessionToken => SECURITY_TOKEN,
                CredentialsPart::AccountId => ACCOUNT_ID,
            };
            ProviderError::invalid_config(SourceName::Environment, format!("{name} {}", invalid.problem))
                .with_hint(COPY_HINT)
        })
}

fn half(missing: &str, present: &str) -> ProviderError {
    let message = format!("{missing} is not set although {present} is");
    ProviderError::invalid_config(SourceName::Environment, message)
        .with_hint("set both, or neither to let the chain go on")
}

fn expiration(text: &str, now: SystemTime) -> Result<SystemTime, ProviderError> {
    let malformed = |message| {
        let kind = ProviderErrorKind::Malformed { field: EXPIRATION };
        ProviderError::new(SourceName::Environment, kind, Retry::NonRecoverable, message)
            .with_hint(EXPORT_HINT)
    };
    let at: jiff::Timestamp = text
        .trim()
        .parse()
        .map_err(|_| malformed(format!("{EXPIRATION} is not a time like 2030-01-31T12:00:00Z")))?;
    let expires_at = SystemTime::from(at);
    if now >= expires_at {
        let message = format!("the keys in the environment expired at {at}, says {EXPIRATION}");
        return Err(ProviderError::invalid_config(SourceName::Environment, message).with_hint(EXPORT_HINT));
    }
    Ok(expires_at)
}

fn why_not(host: &Host) -> String {
    let mut reason = format!("{ACCESS_KEY_ID} and {SECRET_ACCESS_KEY} are not set");
    if [SESSION_TOKEN, SECURITY_TOKEN].into_iter().any(|name| is_set(host, name)) {
        reason += "; a session token is, and has no use without them";
    }
    let legacy: Vec<&str> = LEGACY.into_iter().filter(|name| is_set(host, name)).collect();
    if !legacy.is_empty() {
        reason += &format!("; {} is set, but this name is not read", legacy.join(", "));
    }
    reason
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::credentials::Identity;
    use crate::host::{FixedClock, MemoryEnvironment};

    fn host(variables: &[(&str, &str)]) -> Host {
        let environment: MemoryEnvironment = variables.iter().copied().collect();
        let clock = FixedClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        Host::builder().environment(environment).clock(clock).build()
    }

    /// The keys as `id/token/account`, or the reason for a skip as `-...`, or the error as `!...`.
    fn answer(variables: &[(&str, &str)]) -> String {
        match resolve(&host(variables)) {
            Ok(Resolved::Found(Identity::Keys(keys))) => {
                let token = keys.session_token().map_or("", Secret::expose_secret);
                format!("{}/{token}/{}", keys.access_key_id(), keys.account_id().unwrap_or(""))
            }
            Ok(Resolved::Skipped(reason)) => format!("-{reason}"),
            Ok(other) => panic!("{other:?}"),
            Err(error) => format!("!{error}"),
        }
    }

    const ID: (&str, &str) = (ACCESS_KEY_ID, "AKIDEXAMPLE");
    const SECRET: (&str, &str) = (SECRET_ACCESS_KEY, "secret");

    #[test]
    fn both_halves_make_keys() {
        assert_eq!(answer(&[ID, SECRET]), "AKIDEXAMPLE//");
        assert_eq!(answer(&[ID, SECRET, (SESSION_TOKEN, "t"), (ACCOUNT_ID, "1")]), "AKIDEXAMPLE/t/1");
        assert_eq!(answer(&[ID, SECRET, (SECURITY_TOKEN, "u")]), "AKIDEXAMPLE/u/");
        assert_eq!(answer(&[ID, SECRET, (SESSION_TOKEN, "t"), (SECURITY_TOKEN, "u")]), "AKIDEXAMPLE/t/");
        assert_eq!(answer(&[ID, SECRET, (SESSION_TOKEN, " "), (SECURITY_TOKEN, "u")]), "AKIDEXAMPLE/u/");
    }

    #[test]
    fn one_half_is_an_error_that_names_the_other() {
        assert_eq!(answer(&[ID]), "!AWS_SECRET_ACCESS_KEY is not set although AWS_ACCESS_KEY_ID is");
        assert_eq!(answer(&[ID, (SECRET_ACCESS_KEY, " \t")]), answer(&[ID]));
        assert_eq!(answer(&[SECRET]), "!AWS_ACCESS_KEY_ID is not set although AWS_SECRET_ACCESS_KEY is");
    }

    #[test]
    fn blank_is_unset_and_the_reason_mentions_what_is_lying_around() {
        let nothing = "-AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set";
        assert_eq!(answer(&[]), nothing);
        assert_eq!(answer(&[(ACCESS_KEY_ID, ""), (SECRET_ACCESS_KEY, " \n")]), nothing);
        assert!(answer(&[(SESSION_TOKEN, "t")]).contains("session token"));
        let legacy = answer(&[("AWS_SECRET_KEY", "s"), ("AWS_ACCESS_KEY", "a")]);
        assert!(legacy.contains("AWS_ACCESS_KEY, AWS_SECRET_KEY is set"), "{legacy}");
    }

    #[test]
    fn an_expiration_must_be_a_time_to_come() {
        let found = |text| answer(&[ID, SECRET, (EXPIRATION, text)]);
        // 1,800,000,000 is 2027-01-15T08:00:00Z.
        for good in ["2027-01-15T08:00:01Z", "2027-01-15T09:00:01+01:00", " 2030-01-01T00:00:00.5Z "] {
            assert!(found(good).starts_with("AKID"), "{good}: {}", found(good));
        }
        for past in ["2027-01-15T08:00:00Z", "2027-01-15T08:59:59+01:00", "1970-01-01T00:00:00Z"] {
            assert!(found(past).starts_with("!the keys in the environment expired at"), "{past}");
        }
        for odd in ["tomorrow", "1800000001", "2030-01-01", "2030-01-01T00:00:00", "2030-13-01T00:00:00Z"] {
            assert!(
                found(odd).starts_with("!AWS_CREDENTIAL_EXPIRATION is not a time"),
                "{odd}: {}",
                found(odd)
            );
        }
    }

    #[test]
    fn keys_that_cannot_be_sent_name_their_variable() {
        for (variables, name) in [
            ([(ACCESS_KEY_ID, "\"AKID\"\n"), SECRET, ("X", "")], ACCESS_KEY_ID),
            ([ID, (SECRET_ACCESS_KEY, "s\n"), ("X", "")], SECRET_ACCESS_KEY),
            ([ID, SECRET, (SESSION_TOKEN, "a b")], SESSION_TOKEN),
            ([ID, SECRET, (SECURITY_TOKEN, "a b")], SECURITY_TOKEN),
            ([ID, SECRET, (ACCOUNT_ID, "1\r2")], ACCOUNT_ID),
        ] {
            assert!(answer(&variables).starts_with(&format!("!{name} contains")), "{}", answer(&variables));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_text_is_an_error() {
        use std::os::unix::ffi::OsStringExt;
        let odd = std::ffi::OsString::from_vec(vec![0xff]);
        let environment: MemoryEnvironment = [(ACCESS_KEY_ID, odd)].into_iter().collect();
        let error = resolve(&Host::builder().environment(environment).build()).unwrap_err();
        assert_eq!(error.to_string(), "AWS_ACCESS_KEY_ID is not UTF-8");
    }
}
