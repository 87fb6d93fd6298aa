//! [`Interrupt`]: Ctrl-C and SIGTERM, so that what was made in a store is removed before the program ends.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use nix::sys::signal::{SigSet, Signal};

use crate::exit::Exit;

/// The first signal is told to whoever waits; the second ends the process at once.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    came: AtomicBool,
    waiting: AtomicWaker,
}

impl Interrupt {
    /// Begins to watch. Call it before any other thread is started, because threads inherit which signals they
    /// leave to the watcher.
    ///
    /// A thread waits for the signals, instead of a handler: a handler could interrupt the runtime in the middle
    /// of the very queue that it would have to use.
    pub(crate) fn watch() -> std::io::Result<Interrupt> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        signals.thread_block()?;
        let shared = Arc::new(Shared::default());
        let watcher = Arc::clone(&shared);
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            if signals.wait().is_ok() {
                watcher.came.store(true, Ordering::SeqCst);
                watcher.waiting.wake();
            }
            if signals.wait().is_ok() {
                let _ = writeln!(
                    std::io::stderr(),
                    "\nspike: ended at once; what it made in the store is left there"
                );
                std::process::exit(Exit::Interrupted.code());
            }
        })?;
        Ok(Interrupt(shared))
    }

    /// Resolves when the first signal has come, now or before. One task at a time may wait.
    pub(crate) async fn came(&self) {
        std::future::poll_fn(|cx| {
            self.0.waiting.register(cx.waker());
            if self.0.came.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
