//! How a profile says its keys are to be had. One profile can say it in several ways at once; the order
//! here decides, and is the one of the SDKs.

use super::merge::Profile;

/// What to do to get a profile's keys.
#[derive(Clone, Copy)]
pub(crate) enum Recipe<'a> {
    /// The profile holds settings only.
    Nothing,
    /// The keys stand in the profile.
    StaticKeys { access_key_id: &'a str, secret_access_key: &'a str, session_token: Option<&'a str> },
    /// Take on `role_arn` with the keys of `base`.
    AssumeRole { base: Base<'a> },
    /// Take on `role_arn` with the token in a file.
    WebIdentity { token_file: &'a str },
    /// Another source of the chain has the keys.
    Source(CredentialSource),
    /// A program prints the keys.
    Process { command_line: &'a str },
    /// The keys must be fetched in a way that this version does not know.
    Needs(NeededFeature),
    /// The profile contradicts itself; says how.
    Contradiction(&'static str),
}

/// Whose keys take on a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base<'a> {
    /// Those of another profile, or this one's own if it names itself.
    Profile(&'a str),
    /// Those of another source.
    Source(CredentialSource),
}

/// A source named by `credential_source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialSource {
    /// `AWS_ACCESS_KEY_ID` and its companions.
    Environment,
    /// The container's service.
    EcsContainer,
    /// Instance metadata.
    Ec2InstanceMetadata,
}

impl CredentialSource {
    const ALL: [CredentialSource; 3] = [
        CredentialSource::Environment,
        CredentialSource::EcsContainer,
        CredentialSource::Ec2InstanceMetadata,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            CredentialSource::Environment => "Environment",
            CredentialSource::EcsContainer => "EcsContainer",
            CredentialSource::Ec2InstanceMetadata => "Ec2InstanceMetadata",
        }
    }

    fn parse(name: &str) -> Option<CredentialSource> {
        CredentialSource::ALL.into_iter().find(|source| source.as_str().eq_ignore_ascii_case(name))
    }
}

/// A way to get keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NeededFeature {
    /// The property that asks for it.
    pub(crate) key: &'static str,
    /// Its name in the documentation of AWS.
    pub(crate) feature: &'static str,
}

const BAD_SOURCE: Recipe<'_> =
    Recipe::Contradiction("credential_source must be Environment, EcsContainer or Ec2InstanceMetadata");

/// How the profile that was selected gets its keys.
pub(crate) fn recipe(profile: Profile<'_>) -> Recipe<'_> {
    let has = |key| profile.get(key).is_some();
    if !has("role_arn") {
        return own_recipe(profile);
    }
    if let Some(token_file) = profile.get("web_identity_token_file") {
        return Recipe::WebIdentity { token_file };
    }
    if has("mfa_serial") {
        let feature = "multi-factor authentication";
        return Recipe::Needs(NeededFeature { key: "mfa_serial", feature });
    }
    match (profile.get("source_profile"), profile.get("credential_source")) {
        (Some(_), Some(_)) => Recipe::Contradiction(
            "source_profile and credential_source cannot both give the keys for role_arn",
        ),
        (Some(name), None) => Recipe::AssumeRole { base: Base::Profile(name) },
        (None, Some(name)) => match CredentialSource::parse(name) {
            Some(source) => Recipe::AssumeRole { base: Base::Source(source) },
            None => BAD_SOURCE,
        },
        (None, None) => Recipe::Contradiction("role_arn needs source_profile or credential_source beside it"),
    }
}

/// How a profile gets its keys that another one takes a role with. Here keys that stand in the profile come
/// first.
pub(crate) fn base_recipe(profile: Profile<'_>) -> Recipe<'_> {
    match static_keys(profile) {
        keys @ Recipe::StaticKeys { .. } => keys,
        _ => recipe(profile),
    }
}

/// How a profile that names itself as its `source_profile` gets the keys to take its role with.
pub(crate) fn self_recipe(profile: Profile<'_>) -> Recipe<'_> {
    match static_keys(profile) {
        keys @ Recipe::StaticKeys { .. } => keys,
        _ => own_recipe(profile),
    }
}

/// All but roles.
fn own_recipe(profile: Profile<'_>) -> Recipe<'_> {
    let has = |key| profile.get(key).is_some();
    let needs = |key, feature| Recipe::Needs(NeededFeature { key, feature });
    if has("web_identity_token_file") && !has("role_arn") {
        // AWS_ROLE_ARN belongs to another token and must not fill the gap.
        return Recipe::Contradiction("web_identity_token_file needs role_arn in the same profile");
    }
    if let Some(name) = profile.get("credential_source") {
        return CredentialSource::parse(name).map_or(BAD_SOURCE, Recipe::Source);
    }
    if let Some(key) =
        ["sso_session", "sso_start_url", "sso_account_id", "sso_role_name"].into_iter().find(|key| has(key))
    {
        return needs(key, "single sign-on");
    }
    if has("login_session") {
        return needs("login_session", "aws login");
    }
    if let Some(command_line) = profile.get("credential_process") {
        return Recipe::Process { command_line };
    }
    static_keys(profile)
}

fn static_keys(profile: Profile<'_>) -> Recipe<'_> {
    match (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")) {
        (Some(access_key_id), Some(secret_access_key)) => Recipe::StaticKeys {
            access_key_id,
            secret_access_key,
            session_token: profile.get("aws_session_token").or(profile.get("aws_security_token")),
        },
        (Some(_), None) => Recipe::Contradiction("aws_access_key_id is set, aws_secret_access_key is not"),
        (None, Some(_)) => Recipe::Contradiction("aws_secret_access_key is set, aws_access_key_id is not"),
        (None, None) if profile.get("source_profile").is_some() && profile.get("role_arn").is_none() => {
            Recipe::Contradiction("source_profile needs role_arn in the same profile")
        }
        (None, None) => Recipe::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::super::merge::ProfileSet;
    use super::super::parse::{FileKind, ProfileFile};
    use super::*;

    fn kind(properties: &str) -> String {
        let text = format!("[x]\n{properties}\n");
        let file = ProfileFile::parse("f", FileKind::Credentials, text.as_bytes()).unwrap();
        let set = ProfileSet::merge(ProfileFile::default(), file);
        match recipe(set.profile("x").unwrap()) {
            Recipe::Nothing => "nothing".to_owned(),
            Recipe::StaticKeys { session_token, .. } => format!("keys {}", session_token.unwrap_or("-")),
            Recipe::AssumeRole { base } => format!("role by {base:?}"),
            Recipe::WebIdentity { token_file } => format!("token {token_file}"),
            Recipe::Source(source) => source.as_str().to_owned(),
            Recipe::Process { command_line } => format!("program {command_line}"),
            Recipe::Needs(needed) => needed.key.to_owned(),
            Recipe::Contradiction(text) => format!("!{text}"),
        }
    }

    #[test]
    fn the_first_way_in_order_wins_over_static_keys() {
        const KEYS: &str = "aws_access_key_id=a\naws_secret_access_key=s\n";
        for (properties, expected) in [
            ("", "nothing"),
            ("region=r", "nothing"),
            ("aws_session_token=t", "nothing"),
            (KEYS, "keys -"),
            ("aws_access_key_id=a\naws_secret_access_key=s\naws_session_token=t", "keys t"),
            ("aws_access_key_id=a\naws_secret_access_key=s\naws_security_token=u", "keys u"),
            // Tools like aws-mfa note the device beside keys that already passed it.
            ("aws_access_key_id=a\naws_secret_access_key=s\nmfa_serial=m", "keys -"),
            ("aws_access_key_id=a\naws_secret_access_key=s\nsource_profile=y", "keys -"),
            (
                "aws_access_key_id=a\naws_secret_access_key=s\nrole_arn=r\nsource_profile=x",
                "role by Profile(\"x\")",
            ),
            ("aws_access_key_id=a\naws_secret_access_key=s\ncredential_process=p", "program p"),
            ("role_arn=r\nweb_identity_token_file=f", "token f"),
            ("role_arn=r\nweb_identity_token_file=f\nsource_profile=y\nmfa_serial=m", "token f"),
            ("role_arn=r\ncredential_source=ecscontainer", "role by Source(EcsContainer)"),
            ("role_arn=r\nsource_profile=y\nmfa_serial=m", "mfa_serial"),
            ("credential_source=Environment", "Environment"),
            ("sso_session=s\nsso_account_id=1", "sso_session"),
            ("sso_start_url=s", "sso_start_url"),
            ("login_session=s", "login_session"),
        ] {
            assert_eq!(kind(properties), expected, "{properties:?}");
        }
        for half in [
            "aws_access_key_id=a",
            "aws_secret_access_key=s",
            "aws_access_key_id=a\naws_secret_access_key=",
            "web_identity_token_file=f",
            "source_profile=y",
            "role_arn=r",
            "role_arn=r\nsource_profile=y\ncredential_source=Environment",
            "role_arn=r\ncredential_source=Elsewhere",
            "credential_source=Elsewhere",
        ] {
            assert!(kind(half).starts_with('!'), "{half:?}");
        }
    }
}
