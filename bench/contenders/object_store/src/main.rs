//! object_store, with signed payloads (its default) or, as the variant `unsigned`, without.

use std::fmt::Display;
use std::path::Path as Directory;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use measure::{
    Action, LIST_KEYS, PART_BYTES, PARTS_IN_FLIGHT, RING_BYTES, Report, Task, WRITE_BYTES, fail, measure,
    payload, unavailable,
};
use object_store::aws::AmazonS3Builder;
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Certificate, ClientOptions, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::io::AsyncWriteExt;

fn main() {
    let task = Task::from_args();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    or_fail(runtime).block_on(run(&task)).print();
}

async fn run(task: &Task) -> Report {
    let store = if task.workload.is_remote() { s3(task) } else { files(task) };
    match task.workload.action {
        Action::Put | Action::FsPut => put(task, &store).await,
        Action::FsGet => {
            or_fail(store.put(&Path::from(task.get_key()), payload(task.workload.bytes).into()).await);
            get(task, &store).await
        }
        Action::Get => get(task, &store).await,
        Action::Multipart | Action::MultipartCopied => multipart(task, &store).await,
        Action::List => list(task, &store).await,
        Action::Sign => unavailable("object_store signs in one step with sending"),
    }
}

fn s3(task: &Task) -> Arc<dyn ObjectStore> {
    let mut client = ClientOptions::new().with_allow_http(true);
    if let Some(ca) = task.ca_pem() {
        client = client.with_root_certificate(or_fail(Certificate::from_pem(&ca)));
    }
    let store = AmazonS3Builder::new()
        .with_endpoint(&task.endpoint)
        .with_bucket_name(task.bucket)
        .with_region(task.region)
        .with_access_key_id(task.access_key_id)
        .with_secret_access_key(task.secret_access_key)
        .with_client_options(client)
        .with_unsigned_payload(task.variant == "unsigned")
        .build();
    Arc::new(or_fail(store))
}

fn files(task: &Task) -> Arc<dyn ObjectStore> {
    let directory: &Directory = task.directory.as_deref().unwrap_or_else(|| fail("--directory is missing"));
    // As durable as CompioFsStorage: the file and its directory are synced before a put returns.
    Arc::new(or_fail(LocalFileSystem::new_with_prefix(directory)).with_fsync(true))
}

async fn put(task: &Task, store: &Arc<dyn ObjectStore>) -> Report {
    let payloads: Vec<Bytes> =
        (0..task.workload.in_flight).map(|_| Bytes::from(payload(task.workload.bytes))).collect();
    measure(task, async |ops| {
        let worker = |payload: &Bytes| {
            let (store, payload, key) = (Arc::clone(store), payload.clone(), Path::from(task.put_key()));
            let share = task.share(ops);
            tokio::spawn(async move {
                for _ in 0..share {
                    or_fail(store.put(&key, PutPayload::from(payload.clone())).await);
                }
                share * payload.len() as u64
            })
        };
        let workers: Vec<_> = payloads.iter().map(worker).collect();
        let mut moved = 0;
        for worker in workers {
            moved += or_fail(worker.await);
        }
        moved
    })
    .await
}

async fn get(task: &Task, store: &Arc<dyn ObjectStore>) -> Report {
    // Its streams of files come in pieces of 8 KiB, each from another thread: seven times dearer than all at once.
    let whole = task.workload.action == Action::FsGet;
    measure(task, async |ops| {
        let worker = |_| {
            let (store, key, share) = (Arc::clone(store), Path::from(task.get_key()), task.share(ops));
            tokio::spawn(async move {
                let mut moved = 0;
                for _ in 0..share {
                    if whole {
                        moved += or_fail(or_fail(store.get(&key).await).bytes().await).len() as u64;
                        continue;
                    }
                    let mut body = or_fail(store.get(&key).await).into_stream();
                    while let Some(chunk) = body.next().await {
                        moved += or_fail(chunk).len() as u64;
                    }
                }
                moved
            })
        };
        let workers: Vec<_> = (0..task.workload.in_flight).map(worker).collect();
        let mut moved = 0;
        for worker in workers {
            moved += or_fail(worker.await);
        }
        moved
    })
    .await
}

async fn multipart(task: &Task, store: &Arc<dyn ObjectStore>) -> Report {
    let ring = Bytes::from(payload(RING_BYTES));
    let copied = task.workload.action == Action::MultipartCopied;
    measure(task, async |ops| {
        for _ in 0..ops {
            let mut writer =
                BufWriter::with_capacity(Arc::clone(store), Path::from(task.put_key()), PART_BYTES)
                    .with_max_concurrency(PARTS_IN_FLIGHT);
            for at in 0..task.workload.bytes / WRITE_BYTES {
                let from = at * WRITE_BYTES % RING_BYTES;
                let piece = from..from + WRITE_BYTES;
                if copied {
                    or_fail(writer.write_all(&ring[piece]).await);
                } else {
                    or_fail(writer.put(ring.slice(piece)).await);
                }
            }
            or_fail(writer.shutdown().await);
        }
        ops * task.workload.bytes as u64
    })
    .await
}

async fn list(task: &Task, store: &Arc<dyn ObjectStore>) -> Report {
    measure(task, async |ops| {
        let mut keys = 0;
        for _ in 0..ops {
            let mut listing = store.list(Some(&Path::from("list")));
            while let Some(object) = listing.next().await {
                or_fail(object);
                keys += 1;
            }
        }
        assert_eq!(keys, ops * LIST_KEYS, "every key is listed");
        keys
    })
    .await
}

fn or_fail<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| fail(error))
}
