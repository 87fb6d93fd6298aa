//! Reads both files and says what became of each. The only step of this chapter that waits.

use std::io;

use super::locate::{Location, locate};
use super::merge::ProfileSet;
use super::parse::{FileKind, ParseError, ParseProblem, ProfileFile, Warning};
use crate::host::Host;
use crate::provider::{ProviderError, ProviderErrorKind, Retry, SourceName};

/// Files seen in the field have a few KiB; hundreds of generated profiles make some 100 KiB.
const PROFILE_FILE_BYTES_MAX: usize = 1024 * 1024;

pub(crate) struct Loaded {
    pub(crate) set: ProfileSet,
    /// What was read, for people: `read /h/.aws/config, /h/.aws/credentials (missing)`.
    pub(crate) read: String,
    pub(crate) warnings: Vec<Warning>,
    /// A file that anybody may write to. Programs that it names must not be run.
    pub(crate) writable_by_all: Option<String>,
}

pub(crate) async fn load(host: &Host) -> Result<Loaded, ProviderError> {
    let mut warnings = Vec::new();
    let mut writable_by_all = None;
    let (config, config_state) =
        load_one(host, FileKind::Config, &mut warnings, &mut writable_by_all).await?;
    let (credentials, credentials_state) =
        load_one(host, FileKind::Credentials, &mut warnings, &mut writable_by_all).await?;
    let set = ProfileSet::merge(config, credentials);
    warnings.extend_from_slice(set.warnings());
    Ok(Loaded { set, read: format!("read {config_state}, {credentials_state}"), warnings, writable_by_all })
}

async fn load_one(
    host: &Host,
    kind: FileKind,
    warnings: &mut Vec<Warning>,
    writable_by_all: &mut Option<String>,
) -> Result<(ProfileFile, String), ProviderError> {
    let Location { path, label, explicit, home_missing } = locate(host, kind);
    let absent = ProfileFile::default();
    let Some(path) = path else { return Ok((absent, format!("{label} (no home directory)"))) };
    if home_missing {
        warnings.push(Warning::about_file(&label, "there is no home directory to put in place of ~"));
    }
    let content = match host.read(&path, PROFILE_FILE_BYTES_MAX).await {
        Ok(content) => content,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            if explicit {
                warnings.push(Warning::about_file(&label, "the file named by a variable does not exist"));
            }
            return Ok((absent, format!("{label} (missing)")));
        }
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let message = format!("{label}: more than {PROFILE_FILE_BYTES_MAX} bytes, not a profile file");
            return Err(file_error(label, message));
        }
        // Somebody named this very file. Going on without it might end with another identity.
        Err(error) if explicit => {
            let message = format!("cannot read {label}: {error}");
            return Err(file_error(label, message).with_source(error));
        }
        // A service often runs under a user whose HOME is not its own: that is not configuration.
        Err(error) => {
            warnings.push(Warning::about_file(&label, "the file exists but cannot be read"));
            return Ok((absent, format!("{label} (unreadable: {})", error.kind())));
        }
    };
    if kind == FileKind::Credentials && content.unix_mode().is_some_and(|mode| mode & 0o077 != 0) {
        warnings.push(Warning::about_file(&label, "other users can read these keys; chmod 600 it"));
    }
    if content.unix_mode().is_some_and(|mode| mode & 0o002 != 0) {
        *writable_by_all = Some(label.clone());
    }
    match ProfileFile::parse(&label, kind, content.bytes()) {
        Ok(file) => Ok((file, label)),
        Err(ParseError { problem: ParseProblem::NotUtf8, .. }) if !explicit => {
            warnings.push(Warning::about_file(&label, "ignored: the file is not UTF-8"));
            Ok((absent, format!("{label} (not UTF-8)")))
        }
        Err(error) => {
            let kind =
                ProviderErrorKind::InvalidConfig { file: Some(error.file.clone()), line: Some(error.line) };
            let problem = error.problem.to_string();
            Err(ProviderError::new(SourceName::Profile, kind, Retry::NonRecoverable, problem)
                .with_hint("nothing of the file is used until that line is corrected"))
        }
    }
}

fn file_error(path: String, message: String) -> ProviderError {
    ProviderError::new(SourceName::Profile, ProviderErrorKind::File { path }, Retry::NonRecoverable, message)
}
