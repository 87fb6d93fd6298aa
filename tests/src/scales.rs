//! A server that answers everything well and weighs the payloads that are under way with it, and stores before it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use credentials::Host;
use object_storage::StorageConfig;
use object_storage::config::{BODY_WINDOW_BYTES, ObjectConfigBuilder};
use object_storage::limits::MIB;
use s3_backend::S3Storage;

/// The size of a part, in bytes: the least that there is.
pub const PART: u64 = 5 * MIB;
/// The `memory_limit` of the stores, in bytes.
pub const LIMIT: u64 = 8 * MIB;
/// What of it is for everything but bodies, in bytes.
pub const FOR_WORK: u64 = PART;
/// How many bodies may be open in the rest.
pub const BODIES: usize = ((LIMIT - PART) / BODY_WINDOW_BYTES) as usize;

/// The server. A payload is under way from the head of its request to just before the answer; none is kept.
#[derive(Debug)]
pub struct Scales {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    under_way: AtomicU64,
    most: AtomicU64,
    /// The first line of each request.
    asked: Mutex<Vec<String>>,
    /// Nothing is answered while it is set.
    holding: Mutex<bool>,
    changed: Condvar,
}

impl Scales {
    /// Begins to serve.
    ///
    /// # Panics
    ///
    /// When no socket can be had.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it takes a port, which a default does not suggest")]
    pub fn new() -> Scales {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::<Shared>::default();
        let accepting = Arc::clone(&shared);
        spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&accepting);
                // The thread of a connection ends when the client hangs up, the last ones and this one with the process.
                spawn(move || drop(stream.and_then(|stream| shared.serve(stream))));
            }
        });
        Scales { address, shared }
    }

    /// The most bytes of payload that were under way at any time.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.shared.most.load(Ordering::SeqCst)
    }

    /// How many requests there were so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        lock(&self.shared.asked).len() as u64
    }

    /// The first lines of the requests so far, in lower case.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }

    /// From now on nothing is answered; or everything is again.
    pub fn hold(&self, holding: bool) {
        *lock(&self.shared.holding) = holding;
        self.shared.changed.notify_all();
    }

    /// Waits until so many requests have come.
    ///
    /// # Panics
    ///
    /// When they do not come within ten seconds.
    pub async fn until_requests(&self, wanted: u64) {
        for _ in 0..2_000 {
            if self.requests() >= wanted {
                return;
            }
            compio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{} of {wanted} requests came", self.requests());
    }

    /// A store before it, with a limit of [`LIMIT`] unless `with` says otherwise.
    ///
    /// # Panics
    ///
    /// When the configuration cannot work.
    pub async fn open(&self, with: impl FnOnce(ObjectConfigBuilder) -> ObjectConfigBuilder) -> Rc<S3Storage> {
        let config = StorageConfig::object("bucket")
            .endpoint(format!("http://{}", self.address))
            .region("us-east-1")
            .access_key_id("AKIDEXAMPLE")
            .secret_access_key("secret")
            .multipart_part_size(PART)
            .memory_limit(LIMIT)
            .transport(crate::transport());
        let config = with(config).build().expect("a good configuration");
        let config = config.as_object().expect("an object store").clone();
        Rc::new(S3Storage::open(&config, Host::builder().build()).await.expect("opened"))
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut piece = vec![0; 64 * 1024];
        let mut heard: Vec<u8> = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = heard.windows(4).position(|window| window == b"\r\n\r\n") {
                    break at + 4;
                }
                let read = stream.read(&mut piece)?;
                if read == 0 {
                    return Ok(());
                }
                heard.extend_from_slice(&piece[..read]);
            };
            let head = String::from_utf8_lossy(&heard[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: u64 = length.map_or(0, |length| length.parse().expect("a length"));
            let line = head.lines().next().unwrap_or_default().to_owned();
            lock(&self.asked).push(line);
            let under_way = self.under_way.fetch_add(length, Ordering::SeqCst) + length;
            self.most.fetch_max(under_way, Ordering::SeqCst);
            let mut left = length.checked_sub((heard.len() - end) as u64).expect("one request at a time");
            heard.clear();
            while left > 0 {
                let read = stream.read(&mut piece)?;
                left = left.checked_sub(read as u64).expect("one request at a time");
                if read == 0 {
                    return Ok(());
                }
            }
            drop(self.changed.wait_while(lock(&self.holding), |holding| *holding));
            self.under_way.fetch_sub(length, Ordering::SeqCst);
            stream.write_all(&answer(&head))?;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What S3 would say.
fn answer(head: &str) -> Vec<u8> {
    let body: Vec<u8> = match head.split_once(' ') {
        Some(("get", rest)) if rest.contains("list-type=2") => b"<ListBucketResult/>".to_vec(),
        Some(("get", rest)) if rest.starts_with("/bucket/small") => vec![b's'; 1000],
        Some(("get", _)) => vec![b'x'; 1 << 20],
        Some(("post", rest)) if rest.contains("uploads=") => {
            let result = "InitiateMultipartUploadResult";
            format!("<{result}><UploadId>u</UploadId></{result}>").into_bytes()
        }
        Some(("post", _)) => {
            let result = "CompleteMultipartUploadResult";
            format!("<{result}><ETag>&quot;e&quot;</ETag></{result}>").into_bytes()
        }
        _ => Vec::new(),
    };
    let head = format!("HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat()
}

#[expect(clippy::disallowed_methods, reason = "the server shares nothing with the runtime under test")]
fn spawn(run: impl FnOnce() + Send + 'static) {
    std::thread::spawn(run);
}
