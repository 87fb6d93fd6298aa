//! [`Scenario`]: one thing that a store must get right, the [`Context`] it runs in, and how it may end.

use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use object_storage::{
    Capabilities, ErrorKind, Key, LocalBoxFuture, ObjectMeta, ObjectStorage, ObjectStorageExt, StorageFactory,
};
use spike::server::Server;

use crate::report::Progress;

/// One scenario: its name on the command line and in the table, and what it does.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// One line for `spike --list`.
    pub(crate) about: &'static str,
    pub(crate) run: for<'a> fn(&'a Context) -> LocalBoxFuture<'a, Outcome>,
}

/// How a scenario ends.
pub(crate) type Outcome = Result<Verdict, Failure>;

/// How a scenario ends when the store kept its promises.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// What was checked.
    Passed(String),
    /// The store promises no such thing, and refuses it: why.
    Unsupported(String),
}

/// The promise that a store did not keep, in a sentence or two.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl From<object_storage::Error> for Failure {
    /// With all its causes: `Debug` of the error is one line.
    fn from(error: object_storage::Error) -> Failure {
        Failure(format!("{error:?}"))
    }
}

impl From<object_storage::InvalidKey> for Failure {
    fn from(error: object_storage::InvalidKey) -> Failure {
        Failure(error.to_string())
    }
}

/// Fails the scenario unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err($crate::scenario::Failure(format!($($reason)+)));
        }
    };
}
pub(crate) use ensure;

/// Where a scenario runs.
pub(crate) struct Context {
    pub(crate) store: Rc<dyn ObjectStorage>,
    /// For scenarios that open further stores on other threads.
    pub(crate) factory: StorageFactory,
    /// What the scenario's keys begin with; no other scenario and no other run uses it. Ends with `/`.
    pub(crate) prefix: String,
    /// The longest key that this store can hold, in bytes: 1,024, less the prefix that it adds itself.
    pub(crate) key_bytes_max: usize,
    /// Whether the store keeps keys as paths, as its operator says: empty segments, backslashes and segments longer
    /// than a file name do not come back as they were.
    pub(crate) keys_are_paths: bool,
    /// Whether nobody else's objects can be in the bucket, so that keys outside of `prefix` may be used.
    pub(crate) whole_bucket: bool,
    /// The server behind the store, where it runs in this process.
    pub(crate) server: Option<InProcess>,
    pub(crate) progress: Progress,
}

/// The S3 server inside this process, for looking at what really reached it.
#[derive(Clone)]
pub(crate) struct InProcess {
    pub(crate) server: Rc<Server>,
    pub(crate) bucket: String,
}

impl Context {
    /// A key of this scenario's own.
    pub(crate) fn key(&self, name: &str) -> Result<Key, Failure> {
        Ok(Key::parse(&format!("{}{name}", self.prefix))?)
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    /// Forgets the requests that the server in this process has seen.
    pub(crate) fn clear_requests(&self) {
        if let Some(inside) = &self.server {
            inside.server.clear_requests();
        }
    }

    /// How many requests for an operation, by its S3 name, the server in this process has seen since
    /// [`clear_requests`](Self::clear_requests); `None` if the store is elsewhere.
    pub(crate) fn requests(&self, operation: &str) -> Option<u64> {
        self.server.as_ref().map(|inside| inside.server.count(operation))
    }

    /// Fails if the server in this process has seen any request at all; says whether it could be looked at.
    pub(crate) fn ensure_no_request(&self, what: &str) -> Result<bool, Failure> {
        let Some(inside) = &self.server else { return Ok(false) };
        if let Some(request) = inside.server.requests().first() {
            return Err(failure(format!("{what} became a request: {} {}", request.method, request.path)));
        }
        Ok(true)
    }

    /// Fails unless the object is there and holds just these bytes.
    pub(crate) async fn ensure_holds(&self, key: &Key, expected: &[u8]) -> Result<(), Failure> {
        let bytes = self.store.get_bytes(key).await?;
        ensure!(
            bytes == expected,
            "{key:?} holds other bytes than were stored: {}",
            difference(&bytes, expected)
        );
        Ok(())
    }

    /// Fails if the object is there.
    pub(crate) async fn ensure_absent(&self, key: &Key) -> Result<(), Failure> {
        expect_kind(
            self.store.get_bytes(key).await,
            ErrorKind::NotFound,
            "a get of an object that must not be there",
        )
    }

    /// Fails if uploads were left behind under this scenario's prefix.
    pub(crate) async fn ensure_no_uploads(&self) -> Result<(), Failure> {
        let uploads = self.store.list_uploads(&self.prefix).await?;
        ensure!(
            uploads.is_empty(),
            "{} uploads were left behind, the first to {:?}",
            uploads.len(),
            uploads[0].key
        );
        Ok(())
    }

    /// Everything listed under this scenario's prefix and `rest`, in byte order. Fails if the store promises
    /// that order and does not keep it.
    pub(crate) async fn listed(&self, rest: &str) -> Result<Vec<ObjectMeta>, Failure> {
        let mut objects = self.store.list_all(&format!("{}{rest}", self.prefix)).await?;
        if self.capabilities().ordered_list {
            let disorder = objects.windows(2).find(|pair| pair[0].key >= pair[1].key);
            if let Some(pair) = disorder {
                return Err(failure(format!(
                    "the list is out of order: {:?}, then {:?}",
                    pair[0].key, pair[1].key
                )));
            }
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }
}

pub(crate) fn failure(reason: impl Into<String>) -> Failure {
    Failure(reason.into())
}

pub(crate) fn passed(checked: impl Into<String>) -> Outcome {
    Ok(Verdict::Passed(checked.into()))
}

/// The end of a scenario whose condition the store does not promise and has just been seen to refuse.
pub(crate) fn unsupported(option: &str) -> Outcome {
    Ok(Verdict::Unsupported(format!("{option}: refused")))
}

/// Fails unless the operation was refused with this kind of error.
pub(crate) fn expect_kind<T>(
    result: object_storage::Result<T>,
    kind: ErrorKind,
    what: &str,
) -> Result<(), Failure> {
    expect_one_of(result, &[kind], what)
}

/// Fails unless the operation was refused with one of these kinds of error.
pub(crate) fn expect_one_of<T>(
    result: object_storage::Result<T>,
    kinds: &[ErrorKind],
    what: &str,
) -> Result<(), Failure> {
    let wanted = kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join("` or `");
    match result {
        Err(error) if kinds.contains(&error.kind()) => Ok(()),
        Err(error) => Err(failure(format!("{what} must end with `{wanted}`, but: {error:?}"))),
        Ok(_) => Err(failure(format!("{what} must end with `{wanted}`, but it succeeded"))),
    }
}

/// Bytes that look random and are the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes.into()
}

/// Where two pieces of bytes part, for a failure.
pub(crate) fn difference(got: &[u8], expected: &[u8]) -> String {
    match got.iter().zip(expected).position(|(got, expected)| got != expected) {
        Some(at) => format!("they differ from byte {at} on"),
        None => format!("{} bytes instead of {}", got.len(), expected.len()),
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
