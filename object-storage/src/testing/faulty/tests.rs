//! Each fault alone: what the caller is told, and what is true of the store.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures_util::future::join;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::memory::InMemoryStorage;
use crate::storage::PartNumber;
use crate::{Body, ETag, ObjectStorageExt, Payload};

/// Polls until it is over. Nothing here waits for anything but to be polled again.
fn now<T>(future: impl Future<Output = T>) -> T {
    polled(future).expect("it comes back")
}

/// What it comes to within a hundred polls.
fn polled<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    (0..100).find_map(|_| match future.as_mut().poll(&mut cx) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    })
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("valid key")
}

/// A store to which this happens at the first call of the operation; and the one below.
fn scripted(operation: Operation, fault: Fault) -> (FaultyStorage, InMemoryStorage) {
    with(Faults::new(7).with_scripted(operation, 1, fault))
}

fn with(faults: Faults) -> (FaultyStorage, InMemoryStorage) {
    let inner = InMemoryStorage::new();
    (FaultyStorage::new(Rc::new(inner.clone()), faults), inner)
}

fn there(inner: &InMemoryStorage, name: &str) -> bool {
    now(inner.exists(&key(name))).expect("answered")
}

fn cause(error: &Error) -> Option<&Injected> {
    std::error::Error::source(error).and_then(|cause| cause.downcast_ref())
}

#[test]
fn a_refusal_does_nothing_and_names_what_it_is_about() {
    let kinds = [
        (Fault::Unavailable, ErrorKind::Unavailable),
        (Fault::Timeout, ErrorKind::Timeout),
        (Fault::Throttled, ErrorKind::Throttled),
        (Fault::Conflict, ErrorKind::Conflict),
    ];
    for (fault, kind) in kinds {
        let (store, inner) = scripted(Operation::PutObject, fault);
        let error = now(store.put_if_absent(&key("a"), "x")).expect_err("refused");
        assert_eq!((error.kind(), error.operation(), error.key()), (kind, Operation::PutObject, Some("a")));
        assert_eq!(error.operation_id(), None);
        assert_eq!(cause(&error), store.injected().first());
        assert!(!there(&inner, "a"));
        now(store.put_if_absent(&key("a"), "x")).expect("the second call meets nothing");
        assert_eq!(store.injected().len(), 1);
    }
}

#[test]
fn a_lost_request_leaves_nothing_and_a_lost_answer_an_object_that_bears_the_id() {
    for (fault, applied) in [(Fault::RequestLost, false), (Fault::AnswerLost, true)] {
        let (store, inner) = scripted(Operation::PutObject, fault);
        let error = now(store.put_bytes(&key("a"), "x")).expect_err("in doubt");
        assert!(error.is_indeterminate());
        assert_eq!(there(&inner, "a"), applied);
        let id = error.operation_id().expect("every put has one");
        let resolution = now(store.resolve(&key("a"), id)).expect("answered");
        assert_eq!(matches!(resolution, Resolution::Applied(_)), applied);
        now(store.settle());
        assert_eq!(there(&inner, "a"), applied);
    }
}

#[test]
fn an_id_that_the_caller_chose_stays() {
    let (store, _) = scripted(Operation::PutObject, Fault::AnswerLost);
    let id = OperationId::from_bits(4711);
    let options = PutOptions::default().with_operation_id(id);
    let error = now(store.put(&key("a"), "x".into(), options)).expect_err("in doubt");
    assert_eq!(error.operation_id(), Some(id));
    assert!(matches!(now(store.resolve(&key("a"), id)), Ok(Resolution::Applied(_))));
}

#[test]
fn what_would_not_have_been_sent_is_refused_though_its_answer_would_get_lost() {
    let (store, _) = scripted(Operation::PutObject, Fault::AnswerLost);
    let unwritable = Key::verbatim("a\nb").expect("short");
    let error = now(store.put_bytes(&unwritable, "x")).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(store.injected().is_empty());
}

#[test]
fn a_refusal_whose_answer_got_lost_is_in_doubt_too() {
    let (store, inner) = scripted(Operation::PutObject, Fault::AnswerLost);
    now(inner.put_bytes(&key("a"), "theirs")).expect("stored");
    assert!(now(store.put_if_absent(&key("a"), "ours")).expect_err("in doubt").is_indeterminate());
    assert_eq!(now(inner.get_bytes(&key("a"))).expect("there"), "theirs");
}

#[test]
fn a_late_write_arrives_so_many_calls_later_under_its_condition() {
    let faults = Faults::new(7).with_scripted(Operation::PutObject, 1, Fault::Late).with_late_calls(3..=3);
    for other_came_first in [false, true] {
        let (store, inner) = with(faults.clone());
        assert!(now(store.put_if_absent(&key("a"), "late")).expect_err("in doubt").is_indeterminate());
        for _ in 0..2 {
            assert!(!now(store.exists(&key("a"))).expect("answered"));
        }
        if other_came_first {
            now(inner.put_bytes(&key("a"), "other")).expect("stored");
        }
        let seen = now(store.get_bytes(&key("a"))).expect("there by the third call after it");
        assert_eq!(seen, if other_came_first { "other" } else { "late" });
    }
}

#[test]
fn what_is_late_arrives_at_the_latest_when_the_store_settles() {
    let (store, inner) = scripted(Operation::DeleteObject, Fault::Late);
    now(inner.put_bytes(&key("a"), "x")).expect("stored");
    let error = now(store.delete(&key("a"), DeleteOptions::default())).expect_err("in doubt");
    assert_eq!((error.is_indeterminate(), error.operation_id()), (true, None));
    assert!(there(&inner, "a"));
    now(store.settle());
    assert!(!there(&inner, "a"));
}

#[test]
fn a_body_gives_what_came_before_it_broke() {
    let whole: Vec<u8> = (0..=255).collect();
    let kinds: [(Fault, &[ErrorKind]); 3] = [
        (Fault::BodyBreaksOff, &[ErrorKind::Unavailable, ErrorKind::Timeout]),
        (Fault::BodyEndsEarly, &[ErrorKind::Corrupt]),
        (Fault::BodyIsDamaged, &[ErrorKind::Corrupt]),
    ];
    for (fault, kinds) in kinds {
        for seed in 0..50 {
            let (store, inner) = with(Faults::new(seed).with_rate(fault, 1000));
            let halves: Payload =
                [&whole[..100], &whole[100..]].into_iter().map(bytes::Bytes::copy_from_slice).collect();
            now(inner.put_bytes(&key("a"), halves)).expect("stored");
            let body = now(store.get(&key("a"), GetOptions::default())).expect("opened").body;
            assert_eq!(body.len(), 256);
            let (read, error) = read(body);
            assert!(kinds.contains(&error.kind()), "{fault}: {error:?}");
            let wrong = read.iter().zip(&whole).filter(|(read, stored)| read != stored).count();
            let damaged = fault == Fault::BodyIsDamaged && !read.is_empty();
            assert_eq!(wrong, usize::from(damaged), "{fault}");
            assert!(read.len() < 256);
            assert_eq!(store.injected().len(), 1);
        }
    }
}

/// The bytes that come, and the error that ends them.
fn read(mut body: Body) -> (Vec<u8>, Error) {
    let mut read = Vec::new();
    loop {
        match now(body.next_chunk()).expect("it does not end well") {
            Ok(chunk) => read.extend_from_slice(&chunk),
            Err(error) => {
                assert!(now(body.next_chunk()).is_none(), "after an error it is over");
                return (read, error);
            }
        }
    }
}

#[test]
fn a_body_without_bytes_comes_whole() {
    let (store, inner) = with(Faults::new(7).with_rate(Fault::BodyBreaksOff, 1000));
    now(inner.put_bytes(&key("a"), "")).expect("stored");
    assert!(now(store.get_bytes(&key("a"))).expect("whole").is_empty());
    assert!(store.injected().is_empty());
}

#[test]
fn of_many_deletes_what_is_told_is_true() {
    let keys: Vec<Key> = (0..50).map(|name| key(&format!("a/{name}"))).chain([key("a/7")]).collect();
    for fault in [Fault::PartlyDone, Fault::RequestLost, Fault::AnswerLost, Fault::Late, Fault::Unavailable] {
        let (store, inner) = scripted(Operation::DeleteObjects, fault);
        for key in &keys {
            now(inner.put_bytes(key, "x")).expect("stored");
        }
        let results = now(store.delete_many(&keys)).expect("told key by key");
        let (mut told, mut done_untold, mut not_done) = (0, 0, 0);
        for (key, result) in keys.iter().zip(&results).take(50) {
            match (result, there(&inner, key.as_str())) {
                (Ok(()), gone) => {
                    assert!(!gone);
                    told += 1;
                }
                (Err(error), is_there) => {
                    assert_eq!(error.key(), Some(key.as_str()));
                    let refused = fault == Fault::Unavailable;
                    let expected = if refused { ErrorKind::Unavailable } else { ErrorKind::Indeterminate };
                    assert_eq!(error.kind(), expected);
                    if is_there { not_done += 1 } else { done_untold += 1 }
                }
            }
        }
        assert_eq!(results[7].is_ok(), results[50].is_ok(), "a key named twice is told the same twice");
        match fault {
            Fault::PartlyDone => assert!(told > 5 && done_untold > 5 && not_done > 5),
            Fault::AnswerLost => assert_eq!(done_untold, 50),
            _ => assert_eq!(not_done, 50),
        }
        assert_eq!(store.injected().len(), 1, "one call, one fault");
        now(store.settle());
        let left = now(inner.list_all("a/")).expect("listed").len();
        assert_eq!(left, if fault == Fault::Late { 0 } else { not_done });
    }
}

#[test]
fn a_lost_completion_is_named_by_the_id_the_upload_was_begun_with() {
    for (fault, applied) in [(Fault::RequestLost, false), (Fault::AnswerLost, true), (Fault::Late, false)] {
        let (store, inner) = scripted(Operation::CompleteMultipartUpload, fault);
        let upload =
            now(store.create_multipart_upload(&key("a"), MultipartOptions::default())).expect("begun");
        let parts = [now(upload.upload_part(PartNumber::FIRST, "x".into())).expect("stored")];
        let error = now(upload.complete(&parts, Default::default())).expect_err("in doubt");
        assert!(error.is_indeterminate());
        assert_eq!(there(&inner, "a"), applied);
        now(store.settle());
        let id = error.operation_id().expect("the handle began the upload");
        let resolution = now(store.resolve(&key("a"), id)).expect("answered");
        assert_eq!(matches!(resolution, Resolution::Applied(_)), fault != Fault::RequestLost);
    }
}

#[test]
fn a_part_in_doubt_is_sent_again() {
    let (store, inner) = scripted(Operation::UploadPart, Fault::AnswerLost);
    let upload = now(store.create_multipart_upload(&key("a"), MultipartOptions::default())).expect("begun");
    assert!(now(upload.upload_part(PartNumber::FIRST, "x".into())).expect_err("in doubt").is_indeterminate());
    let parts = [now(upload.upload_part(PartNumber::FIRST, "x".into())).expect("stored")];
    now(upload.complete(&parts, Default::default())).expect("joined");
    assert!(there(&inner, "a"));
}

#[test]
fn an_upload_whose_creation_was_lost_stays_behind() {
    for (fault, uploads) in [(Fault::RequestLost, 0), (Fault::AnswerLost, 1), (Fault::Late, 1)] {
        let (store, inner) = scripted(Operation::CreateMultipartUpload, fault);
        let begun = now(store.create_multipart_upload(&key("a"), MultipartOptions::default()));
        let error = begun.expect_err("in doubt");
        assert!(error.is_indeterminate() && error.operation_id().is_some());
        now(store.settle());
        let page = now(inner.list_multipart_uploads_page(&ListUploadsOptions::default(), None));
        assert_eq!(page.expect("listed").uploads.len(), uploads, "{fault}");
    }
}

#[test]
fn after_a_crash_nothing_comes_back_until_the_process_begins_anew() {
    for (fault, applied) in [(Fault::CrashBefore, false), (Fault::CrashAfter, true)] {
        let (store, inner) = scripted(Operation::PutObject, fault);
        let (a, of_the_dead) = (key("a"), store.clone());
        let mut survivor = Box::pin(async { of_the_dead.exists(&a).await });
        let program = async {
            let dying = store.put_bytes(&a, "x");
            // Another task of the process, which has not seen yet that it is dead.
            join(dying, async { polled(survivor.as_mut()) }).await
        };
        assert!(now(store.until_crash(program)).is_none());
        assert_eq!(there(&inner, "a"), applied);
        assert_eq!(store.calls(), 1, "the dead make no calls");
        assert_eq!(now(store.until_crash(store.exists(&a))).expect("alive").expect("answered"), applied);
        assert!(polled(survivor.as_mut()).is_none(), "what died stays dead");
        assert_eq!(store.injected().len(), 1);
    }
}

#[test]
fn a_tied_upload_goes_with_its_handle_but_not_with_a_process_that_died() {
    for crashes in [false, true] {
        let (store, inner) =
            if crashes { scripted(Operation::UploadPart, Fault::CrashAfter) } else { with(Faults::new(7)) };
        let a = key("a");
        let program = async {
            let upload = store.create_multipart_upload(&a, MultipartOptions::default()).await?;
            assert!(upload.abort_on_drop());
            upload.upload_part(PartNumber::FIRST, "x".into()).await
        };
        assert_eq!(now(store.until_crash(program)).is_none(), crashes);
        assert_eq!(now(inner.list_uploads("")).expect("listed").len(), usize::from(crashes));
    }
}

#[test]
fn an_upload_whose_completion_is_in_doubt_is_not_aborted_with_its_handle() {
    for fault in [Fault::RequestLost, Fault::Late] {
        let (store, inner) = scripted(Operation::CompleteMultipartUpload, fault);
        let a = key("a");
        let upload = now(store.create_multipart_upload(&a, MultipartOptions::default())).expect("begun");
        assert!(upload.abort_on_drop());
        let parts = [now(upload.upload_part(PartNumber::FIRST, "x".into())).expect("stored")];
        now(upload.complete(&parts, Default::default())).expect_err("in doubt");
        let id = upload.upload_id().clone();
        drop(upload);
        assert_eq!(now(inner.list_uploads("")).expect("listed").len(), 1);
        let again = inner.resume_multipart_upload(&a, &id).expect("of this store");
        now(again.complete(&parts, Default::default())).expect("joined");
        now(store.settle());
        assert_eq!(now(inner.get_bytes(&a)).expect("there"), "x");
    }
}

#[test]
fn a_shutdown_lets_arrive_what_was_sent_and_tells_of_uploads_in_doubt() {
    let faults = Faults::new(7)
        .with_scripted(Operation::CreateMultipartUpload, 1, Fault::AnswerLost)
        .with_scripted(Operation::PutObject, 1, Fault::Late)
        .with_scripted(Operation::PutObject, 2, Fault::Slow)
        .with_rate(Fault::Unavailable, 1000)
        .with_rate(Fault::RequestLost, 1000);
    let (store, inner) = with(faults);
    let (late, slow, new) = (key("late"), key("slow"), key("new"));
    now(store.create_multipart_upload(&new, MultipartOptions::default())).expect_err("in doubt");
    now(store.put_bytes(&late, "x")).expect_err("in doubt");
    let mut put = pin!(store.put_bytes(&slow, "x"));
    assert!(put.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let (stored, report) = now(join(put, store.shutdown(std::time::Duration::ZERO)));
    stored.expect("what was under way is not refused");
    assert_eq!((report.uploads_in_doubt, report.uploads_left.len()), (1, 0));
    assert!(there(&inner, "late") && there(&inner, "slow"));
    let error = now(store.put_bytes(&new, "x")).expect_err("refused");
    assert_eq!((error.kind(), error.key()), (ErrorKind::ShutDown, Some("new")));
    let error = now(store.delete_many(&[late])).expect_err("refused as a whole");
    assert_eq!(error.kind(), ErrorKind::ShutDown);
    assert!(!there(&inner, "new") && there(&inner, "late"));
}

#[test]
fn an_outage_lasts_until_it_is_over() {
    let (store, _) = with(Faults::new(7).with_outage(2..4));
    let kinds: Vec<_> = (0..4).map(|_| now(store.exists(&key("a"))).map_err(|e| e.kind())).collect();
    assert_eq!(kinds, [Ok(false), Err(ErrorKind::Unavailable), Err(ErrorKind::Unavailable), Ok(false)]);
    store.begin_outage();
    assert!(now(store.list_all("")).is_err());
    store.recover();
    assert!(now(store.list_all("")).is_ok());
}

#[test]
fn what_is_slow_can_be_dropped_on_either_side() {
    let faults = Faults::new(7).with_rate(Fault::Slow, 1000).with_slow_polls(2..=2);
    for (polls, applied) in [(1, false), (2, false), (3, true), (4, true)] {
        let (store, inner) = with(faults.clone());
        let mut cx = Context::from_waker(Waker::noop());
        let a = key("a");
        let mut put = Box::pin(store.put_bytes(&a, "x"));
        for _ in 0..polls {
            assert!(put.as_mut().poll(&mut cx).is_pending());
        }
        drop(put);
        assert_eq!(there(&inner, "a"), applied, "after {polls} polls");
    }
}

#[test]
fn a_future_that_was_never_polled_meets_nothing() {
    let (store, _) = with(Faults::new(7).with_rate(Fault::Unavailable, 1000));
    drop(store.put(&key("a"), "x".into(), PutOptions::default()));
    assert_eq!((store.calls(), store.injected().len()), (0, 0));
}

#[test]
fn the_same_seed_and_calls_meet_the_same_faults() {
    let run = |seed| {
        let (store, _) = with(Faults::new(seed).with_every_fault(50));
        let tag = ETag::parse("x").expect("a tag");
        for number in 0..200 {
            let key = key(&format!("a/{}", number % 7));
            let _ = now(store.put_if_absent(&key, "x"));
            let _ = now(store.get_bytes(&key));
            let _ = now(store.delete_if_match(&key, &tag));
        }
        store
    };
    let store = run(1);
    assert!(store.injected().len() > 50);
    assert_eq!(store.injected(), run(1).injected());
    assert_ne!(store.injected(), run(2).injected());
    let text = store.to_string();
    assert!(
        text.starts_with("seed 1: 600 calls, the latest 50 faults:\n  injected by seed 1: ")
            && text.contains(" PutObject "),
        "{text}"
    );
}

#[test]
fn a_call_more_of_one_operation_changes_nothing_for_the_others() {
    let puts = |heads: usize| {
        let (store, _) = with(Faults::new(1).with_every_fault(50).with_rate(Fault::Late, 0));
        for number in 0..100 {
            let _ = now(store.put_bytes(&key(&format!("a/{number}")), "x"));
            (0..heads).for_each(|_| drop(now(store.exists(&key("a")))));
        }
        let injected = store.injected().into_iter();
        injected.filter(|injected| injected.operation == Operation::PutObject).collect::<Vec<_>>()
    };
    assert_eq!(puts(0), puts(3));
}
