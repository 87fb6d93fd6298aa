//! A stream of small writes with flushes in between becomes a multipart upload of equal parts.

use std::rc::Rc;

use compio::io::{AsyncWrite, AsyncWriteExt};
use object_storage::limits::MIB;
use object_storage::{BufferedMultipartWriter, BufferedMultipartWriterOptions, ErrorKind, ObjectStorageExt};

use crate::scenario::{Context, Outcome, Scenario, ensure, expect_kind, failure, noise, passed};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "multipart-writer",
    about: "BufferedMultipartWriter makes parts of at least 5 MiB out of smaller writes and flushes",
    run: |cx| Box::pin(run(cx)),
};

const SIZE_BYTES: usize = (23 << 20) + 4711;
const PART_BYTES: u64 = 5 * MIB;

async fn run(cx: &Context) -> Outcome {
    let key = cx.key("object")?;
    let bytes = noise(3, SIZE_BYTES);
    let options = BufferedMultipartWriterOptions::default().with_part_size(PART_BYTES).with_concurrency(3);
    cx.clear_requests();
    let mut writer = BufferedMultipartWriter::new(Rc::clone(&cx.store), key.clone(), options)?;

    let mut sizes = fastrand::Rng::with_seed(3);
    let (mut at, mut flushes) = (0, 0);
    while at < bytes.len() {
        // From 3 bytes to 3 MiB, as likely small as large.
        let exponent = sizes.f64() * f64::from(20);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 3 and 3 MiB")]
        let len = (3.0 * exponent.exp2()) as usize;
        let end = bytes.len().min(at + len);
        if flushes % 2 == 0 {
            writer.write(bytes.slice(at..end)).await?;
        } else {
            let written = writer.write_all(bytes[at..end].to_vec()).await;
            written.0.map_err(|error| failure(format!("write through AsyncWrite: {error}")))?;
        }
        writer.flush().await.map_err(|error| failure(format!("flush: {error}")))?;
        flushes += 1;
        at = end;
        let held_max = 4 * PART_BYTES;
        ensure!(
            writer.held() <= held_max,
            "the writer holds {} bytes, {held_max} are allowed",
            writer.held()
        );
        cx.progress.say(format_args!("{} of {} MiB written", at as u64 / MIB, SIZE_BYTES as u64 / MIB));
    }
    ensure!(writer.accepted() == SIZE_BYTES as u64, "{} bytes accepted", writer.accepted());
    ensure!(writer.completed() == 0, "bytes count as completed before the object is");
    expect_kind(cx.store.head_meta(&key).await, ErrorKind::NotFound, "a head before the upload is complete")?;
    let stored = writer.finish().await?;
    ensure!(writer.completed() == SIZE_BYTES as u64, "{} bytes completed", writer.completed());

    cx.ensure_holds(&key, &bytes).await?;
    let meta = cx.store.head_meta(&key).await?;
    ensure!(meta.etag == Some(stored.etag), "head and the writer disagree about the tag");
    cx.ensure_no_uploads().await?;
    let parts = (SIZE_BYTES as u64).div_ceil(PART_BYTES);
    for (operation, expected) in [
        ("CreateMultipartUpload", 1),
        ("UploadPart", parts),
        ("CompleteMultipartUpload", 1),
        ("PutObject", 0),
    ] {
        let seen = cx.requests(operation).unwrap_or(expected);
        ensure!(seen == expected, "the server saw {seen} {operation} requests instead of {expected}");
    }
    passed(format!("23 MiB in {flushes} writes of 3 B to 3 MiB, each flushed: {parts} parts"))
}
