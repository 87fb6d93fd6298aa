//! object_store's `LocalFileSystem`, on a current-thread runtime of tokio, with its own `with_fsync`.

use bench_fs::{Count, Run, Work};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, PutMode, PutOptions};

fn main() {
    let run = Run::from_args();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work(&run));
}

async fn work(run: &Run) {
    std::fs::create_dir_all(&run.directory).expect("made");
    let store = LocalFileSystem::new_with_prefix(&run.directory).expect("opens").with_fsync(run.durable);
    let data = Bytes::from(vec![7; run.work.bytes()]);
    let first = Path::from(run.work.key(0));
    store.put_opts(&first, data.clone().into(), PutOptions::default()).await.expect("stored");
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

async fn operation(store: &LocalFileSystem, work: Work, number: usize, data: Bytes) {
    let path = Path::from(work.key(number));
    match work {
        Work::PutNew | Work::PutSame | Work::PutLarge => {
            drop(store.put_opts(&path, data.into(), PutOptions::default()).await.expect("stored"));
        }
        Work::PutCreate => {
            drop(store.put_opts(&path, data.into(), PutMode::Create.into()).await.expect("created"));
        }
        Work::GetSmall | Work::GetWhole => {
            let got = store.get_opts(&path, GetOptions::default()).await.expect("there");
            assert_eq!(got.bytes().await.expect("read").len(), work.bytes());
        }
        Work::GetChunks => {
            let mut chunks = store.get_opts(&path, GetOptions::default()).await.expect("there").into_stream();
            let mut read = 0;
            while let Some(chunk) = chunks.next().await {
                read += chunk.expect("read").len();
            }
            assert_eq!(read, work.bytes());
        }
    }
}
