//! A proxy that stands between a store and a real server and does to chosen requests what networks, proxies and
//! servers do to them: by operation, attempt and stage, above all on both sides of the moment at which a request is
//! carried out.
//!
//! It speaks HTTP/1.1 on plain threads, one per connection, and passes the bytes of requests on unchanged, the `Host`
//! header included, so that signatures hold: the client is configured with the proxy as its endpoint, and the server
//! behind must take any host (path style). What is to happen is a list of [`Rule`]s; of those that fit a request the
//! first counts. What is not in a rule goes through untouched.

mod connection;
mod http;
mod operation;
mod rewrite;
mod rule;

use std::collections::BTreeMap;
use std::io::Result;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use self::operation::S3Operation;
pub use self::rule::{Act, Attempt, Rewrite, Rule, Stage, Tamper};

/// How long the proxy waits for either side. Nothing that a test does takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a proxy stands before, and what it does.
#[derive(Debug, Default)]
pub struct Setup {
    /// What happens to which request.
    pub rules: Vec<Rule>,
    /// Faults that strike at random; rules come first.
    pub chance: Option<Chance>,
    /// Speak TLS to clients.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The size of the receive buffer of every connection, in bytes: a small one stops a sender soon.
    pub receive_buffer: Option<usize>,
}

/// Faults that strike at random, the same for the same seed and order of requests.
#[derive(Clone, Debug)]
pub struct Chance {
    /// Where the randomness begins.
    pub seed: u64,
    /// How many requests, or connections for [`Stage::Connected`], in a thousand meet each of the faults.
    pub per_mille_of_each: u32,
    /// The faults.
    pub faults: Vec<(Stage, Act)>,
}

/// A request that came through, or did not.
#[derive(Clone, Debug)]
pub struct Passed {
    /// What it asked for.
    pub operation: S3Operation,
    /// Its path; of a listing also the prefix.
    pub about: String,
    /// The so-many-th of this operation and path, from 1.
    pub attempt: u32,
    /// The statuses with which the server behind answered it: none when it was not carried out, two when it was
    /// carried out twice.
    pub answered: Vec<u16>,
    /// Whether a fault struck it.
    pub struck: bool,
}

/// The proxy. Dropping it hangs up on everybody and ends its threads.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    rules: Vec<Rule>,
    chance: Option<Chance>,
    rolled: AtomicU64,
    quiet: AtomicBool,
    tls: Option<Arc<rustls::ServerConfig>>,
    log: Mutex<Log>,
    /// Requests to be carried out later, as they came.
    held: Mutex<Vec<Vec<u8>>>,
    open: Mutex<BTreeMap<u64, TcpStream>>,
    changed: Condvar,
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Log {
    connections: u32,
    passed: Vec<Passed>,
    attempts: BTreeMap<(S3Operation, String), u32>,
}

impl FaultProxy {
    /// Stands before `upstream`, on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When no socket can be had.
    #[must_use]
    pub fn new(upstream: SocketAddr, setup: Setup) -> FaultProxy {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        if let Some(bytes) = setup.receive_buffer {
            socket.set_recv_buffer_size(bytes).expect("an option of every socket");
        }
        socket.listen(256).expect("a bound socket listens");
        let listener = std::net::TcpListener::from(socket);
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            upstream,
            rules: setup.rules,
            chance: setup.chance,
            rolled: AtomicU64::new(0),
            quiet: AtomicBool::new(false),
            tls: setup.tls,
            log: Mutex::default(),
            held: Mutex::default(),
            open: Mutex::default(),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let accepting = spawn({
            let shared = Arc::clone(&shared);
            move || connection::accept(&listener, &shared)
        });
        FaultProxy { address, shared, accepting: Some(accepting) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request whose head was read, in order of arrival.
    #[must_use]
    pub fn passed(&self) -> Vec<Passed> {
        lock(&self.shared.log).passed.clone()
    }

    /// How many requests of this operation came.
    #[must_use]
    pub fn count(&self, operation: S3Operation) -> usize {
        lock(&self.shared.log).passed.iter().filter(|passed| passed.operation == operation).count()
    }

    /// How many connections were made.
    #[must_use]
    pub fn connections(&self) -> u32 {
        lock(&self.shared.log).connections
    }

    /// From now on everything goes through untouched.
    pub fn calm(&self) {
        self.shared.quiet.store(true, Ordering::SeqCst);
    }

    /// How many requests met a fault, since the last [`forget`](Self::forget).
    #[must_use]
    pub fn struck(&self) -> usize {
        lock(&self.shared.log).passed.iter().filter(|passed| passed.struck).count()
    }

    /// Forgets the requests so far, which a long run has no memory for. Attempts are counted from 1 again.
    pub fn forget(&self) {
        let mut log = lock(&self.shared.log);
        log.passed = Vec::new();
        log.attempts = BTreeMap::new();
    }

    /// Waits, at most five seconds, until so many faults have struck.
    #[must_use]
    pub fn has_struck(&self, wanted: usize) -> bool {
        let struck = |log: &Log| log.passed.iter().filter(|passed| passed.struck).count();
        let log = lock(&self.shared.log);
        let waited =
            self.shared.changed.wait_timeout_while(log, Duration::from_secs(5), |log| struck(log) < wanted);
        struck(&waited.unwrap_or_else(PoisonError::into_inner).0) >= wanted
    }

    /// Carries out what was held back, in order of arrival, and gives the server's statuses.
    ///
    /// # Errors
    ///
    /// The server behind does not answer.
    pub fn release(&self) -> Result<Vec<u16>> {
        let held = std::mem::take(&mut *lock(&self.shared.held));
        let shared = Arc::clone(&self.shared);
        let carry_out = move |request: Vec<u8>| {
            let mut server = http::Wire::plain(connection::upstream(&shared)?)?;
            server.send(&request)?;
            Ok(server.answer(request.starts_with(b"HEAD"))?.status())
        };
        // The caller's thread may be a runtime's, whose ring interrupts blocking calls.
        let carried_out = spawn(move || held.into_iter().map(carry_out).collect());
        carried_out.join().unwrap_or_else(|_| Err(std::io::Error::other("it panicked")))
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for stream in lock(&self.shared.open).values() {
            // It may be gone already.
            let _gone = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts.
        let _woken = TcpStream::connect(self.address);
        if let Some(thread) = self.accepting.take() {
            let _panicked = thread.join();
        }
    }
}

impl Shared {
    /// Notes a request and gives its place in the log, and what is to happen to it.
    fn arrived(&self, operation: S3Operation, about: &str) -> (usize, Option<(Stage, Act)>) {
        let mut log = lock(&self.log);
        let attempt = log.attempts.entry((operation, about.to_owned())).or_default();
        *attempt += 1;
        let attempt = *attempt;
        let fault = self.fault(|rule| {
            rule.stage != Stage::Connected
                && rule.operation.is_none_or(|wanted| wanted == operation)
                && rule.attempt.includes(attempt)
        });
        let struck = fault.is_some();
        let about = about.to_owned();
        log.passed.push(Passed { operation, about, attempt, answered: Vec::new(), struck });
        self.changed.notify_all();
        (log.passed.len() - 1, fault)
    }

    /// Notes a connection and says what is to happen to it.
    fn connected(&self) -> Option<Act> {
        let mut log = lock(&self.log);
        log.connections += 1;
        let connection = log.connections;
        if self.quiet.load(Ordering::SeqCst) {
            return None;
        }
        let fits = |rule: &&Rule| rule.stage == Stage::Connected && rule.attempt.includes(connection);
        let rule = self.rules.iter().find(fits).map(|rule| rule.act.clone());
        rule.or_else(|| self.roll().filter(|(stage, _)| *stage == Stage::Connected).map(|(_, act)| act))
    }

    fn fault(&self, fits: impl Fn(&Rule) -> bool) -> Option<(Stage, Act)> {
        if self.quiet.load(Ordering::SeqCst) {
            return None;
        }
        let rule = self.rules.iter().find(|rule| fits(rule));
        let rule = rule.map(|rule| (rule.stage, rule.act.clone()));
        rule.or_else(|| self.roll().filter(|(stage, _)| *stage != Stage::Connected))
    }

    fn roll(&self) -> Option<(Stage, Act)> {
        let chance = self.chance.as_ref()?;
        let number = self.rolled.fetch_add(1, Ordering::SeqCst);
        let rolled = splitmix(chance.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))) % 1000;
        let fault = usize::try_from(rolled / u64::from(chance.per_mille_of_each.max(1))).ok()?;
        chance.faults.get(fault).filter(|_| chance.per_mille_of_each > 0).cloned()
    }

    fn answered(&self, index: usize, status: u16) {
        // The log may have been forgotten meanwhile.
        if let Some(passed) = lock(&self.log).passed.get_mut(index) {
            passed.answered.push(status);
        }
    }
}

/// <https://prng.di.unimi.it/splitmix64.c>
fn splitmix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "the proxy shares nothing with the runtime under test")]
fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::spawn(run)
}

#[expect(clippy::disallowed_methods, reason = "a thread of the proxy's own")]
fn wait_for(pause: Duration) {
    std::thread::sleep(pause);
}
