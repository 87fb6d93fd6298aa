//! The keys themselves, checked once when they are built, and the question whether to sign at all.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::provider::SourceName;
use crate::redact::mask_access_key_id;
use crate::secret::Secret;

/// AWS ids have at most 128 characters; twice that for the ids of other stores.
const ACCESS_KEY_ID_BYTES_MAX: usize = 256;
/// The key only feeds an HMAC. Anything longer is a wrong file read by mistake.
const SECRET_ACCESS_KEY_BYTES_MAX: usize = 4 * 1024;
/// The token travels in a header, and servers give up on headers between 8 and 64 KiB. Tokens seen in
/// the field stay below 4 KiB.
const SESSION_TOKEN_BYTES_MAX: usize = 32 * 1024;
/// Account ids have 12 digits.
const ACCOUNT_ID_BYTES_MAX: usize = 64;

/// One set of keys for signing requests. A clone is a reference count; threads may share it.
///
/// A value that exists has been checked: key id and session token are visible ASCII, because they travel
/// in headers and URLs, and nothing is empty. `Debug` shows the ends of the key id and never a secret.
#[derive(Clone)]
pub struct Credentials {
    keys: Arc<Keys>,
    expires_at: Option<SystemTime>,
}

struct Keys {
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Option<Secret>,
    account_id: Option<String>,
    via: Option<String>,
    stale_ok: bool,
    source: SourceName,
}

impl Credentials {
    /// Whether these are the very keys that `other` holds: clones of one value, with the expiry it had or a later
    /// one. Keys that were fetched again count as others even if they are equal.
    #[must_use]
    pub fn same_keys(&self, other: &Credentials) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys)
    }

    /// Starts from the two values that every set of keys has.
    #[must_use]
    pub fn builder(access_key_id: impl Into<String>, secret_access_key: Secret) -> CredentialsBuilder {
        CredentialsBuilder {
            access_key_id: access_key_id.into(),
            secret_access_key,
            session_token: None,
            expires_at: None,
            account_id: None,
            via: None,
            stale_ok: false,
        }
    }

    /// The public half of the keys. Show it through
    /// [`mask_access_key_id`](crate::mask_access_key_id).
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.keys.access_key_id
    }

    /// The secret half, for the signer.
    #[must_use]
    pub fn secret_access_key(&self) -> &Secret {
        &self.keys.secret_access_key
    }

    /// The token that temporary keys need beside every signature.
    #[must_use]
    pub fn session_token(&self) -> Option<&Secret> {
        self.keys.session_token.as_ref()
    }

    /// When the service stops to accept the keys; `None` for keys that stay valid until revoked.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    /// Whether the service refuses the keys at `now`. The instant of expiry itself is too late.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|expires_at| now >= expires_at)
    }

    /// The same keys, believed to live until then.
    pub(crate) fn extended_to(&self, expires_at: SystemTime) -> Credentials {
        Credentials { keys: Arc::clone(&self.keys), expires_at: Some(expires_at) }
    }

    /// The account that the keys belong to, where the source tells. For reports only.
    #[must_use]
    pub fn account_id(&self) -> Option<&str> {
        self.keys.account_id.as_deref()
    }

    /// Whether the two sign alike.
    pub(crate) fn is_same(&self, other: &Credentials) -> bool {
        let exposed = [self, other].map(|keys| {
            let token = keys.session_token().map(Secret::expose_secret);
            (keys.access_key_id(), keys.secret_access_key().expose_secret(), token)
        });
        Arc::ptr_eq(&self.keys, &other.keys) || exposed[0] == exposed[1]
    }

    /// How the source came by the keys, for reports: the role and the STS that gave it, say.
    #[must_use]
    pub fn via(&self) -> Option<&str> {
        self.keys.via.as_deref()
    }

    /// Whether these keys may be used past their expiry while their source cannot be reached, although
    /// [`ProvideCredentials::stale_ok`](crate::ProvideCredentials::stale_ok) does not hold for all of that
    /// source: a profile with a role has keys of STS, another those of a program.
    #[must_use]
    pub fn stale_ok(&self) -> bool {
        self.keys.stale_ok
    }

    /// Which link of the chain gave the keys.
    #[must_use]
    pub fn source(&self) -> SourceName {
        self.keys.source
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &mask_access_key_id(&self.keys.access_key_id))
            .field("session_token", &self.keys.session_token.is_some())
            .field("expires_at", &self.expires_at)
            .field("account_id", &self.keys.account_id)
            .field("via", &self.keys.via)
            .field("source", &self.keys.source)
            .finish_non_exhaustive()
    }
}

/// Collects the parts of [`Credentials`]; [`build`](CredentialsBuilder::build) checks them.
pub struct CredentialsBuilder {
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Option<Secret>,
    expires_at: Option<SystemTime>,
    account_id: Option<String>,
    via: Option<String>,
    stale_ok: bool,
}

impl CredentialsBuilder {
    /// The token of temporary keys.
    #[must_use]
    pub fn session_token(mut self, token: impl Into<Option<Secret>>) -> Self {
        self.session_token = token.into();
        self
    }

    /// When the keys die.
    #[must_use]
    pub fn expires_at(mut self, expires_at: impl Into<Option<SystemTime>>) -> Self {
        self.expires_at = expires_at.into();
        self
    }

    /// The account, for reports.
    #[must_use]
    pub fn account_id(mut self, account_id: impl Into<Option<String>>) -> Self {
        self.account_id = account_id.into();
        self
    }

    /// How the keys were come by, in a few words without a secret in them, for reports.
    #[must_use]
    pub fn via(mut self, via: impl Into<Option<String>>) -> Self {
        self.via = via.into();
        self
    }

    /// See [`Credentials::stale_ok`].
    #[must_use]
    pub fn stale_ok(mut self, stale_ok: bool) -> Self {
        self.stale_ok = stale_ok;
        self
    }

    /// Checks every part and joins them.
    ///
    /// # Errors
    ///
    /// [`InvalidCredentials`] names the part that cannot be used and why, never its content. The caller
    /// corrects the place where that part was written.
    pub fn build(self, source: SourceName) -> Result<Credentials, InvalidCredentials> {
        use CredentialsPart::{AccessKeyId, AccountId, SecretAccessKey, SessionToken};
        check(AccessKeyId, &self.access_key_id, ACCESS_KEY_ID_BYTES_MAX, is_visible_ascii)?;
        let secret = self.secret_access_key.expose_secret();
        // Not sent anywhere, and other stores allow more than ASCII in it. A control character is the
        // newline that came along from a file.
        check(SecretAccessKey, secret, SECRET_ACCESS_KEY_BYTES_MAX, |c| !c.is_control())?;
        if let Some(token) = &self.session_token {
            check(SessionToken, token.expose_secret(), SESSION_TOKEN_BYTES_MAX, is_visible_ascii)?;
        }
        if let Some(account_id) = &self.account_id {
            check(AccountId, account_id, ACCOUNT_ID_BYTES_MAX, is_visible_ascii)?;
        }
        let keys = Arc::new(Keys {
            access_key_id: self.access_key_id,
            secret_access_key: self.secret_access_key,
            session_token: self.session_token,
            account_id: self.account_id,
            via: self.via,
            stale_ok: self.stale_ok,
            source,
        });
        Ok(Credentials { keys, expires_at: self.expires_at })
    }
}

impl fmt::Debug for CredentialsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsBuilder")
            .field("access_key_id", &mask_access_key_id(&self.access_key_id))
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

fn is_visible_ascii(c: char) -> bool {
    c.is_ascii_graphic()
}

fn check(
    part: CredentialsPart,
    text: &str,
    bytes_max: usize,
    allowed: fn(char) -> bool,
) -> Result<(), InvalidCredentials> {
    let problem = if text.is_empty() {
        CredentialsProblem::Empty
    } else if text.len() > bytes_max {
        CredentialsProblem::TooLong { bytes_max }
    } else if !text.chars().all(allowed) {
        CredentialsProblem::ForbiddenCharacter
    } else {
        return Ok(());
    };
    Err(InvalidCredentials { part, problem })
}

/// A part of [`Credentials`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialsPart {
    /// The public half of the keys.
    AccessKeyId,
    /// The secret half of the keys.
    SecretAccessKey,
    /// The token of temporary keys.
    SessionToken,
    /// The account that the keys belong to.
    AccountId,
}

/// Why a part of [`Credentials`] cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialsProblem {
    /// Its other half is given, it is not.
    Missing,
    /// It is there without a character in it.
    Empty,
    /// It is longer than any such value in the field, most likely a wrong file or variable.
    TooLong {
        /// The longest that is accepted, in bytes.
        bytes_max: usize,
    },
    /// It holds a blank, a control character or, except in the secret, something outside ASCII.
    ForbiddenCharacter,
}

/// Keys that cannot sign: which part is wrong, and how. Never holds the part's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidCredentials {
    /// The part to correct.
    pub part: CredentialsPart,
    /// What is wrong with it.
    pub problem: CredentialsProblem,
}

impl fmt::Display for CredentialsPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CredentialsPart::AccessKeyId => "access key id",
            CredentialsPart::SecretAccessKey => "secret access key",
            CredentialsPart::SessionToken => "session token",
            CredentialsPart::AccountId => "account id",
        })
    }
}

impl fmt::Display for CredentialsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CredentialsProblem::Missing => f.write_str("is missing"),
            CredentialsProblem::Empty => f.write_str("is empty"),
            CredentialsProblem::TooLong { bytes_max } => write!(f, "is longer than {bytes_max} bytes"),
            CredentialsProblem::ForbiddenCharacter => {
                f.write_str("contains a blank, a control character or a character that cannot be sent")
            }
        }
    }
}

impl fmt::Display for InvalidCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} {}", self.part, self.problem)
    }
}

impl Error for InvalidCredentials {}

/// As whom to send: with keys, or as nobody because the configuration asks for that.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Identity {
    /// Send requests unsigned. Only an explicit [`Inline::Anonymous`](crate::Inline::Anonymous) leads
    /// here, never a chain that found nothing.
    Anonymous,
    /// Sign with these.
    Keys(Credentials),
}

impl Identity {
    /// The keys to sign with; `None` means to send the request unsigned.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        match self {
            Identity::Anonymous => None,
            Identity::Keys(credentials) => Some(credentials),
        }
    }
}

impl From<Credentials> for Identity {
    fn from(credentials: Credentials) -> Identity {
        Identity::Keys(credentials)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn build(id: &str, secret: &str, token: Option<&str>) -> Result<Credentials, InvalidCredentials> {
        Credentials::builder(id, Secret::new(secret))
            .session_token(token.map(Secret::new))
            .build(SourceName::Inline)
    }

    #[test]
    fn what_cannot_be_sent_in_a_header_is_refused() {
        use CredentialsPart::{AccessKeyId, SecretAccessKey, SessionToken};
        let long = "x".repeat(SESSION_TOKEN_BYTES_MAX + 1);
        for (id, secret, token, part) in [
            ("", "s", None, AccessKeyId),
            ("AKIA\n", "s", None, AccessKeyId),
            ("AKIA B", "s", None, AccessKeyId),
            ("AKIA\u{e9}", "s", None, AccessKeyId),
            ("AKIA\0", "s", None, AccessKeyId),
            (&long[..ACCESS_KEY_ID_BYTES_MAX + 1], "s", None, AccessKeyId),
            ("AKIA", "", None, SecretAccessKey),
            ("AKIA", "secret\n", None, SecretAccessKey),
            ("AKIA", "s", Some(""), SessionToken),
            ("AKIA", "s", Some("a\r\nx-evil: 1"), SessionToken),
            ("AKIA", "s", Some(&long[..]), SessionToken),
        ] {
            assert_eq!(build(id, secret, token).unwrap_err().part, part, "{id:?} {secret:?}");
        }
        assert!(build("minioadmin", "minioadmin", None).is_ok());
        assert!(build("ceph$user", "gehe\u{ef}m", Some("FwoGZXIvYXdzE==")).is_ok());
    }

    #[test]
    fn the_instant_of_expiry_is_too_late() {
        let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let keys =
            Credentials::builder("A", Secret::new("s")).expires_at(expiry).build(SourceName::Inline).unwrap();
        assert!(!keys.is_expired(expiry - Duration::from_nanos(1)));
        assert!(keys.is_expired(expiry));
        assert!(!build("A", "s", None).unwrap().is_expired(expiry));
    }

    #[test]
    fn keys_travel_between_threads() {
        fn travels<T: Send + Sync + Clone>() {}
        travels::<Credentials>();
        travels::<Identity>();
    }
}
