//! Whether a store costs more as it grows old: one store, put and get of 4 KiB in turns, 32 at a time, and what the first
//! ten thousand requests cost beside the last hundred thousand.

use std::rc::Rc;

use bytes::Bytes;
use measure::{Task, fail, payload, runtime, workers};
use object_storage::{Key, ObjectStorage, ObjectStorageExt, StorageConfig};

/// Requests between two looks at the clock.
const WINDOW: u64 = 10_000;

fn main() {
    let task = Task::from_args();
    runtime().block_on(run(&task));
}

async fn run(task: &Task) {
    let Task { endpoint, bucket, region, access_key_id, secret_access_key, .. } = task;
    let config = StorageConfig::object(*bucket)
        .endpoint(endpoint)
        .region(*region)
        .access_key_id(*access_key_id)
        .secret_access_key(*secret_access_key)
        .build()
        .unwrap_or_else(|error| fail(error));
    let factory = s3_backend::factory(&config).unwrap_or_else(|error| fail(error));
    let storage = factory.open().await.unwrap_or_else(|error| fail(error));
    // Connections, buffers, code: everything is there before the first window.
    window(task, &storage).await;
    let (mut costs, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..(task.ops / WINDOW).max(2) {
        let before = cpu_us();
        window(task, &storage).await;
        costs.push((cpu_us() - before) as f64 / WINDOW as f64);
        memory.push(resident_kib());
    }
    let last = &costs[costs.len().saturating_sub(10)..];
    let (first, last) = (costs[0], median(last));
    println!("{} requests on one store, put and get of 4 KiB, 32 in flight", costs.len() as u64 * WINDOW);
    println!(
        "CPU of a request: {first:.2} us in the first {WINDOW}, {last:.2} us in the last windows, ratio {:.3}",
        last / first
    );
    println!("median of all windows {:.2} us", median(&costs));
    println!(
        "resident memory: {} KiB after the first window, {} KiB at the end",
        memory[0],
        memory[memory.len() - 1]
    );
}

async fn window(task: &Task, storage: &Rc<dyn ObjectStorage>) {
    let bytes = Bytes::from(payload(4096));
    workers(task, |_| {
        let (storage, bytes) = (Rc::clone(storage), bytes.clone());
        let keys = (key(&task.put_key()), key(&task.get_key()));
        let share = WINDOW / task.workload.in_flight as u64 / 2;
        async move {
            for _ in 0..share {
                if let Err(error) = storage.put_bytes(&keys.0, bytes.clone()).await {
                    fail(error);
                }
                if let Err(error) = storage.get_bytes(&keys.1).await {
                    fail(error);
                }
            }
            share
        }
    })
    .await;
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap_or_else(|error| fail(error))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// User and system time of all threads so far.
fn cpu_us() -> u64 {
    let usage = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = usage.split(' ').next().and_then(|text| text.parse::<u64>().ok());
    nanoseconds.unwrap_or_else(|| fail("the kernel does not account for time")) / 1000
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().strip_suffix("kB")).and_then(|kib| kib.trim().parse().ok()).unwrap_or(0)
}
