//! What holds for whatever a service or a program answers that is asked for keys. Shared by the fuzz target and by
//! `credentials/tests/corpus.rs`.

use bytes::Bytes;
use credentials::{HttpErrorKind, Identity, SourceName};
use http::{Method, Request, Response};

use crate::world::{MARK, World};

const ROLE: &str = "arn:aws:iam::123456789012:role/r";

/// Panics if anything is wrong with how this answer is read: a line with the status, lines with header fields, an empty
/// line, and the body. What is no such thing is a body.
pub(crate) fn check(bytes: &[u8]) {
    let token = format!("{MARK}.a.b");
    let answer = Answer::of(bytes);
    let container = answer.clone();
    let world = World::new(move |_| container.build(), bytes);
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/x"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", &*token),
    ];
    good(world.ask(SourceName::Container, &variables, &[]).ok(), true);

    for (method, path) in [(Method::PUT, "token"), (Method::GET, "/r"), (Method::GET, "credentials/")] {
        // The name of a role is shown, whatever it is.
        if path.ends_with('/') && bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes()) {
            continue;
        }
        let answer = answer.clone();
        let world = World::new(
            move |request| {
                let asked = request.uri().path().ends_with(path) && request.method() == method;
                if asked { answer.build() } else { well_behaved(request) }
            },
            &[],
        );
        good(world.ask(SourceName::Imds, &[], &[]).ok(), true);
        for (request, _) in &*world.sent.borrow() {
            let path = request.uri().path();
            let mut segments = path.split('/');
            assert!(!segments.any(|segment| matches!(segment, "." | "..")), "{path:?} was asked for");
        }
    }

    let sts = answer.clone();
    let world = World::new(move |_| sts.build(), &[]);
    let variables =
        [("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", ROLE), ("AWS_REGION", "eu-west-1")];
    good(world.ask(SourceName::WebIdentity, &variables, &[("/t", &token)]).ok(), true);

    let world = World::new(move |_| answer.build(), &[]);
    let config = format!(
        "[default]\nrole_arn = {ROLE}\nsource_profile = s\nregion = eu-west-1\nexternal_id = {MARK}\n\
         [profile s]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = {MARK}\n"
    );
    good(world.ask(SourceName::Profile, &[], &[("/h/.aws/config", &config)]).ok(), true);

    let world = World::new(|_| Err(HttpErrorKind::Connect), &Answer::of(bytes).body);
    let config = [("/h/.aws/config", "[default]\ncredential_process = p\n")];
    good(world.ask(SourceName::Profile, &[], &config).ok(), false);
}

/// Keys that can be signed with and sent, and (`temporary`) that end.
fn good(identity: Option<Identity>, temporary: bool) {
    let Some(keys) = identity.as_ref().and_then(Identity::credentials) else { return };
    let token = keys.session_token().map(|token| token.expose_secret());
    assert!(!temporary || (token.is_some() && keys.expires_at().is_some()));
    assert!(!keys.secret_access_key().expose_secret().is_empty());
    for sent in [Some(keys.access_key_id()), token].into_iter().flatten() {
        assert!(
            !sent.is_empty() && sent.bytes().all(|byte| byte.is_ascii_graphic()),
            "{sent:?} is no header"
        );
    }
    let account = keys.account_id();
    assert!(account.is_none_or(|id| !id.is_empty() && !id.chars().any(char::is_control)), "{account:?}");
}

#[derive(Clone)]
struct Answer {
    status: u16,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Bytes,
}

impl Answer {
    fn of(bytes: &[u8]) -> Answer {
        let head_ends = bytes.windows(2).position(|pair| pair == b"\n\n");
        let (head, body) = head_ends.map_or((&b""[..], bytes), |at| (&bytes[..at], &bytes[at + 2..]));
        let mut lines = head.split(|&byte| byte == b'\n');
        let status = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.parse().ok());
        let (status, body) = match status {
            Some(status @ 100..1000) => (status, body),
            _ => (200, bytes),
        };
        let field = |line: &[u8]| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            Some((line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec()))
        };
        Answer { status, fields: lines.filter_map(field).collect(), body: Bytes::copy_from_slice(body) }
    }

    fn build(&self) -> Result<Response<Bytes>, HttpErrorKind> {
        let fields = self.fields.iter().map(|(name, value)| (&name[..], &value[..]));
        let response = Response::builder().status(self.status);
        let response = fields.fold(response, |response, (name, value)| response.header(name, value));
        // Of what is no header field the transport complains.
        response.body(self.body.clone()).map_err(|_| HttpErrorKind::Malformed)
    }
}

/// An instance metadata service as it should be.
fn well_behaved(request: &Request<Bytes>) -> Result<Response<Bytes>, HttpErrorKind> {
    let body = match request.uri().path() {
        "/latest/api/token" => "CaNaRy-0-token",
        "/latest/meta-data/iam/security-credentials/" => "r",
        _ => {
            r#"{"Code":"Success","AccessKeyId":"AKIAIOSFODNN7EXAMPLE","SecretAccessKey":"s","Token":"t",
               "Expiration":"2030-01-31T12:00:00Z"}"#
        }
    };
    let response = Response::builder().header("x-aws-ec2-metadata-token-ttl-seconds", "21600");
    Ok(response.body(Bytes::from_static(body.as_bytes())).expect("an answer"))
}
