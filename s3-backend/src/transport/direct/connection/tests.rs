use std::io::Write;

use rustls::ServerConnection;
use rustls::pki_types::ServerName;

use super::super::fuzzing::HOST;
use super::*;
use crate::clock;
use crate::fuzzing::tests::identity;

#[test]
fn an_answer_is_heard_although_what_came_with_it_is_broken() {
    let serve = |mut socket: std::net::TcpStream, mut tls: ServerConnection| {
        tls.writer().write_all(b"an answer").expect("room");
        let mut said = written(&mut tls);
        said.extend_from_slice(NO_RECORD);
        socket.write_all(&said).expect("a client that listens");
        socket
    };
    let heard = secured(serve, async |mut connection| {
        let mut all = Vec::new();
        loop {
            match connection.hear(SMALL_BYTES).await {
                Ok(Heard::Something) => all.extend(connection.heard().drain(..).flatten()),
                Ok(Heard::End) => break (all, None),
                Err(broken) => break (all, Some(broken.cause())),
            }
        }
    });
    assert_eq!(heard, (b"an answer".to_vec(), Some(Cause::Connection)));
}

#[test]
fn what_has_left_is_not_named_again() {
    let mut payload = Payload::from("abc");
    payload.push("de".into());
    for at in 0..=9 {
        let out = Outgoing { head: b"head".to_vec(), payload: payload.clone(), at };
        let joined: Vec<u8> = out.iter_slice().flatten().copied().collect();
        assert_eq!(joined, b"headabcde"[at..]);
        assert!(out.iter_slice().all(|piece| !piece.is_empty()));
        let pieces: Vec<u8> = out.pieces(4).flatten().copied().collect();
        assert_eq!(pieces, b"headabcde"[at..(at + 4).min(9)]);
    }
}

fn pattern(at: usize, round: usize) -> u8 {
    (at * 31 + (at >> 13) + round).to_le_bytes()[0]
}

#[test]
fn what_does_not_leave_at_once_follows_in_order() {
    use std::io::Read as _;
    const LEN: usize = 100_000;
    /// The first leaves whole, copied behind its head; of the others the kernel takes what it has room for.
    const PIECES: [(usize, usize); 6] = [(1_000, 3), (LEN, 1), (LEN, 7), (LEN, 8), (LEN, 9), (LEN, 300)];
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 4 * 1024).expect("set");
    let address = listener.local_addr().expect("bound");
    #[expect(clippy::disallowed_methods, reason = "the test plays the server")]
    let serving = std::thread::spawn(move || {
        let mut got = Vec::new();
        for _ in PIECES {
            let (mut socket, _) = listener.accept().expect("a connection");
            let mut all = Vec::new();
            socket.read_to_end(&mut all).expect("a client that sends");
            got.push(all);
        }
        got
    });
    let mut in_part = 0;
    compio::runtime::Runtime::new().expect("a runtime").block_on(async {
        for (round, (len, pieces)) in PIECES.into_iter().enumerate() {
            let socket = TcpStream::connect(address).await.expect("a server");
            rustix::net::sockopt::set_socket_send_buffer_size(&socket, 4 * 1024).expect("set");
            let age_max = Duration::from_secs(60);
            let mut connection = Connection::new(socket, Buffers::default(), clock::now(), age_max);
            let data: Bytes = (0..len).map(|at| pattern(at, round)).collect();
            let mut payload = Payload::new();
            for piece in data.chunks(len.div_ceil(pieces)) {
                payload.push(data.slice_ref(piece));
            }
            let mut head = b"head".to_vec();
            let AtOnce::Some(at) = connection.send_at_once(&mut head, &payload).expect("connected") else {
                continue;
            };
            in_part += u32::from(at > 0);
            let told = std::cell::Cell::new(false);
            let left = |left| told.set(told.get() | left);
            let sent = connection.send_rest(head, &payload, at, left, |_| false).await.expect("sent");
            assert_eq!((sent, told.get()), (Sent::Wholly, at == 0), "{pieces} pieces");
        }
    });
    assert!(in_part > 0, "the kernel took all of each at once, or nothing");
    for (round, ((len, pieces), got)) in PIECES.into_iter().zip(serving.join().expect("a server")).enumerate()
    {
        assert_eq!((got.len(), &got[..4]), (4 + len, &b"head"[..]), "{pieces} pieces");
        assert!(got[4..].iter().enumerate().all(|(at, byte)| *byte == pattern(at, round)), "{pieces} pieces");
    }
}

#[test]
fn key_updates_between_windows_that_leave_partly_at_once_keep_the_order_of_records() {
    use std::io::Read as _;
    let (client, server) = identity().sides();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    const LEN: usize = 3 * 1024 * 1024 + 12345;
    const ROUNDS: usize = 2;
    #[expect(clippy::disallowed_methods, reason = "the test plays the server")]
    let serving = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 64 * 1024).expect("set");
        let mut tls = ServerConnection::new(server).expect("a configuration");
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).expect("a client that speaks TLS");
        }
        let mut got = Vec::new();
        let mut reads = 0u32;
        while got.len() < ROUNDS * (LEN + 4) {
            let mut few = (&mut socket).take(7000);
            if tls.read_tls(&mut few).expect("reads") == 0 {
                break;
            }
            let state = tls.process_new_packets().expect("right records");
            let at = got.len();
            got.resize(at + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut got[at..]).expect("there");
            reads += 1;
            if reads.is_multiple_of(150) {
                tls.refresh_traffic_keys().expect("TLS 1.3");
                while tls.wants_write() {
                    tls.write_tls(&mut socket).expect("room");
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        tls.writer().write_all(b"done").expect("room");
        while tls.wants_write() {
            tls.write_tls(&mut socket).expect("room");
        }
        got
    });
    compio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let socket = TcpStream::connect(address).await.expect("a server");
        let mut connection =
            Connection::new(socket, Buffers::default(), clock::now(), Duration::from_secs(60));
        let tls = TlsMachine::new(client, ServerName::try_from(HOST).expect("a name")).expect("ok");
        connection.secure(tls).await.expect("trusted");
        for round in 0..ROUNDS {
            let data: Vec<u8> = (0..LEN).map(|i| pattern(i, round)).collect();
            let data = Bytes::from(data);
            let mut payload = Payload::new();
            payload.push(Bytes::slice(&data, ..100_001));
            payload.push(Bytes::slice(&data, 100_001..));
            connection.listen();
            let sent = connection.send(b"head".to_vec(), &payload, |_| false).await.expect("sent");
            assert_eq!(sent, Sent::Wholly);
        }
        assert_eq!(connection.hear(SMALL_BYTES).await.expect("an answer"), Heard::Something);
        assert_eq!(connection.heard().front().expect("it"), &b"done"[..]);
    });
    let got = serving.join().expect("server");
    assert_eq!(got.len(), ROUNDS * (LEN + 4));
    for round in 0..ROUNDS {
        let one = &got[round * (LEN + 4)..][..LEN + 4];
        assert_eq!(&one[..4], b"head");
        assert!(one[4..].iter().enumerate().all(|(i, &b)| b == pattern(i, round)));
    }
}

#[test]
fn what_broke_while_sending_is_not_listened_to_again() {
    let serve = |mut socket: std::net::TcpStream, _| {
        socket.write_all(NO_RECORD).expect("a client that listens");
        socket
    };
    secured(serve, async |mut connection| {
        let payload = Payload::from(vec![0; 64 << 20]);
        let sent = connection.send(b"head".to_vec(), &payload, |_| false).await;
        assert!(matches!(sent, Err(Broken::Tls(_))), "{sent:?}");
        let again = compio::time::timeout(Duration::from_secs(2), connection.hear(SMALL_BYTES)).await;
        assert!(matches!(again, Ok(Ok(Heard::End))), "it waits for what cannot come: {again:?}");
    });
}

/// It looks like the head of a record.
const NO_RECORD: &[u8] = b"\x17\x03\x03\x00\x11no record of TLS!";

/// What `with` makes of a connection that speaks TLS with `serve`, which has a socket and records to write. What `serve`
/// gives back, such as the socket, is kept until then.
fn secured<F: Future, T: Send + 'static>(
    serve: impl FnOnce(std::net::TcpStream, ServerConnection) -> T + Send + 'static,
    with: impl FnOnce(Connection) -> F,
) -> F::Output {
    let (client, server) = identity().sides();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    #[expect(clippy::disallowed_methods, reason = "the test plays the server")]
    let serving = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        socket.set_nodelay(true).expect("set");
        let mut tls = ServerConnection::new(server).expect("a configuration");
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).expect("a client that speaks TLS");
        }
        serve(socket, tls)
    });
    let output = compio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let socket = TcpStream::connect(address).await.expect("a server");
        let age_max = Duration::from_secs(60);
        let mut connection = Connection::new(socket, Buffers::default(), clock::now(), age_max);
        let tls = TlsMachine::new(client, ServerName::try_from(HOST).expect("a name")).expect("ok");
        connection.secure(tls).await.expect("a server that is trusted");
        with(connection).await
    });
    drop(serving.join().expect("a server"));
    output
}

fn written(tls: &mut ServerConnection) -> Vec<u8> {
    let mut said = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut said).expect("room");
    }
    said
}

#[test]
fn a_part_of_a_record_does_not_make_its_reader_wait_for_more_than_comes() {
    /// After some large bodies the kernel has room. With less it wakes its reader for that reason.
    const BEFORE: usize = 32 << 20;
    /// A little more than what a large body wakes its reader for.
    const LEN: usize = 206 * 1024;
    let (ready, begun) = std::sync::mpsc::channel();
    #[expect(clippy::disallowed_methods, reason = "the test plays the server")]
    let serve = move |mut socket: std::net::TcpStream, mut tls: ServerConnection| {
        tls.set_buffer_limit(None);
        tls.writer().write_all(&vec![7; BEFORE]).expect("room");
        socket.write_all(&written(&mut tls)).expect("a client that listens");
        let _asked = std::io::Read::read(&mut socket, &mut [0]);
        tls.writer().write_all(&vec![7; LEN]).expect("room");
        let said = written(&mut tls);
        let (first, rest) = said.split_at(9_000);
        socket.write_all(first).expect("a client that listens");
        ready.send(()).expect("a test");
        std::thread::sleep(Duration::from_millis(100));
        socket.write_all(rest).expect("a client that listens");
        // It stays open, as it does for the next request.
        let _closed = std::io::Read::read_to_end(&mut socket, &mut Vec::new());
    };
    let heard = secured(serve, async |mut connection| {
        hear_all(&mut connection, BEFORE).await;
        connection.send(b"?".to_vec(), &Payload::new(), |_| false).await.expect("sent");
        begun.recv().expect("a server");
        hear_all(&mut connection, LEN).await
    });
    assert_eq!(heard, LEN, "it waits for what never comes");
}

/// Hears as a body is heard; how many bytes came.
async fn hear_all(connection: &mut Connection, bytes: usize) -> usize {
    let mut heard = 0;
    while heard < bytes {
        connection.expect((bytes - heard) as u64).expect("a good connection");
        let some = compio::time::timeout(Duration::from_secs(2), connection.hear(SMALL_BYTES)).await;
        if !matches!(some, Ok(Ok(Heard::Something))) {
            break;
        }
        heard += connection.heard().drain(..).map(|piece| piece.len()).sum::<usize>();
    }
    heard
}

#[test]
fn what_breaks_behind_the_goodbye_of_tls_breaks_nothing() {
    // With the goodbye it fills one read to the last byte.
    const LEN: usize = opened::READ_BYTES - 22 - 24;
    let (broken, breaks) = std::sync::mpsc::channel();
    let serve = move |mut socket: std::net::TcpStream, mut tls: ServerConnection| {
        tls.writer().write_all(b"!").expect("room");
        socket.write_all(&written(&mut tls)).expect("a client that listens");
        let _asked = std::io::Read::read(&mut socket, &mut [0]);
        tls.writer().write_all(&[7; LEN]).expect("room");
        tls.send_close_notify();
        let said = written(&mut tls);
        assert_eq!(said.len(), opened::READ_BYTES);
        socket.write_all(&said).expect("a client that listens");
        rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).expect("set");
        drop(socket);
        broken.send(()).expect("a test");
    };
    let heard = secured(serve, async |mut connection| {
        assert_eq!(connection.hear(SMALL_BYTES).await.expect("a good connection"), Heard::Something);
        connection.heard().clear();
        let sent = connection.send(b"?".to_vec(), &Payload::new(), |_| false).await.expect("sent");
        assert_eq!(sent, Sent::Wholly);
        breaks.recv().expect("a server");
        compio::time::sleep(Duration::from_millis(20)).await;
        let mut heard = 0;
        loop {
            match connection.hear(SMALL_BYTES).await {
                Ok(Heard::Something) => {
                    heard += connection.heard().drain(..).map(|piece| piece.len()).sum::<usize>();
                }
                Ok(Heard::End) => break Ok(heard),
                Err(broken) => break Err(broken.to_string()),
            }
        }
    });
    assert_eq!(heard, Ok(LEN));
}
