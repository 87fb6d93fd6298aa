//! Many at once on one key: conditions hold also then, and nobody sees half of anything.

use std::future::poll_fn;
use std::task::Poll;

use crate::{
    CompleteOptions, Error, ErrorKind, Key, MultipartOptions, ObjectStorageExt, Operation, PartNumber,
    PutMode, PutOutcome, Resolution, Result,
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

/// How the race for `key` ended, with what a slow answer left open as the object tells it: every name here is written
/// once, or one version of it replaced once, so what is there instead is another racer's.
async fn cleared_up(
    ctx: &Context,
    key: &Key,
    ended: Vec<Result<PutOutcome>>,
    losers: ErrorKind,
) -> Result<Vec<Result<PutOutcome>>> {
    let mut cleared = Vec::with_capacity(ended.len());
    for result in ended {
        let open = match &result {
            Err(error) if ctx.dialect().has(Quirk::ContentionIsSlow) => error.operation_id(),
            _ => None,
        };
        cleared.push(match open {
            None => result,
            Some(id) => match ctx.store().resolve(key, id).await? {
                Resolution::Applied(outcome) => Ok(outcome),
                Resolution::NotThere { current: Some(_) } => {
                    Err(Error::new(losers, Operation::PutObject, "another racer's object is there"))
                }
                Resolution::NotThere { current: None } => result,
            },
        });
    }
    Ok(cleared)
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
    let losers = ErrorKind::AlreadyExists;
    let ended = cleared_up(ctx, &key, join_all(racers).await, losers).await?;
    let (racer, outcome) = winner(ended, losers);
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
    let losers = ErrorKind::PreconditionFailed;
    let ended = cleared_up(ctx, key, join_all(racers).await, losers).await?;
    let (racer, outcome) = winner(ended, losers);
    assert_eq!(ctx.get("a").await?, format!("racer {racer}"));
    assert_eq!(ctx.store().head_meta(key).await?.etag, Some(outcome.etag));
    Ok(())
}

pub(super) async fn a_counter_kept_by_compare_and_swap_loses_nothing(ctx: &Context) -> Kept {
    const TASKS: usize = 8;
    let slow = ctx.dialect().has(Quirk::ContentionIsSlow);
    let increments = if slow { 2 } else { 10 };
    let key = ctx.key("counter");
    // A digit or two of each task, so that it sees what became of its increments.
    let text = |counts: &[usize]| counts.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
    let zero = ctx.put("counter", text(&[0; TASKS])).await?;
    if !ctx.capabilities().put_match {
        return assert_unsupported(ctx.store().put_if_match(&key, "1", &zero.etag).await);
    }
    // Woken one by one, as tasks are.
    let tasks: FuturesUnordered<_> = (0..TASKS)
        .map(|task| {
            let (store, key) = (ctx.store(), &key);
            async move {
                // What is known to have been applied, and whether more may be.
                let (mut done, mut open) = (0, false);
                loop {
                    let got = store.get(key, Default::default()).await?;
                    let etag = got.meta.etag.expect("a store with conditions has tags");
                    let held = got.body.bytes().await?;
                    let held = std::str::from_utf8(&held).expect("digits");
                    let mut counts: Vec<usize> =
                        held.split(' ').map(|count| count.parse().expect("a number")).collect();
                    assert!(counts[task] == done || (open && counts[task] > done), "{counts:?}, not {done}");
                    done = counts[task];
                    if done == increments {
                        return Ok(());
                    }
                    counts[task] += 1;
                    // Every task has read before the first writes, also on a store that never waits.
                    yield_now().await;
                    match store.put_if_match(key, text(&counts), &etag).await {
                        Ok(_) => done += 1,
                        Err(error)
                            if matches!(
                                error.kind(),
                                ErrorKind::PreconditionFailed | ErrorKind::Conflict | ErrorKind::Throttled
                            ) => {}
                        Err(error) if slow && error.is_indeterminate() => open = true,
                        Err(error) => return Err(error),
                    }
                }
            }
        })
        .collect();
    tasks.try_collect::<()>().await?;
    assert_eq!(ctx.get("counter").await?, text(&[increments; TASKS]));
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
