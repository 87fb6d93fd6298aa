//! The EC2 instance metadata service, last in the chain.
//!
//! Nothing configures it: it is there or not, and this version does not look. Being last, passing it
//! over can only end with "no credentials", never with another identity.

use futures_util::future::LocalBoxFuture;

use crate::host::Host;
use crate::provider::{ProvideCredentials, ProviderError, Resolved, SourceName};

pub(crate) struct ImdsProvider;

impl ProvideCredentials for ImdsProvider {
    fn name(&self) -> SourceName {
        SourceName::Imds
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move {
            let disabled = host.var("AWS_EC2_METADATA_DISABLED");
            Ok(Resolved::skipped(match disabled {
                Some(value) if value.eq_ignore_ascii_case("true") => {
                    "switched off by AWS_EC2_METADATA_DISABLED"
                }
                _ => "not supported by this version",
            }))
        })
    }
}
