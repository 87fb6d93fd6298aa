//! opendal, without layers: no retries, which it leaves to a layer.

use std::fmt::Display;

use bytes::Bytes;
use futures_util::StreamExt;
use measure::{
    Action, LIST_KEYS, PART_BYTES, PARTS_IN_FLIGHT, RING_BYTES, Report, Task, WRITE_BYTES, fail, measure,
    payload, unavailable,
};
use opendal::services::S3;
use opendal::{HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqsign_aws_v4::{Credential, RequestSigner};
use reqsign_core::{Context, SignRequest};

fn main() {
    let task = Task::from_args();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    or_fail(runtime).block_on(run(&task)).print();
}

async fn run(task: &Task) -> Report {
    match task.workload.action {
        Action::Put => put(task, &open(task)).await,
        Action::Get => get(task, &open(task)).await,
        Action::Multipart | Action::MultipartCopied => multipart(task, &open(task)).await,
        Action::List => list(task, &open(task)).await,
        Action::Sign => sign(task).await,
        Action::FsPut | Action::FsGet => unavailable("opendal syncs neither files nor directories"),
    }
}

fn open(task: &Task) -> Operator {
    let service = S3::default()
        .endpoint(&task.endpoint)
        .bucket(task.bucket)
        .region(task.region)
        .access_key_id(task.access_key_id)
        .secret_access_key(task.secret_access_key)
        .disable_config_load()
        .disable_ec2_metadata();
    let operator = or_fail(Operator::new(service));
    let mut client = reqwest::Client::builder().no_proxy();
    if let Some(ca) = task.ca_pem() {
        client = client.tls_certs_only([or_fail(reqwest::Certificate::from_pem(&ca))]);
    }
    let transport = HttpTransporter::new(ReqwestTransport::new(or_fail(client.build())));
    operator.with_context(OperationContext::new().with_http_transport(transport))
}

async fn put(task: &Task, operator: &Operator) -> Report {
    let payloads: Vec<Bytes> =
        (0..task.workload.in_flight).map(|_| Bytes::from(payload(task.workload.bytes))).collect();
    measure(task, async |ops| {
        let worker = |payload: &Bytes| {
            let (operator, payload, key) = (operator.clone(), payload.clone(), task.put_key());
            let share = task.share(ops);
            tokio::spawn(async move {
                for _ in 0..share {
                    or_fail(operator.write(&key, payload.clone()).await);
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

async fn get(task: &Task, operator: &Operator) -> Report {
    measure(task, async |ops| {
        let worker = |_| {
            let (operator, key, share) = (operator.clone(), task.get_key(), task.share(ops));
            tokio::spawn(async move {
                let mut moved = 0;
                for _ in 0..share {
                    // A buffer of the chunks that came, not joined.
                    moved += or_fail(operator.read(&key).await).len() as u64;
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

async fn multipart(task: &Task, operator: &Operator) -> Report {
    let ring = Bytes::from(payload(RING_BYTES));
    let copied = task.workload.action == Action::MultipartCopied;
    measure(task, async |ops| {
        for _ in 0..ops {
            let key = task.put_key();
            let writer = operator.writer_with(&key).chunk(PART_BYTES).concurrent(PARTS_IN_FLIGHT);
            let mut writer = or_fail(writer.await);
            for at in 0..task.workload.bytes / WRITE_BYTES {
                let from = at * WRITE_BYTES % RING_BYTES;
                let piece = from..from + WRITE_BYTES;
                let piece = if copied { Bytes::copy_from_slice(&ring[piece]) } else { ring.slice(piece) };
                or_fail(writer.write(piece).await);
            }
            or_fail(writer.close().await);
        }
        ops * task.workload.bytes as u64
    })
    .await
}

async fn list(task: &Task, operator: &Operator) -> Report {
    measure(task, async |ops| {
        let mut keys = 0;
        for _ in 0..ops {
            let mut lister = or_fail(operator.lister_with("list/").recursive(true).await);
            while let Some(entry) = lister.next().await {
                // It adds the directory itself.
                keys += u64::from(or_fail(entry).metadata().is_file());
            }
        }
        assert_eq!(keys, ops * LIST_KEYS, "every key is listed");
        keys
    })
    .await
}

/// reqsign, which signs for opendal, by headers.
async fn sign(task: &Task) -> Report {
    let signer = RequestSigner::new("s3", task.region);
    let keys = Credential {
        access_key_id: task.access_key_id.to_owned(),
        secret_access_key: task.secret_access_key.to_owned(),
        session_token: None,
        expires_in: None,
    };
    let context = Context::new();
    let uri = format!("http://127.0.0.1/{}/{}", task.bucket, task.put_key());
    measure(task, async |ops| {
        for _ in 0..ops {
            let request = http::Request::put(uri.as_str()).header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
            let (mut head, ()) = or_fail(request.body(())).into_parts();
            or_fail(signer.sign_request(&context, &mut head, Some(&keys), None).await);
            std::hint::black_box(head);
        }
        0
    })
    .await
}

fn or_fail<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| fail(error))
}
