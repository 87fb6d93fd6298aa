//! What a source of credentials is, and the three ways it can answer: found, not configured, failed.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use serde::{Serialize, Serializer};

use crate::credentials::{Credentials, Identity};
use crate::host::Host;

/// A source of credentials, one link of the [`CredentialsChain`](crate::CredentialsChain).
///
/// **The golden rule**: [`Resolved::Skipped`] means "nobody configured me" and lets the chain go on; a
/// source that *is* configured and cannot deliver returns an error, which ends the chain. Anything else
/// turns a typing mistake or a throttled service into somebody else's identity.
///
/// A provider holds settings only and is shared by all shards; what it needs from the world comes with
/// the calling shard's [`Host`]. The futures stay on that shard and need not be `Send`.
pub trait ProvideCredentials: Send + Sync {
    /// The name used in reports and on the credentials.
    fn name(&self) -> SourceName;

    /// Asks the source once. The answer must not depend on an earlier call: files and variables are
    /// read again each time.
    ///
    /// Dropping the future abandons the question and leaves nothing behind.
    ///
    /// # Errors
    ///
    /// [`ProviderError`], if the source is configured but gave no usable keys.
    fn resolve<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>>;

    /// What the source would use if it were asked, in a few words; `None` if it is not configured or
    /// cannot tell without contacting somebody. Serves reports of what is configured with lower
    /// priority, so it reads variables and files at most.
    fn configured<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Option<String>> {
        let _ = host;
        Box::pin(async { None })
    }

    /// Whether expired keys of this source may be used on while the source cannot be reached. True for
    /// services that extend keys when they are in trouble, false for files and variables.
    fn stale_ok(&self) -> bool {
        false
    }
}

/// A source's answer when nothing went wrong.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Resolved {
    /// The chain ends here.
    Found(Identity),
    /// Not configured; the chain goes on.
    Skipped(SkipReason),
}

impl Resolved {
    /// Not configured, and why one can tell.
    #[must_use]
    pub fn skipped(reason: impl Into<Cow<'static, str>>) -> Resolved {
        Resolved::Skipped(SkipReason(reason.into()))
    }
}

impl From<Credentials> for Resolved {
    fn from(credentials: Credentials) -> Resolved {
        Resolved::Found(credentials.into())
    }
}

/// Why a source was passed over, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkipReason(Cow<'static, str>);

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a source. Printed and serialized as in reports: `env`, `web-identity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SourceName {
    /// The program's own configuration.
    Inline,
    /// A provider that the program brought along, with a name of its choice.
    Custom(&'static str),
    /// `AWS_ACCESS_KEY_ID` and its companions.
    Environment,
    /// The shared files `~/.aws/config` and `~/.aws/credentials`.
    Profile,
    /// ECS, EKS Pod Identity and others that speak their protocol.
    Container,
    /// A token file exchanged at STS: EKS IRSA.
    WebIdentity,
    /// The EC2 instance metadata service.
    Imds,
}

impl SourceName {
    /// The name as printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SourceName::Inline => "inline",
            SourceName::Custom(name) => name,
            SourceName::Environment => "env",
            SourceName::Profile => "profile",
            SourceName::Container => "container",
            SourceName::WebIdentity => "web-identity",
            SourceName::Imds => "imds",
        }
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for SourceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A source that is configured failed to deliver.
///
/// Whoever makes one keeps secrets out of it: no variable's or property's value, no body of an answer.
#[derive(Clone)]
pub struct ProviderError(Box<Failure>);

// Behind a box, because results carry it on paths that mostly succeed.
#[derive(Clone)]
struct Failure {
    provider: SourceName,
    kind: ProviderErrorKind,
    retry: Retry,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    // Shared, because every waiter of one fetch gets its own copy of the error.
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What went wrong, as far as somebody would act differently on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderErrorKind {
    /// A setting is missing, contradictory or unusable: correct it.
    InvalidConfig {
        /// The file that holds the setting, if it is one.
        file: Option<String>,
        /// The line in the file, counted from 1.
        line: Option<usize>,
    },
    /// A file that must be there could not be read.
    File {
        /// The file.
        path: String,
    },
    /// No connection to the source.
    Connect,
    /// The source took too long.
    Timeout {
        /// What was being waited for.
        phase: &'static str,
    },
    /// The source answered with an error.
    Service {
        /// The service's own code, such as `AccessDenied`.
        code: String,
        /// The service's name for the exchange, to ask its operator about.
        request_id: Option<String>,
    },
    /// The source's answer, or a value, cannot be understood.
    Malformed {
        /// The part in question.
        field: &'static str,
    },
    /// A program that was to print keys failed.
    Process {
        /// Its exit status; `None` if a signal ended it, or it could not be run.
        status: Option<i32>,
    },
    /// The configuration asks for something this version cannot do.
    Unsupported {
        /// What it asks for.
        feature: &'static str,
    },
}

/// What a later attempt may hope for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// Likely to pass by itself within seconds.
    Transient,
    /// May pass; keys still at hand may be used meanwhile.
    Recoverable,
    /// The same question gets the same answer until somebody changes something.
    NonRecoverable,
}

impl ProviderError {
    /// An error whose `message` says in one line what is wrong.
    #[must_use]
    pub fn new(
        provider: SourceName,
        kind: ProviderErrorKind,
        retry: Retry,
        message: impl Into<Cow<'static, str>>,
    ) -> ProviderError {
        let message = message.into();
        ProviderError(Box::new(Failure { provider, kind, retry, message, hint: None, source: None }))
    }

    /// A setting outside any file that somebody must correct.
    pub(crate) fn invalid_config(
        provider: SourceName,
        message: impl Into<Cow<'static, str>>,
    ) -> ProviderError {
        let kind = ProviderErrorKind::InvalidConfig { file: None, line: None };
        ProviderError::new(provider, kind, Retry::NonRecoverable, message)
    }

    /// A setting that this version cannot honour and therefore must not pass over.
    pub(crate) fn unsupported(
        provider: SourceName,
        feature: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> ProviderError {
        let kind = ProviderErrorKind::Unsupported { feature };
        ProviderError::new(provider, kind, Retry::NonRecoverable, message)
    }

    /// The same failure as that of `provider`, which had asked the one that failed.
    pub(crate) fn within(mut self, provider: SourceName, context: &str) -> ProviderError {
        self.0.message = format!("{context}: {self}").into();
        if let ProviderErrorKind::InvalidConfig { file, line } = &mut self.0.kind {
            // They are in the message now.
            (*file, *line) = (None, None);
        }
        self.0.provider = provider;
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> ProviderError {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the error underneath.
    #[must_use]
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> ProviderError {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// The source that failed.
    #[must_use]
    pub fn provider(&self) -> SourceName {
        self.0.provider
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &ProviderErrorKind {
        &self.0.kind
    }

    /// Whether asking again can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Debug for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderError")
            .field("provider", &self.0.provider)
            .field("kind", &self.0.kind)
            .field("retry", &self.0.retry)
            .field("message", &self.0.message)
            .field("hint", &self.0.hint)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ProviderErrorKind::InvalidConfig { file: Some(file), line } = &self.0.kind {
            match line {
                Some(line) => write!(f, "{file}:{line}: ")?,
                None => write!(f, "{file}: ")?,
            }
        }
        f.write_str(&self.0.message)
    }
}

impl Error for ProviderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as &(dyn Error + 'static))
    }
}
