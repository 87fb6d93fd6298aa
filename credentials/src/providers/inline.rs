//! The program's own configuration, before everything else.

use std::fmt;

use futures_util::future::LocalBoxFuture;

use crate::credentials::{Credentials, CredentialsPart, CredentialsProblem, Identity, InvalidCredentials};
use crate::host::Host;
use crate::provider::{ProvideCredentials, ProviderError, Resolved, SourceName};
use crate::secret::Secret;

/// What a program's configuration may say about credentials.
#[derive(Clone)]
#[non_exhaustive]
pub enum Inline {
    /// Sign with these keys.
    Keys(Credentials),
    /// Send unsigned requests, for public buckets.
    Anonymous,
    /// Use this profile of the shared files and nothing else: keys in the environment and sources after
    /// the profile are not asked, and it is an error if the profile has no keys.
    Profile(String),
}

impl Inline {
    /// The keys of a configuration where each part may be absent; `None` if all are.
    ///
    /// # Errors
    ///
    /// [`InvalidCredentials`] names the missing half, or the part that cannot be used. Whoever wrote
    /// the configuration corrects it.
    pub fn from_parts(
        access_key_id: Option<String>,
        secret_access_key: Option<Secret>,
        session_token: Option<Secret>,
    ) -> Result<Option<Inline>, InvalidCredentials> {
        let missing = |part| Err(InvalidCredentials { part, problem: CredentialsProblem::Missing });
        match (access_key_id, secret_access_key) {
            (Some(id), Some(secret)) => {
                let keys = Credentials::builder(id, secret).session_token(session_token);
                Ok(Some(Inline::Keys(keys.build(SourceName::Inline)?)))
            }
            (Some(_), None) => missing(CredentialsPart::SecretAccessKey),
            (None, Some(_)) => missing(CredentialsPart::AccessKeyId),
            (None, None) if session_token.is_some() => missing(CredentialsPart::AccessKeyId),
            (None, None) => Ok(None),
        }
    }
}

impl fmt::Debug for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Inline::Keys(credentials) => f.debug_tuple("Keys").field(credentials).finish(),
            Inline::Anonymous => f.write_str("Anonymous"),
            Inline::Profile(name) => f.debug_tuple("Profile").field(name).finish(),
        }
    }
}

/// Answers with what the configuration says.
pub(crate) struct InlineProvider {
    pub(crate) inline: Option<Inline>,
}

impl ProvideCredentials for InlineProvider {
    fn name(&self) -> SourceName {
        SourceName::Inline
    }

    fn resolve<'a>(&'a self, _: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move {
            Ok(match &self.inline {
                Some(Inline::Keys(credentials)) => Resolved::from(credentials.clone()),
                Some(Inline::Anonymous) => Resolved::Found(Identity::Anonymous),
                Some(Inline::Profile(name)) => {
                    Resolved::skipped(format!("the configuration names profile {name:?}"))
                }
                None => Resolved::skipped("the configuration has neither keys nor a profile"),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_pair_of_keys_is_an_error_that_names_the_other_half() {
        let part = |id: Option<&str>, secret: Option<&str>, token: Option<&str>| {
            Inline::from_parts(id.map(str::to_owned), secret.map(Secret::new), token.map(Secret::new))
                .map_err(|error| error.part)
        };
        assert_eq!(part(Some("A"), None, None).unwrap_err(), CredentialsPart::SecretAccessKey);
        assert_eq!(part(None, Some("s"), None).unwrap_err(), CredentialsPart::AccessKeyId);
        assert_eq!(part(None, None, Some("t")).unwrap_err(), CredentialsPart::AccessKeyId);
        assert!(part(None, None, None).unwrap().is_none());
        assert!(matches!(part(Some("A"), Some("s"), Some("t")), Ok(Some(Inline::Keys(_)))));
    }
}
