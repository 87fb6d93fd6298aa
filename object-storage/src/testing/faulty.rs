//! [`FaultyStorage`]: a store that goes wrong as stores do, and as often as a test wants.

mod body;
mod faults;
mod injected;
mod random;
mod trouble;
mod upload;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, LocalBoxFuture, select};

use crate::capabilities::Capabilities;
use crate::error::{Operation, Result};
use crate::key::Key;
use crate::object::{GetOutcome, HeadOutcome, PutOutcome};
use crate::operation_id::OperationId;
use crate::options::{
    CopyOptions, DeleteOptions, GetOptions, HeadOptions, ListOptions, ListUploadsOptions, MultipartOptions,
    PutMode, PutOptions,
};
use crate::payload::Payload;
use crate::storage::{
    ListPage, MultipartUpload, ObjectStorage, PageToken, Resolution, ShutdownReport, UploadId, UploadsPage,
};

pub use self::faults::{Fault, Faults};
pub use self::injected::Injected;

use self::faults::Call;
use self::trouble::{Trouble, Turn, is_never_sent};
use self::upload::FaultyUpload;

/// Another store, with faults: what a program is tested with that must keep its promises when the store cannot.
///
/// Which faults, and how often, say the [`Faults`]; with none, all passes through unchanged. The errors are those that
/// the contract provides, `Indeterminate` with the operation's id among them, so that a program that follows the
/// documentation of [`ErrorKind`](crate::ErrorKind) must get along; [`injected`](Self::injected) tells what happened.
/// A test that panics shows the seed and the latest faults: the last clone prints them to stderr when it is dropped.
///
/// Needs no runtime and waits for no clock: time is counted in calls, and slowness in polls.
///
/// Clones are the same store: the program under test gets one, the test keeps another until it has looked at everything.
///
/// **Crashes.** With [`Fault::CrashBefore`] or [`Fault::CrashAfter`] the process dies in the middle of a call: that call
/// and all others under way never come back. [`until_crash`](Self::until_crash) runs a program up to there, and drops it
/// where it stands; then the test starts it again, as whoever starts the real one would:
///
/// ```
/// use std::rc::Rc;
///
/// use object_storage::testing::{Fault, Faults, FaultyStorage};
/// use object_storage::{InMemoryStorage, Key, ObjectStorageExt, Operation, Result};
///
/// async fn program(store: &FaultyStorage) -> Result<()> {
///     for name in ["a", "b", "c"] {
///         store.put_bytes(&Key::parse(name)?, name).await?;
///     }
///     Ok(())
/// }
///
/// # compio::runtime::Runtime::new()?.block_on(async {
/// let faults = Faults::new(1).with_scripted(Operation::PutObject, 2, Fault::CrashAfter);
/// let store = FaultyStorage::new(Rc::new(InMemoryStorage::new()), faults);
/// assert!(store.until_crash(program(&store)).await.is_none());
/// assert!(store.until_crash(program(&store)).await.is_some_and(|ended| ended.is_ok()));
/// assert_eq!(store.calls(), 2 + 3);
/// # });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FaultyStorage {
    inner: Rc<dyn ObjectStorage>,
    trouble: Rc<Trouble>,
}

impl FaultyStorage {
    /// This store with these faults.
    #[must_use]
    pub fn new(inner: Rc<dyn ObjectStorage>, faults: Faults) -> FaultyStorage {
        FaultyStorage { inner, trouble: Rc::new(Trouble::new(faults)) }
    }

    /// What was injected so far, in the order in which it happened; of more than 10,000 faults the latest. Late writes
    /// stand where they were sent, and bodies where they were opened.
    #[must_use]
    pub fn injected(&self) -> Vec<Injected> {
        self.trouble.injected()
    }

    /// How many calls there were, of all operations together.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.trouble.calls()
    }

    /// From now on every call is refused as `Unavailable`, until [`recover`](Self::recover). What is under way or late
    /// arrives.
    pub fn begin_outage(&self) {
        self.trouble.set_unreachable(true);
    }

    /// The store can be reached again.
    pub fn recover(&self) {
        self.trouble.set_unreachable(false);
    }

    /// Runs a program to its end, or until the process dies of a fault: then `None`, the program was dropped where it
    /// stood, and another may begin. Dropping this future drops the program.
    /// One process is one program: what runs at once within it is joined into one future. What it has spawned is not
    /// dropped; calls that it had under way then never come back, and uploads tied to handles stay, as a process that is
    /// killed leaves them.
    ///
    /// In a program that is not run by this, a call that the process dies in waits for ever.
    pub async fn until_crash<T>(&self, program: impl Future<Output = T>) -> Option<T> {
        let ended = {
            let crashed = pin!(self.trouble.crashed());
            match select(pin!(program), crashed).await {
                Either::Left((output, _)) => Some(output),
                Either::Right(_) => None,
            }
        };
        // What a program came to in the very poll in which it died has reached nobody.
        let died = self.trouble.restart();
        ended.filter(|_| !died)
    }

    /// No fault happens from now on, and everything that is late arrives: for the end of a test, before it looks at what
    /// is there. Also ends an outage.
    ///
    /// Dropping this future may lose what is late.
    pub async fn settle(&self) {
        self.trouble.settle().await;
    }

    async fn begin(&self, operation: Operation, key: Option<&Key>) -> Turn<'_> {
        self.trouble.begin(Call { operation, conditional: false, whole: false }, key).await
    }

    async fn begin_write(&self, operation: Operation, key: &Key, conditional: bool) -> Turn<'_> {
        self.trouble.begin(Call { operation, conditional, whole: false }, Some(key)).await
    }
}

/// The seed, and the latest faults.
impl fmt::Display for FaultyStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.trouble, f)
    }
}

impl fmt::Debug for FaultyStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStorage({:?}, {self})", self.inner)
    }
}

impl ObjectStorage for FaultyStorage {
    fn put<'a>(
        &'a self,
        key: &'a Key,
        payload: Payload,
        mut options: PutOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move {
            let conditional = options.mode != PutMode::Overwrite;
            let turn = self.begin_write(Operation::PutObject, key, conditional).await;
            if turn.decision.leaves_doubt() {
                options.operation_id.get_or_insert_with(OperationId::random);
            }
            let late = turn.late(|| {
                let (inner, key) = (Rc::clone(&self.inner), key.clone());
                let (payload, options) = (payload.clone(), options.clone());
                Box::pin(async move { drop(inner.put(&key, payload, options).await) })
            });
            turn.write(options.operation_id, self.inner.put(key, payload, options), late).await
        })
    }

    fn get<'a>(&'a self, key: &'a Key, options: GetOptions) -> LocalBoxFuture<'a, Result<GetOutcome>> {
        Box::pin(async move {
            let whole = options.range.is_none();
            let call = Call { operation: Operation::GetObject, conditional: false, whole };
            let mut turn = self.trouble.begin(call, Some(key)).await;
            let mut got = turn.read(self.inner.get(key, options)).await?;
            got.body = body::spoil(&mut turn, got.body);
            Ok(got)
        })
    }

    fn head<'a>(&'a self, key: &'a Key, options: HeadOptions) -> LocalBoxFuture<'a, Result<HeadOutcome>> {
        Box::pin(async move {
            let turn = self.begin(Operation::HeadObject, Some(key)).await;
            turn.read(self.inner.head(key, options)).await
        })
    }

    fn list_page<'a>(
        &'a self,
        options: &'a ListOptions,
        page: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<ListPage>> {
        Box::pin(async move {
            let turn = self.begin(Operation::ListObjects, None).await;
            turn.read(self.inner.list_page(options, page)).await
        })
    }

    fn delete<'a>(&'a self, key: &'a Key, options: DeleteOptions) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let turn = self.begin_write(Operation::DeleteObject, key, options.if_match.is_some()).await;
            let late = turn.late(|| {
                let (inner, key, options) = (Rc::clone(&self.inner), key.clone(), options.clone());
                Box::pin(async move { drop(inner.delete(&key, options).await) })
            });
            turn.write(None, self.inner.delete(key, options), late).await
        })
    }

    fn delete_many<'a>(&'a self, keys: &'a [Key]) -> LocalBoxFuture<'a, Result<Vec<Result<()>>>> {
        Box::pin(async move {
            let turn = self.begin(Operation::DeleteObjects, None).await;
            self.delete_each(turn, keys).await
        })
    }

    fn copy<'a>(
        &'a self,
        from: &'a Key,
        to: &'a Key,
        options: CopyOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move {
            let conditional = options.mode != PutMode::Overwrite;
            let turn = self.begin_write(Operation::CopyObject, to, conditional).await;
            let late = turn.late(|| {
                let (inner, from, to) = (Rc::clone(&self.inner), from.clone(), to.clone());
                let options = options.clone();
                Box::pin(async move { drop(inner.copy(&from, &to, options).await) })
            });
            // A copy bears no id that its caller could choose, so there is none to name.
            turn.write(None, self.inner.copy(from, to, options), late).await
        })
    }

    fn create_multipart_upload<'a>(
        &'a self,
        key: &'a Key,
        mut options: MultipartOptions,
    ) -> LocalBoxFuture<'a, Result<Rc<dyn MultipartUpload>>> {
        Box::pin(async move {
            let turn = self.begin_write(Operation::CreateMultipartUpload, key, false).await;
            // Always: when its completion is lost, this is the id that names it.
            let id = Some(*options.operation_id.get_or_insert_with(OperationId::random));
            let late = turn.late(|| {
                let (inner, key, options) = (Rc::clone(&self.inner), key.clone(), options.clone());
                Box::pin(async move { drop(inner.create_multipart_upload(&key, options).await) })
            });
            // Until the answer is here, and if nobody waits for it.
            self.trouble.doubt_upload();
            let upload = turn.write(id, self.inner.create_multipart_upload(key, options), late).await;
            if !upload.as_ref().is_err_and(|_| turn.decision.leaves_doubt()) {
                self.trouble.trust_upload();
            }
            let upload = upload?;
            Ok(Rc::new(FaultyUpload::new(upload, Rc::clone(&self.trouble), id)) as Rc<dyn MultipartUpload>)
        })
    }

    fn resume_multipart_upload(&self, key: &Key, upload_id: &UploadId) -> Result<Rc<dyn MultipartUpload>> {
        // No request is made, so nothing happens to it.
        let upload = self.inner.resume_multipart_upload(key, upload_id)?;
        Ok(Rc::new(FaultyUpload::new(upload, Rc::clone(&self.trouble), None)))
    }

    fn list_multipart_uploads_page<'a>(
        &'a self,
        options: &'a ListUploadsOptions,
        page: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<UploadsPage>> {
        Box::pin(async move {
            let turn = self.begin(Operation::ListMultipartUploads, None).await;
            turn.read(self.inner.list_multipart_uploads_page(options, page)).await
        })
    }

    fn resolve<'a>(&'a self, key: &'a Key, id: OperationId) -> LocalBoxFuture<'a, Result<Resolution>> {
        Box::pin(async move {
            let turn = self.begin(Operation::HeadObject, Some(key)).await;
            turn.read(self.inner.resolve(key, id)).await
        })
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn shutdown(&self, deadline: Duration) -> LocalBoxFuture<'_, ShutdownReport> {
        Box::pin(async move {
            self.trouble.shut_down().await;
            let mut report = self.inner.shutdown(deadline).await;
            report.uploads_in_doubt += self.trouble.uploads_in_doubt();
            report
        })
    }
}

/// What becomes of one of many keys to delete.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Told,
    DoneUntold,
    NotDone,
}

impl FaultyStorage {
    /// As `delete_many`. What happens is told key by key, as S3 does it.
    async fn delete_each(&self, mut turn: Turn<'_>, keys: &[Key]) -> Result<Vec<Result<()>>> {
        if let Some(shut_out) = turn.shut_out() {
            return Err(shut_out);
        }
        if turn.is_refused() {
            let cause = turn.log();
            return Ok(keys.iter().map(|key| Err(turn.refusal_of(Some(key), cause.clone()))).collect());
        }
        if let Some(late) = turn.late(|| {
            let (inner, keys) = (Rc::clone(&self.inner), keys.to_vec());
            Box::pin(async move { drop(inner.delete_many(&keys).await) })
        }) {
            turn.send(late);
        }
        // A key that is named twice has one fate.
        let mut fates: HashMap<&Key, Fate> = HashMap::new();
        for key in keys {
            fates.entry(key).or_insert_with(|| match turn.decision.fault {
                Some(Fault::RequestLost | Fault::Late) => Fate::NotDone,
                Some(Fault::AnswerLost) => Fate::DoneUntold,
                Some(Fault::PartlyDone) => match turn.decision.random.below(3) {
                    0 => Fate::Told,
                    1 => Fate::DoneUntold,
                    _ => Fate::NotDone,
                },
                _ => Fate::Told,
            });
        }
        let asked: Vec<Key> = keys.iter().filter(|key| fates[key] != Fate::NotDone).cloned().collect();
        let mut told = if asked.is_empty() && !keys.is_empty() {
            Vec::new().into_iter()
        } else {
            self.inner.delete_many(&asked).await?.into_iter()
        };
        let cause = fates.values().any(|fate| *fate != Fate::Told).then(|| turn.log());
        let lost = |key| Err(turn.lost_of(Some(key), cause.clone().expect("some key is not told of")));
        let results = keys.iter().map(|key| match fates[key] {
            Fate::NotDone => lost(key),
            fate => match told.next().expect("the store tells of every key it is asked to delete") {
                Err(error) if fate == Fate::DoneUntold && is_never_sent(&error) => Err(error),
                _ if fate == Fate::DoneUntold => lost(key),
                result => result,
            },
        });
        let results = results.collect();
        Ok(turn.arrive(results).await)
    }
}
