//! One request on one connection: to the address that was checked, within its limits, and closed afterwards.
//!
//! The S3 transport cannot do this. Its client picks addresses and connections by itself, and cannot tell a
//! connection that was not made from an answer that did not come, which is what instance metadata must know: no
//! connection means "not on EC2", no answer means a hop limit. So this stands one floor below, on the same streams
//! and the same HTTP: cyper-core and hyper. Only where a proxy is to be used does cyper's client connect.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use ::http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HOST, HeaderValue};
use ::http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use compio::net::TcpStream;
use compio::time::timeout_at;
use compio::tls::TlsConnector;
use credentials::{HttpError, HttpErrorKind, HttpPhase, HttpSend, ProxyUse, SendOptions};
use cyper_core::HyperStream;
use futures_util::StreamExt;
use futures_util::future::{Either, LocalBoxFuture, select};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use url::Url;
use zeroize::Zeroizing;

use super::trust::Trust;
use crate::clock;
use crate::transport::addresses_of;

/// The head of an answer may have this many bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Connections to the addresses of a name are tried one after the other, this many at most.
const ADDRESSES_MAX: usize = 8;

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
        let target = Target::of(request.uri())?;
        match &self.proxy {
            Some(proxy) if options.proxy == ProxyUse::AsConfigured && options.pin.is_none() => {
                self.through_proxy(proxy, request, options, started).await
            }
            _ => self.direct(target, request, options, started).await,
        }
    }

    async fn direct(
        &self,
        target: Target,
        request: Request<Bytes>,
        options: &SendOptions,
        started: Instant,
    ) -> Result<Response<Bytes>, HttpError> {
        let ends = started + options.attempt_timeout;
        let connected = (started + options.connect_timeout).min(ends);
        let connection = timeout_at(connected, self.connect(&target, options)).await;
        let stream = connection.unwrap_or_else(|_| Err(late(HttpPhase::Connect, &target.host)))?;

        let mut builder = http1::Builder::new();
        builder.max_header_size(HEAD_BYTES_MAX);
        // This exchanges nothing yet.
        let handshake = builder.handshake(stream).await;
        let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
        let mut phase = HttpPhase::Answer;
        let result = {
            let exchange = async {
                let response = sender.send_request(outgoing(request, &target)?).await;
                let response = response.map_err(|error| broken(&error))?;
                phase = HttpPhase::Body;
                let (head, body) = response.into_parts();
                let body = whole(&head.headers, Pieces(body), options.body_bytes_max).await?;
                Ok(answer(head.status, head.headers, body))
            };
            // The connection moves the bytes while the exchange waits for them. It may end first, with the last of
            // the answer already read.
            let both = async {
                match select(pin!(exchange), pin!(connection)).await {
                    Either::Left((result, _)) => result,
                    Either::Right((_, exchange)) => exchange.await,
                }
            };
            timeout_at(ends, both).await
        };
        result.unwrap_or_else(|_| Err(late(phase, &target.host)))
    }

    async fn connect(
        &self,
        target: &Target,
        options: &SendOptions,
    ) -> Result<HyperStream<TcpStream>, HttpError> {
        // Never a second look at the name where the first has been checked.
        let addresses = match &options.pin {
            Some(pinned) => pinned.clone(),
            None => addresses_of(&target.host).await.map_err(|error| unconnected(&target.host, &error))?,
        };
        let stream = first_of(&addresses, target).await?;
        // One small request: nothing is gained by waiting for more to send. Without it the request still goes.
        let _ = stream.set_nodelay(true);
        if !target.https {
            return Ok(HyperStream::new_plain(stream));
        }
        let tls = |message: String| HttpError::new(HttpErrorKind::Tls, message);
        let config = self.trust.config().await.map_err(tls)?;
        let secured = TlsConnector::from(config).connect(&target.host, stream).await;
        let secured = secured.map_err(|error| tls(format!("TLS with {} failed: {error}", target.host)))?;
        Ok(HyperStream::new_tls(secured))
    }

    /// cyper connects here: how far it got is not known, so only the whole attempt has a limit.
    async fn through_proxy(
        &self,
        proxy: &Url,
        request: Request<Bytes>,
        options: &SendOptions,
        started: Instant,
    ) -> Result<Response<Bytes>, HttpError> {
        let ends = started + options.attempt_timeout;
        let host = request.uri().host().unwrap_or_default().to_owned();
        let refused = |what: &str| HttpError::new(HttpErrorKind::Refused, what.to_owned());
        let url: Url = request.uri().to_string().parse().map_err(|_| refused("the address is no URL"))?;
        let proxy = cyper::proxy::Proxy::all(proxy.as_str())
            .map_err(|_| refused("the proxy's address cannot be used"))?;
        let config = self.trust.config().await;
        let config = config.map_err(|message| HttpError::new(HttpErrorKind::Tls, message))?;
        let client = cyper::Client::builder()
            .use_rustls(config)
            .redirect(cyper::redirect::Policy::none())
            .referer(false)
            .proxy(proxy)
            .build()
            .map_err(|_| refused("the HTTP client cannot be built"))?;
        let (head, body) = request.into_parts();
        let mut out = cyper::Request::new(head.method, url);
        *out.headers_mut() = head.headers;
        // Left to itself cyper sends an empty one.
        out.headers_mut().entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        *out.body_mut() = cyper::Body::from(body);
        let mut phase = HttpPhase::Connect;
        let exchange = async {
            let response = client.execute(out).await;
            let response = response.map_err(|_| {
                HttpError::new(HttpErrorKind::Broken, format!("no answer from {host} through the proxy"))
            })?;
            phase = HttpPhase::Body;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = response.map(|piece| {
                piece.map_err(|_| HttpError::new(HttpErrorKind::Broken, "the answer broke off".to_owned()))
            });
            let body = whole(&headers, body, options.body_bytes_max).await?;
            Ok(answer(status, headers, body))
        };
        let result = timeout_at(ends, exchange).await;
        result.unwrap_or_else(|_| Err(late(phase, &host)))
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
    https: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// As the URL has it, which is what `host` says.
    authority: String,
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
        let port = authority.port_u16().unwrap_or(default);
        Ok(Target {
            https,
            host: bare.to_owned(),
            port,
            authority: if port == default { host.to_owned() } else { format!("{host}:{port}") },
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

async fn first_of(addresses: &[IpAddr], target: &Target) -> Result<TcpStream, HttpError> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match TcpStream::connect(SocketAddr::new(*address, target.port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(unconnected(&target.host, &last))
}

fn unconnected(host: &str, error: &io::Error) -> HttpError {
    HttpError::new(HttpErrorKind::Connect, format!("cannot connect to {host}: {error}"))
}

fn late(phase: HttpPhase, host: &str) -> HttpError {
    let message = format!("{host} took too long ({})", phase.as_str());
    HttpError::new(HttpErrorKind::Timeout { phase }, message)
}

/// hyper's errors name neither address nor content.
fn broken(error: &hyper::Error) -> HttpError {
    if error.is_parse() {
        return HttpError::new(HttpErrorKind::Malformed, format!("the answer is not HTTP: {error}"));
    }
    HttpError::new(HttpErrorKind::Broken, format!("the connection broke: {error}"))
}

/// The request as it goes out on its own connection.
fn outgoing(request: Request<Bytes>, target: &Target) -> Result<Request<Whole>, HttpError> {
    let refused = |what: &str| HttpError::new(HttpErrorKind::Refused, what.to_owned());
    let (mut head, body) = request.into_parts();
    head.uri = target.path.parse().map_err(|_| refused("the path cannot be sent"))?;
    let host = HeaderValue::from_str(&target.authority).map_err(|_| refused("the host cannot be sent"))?;
    head.headers.entry(HOST).or_insert(host);
    if !body.is_empty() || matches!(head.method, Method::PUT | Method::POST) {
        // hyper leaves it out where it is 0, and instance metadata answers 400 then.
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    Ok(Request::from_parts(head, Whole(Some(body).filter(|body| !body.is_empty()))))
}

/// A body in one piece.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|body| Ok(Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |body| body.len() as u64))
    }
}

/// The body of an answer, piece by piece; trailers are passed over.
struct Pieces(Incoming);

impl futures_util::Stream for Pieces {
    type Item = Result<Bytes, HttpError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let frame = match Pin::new(&mut self.0).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(broken(&error)))),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            if let Ok(piece) = frame.into_data() {
                return Poll::Ready(Some(Ok(piece)));
            }
        }
    }
}

/// Reads an answer into memory that is wiped afterwards. What hyper and TLS buffered on the way is not.
async fn whole(
    headers: &HeaderMap,
    mut pieces: impl futures_util::Stream<Item = Result<Bytes, HttpError>> + Unpin,
    bytes_max: usize,
) -> Result<Bytes, HttpError> {
    let too_large =
        || HttpError::new(HttpErrorKind::TooLarge, format!("the answer has more than {bytes_max} bytes"));
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large());
    }
    // Room for all of it from the start: a buffer that grows leaves copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(bytes_max)));
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if body.len() + piece.len() > bytes_max {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(Bytes::from_owner(body))
}

fn answer(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
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
    fn a_proxy_sees_what_it_may_and_nothing_else() {
        let (head, sent) = through(ProxyUse::AsConfigured);
        assert_eq!(sent, Ok(StatusCode::OK));
        assert!(head.is_some_and(|head| head.starts_with("GET http://sts.invalid/?Action=x HTTP/1.1\r\n")));
        let (head, sent) = through(ProxyUse::Never);
        assert_eq!((head, sent), (None, Err(HttpErrorKind::Connect)));
    }
}
