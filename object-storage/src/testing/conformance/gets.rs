//! Reading: the version that was asked for, and one version only.

use crate::{ErrorKind, GetOptions, HeadOptions, ObjectStorageExt, Operation};
use bytes::BufMut;

use super::conditions::foreign_tag;
use super::context::{Context, Kept, assert_refused, bytes};
use super::races::cut_off;

/// More than a store or a socket holds back by itself, so that reading goes on after the object has changed.
const LARGE: usize = 16 * 1024 * 1024;

pub(super) async fn a_get_of_nothing_says_not_found(ctx: &Context) -> Kept {
    assert_refused(ctx.get("none").await, ErrorKind::NotFound);
    let ranged = GetOptions::default().with_range(0..1);
    assert_refused(ctx.store().get(&ctx.key("none"), ranged).await, ErrorKind::NotFound);
    Ok(())
}

pub(super) async fn a_head_of_nothing_says_not_found(ctx: &Context) -> Kept {
    let head = ctx.store().head(&ctx.key("none"), HeadOptions::default()).await;
    assert_refused(head, ErrorKind::NotFound);
    Ok(())
}

pub(super) async fn an_error_names_the_operation_and_the_key(ctx: &Context) -> Kept {
    let key = ctx.key("none");
    let get = ctx.get("none").await.expect_err("nothing is there");
    assert_eq!((get.operation(), get.key()), (Operation::GetObject, Some(key.as_str())));
    let head = ctx.store().head_meta(&key).await.expect_err("nothing is there");
    assert_eq!((head.operation(), head.key()), (Operation::HeadObject, Some(key.as_str())));
    let copy =
        ctx.store().copy(&key, &ctx.key("to"), Default::default()).await.expect_err("nothing is there");
    assert_eq!(copy.operation(), Operation::CopyObject);
    Ok(())
}

pub(super) async fn a_get_matching_the_version_gives_it(ctx: &Context) -> Kept {
    let etag = ctx.put("a", "hello").await?.etag;
    let got = ctx.store().get(&ctx.key("a"), GetOptions::default().with_if_match(etag.clone())).await?;
    assert_eq!(got.meta.etag, Some(etag));
    assert_eq!(got.body.bytes().await?, "hello");
    Ok(())
}

pub(super) async fn a_get_matching_another_version_is_refused(ctx: &Context) -> Kept {
    let old = ctx.put("a", "old").await?.etag;
    ctx.put("a", "new").await?;
    for etag in [old, foreign_tag()] {
        let refused = ctx.store().get(&ctx.key("a"), GetOptions::default().with_if_match(etag)).await;
        assert_refused(refused, ErrorKind::PreconditionFailed);
    }
    Ok(())
}

pub(super) async fn a_get_of_what_the_caller_has_says_not_modified(ctx: &Context) -> Kept {
    let etag = ctx.put("a", "hello").await?.etag;
    let known = GetOptions::default().with_if_none_match(etag);
    assert_refused(ctx.store().get(&ctx.key("a"), known).await, ErrorKind::NotModified);
    Ok(())
}

pub(super) async fn a_get_of_what_the_caller_has_not_gives_it(ctx: &Context) -> Kept {
    let old = ctx.put("a", "old").await?.etag;
    ctx.put("a", "new").await?;
    let known = GetOptions::default().with_if_none_match(old);
    assert_eq!(ctx.store().get(&ctx.key("a"), known).await?.body.bytes().await?, "new");
    Ok(())
}

pub(super) async fn a_head_keeps_the_same_conditions(ctx: &Context) -> Kept {
    let key = ctx.key("a");
    let etag = ctx.put("a", "hello").await?.etag;
    let head = |options| ctx.store().head(&key, options);
    assert_eq!(head(HeadOptions::default().with_if_match(etag.clone())).await?.meta.size, 5);
    let other = head(HeadOptions::default().with_if_match(foreign_tag())).await;
    assert_refused(other, ErrorKind::PreconditionFailed);
    assert_refused(head(HeadOptions::default().with_if_none_match(etag)).await, ErrorKind::NotModified);
    assert_eq!(head(HeadOptions::default().with_if_none_match(foreign_tag())).await?.meta.size, 5);
    Ok(())
}

pub(super) async fn conditions_on_nothing_say_not_found(ctx: &Context) -> Kept {
    let key = ctx.key("none");
    let matching = GetOptions::default().with_if_match(foreign_tag());
    ctx.assert_nothing_to_match(ctx.store().get(&key, matching).await);
    let other = GetOptions::default().with_if_none_match(foreign_tag());
    assert_refused(ctx.store().get(&key, other).await, ErrorKind::NotFound);
    let other = HeadOptions::default().with_if_none_match(foreign_tag());
    assert_refused(ctx.store().head(&key, other).await, ErrorKind::NotFound);
    Ok(())
}

pub(super) async fn a_body_knows_its_length_and_what_is_left(ctx: &Context) -> Kept {
    ctx.put("a", bytes(100_000, 1)).await?;
    let mut body = ctx.store().get(&ctx.key("a"), GetOptions::default()).await?.body;
    assert_eq!((body.len(), body.remaining(), body.is_empty()), (100_000, 100_000, false));
    let mut read = 0;
    while let Some(chunk) = body.next_chunk().await {
        read += chunk?.len() as u64;
        assert_eq!((body.len(), body.remaining()), (100_000, 100_000 - read));
    }
    assert_eq!(body.remaining(), 0);
    assert!(body.next_chunk().await.is_none(), "what is over stays over");
    Ok(())
}

pub(super) async fn a_body_fills_the_callers_buffer(ctx: &Context) -> Kept {
    let whole = bytes(100_000, 2);
    ctx.put("a", whole.clone()).await?;
    let mut body = ctx.store().get(&ctx.key("a"), GetOptions::default()).await?.body;
    let mut got = Vec::new();
    loop {
        // An odd size, so that chunks are cut wherever the store makes them.
        let (read, buffer) = body.read_into(Vec::with_capacity(7777).limit(7777)).await;
        let read = read?;
        let buffer = buffer.into_inner();
        assert_eq!(buffer.len(), read);
        assert!(read == 7777 || body.remaining() == 0, "a buffer is filled while there are bytes");
        if read == 0 {
            break;
        }
        got.extend_from_slice(&buffer);
    }
    assert!(got == whole, "the bytes differ");
    Ok(())
}

pub(super) async fn bodies_can_be_read_side_by_side(ctx: &Context) -> Kept {
    let (left, right) = (bytes(300_000, 3), bytes(300_000, 4));
    ctx.put("left", left.clone()).await?;
    ctx.put("right", right.clone()).await?;
    let mut a = ctx.store().get(&ctx.key("left"), GetOptions::default()).await?.body;
    let mut b = ctx.store().get(&ctx.key("right"), GetOptions::default()).await?.body;
    let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
    while a.remaining() + b.remaining() > 0 {
        if let Some(chunk) = a.next_chunk().await {
            from_a.extend_from_slice(&chunk?);
        }
        if let Some(chunk) = b.next_chunk().await {
            from_b.extend_from_slice(&chunk?);
        }
    }
    assert!(from_a == left && from_b == right, "the bytes differ");
    Ok(())
}

pub(super) async fn a_body_dropped_early_harms_nobody(ctx: &Context) -> Kept {
    let whole = bytes(2 * 1024 * 1024, 5);
    ctx.put("a", whole.clone()).await?;
    for chunks in [0, 1, 2, 3] {
        let mut body = ctx.store().get(&ctx.key("a"), GetOptions::default()).await?.body;
        for _ in 0..chunks {
            body.next_chunk().await.transpose()?;
        }
        drop(body);
        // Whatever carried the body must not carry the rest of it into the next answer.
        assert_eq!(ctx.store().get_range(&ctx.key("a"), 5..10).await?, whole.slice(5..10));
    }
    assert!(ctx.get("a").await? == whole, "the bytes differ");
    Ok(())
}

pub(super) async fn a_body_gives_one_version_though_it_is_replaced(ctx: &Context) -> Kept {
    let old = bytes(LARGE, 6);
    ctx.put("a", old.clone()).await?;
    let got = ctx.store().get(&ctx.key("a"), GetOptions::default()).await?;
    ctx.put("a", bytes(LARGE, 7)).await?;
    match got.body.bytes().await {
        Ok(read) => assert!(read == old, "the bytes are those of the version whose tag was told"),
        Err(error) => assert!(cut_off(ctx, error.kind()), "{error:?}"),
    }
    Ok(())
}

pub(super) async fn a_body_gives_one_version_though_it_is_deleted(ctx: &Context) -> Kept {
    let old = bytes(LARGE, 8);
    ctx.put("a", old.clone()).await?;
    let got = ctx.store().get(&ctx.key("a"), GetOptions::default()).await?;
    ctx.store().delete(&ctx.key("a"), Default::default()).await?;
    match got.body.bytes().await {
        Ok(read) => assert!(read == old, "the bytes are those of the version whose tag was told"),
        Err(error) => assert!(cut_off(ctx, error.kind()), "{error:?}"),
    }
    assert_refused(ctx.get("a").await, ErrorKind::NotFound);
    Ok(())
}
