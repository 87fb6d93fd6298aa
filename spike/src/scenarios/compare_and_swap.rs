//! Compare-and-swap: only the version that was read can be replaced; a contended counter loses no increment.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::future::try_join_all;
use object_storage::{ETag, ErrorKind, GetOptions, Key, ObjectStorage, ObjectStorageExt};

use crate::scenario::{
    Context, Failure, Outcome, Scenario, ensure, expect_kind, expect_one_of, failure, passed, unsupported,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "compare-and-swap",
    about: "a put with Match replaces only the version it names; a contended counter loses no increment",
    run: |cx| Box::pin(run(cx)),
};

const WRITERS: usize = 6;
const INCREMENTS_EACH: u64 = 5;

async fn run(cx: &Context) -> Outcome {
    let key = cx.key("object")?;
    let first = cx.store.put_bytes(&key, "one").await?.etag;
    if !cx.capabilities().put_match {
        cx.clear_requests();
        let refused = cx.store.put_if_match(&key, "two", &first).await;
        expect_kind(refused, ErrorKind::Unsupported, "a put with Match")?;
        cx.ensure_no_request("a put with Match")?;
        cx.ensure_holds(&key, b"one").await?;
        return unsupported("If-Match on put is not promised (conditional_put)");
    }
    let second = cx.store.put_if_match(&key, "two", &first).await?.etag;
    ensure!(second != first, "other bytes have the same tag");
    let stale = cx.store.put_if_match(&key, "three", &first).await;
    expect_kind(stale, ErrorKind::PreconditionFailed, "a put with the tag of an older version")?;
    cx.ensure_holds(&key, b"two").await?;
    // AWS says that there is nothing to match, some dialects that the condition failed; both are refusals.
    let absent = cx.store.put_if_match(&cx.key("absent")?, "x", &first).await;
    let kinds = [ErrorKind::NotFound, ErrorKind::PreconditionFailed];
    expect_one_of(absent, &kinds, "a put with Match where nothing is")?;
    cx.ensure_absent(&cx.key("absent")?).await?;

    let counter = cx.key("counter")?;
    cx.store.put_bytes(&counter, "").await?;
    let writers = 0..WRITERS;
    let lost =
        try_join_all(writers.map(|writer| count(&*cx.store, &counter, writer, INCREMENTS_EACH))).await?;
    let expected = WRITERS as u64 * INCREMENTS_EACH;
    let total = read(&*cx.store, &counter).await?.0.total();
    ensure!(total == expected, "a counter incremented {expected} times says {total}");
    let lost: u64 = lost.iter().sum();
    passed(format!("stale, absent: refused; {WRITERS} writers count to {expected}, {lost} lost races"))
}

/// What the counter holds: how often each writer has incremented it. So a writer whose answer was lost finds out what
/// became of its increment, also after others have incremented since.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Counts(BTreeMap<usize, u64>);

impl Counts {
    pub(super) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    fn of(&self, writer: usize) -> u64 {
        self.0.get(&writer).copied().unwrap_or_default()
    }

    fn incremented_by(mut self, writer: usize) -> Counts {
        *self.0.entry(writer).or_default() += 1;
        self
    }

    /// A line for each writer.
    fn parse(text: &str) -> Option<Counts> {
        let line = |line: &str| {
            let (writer, count) = line.split_once(' ')?;
            Some((writer.parse().ok()?, count.parse().ok()?))
        };
        text.lines().map(line).collect::<Option<_>>().map(Counts)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(writer, count)| writeln!(f, "{writer} {count}"))
    }
}

/// Increments the counter so many times, and looks each time whether the answer was true. Returns how many attempts
/// were refused because another was faster.
pub(super) async fn count(
    store: &dyn ObjectStorage,
    counter: &Key,
    writer: usize,
    times: u64,
) -> Result<u64, Failure> {
    let mut refused = 0;
    // Whether an increment of the version that was read may still land.
    let mut open = false;
    let (mut counts, mut etag) = read(store, counter).await?;
    while counts.of(writer) < times {
        let before = counts.of(writer);
        let text = counts.incremented_by(writer).to_string();
        let answer = store.put_if_match(counter, text, &etag).await;
        let (after, now) = read(store, counter).await?;
        let (landed, moved) = (after.of(writer).checked_sub(before), now != etag);
        (counts, etag) = (after, now);
        match answer {
            Ok(_) => ensure!(landed == Some(1), "an increment was acknowledged, and applied: {landed:?}"),
            Err(error) if matches!(error.kind(), ErrorKind::PreconditionFailed | ErrorKind::Conflict) => {
                let truthful = landed == Some(0) || (open && landed == Some(1));
                ensure!(truthful, "an increment was refused, and applied: {landed:?}");
                refused += 1;
            }
            // What nobody could know then, the counter tells now, or when the next increment has met it.
            Err(error) if error.is_indeterminate() => open = true,
            Err(error) => return Err(error.into()),
        }
        open &= !moved;
    }
    Ok(refused)
}

/// What the counter holds, and the tag of that version.
pub(super) async fn read(store: &dyn ObjectStorage, counter: &Key) -> Result<(Counts, ETag), Failure> {
    let got = store.get(counter, GetOptions::default()).await?;
    let etag = got.meta.etag.clone().ok_or_else(|| failure("a get gave no tag"))?;
    let bytes = got.body.bytes().await?;
    let counts = std::str::from_utf8(&bytes).ok().and_then(Counts::parse);
    Ok((counts.ok_or_else(|| failure(format!("the counter holds {bytes:?}")))?, etag))
}
