//! The selected profile of the shared files.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::{COPY_HINT, process};
use crate::chain::Settings;
use crate::credentials::{Credentials, CredentialsPart, Identity};
use crate::host::Host;
use crate::profile::{
    Base, CredentialSource, Loaded, NeededFeature, Profile, ProfileName, ProfileOrigin, Recipe, base_recipe,
    load, recipe, select, self_recipe,
};
use crate::provider::{ProvideCredentials, ProviderError, ProviderErrorKind, Resolved, Retry, SourceName};
use crate::secret::Secret;
use crate::sts::{Proof, Role, RoleParts, Sts};
use crate::token_file::TokenFile;

/// Existing profiles listed when the one that was named is not among them.
const NAMES_LISTED_MAX: usize = 8;

/// Reads the shared files anew at each call and follows the selected profile.
pub(crate) struct ProfileProvider {
    pub(crate) settings: Arc<Settings>,
    pub(crate) sources: NamedSources,
}

/// What `credential_source` can name; `None` where the program does not want it.
pub(crate) struct NamedSources {
    pub(crate) environment: Option<Arc<dyn ProvideCredentials>>,
    pub(crate) container: Option<Arc<dyn ProvideCredentials>>,
    pub(crate) imds: Option<Arc<dyn ProvideCredentials>>,
}

impl ProvideCredentials for ProfileProvider {
    fn name(&self) -> SourceName {
        SourceName::Profile
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move {
            let name = select(self.settings.profile_name.as_deref(), host)?;
            let loaded = load(host).await?;
            match plan(&name, &loaded)? {
                Planned::Skip(reason) => Ok(Resolved::skipped(reason)),
                Planned::Follow(path) => self.follow(host, &loaded, path).await.map(Resolved::Found),
            }
        })
    }

    fn configured<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Option<String>> {
        Box::pin(async move {
            let Ok(name) = select(self.settings.profile_name.as_deref(), host) else {
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
                Recipe::AssumeRole { .. } => Some(format!("role_arn of {name}")),
                Recipe::WebIdentity { .. } => Some(format!("web_identity_token_file of {name}")),
                Recipe::Source(source) => Some(format!("credential_source {} of {name}", source.as_str())),
                Recipe::Process { .. } => Some(format!("credential_process of {name}")),
                Recipe::Needs(NeededFeature { key, .. }) => Some(format!("{key} of {name}")),
                Recipe::Contradiction(text) => Some(format!("{name}, contradictory: {text}")),
            }
        })
    }
}

/// The way to the keys, as far as the files tell it.
enum Planned<'a> {
    Skip(String),
    Follow(Path<'a>),
}

/// Roles from the selected profile on, each taken on with the keys of the next, and where the last one's
/// keys come from.
struct Path<'a> {
    roles: Vec<(Profile<'a>, Role)>,
    /// The profile that holds the base.
    profile: Profile<'a>,
    base: PathBase<'a>,
}

enum PathBase<'a> {
    StaticKeys(Credentials),
    WebIdentity { role: Box<Role>, token_file: &'a str },
    Source(CredentialSource),
    Process { command_line: &'a str },
}

/// Follows `source_profile` from file to file. Contacts nobody, so that a mistake in the last profile is
/// told before the first is used.
fn plan<'a>(name: &ProfileName, loaded: &'a Loaded) -> Result<Planned<'a>, ProviderError> {
    let read = &loaded.read;
    let Some(mut profile) = loaded.set.profile(&name.name) else {
        if name.origin == ProfileOrigin::Implied {
            return Ok(Planned::Skip(format!("{name} is absent; {read}")));
        }
        // Going on would sign with whatever comes later in place of what somebody asked for.
        let error = invalid(format!("{name} does not exist; {read}"));
        return Err(error.with_hint(existing(loaded)));
    };
    let mut roles: Vec<(Profile<'a>, Role)> = Vec::new();
    let mut next = recipe(profile);
    // Each round visits a profile that was not visited before, so there are at most as many as profiles.
    let base = loop {
        // How one got here, for errors.
        let place = || match roles.first() {
            None => name.to_string(),
            Some((first, _)) => {
                let path = roles.iter().skip(1).map(|(profile, _)| profile.name()).chain([profile.name()]);
                path.fold(format!("{:?}", first.name()), |path, name| format!("{path} -> {name:?}"))
            }
        };
        break match next {
            Recipe::StaticKeys { access_key_id, secret_access_key, session_token } => PathBase::StaticKeys(
                static_keys(&place(), profile, access_key_id, secret_access_key, session_token)?,
            ),
            Recipe::AssumeRole { base } => {
                let role = parse_role(&place(), profile)?;
                match base {
                    Base::Source(source) => {
                        roles.push((profile, role));
                        PathBase::Source(source)
                    }
                    Base::Profile(own) if own == profile.name() => {
                        roles.push((profile, role));
                        next = self_recipe(profile);
                        continue;
                    }
                    Base::Profile(other) => {
                        let path = format!("{} -> {other:?}", place());
                        let Some(found) = loaded.set.profile(other) else {
                            let error = invalid(format!(
                                "{path}: the profile named by source_profile does not exist; {read}"
                            ));
                            return Err(error.with_hint(existing(loaded)));
                        };
                        roles.push((profile, role));
                        if roles.iter().any(|(visited, _)| visited.name() == other) {
                            return Err(invalid(format!("source_profile goes in a circle: {path}")));
                        }
                        profile = found;
                        next = base_recipe(profile);
                        continue;
                    }
                }
            }
            Recipe::WebIdentity { token_file } => {
                PathBase::WebIdentity { role: Box::new(parse_role(&place(), profile)?), token_file }
            }
            Recipe::Source(source) => PathBase::Source(source),
            Recipe::Process { command_line } => {
                if let Some(path) = &loaded.writable_by_all {
                    let message = format!(
                        "{}: credential_process is not run, because every user of the machine can write to {path}",
                        place()
                    );
                    let kind = ProviderErrorKind::File { path: path.clone() };
                    let error = ProviderError::new(SourceName::Profile, kind, Retry::NonRecoverable, message);
                    return Err(error.with_hint("chmod o-w it, after a look at what it says"));
                }
                PathBase::Process { command_line }
            }
            Recipe::Contradiction(text) => return Err(invalid(format!("{}: {text}; {read}", place()))),
            Recipe::Needs(needed) => return Err(unsupported(&place(), profile.name(), needed)),
            // Somebody needs the keys of this very profile.
            Recipe::Nothing if !roles.is_empty() || name.origin == ProfileOrigin::Inline => {
                return Err(invalid(format!("{} has no credentials; {read}", place())));
            }
            Recipe::Nothing => return Ok(Planned::Skip(format!("{name} has no credentials; {read}"))),
        };
    };
    Ok(Planned::Follow(Path { roles, profile, base }))
}

impl ProfileProvider {
    async fn follow(&self, host: &Host, loaded: &Loaded, path: Path<'_>) -> Result<Identity, ProviderError> {
        let Path { roles, profile, base } = path;
        let needs_sts = !roles.is_empty() || matches!(base, PathBase::WebIdentity { .. });
        let sts = if needs_sts {
            // A missing region is told before a program is run for nothing.
            Some(Sts::locate(&self.settings, host, SourceName::Profile).await?)
        } else {
            None
        };
        let mut keys = match base {
            PathBase::StaticKeys(keys) => keys,
            PathBase::Process { command_line } => {
                process::run(host, profile.name(), command_line, profile.get("aws_account_id")).await?
            }
            PathBase::Source(source) => match self.ask(host, profile, source).await? {
                Identity::Keys(keys) => keys,
                Identity::Anonymous => return Ok(Identity::Anonymous),
            },
            PathBase::WebIdentity { role, token_file } => {
                let file = TokenFile::new(
                    token_file,
                    format!("web_identity_token_file of profile {:?}", profile.name()),
                );
                let sts = sts.as_ref().expect("located, because there is a token to exchange");
                sts.assume(host, &role, Proof::Token(&file)).await?
            }
        };
        for (profile, role) in roles.iter().rev() {
            // STS would refuse them, and the reason it gives would be another.
            if keys.is_expired(host.now()) {
                let kind = ProviderErrorKind::Malformed { field: "expiration" };
                let message = format!(
                    "the keys to take on the role of profile {:?} with have expired; {}",
                    profile.name(),
                    loaded.read
                );
                return Err(ProviderError::new(SourceName::Profile, kind, Retry::Recoverable, message));
            }
            let sts = sts.as_ref().expect("located, because there are roles");
            keys = sts.assume(host, role, Proof::Keys(&keys)).await?;
        }
        Ok(Identity::Keys(keys))
    }

    /// The keys of a source that the profile names, as this profile's.
    async fn ask(
        &self,
        host: &Host,
        profile: Profile<'_>,
        source: CredentialSource,
    ) -> Result<Identity, ProviderError> {
        let context = format!("credential_source {} of profile {:?}", source.as_str(), profile.name());
        let provider = match source {
            CredentialSource::Environment => &self.sources.environment,
            CredentialSource::EcsContainer => &self.sources.container,
            CredentialSource::Ec2InstanceMetadata => &self.sources.imds,
        };
        let Some(provider) = provider else {
            return Err(invalid(format!("{context}: the program has switched that source off")));
        };
        let resolved = provider.resolve(host).await;
        match resolved.map_err(|error| error.within(SourceName::Profile, &context))? {
            // The profile asks for these keys and no others.
            Resolved::Skipped(reason) => Err(invalid(format!("{context}: {reason}"))),
            Resolved::Found(Identity::Anonymous) => Ok(Identity::Anonymous),
            Resolved::Found(Identity::Keys(keys)) => {
                let via = keys.via().map_or(String::new(), |via| format!(", {via}"));
                let expose = |secret: &Secret| Secret::new(secret.expose_secret());
                Credentials::builder(keys.access_key_id(), expose(keys.secret_access_key()))
                    .session_token(keys.session_token().map(expose))
                    .expires_at(keys.expires_at())
                    .account_id(keys.account_id().map(str::to_owned))
                    .via(format!("credential_source {}{via}", source.as_str()))
                    .stale_ok(provider.stale_ok())
                    .build(SourceName::Profile)
                    .map(Identity::Keys)
                    .map_err(|error| invalid(format!("{context}: {error}")))
            }
        }
    }
}

fn parse_role(place: &str, profile: Profile<'_>) -> Result<Role, ProviderError> {
    let parts = RoleParts {
        arn: profile.get("role_arn").unwrap_or_default(),
        session_name: profile.get("role_session_name"),
        external_id: profile.get("external_id"),
        duration_s: profile.get("duration_seconds"),
    };
    Role::parse(&parts).map_err(|error| invalid(format!("{place}: {} {}", error.key, error.problem)))
}

fn static_keys(
    place: &str,
    profile: Profile<'_>,
    access_key_id: &str,
    secret_access_key: &str,
    session_token: Option<&str>,
) -> Result<Credentials, ProviderError> {
    Credentials::builder(access_key_id, Secret::new(secret_access_key))
        .session_token(session_token.map(Secret::new))
        .account_id(profile.get("aws_account_id").map(str::to_owned))
        .build(SourceName::Profile)
        .map_err(|error| {
            let key = match error.part {
                CredentialsPart::AccessKeyId => "aws_access_key_id",
                CredentialsPart::SecretAccessKey => "aws_secret_access_key",
                CredentialsPart::SessionToken => "aws_session_token",
                CredentialsPart::AccountId => "aws_account_id",
            };
            invalid(format!("{place}: {key} {}", error.problem)).with_hint(COPY_HINT)
        })
}

fn unsupported(place: &str, name: &str, needed: NeededFeature) -> ProviderError {
    let NeededFeature { key, feature } = needed;
    let message = format!("{place} gets its keys by {key} ({feature}), which this version cannot do");
    // The name exists in a file, so its characters are harmless in a shell.
    let hint = format!(
        "use another profile, with credential_process = aws configure export-credentials --profile {name} \
         --format process"
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
