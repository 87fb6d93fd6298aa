//! Where AWS signing keys come from, as decisions without I/O of their own.
//!
//! Which source wins, the first that applies:
//!
//! 1. **inline**: keys in the program's configuration, or `anonymous`. A profile named there is used and
//!    nothing else is asked.
//! 2. providers that the program brings along
//! 3. **env**: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`
//! 4. **profile**: the one named by `AWS_PROFILE`, else `default`, of `~/.aws/config` and
//!    `~/.aws/credentials`: static keys, a role through STS (`role_arn` with `source_profile`,
//!    `credential_source` or `web_identity_token_file`, in chains of any length), or a program
//!    (`credential_process`)
//! 5. **container**: ECS and EKS Pod Identity, by `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `_FULL_URI`
//! 6. **web-identity**: `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`, exchanged at STS
//! 7. **imds**: the role of the EC2 instance, by the second version of its metadata service
//!
//! With the keys that are found a program may take on a role, [`CredentialsChainBuilder::assume_role`].
//!
//! A source that is configured but fails ends the chain with an error; only "not configured" goes on.
//! So a typing mistake never ends with somebody else's identity. [`CredentialsChain::explain`] tells
//! what each source said, and the error for "no credentials" is that text.
//!
//! Keys that expire are refreshed ahead of time, once per process for all shards, and served stale while their source is
//! out: [`CredentialsCache`]. SSO profiles are an error that names the way around:
//! `credential_process = aws configure export-credentials --profile NAME --format process`.
//!
//! # Where it is stricter than an SDK
//!
//! The SDKs differ among each other; where one of them guesses, this chain says what is wrong:
//!
//! - Half a pair of keys in the environment, a profile that is named and absent, and
//!   `AWS_WEB_IDENTITY_TOKEN_FILE` without `AWS_ROLE_ARN` are errors, not passed over.
//! - `mfa_serial`, `login_session` and the SSO keys of a profile are errors, not ignored.
//! - An instance metadata service that was named (`AWS_EC2_METADATA_SERVICE_ENDPOINT`) must be there. Without that,
//!   nobody at the well-known address means that this is no EC2 instance. The first version of the service is never
//!   asked, so `ec2_metadata_v1_disabled` has nothing to switch off.
//! - Web identity tokens travel in a body, never in a URL, and STS is asked over https unless it is on this machine.
//! - `credential_process` is run without a shell, and not if everybody can write to the file that names it.
//! - Variables that only one SDK knows (`AWS_SECRET_KEY`, `AWS_ACCESS_KEY`) are not read; explain mentions them.
//!
//! Nothing is logged. What happened is asked for: [`CredentialsCache::explain`] tells what is used and cached, and
//! warns when a refresh changed the identity.
//!
//! ```
//! use credentials::{CredentialsCache, CredentialsChain, Host, MemoryEnvironment};
//!
//! # async fn example() -> Result<(), credentials::CredentialsError> {
//! // The plan and its cache are shared by all threads; each thread has its own host.
//! let cache = CredentialsCache::new(CredentialsChain::builder().build());
//! let variables: MemoryEnvironment =
//!     [("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")]
//!         .into_iter()
//!         .collect();
//! let host = Host::builder().environment(variables).build(); // or Host::system()
//!
//! let identity = cache.get(&host).await?;
//! let keys = identity.credentials().expect("the environment has keys");
//! assert_eq!(keys.access_key_id(), "AKIAIOSFODNN7EXAMPLE");
//! println!("{}", cache.explain(&host).await);
//! # Ok(())
//! # }
//! # futures_util::FutureExt::now_or_never(example()).unwrap().unwrap();
//! ```

mod assume_role;
mod cache;
mod chain;
mod credentials;
mod endpoint;
mod explain;
mod host;
pub mod profile;
mod provider;
mod providers;
mod redact;
mod region;
mod secret;
pub mod sigv4;
mod sts;
mod token_file;

pub use assume_role::AssumeRole;
pub use cache::{CacheOptions, CredentialsCache, Lease};
pub use chain::{CredentialsChain, CredentialsChainBuilder, CredentialsError};
pub use credentials::{
    Credentials, CredentialsBuilder, CredentialsPart, CredentialsProblem, Identity, InvalidCredentials,
};
pub use endpoint::{Endpoint, Service};
pub use explain::{CachedReport, Explain, RegionReport, SourceReport, Status, UsedReport};
pub use host::{
    Clock, Command, Dns, Environment, FileContent, Files, FixedClock, FixedRandom, Host, HostBuilder,
    HttpError, HttpErrorKind, HttpPhase, HttpSend, MemoryEnvironment, MemoryFiles, ProcessError,
    ProcessErrorKind, ProcessOutput, Processes, ProxyUse, Random, SendOptions, Spawn, SystemClock,
    SystemEnvironment, SystemFiles, SystemRandom,
};
pub use provider::{
    ProvideCredentials, ProviderError, ProviderErrorKind, Resolved, Retry, SkipReason, SourceName,
};
pub use providers::Inline;
pub use redact::{mask_access_key_id, redact_url};
pub use region::{Region, RegionError, RegionOrigin};
pub use secret::Secret;
