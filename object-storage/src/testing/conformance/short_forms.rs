//! The short forms of `ObjectStorageExt` do what the long ones do.

use crate::{ErrorKind, ObjectStorageExt};

use super::conditions::foreign_tag;
use super::context::{Context, Kept, assert_refused, assert_unsupported, bytes};

pub(super) async fn put_if_absent_refuses_what_is_there(ctx: &Context) -> Kept {
    let key = ctx.key("a");
    let created = ctx.store().put_if_absent(&key, "first").await;
    if !ctx.capabilities().put_create {
        return assert_unsupported(created);
    }
    created?;
    assert_refused(ctx.store().put_if_absent(&key, "second").await, ErrorKind::AlreadyExists);
    assert_eq!(ctx.store().get_bytes(&key).await?, "first");
    Ok(())
}

pub(super) async fn put_if_match_replaces_what_it_knows(ctx: &Context) -> Kept {
    let key = ctx.key("a");
    let first = ctx.store().put_bytes(&key, "first").await?.etag;
    let second = ctx.store().put_if_match(&key, "second", &first).await;
    if !ctx.capabilities().put_match {
        return assert_unsupported(second);
    }
    second?;
    assert_refused(ctx.store().put_if_match(&key, "third", &first).await, ErrorKind::PreconditionFailed);
    assert_eq!(ctx.store().get_bytes(&key).await?, "second");
    Ok(())
}

pub(super) async fn get_range_gives_just_those_bytes(ctx: &Context) -> Kept {
    let key = ctx.key("a");
    ctx.put("a", "0123456789").await?;
    assert_eq!(ctx.store().get_range(&key, 2..5).await?, "234");
    assert!(ctx.store().get_range(&key, 5..5).await?.is_empty());
    assert_refused(ctx.store().get_range(&key, 5..11).await, ErrorKind::RangeNotSatisfiable);
    assert_refused(ctx.store().get_range(&ctx.key("none"), 0..1).await, ErrorKind::NotFound);
    Ok(())
}

pub(super) async fn get_ranges_gives_each_range_in_the_order_asked(ctx: &Context) -> Kept {
    let whole = bytes(4 * 1024 * 1024, 1);
    ctx.put("a", whole.clone()).await?;
    // Far apart, close together, overlapping, the same twice, without bytes.
    let mut ranges = [3_000_000..3_000_100, 0..10, 5..20, 100..200, 0..10, 7..7, 4_194_303..4_194_304];
    for _ in 0..2 {
        let got = ctx.store().get_ranges(&ctx.key("a"), &ranges).await?;
        assert_eq!(got.len(), ranges.len());
        for (range, got) in ranges.iter().zip(got) {
            let at = |place| usize::try_from(place).expect("small");
            assert!(got == whole[at(range.start)..at(range.end)], "{range:?} has other bytes");
        }
        ranges.reverse();
    }
    assert!(ctx.store().get_ranges(&ctx.key("a"), &[]).await?.is_empty());
    Ok(())
}

pub(super) async fn get_ranges_fails_when_one_lies_outside(ctx: &Context) -> Kept {
    ctx.put("a", "0123456789").await?;
    let ranges = [0..1, 9..11];
    let refused = ctx.store().get_ranges(&ctx.key("a"), &ranges).await;
    assert_refused(refused, ErrorKind::RangeNotSatisfiable);
    assert_refused(ctx.store().get_ranges(&ctx.key("none"), &ranges).await, ErrorKind::NotFound);
    Ok(())
}

pub(super) async fn exists_tells_whether_it_is_there(ctx: &Context) -> Kept {
    let key = ctx.key("a");
    assert!(!ctx.store().exists(&key).await?);
    ctx.put("a", "").await?;
    assert!(ctx.store().exists(&key).await?);
    ctx.store().delete(&key, Default::default()).await?;
    assert!(!ctx.store().exists(&key).await?);
    Ok(())
}

pub(super) async fn delete_if_match_deletes_what_it_knows(ctx: &Context) -> Kept {
    let key = ctx.key("a");
    let etag = ctx.put("a", "x").await?.etag;
    let refused = ctx.store().delete_if_match(&key, &foreign_tag()).await;
    if !ctx.capabilities().delete_match {
        return assert_unsupported(refused);
    }
    assert_refused(refused, ErrorKind::PreconditionFailed);
    ctx.store().delete_if_match(&key, &etag).await?;
    assert!(!ctx.store().exists(&key).await?);
    Ok(())
}

pub(super) async fn a_lister_pulls_every_page(ctx: &Context) -> Kept {
    for name in ["a", "b/1", "b/2", "c"] {
        ctx.put(name, "x").await?;
    }
    let mut lister = ctx.store().list(ctx.listing("").with_page_size(1));
    let mut names = Vec::new();
    while let Some(meta) = lister.next().await? {
        names.push(ctx.name(meta.key.as_str()).to_owned());
    }
    names.sort();
    assert_eq!(names, ["a", "b/1", "b/2", "c"]);
    assert!(lister.next().await?.is_none(), "what is over stays over");
    let all = ctx.store().list_all(&format!("{}b/", ctx.prefix())).await?;
    assert_eq!(all.len(), 2);
    Ok(())
}
