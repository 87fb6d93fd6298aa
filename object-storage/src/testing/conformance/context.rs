//! What a promise is given: a store, a place of its own in it, and what is known of the server behind it.

use std::any::Any;
use std::cell::Cell;
use std::fmt::Debug;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use crate::limits::KEY_BYTES_MAX;
use crate::{
    Capabilities, Error, ErrorKind, Key, ListOptions, ObjectMeta, ObjectStorage, ObjectStorageExt, Payload,
    PutOutcome, Result,
};
use bytes::Bytes;
use futures_util::future::{Either, LocalBoxFuture, select};

use super::PROMISES;
use super::sleep::sleep;

/// How a promise ends: well, with an error that the store should not have given, or with a panic that says
/// what was expected.
pub(super) type Kept = Result<()>;

/// One promise of the contract.
pub struct Promise {
    /// What it is about.
    pub area: &'static str,
    /// The promise, as a sentence.
    pub name: &'static str,
    /// Holds the store of the context to it.
    pub keep: for<'a> fn(&'a Context) -> LocalBoxFuture<'a, Result<()>>,
}

impl Debug for Promise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}::{}", self.area, self.name)
    }
}

/// A store under test.
#[derive(Debug)]
pub struct Subject {
    storage: Rc<dyn ObjectStorage>,
    second: Option<Rc<dyn ObjectStorage>>,
    dialect: Dialect,
    key_bytes_max: usize,
    /// Dropped after the test, such as the directory that the store lives in.
    kept: Vec<Box<dyn Any>>,
}

impl Subject {
    /// A store that keeps the contract to the letter.
    #[must_use]
    pub fn new(storage: Rc<dyn ObjectStorage>) -> Subject {
        let (dialect, key_bytes_max) = (Dialect::LETTER, KEY_BYTES_MAX);
        Subject { storage, second: None, dialect, key_bytes_max, kept: Vec::new() }
    }

    /// The same store, with another one of the same objects to look with once the first was shut down. Without it,
    /// promises about what a shutdown leaves believe its report.
    #[must_use]
    pub fn with_second(mut self, second: Rc<dyn ObjectStorage>) -> Subject {
        self.second = Some(second);
        self
    }

    /// The same store, with what is known of the server behind it.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Subject {
        self.dialect = dialect;
        self
    }

    /// The same store, which puts that many bytes before every key, so that keys must be shorter.
    #[must_use]
    pub fn under_prefix_of(mut self, bytes: usize) -> Subject {
        self.key_bytes_max = KEY_BYTES_MAX - bytes;
        self
    }

    /// The same store, holding on to what it needs until the test is over.
    #[must_use]
    pub fn keeping(mut self, what: impl Any) -> Subject {
        self.kept.push(Box::new(what));
        self
    }
}

/// A way in which a server is known to differ from the contract, and in which the store in front of it cannot help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quirk {
    /// A condition on an absent object is answered with `PreconditionFailed` instead of `NotFound`.
    MatchOnAbsentIsPreconditionFailed,
    /// It is reached by an endpoint of its own, and what lies before that may send a request twice: of a conditional delete
    /// that finds nothing, nobody knows whether it was the one that deleted.
    GoneIsIndeterminate,
    /// Of several conditional completions that race more than one may win.
    CompleteRaceHasSeveralWinners,
    /// Sixteen writers of one key take seconds: races are run with four, and an answer may take longer than an
    /// attempt may, which leaves its outcome open.
    ContentionIsSlow,
    /// A page token that the server never gave is taken for some place in the listing.
    TakesAnyPageToken,
    /// Completing an upload again after it was completed succeeds again.
    CompleteAgainSucceeds,
    /// A part that was replaced stays: it is listed beside the new one, and can be completed with.
    KeepsReplacedParts,
    /// Uploads are listed in no order, and pages leave some out.
    UploadPagesLoseEntries,
    /// A backslash in a key is taken for a slash.
    BackslashIsSlash,
    /// A key is a path: a slash at its end makes it a folder without bytes, one at its beginning is lost, and two
    /// are one.
    EmptySegmentsAreLost,
    /// A segment of a key of more than 255 bytes is refused.
    LongSegmentsAreRefused,
    /// An object replaced or deleted while it is read cuts its readers off: they get an error, never a mixture.
    OverwriteCutsReaders,
}

/// What is known of a server: its name, and its quirks, each with the reason to put up with it.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// Which server.
    pub name: &'static str,
    /// How it differs, and why that is accepted.
    pub quirks: &'static [(Quirk, &'static str)],
}

impl Dialect {
    /// The contract to the letter.
    pub const LETTER: Dialect = Dialect { name: "to the letter", quirks: &[] };

    /// Whether the server has this quirk.
    #[must_use]
    pub fn has(&self, quirk: Quirk) -> bool {
        self.quirks.iter().any(|(known, _)| *known == quirk)
    }
}

/// What one promise is held with: the store, and a prefix that nobody else uses.
#[derive(Debug)]
pub struct Context {
    subject: Subject,
    prefix: String,
}

/// A promise that takes longer hangs. The slowest, a thousand objects on a busy server, takes a few seconds.
const PROMISE_TIMEOUT: Duration = Duration::from_secs(120);

/// Holds a store to one promise. This is what the tests of [`conformance_tests!`](crate::testing::conformance_tests!) call.
///
/// `block_on` runs the future that it is given to its end, as the store's runtime does it.
///
/// # Panics
///
/// When there is no such promise, when it is broken, or when it takes longer than two minutes.
pub fn run<S, F>(
    area: &str,
    name: &str,
    block_on: impl FnOnce(LocalBoxFuture<'static, ()>),
    open: impl FnOnce() -> F + 'static,
) where
    S: Into<Option<Subject>>,
    F: Future<Output = S> + 'static,
{
    let promise = PROMISES
        .iter()
        .find(|promise| promise.area == area && promise.name == name)
        .expect("tests and table are made from one list");
    let over = Rc::new(Cell::new(false));
    let set_over = Rc::clone(&over);
    block_on(Box::pin(async move {
        if let Some(subject) = open().await.into() {
            hold(promise, &Context::new(subject)).await;
        }
        set_over.set(true);
    }));
    assert!(over.get(), "`block_on` came back before {promise:?} was over");
}

async fn hold(promise: &Promise, ctx: &Context) {
    let dialect = ctx.dialect().name;
    match select((promise.keep)(ctx), pin!(sleep(PROMISE_TIMEOUT))).await {
        Either::Left((Ok(()), _)) => {}
        Either::Left((Err(error), _)) => panic!("{promise:?} ({dialect}): the store answered: {error:?}"),
        Either::Right(_) => panic!("{promise:?} ({dialect}): not over after {PROMISE_TIMEOUT:?}"),
    }
}

impl Context {
    /// A place of its own in this store.
    #[must_use]
    pub fn new(subject: Subject) -> Context {
        Context { subject, prefix: format!("c-{:016x}/", fastrand::u64(..)) }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Rc<dyn ObjectStorage> {
        &self.subject.storage
    }

    /// Another store of the same objects, where there is one.
    pub(super) fn second(&self) -> Option<&Rc<dyn ObjectStorage>> {
        self.subject.second.as_ref()
    }

    /// What the store says it honours.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.subject.storage.capabilities()
    }

    /// What is known of the server.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.subject.dialect
    }

    /// The longest key that fits the store, in bytes.
    pub(super) fn key_bytes_max(&self) -> usize {
        self.subject.key_bytes_max
    }

    /// The beginning of every key of this promise; ends with `/`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key of this name under the prefix.
    pub(super) fn key(&self, name: &str) -> Key {
        Key::parse(&format!("{}{name}", self.prefix)).expect("the name is fit for every store")
    }

    /// A listing of what lies under the prefix and this string.
    pub(super) fn listing(&self, prefix: &str) -> ListOptions {
        ListOptions::prefix(format!("{}{prefix}", self.prefix))
    }

    /// What a key is called without the prefix.
    pub(super) fn name<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix(&self.prefix).expect("the listing asked for keys of this prefix only")
    }

    /// Stores an object under this name.
    pub(super) async fn put(&self, name: &str, payload: impl Into<Payload>) -> Result<PutOutcome> {
        self.store().put_bytes(&self.key(name), payload).await
    }

    /// The bytes of the object of this name.
    pub(super) async fn get(&self, name: &str) -> Result<Bytes> {
        self.store().get_bytes(&self.key(name)).await
    }

    /// The whole listing under the prefix, page by page: names of objects, and common prefixes.
    pub(super) async fn list(&self, options: ListOptions) -> Result<(Vec<String>, Vec<String>)> {
        let (mut names, mut prefixes) = (Vec::new(), Vec::new());
        let mut lister = self.store().list(options);
        while let Some(page) = lister.next_page().await? {
            names.extend(page.objects.iter().map(|meta| self.name(meta.key.as_str()).to_owned()));
            prefixes.extend(page.common_prefixes.iter().map(|prefix| self.name(prefix).to_owned()));
        }
        // A store that lists in another order still lists the same keys.
        if !self.capabilities().ordered_list {
            names.sort();
            prefixes.sort();
        }
        Ok((names, prefixes))
    }

    /// The names of all objects under the prefix.
    pub(super) async fn names(&self) -> Result<Vec<String>> {
        Ok(self.list(self.listing("")).await?.0)
    }

    /// What a listing says of the object of this name.
    pub(super) async fn listed(&self, name: &str) -> Result<Option<ObjectMeta>> {
        let key = self.key(name);
        Ok(self.store().list_all(key.as_str()).await?.into_iter().find(|meta| meta.key == key))
    }

    /// What a write that must match an absent object is answered.
    pub(super) fn assert_nothing_to_match<T: Debug>(&self, result: Result<T>) {
        let kind = refusal(result);
        let tolerated = self.dialect().has(Quirk::MatchOnAbsentIsPreconditionFailed);
        assert!(
            kind == ErrorKind::NotFound || (tolerated && kind == ErrorKind::PreconditionFailed),
            "there is nothing to match, and the store says: {kind}"
        );
    }

    /// How many writers fight over one key in a race.
    pub(super) fn racers(&self) -> usize {
        if self.dialect().has(Quirk::ContentionIsSlow) { 4 } else { 16 }
    }
}

/// The kind of error that this ended with.
#[track_caller]
pub(super) fn refusal<T: Debug>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(done) => panic!("this must be refused, and was done: {done:?}"),
        Err(error) => error.kind(),
    }
}

/// Looks at an error that must be of this kind.
#[track_caller]
pub(super) fn assert_refused<T: Debug>(result: Result<T>, expected: ErrorKind) {
    match result {
        Ok(done) => panic!("{expected} was expected, and it was done: {done:?}"),
        Err(error) => assert_eq!(error.kind(), expected, "{error:?}"),
    }
}

/// Looks at what a store does that says it cannot: it must refuse.
#[track_caller]
pub(super) fn assert_unsupported<T: Debug>(result: Result<T>) -> Kept {
    assert_refused(result, ErrorKind::Unsupported);
    Ok(())
}

/// That many bytes which differ from place to place, and from seed to seed.
pub(super) fn bytes(len: usize, seed: u8) -> Bytes {
    // 251 is prime: no power of two, and so no part or chunk size, lines up with the pattern.
    let pattern: Vec<u8> = (0..=250u8).map(|b| b.wrapping_mul(31) ^ seed).collect();
    pattern.iter().copied().cycle().take(len).collect::<Vec<u8>>().into()
}

/// One MiB, again and again, until there are that many bytes; takes the memory of one MiB.
pub(super) fn huge(len: u64) -> Payload {
    const CHUNK: u64 = 1024 * 1024;
    let chunk = bytes(1024 * 1024, 0);
    let mut payload: Payload = (0..len / CHUNK).map(|_| chunk.clone()).collect();
    payload.push(chunk.slice(..usize::try_from(len % CHUNK).expect("less than a chunk")));
    payload
}

/// Whether an error says that a write lost a race before anything was done: try again.
pub(super) fn try_again(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Throttled)
}

/// Does it again for as long as the store says to. Bounded: a store that goes on saying so has failed.
pub(super) async fn until_settled<T, F: Future<Output = Result<T>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T> {
    const ATTEMPTS_MAX: u64 = 100;
    for number in 1..ATTEMPTS_MAX {
        match attempt().await {
            Err(error) if try_again(&error) => sleep(Duration::from_millis(number)).await,
            settled => return settled,
        }
    }
    attempt().await
}
