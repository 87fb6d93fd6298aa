//! Receiving over TLS: decrypt what a read brought, and what else is there by now.

use std::io;

use compio::net::TcpStream;
use rustix::net::{RecvFlags, recv};

use super::super::buffers::SMALL_BYTES;
use super::super::tls_machine::{Decrypted, RECORD_BYTES_MAX, sealed_bytes_max};
use super::{Broken, Connection};

/// How much a connection with TLS is ready to read, in bytes: as much as one without, but more comes than is heard of
/// it, and an answer's first record should not take two reads.
pub(super) const READ_BYTES: usize = sealed_bytes_max(SMALL_BYTES);

impl Connection {
    /// Decrypts what was read, to the end of what was heard. `filled`: the read took all it had room for.
    ///
    /// Reads stay small over TLS, however much is to come: their memory is the kernel's until something comes, and 32
    /// connections that listen for 64 KiB each go through more memory than a core's own cache holds. A read that was
    /// filled says that there is more. This is received past the ring, into memory that all connections share, and
    /// decrypted into memory that was used last, all while it is in the cache: a sixth of the cost of a get of 64 KiB,
    /// 32 in flight.
    pub(super) fn decrypt(&mut self, filled: bool) -> Result<(), Broken> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let raw = &mut self.raw.buffer;
        let mut scratch = self.buffers.scratch();
        // What the first record of it began with, which was read, will stand in front of it.
        let (front, behind) = scratch.split_at_mut(RECORD_BYTES_MAX);
        let received = if filled { at_once(&self.socket, behind) } else { Ok(0) };
        let more = *received.as_ref().unwrap_or(&0);

        let mut plain = self.buffers.plain(raw.len() + more);
        let mut done = tls.decrypt(raw, &mut plain.buffer, &mut self.records);
        if more > 0 && matches!(done, Ok(Decrypted::Open)) {
            let begin = front.len() - raw.len();
            front[begin..].copy_from_slice(raw);
            let all = &mut scratch[begin..RECORD_BYTES_MAX + more];
            done = tls.decrypt_slice(all, &mut plain.buffer, &mut self.records).map(|(decrypted, left)| {
                raw.clear();
                raw.extend_from_slice(&all[all.len() - left..]);
                decrypted
            });
        }
        if !plain.buffer.is_empty() {
            self.heard.push_back(plain.buffer.split().freeze());
        }
        self.buffers.keep_plain(plain);
        self.ended = done? == Decrypted::Closed;
        // What breaks behind TLS's goodbye breaks nothing.
        if self.ended { Ok(()) } else { received.map(drop).map_err(Broken::Io) }
    }
}

/// Takes what the socket has without waiting, past the ring; how much that was, in bytes. The end of the stream is
/// nothing: the next read meets it again.
fn at_once(socket: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    match recv(socket, room, RecvFlags::DONTWAIT) {
        Ok((_, received)) => Ok(received),
        Err(error) => match io::Error::from(error) {
            error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ServerConfig, ServerConnection};

    use super::super::super::buffers::LARGE_BYTES;
    use super::super::super::fuzzing::HOST;
    use super::super::super::tls_machine::TlsMachine;
    use super::super::{Buffers, Heard};
    use super::*;
    use crate::clock;
    use crate::fuzzing::tests::identity;

    fn pattern(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (at * 31 + (at >> 13)).to_le_bytes()[0]).collect()
    }

    /// The pieces in which answers of these lengths are heard, each of which is there before it is listened for.
    fn hear(sides: (Arc<ClientConfig>, Arc<ServerConfig>), answers: &'static [usize]) -> Vec<Vec<usize>> {
        let (client, server) = sides;
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let (ask, asked) = std::sync::mpsc::channel();
        let (answer, answered) = std::sync::mpsc::channel();
        #[expect(clippy::disallowed_methods, reason = "the test plays the server")]
        let serving = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a connection");
            let mut tls = ServerConnection::new(server).expect("a configuration");
            tls.set_buffer_limit(None);
            while tls.is_handshaking() {
                tls.complete_io(&mut socket).expect("a client that speaks TLS");
            }
            for bytes in asked {
                tls.writer().write_all(&pattern(bytes)).expect("room");
                let mut said = Vec::new();
                while tls.wants_write() {
                    tls.write_tls(&mut said).expect("room");
                }
                // What does not fit into the socket must not keep the client from listening.
                let (first, rest) = said.split_at(said.len().min(100 * 1024));
                socket.write_all(first).expect("a client that listens");
                answer.send(()).expect("a test");
                socket.write_all(rest).expect("a client that listens");
            }
        });
        let pieces = compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let socket = TcpStream::connect(address).await.expect("a server");
            let (born, age_max) = (clock::now(), Duration::from_secs(60));
            let mut connection = Connection::new(socket, Buffers::default(), born, age_max);
            let tls = TlsMachine::new(client, ServerName::try_from(HOST).expect("a name")).expect("ok");
            connection.secure(tls).await.expect("a server that is trusted");
            let mut all = Vec::new();
            for &bytes in answers {
                ask.send(bytes).expect("a server");
                answered.recv().expect("an answer");
                let (mut heard, mut pieces) = (Vec::new(), Vec::new());
                while heard.len() < bytes {
                    let some = connection.hear(SMALL_BYTES).await.expect("a good connection");
                    assert_eq!(some, Heard::Something);
                    for piece in connection.heard().drain(..) {
                        pieces.push(piece.len());
                        heard.extend_from_slice(&piece);
                    }
                }
                assert!(heard == pattern(bytes), "an answer of {bytes} bytes");
                all.push(pieces);
            }
            all
        });
        drop(ask);
        serving.join().expect("a server");
        pieces
    }

    #[test]
    fn an_answer_that_is_there_is_heard_in_one_piece() {
        let answers = &[100, 4096, 16384, 16385, 40_000, 65_536 + 300, 90_000];
        let one_each: Vec<_> = answers.iter().map(|&bytes| vec![bytes]).collect();
        assert_eq!(hear(identity().sides(), answers), one_each);
        // A full record of TLS 1.2 is as long as what is read.
        assert_eq!(hear(identity().sides_of_old(), answers), one_each);
    }

    #[test]
    fn a_long_answer_comes_whole_in_pieces_as_large_as_a_buffer() {
        for sides in [identity().sides(), identity().sides_of_old()] {
            let pieces = hear(sides, &[3 << 20, 777, 1 << 20]);
            assert!(pieces.iter().flatten().all(|&piece| piece <= LARGE_BYTES), "{pieces:?}");
        }
    }
}
