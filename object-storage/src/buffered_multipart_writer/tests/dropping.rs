//! Futures and writers dropped at every await.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use super::scripted::{Fault, Scripted};
use super::{MIB, PART, key, options, pattern, poll_times, store, until_idle, writer};
use crate::{BufferedMultipartWriter, Error, ErrorKind, Operation};

fn accepted(writer: &BufferedMultipartWriter) -> usize {
    writer.accepted().try_into().expect("less than the source")
}

#[compio::test]
async fn a_dropped_write_loses_and_doubles_nothing() {
    for seed in 0..8 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let store = store();
        store.yields.set(rng.u32(..6));
        let mut writer = writer(&store, options().with_concurrency(1 + rng.usize(..2)));
        let source = pattern(18 * MIB);
        let mut dropped = 0;
        while accepted(&writer) < source.len() {
            let at = accepted(&writer);
            let len = rng.usize(1..=(source.len() - at).min(7 * MIB));
            let write = writer.write(source.slice(at..at + len));
            match poll_times(write, rng.usize(..3)).await {
                Some(written) => {
                    written.expect("accepted");
                    assert_eq!(accepted(&writer), at + len);
                }
                None => {
                    dropped += 1;
                    let accepted = accepted(&writer) - at;
                    assert!(len > PART / 2 || accepted == 0, "half a part is accepted whole or not at all");
                    compio::time::sleep(Duration::from_micros(100)).await;
                }
            }
        }
        assert!(dropped > 0, "seed {seed}");
        writer.finish().await.expect("stored");
        assert!(store.object(&key()).expect("stored") == source, "seed {seed}");
    }
}

#[compio::test]
async fn a_dropped_finish_can_be_called_again_and_completes_once() {
    for len in [1, 2 * PART + 1] {
        let mut times = 0;
        loop {
            let store = store();
            store.yields.set(4);
            let mut writer = writer(&store, options());
            let source = pattern(len);
            writer.write(source.clone()).await.expect("accepted");
            let ready = poll_times(writer.finish(), times).await.is_some();
            writer.finish().await.expect("stored");
            assert_eq!(writer.completed(), len as u64);
            assert!(store.object(&key()).expect("stored") == source);
            let last = store.count(Operation::PutObject) + store.count(Operation::CompleteMultipartUpload);
            assert_eq!(last, 1);
            if ready {
                break;
            }
            times += 1;
        }
        assert!(times > 1, "finish waits");
    }
}

async fn whole_life(store: &Rc<Scripted>) -> Result<(), Error> {
    let mut writer = writer(store, options());
    let source = pattern(PART);
    for _ in 0..3 {
        writer.write(source.clone()).await?;
    }
    writer.write("a little more").await?;
    writer.finish().await?;
    Ok(())
}

/// Drops a writer after so many polls, and waits until its clean-up is over. `true` when it was done by then.
async fn cut_short(store: &Rc<Scripted>, times: usize) -> Option<Result<(), Error>> {
    let ended = poll_times(whole_life(store), times).await;
    until_idle(store).await;
    assert_eq!(store.in_flight.get(), 0);
    ended
}

#[compio::test]
async fn a_writer_dropped_at_any_moment_leaves_an_object_or_nothing() {
    let mut times = 0;
    let mut last_request_sent = 0;
    loop {
        let store = store();
        store.yields.set(3);
        let ended = cut_short(&store, times).await;
        assert!(store.uploads.borrow().is_empty(), "dropped after {times} polls: {:?}", store.log);
        let sent = store.count(Operation::CompleteMultipartUpload);
        assert_eq!(store.objects.borrow().len(), sent, "what was completed is there");
        let aborted = store.count(Operation::AbortMultipartUpload);
        assert!(sent == 0 || aborted == 0, "nothing is aborted once the last request is on its way");
        last_request_sent += sent;
        if let Some(ended) = ended {
            ended.expect("stored");
            break;
        }
        times += 1;
    }
    assert!(times > 5, "{times} moments");
    assert!(last_request_sent > 0);
}

#[compio::test]
async fn a_failing_writer_dropped_at_any_moment_leaves_nothing() {
    let faults = [
        (Operation::CreateMultipartUpload, 0, Fault::Fails(ErrorKind::Unavailable)),
        (Operation::UploadPart, 1, Fault::Panics),
        (Operation::UploadPart, 4, Fault::Fails(ErrorKind::Unavailable)),
        (Operation::CompleteMultipartUpload, 0, Fault::Fails(ErrorKind::PreconditionFailed)),
    ];
    for (operation, number, fault) in faults {
        let mut times = 0;
        loop {
            let store = store();
            store.yields.set(2);
            store.fault(operation, number, fault);
            let ended = cut_short(&store, times).await;
            assert!(store.uploads.borrow().is_empty() && store.objects.borrow().is_empty());
            if let Some(ended) = ended {
                ended.expect_err("scripted");
                break;
            }
            times += 1;
        }
    }
}

#[compio::test]
async fn an_upload_whose_creation_was_not_answered_yet_is_aborted_when_it_is() {
    let store = store();
    store.held_back.set(Some(Operation::CreateMultipartUpload));
    let mut writer = writer(&store, options());
    writer.write(pattern(PART + 1)).await.expect("accepted");
    compio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(*store.log.borrow(), [(Operation::CreateMultipartUpload, 0)]);
    drop(writer);
    store.held_back.set(None);
    until_idle(&store).await;
    let log = store.log.borrow();
    assert_eq!(*log, [(Operation::CreateMultipartUpload, 0), (Operation::AbortMultipartUpload, 0)]);
    assert!(store.uploads.borrow().is_empty());
}

#[compio::test]
async fn a_dropped_put_is_cancelled_and_a_dropped_completion_is_carried_to_its_end() {
    for (len, operation, stored) in
        [(1, Operation::PutObject, false), (PART + 1, Operation::CompleteMultipartUpload, true)]
    {
        let store = store();
        store.held_back.set(Some(operation));
        let mut writer = writer(&store, options());
        writer.write(pattern(len)).await.expect("accepted");
        {
            let mut finish = pin!(writer.finish());
            while store.count(operation) == 0 {
                assert!(poll_times(finish.as_mut(), 1).await.is_none());
                compio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        drop(writer);
        compio::time::sleep(Duration::from_millis(5)).await;
        store.held_back.set(None);
        until_idle(&store).await;
        assert_eq!(store.objects.borrow().contains_key(&key()), stored);
        assert_eq!(store.count(Operation::AbortMultipartUpload), 0);
    }
}

#[compio::test]
async fn abort_during_a_put_says_that_nobody_knows() {
    let store = store();
    store.held_back.set(Some(Operation::PutObject));
    let mut writer = writer(&store, options());
    writer.write("abc").await.expect("accepted");
    {
        let mut finish = pin!(writer.finish());
        while store.count(Operation::PutObject) == 0 {
            assert!(poll_times(finish.as_mut(), 1).await.is_none());
            compio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert!(writer.abort().await.expect_err("sent").is_indeterminate());
}

#[test]
fn a_writer_that_outlives_its_runtime_says_so_and_does_not_hang() {
    let runtime = || compio::runtime::Runtime::new().expect("a runtime");
    let store = store();
    store.held_back.set(Some(Operation::UploadPart));
    let first = runtime();
    let mut writer = first.block_on(async {
        let mut writer = writer(&store, options());
        writer.write(pattern(PART + 1)).await.expect("accepted");
        writer
    });
    drop(first);
    runtime().block_on(async {
        assert_eq!(writer.finish().await.expect_err("no uploader").kind(), ErrorKind::Aborted);
        assert!(writer.abort().await.is_err(), "the upload stayed behind");
    });
}
