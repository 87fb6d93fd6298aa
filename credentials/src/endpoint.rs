//! The endpoint that variables or profiles configure for a service.
//!
//! Order: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>

use std::fmt;

use crate::chain::Settings;
use crate::host::Host;
use crate::profile;
use crate::provider::{ProviderError, SourceName};
use crate::providers::variable;
use crate::redact::redact_url;
use crate::region::RegionOrigin;

/// A service whose endpoint can be configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Service {
    /// The object store.
    S3,
    /// The service that exchanges tokens and roles for keys.
    Sts,
}

impl Service {
    fn variable(self) -> &'static str {
        match self {
            Service::S3 => "AWS_ENDPOINT_URL_S3",
            Service::Sts => "AWS_ENDPOINT_URL_STS",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Service::S3 => "s3",
            Service::Sts => "sts",
        }
    }
}

/// An endpoint as configured, not yet checked to be a URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: String,
    origin: RegionOrigin,
}

impl Endpoint {
    /// The text of the URL. Log it through [`redact_url`].
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Who says so.
    #[must_use]
    pub fn origin(&self) -> &RegionOrigin {
        &self.origin
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &redact_url(&self.url)).field("origin", &self.origin).finish()
    }
}

pub(crate) async fn lookup(
    settings: &Settings,
    host: &Host,
    service: Service,
) -> Result<Option<Endpoint>, ProviderError> {
    if let (Service::Sts, Some(url)) = (service, &settings.sts_endpoint) {
        return Ok(Some(Endpoint { url: url.clone(), origin: RegionOrigin::Inline }));
    }
    let is_true = |text: &str| text.trim().eq_ignore_ascii_case("true");
    if settings.environment {
        let var = |name| variable(host, SourceName::Environment, name);
        if var("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")?.is_some_and(|text| is_true(&text)) {
            return Ok(None);
        }
        for name in [service.variable(), "AWS_ENDPOINT_URL"] {
            if let Some(url) = var(name)? {
                return Ok(Some(Endpoint { url, origin: RegionOrigin::Variable(name) }));
            }
        }
    }
    if !settings.profiles {
        return Ok(None);
    }
    let name = profile::select(settings.profile_name.as_deref(), host)?;
    let loaded = profile::load(host).await?;
    let Some(profile) = loaded.set.profile(&name.name) else { return Ok(None) };
    if profile.get("ignore_configured_endpoint_urls").is_some_and(is_true) {
        return Ok(None);
    }
    let services = profile.get("services").and_then(|name| loaded.set.services(name));
    let url = services
        .and_then(|services| services.get_nested(service.key(), "endpoint_url"))
        .or(profile.get("endpoint_url"));
    Ok(url.map(|url| Endpoint { url: url.to_owned(), origin: RegionOrigin::Profile(name.name.clone()) }))
}
