//! A program that prints keys: `credential_process` of a profile.
//!
//! Format: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>
//!
//! What it prints is secret, and so may be its arguments; no error shows either.

use std::time::{Duration, SystemTime};

use futures_util::future::{Either, select};
use serde::Deserialize;

use crate::credentials::{Credentials, CredentialsPart};
use crate::host::{Command, Host, ProcessError, ProcessErrorKind};
use crate::provider::{ProviderError, ProviderErrorKind, Retry, SourceName};
use crate::secret::Secret;

/// Some of these programs wait for a person with a browser.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Keys with their token have 1 to 3 KiB.
const STDOUT_BYTES_MAX: usize = 64 * 1024;
/// Kept for nobody; a program that complains at length is not to be blocked.
const STDERR_BYTES_MAX: usize = 4 * 1024;

const BY_HAND: &str = "run it by hand to see what it says; what it prints are keys, so keep them from logs";

/// What the program prints. Has no `Debug`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    version: Option<u64>,
    access_key_id: Option<String>,
    secret_access_key: Option<Secret>,
    session_token: Option<Secret>,
    expiration: Option<String>,
    account_id: Option<String>,
}

/// Runs the program of profile `name`. `account_id` is what the profile says, for a program that does not.
pub(super) async fn run(
    host: &Host,
    name: &str,
    command_line: &str,
    account_id: Option<&str>,
) -> Result<Credentials, ProviderError> {
    let what = format!("credential_process of profile {name:?}");
    let argv = split(command_line)
        .map_err(|problem| ProviderError::invalid_config(SourceName::Profile, format!("{what} {problem}")))?;
    let command = Command::new(argv, TIMEOUT, STDOUT_BYTES_MAX, STDERR_BYTES_MAX);
    // Processes keeps the limit by itself; this one is for those that do not.
    let output = match select(std::pin::pin!(host.run(&command)), host.sleep(TIMEOUT)).await {
        Either::Left((output, _)) => output,
        Either::Right(_) => Err(ProcessError::new(ProcessErrorKind::Timeout, "it did not end in time")),
    };
    let output = output.map_err(|error| not_ended(&what, error))?;
    if output.status != Some(0) {
        let ended = match output.status {
            Some(status) => format!("ended with status {status}"),
            None => "was ended by a signal".to_owned(),
        };
        let kind = ProviderErrorKind::Process { status: output.status };
        let error =
            ProviderError::new(SourceName::Profile, kind, Retry::Recoverable, format!("{what} {ended}"));
        return Err(error.with_hint(BY_HAND));
    }
    read(&output.stdout, account_id).map_err(|(field, problem)| {
        let kind = ProviderErrorKind::Malformed { field };
        let message = format!("{what} printed {problem}");
        ProviderError::new(SourceName::Profile, kind, Retry::Recoverable, message).with_hint(BY_HAND)
    })
}

fn not_ended(what: &str, error: ProcessError) -> ProviderError {
    use ProviderErrorKind::{Malformed, Process, Timeout, Unsupported};
    let status = None;
    let (kind, retry, problem) = match error.kind() {
        ProcessErrorKind::NotFound => {
            (Process { status }, Retry::NonRecoverable, "names a program that does not exist")
        }
        ProcessErrorKind::Failed => (Process { status }, Retry::Recoverable, "cannot be run"),
        ProcessErrorKind::Timeout => {
            (Timeout { phase: "credential_process" }, Retry::Recoverable, "did not end within 60 s")
        }
        ProcessErrorKind::TooLarge => (
            Malformed { field: "stdout" },
            Retry::Recoverable,
            "printed more than 64 KiB, which are not keys",
        ),
        ProcessErrorKind::NotConfigured => (
            Unsupported { feature: "credential_process" },
            Retry::NonRecoverable,
            "cannot be run: this program runs no others for credentials",
        ),
    };
    let not_found = error.kind() == ProcessErrorKind::NotFound;
    let error =
        ProviderError::new(SourceName::Profile, kind, retry, format!("{what} {problem}")).with_source(error);
    if not_found {
        error.with_hint("give its absolute path; there is no shell, so ~ and $HOME mean nothing")
    } else {
        error
    }
}

/// The words of a command line, as a POSIX shell would make them. What only a shell could do is refused:
/// it would silently be passed as arguments.
fn split(command_line: &str) -> Result<Vec<String>, &'static str> {
    if needs_shell(command_line) {
        return Err("looks like a shell pipeline, and no shell runs it; wrap it in a script");
    }
    match shlex::split(command_line) {
        Some(argv) if argv.first().is_some_and(|program| !program.is_empty()) => {
            if argv.iter().any(|word| word.contains('\0')) {
                return Err("holds a character that no argument can");
            }
            Ok(argv)
        }
        Some(_) => Err("names no program"),
        None => Err("has a quote without its other half"),
    }
}

fn needs_shell(command_line: &str) -> bool {
    let mut quote = None;
    let mut chars = command_line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None | Some('"'), '\\') => {
                chars.next();
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            // A shell looks for these in double quotes too.
            (None | Some('"'), '`') => return true,
            (None | Some('"'), '$') if chars.peek() == Some(&'(') => return true,
            (None, '|' | '&' | '>' | '<' | ';' | '\n') => return true,
            _ => {}
        }
    }
    false
}

/// The keys, or the part that cannot be used and what is wrong.
fn read(stdout: &[u8], account_id: Option<&str>) -> Result<Credentials, (&'static str, &'static str)> {
    // The error of serde_json quotes what it met.
    let output: Output =
        serde_json::from_slice(stdout).map_err(|_| ("stdout", "something other than the JSON of keys"))?;
    match output.version {
        Some(1) => {}
        Some(_) => return Err(("Version", "keys of a Version other than 1")),
        None => return Err(("Version", "no Version")),
    }
    let id = output.access_key_id.ok_or(("AccessKeyId", "no AccessKeyId"))?;
    let secret = output.secret_access_key.ok_or(("SecretAccessKey", "no SecretAccessKey"))?;
    // Keys whose end is misread would never be refreshed.
    let expires_at = output
        .expiration
        .map(|text| text.trim().parse::<jiff::Timestamp>())
        .transpose()
        .map_err(|_| ("Expiration", "an Expiration that is not a time like 2030-01-31T12:00:00Z"))?;
    Credentials::builder(id, secret)
        .session_token(output.session_token)
        .expires_at(expires_at.map(SystemTime::from))
        .account_id(output.account_id.or(account_id.map(str::to_owned)))
        .via("credential_process".to_owned())
        .build(SourceName::Profile)
        .map_err(|invalid| match invalid.part {
            CredentialsPart::AccessKeyId => ("AccessKeyId", "an AccessKeyId that cannot be used"),
            CredentialsPart::SecretAccessKey => ("SecretAccessKey", "a SecretAccessKey that cannot be used"),
            CredentialsPart::SessionToken => ("SessionToken", "a SessionToken that cannot be used"),
            CredentialsPart::AccountId => ("AccountId", "an AccountId that cannot be used"),
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would_without_a_shell() {
        for (line, argv) in [
            ("/bin/keys", &["/bin/keys"][..]),
            ("  keys --user \"a b\"  'c | d' e\\ f ", &["keys", "--user", "a b", "c | d", "e f"]),
            ("keys $HOME ~/x *.txt", &["keys", "$HOME", "~/x", "*.txt"]),
            ("keys '$(x)' '`' \"a > b\" \\| \"\\$(x)\"", &["keys", "$(x)", "`", "a > b", "|", "$(x)"]),
            ("keys ''", &["keys", ""]),
        ] {
            assert_eq!(split(line).unwrap(), argv, "{line}");
        }
        for line in [
            "a | b",
            "a|b",
            "a && b",
            "a & b",
            "a > f",
            "a < f",
            "a; b",
            "a $(b)",
            "a `b`",
            "a \"$(b)\"",
            "a \"`b`\"",
            "a\nb",
            "a 'b",
            "a \"b",
            "",
            "  ",
            "''",
            "a \0",
        ] {
            assert!(split(line).is_err(), "{line:?}");
        }
    }

    const GOOD: &str = r#"{"Version":1,"AccessKeyId":"A","SecretAccessKey":"s"}"#;

    #[test]
    fn the_output_is_taken_at_its_word() {
        let keys = read(GOOD.as_bytes(), Some("1")).unwrap();
        assert_eq!((keys.expires_at(), keys.account_id()), (None, Some("1")));
        assert!(!keys.stale_ok());
        let with = |more: &str| read(GOOD.replace('}', &format!(",{more}}}")).as_bytes(), Some("1"));
        let keys =
            with(r#""SessionToken":"t","Expiration":"2030-01-01T01:00:00+01:00","AccountId":"2","X":[{}]"#);
        let keys = keys.unwrap();
        let expires_at = jiff::Timestamp::try_from(keys.expires_at().unwrap()).unwrap();
        assert_eq!((expires_at.to_string().as_str(), keys.account_id()), ("2030-01-01T00:00:00Z", Some("2")));
        assert_eq!(with(r#""Expiration":null"#).unwrap().expires_at(), None);
        for odd in ["\"\"", "\"soon\"", "\"2030-01-01\"", "\"1893456000\"", "\"2030-01-01T00:00:00\""] {
            assert_eq!(with(&format!("\"Expiration\":{odd}")).unwrap_err().0, "Expiration", "{odd}");
        }
        for (from, to, field) in [
            ("1", "2", "Version"),
            ("\"Version\":1,", "", "Version"),
            ("1", "\"1\"", "stdout"),
            ("1", "1.0", "stdout"),
            ("\"A\"", "\"\"", "AccessKeyId"),
            ("\"A\"", "\"a b\"", "AccessKeyId"),
            ("\"A\"", "null", "AccessKeyId"),
            ("\"A\"", "7", "stdout"),
            ("\"s\"", "\"s\\n\"", "SecretAccessKey"),
            ("SecretAccessKey", "secretaccesskey", "SecretAccessKey"),
            (GOOD, "", "stdout"),
            ("}", "", "stdout"),
            ("}", ",\"Version\":1}", "stdout"),
        ] {
            assert_eq!(read(GOOD.replacen(from, to, 1).as_bytes(), None).unwrap_err().0, field, "{to:?}");
        }
    }

    proptest! {
        #[test]
        fn no_line_and_no_output_panics(line in "[ -~\n]{0,60}", output in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(argv) = split(&line) {
                prop_assert!(!argv[0].is_empty());
            }
            drop(read(&output, None));
        }
    }
}
