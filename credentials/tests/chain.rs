//! Which source wins, which failure ends the chain, and what the report says, through the public API.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a surprise is a failed test")]

use std::error::Error;
use std::time::{Duration, SystemTime};

use credentials::{
    Credentials, CredentialsChain, CredentialsError, Explain, FileContent, FixedClock, Host, Identity,
    Inline, MemoryEnvironment, MemoryFiles, ProvideCredentials, ProviderError, ProviderErrorKind,
    RegionError, RegionOrigin, Resolved, Retry, Secret, Service, SourceName, Status,
};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

const CONFIG: &str = "/home/u/.aws/config";
const CREDENTIALS: &str = "/home/u/.aws/credentials";
const ENV_KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT00001"), ("AWS_SECRET_ACCESS_KEY", "s")];
const ROLE: &str = "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = default\n";
const FILE_KEYS: &str = "aws_access_key_id = AKIAPROFILE000000002\naws_secret_access_key = s\n";

/// A machine with a home directory, variables and files.
fn host(variables: &[(&str, &str)], files: &[(&str, &str)]) -> Host {
    let home = [("HOME", "/home/u")];
    let environment: MemoryEnvironment = home.iter().chain(variables).copied().collect();
    let files: MemoryFiles = files.iter().copied().collect();
    let clock = FixedClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    Host::builder().environment(environment).files(files).clock(clock).build()
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing in memory waits")
}

fn resolve(chain: &CredentialsChain, host: &Host) -> Result<Identity, CredentialsError> {
    now(chain.resolve(host))
}

fn default_chain() -> CredentialsChain {
    CredentialsChain::builder().build()
}

fn key_id(identity: &Identity) -> &str {
    identity.credentials().map_or("anonymous", Credentials::access_key_id)
}

fn source(chain: &CredentialsChain, host: &Host) -> SourceName {
    resolve(chain, host).unwrap().credentials().unwrap().source()
}

/// The source that ended the chain, and the kind of its error.
fn failure(chain: &CredentialsChain, host: &Host) -> (SourceName, ProviderErrorKind) {
    match resolve(chain, host) {
        Err(CredentialsError::Provider(error, explain)) => {
            let failed: Vec<_> =
                explain.sources().iter().filter(|row| row.status == Status::Failed).collect();
            assert_eq!(failed.len(), 1, "{explain}");
            assert_eq!(failed[0].source, error.provider());
            (error.provider(), error.kind().clone())
        }
        other => panic!("{other:?}"),
    }
}

fn inline_keys() -> Inline {
    Inline::from_parts(Some("AKIAINLINE0000000003".into()), Some(Secret::new("s")), None).unwrap().unwrap()
}

#[test]
fn inline_beats_environment_beats_profile() {
    let files = format!("[default]\n{FILE_KEYS}");
    let full = host(&ENV_KEYS, &[(CREDENTIALS, &files)]);
    let inline = CredentialsChain::builder().inline(inline_keys()).build();
    assert_eq!(source(&inline, &full), SourceName::Inline);
    assert_eq!(source(&default_chain(), &full), SourceName::Environment);
    assert_eq!(source(&default_chain(), &host(&[], &[(CREDENTIALS, &files)])), SourceName::Profile);
    let without = CredentialsChain::builder().without(SourceName::Environment).build();
    assert_eq!(source(&without, &full), SourceName::Profile);
    let only = CredentialsChain::builder().only([SourceName::Profile]).build();
    assert_eq!(source(&only, &full), SourceName::Profile);
}

#[test]
fn a_profile_named_by_the_program_pins() {
    let files = format!("[work]\n{FILE_KEYS}[empty]\nregion = r\n");
    let full = host(&ENV_KEYS, &[(CREDENTIALS, &files)]);
    for chain in [
        CredentialsChain::builder().inline(Inline::Profile("work".into())).build(),
        CredentialsChain::builder().profile_name("work".to_owned()).build(),
    ] {
        assert_eq!(source(&chain, &full), SourceName::Profile);
    }
    // The same name in a variable does not outrank keys in variables.
    let mut variables = ENV_KEYS.to_vec();
    variables.push(("AWS_PROFILE", "work"));
    assert_eq!(
        source(&default_chain(), &host(&variables, &[(CREDENTIALS, &files)])),
        SourceName::Environment
    );
    for name in ["empty", "absent"] {
        let chain = CredentialsChain::builder().profile_name(name.to_owned()).build();
        assert!(matches!(
            failure(&chain, &full),
            (SourceName::Profile, ProviderErrorKind::InvalidConfig { .. })
        ));
    }
}

#[test]
fn a_configured_source_that_fails_ends_the_chain() {
    let later = format!("[default]\n{FILE_KEYS}");
    let later = (CREDENTIALS, &later[..]);
    for (variables, files, provider) in [
        // Half a pair, although the profile behind it is complete.
        (&[("AWS_ACCESS_KEY_ID", "a")][..], &[later][..], SourceName::Environment),
        (&[("AWS_SECRET_ACCESS_KEY", "s")], &[later], SourceName::Environment),
        (&[("AWS_ACCESS_KEY_ID", "a b"), ("AWS_SECRET_ACCESS_KEY", "s")], &[later], SourceName::Environment),
        // A profile that somebody asked for.
        (&[("AWS_PROFILE", "absent")], &[later], SourceName::Profile),
        (&[("AWS_DEFAULT_PROFILE", "absent")], &[later], SourceName::Profile),
        (&[("AWS_PROFILE", "default")], &[], SourceName::Profile),
        // Files that are broken, in a place that does not even concern the profile.
        (&[], &[(CONFIG, "[profile other\n"), later], SourceName::Profile),
        (&[], &[(CREDENTIALS, "[default]\naws_access_key_id = a\n")], SourceName::Profile),
        (&[], &[(CREDENTIALS, "[default]\naws_secret_access_key = a\n")], SourceName::Profile),
        (
            &[],
            &[(CREDENTIALS, "[default]\naws_access_key_id = a\n b\naws_secret_access_key = s\n")],
            SourceName::Profile,
        ),
        // Keys that must be fetched, by a host that has neither HTTP nor programs; no region; a bad ARN.
        (&[("AWS_REGION", "r")], &[(CONFIG, ROLE), later], SourceName::Profile),
        (&[], &[(CONFIG, ROLE), later], SourceName::Profile),
        (&[], &[(CONFIG, "[default]\nrole_arn = r\nsource_profile = default\n"), later], SourceName::Profile),
        (&[], &[(CONFIG, "[default]\ncredential_process = p\n"), later], SourceName::Profile),
        // A source that is named and has nothing is not passed over either.
        (&[], &[(CONFIG, "[default]\ncredential_source = Environment\n"), later], SourceName::Profile),
        (
            &[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/some-role")],
            &[],
            SourceName::WebIdentity,
        ),
        (&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")], &[], SourceName::Container),
        (&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://x")], &[], SourceName::Container),
        (&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")], &[], SourceName::WebIdentity),
    ] {
        assert_eq!(failure(&default_chain(), &host(variables, files)).0, provider, "{variables:?} {files:?}");
    }
}

#[test]
fn every_way_to_get_keys_that_this_version_lacks_is_named() {
    for (properties, feature) in [
        ("role_arn = r\nmfa_serial = m\nsource_profile = x", "mfa_serial"),
        ("sso_session = s", "sso_session"),
        ("login_session = s", "login_session"),
    ] {
        let files = format!("[default]\n{properties}\n");
        let host = host(&[], &[(CONFIG, &files)]);
        let expected = (SourceName::Profile, ProviderErrorKind::Unsupported { feature });
        assert_eq!(failure(&default_chain(), &host), expected);
        let text = resolve(&default_chain(), &host).unwrap_err().to_string();
        assert!(text.contains("export-credentials --profile default --format process"), "{text}");
    }
}

#[test]
fn what_is_not_configured_is_passed_over() {
    for files in [
        &[][..],
        &[(CONFIG, "")],
        &[(CONFIG, "[default]\nregion = eu-west-1\n")],
        &[(CONFIG, "[profile other]\nregion = eu-west-1\n")],
        &[(CREDENTIALS, "[default]\naws_access_key_id =\naws_secret_access_key = \n")],
    ] {
        let error = resolve(&default_chain(), &host(&[], files)).unwrap_err();
        assert!(matches!(error, CredentialsError::NoCredentials(_)), "{error}");
    }
    // A profile named by a variable may hold settings only: that is how regions are switched on EC2.
    let named = host(&[("AWS_PROFILE", "p")], &[(CONFIG, "[profile p]\nregion = r\n")]);
    assert!(matches!(resolve(&default_chain(), &named), Err(CredentialsError::NoCredentials(_))));
}

#[test]
fn anonymity_must_be_asked_for() {
    let anonymous = CredentialsChain::builder().inline(Inline::Anonymous).build();
    let identity = resolve(&anonymous, &host(&ENV_KEYS, &[])).unwrap();
    assert!(matches!(identity, Identity::Anonymous));
    assert!(now(anonymous.explain(&host(&[], &[]))).used().unwrap().anonymous);
    assert!(resolve(&default_chain(), &host(&[], &[])).is_err());
}

#[test]
fn files_are_found_where_the_variables_say() {
    let named =
        [("AWS_SHARED_CREDENTIALS_FILE", "~/keys"), ("AWS_CONFIG_FILE", "/etc/c"), ("AWS_PROFILE", "w")];
    let files = format!("[w]\n{FILE_KEYS}");
    let host_with = host(&named, &[("/home/u/keys", &files), ("/etc/c", "[profile w]\nregion = r2\n")]);
    assert_eq!(key_id(&resolve(&default_chain(), &host_with).unwrap()), "AKIAPROFILE000000002");
    assert_eq!(now(default_chain().region(&host_with)).unwrap().name(), "r2");
}

#[test]
fn a_named_file_may_be_absent_but_not_broken() {
    let variables = [("AWS_CONFIG_FILE", "/etc/c")];
    let absent = now(default_chain().explain(&host(&variables, &[])));
    assert!(absent.warnings().iter().any(|text| text.contains("/etc/c")), "{absent}");

    let broken = |path: &str, variables: &[(&str, &str)]| {
        let files = MemoryFiles::default();
        files.insert(path, FileContent::new(b"[default]\nregion = \xff\n".to_vec()));
        let home = [("HOME", "/home/u")];
        let environment: MemoryEnvironment = home.iter().chain(variables).copied().collect();
        Host::builder().environment(environment).files(files).build()
    };
    // The file that is there by custom is warned about, the one that somebody named is an error.
    let explain = now(default_chain().explain(&broken(CONFIG, &[])));
    assert!(explain.warnings().iter().any(|text| text.contains("not UTF-8")), "{explain}");
    let expected = ProviderErrorKind::InvalidConfig { file: Some("/etc/c".into()), line: Some(2) };
    assert_eq!(failure(&default_chain(), &broken("/etc/c", &variables)), (SourceName::Profile, expected));
}

#[test]
fn a_file_without_end_is_refused() {
    let huge = "#".repeat(1024 * 1024 + 1);
    let (provider, kind) = failure(&default_chain(), &host(&[], &[(CONFIG, &huge)]));
    assert_eq!((provider, kind), (SourceName::Profile, ProviderErrorKind::File { path: CONFIG.into() }));
    let full = "#".repeat(1024 * 1024);
    assert!(matches!(
        resolve(&default_chain(), &host(&[], &[(CONFIG, &full)])),
        Err(CredentialsError::NoCredentials(_))
    ));
}

#[test]
fn keys_that_others_can_read_are_warned_about() {
    let explain = |mode| {
        let files = MemoryFiles::default();
        let text = format!("[default]\n{FILE_KEYS}");
        files.insert(CREDENTIALS, FileContent::new(text.into_bytes()).with_unix_mode(mode));
        let environment: MemoryEnvironment = [("HOME", "/home/u")].into_iter().collect();
        now(default_chain().explain(&Host::builder().environment(environment).files(files).build()))
    };
    assert_eq!(explain(0o100_600).warnings().len(), 0);
    assert!(explain(0o100_644).warnings()[0].contains("chmod 600"));
}

#[test]
fn a_program_for_tenants_sees_nothing_of_its_own_machine() {
    let files = format!("[default]\n{FILE_KEYS}region = eu-west-1\nendpoint_url = http://x\n");
    let mut variables = ENV_KEYS.to_vec();
    variables.extend([("AWS_REGION", "eu-west-1"), ("AWS_ENDPOINT_URL", "http://x")]);
    variables.push(("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"));
    let full = host(&variables, &[(CREDENTIALS, &files)]);
    let chain = CredentialsChain::builder().disable_environment().build();
    assert!(matches!(resolve(&chain, &full), Err(CredentialsError::NoCredentials(_))));
    assert!(matches!(now(chain.region(&full)), Err(RegionError::Missing { .. })));
    assert_eq!(now(chain.endpoint(&full, Service::S3)).unwrap(), None);
    let chain = CredentialsChain::builder().disable_environment().inline(inline_keys()).build();
    assert_eq!(source(&chain, &full), SourceName::Inline);
}

/// A program's own source: a vault that gives what it is told to.
struct Vault(Result<Option<SystemTime>, &'static str>);

impl ProvideCredentials for Vault {
    fn name(&self) -> SourceName {
        SourceName::Custom("vault")
    }

    fn resolve<'a>(&'a self, _: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move {
            match &self.0 {
                Ok(expires_at) => Credentials::builder("AKIAVAULT00000000004", Secret::new("s"))
                    .expires_at(*expires_at)
                    .build(self.name())
                    .map(Resolved::from)
                    .map_err(|_| unreachable!("constant keys")),
                Err(message) => Err(ProviderError::new(
                    self.name(),
                    ProviderErrorKind::Connect,
                    Retry::Transient,
                    *message,
                )
                .with_source(std::io::Error::from(std::io::ErrorKind::ConnectionRefused))),
            }
        })
    }
}

#[test]
fn a_provider_of_the_program_comes_before_the_environment() {
    let host = host(&ENV_KEYS, &[]);
    let chain = |answer| CredentialsChain::builder().provider(Vault(answer)).build();
    assert_eq!(source(&chain(Ok(None)), &host), SourceName::Custom("vault"));
    let error = resolve(&chain(Err("vault.local refused")), &host).unwrap_err();
    let CredentialsError::Provider(inner, _) = &error else { panic!("{error}") };
    assert_eq!((inner.retry(), inner.kind()), (Retry::Transient, &ProviderErrorKind::Connect));
    let cause = error.source().and_then(Error::source).unwrap();
    assert!(cause.to_string().contains("refused"));
}

#[test]
fn keys_that_arrive_dead_are_a_failure() {
    let host = host(&ENV_KEYS, &[]);
    let chain = CredentialsChain::builder().provider(Vault(Ok(Some(host.now())))).build();
    let (provider, kind) = failure(&chain, &host);
    assert_eq!(provider, SourceName::Custom("vault"));
    assert_eq!(kind, ProviderErrorKind::Malformed { field: "expiration" });
    let later = host.now() + Duration::from_secs(1);
    assert_eq!(
        source(&CredentialsChain::builder().provider(Vault(Ok(Some(later)))).build(), &host),
        provider
    );
}

#[test]
fn the_region_has_an_origin() {
    let files = [(CONFIG, "[default]\nregion = from-default\n[profile p]\nregion = from-p\n")];
    let region = |inline: Option<&str>, variables: &[(&str, &str)]| {
        let chain = CredentialsChain::builder().region(inline.map(str::to_owned)).build();
        let region = now(chain.region(&host(variables, &files))).unwrap();
        (region.name().to_owned(), region.origin().clone())
    };
    let all = [("AWS_REGION", "a"), ("AWS_DEFAULT_REGION", "b"), ("AWS_PROFILE", "p")];
    assert_eq!(region(Some("i"), &all), ("i".into(), RegionOrigin::Inline));
    assert_eq!(region(None, &all), ("a".into(), RegionOrigin::Variable("AWS_REGION")));
    assert_eq!(region(None, &all[1..]), ("b".into(), RegionOrigin::Variable("AWS_DEFAULT_REGION")));
    assert_eq!(region(None, &all[2..]), ("from-p".into(), RegionOrigin::Profile("p".into())));
    assert_eq!(region(None, &[]), ("from-default".into(), RegionOrigin::Profile("default".into())));
    let blank = [("AWS_REGION", " "), ("AWS_DEFAULT_REGION", "b")];
    assert_eq!(region(None, &blank), ("b".into(), RegionOrigin::Variable("AWS_DEFAULT_REGION")));
}

#[test]
fn a_missing_region_names_every_place() {
    let error = now(default_chain().region(&host(&[], &[]))).unwrap_err().to_string();
    for place in ["configuration", "AWS_REGION", "AWS_DEFAULT_REGION", "region of profile \"default\""] {
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn a_region_cannot_smuggle_a_host() {
    for evil in ["evil.com/", "a.b", "eu west", "a/b", "a\u{e9}", "a@b", "a#", &"a".repeat(64)] {
        let error = now(default_chain().region(&host(&[("AWS_REGION", evil)], &[]))).unwrap_err();
        let RegionError::Invalid { origin } = error else { panic!("{error}") };
        assert_eq!(origin, RegionOrigin::Variable("AWS_REGION"));
    }
}

#[test]
fn the_endpoint_of_the_service_beats_the_general_one() {
    let config = "[default]\nservices = local\nendpoint_url = http://general\n\
                  [services local]\ns3 =\n  endpoint_url = http://nested\n";
    let endpoint = |variables: &[(&str, &str)], config: &str, service| {
        now(default_chain().endpoint(&host(variables, &[(CONFIG, config)]), service))
            .unwrap()
            .map(|endpoint| endpoint.url().to_owned())
    };
    let variables = [("AWS_ENDPOINT_URL_S3", "http://s3"), ("AWS_ENDPOINT_URL", "http://all")];
    assert_eq!(endpoint(&variables, config, Service::S3).as_deref(), Some("http://s3"));
    assert_eq!(endpoint(&variables, config, Service::Sts).as_deref(), Some("http://all"));
    assert_eq!(endpoint(&[], config, Service::S3).as_deref(), Some("http://nested"));
    assert_eq!(endpoint(&[], config, Service::Sts).as_deref(), Some("http://general"));
    assert_eq!(endpoint(&[], "", Service::S3), None);
    let ignore = [("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True"), ("AWS_ENDPOINT_URL", "http://all")];
    assert_eq!(endpoint(&ignore, config, Service::S3), None);
    let ignore = format!("{config}[default]\nignore_configured_endpoint_urls = true\n");
    assert_eq!(endpoint(&[], &ignore, Service::S3), None);
}

#[test]
fn the_error_for_no_credentials_is_the_report() {
    let host = host(&[("AWS_SECRET_KEY", "s")], &[(CONFIG, "[default]\nregion = eu-west-1\n[oops]\n")]);
    let expected = "\
credentials: none found
  inline        skipped  the configuration has neither keys nor a profile
  env           skipped  AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set; AWS_SECRET_KEY is set, but this name is not read
  profile       skipped  profile \"default\" (implied) has no credentials; read /home/u/.aws/config, /home/u/.aws/credentials (missing)
  container     skipped  AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set
  web-identity  skipped  AWS_WEB_IDENTITY_TOKEN_FILE is not set
  imds          skipped  this program has no HTTP for credentials, so the service is not asked
region: eu-west-1, from profile \"default\"
warning: /home/u/.aws/config:3: section ignored: in the config file a profile is [profile name]";
    assert_eq!(resolve(&default_chain(), &host).unwrap_err().to_string(), expected);
    assert_eq!(now(default_chain().explain(&host)).to_string(), expected);
}

#[test]
fn the_report_shows_what_was_used_and_what_else_is_configured() {
    let files = format!("[default]\n{FILE_KEYS}");
    let mut variables = ENV_KEYS.to_vec();
    variables.extend([
        ("AWS_SESSION_TOKEN", "t"),
        ("AWS_ACCOUNT_ID", "123456789012"),
        ("AWS_CREDENTIAL_EXPIRATION", "2027-01-15T10:00:00+01:00"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://x"),
        ("AWS_REGION", "eu-west-1"),
    ]);
    let chain = CredentialsChain::builder().without(SourceName::Imds).build();
    let explain = now(chain.explain(&host(&variables, &[(CREDENTIALS, &files)])));
    assert_eq!(
        explain.to_string(),
        "\
credentials: from env
  inline        skipped    the configuration has neither keys nor a profile
  env           used       key AKIA****0001, with session token, account 123456789012, expires 2027-01-15T09:00:00Z
  profile       not tried  also configured but lower priority: static keys of profile \"default\" (implied)
  container     not tried  also configured but lower priority: AWS_CONTAINER_CREDENTIALS_FULL_URI is set
  web-identity  not tried  a source above has the keys
  imds          off        switched off by the program
region: eu-west-1, from AWS_REGION"
    );
    let json = serde_json::to_value(&explain).unwrap();
    assert_eq!(json["used"]["source"], "env");
    assert_eq!(json["used"]["access_key_id"], "AKIA****0001");
    assert_eq!(json["used"]["expires_at"], "2027-01-15T09:00:00Z");
    assert_eq!(json["sources"][2]["status"], "lower_priority");
    assert_eq!(json["region"]["origin"], "AWS_REGION");
}

#[test]
fn the_report_of_a_failure_says_where_the_chain_stopped() {
    let files = "[profile a]\nx = y\n[profile b]\nx = y\n";
    let host = host(&[("AWS_PROFILE", "c\nforged row")], &[(CONFIG, files)]);
    assert_eq!(
        resolve(&default_chain(), &host).unwrap_err().to_string(),
        "\
credentials: profile is configured but failed
  inline        skipped    the configuration has neither keys nor a profile
  env           skipped    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set
  profile       FAILED     profile \"c\\nforged row\" (named by AWS_PROFILE) does not exist; read /home/u/.aws/config, /home/u/.aws/credentials (missing)
                           hint: there are: a, b
  container     not tried  the chain stops at the first configured source that fails
  web-identity  not tried  the chain stops at the first configured source that fails
  imds          not tried  the chain stops at the first configured source that fails
region: none found; looked at the configuration, AWS_REGION, AWS_DEFAULT_REGION and region of profile \"c\\nforged row\" (named by AWS_PROFILE)"
    );
}

#[test]
fn plans_and_reports_travel_between_threads() {
    fn travels<T: Send + Sync + Clone>() {}
    travels::<CredentialsChain>();
    travels::<CredentialsError>();
    travels::<Explain>();
}
