//! Which STS to ask: the configured endpoint, or the one of the region.
//!
//! Rules: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-sts-regionalized-endpoints.html>,
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-endpoints.html>

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::uri::Authority;

use crate::chain::Settings;
use crate::endpoint::{self, Service};
use crate::host::Host;
use crate::profile;
use crate::provider::{ProviderError, SourceName};
use crate::providers::variable;
use crate::redact::redact_url;
use crate::region::{self, RegionError, RegionOrigin};

/// Regions that `legacy` sends to the global endpoint. Newer ones never had it.
const LEGACY_REGIONS: [&str; 16] = [
    "ap-northeast-1",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "aws-global",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// The STS to ask. `Display` shows scheme, host and path, and who configured it.
#[derive(Debug, Clone)]
pub(crate) struct StsEndpoint {
    uri: Uri,
    /// What signatures name; not needed where nothing is signed.
    region: Option<String>,
    origin: Option<RegionOrigin>,
    pin: Option<Vec<IpAddr>>,
}

impl StsEndpoint {
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// The only addresses to connect to.
    pub(super) fn pin(&self) -> Option<&[IpAddr]> {
        self.pin.as_deref()
    }

    /// On this very machine, where no proxy has a place.
    pub(super) fn is_local(&self) -> bool {
        self.pin.is_some()
    }
}

impl fmt::Display for StsEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = redact_url(&self.uri.to_string());
        write!(f, "STS {}", url.trim_end_matches('/'))?;
        match &self.origin {
            Some(origin) => write!(f, " (from {origin})"),
            None => Ok(()),
        }
    }
}

/// Switches that choose among the endpoints of a region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Switches {
    fips: bool,
    dual_stack: bool,
    legacy: bool,
}

pub(super) async fn find(
    settings: &Settings,
    host: &Host,
    source: SourceName,
) -> Result<StsEndpoint, ProviderError> {
    let region = match region::lookup(settings, host).await {
        Ok(region) => Ok(region.name().to_owned()),
        // A broken file or a strange region is an error even where the region would not matter.
        Err(error @ RegionError::Missing { .. }) => Err(error),
        Err(error) => return Err(invalid(source, format!("STS needs a region: {error}"))),
    };
    // Whatever fails on the way is a failure of the source that asks.
    let within = |error: ProviderError| error.within(source, "cannot tell the endpoint of STS");
    let configured = endpoint::lookup(settings, host, Service::Sts).await.map_err(within)?;
    if let Some(configured) = configured {
        let (uri, pin) = check(configured.url()).map_err(|problem| {
            let origin = configured.origin();
            invalid(source, format!("the endpoint of STS, from {origin}, {problem}"))
        })?;
        let region = match region {
            Ok(region) => Some(signing_region(region)),
            // Tokens are sent unsigned; keys are not, and then the signer says what is missing.
            Err(_) if source == SourceName::WebIdentity => None,
            Err(error) => return Err(missing_region(source, &error)),
        };
        return Ok(StsEndpoint { uri, region, origin: Some(configured.origin().clone()), pin });
    }
    let region = region.map_err(|error| missing_region(source, &error))?;
    let switches = switches(settings, host, source).await.map_err(within)?;
    let (name, region) =
        regional(&region, switches).map_err(|problem| invalid(source, problem.to_owned()))?;
    let uri = format!("https://{name}/")
        .parse()
        .map_err(|_| invalid(source, "the region cannot be part of a host name".to_owned()))?;
    Ok(StsEndpoint { uri, region: Some(region), origin: None, pin: None })
}

fn missing_region(source: SourceName, error: &RegionError) -> ProviderError {
    invalid(source, format!("STS needs a region: {error}")).with_hint("set AWS_REGION")
}

fn signing_region(region: String) -> String {
    if region == "aws-global" { "us-east-1".to_owned() } else { region }
}

async fn switches(settings: &Settings, host: &Host, source: SourceName) -> Result<Switches, ProviderError> {
    let loaded = if settings.profiles { Some(profile::load(host).await?) } else { None };
    let profile = match &loaded {
        Some(loaded) => {
            let name = profile::select(settings.profile_name.as_deref(), host)?;
            loaded.set.profile(&name.name)
        }
        None => None,
    };
    // The value and who says so; variables come before the profile.
    let setting = |name: &'static str, key: &'static str| -> Result<Option<(String, &str)>, ProviderError> {
        let value = if settings.environment { variable(host, source, name)? } else { None };
        Ok(match value {
            Some(value) => Some((value, name)),
            None => profile.and_then(|profile| profile.get(key)).map(|value| (value.to_owned(), key)),
        })
    };
    let flag = |name, key| match setting(name, key)? {
        None => Ok(false),
        Some((value, _)) if value.trim().eq_ignore_ascii_case("true") => Ok(true),
        Some((value, _)) if value.trim().eq_ignore_ascii_case("false") => Ok(false),
        Some((_, by)) => Err(invalid(source, format!("{by} must be true or false"))),
    };
    let legacy = match setting("AWS_STS_REGIONAL_ENDPOINTS", "sts_regional_endpoints")? {
        None => false,
        Some((value, _)) if value.trim().eq_ignore_ascii_case("legacy") => true,
        Some((value, _)) if value.trim().eq_ignore_ascii_case("regional") => false,
        Some((_, by)) => return Err(invalid(source, format!("{by} must be regional or legacy"))),
    };
    Ok(Switches {
        fips: flag("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint")?,
        dual_stack: flag("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")?,
        legacy,
    })
}

/// A part of AWS with its own domain.
struct Partition {
    region_prefix: &'static str,
    suffix: &'static str,
    dual_stack_suffix: Option<&'static str>,
}

const fn partition(
    region_prefix: &'static str,
    suffix: &'static str,
    dual_stack_suffix: Option<&'static str>,
) -> Partition {
    Partition { region_prefix, suffix, dual_stack_suffix }
}

/// The last one takes what no other wants.
const PARTITIONS: [Partition; 8] = [
    partition("cn-", "amazonaws.com.cn", Some("api.amazonwebservices.com.cn")),
    partition("us-gov-", "amazonaws.com", Some("api.aws")),
    partition("us-iso-", "c2s.ic.gov", None),
    partition("us-isob-", "sc2s.sgov.gov", None),
    partition("us-isof-", "csp.hci.ic.gov", None),
    partition("eu-isoe-", "cloud.adc-e.uk", None),
    partition("eusc-", "amazonaws.eu", Some("api.amazonwebservices.eu")),
    partition("", "amazonaws.com", Some("api.aws")),
];

/// The host name, and the region to sign for.
fn regional(region: &str, switches: Switches) -> Result<(String, String), &'static str> {
    let Switches { fips, dual_stack, legacy } = switches;
    let global = region == "aws-global" || (legacy && LEGACY_REGIONS.contains(&region));
    if global && !fips && !dual_stack {
        return Ok(("sts.amazonaws.com".to_owned(), "us-east-1".to_owned()));
    }
    let region = signing_region(region.to_owned());
    let partition = PARTITIONS.iter().find(|partition| region.starts_with(partition.region_prefix));
    let partition = partition.expect("the last partition takes every region");
    let suffix = if dual_stack {
        partition.dual_stack_suffix.ok_or("STS has no dual-stack endpoint in this part of AWS")?
    } else {
        partition.suffix
    };
    // All of GovCloud is FIPS, and has no name of its own for it.
    let own_name = fips && (partition.region_prefix != "us-gov-" || dual_stack);
    let service = if own_name { "sts-fips" } else { "sts" };
    Ok((format!("{service}.{region}.{suffix}"), region))
}

/// A configured URL, and the addresses that it must stay with. Keys and tokens go there, so it is https,
/// or does not leave the machine.
fn check(url: &str) -> Result<(Uri, Option<Vec<IpAddr>>), &'static str> {
    if url.contains('#') {
        return Err("must not have a fragment");
    }
    // To some parsers it is a slash.
    if url.contains('\\') {
        return Err("must not have a backslash");
    }
    let uri: Uri = url.trim().parse().map_err(|_| "is not a URL")?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or("is not a URL with a host")?;
    let bad_port = |authority: &Authority| {
        let rest = authority.as_str().strip_prefix(host).unwrap_or_default();
        // What is no port counts as none to the parser, and the default one is another service's.
        let digits = rest.strip_prefix(':').filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        !rest.is_empty() && digits.and_then(|digits| digits.parse().ok()).is_none_or(|port: u16| port == 0)
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("must not have a user name or password");
    }
    if uri.authority().is_some_and(bad_port) {
        return Err("has a port that is not a number from 1 to 65535");
    }
    if uri.query().is_some() {
        return Err("must not have a query");
    }
    match uri.scheme_str() {
        Some("https") => Ok((uri, None)),
        Some("http") => {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let local = match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
                Ok(address) if address.is_loopback() => vec![address],
                // The name means this machine, whatever a resolver makes of it.
                Err(_) if bare.eq_ignore_ascii_case("localhost") => {
                    vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
                }
                _ => return Err("must be https: http is for this machine only"),
            };
            Ok((uri, Some(local)))
        }
        _ => Err("must begin with https://"),
    }
}

fn invalid(source: SourceName, message: String) -> ProviderError {
    ProviderError::invalid_config(source, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_aws_has_its_name() {
        let plain = Switches::default();
        let fips = Switches { fips: true, ..plain };
        let dual = Switches { dual_stack: true, ..plain };
        let both = Switches { fips: true, ..dual };
        let legacy = Switches { legacy: true, ..plain };
        for (region, switches, name) in [
            ("eu-west-1", plain, "sts.eu-west-1.amazonaws.com"),
            ("eu-west-1", fips, "sts-fips.eu-west-1.amazonaws.com"),
            ("eu-west-1", dual, "sts.eu-west-1.api.aws"),
            ("eu-west-1", both, "sts-fips.eu-west-1.api.aws"),
            ("eu-west-1", legacy, "sts.amazonaws.com"),
            ("eu-west-1", Switches { fips: true, ..legacy }, "sts-fips.eu-west-1.amazonaws.com"),
            ("eu-south-1", legacy, "sts.eu-south-1.amazonaws.com"),
            ("aws-global", plain, "sts.amazonaws.com"),
            ("cn-north-1", plain, "sts.cn-north-1.amazonaws.com.cn"),
            ("cn-north-1", dual, "sts.cn-north-1.api.amazonwebservices.com.cn"),
            ("us-gov-west-1", plain, "sts.us-gov-west-1.amazonaws.com"),
            ("us-gov-west-1", fips, "sts.us-gov-west-1.amazonaws.com"),
            ("us-gov-west-1", both, "sts-fips.us-gov-west-1.api.aws"),
            ("us-iso-east-1", plain, "sts.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", fips, "sts-fips.us-isob-east-1.sc2s.sgov.gov"),
            ("mars-1", plain, "sts.mars-1.amazonaws.com"),
        ] {
            assert_eq!(regional(region, switches).unwrap().0, name, "{region} {switches:?}");
        }
        assert!(regional("us-iso-east-1", dual).is_err());
        assert_eq!(regional("eu-west-1", legacy).unwrap().1, "us-east-1");
        assert_eq!(regional("eu-west-1", plain).unwrap().1, "eu-west-1");
    }

    #[test]
    fn secrets_go_over_https_or_nowhere() {
        for url in ["https://sts.example", "https://sts.example:8443/sts", "https://10.0.0.1"] {
            assert_eq!(check(url).unwrap().1, None, "{url}");
        }
        for url in ["http://127.0.0.1:5000", "http://127.9.9.9/x", "http://[::1]:9000", "http://LOCALHOST:1"]
        {
            let pin = check(url).unwrap().1.unwrap();
            assert!(!pin.is_empty() && pin.iter().all(IpAddr::is_loopback), "{url}");
        }
        for url in [
            "",
            "sts.example",
            "/x",
            "ftp://h",
            "http://sts.example",
            "http://10.0.0.1",
            "http://127.0.0.1.evil.com",
            "http://localhost.evil.com",
            "http://[::2]",
            "http://2130706433",
            "https://u:p@h",
            "https://h/?a=b",
            "https://h/#f",
            "https://",
            "http://169.254.169.254",
            "https://h h",
            "https://h:65536",
            "https://8:80808",
            "http://[::1]http:1/x",
            "https://h:0/",
            "http://127.0.0.1:80000",
            "https://[::1]:99999/",
            "https://h\\@evil.example/",
        ] {
            assert!(check(url).is_err(), "{url}");
        }
    }
}
