//! The compio runtime of `ours` and of the floor.

use compio::driver::ProactorBuilder;
use compio::runtime::{Runtime, RuntimeBuilder};

use crate::{Task, fail};

/// One thread's runtime, with the settings that measured best; `BENCH_PROACTOR` tries others.
#[must_use]
pub fn runtime() -> Runtime {
    let settings = std::env::var("BENCH_PROACTOR").unwrap_or_else(|_| "coop".to_owned());
    let mut proactor = ProactorBuilder::new();
    for setting in settings.split(',') {
        match setting {
            "coop" => proactor.coop_taskrun(true).taskrun_flag(true),
            "defer" => proactor.single_issuer(true).defer_taskrun(true),
            "single" => proactor.single_issuer(true),
            _ => &mut proactor,
        };
    }
    match RuntimeBuilder::new().with_proactor(proactor).build() {
        Ok(runtime) => runtime,
        Err(error) => fail(format_args!("no runtime: {error}")),
    }
}

/// Runs one worker for each operation in flight, each in a task of its own, and adds up what they moved.
pub async fn workers<F: Future<Output = u64> + 'static>(task: &Task, worker: impl Fn(usize) -> F) -> u64 {
    let tasks: Vec<_> = (0..task.workload.in_flight).map(|at| compio::runtime::spawn(worker(at))).collect();
    let mut moved = 0;
    for task in tasks {
        moved += task.await.unwrap_or_else(|_| fail("a worker panicked"));
    }
    moved
}
