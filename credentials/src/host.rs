//! The door to everything ambient: variables, files, time, chance, HTTP, names, programs and tasks come in
//! here and nowhere else.

mod http;
mod memory;
mod process;
mod spawn;
mod system;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use ::http::{Request, Response};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use zeroize::Zeroizing;

pub use self::http::{Dns, HttpError, HttpErrorKind, HttpPhase, HttpSend, ProxyUse, SendOptions};
pub use self::memory::{FixedClock, FixedRandom, MemoryEnvironment, MemoryFiles};
pub use self::process::{Command, ProcessError, ProcessErrorKind, ProcessOutput, Processes};
pub use self::spawn::Spawn;
pub use self::system::{SystemClock, SystemEnvironment, SystemFiles, SystemRandom};

/// What one shard's credential lookups may see and touch.
///
/// [`Host::system`] is this machine as far as this crate can reach it: without HTTP and programs. A
/// program that embeds the chain, and every test, builds its own from [`Host::builder`], piece by piece.
/// A clone is a reference count. A host belongs to one thread; the plan that uses it
/// ([`CredentialsChain`](crate::CredentialsChain)) goes anywhere.
#[derive(Clone)]
pub struct Host {
    parts: HostBuilder,
}

/// Environment variables.
pub trait Environment {
    /// The variable's value as it is, blank or not; `None` if it does not exist.
    fn var(&self, name: &str) -> Option<OsString>;
}

/// Files to read, and the one kind that is written: the token cache of single sign-on.
pub trait Files {
    /// Reads a whole file, following symbolic links.
    ///
    /// # Errors
    ///
    /// `NotFound` where nothing is there, which callers often forgive; `FileTooLarge` if the file has
    /// more than `bytes_max` bytes; whatever the system says otherwise.
    fn read<'a>(&'a self, path: &'a Path, bytes_max: usize) -> LocalBoxFuture<'a, io::Result<FileContent>>;

    /// Replaces a file whole or not at all (temporary name, then rename), readable by its owner only.
    ///
    /// Dropping the future leaves the old file or the new one, and at worst a temporary file beside it.
    ///
    /// # Errors
    ///
    /// `Unsupported` unless implemented, which callers treat as a read-only disk; whatever the system
    /// says otherwise.
    fn write_private<'a>(&'a self, path: &'a Path, bytes: &'a [u8]) -> LocalBoxFuture<'a, io::Result<()>> {
        let _ = (path, bytes);
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

/// Time: of day, elapsed, and to come.
pub trait Clock {
    /// Now. Expiry is a matter of wall clocks: a machine that slept must not use what died meanwhile.
    fn now(&self) -> SystemTime;

    /// Time elapsed since an instant that is the same for all clocks of the process. Never steps, so
    /// back-off is measured by it.
    fn monotonic(&self) -> Duration;

    /// A future that ends `duration` from now. `None` for a clock that cannot wait, because it knows no
    /// runtime: then a source is asked once and never again, and limits are left to
    /// [`HttpSend`] and [`Processes`].
    fn sleep(&self, duration: Duration) -> Option<LocalBoxFuture<'_, ()>> {
        let _ = duration;
        None
    }
}

/// Chance: it spreads retries and names sessions. Nothing that must be kept from guessing is drawn here.
pub trait Random {
    /// Evenly distributed bits.
    fn bits(&self) -> u64;
}

/// What [`Files::read`] found.
#[derive(Clone)]
pub struct FileContent {
    bytes: Zeroizing<Vec<u8>>,
    unix_mode: Option<u32>,
}

impl FileContent {
    /// A file's bytes. They are zeroed when dropped.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> FileContent {
        FileContent { bytes: Zeroizing::new(bytes), unix_mode: None }
    }

    /// Adds the permission bits, so that a file of secrets that others can read is warned about.
    #[must_use]
    pub fn with_unix_mode(mut self, mode: u32) -> FileContent {
        self.unix_mode = Some(mode);
        self
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The permission bits, where known.
    #[must_use]
    pub fn unix_mode(&self) -> Option<u32> {
        self.unix_mode
    }
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileContent").field("bytes_len", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Host {
    /// This process's environment, files, clock and chance, as far as the standard library reaches.
    ///
    /// It has no HTTP, resolves no names, runs no programs and cannot wait: this crate does no I/O of
    /// its own. Sources that need these end with
    /// [`Unsupported`](crate::ProviderErrorKind::Unsupported) if they are configured. A transport adds
    /// them, as `s3_backend::system_host` does:
    /// `Host::system().to_builder().http(..).dns(..).processes(..).clock(..).build()`.
    ///
    /// Files are read with blocking calls, a few small ones at start and again only when keys are
    /// refreshed.
    #[must_use]
    pub fn system() -> Host {
        Host::builder().environment(SystemEnvironment).files(SystemFiles).build()
    }

    /// A host without a single variable or file, to be filled by the caller. Only clock and chance are
    /// the system's unless replaced.
    #[must_use]
    pub fn builder() -> HostBuilder {
        HostBuilder {
            environment: Rc::new(MemoryEnvironment::default()),
            files: Rc::new(MemoryFiles::default()),
            clock: Rc::new(SystemClock),
            random: Rc::new(SystemRandom),
            http: None,
            dns: None,
            processes: None,
            spawner: None,
        }
    }

    /// The same parts, to replace some of them.
    #[must_use]
    pub fn to_builder(&self) -> HostBuilder {
        self.parts.clone()
    }

    /// A variable's value, as it is.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<OsString> {
        self.parts.environment.var(name)
    }

    /// Reads a whole file of at most `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// As [`Files::read`]; the limit holds even if the implementation behind it ignores it.
    pub async fn read(&self, path: &Path, bytes_max: usize) -> io::Result<FileContent> {
        let content = self.parts.files.read(path, bytes_max).await?;
        if content.bytes.len() > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(content)
    }

    /// Replaces a file whole or not at all, readable by its owner only.
    ///
    /// # Errors
    ///
    /// As [`Files::write_private`].
    pub async fn write_private(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.parts.files.write_private(path, bytes).await
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.parts.clock.now()
    }

    /// Time elapsed since some instant of the process.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.parts.clock.monotonic()
    }

    /// Ends `duration` from now; never, if the clock cannot wait. For limits: what they limit goes on
    /// without one then.
    #[must_use]
    pub fn sleep(&self, duration: Duration) -> LocalBoxFuture<'_, ()> {
        self.parts.clock.sleep(duration).unwrap_or_else(|| Box::pin(std::future::pending()))
    }

    /// Waits for `duration`. `false`, at once, if the clock cannot wait: do not try again then.
    pub async fn pause(&self, duration: Duration) -> bool {
        match self.parts.clock.sleep(duration) {
            Some(sleep) => {
                sleep.await;
                true
            }
            None => false,
        }
    }

    /// Whether [`spawn`](Host::spawn) works.
    pub(crate) fn spawns(&self) -> bool {
        self.parts.spawner.is_some()
    }

    /// Starts a task that goes on without the caller; it is dropped if nobody runs tasks.
    pub(crate) fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        if let Some(spawner) = &self.parts.spawner {
            spawner.spawn(task);
        }
    }

    /// An evenly distributed number, from 0 to below 1.
    #[must_use]
    pub fn random(&self) -> f64 {
        // 53 bits are what a double holds exactly.
        #[expect(clippy::cast_precision_loss, reason = "both numbers are exact in a double")]
        let share = (self.parts.random.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        share
    }

    /// Evenly distributed bits.
    #[must_use]
    pub fn random_bits(&self) -> u64 {
        self.parts.random.bits()
    }

    /// Sends one request.
    ///
    /// # Errors
    ///
    /// As [`HttpSend::send`]; `NotConfigured` if the host has no HTTP. The limit of the body holds even
    /// if the implementation ignores it.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        options: &SendOptions,
    ) -> Result<Response<Bytes>, HttpError> {
        let Some(http) = &self.parts.http else { return Err(HttpError::not_configured()) };
        let response = http.send(request, options).await?;
        if response.body().len() > options.body_bytes_max {
            return Err(HttpError::new(HttpErrorKind::TooLarge, "the answer is longer than allowed"));
        }
        Ok(response)
    }

    /// All addresses of a name.
    ///
    /// # Errors
    ///
    /// As [`Dns::resolve`]; `Unsupported` if the host resolves no names, `NotFound` for an empty list.
    pub async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let Some(dns) = &self.parts.dns else { return Err(io::ErrorKind::Unsupported.into()) };
        let addresses = dns.resolve(name).await?;
        if addresses.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(addresses)
    }

    /// Runs a program.
    ///
    /// # Errors
    ///
    /// As [`Processes::run`]; `NotConfigured` if the host runs none. The limit of its output holds even
    /// if the implementation ignores it.
    pub async fn run(&self, command: &Command) -> Result<ProcessOutput, ProcessError> {
        let Some(processes) = &self.parts.processes else { return Err(ProcessError::not_configured()) };
        let output = processes.run(command).await?;
        if output.stdout.len() > command.stdout_bytes_max {
            return Err(ProcessError::new(ProcessErrorKind::TooLarge, "it printed more than allowed"));
        }
        Ok(output)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

/// Puts a [`Host`] together.
#[derive(Clone)]
pub struct HostBuilder {
    environment: Rc<dyn Environment>,
    files: Rc<dyn Files>,
    clock: Rc<dyn Clock>,
    random: Rc<dyn Random>,
    http: Option<Rc<dyn HttpSend>>,
    dns: Option<Rc<dyn Dns>>,
    processes: Option<Rc<dyn Processes>>,
    spawner: Option<Rc<dyn Spawn>>,
}

impl HostBuilder {
    /// Where variables come from.
    #[must_use]
    pub fn environment(mut self, environment: impl Environment + 'static) -> HostBuilder {
        self.environment = Rc::new(environment);
        self
    }

    /// Where files come from.
    #[must_use]
    pub fn files(mut self, files: impl Files + 'static) -> HostBuilder {
        self.files = Rc::new(files);
        self
    }

    /// Who says what time it is, and waits.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> HostBuilder {
        self.clock = Rc::new(clock);
        self
    }

    /// Who throws the dice.
    #[must_use]
    pub fn random(mut self, random: impl Random + 'static) -> HostBuilder {
        self.random = Rc::new(random);
        self
    }

    /// Who sends requests. Without one, sources that must ask a service fail if they are configured.
    #[must_use]
    pub fn http(mut self, http: impl HttpSend + 'static) -> HostBuilder {
        self.http = Some(Rc::new(http));
        self
    }

    /// Who resolves names. Needed only where an address must be checked before it is connected to.
    #[must_use]
    pub fn dns(mut self, dns: impl Dns + 'static) -> HostBuilder {
        self.dns = Some(Rc::new(dns));
        self
    }

    /// Who runs programs. Without one, a profile with `credential_process` fails.
    #[must_use]
    pub fn processes(mut self, processes: impl Processes + 'static) -> HostBuilder {
        self.processes = Some(Rc::new(processes));
        self
    }

    /// Who runs what must go on when the request that started it is dropped: the fetch of a
    /// [`CredentialsCache`](crate::CredentialsCache). Without one the request drives it.
    #[must_use]
    pub fn spawner(mut self, spawner: impl Spawn + 'static) -> HostBuilder {
        self.spawner = Some(Rc::new(spawner));
        self
    }

    /// The host.
    #[must_use]
    pub fn build(self) -> Host {
        Host { parts: self }
    }
}

impl fmt::Debug for HostBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBuilder").finish_non_exhaustive()
    }
}
