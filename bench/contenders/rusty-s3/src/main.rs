//! rusty-s3's presigned URLs sent with reqwest: the least that a tokio program can do.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use measure::{
    Action, LIST_KEYS, PART_BYTES, PARTS_IN_FLIGHT, RING_BYTES, Report, Task, fail, measure, measure_sync,
    payload, unavailable,
};
use reqwest::{Certificate, Client, Response};
use rusty_s3::actions::{CreateMultipartUpload, ListObjectsV2};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use url::Url;

const VALID: Duration = Duration::from_secs(3_600);

/// What every worker shares.
struct Store {
    client: Client,
    bucket: Bucket,
    keys: Credentials,
}

fn main() {
    let task = Task::from_args();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    or_fail(runtime).block_on(run(&task)).print();
}

async fn run(task: &Task) -> Report {
    let mut client = Client::builder().no_proxy().http1_only();
    if let Some(ca) = task.ca_pem() {
        client = client.tls_certs_only([or_fail(Certificate::from_pem(&ca))]);
    }
    let endpoint = if task.endpoint.is_empty() { "http://127.0.0.1" } else { &task.endpoint };
    let url: Url = or_fail(endpoint.parse());
    let store = Arc::new(Store {
        client: or_fail(client.build()),
        bucket: or_fail(Bucket::new(url, UrlStyle::Path, task.bucket, task.region)),
        keys: Credentials::new(task.access_key_id, task.secret_access_key),
    });
    match task.workload.action {
        Action::Put => put(task, &store).await,
        Action::Get => get(task, &store).await,
        Action::Multipart => multipart(task, &store).await,
        Action::List => list(task, &store).await,
        Action::Sign => measure_sync(task, |ops| {
            let key = task.put_key();
            for _ in 0..ops {
                std::hint::black_box(store.bucket.put_object(Some(&store.keys), &key).sign(VALID));
            }
            0
        }),
        Action::MultipartCopied | Action::FsPut | Action::FsGet => unavailable("rusty-s3 has none"),
    }
}

async fn put(task: &Task, store: &Arc<Store>) -> Report {
    let payloads: Vec<Bytes> =
        (0..task.workload.in_flight).map(|_| Bytes::from(payload(task.workload.bytes))).collect();
    measure(task, async |ops| {
        let worker = |payload: &Bytes| {
            let (store, payload, key) = (Arc::clone(store), payload.clone(), task.put_key());
            let share = task.share(ops);
            tokio::spawn(async move {
                for _ in 0..share {
                    let url = store.bucket.put_object(Some(&store.keys), &key).sign(VALID);
                    let answer = or_fail(store.client.put(url).body(payload.clone()).send().await);
                    or_fail(or_fail(answer.error_for_status()).bytes().await);
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

async fn get(task: &Task, store: &Arc<Store>) -> Report {
    measure(task, async |ops| {
        let worker = |_| {
            let (store, key, share) = (Arc::clone(store), task.get_key(), task.share(ops));
            tokio::spawn(async move {
                let mut moved = 0;
                for _ in 0..share {
                    let url = store.bucket.get_object(Some(&store.keys), &key).sign(VALID);
                    let answer = or_fail(store.client.get(url).send().await);
                    let mut answer = or_fail(answer.error_for_status());
                    while let Some(chunk) = or_fail(answer.chunk().await) {
                        moved += chunk.len() as u64;
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

/// No writer here: the application cuts the parts itself, and has them in one piece.
async fn multipart(task: &Task, store: &Arc<Store>) -> Report {
    let ring = Bytes::from(payload(RING_BYTES));
    measure(task, async |ops| {
        for _ in 0..ops {
            let key = task.put_key();
            let create = store.bucket.create_multipart_upload(Some(&store.keys), &key).sign(VALID);
            let created = or_fail(text(or_fail(store.client.post(create).send().await)).await);
            let upload = or_fail(CreateMultipartUpload::parse_response(&created));
            let upload = upload.upload_id();
            let mut sending = FuturesOrdered::new();
            let mut etags = Vec::new();
            for at in 0..task.workload.bytes / PART_BYTES {
                if sending.len() == PARTS_IN_FLIGHT {
                    etags.extend(sending.next().await);
                }
                let from = at * PART_BYTES % RING_BYTES;
                let (part, number) = (ring.slice(from..from + PART_BYTES), at as u16 + 1);
                let url = store.bucket.upload_part(Some(&store.keys), &key, number, upload).sign(VALID);
                let request = store.client.put(url).body(part).send();
                sending.push_back(async move {
                    let answer = or_fail(or_fail(request.await).error_for_status());
                    let etag = answer.headers().get("etag").and_then(|etag| etag.to_str().ok());
                    etag.unwrap_or_else(|| fail("a part without an ETag")).to_owned()
                });
            }
            while let Some(etag) = sending.next().await {
                etags.push(etag);
            }
            let etags = etags.iter().map(String::as_str);
            let complete = store.bucket.complete_multipart_upload(Some(&store.keys), &key, upload, etags);
            let url = complete.sign(VALID);
            or_fail(text(or_fail(store.client.post(url).body(complete.body()).send().await)).await);
        }
        ops * task.workload.bytes as u64
    })
    .await
}

async fn list(task: &Task, store: &Arc<Store>) -> Report {
    measure(task, async |ops| {
        let mut keys = 0;
        for _ in 0..ops {
            let mut token = None;
            loop {
                let mut action = store.bucket.list_objects_v2(Some(&store.keys));
                action.with_prefix("list/");
                if let Some(token) = token {
                    action.with_continuation_token(token);
                }
                let answer = or_fail(store.client.get(action.sign(VALID)).send().await);
                let page = or_fail(ListObjectsV2::parse_response(&or_fail(text(answer).await)));
                keys += page.contents.len() as u64;
                token = page.next_continuation_token;
                if token.is_none() {
                    break;
                }
            }
        }
        assert_eq!(keys, ops * LIST_KEYS, "every key is listed");
        keys
    })
    .await
}

async fn text(answer: Response) -> reqwest::Result<String> {
    let bytes = answer.error_for_status()?.bytes().await?;
    Ok(String::from_utf8(bytes.into()).unwrap_or_else(|error| fail(error)))
}

fn or_fail<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| fail(error))
}
