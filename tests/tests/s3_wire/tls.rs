//! Whom the store trusts, certificate by certificate.

use std::time::Duration;

use object_storage::ErrorKind;
use object_storage::config::{ObjectConfigBuilder, TlsRoots};
use tests::scripted::tls::{Authority, Flaw};
use tests::scripted::{Act, Server, Setup, answer};

use crate::operations::{Op, READS, WRITES};
use crate::store::{SHORT, config, open, outcome, run};

fn https(server: &Server) -> ObjectConfigBuilder {
    config(server.address()).endpoint(format!("https://127.0.0.1:{}", server.address().port()))
}

fn serve(authority: &Authority, flaw: Flaw) -> Server {
    Server::with(Setup {
        rest: Some(Op::Create.good_step()),
        tls: Some(authority.server(flaw)),
        ..Setup::default()
    })
}

#[test]
fn a_certificate_is_good_or_nothing_is_sent() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let ca = authority.pem_file(directory.path());
    run(async {
        let server = serve(&authority, Flaw::None);
        let result = Op::Create.run(&open(https(&server).ca_file(&ca)).await).await;
        assert_eq!(outcome(&result, &server), None, "{result:?}");
        assert_eq!(server.seen()[0].body.len(), 320_001);

        for flaw in [Flaw::Expired, Flaw::NotYet, Flaw::WrongName, Flaw::SelfSigned] {
            for op in [Op::Create, Op::DeleteMatch, Op::Put, Op::Get] {
                let server = serve(&authority, flaw);
                let result = op.run(&open(https(&server).ca_file(&ca)).await).await;
                assert_eq!(outcome(&result, &server), Some(ErrorKind::Config), "{flaw:?} {op:?}: {result:?}");
                assert_eq!(server.connections(), 1, "{flaw:?} {op:?}: it will not get better");
                assert_eq!(server.seen().len(), 0, "{flaw:?} {op:?}");
            }
        }
        // An authority that is not ours.
        let server = serve(&Authority::new(), Flaw::None);
        let result = Op::Create.run(&open(https(&server).ca_file(&ca)).await).await;
        assert_eq!(outcome(&result, &server), Some(ErrorKind::Config), "{result:?}");
        // Ours, which nobody told it to trust.
        let server = serve(&authority, Flaw::None);
        let result = Op::Create.run(&open(https(&server).tls_roots(TlsRoots::Webpki)).await).await;
        assert_eq!(outcome(&result, &server), Some(ErrorKind::Config), "{result:?}");
        assert_eq!(server.seen().len(), 0);
    });
}

#[test]
fn a_handshake_that_breaks_off_is_tried_again_and_nothing_was_sent() {
    let directory = tempfile::tempdir().expect("a directory");
    let ca = Authority::new().pem_file(directory.path());
    run(async {
        let breaks = [
            vec![Act::Reset],
            vec![Act::Close],
            answer(*b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")[1..].to_vec(),
            vec![Act::Send(b"\x15\x03\x03\x00\x02\x02\x50".to_vec()), Act::Close],
        ];
        for step in breaks {
            for op in [Op::Create, Op::DeleteMatch] {
                let server = Server::always([step.clone(), vec![Act::Close]].concat());
                let result = op.run(&open(https(&server).ca_file(&ca)).await).await;
                assert_eq!(outcome(&result, &server), Some(ErrorKind::Unavailable), "{step:?}: {result:?}");
                assert_eq!(server.connections(), crate::store::ATTEMPTS as usize, "{step:?}");
            }
        }
    });
}

/// With TLS 1.3 the client has sent its request before it learns that the server hung up.
#[test]
fn a_connection_that_ends_after_the_handshake_leaves_a_write_open() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let ca = authority.pem_file(directory.path());
    run(async {
        for end in [Act::Close, Act::Reset] {
            let setup = Setup {
                rest: Some(vec![Act::ReadHead, end.clone()]),
                tls: Some(authority.server(Flaw::None)),
                ..Setup::default()
            };
            let server = Server::with(setup);
            let result = Op::Create.run(&open(https(&server).ca_file(&ca)).await).await;
            assert_eq!(outcome(&result, &server), Some(ErrorKind::Indeterminate), "{end:?}: {result:?}");
            let attempts = crate::store::ATTEMPTS as usize;
            assert_eq!(server.seen().len(), 2 * attempts, "{end:?}: the attempts, and as many looks");
        }
    });
}

/// A server that means to hang up sends its goodbye in the segment of the last bytes; it may wait for ours before it
/// hangs up.
#[test]
fn the_last_bytes_are_read_although_the_goodbye_comes_with_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let ca = authority.pem_file(directory.path());
    run(async {
        for op in WRITES.into_iter().chain(READS) {
            // What states no length ends with the connection; objects must state theirs.
            let unstated = (!matches!(op, Op::Get | Op::Range | Op::Head)).then(|| op.good().length(None));
            for answer in [Some(op.good()), unstated].into_iter().flatten() {
                let (head, body) = (answer.head(), answer.raw()[answer.head().len()..].to_vec());
                let mut steps = vec![vec![Act::ReadAll, Act::SendLast(answer.raw())]];
                if !body.is_empty() {
                    let pause = Duration::from_millis(5);
                    steps.push(vec![Act::ReadAll, Act::Send(head), Act::Pause(pause), Act::SendLast(body)]);
                }
                for step in steps {
                    for tls in [false, true] {
                        let server = Server::with(Setup {
                            rest: Some(step.clone()),
                            tls: tls.then(|| authority.server(Flaw::None)),
                            ..Setup::default()
                        });
                        let builder =
                            if tls { https(&server).ca_file(&ca) } else { config(server.address()) };
                        let store = open(builder.attempts_max(1).body_timeout(SHORT)).await;
                        for _again in 0..2 {
                            let result = op.run(&store).await;
                            assert_eq!(outcome(&result, &server), None, "{op:?} tls: {tls}: {result:?}");
                            // A FIN is heard a moment later than the bytes that it came with.
                            compio::time::sleep(Duration::from_millis(10)).await;
                        }
                        assert_eq!(
                            server.connections(),
                            2,
                            "{op:?}: a connection that has ended is not used again"
                        );
                    }
                }
            }
        }
    });
}
