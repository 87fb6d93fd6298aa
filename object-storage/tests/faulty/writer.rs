//! A writer over a store that goes wrong: the object is whole or not there, and what the writer says of it is true.

use std::rc::Rc;

use bytes::Bytes;
use object_storage::testing::{Faults, FaultyStorage};
use object_storage::{
    BufferedMultipartWriter, BufferedMultipartWriterOptions, InMemoryStorage, Key, ObjectStorage,
    ObjectStorageExt, PutMode, Resolution, Result,
};

const SEEDS: u64 = 60;
const MIB: usize = 1024 * 1024;

#[test]
fn what_a_writer_says_is_true() {
    let mut ends = [0; 3];
    compio::runtime::Runtime::new().expect("a runtime").block_on(async {
        for seed in 0..SEEDS {
            ends[write_one(seed).await] += 1;
        }
    });
    println!("{} stored, {} not stored, {} in doubt", ends[0], ends[1], ends[2]);
    assert!(ends.iter().all(|end| *end > 2), "{ends:?}");
}

/// Stores one object: 0 when it is, 1 when it is not, 2 when the writer does not know.
async fn write_one(seed: u64) -> usize {
    let inner = InMemoryStorage::new();
    let store = FaultyStorage::new(Rc::new(inner.clone()), Faults::new(seed).with_every_fault(25));
    let key = Key::parse("object").expect("a key");
    // Every third object is a single put.
    let len = if seed.is_multiple_of(3) { MIB } else { 11 * MIB };
    let block: Bytes = (0..MIB).map(|at| u8::try_from((at + at / 251) % 251).expect("below")).collect();
    let ended = write(store.clone(), &key, &block, len).await;
    store.settle().await;
    let stored = match inner.get_bytes(&key).await {
        Ok(stored) => {
            assert!(stored.len() == len && stored.chunks(MIB).all(|chunk| chunk == block), "half an object");
            true
        }
        Err(error) => {
            assert!(error.is_not_found());
            false
        }
    };
    match ended {
        Ok(()) => {
            assert!(stored, "told that it is stored");
            0
        }
        Err(error) if error.is_indeterminate() => {
            if let Some(id) = error.operation_id() {
                let found = inner.resolve(&key, id).await.expect("memory answers");
                assert_eq!(
                    matches!(found, Resolution::Applied(_)),
                    stored,
                    "the id tells whether it was stored"
                );
            }
            2
        }
        Err(error) => {
            assert!(!stored, "told that it is not stored: {error:?}");
            1
        }
    }
}

async fn write(store: FaultyStorage, key: &Key, block: &Bytes, len: usize) -> Result<()> {
    let options = BufferedMultipartWriterOptions::from(PutMode::Create).with_part_size(5 * MIB as u64);
    let mut writer = BufferedMultipartWriter::new(Rc::new(store), key.clone(), options)?;
    for _ in 0..len / MIB {
        writer.write(block.clone()).await?;
    }
    writer.finish().await.map(drop)
}
