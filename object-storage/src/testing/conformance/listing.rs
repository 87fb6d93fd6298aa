//! Listings: every key once, rolled up and cut into pages as asked.

use crate::{ErrorKind, Key, ListOptions, ObjectStorageExt, PageToken, Result};
use futures_util::StreamExt;
use futures_util::stream;

use super::context::{Context, Kept, Quirk, assert_refused, refusal};

/// Stores an empty object under each of these names.
async fn put_all(ctx: &Context, names: &[&str]) -> Kept {
    for name in names {
        ctx.put(name, "").await?;
    }
    Ok(())
}

pub(super) async fn a_listing_without_keys_is_empty(ctx: &Context) -> Kept {
    let page = ctx.store().list_page(&ctx.listing(""), None).await?;
    assert!(page.objects.is_empty() && page.common_prefixes.is_empty() && page.next.is_none(), "{page:?}");
    Ok(())
}

pub(super) async fn a_listing_shows_each_key_once(ctx: &Context) -> Kept {
    put_all(ctx, &["b", "a", "c/d", "c/e"]).await?;
    ctx.put("b", "again").await?;
    assert_eq!(ctx.names().await?, ["a", "b", "c/d", "c/e"]);
    Ok(())
}

pub(super) async fn a_listing_shows_sizes_and_tags(ctx: &Context) -> Kept {
    let small = ctx.put("small", "1").await?;
    let large = ctx.put("large", vec![7; 70_000]).await?;
    let objects = ctx.store().list_all(ctx.prefix()).await?;
    for (name, size, etag) in [("small", 1, small.etag), ("large", 70_000, large.etag)] {
        let key = ctx.key(name);
        let listed = objects.iter().find(|meta| meta.key == key).expect("listed");
        assert_eq!((listed.size, listed.etag.as_ref()), (size, Some(&etag)));
    }
    Ok(())
}

pub(super) async fn keys_come_in_byte_order(ctx: &Context) -> Kept {
    // As paths, `a/b` would come before `a!` and `a-b`; in UTF-16 the emoji would come before U+FFFD.
    let in_order = ["B", "a", "a!", "a-b", "a/b", "a/b/c", "a0", "aa", "b", "~", "é", "\u{fffd}", "😀"];
    let mut shuffled = in_order;
    shuffled.reverse();
    put_all(ctx, &shuffled).await?;
    assert_eq!(ctx.names().await?, in_order);
    assert_eq!(ctx.list(ctx.listing("").with_page_size(2)).await?.0, in_order);
    Ok(())
}

pub(super) async fn a_prefix_is_a_plain_string(ctx: &Context) -> Kept {
    put_all(ctx, &["a", "a/b", "a/bc", "a/bc/d", "a/c", "ab", "b/a/b"]).await?;
    let expected: [(&str, &[&str]); 5] = [
        ("a/b", &["a/b", "a/bc", "a/bc/d"]),
        ("a/", &["a/b", "a/bc", "a/bc/d", "a/c"]),
        ("a", &["a", "a/b", "a/bc", "a/bc/d", "a/c", "ab"]),
        ("a/bc/d/", &[]),
        ("A", &[]),
    ];
    for (prefix, names) in expected {
        assert_eq!(ctx.list(ctx.listing(prefix)).await?.0, names, "under {prefix:?}");
    }
    Ok(())
}

pub(super) async fn a_prefix_may_hold_any_character(ctx: &Context) -> Kept {
    let prefixes =
        ["a b", "a+b", "50%", "%2F", "é", "😀", "q=1&r=2", "what?", "#1", "<x>", "it's", "\"", "a\\"];
    let takes = |prefix: &&str| !(prefix.contains('\\') && ctx.dialect().has(Quirk::BackslashIsSlash));
    let prefixes: Vec<&str> = prefixes.into_iter().filter(takes).collect();
    for prefix in &prefixes {
        ctx.put(&format!("{prefix}/x"), "").await?;
    }
    for prefix in &prefixes {
        let name = format!("{prefix}/x");
        assert_eq!(ctx.list(ctx.listing(prefix)).await?.0, [name], "under {prefix:?}");
        let rolled_up = ctx.list(ctx.listing(prefix).with_delimiter("/")).await?;
        assert_eq!(rolled_up, (vec![], vec![format!("{prefix}/")]), "under {prefix:?}");
    }
    Ok(())
}

pub(super) async fn a_key_that_is_the_prefix_is_listed(ctx: &Context) -> Kept {
    put_all(ctx, &["a", "a/b"]).await?;
    assert_eq!(ctx.list(ctx.listing("a").with_delimiter("/")).await?, (vec!["a".into()], vec!["a/".into()]));
    assert_eq!(ctx.list(ctx.listing("a/b").with_delimiter("/")).await?, (vec!["a/b".into()], vec![]));
    Ok(())
}

pub(super) async fn a_delimiter_rolls_up_what_lies_beneath(ctx: &Context) -> Kept {
    put_all(ctx, &["a", "b/1", "b/2", "b/c/3", "b.txt", "d/e/f"]).await?;
    let (names, prefixes) = ctx.list(ctx.listing("").with_delimiter("/")).await?;
    assert_eq!((names, prefixes), (vec!["a".into(), "b.txt".into()], vec!["b/".into(), "d/".into()]));
    let (names, prefixes) = ctx.list(ctx.listing("b/").with_delimiter("/")).await?;
    assert_eq!((names, prefixes), (vec!["b/1".into(), "b/2".into()], vec!["b/c/".into()]));
    Ok(())
}

pub(super) async fn a_delimiter_may_be_any_string(ctx: &Context) -> Kept {
    put_all(ctx, &["x--1", "x--2", "x-3", "y/--z", "plain"]).await?;
    let (names, prefixes) = ctx.list(ctx.listing("").with_delimiter("--")).await?;
    assert_eq!((names, prefixes), (vec!["plain".into(), "x-3".into()], vec!["x--".into(), "y/--".into()]));
    let (names, prefixes) = ctx.list(ctx.listing("x").with_delimiter("-")).await?;
    assert_eq!((names, prefixes), (vec![], vec!["x-".into()]));
    Ok(())
}

pub(super) async fn an_empty_delimiter_is_none(ctx: &Context) -> Kept {
    put_all(ctx, &["a/b", "a/c"]).await?;
    let (names, prefixes) = ctx.list(ctx.listing("").with_delimiter("")).await?;
    assert_eq!((names, prefixes), (vec!["a/b".into(), "a/c".into()], vec![]));
    Ok(())
}

pub(super) async fn start_after_leaves_out_what_comes_before(ctx: &Context) -> Kept {
    put_all(ctx, &["a", "b", "c", "d/1", "d/2"]).await?;
    let expected: [(&str, &[&str]); 6] = [
        ("b", &["c", "d/1", "d/2"]),
        ("bb", &["c", "d/1", "d/2"]),
        ("d/1", &["d/2"]),
        ("d/2", &[]),
        ("zzz", &[]),
        ("", &["a", "b", "c", "d/1", "d/2"]),
    ];
    for (after, names) in expected {
        let after = format!("{}{after}", ctx.prefix());
        for page_size in [1, 1000] {
            let options = ctx.listing("").with_start_after(after.clone()).with_page_size(page_size);
            assert_eq!(ctx.list(options).await?.0, names, "after {after:?}");
        }
    }
    // A place before the prefix leaves nothing out.
    let options = ctx.listing("").with_start_after("!");
    assert_eq!(ctx.list(options).await?.0.len(), 5);
    Ok(())
}

pub(super) async fn pages_of_one_entry_give_the_whole_listing(ctx: &Context) -> Kept {
    put_all(ctx, &["a", "b/1", "b/2", "c", "d/1"]).await?;
    for page_size in [1, 2, 3, 5, 6] {
        let options = ctx.listing("").with_page_size(page_size);
        assert_eq!(ctx.list(options).await?.0, ["a", "b/1", "b/2", "c", "d/1"], "pages of {page_size}");
    }
    let options = ctx.listing("").with_page_size(2);
    let page = ctx.store().list_page(&options, None).await?;
    assert_eq!(page.objects.len(), 2, "a page has as many entries as asked for");
    Ok(())
}

pub(super) async fn a_common_prefix_is_counted_once_across_pages(ctx: &Context) -> Kept {
    put_all(ctx, &["a/1", "a/2", "a/3", "b", "c/1", "c/2", "d"]).await?;
    for page_size in [1, 2, 3] {
        let options = ctx.listing("").with_delimiter("/").with_page_size(page_size);
        let (names, prefixes) = ctx.list(options).await?;
        assert_eq!(names, ["b", "d"], "pages of {page_size}");
        assert_eq!(prefixes, ["a/", "c/"], "pages of {page_size}");
    }
    let options = ctx.listing("").with_delimiter("/").with_page_size(3);
    let page = ctx.store().list_page(&options, None).await?;
    assert_eq!(page.objects.len() + page.common_prefixes.len(), 3, "prefixes count as entries: {page:?}");
    Ok(())
}

pub(super) async fn a_full_last_page_is_the_last(ctx: &Context) -> Kept {
    put_all(ctx, &["a", "b", "c", "d"]).await?;
    let options = ctx.listing("").with_page_size(2);
    let first = ctx.store().list_page(&options, None).await?;
    let second = ctx.store().list_page(&options, first.next.as_ref()).await?;
    assert_eq!((first.objects.len(), second.objects.len()), (2, 2));
    // A page may be empty and be followed by another, so the end may be told one page late.
    if second.next.is_some() {
        let third = ctx.store().list_page(&options, second.next.as_ref()).await?;
        assert!(third.objects.is_empty() && third.next.is_none(), "{third:?}");
    }
    Ok(())
}

pub(super) async fn a_listing_goes_on_when_the_last_key_shown_is_deleted(ctx: &Context) -> Kept {
    put_all(ctx, &["a", "b", "c", "d"]).await?;
    let options = ctx.listing("").with_page_size(2);
    let first = ctx.store().list_page(&options, None).await?;
    for meta in &first.objects {
        ctx.store().delete(&meta.key, Default::default()).await?;
    }
    let second = ctx.store().list_page(&options, first.next.as_ref()).await?;
    let mut names: Vec<_> =
        first.objects.iter().chain(&second.objects).map(|meta| ctx.name(meta.key.as_str())).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "c", "d"]);
    Ok(())
}

pub(super) async fn a_page_size_outside_one_to_a_thousand_is_refused(ctx: &Context) -> Kept {
    for page_size in [0, 1001, usize::MAX] {
        let options = ctx.listing("").with_page_size(page_size);
        assert_refused(ctx.store().list_page(&options, None).await, ErrorKind::InvalidInput);
    }
    for page_size in [1, 1000] {
        ctx.store().list_page(&ctx.listing("").with_page_size(page_size), None).await?;
    }
    Ok(())
}

pub(super) async fn a_token_of_no_listing_is_refused(ctx: &Context) -> Kept {
    put_all(ctx, &["a", "b"]).await?;
    for token in ["", "no such page", "\u{0}", "😀"] {
        let token = PageToken::new(token);
        let answer = ctx.store().list_page(&ctx.listing(""), Some(&token)).await;
        if ctx.dialect().has(Quirk::TakesAnyPageToken) && answer.is_ok() {
            continue;
        }
        assert_eq!(refusal(answer), ErrorKind::InvalidInput, "{token:?}");
    }
    Ok(())
}

pub(super) async fn what_was_just_written_or_deleted_shows_so(ctx: &Context) -> Kept {
    for round in 0..5 {
        let name = format!("object-{round}");
        ctx.put(&name, "x").await?;
        assert!(ctx.names().await?.contains(&name));
        ctx.store().delete(&ctx.key(&name), Default::default()).await?;
        assert!(!ctx.names().await?.contains(&name));
    }
    Ok(())
}

/// Two limits of S3 at once, because a thousand objects take time: what one page shows, and what one
/// DeleteObjects takes.
pub(super) async fn more_than_a_thousand_keys_come_in_pages_and_go_in_one_call(ctx: &Context) -> Kept {
    const OBJECTS: usize = 1005;
    const AT_ONCE: usize = 16;
    let keys: Vec<Key> = (0..OBJECTS).map(|number| ctx.key(&format!("{number:04}"))).collect();
    let puts = stream::iter(&keys).map(|key| ctx.store().put_bytes(key, "x")).buffer_unordered(AT_ONCE);
    let stored: Vec<Result<_>> = puts.collect().await;
    for outcome in stored {
        outcome?;
    }

    let mut pages = Vec::new();
    let mut lister = ctx.store().list(ListOptions::prefix(ctx.prefix()));
    while let Some(page) = lister.next_page().await? {
        assert!(page.objects.len() <= 1000, "a page has at most a thousand entries");
        pages.push(page.objects);
    }
    assert!(pages.len() >= 2, "more than a thousand keys take more than one page");
    let mut listed: Vec<Key> = pages.into_iter().flatten().map(|meta| meta.key).collect();
    if !ctx.capabilities().ordered_list {
        listed.sort();
    }
    assert!(listed == keys, "{} of {OBJECTS} keys, or in another order", listed.len());

    let deleted = ctx.store().delete_many(&keys).await?;
    assert_eq!(deleted.len(), OBJECTS, "one result for each key");
    for result in deleted {
        result?;
    }
    assert!(ctx.names().await?.is_empty());
    Ok(())
}
