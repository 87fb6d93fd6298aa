//! Those who wait: for a task that survives, for one that does not, for one that panics.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use credentials::{Host, Spawn};
use futures_executor::LocalPool;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use futures_util::task::LocalSpawnExt;

use crate::source::Answer::{Keys, Panics};
use crate::source::{HOUR, MINUTE, Stage, eligible, host, id};

#[test]
fn without_a_spawner_a_caller_that_is_dropped_half_way_lets_the_next_one_ask() {
    let stage = eligible([Keys(HOUR)]);
    stage.source.yields.store(1, Ordering::SeqCst);
    let mut context = Context::from_waker(Waker::noop());
    let mut waiting = Box::pin(stage.cache.get(&stage.host));
    {
        let mut first = pin!(stage.cache.get(&stage.host));
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert_eq!(stage.asked(), 1);
    }
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    let Poll::Ready(Ok(identity)) = waiting.as_mut().poll(&mut context) else { panic!("still waiting") };
    assert_eq!(id(&identity), "key-2");
}

fn spawning(stage: &Stage, pool: &LocalPool) -> Host {
    let spawner = pool.spawner();
    host(&stage.time)
        .spawner(move |task: LocalBoxFuture<'static, ()>| spawner.spawn_local(task).unwrap())
        .build()
}

#[test]
fn a_fetch_goes_on_when_the_request_that_started_it_is_dropped() {
    let stage = eligible([Keys(HOUR)]);
    stage.source.yields.store(3, Ordering::SeqCst);
    let mut pool = LocalPool::new();
    let host = spawning(&stage, &pool);
    assert!(stage.cache.get(&host).now_or_never().is_none());
    pool.run_until_stalled();
    assert_eq!(id(&stage.cache.cached(&host).unwrap()), "key-1");
    assert_eq!(stage.asked(), 1);
}

#[test]
fn with_a_spawner_nobody_waits_in_the_advisory_window() {
    let stage = eligible([Keys(HOUR)]);
    let mut pool = LocalPool::new();
    let host = spawning(&stage, &pool);
    stage.get();
    stage.time.pass(45 * MINUTE);
    assert_eq!(id(&stage.cache.get(&host).now_or_never().unwrap().unwrap()), "key-1");
    pool.run_until_stalled();
    assert_eq!(id(&stage.cache.get(&host).now_or_never().unwrap().unwrap()), "key-2");
}

#[test]
fn a_thousand_waiters_of_a_shard_are_woken_by_one_fetch() {
    let stage = eligible([Keys(HOUR)]);
    stage.source.yields.store(3, Ordering::SeqCst);
    let mut pool = LocalPool::new();
    let host = Rc::new(spawning(&stage, &pool));
    let got = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..1000 {
        let (cache, host, got) = (stage.cache.clone(), host.clone(), got.clone());
        let task = async move {
            let identity = cache.get(&host).await.unwrap();
            got.borrow_mut().push(id(&identity));
        };
        pool.spawner().spawn_local(task).unwrap();
    }
    pool.run();
    assert_eq!(*got.borrow(), vec!["key-1"; 1000]);
    assert_eq!(stage.asked(), 1);
}

#[test]
fn a_waiter_that_is_kept_but_never_polled_again_holds_nobody_up() {
    let stage = eligible([Keys(HOUR)]);
    stage.source.yields.store(3, Ordering::SeqCst);
    let mut pool = LocalPool::new();
    let host = spawning(&stage, &pool);
    let mut forgotten = Box::pin(stage.cache.get(&host));
    assert!((&mut forgotten).now_or_never().is_none());
    let identity = pool.run_until(stage.cache.get(&host)).unwrap();
    assert_eq!(id(&identity), "key-1");
    drop(forgotten);
}

#[test]
fn a_runtime_that_ends_with_the_fetch_in_it_lets_another_shard_ask() {
    let stage = eligible([Keys(HOUR)]);
    let first = LocalPool::new();
    let first_host = spawning(&stage, &first);
    assert!(stage.cache.get(&first_host).now_or_never().is_none());
    let mut second = LocalPool::new();
    let second_host = spawning(&stage, &second);
    let mut waiting = Box::pin(stage.cache.get(&second_host));
    assert!((&mut waiting).now_or_never().is_none());
    drop(first);
    assert_eq!(id(&second.run_until(waiting).unwrap()), "key-1");
}

/// Takes tasks and drops them, like a runtime that is shutting down.
struct Refuses;

impl Spawn for Refuses {
    fn spawn(&self, _: LocalBoxFuture<'static, ()>) {}
}

#[test]
fn a_spawner_that_drops_its_tasks_is_done_without() {
    let stage = eligible([Keys(HOUR)]);
    let host = host(&stage.time).spawner(Refuses).build();
    assert_eq!(id(&stage.cache.get(&host).now_or_never().unwrap().unwrap()), "key-1");
    stage.time.pass(2 * HOUR);
    assert_eq!(id(&stage.cache.get(&host).now_or_never().unwrap().unwrap()), "key-2");
}

#[test]
fn a_fetch_that_panics_does_not_keep_others_from_asking() {
    let stage = eligible([Panics, Keys(HOUR)]);
    assert!(catch_unwind(AssertUnwindSafe(|| stage.try_get())).is_err());
    assert_eq!(stage.get(), "key-2");
}

#[test]
fn a_refresh_that_panics_is_a_failed_one() {
    let stage = eligible([Keys(HOUR), Panics, Keys(HOUR)]);
    stage.get();
    stage.time.pass(45 * MINUTE);
    assert!(catch_unwind(AssertUnwindSafe(|| stage.try_get())).is_err());
    for _ in 0..10 {
        assert_eq!(stage.get(), "key-1");
    }
    assert_eq!(stage.asked(), 2);
    stage.time.pass(10 * MINUTE);
    assert_eq!(stage.get(), "key-3");
}

/// A spawner that runs the task at once and survives its panic, as runtimes do.
struct CatchesPanics;

impl Spawn for CatchesPanics {
    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        let _ = catch_unwind(AssertUnwindSafe(|| task.now_or_never()));
    }
}

#[test]
fn a_task_that_panics_is_not_started_for_ever() {
    let stage = eligible([Panics]);
    let host = host(&stage.time).spawner(CatchesPanics).build();
    let result = catch_unwind(AssertUnwindSafe(|| stage.cache.get(&host).now_or_never()));
    assert!(result.is_err(), "the caller meets the bug");
    assert_eq!(stage.asked(), 2);
}

/// A clock that waits: a sleeper wakes when the shared time has passed, and is polled by hand.
struct Waits(crate::source::Time);

impl credentials::Clock for Waits {
    fn now(&self) -> std::time::SystemTime {
        credentials::Clock::now(&self.0)
    }

    fn monotonic(&self) -> std::time::Duration {
        self.0.steady()
    }

    fn sleep(&self, duration: std::time::Duration) -> Option<LocalBoxFuture<'_, ()>> {
        let ends = self.0.steady() + duration;
        Some(Box::pin(std::future::poll_fn(move |_| {
            if self.0.steady() >= ends { Poll::Ready(()) } else { Poll::Pending }
        })))
    }
}

#[test]
fn a_fetch_on_a_shard_that_stands_still_is_given_up_and_its_late_answer_does_not_replace_a_newer_one() {
    let stage = eligible([Keys(HOUR)]);
    stage.source.yields.store(1, Ordering::SeqCst);
    let mut stuck = LocalPool::new();
    let stuck_host = spawning(&stage, &stuck);
    assert!(stage.cache.get(&stuck_host).now_or_never().is_none());
    let host = Host::builder().clock(Waits(stage.time.clone())).build();
    let mut waiting = Box::pin(stage.cache.get(&host));
    assert!((&mut waiting).now_or_never().is_none());
    stage.time.pass(74 * crate::source::SECOND);
    assert!((&mut waiting).now_or_never().is_none());
    stage.time.pass(crate::source::SECOND);
    // It takes over, and is answered.
    stage.source.yields.store(0, Ordering::SeqCst);
    assert_eq!(id(&waiting.now_or_never().unwrap().unwrap()), "key-1");
    // The other comes back to life with what it asked for later.
    stuck.run_until_stalled();
    assert_eq!(stage.asked(), 2);
    assert_eq!(id(&stage.cache.cached(&host).unwrap()), "key-1");
}

#[test]
fn a_source_that_never_answers_is_an_error() {
    let stage = eligible([Keys(HOUR)]);
    stage.source.yields.store(usize::MAX, Ordering::SeqCst);
    let host = Host::builder().clock(Waits(stage.time.clone())).build();
    let mut waiting = Box::pin(stage.cache.get(&host));
    assert!((&mut waiting).now_or_never().is_none());
    stage.time.pass(65 * crate::source::SECOND);
    let error = waiting.now_or_never().unwrap().unwrap_err();
    assert!(error.to_string().contains("no answer when the 65 seconds"), "{error}");
}
