//! Conditions on the destination of a copy.

use object_storage::{CopyOptions, ErrorKind, ObjectStorageExt, PutMode};

use crate::scenario::{Context, Outcome, Scenario, expect_kind, expect_one_of, passed, unsupported};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "conditional-copy",
    about: "a copy under Create and Match is refused where they do not hold",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Context) -> Outcome {
    let (from, to) = (cx.key("from")?, cx.key("to")?);
    let source = cx.store.put_bytes(&from, "source").await?.etag;
    let copy = async |mode: PutMode| cx.store.copy(&from, &to, CopyOptions::default().with_mode(mode)).await;
    if !cx.capabilities().copy_conditions {
        cx.clear_requests();
        for mode in [PutMode::Create, PutMode::Match(source)] {
            expect_kind(copy(mode).await, ErrorKind::Unsupported, "a conditional copy")?;
        }
        cx.ensure_no_request("a conditional copy")?;
        cx.ensure_absent(&to).await?;
        return unsupported("conditions on copy are not promised (conditional_copy)");
    }
    let kinds = [ErrorKind::NotFound, ErrorKind::PreconditionFailed];
    expect_one_of(copy(PutMode::Match(source)).await, &kinds, "a copy with Match onto nothing")?;
    cx.ensure_absent(&to).await?;
    copy(PutMode::Create).await?;
    cx.ensure_holds(&to, b"source").await?;
    let first = cx.store.put_bytes(&to, "first").await?.etag;
    expect_kind(copy(PutMode::Create).await, ErrorKind::AlreadyExists, "a copy with Create onto an object")?;
    let second = cx.store.put_bytes(&to, "second").await?.etag;
    let stale = copy(PutMode::Match(first)).await;
    expect_kind(stale, ErrorKind::PreconditionFailed, "a copy with the tag of an older version")?;
    cx.ensure_holds(&to, b"second").await?;
    copy(PutMode::Match(second)).await?;
    cx.ensure_holds(&to, b"source").await?;
    passed("Create and Match hold; a refused copy changes nothing")
}
