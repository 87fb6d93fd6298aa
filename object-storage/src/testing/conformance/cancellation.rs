//! Dropped futures: a write is applied whole or not at all, and nothing else suffers.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::{CopyOptions, ErrorKind, GetOptions, ObjectStorageExt, PutOptions, Result};

use super::context::{Context, Kept, bytes, until_settled};
use super::multipart::{begin, number, uploads};
use super::sleep::sleep;

/// How many polls a future is given before it is dropped: each number up to here, on a fresh key. A put that
/// waits for a lookup, a connection, its request and its answer takes about that many.
pub(super) const POLLS_MAX: usize = 8;

/// Larger than what goes into a socket at once, so that some are dropped in the middle of it.
const LARGE: usize = 1024 * 1024;

/// Polls a future so many times, as its runtime wakes it, and then drops it. Gives what it came to before that.
pub(super) async fn drop_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A server may still be at work on what was sent before the drop.
pub(super) async fn settle() {
    sleep(Duration::from_millis(20)).await;
}

/// The bytes of an object, if it is there.
async fn get(ctx: &Context, name: &str) -> Result<Option<bytes::Bytes>> {
    match ctx.get(name).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn a_put_dropped_at_any_poll_is_applied_whole_or_not(ctx: &Context) -> Kept {
    let (old, new) = (bytes(1000, 1), bytes(LARGE, 2));
    for polls in 0..POLLS_MAX {
        let name = format!("after-{polls}");
        ctx.put(&name, old.clone()).await?;
        let key = ctx.key(&name);
        let ended = drop_after(polls, ctx.store().put_bytes(&key, new.clone())).await;
        let applied = ended.transpose()?.is_some();
        settle().await;
        let seen = ctx.get(&name).await?;
        assert!(seen == new || (seen == old && !applied), "{} bytes after {polls} polls", seen.len());
        assert!(polls > 0 || seen == old, "a future that was not polled does nothing");
    }
    assert_eq!(ctx.names().await?.len(), POLLS_MAX, "nothing half-written shows up in listings");
    Ok(())
}

pub(super) async fn a_create_dropped_at_any_poll_can_be_made_again(ctx: &Context) -> Kept {
    if !ctx.capabilities().put_create {
        // Held to refusing it elsewhere.
        return Ok(());
    }
    let (first, second) = (bytes(LARGE, 1), bytes(LARGE, 2));
    for polls in 0..POLLS_MAX {
        let name = format!("after-{polls}");
        let key = ctx.key(&name);
        drop_after(polls, ctx.store().put_if_absent(&key, first.clone())).await;
        match until_settled(|| ctx.store().put_if_absent(&key, second.clone())).await {
            Ok(_) => {
                settle().await;
                assert!(ctx.get(&name).await? == second, "who was told of success keeps the object");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
                assert!(ctx.get(&name).await? == first, "the first was applied, whole");
            }
        }
    }
    Ok(())
}

pub(super) async fn a_delete_dropped_at_any_poll_takes_effect_or_not(ctx: &Context) -> Kept {
    for polls in 0..POLLS_MAX {
        let name = format!("after-{polls}");
        ctx.put(&name, "old").await?;
        let key = ctx.key(&name);
        let ended = drop_after(polls, ctx.store().delete(&key, Default::default())).await;
        settle().await;
        match get(ctx, &name).await? {
            None => assert!(polls > 0, "a future that was not polled does nothing"),
            Some(bytes) => assert!(bytes == "old" && ended.is_none()),
        }
    }
    Ok(())
}

pub(super) async fn a_copy_dropped_at_any_poll_is_applied_whole_or_not(ctx: &Context) -> Kept {
    let whole = bytes(LARGE, 1);
    ctx.put("from", whole.clone()).await?;
    for polls in 0..POLLS_MAX {
        let name = format!("after-{polls}");
        let (from, to) = (ctx.key("from"), ctx.key(&name));
        let ended = drop_after(polls, ctx.store().copy(&from, &to, CopyOptions::default())).await;
        settle().await;
        match get(ctx, &name).await? {
            None => assert!(ended.is_none(), "a copy that was told of is there"),
            Some(bytes) => assert!(bytes == whole, "{} bytes after {polls} polls", bytes.len()),
        }
    }
    Ok(())
}

pub(super) async fn a_part_dropped_at_any_poll_can_be_sent_again(ctx: &Context) -> Kept {
    for polls in 0..POLLS_MAX {
        let name = format!("after-{polls}");
        let upload = begin(ctx, &name).await?;
        drop_after(polls, upload.upload_part(number(1), bytes(LARGE, 1).into())).await;
        // The dropped part may still land, so it has the same bytes: the docs ask for that.
        settle().await;
        let part = upload.upload_part(number(1), bytes(LARGE, 1).into()).await?;
        upload.complete(&[part], Default::default()).await?;
        assert!(ctx.get(&name).await? == bytes(LARGE, 1), "after {polls} polls");
    }
    Ok(())
}

pub(super) async fn a_completion_dropped_at_any_poll_is_joined_or_pending(ctx: &Context) -> Kept {
    for polls in 0..POLLS_MAX {
        let name = format!("after-{polls}");
        let upload = begin(ctx, &name).await?;
        let parts = [upload.upload_part(number(1), bytes(LARGE, 1).into()).await?];
        drop_after(polls, upload.complete(&parts, Default::default())).await;
        settle().await;
        match get(ctx, &name).await? {
            Some(joined) => assert!(joined == bytes(LARGE, 1), "after {polls} polls"),
            None => {
                // Still pending, unless the server joins it only now: then it is over, and the object is there.
                match upload.complete(&parts, Default::default()).await {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}"),
                }
                assert!(ctx.get(&name).await? == bytes(LARGE, 1), "after {polls} polls");
            }
        }
    }
    assert!(uploads(ctx).await?.is_empty());
    Ok(())
}

pub(super) async fn reads_dropped_at_any_poll_harm_nobody(ctx: &Context) -> Kept {
    let whole = bytes(LARGE, 1);
    ctx.put("a", whole.clone()).await?;
    ctx.put("b", "b").await?;
    let (a, b) = (ctx.key("a"), ctx.key("b"));
    for polls in 0..POLLS_MAX {
        drop_after(polls, ctx.store().get(&a, GetOptions::default())).await;
        drop_after(polls, ctx.store().get_bytes(&a)).await;
        drop_after(polls, ctx.store().head_meta(&a)).await;
        drop_after(polls, ctx.store().list_all(ctx.prefix())).await;
        // Neither the next answer nor the store is touched by what was left half-read.
        assert_eq!(ctx.store().get_bytes(&b).await?, "b");
    }
    // A chunk whose future was dropped is not lost: the next call goes on where this one stood.
    let mut body = ctx.store().get(&a, GetOptions::default()).await?.body;
    let mut read = Vec::new();
    loop {
        match drop_after(1, body.next_chunk()).await {
            Some(Some(chunk)) => read.extend_from_slice(&chunk?),
            Some(None) => break,
            // Something else must run before the next poll, or the bytes never come.
            None => sleep(Duration::from_micros(100)).await,
        }
    }
    assert!(read == whole, "{} of {LARGE} bytes, or others", read.len());
    ctx.store().put(&b, "B".into(), PutOptions::default()).await?;
    assert_eq!(ctx.store().get_bytes(&b).await?, "B");
    Ok(())
}
