//! `CompioFsStorage`, on one shard.

use bench_fs::{Count, Run, Work};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use object_storage::{
    CompioFsStorage, Durability, FsOptions, GetOptions, Key, ObjectStorage, ObjectStorageExt, PutMode,
    PutOptions,
};

fn main() {
    let run = Run::from_args();
    let mut proactor = compio::driver::ProactorBuilder::new();
    proactor.coop_taskrun(true).taskrun_flag(true);
    let runtime = compio::runtime::RuntimeBuilder::new().with_proactor(proactor).build();
    runtime.expect("a runtime").block_on(work(&run));
}

async fn work(run: &Run) {
    let durability = if run.durable { Durability::Full } else { Durability::None };
    let store = CompioFsStorage::open(&run.directory, FsOptions::default().with_durability(durability));
    let store = store.await.expect("opens");
    let data = Bytes::from(vec![7; run.work.bytes()]);
    store.put_bytes(&key(run.work, 0), data.clone()).await.expect("stored");
    let mut number = 1;
    let mut in_flight = FuturesUnordered::new();
    let warm_up = run.warm_up();
    let mut count = None;
    let mut done = 0;
    loop {
        while in_flight.len() < run.at_once && number <= warm_up + run.operations {
            in_flight.push(operation(&store, run.work, number, data.clone()));
            number += 1;
        }
        if in_flight.next().await.is_none() {
            break;
        }
        done += 1;
        if done == warm_up {
            count = Some(Count::begin());
        }
    }
    count.expect("begun").end(run.operations);
}

fn key(work: Work, number: usize) -> Key {
    Key::parse(&work.key(number)).expect("a key")
}

async fn operation(store: &CompioFsStorage, work: Work, number: usize, data: Bytes) {
    let key = key(work, number);
    match work {
        Work::PutNew | Work::PutSame | Work::PutLarge => {
            drop(store.put_bytes(&key, data).await.expect("stored"))
        }
        Work::PutCreate => {
            let options = PutOptions::from(PutMode::Create);
            drop(store.put(&key, data.into(), options).await.expect("created"));
        }
        Work::GetSmall | Work::GetWhole => {
            let got = store.get(&key, GetOptions::default()).await.expect("there");
            assert_eq!(got.body.bytes().await.expect("read").len(), work.bytes());
        }
        Work::GetChunks => {
            let mut body = store.get(&key, GetOptions::default()).await.expect("there").body;
            let mut read = 0;
            while let Some(chunk) = body.next_chunk().await {
                read += chunk.expect("read").len();
            }
            assert_eq!(read, work.bytes());
        }
    }
}
