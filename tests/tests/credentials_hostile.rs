//! Every source that asks a service, over real sockets, before services that break off, lie, flood, dawdle and send it
//! elsewhere: a clear failure within the limits, nothing secret in it, and nobody else asked.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a surprise is a failed test")]
#![expect(clippy::disallowed_methods, reason = "limits are measured by the clock")]

use std::time::{Duration, Instant};

use credentials::{
    CredentialsChain, CredentialsError, MemoryEnvironment, MemoryFiles, ProviderErrorKind, SourceName,
};
use futures_util::future::join_all;
use tests::scripted::{Act, Answer, Server, Step, answer};

/// In every secret, and in what the service says.
const MARK: &str = "MARKED";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Container,
    Instance,
    Sts,
}

impl Source {
    const ALL: [Source; 3] = [Source::Container, Source::Instance, Source::Sts];

    fn name(self) -> SourceName {
        match self {
            Source::Container => SourceName::Container,
            Source::Instance => SourceName::Imds,
            Source::Sts => SourceName::WebIdentity,
        }
    }

    fn variables(self, url: &str) -> Vec<(&'static str, String)> {
        match self {
            Source::Container => vec![
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{url}/{MARK}")),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token".to_owned()),
            ],
            Source::Instance => vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.to_owned())],
            Source::Sts => vec![
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token".to_owned()),
                ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r".to_owned()),
                ("AWS_ENDPOINT_URL_STS", url.to_owned()),
                ("AWS_REGION", "eu-west-1".to_owned()),
            ],
        }
    }
}

/// What one source made of one service: the kind of the failure, how often it asked, and how long it took.
async fn ask(source: Source, step: Step) -> (ProviderErrorKind, usize, Duration) {
    let server = Server::always(step);
    let variables = source.variables(&format!("http://{}", server.address()));
    let environment: MemoryEnvironment =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let files: MemoryFiles = [("/token", format!("{MARK}.{MARK}.{MARK}\n"))].into_iter().collect();
    let host = s3_backend::system_host().to_builder().environment(environment).files(files).build();
    let began = Instant::now();
    let error = CredentialsChain::builder().build().resolve(&host).await.unwrap_err();
    let took = began.elapsed();
    let text = format!("{error}\n{error:?}\n{}", serde_json::to_string(error.explain()).unwrap());
    assert!(!text.contains(MARK), "{source:?}: {text}");
    let CredentialsError::Provider(error, _) = error else { panic!("{source:?}: {text}") };
    assert_eq!(error.provider(), source.name(), "{text}");
    (error.kind().clone(), server.seen().len(), took)
}

/// Asks all sources at once. `expected`: the name of the kind and how often each may ask, in the order of
/// [`Source::ALL`]; `limit`: how long any of them may take.
async fn assert_each(step: impl Fn() -> Step, expected: [(&str, usize); 3], limit: Duration) {
    let answers = join_all(Source::ALL.map(|source| ask(source, step()))).await;
    for ((source, (kind, asked, took)), expected) in Source::ALL.iter().zip(answers).zip(expected) {
        let name = format!("{kind:?}");
        assert!(name.starts_with(expected.0), "{source:?}: {name}");
        assert_eq!(asked, expected.1, "{source:?}: {name}");
        assert!(took < limit, "{source:?} took {took:?}");
    }
}

const SOON: Duration = Duration::from_secs(15);

#[compio::test]
async fn a_service_that_breaks_off_is_asked_again_a_few_times() {
    let step = || {
        vec![Act::ReadAll, Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec()), Act::Reset]
    };
    assert_each(step, [("Connect", 3), ("Connect", 4), ("Connect", 3)], SOON).await;
}

#[compio::test]
async fn an_error_of_the_service_is_told_with_its_status() {
    let body = format!("{{\"code\":\"{MARK} {MARK}\",\"message\":\"{MARK}\"}}");
    let step = |status| {
        let body = body.clone();
        move || answer(Answer::new(status).body(body.clone()))
    };
    assert_each(step(500), [("Service", 3), ("Service", 4), ("Service", 3)], SOON).await;
    assert_each(step(403), [("Service", 1), ("Service", 1), ("Service", 1)], SOON).await;
}

#[compio::test]
async fn what_is_not_the_protocol_is_malformed() {
    // An agent of containers that is starting may say anything; the others are not asked twice.
    let page = || answer(Answer::new(200).body(format!("<html> <br>{MARK}")));
    assert_each(page, [("Malformed", 3), ("Malformed", 1), ("Malformed", 1)], SOON).await;
    let ssh = || vec![Act::ReadAll, Act::Send(format!("SSH-2.0-{MARK}\r\n\r\n").into_bytes()), Act::Close];
    assert_each(ssh, [("Malformed", 3), ("Malformed", 1), ("Malformed", 1)], SOON).await;
}

#[compio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let announced = || {
        let head = Answer::new(200).length(Some(10_000_000_000)).head();
        vec![Act::ReadAll, Act::Send(head), Act::Stall]
    };
    assert_each(announced, [("Malformed", 1), ("Malformed", 1), ("Malformed", 1)], SOON).await;
    let flood = || {
        let mut bytes = Answer::new(200).length(None).header("connection", "close").head();
        bytes.extend(MARK.repeat(100_000).into_bytes());
        vec![Act::ReadAll, Act::Send(bytes), Act::Stall]
    };
    assert_each(flood, [("Malformed", 1), ("Malformed", 1), ("Malformed", 1)], SOON).await;
}

#[compio::test]
async fn nobody_is_sent_elsewhere() {
    let elsewhere = Server::always(answer(Answer::new(200).body(MARK)));
    for status in [301, 302, 307, 308] {
        let there = format!("http://{}/{MARK}", elsewhere.address());
        let step = || answer(Answer::new(status).header("location", &there));
        assert_each(step, [("Service", 1), ("Service", 1), ("Service", 1)], SOON).await;
    }
    assert_eq!(elsewhere.connections(), 0);
}

/// Three attempts of 7 s for a container; one of 2 s for the instance, whose answer dies of the hop limit; half a minute
/// for STS.
#[compio::test]
async fn a_service_that_dawdles_is_given_up() {
    let silent = || vec![Act::ReadAll, Act::Stall];
    let dripping = || {
        let bytes = Answer::new(200).body(format!("{{{}", MARK.repeat(100))).raw();
        vec![Act::ReadAll, Act::Drip(bytes, Duration::from_millis(100))]
    };
    let expected = [("Timeout", 3), ("Timeout", 1), ("Timeout", 3)];
    let limit = Duration::from_secs(40);
    futures_util::join!(assert_each(silent, expected, limit), assert_each(dripping, expected, limit));
}
