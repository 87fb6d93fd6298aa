//! Programs that print keys, run on the blocking pool: no shell, nothing on standard input, a process group of its
//! own that is killed as a whole.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use credentials::{Command, ProcessError, ProcessErrorKind, ProcessOutput, Processes};
use futures_util::future::LocalBoxFuture;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use crate::clock;

/// How often a running program is looked at for having ended without closing its output, and for nobody waiting for
/// it any more.
const TICK: Duration = Duration::from_millis(20);

pub(super) struct Programs;

impl Processes for Programs {
    fn run<'a>(&'a self, command: &'a Command) -> LocalBoxFuture<'a, Result<ProcessOutput, ProcessError>> {
        let command = command.clone();
        let wanted = Wanted::default();
        let still_wanted = Arc::clone(&wanted.0);
        Box::pin(async move {
            let run = compio::runtime::spawn_blocking(move || run(&command, &still_wanted));
            let result = run.await;
            drop(wanted);
            result.unwrap_or_else(|_| Err(failed("running it panicked")))
        })
    }
}

/// Tells the thread that watches the program when the future that waits for it is dropped.
struct Wanted(Arc<AtomicBool>);

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted(Arc::new(AtomicBool::new(true)))
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn run(command: &Command, wanted: &AtomicBool) -> Result<ProcessOutput, ProcessError> {
    let ends = clock::now() + command.timeout;
    let mut child = std::process::Command::new(command.program())
        .args(command.argv.iter().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                ProcessError::new(ProcessErrorKind::NotFound, "there is no such program")
            }
            kind => failed(&format!("it cannot be started: {kind}")),
        })?;
    let result = watch(&mut child, command, wanted, ends);
    if result.is_err() {
        // The group, because what it started holds on to its output and its secrets as well.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        let _ = child.wait();
    }
    result
}

/// Reads until the program has ended and everything it printed is read.
fn watch(
    child: &mut Child,
    command: &Command,
    wanted: &AtomicBool,
    ends: Instant,
) -> Result<ProcessOutput, ProcessError> {
    let unreadable = || failed("its output cannot be read");
    let mut stdout = Output::new(child.stdout.take().ok_or_else(unreadable)?, command.stdout_bytes_max);
    let mut stderr = Output::new(child.stderr.take().ok_or_else(unreadable)?, command.stderr_bytes_max);
    loop {
        let now = clock::now();
        if now >= ends {
            let message = format!("it took longer than {:?}", command.timeout);
            return Err(ProcessError::new(ProcessErrorKind::Timeout, message));
        }
        if !wanted.load(Ordering::Relaxed) {
            return Err(failed("nobody waits for it any more"));
        }
        // Asked before reading: what it printed before it ended is there to be read after this.
        let status = child.try_wait().map_err(|error| failed(&error.kind().to_string()))?;
        let pause = if status.is_some() { Duration::ZERO } else { TICK.min(ends - now) };
        let read = read_some(&mut stdout, &mut stderr, pause).map_err(|_| unreadable())?;
        if stdout.overflowed {
            let message = format!("it printed more than {} bytes", command.stdout_bytes_max);
            return Err(ProcessError::new(ProcessErrorKind::TooLarge, message));
        }
        if let Some(status) = status
            && !read
        {
            // Whoever else holds the other end of its output is not waited for.
            let (stdout, stderr) = (std::mem::take(&mut *stdout.bytes), std::mem::take(&mut *stderr.bytes));
            return Ok(ProcessOutput::new(status.code(), stdout, stderr));
        }
        if stdout.pipe.is_none() && stderr.pipe.is_none() && status.is_none() {
            #[expect(clippy::disallowed_methods, reason = "a thread of the blocking pool")]
            std::thread::sleep(TICK.min(ends - now));
        }
    }
}

/// Waits up to `pause` for output and reads what there is; whether there was any.
fn read_some(
    stdout: &mut Output<std::process::ChildStdout>,
    stderr: &mut Output<std::process::ChildStderr>,
    pause: Duration,
) -> io::Result<bool> {
    let (out, err) = {
        let mut fds = Vec::with_capacity(2);
        fds.extend(stdout.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        fds.extend(stderr.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        if fds.is_empty() {
            return Ok(false);
        }
        let pause = Timespec::try_from(pause).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut fds, Some(&pause)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let out = stdout.pipe.is_some() && ready.next().unwrap_or(false);
        let err = stderr.pipe.is_some() && ready.next().unwrap_or(false);
        (out, err)
    };
    if out {
        stdout.read()?;
    }
    if err {
        stderr.read()?;
    }
    Ok(out || err)
}

/// One of the program's outputs, up to a limit.
struct Output<P> {
    /// Until its end has been read.
    pipe: Option<P>,
    bytes: Zeroizing<Vec<u8>>,
    bytes_max: usize,
    overflowed: bool,
}

impl<P: Read + AsFd> Output<P> {
    fn new(pipe: P, bytes_max: usize) -> Output<P> {
        // All of it from the start: a buffer that grows leaves copies of secrets behind.
        let bytes = Zeroizing::new(Vec::with_capacity(bytes_max));
        Output { pipe: Some(pipe), bytes, bytes_max, overflowed: false }
    }

    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut piece = Zeroizing::new([0; 4096]);
        let read = match pipe.read(&mut piece[..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            read => read?,
        };
        if read == 0 {
            self.pipe = None;
            return Ok(());
        }
        let room = self.bytes_max - self.bytes.len();
        self.overflowed |= read > room;
        self.bytes.extend_from_slice(&piece[..read.min(room)]);
        Ok(())
    }
}

fn failed(message: &str) -> ProcessError {
    ProcessError::new(ProcessErrorKind::Failed, message)
}
