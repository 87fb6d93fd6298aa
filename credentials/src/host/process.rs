//! Programs that print keys. Whoever embeds the chain brings what runs them.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use zeroize::Zeroizing;

/// Runs programs.
///
/// Whoever implements it keeps to these rules:
///
/// - `argv` is executed as it is; **no shell** sees it. A name without a `/` is looked up in `PATH`.
/// - Standard input is empty, the environment and the working directory are inherited.
/// - The program gets a process group of its own, and the whole group is killed when time is up, when
///   it prints too much, and when the future is dropped.
pub trait Processes {
    /// Runs `command` to its end.
    ///
    /// # Errors
    ///
    /// [`ProcessError`], if it did not come to an end by itself. An exit status other than 0 is `Ok`.
    fn run<'a>(&'a self, command: &'a Command) -> LocalBoxFuture<'a, Result<ProcessOutput, ProcessError>>;
}

/// What to run, and its limits. `Debug` shows the program without its arguments, which may be secrets.
#[derive(Clone)]
#[non_exhaustive]
pub struct Command {
    /// The program and its arguments; never empty.
    pub argv: Vec<String>,
    /// From the start to the end of the program.
    pub timeout: Duration,
    /// More than this on standard output is [`ProcessErrorKind::TooLarge`].
    pub stdout_bytes_max: usize,
    /// Standard error is cut there; the program goes on.
    pub stderr_bytes_max: usize,
}

impl Command {
    /// `argv` with its limits.
    ///
    /// # Panics
    ///
    /// If `argv` is empty.
    #[must_use]
    pub fn new(
        argv: Vec<String>,
        timeout: Duration,
        stdout_bytes_max: usize,
        stderr_bytes_max: usize,
    ) -> Command {
        assert!(!argv.is_empty(), "a command has a program");
        Command { argv, timeout, stdout_bytes_max, stderr_bytes_max }
    }

    /// The program, which is the first of `argv`.
    #[must_use]
    pub fn program(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program())
            .field("arguments", &self.argv.len().saturating_sub(1))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What a program that ended leaves behind. `Debug` shows lengths only.
pub struct ProcessOutput {
    /// The exit status; `None` if a signal ended the program.
    pub status: Option<i32>,
    /// Everything on standard output.
    pub stdout: Zeroizing<Vec<u8>>,
    /// The beginning of standard error.
    pub stderr: Zeroizing<Vec<u8>>,
}

impl ProcessOutput {
    /// The parts together.
    #[must_use]
    pub fn new(status: Option<i32>, stdout: Vec<u8>, stderr: Vec<u8>) -> ProcessOutput {
        ProcessOutput { status, stdout: Zeroizing::new(stdout), stderr: Zeroizing::new(stderr) }
    }
}

impl fmt::Debug for ProcessOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessOutput")
            .field("status", &self.status)
            .field("stdout_len", &self.stdout.len())
            .field("stderr_len", &self.stderr.len())
            .finish()
    }
}

/// Why a program did not come to an end by itself.
#[derive(Debug, Clone)]
pub struct ProcessError {
    kind: ProcessErrorKind,
    message: String,
}

/// Why a program did not come to an end by itself, as far as somebody acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessErrorKind {
    /// There is no such program.
    NotFound,
    /// It could not be started, or watched.
    Failed,
    /// It was killed because its time was up.
    Timeout,
    /// It was killed because it printed too much.
    TooLarge,
    /// The host runs no programs.
    NotConfigured,
}

impl ProcessError {
    /// An error whose `message` holds neither arguments nor output.
    #[must_use]
    pub fn new(kind: ProcessErrorKind, message: impl Into<String>) -> ProcessError {
        ProcessError { kind, message: message.into() }
    }

    pub(crate) fn not_configured() -> ProcessError {
        ProcessError::new(ProcessErrorKind::NotConfigured, "this program runs no others for credentials")
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> ProcessErrorKind {
        self.kind
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ProcessError {}
