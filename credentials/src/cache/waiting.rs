//! Those who wait for a fetch, and how they are woken on whatever thread they are.
//!
//! Waking a task of another thread is not free of obligations: compio keeps such wakes in a queue of 64
//! and lets the waking thread spin while it is full. A thousand requests that wait on one shard would
//! hold up the shard that fetched, and two shards that wake each other's thousands would stop for ever.
//! Therefore each thread whose host can spawn has *one* task that is woken from outside, and this task
//! wakes its neighbours. It is a task of its own, not one of the waiters, because a waiter may be kept
//! around without being polled, and its neighbours would wait with it.
//!
//! Wakers are called, and dropped, after the lock has been given back: the thread that spins must not hold
//! what the other needs in order to make room, and dropping one may drop a task and all it holds.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};

use crate::host::Host;

/// The waiters of one cache.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Places>);

#[derive(Default)]
struct Places {
    number: u64,
    /// Those whose host cannot spawn: woken one by one.
    alone: HashMap<u64, Waker>,
    /// The others, by the thread they live on.
    shards: HashMap<ThreadId, Shard>,
}

struct Shard {
    number: u64,
    waiters: HashMap<u64, Waker>,
    /// The task that wakes them, once it has been polled.
    listener: Option<Waker>,
    released: bool,
}

impl Waiting {
    /// Waits until `done` says so. It is asked again whenever [`release`](Waiting::release) was called
    /// after what it looks at had changed.
    pub(super) async fn wait(self: &Arc<Self>, host: &Host, done: impl Fn() -> bool) {
        let mut waiter = Waiter { waiting: self, number: self.number(), shard: None, alone: !host.spawns() };
        std::future::poll_fn(|cx| waiter.poll(cx, host, &done)).await;
    }

    /// Wakes everybody. Call it after the change, without a lock.
    pub(super) fn release(&self) {
        let here = thread::current().id();
        let mut wakers: Vec<Waker> = Vec::new();
        {
            let mut places = self.lock();
            wakers.extend(places.alone.drain().map(|(_, waker)| waker));
            for (thread, shard) in &mut places.shards {
                shard.released = true;
                wakers.extend(shard.listener.take());
                if *thread == here {
                    wakers.extend(shard.waiters.drain().map(|(_, waker)| waker));
                }
            }
        }
        for waker in wakers {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.lock().draw()
    }
}

impl Places {
    fn draw(&mut self) -> u64 {
        self.number += 1;
        self.number
    }
}

/// One caller who waits.
struct Waiter<'a> {
    waiting: &'a Arc<Waiting>,
    number: u64,
    /// The shard it joined.
    shard: Option<u64>,
    /// Does without the shard's task: there is none, or it went away before it was released.
    alone: bool,
}

impl Waiter<'_> {
    fn poll(&mut self, cx: &mut Context<'_>, host: &Host, done: &impl Fn() -> bool) -> Poll<()> {
        let here = thread::current().id();
        let mut places = self.waiting.lock();
        // Under the lock: who changes what `done` looks at comes here afterwards and finds us.
        if done() {
            return Poll::Ready(());
        }
        let present = places.shards.get(&here).map(|shard| shard.number);
        if self.shard.is_some() && self.shard != present {
            self.alone = true;
        }
        if self.alone {
            let replaced = places.alone.insert(self.number, cx.waker().clone());
            drop((places, replaced));
            return Poll::Pending;
        }
        let fresh = places.draw();
        let shard = places.shards.entry(here).or_insert_with(|| Shard {
            number: fresh,
            waiters: HashMap::new(),
            listener: None,
            released: false,
        });
        let replaced = shard.waiters.insert(self.number, cx.waker().clone());
        self.shard = Some(shard.number);
        let is_first = shard.number == fresh;
        drop((places, replaced));
        if is_first {
            let listener = Listener { waiting: Arc::clone(self.waiting), thread: here, number: fresh };
            host.spawn(Box::pin(listener));
        }
        Poll::Pending
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut places = self.waiting.lock();
        let alone = places.alone.remove(&self.number);
        let shard = places.shards.get_mut(&thread::current().id());
        let joined = shard.and_then(|shard| shard.waiters.remove(&self.number));
        drop((places, alone, joined));
    }
}

/// The task of one shard that is woken from outside and wakes its neighbours, once.
struct Listener {
    waiting: Arc<Waiting>,
    thread: ThreadId,
    number: u64,
}

impl Future for Listener {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut places = self.waiting.lock();
        match places.shards.get_mut(&self.thread) {
            Some(shard) if shard.number == self.number && !shard.released => {
                let replaced = shard.listener.replace(cx.waker().clone());
                drop((places, replaced));
                Poll::Pending
            }
            // The rest is done by drop, which also serves when the runtime ends.
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut places = self.waiting.lock();
        if places.shards.get(&self.thread).is_some_and(|shard| shard.number == self.number) {
            let shard = places.shards.remove(&self.thread);
            drop(places);
            for (_, waker) in shard.into_iter().flat_map(|shard| shard.waiters) {
                waker.wake();
            }
        }
    }
}
