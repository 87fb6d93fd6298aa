//! [`Secret`]: text that no formatter prints and that is wiped from memory.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// Text that must not be seen: a secret access key, a session token.
///
/// `Debug` prints `***`; there is no `Display` and no `Serialize`. Clones share one text, so that a configuration
/// can travel to every shard, and the last of them to be dropped wipes it. What the caller or a file parser
/// copied on the way in is outside its reach, and so are core dumps.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes over `text`; no copy is made of a `String`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Arc::new(Zeroizing::new(text.into())))
    }

    /// The text itself. The long name marks the places that must not log what they hold.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.0
    }
}

/// For telling whether two configurations are the same. Not constant in time: never compare with what a
/// stranger sent.
impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.expose_secret() == other.expose_secret()
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_shows_neither_text_nor_length() {
        assert_eq!(format!("{:?}", Secret::new("")), "***");
        assert_eq!(format!("{:?}", Secret::new("a long secret")), "***");
    }

    #[test]
    fn clones_are_equal_and_others_are_not() {
        let secret = Secret::new("a");
        assert_eq!(secret.clone(), secret);
        assert_ne!(secret, Secret::new("b"));
    }
}
