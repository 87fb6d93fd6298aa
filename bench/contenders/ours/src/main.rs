//! `S3Storage`, `CompioFsStorage` and `BufferedMultipartWriter`, as an application uses them.

use std::fmt::Display;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use credentials::sigv4::{PayloadHash, Signer, SigningStyle};
use credentials::{Credentials, Secret, SourceName};
use measure::{
    Action, LIST_KEYS, PART_BYTES, PARTS_IN_FLIGHT, RING_BYTES, Report, Task, WRITE_BYTES, fail, measure,
    measure_sync, payload, runtime, unavailable, workers,
};
use object_storage::{
    BufferedMultipartWriter, BufferedMultipartWriterOptions, GetOptions, Key, ListOptions, ObjectStorage,
    ObjectStorageExt, StorageConfig,
};

fn main() {
    let task = Task::from_args();
    runtime().block_on(run(&task)).print();
}

async fn run(task: &Task) -> Report {
    if task.workload.action == Action::Sign {
        return sign(task);
    }
    let storage = open(task).await;
    match task.workload.action {
        Action::Put | Action::FsPut => put(task, &storage).await,
        Action::FsGet => {
            or_fail(storage.put_bytes(&key(&task.get_key()), payload(task.workload.bytes)).await);
            get(task, &storage).await
        }
        Action::Get => get(task, &storage).await,
        Action::Multipart | Action::MultipartCopied => multipart(task, &storage).await,
        Action::List => list(task, &*storage).await,
        Action::Sign => unreachable!("needs no storage"),
    }
}

async fn open(task: &Task) -> Rc<dyn ObjectStorage> {
    let config = if task.workload.is_remote() {
        object_config(task)
    } else {
        let directory = task.directory.as_deref().unwrap_or_else(|| fail("--directory is missing"));
        or_fail(StorageConfig::fs(directory).build())
    };
    let factory = or_fail(s3_backend::factory(&config));
    or_fail(factory.open().await)
}

/// The configuration as a file would have it. The variant is more lines of that file, such as
/// `transport = "direct"`, parted by semicolons.
fn object_config(task: &Task) -> StorageConfig {
    let with = |options: &str| {
        let ca = match &task.ca {
            Some(path) if task.workload.tls => format!("ca_file = {path:?}\n"),
            _ => String::new(),
        };
        let Task { endpoint, bucket, region, access_key_id, secret_access_key, .. } = task;
        StorageConfig::from_toml(&format!(
            "[system.storage]\nkind = \"object\"\n[system.storage.object]\nendpoint = {endpoint:?}\n\
             bucket = {bucket:?}\nregion = {region:?}\naccess_key_id = {access_key_id:?}\n\
             secret_access_key = {secret_access_key:?}\n{ca}{}",
            options.replace(';', "\n")
        ))
    };
    match with(&task.variant) {
        Ok(config) => config,
        // A build with one transport has no option to choose one.
        Err(error) if task.variant == "transport = \"cyper\"" => {
            with("").unwrap_or_else(|_| unavailable(error))
        }
        Err(error) => unavailable(error),
    }
}

async fn put(task: &Task, storage: &Rc<dyn ObjectStorage>) -> Report {
    let payloads: Vec<Bytes> =
        (0..task.workload.in_flight).map(|_| Bytes::from(payload(task.workload.bytes))).collect();
    measure(task, async |ops| {
        workers(task, |at| {
            let (storage, payload, key) = (Rc::clone(storage), payloads[at].clone(), key(&task.put_key()));
            let share = task.share(ops);
            async move {
                for _ in 0..share {
                    or_fail(storage.put_bytes(&key, payload.clone()).await);
                }
                share * payload.len() as u64
            }
        })
        .await
    })
    .await
}

async fn get(task: &Task, storage: &Rc<dyn ObjectStorage>) -> Report {
    measure(task, async |ops| {
        workers(task, |_| {
            let (storage, key, share) = (Rc::clone(storage), key(&task.get_key()), task.share(ops));
            async move {
                let mut moved = 0;
                for _ in 0..share {
                    let mut body = or_fail(storage.get(&key, GetOptions::default()).await).body;
                    while let Some(chunk) = body.next_chunk().await {
                        moved += or_fail(chunk).len() as u64;
                    }
                }
                moved
            }
        })
        .await
    })
    .await
}

async fn multipart(task: &Task, storage: &Rc<dyn ObjectStorage>) -> Report {
    let ring = Bytes::from(payload(RING_BYTES));
    let copied = task.workload.action == Action::MultipartCopied;
    measure(task, async |ops| {
        for _ in 0..ops {
            let options = BufferedMultipartWriterOptions::default()
                .with_part_size(PART_BYTES as u64)
                .with_concurrency(PARTS_IN_FLIGHT);
            let writer = BufferedMultipartWriter::new(Rc::clone(storage), key(&task.put_key()), options);
            let mut writer = or_fail(writer);
            for at in 0..task.workload.bytes / WRITE_BYTES {
                let from = at * WRITE_BYTES % RING_BYTES;
                let piece = from..from + WRITE_BYTES;
                or_fail(match copied {
                    true => writer.write_slice(&ring[piece]).await,
                    false => writer.write(ring.slice(piece)).await,
                });
            }
            or_fail(writer.finish().await);
        }
        ops * task.workload.bytes as u64
    })
    .await
}

async fn list(task: &Task, storage: &dyn ObjectStorage) -> Report {
    measure(task, async |ops| {
        let mut keys = 0;
        for _ in 0..ops {
            let mut lister = storage.list(ListOptions::prefix("list/"));
            while let Some(page) = or_fail(lister.next_page().await) {
                keys += page.objects.len() as u64;
            }
        }
        assert_eq!(keys, ops * LIST_KEYS, "every key is listed");
        keys
    })
    .await
}

/// The same request as the other signers get, at the time that it is.
fn sign(task: &Task) -> Report {
    let keys = Credentials::builder(task.access_key_id, Secret::new(task.secret_access_key));
    let signer = Signer::new(or_fail(keys.build(SourceName::Inline)), task.region, "s3", SigningStyle::S3);
    let uri = format!("http://127.0.0.1/{}/{}", task.bucket, task.put_key());
    measure_sync(task, |ops| {
        for _ in 0..ops {
            let (mut head, ()) = or_fail(http::Request::put(uri.as_str()).body(())).into_parts();
            or_fail(signer.sign(&mut head, &PayloadHash::Unsigned, SystemTime::now()));
            std::hint::black_box(head);
        }
        0
    })
}

fn key(text: &str) -> Key {
    or_fail(Key::parse(text))
}

fn or_fail<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| fail(error))
}
