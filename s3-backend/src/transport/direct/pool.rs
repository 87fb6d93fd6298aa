//! [`Pool`]: the connections of one shard to one store: which may be used again, and how many there may be.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use compio::runtime::JoinHandle;

use super::connection::Connection;
use super::permits::{Permit, Permits};
use crate::clock;
use crate::timer::Timer;

/// How long a connection may lie idle. Servers that close idle ones after 5 seconds are common, and one that closes
/// just as a request comes makes its outcome unknown.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(4);

/// How old a connection may become before it is not used again, so that a change of addresses is followed. Up to a
/// fifth is taken off, so that those made together do not end together.
pub(super) const AGE_MAX: Duration = Duration::from_secs(300);

/// The most idle connections that are kept.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// The most connections that carry a request at the same time. More requests wait for their turn: a shard that has 256
/// answers to read is not waiting for the network.
pub(super) const CONNECTIONS_MAX: usize = 256;

/// The connections of one shard.
pub(super) struct Pool {
    /// The last one used stands last: it is used next, and those that are not needed grow old.
    idle: RefCell<Vec<Idle>>,
    permits: Permits,
    /// The task that closes what lies idle too long. It ends with its runtime, which the pool may outlive.
    sweeper: RefCell<Option<JoinHandle<()>>>,
    this: Weak<Pool>,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

/// A connection in use.
pub(super) struct Lease {
    /// In memory of its own: it is handed from one future to the next.
    pub(super) connection: Box<Connection>,
    pub(super) permit: Permit,
}

impl Pool {
    pub(super) fn new(connections_max: usize) -> Rc<Pool> {
        Rc::new_cyclic(|this| Pool {
            idle: RefCell::default(),
            permits: Permits::new(connections_max),
            sweeper: RefCell::default(),
            this: this.clone(),
        })
    }

    /// One more connection may be in use at once.
    pub(super) fn try_permit(&self) -> Option<Permit> {
        self.permits.try_acquire()
    }

    /// Waits until one more connection may be in use.
    pub(super) async fn permit(&self) -> Permit {
        self.permits.acquire().await
    }

    /// The idle connection that was used last, unless it is too old, or is not quiet: the other side has closed it, or
    /// says what nobody asked for.
    pub(super) fn take(&self, now: Instant) -> Option<Box<Connection>> {
        if self.runtime_ended() {
            // Their reads are that runtime's: no answer would be heard.
            self.forget_idle();
        }
        loop {
            let Idle { mut connection, since } = self.idle.borrow_mut().pop()?;
            if now.saturating_duration_since(since) < IDLE_MAX && connection.is_quiet() {
                return Some(connection);
            }
            connection.close();
        }
    }

    /// Takes a connection back that can be used again: the answer was read to its end.
    pub(super) fn give_back(&self, lease: Lease) {
        let Lease { mut connection, permit } = lease;
        let now = clock::now();
        if now.saturating_duration_since(connection.born) >= connection.age_max {
            return connection.close();
        }
        connection.shrink();
        connection.listen();
        let mut idle = self.idle.borrow_mut();
        let surplus = (idle.len() >= IDLE_CONNECTIONS_MAX).then(|| idle.remove(0));
        idle.push(Idle { connection, since: now });
        drop(idle);
        // Whoever waited finds it there.
        drop(permit);
        if let Some(surplus) = surplus {
            surplus.connection.close();
        }
        let mut sweeper = self.sweeper.borrow_mut();
        if sweeper.as_ref().is_none_or(JoinHandle::is_finished) {
            *sweeper = Some(compio::runtime::spawn(sweep(self.this.clone())));
        }
    }

    /// Whether the runtime has ended in which connections were given back that lie here. As long as it goes on, so does the
    /// task that closes them, until there are none.
    fn runtime_ended(&self) -> bool {
        !self.idle.borrow().is_empty() && self.sweeper.borrow().as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Closes what lies idle.
    pub(super) fn forget_idle(&self) {
        let idle = self.idle.take();
        for idle in idle {
            idle.connection.close();
        }
    }

    /// Closes what has been idle too long; says when to look again.
    fn close_idle(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.idle.borrow_mut();
        let young = |idle: &Idle| now.saturating_duration_since(idle.since) < IDLE_MAX;
        let old = idle.iter().position(young).unwrap_or(idle.len());
        let closing: Vec<Idle> = idle.drain(..old).collect();
        let next = idle.first().map(|idle| idle.since + IDLE_MAX);
        drop(idle);
        for idle in closing {
            idle.connection.close();
        }
        next
    }
}

/// Closes idle connections as long as there are any, so that a store that is not used holds none.
async fn sweep(pool: Weak<Pool>) {
    let mut look_at = clock::now() + IDLE_MAX;
    let timer = Timer::new();
    loop {
        timer.sleep_until(look_at).await;
        let Some(pool) = pool.upgrade() else { return };
        match pool.close_idle(clock::now()) {
            Some(next) => look_at = next,
            None => return,
        }
    }
}
