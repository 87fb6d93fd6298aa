//! The machine against rustls's own server, in memory: every cut of the stream, every way to end it.

use std::io::{ErrorKind, Read, Write};

use proptest::prelude::*;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::*;
use crate::transport::tls::provider;

const HOST: &str = "s3.test";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A certificate that is its own authority, and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Identity {
    fn new() -> Identity {
        Identity::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Identity {
        let mut params = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        change(&mut params);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Identity { certificate, key: key.serialize_der() }
    }

    fn server(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![self.certificate.clone()],
                PrivatePkcs8KeyDer::from(self.key.clone()).into(),
            )
            .unwrap()
    }

    /// The configuration of a client that trusts nobody else.
    fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// Both ends of one connection, and the bytes between them.
struct Pair {
    client: TlsMachine,
    server: ServerConnection,
    incoming: BytesMut,
    out: Outgoing,
    /// What the server has been told.
    received: Vec<u8>,
}

impl Pair {
    fn new(client: Arc<ClientConfig>, server: ServerConfig) -> Pair {
        Pair::to(HOST, client, Arc::new(server))
    }

    fn to(name: &str, client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Pair {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut server = ServerConnection::new(server).unwrap();
        server.set_buffer_limit(None);
        Pair {
            client: TlsMachine::new(client, name).unwrap(),
            server,
            incoming: BytesMut::with_capacity(256 * 1024),
            out: Outgoing::default(),
            received: Vec::new(),
        }
    }

    /// Shakes hands with no more than so many bytes on their way at once. The tickets of TLS 1.3 are left unread, at
    /// the server's.
    fn handshake(&mut self, step: usize) -> Result<(), TlsFailure> {
        let mut done = self.client.handshake(&mut self.incoming, &mut self.out)?;
        loop {
            self.deliver(step).expect("the server follows");
            if done == Handshake::Done {
                return Ok(());
            }
            let flight = self.server_output();
            assert!(!flight.is_empty(), "both wait for the other");
            for piece in flight.chunks(step) {
                self.incoming.extend_from_slice(piece);
                done = self.client.handshake(&mut self.incoming, &mut self.out)?;
            }
        }
    }

    fn connected(version: &'static SupportedProtocolVersion) -> Pair {
        let identity = Identity::new();
        let mut pair = Pair::new(identity.client(&[version]), identity.server(&[version]));
        pair.handshake(usize::MAX).unwrap();
        pair
    }

    /// Hands what the client wrote to the server.
    fn deliver(&mut self, step: usize) -> Result<(), rustls::Error> {
        for mut piece in self.out.as_slice().chunks(step) {
            while !piece.is_empty() {
                self.server.read_tls(&mut piece).unwrap();
                self.server.process_new_packets()?;
                // Its buffer for plaintext is small.
                match self.server.reader().read_to_end(&mut self.received) {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
        }
        self.out.clear();
        Ok(())
    }

    fn server_output(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut output).unwrap();
        }
        output
    }

    fn server_received(&mut self) -> Vec<u8> {
        mem::take(&mut self.received)
    }

    /// What the client makes of these bytes.
    fn feed(&mut self, bytes: &[u8], plain: &mut BytesMut) -> Result<Decrypted, TlsFailure> {
        self.incoming.extend_from_slice(bytes);
        self.client.decrypt(&mut self.incoming, plain, &mut self.out)
    }

    /// A request gets through, and an answer comes back.
    fn works(&mut self) {
        let mut plain = BytesMut::new();
        let before = self.server_output();
        assert_eq!(self.feed(&before, &mut plain).unwrap(), Decrypted::Open);
        self.client.encrypt(&[b"request"], &mut self.out).unwrap();
        self.deliver(usize::MAX).unwrap();
        assert_eq!(self.server_received(), b"request");
        self.server.writer().write_all(b"answer").unwrap();
        let answer = self.server_output();
        assert_eq!(self.feed(&answer, &mut plain).unwrap(), Decrypted::Open);
        assert_eq!(&plain[..], b"answer");
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(bytes as u64);
    (0..bytes).map(|_| random.u8(..)).collect()
}

/// The lengths of the records in `bytes`, headers included.
fn records(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let Some(&[_, _, _, high, low]) = bytes.first_chunk::<RECORD_HEADER_BYTES>() {
        let length = RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]));
        lengths.push(length);
        bytes = &bytes[length..];
    }
    lengths
}

#[test]
fn a_handshake_comes_through_in_pieces_of_any_size() {
    let identity = Identity::new();
    for version in VERSIONS {
        for step in [1, 2, 5, 64, usize::MAX] {
            let mut pair = Pair::new(identity.client(&[version]), identity.server(&[version]));
            pair.handshake(step).unwrap();
            assert_eq!(pair.client.connection.protocol_version(), Some(version.version));
            pair.works();
        }
    }
}

#[test]
fn a_handshake_comes_through_cut_anywhere() {
    let identity = Identity::new();
    for version in VERSIONS {
        let (client, server) = (identity.client(&[version]), Arc::new(identity.server(&[version])));
        for cut in 0.. {
            let mut pair = Pair::to(HOST, client.clone(), server.clone());
            pair.client.handshake(&mut pair.incoming, &mut pair.out).unwrap();
            pair.deliver(usize::MAX).unwrap();
            let flight = pair.server_output();
            if cut > flight.len() {
                break;
            }
            pair.incoming.extend_from_slice(&flight[..cut]);
            pair.client.handshake(&mut pair.incoming, &mut pair.out).unwrap();
            pair.incoming.extend_from_slice(&flight[cut..]);
            pair.handshake(usize::MAX).unwrap();
            pair.works();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_sent_arrives_however_it_is_cut(
        tls13: bool,
        requests in prop::collection::vec(prop::collection::vec(0_usize..40_000, 0..6), 1..4),
        answers in prop::collection::vec(0_usize..100_000, 0..6),
        fragment_bytes in prop::option::of(32_usize..16_000),
        steps in prop::collection::vec(1_usize..60_000, 1..8),
    ) {
        let (identity, version) = (Identity::new(), VERSIONS[usize::from(tls13)]);
        let mut server = identity.server(&[version]);
        server.max_fragment_size = fragment_bytes;
        let mut pair = Pair::new(identity.client(&[version]), server);
        pair.handshake(steps[0]).unwrap();
        for sizes in requests {
            let pieces: Vec<Vec<u8>> = sizes.into_iter().map(noise).collect();
            let slices: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            pair.client.encrypt(&slices, &mut pair.out).unwrap();
            let sent = pieces.concat();
            let lengths = records(pair.out.as_slice());
            prop_assert_eq!(lengths.len(), sent.len().div_ceil(RECORD_PLAIN_BYTES_MAX));
            prop_assert!(pair.out.as_slice().len() <= sealed_bytes_max(sent.len()));
            pair.deliver(steps[0]).unwrap();
            prop_assert_eq!(pair.server_received(), sent);
        }

        let mut expected = Vec::new();
        for size in answers {
            let answer = noise(size);
            pair.server.writer().write_all(&answer).unwrap();
            expected.extend_from_slice(&answer);
        }
        let output = pair.server_output();
        let mut plain = BytesMut::new();
        let mut rest = &output[..];
        for step in steps.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*step));
            prop_assert_eq!(pair.feed(now, &mut plain).unwrap(), Decrypted::Open);
            prop_assert!(pair.incoming.len() < RECORD_HEADER_BYTES + RECORD_PLAIN_BYTES_MAX + 2048);
            // In between, whatever is on its way.
            pair.client.encrypt(&[b"also"], &mut pair.out).unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(pair.incoming.is_empty());
        prop_assert!(plain[..] == expected[..]);
        pair.deliver(usize::MAX).unwrap();
        prop_assert!(pair.server_received().chunks(4).all(|word| word == b"also"));
    }

    #[test]
    fn a_damaged_handshake_fails_or_made_no_difference(
        tls13: bool,
        at: prop::sample::Index,
        xor in 1_u8..,
        step in 1_usize..2000,
    ) {
        let (identity, version) = (Identity::new(), VERSIONS[usize::from(tls13)]);
        let mut pair = Pair::new(identity.client(&[version]), identity.server(&[version]));
        pair.client.handshake(&mut pair.incoming, &mut pair.out).unwrap();
        pair.deliver(usize::MAX).unwrap();
        let mut flight = pair.server_output();
        let at = at.index(flight.len());
        flight[at] ^= xor;
        let mut ended = false;
        for piece in flight.chunks(step) {
            pair.incoming.extend_from_slice(piece);
            match pair.client.handshake(&mut pair.incoming, &mut pair.out) {
                Ok(Handshake::Read) => {}
                // What the outside of a record says of its version and type, nobody believes.
                Ok(Handshake::Done) => ended = true,
                Err(_) => break,
            }
        }
        // The server has the last word on what was agreed.
        if ended {
            pair.deliver(usize::MAX).unwrap();
            pair.works();
        }
    }
}

#[test]
fn a_head_and_a_small_payload_share_one_record() {
    for version in VERSIONS {
        let mut pair = Pair::connected(version);
        let (head, payload) = (noise(300), noise(4096));
        pair.client.encrypt(&[&head, &payload], &mut pair.out).unwrap();
        assert_eq!(records(pair.out.as_slice()).len(), 1);
    }
}

#[test]
fn all_records_but_the_last_are_full() {
    let mut pair = Pair::connected(&TLS13);
    let (head, payload) = (noise(300), noise(8 * RECORD_PLAIN_BYTES_MAX));
    pair.client.encrypt(&[&head, &payload[..40_000], &payload[40_000..], &[]], &mut pair.out).unwrap();
    let full = RECORD_PLAIN_BYTES_MAX + 22;
    assert_eq!(records(pair.out.as_slice()), [[full; 8].as_slice(), &[300 + 22]].concat());
    pair.deliver(usize::MAX).unwrap();
    assert_eq!(pair.server_received(), [head, payload].concat());
}

#[test]
fn nothing_to_send_is_no_record() {
    let mut pair = Pair::connected(&TLS13);
    pair.client.encrypt(&[], &mut pair.out).unwrap();
    pair.client.encrypt(&[b"", b""], &mut pair.out).unwrap();
    assert!(pair.out.is_empty());
}

#[test]
fn buffers_of_the_right_size_are_kept() {
    let mut pair = Pair::connected(&TLS13);
    let answer = noise(100_000);
    pair.server.writer().write_all(&answer).unwrap();
    let output = pair.server_output();
    let mut plain = BytesMut::with_capacity(answer.len());
    let (incoming_at, plain_at) = (pair.incoming.as_ptr(), plain.as_ptr());
    for piece in output.chunks(30_000) {
        pair.feed(piece, &mut plain).unwrap();
        assert_eq!((pair.incoming.as_ptr(), plain.as_ptr()), (incoming_at, plain_at));
    }
    assert!(plain[..] == answer[..]);

    pair.out = Outgoing::default();
    pair.out.room(sealed_bytes_max(answer.len()));
    let (out_at, capacity) = (pair.out.as_slice().as_ptr(), pair.out.capacity());
    pair.client.encrypt(&[&answer], &mut pair.out).unwrap();
    assert_eq!((pair.out.as_slice().as_ptr(), pair.out.capacity()), (out_at, capacity));
}

#[test]
fn the_server_may_change_its_keys() {
    let mut pair = Pair::connected(&TLS13);
    pair.works();
    let mut plain = BytesMut::new();
    for round in 0..3_u8 {
        // It asks us to change ours as well: that goes out before the next request.
        pair.server.refresh_traffic_keys().unwrap();
        pair.server.writer().write_all(&[round]).unwrap();
        let output = pair.server_output();
        pair.feed(&output, &mut plain).unwrap();
        pair.works();
    }
    assert_eq!(&plain[..], [0, 1, 2]);
}

#[test]
fn an_orderly_end_is_told_from_a_truncation() {
    for version in VERSIONS {
        let mut pair = Pair::connected(version);
        pair.server.writer().write_all(b"the end").unwrap();
        pair.server.send_close_notify();
        let output = pair.server_output();
        let (all_but_alert, alert) = output.split_at(output.len() - records(&output).last().unwrap());
        let mut plain = BytesMut::new();
        assert_eq!(pair.feed(all_but_alert, &mut plain).unwrap(), Decrypted::Open);
        assert_eq!(pair.feed(&alert[..alert.len() - 1], &mut plain).unwrap(), Decrypted::Open);
        assert_eq!(pair.feed(&alert[alert.len() - 1..], &mut plain).unwrap(), Decrypted::Closed);
        assert_eq!(&plain[..], b"the end");
        // Whatever somebody appends is nobody's.
        assert_eq!(pair.feed(b"more", &mut plain).unwrap(), Decrypted::Closed);
        assert_eq!(&plain[..], b"the end");
        // Half closed: what we still have to say gets through.
        pair.client.encrypt(&[b"late"], &mut pair.out).unwrap();
        pair.client.close_notify(&mut pair.out);
        pair.deliver(usize::MAX).unwrap();
        assert_eq!(pair.server_received(), b"late");
    }
}

#[test]
fn closing_is_announced_once_and_is_final() {
    for version in VERSIONS {
        let mut pair = Pair::connected(version);
        pair.client.close_notify(&mut pair.out);
        assert_eq!(records(pair.out.as_slice()).len(), 1);
        pair.client.close_notify(&mut pair.out);
        assert_eq!(records(pair.out.as_slice()).len(), 1);
        pair.deliver(usize::MAX).unwrap();
        assert_eq!(pair.server.reader().read(&mut [0; 1]).unwrap(), 0, "a clean end");
        assert!(pair.client.encrypt(&[b"late"], &mut pair.out).is_err());
    }
    let identity = Identity::new();
    let mut pair = Pair::new(identity.client(&VERSIONS), identity.server(&VERSIONS));
    pair.client.close_notify(&mut pair.out);
    assert!(pair.out.is_empty(), "nothing is said before hands are shaken");
}

#[test]
fn one_flipped_bit_ends_the_connection_and_keeps_what_came_before() {
    for version in VERSIONS {
        // In the length, the text, the tag. (rustls does not look at the type and version TLS 1.3 pretends.)
        for bit in [24, 32, 40, 41, 120, 200] {
            let mut pair = Pair::connected(version);
            let mut plain = BytesMut::new();
            pair.works();
            pair.server.writer().write_all(b"good").unwrap();
            let good = pair.server_output();
            pair.server.writer().write_all(b"to be damaged").unwrap();
            let mut bad = pair.server_output();
            bad[bit / 8] ^= 1 << (bit % 8);
            // A length that grew would wait for what never comes.
            bad.extend_from_slice(&[0; 600]);
            let failure = pair.feed(&[good, bad].concat(), &mut plain).unwrap_err();
            assert_eq!(failure.cause(), Cause::Connection, "{failure}");
            assert_eq!(&plain[..], b"good");
            assert!(pair.feed(b"", &mut plain).is_err());
            let alert = pair.out.as_slice().len();
            assert!(pair.client.encrypt(&[b"late"], &mut pair.out).is_err());
            assert_eq!(pair.out.as_slice().len(), alert);
            if alert > 0 {
                assert!(matches!(pair.deliver(usize::MAX), Err(rustls::Error::AlertReceived(_))));
            }
        }
    }
}

#[test]
fn a_server_that_is_not_to_be_trusted_is_a_certificate_failure_and_is_told() {
    let identity = Identity::new();
    let expired = Identity::with(|params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
    for version in VERSIONS {
        let cases = [
            ("other.test", identity.client(&[version]), identity.server(&[version])),
            (HOST, Identity::new().client(&[version]), identity.server(&[version])),
            (HOST, expired.client(&[version]), expired.server(&[version])),
        ];
        for (name, client, server) in cases {
            let mut pair = Pair::to(name, client, Arc::new(server));
            let failure = pair.handshake(usize::MAX).unwrap_err();
            assert!(matches!(failure, TlsFailure::Tls(rustls::Error::InvalidCertificate(_))), "{failure}");
            assert_eq!(failure.cause(), Cause::Certificate);
            assert!(matches!(pair.deliver(usize::MAX), Err(rustls::Error::AlertReceived(_))));
        }
    }
}

#[test]
fn no_common_version_is_final_whoever_notices() {
    let identity = Identity::new();
    // The server notices, and says so.
    let mut pair = Pair::new(identity.client(&[&TLS12]), identity.server(&[&TLS13]));
    pair.client.handshake(&mut pair.incoming, &mut pair.out).unwrap();
    assert!(pair.deliver(usize::MAX).is_err());
    let alert = pair.server_output();
    pair.incoming.extend_from_slice(&alert);
    let failure = pair.client.handshake(&mut pair.incoming, &mut pair.out).unwrap_err();
    assert_eq!(failure.cause(), Cause::Certificate, "{failure}");
}

#[test]
fn what_is_not_tls_is_a_broken_connection() {
    for answer in [b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), &[22, 3, 3, 0xff, 0xff, 0], &[0; 100]] {
        let identity = Identity::new();
        let mut pair = Pair::new(identity.client(&VERSIONS), identity.server(&VERSIONS));
        pair.client.handshake(&mut pair.incoming, &mut pair.out).unwrap();
        pair.incoming.extend_from_slice(answer);
        let failure = pair.client.handshake(&mut pair.incoming, &mut pair.out).unwrap_err();
        assert_eq!(failure.cause(), Cause::Connection, "{failure}");
    }
}

#[test]
fn sessions_are_resumed_by_machines_that_share_a_configuration() {
    for version in VERSIONS {
        let identity = Identity::new();
        let (client, server) = (identity.client(&[version]), Arc::new(identity.server(&[version])));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let mut pair = Pair::to(HOST, client.clone(), server.clone());
            pair.handshake(usize::MAX).unwrap();
            assert_eq!(pair.client.connection.handshake_kind(), Some(kind));
            // The tickets of TLS 1.3 come with the first answer.
            pair.works();
        }
    }
}

#[test]
fn a_request_can_be_sent_in_the_middle_of_a_ticket_cut_anywhere() {
    let identity = Identity::new();
    let mut server = identity.server(&[&TLS13]);
    // A ticket needs several records of this size.
    server.max_fragment_size = Some(32);
    server.send_tls13_tickets = 1;
    let (client, server) = (identity.client(&[&TLS13]), Arc::new(server));
    for cut in 0.. {
        let mut pair = Pair::to(HOST, client.clone(), server.clone());
        pair.handshake(usize::MAX).unwrap();
        let tickets = pair.server_output();
        assert!(records(&tickets).len() > 2);
        if cut > tickets.len() {
            break;
        }
        let mut plain = BytesMut::new();
        pair.feed(&tickets[..cut], &mut plain).unwrap();
        pair.client.encrypt(&[b"request"], &mut pair.out).unwrap();
        pair.deliver(usize::MAX).unwrap();
        assert_eq!(pair.server_received(), b"request");
        pair.feed(&tickets[cut..], &mut plain).unwrap();
        assert!(pair.client.held.is_empty() && pair.incoming.is_empty() && plain.is_empty());
        pair.works();
    }
}

#[test]
fn a_record_that_is_too_long_is_refused_also_in_the_middle_of_a_ticket() {
    let identity = Identity::new();
    let mut server = identity.server(&[&TLS13]);
    server.max_fragment_size = Some(32);
    let mut pair = Pair::new(identity.client(&[&TLS13]), server);
    pair.handshake(usize::MAX).unwrap();
    let tickets = pair.server_output();
    let first = records(&tickets)[0];
    let mut plain = BytesMut::new();
    pair.feed(&tickets[..first], &mut plain).unwrap();
    assert!(!pair.client.held.is_empty());
    pair.feed(&[23, 3, 3, 0xff, 0xff], &mut plain).unwrap();
    let failure = (0..).find_map(|_| {
        assert!(pair.incoming.len() < RECORD_BYTES_MAX);
        pair.feed(&[0; 1024], &mut plain).err()
    });
    assert!(matches!(failure, Some(TlsFailure::Refused(_))), "{failure:?}");
}

#[test]
fn messages_without_end_are_refused() {
    let identity = Identity::new();
    let mut server = identity.server(&[&TLS13]);
    server.send_tls13_tickets = 4000;
    let mut pair = Pair::new(identity.client(&[&TLS13]), server);
    pair.handshake(usize::MAX).unwrap();
    let tickets = pair.server_output();
    assert!(tickets.len() > 2 * SILENT_BYTES_MAX);
    let mut plain = BytesMut::new();
    let mut taken = 0;
    let failure = tickets.chunks(4096).find_map(|piece| {
        taken += piece.len();
        pair.feed(piece, &mut plain).err()
    });
    assert!(matches!(failure, Some(TlsFailure::Refused(_))));
    assert!(taken <= SILENT_BYTES_MAX + 4096, "{taken}");
}

#[test]
fn a_handshake_without_end_is_refused() {
    let identity = Identity::new();
    let mut pair = Pair::new(identity.client(&VERSIONS), identity.server(&VERSIONS));
    pair.client.handshake(&mut pair.incoming, &mut pair.out).unwrap();
    // A ServerHello of 60,000 bytes, one byte in each record.
    let mut message = vec![2, 0, 0xea, 0x60];
    message.resize(60_000, 0);
    let mut taken = 0;
    let failure = message.iter().find_map(|byte| {
        let record = [22, 3, 3, 0, 1, *byte];
        taken += record.len();
        pair.incoming.extend_from_slice(&record);
        pair.client.handshake(&mut pair.incoming, &mut pair.out).err()
    });
    assert!(matches!(failure, Some(TlsFailure::Refused(_))), "{failure:?}");
    assert!(taken <= SILENT_BYTES_MAX + 6);
}

#[test]
fn data_before_the_first_request_is_refused() {
    let identity = Identity::new();
    let mut server = identity.server(&[&TLS13]);
    // Such a server speaks as soon as it has sent its part of the handshake.
    server.send_half_rtt_data = true;
    let mut pair = Pair::new(identity.client(&[&TLS13]), server);
    pair.client.handshake(&mut pair.incoming, &mut pair.out).unwrap();
    pair.deliver(usize::MAX).unwrap();
    pair.server.writer().write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let flight = pair.server_output();
    pair.incoming.extend_from_slice(&flight);
    let failure = pair.client.handshake(&mut pair.incoming, &mut pair.out).unwrap_err();
    assert!(matches!(failure, TlsFailure::Refused(_)), "{failure}");
    assert_eq!(failure.cause(), Cause::Connection);
}
