//! A token file exchanged for keys at STS: EKS IRSA and other OpenID Connect providers.
//!
//! The exchange is not part of this version. A pod that is set up for it must not end up with the role
//! of its node, so that set-up ends the chain with an error.

use futures_util::future::LocalBoxFuture;

use super::is_set;
use crate::host::Host;
use crate::provider::{ProvideCredentials, ProviderError, Resolved, SourceName};

const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";

pub(crate) struct WebIdentityProvider;

impl ProvideCredentials for WebIdentityProvider {
    fn name(&self) -> SourceName {
        SourceName::WebIdentity
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move {
            if !is_set(host, TOKEN_FILE) {
                return Ok(Resolved::skipped("AWS_WEB_IDENTITY_TOKEN_FILE is not set"));
            }
            Err(ProviderError::unsupported(
                SourceName::WebIdentity,
                "web identity",
                "AWS_WEB_IDENTITY_TOKEN_FILE is set, but this version cannot exchange the token at STS",
            )
            .with_hint("give keys inline, in the environment or in a profile; these come first"))
        })
    }

    fn configured<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Option<String>> {
        Box::pin(async move { is_set(host, TOKEN_FILE).then(|| format!("{TOKEN_FILE} is set")) })
    }
}
