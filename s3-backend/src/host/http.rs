//! One request on one connection: to the address that was checked, within its limits, and closed afterwards.
//!
//! It stands on the parts of the direct transport, one floor below its pool: the addresses are given, and a connection
//! that was not made is told from an answer that did not come. That is what instance metadata must know: no connection
//! means "not on EC2", no answer means a hop limit.

use std::cell::Cell;
use std::io::Write as _;
use std::net::IpAddr;
use std::rc::Rc;

use ::http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use ::http::{Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use compio::time::timeout_at;
use credentials::{HttpError, HttpErrorKind, HttpPhase, HttpSend, ProxyUse, SendOptions};
use futures_util::future::LocalBoxFuture;
use object_storage::Payload;
use url::Url;
use zeroize::Zeroizing;

use super::trust::Trust;
use crate::clock;
use crate::protocol::address::Origin;
use crate::protocol::request::ResponseHead;
use crate::transport::direct::one_shot::{OneShot, Trouble};
use crate::transport::{Cause, addresses_of};

pub(super) struct CredentialsHttp {
    proxy: Option<Url>,
    trust: Rc<Trust>,
}

impl CredentialsHttp {
    pub(super) fn new(proxy: Option<Url>, trust: Trust) -> CredentialsHttp {
        CredentialsHttp { proxy, trust: Rc::new(trust) }
    }

    async fn exchange(
        &self,
        request: Request<Bytes>,
        options: &SendOptions,
    ) -> Result<Response<Bytes>, HttpError> {
        let started = clock::now();
        let ends = started + options.attempt_timeout;
        let connected = (started + options.connect_timeout).min(ends);
        let target = Target::of(request.uri())?;
        let phase = Cell::new(HttpPhase::Connect);
        let shot = timeout_at(connected, self.connect(&target, options)).await;
        let mut shot = shot.unwrap_or_else(|_| Err(late(HttpPhase::Connect, &target.origin.host)))?;
        let exchange = async {
            phase.set(HttpPhase::Answer);
            let to_head = request.method() == Method::HEAD;
            let (head, body) = outgoing(request, &target, &shot)?;
            let answer = shot.send(to_head, head, &Payload::from(body)).await.map_err(broken)?;
            phase.set(HttpPhase::Body);
            let announced = answer.headers.text("content-length").and_then(|text| text.parse().ok());
            let body = whole(&mut shot, announced.filter(|_| !to_head), options.body_bytes_max).await?;
            answer_of(&answer, body)
        };
        let result = timeout_at(ends, exchange).await;
        result.unwrap_or_else(|_| Err(late(phase.get(), &target.origin.host)))
    }

    async fn connect(&self, target: &Target, options: &SendOptions) -> Result<OneShot, HttpError> {
        let origin = &target.origin;
        let proxy = self.proxy_for(options);
        // Never a second look at the name where the first has been checked.
        let addresses = match (&options.pin, proxy) {
            (Some(pinned), _) => pinned.clone(),
            (None, Some(proxy)) => look_up(proxy.host_str().unwrap_or_default()).await?,
            (None, None) => look_up(&origin.host).await?,
        };
        let tls = match origin.https {
            true => Some(
                self.trust.config().await.map_err(|message| HttpError::new(HttpErrorKind::Tls, message))?,
            ),
            false => None,
        };
        OneShot::connect(origin, &addresses, proxy, tls).await.map_err(|trouble| {
            let kind = if trouble.in_tls { HttpErrorKind::Tls } else { HttpErrorKind::Connect };
            HttpError::new(kind, trouble.message)
        })
    }

    fn proxy_for(&self, options: &SendOptions) -> Option<&Url> {
        let wanted = options.proxy == ProxyUse::AsConfigured && options.pin.is_none();
        self.proxy.as_ref().filter(|_| wanted)
    }
}

impl HttpSend for CredentialsHttp {
    fn send<'a>(
        &'a self,
        request: Request<Bytes>,
        options: &'a SendOptions,
    ) -> LocalBoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        Box::pin(self.exchange(request, options))
    }
}

/// Where a request goes.
struct Target {
    origin: Origin,
    path: String,
}

impl Target {
    fn of(uri: &Uri) -> Result<Target, HttpError> {
        let refused = |what: &str| HttpError::new(HttpErrorKind::Refused, what.to_owned());
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refused("only http and https are spoken")),
        };
        let authority = uri.authority().ok_or_else(|| refused("the address names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refused("the address carries a user"));
        }
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let default = if https { 443 } else { 80 };
        let port = match authority.as_str().strip_prefix(host) {
            Some("") => default,
            // What is no port counts as none to the parser, and the default one is another service's.
            rest => rest
                .and_then(|rest| rest.strip_prefix(':'))
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok().filter(|port: &u16| *port != 0))
                .ok_or_else(|| refused("the address's port is not a number from 1 to 65535"))?,
        };
        let authority = if port == default { host.to_owned() } else { format!("{host}:{port}") };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Target { origin: Origin { https, host: bare.to_owned(), port, authority }, path })
    }
}

async fn look_up(host: &str) -> Result<Vec<IpAddr>, HttpError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let unknown = |error| HttpError::new(HttpErrorKind::Connect, format!("cannot look up {host}: {error}"));
    addresses_of(bare).await.map_err(unknown)
}

fn late(phase: HttpPhase, host: &str) -> HttpError {
    let message = format!("{host} took too long ({})", phase.as_str());
    HttpError::new(HttpErrorKind::Timeout { phase }, message)
}

fn broken(trouble: Trouble) -> HttpError {
    let kind = match trouble.cause {
        Cause::Malformed => HttpErrorKind::Malformed,
        Cause::Certificate => HttpErrorKind::Tls,
        Cause::Connection | Cause::Timeout => HttpErrorKind::Broken,
    };
    HttpError::new(kind, trouble.message)
}

/// The head of a request as it goes out on its own connection, and its body.
fn outgoing(request: Request<Bytes>, target: &Target, shot: &OneShot) -> Result<(Vec<u8>, Bytes), HttpError> {
    let refused = |what: &str| HttpError::new(HttpErrorKind::Refused, what.to_owned());
    let (head, body) = request.into_parts();
    let mut fields = head.headers;
    let host =
        HeaderValue::from_str(&target.origin.authority).map_err(|_| refused("the host cannot be sent"))?;
    fields.entry(HOST).or_insert(host);
    if !body.is_empty() || matches!(head.method, Method::PUT | Method::POST) {
        // Also where it is 0: instance metadata answers 400 without.
        fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let mut text = Vec::with_capacity(1024);
    let origin = if shot.hands_on() { target.origin.url() } else { String::new() };
    write!(text, "{} {origin}{} HTTP/1.1\r\n", head.method, target.path).expect("a Vec takes everything");
    let proxy = shot.proxy_authorization().map(|value| ("proxy-authorization", value.as_bytes()));
    let fields =
        fields.iter().map(|(name, value): (&HeaderName, &HeaderValue)| (name.as_str(), value.as_bytes()));
    for (name, value) in fields.chain(proxy) {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
    Ok((text, body))
}

/// Reads an answer into memory that is wiped afterwards. What the connection buffered on the way is not.
async fn whole(shot: &mut OneShot, announced: Option<usize>, bytes_max: usize) -> Result<Bytes, HttpError> {
    let too_large =
        || HttpError::new(HttpErrorKind::TooLarge, format!("the answer has more than {bytes_max} bytes"));
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large());
    }
    // Room for all of it from the start: a buffer that grows leaves copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(bytes_max)));
    while let Some(piece) = shot.next().await.map_err(broken)? {
        if body.len() + piece.len() > bytes_max {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(Bytes::from_owner(body))
}

fn answer_of(head: &ResponseHead, body: Bytes) -> Result<Response<Bytes>, HttpError> {
    let malformed = |_| HttpError::new(HttpErrorKind::Malformed, "the answer's status is none".to_owned());
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(head.status).map_err(malformed)?;
    for (name, value) in head.headers.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    use object_storage::config::TlsRoots;

    use super::*;
    use crate::transport::Roots;

    const TIME: Duration = Duration::from_secs(5);

    /// What a proxy on this machine was asked, and what came of it.
    fn through(proxy_use: ProxyUse) -> (Option<String>, Result<StatusCode, HttpErrorKind>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let proxy = format!("http://{}", listener.local_addr().expect("bound"));
        #[expect(clippy::disallowed_methods, reason = "the test plays the proxy")]
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut head = [0; 1024];
            let read = stream.read(&mut head).unwrap_or(0);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            String::from_utf8_lossy(&head[..read]).into_owned()
        });
        let roots = Roots { base: TlsRoots::Webpki, ca_file: None };
        let http = CredentialsHttp::new(proxy.parse().ok(), Trust::new(roots));
        let mut options = SendOptions::new(TIME, TIME, 1024);
        options.proxy = proxy_use;
        let request = Request::get("http://sts.invalid/?Action=x").body(Bytes::new()).expect("a request");
        let runtime = compio::runtime::Runtime::new().expect("a runtime");
        let sent = runtime.block_on(http.send(request, &options));
        let sent = sent.map(|response| response.status()).map_err(|error| error.kind());
        let head = if sent.is_ok() {
            Some(asked.join().expect("asked"))
        } else {
            // Nobody came: let it go.
            drop(std::net::TcpStream::connect(proxy.trim_start_matches("http://")));
            asked.join().ok().filter(|head| !head.is_empty())
        };
        (head, sent)
    }

    #[test]
    fn a_port_that_is_none_is_refused_and_not_taken_for_the_default() {
        let port = |uri: &str| Target::of(&uri.parse().expect("a URI")).map(|target| target.origin.port);
        for (uri, wanted) in [
            ("http://h/x", 80),
            ("https://h/x", 443),
            ("http://h:8080/x", 8080),
            ("http://[::1]/x", 80),
            ("https://[::1]:65535/x", 65535),
        ] {
            assert_eq!(port(uri).ok(), Some(wanted), "{uri}");
        }
        for uri in [
            "http://h:65536/x",
            "http://127.0.0.1:80000",
            "http://[::1]:99999/",
            "http://h:0/",
            "http://h:/x",
            "http://[::1]x:1/",
        ] {
            assert_eq!(port(uri).map_err(|error| error.kind()), Err(HttpErrorKind::Refused), "{uri}");
        }
    }

    #[test]
    fn a_proxy_sees_what_it_may_and_nothing_else() {
        let (head, sent) = through(ProxyUse::AsConfigured);
        assert_eq!(sent, Ok(StatusCode::OK));
        assert!(head.is_some_and(|head| head.starts_with("GET http://sts.invalid/?Action=x HTTP/1.1\r\n")));
        let (head, sent) = through(ProxyUse::Never);
        assert_eq!((head, sent), (None, Err(HttpErrorKind::Connect)));
    }
}
