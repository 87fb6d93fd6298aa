//! Compare-and-swap: only the version that was read can be replaced; a contended counter loses no increment.

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

const WRITERS: u64 = 6;
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
    cx.store.put_bytes(&counter, "0").await?;
    let lost = try_join_all((0..WRITERS).map(|_| count(&*cx.store, &counter, INCREMENTS_EACH))).await?;
    let expected = WRITERS * INCREMENTS_EACH;
    let total = read(&*cx.store, &counter).await?.0;
    ensure!(total == expected, "a counter incremented {expected} times says {total}");
    let lost: u64 = lost.iter().sum();
    passed(format!("stale, absent: refused; {WRITERS} writers count to {expected}, {lost} lost races"))
}

/// Increments the counter so many times. Returns how many attempts were refused because another was faster.
pub(super) async fn count(store: &dyn ObjectStorage, counter: &Key, times: u64) -> Result<u64, Failure> {
    let (mut done, mut refused) = (0, 0);
    while done < times {
        let (value, etag) = read(store, counter).await?;
        match store.put_if_match(counter, (value + 1).to_string(), &etag).await {
            Ok(_) => done += 1,
            Err(error) if matches!(error.kind(), ErrorKind::PreconditionFailed | ErrorKind::Conflict) => {
                refused += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(refused)
}

/// The value of the counter and the tag of the version that held it.
pub(super) async fn read(store: &dyn ObjectStorage, counter: &Key) -> Result<(u64, ETag), Failure> {
    let got = store.get(counter, GetOptions::default()).await?;
    let etag = got.meta.etag.clone().ok_or_else(|| failure("a get gave no tag"))?;
    let bytes = got.body.bytes().await?;
    let value = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
    Ok((value.ok_or_else(|| failure(format!("the counter holds {bytes:?}")))?, etag))
}
