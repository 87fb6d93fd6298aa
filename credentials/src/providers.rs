//! The sources that come with the crate, one file each, in the order in which they are asked.

mod attempts;
mod container;
mod environment;
mod imds;
mod inline;
mod key_document;
mod process;
mod profile;
mod target;
mod web_identity;

pub use inline::Inline;

pub(crate) use container::ContainerProvider;
pub(crate) use environment::EnvironmentProvider;
pub(crate) use imds::ImdsProvider;
pub(crate) use inline::InlineProvider;
pub(crate) use profile::{NamedSources, ProfileProvider};
pub(crate) use web_identity::WebIdentityProvider;

use crate::host::Host;
use crate::provider::{ProviderError, SourceName};

/// What a variable of keys gets wrong most often.
const COPY_HINT: &str = "look for quotes, a blank or a line break that was copied along";

/// A variable's value. Blank counts as unset: that is how deployment files write "none".
pub(crate) fn variable(
    host: &Host,
    provider: SourceName,
    name: &'static str,
) -> Result<Option<String>, ProviderError> {
    match host.var(name).map(std::ffi::OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value).filter(|value| !value.trim().is_empty())),
        Some(Err(_)) => Err(ProviderError::invalid_config(provider, format!("{name} is not UTF-8"))),
    }
}

/// Whether a variable says something, in whatever encoding.
fn is_set(host: &Host, name: &str) -> bool {
    host.var(name).is_some_and(|value| !value.to_string_lossy().trim().is_empty())
}
