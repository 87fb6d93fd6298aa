//! What credential sources are promised of this machine: HTTP to the address that was checked, within its limits,
//! and programs that are killed as a whole.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a surprise is a failed test")]
#![expect(clippy::disallowed_methods, reason = "the test plays the other side, which owns threads and files")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use compio::runtime::Runtime;
use credentials::{Command, HttpErrorKind, HttpPhase, ProcessErrorKind, SendOptions};
use futures_util::FutureExt;
use http::{Method, Request};

const SOON: Duration = Duration::from_millis(300);
const LATER: Duration = Duration::from_secs(10);

/// A server for one connection.
struct Once {
    port: u16,
    thread: thread::JoinHandle<String>,
}

/// Reads the head of a request and hands it over with the connection.
fn once(answer: impl FnOnce(TcpStream) + Send + 'static) -> Once {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
            head.push(byte[0]);
        }
        answer(stream);
        String::from_utf8(head).unwrap()
    });
    Once { port, thread }
}

fn says(answer: impl Into<Vec<u8>>) -> Once {
    let answer = answer.into();
    once(move |mut stream| {
        // The other side may have had enough.
        let _ = stream.write_all(&answer);
    })
}

fn options() -> SendOptions {
    SendOptions::new(LATER, LATER, 1024)
}

fn request(method: Method, url: String) -> Request<Bytes> {
    Request::builder().method(method).uri(url).header("x-token", "t").body(Bytes::new()).unwrap()
}

type Sent = Result<(u16, Bytes), HttpErrorKind>;

fn send_to(url: String, method: Method, options: &SendOptions) -> Sent {
    Runtime::new().unwrap().block_on(async {
        let host = s3_backend::system_host();
        let sent = host.send(request(method, url), options).await;
        sent.map(|response| (response.status().as_u16(), response.into_body())).map_err(|error| error.kind())
    })
}

fn get(server: &Once, options: &SendOptions) -> Sent {
    send_to(format!("http://127.0.0.1:{}/a?b=c", server.port), Method::GET, options)
}

#[test]
fn a_request_goes_out_as_it_is_and_the_answer_comes_back() {
    let server = says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(get(&server, &options()), Ok((200, Bytes::from_static(b"hi"))));
    let head = server.thread.join().unwrap().to_ascii_lowercase();
    assert!(head.starts_with("get /a?b=c http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: 127.0.0.1:{}\r\n", server.port)), "{head}");
    assert!(head.contains("\r\nx-token: t\r\n") && !head.contains("content-length"), "{head}");
    assert!(!head.contains("accept") && !head.contains("user-agent"), "{head}");
}

#[test]
fn an_empty_put_says_that_it_is_empty() {
    let server = says("HTTP/1.1 200 OK\r\n\r\ntoken");
    let sent = send_to(format!("http://localhost:{}/t", server.port), Method::PUT, &options());
    assert_eq!(sent, Ok((200, Bytes::from_static(b"token"))));
    let head = server.thread.join().unwrap().to_ascii_lowercase();
    assert!(head.contains("\r\ncontent-length: 0\r\n") && !head.contains("transfer-encoding"), "{head}");
}

#[test]
fn a_redirect_is_an_answer() {
    let server = says("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(get(&server, &options()), Ok((302, Bytes::new())));
}

#[test]
fn a_pinned_address_is_connected_to_whatever_the_name_says() {
    let server = says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let mut pinned = options();
    pinned.pin = Some(vec![IpAddr::from(Ipv4Addr::LOCALHOST)]);
    let url = format!("http://metadata.invalid:{}/", server.port);
    assert_eq!(send_to(url, Method::GET, &pinned), Ok((200, Bytes::new())));
    let head = server.thread.join().unwrap();
    assert!(head.contains(&format!("host: metadata.invalid:{}", server.port)), "{head}");
    // And without the pin there is nobody of that name.
    assert_eq!(
        send_to("http://metadata.invalid/".to_owned(), Method::GET, &options()),
        Err(HttpErrorKind::Connect)
    );
}

#[test]
fn an_answer_longer_than_allowed_is_not_read() {
    let announced = says("HTTP/1.1 200 OK\r\ncontent-length: 1025\r\n\r\n");
    assert_eq!(get(&announced, &options()), Err(HttpErrorKind::TooLarge));
    let endless = once(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    assert_eq!(get(&endless, &options()), Err(HttpErrorKind::TooLarge));
    // Which also ends the other side.
    endless.thread.join().unwrap();
    let head = once(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    assert_eq!(get(&head, &options()), Err(HttpErrorKind::Malformed));
    let exact = says(format!("HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\n{}", "x".repeat(1024)));
    assert_eq!(get(&exact, &options()).map(|(_, body)| body.len()), Ok(1024));
}

#[test]
fn each_phase_has_its_limit_and_says_which_it_was() {
    let started = Instant::now();
    let short = SendOptions::new(SOON, SOON, 1024);
    let silent = once(|mut stream| {
        let _ = stream.read(&mut [0]);
    });
    assert_eq!(get(&silent, &short), Err(HttpErrorKind::Timeout { phase: HttpPhase::Answer }));
    let stalled = once(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab");
        let _ = stream.read(&mut [0]);
    });
    assert_eq!(get(&stalled, &short), Err(HttpErrorKind::Timeout { phase: HttpPhase::Body }));
    let dripping = once(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(SOON / 20);
        }
    });
    assert_eq!(get(&dripping, &short), Err(HttpErrorKind::Timeout { phase: HttpPhase::Body }));
    // TEST-NET-1: no machine is there. Some networks say so at once.
    let mut nowhere = short;
    nowhere.pin = Some(vec![IpAddr::from([192, 0, 2, 1])]);
    let sent = send_to("http://h/".to_owned(), Method::GET, &nowhere).unwrap_err();
    assert!(
        matches!(sent, HttpErrorKind::Timeout { phase: HttpPhase::Connect } | HttpErrorKind::Connect),
        "{sent:?}"
    );
    assert!(started.elapsed() < LATER);
}

#[test]
fn every_way_of_not_answering_is_told_apart() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    assert_eq!(
        send_to(format!("http://127.0.0.1:{free}/"), Method::GET, &options()),
        Err(HttpErrorKind::Connect)
    );
    assert_eq!(get(&says("SSH-2.0-OpenSSH\r\n\r\n"), &options()), Err(HttpErrorKind::Malformed));
    assert_eq!(get(&says(""), &options()), Err(HttpErrorKind::Broken));
    let cut = says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab");
    assert_eq!(get(&cut, &options()), Err(HttpErrorKind::Broken));
    let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let https = format!("https://127.0.0.1:{}/", plain.local_addr().unwrap().port());
    let answering = thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert_eq!(send_to(https, Method::GET, &options()), Err(HttpErrorKind::Tls));
    answering.join().unwrap();
    for url in ["ftp://127.0.0.1/", "http://user:password@127.0.0.1/"] {
        assert_eq!(send_to(url.to_owned(), Method::GET, &options()), Err(HttpErrorKind::Refused), "{url}");
    }
}

#[test]
fn names_are_resolved() {
    Runtime::new().unwrap().block_on(async {
        let host = s3_backend::system_host();
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert!(host.resolve("localhost").await.unwrap().contains(&loopback));
        assert_eq!(host.resolve("169.254.170.2").await.unwrap(), [IpAddr::from([169, 254, 170, 2])]);
        assert!(host.resolve("nobody.invalid").await.is_err());
    });
}

fn command(argv: &[&str], timeout: Duration) -> Command {
    Command::new(argv.iter().map(|&word| word.to_owned()).collect(), timeout, 64 * 1024, 16)
}

fn run(argv: &[&str], timeout: Duration) -> Result<(Option<i32>, String, String), ProcessErrorKind> {
    Runtime::new().unwrap().block_on(async {
        let output = s3_backend::system_host().run(&command(argv, timeout)).await;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        output
            .map(|output| (output.status, text(&output.stdout), text(&output.stderr)))
            .map_err(|error| error.kind())
    })
}

#[test]
fn a_program_runs_without_a_shell_and_without_input() {
    assert_eq!(
        run(&["printf", "%s", "$HOME; a  b"], LATER),
        Ok((Some(0), "$HOME; a  b".to_owned(), String::new()))
    );
    assert_eq!(run(&["cat"], LATER), Ok((Some(0), String::new(), String::new())));
    let failing = ["sh", "-c", "echo out; echo 0123456789abcdefghi >&2; exit 3"];
    assert_eq!(run(&failing, LATER), Ok((Some(3), "out\n".to_owned(), "0123456789abcdef".to_owned())));
    assert_eq!(run(&["sh", "-c", "kill -9 $$"], LATER).map(|(status, ..)| status), Ok(None));
    assert_eq!(run(&["no-such-program-anywhere"], LATER), Err(ProcessErrorKind::NotFound));
    let full = ["sh", "-c", "head -c 65536 /dev/zero | tr '\\0' x"];
    assert_eq!(run(&full, LATER).map(|(_, out, _)| out.len()), Ok(65536));
}

#[test]
fn a_program_that_prints_without_end_is_killed() {
    assert_eq!(run(&["yes"], LATER), Err(ProcessErrorKind::TooLarge));
}

#[test]
fn a_program_that_leaves_somebody_behind_is_not_waited_for_longer() {
    let started = Instant::now();
    assert_eq!(
        run(&["sh", "-c", "sleep 5 & echo done"], LATER).map(|(_, out, _)| out),
        Ok("done\n".to_owned())
    );
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[test]
fn time_is_up_for_the_whole_group_and_so_it_is_when_nobody_waits_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let (late, unwanted) = (folder.path().join("late"), folder.path().join("unwanted"));
    let leave_mark = |path: &std::path::Path| format!("(sleep 1; touch {}) & wait", path.display());
    let started = Instant::now();
    assert_eq!(run(&["sh", "-c", &leave_mark(&late)], SOON), Err(ProcessErrorKind::Timeout));
    // With its outputs closed it is watched all the same.
    assert_eq!(run(&["sh", "-c", "exec >&- 2>&-; sleep 5"], SOON), Err(ProcessErrorKind::Timeout));
    assert!(started.elapsed() < 4 * SOON);
    Runtime::new().unwrap().block_on(async {
        let host = s3_backend::system_host();
        let script = leave_mark(&unwanted);
        let command = command(&["sh", "-c", &script], LATER);
        let dropped = compio::time::timeout(SOON, host.run(&command)).await;
        assert!(dropped.is_err());
        compio::time::sleep(Duration::from_millis(1500)).await;
    });
    assert!(!late.exists() && !unwanted.exists());
}

#[test]
fn the_clock_waits() {
    Runtime::new().unwrap().block_on(async {
        let host = s3_backend::system_host();
        let before = host.monotonic();
        assert!(host.sleep(SOON).now_or_never().is_none());
        assert!(host.pause(SOON).await);
        assert!(host.monotonic() - before >= SOON);
    });
}
