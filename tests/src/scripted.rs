//! An HTTP server that does exactly what a test wrote down for it: answers, lies, stalls, and hangs up in the middle.
//!
//! It reads HTTP/1.1 by itself, byte by byte, so that a test sees what was really sent, and it runs on plain threads,
//! so that nothing of the code under test is also what tests it. One [`Step`] is spent per request, in order of
//! arrival.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

mod answer;
pub mod tls;

pub use answer::Answer;

/// What the server does about one request, act after act.
///
/// A step begins when the first byte of a request can be read (so an idle connection spends no step). When its acts
/// are over the connection stays open for the next request.
pub type Step = Vec<Act>;

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Act {
    /// Read the head of the request.
    ReadHead,
    /// Read so many bytes of the body; the head first, if that was not done.
    ReadBody(usize),
    /// Read head and body to their end.
    ReadAll,
    /// Send these bytes.
    Send(Vec<u8>),
    /// Send these bytes, and with them that they are the last: TLS's goodbye in the same segment, and FIN where there is
    /// no TLS. The connection stays until the other side hangs up.
    SendLast(Vec<u8>),
    /// Send these bytes one by one, with this pause before each.
    Drip(Vec<u8>, Duration),
    /// Do nothing for so long.
    Pause(Duration),
    /// Say nothing until the other side hangs up or the server is dropped.
    Stall,
    /// Hang up in an orderly way: FIN.
    Close,
    /// Hang up rudely: RST.
    Reset,
}

/// Reads the request and answers it.
#[must_use]
pub fn answer(answer: impl Into<Vec<u8>>) -> Step {
    vec![Act::ReadAll, Act::Send(answer.into())]
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Request line and headers, as they were on the wire, with the empty line.
    pub head: Vec<u8>,
    /// As much of the body as was read.
    pub body: Vec<u8>,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

impl Seen {
    /// The head as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }

    /// Method and target.
    #[must_use]
    pub fn request_line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    /// Every value of a header, in order. The name is lower-case.
    #[must_use]
    pub fn headers(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let lines = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    /// The only value of a header; `None` when there is none or more than one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let mut values = self.headers(name);
        if values.len() == 1 { values.pop() } else { None }
    }

    /// A parameter of the query, as it was sent.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let line = self.request_line();
        let query = line.split(' ').nth(1)?.split_once('?')?.1.to_owned();
        let pair = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(found, _)| *found == name);
        pair.map(|(_, value)| value.to_owned())
    }

    /// The signature in the header, in hexadecimal.
    #[must_use]
    pub fn signature(&self) -> Option<String> {
        Some(self.header("authorization")?.split_once("Signature=")?.1.to_owned())
    }

    /// The names of the headers that are signed.
    #[must_use]
    pub fn signed_headers(&self) -> Vec<String> {
        let authorization = self.header("authorization").unwrap_or_default();
        let names = authorization.split_once("SignedHeaders=").map_or("", |(_, rest)| rest);
        names.split(',').next().unwrap_or_default().split(';').map(str::to_owned).collect()
    }

    fn length(&self) -> usize {
        self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
    }
}

/// The server. Dropping it closes every connection and ends its threads.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    steps: Mutex<VecDeque<Step>>,
    /// What is done when no step is left.
    rest: Option<Step>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    /// The connections that are open, by number, for hanging up on them.
    open: Mutex<BTreeMap<usize, TcpStream>>,
    ended: Mutex<usize>,
    changed: Condvar,
    stopping: AtomicBool,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// How a [`Server`] is made, where the usual way is not enough.
#[derive(Debug, Default)]
pub struct Setup {
    /// The steps, one per request.
    pub steps: Vec<Step>,
    /// What is done with every request after them; without it they are hung up on.
    pub rest: Option<Step>,
    /// TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The size of the receive buffer of every connection, in bytes.
    pub receive_buffer: Option<usize>,
}

impl Server {
    /// Serves these steps, one per request, and hangs up on every request after them.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Server {
        Server::with(Setup { steps, ..Setup::default() })
    }

    /// Does the same with every request.
    #[must_use]
    pub fn always(step: Step) -> Server {
        Server::with(Setup { rest: Some(step), ..Setup::default() })
    }

    /// A server as described.
    ///
    /// # Panics
    ///
    /// When no socket can be had.
    #[must_use]
    pub fn with(setup: Setup) -> Server {
        let listener = listener(setup.receive_buffer, 128);
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            steps: Mutex::new(setup.steps.into()),
            rest: setup.rest,
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
            ended: Mutex::new(0),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
            tls: setup.tls,
        });
        let accepting = spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Server { address, shared, accepting: Some(accepting) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far, also those that were not read to their end.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// How many connections were made so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many connections have ended so far; waits, at most five seconds, until there are `wanted`.
    #[must_use]
    pub fn ended(&self, wanted: usize) -> usize {
        let ended = lock(&self.shared.ended);
        let waited =
            self.shared.changed.wait_timeout_while(ended, Duration::from_secs(5), |ended| *ended < wanted);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Drop for Server {
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

/// An address on which nobody listens, and nobody else can begin to as long as the value is kept.
#[derive(Debug)]
pub struct Nobody(socket2::Socket);

impl Nobody {
    /// Takes a port and leaves it alone.
    ///
    /// # Panics
    ///
    /// When no socket can be had.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it takes a port, which a default does not suggest")]
    pub fn new() -> Nobody {
        Nobody(bound())
    }

    /// Where connections are refused.
    ///
    /// # Panics
    ///
    /// Never: the socket is bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let address = self.0.local_addr().expect("a bound socket has an address");
        address.as_socket().expect("an IP address")
    }
}

/// An address that answers no attempt to connect: its queue of connections is full and nobody empties it. Works as
/// long as the value is kept.
#[derive(Debug)]
pub struct Blackhole {
    listener: TcpListener,
    _queued: Vec<socket2::Socket>,
}

impl Blackhole {
    /// Fills the queue.
    ///
    /// # Panics
    ///
    /// When no socket can be had.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it takes sockets, which a default does not suggest")]
    pub fn new() -> Blackhole {
        let listener = listener(None, 1);
        let address = listener.local_addr().expect("a bound socket has an address");
        let connect = |_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let socket = socket.expect("a socket");
            socket.set_nonblocking(true).expect("an option of every socket");
            // It is under way, which is all that is wanted.
            let _in_progress = socket.connect(&address.into());
            socket
        };
        // The queue holds one more than it was asked for; the rest wait for their turn as the victim will.
        Blackhole { _queued: (0..4).map(connect).collect(), listener }
    }

    /// Where nothing comes back from.
    ///
    /// # Panics
    ///
    /// Never: the socket is bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket has an address")
    }
}

fn bound() -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    socket
}

fn listener(receive_buffer: Option<usize>, backlog: i32) -> TcpListener {
    let socket = bound();
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes).expect("an option of every socket");
    }
    socket.listen(backlog).expect("a bound socket listens");
    socket.into()
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        if let Ok(copy) = stream.try_clone() {
            lock(&shared.open).insert(number, copy);
        }
        // Looked at after the connection is known: whoever stops the server hangs up on it, or it is dropped here.
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        let shared = Arc::clone(shared);
        threads.push(spawn(move || {
            // A connection that breaks is what most scripts are about.
            let broken = serve(&stream, number, &shared);
            // The last copies of the socket: only now is it closed.
            drop(lock(&shared.open).remove(&number));
            drop((stream, broken));
            *lock(&shared.ended) += 1;
            shared.changed.notify_all();
        }));
    }
    for thread in threads {
        let _panicked = thread.join();
    }
}

/// What a connection is read from and written to: TCP, or TLS over it.
trait Wire: Read + Write {
    /// Sends these bytes and the end of the stream behind them.
    fn send_last(&mut self, bytes: &[u8]) -> Result<()>;
}

impl Wire for TcpStream {
    fn send_last(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes)?;
        self.shutdown(Shutdown::Write)
    }
}

impl Wire for rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    fn send_last(&mut self, bytes: &[u8]) -> Result<()> {
        self.conn.writer().write_all(bytes)?;
        self.conn.send_close_notify();
        let mut records = Vec::new();
        while self.conn.wants_write() {
            self.conn.write_tls(&mut records)?;
        }
        self.sock.write_all(&records)
    }
}

struct Connection {
    tcp: TcpStream,
    wire: Box<dyn Wire>,
    /// Read and not used yet.
    held: Vec<u8>,
}

fn serve(tcp: &TcpStream, number: usize, shared: &Shared) -> Result<()> {
    // Without it every small answer waits for the other side's delayed acknowledgement.
    tcp.set_nodelay(true)?;
    // No test goes on for so long: a thread that waits longer waits for nothing.
    tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
    tcp.set_write_timeout(Some(Duration::from_secs(20)))?;
    let wire: Box<dyn Wire> = match &shared.tls {
        None => Box::new(tcp.try_clone()?),
        Some(config) => {
            let session = rustls::ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
            Box::new(rustls::StreamOwned::new(session, tcp.try_clone()?))
        }
    };
    let mut connection = Connection { tcp: tcp.try_clone()?, wire, held: Vec::new() };
    while connection.wait(shared.tls.is_some())? {
        let step = lock(&shared.steps).pop_front().or_else(|| shared.rest.clone());
        let index = {
            let mut seen = lock(&shared.seen);
            seen.push(Seen { connection: number, ..Seen::default() });
            seen.len() - 1
        };
        let mut request = Seen { connection: number, ..Seen::default() };
        let played = connection.play(
            step.unwrap_or_else(|| vec![Act::Reset]),
            &mut request,
            &shared.stopping,
            |request| {
                lock(&shared.seen)[index] = request.clone();
            },
        );
        if !played? {
            break;
        }
    }
    Ok(())
}

impl Connection {
    /// Waits for the first byte of a request, without reading it where that can be helped; `false` at the end.
    fn wait(&mut self, tls: bool) -> Result<bool> {
        if !self.held.is_empty() {
            return Ok(true);
        }
        if tls { self.fill() } else { Ok(self.tcp.peek(&mut [0])? > 0) }
    }

    fn fill(&mut self) -> Result<bool> {
        let mut piece = [0; 64 * 1024];
        let read = self.wire.read(&mut piece)?;
        self.held.extend_from_slice(&piece[..read]);
        Ok(read > 0)
    }

    /// Plays one step; `false` when the connection is over. Whatever was read is reported even if the step breaks.
    fn play(
        &mut self,
        step: Step,
        request: &mut Seen,
        stopping: &AtomicBool,
        report: impl Fn(&Seen),
    ) -> Result<bool> {
        for act in step {
            match act {
                Act::ReadHead => self.read_head(request)?,
                Act::ReadBody(bytes) => self.read_body(request, bytes)?,
                Act::ReadAll => {
                    self.read_head(request)?;
                    let bytes = request.length();
                    self.read_body(request, bytes)?;
                }
                Act::Send(bytes) => {
                    self.wire.write_all(&bytes)?;
                    self.wire.flush()?;
                }
                Act::SendLast(bytes) => {
                    self.wire.send_last(&bytes)?;
                    while self.wire.read(&mut [0; 4096])? > 0 {}
                    return Ok(false);
                }
                Act::Drip(bytes, pause) => {
                    for byte in bytes {
                        wait_for(pause);
                        self.wire.write_all(&[byte])?;
                        self.wire.flush()?;
                    }
                }
                Act::Pause(pause) => wait_for(pause),
                Act::Stall => {
                    // What comes meanwhile stays where it is, so that the sender's buffers fill up.
                    while !stopping.load(Ordering::SeqCst) && !self.hung_up()? {
                        wait_for(Duration::from_millis(5));
                    }
                    return Ok(false);
                }
                Act::Close => {
                    self.tcp.shutdown(Shutdown::Write)?;
                    // Closing with bytes unread would turn the FIN into an RST.
                    while self.wire.read(&mut [0; 4096])? > 0 {}
                    return Ok(false);
                }
                Act::Reset => {
                    let socket = socket2::SockRef::from(&self.tcp);
                    socket.set_linger(Some(Duration::ZERO))?;
                    return Ok(false);
                }
            }
            report(request);
        }
        Ok(true)
    }

    fn read_head(&mut self, request: &mut Seen) -> Result<()> {
        while request.head.is_empty() {
            match self.held.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => request.head = self.held.drain(..at + 4).collect(),
                None if self.fill()? => {}
                None => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(())
    }

    fn read_body(&mut self, request: &mut Seen, bytes: usize) -> Result<()> {
        self.read_head(request)?;
        while request.body.len() < bytes {
            let wanted = (bytes - request.body.len()).min(self.held.len());
            request.body.extend(self.held.drain(..wanted));
            if request.body.len() < bytes && !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Whether the other side is gone, found out without reading what it sent before.
    fn hung_up(&self) -> Result<bool> {
        match socket2::SockRef::from(&self.tcp).take_error()? {
            Some(error) => Err(error),
            None => {
                let state = self.tcp.set_nonblocking(true).and_then(|()| self.tcp.peek(&mut [0]));
                self.tcp.set_nonblocking(false)?;
                match state {
                    Ok(0) => Ok(true),
                    Ok(_) => Ok(false),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "the server shares nothing with the runtime under test")]
fn spawn(run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(run)
}

#[expect(clippy::disallowed_methods, reason = "a thread of the server's own")]
fn wait_for(pause: Duration) {
    std::thread::sleep(pause);
}
