//! Many at once on one key: conditions hold also then, and nobody sees half of anything.

use std::future::poll_fn;
use std::task::Poll;

use crate::{
    CompleteOptions, Error, ErrorKind, MultipartOptions, ObjectStorageExt, PartNumber, PutMode, PutOutcome,
    Result,
};
use bytes::Bytes;
use futures_util::future::{join_all, try_join};
use futures_util::stream::{FuturesUnordered, TryStreamExt};

use super::context::{Context, Kept, Quirk, assert_unsupported, bytes, until_settled};

/// Looks at how a race ended: exactly one won, the others were told what to expect. Gives the number of the winner.
fn winner(ended: Vec<Result<PutOutcome>>, losers: ErrorKind) -> (usize, PutOutcome) {
    let mut won = Vec::new();
    for (racer, result) in ended.into_iter().enumerate() {
        match result {
            Ok(outcome) => won.push((racer, outcome)),
            Err(error) => assert_eq!(error.kind(), losers, "racer {racer}: {error:?}"),
        }
    }
    assert_eq!(won.len(), 1, "exactly one wins: {won:?}");
    won.remove(0)
}

pub(super) async fn of_many_creators_exactly_one_wins(ctx: &Context) -> Kept {
    let key = ctx.key("a");
    if !ctx.capabilities().put_create {
        return assert_unsupported(ctx.store().put_if_absent(&key, "x").await);
    }
    let racers = (0..ctx.racers()).map(|racer| {
        let (store, key) = (ctx.store(), &key);
        async move { until_settled(|| store.put_if_absent(key, format!("racer {racer}"))).await }
    });
    let (racer, outcome) = winner(join_all(racers).await, ErrorKind::AlreadyExists);
    assert_eq!(ctx.get("a").await?, format!("racer {racer}"));
    assert_eq!(ctx.store().head_meta(&key).await?.etag, Some(outcome.etag));
    Ok(())
}

pub(super) async fn of_many_writers_matching_one_version_exactly_one_wins(ctx: &Context) -> Kept {
    let key = &ctx.key("a");
    let first = &ctx.put("a", "first").await?.etag;
    if !ctx.capabilities().put_match {
        return assert_unsupported(ctx.store().put_if_match(key, "x", first).await);
    }
    let racers = (0..ctx.racers())
        .map(|racer| until_settled(move || ctx.store().put_if_match(key, format!("racer {racer}"), first)));
    let (racer, outcome) = winner(join_all(racers).await, ErrorKind::PreconditionFailed);
    assert_eq!(ctx.get("a").await?, format!("racer {racer}"));
    assert_eq!(ctx.store().head_meta(key).await?.etag, Some(outcome.etag));
    Ok(())
}

pub(super) async fn a_counter_kept_by_compare_and_swap_loses_nothing(ctx: &Context) -> Kept {
    const TASKS: usize = 8;
    let increments = if ctx.dialect().has(Quirk::ContentionIsSlow) { 2 } else { 10 };
    let key = ctx.key("counter");
    let zero = ctx.put("counter", "0").await?;
    if !ctx.capabilities().put_match {
        return assert_unsupported(ctx.store().put_if_match(&key, "1", &zero.etag).await);
    }
    // Woken one by one, as tasks are.
    let tasks: FuturesUnordered<_> = (0..TASKS)
        .map(|_| {
            let (store, key) = (ctx.store(), &key);
            async move {
                let mut done = 0;
                while done < increments {
                    let got = store.get(key, Default::default()).await?;
                    let etag = got.meta.etag.expect("a store with conditions has tags");
                    let count: usize = std::str::from_utf8(&got.body.bytes().await?)
                        .expect("digits")
                        .parse()
                        .expect("a number");
                    // Every task has read before the first writes, also on a store that never waits.
                    yield_now().await;
                    match store.put_if_match(key, (count + 1).to_string(), &etag).await {
                        Ok(_) => done += 1,
                        Err(error)
                            if matches!(
                                error.kind(),
                                ErrorKind::PreconditionFailed | ErrorKind::Conflict | ErrorKind::Throttled
                            ) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
        })
        .collect();
    tasks.try_collect::<()>().await?;
    assert_eq!(ctx.get("counter").await?, (TASKS * increments).to_string());
    Ok(())
}

pub(super) async fn of_many_completions_that_create_exactly_one_wins(ctx: &Context) -> Kept {
    let key = &ctx.key("a");
    let create = || CompleteOptions::from(PutMode::Create);
    let racers = (0..ctx.racers()).map(|racer| async move {
        let upload = ctx.store().create_multipart_upload(key, MultipartOptions::default()).await?;
        let part = upload.upload_part(PartNumber::FIRST, format!("racer {racer}").into()).await?;
        Ok::<_, Error>((upload, [part]))
    });
    let mut uploads = Vec::new();
    for upload in join_all(racers).await {
        uploads.push(upload?);
    }
    if !ctx.capabilities().complete_create {
        let (upload, parts) = &uploads[0];
        return assert_unsupported(upload.complete(parts, create()).await);
    }
    let ended =
        join_all(uploads.iter().map(|(upload, parts)| until_settled(|| upload.complete(parts, create()))))
            .await;
    if ctx.dialect().has(Quirk::CompleteRaceHasSeveralWinners) {
        assert!(ended.iter().any(Result::is_ok), "at least one wins: {ended:?}");
        return Ok(());
    }
    let (racer, outcome) = winner(ended, ErrorKind::AlreadyExists);
    assert_eq!(ctx.get("a").await?, format!("racer {racer}"));
    assert_eq!(ctx.store().head_meta(key).await?.etag, Some(outcome.etag));
    for (upload, _) in &uploads {
        upload.abort().await?;
    }
    Ok(())
}

pub(super) async fn a_reader_never_sees_half_of_a_write(ctx: &Context) -> Kept {
    const VERSIONS: u8 = 12;
    const READS: usize = 24;
    // Lengths differ too: a mixture would show in either.
    let version = |seed: u8| bytes(100_000 + 5_000 * usize::from(seed % 3), seed);
    ctx.put("a", version(0)).await?;
    let write = async {
        for seed in 1..VERSIONS {
            ctx.put("a", version(seed)).await?;
        }
        Ok(())
    };
    let read = async {
        let versions: Vec<Bytes> = (0..VERSIONS).map(version).collect();
        let mut at_least = 0;
        for _ in 0..READS {
            let got = match ctx.get("a").await {
                Ok(got) => got,
                Err(error) if cut_off(ctx, error.kind()) => continue,
                Err(error) => return Err(error),
            };
            let seen = versions.iter().position(|version| *version == got);
            let seen = seen.expect("a reader sees one version, whole");
            assert!(seen >= at_least, "version {seen} after {at_least}: a read went back in time");
            at_least = seen;
        }
        Ok(())
    };
    try_join(write, read).await?;
    assert!(ctx.get("a").await? == version(VERSIONS - 1), "the last write stands");
    Ok(())
}

/// Lets the other tasks run.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whether an error is one that a reader may meet on this server when its object is replaced or deleted.
pub(super) fn cut_off(ctx: &Context, kind: ErrorKind) -> bool {
    ctx.dialect().has(Quirk::OverwriteCutsReaders)
        && matches!(kind, ErrorKind::Unavailable | ErrorKind::Corrupt)
}
