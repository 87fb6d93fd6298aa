//! [`Timer`]: wakes a task of this shard at a time, and costs the shard nothing until then.
//!
//! As long as a timer of the runtime runs, each turn of the shard looks at the clock, and each wait in the kernel is given a
//! limit: a thirtieth of a small operation, where there is one at a time. A [timerfd] is one more thing that the ring
//! listens to.
//!
//! [timerfd]: https://man7.org/linux/man-pages/man2/timerfd_create.2.html

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use compio::runtime::fd::PollFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::clock;

/// A timer of the kernel's; `None`: there was no descriptor for one, and a timer of the runtime does it.
pub(crate) struct Timer(Option<PollFd<OwnedFd>>);

impl Timer {
    /// A timer of the runtime that this is called in. It holds a descriptor.
    pub(crate) fn new() -> Timer {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(io::Error::from);
        Timer(timer.and_then(PollFd::new).ok())
    }

    /// Waits until `at`.
    pub(crate) async fn sleep_until(&self, at: Instant) {
        if let Some(timer) = &self.0 {
            loop {
                let left = at.saturating_duration_since(clock::now());
                if left.is_zero() {
                    return;
                }
                // What it has told before is forgotten when it is set.
                if set(timer, left).is_err() || timer.read_ready().await.is_err() {
                    break;
                }
            }
        }
        compio::time::sleep_until(at).await;
    }
}

fn set(timer: &PollFd<OwnedFd>, left: Duration) -> io::Result<()> {
    let it_interval = Timespec::default();
    let it_value = Timespec::try_from(left).map_err(io::Error::other)?;
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn it_wakes_at_its_time_also_when_it_is_set_anew() {
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let timer = Timer::new();
            assert!(timer.0.is_some(), "there are descriptors");
            let far = clock::now() + Duration::from_secs(3600);
            assert!(timer.sleep_until(far).now_or_never().is_none());
            for _ in 0..3 {
                let at = clock::now() + Duration::from_millis(5);
                timer.sleep_until(at).await;
                assert!(clock::now() >= at, "too early");
            }
            timer.sleep_until(clock::now()).await;
        });
    }

    #[test]
    fn without_a_descriptor_the_runtime_wakes() {
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let at = clock::now() + Duration::from_millis(5);
            Timer(None).sleep_until(at).await;
            assert!(clock::now() >= at, "too early");
        });
    }
}
