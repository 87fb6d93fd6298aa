//! A token file exchanged for keys at STS: EKS IRSA and other OpenID Connect providers.
//!
//! Variables: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html>

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::{is_set, variable};
use crate::chain::Settings;
use crate::host::Host;
use crate::provider::{ProvideCredentials, ProviderError, Resolved, SourceName};
use crate::sts::{Proof, Role, RoleParts, Sts};
use crate::token_file::TokenFile;

const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const ROLE_ARN: &str = "AWS_ROLE_ARN";
const SESSION_NAME: &str = "AWS_ROLE_SESSION_NAME";

/// `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN` and `AWS_ROLE_SESSION_NAME`.
pub(crate) struct WebIdentityProvider {
    pub(crate) settings: Arc<Settings>,
}

impl ProvideCredentials for WebIdentityProvider {
    fn name(&self) -> SourceName {
        SourceName::WebIdentity
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move {
            let invalid = |message| ProviderError::invalid_config(SourceName::WebIdentity, message);
            // A path need not be UTF-8.
            let path = host.var(TOKEN_FILE).filter(|_| is_set(host, TOKEN_FILE));
            let Some(path) = path else {
                return Ok(Resolved::skipped(format!("{TOKEN_FILE} is not set")));
            };
            let Some(arn) = variable(host, SourceName::WebIdentity, ROLE_ARN)? else {
                return Err(invalid(format!("{ROLE_ARN} is not set although {TOKEN_FILE} is")));
            };
            let session_name = variable(host, SourceName::WebIdentity, SESSION_NAME)?;
            let parts =
                RoleParts { arn: &arn, session_name: session_name.as_deref(), ..RoleParts::default() };
            let role = Role::parse(&parts).map_err(|error| {
                let name = if error.key == "role_arn" { ROLE_ARN } else { SESSION_NAME };
                invalid(format!("{name} {}", error.problem))
            })?;
            let file = TokenFile::new(path, TOKEN_FILE);
            let sts = Sts::locate(&self.settings, host, SourceName::WebIdentity).await?;
            sts.assume(host, &role, Proof::Token(&file)).await.map(Resolved::from)
        })
    }

    fn configured<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Option<String>> {
        Box::pin(async move { is_set(host, TOKEN_FILE).then(|| format!("{TOKEN_FILE} is set")) })
    }

    fn stale_ok(&self) -> bool {
        true
    }
}
