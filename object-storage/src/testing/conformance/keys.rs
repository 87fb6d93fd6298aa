//! Keys are strings: each comes back as it was given, and two that differ are two objects.

use crate::{CopyOptions, ErrorKind, Key, ObjectStorageExt, PutMode, Result};
use futures_util::future::join_all;

use super::context::{Context, Kept, Quirk, refusal};
use super::multipart::{begin, number};

/// Holds one key to the whole round: put, get, head, list, copy from and to it, multipart, delete.
async fn round_trip(ctx: &Context, name: &str) -> Kept {
    let key = ctx.key(name);
    let store = ctx.store();
    let etag = ctx.put(name, name.to_owned()).await?.etag;
    assert_eq!(ctx.get(name).await?, name);
    let head = store.head_meta(&key).await?;
    assert_eq!((&head.key, head.etag.as_ref()), (&key, Some(&etag)));
    // Names that begin with this one may be under way beside it.
    let listed = store.list_all(key.as_str()).await?;
    assert_eq!(listed.iter().filter(|meta| meta.key == key).count(), 1, "{key:?} is listed once: {listed:?}");

    // As the source of a copy the key travels in a header, as the object of an upload in a query.
    let copy = Key::parse(&format!("{}copies/{}", ctx.prefix(), etag.as_str())).expect("plain");
    store.copy(&key, &copy, CopyOptions::default()).await?;
    assert_eq!(store.get_bytes(&copy).await?, name);
    store.put_bytes(&copy, "back").await?;
    store.copy(&copy, &key, CopyOptions::default()).await?;
    assert_eq!(store.get_bytes(&key).await?, "back");
    let upload = begin(ctx, name).await?;
    let part = upload.upload_part(number(1), "joined".into()).await?;
    upload.complete(&[part], PutMode::Overwrite.into()).await?;
    assert_eq!(store.get_bytes(&key).await?, "joined");

    // In DeleteObjects it travels in XML, both ways.
    for result in store.delete_many(&[key.clone(), copy]).await? {
        result?;
    }
    assert!(!store.exists(&key).await?);
    ctx.put(name, "again").await?;
    store.delete(&key, Default::default()).await?;
    assert!(!store.exists(&key).await?);
    Ok(())
}

/// All of them, side by side, and then a word on each that failed.
async fn round_trips(ctx: &Context, names: &[&str]) -> Kept {
    let takes = |name: &&str| !(name.contains('\\') && ctx.dialect().has(Quirk::BackslashIsSlash));
    let names: Vec<&str> = names.iter().copied().filter(takes).collect();
    let ended = join_all(names.iter().map(|name| round_trip(ctx, name))).await;
    let failed: Vec<_> = names.iter().zip(ended).filter_map(|(name, end)| Some((name, end.err()?))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    Ok(())
}

pub(super) async fn a_key_with_space_plus_percent_and_emoji_is_kept(ctx: &Context) -> Kept {
    round_trips(ctx, &["a b+c%2F/é/😀"]).await
}

pub(super) async fn punctuation_is_kept(ctx: &Context) -> Kept {
    let names = [
        "plus+",
        "percent%",
        "semi;colon",
        "tilde~",
        "apos'trophe",
        "round(s)",
        "bang!",
        "star*",
        "amp&ersand",
        "equals=",
        "question?",
        "hash#",
        "back\\slash",
        "quo\"te",
        "co:lon",
        "com,ma",
        "at@",
        "dollar$",
        "square[s]",
        "curly{s}",
        "pipe|",
        "caret^",
        "back`tick",
        "less<more>",
        "dash-",
        "under_score",
        "do.t",
        "]]>",
        "&amp;",
        "<key>",
    ];
    round_trips(ctx, &names).await
}

pub(super) async fn what_looks_encoded_is_kept(ctx: &Context) -> Kept {
    let names = [
        "%2e",
        "%2e%2e",
        "%2F",
        "%2f",
        "%",
        "%%",
        "%zz",
        "%00",
        "a%20b",
        "a+b",
        "%25",
        "%252F",
        "&#10;",
        "\\n",
        "=?UTF-8?Q?a?=",
        "a?versionId=1",
        "a?uploads",
        "a#fragment",
        "http://example.com/a",
    ];
    // `//` in a key is for S3 alone; this one is about what looks like a URL.
    let names: Vec<_> = names.into_iter().filter(|name| Key::parse(name).is_ok()).collect();
    round_trips(ctx, &names).await
}

pub(super) async fn dots_and_tildes_are_kept(ctx: &Context) -> Kept {
    let names =
        ["...", ".hidden", "a..b", "a.", "..a", "a/.b/c..", "~", "~root", "-", "--help", "-rf", "a~b"];
    round_trips(ctx, &names).await
}

pub(super) async fn spaces_are_kept(ctx: &Context) -> Kept {
    round_trips(ctx, &[" leading", "trailing ", "two  spaces", " ", "a / b", "\u{a0}no-break", "\u{3000}"])
        .await
}

pub(super) async fn foreign_scripts_are_kept(ctx: &Context) -> Kept {
    let names = [
        "ünïcödé",
        "日本語",
        "русский",
        "العربية",
        "עברית",
        "हिन्दी",
        "👩‍👩‍👧‍👦",
        "𝒳",
        "\u{200b}zero-width",
        "\u{202e}right-to-left",
        "\u{feff}mark",
        "\u{fffd}",
        "ﬀ",
        "İi",
        "ß",
    ];
    round_trips(ctx, &names).await
}

pub(super) async fn the_longest_keys_are_kept(ctx: &Context) -> Kept {
    let room = ctx.key_bytes_max() - ctx.prefix().len();
    let one_segment = "x".repeat(room);
    let many_segments: String =
        (0..room).map(|at| if at % 2 == 1 && at + 1 < room { '/' } else { 'y' }).collect();
    // Escaped, each of these bytes takes three.
    let escaped = "é".repeat(room / 2);
    let segment_bounds = [254, 255, 256, 257].map(|len| "z".repeat(len));
    for name in [&one_segment, &many_segments, &escaped].into_iter().chain(&segment_bounds) {
        if ctx.dialect().has(Quirk::LongSegmentsAreRefused) && name.split('/').any(|part| part.len() > 255) {
            assert_key_refused(ctx.put(name, "x").await);
            continue;
        }
        round_trip(ctx, name).await?;
    }
    if ctx.dialect().has(Quirk::LongSegmentsAreRefused) {
        return Ok(());
    }
    // Two that differ in the last byte only, each seen for itself.
    let (last_a, last_b) = (format!("{}a", &one_segment[1..]), format!("{}b", &one_segment[1..]));
    ctx.put(&last_a, "a").await?;
    ctx.put(&last_b, "b").await?;
    assert_eq!((ctx.get(&last_a).await?, ctx.get(&last_b).await?), ("a".into(), "b".into()));
    assert_eq!(ctx.names().await?, [last_a, last_b]);
    Ok(())
}

/// Each name is an object of its own.
async fn assert_distinct(ctx: &Context, names: &[&str]) -> Kept {
    for name in names {
        ctx.put(name, format!("of {}", name.escape_unicode())).await?;
    }
    for name in names {
        assert_eq!(ctx.get(name).await?, format!("of {}", name.escape_unicode()));
    }
    let mut sorted: Vec<_> = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(ctx.names().await?, sorted);
    for (at, name) in names.iter().enumerate() {
        ctx.store().delete(&ctx.key(name), Default::default()).await?;
        assert_eq!(ctx.names().await?.len(), names.len() - at - 1, "one is gone, and no other");
    }
    Ok(())
}

pub(super) async fn upper_and_lower_case_are_two_keys(ctx: &Context) -> Kept {
    assert_distinct(ctx, &["case", "Case", "CASE", "é", "É"]).await
}

pub(super) async fn composed_and_decomposed_are_two_keys(ctx: &Context) -> Kept {
    assert_distinct(ctx, &["\u{e9}", "e\u{301}", "\u{212b}", "\u{c5}", "A\u{30a}"]).await
}

pub(super) async fn encoded_and_decoded_are_two_keys(ctx: &Context) -> Kept {
    assert_distinct(ctx, &["a b", "a+b", "a%20b", "a%2Bb", "a%2520b", "a/b", "a%2Fb", "a%2fb"]).await
}

/// Keys that only `Key::verbatim` admits, under the prefix of the promise as far as they can be.
fn verbatim(text: &str) -> Key {
    let key = Key::verbatim(text).expect("S3 can hold it");
    assert!(key.is_verbatim(), "{key:?} is an everyday key");
    key
}

/// Looks at a refusal of a key that this store cannot take.
fn assert_key_refused<T: std::fmt::Debug>(result: Result<T>) {
    let kind = refusal(result);
    assert!(matches!(kind, ErrorKind::InvalidInput | ErrorKind::Unsupported), "{kind}");
}

/// Every method that takes a key refuses this one.
async fn assert_refused_everywhere(ctx: &Context, key: &Key) -> Kept {
    let store = ctx.store();
    assert_key_refused(store.put_bytes(key, "x").await);
    assert_key_refused(store.get_bytes(key).await);
    assert_key_refused(store.head_meta(key).await);
    assert_key_refused(store.delete(key, Default::default()).await);
    ctx.put("plain", "plain").await?;
    assert_key_refused(store.copy(key, &ctx.key("copy"), CopyOptions::default()).await);
    assert_key_refused(store.copy(&ctx.key("plain"), key, CopyOptions::default()).await);
    assert_key_refused(store.create_multipart_upload(key, Default::default()).await);
    // Among others it is told of by itself, and the others are deleted.
    let results = store.delete_many(&[ctx.key("plain"), key.clone()]).await?;
    let [plain, odd] = <[_; 2]>::try_from(results).expect("one result for each key");
    plain?;
    assert_key_refused(odd);
    assert!(!store.exists(&ctx.key("plain")).await?);
    Ok(())
}

pub(super) async fn a_key_only_s3_can_hold_is_kept_or_refused(ctx: &Context) -> Kept {
    let prefix = ctx.prefix();
    let keys = [
        format!("{prefix}trailing/"),
        format!("{prefix}two//slashes"),
        format!("{prefix}/doubled"),
        format!("{prefix}ends//"),
        format!("/{prefix}leading"),
    ]
    .map(|text| verbatim(&text));
    if ctx.dialect().has(Quirk::EmptySegmentsAreLost) {
        return Ok(());
    }
    let store = ctx.store();
    for key in &keys {
        if !ctx.capabilities().verbatim_keys {
            assert_refused_everywhere(ctx, key).await?;
            continue;
        }
        store.put_bytes(key, key.to_string()).await?;
    }
    if !ctx.capabilities().verbatim_keys {
        assert!(ctx.names().await?.is_empty(), "a refused key leaves nothing");
        return Ok(());
    }
    for key in &keys {
        assert_eq!(store.get_bytes(key).await?, key.as_str());
        assert_eq!(&store.head_meta(key).await?.key, key);
        let listed = store.list_all(key.as_str()).await?;
        assert!(listed.iter().any(|meta| meta.key == *key), "{key:?} is listed as it is: {listed:?}");
    }
    assert!(!store.exists(&ctx.key("trailing")).await?, "a slash makes another key");
    assert!(!store.exists(&ctx.key("two/slashes")).await?, "two slashes are not one");
    for result in store.delete_many(&keys).await? {
        result?;
    }
    for key in &keys {
        assert!(!store.exists(key).await?);
    }
    Ok(())
}

pub(super) async fn a_key_with_control_characters_is_never_written(ctx: &Context) -> Kept {
    let store = ctx.store();
    let plain = ctx.key("plain");
    ctx.put("plain", "plain").await?;
    for name in ["a\0b", "a\nb", "a\rb", "\u{7f}", "\u{85}", "\u{ffff}"] {
        let text = format!("{}{name}", ctx.prefix());
        assert!(Key::parse(&text).is_err());
        let key = verbatim(&text);
        assert_key_refused(store.put_bytes(&key, "x").await);
        assert_key_refused(store.copy(&plain, &key, CopyOptions::default()).await);
        assert_key_refused(store.create_multipart_upload(&key, Default::default()).await);
    }
    assert_eq!(ctx.names().await?, ["plain"]);
    Ok(())
}

pub(super) async fn a_dot_segment_is_kept_or_refused_and_never_resolved(ctx: &Context) -> Kept {
    let store = ctx.store();
    ctx.put("a/b", "the neighbour").await?;
    for name in ["a/./b", "a/c/../b", "./a/b", "a/b/.", "a/b/..", "x/../a/b"] {
        let key = verbatim(&format!("{}{name}", ctx.prefix()));
        match store.put_bytes(&key, name).await {
            Ok(_) => {
                assert_eq!(store.get_bytes(&key).await?, name);
                store.delete(&key, Default::default()).await?;
                assert!(!store.exists(&key).await?);
            }
            refused => {
                assert_key_refused(refused);
                assert_key_refused(store.get_bytes(&key).await);
                assert_key_refused(store.delete(&key, Default::default()).await);
            }
        }
        assert_eq!(ctx.get("a/b").await?, "the neighbour", "{name:?} is not a path to it");
    }
    assert_eq!(ctx.names().await?, ["a/b"]);
    Ok(())
}
