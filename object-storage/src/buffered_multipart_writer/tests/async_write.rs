//! The writer where a `compio::io::AsyncWrite` is expected.

use bytes::Bytes;
use compio::buf::BufResult;
use compio::io::{AsyncWrite, AsyncWriteExt};

use super::scripted::Fault;
use super::{MIB, PART, key, options, pattern, store, writer};
use crate::{Error, ErrorKind, Operation};

#[compio::test]
async fn compio_copy_stores_an_object() {
    for len in [0, 5, 2 * PART + 77] {
        let store = store();
        let mut writer = writer(&store, options());
        let source = pattern(len);
        let copied = compio::io::copy(&mut &source[..], &mut writer).await.expect("copied");
        assert_eq!((copied, writer.completed()), (len as u64, len as u64));
        assert!(store.object(&key()).expect("stored") == source);
        writer.shutdown().await.expect("again");
        writer.finish().await.expect("the same outcome");
    }
}

#[compio::test]
async fn owned_buffers_of_every_size_are_written_and_come_back() {
    let store = store();
    let mut writer = writer(&store, options());
    let source = pattern(6 * MIB);
    let BufResult(written, back) = writer.write_all(source.to_vec()).await;
    written.expect("accepted");
    assert_eq!(back.len(), source.len());
    writer.write_all(source.clone()).await.0.expect("accepted");
    writer.write_all("abc").await.0.expect("accepted");
    writer.flush().await.expect("nothing failed");
    assert!(store.objects.borrow().is_empty(), "a flush makes nothing durable");
    writer.shutdown().await.expect("stored");
    let expected = [&source[..], &source[..], b"abc"].concat();
    assert!(store.object(&key()).expect("stored") == expected);
}

#[compio::test]
async fn bytes_are_shared_and_not_copied() {
    let store = store();
    let mut writer = writer(&store, options());
    let source = pattern(MIB);
    writer.write_all(source.clone()).await.0.expect("accepted");
    assert_eq!(writer.held(), MIB as u64, "no block was opened");
    assert!(!source.is_unique());
    let held_before = writer.held();
    writer.write_all(source.to_vec()).await.0.expect("accepted");
    assert!(writer.held() >= held_before + MIB as u64);
}

#[compio::test]
async fn a_failed_upload_fails_write_flush_and_shutdown_with_the_error_inside() {
    let store = store();
    store.fault(Operation::UploadPart, 1, Fault::Fails(ErrorKind::PermissionDenied));
    let mut writer = writer(&store, options());
    writer.write_all(Bytes::from(vec![0; PART + 1])).await.0.expect("accepted");
    while writer.flush().await.is_ok() {
        compio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let error = writer.shutdown().await.expect_err("poisoned");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).expect("ours");
    assert_eq!(inner.kind(), ErrorKind::Aborted);
    let BufResult(written, _) = AsyncWrite::write(&mut writer, "more").await;
    assert_eq!(written.expect_err("poisoned").kind(), std::io::ErrorKind::Other);
}
