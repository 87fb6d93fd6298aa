//! The builders, through which every door goes: what is set is checked in one place, [`ObjectConfigBuilder::build`].

use std::path::PathBuf;
use std::time::Duration;

use super::checks;
use super::object::{
    ATTEMPTS_MAX_DEFAULT, ATTEMPTS_MAX_LIMIT, Checksums, Conditions, MULTIPART_PART_SIZE_DEFAULT,
    ObjectConfig, ObjectCredentials, PayloadSigning, Service, StaticKeys, TlsRoots, Transport, UrlStyle,
    memory_limit_default,
};
use super::problem::{FS, OBJECT, problem, shown};
use super::secret::Secret;
use super::timeouts::Timeouts;
use super::{Durability, FsConfig, StorageConfig};
use crate::error::{Error, Result};

/// Collects the settings of an object store. Made by [`StorageConfig::object`].
///
/// Methods take what they are given; [`build`](ObjectConfigBuilder::build) checks it all. Each method is the option
/// of the same name in `[system.storage.object]` and in an `s3://` URL.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing before build()"]
pub struct ObjectConfigBuilder {
    pub(super) service: Option<Service>,
    pub(super) bucket: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<Redacted>,
    pub(super) url_style: Option<UrlStyle>,
    pub(super) allow_http: Option<bool>,
    pub(super) access_key_id: Option<Secret>,
    pub(super) secret_access_key: Option<Secret>,
    pub(super) session_token: Option<Secret>,
    pub(super) profile: Option<String>,
    pub(super) anonymous: Option<bool>,
    pub(super) multipart_part_size: Option<u64>,
    pub(super) memory_limit: Option<u64>,
    pub(super) tls_roots: Option<TlsRoots>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) user_agent: Option<String>,
    pub(super) proxy: Option<Redacted>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) send_timeout: Option<Duration>,
    pub(super) head_timeout: Option<Duration>,
    pub(super) body_timeout: Option<Duration>,
    pub(super) complete_timeout: Option<Duration>,
    pub(super) operation_timeout: Option<Duration>,
    pub(super) attempts_max: Option<u32>,
    pub(super) conditional_put: Option<bool>,
    pub(super) conditional_complete: Option<bool>,
    pub(super) conditional_copy: Option<bool>,
    pub(super) conditional_delete: Option<bool>,
    pub(super) ordered_list: Option<bool>,
    pub(super) transport: Option<Transport>,
    pub(super) payload_signing: Option<PayloadSigning>,
    pub(super) checksums: Option<Checksums>,
}

/// An address before it is checked: somebody may have put a password into it, so it is not printed.
pub(super) type Redacted = Secret;

impl ObjectConfigBuilder {
    /// The protocol. [`Service::S3`] by default.
    pub fn service(mut self, service: Service) -> Self {
        self.service = Some(service);
        self
    }

    /// What every key begins with, joined to the key by `/`. One `/` at its end changes nothing.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// The region to sign for. By default that of the environment or the profile.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The address of a store that is not AWS, such as `https://s3.example.com:9000`. It may have a path prefix.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(Secret::new(endpoint));
        self
    }

    /// Where the bucket's name goes. By default into the host for AWS, and into the path for an endpoint and for
    /// names with dots.
    pub fn url_style(mut self, style: UrlStyle) -> Self {
        self.url_style = Some(style);
        self
    }

    /// Whether the endpoint may be spoken to without encryption. By default only if it is this machine.
    pub fn allow_http(mut self, allow: bool) -> Self {
        self.allow_http = Some(allow);
        self
    }

    /// The name of the key pair that signs. Goes together with [`secret_access_key`](Self::secret_access_key).
    pub fn access_key_id(mut self, id: impl Into<Secret>) -> Self {
        self.access_key_id = Some(id.into());
        self
    }

    /// The key that signs. Goes together with [`access_key_id`](Self::access_key_id).
    pub fn secret_access_key(mut self, key: impl Into<Secret>) -> Self {
        self.secret_access_key = Some(key.into());
        self
    }

    /// The token of keys that expire. Only with the two keys.
    pub fn session_token(mut self, token: impl Into<Secret>) -> Self {
        self.session_token = Some(token.into());
        self
    }

    /// Takes the keys from this profile of the shared files, and from nowhere else.
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.profile = Some(name.into());
        self
    }

    /// Sends requests unsigned, for public buckets.
    pub fn anonymous(mut self, anonymous: bool) -> Self {
        self.anonymous = Some(anonymous);
        self
    }

    /// The size of the parts of a multipart upload to begin with, in bytes. By default
    /// [`MULTIPART_PART_SIZE_DEFAULT`](super::MULTIPART_PART_SIZE_DEFAULT).
    pub fn multipart_part_size(mut self, bytes: u64) -> Self {
        self.multipart_part_size = Some(bytes);
        self
    }

    /// How much memory the operations of one shard keep at once, in bytes: see [`ObjectConfig::memory_limit`]. At least
    /// one part and [`BODY_WINDOW_BYTES`](super::BODY_WINDOW_BYTES). By default
    /// [`MEMORY_LIMIT_DEFAULT`](super::MEMORY_LIMIT_DEFAULT), or four parts and 96 MiB if that is more. There is no
    /// "unlimited": name what the machine has.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Whom TLS trusts. By default the system's certificates, or only those of the CA file if there is one.
    pub fn tls_roots(mut self, roots: TlsRoots) -> Self {
        self.tls_roots = Some(roots);
        self
    }

    /// A PEM file of certificates to trust: only these, unless [`tls_roots`](Self::tls_roots) adds others.
    pub fn ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(file.into());
        self
    }

    /// The `User-Agent` to send in place of the store's own.
    pub fn user_agent(mut self, text: impl Into<String>) -> Self {
        self.user_agent = Some(text.into());
        self
    }

    /// The http proxy to go through, such as `http://proxy.example.com:3128`. By default none, whatever the
    /// environment says.
    pub fn proxy(mut self, proxy: impl Into<String>) -> Self {
        self.proxy = Some(Secret::new(proxy));
        self
    }

    /// See [`Timeouts::connect`]. By default [`CONNECT_TIMEOUT_DEFAULT`](super::CONNECT_TIMEOUT_DEFAULT).
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = Some(limit);
        self
    }

    /// See [`Timeouts::send`]. By default [`SEND_TIMEOUT_DEFAULT`](super::SEND_TIMEOUT_DEFAULT).
    pub fn send_timeout(mut self, limit: Duration) -> Self {
        self.send_timeout = Some(limit);
        self
    }

    /// See [`Timeouts::head`]. By default [`HEAD_TIMEOUT_DEFAULT`](super::HEAD_TIMEOUT_DEFAULT).
    pub fn head_timeout(mut self, limit: Duration) -> Self {
        self.head_timeout = Some(limit);
        self
    }

    /// See [`Timeouts::body`]. By default [`BODY_TIMEOUT_DEFAULT`](super::BODY_TIMEOUT_DEFAULT).
    pub fn body_timeout(mut self, limit: Duration) -> Self {
        self.body_timeout = Some(limit);
        self
    }

    /// See [`Timeouts::complete`]. By default [`COMPLETE_TIMEOUT_DEFAULT`](super::COMPLETE_TIMEOUT_DEFAULT).
    pub fn complete_timeout(mut self, limit: Duration) -> Self {
        self.complete_timeout = Some(limit);
        self
    }

    /// See [`Timeouts::operation`]. By default [`OPERATION_TIMEOUT_DEFAULT`](super::OPERATION_TIMEOUT_DEFAULT).
    pub fn operation_timeout(mut self, limit: Duration) -> Self {
        self.operation_timeout = Some(limit);
        self
    }

    /// How often one operation is sent at most, the first time included: 1 to 100. By default
    /// [`ATTEMPTS_MAX_DEFAULT`](super::ATTEMPTS_MAX_DEFAULT).
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = Some(attempts);
        self
    }

    /// Says whether the endpoint honours conditions on PutObject.
    pub fn conditional_put(mut self, honoured: bool) -> Self {
        self.conditional_put = Some(honoured);
        self
    }

    /// Says whether the endpoint honours conditions on CompleteMultipartUpload.
    pub fn conditional_complete(mut self, honoured: bool) -> Self {
        self.conditional_complete = Some(honoured);
        self
    }

    /// Says whether the endpoint honours conditions on the destination of CopyObject.
    pub fn conditional_copy(mut self, honoured: bool) -> Self {
        self.conditional_copy = Some(honoured);
        self
    }

    /// Says whether the endpoint honours `If-Match` on DeleteObject.
    pub fn conditional_delete(mut self, honoured: bool) -> Self {
        self.conditional_delete = Some(honoured);
        self
    }

    /// Whether listings come in byte order of the keys. AWS's do; of another endpoint nothing is assumed.
    pub fn ordered_list(mut self, ordered: bool) -> Self {
        self.ordered_list = Some(ordered);
        self
    }

    /// What carries requests to the store. Default: [`Transport::Direct`].
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Whether the bytes of a write are part of its signature. Default: [`PayloadSigning::Auto`].
    pub fn payload_signing(mut self, signing: PayloadSigning) -> Self {
        self.payload_signing = Some(signing);
        self
    }

    /// Which checksums go with the bytes of objects, and whether reads are compared with them. Default: [`Checksums::WhenSupported`].
    pub fn checksums(mut self, checksums: Checksums) -> Self {
        self.checksums = Some(checksums);
        self
    }

    /// Checks everything and gives the configuration.
    ///
    /// # Errors
    ///
    /// `Config`: a value that cannot work, or two that exclude each other. The message names the option, says
    /// what is wrong and what to write instead.
    pub fn build(self) -> Result<StorageConfig> {
        let endpoint =
            self.endpoint.as_ref().map(|text| checks::endpoint(text.expose_secret())).transpose()?;
        let url_style = self.checked_bucket(endpoint.as_ref())?;
        self.check_encryption(endpoint.as_ref())?;
        let tls_roots = self.checked_roots()?;
        if let Some(region) = &self.region {
            checks::region(region)?;
        }
        if let Some(user_agent) = &self.user_agent {
            checks::user_agent(user_agent)?;
        }
        let multipart_part_size = self.multipart_part_size.unwrap_or(MULTIPART_PART_SIZE_DEFAULT);
        checks::part_size(multipart_part_size)?;
        let memory_limit = self.memory_limit.unwrap_or_else(|| memory_limit_default(multipart_part_size));
        checks::memory_limit(memory_limit, multipart_part_size)?;
        let attempts_max = self.attempts_max.unwrap_or(ATTEMPTS_MAX_DEFAULT);
        if !(1..=ATTEMPTS_MAX_LIMIT).contains(&attempts_max) {
            let what = format!("{attempts_max} is not 1 to {ATTEMPTS_MAX_LIMIT}");
            return Err(problem(
                at("attempts_max"),
                what,
                "1 sends everything once; set operation_timeout to go on longer",
            ));
        }
        Ok(StorageConfig::Object(Box::new(ObjectConfig {
            service: self.service.unwrap_or_default(),
            prefix: self.prefix.as_deref().map(checks::prefix).transpose()?,
            url_style,
            credentials: self.checked_credentials()?,
            multipart_part_size,
            memory_limit,
            tls_roots,
            proxy: self.proxy.as_ref().map(|text| checks::proxy(text.expose_secret())).transpose()?,
            timeouts: self.checked_timeouts()?,
            attempts_max,
            conditions: Conditions {
                put: self.conditional_put,
                complete: self.conditional_complete,
                copy: self.conditional_copy,
                delete: self.conditional_delete,
            },
            ordered_list: self.ordered_list,
            transport: self.transport.unwrap_or_default(),
            payload_signing: self.payload_signing.unwrap_or_default(),
            checksums: self.checksums.unwrap_or_default(),
            endpoint,
            // The rest is taken as it is; `checked_bucket` insisted on the bucket.
            bucket: self.bucket.unwrap_or_default(),
            region: self.region,
            ca_file: self.ca_file,
            user_agent: self.user_agent,
        })))
    }

    /// Checks the bucket's name by the rules of where it will stand, and decides where that is.
    fn checked_bucket(&self, endpoint: Option<&::url::Url>) -> Result<UrlStyle> {
        let Some(bucket) = &self.bucket else {
            return Err(problem(at("bucket"), "it is missing", "add bucket = \"the name of your bucket\""));
        };
        let style = match (self.url_style, endpoint) {
            (Some(style), _) => style,
            (None, Some(_)) => UrlStyle::Path,
            (None, None) if bucket.contains('.') => UrlStyle::Path,
            (None, None) => UrlStyle::VirtualHost,
        };
        let Some(endpoint) = endpoint else {
            checks::aws_bucket(bucket)?;
            if style == UrlStyle::VirtualHost && bucket.contains('.') {
                let what = format!("AWS's certificate does not cover the dots of bucket {}", shown(bucket));
                return Err(problem(at("url_style"), what, "write \"path\", or leave it out"));
            }
            return Ok(style);
        };
        checks::endpoint_bucket(bucket)?;
        if style == UrlStyle::VirtualHost {
            if !checks::has_host_name(endpoint) {
                let what = "no bucket can stand in front of an address of numbers";
                return Err(problem(at("url_style"), what, "write \"path\", or give the endpoint by name"));
            }
            if checks::aws_bucket(bucket).is_err() {
                let what = format!("the bucket {} cannot be part of a host name", shown(bucket));
                return Err(problem(at("url_style"), what, "write \"path\", or leave it out"));
            }
        }
        Ok(style)
    }

    /// Plain http must be allowed or stay on this machine, and has no use for TLS settings.
    fn check_encryption(&self, endpoint: Option<&::url::Url>) -> Result<()> {
        let Some(endpoint) = endpoint.filter(|endpoint| endpoint.scheme() == "http") else {
            return Ok(());
        };
        if self.allow_http != Some(true) && !checks::is_loopback(endpoint) {
            let what = "it is not encrypted: keys, tokens and data could be read and changed on the way";
            return Err(problem(
                at("endpoint"),
                what,
                "write https://, or set allow_http = true if you mean it",
            ));
        }
        let unused = [("tls_roots", self.tls_roots.is_some()), ("ca_file", self.ca_file.is_some())];
        match unused.into_iter().find(|(_, set)| *set) {
            Some((name, _)) => Err(problem(
                at(name),
                "the endpoint is http, so nothing would be verified with it",
                "write the endpoint with https://, or leave this out",
            )),
            None => Ok(()),
        }
    }

    fn checked_roots(&self) -> Result<TlsRoots> {
        match (self.tls_roots, &self.ca_file) {
            (_, Some(file)) if file.as_os_str().is_empty() => {
                Err(problem(at("ca_file"), "it is empty", "give the path of a PEM file, or leave it out"))
            }
            (Some(TlsRoots::CaFile), None) => {
                let what = "\"ca-file\" trusts only the certificates of ca_file, and there is none";
                Err(problem(at("tls_roots"), what, "set ca_file to the path of a PEM file"))
            }
            (Some(roots), _) => Ok(roots),
            (None, Some(_)) => Ok(TlsRoots::CaFile),
            (None, None) => Ok(TlsRoots::System),
        }
    }

    fn checked_credentials(&self) -> Result<ObjectCredentials> {
        let anonymous = self.anonymous == Some(true);
        let any_key = [
            ("access_key_id", self.access_key_id.is_some()),
            ("secret_access_key", self.secret_access_key.is_some()),
            ("session_token", self.session_token.is_some()),
        ]
        .into_iter()
        .find_map(|(name, set)| set.then_some(name));
        if let Some(profile) = &self.profile {
            checks::profile(profile)?;
            if let Some(name) = any_key {
                let what = format!("keys come from here or from profile {}, not both", shown(profile));
                return Err(problem(at(name), what, "remove the keys, or remove `profile`"));
            }
        }
        if anonymous && (any_key.is_some() || self.profile.is_some()) {
            let what = format!("unsigned requests have no use for {}", any_key.unwrap_or("profile"));
            return Err(problem(at("anonymous"), what, "remove one of the two"));
        }
        match (&self.access_key_id, &self.secret_access_key, &self.profile) {
            (Some(id), Some(secret), _) => {
                checks::access_key_id(id)?;
                checks::secret_access_key(secret)?;
                if let Some(token) = &self.session_token {
                    checks::session_token(token)?;
                }
                Ok(ObjectCredentials::Keys(StaticKeys {
                    access_key_id: id.clone(),
                    secret_access_key: secret.clone(),
                    session_token: self.session_token.clone(),
                }))
            }
            (Some(_), None, _) => Err(half("secret_access_key", "access_key_id")),
            (None, Some(_), _) => Err(half("access_key_id", "secret_access_key")),
            (None, None, _) if self.session_token.is_some() => Err(half("access_key_id", "session_token")),
            (None, None, Some(profile)) => Ok(ObjectCredentials::Profile(profile.clone())),
            (None, None, None) if anonymous => Ok(ObjectCredentials::Anonymous),
            (None, None, None) => Ok(ObjectCredentials::Chain),
        }
    }

    fn checked_timeouts(&self) -> Result<Timeouts> {
        let default = Timeouts::default();
        let timeouts = Timeouts {
            connect: checks::timeout("connect_timeout", self.connect_timeout.unwrap_or(default.connect))?,
            send: checks::timeout("send_timeout", self.send_timeout.unwrap_or(default.send))?,
            head: checks::timeout("head_timeout", self.head_timeout.unwrap_or(default.head))?,
            body: checks::timeout("body_timeout", self.body_timeout.unwrap_or(default.body))?,
            complete: checks::timeout("complete_timeout", self.complete_timeout.unwrap_or(default.complete))?,
            operation: checks::timeout(
                "operation_timeout",
                self.operation_timeout.unwrap_or(default.operation),
            )?,
        };
        let stages = [
            ("connect_timeout", timeouts.connect),
            ("send_timeout", timeouts.send),
            ("head_timeout", timeouts.head),
        ];
        match stages.into_iter().find(|(_, stage)| *stage > timeouts.operation) {
            Some((name, stage)) => {
                let what = format!("{stage:?} is longer than operation_timeout, {:?}", timeouts.operation);
                Err(problem(at(name), what, "shorten this one, or lengthen operation_timeout"))
            }
            None => Ok(timeouts),
        }
    }
}

fn at(name: &str) -> String {
    format!("{OBJECT}.{name}")
}

fn half(missing: &str, there: &str) -> Error {
    problem(at(missing), format!("it is missing while {there} is set"), "set both keys, or none of them")
}

/// Collects the settings of the fs store. Made by [`StorageConfig::fs`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing before build()"]
pub struct FsConfigBuilder {
    pub(super) root: Option<PathBuf>,
    pub(super) durability: Option<Durability>,
}

impl FsConfigBuilder {
    /// What `Ok` of a write promises. [`Durability::Full`] by default.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Checks everything and gives the configuration. The disk is not looked at.
    ///
    /// # Errors
    ///
    /// `Config`: the root is missing, empty, the root of the whole file system, or holds a NUL.
    pub fn build(self) -> Result<StorageConfig> {
        let path = format!("{FS}.root");
        let advice = "give a directory of its own, such as root = \"/var/lib/my-server/objects\"";
        let Some(root) = self.root else {
            return Err(problem(path, "it is missing, and there is no default for where data goes", advice));
        };
        if root.as_os_str().is_empty() {
            return Err(problem(path, "it is empty", advice));
        }
        if root.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(problem(path, "it holds a NUL, which no path can", advice));
        }
        if root.has_root() && root.parent().is_none() {
            return Err(problem(path, "it is the root of the whole file system", advice));
        }
        Ok(StorageConfig::Fs(FsConfig { root, durability: self.durability.unwrap_or_default() }))
    }
}
