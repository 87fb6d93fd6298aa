//! The door to everything ambient: variables, files and the time come in here and nowhere else.

mod memory;
mod spawn;
mod system;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

use futures_util::future::LocalBoxFuture;
use zeroize::Zeroizing;

pub use memory::{FixedClock, MemoryEnvironment, MemoryFiles};
pub use spawn::Spawn;
pub use system::{SystemClock, SystemEnvironment, SystemFiles};

/// What one shard's credential lookups may see and touch.
///
/// [`Host::system`] is the real thing. A program that embeds the chain, and every test, builds its own
/// from [`Host::builder`], piece by piece. A clone is a reference count. A host belongs to one thread;
/// the plan that uses it ([`CredentialsChain`](crate::CredentialsChain)) goes anywhere.
#[derive(Clone)]
pub struct Host {
    environment: Rc<dyn Environment>,
    files: Rc<dyn Files>,
    clock: Rc<dyn Clock>,
    spawner: Option<Rc<dyn Spawn>>,
}

/// Environment variables.
pub trait Environment {
    /// The variable's value as it is, blank or not; `None` if it does not exist.
    fn var(&self, name: &str) -> Option<OsString>;
}

/// Files to read.
pub trait Files {
    /// Reads a whole file, following symbolic links.
    ///
    /// # Errors
    ///
    /// `NotFound` where nothing is there, which callers often forgive; `FileTooLarge` if the file has
    /// more than `bytes_max` bytes; whatever the system says otherwise.
    fn read<'a>(&'a self, path: &'a Path, bytes_max: usize) -> LocalBoxFuture<'a, io::Result<FileContent>>;
}

/// The time of day.
pub trait Clock {
    /// Now. Expiry is a matter of wall clocks: a machine that slept must not use what died meanwhile.
    fn now(&self) -> SystemTime;
    // TEMP
    /// mono
    fn monotonic(&self) -> std::time::Duration {
        self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
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
    /// This process's environment, files and clock.
    ///
    /// Files are read with blocking calls, a few small ones at start and again only when keys are
    /// refreshed.
    #[must_use]
    pub fn system() -> Host {
        Host::builder().environment(SystemEnvironment).files(SystemFiles).build()
    }

    /// A host without a single variable or file, to be filled by the caller. Only the clock is the
    /// system's unless replaced.
    #[must_use]
    pub fn builder() -> HostBuilder {
        HostBuilder {
            environment: Rc::new(MemoryEnvironment::default()),
            files: Rc::new(MemoryFiles::default()),
            clock: Rc::new(SystemClock),
            spawner: None,
        }
    }

    /// A variable's value, as it is.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<OsString> {
        self.environment.var(name)
    }

    /// Reads a whole file of at most `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// As [`Files::read`]; the limit holds even if the implementation behind it ignores it.
    pub async fn read(&self, path: &Path, bytes_max: usize) -> io::Result<FileContent> {
        let content = self.files.read(path, bytes_max).await?;
        if content.bytes.len() > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(content)
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Whether [`spawn`](Host::spawn) works.
    pub(crate) fn spawns(&self) -> bool {
        self.spawner.is_some()
    }

    /// Starts a task that goes on without the caller; dropped if nobody can run it.
    pub(crate) fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        if let Some(spawner) = &self.spawner {
            spawner.spawn(task);
        }
    }
    // TEMP
    pub(crate) fn monotonic(&self) -> std::time::Duration {
        self.clock.monotonic()
    }
    pub(crate) fn random(&self) -> f64 {
        0.5
    }
    pub(crate) fn sleep(&self, _: std::time::Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

/// Puts a [`Host`] together.
pub struct HostBuilder {
    environment: Rc<dyn Environment>,
    files: Rc<dyn Files>,
    clock: Rc<dyn Clock>,
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

    /// Who says what time it is.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> HostBuilder {
        self.clock = Rc::new(clock);
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
        Host { environment: self.environment, files: self.files, clock: self.clock, spawner: self.spawner }
    }
}

impl fmt::Debug for HostBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBuilder").finish_non_exhaustive()
    }
}
