//! A metadata service (IMDSv2) on this machine, whose keys the S3 server accepts, and the chain that asks it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use credentials::{CredentialsChain, MemoryEnvironment, SourceName};

use crate::server::Server;

const ROLE: &str = "spike";

/// Every exchange with the service ends within this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// The service. Dropping it ends its thread.
pub(super) struct Metadata {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    server: Arc<Server>,
    lifetime: Duration,
    over: AtomicBool,
    fails: AtomicBool,
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    issued: Vec<Issued>,
    in_vain: u64,
    shortest: Option<Duration>,
    /// The last keys were refused before their time: the next come early.
    refused: bool,
}

struct Issued {
    access_key_id: String,
    at: Instant,
    expired: bool,
}

impl Metadata {
    pub(super) fn start(server: Arc<Server>, lifetime: Duration) -> io::Result<Metadata> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server,
            lifetime,
            over: AtomicBool::new(false),
            fails: AtomicBool::new(false),
            keys: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("metadata".into()).spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if serving.over.load(Ordering::Relaxed) {
                    break;
                }
                // A client that went away reports that by itself.
                let _ = serving.serve(&stream);
            }
        })?;
        Ok(Metadata { address, shared, thread: Some(thread) })
    }

    /// What makes the chain ask this service.
    pub(super) fn variables(&self) -> MemoryEnvironment {
        let endpoint = format!("http://{}", self.address);
        [("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)].into_iter().collect()
    }

    /// From now on the service fails, or answers again.
    pub(super) fn fail(&self, fails: bool) {
        self.shared.fails.store(fails, Ordering::Relaxed);
    }

    /// The store refuses the keys that were issued last.
    pub(super) fn refuse(&self) {
        let mut keys = self.shared.keys();
        keys.refused = true;
        if let Some(last) = keys.issued.last_mut() {
            last.expired = true;
            self.shared.server.expire(&last.access_key_id);
        }
    }

    /// The store refuses keys whose time is over, the last excepted: while there are no newer ones, AWS extends
    /// those.
    pub(super) fn expire(&self) {
        let mut keys = self.shared.keys();
        let superseded = keys.issued.len().saturating_sub(1);
        for issued in keys.issued.iter_mut().take(superseded).filter(|issued| !issued.expired) {
            if issued.at.elapsed() >= self.shared.lifetime {
                issued.expired = true;
                self.shared.server.expire(&issued.access_key_id);
            }
        }
    }

    pub(super) fn issued(&self) -> u64 {
        self.shared.keys().issued.len() as u64
    }

    pub(super) fn in_vain(&self) -> u64 {
        self.shared.keys().in_vain
    }

    pub(super) fn shortest(&self) -> Option<Duration> {
        self.shared.keys().shortest
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // Wakes the thread; if that fails the listener is gone, and so is the thread.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(stream).lines();
        let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let answer = self.answer(&request);
        stream.write_all(answer.as_bytes())
    }

    #[expect(clippy::disallowed_methods, reason = "a server dates what it issues")]
    fn answer(&self, request: &str) -> String {
        let role = format!("GET /latest/meta-data/iam/security-credentials/{ROLE} ");
        if self.fails.load(Ordering::Relaxed) {
            self.keys().in_vain += 1;
            return http(500, "");
        }
        if request.starts_with("PUT /latest/api/token ") {
            return http(200, "token");
        }
        if request.starts_with("GET /latest/meta-data/iam/security-credentials/ ") {
            return http(200, ROLE);
        }
        if !request.starts_with(&role) {
            return http(404, "");
        }
        let mut keys = self.keys();
        let at = Instant::now();
        if let Some(last) = keys.issued.last()
            && !keys.refused
        {
            let since = at - last.at;
            keys.shortest = Some(keys.shortest.map_or(since, |shortest| shortest.min(since)));
        }
        keys.refused = false;
        let number = keys.issued.len();
        let (id, secret, token) =
            (format!("ASIASPIKE{number:07}"), format!("secret-{number}"), format!("token-{number}"));
        self.server.issue(&id, &secret, &token);
        keys.issued.push(Issued { access_key_id: id.clone(), at, expired: false });
        let expiration = SystemTime::now() + self.lifetime;
        let expiration =
            jiff::Timestamp::try_from(expiration).map_or_else(|_| String::new(), |at| at.to_string());
        let body = serde_json::json!({
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": id,
            "SecretAccessKey": secret,
            "Token": token,
            "Expiration": expiration,
        });
        http(200, &body.to_string())
    }
}

fn http(status: u16, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} -\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

/// Instance metadata and nothing else.
pub(super) fn chain() -> CredentialsChain {
    CredentialsChain::builder().only([SourceName::Imds]).build()
}

/// How often the source repeats a request that the service fails, in one fetch.
pub(super) const ATTEMPTS_PER_FETCH: u64 = 4;
