//! The selected profile of the shared files.

use futures_util::future::LocalBoxFuture;

use super::COPY_HINT;
use crate::credentials::{Credentials, CredentialsPart};
use crate::host::Host;
use crate::profile::{
    Loaded, NeededFeature, Profile, ProfileName, ProfileOrigin, Recipe, load, recipe, select,
};
use crate::provider::{ProvideCredentials, ProviderError, Resolved, SourceName};
use crate::secret::Secret;

/// Existing profiles listed when the one that was named is not among them.
const NAMES_LISTED_MAX: usize = 8;

/// Reads the shared files anew at each call and follows the selected profile.
pub(crate) struct ProfileProvider {
    /// The profile that the configuration names.
    pub(crate) name: Option<String>,
}

impl ProvideCredentials for ProfileProvider {
    fn name(&self) -> SourceName {
        SourceName::Profile
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move {
            let name = select(self.name.as_deref(), host)?;
            let loaded = load(host).await?;
            resolve(&name, &loaded)
        })
    }

    fn configured<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Option<String>> {
        Box::pin(async move {
            let Ok(name) = select(self.name.as_deref(), host) else {
                return Some("a profile is named, in a variable that is not UTF-8".to_owned());
            };
            let Ok(loaded) = load(host).await else {
                return Some(format!("{name}, in files that cannot be used"));
            };
            let Some(profile) = loaded.set.profile(&name.name) else {
                return (name.origin != ProfileOrigin::Implied)
                    .then(|| format!("{name}, which does not exist"));
            };
            match recipe(profile) {
                Recipe::Nothing => None,
                Recipe::StaticKeys { .. } => Some(format!("static keys of {name}")),
                Recipe::Needs(NeededFeature { key, .. }) => Some(format!("{key} of {name}")),
                Recipe::Contradiction(text) => Some(format!("{name}, contradictory: {text}")),
            }
        })
    }
}

fn resolve(name: &ProfileName, loaded: &Loaded) -> Result<Resolved, ProviderError> {
    let read = &loaded.read;
    let Some(profile) = loaded.set.profile(&name.name) else {
        if name.origin == ProfileOrigin::Implied {
            return Ok(Resolved::skipped(format!("{name} is absent; {read}")));
        }
        // Going on would sign with whatever comes later in place of what somebody asked for.
        let error = invalid(format!("{name} does not exist; {read}"));
        return Err(error.with_hint(existing(loaded)));
    };
    match recipe(profile) {
        Recipe::StaticKeys { access_key_id, secret_access_key, session_token } => {
            static_keys(name, profile, access_key_id, secret_access_key, session_token)
        }
        Recipe::Contradiction(text) => Err(invalid(format!("{name}: {text}; {read}"))),
        Recipe::Needs(needed) => Err(unsupported(name, needed)),
        // The program asked for the identity of this very profile.
        Recipe::Nothing if name.origin == ProfileOrigin::Inline => {
            Err(invalid(format!("{name} has no credentials; {read}")))
        }
        Recipe::Nothing => Ok(Resolved::skipped(format!("{name} has no credentials; {read}"))),
    }
}

fn static_keys(
    name: &ProfileName,
    profile: Profile<'_>,
    access_key_id: &str,
    secret_access_key: &str,
    session_token: Option<&str>,
) -> Result<Resolved, ProviderError> {
    Credentials::builder(access_key_id, Secret::new(secret_access_key))
        .session_token(session_token.map(Secret::new))
        .account_id(profile.get("aws_account_id").map(str::to_owned))
        .build(SourceName::Profile)
        .map(Resolved::from)
        .map_err(|error| {
            let key = match error.part {
                CredentialsPart::AccessKeyId => "aws_access_key_id",
                CredentialsPart::SecretAccessKey => "aws_secret_access_key",
                CredentialsPart::SessionToken => "aws_session_token",
                CredentialsPart::AccountId => "aws_account_id",
            };
            invalid(format!("{name}: {key} {}", error.problem)).with_hint(COPY_HINT)
        })
}

fn unsupported(name: &ProfileName, needed: NeededFeature) -> ProviderError {
    let NeededFeature { key, feature } = needed;
    let message = format!("{name} gets its keys by {key} ({feature}), which this version cannot do");
    // The name exists in a file, so its characters are harmless in a shell.
    let hint = format!(
        "put temporary keys into the environment with \
         eval \"$(aws configure export-credentials --profile {} --format env)\", \
         or use a profile with aws_access_key_id and aws_secret_access_key",
        name.name
    );
    ProviderError::unsupported(SourceName::Profile, key, message).with_hint(hint)
}

fn existing(loaded: &Loaded) -> String {
    let mut names: Vec<&str> = loaded.set.names().take(NAMES_LISTED_MAX + 1).collect();
    if names.is_empty() {
        return "there are no profiles at all; is HOME right?".to_owned();
    }
    if names.len() > NAMES_LISTED_MAX {
        names[NAMES_LISTED_MAX] = "...";
    }
    format!("there are: {}", names.join(", "))
}

fn invalid(message: String) -> ProviderError {
    ProviderError::invalid_config(SourceName::Profile, message)
}
