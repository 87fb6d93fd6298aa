//! [`Reaper`]: aborts the uploads that nobody will complete any more, and makes sure that they stay aborted.
//!
//! Dropping a handle makes no request and no task: it leaves the upload in a queue, and wakes a task that was spawned
//! when the store's first upload was begun. The task ends with the store, once nothing is left to do, or with its runtime.

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

use self::creating::Creating;
pub(crate) use self::creating::Creation;
pub(crate) use self::upload::{Stage, Upload};

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
struct Shared(RefCell<State>);

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
    /// Uploads that are not tried any more until somebody shuts the store down.
    given_up: Vec<Rc<Upload>>,
    /// Completions that were sent and not answered yet.
    completing: usize,
    aborted: usize,
    in_doubt: usize,
    is_draining: bool,
    /// The store and all handles are gone.
    is_orphaned: bool,
    has_task: bool,
    is_stopped: bool,
    task: Option<Waker>,
    /// Pauses that a shutdown cuts short.
    pausing: Vec<Waker>,
    /// The shutdown that waits for all this.
    waiting: Option<Waker>,
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
        let state = self.0.0.borrow();
        if state.has_task || state.is_stopped {
            return;
        }
        drop(state);
        let task = work(Rc::clone(&self.0));
        // Detached: dropping the handle would end it. Without a runtime nothing can be begun either.
        let spawned = Runtime::try_with_current(|runtime| runtime.spawn(task).detach());
        self.0.0.borrow_mut().has_task = spawned.is_ok();
    }

    /// Remembers to abort this upload.
    pub(crate) fn tie(&self, upload: &Rc<Upload>) {
        if upload.stage() == Stage::Free {
            upload.enter(Stage::Tied);
            self.0.0.borrow_mut().tied.insert(Rc::as_ptr(upload).addr(), Rc::clone(upload));
            self.start();
        }
    }

    /// Forgets an upload: it is over, or was seen to be gone.
    pub(crate) fn over(&self, upload: &Rc<Upload>, aborted: bool) {
        let before = upload.enter(Stage::Over);
        let mut state = self.0.0.borrow_mut();
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
            let tied = self.0.0.borrow_mut().tied.remove(&Rc::as_ptr(upload).addr());
            self.0.leave(Rc::clone(upload));
            drop(tied);
        }
    }

    /// The completion of this upload is sent from now on: it is not aborted any more.
    pub(crate) fn completing<'a>(&'a self, upload: &'a Rc<Upload>) -> Completing<'a> {
        let before = upload.enter(Stage::Completing);
        self.0.0.borrow_mut().completing += 1;
        Completing { reaper: self, upload, before, ended: Stage::InDoubt }
    }

    /// Somewhere there may be an upload whose id is not known.
    pub(crate) fn in_doubt(&self) {
        self.0.0.borrow_mut().in_doubt += 1;
    }

    /// Creates an upload with this future, and if the caller goes before the answer comes, aborts it.
    pub(crate) fn creating(&self, creation: Creation) -> Creating {
        self.start();
        Creating::new(Rc::clone(&self.0), creation)
    }

    /// Begins to abort everything that can be, also what is tied to handles that live.
    pub(crate) fn begin_drain(&self) {
        let mut state = self.0.0.borrow_mut();
        state.is_draining = true;
        state.is_stopped = false;
        state.aborted = 0;
        let again: Vec<_> = state.given_up.drain(..).collect();
        state.queue.extend(again);
        let pausing = std::mem::take(&mut state.pausing);
        drop(state);
        pausing.into_iter().for_each(Waker::wake);
        self.start();
    }

    /// Ready when there is nothing left to do, or nothing more is tried.
    pub(crate) fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.0.borrow_mut();
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
        let before = state.waiting.replace(cx.waker().clone());
        let task = state.task.take();
        drop(state);
        // It may own what looks at this state.
        drop(before);
        if let Some(task) = task {
            task.wake();
        }
        Poll::Pending
    }

    /// Ends the task, and says what was done and what is left.
    pub(crate) fn end_drain(&self) -> ShutdownReport {
        let mut state = self.0.0.borrow_mut();
        state.is_draining = false;
        state.is_stopped = true;
        let creations: Vec<Creation> = state.creations.drain(..).collect();
        state.in_doubt += creations.len() + std::mem::take(&mut state.creations_active);
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
        report.uploads_aborted = state.aborted;
        report.uploads_in_doubt = state.in_doubt + state.completing;
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
        drop(creations);
        report
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        let mut state = self.0.0.borrow_mut();
        state.is_orphaned = true;
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// A completion under way; dropped without a word it may have been applied.
pub(crate) struct Completing<'a> {
    reaper: &'a Reaper,
    upload: &'a Rc<Upload>,
    before: Stage,
    ended: Stage,
}

impl Completing<'_> {
    pub(crate) fn completed(mut self) {
        self.ended = Stage::Over;
    }

    /// It was refused for certain: the upload is what it was before.
    pub(crate) fn refused(mut self) {
        self.ended = self.before;
    }
}

impl Drop for Completing<'_> {
    fn drop(&mut self) {
        self.upload.enter(self.ended);
        let mut state = self.reaper.0.0.borrow_mut();
        state.completing -= 1;
        if self.ended == Stage::InDoubt {
            state.in_doubt += 1;
        }
        let tied = match self.ended {
            Stage::Tied => None,
            _ => state.tied.remove(&Rc::as_ptr(self.upload).addr()),
        };
        drop(state);
        drop(tied);
        self.reaper.0.changed();
    }
}

impl Shared {
    /// Queues an upload.
    fn leave(&self, upload: Rc<Upload>) {
        let mut state = self.0.borrow_mut();
        if state.kept() >= UPLOADS_KEPT_MAX {
            LEAKED.fetch_add(1, Ordering::Relaxed);
            drop(state);
            return drop(upload);
        }
        state.queue.push_back(upload);
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Wakes the shutdown that waits, if one does.
    fn changed(&self) {
        let waiting = self.0.borrow_mut().waiting.take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// Takes the next thing to do, unless enough is being done.
    fn next(self: &Rc<Shared>, busy: usize) -> Option<LocalBoxFuture<'static, ()>> {
        if busy >= CONCURRENCY {
            return None;
        }
        let mut state = self.0.borrow_mut();
        if let Some(upload) = state.queue.pop_front() {
            state.active.push(Rc::clone(&upload));
            return Some(Box::pin(abort(Rc::clone(self), upload)));
        }
        let creation = state.creations.pop_front()?;
        state.creations_active += 1;
        Some(Box::pin(carry(Rc::clone(self), creation)))
    }

    /// Waits after this round; less long while the store is being shut down.
    async fn pause(&self, round: u32) {
        let pause = PAUSE_MIN.saturating_mul(1 << round.min(16)).min(PAUSE_MAX);
        // Half of it is left to chance, so that many do not come back together.
        let pause = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        let was_draining = self.0.borrow().is_draining;
        let pause = if was_draining { pause.min(PAUSE_DRAINING) } else { pause };
        self.wait(pause, was_draining).await;
    }

    /// Waits, until a shutdown begins if it has not.
    async fn wait(&self, time: Duration, was_draining: bool) {
        let mut sleep = pin!(compio::time::sleep(time));
        poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            if state.is_draining && !was_draining {
                return Poll::Ready(());
            }
            if !state.pausing.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.pausing.push(cx.waker().clone());
            }
            drop(state);
            sleep.as_mut().poll(cx)
        })
        .await;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.0.get_mut();
        let left = state.queue.iter().chain(&state.active).chain(&state.given_up);
        let left = left.filter(|upload| upload.stage() != Stage::Over).count();
        LEAKED.fetch_add(left as u64, Ordering::Relaxed);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.try_borrow() {
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
        if shared.0.borrow().is_stopped {
            return Poll::Ready(());
        }
        loop {
            while let Some(job) = shared.next(jobs.len()) {
                jobs.push(job);
            }
            match jobs.poll_next_unpin(cx) {
                Poll::Ready(Some(())) => shared.changed(),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        let mut state = shared.0.borrow_mut();
        if jobs.is_empty() && state.is_orphaned {
            return Poll::Ready(());
        }
        state.task = Some(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

struct Leaving(Rc<Shared>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut state = self.0.0.borrow_mut();
        state.has_task = false;
        state.task = None;
        let active: Vec<_> = state.active.drain(..).collect();
        state.queue.extend(active);
        let creations = std::mem::take(&mut state.creations_active);
        state.in_doubt += creations;
        drop(state);
        self.0.changed();
    }
}

/// Aborts one upload, as often as it takes.
async fn abort(shared: Rc<Shared>, upload: Rc<Upload>) {
    let gone = upload.stage() == Stage::Over || until_gone(&shared, &upload).await;
    let mut state = shared.0.borrow_mut();
    state.active.retain(|active| !Rc::ptr_eq(active, &upload));
    if !gone {
        return state.given_up.push(Rc::clone(&upload));
    }
    if upload.enter(Stage::Over) != Stage::Over {
        state.aborted += 1;
    }
}

/// Waits for the answer to a creation that nobody else waits for, and has what it began aborted.
async fn carry(shared: Rc<Shared>, creation: Creation) {
    let ended = creation.request.await;
    let mut state = shared.0.borrow_mut();
    state.creations_active = state.creations_active.saturating_sub(1);
    match ended {
        Ok(begun) => {
            state.in_doubt += usize::from(begun.maybe_another);
            let upload = Upload::new(creation.driver, creation.key, begun.id);
            upload.enter(Stage::Left);
            drop(state);
            shared.leave(upload);
        }
        Err(error) => state.in_doubt += usize::from(error.is_indeterminate()),
    }
}

/// Aborts, looks, and does it again, until the upload is seen to be gone.
async fn until_gone(shared: &Shared, upload: &Upload) -> bool {
    let mut round = 0;
    // A shutdown has a deadline of its own.
    while round < ROUNDS_MAX || shared.0.borrow().is_draining {
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
        if !upload.is_gone().await {
            continue;
        }
        if upload.is_settled() {
            return true;
        }
        shared.wait(SETTLED_AFTER, true).await;
        if upload.is_gone().await {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use object_storage::{Key, StorageConfig, UploadId};

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

    #[test]
    fn no_more_is_kept_than_was_said() {
        Runtime::new().expect("a runtime").block_on(async {
            let (store, upload) = store().await;
            let (driver, key) = (&upload.driver, &upload.key);
            for number in 0..UPLOADS_KEPT_MAX + 5 {
                let id = UploadId::new(&number.to_string());
                let upload = Upload::new(Rc::clone(driver), key.clone(), id);
                upload.enter(Stage::Left);
                store.reaper.0.leave(upload);
            }
            assert_eq!(store.reaper.0.0.borrow().kept(), UPLOADS_KEPT_MAX);
        });
    }
}
