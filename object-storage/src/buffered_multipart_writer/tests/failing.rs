//! What goes wrong is told once, cleaned up, and never told as something it is not.

use std::error::Error as _;

use futures_util::FutureExt;

use super::scripted::Fault;
use super::{PART, key, options, pattern, store, until_idle, writer};
use crate::{ErrorKind, Operation, OperationId, PutMode};

#[compio::test]
async fn a_failed_part_poisons_the_writer_after_the_upload_was_aborted() {
    let store = store();
    store.yields.set(2);
    store.fault(Operation::UploadPart, 2, Fault::Fails(ErrorKind::PermissionDenied));
    let mut writer = writer(&store, options());
    let bytes = pattern(PART);
    let error = loop {
        if let Err(error) = writer.write(bytes.clone()).await {
            break error;
        }
    };
    assert_eq!((error.kind(), error.operation()), (ErrorKind::PermissionDenied, Operation::UploadPart));
    assert_eq!(store.count(Operation::AbortMultipartUpload), 1);
    assert!(store.uploads.borrow().is_empty());
    assert_eq!(writer.write("more").await.expect_err("poisoned").kind(), ErrorKind::Aborted);
    assert_eq!(writer.write_slice(b"more").await.expect_err("poisoned").kind(), ErrorKind::Aborted);
    assert_eq!(writer.finish().await.expect_err("poisoned").kind(), ErrorKind::Aborted);
    assert_eq!(writer.finish().await.expect_err("poisoned").kind(), ErrorKind::Aborted);
    assert_eq!(writer.completed(), 0);
    writer.abort().await.expect("already done");
    assert_eq!(store.count(Operation::CompleteMultipartUpload), 0);
    assert_eq!(store.in_flight.get(), 0);
}

#[compio::test]
async fn while_a_failed_upload_is_cleaned_up_nothing_is_accepted() {
    let store = store();
    store.fault(Operation::UploadPart, 1, Fault::Fails(ErrorKind::Unavailable));
    store.held_back.set(Some(Operation::AbortMultipartUpload));
    let mut writer = writer(&store, options());
    writer.write(pattern(PART + 1)).await.expect("accepted");
    while store.count(Operation::AbortMultipartUpload) == 0 {
        compio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert!(writer.write("more").now_or_never().is_none(), "the error is told after the abort");
    assert_eq!(writer.accepted(), PART as u64 + 1);
    store.held_back.set(None);
    assert_eq!(writer.write("more").await.expect_err("part failed").kind(), ErrorKind::Unavailable);
}

#[compio::test]
async fn a_part_that_fails_while_finishing_fails_the_finish() {
    for number in 1..=3 {
        let store = store();
        store.yields.set(1);
        store.fault(Operation::UploadPart, number, Fault::Fails(ErrorKind::Unavailable));
        let mut writer = writer(&store, options());
        writer.write(pattern(2 * PART + 1)).await.expect("accepted");
        assert_eq!(writer.finish().await.expect_err("part failed").kind(), ErrorKind::Unavailable);
        assert!(store.uploads.borrow().is_empty() && store.objects.borrow().is_empty());
    }
}

#[compio::test]
async fn a_store_that_panics_in_a_part_is_an_error_and_the_upload_is_aborted() {
    let store = store();
    store.fault(Operation::UploadPart, 1, Fault::Panics);
    let mut writer = writer(&store, options());
    writer.write(pattern(PART + 1)).await.expect("accepted");
    let error = writer.finish().await.expect_err("part panicked");
    assert_eq!(error.kind(), ErrorKind::Aborted);
    assert!(error.source().expect("a cause").to_string().contains("scripted panic in UploadPart"));
    assert_eq!(store.count(Operation::AbortMultipartUpload), 1);
    assert!(store.uploads.borrow().is_empty());
}

#[compio::test]
async fn a_part_of_which_nothing_is_known_is_not_an_object_of_which_nothing_is_known() {
    for operation in [Operation::CreateMultipartUpload, Operation::UploadPart] {
        let store = store();
        let number = u16::from(operation == Operation::UploadPart);
        store.fault(operation, number, Fault::AnswerLost);
        let mut writer = writer(&store, options());
        writer.write(pattern(PART + 1)).await.expect("accepted");
        assert_eq!(writer.finish().await.expect_err("part lost").kind(), ErrorKind::Aborted);
        assert!(store.objects.borrow().is_empty());
    }
}

#[compio::test]
async fn after_an_unknown_completion_nothing_is_aborted_and_nothing_is_called_definite() {
    for fault in [Fault::AnswerLost, Fault::Fails(ErrorKind::Indeterminate), Fault::Panics] {
        let store = store();
        store.fault(Operation::CompleteMultipartUpload, 0, fault);
        let mut writer = writer(&store, options());
        writer.write(pattern(PART + 1)).await.expect("accepted");
        assert!(writer.finish().await.expect_err("unknown").is_indeterminate());
        assert!(writer.finish().await.expect_err("still unknown").is_indeterminate());
        assert!(writer.write("more").await.expect_err("still unknown").is_indeterminate());
        assert_eq!(writer.completed(), 0);
        assert!(writer.abort().await.expect_err("too late").is_indeterminate());
        until_idle(&store).await;
        assert_eq!(store.count(Operation::AbortMultipartUpload), 0);
    }
}

#[compio::test]
async fn what_is_unknown_names_the_write_each_time_it_is_told() {
    let id = OperationId::from_bits(7);
    for (bytes, operation) in [(1, Operation::PutObject), (PART + 1, Operation::CompleteMultipartUpload)] {
        for fault in [Fault::AnswerLost, Fault::Panics] {
            let store = store();
            store.fault(operation, 0, fault);
            let mut writer = writer(&store, options().with_operation_id(id));
            writer.write(pattern(bytes)).await.expect("accepted");
            for _ in 0..2 {
                let error = writer.finish().await.expect_err("unknown");
                assert!(error.is_indeterminate());
                assert_eq!(error.operation_id(), Some(id), "{operation} {fault:?}");
            }
            assert_eq!(writer.write("more").await.expect_err("unknown").operation_id(), Some(id));
            assert_eq!(writer.abort().await.expect_err("unknown").operation_id(), Some(id));
        }
    }
}

#[compio::test]
async fn an_unknown_put_stays_unknown() {
    let store = store();
    store.fault(Operation::PutObject, 0, Fault::AnswerLost);
    let mut writer = writer(&store, options());
    writer.write("abc").await.expect("accepted");
    assert!(writer.finish().await.expect_err("unknown").is_indeterminate());
    assert!(writer.finish().await.expect_err("still unknown").is_indeterminate());
}

#[compio::test]
async fn a_condition_that_does_not_hold_is_told_and_the_upload_is_aborted() {
    for len in [1, PART + 1] {
        let store = store();
        let mut first = writer(&store, options());
        first.write("there before").await.expect("accepted");
        first.finish().await.expect("stored");
        let mut second = writer(&store, options().with_mode(PutMode::Create));
        second.write(pattern(len)).await.expect("accepted");
        assert_eq!(second.finish().await.expect_err("taken").kind(), ErrorKind::AlreadyExists);
        assert_eq!(second.finish().await.expect_err("over").kind(), ErrorKind::Aborted);
        assert_eq!(&store.object(&key()).expect("the first")[..], b"there before");
        assert!(store.uploads.borrow().is_empty());
        assert_eq!(store.count(Operation::AbortMultipartUpload), usize::from(len > PART));
    }
}

#[compio::test]
async fn a_condition_that_the_store_would_ignore_is_refused_before_anything_is_uploaded() {
    let store = store();
    store.no_conditions.set(true);
    let mut writer = writer(&store, options().with_mode(PutMode::Create));
    writer.write(pattern(PART + 1)).await.expect("accepted");
    assert_eq!(writer.finish().await.expect_err("refused").kind(), ErrorKind::Unsupported);
    assert!(store.log.borrow().is_empty());
}

#[compio::test]
async fn parts_that_land_after_an_abort_are_aborted_again() {
    let store = store();
    store.late_parts.set(1);
    store.held_back.set(Some(Operation::UploadPart));
    let mut writer = writer(&store, options());
    writer.write(pattern(2 * PART + 1)).await.expect("accepted");
    while store.in_flight.get() < 2 {
        compio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    writer.abort().await.expect("aborted");
    assert_eq!(store.count(Operation::AbortMultipartUpload), 2);
    assert_eq!(store.count(Operation::ListParts), 2);
    assert!(store.uploads.borrow().is_empty());
}

#[compio::test]
async fn an_upload_that_cannot_be_aborted_is_told_by_abort() {
    let store = store();
    store.fault(Operation::AbortMultipartUpload, 0, Fault::Fails(ErrorKind::Unavailable));
    let mut writer = writer(&store, options());
    writer.write(pattern(PART + 1)).await.expect("accepted");
    while store.uploads.borrow().is_empty() {
        compio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let error = writer.abort().await.expect_err("stays behind");
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Unavailable, Operation::AbortMultipartUpload));
}

#[compio::test]
async fn abort_before_anything_was_sent_makes_no_request_and_after_finish_undoes_nothing() {
    let store = store();
    let mut unsent = writer(&store, options());
    unsent.write("abc").await.expect("accepted");
    unsent.abort().await.expect("nothing to do");
    assert!(store.log.borrow().is_empty());
    let mut stored = writer(&store, options());
    stored.write("abc").await.expect("accepted");
    stored.finish().await.expect("stored");
    assert_eq!(stored.abort().await.expect_err("too late").kind(), ErrorKind::InvalidInput);
    assert_eq!(&store.object(&key()).expect("still there")[..], b"abc");
}
