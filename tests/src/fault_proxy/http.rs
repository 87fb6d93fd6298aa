//! As much of HTTP/1.1 as a proxy on the loopback needs: heads, lengths, chunks. Whole messages are held in memory.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;

/// A head longer than this is nobody's.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// TCP, or TLS over it.
pub(super) trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// One side of the proxy: a connection, and what was read from it and not used yet.
pub(super) struct Wire {
    pub(super) tcp: TcpStream,
    pub(super) io: Box<dyn Duplex>,
    held: Vec<u8>,
}

/// An answer of the server behind the proxy, whole and without chunks.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

impl Whole {
    pub(super) fn status(&self) -> u16 {
        let line = self.head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
        line.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }
}

impl Wire {
    pub(super) fn new(tcp: TcpStream, io: Box<dyn Duplex>) -> Wire {
        Wire { tcp, io, held: Vec::new() }
    }

    pub(super) fn plain(tcp: TcpStream) -> Result<Wire> {
        let io = Box::new(tcp.try_clone()?);
        Ok(Wire::new(tcp, io))
    }

    fn fill(&mut self) -> Result<bool> {
        let mut piece = [0; 64 * 1024];
        let read = self.io.read(&mut piece)?;
        self.held.extend_from_slice(&piece[..read]);
        Ok(read > 0)
    }

    /// A head with its empty line; `None` when the other side hung up between two messages.
    pub(super) fn head(&mut self) -> Result<Option<Vec<u8>>> {
        let mut looked_at = 0;
        loop {
            let from = usize::saturating_sub(looked_at, 3);
            if let Some(at) = self.held[from..].windows(4).position(|window| window == b"\r\n\r\n") {
                return Ok(Some(self.held.drain(..from + at + 4).collect()));
            }
            looked_at = self.held.len();
            if looked_at > HEAD_BYTES_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            if !self.fill()? {
                return if self.held.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Exactly so many bytes.
    pub(super) fn body(&mut self, bytes: usize) -> Result<Vec<u8>> {
        while self.held.len() < bytes {
            if !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.held.drain(..bytes).collect())
    }

    fn line(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(at) = self.held.windows(2).position(|window| window == b"\r\n") {
                return Ok(self.held.drain(..at + 2).collect());
            }
            if !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// A whole answer. Chunks are joined, and the head then states the length.
    pub(super) fn answer(&mut self, to_head: bool) -> Result<Whole> {
        let mut head = loop {
            let head = self.head()?.ok_or(ErrorKind::UnexpectedEof)?;
            // 100 Continue announces the answer.
            if !head.starts_with(b"HTTP/1.1 1") {
                break head;
            }
        };
        let status = Whole { head: head.clone(), body: Vec::new() }.status();
        if to_head || status == 204 || status == 304 {
            return Ok(Whole { head, body: Vec::new() });
        }
        let chunked = header(&head, "transfer-encoding").is_some_and(|how| how.contains("chunked"));
        let body = if chunked {
            let body = self.chunks()?;
            head = with_header(
                &without_header(&head, "transfer-encoding"),
                "content-length",
                &body.len().to_string(),
            );
            body
        } else if let Some(length) = content_length(&head) {
            self.body(length)?
        } else {
            while self.fill()? {}
            std::mem::take(&mut self.held)
        };
        Ok(Whole { head, body })
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8_lossy(&self.line()?).into_owned();
            let size = line.trim().split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).map_err(|_| ErrorKind::InvalidData)?;
            if size == 0 {
                // Trailers, up to the empty line.
                while self.line()? != b"\r\n" {}
                return Ok(body);
            }
            body.extend(self.body(size)?);
            self.line()?;
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.io.write_all(bytes)?;
        self.io.flush()
    }

    /// Whether the other side is gone, or has said something unasked.
    pub(super) fn is_stale(&self) -> bool {
        let peeked = self.tcp.set_nonblocking(true).and_then(|()| self.tcp.peek(&mut [0]));
        let restored = self.tcp.set_nonblocking(false);
        let quiet = matches!(&peeked, Err(error) if error.kind() == ErrorKind::WouldBlock);
        restored.is_err() || !quiet
    }
}

/// The first value of a header. The name is lower-case.
pub(super) fn header(head: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

pub(super) fn content_length(head: &[u8]) -> Option<usize> {
    header(head, "content-length")?.parse().ok()
}

/// The head without every header whose name passes.
fn without(head: &[u8], passes: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len());
    for (index, line) in head.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let name = String::from_utf8_lossy(line.split(|byte| *byte == b':').next().unwrap_or_default());
        if index == 0 || !passes(&name.to_ascii_lowercase()) {
            out.extend_from_slice(line);
        }
    }
    out
}

pub(super) fn without_header(head: &[u8], name: &str) -> Vec<u8> {
    without(head, |found| found == name)
}

/// The head without the conditions that it carried.
pub(super) fn without_conditions(head: &[u8]) -> Vec<u8> {
    without(head, |found| found == "if-match" || found == "if-none-match")
}

/// The head with one more header at its end.
pub(super) fn with_header(head: &[u8], name: &str, value: &str) -> Vec<u8> {
    let mut out = head[..head.len() - 2].to_vec();
    out.extend_from_slice(format!("{name}: {value}\r\n\r\n").as_bytes());
    out
}
