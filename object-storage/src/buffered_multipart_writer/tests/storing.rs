//! What is written arrives, by the requests it should take and in the memory it may take.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use proptest::prelude::*;

use super::{MIB, PART, key, options, pattern, store, until_idle, writer};
use crate::{
    Attributes, BufferedMultipartWriter, BufferedMultipartWriterOptions, ErrorKind, Operation, PutMode,
};

#[compio::test]
async fn an_object_that_fits_one_part_is_one_put_and_no_multipart_request() {
    for len in [0, 1, PART - 1, PART] {
        let store = store();
        let attributes = Attributes::new().with_metadata("a", "1").expect("valid");
        let mut writer =
            writer(&store, options().with_mode(PutMode::Create).with_attributes(attributes.clone()));
        let source = pattern(len);
        for piece in source.chunks(MIB) {
            writer.write(source.slice_ref(piece)).await.expect("accepted");
        }
        assert_eq!((writer.accepted(), writer.uploaded(), writer.completed()), (len as u64, 0, 0));
        writer.finish().await.expect("stored");
        assert_eq!((writer.uploaded(), writer.completed()), (len as u64, len as u64));
        assert_eq!(*store.log.borrow(), [(Operation::PutObject, 0)]);
        assert!(store.object(&key()).expect("stored") == source);
        assert_eq!(store.objects.borrow()[&key()].1, attributes);
    }
}

#[compio::test]
async fn one_byte_more_than_a_part_is_a_multipart_upload() {
    let store = store();
    let attributes = Attributes::new().with_metadata("a", "1").expect("valid");
    let mut writer = writer(&store, options().with_attributes(attributes.clone()));
    let source = pattern(PART + 1);
    writer.write(source.clone()).await.expect("accepted");
    let outcome = writer.finish().await.expect("stored");
    assert_eq!(writer.completed(), source.len() as u64);
    assert_eq!(writer.finish().await.expect("the same again"), outcome);
    assert!(store.object(&key()).expect("stored") == source);
    assert_eq!(store.objects.borrow()[&key()].1, attributes);
    assert!(store.uploads.borrow().is_empty());
    assert_eq!(store.count(Operation::UploadPart), 2);
    assert_eq!(store.count(Operation::CompleteMultipartUpload), 1);
    assert_eq!(store.count(Operation::AbortMultipartUpload), 0);
    let error = writer.write("more").await.expect_err("finished");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[compio::test]
async fn the_store_is_given_checksums_if_it_states_them_and_else_nobody_pays_for_them() {
    for states in [true, false] {
        let store = store();
        store.states_crc64_nvme.set(states);
        let mut large = writer(&store, options());
        let source = pattern(PART + 1);
        large.write_slice(&source).await.expect("accepted");
        large.finish().await.expect("stored");
        for (number, part) in (1..).zip(source.chunks(PART)) {
            let crc = states.then(|| crc_fast::crc64_nvme(part));
            assert_eq!(store.checksums.borrow()[&number], crc, "part {number}");
        }
        let mut small = writer(&store, options());
        small.write("123456789").await.expect("accepted");
        small.finish().await.expect("stored");
        let stored = store.objects.borrow()[&key()].0.crc64_nvme();
        assert_eq!(stored, states.then_some(0xae8b_1486_0a79_9888));
    }
}

/// Bytes that count how many of them are alive.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl Counted {
    fn bytes(len: usize, alive: &Arc<AtomicUsize>) -> Bytes {
        alive.fetch_add(len, Ordering::Relaxed);
        Bytes::from_owner(Counted(vec![7; len], Arc::clone(alive)))
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

#[compio::test]
async fn a_stalled_store_stops_the_writer_at_n_plus_one_parts() {
    let store = store();
    store.held_back.set(Some(Operation::UploadPart));
    let mut writer = writer(&store, options());
    let alive = Arc::new(AtomicUsize::new(0));
    let held_max = 3 * PART as u64;
    let mut refused = 0;
    let mut written = 0;
    while refused < 20 {
        let before = writer.accepted();
        let bytes = Counted::bytes(MIB / 3, &alive);
        let accepted = writer.write(bytes).now_or_never().is_some()
            && writer.write_slice(b"abc").now_or_never().is_some();
        written += writer.accepted() - before;
        refused += usize::from(!accepted);
        assert!(writer.held() <= held_max, "{} bytes", writer.held());
        assert!(alive.load(Ordering::Relaxed) as u64 <= held_max);
        compio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(writer.held() > held_max - MIB as u64, "the window is used: {} bytes", writer.held());
    assert_eq!((store.in_flight.get(), store.in_flight_max.get()), (2, 2));
    assert_eq!((writer.accepted(), writer.uploaded()), (written, 0));

    // A waiting write goes on as soon as one part is through.
    store.held_back.set(None);
    writer.write(Counted::bytes(PART, &alive)).await.expect("accepted");
    writer.finish().await.expect("stored");
    assert_eq!(store.object(&key()).expect("stored").len() as u64, written + PART as u64);
    drop(writer);
    until_idle(&store).await;
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

#[compio::test]
async fn the_writer_accepts_while_the_upload_is_being_created() {
    let store = store();
    store.held_back.set(Some(Operation::CreateMultipartUpload));
    let mut writer = writer(&store, options());
    let source = pattern(3 * PART - MIB);
    writer.write(source.clone()).await.expect("accepted");
    assert!(writer.write(pattern(MIB)).now_or_never().is_none(), "the window is full");
    assert_eq!(writer.accepted(), source.len() as u64);
    store.held_back.set(None);
    writer.finish().await.expect("stored");
    assert!(store.object(&key()).expect("stored") == source);
    assert_eq!(store.count(Operation::CreateMultipartUpload), 1);
}

#[compio::test]
async fn blocks_that_wait_to_be_filled_again_give_way_to_long_writes() {
    let store = store();
    let mut writer = writer(&store, options());
    let source = pattern(2 * PART);
    writer.write_slice(&source).await.expect("accepted");
    while writer.uploaded() < 2 * PART as u64 {
        compio::time::sleep(Duration::from_millis(1)).await;
    }
    let idle = writer.held();
    assert!((PART as u64 / 2..=PART as u64).contains(&idle), "of one part, while nothing is done: {idle}");
    store.held_back.set(Some(Operation::UploadPart));
    let mut accepted = true;
    while accepted {
        accepted = writer.write(source.slice(..MIB / 2)).now_or_never().is_some();
        assert!(writer.held() <= 3 * PART as u64, "{} bytes", writer.held());
        compio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(writer.accepted() > 5 * PART as u64 - MIB as u64, "idle blocks took room: {}", writer.accepted());
    store.held_back.set(None);
    writer.finish().await.expect("stored");
    assert_eq!(writer.held(), 0);
}

#[compio::test]
async fn with_one_part_at_once_a_full_window_still_moves_on() {
    let store = store();
    store.yields.set(3);
    let mut writer = writer(&store, options().with_concurrency(1));
    let source = pattern(21 * MIB + 5);
    // A short write first, so that a block is open and no piece begins at the start of a part.
    writer.write(source.slice(..3)).await.expect("accepted");
    writer.write(source.slice(3..)).await.expect("accepted");
    writer.finish().await.expect("stored");
    assert!(store.object(&key()).expect("stored") == source);
    assert_eq!(store.in_flight_max.get(), 1);
}

#[compio::test]
async fn bytes_beyond_the_largest_object_are_refused_and_the_rest_can_be_finished() {
    let store = store();
    let mut writer = writer(&store, options().with_expected_size(1));
    writer.write("abc").await.expect("accepted");
    writer.object_bytes_max = 5;
    let error = writer.write("def").await.expect_err("one too many");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(writer.accepted(), 3);
    writer.write("de").await.expect("fits");
    writer.finish().await.expect("stored");
    assert_eq!(&store.object(&key()).expect("stored")[..], b"abcde");
}

#[compio::test]
async fn a_writer_cannot_be_made_with_impossible_options() {
    let store = store();
    let bad = BufferedMultipartWriterOptions::default().with_part_size(PART as u64 - 1);
    let error = BufferedMultipartWriter::new(Rc::new(super::Handle(Rc::clone(&store))), key(), bad)
        .expect_err("too small");
    assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidInput, Some("a/key")));
}

#[test]
fn a_writer_cannot_be_made_outside_of_a_runtime() {
    let storage = Rc::new(super::Handle(store()));
    let error = BufferedMultipartWriter::new(storage, key(), options()).expect_err("no runtime");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[compio::test]
async fn a_kept_write_does_not_take_the_room_that_was_left_for_copies() {
    // Found by the property below: the last write fits the open block, but is not copied into it.
    let store = store();
    store.yields.set(3);
    let mut writer = writer(&store, options().with_concurrency(1));
    for (len, owned) in [
        (6_105_922, false),
        (2_020_543, false),
        (2_712_765, true),
        (4_344_113, true),
        (78, false),
        (33_700, true),
    ] {
        let bytes = pattern(len);
        if owned {
            writer.write(bytes).await.expect("accepted");
        } else {
            writer.write_slice(&bytes).await.expect("accepted");
        }
        assert!(writer.held() <= 2 * PART as u64);
    }
    writer.finish().await.expect("stored");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_writes_arrive_as_they_were_written(
        writes in prop::collection::vec(
            (prop_oneof![3 => 0..100usize, 2 => 10_000..40_000usize, 2 => 0..6 * MIB], any::<bool>()),
            0..12,
        ),
        concurrency in 1..4usize,
        yields in 0..4u32,
    ) {
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let store = store();
            store.yields.set(yields);
            let mut writer = writer(&store, options().with_concurrency(concurrency));
            let source = pattern(writes.iter().map(|(len, _)| len).sum());
            let mut rest = source.clone();
            for (len, owned) in writes {
                let bytes = rest.split_to(len);
                if owned {
                    writer.write(bytes).await.expect("accepted");
                } else {
                    writer.write_slice(&bytes).await.expect("accepted");
                }
                assert!(writer.held() <= (concurrency as u64 + 1) * PART as u64);
            }
            writer.finish().await.expect("stored");
            assert!(store.object(&key()).expect("stored") == source);
            assert!(store.in_flight_max.get() <= concurrency);
            assert_eq!(store.count(Operation::CreateMultipartUpload), usize::from(source.len() > PART));
        });
    }
}

#[cfg(feature = "memory")]
#[compio::test]
async fn what_is_stored_bears_the_id_that_was_given_and_a_second_writer_finds_it_done() {
    use crate::{InMemoryStorage, Key, ObjectStorage, OperationId, Resolution};

    let store: Rc<dyn ObjectStorage> = Rc::new(InMemoryStorage::new());
    for (name, bytes) in [("small", 10), ("large", PART + 1)] {
        let (id, key) = (OperationId::random(), Key::parse(name).expect("a key"));
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            let options = options().with_mode(PutMode::Create).with_operation_id(id);
            let mut writer =
                BufferedMultipartWriter::new(Rc::clone(&store), key.clone(), options).expect("on a runtime");
            writer.write(pattern(bytes)).await.expect("accepted");
            outcomes.push(writer.finish().await.expect("stored once"));
        }
        assert_eq!(outcomes[0], outcomes[1]);
        let found = store.resolve(&key, id).await.expect("an answer");
        assert_eq!(found, Resolution::Applied(outcomes.remove(0)));
    }
}
