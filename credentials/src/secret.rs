//! A string that is wiped from memory when dropped and that no formatter prints.

use std::fmt;

use serde::Deserialize;
use zeroize::Zeroizing;

/// Text that must not be seen: a secret access key, a session token.
///
/// It is zeroed when dropped, and has neither `Display`, `Serialize` nor `Clone`; `Debug` prints `***`.
/// Share it behind an `Arc`, as [`Credentials`](crate::Credentials) does. What a serde format or the
/// caller copied on the way in is outside its reach, and so are core dumps.
///
/// ```compile_fail,E0277
/// println!("{}", credentials::Secret::new("not printable"));
/// ```
///
/// ```compile_fail,E0599
/// credentials::Secret::new("not copied").clone();
/// ```
#[derive(Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over `text`; no copy is made.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text itself. The long name marks the places that must not log what they hold.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
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
    use super::*;

    #[test]
    fn debug_shows_neither_text_nor_length() {
        assert_eq!(format!("{:?}", Secret::new("")), format!("{:?}", Secret::new("a long secret")));
    }

    #[test]
    fn a_configuration_file_can_hold_one() {
        let secret: Secret = serde_json::from_str("\"s3cr3t\"").unwrap();
        assert_eq!(secret.expose_secret(), "s3cr3t");
    }
}
