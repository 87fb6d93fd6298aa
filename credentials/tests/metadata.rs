//! Containers and instance metadata against a scripted service: what is asked, of whom, how often, and
//! what becomes of each answer. No secret comes out of any of it.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a surprise is a failed test")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use credentials::{
    Clock, CredentialsChain, CredentialsError, Dns, FixedClock, Host, HttpError, HttpErrorKind, HttpPhase,
    HttpSend, MemoryEnvironment, MemoryFiles, ProviderError, ProviderErrorKind, ProxyUse, SendOptions,
    SourceName,
};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::{Request, Response};

const MARK: &str = "CaNaRy";
const KEYS: &str = r#"{"Code":"Success","accessKeyId":"AKIAPUBLICPARTOFKEYS","SecretAccessKey":"CaNaRy-s","Token":"CaNaRy-t","Expiration":"2027-02-01T00:00:00Z"}"#;
const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

type Answer = Result<(u16, String), HttpErrorKind>;

/// What was sent: method, URI, pinned addresses, authorization or token.
type Sent = (String, String, Vec<IpAddr>, String);

#[derive(Clone, Default)]
struct Script(Rc<RefCell<(VecDeque<Answer>, Vec<Sent>)>>);

impl HttpSend for Script {
    fn send<'a>(
        &'a self,
        request: Request<Bytes>,
        options: &'a SendOptions,
    ) -> LocalBoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        assert_eq!((options.proxy, options.sensitive), (ProxyUse::Never, true));
        assert!(!format!("{:?}", request.headers()).contains(MARK), "the headers are marked as sensitive");
        let header = |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let secret = header("authorization").or(header("x-aws-ec2-metadata-token")).unwrap_or_default();
        let pin = options.pin.clone().unwrap_or_default();
        let mut script = self.0.borrow_mut();
        script.1.push((request.method().to_string(), request.uri().to_string(), pin, secret));
        let answer = script.0.pop_front().expect("one request more than the script has answers");
        let put = request.method() == "PUT";
        Box::pin(async move {
            match answer {
                Ok((status, body)) => {
                    let mut answer = Response::builder().status(status);
                    if put {
                        answer = answer.header("x-aws-ec2-metadata-token-ttl-seconds", "21600");
                    }
                    Ok(answer.body(Bytes::from(body)).unwrap())
                }
                Err(kind) => Err(HttpError::new(kind, "scripted")),
            }
        })
    }
}

/// Loopback the first time, something else from then on.
struct Rebinding(RefCell<Vec<Vec<IpAddr>>>);

impl Dns for Rebinding {
    fn resolve<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        let next = self.0.borrow_mut().pop().expect("asked twice");
        Box::pin(async move { Ok(next) })
    }
}

/// Time passes only by waiting, and then at once.
#[derive(Clone)]
struct Impatient(FixedClock);

impl Clock for Impatient {
    fn now(&self) -> SystemTime {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Option<LocalBoxFuture<'_, ()>> {
        Some(Box::pin(async move { self.0.advance(duration) }))
    }
}

struct World {
    script: Script,
    clock: FixedClock,
    host: Host,
    chain: CredentialsChain,
}

fn world(variables: &[(&str, &str)], files: &[(&str, &str)], dns: &[&str], answers: Vec<Answer>) -> World {
    let script = Script::default();
    script.0.borrow_mut().0 = answers.into();
    let clock = FixedClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let environment: MemoryEnvironment = [("HOME", "/h")].iter().chain(variables).copied().collect();
    let addresses = dns.iter().map(|address| address.parse().unwrap()).collect();
    let host = Host::builder()
        .environment(environment)
        .files(files.iter().copied().collect::<MemoryFiles>())
        .clock(Impatient(clock.clone()))
        .dns(Rebinding(RefCell::new(vec![addresses])))
        .http(script.clone())
        .build();
    World { script, clock, host, chain: CredentialsChain::builder().build() }
}

impl World {
    fn resolve(&self) -> Result<SourceName, CredentialsError> {
        let answer = self.chain.resolve(&self.host).now_or_never().unwrap();
        let printed = match &answer {
            Ok(identity) => format!("{identity:?}"),
            Err(error) => format!("{error} {error:?} {:?}", std::error::Error::source(error)),
        };
        assert!(!printed.contains(MARK) && !printed.contains("PUBLICPARTOF"), "{printed}");
        answer.map(|identity| identity.credentials().unwrap().source())
    }

    #[track_caller]
    fn failure(&self) -> ProviderError {
        match self.resolve() {
            Err(CredentialsError::Provider(error, _)) => *error,
            other => panic!("{other:?}"),
        }
    }

    fn sent(&self) -> Vec<Sent> {
        self.script.0.borrow().1.clone()
    }
}

fn ok(body: &str) -> Answer {
    Ok((200, body.to_owned()))
}

fn status(status: u16) -> Answer {
    Ok((status, r#"{"code":"CaNaRy","message":"CaNaRy CaNaRy"}"#.replace("\"CaNaRy\"", "\"SomeCode\"")))
}

fn refused() -> Answer {
    Err(HttpErrorKind::Connect)
}

fn silent(phase: HttpPhase) -> Answer {
    Err(HttpErrorKind::Timeout { phase })
}

#[test]
fn a_container_is_asked_at_its_fixed_address() {
    let w = world(
        &[(RELATIVE, "/v2/x?y=z"), (FULL, "http://evil/"), (TOKEN, "CaNaRy a")],
        &[],
        &[],
        vec![ok(KEYS)],
    );
    assert_eq!(w.resolve().unwrap(), SourceName::Container);
    let ecs: IpAddr = "169.254.170.2".parse().unwrap();
    let uri = "http://169.254.170.2/v2/x?y=z".to_owned();
    assert_eq!(w.sent(), [("GET".to_owned(), uri, vec![ecs], "CaNaRy a".to_owned())]);
}

#[test]
fn a_relative_uri_cannot_name_a_host() {
    for evil in [
        "@evil/",
        "//evil/",
        "evil",
        "http://evil/",
        "/\\evil",
        "/x#y",
        "/a b",
        "/a\r\nb",
        ":80/",
        ".evil/",
        "/\u{e4}",
    ] {
        let w = world(&[(RELATIVE, evil)], &[], &[], vec![]);
        assert!(matches!(w.failure().kind(), ProviderErrorKind::InvalidConfig { .. }), "{evil:?}");
    }
}

#[test]
fn only_checked_addresses_are_asked() {
    for (uri, dns, pin) in [
        ("http://127.0.0.1/x", &[][..], "127.0.0.1"),
        ("http://127.9.8.7:81/x", &[], "127.9.8.7"),
        ("http://[::1]/x", &[], "::1"),
        ("http://[::ffff:127.0.0.1]/x", &[], "127.0.0.1"),
        ("http://169.254.170.2/x", &[], "169.254.170.2"),
        ("http://169.254.170.23/v1/credentials", &[], "169.254.170.23"),
        ("http://[fd00:ec2::23]/v1", &[], "fd00:ec2::23"),
        ("http://localhost:80/x", &["127.0.0.1"], "127.0.0.1"),
        ("http://localhost/x", &["::ffff:127.0.0.1"], "127.0.0.1"),
        ("http://2130706433/x", &["127.0.0.1"], "127.0.0.1"),
        ("https://8.8.8.8/x", &[], "8.8.8.8"),
    ] {
        // The first try fails: the second goes to the same address without another look-up.
        let w = world(&[(FULL, uri)], &[], dns, vec![status(500), ok(KEYS)]);
        assert_eq!(w.resolve().unwrap(), SourceName::Container, "{uri}");
        assert!(w.sent().iter().all(|sent| sent.2 == [pin.parse::<IpAddr>().unwrap()]), "{uri}");
    }
    let w = world(&[(FULL, "https://keys.example/x")], &[], &[], vec![ok(KEYS)]);
    assert_eq!((w.resolve().unwrap(), w.sent()[0].2.len()), (SourceName::Container, 0));
    for (uri, dns) in [
        ("http://8.8.8.8/", &[][..]),
        ("http://0.0.0.0/", &[]),
        ("http://[::]/", &[]),
        ("http://10.0.0.1/", &[]),
        ("http://128.0.0.1/", &[]),
        ("http://169.254.169.254/", &[]),
        ("http://169.254.170.3/", &[]),
        ("http://[fd00:ec2::24]/", &[]),
        ("http://[fd00:ec2::254]/", &[]),
        ("http://[::127.0.0.1]/", &[]),
        ("http://[::ffff:8.8.8.8]/", &[]),
        ("http://[::2]/", &[]),
        ("http://127.0.0.1@evil", &[]),
        ("http://127.0.0.1:80@evil/", &[]),
        ("http://user:CaNaRy@127.0.0.1/", &[]),
        ("http://127.0.0.1#@evil/", &[]),
        ("http://127.0.0.1/#CaNaRy", &[]),
        ("http://127.0.0.1\\@evil/", &[]),
        ("http://127.0.0.1%2eevil/", &[]),
        ("http://127.0.0.1:99999/", &[]),
        ("http://evil/CaNaRy", &["8.8.8.8"]),
        ("http://localhost/", &["127.0.0.1", "8.8.8.8"]),
        ("http://localhost/", &["8.8.8.8", "::1"]),
        ("http://localhost/", &["::ffff:8.8.8.8"]),
        ("http://127.0.0.1.evil/", &["8.8.4.4"]),
        ("ftp://127.0.0.1/", &[]),
        ("//127.0.0.1/", &[]),
        ("/x", &[]),
    ] {
        let w = world(&[(FULL, uri)], &[], dns, vec![]);
        assert!(matches!(w.failure().kind(), ProviderErrorKind::InvalidConfig { .. }), "{uri}");
    }
}

#[test]
fn a_container_in_trouble_is_asked_three_times() {
    for (answers, expected) in [
        (vec![status(500), Err(HttpErrorKind::Broken), ok(KEYS)], true),
        (vec![ok("{"), ok("{}"), ok(KEYS)], true),
        (vec![refused(), silent(HttpPhase::Answer), status(503)], false),
        (vec![ok("<html>CaNaRy"), ok(r#"{"AccessKeyId":["CaNaRy"]}"#), ok("")], false),
        (vec![status(400)], false),
        (vec![status(403)], false),
        (vec![status(404)], false),
        (vec![status(302)], false),
        (vec![Err(HttpErrorKind::TooLarge)], false),
        (vec![Ok((200, "x".repeat(64 * 1024 + 1)))], false),
        (vec![Err(HttpErrorKind::Tls)], false),
        (vec![ok(&KEYS.replace("2027-02", "2020-02"))], false),
    ] {
        let w = world(&[(RELATIVE, "/CaNaRy"), (TOKEN, "CaNaRy")], &[], &[], answers);
        assert_eq!(w.resolve().is_ok(), expected);
        assert!(w.script.0.borrow().0.is_empty(), "every answer was asked for");
    }
}

#[test]
fn a_token_file_is_trimmed_checked_and_must_be_there() {
    let variables = [(RELATIVE, "/x"), (TOKEN_FILE, "/t"), (TOKEN, "other")];
    for (text, sent) in [("CaNaRy", "CaNaRy"), ("CaNaRy\n", "CaNaRy"), ("Basic CaNaRy\r\n", "Basic CaNaRy")] {
        let w = world(&variables, &[("/t", text)], &[], vec![ok(KEYS)]);
        w.resolve().unwrap();
        assert_eq!(w.sent()[0].3, sent);
    }
    for text in
        ["", "\n", " ", "CaNaRy\n\n", "CaNaRy\r\nx-evil: 1", "CaNaRy\0", "CaNaRy\u{7f}", "CaNaRy\u{e9}"]
    {
        let w = world(&variables, &[("/t", text)], &[], vec![]);
        assert!(matches!(w.failure().kind(), ProviderErrorKind::File { .. }), "{text:?}");
    }
    assert!(matches!(world(&variables, &[], &[], vec![]).failure().kind(), ProviderErrorKind::File { .. }));
    // The token itself in the wrong variable, and a line break in the right one.
    world(&[(RELATIVE, "/x"), (TOKEN_FILE, "CaNaRy")], &[], &[], vec![]).failure();
    world(&[(RELATIVE, "/x"), (TOKEN, "CaNaRy\r\nx: y")], &[], &[], vec![]).failure();
}

fn token() -> Answer {
    ok("CaNaRyToken==")
}

#[test]
fn metadata_is_asked_with_a_token_that_is_kept() {
    let role = || ok("my-role\r\nother");
    let w =
        world(&[], &[], &[], vec![token(), role(), ok(KEYS), role(), ok(KEYS), token(), role(), ok(KEYS)]);
    assert_eq!(w.resolve().unwrap(), SourceName::Imds);
    w.clock.advance(Duration::from_secs(21_600 - 121));
    w.resolve().unwrap();
    w.clock.advance(Duration::from_secs(1));
    w.resolve().unwrap();
    let sent = w.sent();
    let methods: Vec<&str> = sent.iter().map(|sent| sent.0.as_str()).collect();
    assert_eq!(methods, ["PUT", "GET", "GET", "GET", "GET", "PUT", "GET", "GET"]);
    let base = "http://169.254.169.254/latest/";
    assert_eq!(sent[0].1, format!("{base}api/token"));
    assert_eq!(sent[2].1, format!("{base}meta-data/iam/security-credentials/my-role"));
    assert!(sent.iter().all(|sent| sent.2 == ["169.254.169.254".parse::<IpAddr>().unwrap()]));
    assert!(sent.iter().all(|sent| sent.0 == "PUT" || sent.3 == "CaNaRyToken=="));
}

#[test]
fn nobody_there_is_a_skip_and_everything_else_a_failure() {
    let endpoint = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1338/")];
    for (answers, skipped) in [
        (vec![refused()], true),
        (vec![silent(HttpPhase::Connect)], true),
        (vec![token(), status(404)], true),
        (vec![silent(HttpPhase::Answer)], false),
        (vec![status(400)], false),
        (vec![status(401)], false),
        (vec![status(403)], false),
        (vec![status(404)], false),
        (vec![status(405)], false),
        (vec![status(500), status(502), status(503), status(504)], false),
        (vec![ok("")], false),
        (vec![ok("CaNaRy\r\nx: y")], false),
        (vec![Ok((200, "x".repeat(1025)))], false),
        (vec![token(), refused()], false),
        (vec![token(), status(401), token(), status(401), token(), status(401), token(), status(401)], false),
        (vec![token(), ok("")], false),
        (vec![token(), ok("..")], false),
        (vec![token(), ok("../x")], false),
        (vec![token(), ok("a/b")], false),
        (vec![token(), ok("a?b")], false),
        (vec![token(), ok("CaNaRyToken=="), status(404)], false),
        (vec![token(), ok("r"), ok("<html>CaNaRy")], false),
        (vec![token(), ok("r"), ok(r#"{"Code":"Failed","Message":"CaNaRy"}"#)], false),
        (vec![token(), ok("r"), ok(&KEYS.replace("Success", "CaNaRy CaNaRy"))], false),
    ] {
        let w = world(&[], &[], &[], answers.clone());
        let answer = w.resolve();
        assert_eq!(matches!(answer, Err(CredentialsError::NoCredentials(_))), skipped, "{answer:?}");
        assert!(answer.is_err() && w.script.0.borrow().0.is_empty(), "every answer was asked for");
        // Where somebody named the service, its absence is a failure.
        if answers.len() == 1 {
            world(&endpoint, &[], &[], answers).failure();
        }
    }
}

#[test]
fn a_refused_token_is_replaced_and_trouble_passes() {
    let w =
        world(&[], &[], &[], vec![token(), status(401), token(), ok("r"), status(500), ok("r"), ok(KEYS)]);
    assert_eq!(w.resolve().unwrap(), SourceName::Imds);
}

#[test]
fn patience_is_configurable_within_bounds() {
    let (timeout, attempts) = ("AWS_METADATA_SERVICE_TIMEOUT", "AWS_METADATA_SERVICE_NUM_ATTEMPTS");
    let profile = "[default]\nmetadata_service_timeout = 3\nmetadata_service_num_attempts = 1\n";
    for (variables, config, seconds, asked) in
        [(vec![], "", 1, 4), (vec![(timeout, "2"), (attempts, "2")], profile, 2, 2), (vec![], profile, 3, 1)]
    {
        let w = world(&variables, &[("/h/.aws/config", config)], &[], vec![status(500); 4]);
        w.failure();
        assert_eq!(w.sent().len(), asked);
        let answers = vec![silent(HttpPhase::Connect)];
        let w = world(&variables, &[("/h/.aws/config", config)], &[], answers);
        let error = w.resolve().unwrap_err().to_string();
        assert!(error.contains(&format!("within {seconds} s; not on EC2?")), "{error}");
    }
    for bad in ["0", "-1", "1.5", "11", "soon", "99999999999"] {
        for name in [timeout, attempts] {
            let error = world(&[(name, bad)], &[], &[], vec![]).failure();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[test]
fn silence_after_an_answer_is_a_failure() {
    let w = world(&[], &[], &[], vec![token(), ok("r"), ok(KEYS), refused()]);
    w.resolve().unwrap();
    assert_eq!(w.failure().kind(), &ProviderErrorKind::Connect);
}

#[test]
fn hints_say_what_to_do() {
    let hint = |answers| world(&[], &[], &[], answers).failure().hint().unwrap().to_owned();
    assert!(hint(vec![silent(HttpPhase::Answer)]).contains("HttpPutResponseHopLimit=2"));
    assert!(hint(vec![status(404)]).contains("AWS_EC2_METADATA_DISABLED"));
    let document = r#"{"Code":"AssumeRoleUnauthorizedAccess"}"#;
    assert!(hint(vec![token(), ok("r"), ok(document)]).contains("trust policy"));
}

#[test]
fn keys_that_arrive_dead_are_taken_where_there_are_none() {
    // Those who hold better ones refuse them: see the table of the cache.
    let dead = KEYS.replace("2027-02", "2020-02");
    let w = world(&[], &[], &[], vec![token(), ok("r"), ok(&dead)]);
    assert_eq!(w.resolve().unwrap(), SourceName::Imds);
}

#[test]
fn the_report_names_the_service_that_gave_the_keys_but_not_what_was_asked_of_it() {
    let endpoint = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1/CaNaRy/");
    let container = (FULL, "http://127.0.0.1:2/CaNaRy?x=CaNaRy");
    let profile = [(
        "/h/.aws/config",
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\ncredential_source = EcsContainer\n",
    )];
    let instance = || vec![token(), ok("r"), ok(KEYS)];
    for (variables, files, answers, expected) in [
        (vec![], &[][..], instance(), "role r of the instance, from http://169.254.169.254"),
        (vec![endpoint], &[], instance(), "role r of the instance, from http://127.0.0.1:1"),
        (vec![container], &[], vec![ok(KEYS)], "from http://127.0.0.1:2"),
    ] {
        let w = world(&variables, files, &[], answers);
        let explain = w.chain.explain(&w.host).now_or_never().unwrap();
        assert_eq!(explain.used().unwrap().via.as_deref(), Some(expected));
        let text = format!("{explain}\n{explain:?}\n{}", serde_json::to_string(&explain).unwrap());
        assert!(explain.to_string().contains(&format!(", {expected}\n")), "{explain}");
        assert!(!text.contains(MARK) && !text.contains("PUBLICPARTOF"), "{text}");
    }
    // Where a profile names the container, the role's report names STS; the keys behind it are nobody's business.
    let w = world(&[container], &profile, &[], vec![ok(KEYS)]);
    let text = w.chain.explain(&w.host).now_or_never().unwrap().to_string();
    assert!(text.contains("STS needs a region") && !text.contains(MARK), "{text}");
}

#[test]
fn the_endpoint_comes_from_variable_profile_or_mode() {
    let uri = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    let mode = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
    let profile = "[default]\nec2_metadata_service_endpoint = http://127.0.0.1:2/p/\n";
    let ipv6 = "[default]\nec2_metadata_service_endpoint_mode = ipv6\n";
    for (variables, config, expected) in [
        (vec![(uri, "http://127.0.0.1:1/"), (mode, "x")], profile, "http://127.0.0.1:1/latest/api/token"),
        (vec![(mode, "IPv6")], profile, "http://127.0.0.1:2/p/latest/api/token"),
        (vec![(mode, "IPv4")], ipv6, "http://169.254.169.254/latest/api/token"),
        (vec![(mode, "IPV6")], "", "http://[fd00:ec2::254]/latest/api/token"),
        (vec![], ipv6, "http://[fd00:ec2::254]/latest/api/token"),
    ] {
        let w = world(&variables, &[("/h/.aws/config", config)], &[], vec![status(403)]);
        w.failure();
        assert_eq!(w.sent()[0].1, expected);
    }
    for bad in
        [(mode, "IPv5"), (uri, "http://u:CaNaRy@h/"), (uri, "169.254.169.254"), (uri, "http://h/?CaNaRy")]
    {
        let w = world(&[bad], &[], &["127.0.0.1"], vec![]);
        assert!(matches!(w.failure().kind(), ProviderErrorKind::InvalidConfig { .. }), "{bad:?}");
    }
    let w = world(&[("AWS_EC2_METADATA_DISABLED", "True"), (uri, "http://h")], &[], &[], vec![]);
    assert!(matches!(w.resolve(), Err(CredentialsError::NoCredentials(_))));
}
