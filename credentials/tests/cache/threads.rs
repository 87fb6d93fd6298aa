//! Four threads that race for the same keys.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};

use credentials::{CredentialsError, Retry};

use crate::source::Answer::{Fails, Keys};
use crate::source::{HOUR, MINUTE, Stage, eligible, host, id};

const THREADS: usize = 4;
const ROUNDS: usize = 50;

/// Wakes a thread that waits in [`block_on`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// What each of the threads gets when they ask at the same moment.
fn race(stage: &Stage) -> Vec<Result<String, CredentialsError>> {
    stage.source.yields.store(20, Ordering::SeqCst);
    let start = Barrier::new(THREADS);
    let (cache, time) = (&stage.cache, &stage.time);
    thread::scope(|scope| {
        let racers = (0..THREADS).map(|_| {
            scope.spawn(|| {
                let host = host(time).build();
                start.wait();
                block_on(cache.get(&host)).map(|identity| id(&identity))
            })
        });
        let racers: Vec<_> = racers.collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    })
}

#[test]
fn threads_that_start_together_ask_once_and_all_wait() {
    for _ in 0..ROUNDS {
        let stage = eligible([Keys(HOUR)]);
        for got in race(&stage) {
            assert_eq!(got.unwrap(), "key-1");
        }
        assert_eq!(stage.asked(), 1);
    }
}

#[test]
fn threads_that_race_in_the_mandatory_window_ask_once_and_all_get_the_new() {
    for _ in 0..ROUNDS {
        let stage = eligible([Keys(HOUR)]);
        stage.get();
        stage.time.pass(HOUR - MINUTE);
        for got in race(&stage) {
            assert_eq!(got.unwrap(), "key-2");
        }
        assert_eq!(stage.asked(), 2);
    }
}

#[test]
fn threads_that_race_in_the_advisory_window_ask_once_and_none_waits_for_another() {
    for _ in 0..ROUNDS {
        let stage = eligible([Keys(HOUR)]);
        stage.get();
        stage.time.pass(45 * MINUTE);
        for got in race(&stage) {
            let got = got.unwrap();
            assert!(got == "key-1" || got == "key-2", "{got}");
        }
        assert_eq!(stage.asked(), 2);
    }
}

#[test]
fn threads_that_race_for_refused_keys_ask_once() {
    for _ in 0..ROUNDS {
        let stage = eligible([Keys(HOUR)]);
        stage.get();
        stage.cache.invalidate("key-1");
        for got in race(&stage) {
            assert_eq!(got.unwrap(), "key-2");
        }
        assert_eq!(stage.asked(), 2);
    }
}

#[test]
fn threads_that_race_for_a_source_in_trouble_share_one_failure() {
    for retry in [Retry::Transient, Retry::NonRecoverable] {
        let stage = eligible([Fails(retry)]);
        for got in race(&stage) {
            assert!(got.is_err());
        }
        assert_eq!(stage.asked(), 1);
        let stage = eligible([Keys(HOUR), Fails(retry)]);
        stage.get();
        stage.time.pass(HOUR);
        for got in race(&stage) {
            assert_eq!(got.is_err(), retry == Retry::NonRecoverable);
        }
        assert_eq!(stage.asked(), 2);
    }
}
