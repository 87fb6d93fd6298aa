//! The raw floor: what the same bytes cost when nobody makes, signs, checks or understands them. Prebuilt requests go
//! out over compio's TCP, answers are read into one reused buffer and found to end by their length.

mod link;

use std::cell::RefCell;
use std::rc::Rc;

use measure::{
    Action, MIB, PART_BYTES, PARTS_IN_FLIGHT, Task, fail, measure, payload, runtime, unavailable, workers,
};

use link::Link;

fn main() {
    let task = Task::from_args();
    if task.workload.tls || !task.workload.is_remote() {
        unavailable("the floor is plain http");
    }
    runtime().block_on(run(&task)).print();
}

async fn run(task: &Task) -> measure::Report {
    match task.workload.action {
        Action::Put => in_turns(task, || request(task, "PUT", &task.put_key(), task.workload.bytes), 0).await,
        Action::Get => in_turns(task, || request(task, "GET", &task.get_key(), 0), task.workload.bytes).await,
        Action::Multipart | Action::MultipartCopied => multipart(task).await,
        Action::List => list(task).await,
        Action::Sign | Action::FsPut | Action::FsGet => unreachable!("refused in main"),
    }
}

/// The same request over and over, on one connection for each operation in flight.
async fn in_turns(task: &Task, request: impl Fn() -> Vec<u8>, answer_bytes: usize) -> measure::Report {
    let mut links = Vec::new();
    for _ in 0..task.workload.in_flight {
        let link = Link::open(task.authority(), request(), answer_bytes).await;
        links.push(Rc::new(RefCell::new(Some(link))));
    }
    measure(task, async |ops| {
        workers(task, |at| {
            let (slot, share, bytes) = (Rc::clone(&links[at]), task.share(ops), task.workload.bytes as u64);
            async move {
                let mut link = slot.borrow_mut().take().expect("each worker has its own");
                for _ in 0..share {
                    link.exchange().await;
                }
                *slot.borrow_mut() = Some(link);
                share * bytes
            }
        })
        .await
    })
    .await
}

/// The parts, as many at a time as the others send, and the requests around them.
async fn multipart(task: &Task) -> measure::Report {
    let parts = task.workload.bytes / PART_BYTES;
    let (key, authority) = (task.put_key(), task.authority());
    let part = || request(task, "PUT", &format!("{key}?partNumber=1&uploadId=upload-1"), PART_BYTES);
    let create = request(task, "POST", &format!("{key}?uploads"), 0);
    let complete = request(task, "POST", &format!("{key}?uploadId=upload-1"), 100 * parts);
    let mut links = Vec::new();
    for _ in 0..PARTS_IN_FLIGHT {
        links.push(Some(Link::open(authority, part(), 0).await));
    }
    let mut create = Link::open(authority, create, 0).await;
    let mut complete = Link::open(authority, complete, 0).await;
    measure(task, async |ops| {
        for _ in 0..ops {
            create.exchange().await;
            let tasks = links.iter_mut().map(|slot| {
                let mut link = slot.take().expect("given back after each upload");
                compio::runtime::spawn(async move {
                    for _ in 0..parts / PARTS_IN_FLIGHT {
                        link.exchange().await;
                    }
                    link
                })
            });
            let tasks: Vec<_> = tasks.collect();
            for (slot, task) in links.iter_mut().zip(tasks) {
                *slot = Some(task.await.unwrap_or_else(|_| fail("a worker panicked")));
            }
            complete.exchange().await;
        }
        ops * task.workload.bytes as u64
    })
    .await
}

/// One page after the other.
async fn list(task: &Task) -> measure::Report {
    let page =
        |page| request(task, "GET", &format!("?continuation-token=page{page}&list-type=2&prefix=list%2F"), 0);
    let pages = measure::LIST_KEYS / 1_000;
    let mut link = Link::open(task.authority(), page(0), MIB as usize).await;
    measure(task, async |ops| {
        for _ in 0..ops {
            for at in 0..pages {
                link.request(page(at));
                link.exchange().await;
            }
        }
        ops * measure::LIST_KEYS
    })
    .await
}

/// About what a signed request looks like, in one piece with its body.
fn request(task: &Task, method: &str, target: &str, body: usize) -> Vec<u8> {
    let head = format!(
        "{method} /{bucket}/{target} HTTP/1.1\r\nhost: {host}\r\nuser-agent: floor\r\n\
         x-amz-content-sha256: UNSIGNED-PAYLOAD\r\nx-amz-date: 20260101T000000Z\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/s3/aws4_request, \
         SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={nothing:0>64}\r\n\
         content-length: {body}\r\n\r\n",
        bucket = task.bucket,
        host = task.authority(),
        key = task.access_key_id,
        region = task.region,
        nothing = "",
    );
    let mut bytes = Vec::with_capacity(head.len() + body);
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(&payload(body));
    bytes
}
