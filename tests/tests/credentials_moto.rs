//! The sources that ask a service, against one that is not ours: moto's STS and instance metadata.
//!
//! What moto does not do: it takes every token and every ARN, and checks signatures only where it was told to. What it
//! says differently: `Errors` stands between `ErrorResponse` and `Error`.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a surprise is a failed test")]
#![expect(clippy::disallowed_methods, reason = "the token is a file, and expiry a matter of the wall clock")]

use std::time::{Duration, Instant, SystemTime};

use credentials::{
    Credentials, CredentialsChain, CredentialsError, Host, MemoryEnvironment, MemoryFiles, ProviderError,
    ProviderErrorKind, Retry, Secret, SourceName,
};
use tests::moto::Moto;

const SECRET: &str = "MARKED-secret-access-key";
const JWT: &str = "eyJNQVJLRUQ.eyJNQVJLRUQ.MARKED-signature";

const CONFIG: &str = "
[profile one]
role_arn = arn:aws:iam::123456789012:role/one
source_profile = base
[profile two]
role_arn = arn:aws:iam::210987654321:role/two
source_profile = one
";

fn host(variables: &[(&str, &str)]) -> Host {
    let region = ("AWS_REGION", "eu-central-1");
    let variables: MemoryEnvironment = variables.iter().copied().chain([region]).collect();
    s3_backend::system_host().to_builder().environment(variables).build()
}

/// A host with the profiles above, one of which is selected.
fn host_with_profile(moto: &Moto, profile: &str) -> Host {
    host_with_keys(moto, profile, "AKIAMARKEDBASE", SECRET)
}

/// The same with these keys to begin with.
fn host_with_keys(moto: &Moto, profile: &str, id: &str, secret: &str) -> Host {
    let base = format!("[base]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    let files: MemoryFiles =
        [("/h/.aws/config", CONFIG), ("/h/.aws/credentials", &base)].into_iter().collect();
    let endpoint = moto.endpoint();
    let host = host(&[("HOME", "/h"), ("AWS_PROFILE", profile), ("AWS_ENDPOINT_URL_STS", &endpoint)]);
    host.to_builder().files(files).build()
}

async fn keys(chain: &CredentialsChain, host: &Host) -> Credentials {
    chain.resolve(host).await.unwrap().credentials().unwrap().clone()
}

/// Nothing of what went in, and nothing of what came out.
fn assert_no_secret(text: &str, keys: Option<&Credentials>) {
    for marked in [SECRET, JWT, "MARKED"] {
        assert!(!text.contains(marked), "{text}");
    }
    let Some(keys) = keys else { return };
    let token = keys.session_token().map(Secret::expose_secret);
    for secret in [Some(keys.secret_access_key().expose_secret()), token].into_iter().flatten() {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(!text.contains(keys.access_key_id()), "{text}");
}

/// Temporary keys of this source, which print nothing.
fn assert_temporary(keys: &Credentials, source: SourceName) {
    assert_eq!(keys.source(), source);
    assert!(keys.session_token().is_some());
    assert!(keys.expires_at().unwrap() > SystemTime::now());
    assert_no_secret(&format!("{keys:?} {keys:#?}"), Some(keys));
}

fn provider_error(error: &CredentialsError) -> &ProviderError {
    let CredentialsError::Provider(failed, _) = error else { panic!("{error}") };
    failed
}

fn code(error: &ProviderError) -> &str {
    let ProviderErrorKind::Service { code, .. } = error.kind() else { panic!("{error:?}") };
    code
}

#[compio::test]
async fn a_profile_takes_on_a_role_and_another_from_there() {
    let Some(moto) = Moto::start() else { return };
    let chain = CredentialsChain::builder().build();
    for (profile, account, role) in [
        ("one", "123456789012", "arn:aws:iam::123456789012:role/one"),
        ("two", "210987654321", "arn:aws:iam::210987654321:role/two"),
    ] {
        let host = host_with_profile(&moto, profile);
        let keys = keys(&chain, &host).await;
        assert_temporary(&keys, SourceName::Profile);
        assert_eq!(keys.account_id(), Some(account));
        assert!(keys.via().unwrap().contains(role), "{:?}", keys.via());

        let explain = chain.explain(&host).await;
        let text = format!("{explain}\n{explain:?}\n{}", serde_json::to_string(&explain).unwrap());
        assert!(text.contains(&moto.endpoint()) && text.contains(role), "{text}");
        assert_no_secret(&text, Some(&keys));
    }
}

#[compio::test]
async fn a_token_file_is_exchanged_for_keys() {
    let Some(moto) = Moto::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, format!("{JWT}\n")).unwrap();
    let host = host(&[
        ("AWS_WEB_IDENTITY_TOKEN_FILE", path.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/web"),
        ("AWS_ROLE_SESSION_NAME", "tests"),
        ("AWS_ENDPOINT_URL_STS", &moto.endpoint()),
    ]);
    let chain = CredentialsChain::builder().build();
    let keys = keys(&chain, &host).await;
    assert_temporary(&keys, SourceName::WebIdentity);
    let explain = chain.explain(&host).await;
    let text = format!("{explain}\n{explain:?}");
    assert!(text.contains(&moto.endpoint()), "{text}");
    assert_no_secret(&text, Some(&keys));
}

/// moto hands out a token without telling how long it lives, asks for none, and leaves `Code` out of the keys. AWS
/// does all three; neither difference may keep the keys from being used.
#[compio::test]
async fn an_instance_has_the_keys_of_its_role() {
    let Some(moto) = Moto::start() else { return };
    let host = host(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &moto.endpoint())]);
    let chain = CredentialsChain::builder().build();
    let keys = keys(&chain, &host).await;
    assert_temporary(&keys, SourceName::Imds);
    assert_eq!(keys.access_key_id(), "test-key");
    let text = chain.explain(&host).await.to_string();
    assert!(text.starts_with("credentials: from imds"), "{text}");
    assert_no_secret(&text, Some(&keys));
}

#[compio::test]
async fn keys_that_sts_does_not_know_are_its_error_and_end_the_chain() {
    let Some(moto) = Moto::start() else { return };
    moto.demand_known_keys();
    let host = host_with_profile(&moto, "one");
    let error = CredentialsChain::builder().build().resolve(&host).await.unwrap_err();
    let failed = provider_error(&error);
    assert_eq!((code(failed), failed.provider()), ("InvalidClientTokenId", SourceName::Profile));
    assert_eq!(failed.retry(), Retry::Recoverable);
    assert!(failed.to_string().contains(&moto.endpoint()), "{failed}");
    assert!(failed.hint().unwrap().contains("not accepted"), "{failed:?}");
    assert_no_secret(&format!("{error}\n{error:?}"), None);
}

/// moto computes the signature by botocore's code, from the secret that it made itself.
#[compio::test]
async fn our_signature_is_the_one_that_botocore_computes_and_a_wrong_one_is_final() {
    let Some(moto) = Moto::start() else { return };
    let (id, secret) = moto.demand_signatures("sts:AssumeRole");
    let chain = CredentialsChain::builder().build();
    let right = host_with_keys(&moto, "one", &id, &secret);
    let keys = keys(&chain, &right).await;
    assert_temporary(&keys, SourceName::Profile);
    assert_eq!(keys.account_id(), Some("123456789012"));

    let began = Instant::now();
    for (id, secret, expected) in [
        (&id[..], SECRET, "SignatureDoesNotMatch"),
        (&id, &secret.to_lowercase(), "SignatureDoesNotMatch"),
        ("AKIAMARKEDNOBODY", &secret, "InvalidClientTokenId"),
    ] {
        let error = chain.resolve(&host_with_keys(&moto, "one", id, secret)).await.unwrap_err();
        let failed = provider_error(&error);
        assert_eq!((code(failed), failed.retry()), (expected, Retry::Recoverable));
        let text = format!("{error}\n{error:?}");
        assert!(!text.contains(secret) && !text.contains(id), "{text}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "asking again would not help");
}

#[compio::test]
async fn what_somebody_known_may_not_do_is_another_error_than_not_being_known() {
    let Some(moto) = Moto::start() else { return };
    let (id, secret) = moto.demand_signatures("s3:GetObject");
    let host = host_with_keys(&moto, "one", &id, &secret);
    let error = CredentialsChain::builder().build().resolve(&host).await.unwrap_err();
    let failed = provider_error(&error);
    assert_eq!((code(failed), failed.retry()), ("AccessDenied", Retry::NonRecoverable));
    assert!(failed.hint().unwrap().contains("sts:AssumeRole"), "{failed:?}");
}
