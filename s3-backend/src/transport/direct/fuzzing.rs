//! What holds of the machines of this transport, whatever comes over the network.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection};

use super::answer::Answer;
use super::framing::Decoder;
use super::head::{Framing, HEAD_BYTES_MAX, parse};
use super::tls_machine::{Decrypted, Handshake, Outgoing, TlsMachine};
use crate::protocol::request::ResponseHead;
use crate::transport::tls::provider;

/// At how many places a long answer is cut in two.
const CUTS_MAX: usize = 32;

/// Into how many pieces a long answer is cut.
const PIECES_MAX: usize = 512;

/// An answer's head, and what follows it.
pub(crate) fn head_of(bytes: &[u8]) -> Option<(ResponseHead, &[u8])> {
    let parsed = parse(bytes, false).ok()??;
    Some((parsed.head, &bytes[parsed.bytes..]))
}

/// Any bytes, heard as the answer to a GET and to a HEAD, in one piece and in many.
pub fn http(bytes: &[u8]) {
    for to_head in [false, true] {
        let whole = heard(std::iter::once(bytes), to_head);
        if let Heard::Answer { status, framing, body, rest, .. } = &whole {
            assert!((200..1000).contains(status) || *status < 100, "{status} only announces");
            assert!(body.len() + rest <= bytes.len(), "more came out than went in");
            assert!(!to_head || body.is_empty(), "the answer to HEAD has no body");
            if let Framing::Length(length) = framing {
                assert_eq!(body.len() as u64, *length);
            }
            if *framing == Framing::Chunked {
                let by_the_book = chunks_of(behind_heads(bytes));
                assert_eq!(by_the_book, Some((body.clone(), *rest)), "chunks are what their sizes say");
            }
        }
        let apart = bytes.len().div_ceil(CUTS_MAX).max(1);
        let cuts = (1..bytes.len()).step_by(apart);
        for cut in cuts {
            let (a, b) = bytes.split_at(cut);
            whole.says_the_same_as(&heard([a, b].into_iter(), to_head), cut);
        }
        let each = bytes.len().div_ceil(PIECES_MAX).max(1);
        whole.says_the_same_as(&heard(bytes.chunks(each), to_head), each);
    }
}

/// What follows the head of the real answer, of which it is known that there is one.
fn behind_heads(mut bytes: &[u8]) -> &[u8] {
    loop {
        let (head, behind) = head_of(bytes).expect("a head");
        bytes = behind;
        if head.status / 100 != 1 {
            return bytes;
        }
    }
}

/// A body in chunks and the number of bytes behind it, read the slow way: all at once, line by line. `None`: it is none.
fn chunks_of(mut bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    fn line<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        let end = bytes.iter().position(|&byte| byte == b'\n')?;
        let (line, rest) = bytes.split_at(end);
        *bytes = &rest[1..];
        Some(line)
    }
    let mut body = Vec::new();
    loop {
        let size = line(&mut bytes)?;
        let digits = size.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let extension = size.get(digits).is_none_or(|byte| b"; \t\r".contains(byte));
        let size = usize::from_str_radix(std::str::from_utf8(&size[..digits]).ok()?, 16).ok()?;
        if !extension {
            return None;
        }
        if size == 0 {
            // Trailers, up to a line in which nothing is but its end.
            while line(&mut bytes)?.iter().any(|&byte| byte != b'\r') {}
            return Some((body, bytes.len()));
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = &bytes[size..];
        if !matches!(line(&mut bytes)?, b"" | b"\r") {
            return None;
        }
    }
}

/// What was heard before the connection ended.
#[derive(Debug, PartialEq)]
enum Heard {
    /// Nothing that is an answer.
    None,
    /// A head, and a body that is no such thing, or does not end.
    Cut {
        status: u16,
        body: Vec<u8>,
    },
    Answer {
        status: u16,
        framing: Framing,
        body: Vec<u8>,
        rest: usize,
        reusable: bool,
    },
}

impl Heard {
    fn says_the_same_as(&self, other: &Heard, cut: usize) {
        assert_eq!(self, other, "in one piece, and cut at {cut}");
    }
}

/// Reads as the connection does, from pieces as they come.
fn heard<'a>(mut pieces: impl Iterator<Item = &'a [u8]>, to_head: bool) -> Heard {
    let mut answer = Answer::new(to_head);
    let mut heard: VecDeque<Bytes> = VecDeque::new();
    let parsed = loop {
        let Some(piece) = pieces.next() else { return Heard::None };
        if piece.is_empty() {
            continue;
        }
        heard.push_back(Bytes::copy_from_slice(piece));
        let found = answer.look(&mut heard);
        let kept: usize = heard.iter().map(Bytes::len).sum();
        assert!(found || kept <= HEAD_BYTES_MAX, "{kept} bytes are kept of no answer");
        if found {
            match answer.take().expect("it was found") {
                Ok(parsed) => break parsed,
                Err(_) => return Heard::None,
            }
        }
    };
    let (status, framing, reusable) = (parsed.head.status, parsed.framing, parsed.reusable);
    assert!(framing != Framing::Close || !reusable, "a body without an end is the last on its connection");
    let mut decoder = Decoder::new(framing);
    let mut body = Vec::new();
    loop {
        while let Some(front) = heard.front_mut() {
            match decoder.next(front) {
                Ok(Some(piece)) => {
                    assert!(!piece.is_empty());
                    body.extend_from_slice(&piece);
                }
                Ok(None) if front.is_empty() => drop(heard.pop_front()),
                Ok(None) => break,
                Err(_) => return Heard::Cut { status, body },
            }
        }
        if decoder.is_done() {
            let rest = heard.iter().map(Bytes::len).sum::<usize>();
            let rest = rest + pieces.map(<[u8]>::len).sum::<usize>();
            return Heard::Answer { status, framing, body, rest, reusable };
        }
        match pieces.next() {
            Some([]) => {}
            Some(piece) => heard.push_back(Bytes::copy_from_slice(piece)),
            None if decoder.ends_with_connection() => {
                return Heard::Answer { status, framing, body, rest: 0, reusable };
            }
            None => return Heard::Cut { status, body },
        }
    }
}

/// A server's certificate, and both sides' configurations: TLS 1.2 and 1.3.
#[derive(Debug)]
pub struct TlsIdentity {
    sides: [(Arc<ClientConfig>, Arc<ServerConfig>); 2],
}

/// Whom the certificate is for.
pub(super) const HOST: &str = "s3.test";

impl TlsIdentity {
    /// `certificate` is one for `s3.test` that has signed itself, `key` its key in PKCS 8; both in DER.
    #[must_use]
    pub fn new(certificate: &[u8], key: &[u8]) -> TlsIdentity {
        let certificate = CertificateDer::from(certificate.to_vec());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a certificate");
        let sides = [&TLS12, &TLS13].map(|version| {
            let client = ClientConfig::builder_with_provider(Arc::new(provider()))
                .with_protocol_versions(&[version])
                .expect("versions that are known")
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            let key = PrivatePkcs8KeyDer::from(key.to_vec());
            let server = ServerConfig::builder_with_provider(Arc::new(provider()))
                .with_protocol_versions(&[version])
                .expect("versions that are known")
                .with_no_client_auth()
                .with_single_cert(vec![certificate.clone()], key.into())
                .expect("a key that fits");
            (Arc::new(client), Arc::new(server))
        });
        TlsIdentity { sides }
    }

    /// Both sides' configurations of TLS 1.3.
    #[cfg(test)]
    pub(super) fn sides(&self) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
        self.sides[1].clone()
    }

    /// Both sides' configurations of TLS 1.2.
    #[cfg(test)]
    pub(super) fn sides_of_old(&self) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
        self.sides[0].clone()
    }
}

/// A connection on which somebody cuts, bends, repeats and makes up what the server says, as `bytes` tell: what the
/// client takes for the server's word is its word, from the beginning on and without a gap.
pub fn tls(identity: &TlsIdentity, bytes: &[u8]) {
    let Some((&first, script)) = bytes.split_first() else { return };
    let (client, server) = &identity.sides[usize::from(first & 1)];
    let name = ServerName::try_from(HOST).expect("a name");
    let client = TlsMachine::new(Arc::clone(client), name).expect("a configuration that works");
    let mut server = ServerConnection::new(Arc::clone(server)).expect("a configuration that works");
    server.set_buffer_limit(None);
    let mut wire = Wire {
        client,
        server,
        server_gave_up: false,
        incoming: BytesMut::new(),
        out: Outgoing::default(),
        plain: BytesMut::new(),
        said: Vec::new(),
        open: false,
        ended: false,
        last: Vec::new(),
    };
    // Most say more about what follows a handshake that goes well.
    if first & 2 == 0 {
        wire.shake_hands();
    }
    wire.play(script);
}

struct Wire {
    client: TlsMachine,
    server: ServerConnection,
    /// Nothing more is to be told to it.
    server_gave_up: bool,
    incoming: BytesMut,
    out: Outgoing,
    plain: BytesMut,
    /// What the server has said.
    said: Vec<u8>,
    /// The handshake is done.
    open: bool,
    ended: bool,
    /// What came last.
    last: Vec<u8>,
}

impl Wire {
    fn shake_hands(&mut self) {
        while !self.open && !self.ended {
            self.hear(&[]);
            self.deliver();
            let flight = self.flight();
            self.hear(&flight);
        }
        assert!(self.open && !self.ended, "nobody interferes");
        self.deliver();
    }

    fn play(&mut self, mut script: &[u8]) {
        while let [what, much, rest @ ..] = script {
            script = rest;
            let much = usize::from(*much);
            match what % 8 {
                0 => {
                    let text: Vec<u8> =
                        (0..=255).cycle().skip(self.said.len() % 256).take(much * 97).collect();
                    if self.server.writer().write_all(&text).is_ok() {
                        self.said.extend_from_slice(&text);
                    }
                }
                1 => {
                    let mut flight = self.flight();
                    if !flight.is_empty() {
                        let at = much * 31 % flight.len();
                        flight[at] ^= 1 << (what >> 5);
                    }
                    self.hear(&flight);
                }
                2 => {
                    let flight = self.flight();
                    self.hear(&flight[..flight.len().saturating_sub(much)]);
                }
                3 => {
                    let (made_up, rest) = script.split_at(much.min(script.len()));
                    script = rest;
                    self.hear(made_up);
                }
                4 => {
                    if self.open && !self.ended {
                        let request = vec![7; much * 97];
                        let (a, b) = request.split_at(request.len() / 3);
                        let _used_up_or_ended = self.client.encrypt(&[a, b], &mut self.out);
                    }
                    self.deliver();
                }
                5 => {
                    self.server.send_close_notify();
                    // rustls asserts that nothing is wrong with what comes after a goodbye.
                    self.server_gave_up = true;
                    let flight = self.flight();
                    self.hear(&flight);
                }
                6 => {
                    let flight = self.flight();
                    flight.chunks(much + 1).for_each(|piece| self.hear(piece));
                }
                _ => {
                    let last = self.last.clone();
                    self.hear(&last);
                }
            }
        }
        self.client.close_notify(&mut self.out);
        if self.open {
            self.client.encrypt(&[b"x"], &mut self.out).expect_err("nothing is sent after goodbye");
        }
    }

    /// The client hears this.
    fn hear(&mut self, bytes: &[u8]) {
        self.last = bytes.to_vec();
        let before = self.incoming.len();
        self.incoming.extend_from_slice(bytes);
        if self.open {
            let plain = self.plain.len();
            match self.client.decrypt(&mut self.incoming, &mut self.plain, &mut self.out) {
                Ok(decrypted) => {
                    assert!(!self.ended || decrypted == Decrypted::Closed, "it goes on after its end");
                    self.ended = decrypted == Decrypted::Closed;
                }
                Err(_) => self.ended = true,
            }
            assert!(self.plain.len() - plain <= before + bytes.len(), "more came out than went in");
            let fresh = plain..self.plain.len();
            assert_eq!(self.said.get(fresh.clone()), Some(&self.plain[fresh]), "the server never said so");
        } else {
            match self.client.handshake(&mut self.incoming, &mut self.out) {
                Ok(Handshake::Done) => self.open = !self.ended,
                Ok(Handshake::Read) => assert!(!self.ended, "it goes on after its end"),
                Err(_) => self.ended = true,
            }
        }
        if self.ended {
            self.incoming.clear();
        }
        assert!(self.incoming.len() <= 18 * 1024 + 5, "{} bytes wait for more", self.incoming.len());
    }

    /// The server hears what the client said, and may not like it.
    fn deliver(&mut self) {
        let mut said = self.out.as_slice();
        while !said.is_empty() && !self.server_gave_up {
            self.server_gave_up = !matches!(self.server.read_tls(&mut said), Ok(1..))
                || self.server.process_new_packets().is_err();
            let mut sink = Vec::new();
            let _until_more_comes = std::io::Read::read_to_end(&mut self.server.reader(), &mut sink);
        }
        self.out.clear();
    }

    /// What the server has to say.
    fn flight(&mut self) -> Vec<u8> {
        let mut flight = Vec::new();
        while self.server.wants_write() && self.server.write_tls(&mut flight).is_ok() {}
        flight
    }
}
