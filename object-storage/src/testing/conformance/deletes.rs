//! Deleting: what was named is gone, nothing else is, and doing it again is harmless.

use crate::{ErrorKind, ObjectStorageExt};

use super::conditions::foreign_tag;
use super::context::{Context, Kept, Quirk, assert_refused, assert_unsupported};

pub(super) async fn a_deleted_object_is_gone(ctx: &Context) -> Kept {
    ctx.put("a", "x").await?;
    ctx.store().delete(&ctx.key("a"), Default::default()).await?;
    assert_refused(ctx.get("a").await, ErrorKind::NotFound);
    assert!(!ctx.store().exists(&ctx.key("a")).await?);
    assert!(ctx.names().await?.is_empty());
    ctx.put("a", "again").await?;
    assert_eq!(ctx.get("a").await?, "again");
    Ok(())
}

pub(super) async fn deleting_nothing_succeeds(ctx: &Context) -> Kept {
    ctx.store().delete(&ctx.key("none"), Default::default()).await?;
    ctx.put("a", "x").await?;
    for _ in 0..2 {
        ctx.store().delete(&ctx.key("a"), Default::default()).await?;
    }
    // Neither does a path that leads through an object, or past the end of one.
    ctx.put("file", "x").await?;
    ctx.store().delete(&ctx.key("file/beneath/it"), Default::default()).await?;
    assert_eq!(ctx.names().await?, ["file"]);
    Ok(())
}

pub(super) async fn a_delete_matching_the_version_deletes_it(ctx: &Context) -> Kept {
    let etag = ctx.put("a", "x").await?.etag;
    let deleted = ctx.store().delete_if_match(&ctx.key("a"), &etag).await;
    if !ctx.capabilities().delete_match {
        assert!(ctx.store().exists(&ctx.key("a")).await?, "a refused delete leaves the object");
        return assert_unsupported(deleted);
    }
    deleted?;
    assert!(!ctx.store().exists(&ctx.key("a")).await?);
    Ok(())
}

pub(super) async fn a_delete_matching_another_version_is_refused(ctx: &Context) -> Kept {
    let old = ctx.put("a", "old").await?.etag;
    ctx.put("a", "new").await?;
    for etag in [old, foreign_tag()] {
        let refused = ctx.store().delete_if_match(&ctx.key("a"), &etag).await;
        if !ctx.capabilities().delete_match {
            return assert_unsupported(refused);
        }
        assert_refused(refused, ErrorKind::PreconditionFailed);
    }
    assert_eq!(ctx.get("a").await?, "new");
    Ok(())
}

pub(super) async fn a_delete_matching_nothing_says_not_found(ctx: &Context) -> Kept {
    let refused = ctx.store().delete_if_match(&ctx.key("none"), &foreign_tag()).await;
    if !ctx.capabilities().delete_match {
        return assert_unsupported(refused);
    }
    if ctx.dialect().has(Quirk::GoneIsIndeterminate) {
        assert_refused(refused, ErrorKind::Indeterminate);
    } else {
        ctx.assert_nothing_to_match(refused);
    }
    Ok(())
}

pub(super) async fn a_delete_takes_no_neighbour_along(ctx: &Context) -> Kept {
    for name in ["a/b", "a/b/c", "a/bc", "a/c"] {
        ctx.put(name, "x").await?;
    }
    ctx.store().delete(&ctx.key("a/b"), Default::default()).await?;
    assert_eq!(ctx.names().await?, ["a/b/c", "a/bc", "a/c"]);
    // Nothing has the name `a`, though much lies beneath it.
    ctx.store().delete(&ctx.key("a"), Default::default()).await?;
    assert_eq!(ctx.names().await?, ["a/b/c", "a/bc", "a/c"]);
    for result in ctx.store().delete_many(&[ctx.key("a"), ctx.key("a/b")]).await? {
        result?;
    }
    assert_eq!(ctx.names().await?, ["a/b/c", "a/bc", "a/c"]);
    Ok(())
}

pub(super) async fn many_deletes_tell_of_each_key_in_order(ctx: &Context) -> Kept {
    for name in ["a", "b", "c", "left alone"] {
        ctx.put(name, "x").await?;
    }
    let keys = ["c", "none", "a", "b"].map(|name| ctx.key(name));
    let results = ctx.store().delete_many(&keys).await?;
    assert_eq!(results.len(), keys.len());
    for result in results {
        result?;
    }
    assert_eq!(ctx.names().await?, ["left alone"]);
    Ok(())
}

pub(super) async fn many_deletes_of_no_key_do_nothing(ctx: &Context) -> Kept {
    ctx.put("a", "x").await?;
    assert!(ctx.store().delete_many(&[]).await?.is_empty());
    assert_eq!(ctx.names().await?, ["a"]);
    Ok(())
}

pub(super) async fn many_deletes_may_name_a_key_twice(ctx: &Context) -> Kept {
    ctx.put("a", "x").await?;
    let results = ctx.store().delete_many(&[ctx.key("a"), ctx.key("none"), ctx.key("a")]).await?;
    assert_eq!(results.len(), 3, "one result for each key named");
    for result in results {
        result?;
    }
    assert!(ctx.names().await?.is_empty());
    Ok(())
}
