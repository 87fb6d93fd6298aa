//! What is left when handles are dropped, stores are shut down, and writers were killed: nothing, or what the report says.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::{
    DeleteOptions, ErrorKind, GetOptions, HeadOptions, ListOptions, ListUploadsOptions, MultipartOptions,
    MultipartUpload, ObjectStorageExt, OperationId, PutOptions, Result, ShutdownReport,
};

use super::cancellation::{POLLS_MAX, drop_after, settle};
use super::context::{Context, Kept, assert_refused, bytes};
use super::multipart::{begin, number, uploads};
use super::sleep::sleep;

/// Long enough for every store under test; a shutdown that has nothing to wait for takes none of it.
const DEADLINE: Duration = Duration::from_secs(30);

async fn begin_tied(ctx: &Context, name: &str) -> Result<Rc<dyn MultipartUpload>> {
    let upload = begin(ctx, name).await?;
    upload.abort_on_drop();
    Ok(upload)
}

/// Shuts the store down, which must leave nothing, and looks whether that is so.
async fn shut_down(ctx: &Context) -> Result<ShutdownReport> {
    let report = ctx.store().shutdown(DEADLINE).await;
    assert!(report.is_clean(), "{report:?}");
    if let Some(second) = ctx.second() {
        let left = second.list_uploads(ctx.prefix()).await?;
        assert!(left.is_empty(), "{left:?}, and the report says {report:?}");
    }
    Ok(report)
}

pub(super) async fn a_tied_upload_goes_with_its_handle(ctx: &Context) -> Kept {
    let upload = begin_tied(ctx, "a").await?;
    upload.upload_part(number(1), "x".into()).await?;
    drop(upload);
    let upload = begin_tied(ctx, "b").await?;
    // A part in the middle of its way.
    drop_after(2, upload.upload_part(number(1), bytes(5 * 1024 * 1024, 1).into())).await;
    let clone = Rc::clone(&upload);
    drop(upload);
    settle().await;
    assert_eq!(clone.key(), &ctx.key("b"), "and not before its last clone");
    assert!(uploads(ctx).await?.iter().any(|upload| upload.upload_id == *clone.upload_id()));
    drop(clone);
    shut_down(ctx).await?;
    Ok(())
}

pub(super) async fn a_tied_upload_that_was_completed_stays_an_object(ctx: &Context) -> Kept {
    let upload = begin_tied(ctx, "a").await?;
    let part = upload.upload_part(number(1), "x".into()).await?;
    upload.complete(&[part], Default::default()).await?;
    drop(upload);
    settle().await;
    assert_eq!(ctx.get("a").await?, "x");
    assert_eq!(shut_down(ctx).await?.uploads_aborted, 0);
    if let Some(second) = ctx.second() {
        assert_eq!(second.get_bytes(&ctx.key("a")).await?, "x");
    }
    Ok(())
}

pub(super) async fn an_upload_that_is_not_tied_outlives_its_handle_and_the_store(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    let part = upload.upload_part(number(1), "x".into()).await?;
    let id = upload.upload_id().clone();
    drop(upload);
    settle().await;
    let report = ctx.store().shutdown(DEADLINE).await;
    assert!(report.is_clean() && report.uploads_aborted == 0, "{report:?}");
    if let Some(second) = ctx.second() {
        second.resume_multipart_upload(&ctx.key("a"), &id)?.complete(&[part], Default::default()).await?;
        assert_eq!(second.get_bytes(&ctx.key("a")).await?, "x");
    }
    Ok(())
}

pub(super) async fn a_creation_dropped_at_any_poll_leaves_no_upload(ctx: &Context) -> Kept {
    for polls in 0..POLLS_MAX {
        let key = ctx.key(&format!("after-{polls}"));
        let create = ctx.store().create_multipart_upload(&key, MultipartOptions::default());
        if let Some(created) = drop_after(polls, create).await {
            created?.abort().await?;
        }
    }
    shut_down(ctx).await?;
    Ok(())
}

pub(super) async fn a_store_that_was_shut_down_refuses_what_is_new(ctx: &Context) -> Kept {
    let whole = bytes(1024 * 1024, 1);
    ctx.put("a", whole.clone()).await?;
    let (a, b) = (ctx.key("a"), ctx.key("b"));
    let upload = begin(ctx, "b").await?;
    let mut body = ctx.store().get(&a, GetOptions::default()).await?.body;
    assert!(ctx.store().shutdown(DEADLINE).await.is_clean());

    let store = ctx.store();
    let shut_down = ErrorKind::ShutDown;
    assert_refused(store.put(&b, "b".into(), PutOptions::default()).await, shut_down);
    assert_refused(store.get(&a, GetOptions::default()).await, shut_down);
    assert_refused(store.head(&a, HeadOptions::default()).await, shut_down);
    assert_refused(store.list_page(&ListOptions::default(), None).await, shut_down);
    assert_refused(store.delete(&a, DeleteOptions::default()).await, shut_down);
    // As a whole, or key by key.
    let deleted = store.delete_many(std::slice::from_ref(&a)).await.map(|mut deleted| deleted.swap_remove(0));
    assert_refused(deleted.and_then(|deleted| deleted), shut_down);
    assert_refused(store.copy(&a, &b, Default::default()).await, shut_down);
    assert_refused(store.create_multipart_upload(&b, MultipartOptions::default()).await, shut_down);
    assert_refused(upload.upload_part(number(1), "x".into()).await, shut_down);
    let options = ListUploadsOptions::default();
    assert_refused(store.list_multipart_uploads_page(&options, None).await, shut_down);
    assert_refused(store.resolve(&a, OperationId::random()).await, shut_down);

    let mut read = Vec::new();
    while let Some(chunk) = body.next_chunk().await {
        read.extend_from_slice(&chunk?);
    }
    assert!(read == whole, "a body that was handed out is read to its end");
    let again = ctx.store().shutdown(Duration::ZERO).await;
    assert!(again.is_clean() && again.uploads_aborted == 0, "{again:?}");
    if let Some(second) = ctx.second() {
        assert!(second.get_bytes(&a).await? == whole && !second.exists(&b).await?, "others are not touched");
        second.sweep_uploads(ctx.prefix(), Duration::ZERO).await?;
    }
    Ok(())
}

pub(super) async fn a_shutdown_waits_for_what_is_under_way(ctx: &Context) -> Kept {
    let whole = bytes(3 * 1024 * 1024, 1);
    let key = ctx.key("a");
    let mut put = pin!(ctx.store().put_bytes(&key, whole.clone()));
    let mut stored = None;
    poll_fn(|cx| {
        if let Poll::Ready(ended) = put.as_mut().poll(cx) {
            stored = Some(ended);
        }
        Poll::Ready(())
    })
    .await;
    let shut_down = ctx.store().shutdown(DEADLINE);
    let report = match stored {
        Some(stored) => {
            stored?;
            shut_down.await
        }
        None => {
            let (stored, report) = futures_util::future::join(put, shut_down).await;
            stored?;
            report
        }
    };
    assert!(report.is_clean(), "{report:?}");
    if let Some(second) = ctx.second() {
        assert!(second.get_bytes(&key).await? == whole, "what was under way was finished");
    }
    Ok(())
}

pub(super) async fn a_shutdown_aborts_what_is_tied_to_a_handle_in_use(ctx: &Context) -> Kept {
    let upload = begin_tied(ctx, "a").await?;
    let part = upload.upload_part(number(1), "x".into()).await?;
    let plain = begin(ctx, "b").await?;
    assert_eq!(ctx.store().shutdown(DEADLINE).await.uploads_aborted, 1);
    assert_refused(upload.complete(&[part], Default::default()).await, ErrorKind::ShutDown);
    if let Some(second) = ctx.second() {
        let left = second.list_uploads(ctx.prefix()).await?;
        let left: Vec<_> = left.iter().map(|upload| &upload.upload_id).collect();
        assert_eq!(left, [plain.upload_id()], "and nothing else");
        second.sweep_uploads(ctx.prefix(), Duration::ZERO).await?;
    }
    Ok(())
}

pub(super) async fn a_shutdown_without_time_tells_what_it_leaves(ctx: &Context) -> Kept {
    let uploads = [begin_tied(ctx, "a").await?, begin_tied(ctx, "b").await?];
    let hurried = ctx.store().shutdown(Duration::ZERO).await;
    assert_eq!(hurried.uploads_aborted + hurried.uploads_left.len(), uploads.len(), "{hurried:?}");
    for left in &hurried.uploads_left {
        let is = |upload: &&Rc<dyn MultipartUpload>| {
            (upload.key(), upload.upload_id()) == (&left.key, &left.upload_id)
        };
        assert_eq!(uploads.iter().filter(is).count(), 1, "{left:?}");
    }
    let patient = shut_down(ctx).await?;
    assert!(patient.uploads_aborted <= hurried.uploads_left.len(), "each is told of once: {patient:?}");
    Ok(())
}

pub(super) async fn a_sweep_takes_what_is_old_and_spares_what_is_young(ctx: &Context) -> Kept {
    let old = begin(ctx, "a/old").await?;
    old.upload_part(number(1), "x".into()).await?;
    // Stores tell the time to a second.
    sleep(Duration::from_millis(3200)).await;
    let young = begin(ctx, "a/young").await?;
    let prefix = format!("{}a/", ctx.prefix());
    let report = ctx.store().sweep_uploads(&prefix, Duration::from_secs(3600)).await?;
    assert_eq!((report.found, report.aborted, report.young), (2, 0, 2), "{report:?}");
    let report = ctx.store().sweep_uploads(&prefix, Duration::from_secs(2)).await?;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.found, report.aborted, report.young), (2, 1, 1), "{report:?}");
    let left = uploads(ctx).await?;
    assert_eq!(left.iter().map(|upload| &upload.upload_id).collect::<Vec<_>>(), [young.upload_id()]);
    assert_refused(old.list_parts_page(None).await, ErrorKind::NotFound);
    young.abort().await
}

pub(super) async fn a_sweep_of_no_age_takes_every_upload_and_no_object(ctx: &Context) -> Kept {
    ctx.put("a/object", "stays").await?;
    for name in ["a/1", "a/2", "a/2", "ab"] {
        begin(ctx, name).await?;
    }
    let spared = begin(ctx, "b").await?;
    let report = ctx.store().sweep_uploads(&format!("{}a", ctx.prefix()), Duration::ZERO).await?;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.found, report.aborted, report.young), (4, 4, 0), "{report:?}");
    let left = uploads(ctx).await?;
    assert_eq!(left.iter().map(|upload| &upload.upload_id).collect::<Vec<_>>(), [spared.upload_id()]);
    assert_eq!(ctx.get("a/object").await?, "stays");
    spared.abort().await?;
    let report = ctx.store().sweep_uploads(ctx.prefix(), Duration::ZERO).await?;
    assert_eq!((report.found, report.is_clean()), (0, true));
    Ok(())
}
