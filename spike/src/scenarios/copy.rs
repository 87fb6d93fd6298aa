//! Copies within the store: bytes and attributes, keys with awkward names, and a condition on the source.

use object_storage::{
    Attributes, ContentHeader, CopyOptions, ErrorKind, GetOptions, ObjectStorageExt, PutOptions,
};

use crate::scenario::{Context, Outcome, Scenario, ensure, expect_kind, failure, noise, passed};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "copy",
    about: "an object is copied with its attributes, under any name, and only in the version asked for",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Context) -> Outcome {
    let (from, to) = (cx.key("from/a b+c%2F/é/😀")?, cx.key("to/?&=#;é")?);
    let bytes = noise(9, 100_000);
    let attributes = Attributes::new()
        .with_header(ContentHeader::ContentType, "application/x-spike")
        .and_then(|set| set.with_metadata("made-by", "spike"))
        .map_err(|error| failure(error.to_string()))?;
    let options = PutOptions::default().with_attributes(attributes.clone());
    let source = cx.store.put(&from, bytes.clone().into(), options).await?.etag;

    let copied = cx.store.copy(&from, &to, CopyOptions::default()).await?;
    let got = cx.store.get(&to, GetOptions::default()).await?;
    ensure!(got.meta.etag.as_ref() == Some(&copied.etag), "copy and get disagree about the tag");
    ensure!(got.attributes.metadata("made-by") == Some("spike"), "the copy lost its user metadata");
    let content_type = got.attributes.header(ContentHeader::ContentType);
    ensure!(content_type == Some("application/x-spike"), "the copy's content type is {content_type:?}");
    ensure!(got.body.bytes().await? == bytes, "the copy holds other bytes");

    let renamed =
        Attributes::new().with_metadata("made-by", "copy").map_err(|error| failure(error.to_string()))?;
    cx.store.copy(&from, &to, CopyOptions::default().with_attributes(renamed)).await?;
    let head = cx.store.head(&to, Default::default()).await?;
    ensure!(
        head.attributes.metadata("made-by") == Some("copy"),
        "the copy did not get attributes of its own"
    );

    cx.store.copy(&from, &to, CopyOptions::default().with_source_if_match(source.clone())).await?;
    cx.store.put_bytes(&from, "changed").await?;
    let stale = cx.store.copy(&from, &to, CopyOptions::default().with_source_if_match(source)).await;
    expect_kind(stale, ErrorKind::PreconditionFailed, "a copy of an older version of the source")?;
    cx.ensure_holds(&to, &bytes).await?;
    let nothing = cx.store.copy(&cx.key("absent")?, &to, CopyOptions::default()).await;
    expect_kind(nothing, ErrorKind::NotFound, "a copy of nothing")?;
    cx.ensure_holds(&to, &bytes).await?;
    passed("bytes, attributes, awkward names, only the version asked for")
}
