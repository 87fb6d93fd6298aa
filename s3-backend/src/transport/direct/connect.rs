//! [`Connector`]: from a name to a connection that carries requests: addresses, TCP, a proxy, TLS.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compio::net::TcpStream;
use credentials::Host;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use object_storage::Payload;
use percent_encoding::percent_decode_str;
use rustix::net::sockopt;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use url::Url;

use super::answer::Answer;
use super::buffers::{Buffers, SMALL_BYTES};
use super::connection::{Broken, Connection, Heard, Sent};
use super::permits::Permits;
use super::pool::AGE_MAX;
use super::tls_machine::TlsMachine;
use crate::clock;
use crate::protocol::address::Origin;
use crate::transport::Cause;
use crate::transport::resolve::addresses_of;

/// How long addresses are used before they are looked up again. S3 hands out other ones every few seconds.
const ADDRESSES_FRESH: Duration = Duration::from_secs(30);

/// How long addresses are used while looking them up fails.
const ADDRESSES_STALE: Duration = Duration::from_secs(300);

/// How long one address is waited for before the next is tried beside it ([RFC 8305](https://www.rfc-editor.org/rfc/rfc8305)).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// The most addresses that are tried at the same time.
const RACING_MAX: usize = 2;

/// When an idle connection is asked whether the other side is still there: after so long, so often, so many times.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_COUNT: u32 = 3;

/// How long the kernel keeps sending what nobody acknowledges.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// Makes connections to one store, and remembers its addresses.
pub(super) struct Connector {
    origin: Origin,
    proxy: Option<Proxy>,
    tls: Arc<ClientConfig>,
    host: Host,
    buffers: Buffers,
    addresses: Rc<RefCell<Addresses>>,
    /// Which of them worked last.
    preferred: Cell<Option<IpAddr>>,
    /// Names are looked up on the blocking pool, where they cannot be given up: one at a time.
    lookups: Permits,
}

#[derive(Default)]
struct Addresses {
    known: Vec<IpAddr>,
    found_at: Option<Instant>,
    /// None of them could be connected to, so they may have moved: they are only used if nobody knows better.
    suspect: bool,
    /// When a lookup failed last, and why.
    failed: Option<(Instant, io::ErrorKind, String)>,
}

async fn look_up(resolver: &Host, host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let found = match resolver.resolve(host).await {
        // A host that resolves no names leaves that to the system.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => addresses_of(host).await?,
        found => found?,
    };
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
    }
    Ok(found)
}

/// An http proxy: requests to http stores are handed to it, to https stores it opens a tunnel.
pub(super) struct Proxy {
    host: String,
    port: u16,
    /// `Basic ...`; a secret.
    authorization: Option<String>,
}

/// There is no connection.
#[derive(Debug)]
pub(super) struct NotConnected {
    pub(super) cause: Cause,
    /// The other side was reached, and TLS with it failed.
    pub(super) in_tls: bool,
    pub(super) message: String,
}

impl Proxy {
    /// The proxy of a URL; `None` if it is not an http one, which is all that is spoken here.
    pub(super) fn of(url: &Url) -> Option<Proxy> {
        if url.scheme() != "http" {
            return None;
        }
        let host = match url.host()? {
            url::Host::Domain(name) => name.to_owned(),
            url::Host::Ipv4(address) => address.to_string(),
            url::Host::Ipv6(address) => address.to_string(),
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let authorization = (!url.username().is_empty() || url.password().is_some()).then(|| {
            let user = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
            format!("Basic {}", STANDARD.encode(user))
        });
        Some(Proxy { host, port: url.port_or_known_default()?, authorization })
    }
}

impl Connector {
    pub(super) fn new(
        origin: Origin,
        proxy: Option<Proxy>,
        tls: Arc<ClientConfig>,
        host: Host,
        buffers: Buffers,
    ) -> Connector {
        Connector {
            origin,
            proxy,
            tls,
            host,
            buffers,
            addresses: Rc::default(),
            preferred: Cell::new(None),
            lookups: Permits::new(1),
        }
    }

    /// Whether requests go to a proxy that is told the whole URL, and what it wants to know beside.
    pub(super) fn hands_on(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| !self.origin.https)
    }

    /// A connection over which requests to the store go. Dropping the future closes what there is of it.
    pub(super) async fn connect(&self) -> Result<Connection, NotConnected> {
        let (host, _) = first_stop(&self.origin, self.proxy.as_ref());
        let addresses = self.addresses(host).await.map_err(|error| not_found(host, &error))?;
        let tls = self.origin.https.then(|| Arc::clone(&self.tls));
        let established =
            establish(&self.origin, self.proxy.as_ref(), &addresses, tls, self.buffers.clone()).await;
        match established {
            Ok((connection, address)) => {
                self.addresses.borrow_mut().suspect = false;
                self.preferred.set(Some(address));
                Ok(connection)
            }
            Err(not) => {
                self.addresses.borrow_mut().suspect = true;
                self.preferred.set(None);
                Err(not)
            }
        }
    }

    /// The addresses of the store, those that worked last first.
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if let Some(known) = self.known(ADDRESSES_FRESH) {
            return Ok(known);
        }
        let began = clock::now();
        let turn = self.lookups.acquire().await;
        // Whoever was before us has found them too, or has not.
        if let Some(known) = self.known(ADDRESSES_FRESH) {
            return Ok(known);
        }
        if let Some(failure) = self.failure(began) {
            return self.known(ADDRESSES_STALE).ok_or(failure);
        }
        // A task of its own, which keeps its turn for as long as the resolver takes, whoever waits for it: a resolver that
        // hangs cannot be called back, and must not be asked by everybody.
        let (addresses, resolver, name) = (Rc::clone(&self.addresses), self.host.clone(), host.to_owned());
        let lookup = compio::runtime::spawn(async move {
            let found = look_up(&resolver, &name).await;
            let mut addresses = addresses.borrow_mut();
            match found {
                Ok(known) => {
                    addresses.known = known;
                    addresses.found_at = Some(clock::now());
                    addresses.suspect = false;
                }
                Err(error) => addresses.failed = Some((clock::now(), error.kind(), error.to_string())),
            }
            drop(turn);
        });
        lookup.detach();
        let _done = self.lookups.acquire().await;
        if let Some(known) = self.known(ADDRESSES_FRESH) {
            return Ok(known);
        }
        let failure = self.failure(began).unwrap_or_else(|| io::ErrorKind::NotFound.into());
        self.known(ADDRESSES_STALE).ok_or(failure)
    }

    /// How a lookup failed that ended after `began`.
    fn failure(&self, began: Instant) -> Option<io::Error> {
        let addresses = self.addresses.borrow();
        let (at, kind, message) = addresses.failed.as_ref()?;
        (*at >= began).then(|| io::Error::new(*kind, message.clone()))
    }

    fn known(&self, age_max: Duration) -> Option<Vec<IpAddr>> {
        let addresses = self.addresses.borrow();
        let age = clock::now().saturating_duration_since(addresses.found_at?);
        let doubted = addresses.suspect && age_max < ADDRESSES_STALE;
        if age >= age_max || doubted || addresses.known.is_empty() {
            return None;
        }
        let mut known = addresses.known.clone();
        if let Some(at) = known.iter().position(|&address| Some(address) == self.preferred.get()) {
            known[..=at].rotate_right(1);
        }
        Some(known)
    }
}

/// Whose addresses are connected to: the proxy's, or the store's own.
pub(super) fn first_stop<'a>(origin: &'a Origin, proxy: Option<&'a Proxy>) -> (&'a str, u16) {
    match proxy {
        Some(proxy) => (&proxy.host, proxy.port),
        None => (&origin.host, origin.port),
    }
}

/// A connection over which requests to `origin` go, by one of these addresses.
pub(super) async fn establish(
    origin: &Origin,
    proxy: Option<&Proxy>,
    addresses: &[IpAddr],
    tls: Option<Arc<ClientConfig>>,
    buffers: Buffers,
) -> Result<(Connection, IpAddr), NotConnected> {
    let (host, port) = first_stop(origin, proxy);
    let (socket, address) = race(addresses, port).await.map_err(|error| NotConnected {
        cause: Cause::Connection,
        in_tls: false,
        message: format!("connecting to {host}:{port}: {error}"),
    })?;
    prepare(&socket).map_err(|error| NotConnected {
        cause: Cause::Connection,
        in_tls: false,
        message: format!("the socket cannot be set up: {error}"),
    })?;
    let age_max = AGE_MAX.mul_f64(1.0 - fastrand::f64() / 5.0);
    let mut connection = Connection::new(socket, buffers, clock::now(), age_max);
    if let Some(tls) = tls {
        if let Some(proxy) = proxy {
            tunnel(&mut connection, origin, proxy).await?;
        }
        let name = ServerName::try_from(origin.host.clone()).map_err(|_| NotConnected {
            cause: Cause::Certificate,
            in_tls: true,
            message: format!("no certificate can be for {:?}", origin.host),
        })?;
        let not_secured = |failure: Broken| NotConnected { in_tls: true, ..broken(failure) };
        let tls = TlsMachine::new(tls, name).map_err(|failure| not_secured(failure.into()))?;
        connection.secure(tls).await.map_err(not_secured)?;
    }
    Ok((connection, address))
}

/// The addresses with both families by turns, the first one first: two that never answer must not be all that is tried
/// where one family leads nowhere.
fn by_turns(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let like_first =
        |address: &IpAddr| addresses.first().is_some_and(|first| first.is_ipv4() == address.is_ipv4());
    let (these, those): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().partition(|address| like_first(address));
    let (mut these, mut those) = (these.into_iter(), those.into_iter());
    let mut mixed = Vec::with_capacity(addresses.len());
    while mixed.len() < addresses.len() {
        mixed.extend(these.next());
        mixed.extend(those.next());
    }
    mixed
}

/// Connects to the first address that answers.
async fn race(addresses: &[IpAddr], port: u16) -> io::Result<(TcpStream, IpAddr)> {
    let mut untried = by_turns(addresses).into_iter();
    let mut racing = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "there is no address");
    loop {
        if racing.len() < RACING_MAX
            && let Some(address) = untried.next()
        {
            racing.push(async move { (TcpStream::connect(SocketAddr::new(address, port)).await, address) });
        }
        let more = untried.len() > 0 && racing.len() < RACING_MAX;
        let ended = if more {
            let pause = std::pin::pin!(compio::time::sleep(NEXT_ADDRESS_AFTER));
            match select(racing.next(), pause).await {
                Either::Left((ended, _)) => ended,
                Either::Right(_) => continue,
            }
        } else {
            racing.next().await
        };
        match ended {
            Some((Ok(socket), address)) => return Ok((socket, address)),
            Some((Err(error), _)) => last = error,
            None => return Err(last),
        }
    }
}

/// Small writes leave at once; the other side's disappearance is noticed.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_COUNT)?;
    let unacknowledged = u32::try_from(UNACKNOWLEDGED_MAX.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(socket, unacknowledged)?;
    Ok(())
}

/// Asks a proxy for a connection to the store.
async fn tunnel(connection: &mut Connection, origin: &Origin, proxy: &Proxy) -> Result<(), NotConnected> {
    let target = match origin.host.contains(':') {
        true => format!("[{}]:{}", origin.host, origin.port),
        false => format!("{}:{}", origin.host, origin.port),
    };
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n");
    if let Some(authorization) = &proxy.authorization {
        head.push_str(&format!("proxy-authorization: {authorization}\r\n"));
    }
    head.push_str("\r\n");
    let refused = |message: String| NotConnected { cause: Cause::Connection, in_tls: false, message };
    // What a proxy adds to a 2xx is no body: the tunnel begins behind the head.
    let mut answer = Answer::new(true);
    let nothing = Payload::new();
    let sending = connection.send(head.into_bytes(), &nothing, |heard| answer.look(heard));
    let mut ended = sending.await.map_err(broken)? == Sent::Partly(Heard::End);
    loop {
        answer.look(connection.heard());
        match answer.take() {
            Some(Ok(parsed)) if (200..300).contains(&parsed.head.status) => return Ok(()),
            Some(Ok(parsed)) => {
                return Err(refused(format!(
                    "the proxy refused a tunnel with status {}",
                    parsed.head.status
                )));
            }
            Some(Err(not_http)) => {
                return Err(refused(format!("the proxy's answer makes no sense: {}", not_http.0)));
            }
            None if ended => {
                return Err(refused("the proxy ended the connection instead of an answer".to_owned()));
            }
            None => ended = connection.hear(SMALL_BYTES).await.map_err(broken)? == Heard::End,
        }
    }
}

impl Proxy {
    /// The value of `proxy-authorization`, for requests that are handed on.
    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}

/// Without the user and the password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

fn not_found(host: &str, error: &io::Error) -> NotConnected {
    NotConnected { cause: Cause::Connection, in_tls: false, message: format!("looking up {host}: {error}") }
}

fn broken(broken: Broken) -> NotConnected {
    NotConnected { cause: broken.cause(), in_tls: false, message: broken.to_string() }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use futures_util::future::LocalBoxFuture;

    use super::*;

    #[test]
    fn both_families_are_tried_early_and_every_address_once() {
        let parsed = |text: &str| -> Vec<IpAddr> {
            text.split_whitespace().map(|address| address.parse().expect("an address")).collect()
        };
        for (given, wanted) in [
            (
                "2001:db8::1 2001:db8::2 2001:db8::3 192.0.2.1",
                "2001:db8::1 192.0.2.1 2001:db8::2 2001:db8::3",
            ),
            ("192.0.2.1 192.0.2.2 2001:db8::1", "192.0.2.1 2001:db8::1 192.0.2.2"),
            ("192.0.2.1 192.0.2.2", "192.0.2.1 192.0.2.2"),
            ("", ""),
        ] {
            assert_eq!(by_turns(&parsed(given)), parsed(wanted));
        }
    }

    /// Answers once, and is out from then on.
    struct OnceThenOut(AtomicU32);

    impl credentials::Dns for OnceThenOut {
        fn resolve<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, io::Result<Vec<IpAddr>>> {
            let first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
            Box::pin(async move {
                if first { Ok(vec![[127, 0, 0, 1].into()]) } else { Err(io::ErrorKind::TimedOut.into()) }
            })
        }
    }

    #[test]
    fn addresses_that_did_not_answer_are_used_again_if_nobody_knows_better() {
        let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = closed.local_addr().expect("bound");
        drop(closed);
        let host = Host::builder().dns(OnceThenOut(AtomicU32::new(0))).build();
        let origin = Origin { https: false, host: "h".into(), port: address.port(), authority: "h".into() };
        let tls = crate::transport::client_config(None).expect("a configuration");
        let connector = Connector::new(origin, None, tls, host, Buffers::default());
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            connector.connect().await.expect_err("nobody listens");
            let _store = std::net::TcpListener::bind(address).expect("the port is free");
            for _ in 0..2 {
                connector.connect().await.expect("the store is back, and the name server is not");
            }
        });
    }

    /// Answers each name when it is told to, and counts how often it was asked.
    struct Slow {
        asked: Arc<AtomicU32>,
        may_answer: Arc<AtomicBool>,
        answer: io::Result<IpAddr>,
    }

    impl credentials::Dns for Slow {
        fn resolve<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, io::Result<Vec<IpAddr>>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Box::pin(async {
                while !self.may_answer.load(Ordering::Relaxed) {
                    compio::time::sleep(Duration::from_millis(1)).await;
                }
                match &self.answer {
                    Ok(address) => Ok(vec![*address]),
                    Err(error) => Err(error.kind().into()),
                }
            })
        }
    }

    /// Looks a name up for many callers, some of whom do not wait for it; how often the resolver was asked.
    fn asked(answer: io::Result<IpAddr>, goes_well: bool) -> u32 {
        let (asked, may_answer) = <(Arc<AtomicU32>, Arc<AtomicBool>)>::default();
        let slow = Slow { asked: Arc::clone(&asked), may_answer: Arc::clone(&may_answer), answer };
        let host = Host::builder().dns(slow).build();
        let origin = Origin { https: false, host: "h".into(), port: 80, authority: "h".into() };
        let tls = crate::transport::client_config(None).expect("a configuration");
        let connector = Connector::new(origin, None, tls, host, Buffers::default());
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            for _ in 0..20 {
                let impatient = compio::time::timeout(Duration::from_millis(1), connector.addresses("h"));
                assert!(impatient.await.is_err());
            }
            may_answer.store(true, Ordering::Relaxed);
            let patient = futures_util::future::join_all((0..20).map(|_| connector.addresses("h"))).await;
            assert!(patient.iter().all(|found| found.is_ok() == goes_well), "{patient:?}");
        });
        asked.load(Ordering::Relaxed)
    }

    #[test]
    fn a_resolver_that_is_slow_is_asked_once_for_all_who_wait_and_all_who_left() {
        assert_eq!(asked(Ok(IpAddr::from([192, 0, 2, 1])), true), 1);
        // Those who came after the first had asked may ask once more.
        assert!(asked(Err(io::ErrorKind::TimedOut.into()), false) <= 2);
    }
}
