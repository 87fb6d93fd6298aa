//! The file that holds a web identity token, which its owner replaces every few hours.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::host::Host;
use crate::provider::{ProviderError, ProviderErrorKind, Retry, SourceName};

/// Larger files are not tokens, and are not read.
const FILE_BYTES_MAX: usize = 64 * 1024;
/// STS's limits of a token, in characters; tokens are ASCII.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 4..=20_000;

/// A file to read a token from.
pub(crate) struct TokenFile {
    path: PathBuf,
    /// Who names the file: a variable, or a key of a profile.
    named_by: String,
}

/// A token. Has no `Debug`.
#[derive(PartialEq, Eq)]
pub(crate) struct Token(Zeroizing<String>);

impl Token {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl TokenFile {
    pub(crate) fn new(path: impl Into<PathBuf>, named_by: impl Into<String>) -> TokenFile {
        TokenFile { path: path.into(), named_by: named_by.into() }
    }

    /// What the file says now.
    pub(crate) async fn read(&self, host: &Host, source: SourceName) -> Result<Token, ProviderError> {
        let failed = |problem: String, retry| {
            // A token that was set in place of its file's name must not be printed, and no token is an
            // absolute path.
            let shown = self.path.is_absolute();
            let path = if shown { self.path.display().to_string() } else { "(a relative path)".to_owned() };
            let message = format!("the token file {path}, named by {}, {problem}", self.named_by);
            ProviderError::new(source, ProviderErrorKind::File { path }, retry, message)
        };
        let content = match host.read(&self.path, FILE_BYTES_MAX).await {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                return Err(failed("is too large for a token".to_owned(), Retry::NonRecoverable));
            }
            // It may be about to be mounted, or replaced.
            Err(error) => {
                let problem = format!("cannot be read: {}", error.kind());
                return Err(failed(problem, Retry::Recoverable).with_source(error));
            }
        };
        let text = std::str::from_utf8(content.bytes())
            .map_err(|_| failed("is not UTF-8".to_owned(), Retry::Recoverable))?;
        let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
        if !TOKEN_BYTES.contains(&text.len()) {
            let problem = format!("holds {} bytes, and tokens have 4 to 20000", text.len());
            return Err(failed(problem, Retry::Recoverable));
        }
        Ok(Token(Zeroizing::new(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::host::MemoryFiles;

    #[test]
    fn one_line_break_is_cut_and_what_is_no_token_refused() {
        let read = |content: &[u8]| {
            let files: MemoryFiles = [("/t", content)].into_iter().collect();
            let host = Host::builder().files(files).build();
            let file = TokenFile::new("/t", "X");
            file.read(&host, SourceName::WebIdentity)
                .now_or_never()
                .unwrap()
                .map(|token| token.expose().to_owned())
        };
        for (content, token) in [
            ("abcd", "abcd"),
            ("abcd\n", "abcd"),
            ("abcd\r\n", "abcd"),
            ("abcd\n\n", "abcd\n"),
            (" abc", " abc"),
        ] {
            assert_eq!(read(content.as_bytes()).unwrap(), token);
        }
        assert!(read("x".repeat(20_000).as_bytes()).is_ok());
        let long = "x".repeat(20_001);
        let huge = "x".repeat(64 * 1024 + 1);
        for content in [&b""[..], b"abc\n", b"abc\xff", long.as_bytes(), huge.as_bytes()] {
            let error = read(content).unwrap_err();
            assert_eq!(error.kind(), &ProviderErrorKind::File { path: "/t".into() });
        }
    }

    #[test]
    fn a_token_in_place_of_a_path_is_not_printed() {
        let host = Host::builder().build();
        let file = TokenFile::new("eyJhbGciOi", "X");
        let error = file.read(&host, SourceName::WebIdentity).now_or_never().unwrap().err().unwrap();
        assert!(!format!("{error} {error:?}").contains("eyJ"));
    }
}
