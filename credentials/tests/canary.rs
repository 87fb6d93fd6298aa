//! Marked secrets go through every public type and every failure, and must not come out of any
//! formatter.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a surprise is a failed test")]

use std::error::Error;
use std::fmt::{Debug, Write};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use credentials::profile::{FileKind, ProfileFile, ProfileSet};
use credentials::sigv4::{CanonicalRequest, Signer, SigningStyle};
use credentials::{
    Command, Credentials, CredentialsCache, CredentialsChain, CredentialsError, FileContent, FixedClock,
    Host, HttpError, HttpSend, Identity, Inline, MemoryEnvironment, MemoryFiles, ProcessError, ProcessOutput,
    Processes, Resolved, Secret, SendOptions, Service, SourceName,
};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::{Request, Response};

/// In every secret, and in nothing else.
const MARK: &str = "CaNaRy";
const ID: &str = "AKIAPUBLICPARTOFKEYS";
/// The middle of the key id is hidden too.
const ID_MIDDLE: &str = "PUBLICPARTOF";

/// Everything that was printed.
#[derive(Default)]
struct Log(String);

impl Log {
    fn debug(&mut self, value: &impl Debug) {
        writeln!(self.0, "{value:?} {value:#?}").unwrap();
    }

    fn error(&mut self, error: &dyn Error) {
        let mut next = Some(error);
        while let Some(error) = next {
            writeln!(self.0, "{error} {error:?} {error:#?}").unwrap();
            next = error.source();
        }
    }

    #[track_caller]
    fn assert_clean(&self) {
        for word in [MARK, ID_MIDDLE] {
            let at = self.0.find(word);
            assert_eq!(at, None, "...{}...", &self.0[at.unwrap_or(0).saturating_sub(200)..]);
        }
    }
}

fn marked(name: &str) -> String {
    format!("{MARK}-{name}-{MARK}")
}

fn host(variables: &[(&str, String)], files: &[(&str, String)]) -> Host {
    let home = [("HOME".to_owned(), "/h".to_owned())];
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let environment: MemoryEnvironment = home.into_iter().chain(variables).collect();
    let files: MemoryFiles = files.iter().map(|(path, text)| (*path, text.clone())).collect();
    let clock = FixedClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    Host::builder().environment(environment).files(files).clock(clock).build()
}

fn keys() -> Credentials {
    Credentials::builder(ID, Secret::new(marked("secret")))
        .session_token(Secret::new(marked("token")))
        .build(SourceName::Inline)
        .unwrap()
}

#[test]
fn no_public_type_prints_a_secret() {
    let mut log = Log::default();
    log.debug(&Secret::new(marked("secret")));
    log.debug(&Credentials::builder(ID, Secret::new(marked("secret"))));
    log.debug(&keys());
    log.debug(&Identity::Keys(keys()));
    log.debug(&Resolved::from(keys()));
    log.debug(&Inline::Keys(keys()));
    log.debug(&CredentialsChain::builder().inline(Inline::Keys(keys())));

    let host = host(&[("AWS_ENDPOINT_URL", format!("http://u:{MARK}@h/?{MARK}"))], &[]);
    log.debug(&host);
    log.debug(&Host::builder());
    let chain = CredentialsChain::builder().inline(Inline::Keys(keys())).build();
    log.debug(&chain.endpoint(&host, Service::S3).now_or_never().unwrap().unwrap());
    log.debug(&chain);
    let cache = CredentialsCache::new(chain);
    log.debug(&cache);
    log.debug(&cache.get(&host).now_or_never().unwrap().unwrap());
    log.debug(&cache);
    let explain = cache.explain(&host).now_or_never().unwrap();
    log.debug(&explain);
    log.0 += &explain.to_string();
    log.0 += &serde_json::to_string(&explain).unwrap();

    log.debug(&FileContent::new(marked("file").into_bytes()));
    log.debug(&[("A", marked("variable"))].into_iter().collect::<MemoryEnvironment>());
    log.debug(&[("a", marked("file"))].into_iter().collect::<MemoryFiles>());
    let text = format!("[default]\na = {MARK}\n {MARK}\ns3 =\n  k = {MARK}\n");
    let file = ProfileFile::parse("f", FileKind::Credentials, text.as_bytes()).unwrap();
    log.debug(&file);
    let set = ProfileSet::merge(ProfileFile::default(), file);
    log.debug(&set);
    log.debug(&set.profile("default").unwrap());
    log.assert_clean();
}

#[test]
fn no_failure_prints_a_secret() {
    let secret = marked("secret");
    let line = |key: &str| format!("{key} = {secret}\n");
    let full =
        format!("aws_access_key_id = {ID}\n{}{}", line("aws_secret_access_key"), line("aws_session_token"));
    let id = || ("AWS_ACCESS_KEY_ID", ID.to_owned());
    let key = || ("AWS_SECRET_ACCESS_KEY", secret.clone());
    let environments = [
        vec![],
        vec![id()],
        vec![key()],
        // A secret in the wrong place, a newline that came along.
        vec![("AWS_ACCESS_KEY_ID", format!("{secret}\n")), key()],
        vec![id(), ("AWS_SECRET_ACCESS_KEY", format!("{secret}\n"))],
        vec![id(), key(), ("AWS_SESSION_TOKEN", format!("{secret}\r\n"))],
        vec![id(), key(), ("AWS_CREDENTIAL_EXPIRATION", secret.clone())],
        vec![id(), key(), ("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z".to_owned())],
        vec![id(), key(), ("AWS_ACCOUNT_ID", format!("{secret} {secret}"))],
        vec![("AWS_SESSION_TOKEN", secret.clone()), ("AWS_SECRET_KEY", secret.clone())],
        vec![("AWS_REGION", format!("{secret} "))],
        vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://u:{secret}@h/?{secret}"))],
        vec![("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", format!("/{secret}"))],
        vec![("AWS_WEB_IDENTITY_TOKEN_FILE", format!("/{secret}"))],
        vec![("AWS_PROFILE", "absent".to_owned())],
    ];
    let files = [
        String::new(),
        format!("[default]\n{full}"),
        // Cut, mixed up, mispasted.
        format!("[default\n{full}"),
        full.clone(),
        format!("[default] {secret}\n"),
        format!("[{secret} {secret}]\n{full}"),
        format!("[default]\n{secret}\n"),
        format!("[default]\n= {secret}\n"),
        format!("[default]\n {secret}\n"),
        format!("[default]\naws_secret_access_key =\n {secret}\n"),
        format!("[default]\n{secret} {secret} = {secret}\n"),
        format!("[default]\n{}", line("aws_secret_access_key")),
        format!("[default]\n{}", line("aws_access_key_id")),
        format!("[default]\n{full} {secret}\n"),
        format!("[default]\naws_access_key_id = {secret}\n {secret}\n{}", line("aws_secret_access_key")),
        format!("[default]\n{}{full}", line("credential_process")),
        format!("[default]\n{}{full}", line("role_arn")),
        format!("[default]\n{}{full}", line("sso_session")),
        format!("[default]\n{}{full}", line("web_identity_token_file")),
        format!("[default]\n{full}{}", line("region").replace('-', " ")),
    ];
    let chains = [
        CredentialsChain::builder().build(),
        CredentialsChain::builder().profile_name("default".to_owned()).build(),
        CredentialsChain::builder().inline(Inline::Keys(keys())).build(),
    ];
    let mut log = Log::default();
    let mut failures = 0;
    for variables in &environments {
        for text in &files {
            let host = host(variables, &[("/h/.aws/credentials", text.clone())]);
            for chain in &chains {
                match chain.resolve(&host).now_or_never().unwrap() {
                    Ok(identity) => log.debug(&identity),
                    Err(error) => {
                        failures += 1;
                        log.error(&error);
                        if let CredentialsError::Provider(error, _) = &error {
                            log.debug(&error.hint());
                        }
                    }
                }
                match chain.region(&host).now_or_never().unwrap() {
                    Ok(region) => log.debug(&region),
                    Err(error) => log.error(&error),
                }
                let explain = chain.explain(&host).now_or_never().unwrap();
                writeln!(log.0, "{explain} {explain:?}").unwrap();
                log.0 += &serde_json::to_string(&explain).unwrap();
            }
            log.assert_clean();
            log.0.clear();
        }
    }
    assert!(failures > 200, "only {failures} failures were driven");
}

/// An STS that quotes what it was sent, and a program that prints secrets before it fails.
#[derive(Clone)]
struct Hostile {
    status: u16,
    body: String,
    printed: String,
    exit: i32,
}

impl HttpSend for Hostile {
    fn send<'a>(
        &'a self,
        request: Request<Bytes>,
        _: &'a SendOptions,
    ) -> LocalBoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        // Secrets travel in bodies and headers, which are not for logs; a URL is.
        assert!(!request.uri().to_string().contains(MARK));
        assert!(!format!("{:?}", request.headers()).contains(MARK));
        // It can quote no more than it was sent.
        let signed = request.headers().values().any(|value| value.to_str().unwrap().contains(ID));
        let refusal = self.body.starts_with("<ErrorResponse");
        let body = if refusal && !signed { self.body.replace(ID, "zzz") } else { self.body.clone() };
        let answer = Response::builder().status(self.status).body(Bytes::from(body));
        Box::pin(async { Ok(answer.unwrap()) })
    }
}

impl Processes for Hostile {
    fn run<'a>(&'a self, _: &'a Command) -> LocalBoxFuture<'a, Result<ProcessOutput, ProcessError>> {
        let output = ProcessOutput::new(
            Some(self.exit),
            self.printed.clone().into_bytes(),
            marked("stderr").into_bytes(),
        );
        Box::pin(async { Ok(output) })
    }
}

#[test]
fn no_service_and_no_program_gets_a_secret_printed() {
    let secret = marked("secret");
    let token = marked("jwt");
    let arn = "arn:aws:iam::123456789012:role/r";
    let role = format!("role_arn = {arn}\nexternal_id = {}\n", marked("external"));
    let base = format!(
        "aws_access_key_id = {ID}\naws_secret_access_key = {secret}\naws_session_token = {}\n",
        marked("session")
    );
    let configs = [
        String::new(),
        format!("[default]\n{role}source_profile = default\n{base}"),
        format!("[default]\n{role}source_profile = b\n[b]\n{base}"),
        format!("[default]\n{role}web_identity_token_file = /token\n"),
        format!("[default]\n{role}source_profile = b\n[b]\ncredential_process = p {secret}\n"),
        format!("[default]\ncredential_process = p {secret}\n"),
        format!("[default]\ncredential_process = p | {secret}\n"),
        format!("[default]\ncredential_process = {secret} '\n"),
        format!("[default]\nrole_arn = {secret}\nsource_profile = default\n{base}"),
        format!("[default]\n{role}source_profile = default\nduration_seconds = {secret}\n{base}"),
        format!("[default]\n{role}source_profile = default\nrole_session_name = {secret} x\n{base}"),
        format!("[default]\nrole_arn = {arn}\nexternal_id = {secret} x\nsource_profile = default\n{base}"),
        format!("[default]\n{role}web_identity_token_file = {secret}\n"),
        format!("[default]\n{role}credential_source = {secret}\n"),
    ];
    let everything =
        [&secret, &token, &marked("external"), &marked("session"), &ID.to_owned()].map(String::clone);
    let error = |code: &str, message: &str, id: &str| {
        format!(
            "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error>\
             <RequestId>{id}</RequestId></ErrorResponse>"
        )
    };
    let mut bodies = vec![secret.clone(), format!("<a>{token}"), String::new()];
    for word in &everything {
        bodies.push(error("ValidationError", &format!("Value '{word}' failed"), "1"));
        bodies.push(error(word, "m", word));
        // Cut in the middle of the secret.
        bodies.push(error("x", &format!("{}{word}", "y".repeat(190)), "1"));
    }
    for action in ["AssumeRole", "AssumeRoleWithWebIdentity"] {
        for (id, key, expiration) in [
            (ID, &secret[..], "2030-01-01T00:00:00Z"),
            (&secret, &secret, &secret),
            (ID, &format!("{secret}&#10;"), "2030-01-01T00:00:00Z"),
            (ID, &secret, "2020-01-01T00:00:00Z"),
        ] {
            bodies.push(format!(
                "<{action}Response><{action}Result><Credentials><AccessKeyId>{id}</AccessKeyId>\
                 <SecretAccessKey>{key}</SecretAccessKey><SessionToken>{secret}</SessionToken>\
                 <Expiration>{expiration}</Expiration></Credentials><AssumedRoleUser><Arn>a:b:c:d:{secret}</Arn>\
                 </AssumedRoleUser></{action}Result></{action}Response>"
            ));
        }
    }
    let prints = |expiration: &str| {
        format!(
            "{{\"Version\":1,\"AccessKeyId\":\"{ID}\",\"SecretAccessKey\":\"{secret}\",\
             \"SessionToken\":\"{secret}\",\"Expiration\":\"{expiration}\"}}"
        )
    };
    let runs = [
        (0, prints("2030-01-01T00:00:00Z")),
        (0, prints("2020-01-01T00:00:00Z")),
        (0, prints(&secret)),
        (0, secret.clone()),
        (0, format!("{{\"Version\":\"{secret}\"}}")),
        (1, prints("2030-01-01T00:00:00Z")),
    ];
    let mut log = Log::default();
    let mut failures = 0;
    let chain = CredentialsChain::builder().build();
    for config in &configs {
        for (index, body) in bodies.iter().enumerate() {
            let (exit, printed) = runs[index % runs.len()].clone();
            for status in [200, 400] {
                let hostile = Hostile { status, body: body.clone(), printed: printed.clone(), exit };
                let variables = [
                    ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token".to_owned()),
                    ("AWS_ROLE_ARN", arn.to_owned()),
                    ("AWS_REGION", "eu-west-1".to_owned()),
                ];
                let files = [("/h/.aws/credentials", config.clone()), ("/token", token.clone())];
                let host = host(&variables, &files);
                let host = host.to_builder().http(hostile.clone()).processes(hostile.clone()).build();
                match chain.resolve(&host).now_or_never().unwrap() {
                    Ok(identity) => log.debug(&identity),
                    Err(error) => {
                        failures += 1;
                        log.error(&error);
                    }
                }
                let explain = chain.explain(&host).now_or_never().unwrap();
                writeln!(log.0, "{explain} {explain:?}").unwrap();
                log.0 += &serde_json::to_string(&explain).unwrap();
                log.assert_clean();
                log.0.clear();
            }
        }
    }
    assert!(failures > 400, "only {failures} failures were driven");
    log.debug(&Signer::new(keys(), "r", "s", SigningStyle::S3));
    let headers = [("x-amz-security-token", &secret[..])];
    log.debug(&CanonicalRequest { method: "GET", path: "/", query: &secret, headers, payload_hash: "" });
    log.debug(&Command::new(vec!["p".to_owned(), secret], Duration::ZERO, 1, 1));
    log.assert_clean();
}

#[test]
fn a_key_that_is_refused_at_construction_is_not_quoted() {
    let mut log = Log::default();
    for (id, secret, token) in [
        (format!("{MARK} "), marked("s"), None),
        (ID.to_owned(), format!("{MARK}\n"), None),
        (ID.to_owned(), marked("s"), Some(format!("{MARK}\0"))),
    ] {
        let error = Credentials::builder(id, Secret::new(secret))
            .session_token(token.map(Secret::new))
            .build(SourceName::Inline)
            .unwrap_err();
        log.error(&error);
    }
    let error = Inline::from_parts(Some(MARK.to_owned()), None, Some(Secret::new(MARK))).unwrap_err();
    log.error(&error);
    log.assert_clean();
}
