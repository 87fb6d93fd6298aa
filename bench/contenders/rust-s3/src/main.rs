//! rust-s3.

use std::fmt::Display;
use std::sync::Arc;

use measure::{Action, LIST_KEYS, Report, Task, fail, measure, payload, unavailable};
use s3::creds::Credentials;
use s3::{Bucket, Region};

fn main() {
    let task = Task::from_args();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    or_fail(runtime).block_on(run(&task)).print();
}

async fn run(task: &Task) -> Report {
    let region = Region::Custom { region: task.region.to_owned(), endpoint: task.endpoint.clone() };
    let keys = Credentials::new(Some(task.access_key_id), Some(task.secret_access_key), None, None, None);
    let mut bucket = or_fail(Bucket::new(task.bucket, region, or_fail(keys)));
    bucket.set_path_style();
    if task.workload.tls {
        // It takes no certificate to trust; a handshake a connection is all that this saves it.
        bucket = Box::new(or_fail(bucket.set_dangerous_config(true, true)));
    }
    let bucket: Arc<Bucket> = Arc::from(bucket);
    match task.workload.action {
        Action::Put => put(task, &bucket).await,
        Action::Get => get(task, &bucket).await,
        Action::MultipartCopied => multipart(task, &bucket).await,
        Action::List => list(task, &bucket).await,
        Action::Multipart | Action::Sign | Action::FsPut | Action::FsGet => unavailable("rust-s3 has none"),
    }
}

async fn put(task: &Task, bucket: &Arc<Bucket>) -> Report {
    let payloads: Vec<Arc<[u8]>> =
        (0..task.workload.in_flight).map(|_| Arc::from(payload(task.workload.bytes))).collect();
    measure(task, async |ops| {
        let worker = |payload: &Arc<[u8]>| {
            let (bucket, payload, key) = (Arc::clone(bucket), Arc::clone(payload), task.put_key());
            let share = task.share(ops);
            tokio::spawn(async move {
                for _ in 0..share {
                    or_fail(bucket.put_object(&key, &payload).await);
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

async fn get(task: &Task, bucket: &Arc<Bucket>) -> Report {
    measure(task, async |ops| {
        let worker = |_| {
            let (bucket, key, share) = (Arc::clone(bucket), task.get_key(), task.share(ops));
            tokio::spawn(async move {
                let mut moved = 0;
                for _ in 0..share {
                    moved += or_fail(bucket.get_object(&key).await).bytes().len() as u64;
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

/// It reads from a stream and chooses part size and concurrency itself.
async fn multipart(task: &Task, bucket: &Arc<Bucket>) -> Report {
    let ring = payload(measure::RING_BYTES);
    measure(task, async |ops| {
        for _ in 0..ops {
            let mut left = task.workload.bytes;
            let mut at = 0;
            let mut source = Ring { ring: &ring, at: &mut at, left: &mut left };
            or_fail(bucket.put_object_stream(&mut source, task.put_key()).await);
        }
        ops * task.workload.bytes as u64
    })
    .await
}

/// Bytes of the ring, round and round.
struct Ring<'a> {
    ring: &'a [u8],
    at: &'a mut usize,
    left: &'a mut usize,
}

impl tokio::io::AsyncRead for Ring<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let ring = self.ring;
        let len = buffer.remaining().min(*self.left).min(ring.len() - *self.at);
        buffer.put_slice(&ring[*self.at..*self.at + len]);
        *self.at = (*self.at + len) % ring.len();
        *self.left -= len;
        std::task::Poll::Ready(Ok(()))
    }
}

async fn list(task: &Task, bucket: &Arc<Bucket>) -> Report {
    measure(task, async |ops| {
        let mut keys = 0;
        for _ in 0..ops {
            for page in or_fail(bucket.list("list/".to_owned(), None).await) {
                keys += page.contents.len() as u64;
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
