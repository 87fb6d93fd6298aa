//! [`sleep`]: waits on whatever runtime the store lives on, because the suite knows none.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;

#[derive(Default)]
struct Alarm {
    rung: AtomicBool,
    sleeper: AtomicWaker,
}

/// Waits for so long. A thread keeps the time; it ends with the wait, also when this future is dropped.
pub(super) async fn sleep(duration: Duration) {
    let alarm = Arc::new(Alarm::default());
    let (_awake, dropped) = mpsc::channel::<()>();
    let bell = Arc::clone(&alarm);
    #[expect(clippy::disallowed_methods, reason = "a test has no shard, and its runtime may be any")]
    std::thread::spawn(move || {
        if dropped.recv_timeout(duration) == Err(RecvTimeoutError::Timeout) {
            bell.rung.store(true, Ordering::Release);
            bell.sleeper.wake();
        }
    });
    poll_fn(|cx| {
        alarm.sleeper.register(cx.waker());
        if alarm.rung.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
