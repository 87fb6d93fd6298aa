//! What is put comes back, whole and unchanged.

use crate::limits::PUT_BYTES_MAX;
use crate::{ErrorKind, GetOptions, HeadOptions, ObjectStorageExt, Payload};
use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};

use super::context::{Context, Kept, assert_refused, bytes, huge};

pub(super) async fn a_put_object_comes_back(ctx: &Context) -> Kept {
    ctx.put("a", "hello").await?;
    assert_eq!(ctx.get("a").await?, "hello");
    Ok(())
}

pub(super) async fn an_object_without_bytes_is_an_object(ctx: &Context) -> Kept {
    ctx.put("empty", Payload::new()).await?;
    let got = ctx.store().get(&ctx.key("empty"), GetOptions::default()).await?;
    assert_eq!((got.meta.size, got.range.clone(), got.body.len()), (0, 0..0, 0));
    assert!(got.body.bytes().await?.is_empty());
    assert_eq!(ctx.store().head_meta(&ctx.key("empty")).await?.size, 0);
    assert_eq!(ctx.listed("empty").await?.map(|meta| meta.size), Some(0));
    Ok(())
}

pub(super) async fn a_second_put_replaces_the_first_whole(ctx: &Context) -> Kept {
    ctx.put("a", "first").await?;
    ctx.put("a", "the second").await?;
    assert_eq!(ctx.get("a").await?, "the second");
    assert_eq!(ctx.names().await?, ["a"]);
    Ok(())
}

pub(super) async fn a_shorter_object_leaves_nothing_of_a_longer_one(ctx: &Context) -> Kept {
    ctx.put("a", bytes(300_000, 1)).await?;
    ctx.put("a", bytes(10, 2)).await?;
    assert_eq!(ctx.get("a").await?, bytes(10, 2));
    ctx.put("a", Payload::new()).await?;
    assert!(ctx.get("a").await?.is_empty());
    Ok(())
}

pub(super) async fn a_payload_in_many_chunks_is_stored_in_order(ctx: &Context) -> Kept {
    let whole = bytes(1024 * 1024, 3);
    let mut payload = Payload::new();
    let mut at = 0;
    // 1, 2, 3, ... bytes: chunks of every size, none aligned.
    for len in 1.. {
        let end = (at + len).min(whole.len());
        payload.push(whole.slice(at..end));
        at = end;
        if at == whole.len() {
            break;
        }
    }
    assert!(payload.chunks().len() > 1000, "more chunks than one gathering write takes");
    ctx.put("chunks", payload).await?;
    assert!(ctx.get("chunks").await? == whole, "the bytes differ");
    Ok(())
}

pub(super) async fn twenty_mebibytes_are_streamed_back(ctx: &Context) -> Kept {
    let whole = bytes(20 * 1024 * 1024, 4);
    let payload: Payload = (0..20).map(|at| whole.slice(at * 1024 * 1024..(at + 1) * 1024 * 1024)).collect();
    ctx.put("large", payload).await?;
    let mut body = ctx.store().get(&ctx.key("large"), GetOptions::default()).await?.body;
    assert_eq!(body.len(), whole.len() as u64);
    let mut at = 0;
    while let Some(chunk) = body.next_chunk().await {
        let chunk = chunk?;
        assert!(!chunk.is_empty(), "a chunk has bytes");
        assert!(whole[at..].starts_with(&chunk), "the bytes after {at} differ");
        at += chunk.len();
    }
    assert_eq!(at, whole.len());
    Ok(())
}

pub(super) async fn every_method_tells_the_same_size_tag_and_time(ctx: &Context) -> Kept {
    let key = ctx.key("a");
    let put = ctx.put("a", "hello").await?;
    let head = ctx.store().head(&key, HeadOptions::default()).await?.meta;
    assert_eq!((&head.key, head.size, head.etag.as_ref()), (&key, 5, Some(&put.etag)));
    let got = ctx.store().get(&key, GetOptions::default()).await?;
    assert_eq!(got.meta, head);
    assert_eq!(got.range, 0..5);
    let listed = ctx.listed("a").await?;
    assert_eq!(listed, Some(head.clone()));
    // What is told of a part is told of the whole object.
    let part = ctx.store().get(&key, GetOptions::default().with_range(1..3)).await?;
    assert_eq!((part.meta, part.range), (head, 1..3));
    Ok(())
}

pub(super) async fn the_tag_changes_when_the_bytes_change(ctx: &Context) -> Kept {
    let first = ctx.put("a", "one").await?.etag;
    let second = ctx.put("a", "two").await?.etag;
    assert_ne!(first, second);
    assert_eq!(ctx.store().head_meta(&ctx.key("a")).await?.etag, Some(second));
    Ok(())
}

pub(super) async fn more_than_five_gibibytes_in_one_put_are_refused(ctx: &Context) -> Kept {
    let refused = ctx.put("huge", huge(PUT_BYTES_MAX + 1)).await;
    assert_refused(refused, ErrorKind::InvalidInput);
    assert!(!ctx.store().exists(&ctx.key("huge")).await?);
    Ok(())
}

pub(super) async fn many_objects_can_be_written_and_read_at_once(ctx: &Context) -> Kept {
    const OBJECTS: u8 = 64;
    let content = |seed: u8| bytes(1000 * usize::from(seed), seed);
    let name = |seed: u8| format!("object-{seed}");
    try_join_all((0..OBJECTS).map(|seed| async move { ctx.put(&name(seed), content(seed)).await })).await?;
    let read: Vec<(u8, Result<Bytes, _>)> =
        join_all((0..OBJECTS).map(|seed| async move { (seed, ctx.get(&name(seed)).await) })).await;
    for (seed, got) in read {
        assert!(got? == content(seed), "object {seed} has other bytes");
    }
    assert_eq!(ctx.names().await?.len(), usize::from(OBJECTS));
    Ok(())
}

pub(super) async fn an_object_and_keys_beneath_its_name_live_side_by_side(ctx: &Context) -> Kept {
    for names in [["up", "up/b", "up/b/c"], ["down/b/c", "down/b", "down"]] {
        for name in names {
            ctx.put(name, name.to_owned()).await?;
        }
        for name in names {
            assert_eq!(ctx.get(name).await?, name);
        }
    }
    assert_eq!(ctx.names().await?, ["down", "down/b", "down/b/c", "up", "up/b", "up/b/c"]);
    ctx.store().delete(&ctx.key("up/b"), Default::default()).await?;
    assert_eq!(ctx.names().await?, ["down", "down/b", "down/b/c", "up", "up/b/c"]);
    Ok(())
}
