//! What the two files say together.

use std::collections::BTreeMap;
use std::fmt;

use super::parse::{ProfileFile, Property, Section, Warning};

/// The profiles of both files, merged. `Debug` shows names and keys, never values.
#[derive(Default)]
pub struct ProfileSet {
    profiles: BTreeMap<String, Section>,
    sso_sessions: BTreeMap<String, Section>,
    services: BTreeMap<String, Section>,
    warnings: Vec<Warning>,
}

impl ProfileSet {
    /// Lays the credentials file over the config file: where both give a key of the same profile, the
    /// credentials file wins.
    #[must_use]
    pub fn merge(config: ProfileFile, credentials: ProfileFile) -> ProfileSet {
        let mut set = ProfileSet {
            profiles: config.profiles,
            sso_sessions: config.sso_sessions,
            services: config.services,
            warnings: config.warnings,
        };
        for (name, section) in credentials.profiles {
            set.profiles.entry(name).or_default().extend(section);
        }
        set.warnings.extend(credentials.warnings);
        set
    }

    /// One profile.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<Profile<'_>> {
        lookup(&self.profiles, name)
    }

    /// One `[sso-session NAME]`.
    #[must_use]
    pub fn sso_session(&self, name: &str) -> Option<Profile<'_>> {
        lookup(&self.sso_sessions, name)
    }

    /// One `[services NAME]`; its keys are services, with settings nested below them.
    #[must_use]
    pub fn services(&self, name: &str) -> Option<Profile<'_>> {
        lookup(&self.services, name)
    }

    /// The names of all profiles, in byte order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(String::as_str)
    }

    /// What was passed over in both files.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

fn lookup<'a>(sections: &'a BTreeMap<String, Section>, name: &str) -> Option<Profile<'a>> {
    sections.get_key_value(name).map(|(name, section)| Profile { name, section })
}

impl fmt::Debug for ProfileSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProfileSet")
            .field("profiles", &self.profiles.keys())
            .field("sso_sessions", &self.sso_sessions.keys())
            .field("services", &self.services.keys())
            .field("warnings", &self.warnings)
            .finish()
    }
}

/// One section of a [`ProfileSet`]. `Debug` shows keys, never values.
#[derive(Clone, Copy)]
pub struct Profile<'a> {
    name: &'a str,
    section: &'a Section,
}

impl<'a> Profile<'a> {
    /// The section's name.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.name
    }

    /// The value of a lower-case key; a blank value counts as not set.
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'a str> {
        self.section.get(key).map(|property| property.value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of a key nested below another: `get_nested("s3", "endpoint_url")`.
    #[must_use]
    pub fn get_nested(self, key: &str, nested: &str) -> Option<&'a str> {
        let property: &Property = self.section.get(key)?;
        property.nested.get(nested).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The keys that are there, lower-case and in byte order.
    pub fn keys(self) -> impl Iterator<Item = &'a str> {
        self.section.keys().map(String::as_str)
    }
}

impl fmt::Debug for Profile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").field("name", &self.name).field("keys", &self.section.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::FileKind;
    use super::*;

    fn set(config: &str, credentials: &str) -> ProfileSet {
        ProfileSet::merge(
            ProfileFile::parse("config", FileKind::Config, config.as_bytes()).unwrap(),
            ProfileFile::parse("credentials", FileKind::Credentials, credentials.as_bytes()).unwrap(),
        )
    }

    #[test]
    fn the_credentials_file_wins_key_by_key() {
        let set =
            set("[profile a]\nregion = r\naws_account_id = 1\n", "[a]\naws_account_id = 2\n[b]\nx = y\n");
        let a = set.profile("a").unwrap();
        assert_eq!((a.get("region"), a.get("aws_account_id")), (Some("r"), Some("2")));
        assert_eq!(set.names().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_blank_value_is_not_set() {
        let set = set("[default]\nregion =\n", "");
        assert_eq!(set.profile("default").unwrap().get("region"), None);
    }

    #[test]
    fn services_are_nested_settings() {
        let set = set("[services local]\ns3 =\n  endpoint_url = http://localhost:9000\n", "");
        let services = set.services("local").unwrap();
        assert_eq!(services.get_nested("s3", "endpoint_url"), Some("http://localhost:9000"));
        assert_eq!(services.get_nested("sts", "endpoint_url"), None);
    }
}
