//! Keys that would mean something else as a path or in a URL are refused with a typed error, before any request.

use object_storage::{
    CopyOptions, DeleteOptions, ErrorKind, GetOptions, HeadOptions, Key, KeyRule, MultipartOptions,
    ObjectStorageExt, PutOptions,
};

use crate::scenario::{Context, Failure, Outcome, Scenario, ensure, expect_one_of, failure, passed};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "hostile-keys",
    about: "//evil/x, ../b, a/../b, an empty key, a NUL and their like are typed errors and never a request",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Context) -> Outcome {
    let too_long = "x".repeat(1025);
    let refused: &[(&str, KeyRule)] = &[
        ("", KeyRule::Empty),
        (&too_long, KeyRule::TooLong),
        ("a\0b", KeyRule::ControlCharacter),
        ("a\nb", KeyRule::ControlCharacter),
        ("a\r\nx-evil: 1", KeyRule::ControlCharacter),
        ("a\u{7f}", KeyRule::ControlCharacter),
        ("/x", KeyRule::LeadingSlash),
        ("//evil/x", KeyRule::LeadingSlash),
        ("x/", KeyRule::TrailingSlash),
        ("a//b", KeyRule::DoubleSlash),
        (".", KeyRule::DotSegment),
        ("..", KeyRule::DotSegment),
        ("../b", KeyRule::DotSegment),
        ("a/../b", KeyRule::DotSegment),
        ("a/./b", KeyRule::DotSegment),
        ("a/..", KeyRule::DotSegment),
    ];
    cx.clear_requests();
    for (text, rule) in refused {
        match Key::parse(text) {
            Err(invalid) if invalid.rule() == *rule => {}
            Err(invalid) => {
                return Err(failure(format!("{text:?} breaks {rule:?}, but the error says {invalid}")));
            }
            Ok(_) => return Err(failure(format!("Key::parse admits {text:?}"))),
        }
    }
    // Not even as somebody else's key, which only S3 itself could hold.
    for text in ["", &too_long] {
        ensure!(Key::verbatim(text).is_err(), "Key::verbatim admits {} bytes", text.len());
    }
    // Somebody else may have written such a key, and then it can be read and deleted; nothing here writes one.
    for text in ["a\0b", "a\nb", "a\r\nx-evil: 1"] {
        never_written(cx, &Key::verbatim(text)?).await?;
    }
    // Held verbatim, but no store may take them for paths, and no HTTP client can send them as they are.
    let mut kept = 0;
    for text in [".", "..", "../b", "a/../b", "a/./b", "a/.."] {
        kept += usize::from(!refused_or_kept(cx, &Key::verbatim(text)?).await?);
    }
    if !cx.capabilities().verbatim_keys {
        for text in ["/x", "//evil/x", "a//b", "x/"] {
            refused_everywhere(cx, &Key::verbatim(text)?).await?;
        }
    }
    let seen = if cx.ensure_no_request("a hostile key")? { ", unsent" } else { "" };
    let dots = if kept == 0 { "refused" } else { "kept as they are" };
    passed(format!("{} keys refused by rule; verbatim dot segments {dots}{seen}", refused.len()))
}

/// Fails unless every operation that could write the key refuses it.
async fn never_written(cx: &Context, hostile: &Key) -> Result<(), Failure> {
    let refused = [ErrorKind::InvalidInput, ErrorKind::Unsupported];
    let put = cx.store.put(hostile, "x".into(), PutOptions::default()).await;
    expect_one_of(put, &refused, &format!("a put of {hostile:?}"))?;
    let upload = cx.store.create_multipart_upload(hostile, MultipartOptions::default()).await;
    expect_one_of(upload, &refused, &format!("a multipart upload to {hostile:?}"))?;
    let copy = cx.store.copy(&cx.key("tame")?, hostile, CopyOptions::default()).await;
    expect_one_of(copy, &refused, &format!("a copy to {hostile:?}"))
}

/// Whether the store refuses the key. A store without paths or URLs may keep it, as it is.
async fn refused_or_kept(cx: &Context, hostile: &Key) -> Result<bool, Failure> {
    match cx.store.put(hostile, "x".into(), PutOptions::default()).await {
        Ok(_) => {
            cx.ensure_holds(hostile, b"x").await?;
            let listed = cx.store.list_all(hostile.as_str()).await?;
            ensure!(listed.len() == 1 && listed[0].key == *hostile, "{hostile:?} is listed as {listed:?}");
            cx.store.delete(hostile, DeleteOptions::default()).await?;
            cx.ensure_absent(hostile).await?;
            Ok(false)
        }
        Err(_) => refused_everywhere(cx, hostile).await.map(|()| true),
    }
}

/// Fails unless every operation refuses the key.
async fn refused_everywhere(cx: &Context, hostile: &Key) -> Result<(), Failure> {
    never_written(cx, hostile).await?;
    let refused = [ErrorKind::InvalidInput, ErrorKind::Unsupported];
    let what = |operation: &str| format!("a {operation} {hostile:?}");
    expect_one_of(cx.store.get(hostile, GetOptions::default()).await, &refused, &what("get of"))?;
    expect_one_of(cx.store.head(hostile, HeadOptions::default()).await, &refused, &what("head of"))?;
    expect_one_of(cx.store.delete(hostile, DeleteOptions::default()).await, &refused, &what("delete of"))?;
    let copy = cx.store.copy(hostile, &cx.key("tame")?, CopyOptions::default()).await;
    expect_one_of(copy, &refused, &what("copy from"))
}
