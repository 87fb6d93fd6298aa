//! [`Reaper`]: aborts the uploads that nobody will complete any more, and makes sure that they stay aborted.
//!
//! Dropping a handle makes no request and no task: it leaves the upload in a queue, and wakes a task that was spawned
//! when the store's first upload was begun. The task ends with the store, once nothing is left to do, or with its runtime.

mod completing;
mod creating;
mod upload;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use compio::runtime::Runtime;
use futures_util::future::{LocalBoxFuture, poll_fn};
use futures_util::stream::{FuturesUnordered, StreamExt};
use object_storage::{ShutdownReport, UploadInfo};

use self::completing::Completing;
pub(crate) use self::creating::Creation;
use self::creating::{Carrying, Creating};
use self::upload::Left;
pub(crate) use self::upload::{Stage, Upload};
use crate::wakers::{Place, Wakers};

/// How many uploads are being aborted at once. Whoever drops more than that at a time is ending, or in trouble, and in
/// both cases the store has enough to do.
const CONCURRENCY: usize = 8;

/// How many uploads wait to be aborted, or have been given up, at most. At a KiB each this is 10 MiB; more only come
/// together where the store takes creations, and refuses aborts for hours.
const UPLOADS_KEPT_MAX: usize = 10_000;

/// How often an upload is aborted that is still there, or whose abort was not answered. With the pauses in between,
/// a store that refuses everything is outlasted for four minutes, and one that is silent for more than ten.
const ROUNDS_MAX: u32 = 12;
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// While a shutdown waits nobody has the time to be patient.
const PAUSE_DRAINING: Duration = Duration::from_millis(250);

/// A part that was on the wire when its connection was closed lands within this, or never.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

static LEAKED: AtomicU64 = AtomicU64::new(0);

/// How many uploads the stores of this process are known to have left behind: they were to be aborted, and store and
/// runtime ended before that was done. [`shutdown`](object_storage::ObjectStorage::shutdown) avoids it, and
/// [`sweep_uploads`](object_storage::ObjectStorageExt::sweep_uploads) finds them.
#[must_use]
pub fn leaked_uploads() -> u64 {
    LEAKED.load(Ordering::Relaxed)
}

/// What a store and the handles of its uploads hold of the reaper.
#[derive(Debug)]
pub(crate) struct Reaper(Rc<Shared>);

/// What the task holds too. It holds no store, or the store would live as long as its runtime.
#[derive(Default)]
struct Shared {
    state: RefCell<State>,
    /// Pauses that a shutdown cuts short.
    pausing: Wakers,
    /// The shutdowns that wait for all this.
    waiting: Wakers,
}

#[derive(Default)]
struct State {
    /// Uploads to be aborted when their handle is dropped, or the store is shut down; by their address.
    tied: BTreeMap<usize, Rc<Upload>>,
    queue: VecDeque<Rc<Upload>>,
    /// Creations whose caller has gone, to be carried to their answer.
    creations: VecDeque<Creation>,
    /// What the task is at.
    active: Vec<Rc<Upload>>,
    creations_active: usize,
    /// Uploads that are not tried any more until somebody shuts the store down; the last given up last.
    given_up: VecDeque<Rc<Upload>>,
    /// Completions that have begun and not ended.
    completing: usize,
    aborted: usize,
    in_doubt: usize,
    /// Shutdowns under way.
    drains: usize,
    /// The store and all handles are gone.
    is_orphaned: bool,
    has_task: bool,
    is_stopped: bool,
    task: Option<Waker>,
}

impl State {
    /// Uploads to be aborted.
    fn kept(&self) -> usize {
        self.queue.len() + self.active.len() + self.given_up.len()
    }
}

impl Reaper {
    pub(crate) fn new() -> Rc<Reaper> {
        Rc::new(Reaper(Rc::default()))
    }

    /// Makes the task if there is none: there was no need yet, or its runtime ended.
    pub(crate) fn start(&self) {
        let state = self.0.state.borrow();
        if state.has_task || state.is_stopped {
            return;
        }
        drop(state);
        let task = work(Rc::clone(&self.0));
        // Detached: dropping the handle would end it. Without a runtime nothing can be begun either.
        let spawned = Runtime::try_with_current(|runtime| runtime.spawn(task).detach());
        self.0.state.borrow_mut().has_task = spawned.is_ok();
    }

    /// Remembers to abort this upload.
    pub(crate) fn tie(&self, upload: &Rc<Upload>) {
        if upload.stage_unless_joined() == Stage::Free {
            upload.enter_unless_joined(Stage::Tied);
            self.0.state.borrow_mut().tied.insert(Rc::as_ptr(upload).addr(), Rc::clone(upload));
            self.start();
        }
    }

    /// Forgets an upload: it is over, or was seen to be gone.
    pub(crate) fn over(&self, upload: &Rc<Upload>, aborted: bool) {
        let before = upload.enter_unless_joined(Stage::Over);
        let mut state = self.0.state.borrow_mut();
        if aborted && matches!(before, Stage::Tied | Stage::Left) {
            state.aborted += 1;
        }
        state.tied.remove(&Rc::as_ptr(upload).addr());
        drop(state);
        self.0.changed();
    }

    /// The handle of this upload was dropped.
    pub(crate) fn dropped(&self, upload: &Rc<Upload>) {
        if upload.stage() == Stage::Tied {
            upload.enter(Stage::Left);
            let tied = self.0.state.borrow_mut().tied.remove(&Rc::as_ptr(upload).addr());
            self.0.leave(Rc::clone(upload));
            drop(tied);
        }
    }

    /// The completion of this upload has begun: it is not aborted meanwhile.
    pub(crate) fn completing<'a>(&'a self, upload: &'a Rc<Upload>) -> Completing<'a> {
        Completing::new(self, upload)
    }

    /// Somewhere there may be an upload whose id is not known.
    pub(crate) fn in_doubt(&self) {
        self.0.state.borrow_mut().in_doubt += 1;
    }

    /// Creates an upload with this future, and if the caller goes before the answer comes, aborts it.
    pub(crate) fn creating(&self, creation: Creation) -> Creating {
        self.start();
        Creating::new(Rc::clone(&self.0), creation)
    }

    /// Begins to abort everything that can be, also what is tied to handles that live.
    pub(crate) fn drain(&self) -> Draining<'_> {
        let mut state = self.0.state.borrow_mut();
        state.drains += 1;
        state.is_stopped = false;
        let again = std::mem::take(&mut state.given_up);
        state.queue.extend(again);
        let aborted_before = state.aborted;
        drop(state);
        self.0.pausing.wake_all();
        self.start();
        Draining { reaper: self, place: self.0.waiting.place(), aborted_before }
    }
}

/// A shutdown under way. Dropped without its [end](Self::end) it leaves the task to go on as before.
pub(crate) struct Draining<'a> {
    reaper: &'a Reaper,
    place: Place<'a>,
    aborted_before: usize,
}

impl Draining<'_> {
    /// Ready when there is nothing left to do, or nothing more is tried.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.reaper.0.state.borrow_mut();
        let tied: Vec<_> = state
            .tied
            .extract_if(.., |_, upload| upload.stage() == Stage::Tied)
            .map(|(_, upload)| upload)
            .collect();
        for upload in tied {
            upload.enter(Stage::Left);
            state.queue.push_back(upload);
        }
        let creating = state.creations_active + state.creations.len();
        if state.queue.is_empty() && state.active.is_empty() && creating == 0 && state.completing == 0 {
            return Poll::Ready(());
        }
        let task = state.task.take();
        drop(state);
        self.place.wait(cx.waker());
        if let Some(task) = task {
            task.wake();
        }
        Poll::Pending
    }

    /// Says what was done and what is left, and whether this was the last shutdown under way; with that the task ends.
    pub(crate) fn end(self) -> (ShutdownReport, bool) {
        let mut state = self.reaper.0.state.borrow_mut();
        let is_last = state.drains == 1;
        state.is_stopped = is_last;
        let left = state.queue.iter().chain(&state.active).chain(&state.given_up).chain(
            // Refused again while it was being completed, in the last moment.
            state.tied.values().filter(|upload| upload.stage() == Stage::Tied),
        );
        let mut report = ShutdownReport::default();
        report.uploads_left = left
            .filter(|upload| upload.stage() != Stage::Over)
            .map(|upload| UploadInfo::new(upload.key.clone(), upload.id.clone(), None))
            .collect();
        report
            .uploads_left
            .sort_by(|one, next| (&one.key, &one.upload_id).cmp(&(&next.key, &next.upload_id)));
        report.uploads_aborted = state.aborted - self.aborted_before;
        // Those that are carried on are counted for good once the task that does it has ended.
        let creating = state.creations_active + state.creations.len();
        report.uploads_in_doubt = state.in_doubt + creating + state.completing;
        let task = if is_last { state.task.take() } else { None };
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
        (report, is_last)
    }
}

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        self.reaper.0.state.borrow_mut().drains -= 1;
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        state.is_orphaned = true;
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Shared {
    /// Queues an upload.
    fn leave(&self, upload: Rc<Upload>) {
        let mut state = self.state.borrow_mut();
        let mut forgotten = None;
        if state.kept() >= UPLOADS_KEPT_MAX {
            LEAKED.fetch_add(1, Ordering::Relaxed);
            // Rather one that was tried to the end than one that was not.
            forgotten = state.given_up.pop_front();
            if forgotten.is_none() {
                drop(state);
                return drop(upload);
            }
        }
        state.queue.push_back(upload);
        let task = state.task.take();
        drop(state);
        drop(forgotten);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Wakes the shutdowns that wait.
    fn changed(&self) {
        self.waiting.wake_all();
    }

    fn is_draining(&self) -> bool {
        self.state.borrow().drains > 0
    }

    /// Takes the next thing to do, unless enough is being done.
    fn next(self: &Rc<Shared>) -> Option<LocalBoxFuture<'static, ()>> {
        let mut state = self.state.borrow_mut();
        // However many: each is under way already, and what it holds it keeps until somebody polls it.
        if let Some(creation) = state.creations.pop_front() {
            drop(state);
            return Some(Box::pin(carry(Carrying::new(Rc::clone(self)), creation)));
        }
        if state.active.len() >= CONCURRENCY {
            return None;
        }
        let upload = state.queue.pop_front()?;
        state.active.push(Rc::clone(&upload));
        Some(Box::pin(abort(Rc::clone(self), upload)))
    }

    /// Waits after this round; less long while the store is being shut down.
    async fn pause(&self, round: u32) {
        let pause = PAUSE_MIN.saturating_mul(1 << round.min(16)).min(PAUSE_MAX);
        // Half of it is left to chance, so that many do not come back together.
        let pause = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        let was_draining = self.is_draining();
        let pause = if was_draining { pause.min(PAUSE_DRAINING) } else { pause };
        self.wait(pause, was_draining).await;
    }

    /// Waits, until a shutdown begins if it has not.
    async fn wait(&self, time: Duration, was_draining: bool) {
        let mut sleep = pin!(compio::time::sleep(time));
        let place = self.pausing.place();
        poll_fn(|cx| {
            if !was_draining && self.is_draining() {
                return Poll::Ready(());
            }
            place.wait(cx.waker());
            sleep.as_mut().poll(cx)
        })
        .await;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let left = state.queue.iter().chain(&state.active).chain(&state.given_up);
        let left = left.filter(|upload| upload.stage() != Stage::Over).count();
        LEAKED.fetch_add(left as u64, Ordering::Relaxed);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state.try_borrow() {
            Ok(state) => write!(f, "Reaper({} tied, {} left)", state.tied.len(), state.kept()),
            Err(_) => f.write_str("Reaper"),
        }
    }
}

/// The task: does what is queued, until the store is gone and nothing is left, or it is told to stop.
async fn work(shared: Rc<Shared>) {
    // Also when the runtime drops this task: what it was at goes back to the queue, for the task of another runtime.
    let _leaving = Leaving(Rc::clone(&shared));
    let mut jobs = FuturesUnordered::new();
    poll_fn(|cx| {
        if shared.state.borrow().is_stopped {
            return Poll::Ready(());
        }
        loop {
            while let Some(job) = shared.next() {
                jobs.push(job);
            }
            match jobs.poll_next_unpin(cx) {
                Poll::Ready(Some(())) => shared.changed(),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        let mut state = shared.state.borrow_mut();
        if jobs.is_empty() && state.is_orphaned {
            return Poll::Ready(());
        }
        let before = state.task.replace(cx.waker().clone());
        drop(state);
        // It may own what looks at this state.
        drop(before);
        Poll::Pending
    })
    .await;
}

struct Leaving(Rc<Shared>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        state.has_task = false;
        let task = state.task.take();
        let active = std::mem::take(&mut state.active);
        state.queue.extend(active);
        // An abort begins anew with the next task. What waits for an answer does not: the sockets were this runtime's.
        let creations = std::mem::take(&mut state.creations);
        state.in_doubt += creations.len();
        drop(state);
        drop((task, creations));
        self.0.changed();
    }
}

/// Aborts one upload, as often as it takes.
async fn abort(shared: Rc<Shared>, upload: Rc<Upload>) {
    let gone = upload.stage() == Stage::Over || until_gone(&shared, &upload).await;
    let mut state = shared.state.borrow_mut();
    state.active.retain(|active| !Rc::ptr_eq(active, &upload));
    if !gone {
        return state.given_up.push_back(Rc::clone(&upload));
    }
    if upload.enter(Stage::Over) != Stage::Over {
        state.aborted += 1;
    }
}

/// Waits for the answer to a creation that nobody else waits for, and has what it began aborted.
async fn carry(carrying: Carrying, creation: Creation) {
    let ended = creation.request.await;
    let shared = carrying.answered();
    match ended {
        Ok(begun) => {
            shared.state.borrow_mut().in_doubt += usize::from(begun.maybe_another);
            let upload = Upload::new(creation.driver, creation.key, begun.id);
            upload.enter(Stage::Left);
            shared.leave(upload);
        }
        Err(error) => shared.state.borrow_mut().in_doubt += usize::from(error.is_indeterminate()),
    }
}

/// Aborts, looks, and does it again, until the upload is seen to be gone.
async fn until_gone(shared: &Shared, upload: &Upload) -> bool {
    let mut round = 0;
    // A shutdown has a deadline of its own.
    while round < ROUNDS_MAX || shared.is_draining() {
        if round > 0 {
            shared.pause(round - 1).await;
        }
        round += 1;
        match upload.abort().await {
            Ok(()) => {}
            Err(error) if upload::is_final(&error) => return false,
            Err(_) => continue,
        }
        // Those of a handle that still lives; dropping one has closed the connections of its own.
        upload.parts_ended().await;
        match upload.left().await {
            Left::Nothing if upload.is_settled() => return true,
            // Nor is it there to whoever looks a second time.
            Left::Nothing | Left::NoParts => {}
            Left::Parts | Left::Unknown => continue,
        }
        shared.wait(SETTLED_AFTER, true).await;
        if matches!(upload.left().await, Left::Nothing | Left::NoParts) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::future::poll_immediate;
    use object_storage::{Key, ObjectStorage, StorageConfig, UploadId};

    use super::*;
    use crate::S3Storage;

    /// A store before an address where nobody listens, and an upload that is tied to a handle of it.
    async fn store() -> (S3Storage, Rc<Upload>) {
        let config = StorageConfig::object("bucket")
            .endpoint("http://127.0.0.1:1")
            .region("us-east-1")
            .access_key_id("A")
            .secret_access_key("s")
            .attempts_max(1)
            .build()
            .expect("a configuration");
        let config = config.as_object().expect("an object store").clone();
        let host = credentials::Host::builder().build();
        let store = S3Storage::open(&config, host).await.expect("opened");
        let key = Key::parse("k").expect("a key");
        let upload = Upload::new(Rc::clone(&store.driver), key, UploadId::new("u"));
        store.reaper.tie(&upload);
        (store, upload)
    }

    async fn a_moment() {
        compio::time::sleep(Duration::from_millis(20)).await;
    }

    #[test]
    fn the_task_ends_with_the_store_and_not_before_its_work() {
        Runtime::new().expect("a runtime").block_on(async {
            let (store, upload) = store().await;
            let (shared, driver) = (Rc::downgrade(&store.reaper.0), Rc::downgrade(&store.driver));
            a_moment().await;
            store.reaper.over(&upload, true);
            drop((upload, store));
            assert!(driver.upgrade().is_none(), "the task holds no store");
            a_moment().await;
            assert!(shared.upgrade().is_none(), "and without one it ends");

            let (store, upload) = self::store().await;
            let (shared, driver) = (Rc::downgrade(&store.reaper.0), Rc::downgrade(&store.driver));
            store.reaper.dropped(&upload);
            drop((upload, store));
            a_moment().await;
            assert!(driver.upgrade().is_some() && shared.upgrade().is_some(), "somebody still tries");
        });
    }

    #[test]
    fn a_runtime_that_ends_takes_everything_along_and_what_is_left_is_counted() {
        let before = leaked_uploads();
        let driver = Runtime::new().expect("a runtime").block_on(async {
            let (store, upload) = store().await;
            store.reaper.dropped(&upload);
            a_moment().await;
            Rc::downgrade(&store.driver)
        });
        assert!(driver.upgrade().is_none(), "nothing holds on to anything in a circle");
        assert!(leaked_uploads() > before);
    }

    /// Gives up so many uploads.
    fn leave(store: &S3Storage, like: &Upload, count: usize) {
        for number in 0..count {
            let id = UploadId::new(&number.to_string());
            let upload = Upload::new(Rc::clone(&like.driver), like.key.clone(), id);
            upload.enter(Stage::Left);
            store.reaper.0.leave(upload);
        }
    }

    #[test]
    fn no_more_is_kept_than_was_said_and_what_was_given_up_goes_first() {
        Runtime::new().expect("a runtime").block_on(async {
            let (store, upload) = store().await;
            leave(&store, &upload, UPLOADS_KEPT_MAX + 5);
            assert_eq!(store.reaper.0.state.borrow().kept(), UPLOADS_KEPT_MAX);

            let mut state = store.reaper.0.state.borrow_mut();
            let given_up: VecDeque<_> = state.queue.drain(1..).collect();
            state.given_up = given_up;
            drop(state);
            leave(&store, &upload, 5);
            let state = store.reaper.0.state.borrow();
            assert_eq!((state.kept(), state.queue.len()), (UPLOADS_KEPT_MAX, 1 + 5));
        });
    }

    #[test]
    fn a_creation_is_carried_on_however_many_uploads_cannot_be_aborted() {
        Runtime::new().expect("a runtime").block_on(async {
            let (store, upload) = store().await;
            leave(&store, &upload, CONCURRENCY + 1);
            a_moment().await;
            assert_eq!(store.reaper.0.state.borrow().active.len(), CONCURRENCY);
            let polls = Rc::new(Cell::new(0));
            let seen = Rc::clone(&polls);
            let request = poll_fn(move |_| {
                seen.set(seen.get() + 1);
                Poll::Pending
            });
            let (driver, key) = (Rc::clone(&upload.driver), upload.key.clone());
            let creating = store.reaper.creating(Creation { driver, key, request: Box::pin(request) });
            assert!(poll_immediate(creating).await.is_none());
            assert_eq!(polls.get(), 1, "by its caller, who then went");
            a_moment().await;
            assert_eq!(polls.get(), 2);
        });
    }

    #[test]
    fn who_has_paused_leaves_no_waker_behind() {
        Runtime::new().expect("a runtime").block_on(async {
            let (store, _upload) = store().await;
            let shared = Rc::clone(&store.reaper.0);
            let pause = || shared.wait(Duration::from_millis(1), false);
            let mut pauses: FuturesUnordered<_> = (0..100).map(|_| pause()).collect();
            assert!(poll_immediate(pauses.next()).await.is_none());
            assert_eq!(shared.pausing.len(), 100);
            while pauses.next().await.is_some() {}
            assert_eq!(shared.pausing.len(), 0);
        });
    }

    #[test]
    fn a_shutdown_that_is_dropped_is_not_under_way_any_more() {
        Runtime::new().expect("a runtime").block_on(async {
            let (store, upload) = store().await;
            let shutdown = store.shutdown(PAUSE_MAX);
            assert!(poll_immediate(shutdown).await.is_none());
            assert!(!store.reaper.0.is_draining() && !store.reaper.0.state.borrow().is_stopped);
            assert_eq!(upload.stage(), Stage::Left, "and it is still being aborted");
        });
    }

    #[test]
    fn what_several_completions_say_is_weighed_when_the_last_has_ended() {
        #[derive(Clone, Copy, Debug)]
        enum End {
            Joined,
            Refused,
            DroppedBefore,
            DroppedAfter,
        }
        use End::{DroppedAfter, DroppedBefore, Joined, Refused};
        let ends = |completing: Completing<'_>, end| match end {
            Joined => completing.completed(),
            Refused => completing.refused(),
            DroppedBefore => drop(completing),
            DroppedAfter => {
                completing.sent().set(true);
                drop(completing);
            }
        };
        Runtime::new().expect("a runtime").block_on(async {
            for (one, two, stage, in_doubt) in [
                (Refused, Refused, Stage::Tied, 0),
                (Refused, DroppedBefore, Stage::Tied, 0),
                (Refused, DroppedAfter, Stage::InDoubt, 1),
                (DroppedAfter, DroppedAfter, Stage::InDoubt, 1),
                (Joined, Refused, Stage::Over, 0),
                (Joined, DroppedAfter, Stage::Over, 0),
            ] {
                for (first, last) in [(one, two), (two, one)] {
                    let (store, upload) = store().await;
                    let state = || store.reaper.0.state.borrow();
                    let (began_first, began_last) =
                        (store.reaper.completing(&upload), store.reaper.completing(&upload));
                    ends(began_last, last);
                    assert_eq!(upload.stage(), Stage::Completing, "{last:?}");
                    ends(began_first, first);
                    assert_eq!((upload.stage(), state().in_doubt), (stage, in_doubt), "{last:?}, {first:?}");
                    assert_eq!(
                        (state().completing, state().tied.len()),
                        (0, usize::from(stage == Stage::Tied))
                    );
                }
            }

            let (store, upload) = store().await;
            drop(store.reaper.completing(&upload));
            ends(store.reaper.completing(&upload), DroppedAfter);
            ends(store.reaper.completing(&upload), Refused);
            assert_eq!((upload.stage(), store.reaper.0.state.borrow().in_doubt), (Stage::InDoubt, 1));
            ends(store.reaper.completing(&upload), Joined);
            assert_eq!((upload.stage(), store.reaper.0.state.borrow().in_doubt), (Stage::Over, 0));
        });
    }

    #[test]
    fn an_upload_that_is_aborted_while_it_is_completed_is_over_once_that_was_refused() {
        Runtime::new().expect("a runtime").block_on(async {
            let (store, upload) = store().await;
            let completing = store.reaper.completing(&upload);
            store.reaper.over(&upload, true);
            assert_eq!(upload.stage(), Stage::Completing);
            completing.refused();
            assert_eq!(upload.stage(), Stage::Over);
            assert!(store.reaper.0.state.borrow().tied.is_empty());
        });
    }
}
