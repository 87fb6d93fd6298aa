//! One connection of a client: request after request, each with its fate.

use std::io::{Error, Read, Result};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::http::{Whole, Wire, content_length, header};
use super::rewrite;
use super::rule::{Act, Stage};
use super::{PATIENCE, S3Operation, Shared, lock, spawn, wait_for};

/// Whether the connection goes on.
enum Next {
    Go,
    End,
}

pub(super) fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    let mut number = 0;
    while let Ok((stream, _)) = listener.accept() {
        number += 1;
        if let Ok(copy) = stream.try_clone() {
            lock(&shared.open).insert(number, copy);
        }
        // Looked at after the connection is known: whoever stops the proxy hangs up on it, or it is dropped here.
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        threads.retain(|thread: &std::thread::JoinHandle<()>| !thread.is_finished());
        let shared = Arc::clone(shared);
        threads.push(spawn(move || {
            // A connection that breaks is what this is about.
            let _broken = serve(stream, &shared, number);
        }));
    }
    for thread in threads {
        let _panicked = thread.join();
    }
}

/// A new connection to the server behind.
pub(super) fn upstream(shared: &Shared) -> Result<TcpStream> {
    let stream = TcpStream::connect(shared.upstream)?;
    set_up(&stream)?;
    Ok(stream)
}

fn set_up(stream: &TcpStream) -> Result<()> {
    // Without it every small answer waits for the other side's delayed acknowledgement.
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

struct Connection<'a> {
    client: Wire,
    server: Option<Wire>,
    shared: &'a Shared,
}

fn serve(tcp: TcpStream, shared: &Shared, number: u64) -> Result<()> {
    set_up(&tcp)?;
    let served = (|| {
        if let Some(act) = shared.connected() {
            let mut raw = Connection { client: Wire::plain(tcp.try_clone()?)?, server: None, shared };
            if matches!(raw.hang_up(&act)?, Next::End) {
                return Ok(());
            }
        }
        let client = match &shared.tls {
            None => Wire::plain(tcp.try_clone()?)?,
            Some(config) => {
                let session = rustls::ServerConnection::new(Arc::clone(config)).map_err(Error::other)?;
                Wire::new(tcp.try_clone()?, Box::new(rustls::StreamOwned::new(session, tcp.try_clone()?)))
            }
        };
        let mut connection = Connection { client, server: None, shared };
        while let Next::Go = connection.request()? {}
        Ok(())
    })();
    // The last copies of the socket: only now is it closed.
    drop(lock(&shared.open).remove(&number));
    served
}

impl Connection<'_> {
    /// One request, from its first byte to the last of its answer.
    fn request(&mut self) -> Result<Next> {
        let Some(mut head) = self.client.head()? else { return Ok(Next::End) };
        let (operation, about) = S3Operation::of(&head);
        let (index, fault) = self.shared.arrived(operation, &about);
        let length = content_length(&head).unwrap_or(0);
        let at = |stage: Stage| match &fault {
            Some((found, act)) if *found == stage => Some(act),
            _ => None,
        };

        if let Some(act) = at(Stage::Head)
            && let Next::End = self.hang_up(act)?
        {
            return Ok(Next::End);
        }
        if let Some((Stage::Body(bytes), act)) = &fault {
            self.client.body(length.min(*bytes))?;
            self.hang_up(act)?;
            return Ok(Next::End);
        }
        let mut body = self.client.body(length)?;
        let to_head = operation == S3Operation::HeadObject;
        if let Some(act) = at(Stage::Request) {
            match act {
                Act::Answer(answer) => {
                    self.client.send(&if to_head { answer.head() } else { answer.raw() })?;
                    return Ok(Next::Go);
                }
                Act::Hold => {
                    lock(&self.shared.held).push([head, body].concat());
                    return self.hang_up(&Act::Close);
                }
                Act::Tamper(how) => head = rewrite::request(&head, &mut body, *how),
                act => {
                    if let Next::End = self.hang_up(act)? {
                        return Ok(Next::End);
                    }
                }
            }
        }

        let mut answer = self.forward(&head, &body, to_head, index)?;
        let mut ends =
            header(&answer.head, "connection").is_some_and(|how| how.eq_ignore_ascii_case("close"));
        if let Some(act) = at(Stage::Answered) {
            match act {
                Act::Answer(other) => {
                    self.client.send(&if to_head { other.head() } else { other.raw() })?;
                    return Ok(Next::Go);
                }
                Act::Rewrite(how) => {
                    let (changed, last) = rewrite::answer(answer, how);
                    answer = changed;
                    ends |= last;
                }
                Act::Twice(which) => {
                    let second = self.forward(&head, &body, to_head, index)?;
                    if *which == 2 {
                        answer = second;
                    }
                }
                Act::Drip(bytes, pause) => {
                    for piece in [&answer.head[..], &answer.body].concat().chunks(*bytes) {
                        wait_for(*pause);
                        self.client.send(piece)?;
                    }
                    return Ok(Next::Go);
                }
                act => {
                    if let Next::End = self.hang_up(act)? {
                        return Ok(Next::End);
                    }
                }
            }
        }
        match &fault {
            Some((Stage::AnswerHead(part), act)) => {
                self.client.send(&answer.head[..answer.head.len() * part / 1000])?;
                return self.hang_up(act);
            }
            Some((Stage::AnswerBody(part), act)) => {
                self.client.send(&answer.head)?;
                self.client.send(&answer.body[..answer.body.len() * part / 1000])?;
                return self.hang_up(act);
            }
            _ => self.client.send(&[&answer.head[..], &answer.body].concat())?,
        }
        if let Some(act) = at(Stage::Over) {
            return self.hang_up(act);
        }
        if ends {
            return self.hang_up(&Act::Close);
        }
        Ok(Next::Go)
    }

    /// Has the server carry a request out.
    fn forward(&mut self, head: &[u8], body: &[u8], to_head: bool, index: usize) -> Result<Whole> {
        let mut server = match self.server.take() {
            Some(server) if !server.is_stale() => server,
            _ => Wire::plain(upstream(self.shared)?)?,
        };
        server.send(head)?;
        server.send(body)?;
        let answer = server.answer(to_head)?;
        self.shared.answered(index, answer.status());
        let closes = header(&answer.head, "connection").is_some_and(|how| how.eq_ignore_ascii_case("close"));
        let bounded = to_head || answer.status() == 204 || content_length(&answer.head).is_some();
        self.server = Some(server).filter(|_| bounded && !closes);
        Ok(answer)
    }

    /// The acts that say nothing.
    fn hang_up(&mut self, act: &Act) -> Result<Next> {
        match act {
            Act::Pause(pause) => {
                wait_for(*pause);
                return Ok(Next::Go);
            }
            Act::Reset => socket2::SockRef::from(&self.client.tcp).set_linger(Some(Duration::ZERO))?,
            Act::Close => {
                self.client.tcp.shutdown(Shutdown::Write)?;
                // Closing with bytes unread would turn the FIN into an RST.
                let mut tcp = &self.client.tcp;
                while tcp.read(&mut [0; 4096])? > 0 {}
            }
            Act::Stall => {
                // What comes meanwhile stays where it is, so that the sender's buffers fill up.
                while !self.shared.stopping.load(Ordering::SeqCst) && !self.hung_up() {
                    wait_for(Duration::from_millis(5));
                }
            }
            // The others make no sense where they were asked for: a rule is wrong, and must not pass unnoticed.
            other => panic!("{other:?} cannot be done at this stage"),
        }
        Ok(Next::End)
    }

    /// Whether the client is gone, found out without reading what it sent before.
    fn hung_up(&self) -> bool {
        let tcp = &self.client.tcp;
        if !matches!(tcp.take_error(), Ok(None)) {
            return true;
        }
        let state = tcp.set_nonblocking(true).and_then(|()| tcp.peek(&mut [0]));
        let restored = tcp.set_nonblocking(false);
        match state {
            Ok(bytes) => bytes == 0 || restored.is_err(),
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}
