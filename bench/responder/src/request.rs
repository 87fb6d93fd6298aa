//! Requests, as far as they matter: what is asked, how long the body is, what is to be echoed.

use std::io;

use memchr::{memchr, memmem};

use crate::answer::{Output, Site};
use crate::body::{Drain, Drained};

/// No client of ours sends more.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What one request asks for.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// After the last `/` of the path.
    pub(crate) key: String,
    pub(crate) query: String,
    /// Lines of the head that the answer repeats.
    pub(crate) echo: Vec<u8>,
    /// Whether the answer is to carry a checksum.
    pub(crate) wants_checksum: bool,
    /// First and last byte asked for.
    pub(crate) range: Option<(u64, Option<u64>)>,
    /// The length of the payload inside an aws-chunked body.
    pub(crate) decoded_len: Option<u64>,
    pub(crate) admin: bool,
    expects_continue: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Method {
    #[default]
    Get,
    Head,
    Put,
    Post,
    Delete,
}

/// Takes a connection's bytes as they come.
#[derive(Default)]
pub(crate) struct Parser {
    /// The beginning of a head that did not come at once.
    partial: Vec<u8>,
    /// The request whose body is being drained.
    draining: Option<(Request, Drain)>,
}

impl Parser {
    pub(crate) fn take(&mut self, mut bytes: &[u8], site: &mut Site, output: &mut Output) -> io::Result<()> {
        while !bytes.is_empty() {
            if let Some((request, drain)) = &mut self.draining {
                bytes = match drain.take(bytes)? {
                    Drained::More => return Ok(()),
                    Drained::Done { rest, len } => {
                        site.answer(request, request.decoded_len.unwrap_or(len), output);
                        rest
                    }
                };
                self.draining = None;
                continue;
            }
            let (request, drain) = if self.partial.is_empty() {
                match memmem::find(bytes, b"\r\n\r\n") {
                    Some(end) => {
                        let parsed = parse(&bytes[..end + 2])?;
                        bytes = &bytes[end + 4..];
                        parsed
                    }
                    None => {
                        self.partial.extend_from_slice(bytes);
                        return Ok(());
                    }
                }
            } else {
                let before = self.partial.len();
                self.partial.extend_from_slice(&bytes[..bytes.len().min(HEAD_BYTES_MAX)]);
                match memmem::find(&self.partial, b"\r\n\r\n") {
                    Some(end) => {
                        let parsed = parse(&self.partial[..end + 2])?;
                        bytes = &bytes[end + 4 - before..];
                        self.partial.clear();
                        parsed
                    }
                    None if self.partial.len() > HEAD_BYTES_MAX => return Err(bad("an endless head")),
                    None => return Ok(()),
                }
            };
            if drain.is_empty() {
                site.answer(&request, 0, output);
            } else {
                if request.expects_continue {
                    output.push_head(b"HTTP/1.1 100 Continue\r\n\r\n");
                    site.counts.continues += 1;
                }
                self.draining = Some((request, drain));
            }
        }
        Ok(())
    }
}

/// `head` ends with the line break of its last line.
fn parse(head: &[u8]) -> io::Result<(Request, Drain)> {
    let mut request = Request::default();
    let end = memchr(b'\r', head).ok_or_else(|| bad("no request line"))?;
    let line = std::str::from_utf8(&head[..end]).map_err(|_| bad("not text"))?;
    let mut words = line.split(' ');
    request.method = match words.next() {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("PUT") => Method::Put,
        Some("POST") => Method::Post,
        Some("DELETE") => Method::Delete,
        _ => return Err(bad("another method")),
    };
    let target = words.next().ok_or_else(|| bad("no target"))?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    request.admin = path.starts_with("/-/");
    request.key.push_str(path.rsplit('/').next().unwrap_or(path));
    request.query.push_str(query);

    let mut len = 0;
    let mut chunked = false;
    let mut rest = &head[end + 2..];
    while let Some(end) = memchr(b'\n', rest) {
        let line = &rest[..=end];
        rest = &rest[end + 1..];
        let Some(colon) = memchr(b':', line) else { return Err(bad("a line without a colon")) };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        // The lengths first: most names are none of these.
        match name.len() {
            5 if is("range") => request.range = parse_range(value),
            6 if is("expect") => request.expects_continue = true,
            14 if is("content-length") => len = number(value)?,
            17 if is("transfer-encoding") => chunked = true,
            19 if is("x-amz-checksum-mode") => request.wants_checksum = true,
            28 if is("x-amz-decoded-content-length") => request.decoded_len = Some(number(value)?),
            16.. if is_checksum(name) => request.echo.extend_from_slice(line),
            _ => {}
        }
    }
    Ok((request, if chunked { Drain::chunked() } else { Drain::counted(len) }))
}

fn is_checksum(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-amz-checksum-";
    name[..PREFIX.len()].eq_ignore_ascii_case(PREFIX)
        && [&b"crc32"[..], b"crc32c", b"crc64nvme", b"sha1", b"sha256"]
            .iter()
            .any(|known| name[PREFIX.len()..].eq_ignore_ascii_case(known))
}

/// `bytes=0-` and `bytes=0-99`.
fn parse_range(value: &[u8]) -> Option<(u64, Option<u64>)> {
    let text = std::str::from_utf8(value).ok()?.strip_prefix("bytes=")?;
    let (first, last) = text.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()))
}

fn number(value: &[u8]) -> io::Result<u64> {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(|| bad("not a number"))
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
