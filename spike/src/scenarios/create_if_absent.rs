//! Create-if-absent: the second is refused, and of many at once exactly one wins.

use bytes::Bytes;
use futures_util::future::join_all;
use object_storage::{ErrorKind, Key, ObjectStorage, ObjectStorageExt, PutMode, PutOptions, Resolution};

use super::AT_ONCE;
use crate::scenario::{
    Context, Failure, Outcome, Scenario, ensure, expect_kind, failure, passed, unsupported,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "create-if-absent",
    about: "a put with Create is refused where an object is, and of many at once exactly one wins",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Context) -> Outcome {
    let key = cx.key("object")?;
    if !cx.capabilities().put_create {
        cx.clear_requests();
        expect_kind(cx.store.put_if_absent(&key, "x").await, ErrorKind::Unsupported, "a put with Create")?;
        cx.ensure_no_request("a put with Create")?;
        cx.ensure_absent(&key).await?;
        return unsupported("If-None-Match on put is not promised (conditional_put)");
    }
    let first = cx.store.put_if_absent(&key, "first").await?;
    expect_kind(cx.store.put_if_absent(&key, "second").await, ErrorKind::AlreadyExists, "the second put")?;
    cx.ensure_holds(&key, b"first").await?;
    let etag = cx.store.head_meta(&key).await?.etag;
    ensure!(etag == Some(first.etag), "the refused put changed the tag");
    cx.store.delete(&key, Default::default()).await?;
    cx.store.put_if_absent(&key, "after the delete").await?;

    let contended = cx.key("contended")?;
    let attempts = (0..AT_ONCE).map(|writer| create_once(&*cx.store, &contended, format!("writer {writer}")));
    let mut winners = Vec::new();
    for (writer, won) in join_all(attempts).await.into_iter().enumerate() {
        if won? {
            winners.push(writer);
        }
    }
    let [winner] = winners[..] else {
        return Err(failure(format!("{AT_ONCE} writers at once had {} winners: {winners:?}", winners.len())));
    };
    cx.ensure_holds(&contended, &Bytes::from(format!("writer {winner}"))).await?;
    passed(format!("the second is refused; of {AT_ONCE} at once exactly one wins"))
}

/// Whether it was this write that made the object, which nobody overwrites or deletes. What its answer leaves open (a
/// server that thinks for too long about a contended name), the object tells.
pub(super) async fn create_once(store: &dyn ObjectStorage, key: &Key, text: String) -> Result<bool, Failure> {
    let options = PutOptions::from(PutMode::Create).with_write_once();
    let error = match store.put(key, text.into(), options).await {
        Ok(_) => return Ok(true),
        Err(error) => error,
    };
    match (error.kind(), error.operation_id()) {
        // A conflict says that nothing of this attempt landed, which is what a loser may hear.
        (ErrorKind::AlreadyExists | ErrorKind::Conflict, _) => Ok(false),
        (ErrorKind::Indeterminate, Some(id)) => match store.resolve(key, id).await? {
            Resolution::Applied(_) => Ok(true),
            Resolution::NotThere { current: Some(_) } => Ok(false),
            _ => Err(error.into()),
        },
        _ => Err(error.into()),
    }
}
