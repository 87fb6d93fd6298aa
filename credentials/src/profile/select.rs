//! Which profile is meant, and who says so.

use std::fmt;

use crate::host::Host;
use crate::provider::{ProviderError, SourceName};
use crate::providers::variable;

/// A profile's name. Whether it must exist depends on who named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProfileName {
    pub(crate) name: String,
    pub(crate) origin: ProfileOrigin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProfileOrigin {
    /// The program's configuration.
    Inline,
    /// A variable.
    Variable(&'static str),
    /// Nobody: it is `default`, and need not exist.
    Implied,
}

/// `AWS_DEFAULT_PROFILE` is the older name and comes second, as in the Go SDK.
pub(crate) fn select(inline: Option<&str>, host: &Host) -> Result<ProfileName, ProviderError> {
    if let Some(name) = inline {
        return Ok(ProfileName { name: name.to_owned(), origin: ProfileOrigin::Inline });
    }
    for name in ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"] {
        if let Some(value) = variable(host, SourceName::Profile, name)? {
            return Ok(ProfileName { name: value, origin: ProfileOrigin::Variable(name) });
        }
    }
    Ok(ProfileName { name: "default".to_owned(), origin: ProfileOrigin::Implied })
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Debug quotes and escapes: the name may come from anywhere.
        write!(f, "profile {:?} ", self.name)?;
        match self.origin {
            ProfileOrigin::Inline => f.write_str("(named by the configuration)"),
            ProfileOrigin::Variable(variable) => write!(f, "(named by {variable})"),
            ProfileOrigin::Implied => f.write_str("(implied)"),
        }
    }
}
