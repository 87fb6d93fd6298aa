//! The region, and who says so.

use std::error::Error;
use std::fmt;

use crate::chain::Settings;
use crate::host::Host;
use crate::profile;
use crate::provider::{ProviderError, SourceName};
use crate::providers::variable;

/// Region names become part of host names and signatures. The longest of AWS has 16 characters, and a
/// host name's label ends at 63.
const REGION_BYTES_MAX: usize = 63;

/// A region's name, safe to put into a host name or a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    name: String,
    origin: RegionOrigin,
}

impl Region {
    fn parse(name: &str, origin: RegionOrigin) -> Result<Region, RegionError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if name.is_empty() || name.len() > REGION_BYTES_MAX || !name.bytes().all(allowed) {
            return Err(RegionError::Invalid { origin });
        }
        Ok(Region { name: name.to_owned(), origin })
    }

    /// The name, such as `eu-west-1`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who says so.
    #[must_use]
    pub fn origin(&self) -> &RegionOrigin {
        &self.origin
    }
}

/// Who named the region or the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegionOrigin {
    /// The program's configuration.
    Inline,
    /// A variable of the environment.
    Variable(&'static str),
    /// A profile of the shared files.
    Profile(String),
}

impl fmt::Display for RegionOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegionOrigin::Inline => f.write_str("the configuration"),
            RegionOrigin::Variable(name) => f.write_str(name),
            RegionOrigin::Profile(name) => write!(f, "profile {name:?}"),
        }
    }
}

/// Why there is no region.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RegionError {
    /// Nobody names one. Set it in one of the places that the text lists.
    Missing {
        /// What became of the profile: which was meant, and what was read.
        profile: String,
    },
    /// What is named there is not a region. Correct it there.
    Invalid {
        /// The place.
        origin: RegionOrigin,
    },
    /// The profile that might name one cannot be read.
    Provider(Box<ProviderError>),
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegionError::Missing { profile } => write!(
                f,
                "none found; looked at the configuration, AWS_REGION, AWS_DEFAULT_REGION and {profile}"
            ),
            RegionError::Invalid { origin } => write!(
                f,
                "what {origin} says is no region: up to {REGION_BYTES_MAX} letters, digits, - and _ are"
            ),
            RegionError::Provider(error) => write!(f, "the profile cannot be used: {error}"),
        }
    }
}

impl Error for RegionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            RegionError::Provider(error) => Some(error.as_ref()),
            RegionError::Missing { .. } | RegionError::Invalid { .. } => None,
        }
    }
}

impl From<ProviderError> for RegionError {
    fn from(error: ProviderError) -> RegionError {
        RegionError::Provider(Box::new(error))
    }
}

pub(crate) async fn lookup(settings: &Settings, host: &Host) -> Result<Region, RegionError> {
    if let Some(name) = &settings.region {
        return Region::parse(name, RegionOrigin::Inline);
    }
    if settings.environment {
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            if let Some(value) = variable(host, SourceName::Environment, name)? {
                return Region::parse(&value, RegionOrigin::Variable(name));
            }
        }
    }
    if !settings.profiles {
        return Err(RegionError::Missing { profile: "no profile (switched off)".to_owned() });
    }
    let name = profile::select(settings.profile_name.as_deref(), host)?;
    let loaded = profile::load(host).await?;
    match loaded.set.profile(&name.name).and_then(|profile| profile.get("region")) {
        Some(region) => Region::parse(region, RegionOrigin::Profile(name.name)),
        None => Err(RegionError::Missing { profile: format!("region of {name}") }),
    }
}
