//! Delete with If-Match.

use object_storage::{ErrorKind, ObjectStorageExt};

use crate::scenario::{Context, Outcome, Scenario, expect_kind, expect_one_of, passed, unsupported};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "conditional-delete",
    about: "a delete with if_match removes only the version it names",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Context) -> Outcome {
    let key = cx.key("object")?;
    let first = cx.store.put_bytes(&key, "one").await?.etag;
    if !cx.capabilities().delete_match {
        cx.clear_requests();
        let refused = cx.store.delete_if_match(&key, &first).await;
        expect_kind(refused, ErrorKind::Unsupported, "a delete with if_match")?;
        cx.ensure_no_request("a delete with if_match")?;
        cx.ensure_holds(&key, b"one").await?;
        return unsupported("If-Match on delete is not promised (conditional_delete)");
    }
    let second = cx.store.put_bytes(&key, "two").await?.etag;
    let stale = cx.store.delete_if_match(&key, &first).await;
    expect_kind(stale, ErrorKind::PreconditionFailed, "a delete with the tag of an older version")?;
    cx.ensure_holds(&key, b"two").await?;
    cx.store.delete_if_match(&key, &second).await?;
    cx.ensure_absent(&key).await?;
    // Behind an endpoint of one's own a request may be sent twice on its way, and then nobody knows who deleted it.
    let kinds = [ErrorKind::NotFound, ErrorKind::PreconditionFailed, ErrorKind::Indeterminate];
    expect_one_of(
        cx.store.delete_if_match(&key, &second).await,
        &kinds,
        "a delete with if_match of nothing",
    )?;
    passed("an older version's tag deletes nothing; the right one deletes once")
}
