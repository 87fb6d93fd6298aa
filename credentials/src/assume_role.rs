//! The role that a program takes on by its own configuration, whatever source the keys to do so come from.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::chain::Settings;
use crate::credentials::Identity;
use crate::host::Host;
use crate::provider::{ProviderError, Resolved, SourceName};
use crate::secret::Secret;
use crate::sts::{Proof, Role, RoleParts, Sts};

/// A role to take on through STS with the keys that a chain finds, see
/// [`assume_role`](crate::CredentialsChainBuilder::assume_role).
///
/// API: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>. The values are checked when the chain
/// is asked; one beyond the limits of STS is its error then, before any source is asked.
#[derive(Clone)]
pub struct AssumeRole {
    arn: String,
    session_name: Option<String>,
    external_id: Option<Arc<Secret>>,
    duration: Option<Duration>,
}

impl AssumeRole {
    /// The role with this ARN.
    #[must_use]
    pub fn new(arn: impl Into<String>) -> AssumeRole {
        AssumeRole { arn: arn.into(), session_name: None, external_id: None, duration: None }
    }

    /// The name of the session in audit logs. Left out, one is made of the program's and the time.
    #[must_use]
    pub fn session_name(mut self, name: impl Into<String>) -> AssumeRole {
        self.session_name = Some(name.into());
        self
    }

    /// What the owner of a role in another account asks for. It is not printed.
    #[must_use]
    pub fn external_id(mut self, id: Secret) -> AssumeRole {
        self.external_id = Some(Arc::new(id));
        self
    }

    /// How long the keys are to live: whole seconds, a quarter of an hour to twelve hours. Left out, STS takes an hour.
    #[must_use]
    pub fn duration(mut self, duration: Duration) -> AssumeRole {
        self.duration = Some(duration);
        self
    }

    /// Within the limits of STS.
    pub(crate) fn parse(&self) -> Result<Role, ProviderError> {
        let AssumeRole { arn, session_name, external_id, duration } = self;
        let seconds = duration.map(|duration| duration.as_secs().to_string());
        let parts = RoleParts {
            arn,
            session_name: session_name.as_deref(),
            external_id: external_id.as_ref().map(|id| id.expose_secret()),
            duration_s: seconds.as_deref(),
        };
        Role::parse(&parts).map_err(|error| {
            let message = format!("{} of the configuration {}", error.key, error.problem);
            ProviderError::invalid_config(SourceName::Inline, message)
        })
    }

    pub(crate) fn is_like(&self, other: &AssumeRole) -> bool {
        // Field by field: whoever is taken for alike gets the other's keys.
        let AssumeRole { arn, session_name, external_id, duration } = self;
        let exposed = |id: &Option<Arc<Secret>>| id.as_ref().map(|id| id.expose_secret().to_owned());
        *arn == other.arn
            && *session_name == other.session_name
            && exposed(external_id) == exposed(&other.external_id)
            && *duration == other.duration
    }
}

impl fmt::Debug for AssumeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssumeRole")
            .field("arn", &self.arn)
            .field("session_name", &self.session_name)
            .field("duration", &self.duration)
            .finish_non_exhaustive()
    }
}

/// The keys of `role` in place of those that `source` found.
pub(crate) async fn take_on(
    role: &Role,
    settings: &Settings,
    host: &Host,
    source: SourceName,
    found: Resolved,
) -> Result<Resolved, ProviderError> {
    let identity = match found {
        Resolved::Found(identity) => identity,
        skipped @ Resolved::Skipped(_) => return Ok(skipped),
    };
    let Identity::Keys(keys) = identity else {
        let message = "nobody can take on a role who is anonymous";
        return Err(ProviderError::invalid_config(source, message));
    };
    let sts = Sts::locate(settings, host, source).await?;
    sts.assume(host, role, Proof::Keys(&keys)).await.map(Resolved::from)
}
