//! A writer that is aborted or dropped, and an upload that is aborted, leave neither object nor parts.

use std::rc::Rc;
use std::time::Duration;

use object_storage::limits::{MIB, PART_BYTES_MIN};
use object_storage::{
    BufferedMultipartWriter, BufferedMultipartWriterOptions, ErrorKind, ObjectStorageExt, PartNumber,
};

use crate::scenario::{Context, Failure, Outcome, Scenario, ensure, expect_kind, noise, passed};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "abort-leaves-nothing",
    about: "after an abort, or a dropped writer, there is no object and no upload left",
    run: |cx| Box::pin(run(cx)),
};

/// A dropped writer is cleaned up in the background; this is how long it may take, asked for every 20 ms.
const CLEAN_UP_MAX: Duration = Duration::from_secs(20);
const CLEAN_UP_STEP: Duration = Duration::from_millis(20);

async fn run(cx: &Context) -> Outcome {
    let aborted = cx.key("aborted")?;
    half_written(cx, &aborted).await?.abort().await?;
    cx.ensure_no_uploads().await?;
    cx.ensure_absent(&aborted).await?;

    let dropped = cx.key("dropped")?;
    drop(half_written(cx, &dropped).await?);
    let mut waited = Duration::ZERO;
    while !cx.store.list_uploads(&cx.prefix).await?.is_empty() && waited < CLEAN_UP_MAX {
        compio::time::sleep(CLEAN_UP_STEP).await;
        waited += CLEAN_UP_STEP;
    }
    cx.ensure_no_uploads().await?;
    cx.ensure_absent(&dropped).await?;

    let by_hand = cx.key("by-hand")?;
    let upload = cx.store.create_multipart_upload(&by_hand, Default::default()).await?;
    upload.upload_part(PartNumber::FIRST, noise(5, 1000).into()).await?;
    let pending = cx.store.list_uploads(&cx.prefix).await?;
    let listed =
        pending.len() == 1 && pending[0].key == by_hand && &pending[0].upload_id == upload.upload_id();
    ensure!(listed, "the upload under way is not what list_uploads shows: {pending:?}");
    let found = cx.store.resume_multipart_upload(&pending[0].key, &pending[0].upload_id)?;
    found.abort().await?;
    cx.ensure_no_uploads().await?;
    upload.abort().await?;
    let late = upload.upload_part(PartNumber::FIRST, noise(5, 1000).into()).await;
    expect_kind(late, ErrorKind::NotFound, "a part of an aborted upload")?;
    cx.ensure_absent(&by_hand).await?;
    passed("aborted, dropped, found and aborted: no upload, no object is left")
}

/// A writer whose first parts are on their way or there.
async fn half_written(cx: &Context, key: &object_storage::Key) -> Result<BufferedMultipartWriter, Failure> {
    let options =
        BufferedMultipartWriterOptions::default().with_part_size(PART_BYTES_MIN).with_concurrency(1);
    let mut writer = BufferedMultipartWriter::new(Rc::clone(&cx.store), key.clone(), options)?;
    let bytes = noise(6, 1 << 20);
    while writer.uploaded() == 0 {
        ensure!(writer.accepted() < 64 * MIB, "64 MiB were accepted and no part uploaded");
        writer.write(bytes.clone()).await?;
    }
    Ok(writer)
}
