//! Which files to read: the variables that name them, the defaults, and `~`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::parse::FileKind;
use crate::host::Host;

/// Where one of the two files should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// `None` if the default place needs a home directory and there is none.
    pub(super) path: Option<PathBuf>,
    /// For people.
    pub(super) label: String,
    /// Somebody named the file, so its absence is worth a word and its being broken an error.
    pub(super) explicit: bool,
    /// `~` was asked for and means nothing here.
    pub(super) home_missing: bool,
}

pub(super) fn locate(host: &Host, kind: FileKind) -> Location {
    let (variable, default) = match kind {
        FileKind::Config => ("AWS_CONFIG_FILE", "~/.aws/config"),
        FileKind::Credentials => ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    };
    let named = set(host, variable);
    let explicit = named.is_some();
    let path = PathBuf::from(named.unwrap_or_else(|| default.into()));
    let wants_home = path.components().next().is_some_and(|first| first.as_os_str() == OsStr::new("~"));
    let home = if wants_home { home(host) } else { None };
    let home_missing = wants_home && home.is_none();
    let path = match home {
        // `~user` is one component and stays what it is.
        Some(home) => home.join(path.strip_prefix("~").unwrap_or(&path)),
        None => path,
    };
    let label = path.display().to_string();
    // Without a home the default would be a folder named "~" below wherever the program was started.
    let path = if home_missing && !explicit { None } else { Some(path) };
    Location { path, label, explicit, home_missing }
}

fn home(host: &Host) -> Option<PathBuf> {
    if let Some(home) = set(host, "HOME") {
        return Some(home.into());
    }
    if cfg!(windows) {
        if let Some(profile) = set(host, "USERPROFILE") {
            return Some(profile.into());
        }
        let mut home = set(host, "HOMEDRIVE")?;
        home.push(set(host, "HOMEPATH")?);
        return Some(home.into());
    }
    None
}

fn set(host: &Host, name: &str) -> Option<OsString> {
    host.var(name).filter(|value| !Path::new(value).as_os_str().to_string_lossy().trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::MemoryEnvironment;

    fn config(variables: &[(&str, &str)]) -> Location {
        let environment: MemoryEnvironment = variables.iter().copied().collect();
        locate(&Host::builder().environment(environment).build(), FileKind::Config)
    }

    #[test]
    fn the_home_directory_stands_for_a_whole_first_component() {
        for (variables, path) in [
            (&[("HOME", "/h")][..], "/h/.aws/config"),
            (&[("HOME", "/h"), ("AWS_CONFIG_FILE", "/etc/c")], "/etc/c"),
            (&[("HOME", "/h"), ("AWS_CONFIG_FILE", "~/c")], "/h/c"),
            (&[("HOME", "/h"), ("AWS_CONFIG_FILE", "~u/c")], "~u/c"),
            (&[("HOME", "/h"), ("AWS_CONFIG_FILE", "/a/~/c")], "/a/~/c"),
            (&[("HOME", "/h"), ("AWS_CONFIG_FILE", "$HOME/c")], "$HOME/c"),
            (&[("HOME", "/h"), ("AWS_CONFIG_FILE", " ")], "/h/.aws/config"),
            (&[("AWS_CONFIG_FILE", "~/c")], "~/c"),
        ] {
            assert_eq!(config(variables).path.as_deref(), Some(Path::new(path)), "{variables:?}");
        }
    }

    #[cfg(not(windows))]
    #[test]
    fn without_a_home_the_default_file_is_nowhere() {
        assert_eq!(config(&[]).path, None);
        assert_eq!(config(&[("HOME", "")]).path, None);
        assert!(config(&[("AWS_CONFIG_FILE", "~/c")]).home_missing);
    }
}
