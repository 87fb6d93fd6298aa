//! The whole chain as a program outside the workspace drives it: its own variables, its own files, its own HTTP, its
//! own clock, and nothing else. One cloud answers everything; each row says what is configured and what must come of it.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a surprise is a failed test")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use credentials::{
    AssumeRole, Clock, CredentialsCache, CredentialsChain, CredentialsError, Dns, Environment, FileContent,
    Files, Host, HttpError, HttpErrorKind, HttpSend, Inline, Secret, SendOptions,
};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::{Request, Response};

/// Everything that the machine is: text by name or path.
#[derive(Clone)]
struct Machine(Rc<BTreeMap<String, String>>);

impl Environment for Machine {
    fn var(&self, name: &str) -> Option<OsString> {
        self.0.get(name).map(OsString::from)
    }
}

impl Files for Machine {
    fn read<'a>(&'a self, path: &'a Path, _: usize) -> LocalBoxFuture<'a, io::Result<FileContent>> {
        let found = self.0.get(path.to_str().unwrap()).cloned();
        Box::pin(async { Ok(FileContent::new(found.ok_or(io::ErrorKind::NotFound)?.into_bytes())) })
    }

    fn write_private<'a>(&'a self, _: &'a Path, _: &'a [u8]) -> LocalBoxFuture<'a, io::Result<()>> {
        panic!("nothing is written")
    }
}

/// 2027-01-15T08:00:00Z, and what was slept since.
#[derive(Clone, Default)]
struct Time(Rc<Cell<Duration>>);

impl Clock for Time {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + self.0.get()
    }

    fn monotonic(&self) -> Duration {
        self.0.get()
    }

    fn sleep(&self, duration: Duration) -> Option<LocalBoxFuture<'_, ()>> {
        Some(Box::pin(async move { self.0.set(self.0.get() + duration) }))
    }
}

/// Answers as STS, as an agent of containers, and as instance metadata. The key id says who was asked.
#[derive(Clone, Default)]
struct Cloud(Rc<RefCell<Vec<String>>>);

impl HttpSend for Cloud {
    fn send<'a>(
        &'a self,
        request: Request<Bytes>,
        options: &'a SendOptions,
    ) -> LocalBoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        let uri = request.uri().to_string();
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let pin = options.pin.iter().flatten().map(|ip| format!(" @{ip}")).collect::<String>();
        let auth = header("authorization").unwrap_or_default();
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        self.0.borrow_mut().push(format!("{} {uri}{pin} {auth} {body}", request.method()));
        let host = request.uri().host().unwrap().to_owned();
        let path = request.uri().path().to_owned();
        let json = |id: &str| {
            format!(
                r#"{{"AccessKeyId":"{id}","SecretAccessKey":"s","Token":"t","Expiration":"2027-01-15T14:00:00Z"}}"#
            )
        };
        let answer = if host == "169.254.169.254" && request.method() == "PUT" {
            Ok("token".to_owned())
        } else if host == "169.254.169.254" {
            Ok(if path.ends_with('/') { "role".to_owned() } else { json("FROM-IMDS") })
        } else if host.contains("sts") {
            let action = body.split('&').next().unwrap().strip_prefix("Action=").unwrap();
            let arn = body.split('&').find_map(|field| field.strip_prefix("RoleArn=")).unwrap();
            let role = arn.rsplit("%2F").next().unwrap();
            Ok(format!(
                "<{action}Response><{action}Result><Credentials><AccessKeyId>ROLE-{role}</AccessKeyId>\
                 <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
                 <Expiration>2027-01-15T09:00:00Z</Expiration></Credentials></{action}Result></{action}Response>"
            ))
        } else if host == "nobody" || host == "127.0.0.9" {
            Err(HttpError::new(HttpErrorKind::Connect, "refused"))
        } else {
            Ok(json("FROM-CONTAINER"))
        };
        Box::pin(async move { Ok(Response::new(Bytes::from(answer?))) })
    }
}

impl Dns for Cloud {
    fn resolve<'a>(&'a self, name: &'a str) -> LocalBoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let addresses: &[&str] = match name {
            "localhost" | "good" => &["127.0.0.1", "::1"],
            "mixed" => &["127.0.0.1", "10.0.0.1"],
            "evil" | "2130706433" | "0x7f.1" => &["10.0.0.1"],
            _ => &[],
        };
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Box::pin(async move { Ok(addresses) })
    }
}

struct Outcome {
    /// The key id, or the whole text of the error.
    answer: Result<String, String>,
    requests: Vec<String>,
}

fn run_with(chain: &CredentialsChain, machine: &[(&str, &str)]) -> Outcome {
    let ours = [("HOME", "/h"), ("AWS_REGION", "eu-west-1")];
    let entries = ours.iter().chain(machine).map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let machine = Machine(Rc::new(entries.collect()));
    let cloud = Cloud::default();
    let host = Host::builder()
        .environment(machine.clone())
        .files(machine)
        .clock(Time::default())
        .http(cloud.clone())
        .dns(cloud.clone())
        .build();
    let cache = CredentialsCache::new(chain.clone());
    let answer = match cache.get(&host).now_or_never().expect("nothing here takes time") {
        Ok(identity) => {
            Ok(identity.credentials().map_or("anonymous", |keys| keys.access_key_id()).to_owned())
        }
        Err(error @ CredentialsError::NoCredentials(_)) => Err(format!("nothing: {error}")),
        Err(error) => Err(error.to_string()),
    };
    Outcome { answer, requests: cloud.0.take() }
}

fn run(machine: &[(&str, &str)]) -> Outcome {
    run_with(&CredentialsChain::builder().build(), machine)
}

const ENV: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "FROM-ENV"), ("AWS_SECRET_ACCESS_KEY", "s")];
const PROFILE: (&str, &str) =
    ("/h/.aws/credentials", "[default]\naws_access_key_id = FROM-PROFILE\naws_secret_access_key = s\n");
const CONTAINER: (&str, &str) = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/x?y=z");
const WEB: [(&str, &str); 3] = [
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
    ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/web"),
    ("/token", "eyJ.eyJ.sig\n"),
];

#[test]
fn each_source_wins_over_all_behind_it() {
    let all = [&ENV[..], &[PROFILE, CONTAINER], &WEB].concat();
    for (skipped, id) in
        [(0, "FROM-ENV"), (2, "FROM-PROFILE"), (3, "FROM-CONTAINER"), (4, "ROLE-web"), (7, "FROM-IMDS")]
    {
        let outcome = run(&all[skipped..]);
        assert_eq!(outcome.answer.as_deref(), Ok(id));
        let asked = match id {
            "FROM-ENV" | "FROM-PROFILE" => 0,
            "FROM-IMDS" => 3,
            _ => 1,
        };
        assert_eq!(outcome.requests.len(), asked, "{:?}", outcome.requests);
    }
}

/// What is broken never ends with the keys of a source behind it, of which there always is one: the instance.
#[test]
fn no_mistake_ends_with_another_identity() {
    let credentials = "/h/.aws/credentials";
    let config = "/h/.aws/config";
    let uri = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let role = "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\n";
    let with = |more: &str| format!("{role}{more}");
    let rows: Vec<(Vec<(&str, String)>, &str)> = vec![
        (vec![("AWS_ACCESS_KEY_ID", "A".into())], "AWS_SECRET_ACCESS_KEY"),
        (
            vec![("AWS_ACCESS_KEY_ID", "A".into()), ("AWS_SECRET_ACCESS_KEY", " \t ".into())],
            "AWS_SECRET_ACCESS_KEY",
        ),
        (vec![("AWS_SECRET_ACCESS_KEY", "s".into())], "AWS_ACCESS_KEY_ID"),
        (vec![("AWS_PROFILE", "absent".into())], "absent"),
        (vec![("AWS_DEFAULT_PROFILE", "absent".into())], "absent"),
        (vec![(credentials, "[default]\naws_access_key_id = A\n".into())], "aws_secret_access_key"),
        (vec![(credentials, "[default\n".into())], "/h/.aws/credentials:1"),
        (vec![(credentials, "[default]\n\n\nnonsense\n".into())], "/h/.aws/credentials:4"),
        (vec![(config, "a = b\n".into())], "/h/.aws/config:1"),
        (vec![(config, with(""))], "source_profile"),
        (vec![(config, with("source_profile = absent\n"))], "absent"),
        (vec![(config, with("source_profile = default\n"))], "no credentials"),
        (vec![(config, with("source_profile = x\ncredential_source = Environment\n"))], "credential_source"),
        (vec![(config, with("credential_source = Moon\n"))], "credential_source"),
        (vec![(config, with("credential_source = Environment\n"))], "AWS_ACCESS_KEY_ID"),
        (vec![(config, with("credential_source = EcsContainer\n"))], "AWS_CONTAINER_CREDENTIALS"),
        (
            vec![(
                config,
                with(
                    "source_profile = b\n[profile b]\nrole_arn = arn:aws:iam::1:role/b1\nsource_profile = default\n",
                ),
            )],
            "circle",
        ),
        (vec![(config, with("source_profile = b\n[profile b]\nregion = x\n"))], "no credentials"),
        (vec![(config, with("web_identity_token_file = /absent\n"))], "/absent"),
        (
            vec![
                (config, "[default]\nweb_identity_token_file = /token\n".into()),
                ("/token", "eyJ.eyJ.sig".into()),
                // Not of this profile: it must not fill the gap.
                ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/web".into()),
            ],
            "role_arn",
        ),
        (vec![(config, "[default]\ncredential_process = /bin/keys\n".into())], "credential_process"),
        (vec![(config, "[default]\nsso_session = s\n".into())], "credential_process"),
        (vec![(config, "[default]\nlogin_session = s\n".into())], "login_session"),
        (vec![(config, with("source_profile = b\nmfa_serial = m\n[profile b]\n"))], "mfa_serial"),
        (vec![(uri, "http://10.0.0.1/x".into())], "neither this machine"),
        (vec![(uri, "http://evil/x".into())], "neither this machine"),
        (vec![(uri, "http://mixed/x".into())], "neither this machine"),
        (vec![(uri, "http://2130706433/x".into())], "neither this machine"),
        (vec![(uri, "http://0x7f.1/x".into())], "neither this machine"),
        (vec![(uri, "http://[::ffff:10.0.0.1]/x".into())], "neither this machine"),
        (vec![(uri, "http://169.254.169.254/x".into())], "neither this machine"),
        (vec![(uri, "http://127.0.0.1@evil/x".into())], "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        (vec![(uri, "http://absent/x".into())], "resolved"),
        (vec![(uri, "http://127.0.0.9/x".into())], "cannot connect"),
        (
            vec![("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@evil/x".into())],
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        ),
        (
            vec![
                ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x".into()),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/absent".into()),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "would do".into()),
            ],
            "/absent",
        ),
        (
            vec![
                ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x".into()),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a\r\nHost: evil".into()),
            ],
            "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        ),
        (vec![("AWS_WEB_IDENTITY_TOKEN_FILE", "/token".into())], "AWS_ROLE_ARN"),
        (
            vec![
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "/absent".into()),
                ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/web".into()),
            ],
            "/absent",
        ),
        (vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv7".into())], "neither IPv4 nor IPv6"),
        (vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.9".into())], "cannot connect"),
    ];
    for (machine, expected) in rows {
        let machine: Vec<_> = machine.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let outcome = run(&machine);
        let error = outcome.answer.expect_err(&format!("{machine:?}"));
        assert!(!error.starts_with("nothing") && error.contains("FAILED"), "{machine:?}: {error}");
        assert!(error.contains(expected), "{machine:?}: {error}");
        let asked_the_instance = outcome.requests.iter().any(|request| request.contains("169.254.169.254"));
        assert!(!asked_the_instance, "{machine:?}: {:?}", outcome.requests);
    }
}

#[test]
fn what_is_not_configured_is_passed_over_however_it_looks() {
    for machine in [
        &[][..],
        &[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "  ")],
        &[("AWS_SESSION_TOKEN", "t")],
        &[("AWS_PROFILE", " ")],
        &[("AWS_PROFILE", "")],
        &[("/h/.aws/config", "[profile other]\naws_access_key_id = A\naws_secret_access_key = s\n")],
        &[("/h/.aws/config", "[default]\nregion = eu-west-1\noutput = json\n")],
        // In this file the prefix makes another name of it.
        &[("/h/.aws/credentials", "[profile default]\naws_access_key_id = A\naws_secret_access_key = s\n")],
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")],
        &[("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t")],
        &[("AWS_WEB_IDENTITY_TOKEN_FILE", "")],
        &[("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/web")],
        &[("AWS_CONFIG_FILE", "/absent"), ("AWS_SHARED_CREDENTIALS_FILE", "/absent")],
        &[("AWS_EC2_METADATA_DISABLED", "false")],
        &[("AWS_EC2_METADATA_DISABLED", "1")],
    ] {
        assert_eq!(run(machine).answer.as_deref(), Ok("FROM-IMDS"), "{machine:?}");
    }
    for disabled in ["true", "True", "TRUE"] {
        let outcome = run(&[("AWS_EC2_METADATA_DISABLED", disabled)]);
        assert!(outcome.answer.unwrap_err().starts_with("nothing") && outcome.requests.is_empty());
    }
}

#[test]
fn files_are_read_as_the_sdks_read_them() {
    let keys = |id: &str| format!("aws_access_key_id = {id}\naws_secret_access_key = s\n");
    let rows: Vec<(Vec<(&str, String)>, &str)> = vec![
        // The credentials file wins key by key; `[profile default]` drops `[default]`, wherever it stands.
        (
            vec![
                ("/h/.aws/config", format!("[default]\n{}", keys("C"))),
                ("/h/.aws/credentials", "[default]\nAWS_ACCESS_KEY_ID = M\n".into()),
            ],
            "M",
        ),
        (vec![("/h/.aws/config", format!("[profile default]\n{}[default]\n{}", keys("P"), keys("D")))], "P"),
        (vec![("/h/.aws/config", format!("[default]\n{}[profile default]\n{}", keys("D"), keys("P")))], "P"),
        // Duplicates merge, the last one counts; comments, carriage returns and blanks.
        (vec![("/h/.aws/config", format!("[default]\n{}[default]\naws_access_key_id=L\n", keys("F")))], "L"),
        (
            vec![(
                "/h/.aws/config",
                "; c\r\n[default]# c\r\n\r\naws_access_key_id\t=\tA #c\r\naws_secret_access_key=s;c\r\n"
                    .into(),
            )],
            "A",
        ),
        (
            vec![("/h/.aws/config", format!("[ profile \t x ]\n{}", keys("X"))), ("AWS_PROFILE", "x".into())],
            "X",
        ),
        (
            vec![
                ("/else", format!("[x]\n{}", keys("X"))),
                ("AWS_PROFILE", "x".into()),
                ("AWS_SHARED_CREDENTIALS_FILE", "/else".into()),
            ],
            "X",
        ),
        (vec![("/h/else", format!("[default]\n{}", keys("T"))), ("AWS_CONFIG_FILE", "~/else".into())], "T"),
        // A role over itself, over two others, and over the environment.
        (
            vec![(
                "/h/.aws/config",
                format!(
                    "[default]\nrole_arn=arn:aws:iam::123456789012:role/self\nsource_profile=default\n{}",
                    keys("A")
                ),
            )],
            "ROLE-self",
        ),
        (
            vec![(
                "/h/.aws/config",
                format!(
                    "[default]\nrole_arn=arn:aws:iam::123456789012:role/a\nsource_profile=b\n\
                     [profile b]\nrole_arn=arn:aws:iam::123456789012:role/b\nsource_profile=c\n\
                     [profile c]\nrole_arn=arn:aws:iam::123456789012:role/never\nsource_profile=absent\n{}",
                    keys("A")
                ),
            )],
            "ROLE-a",
        ),
    ];
    for (machine, id) in rows {
        let machine: Vec<_> = machine.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let outcome = run(&machine);
        assert_eq!(outcome.answer.as_deref(), Ok(id), "{machine:?}");
    }
}

/// A profile that is named pins: keys of the environment then serve as its base at most.
#[test]
fn a_profile_named_by_the_program_beats_the_environment_and_may_build_on_it() {
    let chain = CredentialsChain::builder().profile_name("p".to_owned()).build();
    let role = "[profile p]\nrole_arn=arn:aws:iam::123456789012:role/e\ncredential_source=environment\n";
    let machine = [&ENV[..], &[("/h/.aws/config", role), PROFILE]].concat();
    assert_eq!(run_with(&chain, &machine).answer.as_deref(), Ok("ROLE-e"));
    assert!(run_with(&chain, &machine[2..]).answer.unwrap_err().contains("AWS_ACCESS_KEY_ID"));
    assert!(
        run_with(&chain, &[&ENV[..], &[PROFILE, CONTAINER]].concat()).answer.unwrap_err().contains("\"p\"")
    );
    // One that the environment names does not beat the environment's own keys.
    assert_eq!(run(&[&machine[..], &[("AWS_PROFILE", "p")]].concat()).answer.as_deref(), Ok("FROM-ENV"));
}

/// Whoever the chain finds takes on the role; whoever cannot ends the chain.
#[test]
fn a_role_of_the_program_is_taken_on_with_the_keys_of_any_source() {
    let role = AssumeRole::new("arn:aws:iam::123456789012:role/own")
        .session_name("own")
        .external_id(Secret::new("x:1"));
    let chain = CredentialsChain::builder().assume_role(role.duration(Duration::from_secs(900))).build();
    for (machine, base) in [
        (&ENV[..], "FROM-ENV/20270115/eu-west-1/sts/"),
        (&[PROFILE], "FROM-PROFILE/"),
        (&[CONTAINER], "FROM-CONTAINER/"),
        (&WEB, "ROLE-web/"),
        (&[], "FROM-IMDS/"),
    ] {
        let outcome = run_with(&chain, machine);
        assert_eq!(outcome.answer.as_deref(), Ok("ROLE-own"), "{machine:?}");
        let last = outcome.requests.last().unwrap();
        assert!(last.starts_with("POST https://sts.eu-west-1.amazonaws.com/ AWS4-HMAC-SHA256 "), "{last}");
        assert!(last.contains(&format!("Credential={base}")), "{last}");
        let fields = "&RoleSessionName=own&ExternalId=x%3A1&DurationSeconds=900";
        assert!(last.contains("Action=AssumeRole&") && last.contains(fields), "{last}");
    }
    // The program's own mistakes, before anybody is asked.
    let arn = "arn:aws:iam::123456789012:role/own";
    for (role, key) in [
        (AssumeRole::new("own"), "role_arn"),
        (AssumeRole::new(arn).session_name("a b"), "role_session_name"),
        (AssumeRole::new(arn).duration(Duration::from_secs(60)), "duration_seconds"),
    ] {
        let outcome = run_with(&CredentialsChain::builder().assume_role(role).build(), &[]);
        let error = outcome.answer.unwrap_err();
        assert!(error.contains("inline is configured but failed") && error.contains(key), "{error}");
        assert!(outcome.requests.is_empty());
    }
    // An STS that is not there, and one who is nobody.
    let role = || AssumeRole::new(arn);
    let builder = || CredentialsChain::builder().assume_role(role());
    let nowhere = builder().sts_endpoint("https://nobody".to_owned()).build();
    let error = run_with(&nowhere, &[&ENV[..], &[PROFILE]].concat()).answer.unwrap_err();
    assert!(error.contains("env is configured but failed"), "{error}");
    let error = run_with(&builder().inline(Inline::Anonymous).build(), &[]).answer.unwrap_err();
    assert!(error.contains("anonymous"), "{error}");
    // Without keys there is nothing to take it on with.
    let disabled = [("AWS_EC2_METADATA_DISABLED", "true")];
    assert!(run_with(&builder().build(), &disabled).answer.unwrap_err().starts_with("nothing"));
}

#[test]
fn services_are_asked_where_and_how_they_must_be() {
    let uri = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let token_file = [("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/pod"), ("/pod", "eks-token\n")];
    for (machine, request) in [
        (
            vec![CONTAINER, (uri, "http://127.0.0.1/no")],
            "GET http://169.254.170.2/v2/credentials/x?y=z @169.254.170.2  ",
        ),
        (
            [
                &[(uri, "http://169.254.170.23/v1/credentials")],
                &token_file[..],
                &[("AWS_CONTAINER_AUTHORIZATION_TOKEN", "no")],
            ]
            .concat(),
            "GET http://169.254.170.23/v1/credentials @169.254.170.23 eks-token ",
        ),
        (vec![(uri, "http://[fd00:ec2::23]/v1")], "GET http://[fd00:ec2::23]/v1 @fd00:ec2::23  "),
        (vec![(uri, "http://localhost:80/x")], "GET http://localhost:80/x @127.0.0.1 @::1  "),
        (vec![(uri, "http://[::ffff:127.0.0.1]/x")], "GET http://[::ffff:127.0.0.1]/x @127.0.0.1  "),
        (
            vec![(uri, "https://agent.example/x"), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic x")],
            "GET https://agent.example/x Basic x ",
        ),
    ] {
        let outcome = run(&machine);
        assert_eq!(outcome.answer.as_deref(), Ok("FROM-CONTAINER"), "{machine:?}");
        assert_eq!(outcome.requests, [request]);
    }
    let outcome = run(&WEB);
    let [request] = &outcome.requests[..] else { panic!("{:?}", outcome.requests) };
    assert!(
        request.starts_with("POST https://sts.eu-west-1.amazonaws.com/  Action=AssumeRoleWithWebIdentity&"),
        "{request}"
    );
    assert!(
        request.contains("&WebIdentityToken=eyJ.eyJ.sig") && !request.contains("DurationSeconds"),
        "{request}"
    );
}
