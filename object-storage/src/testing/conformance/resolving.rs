//! The id of a write: it tells whether the write was applied, makes a re-drive harmless, and no reader sees it.

use crate::{
    Attributes, CompleteOptions, CopyOptions, ETag, HeadOptions, MultipartOptions, ObjectStorageExt,
    OperationId, PartNumber, PutMode, PutOptions, Resolution, Result,
};

use super::context::{Context, Kept, assert_refused};

fn with(id: OperationId, mode: PutMode) -> PutOptions {
    PutOptions::default().with_mode(mode).with_operation_id(id)
}

/// The tag of what the write stored, if it is what is there.
async fn applied(ctx: &Context, name: &str, id: OperationId) -> Result<Option<ETag>> {
    Ok(match ctx.store().resolve(&ctx.key(name), id).await? {
        Resolution::Applied(outcome) => Some(outcome.etag),
        _ => None,
    })
}

pub(super) async fn a_put_is_found_by_its_id(ctx: &Context) -> Kept {
    let id = OperationId::random();
    let put = ctx.store().put(&ctx.key("a"), "x".into(), with(id, PutMode::Overwrite)).await?;
    assert_eq!(applied(ctx, "a", id).await?, Some(put.etag));
    Ok(())
}

pub(super) async fn another_id_is_told_what_is_there(ctx: &Context) -> Kept {
    let put = ctx.put("a", "some bytes").await?;
    match ctx.store().resolve(&ctx.key("a"), OperationId::random()).await? {
        Resolution::NotThere { current: Some(current) } => {
            assert_eq!((current.key, current.size, current.etag), (ctx.key("a"), 10, Some(put.etag)));
        }
        other => panic!("something else is there, and the store says: {other:?}"),
    }
    Ok(())
}

pub(super) async fn an_id_under_a_key_without_object_is_not_there(ctx: &Context) -> Kept {
    let resolution = ctx.store().resolve(&ctx.key("a"), OperationId::random()).await?;
    assert_eq!(resolution, Resolution::NotThere { current: None });
    Ok(())
}

pub(super) async fn an_id_is_gone_with_the_version_it_was_on(ctx: &Context) -> Kept {
    let (first, second) = (OperationId::random(), OperationId::random());
    let key = ctx.key("a");
    ctx.store().put(&key, "first".into(), with(first, PutMode::Overwrite)).await?;
    ctx.store().put(&key, "second".into(), with(second, PutMode::Overwrite)).await?;
    assert_eq!(applied(ctx, "a", first).await?, None);
    assert!(applied(ctx, "a", second).await?.is_some());
    ctx.store().delete(&key, Default::default()).await?;
    assert_eq!(applied(ctx, "a", second).await?, None);
    Ok(())
}

pub(super) async fn a_create_driven_again_is_what_it_was(ctx: &Context) -> Kept {
    if !ctx.capabilities().put_create {
        return Ok(());
    }
    let (id, key) = (OperationId::random(), ctx.key("a"));
    let first = ctx.store().put(&key, "x".into(), with(id, PutMode::Create)).await?;
    let again = ctx.store().put(&key, "x".into(), with(id, PutMode::Create)).await?;
    assert_eq!(again.etag, first.etag);
    // For everybody else it is there.
    let other = with(OperationId::random(), PutMode::Create);
    assert_refused(ctx.store().put(&key, "x".into(), other).await, crate::ErrorKind::AlreadyExists);
    assert_eq!(ctx.store().head_meta(&key).await?.etag, Some(first.etag));
    Ok(())
}

pub(super) async fn a_match_driven_again_is_what_it_was(ctx: &Context) -> Kept {
    if !ctx.capabilities().put_match {
        return Ok(());
    }
    let (id, key) = (OperationId::random(), ctx.key("a"));
    let before = ctx.put("a", "before").await?.etag;
    let mode = || PutMode::Match(before.clone());
    let first = ctx.store().put(&key, "after".into(), with(id, mode())).await?;
    let again = ctx.store().put(&key, "after".into(), with(id, mode())).await?;
    assert_eq!(again.etag, first.etag);
    let other = with(OperationId::random(), mode());
    assert_refused(ctx.store().put(&key, "after".into(), other).await, crate::ErrorKind::PreconditionFailed);
    assert_eq!(ctx.get("a").await?, "after");
    Ok(())
}

pub(super) async fn an_id_is_no_attribute(ctx: &Context) -> Kept {
    let attributes = Attributes::new().with_metadata("by", "us").expect("plain");
    let options = with(OperationId::random(), PutMode::Overwrite).with_attributes(attributes.clone());
    ctx.store().put(&ctx.key("a"), "x".into(), options).await?;
    let head = ctx.store().head(&ctx.key("a"), HeadOptions::default()).await?;
    let seen: Vec<_> = head.attributes.user_metadata().collect();
    assert_eq!(seen, attributes.user_metadata().collect::<Vec<_>>());
    let got = ctx.store().get(&ctx.key("a"), Default::default()).await?;
    assert_eq!(got.attributes.user_metadata().count(), 1);
    Ok(())
}

pub(super) async fn a_copy_shows_no_id_and_with_attributes_of_its_own_has_another(ctx: &Context) -> Kept {
    let id = OperationId::random();
    ctx.store().put(&ctx.key("a"), "x".into(), with(id, PutMode::Overwrite)).await?;
    ctx.store().copy(&ctx.key("a"), &ctx.key("plain"), CopyOptions::default()).await?;
    let attributes = Attributes::new().with_metadata("by", "copy").expect("plain");
    let own = CopyOptions::default().with_attributes(attributes);
    ctx.store().copy(&ctx.key("a"), &ctx.key("own"), own).await?;
    let plain = ctx.store().head(&ctx.key("plain"), HeadOptions::default()).await?;
    assert_eq!(plain.attributes.user_metadata().count(), 0);
    let own = ctx.store().head(&ctx.key("own"), HeadOptions::default()).await?;
    assert_eq!(own.attributes.user_metadata().collect::<Vec<_>>(), [("by", "copy")]);
    assert_eq!(applied(ctx, "own", id).await?, None);
    Ok(())
}

pub(super) async fn a_completed_upload_bears_the_id_it_was_begun_with(ctx: &Context) -> Kept {
    let id = OperationId::random();
    let options = MultipartOptions::default().with_operation_id(id);
    let upload = ctx.store().create_multipart_upload(&ctx.key("a"), options).await?;
    let part = upload.upload_part(PartNumber::FIRST, "x".into()).await?;
    assert_eq!(applied(ctx, "a", id).await?, None);
    let done = upload.complete(&[part], CompleteOptions::default()).await?;
    assert_eq!(applied(ctx, "a", id).await?, Some(done.etag));
    let head = ctx.store().head(&ctx.key("a"), HeadOptions::default()).await?;
    assert_eq!(head.attributes.user_metadata().count(), 0);
    Ok(())
}

pub(super) async fn an_upload_driven_again_is_what_it_was(ctx: &Context) -> Kept {
    if !ctx.capabilities().complete_create {
        return Ok(());
    }
    let (id, key) = (OperationId::random(), ctx.key("a"));
    let begun = || MultipartOptions::default().with_operation_id(id);
    let mut tags = Vec::new();
    for _ in 0..2 {
        let upload = ctx.store().create_multipart_upload(&key, begun()).await?;
        let part = upload.upload_part(PartNumber::FIRST, "x".into()).await?;
        tags.push(upload.complete(&[part], PutMode::Create.into()).await?.etag);
        // Where the store does not see that the two are one, the second stays.
        let _ = upload.abort().await;
    }
    assert_eq!(tags[0], tags[1]);
    // For everybody else it is there.
    let upload = ctx.store().create_multipart_upload(&key, MultipartOptions::default()).await?;
    let part = upload.upload_part(PartNumber::FIRST, "x".into()).await?;
    let other = upload.complete(&[part], PutMode::Create.into()).await;
    assert_refused(other, crate::ErrorKind::AlreadyExists);
    upload.abort().await?;
    assert_eq!(ctx.store().head_meta(&key).await?.etag, Some(tags.remove(0)));
    Ok(())
}
