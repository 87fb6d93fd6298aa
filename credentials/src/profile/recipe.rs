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
    /// The keys must be fetched in a way that this version does not know.
    Needs(NeededFeature),
    /// The profile contradicts itself; says how.
    Contradiction(&'static str),
}

/// A way to get keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NeededFeature {
    /// The property that asks for it.
    pub(crate) key: &'static str,
    /// Its name in the documentation of AWS.
    pub(crate) feature: &'static str,
}

pub(crate) fn recipe(profile: Profile<'_>) -> Recipe<'_> {
    let has = |key| profile.get(key).is_some();
    let needs = |key, feature| Recipe::Needs(NeededFeature { key, feature });
    if has("role_arn") {
        return match () {
            () if has("web_identity_token_file") => needs("web_identity_token_file", "web identity"),
            () if has("mfa_serial") => needs("mfa_serial", "multi-factor authentication"),
            () => needs("role_arn", "assuming a role"),
        };
    }
    if has("web_identity_token_file") {
        // AWS_ROLE_ARN belongs to another token and must not fill the gap.
        return Recipe::Contradiction("web_identity_token_file needs role_arn in the same profile");
    }
    if has("credential_source") {
        return needs("credential_source", "keys from another source");
    }
    if let Some(key) =
        ["sso_session", "sso_start_url", "sso_account_id", "sso_role_name"].into_iter().find(|key| has(key))
    {
        return needs(key, "single sign-on");
    }
    if has("login_session") {
        return needs("login_session", "aws login");
    }
    if has("credential_process") {
        return needs("credential_process", "keys from a program");
    }
    match (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")) {
        (Some(access_key_id), Some(secret_access_key)) => Recipe::StaticKeys {
            access_key_id,
            secret_access_key,
            session_token: profile.get("aws_session_token").or(profile.get("aws_security_token")),
        },
        (Some(_), None) => Recipe::Contradiction("aws_access_key_id is set, aws_secret_access_key is not"),
        (None, Some(_)) => Recipe::Contradiction("aws_secret_access_key is set, aws_access_key_id is not"),
        (None, None) if has("source_profile") => {
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
            ("aws_access_key_id=a\naws_secret_access_key=s\nrole_arn=r\nsource_profile=x", "role_arn"),
            ("aws_access_key_id=a\naws_secret_access_key=s\ncredential_process=p", "credential_process"),
            ("role_arn=r\nweb_identity_token_file=f", "web_identity_token_file"),
            ("role_arn=r\nsource_profile=y\nmfa_serial=m", "mfa_serial"),
            ("credential_source=Environment", "credential_source"),
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
        ] {
            assert!(kind(half).starts_with('!'), "{half:?}");
        }
    }
}
