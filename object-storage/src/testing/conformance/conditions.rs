//! Conditional puts: a write takes effect under its condition, and otherwise not at all.

use crate::{Attributes, ETag, ErrorKind, HeadOptions, ObjectStorageExt, Payload, PutMode, PutOptions};

use super::context::{Context, Kept, assert_refused, assert_unsupported, refusal};

fn tag(text: &str) -> ETag {
    ETag::parse(text).expect("a tag that can be sent")
}

/// A tag that no object has.
pub(super) fn foreign_tag() -> ETag {
    tag("00000000000000000000000000000000")
}

/// Holds a store without conditional creation to refusing it. `true` when the promise is about nothing more.
async fn refuses_create(ctx: &Context) -> bool {
    if ctx.capabilities().put_create {
        return false;
    }
    let refused = ctx.store().put_if_absent(&ctx.key("refused"), "x").await;
    assert_refused(refused, ErrorKind::Unsupported);
    true
}

/// The same for a store without conditional replacement.
async fn refuses_match(ctx: &Context) -> bool {
    if ctx.capabilities().put_match {
        return false;
    }
    let refused = ctx.store().put_if_match(&ctx.key("refused"), "x", &foreign_tag()).await;
    assert_refused(refused, ErrorKind::Unsupported);
    true
}

pub(super) async fn create_stores_where_nothing_is(ctx: &Context) -> Kept {
    let created = ctx.store().put_if_absent(&ctx.key("a"), "new").await;
    if !ctx.capabilities().put_create {
        assert!(!ctx.store().exists(&ctx.key("a")).await?, "a refused write leaves nothing");
        return assert_unsupported(created);
    }
    let head = ctx.store().head_meta(&ctx.key("a")).await?;
    assert_eq!(Some(created?.etag), head.etag);
    assert_eq!(ctx.get("a").await?, "new");
    Ok(())
}

pub(super) async fn create_refuses_where_something_is(ctx: &Context) -> Kept {
    let first = ctx.put("a", "first").await?;
    let second = ctx.store().put_if_absent(&ctx.key("a"), "second").await;
    if !ctx.capabilities().put_create {
        return assert_unsupported(second);
    }
    assert_refused(second, ErrorKind::AlreadyExists);
    assert_eq!(ctx.get("a").await?, "first");
    assert_eq!(ctx.store().head_meta(&ctx.key("a")).await?.etag, Some(first.etag));
    Ok(())
}

pub(super) async fn create_works_again_after_a_delete(ctx: &Context) -> Kept {
    if refuses_create(ctx).await {
        return Ok(());
    }
    let key = ctx.key("a");
    ctx.store().put_if_absent(&key, "first").await?;
    ctx.store().delete(&key, Default::default()).await?;
    ctx.store().put_if_absent(&key, "second").await?;
    assert_eq!(ctx.get("a").await?, "second");
    Ok(())
}

pub(super) async fn create_refuses_an_object_without_bytes_too(ctx: &Context) -> Kept {
    if refuses_create(ctx).await {
        return Ok(());
    }
    let key = ctx.key("a");
    ctx.store().put_if_absent(&key, Payload::new()).await?;
    assert_refused(ctx.store().put_if_absent(&key, "second").await, ErrorKind::AlreadyExists);
    assert!(ctx.get("a").await?.is_empty());
    Ok(())
}

pub(super) async fn match_replaces_the_version_it_names(ctx: &Context) -> Kept {
    let first = ctx.put("a", "first").await?.etag;
    let second = ctx.store().put_if_match(&ctx.key("a"), "second", &first).await;
    if !ctx.capabilities().put_match {
        assert_eq!(ctx.get("a").await?, "first");
        return assert_unsupported(second);
    }
    let second = second?.etag;
    assert_ne!(first, second);
    // The outcome's tag is good for the next step, without a read in between.
    ctx.store().put_if_match(&ctx.key("a"), "third", &second).await?;
    assert_eq!(ctx.get("a").await?, "third");
    Ok(())
}

pub(super) async fn match_refuses_another_version(ctx: &Context) -> Kept {
    if refuses_match(ctx).await {
        return Ok(());
    }
    ctx.put("a", "first").await?;
    let refused = ctx.store().put_if_match(&ctx.key("a"), "second", &foreign_tag()).await;
    assert_refused(refused, ErrorKind::PreconditionFailed);
    assert_eq!(ctx.get("a").await?, "first");
    Ok(())
}

pub(super) async fn match_refuses_a_version_that_was_replaced(ctx: &Context) -> Kept {
    if refuses_match(ctx).await {
        return Ok(());
    }
    let first = ctx.put("a", "first").await?.etag;
    ctx.store().put_if_match(&ctx.key("a"), "second", &first).await?;
    let refused = ctx.store().put_if_match(&ctx.key("a"), "third", &first).await;
    assert_refused(refused, ErrorKind::PreconditionFailed);
    assert_eq!(ctx.get("a").await?, "second");
    Ok(())
}

pub(super) async fn match_finds_nothing_where_nothing_is(ctx: &Context) -> Kept {
    if refuses_match(ctx).await {
        return Ok(());
    }
    let refused = ctx.store().put_if_match(&ctx.key("a"), "x", &foreign_tag()).await;
    ctx.assert_nothing_to_match(refused);
    assert!(!ctx.store().exists(&ctx.key("a")).await?);
    Ok(())
}

pub(super) async fn match_finds_nothing_after_a_delete(ctx: &Context) -> Kept {
    if refuses_match(ctx).await {
        return Ok(());
    }
    let etag = ctx.put("a", "first").await?.etag;
    ctx.store().delete(&ctx.key("a"), Default::default()).await?;
    ctx.assert_nothing_to_match(ctx.store().put_if_match(&ctx.key("a"), "second", &etag).await);
    assert!(!ctx.store().exists(&ctx.key("a")).await?);
    Ok(())
}

pub(super) async fn a_tag_works_with_quotes_and_without(ctx: &Context) -> Kept {
    let key = ctx.key("a");
    let first = ctx.put("a", "first").await?.etag;
    assert!(!first.as_str().contains('"'), "quotes never get this far: {first:?}");
    assert_eq!(tag(&first.to_header()), first);
    assert_eq!(tag(first.as_str()), first);
    // A tag that went through a log or a database, quoted or not, still names the version.
    let quoted = HeadOptions::default().with_if_match(tag(&first.to_header()));
    ctx.store().head(&key, quoted).await?;
    if refuses_match(ctx).await {
        return Ok(());
    }
    let second = ctx.store().put_if_match(&key, "second", &tag(&first.to_header())).await?.etag;
    ctx.store().put_if_match(&key, "third", &tag(second.as_str())).await?;
    assert_eq!(ctx.get("a").await?, "third");
    Ok(())
}

pub(super) async fn a_star_is_a_tag_like_any_other(ctx: &Context) -> Kept {
    if refuses_match(ctx).await {
        return Ok(());
    }
    ctx.put("a", "first").await?;
    // In HTTP a bare star would match whatever is there. Nobody can ask for that with a tag; a store
    // that cannot be sure of its server refuses the call instead.
    let kind = refusal(ctx.store().put_if_match(&ctx.key("a"), "second", &tag("*")).await);
    let allowed = [ErrorKind::PreconditionFailed, ErrorKind::InvalidInput, ErrorKind::Unsupported];
    assert!(allowed.contains(&kind), "{kind}");
    assert_eq!(ctx.get("a").await?, "first");
    Ok(())
}

pub(super) async fn a_refused_write_changes_neither_bytes_nor_attributes(ctx: &Context) -> Kept {
    let attributes = |value| Attributes::new().with_metadata("by", value).expect("valid");
    let key = ctx.key("a");
    let first = PutOptions::default().with_attributes(attributes("first"));
    ctx.store().put(&key, "first".into(), first).await?;
    let before = ctx.store().head(&key, HeadOptions::default()).await?;
    for mode in [PutMode::Create, PutMode::Match(foreign_tag())] {
        let second = PutOptions::default().with_attributes(attributes("second")).with_mode(mode);
        refusal(ctx.store().put(&key, "second".into(), second).await);
    }
    assert_eq!(ctx.store().head(&key, HeadOptions::default()).await?, before);
    assert_eq!(ctx.get("a").await?, "first");
    Ok(())
}
