//! One connection: bytes in, answers out, through TLS or not.

use std::io::{self, IoSlice, Read, Write};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read, writev};
use rustls::ServerConnection;

use crate::answer::{Output, Site};
use crate::request::Parser;

/// Slices of a body in one call.
const SLICES_MAX: usize = 8;

/// How much of an answer is encrypted before it is sent.
const ENCRYPTED_BYTES_MAX: usize = 128 << 10;

pub(crate) enum Next {
    /// Until the socket is ready again.
    Wait,
    Close,
}

pub(crate) struct Connection {
    socket: OwnedFd,
    tls: Option<Box<ServerConnection>>,
    /// What was decrypted; only used under TLS.
    decrypted: Vec<u8>,
    parser: Parser,
    output: Output,
}

impl Connection {
    pub(crate) fn new(socket: OwnedFd, tls: Option<Box<ServerConnection>>) -> Connection {
        Connection {
            socket,
            tls,
            decrypted: Vec::new(),
            parser: Parser::default(),
            output: Output::default(),
        }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether the socket is full, so that its being writable again is what to wait for. Nothing is read meanwhile.
    pub(crate) fn is_writing(&self) -> bool {
        !self.output.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    pub(crate) fn go_on(&mut self, scratch: &mut [u8], site: &mut Site) -> io::Result<Next> {
        if self.is_writing() {
            self.flush(site)?;
            return Ok(Next::Wait);
        }
        loop {
            let len = match read(&self.socket, &mut *scratch) {
                Ok(0) => return Ok(Next::Close),
                Ok(len) => len,
                Err(Errno::AGAIN) => return Ok(Next::Wait),
                Err(error) => return Err(error.into()),
            };
            let bytes = &scratch[..len];
            match &mut self.tls {
                None => self.parser.take(bytes, site, &mut self.output)?,
                Some(tls) => {
                    let mut encrypted = bytes;
                    while !encrypted.is_empty() {
                        tls.read_tls(&mut encrypted)?;
                        let state = tls.process_new_packets().map_err(io::Error::other)?;
                        self.decrypted.resize(state.plaintext_bytes_to_read().max(self.decrypted.len()), 0);
                        let plain = &mut self.decrypted[..state.plaintext_bytes_to_read()];
                        tls.reader().read_exact(plain)?;
                        self.parser.take(plain, site, &mut self.output)?;
                    }
                }
            }
            if self.is_writing() {
                self.flush(site)?;
            }
            // What did not fill the buffer was all there is: the next read would only say so.
            if len < scratch.len() || self.is_writing() {
                return Ok(Next::Wait);
            }
        }
    }

    /// Sends until everything is sent or the socket is full.
    fn flush(&mut self, site: &Site) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            while !self.output.is_empty() {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let used = self.output.slices(site, &mut slices);
                match writev(&self.socket, &slices[..used]) {
                    Ok(sent) => self.output.advance(sent),
                    Err(Errno::AGAIN) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            return Ok(());
        };
        loop {
            while !self.output.is_empty() {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let used = self.output.slices(site, &mut slices);
                let taken = tls.writer().write_vectored(&slices[..used])?;
                if taken == 0 {
                    break;
                }
                self.output.advance(taken);
            }
            if !tls.wants_write() {
                return Ok(());
            }
            match tls.write_tls(&mut Socket(self.socket.as_fd())) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Sets what a TLS session may hold back. Here, because it belongs to how [`Connection::flush`] feeds it.
pub(crate) fn bound(tls: &mut ServerConnection) {
    tls.set_buffer_limit(Some(ENCRYPTED_BYTES_MAX));
}

/// A socket as `std::io` wants it.
struct Socket<'a>(BorrowedFd<'a>);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0, bytes)?)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(writev(self.0, slices)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
