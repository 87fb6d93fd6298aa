//! Keys that the store calls expired, in the middle of everything: the caller never hears of it.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a surprise is a failed test")]

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use credentials::{
    Credentials, CredentialsCache, CredentialsChain, Host, ProvideCredentials, ProviderError, Resolved,
    Secret, SourceName,
};
use futures_util::future::LocalBoxFuture;
use object_storage::{ErrorKind, Key, ObjectStorage, ObjectStorageExt, StorageConfig};
use s3_backend::S3Storage;
use spike::server::{Server, ServerOptions};

/// New keys each time, which the server accepts unless told otherwise.
struct Issuer {
    server: Arc<Server>,
    asked: Arc<AtomicUsize>,
    known: bool,
}

impl ProvideCredentials for Issuer {
    fn name(&self) -> SourceName {
        SourceName::Custom("issuer")
    }

    fn resolve<'a>(&'a self, _: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move {
            let id = format!("ASIA{}", self.asked.fetch_add(1, Ordering::SeqCst) + 1);
            if self.known {
                self.server.issue(&id, "secret", "token");
            }
            let keys = Credentials::builder(id, Secret::new("secret"));
            Ok(keys.session_token(Secret::new("token")).build(self.name()).unwrap().into())
        })
    }
}

struct Stage {
    server: Arc<Server>,
    asked: Arc<AtomicUsize>,
    storage: Rc<dyn ObjectStorage>,
}

async fn stage(known: bool) -> Stage {
    let server = Arc::new(Server::start(ServerOptions::default()).unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let issuer = Issuer { server: server.clone(), asked: asked.clone(), known };
    let chain = CredentialsChain::builder().provider(issuer).disable_environment().build();
    let config = StorageConfig::object("bucket")
        .transport(tests::transport())
        .endpoint(server.endpoint())
        .region("us-east-1");
    let config = config.conditional_delete(true).build().unwrap();
    let storage = S3Storage::open_with_credentials(
        config.as_object().unwrap(),
        CredentialsCache::new(chain),
        s3_backend::system_host(),
    );
    let storage = Rc::new(storage.await.unwrap());
    Stage { server, asked, storage }
}

impl Stage {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// The keys in use have expired.
    fn expire(&self) {
        self.server.expire(&format!("ASIA{}", self.asked()));
        self.server.clear_requests();
    }

    fn statuses(&self) -> Vec<u16> {
        self.server.requests().iter().filter_map(|request| request.status).collect()
    }
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

#[compio::test]
async fn a_conditional_write_is_sent_again_with_fresh_keys() {
    let stage = stage(true).await;
    stage.storage.put_if_absent(&key("a"), "1").await.unwrap();
    stage.expire();
    stage.storage.put_if_absent(&key("b"), "2").await.unwrap();
    assert_eq!((stage.statuses(), stage.asked()), (vec![400, 200], 2));
    // And a refusal by the second is believed: the first was not carried out.
    stage.expire();
    let error = stage.storage.put_if_absent(&key("b"), "3").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    // (And looked into: somebody between us and the store may have sent it twice.)
    assert_eq!((stage.statuses(), stage.asked()), (vec![400, 412, 200], 3));
}

#[compio::test]
async fn a_question_without_a_body_in_its_answer_is_asked_again_too() {
    let stage = stage(true).await;
    stage.storage.put_if_absent(&key("a"), "1").await.unwrap();
    stage.expire();
    assert_eq!(stage.storage.head_meta(&key("a")).await.unwrap().size, 1);
    assert_eq!((stage.statuses(), stage.asked()), (vec![400, 200], 2));
}

#[compio::test]
async fn keys_of_a_session_that_the_store_never_heard_of_are_replaced_once_and_not_kept() {
    let stage = stage(false).await;
    let error = stage.storage.get_bytes(&key("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    // SeaweedFS says of an expired session that it never knew it.
    assert_eq!((stage.statuses(), stage.asked()), (vec![403, 403], 2));
    // The next operation asks the source again.
    stage.storage.get_bytes(&key("a")).await.unwrap_err();
    assert_eq!(stage.asked(), 4);
}
