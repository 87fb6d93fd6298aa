//! Create-if-absent: the second is refused, and of many at once exactly one wins.

use bytes::Bytes;
use futures_util::future::join_all;
use object_storage::{ErrorKind, ObjectStorageExt};

use super::AT_ONCE;
use crate::scenario::{Context, Outcome, Scenario, ensure, expect_kind, failure, passed, unsupported};

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
    let attempts = (0..AT_ONCE).map(|writer| {
        let contended = &contended;
        async move { cx.store.put_if_absent(contended, format!("writer {writer}")).await }
    });
    let mut winners = Vec::new();
    for (writer, result) in join_all(attempts).await.into_iter().enumerate() {
        match result {
            Ok(_) => winners.push(writer),
            // A conflict says that nothing of this attempt landed, which is what a loser may hear.
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let [winner] = winners[..] else {
        return Err(failure(format!("{AT_ONCE} writers at once had {} winners: {winners:?}", winners.len())));
    };
    cx.ensure_holds(&contended, &Bytes::from(format!("writer {winner}"))).await?;
    passed(format!("the second is refused; of {AT_ONCE} at once exactly one wins"))
}
