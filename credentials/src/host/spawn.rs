//! Tasks that outlive the request that started them.

use futures_util::future::LocalBoxFuture;

/// Starts tasks on the calling thread: `compio::runtime::spawn(task).detach()`,
/// `tokio::task::spawn_local(task)`.
pub trait Spawn {
    /// Starts `task` and returns at once. The task runs to its end, or is dropped with its runtime.
    fn spawn(&self, task: LocalBoxFuture<'static, ()>);
}

impl<F: Fn(LocalBoxFuture<'static, ()>)> Spawn for F {
    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        self(task);
    }
}
