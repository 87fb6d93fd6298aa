//! From a configuration to a store: addresses, keys, certificates.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use credentials::{CredentialsCache, CredentialsChain, Host, Inline, RegionError, Secret, Service};
use object_storage::config::{self, Checksums, ObjectConfig, ObjectCredentials, PayloadSigning, TlsRoots};
use object_storage::{
    Capabilities, Error, ErrorKind, ObjectStorage, Operation, Result, StorageConfig, StorageFactory,
};
use url::Url;

use crate::deadline::Deadlines;
use crate::driver::{Driver, Elsewhere, Parts, Route};
use crate::host::Trust;
use crate::keys::Keys;
use crate::memory::Memory;
use crate::protocol::address::{Address, Origin};
use crate::protocol::operations::Place;
use crate::protocol::sign::Signing;
use crate::reaper::Reaper;
use crate::storage::S3Storage;
#[cfg(feature = "cyper")]
use crate::transport::CyperTransport;
use crate::transport::{DirectTransport, Roots, Transport, client_config};

/// How requests introduce themselves unless `user_agent` says otherwise.
const USER_AGENT: &str = concat!("s3-backend/", env!("CARGO_PKG_VERSION"));

/// The region that stores without regions expect in a signature.
const REGION_OF_ENDPOINTS: &str = "us-east-1";

/// A factory for any configuration: S3 here, and directories and memory as `object-storage` has them.
///
/// The program makes one and gives a clone to every shard's thread; all stores it opens share the TLS configuration,
/// and all stores of the process whose credentials are configured alike share those: their source is asked once.
///
/// # Errors
///
/// `Config` when the configuration is of a kind that this build does not hold.
///
/// # Example
///
/// ```no_run
/// use object_storage::{Key, ObjectStorageExt, StorageConfig};
///
/// # async fn example() -> Result<(), object_storage::Error> {
/// let config = StorageConfig::from_url("s3://bucket/logs?region=eu-west-1")?;
/// let storage = s3_backend::factory(&config)?.open().await?; // Rc<dyn ObjectStorage>
/// storage.put_if_absent(&Key::parse("segment/1")?, "bytes").await?;
/// # Ok(())
/// # }
/// ```
pub fn factory(config: &StorageConfig) -> Result<StorageFactory> {
    match config.as_object() {
        None => config.factory(),
        Some(object) => {
            // All factories see this machine, and so find the same keys for the same configuration.
            let credentials = CredentialsCache::shared(credentials_chain(object));
            let shared = Shared::with_credentials(object.clone(), credentials);
            Ok(StorageFactory::new(move || {
                let shared = Arc::clone(&shared);
                Box::pin(async move {
                    let storage = shared.open(shared.host()).await?;
                    Ok(Rc::new(storage) as Rc<dyn ObjectStorage>)
                })
            }))
        }
    }
}

impl S3Storage {
    /// Opens one store by itself. `host` is where environment, files, clock and the answers of credential
    /// services come from: usually [`system_host`](crate::system_host).
    ///
    /// Programs with several shards use a [factory](crate::factory), whose stores share keys and certificates.
    /// No request is made yet.
    ///
    /// # Errors
    ///
    /// `Config`: no region, an endpoint that cannot work, a `ca_file` that cannot be read. Credentials are asked
    /// for by the first operation.
    pub async fn open(config: &ObjectConfig, host: Host) -> Result<S3Storage> {
        Shared::new(config.clone()).open(host).await
    }

    /// The same with credentials that the program has, for instance to share them between stores, or to give them
    /// [options](credentials::CacheOptions). Region and endpoint that the configuration leaves open are looked up
    /// by the chain behind them.
    ///
    /// # Errors
    ///
    /// As [`open`](S3Storage::open).
    pub async fn open_with_credentials(
        config: &ObjectConfig,
        credentials: Arc<CredentialsCache>,
        host: Host,
    ) -> Result<S3Storage> {
        Shared::with_credentials(config.clone(), credentials).open(host).await
    }
}

/// The credential chain that stores of this configuration use, for asking it what it would do
/// ([`explain`](CredentialsChain::explain)).
#[must_use]
pub fn credentials_chain(config: &ObjectConfig) -> CredentialsChain {
    let builder = CredentialsChain::builder().region(config.region().map(str::to_owned));
    let secret = |secret: &object_storage::config::Secret| Secret::new(secret.expose_secret());
    match config.credentials() {
        ObjectCredentials::Anonymous => builder.inline(Inline::Anonymous),
        ObjectCredentials::Profile(name) => builder.profile_name(name.clone()),
        ObjectCredentials::Keys(keys) => {
            let token = keys.session_token().map(secret);
            builder.inline(
                Inline::from_parts(
                    Some(keys.access_key_id().to_owned()),
                    Some(secret(keys.secret_access_key())),
                    token,
                )
                .ok()
                .flatten(),
            )
        }
        _ => builder,
    }
    .build()
}

/// What all stores of one factory have in common. Crosses threads.
struct Shared {
    config: ObjectConfig,
    credentials: Arc<CredentialsCache>,
    /// Certificates are read once; shards that start together may read them twice, and keep one result.
    tls: OnceLock<Arc<rustls::ClientConfig>>,
}

impl Shared {
    fn new(config: ObjectConfig) -> Arc<Shared> {
        let credentials = CredentialsCache::new(credentials_chain(&config));
        Shared::with_credentials(config, credentials)
    }

    fn with_credentials(config: ObjectConfig, credentials: Arc<CredentialsCache>) -> Arc<Shared> {
        Arc::new(Shared { config, credentials, tls: OnceLock::new() })
    }

    /// This machine, with the proxy and the certificates of the configuration.
    fn host(&self) -> Host {
        let trust = Trust::new(self.roots(&Host::system()));
        crate::host::host(self.config.proxy().cloned(), trust)
    }

    async fn open(self: &Arc<Shared>, host: Host) -> Result<S3Storage> {
        let config = &self.config;
        let endpoint = self.endpoint(&host).await?;
        let region = self.region(&host, endpoint.is_some()).await?;
        let url = match &endpoint {
            Some(endpoint) => endpoint.clone(),
            None => aws_endpoint(&region)?,
        };
        let shape = rusty_s3::Bucket::new(
            url.clone(),
            rusty_s3::UrlStyle::Path,
            config.bucket().to_owned(),
            region.clone(),
        )
        .map_err(|problem| bad_config("the endpoint and bucket make no URL").with_source(problem))?;
        let tls = self.tls(&host, url.scheme() == "https").await?;
        let deadlines = Deadlines::default();
        let route = self.route(&url, region, Arc::clone(&tls), &host, &deadlines)?;
        let elsewhere = match &endpoint {
            Some(_) => Elsewhere::SameHost,
            None => {
                let (shared, host, deadlines) = (Arc::clone(self), host.clone(), deadlines.clone());
                Elsewhere::Aws(Box::new(move |region| {
                    let url = aws_endpoint(region)?;
                    shared.route(&url, region.to_owned(), Arc::clone(&tls), &host, &deadlines)
                }))
            }
        };
        let driver = Driver::new(Parts {
            route,
            elsewhere,
            replays: endpoint.is_some() || config.proxy().is_some(),
            trusts_dates: url.scheme() == "https" || is_loopback(&url),
            memory: Memory::new(config.memory_limit(), config.multipart_part_size()),
            deadlines,
            keys: Keys::new(Arc::clone(&self.credentials), host),
            timeouts: config.timeouts().clone(),
            attempts_max: config.attempts_max(),
            checksums: config.checksums(),
        });
        Ok(S3Storage {
            driver: Rc::new(driver),
            capabilities: capabilities(config, endpoint.is_none()),
            shape,
            reaper: Reaper::new(),
        })
    }

    /// The way to the bucket behind this endpoint, in this region.
    fn route(
        &self,
        endpoint: &Url,
        region: String,
        tls: Arc<rustls::ClientConfig>,
        host: &Host,
        deadlines: &Deadlines,
    ) -> Result<Route> {
        let config = &self.config;
        let address = Address::new(endpoint, config.bucket(), config.url_style())
            .map_err(|problem| bad_config(problem.to_string()).with_source(problem))?;
        let transport = self.transport(address.origin(), tls, host, deadlines)?;
        let authority = address.origin().authority.clone();
        let signing = Signing::new(region, authority, self.signs_payloads(endpoint));
        let prefix = config.prefix().map(|prefix| format!("{prefix}/")).unwrap_or_default();
        Ok(Route { place: Place { address, prefix }, signing, transport })
    }

    fn transport(
        &self,
        origin: &Origin,
        tls: Arc<rustls::ClientConfig>,
        host: &Host,
        deadlines: &Deadlines,
    ) -> Result<Rc<dyn Transport>> {
        let config = &self.config;
        let user_agent = config.user_agent().unwrap_or(USER_AGENT);
        match config.transport() {
            config::Transport::Direct => {
                let (host, deadlines) = (host.clone(), deadlines.clone());
                let transport =
                    DirectTransport::new(origin.clone(), tls, config.proxy(), user_agent, host, deadlines)
                        .map_err(|problem| bad_config(format!("`proxy` cannot be used: {problem}")))?;
                Ok(Rc::new(transport))
            }
            #[cfg(feature = "cyper")]
            config::Transport::Cyper => {
                let user_agent = http::HeaderValue::from_str(user_agent).map_err(|problem| {
                    bad_config("`user_agent` cannot be sent in a header").with_source(problem)
                })?;
                let transport = CyperTransport::new(origin, tls, config.proxy(), user_agent)
                    .map_err(|problem| bad_config(format!("the HTTP client cannot be built: {problem}")))?;
                Ok(Rc::new(transport))
            }
            other => {
                let message = format!(
                    "this build has no transport {other:?}: use \"direct\", or build s3-backend with the feature `cyper`"
                );
                Err(bad_config(message))
            }
        }
    }

    /// Nobody stands between a machine and itself.
    fn signs_payloads(&self, endpoint: &Url) -> bool {
        match self.config.payload_signing() {
            PayloadSigning::Always => true,
            PayloadSigning::Never => false,
            _ => endpoint.scheme() == "http" && (!is_loopback(endpoint) || self.config.proxy().is_some()),
        }
    }

    /// The endpoint that is not AWS's own: configured, or found where the AWS SDKs look for one.
    async fn endpoint(&self, host: &Host) -> Result<Option<Url>> {
        if let Some(endpoint) = self.config.endpoint() {
            return Ok(Some(endpoint.clone()));
        }
        let found = self.credentials.chain().endpoint(host, Service::S3).await;
        let found = found
            .map_err(|problem| bad_config("the shared profile files cannot be read").with_source(problem))?;
        let Some(found) = found else { return Ok(None) };
        let advice =
            |what: &str| bad_config(format!("the endpoint from {} {what}: set `endpoint`", found.origin()));
        let url: Url = found.url().parse().map_err(|_| advice("is no URL"))?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        let loopback = is_loopback(&url);
        match url.scheme() {
            "https" | "http" if !plain => Err(advice("carries a user or a query")),
            "https" => Ok(Some(url)),
            "http" if loopback => Ok(Some(url)),
            "http" => Err(advice("is http, which only the configuration itself can allow (`allow_http`)")),
            _ => Err(advice("is neither http nor https")),
        }
    }

    async fn region(&self, host: &Host, custom_endpoint: bool) -> Result<String> {
        match self.credentials.chain().region(host).await {
            Ok(region) => Ok(region.name().to_owned()),
            // A store that is not AWS has no regions; what is signed must still name one.
            Err(RegionError::Missing { .. }) if custom_endpoint => Ok(REGION_OF_ENDPOINTS.to_owned()),
            Err(problem) => Err(bad_config(problem.to_string()).with_source(problem)),
        }
    }

    async fn tls(&self, host: &Host, https: bool) -> Result<Arc<rustls::ClientConfig>> {
        if let Some(tls) = self.tls.get() {
            return Ok(Arc::clone(tls));
        }
        let tls = match https {
            true => {
                let roots = self.roots(host);
                let read = compio::runtime::spawn_blocking(move || client_config(Some(&roots))).await;
                read.unwrap_or_else(|_| Err(bad_config("reading the certificates panicked")))?
            }
            // Nothing is read: a thread for that would be the only one beside the shard's.
            false => client_config(None)?,
        };
        Ok(Arc::clone(self.tls.get_or_init(|| tls)))
    }

    /// The configured roots; where nothing was configured, `AWS_CA_BUNDLE` replaces the system's, as the AWS SDKs
    /// have it.
    fn roots(&self, host: &Host) -> Roots {
        let ca_file = self.config.ca_file().map(PathBuf::from);
        let base = self.config.tls_roots();
        match (base, ca_file) {
            (TlsRoots::System, None) => match host.var("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) {
                Some(bundle) => Roots { base: TlsRoots::CaFile, ca_file: Some(PathBuf::from(bundle)) },
                None => Roots { base, ca_file: None },
            },
            (base, ca_file) => Roots { base, ca_file },
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// AWS's own address for a region: <https://docs.aws.amazon.com/general/latest/gr/s3.html>.
fn aws_endpoint(region: &str) -> Result<Url> {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let parsed: Result<Url, url::ParseError> = format!("https://s3.{region}.{suffix}").parse();
    parsed.map_err(|problem| bad_config(format!("region {region:?} makes no address")).with_source(problem))
}

/// What the endpoint honours. AWS honours everything; of others, conditions on put and completion are taken for
/// granted (they are what S3 storage is chosen for, and `spike` checks them), while those that many stores accept
/// and ignore must be vouched for in the configuration.
fn capabilities(config: &ObjectConfig, aws: bool) -> Capabilities {
    let conditions = config.conditions();
    let put = conditions.put.unwrap_or(true);
    let complete = conditions.complete.unwrap_or(true);
    let mut capabilities = Capabilities::ALL_CONDITIONS;
    capabilities.put_create = put;
    capabilities.put_match = put;
    capabilities.complete_create = complete;
    capabilities.complete_match = complete;
    capabilities.copy_conditions = conditions.copy.unwrap_or(aws);
    capabilities.delete_match = conditions.delete.unwrap_or(aws);
    capabilities.verbatim_keys = true;
    capabilities.ordered_list = config.ordered_list().unwrap_or(aws);
    capabilities.multipart_part_size = config.multipart_part_size();
    capabilities.states_crc64_nvme = config.checksums() == Checksums::WhenSupported;
    capabilities
}

fn bad_config(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, Operation::Open, message)
}
