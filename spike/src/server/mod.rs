//! An S3 server inside the process: s3s speaks the wire format and verifies signatures, a store of ours behind
//! it follows AWS's rules.
//!
//! It runs on a thread of its own with a runtime of its own, listens on 127.0.0.1 only, keeps everything in
//! memory and forgets it when dropped. It is for tests and for the spike program; it is not a product.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::select;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::dto::Timestamp;
use s3s::host::SingleDomain;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{HttpError, HttpRequest, HttpResponse, S3Error, S3ErrorCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use self::auth::Identity;
use self::conditions::WriteConditions;
use self::integrity::XmlBody;
use self::requests::Log;
use self::store::Store;
use self::tls::Tls;

mod auth;
mod conditions;
mod integrity;
mod listing;
mod multipart;
mod objects;
mod requests;
mod s3;
mod segments;
mod store;
mod tls;

pub use self::requests::Request;

/// The body of DeleteObjects names at most 1,000 keys of 1,024 bytes, six times that when escaped.
const XML_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// After a failed accept, usually for want of file descriptors, wait this long instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// What the server accepts and what it holds at the start.
#[derive(Clone)]
pub struct ServerOptions {
    /// The only access key it knows; another gets `InvalidAccessKeyId`.
    pub access_key_id: String,
    /// Its secret; a signature made with another gets `SignatureDoesNotMatch`.
    pub secret_access_key: String,
    /// If set, every request must carry exactly this token, else `InvalidToken`. If not, none may.
    pub session_token: Option<String>,
    /// The region that signatures must name, and that buckets are created in.
    pub region: String,
    /// Buckets that exist from the start. The names are not checked.
    pub buckets: Vec<String>,
    /// The least a part other than the last may hold, in bytes. AWS's is 5 MiB; tests may ask for less.
    pub min_part_size: u64,
    /// If set, as `localhost`, then `bucket.localhost:PORT` addresses a bucket, besides the path style, which
    /// always works with an IP address as host.
    pub domain: Option<String>,
    /// Whether to speak https, with a certificate for 127.0.0.1, localhost and `domain` from an authority of the
    /// server's own: [`Server::ca_pem`].
    pub tls: bool,
    /// The port of 127.0.0.1 to listen on; 0 takes a free one.
    pub port: u16,
}

impl Default for ServerOptions {
    /// AWS's documented example key, us-east-1, one bucket named `bucket`, parts of 5 MiB, path style.
    fn default() -> Self {
        ServerOptions {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
            region: "us-east-1".into(),
            buckets: vec!["bucket".into()],
            min_part_size: 5 * 1024 * 1024,
            domain: None,
            tls: false,
            port: 0,
        }
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("access_key_id", &self.access_key_id)
            .field("region", &self.region)
            .field("buckets", &self.buckets)
            .field("min_part_size", &self.min_part_size)
            .field("domain", &self.domain)
            .field("tls", &self.tls)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// A running server. Dropping it closes every connection, waits for its thread, and forgets what it stored.
///
/// Its methods may be called from any thread and see the effect of every request that has been answered.
pub struct Server {
    address: SocketAddr,
    ca_pem: Option<String>,
    state: State,
    log: Log,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts a server on 127.0.0.1. It answers as soon as this returns.
    ///
    /// # Errors
    ///
    /// The port is taken, there is no thread, runtime or certificate to be had, or `options.domain` is not a domain
    /// (`InvalidInput`).
    pub fn start(options: ServerOptions) -> std::io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

        let tls = if options.tls { Some(Tls::new(options.domain.as_deref())?) } else { None };
        let (acceptor, ca_pem) = tls.map(|tls| (tls.acceptor, tls.ca_pem)).unzip();
        let state = State::new(&options);
        let log = Log::default();
        let identity = Identity {
            access_key_id: options.access_key_id,
            secret_access_key: options.secret_access_key,
            session_token: options.session_token,
            region: options.region,
        };
        let mut service = S3ServiceBuilder::new(s3::Api::new(state.clone()));
        service.set_auth(identity.clone());
        service.set_access(identity);
        if let Some(domain) = options.domain {
            // The Host header carries the port, so the domain that s3s compares with does too.
            let domain = SingleDomain::new(&format!("{domain}:{}", address.port()))
                .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
            service.set_host(domain);
        }
        let front = Front { service: service.build(), log: log.clone() };

        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("s3-server".into()).spawn(move || {
            runtime.block_on(async {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => {
                        select(std::pin::pin!(accept(listener, acceptor, front)), stopped).await;
                    }
                    // The listener is a fresh one; if the runtime still refuses it, connections are refused too.
                    Err(_refused) => {}
                }
            });
        })?;
        Ok(Server { address, ca_pem, state, log, stop: Some(stop), thread: Some(thread) })
    }

    /// `http://127.0.0.1:PORT`, or `https://` with [`ServerOptions::tls`], without a slash at the end.
    pub fn endpoint(&self) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate that a client must trust, in PEM; `None` without [`ServerOptions::tls`].
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Every request since the start or the last [`clear_requests`](Self::clear_requests), oldest first: the last
    /// 65,536 of them.
    pub fn requests(&self) -> Vec<Request> {
        self.log.requests()
    }

    /// How many requests there were for an operation under its S3 name, as `CreateMultipartUpload`, whether they
    /// succeeded or not. A request with a wrong signature is not counted: s3s refuses it before it has a name.
    pub fn count(&self, operation: &str) -> u64 {
        self.log.count(operation)
    }

    /// Forgets the requests and counts so far.
    pub fn clear_requests(&self) {
        self.log.clear();
    }

    /// How many uploads of `bucket` are neither completed nor aborted; 0 if there is no such bucket.
    pub fn open_uploads(&self, bucket: &str) -> usize {
        self.state.lock().bucket(bucket).map_or(0, |bucket| bucket.uploads.count())
    }

    /// The keys of `bucket` in byte order; none if there is no such bucket.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.state
            .lock()
            .bucket(bucket)
            .map_or_else(|_| Vec::new(), |bucket| bucket.objects.keys().cloned().collect())
    }

    /// Puts an object as if somebody else had: under any key that S3 allows, `a//b`, `/x`, `dir/` and `../x`
    /// included.
    ///
    /// # Panics
    ///
    /// If there is no such bucket, or the key is longer than 1,024 bytes: the test is wrong.
    pub fn put_raw(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) {
        let object = objects::plain(bytes.into(), now());
        let mut store = self.state.lock();
        let bucket = store.bucket_mut(bucket).expect("put_raw wants a bucket that exists");
        bucket.put(key, object, &WriteConditions::default()).expect("put_raw wants a key that S3 allows");
    }

    /// What is stored under `key`, whole; `None` if there is no such bucket or key.
    pub fn object_bytes(&self, bucket: &str, key: &str) -> Option<Bytes> {
        let object = self.state.lock().bucket(bucket).ok()?.get(key).ok()?.clone();
        Some(object.body.to_bytes())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Dropping the sender is the signal.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server has been printed, and the test that met it has failed by now.
            let _ = thread.join();
        }
    }
}

/// The store and what the rules need besides it, shared by the server's thread and the handle.
#[derive(Clone)]
struct State {
    store: Arc<Mutex<Store>>,
    part_bytes_min: u64,
    region: Arc<str>,
}

impl State {
    fn new(options: &ServerOptions) -> Self {
        let mut store = Store::new(&options.region);
        for bucket in &options.buckets {
            store.add_bucket(bucket, &now());
        }
        State {
            store: Arc::new(Mutex::new(store)),
            part_bytes_min: options.min_part_size,
            region: options.region.as_str().into(),
        }
    }

    /// Held for one rule at a time, never across an await.
    fn lock(&self) -> MutexGuard<'_, Store> {
        // A panic under the lock is a bug of the server; the test that meets it should see that panic, not ours.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Now, in whole seconds, which is all that S3 keeps.
#[expect(clippy::disallowed_methods, reason = "a server dates what it stores; no product code runs here")]
fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs()))
}

async fn accept(listener: tokio::net::TcpListener, tls: Option<TlsAcceptor>, front: Front) {
    loop {
        let Ok((stream, _peer)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Without it the kernel holds back the end of every small answer until an acknowledgement, for 40 ms.
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let (tls, front) = (tls.clone(), front.clone());
        tokio::spawn(async move {
            match tls {
                None => front.serve(stream).await,
                // A failed handshake is the client's to report: it is the one who did not like the certificate.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        front.serve(stream).await;
                    }
                }
            }
        });
    }
}

/// What stands between the socket and s3s: it logs, and keeps the checksums that s3s would drop.
#[derive(Clone)]
struct Front {
    service: S3Service,
    log: Log,
}

impl Front {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request| self.clone().answer(request));
        // An error here is a client that went away or does not speak HTTP; its own side reports it.
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(self, request: hyper::Request<hyper::body::Incoming>) -> Result<HttpResponse, HttpError> {
        let ticket = self.log.arrived(&request);
        let mut response = self.respond(request.map(s3s::Body::from), &ticket).await?;
        if let Some(&s3::Status(status)) = response.extensions().get() {
            *response.status_mut() = status;
        }
        let id = format!("{:016X}", ticket.number());
        response
            .headers_mut()
            .insert("x-amz-request-id", HeaderValue::from_str(&id).expect("hexadecimal is ASCII"));
        ticket.answered(response.status().as_u16());
        Ok(response)
    }

    async fn respond(
        &self,
        mut request: HttpRequest,
        ticket: &requests::Ticket,
    ) -> Result<HttpResponse, HttpError> {
        request.extensions_mut().insert(ticket.clone());
        if has_checked_xml_body(&request) {
            match request.body_mut().store_all_limited(XML_BODY_BYTES_MAX).await {
                Ok(body) => {
                    let checked = XmlBody::check(request.headers(), &body);
                    request.extensions_mut().insert(checked);
                }
                Err(error) => {
                    let mut refusal = S3Error::new(S3ErrorCode::MaxMessageLengthExceeded);
                    refusal.set_source(error);
                    return refusal.to_http_response().map_err(|error| HttpError::new(Box::new(error)));
                }
            }
        }
        self.service.call(request).await
    }
}

/// DeleteObjects and PutBucketLifecycleConfiguration, whose bodies S3 takes only with a checksum.
fn has_checked_xml_body(request: &HttpRequest) -> bool {
    let has = |wanted: &str| {
        let names = request.uri().query().unwrap_or_default().split('&');
        names.into_iter().any(|pair| pair.split_once('=').map_or(pair, |(name, _)| name) == wanted)
    };
    match *request.method() {
        hyper::Method::POST => has("delete"),
        hyper::Method::PUT => has("lifecycle"),
        _ => false,
    }
}
