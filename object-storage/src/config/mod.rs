//! [`StorageConfig`]: which store to open, from a TOML file, a URL or a builder, all giving the same value.
//!
//! Every door leads through the builders, which check everything that needs neither disk nor network. What they let
//! pass is a value that any thread may hold; [`StorageFactory`](crate::StorageFactory) opens stores from it.
//!
//! # The file
//!
//! Everything that `[system.storage.object]` may hold, beside the two options of `[system.storage.fs]`. Only what
//! has no default need be there: `kind`, and `root` or `bucket`.
//!
//! ```
//! # use object_storage::config::StorageConfig;
//! # let text = r#"
//! [system.storage]
//! kind = "object"                       # or "fs", or "memory"
//!
//! [system.storage.fs]                   # may stay here while another kind is chosen
//! root = "/var/lib/my-server/objects"
//! durability = "full"                   # or "none": a power failure may lose acknowledged objects
//!
//! [system.storage.object]
//! service = "s3"
//! bucket = "my-bucket"
//! prefix = "logs/a"                     # keys become logs/a/KEY
//! region = "eu-central-1"               # left out: that of the environment or the profile
//!
//! endpoint = "https://s3.example.com:9000/s3"   # left out: AWS
//! url_style = "auto"                    # or "path", "virtual-host"
//! allow_http = false                    # true: the endpoint may be http:// (this machine always may)
//!
//! ## Keys: both, or `profile`, or `anonymous = true`, or nothing for the credential chain.
//! access_key_id = "AKIDEXAMPLE"
//! secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
//! session_token = "IQoJb3JpZ2luEXAMPLE"
//! ## profile = "storage"
//! ## anonymous = true
//!
//! multipart_part_size = "8 MiB"         # or bytes: 8388608
//! memory_limit = "256 MiB"              # of each shard: uploads, pages and bodies beyond it wait
//!
//! tls_roots = "ca-file"                 # or "system", "webpki"; with ca_file these two add it to theirs
//! ca_file = "/etc/my-server/store-ca.pem"
//! user_agent = "my-server/1.2"
//! proxy = "http://proxy.example.com:3128"
//!
//! connect_timeout = "3100ms"            # DNS, TCP and TLS
//! send_timeout = "5s"                   # and one second per MiB of body on top
//! head_timeout = "10s"                  # until the response begins; later attempts wait up to 4 times as long
//! body_timeout = "10s"                  # between two pieces of a response
//! complete_timeout = "2m"               # silence of a store that joins parts or copies
//! operation_timeout = "1m"              # all attempts together
//! attempts_max = 8
//!
//! ## What the endpoint honours. What it does not is refused, never ignored.
//! conditional_put = true
//! conditional_complete = true
//! conditional_copy = true
//! conditional_delete = true
//! ordered_list = true
//!
//! transport = "direct"                  # or "cyper"
//! payload_signing = "auto"              # sign the bytes over plain http; or "always", "never"
//! checksums = "when-supported"          # or "when-required", "off"
//! # "#;
//! let from_file = StorageConfig::from_toml(text)?;
//! # assert!(from_file.as_object().is_some());
//! # Ok::<(), object_storage::Error>(())
//! ```
//!
//! # The URL
//!
//! `s3://BUCKET/PREFIX?OPTION=VALUE&...` with the options above, except the keys themselves: URLs get printed.
//! `file:///DIRECTORY?durability=none`. `memory:///`. What is special in a URL is written with `%`: a blank is `%20`,
//! and a `+` is a `+`.
//!
//! ```
//! # use object_storage::config::StorageConfig;
//! let from_url = StorageConfig::from_url("s3://my-bucket/logs/a?region=eu-central-1&multipart_part_size=16MiB")?;
//!
//! let built = StorageConfig::object("my-bucket")
//!     .prefix("logs/a")
//!     .region("eu-central-1")
//!     .multipart_part_size(16 * 1024 * 1024)
//!     .build()?;
//! assert_eq!(from_url, built);
//! # Ok::<(), object_storage::Error>(())
//! ```

mod builder;
mod checks;
mod document;
mod fields;
mod object;
mod problem;
mod raw;
mod secret;
mod timeouts;
mod units;
mod url;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

pub use builder::{FsConfigBuilder, ObjectConfigBuilder};
pub use object::{
    ATTEMPTS_MAX_DEFAULT, ATTEMPTS_MAX_LIMIT, BODY_WINDOW_BYTES, Checksums, Conditions, MEMORY_LIMIT_DEFAULT,
    MULTIPART_PART_SIZE_DEFAULT, ObjectConfig, ObjectCredentials, PayloadSigning, Service, StaticKeys,
    TlsRoots, Transport, UrlStyle,
};
pub use secret::Secret;
pub use timeouts::{
    BODY_TIMEOUT_DEFAULT, COMPLETE_SILENCES_MAX, COMPLETE_TIMEOUT_DEFAULT, CONNECT_TIMEOUT_DEFAULT,
    HEAD_TIMEOUT_DEFAULT, HEAD_TIMEOUT_GROWTH_MAX, OPERATION_TIMEOUT_DEFAULT, SEND_BYTES_PER_SECOND_MIN,
    SEND_TIMEOUT_DEFAULT, TIMEOUT_LIMIT, Timeouts,
};

use crate::error::{Error, Result};

/// Which store to open, and how. The [module](self) shows the file and the URL.
///
/// A value that exists has been checked. It may cross threads, its `Debug` shows no secret, and its `Display` is one
/// line for the log of a starting server. Two values that describe the same store by the same settings are equal,
/// whichever door they came through; defaults that were written out equal those that were left out.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StorageConfig {
    /// Files in a directory.
    Fs(FsConfig),
    /// A bucket of S3, or of what speaks as it does.
    Object(Box<ObjectConfig>),
    /// The memory of this process, for tests.
    Memory,
}

/// The settings of the fs store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsConfig {
    root: PathBuf,
    durability: Durability,
}

/// What an acknowledged write to the fs store survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the process, of the machine, and a power failure: file and directories are synced before the
    /// write is acknowledged, as far as the disk honours that. In files: `"full"`.
    #[default]
    Full,
    /// A crash of the process only. After a crash of the machine acknowledged objects may be gone, back in an older
    /// version, or (on some file systems) damaged, which reads then report as `Corrupt`. For scratch data and tests.
    /// In files: `"none"`.
    None,
}

impl FsConfig {
    /// The directory of the store. A relative one is relative to the working directory when a store is opened.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What an acknowledged write survives.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }
}

impl StorageConfig {
    /// Reads `[system.storage]` of a whole TOML document; everything else in it is somebody else's.
    ///
    /// The tables of kinds that were not chosen may stand in the file; they must be well-formed too.
    ///
    /// # Errors
    ///
    /// `Config`: no TOML, no such table, an unknown key (the known ones are listed), or a value that cannot work.
    /// The message names the key, says what is wrong and what to write instead. It shows no secret.
    pub fn from_toml(document: &str) -> Result<StorageConfig> {
        document::from_toml(document)
    }

    /// Reads `s3://bucket/prefix?option=value`, `file:///directory` or `memory:///`.
    ///
    /// # Errors
    ///
    /// `Config`: another form, an unknown or repeated option, keys (which do not belong into a URL), or a value that
    /// cannot work. The message never shows the URL.
    pub fn from_url(url: &str) -> Result<StorageConfig> {
        url::from_url(url)
    }

    /// Files in a directory, durable unless told otherwise.
    pub fn fs(root: impl Into<PathBuf>) -> FsConfigBuilder {
        FsConfigBuilder { root: Some(root.into()), durability: None }
    }

    /// A bucket of an object store: AWS, unless an endpoint is given.
    pub fn object(bucket: impl Into<String>) -> ObjectConfigBuilder {
        ObjectConfigBuilder { bucket: Some(bucket.into()), ..ObjectConfigBuilder::default() }
    }

    /// The memory of this process.
    #[must_use]
    pub fn memory() -> StorageConfig {
        StorageConfig::Memory
    }

    /// The settings of an object store, if it is one.
    #[must_use]
    pub fn as_object(&self) -> Option<&ObjectConfig> {
        match self {
            StorageConfig::Object(object) => Some(object),
            StorageConfig::Fs(_) | StorageConfig::Memory => None,
        }
    }
}

/// As [`StorageConfig::from_url`].
impl std::str::FromStr for StorageConfig {
    type Err = Error;

    fn from_str(url: &str) -> Result<StorageConfig> {
        StorageConfig::from_url(url)
    }
}

/// One line for the log of a starting server, without secrets.
impl fmt::Display for StorageConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageConfig::Fs(FsConfig { root, durability: Durability::Full }) => {
                write!(f, "files in {}, durable", printable(root))
            }
            StorageConfig::Fs(FsConfig { root, durability: Durability::None }) => {
                write!(
                    f,
                    "files in {}, NOT durable: a power failure may lose acknowledged objects",
                    printable(root)
                )
            }
            StorageConfig::Object(object) => write!(f, "{object}"),
            StorageConfig::Memory => write!(f, "memory: nothing outlives the process"),
        }
    }
}

/// A path in one line, whatever it holds.
fn printable(path: &Path) -> String {
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    path.to_string_lossy().chars().map(printable).collect()
}
