//! The way from a role to an object, through an STS and an S3 that are not ours: SeaweedFS checks the signature of
//! every request, that of AssumeRole too, and believes a session token only if it is its own and has not expired.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a surprise is a failed test")]
#![expect(clippy::disallowed_methods, reason = "sessions expire by the wall clock")]

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use credentials::{
    AssumeRole, Credentials, CredentialsCache, CredentialsChain, CredentialsError, Host, Inline,
    MemoryEnvironment, MemoryFiles, ProviderError, ProviderErrorKind, Retry, Secret, SourceName,
};
use object_storage::{ErrorKind, Key, ObjectStorage, ObjectStorageExt, StorageConfig};
use s3_backend::S3Storage;
use tests::oidc::Issuer;
use tests::seaweedfs::{Options, SeaweedFs, Sts};

/// How long sessions last for which nobody asks for another length.
const SESSION: Duration = Duration::from_secs(6);
const MARGIN: Duration = Duration::from_secs(2);

struct Stage {
    server: SeaweedFs,
    issuer: Issuer,
}

static STAGE: LazyLock<Option<Stage>> = LazyLock::new(|| {
    let issuer = Issuer::start();
    let server = SeaweedFs::start(&Options::default().with_sts(Sts::new(SESSION).with_issuer(issuer.url())))?;
    server.create_bucket("sessions");
    Some(Stage { server, issuer })
});

/// Profiles whose roles are assumed with the keys that SeaweedFS knows; all but `brief` for a quarter of an hour.
fn config(secret: &str) -> String {
    let role = |name: &str, arn: &str, more: &str| {
        format!(
            "[profile {name}]\nrole_arn = {arn}\nsource_profile = base\nrole_session_name = tests\n{more}\n"
        )
    };
    let long = "duration_seconds = 900";
    [
        format!(
            "[profile base]\naws_access_key_id = {}\naws_secret_access_key = {secret}\n",
            SeaweedFs::ACCESS_KEY_ID
        ),
        role("writer", Sts::WRITER, long),
        role("reader", Sts::READER, long),
        role("closed", Sts::CLOSED, long),
        role("absent", "arn:aws:iam::000000000000:role/absent", long),
        role("brief", Sts::WRITER, ""),
    ]
    .concat()
}

impl Stage {
    fn host(&self, variables: &[(&str, &str)], secret: &str) -> Host {
        let endpoint = self.server.endpoint();
        let ours = [("HOME", "/h"), ("AWS_REGION", SeaweedFs::REGION), ("AWS_ENDPOINT_URL_STS", &endpoint)];
        let environment: MemoryEnvironment = ours.into_iter().chain(variables.iter().copied()).collect();
        let host = s3_backend::system_host().to_builder().environment(environment);
        host.files([("/h/.aws/config", config(secret))].into_iter().collect::<MemoryFiles>()).build()
    }

    fn profile(&self, name: &str) -> Host {
        self.host(&[("AWS_PROFILE", name)], SeaweedFs::SECRET_ACCESS_KEY)
    }

    /// A host whose token is in this file of the machine.
    fn token_file(&self, path: &Path) -> Host {
        let path = path.to_str().unwrap();
        let variables = [("AWS_WEB_IDENTITY_TOKEN_FILE", path), ("AWS_ROLE_ARN", Sts::WEB)];
        let host = self.host(&variables, "");
        host.to_builder().files(credentials::SystemFiles).build()
    }

    async fn storage(&self, cache: Arc<CredentialsCache>, host: Host) -> Rc<dyn ObjectStorage> {
        let config = StorageConfig::object("sessions").endpoint(self.server.endpoint());
        let config = config.region(SeaweedFs::REGION).build().unwrap();
        let storage = S3Storage::open_with_credentials(config.as_object().unwrap(), cache, host);
        Rc::new(storage.await.unwrap())
    }

    /// A store that signs with these very keys.
    async fn with_keys(&self, id: &str, secret: &str, token: Option<&str>) -> Rc<dyn ObjectStorage> {
        let keys = Credentials::builder(id, Secret::new(secret)).session_token(token.map(Secret::new));
        let keys = Inline::Keys(keys.build(SourceName::Inline).unwrap());
        let chain = CredentialsChain::builder().inline(keys).disable_environment().build();
        self.storage(CredentialsCache::new(chain), s3_backend::system_host()).await
    }
}

fn chain() -> CredentialsChain {
    CredentialsChain::builder().build()
}

async fn keys(host: &Host) -> Credentials {
    chain().resolve(host).await.unwrap().credentials().unwrap().clone()
}

async fn failure(host: &Host) -> ProviderError {
    match chain().resolve(host).await {
        Err(CredentialsError::Provider(error, _)) => *error,
        other => panic!("{other:?}"),
    }
}

fn code(error: &ProviderError) -> &str {
    let ProviderErrorKind::Service { code, .. } = error.kind() else { panic!("{error:?}") };
    code
}

fn key(name: &str) -> Key {
    Key::parse(name).unwrap()
}

fn exposed(keys: &Credentials) -> (&str, &str, &str) {
    let token = keys.session_token().unwrap().expose_secret();
    (keys.access_key_id(), keys.secret_access_key().expose_secret(), token)
}

/// Writes, reads and lists below this prefix.
async fn assert_it_works(storage: &Rc<dyn ObjectStorage>, prefix: &str) {
    let name = format!("{prefix}/hello");
    storage.put_bytes(&key(&name), "world").await.unwrap();
    assert_eq!(storage.get_bytes(&key(&name)).await.unwrap(), "world");
    let listed = storage.list_all(prefix).await.unwrap();
    let listed: Vec<String> = listed.iter().map(|object| object.key.to_string()).collect();
    assert_eq!(listed, [name]);
}

#[compio::test]
async fn a_role_assumed_with_keys_writes_reads_and_lists() {
    let Some(stage) = &*STAGE else { return };
    let host = stage.profile("writer");
    let cache = CredentialsCache::new(chain());
    assert_it_works(&stage.storage(cache.clone(), host.clone()).await, "by-keys").await;

    let identity = cache.cached(&host).unwrap();
    let keys = identity.credentials().unwrap();
    assert_eq!((keys.source(), keys.account_id()), (SourceName::Profile, Some("000000000000")));
    let (id, secret, token) = exposed(keys);
    assert_ne!(id, SeaweedFs::ACCESS_KEY_ID, "the session has keys of its own");
    let explain = cache.explain(&host).await;
    let text = format!("{explain}\n{explain:?}\n{}", serde_json::to_string(&explain).unwrap());
    assert!(text.contains(Sts::WRITER) && text.contains(&stage.server.endpoint()), "{text}");
    for hidden in [id, secret, token, SeaweedFs::ACCESS_KEY_ID, SeaweedFs::SECRET_ACCESS_KEY] {
        assert!(!text.contains(hidden), "{text}");
    }
}

/// Nothing of it comes from the environment or a file.
#[compio::test]
async fn a_program_brings_keys_role_and_sts_itself() {
    let Some(stage) = &*STAGE else { return };
    let keys = Credentials::builder(SeaweedFs::ACCESS_KEY_ID, Secret::new(SeaweedFs::SECRET_ACCESS_KEY));
    let chain = CredentialsChain::builder()
        .inline(Inline::Keys(keys.build(SourceName::Inline).unwrap()))
        .assume_role(AssumeRole::new(Sts::WRITER).duration(Duration::from_secs(900)))
        .sts_endpoint(stage.server.endpoint())
        .region(SeaweedFs::REGION.to_owned())
        .disable_environment()
        .build();
    let host = s3_backend::system_host();
    let cache = CredentialsCache::new(chain);
    assert_it_works(&stage.storage(cache.clone(), host.clone()).await, "by-program").await;
    let identity = cache.cached(&host).unwrap();
    assert!(identity.credentials().unwrap().via().unwrap().contains(Sts::WRITER));
}

#[compio::test]
async fn a_session_may_do_what_its_role_may_and_no_more() {
    let Some(stage) = &*STAGE else { return };
    let writer = stage.storage(CredentialsCache::new(chain()), stage.profile("writer")).await;
    let reader = stage.storage(CredentialsCache::new(chain()), stage.profile("reader")).await;
    let key = key("roles/a");
    writer.put_bytes(&key, "1").await.unwrap();
    assert_eq!(reader.get_bytes(&key).await.unwrap(), "1");
    let error = reader.put_bytes(&key, "2").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(reader.get_bytes(&key).await.unwrap(), "1");
}

#[compio::test]
async fn a_token_is_exchanged_for_keys_that_write_read_and_list() {
    let Some(stage) = &*STAGE else { return };
    let token = tempfile::NamedTempFile::new().unwrap();
    let write = |text: String| std::fs::write(token.path(), format!("{text}\n")).unwrap();
    let host = stage.token_file(token.path());
    let hour = Duration::from_secs(3600);

    // Nobody's, damaged, and for somebody else: refused, and never shown.
    let good = stage.issuer.token(Sts::AUDIENCE, hour);
    let mut damaged = good.clone();
    damaged.truncate(good.len() - 6);
    damaged += "AAAAAA";
    for bad in [Issuer::start().token(Sts::AUDIENCE, hour), damaged, stage.issuer.token("somebody", hour)] {
        write(bad.clone());
        let error = failure(&host).await;
        assert_eq!(error.provider(), SourceName::WebIdentity);
        assert!(!code(&error).starts_with("HTTP"), "{error}");
        let text = format!("{error} {error:?}");
        assert!(!bad.split('.').any(|part| text.contains(part)), "{text}");
    }
    // One that has expired may be replaced at any moment.
    write(stage.issuer.token(Sts::AUDIENCE, Duration::from_secs(1)));
    let error = failure(&host).await;
    assert_eq!((code(&error), error.retry()), ("ExpiredTokenException", Retry::Recoverable));
    write(good);
    let keys = keys(&host).await;
    assert_eq!(keys.source(), SourceName::WebIdentity);
    assert_it_works(&stage.storage(CredentialsCache::new(chain()), host).await, "by-token").await;
}

#[compio::test]
async fn an_sts_that_refuses_says_why_and_is_not_asked_twice() {
    let Some(stage) = &*STAGE else { return };
    let wrong = stage.host(&[("AWS_PROFILE", "writer")], "MARKED-not-the-secret");
    let began = Instant::now();
    let error = failure(&wrong).await;
    // S3's document, not STS's: the code is read all the same.
    assert_eq!((code(&error), error.retry()), ("SignatureDoesNotMatch", Retry::Recoverable));
    assert!(!format!("{error} {error:?}").contains("MARKED"), "{error:?}");
    for profile in ["closed", "absent"] {
        let error = failure(&stage.profile(profile)).await;
        assert_eq!((code(&error), error.retry()), ("AccessDenied", Retry::NonRecoverable));
        assert!(error.hint().unwrap().contains("trust policy"), "{error:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "none of these passes by itself");
}

#[compio::test]
async fn a_session_token_that_is_damaged_foreign_or_missing_opens_nothing() {
    let Some(stage) = &*STAGE else { return };
    let keys_of = keys(&stage.profile("writer")).await;
    let (id, secret, token) = exposed(&keys_of);
    let other = keys(&stage.profile("writer")).await;
    let good = stage.with_keys(id, secret, Some(token)).await;
    good.put_bytes(&key("tokens/a"), "1").await.unwrap();

    let signature = token.rfind('.').unwrap() + 1;
    let flipped = if token[signature..].starts_with('A') { "B" } else { "A" };
    let damaged = format!("{}{flipped}{}", &token[..signature], &token[signature + 1..]);
    let cut = &token[..token.len() / 2];
    for (id, secret, token) in [
        (id, secret, Some(damaged.as_str())),
        (id, secret, Some(cut)),
        (id, secret, Some(exposed(&other).2)),
        (id, secret, None),
        (id, "not-the-secret", Some(token)),
    ] {
        let storage = stage.with_keys(id, secret, token).await;
        for error in [
            storage.get_bytes(&key("tokens/a")).await.unwrap_err(),
            storage.put_bytes(&key("tokens/a"), "2").await.unwrap_err(),
        ] {
            let kind = error.kind();
            let refused = matches!(kind, ErrorKind::Unauthenticated | ErrorKind::PermissionDenied);
            assert!(refused, "{error:?}");
            assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
        }
    }
    assert_eq!(good.get_bytes(&key("tokens/a")).await.unwrap(), "1");
}

#[compio::test]
async fn sessions_of_six_seconds_are_replaced_while_writes_go_on() {
    let Some(stage) = &*STAGE else { return };
    let host = stage.profile("brief");
    let cache = CredentialsCache::new(chain());
    let storage = stage.storage(cache.clone(), host.clone()).await;
    let first = keys(&host).await;
    assert!(first.expires_at().unwrap() <= SystemTime::now() + SESSION + MARGIN);
    let began = Instant::now();
    let mut sessions = BTreeSet::new();
    let mut writes = 0;
    while began.elapsed() < 2 * SESSION + MARGIN {
        storage.put_bytes(&key(&format!("brief/{writes}")), "x").await.unwrap();
        writes += 1;
        let identity = cache.cached(&host).unwrap();
        sessions.insert(identity.credentials().unwrap().access_key_id().to_owned());
        compio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(sessions.len() >= 3, "{writes} writes with {} sessions", sessions.len());
    assert!(sessions.len() <= 20, "{} sessions in {:?}", sessions.len(), began.elapsed());
    // The first one is over, for everybody.
    let (id, secret, token) = exposed(&first);
    let error = stage.with_keys(id, secret, Some(token)).await.get_bytes(&key("brief/0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
}
