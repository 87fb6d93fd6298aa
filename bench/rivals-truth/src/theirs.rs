//! What object_store says.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    RetryConfig, UpdateVersion,
};
use spike::server::ServerOptions;

use crate::scripts::{Ask, BUCKET, KEY, NEW, OTHER, Script};
use crate::{Promise, Said};

pub fn run(script: &Script, endpoint: &str) -> Said {
    let keys = ServerOptions::default();
    let retry = RetryConfig {
        backoff: BackoffConfig { init_backoff: Duration::from_millis(25), ..BackoffConfig::default() },
        max_retries: 3,
        retry_timeout: Duration::from_secs(10),
    };
    let store = AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region(keys.region)
        .with_access_key_id(keys.access_key_id)
        .with_secret_access_key(keys.secret_access_key)
        .with_client_options(ClientOptions::new().with_allow_http(true).with_timeout(Duration::from_secs(5)))
        .with_retry(retry)
        .build()
        .expect("a good configuration");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let asked = script.ask;
    match runtime.block_on(async { tokio::spawn(async move { ask(asked, &store).await }).await }) {
        Err(_panicked) => Said { words: "panic".to_owned(), promise: Promise::None },
        Ok(Ok(())) => Said { words: "`Ok`".to_owned(), promise: Promise::Done },
        Ok(Err(error)) => {
            let (words, promise) = match &error {
                Error::NotFound { .. } => ("`NotFound`", Promise::NotDone),
                Error::AlreadyExists { .. } => ("`AlreadyExists`", Promise::Exists),
                Error::Precondition { .. } => ("`Precondition`", Promise::NotDone),
                Error::NotModified { .. } => ("`NotModified`", Promise::NotDone),
                Error::PermissionDenied { .. } => ("`PermissionDenied`", Promise::NotDone),
                Error::Unauthenticated { .. } => ("`Unauthenticated`", Promise::NotDone),
                // It says of itself that it is a fallback: nothing follows from it.
                _ => ("`Generic`", Promise::Unknown),
            };
            Said { words: words.to_owned(), promise }
        }
    }
}

async fn ask(ask: Ask, store: &AmazonS3) -> object_store::Result<()> {
    let (key, other) = (Path::from(KEY), Path::from(OTHER));
    let payload = || PutPayload::from_static(NEW.as_bytes());
    match ask {
        Ask::Create => {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            store.put_opts(&key, payload(), options).await.map(drop)
        }
        Ask::Match => {
            let meta = store.head(&key).await?;
            let version = UpdateVersion { e_tag: meta.e_tag, version: meta.version };
            let options = PutOptions { mode: PutMode::Update(version), ..PutOptions::default() };
            store.put_opts(&key, payload(), options).await.map(drop)
        }
        Ask::Multipart => {
            let mut upload = store.put_multipart(&key).await?;
            upload.put_part(payload()).await?;
            upload.complete().await.map(drop)
        }
        Ask::Copy => store.copy(&other, &key).await,
        Ask::Get => store.get(&key).await?.bytes().await.map(drop),
        Ask::DeleteBoth => {
            let keys = stream::iter([Ok(key), Ok(other)]).boxed();
            store.delete_stream(keys).try_collect::<Vec<_>>().await.map(drop)
        }
    }
}
