//! The loop: who is ready, and what to do about it.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};

use crate::answer::Site;
use crate::connection::{Connection, Next};
use crate::tls;

/// One read. The whole of a socket's default receive buffer fits, and it stays in the cache of the core.
const READ_BYTES: usize = 256 << 10;

/// How long the loop looks for the next request before it goes to sleep. A client would have to wake it otherwise: an
/// interrupt to another core, which on a virtual machine costs as much as a small request, is charged to the client,
/// and would be the same large summand in everybody's time. Ends by itself when requests stop.
const SPIN: Duration = Duration::from_millis(1);
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

const STDIN: u64 = 0;
const PLAIN: u64 = 1;
const TLS: u64 = 2;
const CONNECTIONS: u64 = 3;

pub(crate) fn serve(ca: &Path) -> io::Result<()> {
    let tls = tls::config(ca)?;
    let plain_listener = TcpListener::bind("127.0.0.1:0")?;
    let tls_listener = TcpListener::bind("127.0.0.1:0")?;
    plain_listener.set_nonblocking(true)?;
    tls_listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, io::stdin().as_fd(), EventData::new_u64(STDIN), EventFlags::IN)?;
    epoll::add(&epoll, &plain_listener, EventData::new_u64(PLAIN), EventFlags::IN)?;
    epoll::add(&epoll, &tls_listener, EventData::new_u64(TLS), EventFlags::IN)?;

    let mut site = Site::new();
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut next_id = CONNECTIONS;
    let mut scratch = vec![0; READ_BYTES];
    let mut events = Vec::with_capacity(256);
    let mut last_request = Instant::now();
    println!("http://{} https://{}", plain_listener.local_addr()?, tls_listener.local_addr()?);
    loop {
        let patience = if last_request.elapsed() < SPIN { Some(&NOW) } else { None };
        match epoll::wait(&epoll, spare_capacity(&mut events), patience) {
            Ok(0) => continue,
            Ok(_) => last_request = Instant::now(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            let id = event.data.u64();
            match id {
                // Nothing is ever written there: it was closed.
                STDIN => return Ok(()),
                PLAIN | TLS => {
                    let listener = if id == PLAIN { &plain_listener } else { &tls_listener };
                    while let Some(socket) = accept(listener)? {
                        let session = if id == TLS { Some(tls::session(Arc::clone(&tls))?) } else { None };
                        epoll::add(&epoll, &socket, EventData::new_u64(next_id), EventFlags::IN)?;
                        connections.insert(next_id, Connection::new(socket, session));
                        next_id += 1;
                    }
                }
                id => {
                    let Some(connection) = connections.get_mut(&id) else { continue };
                    let waiting = connection.is_writing();
                    match connection.go_on(&mut scratch, &mut site) {
                        // A client may leave whenever it likes; what it left out shows up in the counts.
                        Err(_) | Ok(Next::Close) => {
                            connections.remove(&id);
                        }
                        Ok(Next::Wait) if connection.is_writing() != waiting => {
                            let flags = if waiting { EventFlags::IN } else { EventFlags::OUT };
                            epoll::modify(&epoll, connection.socket(), EventData::new_u64(id), flags)?;
                        }
                        Ok(Next::Wait) => {}
                    }
                }
            }
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<Option<OwnedFd>> {
    match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
        Ok(socket) => {
            sockopt::set_tcp_nodelay(&socket, true)?;
            Ok(Some(socket))
        }
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
