//! Roles, tokens and programs, against an STS and programs that follow a script, through the public API.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a surprise is a failed test")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use credentials::{
    Clock, Command, Credentials, CredentialsChain, CredentialsError, FileContent, FixedRandom, Host,
    HttpError, HttpErrorKind, HttpPhase, HttpSend, MemoryEnvironment, MemoryFiles, ProcessError,
    ProcessErrorKind, ProcessOutput, Processes, ProviderErrorKind, ProxyUse, Retry, SendOptions, Service,
    SourceName, Status,
};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::{Request, Response};

const ROLE: &str = "arn:aws:iam::123456789012:role/r";
const WEB: [(&str, &str); 3] =
    [("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"), ("AWS_ROLE_ARN", ROLE), ("AWS_REGION", "eu-west-1")];

/// 2027-01-15T08:00:00Z.
fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A clock by which whoever sleeps wakes up at once, later.
#[derive(Clone)]
struct Hasty(Rc<Cell<Duration>>);

impl Clock for Hasty {
    fn now(&self) -> SystemTime {
        start() + self.0.get()
    }

    fn monotonic(&self) -> Duration {
        self.0.get()
    }

    fn sleep(&self, duration: Duration) -> Option<LocalBoxFuture<'_, ()>> {
        Some(Box::pin(async move { self.0.set(self.0.get() + duration) }))
    }
}

type Answer = Result<Response<Bytes>, HttpError>;
/// What happens on a request: an answer, or silence.
type Script = Box<dyn FnOnce(&World) -> Option<Answer>>;
type Sent = (Request<Bytes>, SendOptions);

/// What one test has: a machine and its scripts.
#[derive(Clone)]
struct World {
    answers: Rc<RefCell<VecDeque<Script>>>,
    requests: Rc<RefCell<Vec<Sent>>>,
    output: Rc<RefCell<Option<Result<ProcessOutput, ProcessErrorKind>>>>,
    commands: Rc<RefCell<Vec<Command>>>,
    files: MemoryFiles,
    clock: Hasty,
}

impl HttpSend for World {
    fn send<'a>(&'a self, request: Request<Bytes>, options: &'a SendOptions) -> LocalBoxFuture<'a, Answer> {
        self.requests.borrow_mut().push((request, options.clone()));
        let next = self.answers.borrow_mut().pop_front().expect("a request more than expected");
        match next(self) {
            Some(answer) => Box::pin(async { answer }),
            None => Box::pin(std::future::pending()),
        }
    }
}

impl Processes for World {
    fn run<'a>(&'a self, command: &'a Command) -> LocalBoxFuture<'a, Result<ProcessOutput, ProcessError>> {
        self.commands.borrow_mut().push(command.clone());
        match self.output.borrow_mut().take() {
            Some(output) => {
                Box::pin(async { output.map_err(|kind| ProcessError::new(kind, "as the script says")) })
            }
            None => Box::pin(std::future::pending()),
        }
    }
}

impl World {
    fn new() -> World {
        let files: MemoryFiles = [("/token", "the.json.webtoken\n")].into_iter().collect();
        World {
            answers: Rc::default(),
            requests: Rc::default(),
            output: Rc::default(),
            commands: Rc::default(),
            files,
            clock: Hasty(Rc::default()),
        }
    }

    fn config(self, text: &str) -> World {
        self.files.insert("/h/.aws/config", FileContent::new(text.as_bytes().to_vec()));
        self
    }

    fn then(self, answer: impl FnOnce(&World) -> Option<Answer> + 'static) -> World {
        self.answers.borrow_mut().push_back(Box::new(answer));
        self
    }

    fn answers(self, status: u16, body: &str) -> World {
        let response = Response::builder().status(status).body(Bytes::from(body.to_owned())).unwrap();
        self.then(move |_| Some(Ok(response)))
    }

    fn refuses(self, status: u16, code: &str) -> World {
        self.answers(status, &refusal(code, "no"))
    }

    fn fails(self, kind: HttpErrorKind) -> World {
        self.then(move |_| Some(Err(HttpError::new(kind, "as the script says"))))
    }

    fn prints(self, status: Option<i32>, stdout: &str) -> World {
        let output = ProcessOutput::new(status, stdout.as_bytes().to_vec(), b"complaint".to_vec());
        *self.output.borrow_mut() = Some(Ok(output));
        self
    }

    fn host(&self, variables: &[(&str, &str)]) -> Host {
        let home = [("HOME", "/h")];
        let environment: MemoryEnvironment = home.iter().chain(variables).copied().collect();
        Host::builder()
            .environment(environment)
            .files(self.files.clone())
            .clock(self.clock.clone())
            .random(FixedRandom(u64::MAX / 2))
            .http(self.clone())
            .processes(self.clone())
            .build()
    }

    fn resolve(&self, variables: &[(&str, &str)]) -> Result<Credentials, CredentialsError> {
        let chain = CredentialsChain::builder().build();
        let identity =
            chain.resolve(&self.host(variables)).now_or_never().expect("the script waits for nobody")?;
        Ok(identity.credentials().unwrap().clone())
    }

    /// The source, kind and class of the failure that ends the chain, and its text with the hint.
    fn failure(&self, variables: &[(&str, &str)]) -> (SourceName, ProviderErrorKind, Retry, String) {
        match self.resolve(variables) {
            Err(CredentialsError::Provider(error, explain)) => {
                let row = explain.sources().iter().find(|row| row.status == Status::Failed).unwrap();
                assert_eq!(row.source, error.provider());
                let text = format!("{error} hint: {}", error.hint().unwrap_or_default());
                (error.provider(), error.kind().clone(), error.retry(), text)
            }
            other => panic!("{other:?}"),
        }
    }

    fn requests_len(&self) -> usize {
        self.requests.borrow().len()
    }

    /// The fields of a request's body.
    fn field(&self, request: usize, name: &str) -> Option<String> {
        let requests = self.requests.borrow();
        let body = std::str::from_utf8(requests[request].0.body()).unwrap();
        let mut fields = body.split('&').filter_map(|field| field.split_once('='));
        fields.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
    }

    fn header(&self, request: usize, name: &str) -> String {
        let requests = self.requests.borrow();
        requests[request].0.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
    }
}

fn keys_of(action: &str, id: &str) -> String {
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
         <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn></AssumedRoleUser>\
         <Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>secret+of/{id}</SecretAccessKey>\
         <SessionToken>token-of-{id}</SessionToken><Expiration>2027-01-15T09:00:00Z</Expiration>\
         </Credentials></{action}Result></{action}Response>"
    )
}

fn token_keys() -> String {
    keys_of("AssumeRoleWithWebIdentity", "ASIAWEB")
}

fn refusal(code: &str, message: &str) -> String {
    format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
         <RequestId>5045ca91-0000</RequestId></ErrorResponse>"
    )
}

const STATIC: &str = "aws_access_key_id = AKIABASE\naws_secret_access_key = s\n";

#[test]
fn a_token_is_exchanged_in_the_body_of_an_unsigned_post() {
    let world = World::new().answers(200, &token_keys());
    let keys = world.resolve(&[&WEB[..], &[("AWS_ROLE_SESSION_NAME", "me@x")]].concat()).unwrap();
    assert_eq!((keys.access_key_id(), keys.account_id()), ("ASIAWEB", Some("123456789012")));
    assert_eq!(keys.secret_access_key().expose_secret(), "secret+of/ASIAWEB");
    assert_eq!(keys.session_token().unwrap().expose_secret(), "token-of-ASIAWEB");
    assert_eq!(keys.expires_at(), Some(start() + Duration::from_secs(3600)));
    assert_eq!((keys.source(), keys.stale_ok()), (SourceName::WebIdentity, true));
    {
        let requests = world.requests.borrow();
        let (request, options) = &requests[0];
        assert_eq!(
            (request.method().as_str(), request.uri().to_string().as_str()),
            ("POST", "https://sts.eu-west-1.amazonaws.com/")
        );
        assert_eq!(
            (options.proxy, options.body_bytes_max, options.sensitive),
            (ProxyUse::AsConfigured, 65_536, true)
        );
    }
    assert_eq!(world.header(0, "authorization"), "");
    assert_eq!(world.field(0, "Action").unwrap(), "AssumeRoleWithWebIdentity");
    assert_eq!(world.field(0, "WebIdentityToken").unwrap(), "the.json.webtoken");
    assert_eq!(world.field(0, "RoleSessionName").unwrap(), "me%40x");
    assert_eq!(world.field(0, "DurationSeconds"), None);

    // The next exchange reads the file anew.
    world.files.insert("/token", FileContent::new(b"another.token".to_vec()));
    let world = world.answers(200, &token_keys());
    world.resolve(&WEB).unwrap();
    assert_eq!(world.field(1, "WebIdentityToken").unwrap(), "another.token");
}

#[test]
fn what_passes_by_itself_is_repeated_and_no_more_than_that() {
    let kinds = [
        HttpErrorKind::Connect,
        HttpErrorKind::Broken,
        HttpErrorKind::Timeout { phase: HttpPhase::Connect },
        HttpErrorKind::Timeout { phase: HttpPhase::Body },
    ];
    for kind in kinds {
        let world = World::new().fails(kind).fails(kind).answers(200, &token_keys());
        assert!(world.resolve(&WEB).is_ok(), "{kind:?}");
        assert_eq!(world.failure_after_three(|world| world.fails(kind)), Retry::Transient);
    }
    for (status, code) in [(400, "IDPCommunicationError"), (400, "Throttling"), (503, "ServiceUnavailable")] {
        let world = World::new().refuses(status, code).answers(200, &token_keys());
        assert!(world.resolve(&WEB).is_ok(), "{code}");
        assert_eq!(world.failure_after_three(|world| world.refuses(status, code)), Retry::Transient);
    }
    for (kind, retry) in [
        (HttpErrorKind::Tls, Retry::Recoverable),
        (HttpErrorKind::TooLarge, Retry::Recoverable),
        (HttpErrorKind::Malformed, Retry::Recoverable),
        (HttpErrorKind::Refused, Retry::NonRecoverable),
    ] {
        assert_eq!(World::new().fails(kind).failure(&WEB).2, retry, "{kind:?}");
    }
}

impl World {
    fn failure_after_three(&self, fail: impl Fn(World) -> World) -> Retry {
        let world = fail(fail(fail(World::new())));
        let retry = world.failure(&WEB).2;
        assert_eq!(world.requests_len(), 3);
        retry
    }
}

#[test]
fn a_refusal_says_where_what_and_for_which_role() {
    let world = World::new().refuses(403, "AccessDenied");
    let (source, kind, retry, text) = world.failure(&WEB);
    let request_id = Some("5045ca91-0000".to_owned());
    assert_eq!(kind, ProviderErrorKind::Service { code: "AccessDenied".into(), request_id });
    assert_eq!((source, retry), (SourceName::WebIdentity, Retry::NonRecoverable));
    assert_eq!(
        text,
        "STS https://sts.eu-west-1.amazonaws.com answered AccessDenied (HTTP 403, request 5045ca91-0000) for \
         arn:aws:iam::123456789012:role/r: no hint: the role's trust policy does not allow this token's \
         issuer, audience or subject"
    );
}

#[test]
fn a_refused_token_is_tried_once_more_only_if_its_file_changed() {
    for code in ["InvalidIdentityToken", "ExpiredTokenException"] {
        let world = World::new().refuses(400, code);
        world.failure(&WEB);
        assert_eq!(world.requests_len(), 1, "{code}");

        let change = |token: &'static str| {
            move |world: &World| {
                world.files.insert("/token", FileContent::new(token.as_bytes().to_vec()));
                let body = Bytes::from(refusal("InvalidIdentityToken", "no"));
                Some(Ok(Response::builder().status(400).body(body).unwrap()))
            }
        };
        let world = World::new().then(change("new.token")).answers(200, &token_keys());
        world.resolve(&WEB).unwrap();
        assert_eq!(world.field(1, "WebIdentityToken").unwrap(), "new.token");
        let world = World::new().then(change("new.token")).then(change("newer.token"));
        assert_eq!(world.failure(&WEB).2, Retry::NonRecoverable);
        assert_eq!(world.requests_len(), 2);
    }
}

#[test]
fn an_sts_that_never_answers_is_given_up_within_half_a_minute() {
    let world = World::new().then(|_| None).then(|_| None).then(|_| None);
    let (_, kind, retry, _) = world.failure(&WEB);
    assert_eq!((kind, retry), (ProviderErrorKind::Timeout { phase: "answer" }, Retry::Transient));
    assert!(world.clock.0.get() <= Duration::from_secs(30), "{:?}", world.clock.0.get());
}

#[test]
fn all_roles_of_a_chain_share_the_half_minute() {
    let config = format!(
        "[default]\nregion = eu-west-1\nrole_arn = {ROLE}\nsource_profile = b\n\
         [profile b]\nrole_arn = {ROLE}\nsource_profile = c\n[profile c]\n{STATIC}"
    );
    let world = World::new().config(&config);
    let world = world.then(|world| {
        world.clock.0.set(Duration::from_secs(25));
        Some(Ok(Response::new(Bytes::from(keys_of("AssumeRole", "ASIAB")))))
    });
    let world = world.then(|_| None);
    assert_eq!(world.failure(&[]).1, ProviderErrorKind::Timeout { phase: "answer" });
    assert_eq!((world.requests_len(), world.clock.0.get()), (2, Duration::from_secs(30)));
}

#[test]
fn sts_may_ask_for_patience_within_reason() {
    let slow_down = |after: &'static str| {
        move |_: &World| {
            let response = Response::builder().status(503).header("x-amz-retry-after", after);
            Some(Ok(response.body(Bytes::new()).unwrap()))
        }
    };
    for (after, at_most) in [("2000", 2_000), ("99999999", 5_500), ("soon", 500), ("-1", 500)] {
        let world = World::new().then(slow_down(after)).answers(200, &token_keys());
        world.resolve(&WEB).unwrap();
        let spent = world.clock.0.get();
        assert!(spent <= Duration::from_millis(at_most), "{after}: {spent:?}");
        assert!(spent >= Duration::from_millis(at_most - 2), "{after}: {spent:?}");
    }
}

#[test]
fn an_answer_that_is_not_the_one_of_sts_gives_no_keys() {
    let good = token_keys();
    for body in [
        String::new(),
        "<html><body>proxy</body></html>".to_owned(),
        "{\"AccessKeyId\":\"x\"}".to_owned(),
        good.replace("</Credentials>", ""),
        good[..good.len() / 2].to_owned(),
        keys_of("AssumeRole", "ASIA"),
        good.replace("<SessionToken>token-of-ASIAWEB</SessionToken>", ""),
        good.replace("ASIAWEB</AccessKeyId>", "A\nB</AccessKeyId>"),
        good.replace("2027-01-15T09:00:00Z", "soon"),
        good.replace("2027-01-15T09:00:00Z", ""),
        format!("<!DOCTYPE x [<!ENTITY e \"x\">]>{good}"),
        "<a>".repeat(20_000),
        "x".repeat(65_537),
    ] {
        let (_, kind, retry, _) = World::new().answers(200, &body).failure(&WEB);
        assert!(matches!(kind, ProviderErrorKind::Malformed { .. }), "{kind:?}");
        assert_eq!(retry, Retry::Recoverable);
    }
    // Dead on arrival.
    let dead = good.replace("2027", "2026");
    let (_, kind, ..) = World::new().answers(200, &dead).failure(&WEB);
    assert_eq!(kind, ProviderErrorKind::Malformed { field: "expiration" });
    // A redirect could go anywhere; whatever says so is not followed.
    let world = World::new().answers(302, "");
    assert!(world.failure(&WEB).3.contains("redirects are not followed"));
    assert_eq!(world.requests_len(), 1);
}

#[test]
fn the_triple_of_variables_is_checked_before_anything_is_sent() {
    for (variables, text) in [
        (&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"), WEB[2]][..], "AWS_ROLE_ARN is not set"),
        (&[WEB[0], ("AWS_ROLE_ARN", "r"), WEB[2]], "AWS_ROLE_ARN is not the ARN"),
        (&[WEB[0], WEB[1], WEB[2], ("AWS_ROLE_SESSION_NAME", "a b")], "AWS_ROLE_SESSION_NAME must have"),
        (&[WEB[0], WEB[1]], "AWS_REGION, AWS_DEFAULT_REGION and region of profile"),
        (&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/absent"), WEB[1], WEB[2]], "/absent, named by AWS_WEB"),
        (&[WEB[0], WEB[1], WEB[2], ("AWS_ENDPOINT_URL", "http://minio:9000")], "must be https"),
        (&[WEB[0], WEB[1], WEB[2], ("AWS_USE_FIPS_ENDPOINT", "maybe")], "AWS_USE_FIPS_ENDPOINT must be"),
    ] {
        let world = World::new();
        let (source, _, _, found) = world.failure(variables);
        assert!(source == SourceName::WebIdentity && found.contains(text), "{found}");
        assert_eq!(world.requests_len(), 0);
    }
}

#[test]
fn the_endpoint_follows_variables_and_profile() {
    let services = "[default]\nservices = s\nendpoint_url = https://general\n[services s]\nsts =\n  endpoint_url = https://nested/sts\n";
    for (variables, config, uri) in [
        (
            &[("AWS_ENDPOINT_URL_STS", "https://own"), ("AWS_ENDPOINT_URL", "https://all")][..],
            services,
            "https://own/",
        ),
        (&[("AWS_ENDPOINT_URL", "https://all")], services, "https://all/"),
        (&[], services, "https://nested/sts"),
        (&[], "[default]\nendpoint_url = https://general\n", "https://general/"),
        (
            &[("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")],
            services,
            "https://sts.eu-west-1.amazonaws.com/",
        ),
        (&[("AWS_USE_FIPS_ENDPOINT", "true")], "", "https://sts-fips.eu-west-1.amazonaws.com/"),
        (&[("AWS_USE_DUALSTACK_ENDPOINT", "TRUE")], "", "https://sts.eu-west-1.api.aws/"),
        (
            &[],
            "[default]\nuse_fips_endpoint = true\nuse_dualstack_endpoint = true\n",
            "https://sts-fips.eu-west-1.api.aws/",
        ),
        (
            &[("AWS_USE_FIPS_ENDPOINT", "false")],
            "[default]\nuse_fips_endpoint = true\n",
            "https://sts.eu-west-1.amazonaws.com/",
        ),
        (&[("AWS_STS_REGIONAL_ENDPOINTS", "legacy")], "", "https://sts.amazonaws.com/"),
        (&[], "[default]\nsts_regional_endpoints = legacy\n", "https://sts.amazonaws.com/"),
        (&[("AWS_ENDPOINT_URL_STS", "http://localhost:5000")], "", "http://localhost:5000/"),
    ] {
        let world = World::new().config(config).answers(200, &token_keys());
        world.resolve(&[&WEB[..], variables].concat()).unwrap();
        let requests = world.requests.borrow();
        let (request, options) = &requests[0];
        assert_eq!(request.uri().to_string(), uri);
        // What stays on the machine is pinned to it, and no proxy sees it.
        let local = uri.starts_with("http:");
        assert_eq!((options.pin.is_some(), options.proxy == ProxyUse::Never), (local, local), "{uri}");
    }
}

#[test]
fn a_program_may_name_the_sts_before_anybody_else_does() {
    let variables = [
        ("AWS_ENDPOINT_URL_STS", "https://own"),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
    ];
    let world = World::new().answers(200, &token_keys()).answers(200, &token_keys());
    let host = world.host(&[&WEB[..], &variables].concat());
    let chain = CredentialsChain::builder().sts_endpoint("https://sts.ceph.example/sts".to_owned()).build();
    chain.resolve(&host).now_or_never().unwrap().unwrap();
    assert_eq!(world.requests.borrow()[0].0.uri().to_string(), "https://sts.ceph.example/sts");
    let text = chain.explain(&host).now_or_never().unwrap().to_string();
    assert!(text.contains("STS https://sts.ceph.example/sts (from the configuration)"), "{text}");
    let endpoint = chain.endpoint(&host, Service::Sts).now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(endpoint.url(), "https://sts.ceph.example/sts");
    assert!(chain.endpoint(&host, Service::S3).now_or_never().unwrap().unwrap().is_none());
    // A token does not travel in the clear, whoever says so.
    for bad in ["http://sts.ceph.example", "sts.ceph.example", "https://u:p@h"] {
        let chain = CredentialsChain::builder().sts_endpoint(bad.to_owned()).build();
        let error = chain.resolve(&host).now_or_never().unwrap().unwrap_err();
        assert!(error.to_string().contains("the endpoint of STS, from the configuration, "), "{error}");
    }
    assert_eq!(world.requests_len(), 2);
}

#[test]
fn a_code_is_read_wherever_a_service_puts_it() {
    let error = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    for body in [
        format!("<ErrorResponse><Errors>{error}</Errors><RequestId>5045ca91</RequestId></ErrorResponse>"),
        format!("<Response><Errors>{error}</Errors><RequestID>5045ca91</RequestID></Response>"),
        "<Error><Code>AccessDenied</Code><Message>no</Message><RequestId>5045ca91</RequestId></Error>"
            .to_owned(),
    ] {
        let (_, kind, retry, text) = World::new().answers(403, &body).failure(&WEB);
        let request_id = Some("5045ca91".to_owned());
        assert_eq!(kind, ProviderErrorKind::Service { code: "AccessDenied".to_owned(), request_id });
        assert_eq!(retry, Retry::NonRecoverable);
        assert!(text.contains("trust policy"), "{text}");
    }
}

#[test]
fn a_chain_of_roles_is_signed_link_by_link() {
    let config = format!(
        "[default]\nrole_arn = {ROLE}a\nsource_profile = b\nexternal_id = ext:1\nduration_seconds = 900\nregion = eu-west-1\n\
         [profile b]\nrole_arn = {ROLE}b\nsource_profile = c\nrole_session_name = bob\n\
         [profile c]\nrole_arn = {ROLE}c\nsource_profile = default\n{STATIC}"
    );
    let world = World::new()
        .config(&config)
        .answers(200, &keys_of("AssumeRole", "ASIAB"))
        .answers(200, &keys_of("AssumeRole", "ASIAA"));
    let keys = world.resolve(&[]).unwrap();
    assert_eq!((keys.access_key_id(), keys.source(), keys.stale_ok()), ("ASIAA", SourceName::Profile, true));
    let scope = "20270115/eu-west-1/sts/aws4_request";
    assert!(world.header(0, "authorization").contains(&format!("Credential=AKIABASE/{scope}")));
    assert!(world.header(1, "authorization").contains(&format!("Credential=ASIAB/{scope}")));
    assert_eq!(
        (world.header(0, "x-amz-security-token"), world.header(1, "x-amz-security-token")),
        (String::new(), "token-of-ASIAB".to_owned())
    );
    assert_eq!(world.field(0, "RoleSessionName").unwrap(), "bob");
    assert!(
        world.field(0, "RoleArn").unwrap().ends_with("rb")
            && world.field(1, "RoleArn").unwrap().ends_with("ra")
    );
    assert_eq!(world.field(1, "ExternalId").unwrap(), "ext%3A1");
    assert_eq!(world.field(1, "DurationSeconds").unwrap(), "900");
    assert!(world.field(1, "RoleSessionName").unwrap().starts_with("object-storage-7fffffff-1800000000"));

    let world = World::new()
        .config(&config)
        .answers(200, &keys_of("AssumeRole", "ASIAB"))
        .answers(200, &keys_of("AssumeRole", "ASIAA"));
    let explain = CredentialsChain::builder().build();
    let explain = explain.explain(&world.host(&[])).now_or_never().unwrap();
    let via = explain.used().unwrap().via.clone().unwrap();
    assert_eq!(via, format!("role {ROLE}a through STS https://sts.eu-west-1.amazonaws.com"));
    assert!(explain.to_string().contains(&via));
}

#[test]
fn mistakes_in_a_chain_are_told_with_its_path_before_anybody_is_asked() {
    let role = |name: &str, rest: &str| format!("[profile {name}]\nrole_arn = {ROLE}\n{rest}\n");
    for (config, text) in [
        (
            role("a", "source_profile = b") + &role("b", "source_profile = a"),
            "in a circle: \"a\" -> \"b\" -> \"a\"",
        ),
        (
            role("a", "source_profile = b")
                + &role("b", "source_profile = c")
                + &role("c", "source_profile = b"),
            "in a circle: \"a\" -> \"b\" -> \"c\" -> \"b\"",
        ),
        (role("a", "source_profile = x"), "-> \"x\": the profile named by source_profile does not exist"),
        (role("a", "source_profile = b") + "[profile b]\nregion = r\n", "\"a\" -> \"b\" has no credentials"),
        (role("a", "source_profile = a"), "\"a\" -> \"a\" has no credentials"),
        (role("a", ""), "role_arn needs source_profile or credential_source"),
        (role("a", "source_profile = b\ncredential_source = Environment"), "cannot both"),
        (role("a", "credential_source = Moon"), "credential_source must be"),
        (
            role("a", "credential_source = Environment"),
            "credential_source Environment of profile \"a\": AWS_ACCESS_KEY_ID",
        ),
        (role("a", "source_profile = a\nduration_seconds = 60") + STATIC, "duration_seconds must be"),
        (role("a", "source_profile = b") + "[profile b]\nsso_session = s\n", "--profile b --format process"),
        (role("a", "source_profile = b\nmfa_serial = m"), "--profile a --format process"),
    ] {
        let world = World::new().config(&config);
        let (source, _, retry, found) = world.failure(&[("AWS_PROFILE", "a"), ("AWS_REGION", "eu-west-1")]);
        assert_eq!((source, retry), (SourceName::Profile, Retry::NonRecoverable));
        assert!(found.contains(text), "{text}\n{found}");
        assert_eq!(world.requests_len(), 0);
    }
}

#[test]
fn a_role_finds_its_base_in_its_own_profile_the_environment_or_a_token() {
    let role = |rest: &str| format!("[default]\nregion = eu-west-1\nrole_arn = {ROLE}\n{rest}\n");
    let env = [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let world = World::new().config(&role(&format!("source_profile = default\n{STATIC}")));
    let world = world.answers(200, &keys_of("AssumeRole", "ASIAR"));
    assert_eq!(world.resolve(&[]).unwrap().access_key_id(), "ASIAR");

    let world = World::new().config(&role("credential_source = environment"));
    let world = world.answers(200, &keys_of("AssumeRole", "ASIAR"));
    let chain = CredentialsChain::builder().profile_name("default".to_owned());
    let identity = chain.build().resolve(&world.host(&env)).now_or_never().unwrap().unwrap();
    assert_eq!(identity.credentials().unwrap().access_key_id(), "ASIAR");
    assert!(world.header(0, "authorization").contains("AKIAENV"));
    // What the program does not want is not used through a profile either.
    let chain =
        CredentialsChain::builder().profile_name("default".to_owned()).without(SourceName::Environment);
    let error = chain.build().resolve(&world.host(&env)).now_or_never().unwrap().unwrap_err();
    assert!(error.to_string().contains("switched that source off"), "{error}");

    let world = World::new().config(&role("web_identity_token_file = /token")).answers(200, &token_keys());
    let keys = world.resolve(&[]).unwrap();
    assert_eq!((keys.source(), keys.stale_ok()), (SourceName::Profile, true));
    assert_eq!(world.field(0, "WebIdentityToken").unwrap(), "the.json.webtoken");
}

#[test]
fn a_clock_that_is_wrong_is_corrected_once() {
    let config =
        format!("[default]\nregion = eu-west-1\nrole_arn = {ROLE}\nsource_profile = default\n{STATIC}");
    let skewed = |date: &'static str| {
        move |_: &World| {
            let response = Response::builder().status(403).header("date", date);
            Some(Ok(response.body(Bytes::from(refusal("SignatureDoesNotMatch", "expired"))).unwrap()))
        }
    };
    let world = World::new().config(&config).then(skewed("Fri, 15 Jan 2027 08:30:00 GMT"));
    let world = world.answers(200, &keys_of("AssumeRole", "ASIAR"));
    world.resolve(&[]).unwrap();
    assert_eq!(
        (world.header(0, "x-amz-date"), world.header(1, "x-amz-date")),
        ("20270115T080000Z".into(), "20270115T083000Z".into())
    );
    for (date, requests) in
        [("Fri, 15 Jan 2027 08:01:00 GMT", 1), ("yesterday", 1), ("Fri, 15 Jan 2027 07:00:00 GMT", 2)]
    {
        let world = World::new().config(&config).then(skewed(date)).then(skewed(date));
        world.failure(&[]);
        assert_eq!(world.requests_len(), requests, "{date}");
    }
}

const PROCESS: &str = "[default]\ncredential_process = /opt/keys --for \"a b\"\naws_account_id = 123\n";
const PRINTED: &str = r#"{"Version":1,"AccessKeyId":"ASIAPROC","SecretAccessKey":"s","SessionToken":"t"}"#;

#[test]
fn a_program_prints_keys_without_a_shell() {
    let world = World::new().config(PROCESS).prints(Some(0), PRINTED);
    let keys = world.resolve(&[]).unwrap();
    assert_eq!((keys.access_key_id(), keys.account_id(), keys.expires_at()), ("ASIAPROC", Some("123"), None));
    assert!(!keys.stale_ok());
    let commands = world.commands.borrow();
    assert_eq!(commands[0].argv, ["/opt/keys", "--for", "a b"]);
    assert_eq!(
        (commands[0].timeout, commands[0].stdout_bytes_max, commands[0].stderr_bytes_max),
        (Duration::from_secs(60), 65_536, 4_096)
    );
}

#[test]
fn a_program_that_fails_ends_the_chain_and_its_output_stays_secret() {
    let fail = |world: World| world.failure(&[]);
    let process = || World::new().config(PROCESS);
    for status in [Some(1), Some(255), None] {
        let (_, kind, retry, text) = fail(process().prints(status, PRINTED));
        assert_eq!((kind, retry), (ProviderErrorKind::Process { status }, Retry::Recoverable));
        assert!(!text.contains("complaint") && !text.contains("ASIAPROC") && !text.contains("a b"), "{text}");
    }
    for (printed, field) in [
        ("", "stdout"),
        ("Password: ", "stdout"),
        (&PRINTED.replace('1', "2")[..], "Version"),
        (&PRINTED.replace("Version", "version")[..], "Version"),
        (&PRINTED.replace("\"s\"", "null")[..], "SecretAccessKey"),
        (&PRINTED.replace('}', ",\"Expiration\":\"soon\"}")[..], "Expiration"),
        (&PRINTED.replace('}', ",\"Expiration\":\"2026-01-01T00:00:00Z\"}")[..], "expiration"),
        (&"x".repeat(65_537)[..], "stdout"),
    ] {
        let (_, kind, _, _) = fail(process().prints(Some(0), printed));
        assert_eq!(kind, ProviderErrorKind::Malformed { field });
    }
    for (kind, expected) in [
        (ProcessErrorKind::NotFound, ProviderErrorKind::Process { status: None }),
        (ProcessErrorKind::Failed, ProviderErrorKind::Process { status: None }),
        (ProcessErrorKind::Timeout, ProviderErrorKind::Timeout { phase: "credential_process" }),
        (ProcessErrorKind::TooLarge, ProviderErrorKind::Malformed { field: "stdout" }),
    ] {
        let world = process();
        *world.output.borrow_mut() = Some(Err(kind));
        assert_eq!(fail(world).1, expected);
    }
    // One that never ends, run by somebody who does not keep the limit.
    let world = process();
    assert_eq!(world.failure(&[]).1, ProviderErrorKind::Timeout { phase: "credential_process" });
    assert_eq!(world.clock.0.get(), Duration::from_secs(60));

    let (.., text) = fail(World::new().config("[default]\ncredential_process = a | b\n"));
    assert!(text.contains("wrap it in a script"), "{text}");
    // Whoever can write the file could run programs as us.
    let world = World::new();
    let content = FileContent::new(PROCESS.as_bytes().to_vec()).with_unix_mode(0o100_666);
    world.files.insert("/h/.aws/config", content);
    assert!(fail(world.prints(Some(0), PRINTED)).3.contains("every user of the machine can write"));
}
