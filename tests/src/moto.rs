//! A moto of our own to test against: the STS and the instance metadata service of AWS as others understood them,
//! installed from PyPI, started on a free port, and gone when the tests are.

#![expect(
    clippy::disallowed_methods,
    reason = "a test harness, which starts a server: it blocks and reads the clock"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::server::process::Guarded;
use crate::server::{install, skip};

/// How long it may take to start: seconds, and longer on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Somebody else may take a port between its choice and its use; then another is chosen, this often.
const STARTS_MAX: usize = 3;

/// A running moto. Dropping it kills the server; so does the end of this process, however it comes.
#[derive(Debug)]
pub struct Moto {
    process: Guarded,
    port: u16,
}

impl Moto {
    /// A server for one test. `None` where that is impossible, which was then said aloud.
    ///
    /// # Panics
    ///
    /// Where it is impossible and `CI=true` or `OBJECT_STORAGE_TESTS_NO_SKIP=1` forbid to skip.
    #[must_use]
    pub fn start() -> Option<Moto> {
        match Moto::try_start() {
            Ok(server) => Some(server),
            Err(why) => {
                skip::tests(true, std::thread::current().name().unwrap_or("a test"), &why);
                None
            }
        }
    }

    fn try_start() -> Result<Moto, String> {
        let program = install::moto_server()?;
        let mut failed = String::new();
        for _ in 0..STARTS_MAX {
            let mut server = Moto::spawn(&program).map_err(|error| error.to_string())?;
            match server.wait_until_ready() {
                Ok(()) => return Ok(server),
                Err(why) => failed = format!("{why}; its last words: {}", server.process.last_words()),
            }
        }
        Err(failed)
    }

    fn spawn(program: &Path) -> std::io::Result<Moto> {
        let dir = tempfile::Builder::new().prefix("moto-").tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let args = ["-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
        Ok(Moto { process: Guarded::spawn(program, &args, dir, &[])?, port })
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.process.ended() {
                return Err(format!("moto ended by itself: {status}"));
            }
            let answer = self.http("GET", "/moto-api/", "");
            if matches!(answer, Ok(200)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("moto was not ready after {START_TIMEOUT:?}: {answer:?}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where it is: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on, requests must be signed with keys that it knows; it knows none.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub fn demand_known_keys(&self) {
        let answer = self.http("POST", "/moto-api/reset-auth", "0");
        assert_eq!(answer, Ok(200), "switching authentication on");
    }

    /// Makes a user who may do `action` and nothing else, and returns id and secret of a key of theirs. From then on,
    /// every request must be signed with keys that it knows, and the signature is checked.
    ///
    /// # Panics
    ///
    /// When it does not answer as IAM does.
    pub fn demand_signatures(&self, action: &str) -> (String, String) {
        self.iam("Action=CreateUser&UserName=tests");
        // Nothing in there needs escaping but what is escaped.
        let policy = format!(
            "%7B%22Version%22:%222012-10-17%22,%22Statement%22:%5B%7B%22Effect%22:%22Allow%22,\
             %22Action%22:%22{action}%22,%22Resource%22:%22*%22%7D%5D%7D"
        );
        self.iam(&format!("Action=PutUserPolicy&UserName=tests&PolicyName=tests&PolicyDocument={policy}"));
        let key = self.iam("Action=CreateAccessKey&UserName=tests");
        let text = |name: &str| {
            let (_, after) = key.split_once(&format!("<{name}>")).expect("IAM's document");
            after.split_once('<').expect("a closing element").0.to_owned()
        };
        let key = (text("AccessKeyId"), text("SecretAccessKey"));
        self.demand_known_keys();
        key
    }

    /// A call of IAM, while nobody asks for keys. moto finds out from the signature's scope whom the call is for.
    fn iam(&self, form: &str) -> String {
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, \
             SignedHeaders=host, Signature=0\r\n";
        let answer = self.exchange("POST", "/", headers, &format!("{form}&Version=2010-05-08"));
        let answer = answer.expect("moto answers");
        assert!(answer.split(' ').nth(1) == Some("200"), "{answer}");
        answer
    }

    /// The status that it answers with; why not, when it does not.
    fn http(&self, method: &str, path: &str, body: &str) -> Result<u16, String> {
        let answer = self.exchange(method, path, "", body).map_err(|error| error.to_string())?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.ok_or_else(|| format!("no HTTP: {answer:?}"))
    }

    /// The whole answer, as it came.
    fn exchange(&self, method: &str, path: &str, headers: &str, body: &str) -> std::io::Result<String> {
        let wait = Duration::from_secs(5);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect_timeout(&address, wait)?;
        stream.set_read_timeout(Some(wait))?;
        let head = format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n{headers}");
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = Vec::new();
        stream.take(64 * 1024).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}
