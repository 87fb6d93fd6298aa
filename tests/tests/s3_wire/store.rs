//! A store that speaks to a scripted server, with marked secrets, and the look at every error for those marks.

use std::error::Error as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use credentials::Host;
use object_storage::config::ObjectConfigBuilder;
use object_storage::{Error, ErrorKind, StorageConfig};
use s3_backend::S3Storage;
use tests::scripted::Server;

pub(crate) const SECRET: &str = "CANARYSECRETwJalrXUtnFEMIK7MDENGbPxRfiCY";
pub(crate) const TOKEN: &str =
    "CANARYTOKENIQoJb3JpZ2luX2VjEJr9876543210abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Attempts of every operation unless a test says otherwise.
pub(crate) const ATTEMPTS: u32 = 3;

/// Runs a test on a runtime of its own.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    compio::runtime::Runtime::new().expect("a runtime").block_on(test)
}

pub(crate) fn config(address: SocketAddr) -> ObjectConfigBuilder {
    StorageConfig::object("bucket")
        .endpoint(format!("http://{address}"))
        .region("eu-test-1")
        .access_key_id("AKIDEXAMPLE")
        .secret_access_key(SECRET)
        .session_token(TOKEN)
        .conditional_copy(true)
        .conditional_delete(true)
        .attempts_max(ATTEMPTS)
        .transport(tests::transport())
}

pub(crate) async fn open(builder: ObjectConfigBuilder) -> S3Storage {
    let config = builder.build().expect("a good configuration");
    let config = config.as_object().expect("an object store").clone();
    S3Storage::open(&config, Host::builder().build()).await.expect("opened")
}

pub(crate) async fn store(server: &Server) -> S3Storage {
    open(config(server.address())).await
}

/// The kind of an error, after looking for secrets in every way to print it.
pub(crate) fn kind_of(error: &Error, server: Option<&Server>) -> ErrorKind {
    let mut printed = format!("{error}\n{error:?}\n{error:#?}\n");
    let mut source = error.source();
    while let Some(cause) = source {
        printed.push_str(&format!("{cause}\n{cause:?}\n{cause:#?}\n"));
        source = cause.source();
    }
    let mut secrets = vec![SECRET.to_owned(), TOKEN.to_owned(), "X-Amz-".to_owned(), "AWS4-HMAC".to_owned()];
    if let Some(server) = server {
        secrets.extend(server.seen().iter().filter_map(tests::scripted::Seen::signature));
    }
    for secret in secrets {
        assert!(!printed.contains(&secret), "{secret} in {printed}");
    }
    error.kind()
}

/// What became of an operation, as one word: `Ok` or the kind.
pub(crate) fn outcome(result: &Result<(), Error>, server: &Server) -> Option<ErrorKind> {
    result.as_ref().err().map(|error| kind_of(error, Some(server)))
}

#[expect(clippy::disallowed_methods, reason = "tests measure real time, against generous bounds")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Small enough for a quick test, large enough for a busy machine.
pub(crate) const SHORT: Duration = Duration::from_millis(400);

/// What an operation with one wait of [`SHORT`] may take.
pub(crate) const SOON: Duration = Duration::from_secs(8);
