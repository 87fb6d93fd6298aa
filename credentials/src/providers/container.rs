//! ECS, EKS Pod Identity and others that hand out keys over HTTP inside the container's host.
//!
//! Fetching from there is not part of this version. A container that is set up for it must not end up
//! with the identity of the machine below it, so that set-up ends the chain with an error.

use futures_util::future::LocalBoxFuture;

use super::is_set;
use crate::host::Host;
use crate::provider::{ProvideCredentials, ProviderError, Resolved, SourceName};

const RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

pub(crate) struct ContainerProvider;

impl ProvideCredentials for ContainerProvider {
    fn name(&self) -> SourceName {
        SourceName::Container
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move {
            match uri_variable(host) {
                None => {
                    Ok(Resolved::skipped("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set"))
                }
                Some(name) => Err(ProviderError::unsupported(
                    SourceName::Container,
                    "container credentials",
                    format!("{name} is set, but this version cannot fetch keys from a container service"),
                )
                .with_hint("give keys inline, in the environment or in a profile; these come first")),
            }
        })
    }

    fn configured<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Option<String>> {
        Box::pin(async move { uri_variable(host).map(|name| format!("{name} is set")) })
    }
}

/// The relative form wins where both are set.
fn uri_variable(host: &Host) -> Option<&'static str> {
    [RELATIVE_URI, FULL_URI].into_iter().find(|name| is_set(host, name))
}
