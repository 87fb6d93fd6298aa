//! The order in which sources are asked, and the rule that ends the asking.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::{Either, select};

use crate::assume_role::{self, AssumeRole};
use crate::credentials::Identity;
use crate::endpoint::{self, Endpoint, Service};
use crate::explain::{Explain, RegionReport, SourceReport, Status};
use crate::host::Host;
use crate::profile;
use crate::provider::{ProvideCredentials, ProviderError, ProviderErrorKind, Resolved, Retry, SourceName};
use crate::providers::{
    ContainerProvider, EnvironmentProvider, ImdsProvider, Inline, InlineProvider, NamedSources,
    ProfileProvider, WebIdentityProvider,
};
use crate::redact::redact_url;
use crate::region::{self, Region, RegionError};

/// Where keys come from, as a plan: inline configuration, the program's own providers, environment,
/// profile, container, web identity, instance metadata, in this order.
///
/// The first source that has keys wins. **A source that is configured but fails ends the chain**; only
/// one that is not configured lets it go on. The plan holds no keys but inline ones, does nothing until
/// asked, goes to any thread, and a clone is a reference count.
#[derive(Clone)]
pub struct CredentialsChain(Arc<Plan>);

struct Plan {
    links: Vec<Link>,
    settings: Arc<Settings>,
    /// What it was built from.
    origin: CredentialsChainBuilder,
}

/// What the lookups of region and endpoint share with the sources.
pub(crate) struct Settings {
    pub(crate) region: Option<String>,
    pub(crate) profile_name: Option<String>,
    pub(crate) sts_endpoint: Option<String>,
    /// Variables may be read.
    pub(crate) environment: bool,
    /// The shared files may be read.
    pub(crate) profiles: bool,
}

struct Link {
    provider: Arc<dyn ProvideCredentials>,
    blocked: Option<Blocked>,
}

/// Why a source is never asked.
enum Blocked {
    /// The program does not want it.
    Off,
    /// The program names a profile, and that alone counts.
    Pinned(String),
}

impl CredentialsChain {
    /// Starts with every source switched on and nothing configured inline.
    #[must_use]
    pub fn builder() -> CredentialsChainBuilder {
        CredentialsChainBuilder {
            inline: None,
            profile_name: None,
            region: None,
            sts_endpoint: None,
            assume_role: None,
            custom: Vec::new(),
            only: None,
            without: BTreeSet::new(),
            ambient: true,
        }
    }

    /// Whether both were configured alike, so that in the same environment they find the same keys.
    pub(crate) fn is_like(&self, other: &CredentialsChain) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.origin.is_like(&other.0.origin)
    }

    /// Asks the sources in order until one has keys or fails.
    ///
    /// Reads variables and files each time; put a [`CredentialsCache`](crate::CredentialsCache) in
    /// front. Dropping the future leaves nothing behind.
    ///
    /// # Errors
    ///
    /// - [`CredentialsError::NoCredentials`]: nothing is configured. Its text lists what was looked at;
    ///   show it to whoever runs the program.
    /// - [`CredentialsError::Provider`]: a configured source failed, see [`ProviderError::retry`].
    pub async fn resolve(&self, host: &Host) -> Result<Identity, CredentialsError> {
        Ok(self.fetch(host, true).await?.identity)
    }

    /// The same for the cache. `first` tells that there are no keys yet, so that even expired ones from
    /// a service that extends them are better than none.
    pub(crate) async fn fetch(&self, host: &Host, first: bool) -> Result<Fetched, CredentialsError> {
        let (outcome, sources) = self.walk(host, first).await;
        match outcome {
            Outcome::Found(fetched) => Ok(fetched),
            Outcome::Failed(error) => {
                let explain = self.report(host, None, sources).await;
                Err(CredentialsError::Provider(Box::new(error), Box::new(explain)))
            }
            Outcome::NotFound => {
                Err(CredentialsError::NoCredentials(Box::new(self.report(host, None, sources).await)))
            }
        }
    }

    /// Asks the sources as [`resolve`](CredentialsChain::resolve) does and reports about each, what is
    /// configured behind the winner included.
    pub async fn explain(&self, host: &Host) -> Explain {
        self.explain_with(host, |_| None).await
    }

    /// The same for the cache, which knows when it would refresh what was found.
    pub(crate) async fn explain_with(
        &self,
        host: &Host,
        refresh: impl FnOnce(&Fetched) -> Option<SystemTime>,
    ) -> Explain {
        let (outcome, sources) = self.walk(host, true).await;
        let Outcome::Found(fetched) = outcome else { return self.report(host, None, sources).await };
        let explain = self.report(host, Some(&fetched.identity), sources).await;
        explain.with_next_refresh(refresh(&fetched))
    }

    /// The region, from the first of: [`region`](CredentialsChainBuilder::region), `AWS_REGION`,
    /// `AWS_DEFAULT_REGION`, `region` of the profile.
    ///
    /// # Errors
    ///
    /// - [`RegionError::Missing`]: none of them says it; the text names all of them.
    /// - [`RegionError::Invalid`]: the first that says it says nonsense; correct it there.
    /// - [`RegionError::Provider`]: the profile that had to be read cannot be.
    pub async fn region(&self, host: &Host) -> Result<Region, RegionError> {
        region::lookup(&self.0.settings, host).await
    }

    /// The endpoint configured for `service`, from the first of:
    /// [`sts_endpoint`](CredentialsChainBuilder::sts_endpoint) (STS only), `AWS_ENDPOINT_URL_S3` (`_STS`),
    /// `AWS_ENDPOINT_URL`, `endpoint_url` below the service in the profile's `services`, `endpoint_url`
    /// of the profile; `None` if there is none, or if `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` or the
    /// profile's `ignore_configured_endpoint_urls` is `true`.
    ///
    /// # Errors
    ///
    /// [`ProviderError`], if a variable is not text or the profile that had to be read cannot be.
    pub async fn endpoint(&self, host: &Host, service: Service) -> Result<Option<Endpoint>, ProviderError> {
        endpoint::lookup(&self.0.settings, host, service).await
    }

    /// The walk itself. Rows of links behind the end are left for `report`.
    async fn walk(&self, host: &Host, first: bool) -> (Outcome, Vec<SourceReport>) {
        let began = host.monotonic();
        let mut sources = Vec::new();
        // Before anybody is asked, the program's own mistake.
        let role = match self.0.origin.assume_role.as_ref().map(AssumeRole::parse).transpose() {
            Ok(role) => role,
            Err(error) => {
                let (source, detail) = (error.provider(), error.to_string());
                sources.push(SourceReport { source, status: Status::Failed, detail, hint: None });
                return (Outcome::Failed(error), sources);
            }
        };
        for link in &self.0.links {
            let name = link.provider.name();
            let row = |status, detail: String| SourceReport { source: name, status, detail, hint: None };
            match &link.blocked {
                Some(Blocked::Off) => {
                    sources.push(row(Status::Off, "switched off by the program".to_owned()));
                    continue;
                }
                Some(Blocked::Pinned(profile)) => {
                    sources.push(row(
                        Status::Skipped,
                        format!("the configuration asks for profile {profile:?} only"),
                    ));
                    continue;
                }
                None => {}
            }
            let left = CHAIN_MAX.saturating_sub(host.monotonic().saturating_sub(began));
            let asked = pin!(async {
                let resolved = link.provider.resolve(host).await?;
                let resolved = refuse_expired(resolved, name, host, first)?;
                let Some(role) = &role else { return Ok(resolved) };
                let taken_on = assume_role::take_on(role, &self.0.settings, host, name, resolved).await?;
                refuse_expired(taken_on, name, host, false)
            });
            let answer = match select(asked, host.sleep(left)).await {
                Either::Left((answer, _)) => answer,
                Either::Right(_) => Err(too_slow(name)),
            };
            match answer {
                Ok(Resolved::Found(identity)) => {
                    sources.push(row(Status::Used, crate::explain::describe(&identity)));
                    // A profile answers for each of its kinds of keys: those of a role may be stale, those of a
                    // program may not.
                    let stale_ok = identity.credentials().is_some_and(|keys| keys.stale_ok());
                    let eligible = stale_ok || (role.is_none() && link.provider.stale_ok());
                    return (Outcome::Found(Fetched { identity, eligible }), sources);
                }
                Ok(Resolved::Skipped(reason)) => sources.push(row(Status::Skipped, reason.to_string())),
                Err(error) => {
                    let hint = error.hint().map(str::to_owned);
                    sources.push(SourceReport { hint, ..row(Status::Failed, error.to_string()) });
                    return (Outcome::Failed(error), sources);
                }
            }
        }
        (Outcome::NotFound, sources)
    }

    async fn report(
        &self,
        host: &Host,
        identity: Option<&Identity>,
        mut sources: Vec<SourceReport>,
    ) -> Explain {
        for link in &self.0.links[sources.len()..] {
            let (status, detail) = match &link.blocked {
                Some(Blocked::Off) => (Status::Off, "switched off by the program".to_owned()),
                Some(Blocked::Pinned(_)) => (Status::NotTried, String::new()),
                None => match link.provider.configured(host).await {
                    Some(detail) => (Status::LowerPriority, detail),
                    None => (Status::NotTried, String::new()),
                },
            };
            sources.push(SourceReport { source: link.provider.name(), status, detail, hint: None });
        }
        let region = RegionReport::new(self.region(host).await);
        let warnings = if self.0.settings.profiles {
            // A file that cannot be used at all is the business of the source's own row.
            let loaded = profile::load(host).await;
            loaded.map_or(Vec::new(), |loaded| loaded.warnings.iter().map(ToString::to_string).collect())
        } else {
            Vec::new()
        };
        Explain::new(identity, sources, region, warnings)
    }
}

/// All sources together may take this long, where the host's clock can wait. The slowest of them, a program, has a
/// limit of a minute of its own.
pub(crate) const CHAIN_MAX: Duration = Duration::from_secs(65);

fn too_slow(source: SourceName) -> ProviderError {
    let message = format!("no answer when the {} seconds for all sources were over", CHAIN_MAX.as_secs());
    ProviderError::new(source, ProviderErrorKind::Timeout { phase: "chain" }, Retry::Transient, message)
}

/// What a source gave, and how it may be used.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) identity: Identity,
    /// The source extends its keys when it is in trouble: they may be used past their expiry.
    pub(crate) eligible: bool,
}

enum Outcome {
    Found(Fetched),
    NotFound,
    Failed(ProviderError),
}

/// How long keys are believed that instance metadata, in trouble itself, hands out past their expiry:
/// this, and up to five minutes more.
const EXTENSION: Duration = Duration::from_secs(10 * 60);
const EXTENSION_SPREAD: Duration = Duration::from_secs(5 * 60);

/// Keys that are dead on arrival are a failure of their source, whichever it is. Only where there are
/// no better ones, instance metadata is believed: the services go on accepting what it hands out.
fn refuse_expired(
    resolved: Resolved,
    source: SourceName,
    host: &Host,
    first: bool,
) -> Result<Resolved, ProviderError> {
    let Resolved::Found(Identity::Keys(keys)) = &resolved else { return Ok(resolved) };
    match keys.expires_at() {
        Some(_) if keys.is_expired(host.now()) && first && source == SourceName::Imds => {
            let until = host.now() + EXTENSION + EXTENSION_SPREAD.mul_f64(host.random());
            Ok(keys.extended_to(until).into())
        }
        Some(at) if keys.is_expired(host.now()) => {
            let kind = ProviderErrorKind::Malformed { field: "expiration" };
            let message = format!("the keys expired at {}", crate::explain::timestamp(at));
            Err(ProviderError::new(source, kind, Retry::Recoverable, message))
        }
        _ => Ok(resolved),
    }
}

impl fmt::Debug for CredentialsChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.links.iter().filter(|link| link.blocked.is_none());
        f.debug_struct("CredentialsChain")
            .field("sources", &names.map(|link| link.provider.name()).collect::<Vec<_>>())
            .field("profile_name", &self.0.settings.profile_name)
            .field("region", &self.0.settings.region)
            .field("sts_endpoint", &self.0.settings.sts_endpoint.as_deref().map(redact_url))
            .finish()
    }
}

/// Puts a [`CredentialsChain`] together.
#[derive(Clone)]
pub struct CredentialsChainBuilder {
    inline: Option<Inline>,
    profile_name: Option<String>,
    region: Option<String>,
    sts_endpoint: Option<String>,
    assume_role: Option<AssumeRole>,
    custom: Vec<Arc<dyn ProvideCredentials>>,
    only: Option<BTreeSet<SourceName>>,
    without: BTreeSet<SourceName>,
    ambient: bool,
}

impl CredentialsChainBuilder {
    /// What the program's configuration says about credentials.
    #[must_use]
    pub fn inline(mut self, inline: impl Into<Option<Inline>>) -> Self {
        match inline.into() {
            Some(Inline::Profile(name)) => self.profile_name = Some(name),
            inline => self.inline = inline,
        }
        self
    }

    /// The same as `inline(Inline::Profile(name))`: use this profile, whatever the environment says.
    /// Beside inline keys it only serves to find region and endpoint.
    #[must_use]
    pub fn profile_name(mut self, name: impl Into<Option<String>>) -> Self {
        self.profile_name = name.into();
        self
    }

    /// The region, before everything else that may say it.
    #[must_use]
    pub fn region(mut self, region: impl Into<Option<String>>) -> Self {
        self.region = region.into();
        self
    }

    /// The URL of STS, before everything else that may say it, and whatever
    /// `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` says. It must be https, or stay on this machine: tokens go there.
    #[must_use]
    pub fn sts_endpoint(mut self, url: impl Into<Option<String>>) -> Self {
        self.sts_endpoint = url.into();
        self
    }

    /// Takes on this role with the keys that the chain finds, whichever source they come from; the role's keys are what
    /// the chain gives. Together with [`only`](CredentialsChainBuilder::only), inline keys or a profile, it is the
    /// program that says with whose keys. A role that cannot be taken on is a failure of that source, so the chain
    /// ends there.
    #[must_use]
    pub fn assume_role(mut self, role: impl Into<Option<AssumeRole>>) -> Self {
        self.assume_role = role.into();
        self
    }

    /// Adds a provider of the program's own, asked after the inline configuration and before the
    /// environment. Several are asked in the order in which they were added.
    #[must_use]
    pub fn provider(mut self, provider: impl ProvideCredentials + 'static) -> Self {
        self.custom.push(Arc::new(provider));
        self
    }

    /// Never asks this source. The order of the others stays.
    #[must_use]
    pub fn without(mut self, source: SourceName) -> Self {
        self.without.insert(source);
        self
    }

    /// Asks these sources and no others. Their order stays that of the chain.
    #[must_use]
    pub fn only(mut self, sources: impl IntoIterator<Item = SourceName>) -> Self {
        self.only = Some(sources.into_iter().collect());
        self
    }

    /// Reads no variable and no file and asks no service of the machine: only the inline configuration
    /// and the program's own providers count, for region and endpoint too. For programs that act for
    /// several tenants, none of which may end up with the program's own identity.
    #[must_use]
    pub fn disable_environment(mut self) -> Self {
        self.ambient = false;
        self
    }

    fn is_like(&self, other: &CredentialsChainBuilder) -> bool {
        // Field by field, so that one that is added cannot be forgotten here: whoever is taken for alike
        // gets the other's keys.
        let CredentialsChainBuilder {
            inline,
            profile_name,
            region,
            sts_endpoint,
            assume_role,
            custom,
            only,
            without,
            ambient,
        } = self;
        let inlines_alike = match (inline, &other.inline) {
            (None, None) | (Some(Inline::Anonymous), Some(Inline::Anonymous)) => true,
            (Some(Inline::Profile(one)), Some(Inline::Profile(other))) => one == other,
            (Some(Inline::Keys(one)), Some(Inline::Keys(other))) => {
                one.is_same(other) && one.expires_at() == other.expires_at()
            }
            _ => false,
        };
        let roles_alike = match (assume_role, &other.assume_role) {
            (None, None) => true,
            (Some(one), Some(other)) => one.is_like(other),
            _ => false,
        };
        inlines_alike
            && *profile_name == other.profile_name
            && *region == other.region
            && *sts_endpoint == other.sts_endpoint
            && roles_alike
            && custom.len() == other.custom.len()
            && custom.iter().zip(&other.custom).all(|(one, other)| Arc::ptr_eq(one, other))
            && *only == other.only
            && *without == other.without
            && *ambient == other.ambient
    }

    /// The plan.
    #[must_use]
    pub fn build(self) -> CredentialsChain {
        let origin = self.clone();
        // Inline keys and anonymity say whose name to use; then a profile only adds settings.
        let pinned = if self.inline.is_none() { self.profile_name.clone() } else { None };
        let inline = self.inline.clone().or(pinned.clone().map(Inline::Profile));
        let wanted = |name: SourceName| {
            let ambient = !matches!(name, SourceName::Inline | SourceName::Custom(_));
            (self.ambient || !ambient)
                && !self.without.contains(&name)
                && self.only.as_ref().is_none_or(|only| only.contains(&name))
        };
        let outranked_by_pin = |name: SourceName| {
            !matches!(name, SourceName::Inline | SourceName::Custom(_) | SourceName::Profile)
        };
        let profiles = wanted(SourceName::Profile);
        let settings = Arc::new(Settings {
            region: self.region,
            profile_name: self.profile_name.clone(),
            sts_endpoint: self.sts_endpoint,
            environment: self.ambient,
            profiles,
        });
        let environment: Arc<dyn ProvideCredentials> = Arc::new(EnvironmentProvider);
        let container: Arc<dyn ProvideCredentials> = Arc::new(ContainerProvider);
        let imds: Arc<dyn ProvideCredentials> = Arc::new(ImdsProvider::new(self.profile_name, profiles));
        // A profile may name other sources, but none that the program does not want.
        let named =
            |provider: &Arc<dyn ProvideCredentials>| wanted(provider.name()).then(|| provider.clone());
        let sources = NamedSources {
            environment: named(&environment),
            container: named(&container),
            imds: named(&imds),
        };
        let mut providers: Vec<Arc<dyn ProvideCredentials>> = vec![Arc::new(InlineProvider { inline })];
        providers.extend(self.custom.iter().cloned());
        providers.push(environment);
        providers.push(Arc::new(ProfileProvider { settings: settings.clone(), sources }));
        providers.push(container);
        providers.push(Arc::new(WebIdentityProvider { settings: settings.clone() }));
        providers.push(imds);
        let links = providers
            .into_iter()
            .map(|provider| {
                let name = provider.name();
                let blocked = match &pinned {
                    _ if !wanted(name) => Some(Blocked::Off),
                    Some(profile) if outranked_by_pin(name) => Some(Blocked::Pinned(profile.clone())),
                    _ => None,
                };
                Link { provider, blocked }
            })
            .collect();
        CredentialsChain(Arc::new(Plan { links, settings, origin }))
    }
}

impl fmt::Debug for CredentialsChainBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsChainBuilder")
            .field("inline", &self.inline)
            .field("profile_name", &self.profile_name)
            .field("region", &self.region)
            .field("sts_endpoint", &self.sts_endpoint.as_deref().map(redact_url))
            .field("assume_role", &self.assume_role)
            .field("only", &self.only)
            .field("without", &self.without)
            .field("ambient", &self.ambient)
            .finish_non_exhaustive()
    }
}

/// Why there are no keys. The text is the whole report about every source.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CredentialsError {
    /// Every source was passed over. Configure one of those that the report lists.
    NoCredentials(Box<Explain>),
    /// A configured source failed; [`ProviderError::retry`] tells whether to ask again.
    Provider(Box<ProviderError>, Box<Explain>),
}

impl CredentialsError {
    /// Whether asking again can help. That nothing is configured may change.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            CredentialsError::NoCredentials(_) => Retry::Recoverable,
            CredentialsError::Provider(error, _) => error.retry(),
        }
    }

    /// The report about every source.
    #[must_use]
    pub fn explain(&self) -> &Explain {
        match self {
            CredentialsError::NoCredentials(explain) | CredentialsError::Provider(_, explain) => explain,
        }
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.explain().fmt(f)
    }
}

impl Error for CredentialsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            CredentialsError::NoCredentials(_) => None,
            CredentialsError::Provider(error, _) => Some(error.as_ref()),
        }
    }
}
