//! Copies within the store, under conditions on either side.

use crate::{
    Attributes, CopyOptions, ErrorKind, HeadOptions, ObjectStorageExt, Payload, PutMode, PutOptions,
    PutOutcome, Result,
};

use super::conditions::foreign_tag;
use super::context::{Context, Kept, assert_refused, assert_unsupported, bytes};

/// Copies from the object of one name to that of another.
async fn copy(ctx: &Context, from: &str, to: &str, options: CopyOptions) -> Result<PutOutcome> {
    ctx.store().copy(&ctx.key(from), &ctx.key(to), options).await
}

fn plain() -> CopyOptions {
    CopyOptions::default()
}

fn attributes(value: &str) -> Attributes {
    Attributes::new().with_metadata("by", value).expect("valid")
}

async fn by(ctx: &Context, name: &str) -> Result<Option<String>> {
    let head = ctx.store().head(&ctx.key(name), HeadOptions::default()).await?;
    Ok(head.attributes.metadata("by").map(str::to_owned))
}

pub(super) async fn a_copy_has_the_bytes_of_its_source(ctx: &Context) -> Kept {
    let whole = bytes(300_000, 1);
    ctx.put("from", whole.clone()).await?;
    let outcome = copy(ctx, "from", "to/beneath", plain()).await?;
    assert!(ctx.get("to/beneath").await? == whole, "the bytes differ");
    let head = ctx.store().head_meta(&ctx.key("to/beneath")).await?;
    assert_eq!((head.size, head.etag), (300_000, Some(outcome.etag)));
    Ok(())
}

pub(super) async fn a_copy_lives_apart_from_its_source(ctx: &Context) -> Kept {
    ctx.put("from", "old").await?;
    copy(ctx, "from", "to", plain()).await?;
    ctx.put("from", "new").await?;
    assert_eq!(ctx.get("to").await?, "old");
    ctx.store().delete(&ctx.key("from"), Default::default()).await?;
    assert_eq!(ctx.get("to").await?, "old");
    Ok(())
}

pub(super) async fn a_copy_of_nothing_says_not_found(ctx: &Context) -> Kept {
    ctx.put("to", "old").await?;
    assert_refused(copy(ctx, "none", "to", plain()).await, ErrorKind::NotFound);
    assert_eq!(ctx.get("to").await?, "old");
    Ok(())
}

pub(super) async fn a_copy_replaces_what_is_there(ctx: &Context) -> Kept {
    ctx.put("from", "new").await?;
    ctx.put("to", "much longer and older").await?;
    copy(ctx, "from", "to", plain()).await?;
    assert_eq!(ctx.get("to").await?, "new");
    Ok(())
}

pub(super) async fn a_copy_keeps_attributes_or_takes_new_ones(ctx: &Context) -> Kept {
    let options = PutOptions::default().with_attributes(attributes("source"));
    ctx.store().put(&ctx.key("from"), "x".into(), options).await?;
    copy(ctx, "from", "kept", plain()).await?;
    assert_eq!(by(ctx, "kept").await?.as_deref(), Some("source"));
    copy(ctx, "from", "new", plain().with_attributes(attributes("copy"))).await?;
    assert_eq!(by(ctx, "new").await?.as_deref(), Some("copy"));
    copy(ctx, "from", "none", plain().with_attributes(Attributes::new())).await?;
    assert_eq!(by(ctx, "none").await?, None);
    assert_eq!(by(ctx, "from").await?.as_deref(), Some("source"));
    Ok(())
}

pub(super) async fn a_copy_of_the_version_named_is_made(ctx: &Context) -> Kept {
    let etag = ctx.put("from", "x").await?.etag;
    copy(ctx, "from", "to", plain().with_source_if_match(etag)).await?;
    assert_eq!(ctx.get("to").await?, "x");
    Ok(())
}

pub(super) async fn a_copy_of_another_version_is_refused(ctx: &Context) -> Kept {
    let old = ctx.put("from", "old").await?.etag;
    ctx.put("from", "new").await?;
    for etag in [old, foreign_tag()] {
        let refused = copy(ctx, "from", "to", plain().with_source_if_match(etag)).await;
        assert_refused(refused, ErrorKind::PreconditionFailed);
    }
    assert!(!ctx.store().exists(&ctx.key("to")).await?);
    Ok(())
}

pub(super) async fn a_copy_that_creates_refuses_what_is_there(ctx: &Context) -> Kept {
    ctx.put("from", "new").await?;
    let create = || plain().with_mode(PutMode::Create);
    let created = copy(ctx, "from", "to", create()).await;
    if !ctx.capabilities().copy_conditions {
        assert!(!ctx.store().exists(&ctx.key("to")).await?, "a refused copy leaves nothing");
        return assert_unsupported(created);
    }
    created?;
    ctx.put("to", "old").await?;
    assert_refused(copy(ctx, "from", "to", create()).await, ErrorKind::AlreadyExists);
    assert_eq!(ctx.get("to").await?, "old");
    Ok(())
}

pub(super) async fn a_copy_that_matches_replaces_that_version_only(ctx: &Context) -> Kept {
    ctx.put("from", "new").await?;
    let old = ctx.put("to", "old").await?.etag;
    let matching = |etag| plain().with_mode(PutMode::Match(etag));
    let refused = copy(ctx, "from", "to", matching(foreign_tag())).await;
    if !ctx.capabilities().copy_conditions {
        assert_eq!(ctx.get("to").await?, "old");
        return assert_unsupported(refused);
    }
    assert_refused(refused, ErrorKind::PreconditionFailed);
    assert_eq!(ctx.get("to").await?, "old");
    copy(ctx, "from", "to", matching(old)).await?;
    assert_eq!(ctx.get("to").await?, "new");
    Ok(())
}

pub(super) async fn a_copy_that_matches_nothing_says_not_found(ctx: &Context) -> Kept {
    ctx.put("from", "new").await?;
    let refused = copy(ctx, "from", "none", plain().with_mode(PutMode::Match(foreign_tag()))).await;
    if !ctx.capabilities().copy_conditions {
        return assert_unsupported(refused);
    }
    ctx.assert_nothing_to_match(refused);
    assert!(!ctx.store().exists(&ctx.key("none")).await?);
    Ok(())
}

pub(super) async fn a_copy_onto_itself_can_change_attributes(ctx: &Context) -> Kept {
    let options = PutOptions::default().with_attributes(attributes("first"));
    ctx.store().put(&ctx.key("a"), "hello".into(), options).await?;
    let outcome = copy(ctx, "a", "a", plain().with_attributes(attributes("second"))).await?;
    assert_eq!(ctx.get("a").await?, "hello");
    assert_eq!(by(ctx, "a").await?.as_deref(), Some("second"));
    assert_eq!(ctx.store().head_meta(&ctx.key("a")).await?.etag, Some(outcome.etag));
    Ok(())
}

pub(super) async fn an_object_without_bytes_can_be_copied(ctx: &Context) -> Kept {
    ctx.put("from", Payload::new()).await?;
    copy(ctx, "from", "to", plain()).await?;
    assert!(ctx.get("to").await?.is_empty());
    Ok(())
}
