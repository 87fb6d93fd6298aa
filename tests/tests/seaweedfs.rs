//! The harness itself: a SeaweedFS starts, answers, and is gone afterwards.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};

use tests::seaweedfs::{Options, SeaweedFs};

/// What a plain request without a signature is answered.
fn get(server: &SeaweedFs, path: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).expect("it listens");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

fn process(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

#[test]
fn the_shared_server_asks_strangers_for_a_signature() {
    let Some(server) = SeaweedFs::shared() else { return };
    server.create_bucket("smoke");
    server.create_bucket("smoke");
    assert!(get(server, "/healthz").starts_with("HTTP/1.0 200"));
    let answer = get(server, "/smoke/object");
    assert!(answer.starts_with("HTTP/1.0 403") && answer.contains("AccessDenied"), "{answer}");
    assert!(std::ptr::eq(server, SeaweedFs::shared().expect("still there")), "one server for all tests");
}

#[test]
fn a_server_with_tls_and_virtual_hosts_starts_beside_another_and_is_gone_when_dropped() {
    let options = Options::default().with_tls().with_domain("localhost");
    let Some(server) = SeaweedFs::start(&options) else { return };
    assert!(server.endpoint().starts_with("https://localhost:"));
    assert!(server.ca_pem().expect("an authority of its own").contains("BEGIN CERTIFICATE"));
    assert!(get(&server, "/healthz").starts_with("HTTP/1.0 200"));
    let (pid, port) = (server.pid(), server.port());
    assert!(process(pid).exists());
    drop(server);
    assert!(!process(pid).exists(), "killed, and waited for");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
}
