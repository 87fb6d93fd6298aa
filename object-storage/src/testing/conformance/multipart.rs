//! Multipart uploads: parts in any order, joined all at once or not at all, and nothing left behind unseen.

use std::rc::Rc;

use crate::limits::{PART_BYTES_MAX, PART_BYTES_MIN};
use crate::{
    CompleteOptions, ErrorKind, ListUploadsOptions, MultipartOptions, MultipartUpload, ObjectStorageExt,
    PageToken, Part, PartNumber, PutMode, Result, UploadId, UploadInfo,
};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream;

use super::conditions::foreign_tag;
use super::context::{Context, Kept, Quirk, assert_refused, assert_unsupported, bytes, huge, refusal};

/// The bytes of the smallest part that need not be the last.
const MIN: usize = 5 * 1024 * 1024;
const _: () = assert!(MIN as u64 == PART_BYTES_MIN);

pub(super) fn number(number: u16) -> PartNumber {
    PartNumber::new(number).expect("1 to 10,000")
}

pub(super) async fn begin(ctx: &Context, name: &str) -> Result<Rc<dyn MultipartUpload>> {
    ctx.store().create_multipart_upload(&ctx.key(name), MultipartOptions::default()).await
}

fn plain() -> CompleteOptions {
    CompleteOptions::default()
}

async fn list_parts(upload: &dyn MultipartUpload) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut next: Option<PageToken> = None;
    loop {
        let page = upload.list_parts_page(next.as_ref()).await?;
        parts.extend(page.parts);
        next = page.next;
        if next.is_none() {
            return Ok(parts);
        }
    }
}

/// The uploads to keys under the prefix of the promise, in order.
pub(super) async fn uploads(ctx: &Context) -> Result<Vec<UploadInfo>> {
    let mut uploads = ctx.store().list_uploads(ctx.prefix()).await?;
    if !ctx.capabilities().ordered_list {
        uploads.sort_by(|a, b| (&a.key, &a.upload_id).cmp(&(&b.key, &b.upload_id)));
    }
    Ok(uploads)
}

pub(super) async fn parts_sent_out_of_order_are_joined_by_number(ctx: &Context) -> Kept {
    let contents: [Bytes; 3] = [bytes(MIN, 1), bytes(MIN + 12_345, 2), bytes(77, 3)];
    let upload = begin(ctx, "a").await?;
    let send = |at: usize| {
        let number = number(u16::try_from(at).expect("few parts") + 1);
        upload.upload_part(number, contents[at].clone().into())
    };
    let mut parts = try_join_all([send(2), send(0), send(1)]).await?;
    parts.sort_by_key(|part| part.number);
    let sizes: Vec<_> = parts.iter().map(|part| part.size).collect();
    assert_eq!(sizes, [MIN as u64, MIN as u64 + 12_345, 77]);
    let outcome = upload.complete(&parts, plain()).await?;
    let whole = contents.concat();
    assert!(ctx.get("a").await? == whole, "the bytes differ");
    let head = ctx.store().head_meta(&ctx.key("a")).await?;
    assert_eq!((head.size, head.etag), (whole.len() as u64, Some(outcome.etag)));
    // Reading goes across the seams.
    let seam = MIN as u64;
    let around = ctx.store().get_range(&ctx.key("a"), seam - 10..seam + 10).await?;
    assert_eq!(around, whole[MIN - 10..MIN + 10]);
    Ok(())
}

pub(super) async fn nothing_is_visible_before_completion(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    let part = upload.upload_part(number(1), "x".into()).await?;
    assert!(!ctx.store().exists(&ctx.key("a")).await?);
    assert!(ctx.names().await?.is_empty());
    upload.complete(&[part], plain()).await?;
    assert_eq!(ctx.names().await?, ["a"]);
    Ok(())
}

pub(super) async fn one_small_part_is_enough(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    let part = upload.upload_part(number(1), "small".into()).await?;
    assert_eq!((part.number, part.size), (number(1), 5));
    upload.complete(&[part], plain()).await?;
    assert_eq!(ctx.get("a").await?, "small");
    Ok(())
}

pub(super) async fn part_numbers_may_have_gaps(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    let last = upload.upload_part(number(10_000), "end".into()).await?;
    let first = upload.upload_part(number(7), bytes(MIN, 1).into()).await?;
    upload.complete(&[first, last], plain()).await?;
    let key = ctx.key("a");
    assert_eq!(ctx.store().head_meta(&key).await?.size, MIN as u64 + 3);
    assert_eq!(ctx.store().get_range(&key, MIN as u64..MIN as u64 + 3).await?, "end");
    Ok(())
}

pub(super) async fn a_part_sent_again_replaces_the_first(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    upload.upload_part(number(1), "first".into()).await?;
    let second = upload.upload_part(number(1), "second!".into()).await?;
    match list_parts(&*upload).await {
        // Two parts of one number are no answer to build upon.
        Err(error) if ctx.dialect().has(Quirk::KeepsReplacedParts) => {
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
        listed => assert_eq!(listed?, std::slice::from_ref(&second)),
    }
    upload.complete(&[second], plain()).await?;
    assert_eq!(ctx.get("a").await?, "second!");
    Ok(())
}

pub(super) async fn parts_that_are_not_named_are_dropped(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    upload.upload_part(number(1), "left out".into()).await?;
    let named = upload.upload_part(number(2), "named".into()).await?;
    upload.upload_part(number(3), "left out".into()).await?;
    upload.complete(&[named], plain()).await?;
    assert_eq!(ctx.get("a").await?, "named");
    assert!(uploads(ctx).await?.is_empty());
    Ok(())
}

pub(super) async fn a_completed_object_replaces_what_was_there(ctx: &Context) -> Kept {
    let old = ctx.put("a", "old").await?.etag;
    let upload = begin(ctx, "a").await?;
    let part = upload.upload_part(number(1), "new".into()).await?;
    assert_eq!(ctx.get("a").await?, "old");
    let new = upload.complete(&[part], plain()).await?.etag;
    assert_ne!(old, new);
    assert_eq!(ctx.get("a").await?, "new");
    Ok(())
}

pub(super) async fn a_handle_knows_its_key_and_id(ctx: &Context) -> Kept {
    let (one, two) = (begin(ctx, "a").await?, begin(ctx, "a").await?);
    assert_eq!((one.key(), two.key()), (&ctx.key("a"), &ctx.key("a")));
    assert_ne!(one.upload_id(), two.upload_id());
    one.abort().await?;
    two.abort().await
}

pub(super) async fn an_upload_is_resumed_by_its_id(ctx: &Context) -> Kept {
    let begun = begin(ctx, "a").await?;
    let first = begun.upload_part(number(1), bytes(MIN, 1).into()).await?;
    let id = UploadId::new(begun.upload_id().as_str());
    drop(begun);

    let resumed = ctx.store().resume_multipart_upload(&ctx.key("a"), &id)?;
    assert_eq!((resumed.key(), resumed.upload_id()), (&ctx.key("a"), &id));
    let listed = list_parts(&*resumed).await?;
    assert_eq!(listed, [first]);
    let second = resumed.upload_part(number(2), "end".into()).await?;
    resumed.complete(&[listed[0].clone(), second], plain()).await?;
    assert_eq!(ctx.store().head_meta(&ctx.key("a")).await?.size, MIN as u64 + 3);
    Ok(())
}

pub(super) async fn two_uploads_to_one_key_do_not_mix(ctx: &Context) -> Kept {
    let (one, two) = (begin(ctx, "a").await?, begin(ctx, "a").await?);
    let of_one = one.upload_part(number(1), "one".into()).await?;
    let of_two = two.upload_part(number(1), "two".into()).await?;
    one.complete(&[of_one], plain()).await?;
    assert_eq!(ctx.get("a").await?, "one");
    assert_eq!(list_parts(&*two).await?, std::slice::from_ref(&of_two));
    two.complete(&[of_two], plain()).await?;
    assert_eq!(ctx.get("a").await?, "two");
    Ok(())
}

pub(super) async fn the_parts_of_an_upload_are_listed(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    assert!(list_parts(&*upload).await?.is_empty());
    let mut sent = Vec::new();
    for at in [3, 1, 2] {
        sent.push(upload.upload_part(number(at), vec![7; usize::from(at)].into()).await?);
    }
    sent.sort_by_key(|part| part.number);
    assert_eq!(list_parts(&*upload).await?, sent);
    upload.abort().await
}

pub(super) async fn more_than_a_thousand_parts_are_listed_in_pages(ctx: &Context) -> Kept {
    const PARTS: u16 = 1003;
    const AT_ONCE: usize = 16;
    let upload = begin(ctx, "a").await?;
    let send = |at| upload.upload_part(number(at), "x".into());
    let sent: Vec<Result<Part>> = stream::iter(1..=PARTS).map(send).buffered(AT_ONCE).collect().await;
    let sent = sent.into_iter().collect::<Result<Vec<Part>>>()?;
    let listed = list_parts(&*upload).await?;
    assert!(listed == sent, "{} of {PARTS} parts, or not as they were sent", listed.len());
    upload.abort().await
}

pub(super) async fn an_upload_left_behind_is_found(ctx: &Context) -> Kept {
    let (a, b) = (begin(ctx, "a").await?, begin(ctx, "b c+%/é").await?);
    a.upload_part(number(1), "x".into()).await?;
    let found = uploads(ctx).await?;
    let ids: Vec<_> = found.iter().map(|upload| (&upload.key, &upload.upload_id)).collect();
    assert_eq!(ids, [(a.key(), a.upload_id()), (b.key(), b.upload_id())]);
    // What was found is enough to clean up.
    for info in &found {
        ctx.store().resume_multipart_upload(&info.key, &info.upload_id)?.abort().await?;
    }
    assert!(uploads(ctx).await?.is_empty());
    Ok(())
}

pub(super) async fn uploads_are_listed_in_pages(ctx: &Context) -> Kept {
    let mut begun = Vec::new();
    for name in ["b", "a", "a", "a/b", "other"] {
        begun.push(begin(ctx, name).await?);
    }
    let mut expected: Vec<_> =
        begun.iter().map(|upload| (upload.key().clone(), upload.upload_id().clone())).collect();
    expected.sort();
    let in_pages = !ctx.dialect().has(Quirk::UploadPagesLoseEntries);
    for page_size in [1, 2, 1000].into_iter().filter(|size| in_pages || *size == 1000) {
        let options = ListUploadsOptions::prefix(ctx.prefix()).with_page_size(page_size);
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let page = ctx.store().list_multipart_uploads_page(&options, next.as_ref()).await?;
            assert!(page.uploads.len() <= page_size);
            found.extend(page.uploads.into_iter().map(|upload| (upload.key, upload.upload_id)));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        if !ctx.capabilities().ordered_list {
            found.sort();
        }
        assert_eq!(found, expected, "pages of {page_size}");
    }
    let under_a = ctx.store().list_uploads(ctx.key("a").as_str()).await?;
    assert_eq!(under_a.len(), 3, "a prefix is a plain string: {under_a:?}");
    for upload in begun {
        upload.abort().await?;
    }
    Ok(())
}

pub(super) async fn a_page_of_uploads_has_one_to_a_thousand_entries(ctx: &Context) -> Kept {
    for page_size in [0, 1001] {
        let options = ListUploadsOptions::prefix(ctx.prefix()).with_page_size(page_size);
        let refused = ctx.store().list_multipart_uploads_page(&options, None).await;
        assert_refused(refused, ErrorKind::InvalidInput);
    }
    Ok(())
}

pub(super) async fn a_page_token_of_no_listing_of_uploads_or_parts_is_refused(ctx: &Context) -> Kept {
    let tolerated = ctx.dialect().has(Quirk::TakesAnyPageToken);
    let upload = begin(ctx, "a").await?;
    let token = PageToken::new("no such page");
    let options = ListUploadsOptions::prefix(ctx.prefix());
    let listed = ctx.store().list_multipart_uploads_page(&options, Some(&token)).await;
    if !(tolerated && listed.is_ok()) {
        assert_refused(listed, ErrorKind::InvalidInput);
    }
    let listed = upload.list_parts_page(Some(&token)).await;
    if !(tolerated && listed.is_ok()) {
        assert_refused(listed, ErrorKind::InvalidInput);
    }
    upload.abort().await
}

pub(super) async fn a_part_below_five_mebibytes_is_refused_unless_it_is_last(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    let short = upload.upload_part(number(1), bytes(MIN - 1, 1).into()).await?;
    let last = upload.upload_part(number(2), "x".into()).await?;
    let refused = upload.complete(&[short.clone(), last], plain()).await;
    assert_refused(refused, ErrorKind::InvalidInput);
    assert!(!ctx.store().exists(&ctx.key("a")).await?);
    // Nothing is lost: as the last part it is large enough.
    upload.complete(&[short], plain()).await?;
    assert_eq!(ctx.store().head_meta(&ctx.key("a")).await?.size, MIN as u64 - 1);
    Ok(())
}

pub(super) async fn more_than_five_gibibytes_in_one_part_are_refused(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    let refused = upload.upload_part(number(1), huge(PART_BYTES_MAX + 1)).await;
    assert_refused(refused, ErrorKind::InvalidInput);
    assert!(list_parts(&*upload).await?.is_empty());
    upload.abort().await
}

/// After a refused completion nothing was joined, and the upload can still be completed with this part.
async fn still_pending(ctx: &Context, upload: &dyn MultipartUpload, part: Part) -> Kept {
    assert!(!ctx.store().exists(upload.key()).await?, "nothing was joined");
    upload.complete(&[part], plain()).await?;
    assert!(ctx.store().exists(upload.key()).await?);
    Ok(())
}

pub(super) async fn completing_without_parts_is_refused(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    assert_refused(upload.complete(&[], plain()).await, ErrorKind::InvalidInput);
    let part = upload.upload_part(number(1), "x".into()).await?;
    assert_refused(upload.complete(&[], plain()).await, ErrorKind::InvalidInput);
    still_pending(ctx, &*upload, part).await
}

pub(super) async fn completing_out_of_order_is_refused(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    let first = upload.upload_part(number(1), bytes(MIN, 1).into()).await?;
    let second = upload.upload_part(number(2), bytes(MIN, 2).into()).await?;
    let refused = upload.complete(&[second, first.clone()], plain()).await;
    assert_refused(refused, ErrorKind::InvalidInput);
    still_pending(ctx, &*upload, first).await
}

pub(super) async fn completing_with_a_part_twice_is_refused(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    let part = upload.upload_part(number(1), bytes(MIN, 1).into()).await?;
    let refused = upload.complete(&[part.clone(), part.clone()], plain()).await;
    assert_refused(refused, ErrorKind::InvalidInput);
    still_pending(ctx, &*upload, part).await
}

pub(super) async fn completing_with_a_part_never_sent_is_refused(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    let part = upload.upload_part(number(1), bytes(MIN, 1).into()).await?;
    let invented = Part::new(number(2), part.etag.clone(), 5);
    let refused = upload.complete(&[part.clone(), invented], plain()).await;
    assert_refused(refused, ErrorKind::InvalidInput);
    still_pending(ctx, &*upload, part).await
}

pub(super) async fn completing_with_a_part_replaced_since_is_refused(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    let old = upload.upload_part(number(1), "old".into()).await?;
    let new = upload.upload_part(number(1), "new".into()).await?;
    assert_ne!(old.etag, new.etag);
    let old_tag = old.etag.clone();
    let foreign = Part::new(number(1), foreign_tag(), 3);
    for wrong in [old, foreign] {
        if wrong.etag == old_tag && ctx.dialect().has(Quirk::KeepsReplacedParts) {
            continue;
        }
        assert_refused(upload.complete(&[wrong], plain()).await, ErrorKind::InvalidInput);
    }
    still_pending(ctx, &*upload, new).await
}

pub(super) async fn completing_can_create(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    let part = upload.upload_part(number(1), "new".into()).await?;
    let created = upload.complete(std::slice::from_ref(&part), PutMode::Create.into()).await;
    if !ctx.capabilities().complete_create {
        assert_unsupported(created)?;
        return still_pending(ctx, &*upload, part).await;
    }
    created?;
    assert_eq!(ctx.get("a").await?, "new");
    Ok(())
}

pub(super) async fn completing_refuses_to_create_over_an_object_and_can_be_done_otherwise(
    ctx: &Context,
) -> Kept {
    let upload = begin(ctx, "a").await?;
    let part = upload.upload_part(number(1), "new".into()).await?;
    // The condition is judged when the parts are joined, not when the upload was begun.
    ctx.put("a", "old").await?;
    let refused = upload.complete(std::slice::from_ref(&part), PutMode::Create.into()).await;
    if ctx.capabilities().complete_create {
        assert_refused(refused, ErrorKind::AlreadyExists);
    } else {
        assert_unsupported(refused)?;
    }
    assert_eq!(ctx.get("a").await?, "old");
    assert_eq!(list_parts(&*upload).await?, std::slice::from_ref(&part));
    upload.complete(&[part], plain()).await?;
    assert_eq!(ctx.get("a").await?, "new");
    Ok(())
}

pub(super) async fn completing_can_match(ctx: &Context) -> Kept {
    let old = ctx.put("a", "old").await?.etag;
    let upload = begin(ctx, "a").await?;
    let part = upload.upload_part(number(1), "new".into()).await?;
    let matched = upload.complete(&[part], PutMode::Match(old).into()).await;
    if !ctx.capabilities().complete_match {
        assert_eq!(ctx.get("a").await?, "old");
        assert_unsupported(matched)?;
        return upload.abort().await;
    }
    let outcome = matched?;
    assert_eq!(ctx.get("a").await?, "new");
    assert_eq!(ctx.store().head_meta(&ctx.key("a")).await?.etag, Some(outcome.etag));
    Ok(())
}

pub(super) async fn completing_refuses_to_match_another_version(ctx: &Context) -> Kept {
    let old = ctx.put("a", "old").await?.etag;
    let upload = begin(ctx, "a").await?;
    let part = upload.upload_part(number(1), "new".into()).await?;
    ctx.put("a", "written meanwhile").await?;
    let refused = upload.complete(&[part], PutMode::Match(old).into()).await;
    if ctx.capabilities().complete_match {
        assert_refused(refused, ErrorKind::PreconditionFailed);
    } else {
        assert_unsupported(refused)?;
    }
    assert_eq!(ctx.get("a").await?, "written meanwhile");
    upload.abort().await
}

pub(super) async fn completing_to_match_nothing_says_not_found(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    let part = upload.upload_part(number(1), "new".into()).await?;
    let refused = upload.complete(&[part], PutMode::Match(foreign_tag()).into()).await;
    if ctx.capabilities().complete_match {
        ctx.assert_nothing_to_match(refused);
    } else {
        assert_unsupported(refused)?;
    }
    assert!(!ctx.store().exists(&ctx.key("a")).await?);
    upload.abort().await
}

/// Everything but another abort finds nothing.
async fn assert_over(upload: &dyn MultipartUpload) -> Kept {
    assert_refused(upload.upload_part(number(1), "late".into()).await, ErrorKind::NotFound);
    assert_refused(upload.list_parts_page(None).await, ErrorKind::NotFound);
    upload.abort().await
}

pub(super) async fn an_aborted_upload_leaves_nothing(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    let part = upload.upload_part(number(1), bytes(100_000, 1).into()).await?;
    upload.abort().await?;
    assert!(uploads(ctx).await?.is_empty());
    assert!(!ctx.store().exists(&ctx.key("a")).await?);
    assert!(ctx.names().await?.is_empty());
    assert_refused(upload.complete(&[part], plain()).await, ErrorKind::NotFound);
    assert_over(&*upload).await
}

pub(super) async fn aborting_twice_succeeds(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    upload.abort().await?;
    upload.abort().await
}

pub(super) async fn an_aborted_upload_leaves_the_old_object_alone(ctx: &Context) -> Kept {
    ctx.put("a", "old").await?;
    let upload = begin(ctx, "a").await?;
    upload.upload_part(number(1), "new".into()).await?;
    upload.abort().await?;
    assert_eq!(ctx.get("a").await?, "old");
    Ok(())
}

pub(super) async fn a_completed_upload_is_over(ctx: &Context) -> Kept {
    let upload = begin(ctx, "a").await?;
    let part = upload.upload_part(number(1), "x".into()).await?;
    upload.complete(std::slice::from_ref(&part), plain()).await?;
    assert!(uploads(ctx).await?.is_empty());
    let again = upload.complete(&[part], plain()).await;
    if !(ctx.dialect().has(Quirk::CompleteAgainSucceeds) && again.is_ok()) {
        assert_refused(again, ErrorKind::NotFound);
    }
    assert_over(&*upload).await?;
    assert_eq!(ctx.get("a").await?, "x");
    Ok(())
}

pub(super) async fn an_upload_that_never_was_says_not_found(ctx: &Context) -> Kept {
    // An id of the store's own making, but not of this key.
    let other = begin(ctx, "other").await?;
    let resumed = ctx.store().resume_multipart_upload(&ctx.key("a"), other.upload_id());
    if let Ok(upload) = resumed {
        assert_eq!(refusal(upload.list_parts_page(None).await), ErrorKind::NotFound);
        assert_eq!(refusal(upload.upload_part(number(1), "x".into()).await), ErrorKind::NotFound);
        upload.abort().await?;
    }
    assert_eq!(uploads(ctx).await?.len(), 1, "the other upload is left alone");
    let part = other.upload_part(number(1), "x".into()).await?;
    other.complete(&[part], plain()).await?;
    assert_eq!(ctx.names().await?, ["other"]);

    // And one that no store would make: it may be refused at once.
    let odd = ctx.store().resume_multipart_upload(&ctx.key("a"), &UploadId::new("no such upload"));
    match odd {
        Ok(upload) => assert_refused(upload.list_parts_page(None).await, ErrorKind::NotFound),
        Err(error) => assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)),
    }
    Ok(())
}
