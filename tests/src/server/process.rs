//! A server process that cannot outlive this one, though nobody may get to run a destructor.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use tempfile::TempDir;

/// Becomes the server, and leaves a shell behind that waits for the end of its standard input.
///
/// The other end is held by the test process alone, so it ends when that process does: by itself, by a panic,
/// by `kill -9`. Then it kills the server, waits until it has written its last file, and removes them all. A
/// signal on the parent's death would not do: it follows the death of the *thread* that
/// started the server, and a test's thread is gone long before the tests are.
const WATCHED: &str = r#"
    dir=$1; sockets=$2; shift 2
    exec 3<&0
    (
        exec >/dev/null 2>&1
        read -r _ <&3
        kill -9 $$
        tries=100
        # A process that nobody has waited for yet has no program any more: that is dead enough.
        while [ -e /proc/$$/exe ] && [ $tries -gt 0 ]; do tries=$((tries - 1)); sleep 0.05; done
        rm -rf -- "$dir" $sockets
    ) &
    exec "$@" 3<&- </dev/null
"#;

/// How much of the end of the log is shown.
const LAST_WORDS_BYTES: i64 = 2000;

#[derive(Debug)]
pub(crate) struct Guarded {
    child: Child,
    /// Closing it has the server killed.
    alive: Option<ChildStdin>,
    dir: TempDir,
}

impl Guarded {
    /// Starts the program in a process group of its own, so that Ctrl-C on the tests does not end the watching
    /// shell before it has cleaned up. `dir` and `sockets` are removed when the server is.
    pub(crate) fn spawn(
        program: &Path,
        args: &[String],
        dir: TempDir,
        sockets: &[String],
    ) -> io::Result<Guarded> {
        let log = File::create(dir.path().join("log"))?;
        let mut child = Command::new("sh")
            .args(["-c", WATCHED, "sh"])
            .arg(dir.path())
            .arg(sockets.join(" "))
            .arg(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let alive = child.stdin.take();
        Ok(Guarded { child, alive, dir })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.child.try_wait().ok().flatten();
        if ended.is_some() {
            // Its id is free for others from here on: the shell must not hold on to it.
            self.alive = None;
        }
        ended
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let read = || -> io::Result<String> {
            let mut log = File::open(self.dir.path().join("log"))?;
            let len = i64::try_from(log.metadata()?.len()).unwrap_or(i64::MAX);
            log.seek(SeekFrom::End(-len.min(LAST_WORDS_BYTES)))?;
            let mut end = Vec::new();
            log.read_to_end(&mut end)?;
            Ok(String::from_utf8_lossy(&end).trim().to_owned())
        };
        read().unwrap_or_else(|error| format!("(no log: {error})"))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Closed, not killed from here: the shell must be the one to use the id, while it is still ours.
        self.alive = None;
        // Nothing can be done about a server that cannot be waited for; the directory goes either way.
        let _ = self.child.wait();
    }
}
