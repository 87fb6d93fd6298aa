//! One version, one tag: the same text from every operation, without quotes, and good in every condition.

use std::rc::Rc;

use object_storage::limits::PART_BYTES_MIN;
use object_storage::{
    BufferedMultipartWriter, BufferedMultipartWriterOptions, ETag, ErrorKind, GetOptions, HeadOptions, Key,
    ObjectStorageExt,
};

use crate::scenario::{Context, Failure, Outcome, Scenario, ensure, expect_kind, failure, noise, passed};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "etag-quoting",
    about: "put, get, head and list give one and the same tag, without quotes, and conditions take it back",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Context) -> Outcome {
    let whole = cx.key("whole")?;
    let tag = cx.store.put_bytes(&whole, "some bytes").await?.etag;
    round_trip(cx, &whole, &tag).await?;

    // On S3 the tag of a multipart object is of another form: it ends with a dash and the number of parts.
    let in_parts = cx.key("in-parts")?;
    let options = BufferedMultipartWriterOptions::default().with_part_size(PART_BYTES_MIN);
    let mut writer = BufferedMultipartWriter::new(Rc::clone(&cx.store), in_parts.clone(), options)?;
    writer.write(noise(10, usize::try_from(PART_BYTES_MIN).expect("5 MiB") + 1)).await?;
    let tag = writer.finish().await?.etag;
    round_trip(cx, &in_parts, &tag).await?;

    let copied = cx.key("copied")?;
    let tag = cx.store.copy(&whole, &copied, Default::default()).await?.etag;
    round_trip(cx, &copied, &tag).await?;
    passed("one tag everywhere, unquoted; if-match and if-none-match take it")
}

async fn round_trip(cx: &Context, key: &Key, tag: &ETag) -> Result<(), Failure> {
    let text = tag.as_str();
    ensure!(!text.contains('"') && !text.contains('&'), "the tag is {text}, with quotes or entities");
    let quoted = ETag::parse(&format!("\"{text}\"")).map_err(|error| failure(error.to_string()))?;
    ensure!(&quoted == tag, "a tag that somebody kept with its quotes is another tag");

    let got = cx.store.get(key, GetOptions::default().with_if_match(tag.clone())).await?;
    ensure!(got.meta.etag.as_ref() == Some(tag), "get says {:?}, the write said {text}", got.meta.etag);
    drop(got);
    let head = cx.store.head(key, HeadOptions::default().with_if_match(quoted)).await?.meta;
    ensure!(head.etag.as_ref() == Some(tag), "head says {:?}, the write said {text}", head.etag);
    let listed = cx.store.list_all(key.as_str()).await?;
    let listed = listed.first().and_then(|object| object.etag.as_ref());
    ensure!(listed == Some(tag), "list says {listed:?}, the write said {text}");

    let current = GetOptions::default().with_if_none_match(tag.clone());
    expect_kind(cx.store.get(key, current).await, ErrorKind::NotModified, "a get of what is known")?;
    let current = HeadOptions::default().with_if_none_match(tag.clone());
    expect_kind(cx.store.head(key, current).await, ErrorKind::NotModified, "a head of what is known")?;
    let other = ETag::parse("0123456789abcdef0123456789abcdef").expect("a tag");
    let wanted = GetOptions::default().with_if_match(other.clone());
    expect_kind(cx.store.get(key, wanted).await, ErrorKind::PreconditionFailed, "a get of another version")?;
    cx.store.get(key, GetOptions::default().with_if_none_match(other)).await?;
    if cx.capabilities().put_match {
        cx.store.put_if_match(key, "replaced", tag).await?;
    }
    Ok(())
}
