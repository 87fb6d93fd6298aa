//! What is put comes back: bytes, size, tag, attributes; and is gone after a delete.

use bytes::Bytes;
use object_storage::{
    Attributes, ContentHeader, ErrorKind, GetOptions, HeadOptions, ObjectStorageExt, Payload, PutOptions,
};

use crate::scenario::{Context, Outcome, Scenario, ensure, expect_kind, failure, noise, passed};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "put-and-get",
    about: "objects come back byte for byte, with their attributes, are replaced whole, and can be deleted",
    run: |cx| Box::pin(run(cx)),
};

/// Empty, one byte, around the sizes of buffers, and large enough for many packets.
const SIZES_BYTES: [usize; 6] = [0, 1, 4095, 8192, 65_537, 3_000_000];

async fn run(cx: &Context) -> Outcome {
    for size in SIZES_BYTES {
        let key = cx.key(&format!("size-{size}"))?;
        let bytes = noise(size as u64, size);
        let put = cx.store.put_bytes(&key, in_pieces(&bytes)).await?;
        cx.ensure_holds(&key, &bytes).await?;
        let meta = cx.store.head_meta(&key).await?;
        ensure!(meta.size == size as u64, "head says {} bytes of an object of {size}", meta.size);
        ensure!(meta.etag.as_ref() == Some(&put.etag), "head and put disagree about the tag of {key:?}");
    }

    let key = cx.key("with-attributes")?;
    let attributes = Attributes::new()
        .with_header(ContentHeader::ContentType, "text/plain; charset=utf-8")
        .and_then(|set| set.with_header(ContentHeader::CacheControl, "max-age=60"))
        .and_then(|set| set.with_metadata("made-by", "spike"))
        .map_err(|error| failure(error.to_string()))?;
    cx.store.put(&key, "v1".into(), PutOptions::default().with_attributes(attributes.clone())).await?;
    let got = cx.store.get(&key, GetOptions::default()).await?;
    for (header, value) in attributes.headers() {
        let back = got.attributes.header(header);
        ensure!(back == Some(value), "{} came back as {back:?}, not {value:?}", header.name());
    }
    ensure!(got.attributes.metadata("made-by") == Some("spike"), "user metadata did not come back");
    let head = cx.store.head(&key, HeadOptions::default()).await?;
    ensure!(head.attributes == got.attributes, "head and get disagree about attributes");

    cx.store.put_bytes(&key, "v2, longer").await?;
    cx.ensure_holds(&key, b"v2, longer").await?;
    cx.store.delete(&key, Default::default()).await?;
    cx.ensure_absent(&key).await?;
    expect_kind(cx.store.head_meta(&key).await, ErrorKind::NotFound, "a head after the delete")?;
    cx.store.delete(&key, Default::default()).await?;

    passed("6 sizes, 0 B to 3 MB; attributes; replaced whole; deleted twice")
}

/// The bytes as a payload of several chunks, as callers with headers and bodies make them.
fn in_pieces(bytes: &Bytes) -> Payload {
    let third = bytes.len() / 3;
    [bytes.slice(..third), bytes.slice(third..2 * third), bytes.slice(2 * third..)].into_iter().collect()
}
