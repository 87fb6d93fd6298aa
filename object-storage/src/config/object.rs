//! [`ObjectConfig`]: where an object store is and how to speak to it, checked once.

use std::fmt;
use std::path::{Path, PathBuf};

use ::url::Url;

use super::secret::Secret;
use super::timeouts::Timeouts;
use crate::key::Key;
use crate::limits::{KIB, MIB};

/// Default of `multipart_part_size`, in bytes: 8 MiB. Four parts in flight and one being filled are 40 MiB for one
/// writer, and 8 MiB is past the size from which larger requests are no faster.
pub const MULTIPART_PART_SIZE_DEFAULT: u64 = 8 * MIB;

/// The least that `memory_limit` is when it is left out, in bytes: 256 MiB. 96 of them are for 192 bodies being read, and
/// 160 for twenty parts of 8 MiB under way, which at 50 MiB/s each are more than a core moves.
pub const MEMORY_LIMIT_DEFAULT: u64 = 256 * MIB;

/// What one open body counts for, in bytes: 512 KiB. One buffer of 256 KiB is read into while what came before is
/// looked at; over TLS one holds what came and one what it means.
pub const BODY_WINDOW_BYTES: u64 = 512 * KIB;

/// How many parts are under way at once, as those of one writer, for which a `memory_limit` that is left out has room
/// beside 96 MiB of bodies, if they are large.
const PARTS_BY_DEFAULT: u64 = 4;

/// Default of `attempts_max`. With pauses that double from 50 ms and are drawn from the whole of their span, seven
/// pauses are about three seconds on average: enough for a restart of one server of a store, and no storm.
pub const ATTEMPTS_MAX_DEFAULT: u32 = 8;

/// The highest `attempts_max`. More would be a loop in disguise; `operation_timeout` says how long to go on.
pub const ATTEMPTS_MAX_LIMIT: u32 = 100;

/// What `memory_limit` is when nobody says.
pub(super) fn memory_limit_default(part_size: u64) -> u64 {
    const BODIES_BYTES: u64 = 192 * BODY_WINDOW_BYTES;
    MEMORY_LIMIT_DEFAULT.max(PARTS_BY_DEFAULT * part_size + BODIES_BYTES)
}

/// An object store: an address, keys, and habits. Made by [`StorageConfig`](super::StorageConfig).
///
/// A value that exists has passed every check that needs no network. It may cross threads, compares equal to the
/// one made through another door, and shows no secret in `Debug` and `Display`.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectConfig {
    pub(super) service: Service,
    pub(super) bucket: String,
    pub(super) prefix: Option<Key>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<Url>,
    pub(super) url_style: UrlStyle,
    pub(super) credentials: ObjectCredentials,
    pub(super) multipart_part_size: u64,
    pub(super) memory_limit: u64,
    pub(super) tls_roots: TlsRoots,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) user_agent: Option<String>,
    pub(super) proxy: Option<Url>,
    pub(super) timeouts: Timeouts,
    pub(super) attempts_max: u32,
    pub(super) conditions: Conditions,
    pub(super) ordered_list: Option<bool>,
    pub(super) transport: Transport,
    pub(super) payload_signing: PayloadSigning,
    pub(super) checksums: Checksums,
}

/// The protocol of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Service {
    /// Amazon S3, and what speaks as it does. In files: `"s3"`.
    #[default]
    S3,
}

/// Where the name of the bucket stands in a request. See [virtual hosting of buckets].
///
/// [virtual hosting of buckets]: https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlStyle {
    /// In the path: `https://host/bucket/key`.
    Path,
    /// In the host: `https://bucket.host/key`.
    VirtualHost,
}

/// Whom a TLS connection trusts. Verification cannot be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsRoots {
    /// The certificates of the operating system, and those of `ca_file` where one is given. In files: `"system"`.
    System,
    /// Mozilla's certificates as compiled in, and those of `ca_file` where one is given. In files: `"webpki"`.
    Webpki,
    /// Only those of `ca_file`. In files: `"ca-file"`; the default when a `ca_file` is given.
    CaFile,
}

/// What carries requests to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// HTTP/1.1 straight on compio. In files: `"direct"`.
    #[default]
    Direct,
    /// [cyper](https://docs.rs/cyper): hyper on compio; several times the CPU. In files: `"cyper"`. A build without it
    /// (the feature `cyper` of `s3-backend`) refuses to open a store.
    Cyper,
}

/// Whether the bytes of a write are part of its signature. Its header always is, with the checksum in it.
///
/// See `x-amz-content-sha256` in [Signature calculations].
///
/// [Signature calculations]: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadSigning {
    /// Where somebody on the way could change them: over plain http, except to this machine itself. TLS needs no
    /// second protection, and SHA-256 costs several times what everything else does. In files: `"auto"`.
    #[default]
    Auto,
    /// For every write. In files: `"always"`.
    Always,
    /// For none. In files: `"never"`.
    Never,
}

/// Which checksums go with the bytes of objects, beyond those of TCP and TLS.
///
/// See [Checking object integrity].
///
/// [Checking object integrity]: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Checksums {
    /// Puts and parts carry a CRC64NVME, which the store checks before it keeps them, and completing an upload states
    /// the size of the object and the checksum of all of it. Gets of whole objects are compared with the checksum that
    /// was kept (CRC64NVME, CRC32C, CRC32 or SHA-256, of all bytes); ranges cannot be. A store that knows no checksums
    /// ignores all this. Costs less than 0.2 µs per 4 KiB and about 0.5 ms per 8 MiB. In files: `"when-supported"`.
    #[default]
    WhenSupported,
    /// Sent and asked for only where S3 refuses a request without, which is a bulk delete. For stores that refuse one
    /// with. What such a store sends of its own accord is compared all the same. In files: `"when-required"`.
    WhenRequired,
    /// As `WhenRequired`, and what is read is not checked even if the store sends a checksum. In files: `"off"`.
    Off,
}

/// Where the keys that sign requests come from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ObjectCredentials {
    /// Nothing was configured: the environment, the shared profile files, and so on, as the crate `credentials`
    /// orders them.
    Chain,
    /// The keys of the configuration itself, and no others.
    Keys(StaticKeys),
    /// This profile of the shared files, and nothing else.
    Profile(String),
    /// None: requests go out unsigned.
    Anonymous,
}

/// Keys that stand in the configuration. `Debug` shows none of them.
#[derive(Clone, Debug, PartialEq)]
pub struct StaticKeys {
    pub(super) access_key_id: Secret,
    pub(super) secret_access_key: Secret,
    pub(super) session_token: Option<Secret>,
}

impl StaticKeys {
    /// The name of the key pair.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        self.access_key_id.expose_secret()
    }

    /// What signs.
    #[must_use]
    pub fn secret_access_key(&self) -> &Secret {
        &self.secret_access_key
    }

    /// What goes along with keys that expire.
    #[must_use]
    pub fn session_token(&self) -> Option<&Secret> {
        self.session_token.as_ref()
    }
}

/// Which conditional writes the operator says that the endpoint honours; `None` where nothing was said.
///
/// `Some(false)` makes the store refuse the condition with `Unsupported`; `Some(true)` makes it send the condition.
/// What nothing was said about is the store's to decide: AWS honours all four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conditions {
    /// `If-None-Match` and `If-Match` on PutObject.
    pub put: Option<bool>,
    /// The same on CompleteMultipartUpload.
    pub complete: Option<bool>,
    /// The same on the destination of CopyObject.
    pub copy: Option<bool>,
    /// `If-Match` on DeleteObject.
    pub delete: Option<bool>,
}

impl ObjectConfig {
    /// The protocol of the store.
    #[must_use]
    pub fn service(&self) -> Service {
        self.service
    }

    /// The name of the bucket. Without an endpoint it keeps AWS's rules of today; with one it may be of the older
    /// kind (upper case, underscores, up to 255 bytes).
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What every key begins with, without the `/` that joins it to the key: `logs/a` for `logs/a/KEY`.
    #[must_use]
    pub fn prefix(&self) -> Option<&Key> {
        self.prefix.as_ref()
    }

    /// The region that requests are signed for. `None`: that of the environment or the profile.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// The address of a store that is not AWS: http or https, no user, query or fragment; a path prefix ends
    /// without `/`. An http address is one that the operator allowed, or of this machine.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Url> {
        self.endpoint.as_ref()
    }

    /// Where the bucket's name goes. `"auto"` is decided already: in the host for AWS, in the path for an
    /// endpoint and for names with dots, which AWS's certificate does not cover.
    #[must_use]
    pub fn url_style(&self) -> UrlStyle {
        self.url_style
    }

    /// Where the keys that sign requests come from.
    #[must_use]
    pub fn credentials(&self) -> &ObjectCredentials {
        &self.credentials
    }

    /// The size of the parts of a multipart upload to begin with, in bytes: 5 MiB to 5 GiB.
    #[must_use]
    pub fn multipart_part_size(&self) -> u64 {
        self.multipart_part_size
    }

    /// How much memory the operations of one shard keep at once, in bytes; those beyond it wait, in the order in which
    /// they came.
    ///
    /// What counts, from the beginning of an operation to its end:
    ///
    /// - of a put and of a part, the payload, although it is the caller's: a shard that starts 10,000 puts of 8 MiB has
    ///   twenty under way, and the others have sent nothing and hold nothing beside what the caller gave them;
    /// - of a page of a listing, the longest that it can be: 64 KiB and 8 KiB per entry asked for, at most 8 MiB; of a
    ///   bulk delete the same, and the keys; of a completion, the list of parts;
    /// - of a get, [`BODY_WINDOW_BYTES`], until the last byte was handed out or the body was dropped. Small objects, which
    ///   come whole with the answer, count until `get` returns.
    ///
    /// Half of the limit, at most 96 MiB (192 bodies), and never so much that no part would fit into the rest, is for
    /// gets, and what remains is for everything else. Neither can use up the other's: bodies that somebody holds and
    /// does not read hold up other gets, and no write. An operation that needs more than its share has, such as a put of
    /// 1 GiB, waits until nobody has any of it and then has all of it, alone.
    ///
    /// Waiting is part of the operation's time: when half of [`Timeouts::operation`] has gone by it ends as
    /// [`Timeout`](crate::ErrorKind::Timeout), and nothing was sent. (Who was let in later might have no time left for an
    /// answer.) Dropping its future gives up the place.
    ///
    /// Not counted, because bounded otherwise: what a
    /// [`BufferedMultipartWriter`](crate::BufferedMultipartWriter) gathers (at most its concurrency and one, times the
    /// part size; its parts count while they are uploaded, and make the writer wait), what was handed out, answers of
    /// less than 64 KiB, and the buffers of connections (256 in use at most, 16 KiB each while nothing large comes over
    /// them).
    #[must_use]
    pub fn memory_limit(&self) -> u64 {
        self.memory_limit
    }

    /// Whom TLS trusts.
    #[must_use]
    pub fn tls_roots(&self) -> TlsRoots {
        self.tls_roots
    }

    /// A PEM file of certificates to trust; always there with [`TlsRoots::CaFile`].
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// The `User-Agent` header to send in place of the store's own.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }

    /// The proxy to go through: http, a host and a port, nothing else. No other source is asked for one.
    #[must_use]
    pub fn proxy(&self) -> Option<&Url> {
        self.proxy.as_ref()
    }

    /// How long each stage may take.
    #[must_use]
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// How often one operation is sent at most, the first time included: 1 to 100.
    #[must_use]
    pub fn attempts_max(&self) -> u32 {
        self.attempts_max
    }

    /// Whether the endpoint is said to list keys in byte order; `None` where nothing was said.
    #[must_use]
    pub fn ordered_list(&self) -> Option<bool> {
        self.ordered_list
    }

    /// What carries requests to the store.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether the bytes of a write are part of its signature.
    #[must_use]
    pub fn payload_signing(&self) -> PayloadSigning {
        self.payload_signing
    }

    /// Which checksums go with the bytes of objects.
    #[must_use]
    pub fn checksums(&self) -> Checksums {
        self.checksums
    }

    /// Which conditional writes the endpoint is said to honour.
    #[must_use]
    pub fn conditions(&self) -> Conditions {
        self.conditions
    }
}

/// One line for the log of a starting server, without secrets.
impl fmt::Display for ObjectConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object store s3://{}", self.bucket)?;
        if let Some(prefix) = &self.prefix {
            write!(f, "/{prefix}")?;
        }
        match &self.endpoint {
            Some(endpoint) => write!(f, " at {endpoint}")?,
            None => write!(f, " at AWS")?,
        }
        match self.url_style {
            UrlStyle::Path => write!(f, ", bucket in the path")?,
            UrlStyle::VirtualHost => write!(f, ", bucket in the host")?,
        }
        match &self.region {
            Some(region) => write!(f, ", region {region}")?,
            None => write!(f, ", region not configured")?,
        }
        match &self.credentials {
            ObjectCredentials::Chain => write!(f, ", keys from the credential chain")?,
            ObjectCredentials::Keys(_) => write!(f, ", keys from the configuration")?,
            ObjectCredentials::Profile(name) => write!(f, ", keys from profile {name:?}")?,
            ObjectCredentials::Anonymous => write!(f, ", unsigned")?,
        }
        if self.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http") {
            write!(f, ", not encrypted")?;
        } else {
            match self.tls_roots {
                TlsRoots::System => write!(f, ", trusting the system's certificates")?,
                TlsRoots::Webpki => write!(f, ", trusting Mozilla's certificates")?,
                TlsRoots::CaFile => write!(f, ", trusting only given certificates")?,
            }
            if let Some(file) = &self.ca_file {
                write!(f, " ({})", super::printable(file))?;
            }
        }
        if let Some(proxy) = &self.proxy {
            write!(f, ", through {proxy}")?;
        }
        Ok(())
    }
}
