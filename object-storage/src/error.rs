//! [`Error`]: what went wrong, told so that the caller knows what to do and what is true of the write.

use std::error::Error as StdError;
use std::fmt;

use crate::key::{InvalidKey, Key};
use crate::operation_id::OperationId;

/// The result of every operation here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation did not give what was asked for.
///
/// **`Err` of any kind but [`ErrorKind::Indeterminate`] is a promise that the write did not take effect
/// and never will.** `Indeterminate` says that nobody can know yet.
///
/// Holds no secrets: no signature, no token, no signed URL, no body of a credential endpoint.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: Operation,
    key: Option<String>,
    message: String,
    answer: Option<Answer>,
    operation_id: Option<OperationId>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The object, bucket or upload is not there. For a write with [`PutMode::Match`](crate::PutMode):
    /// there is nothing to match.
    NotFound,
    /// [`PutMode::Create`](crate::PutMode) met an object that is already there. Read it, or choose another key.
    AlreadyExists,
    /// The object is not the version the condition asked for. Read it again and decide anew.
    PreconditionFailed,
    /// `if_none_match` named the version that is there: what the caller holds is current.
    NotModified,
    /// The range lies outside the object. Ask for less, or with [`RangePolicy::Clamped`](crate::RangePolicy).
    RangeNotSatisfiable,
    /// An argument can never work (a key, a size, an option). Mend the program.
    InvalidInput,
    /// This store cannot do that, or cannot do it truthfully. See [`Capabilities`](crate::Capabilities).
    Unsupported,
    /// No keys, or keys that the store does not know. Mend the credentials.
    Unauthenticated,
    /// The keys are known and not allowed to do this. Mend the policy.
    PermissionDenied,
    /// The store is asking for less. Try again later, with fewer requests.
    Throttled,
    /// Another write was going on; nothing of this one landed. Try again.
    Conflict,
    /// The store could not be reached, or failed before anything was done. Try again.
    Unavailable,
    /// A wait ended before anything was done. Try again, or allow more time.
    Timeout,
    /// The disk or the quota is full. Make room.
    NoSpace,
    /// The bytes are not the ones that were stored: a wrong checksum, a short file. Do not use them. Of a write: the
    /// store refused bytes because they were not the ones that were sent, each time they were sent. Nothing was stored.
    /// (What was stored as something else than was sent is `Indeterminate`, with a cause of this kind.)
    Corrupt,
    /// The store broke the rules of its protocol. Report it; do not trust it with writes.
    Protocol,
    /// The upload was given up, by [`abort`](crate::MultipartUpload::abort) or because a part failed.
    /// Begin a new one.
    Aborted,
    /// This store was [shut down](crate::ObjectStorage::shutdown); nothing was done. Trying again is of no use here:
    /// end, or open another store.
    ShutDown,
    /// The configuration cannot work. The message says what to change.
    Config,
    /// The local file system failed in another way.
    Io,
    /// **Nobody knows whether the write took effect**: it was sent, no trustworthy answer came, and what is under
    /// the key now does not tell either. It may also take effect later.
    ///
    /// [`Error::operation_id`] names the write. To find out, ask
    /// [`resolve`](crate::ObjectStorage::resolve); to get it done, put the same bytes under the same key and
    /// condition with the [same id](crate::PutOptions::operation_id) again, which is always safe.
    Indeterminate,
}

impl ErrorKind {
    /// The kind as one lower-case word, for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "not found",
            ErrorKind::AlreadyExists => "already exists",
            ErrorKind::PreconditionFailed => "precondition failed",
            ErrorKind::NotModified => "not modified",
            ErrorKind::RangeNotSatisfiable => "range not satisfiable",
            ErrorKind::InvalidInput => "invalid input",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Unauthenticated => "unauthenticated",
            ErrorKind::PermissionDenied => "permission denied",
            ErrorKind::Throttled => "throttled",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Timeout => "timeout",
            ErrorKind::NoSpace => "no space",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Protocol => "protocol violation",
            ErrorKind::Aborted => "aborted",
            ErrorKind::ShutDown => "shut down",
            ErrorKind::Config => "bad configuration",
            ErrorKind::Io => "input/output error",
            ErrorKind::Indeterminate => "indeterminate",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was being done. The names are those of the [S3 API].
///
/// [S3 API]: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations.html
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is the S3 action of that name")]
pub enum Operation {
    /// Building a store from its configuration.
    Open,
    PutObject,
    GetObject,
    HeadObject,
    ListObjects,
    DeleteObject,
    DeleteObjects,
    CopyObject,
    CreateMultipartUpload,
    UploadPart,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    ListMultipartUploads,
    CreateBucket,
    DeleteBucket,
    PutBucketLifecycleConfiguration,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a store that speaks HTTP answered, as far as it helps to find the request in its logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The S3 error code, such as `NoSuchKey`; empty when the answer held none.
    pub code: String,
    /// The store's id of the request (`x-amz-request-id`); empty when it gave none.
    pub request_id: String,
}

impl Answer {
    /// An answer with this status, error code and request id.
    #[must_use]
    pub fn new(status: u16, code: impl Into<String>, request_id: impl Into<String>) -> Answer {
        Answer { status, code: code.into(), request_id: request_id.into() }
    }
}

impl Error {
    /// An error of this kind. `message` is for humans: one line, lower case, no secrets.
    #[must_use]
    pub fn new(kind: ErrorKind, operation: Operation, message: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            operation,
            key: None,
            message: message.into(),
            answer: None,
            operation_id: None,
            source: None,
        }))
    }

    /// The same error, naming the key it is about.
    #[must_use]
    pub fn with_key(mut self, key: &Key) -> Error {
        self.0.key = Some(key.as_str().to_owned());
        self
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// The same error with what the store answered.
    #[must_use]
    pub fn with_answer(mut self, answer: Answer) -> Error {
        self.0.answer = Some(answer);
        self
    }

    /// The same error, naming the write whose outcome it leaves open.
    #[must_use]
    pub fn with_operation_id(mut self, id: OperationId) -> Error {
        self.0.operation_id = Some(id);
        self
    }

    /// What the caller can do about it, and what is true of the write.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The key it is about, where there is one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// The human line, without kind, key and cause.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the store answered, if it is a store that answers by HTTP and did.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        self.0.answer.as_ref()
    }

    /// The id of the write whose outcome is open: with it [`resolve`](crate::ObjectStorage::resolve) can find out,
    /// now or later. Every `Indeterminate` put and creation of an upload has one, and every completion by the handle
    /// that began the upload; deletes and aborts have none, because they leave nothing that could bear it.
    #[must_use]
    pub fn operation_id(&self) -> Option<OperationId> {
        self.0.operation_id
    }

    /// Whether nobody can know yet if the write took effect.
    #[must_use]
    pub fn is_indeterminate(&self) -> bool {
        self.0.kind == ErrorKind::Indeterminate
    }

    /// Whether the thing was simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.0.kind == ErrorKind::NotFound
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(f, "{}", inner.operation)?;
        if let Some(key) = &inner.key {
            write!(f, " {key:?}")?;
        }
        write!(f, ": {}", inner.kind)?;
        if !inner.message.is_empty() {
            write!(f, ": {}", inner.message)?;
        }
        if let Some(answer) = &inner.answer {
            write!(f, " (status {}", answer.status)?;
            if !answer.code.is_empty() {
                write!(f, ", code {}", answer.code)?;
            }
            if !answer.request_id.is_empty() {
                write!(f, ", request {}", answer.request_id)?;
            }
            write!(f, ")")?;
        }
        if let Some(id) = inner.operation_id {
            write!(f, " (operation {id})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = self.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<InvalidKey> for Error {
    /// A refused key is `InvalidInput`; nothing was sent.
    fn from(invalid: InvalidKey) -> Error {
        Error::new(ErrorKind::InvalidInput, Operation::Open, invalid.to_string()).with_source(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_operation_key_kind_and_answer_in_one_line() {
        let key = Key::parse("a/b").expect("valid");
        let error = Error::new(ErrorKind::NotFound, Operation::GetObject, "no such object")
            .with_key(&key)
            .with_answer(Answer::new(404, "NoSuchKey", "R1"));
        assert_eq!(
            error.to_string(),
            "GetObject \"a/b\": not found: no such object (status 404, code NoSuchKey, request R1)"
        );
        assert_eq!(std::mem::size_of::<Error>(), std::mem::size_of::<usize>());
    }

    #[test]
    fn an_error_can_cross_threads() {
        fn check<T: Send + Sync>() {}
        check::<Error>();
    }
}
