//! A client that keeps to the rules: what the documentation of `ErrorKind` and `resolve` says, and nothing else.

use std::future::poll_fn;
use std::task::Poll;

use object_storage::{
    Error, ErrorKind, GetOptions, Key, ObjectStorage, OperationId, PutMode, PutOptions, PutOutcome,
    Resolution, Result,
};

/// A rule that a client can break, to show that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// `Indeterminate` is not a failure.
    DoubtIsNoFailure,
    /// `Indeterminate` is not a success.
    DoubtIsNoSuccess,
    /// `NotThere` proves nothing: re-drive.
    NotThereProvesNothing,
    /// The refusal of a re-drive says nothing of what was sent before.
    RefusedRedriveIsLookedInto,
    /// A write is repeated with its own id.
    SameIdAgain,
    /// A body that ends with an error is not used.
    BrokenBodyIsNotUsed,
    /// What was begun before a crash is re-driven after it.
    JournalIsRedriven,
}

impl Rule {
    pub(crate) const ALL: [Rule; 7] = [
        Rule::DoubtIsNoFailure,
        Rule::DoubtIsNoSuccess,
        Rule::NotThereProvesNothing,
        Rule::RefusedRedriveIsLookedInto,
        Rule::SameIdAgain,
        Rule::BrokenBodyIsNotUsed,
        Rule::JournalIsRedriven,
    ];
}

/// No rule makes anybody try for ever; no store here fails so often in a row.
const ATTEMPTS_MAX: usize = 1000;

/// A write as it stands in the client's journal, put there before the write begins.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) id: OperationId,
    pub(crate) key: Key,
    pub(crate) content: String,
    pub(crate) mode: PutMode,
    /// Nothing of this name is ever replaced or deleted.
    pub(crate) write_once: bool,
}

/// What became of a write. Both are final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Applied,
    NotApplied,
}

pub(crate) struct Client<'a> {
    pub(crate) store: &'a dyn ObjectStorage,
    pub(crate) broken: Option<Rule>,
}

/// What [`Client::put`] tells.
pub(crate) struct Put {
    pub(crate) ended: Ended,
    /// Whether it was in doubt in between.
    pub(crate) cleared_up: bool,
}

impl Client<'_> {
    fn breaks(&self, rule: Rule) -> bool {
        self.broken == Some(rule)
    }

    /// Reads until it is told.
    pub(crate) async fn read<T, F: Future<Output = Result<T>>>(
        &self,
        mut read: impl FnMut() -> F,
    ) -> Result<T> {
        for _ in 0..ATTEMPTS_MAX {
            match read().await {
                Err(error) if try_again(&error) || error.kind() == ErrorKind::Corrupt => yield_now().await,
                answer => return answer,
            }
        }
        panic!("not told within {ATTEMPTS_MAX} reads");
    }

    /// The object's bytes and tag; `None` when nothing is there.
    pub(crate) async fn get(&self, key: &Key) -> Option<(String, object_storage::ETag)> {
        let got = self.read(|| async {
            let got = self.store.get(key, GetOptions::default()).await?;
            let (etag, mut body) = (got.meta.etag.expect("memory gives tags"), got.body);
            let mut bytes = Vec::new();
            while let Some(chunk) = body.next_chunk().await {
                match chunk {
                    Ok(chunk) => bytes.extend_from_slice(&chunk),
                    Err(_) if self.breaks(Rule::BrokenBodyIsNotUsed) => break,
                    Err(error) => return Err(error),
                }
            }
            Ok((String::from_utf8_lossy(&bytes).into_owned(), etag))
        });
        match got.await {
            Ok(got) => Some(got),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
                None
            }
        }
    }

    /// Puts until it is known what came of it. `begun` says that it may have been sent before, by a process that died.
    pub(crate) async fn put(&self, write: &Write, begun: bool) -> Put {
        let (mut doubt, mut id) = (begun, write.id);
        for attempt in 0..ATTEMPTS_MAX {
            let mut options = PutOptions::from(write.mode.clone()).with_operation_id(id);
            options.write_once = write.write_once;
            let error = match self.store.put(&write.key, write.content.clone().into(), options).await {
                Ok(_) => return Put { ended: Ended::Applied, cleared_up: doubt },
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Indeterminate if self.breaks(Rule::DoubtIsNoFailure) => {
                    return Put { ended: Ended::NotApplied, cleared_up: false };
                }
                ErrorKind::Indeterminate if self.breaks(Rule::DoubtIsNoSuccess) => {
                    return Put { ended: Ended::Applied, cleared_up: false };
                }
                ErrorKind::Indeterminate => {
                    assert_eq!(error.operation_id(), Some(id), "the error names the write");
                    doubt = true;
                    if self.breaks(Rule::SameIdAgain) {
                        id = OperationId::from_bits(id.bits() ^ ((attempt as u128 + 1) << 64));
                        continue;
                    }
                    if self.is_there(write).await.is_some() {
                        return Put { ended: Ended::Applied, cleared_up: true };
                    }
                    if self.breaks(Rule::NotThereProvesNothing) {
                        return Put { ended: Ended::NotApplied, cleared_up: true };
                    }
                }
                _ if try_again(&error) => yield_now().await,
                ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed | ErrorKind::NotFound => {
                    let applied =
                        doubt && !self.breaks(Rule::RefusedRedriveIsLookedInto) && self.landed(write).await;
                    let ended = if applied { Ended::Applied } else { Ended::NotApplied };
                    return Put { ended, cleared_up: doubt };
                }
                kind => panic!("a store that keeps the contract does not say {kind} here: {error:?}"),
            }
        }
        panic!("not settled within {ATTEMPTS_MAX} puts");
    }

    /// Whether the object is that of the write.
    async fn is_there(&self, write: &Write) -> Option<PutOutcome> {
        match self.read(|| self.store.resolve(&write.key, write.id)).await.expect("reads come to an end") {
            Resolution::Applied(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether a write took effect whose condition can hold no more, so that no attempt of it can land any more.
    async fn landed(&self, write: &Write) -> bool {
        if self.is_there(write).await.is_some() {
            return true;
        }
        // Under names that are written once that was the last word. A list that others have added to since shows it.
        !write.write_once
            && match self.get(&write.key).await {
                Some((list, _)) => entries(&list).any(|entry| Some(entry) == entries(&write.content).last()),
                None => false,
            }
    }
}

/// The entries of a list that clients append to.
pub(crate) fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split_terminator(';')
}

/// Whether nothing was done, by this attempt.
pub(crate) fn try_again(error: &Error) -> bool {
    use ErrorKind::{Conflict, Throttled, Timeout, Unavailable};
    matches!(error.kind(), Conflict | Throttled | Timeout | Unavailable)
}

/// Lets the other clients run.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
