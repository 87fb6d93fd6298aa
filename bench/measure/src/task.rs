//! What a contender is asked to do, from its arguments.

use std::path::PathBuf;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Workload;

/// What the keys of objects begin with that are got: the size in bytes follows, and the responder reads it.
const GET_KEY_PREFIX: &str = "get-";

/// Where and as whom all contenders work. The responder looks at none of it.
const BUCKET: &str = "bench";
const REGION: &str = "us-east-1";
const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// One run of one workload.
#[derive(Clone, Debug)]
pub struct Task {
    /// What to do.
    pub workload: Workload,
    /// Which form of the contender: how it signs payloads, or options of `[system.storage.object]`.
    pub variant: String,
    /// The responder, as `http://127.0.0.1:8080`.
    pub endpoint: String,
    /// The certificate to trust, in a PEM file.
    pub ca: Option<PathBuf>,
    /// An empty directory, for workloads on files.
    pub directory: Option<PathBuf>,
    /// Operations before measuring.
    pub warmup: u64,
    /// Operations to measure.
    pub ops: u64,
    /// The bucket.
    pub bucket: &'static str,
    /// The region.
    pub region: &'static str,
    /// The key pair's name.
    pub access_key_id: &'static str,
    /// The key pair's secret.
    pub secret_access_key: &'static str,
}

impl Task {
    /// Reads the arguments and moves this process to its core. Call it before any thread is started.
    #[must_use]
    pub fn from_args() -> Task {
        let mut task = Task {
            workload: Workload::parse("put-4k-1").expect("this is a name"),
            variant: String::new(),
            endpoint: String::new(),
            ca: None,
            directory: None,
            warmup: 100,
            ops: 1_000,
            bucket: BUCKET,
            region: REGION,
            access_key_id: ACCESS_KEY_ID,
            secret_access_key: SECRET_ACCESS_KEY,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_else(|| fail(format_args!("{name} needs a value")));
            let number = || value.parse().unwrap_or_else(|_| fail(format_args!("{name} is not a number")));
            match name.as_str() {
                "--workload" => {
                    task.workload = Workload::parse(&value)
                        .unwrap_or_else(|| fail(format_args!("{value} is no workload")));
                }
                "--variant" => task.variant = value,
                "--endpoint" => task.endpoint = value,
                "--ca" => task.ca = Some(PathBuf::from(value)),
                "--directory" => task.directory = Some(PathBuf::from(value)),
                "--warmup" => task.warmup = number(),
                "--ops" => task.ops = number(),
                "--core" => pin(number()),
                _ => fail(format_args!("{name} is unknown")),
            }
        }
        task
    }

    /// The responder's `host:port`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.endpoint.split_once("://").map_or(self.endpoint.as_str(), |(_, authority)| authority)
    }

    /// The key of the object that is put.
    #[must_use]
    pub fn put_key(&self) -> String {
        format!("put-{}", self.workload.bytes)
    }

    /// The key of the object that is got.
    #[must_use]
    pub fn get_key(&self) -> String {
        format!("{GET_KEY_PREFIX}{}", self.workload.bytes)
    }

    /// How many of `ops` operations one of the workers does.
    #[must_use]
    pub fn share(&self, ops: u64) -> u64 {
        ops / self.workload.in_flight as u64
    }

    /// At least so many operations, and the same for every worker.
    pub(crate) fn whole(&self, ops: u64) -> u64 {
        ops.div_ceil(self.workload.in_flight as u64) * self.workload.in_flight as u64
    }

    /// As many of `ops` as fit into `limit` at the pace of `done` operations in `took`.
    pub(crate) fn within(&self, ops: u64, done: u64, took: Duration, limit: Duration) -> u64 {
        let fit = done as f64 * limit.as_secs_f64() / took.as_secs_f64().max(1e-9);
        let in_flight = self.workload.in_flight as u64;
        ops.min(fit as u64) / in_flight * in_flight
    }

    /// The certificate to trust, as bytes.
    #[must_use]
    pub fn ca_pem(&self) -> Option<Vec<u8>> {
        let path = self.ca.as_ref().filter(|_| self.workload.tls)?;
        match std::fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) => fail(format_args!("{}: {error}", path.display())),
        }
    }
}

/// One core for all threads that are started from here on, those of the kernel for io_uring included.
fn pin(core: u64) {
    let mut cores = CpuSet::new();
    cores.set(usize::try_from(core).expect("64 bits"));
    if let Err(error) = sched_setaffinity(None, &cores) {
        fail(format_args!("core {core} is not to be had: {error}"));
    }
}

/// Says why, and ends the process: a run that went wrong is no measurement.
pub fn fail(why: impl std::fmt::Display) -> ! {
    eprintln!("{why}");
    std::process::exit(1);
}

/// Says that this contender cannot do it, which is no mistake.
pub fn unavailable(why: impl std::fmt::Display) -> ! {
    eprintln!("{why}");
    std::process::exit(3);
}
