//! Which workloads there are by default, and how many operations make a run.

use measure::{Action, Workload};

/// A run that is measured, sized.
#[derive(Debug)]
pub(crate) struct Sized {
    pub(crate) workload: Workload,
    pub(crate) warmup: u64,
    pub(crate) ops: u64,
}

const EXCHANGES: &[&str] = &[
    "put-4k-1",
    "get-4k-1",
    "put-4k-32",
    "get-4k-32",
    "put-64k-1",
    "get-64k-1",
    "put-64k-32",
    "get-64k-32",
    "put-8m-1",
    "get-8m-1",
    "put-8m-4",
    "get-8m-4",
    "list",
];
const GIGABYTES: &[&str] = &["multipart-1g", "multipart_copied-1g"];
const LOCAL: &[&str] = &["sign", "fs-put-4k", "fs-get-1m"];

pub(crate) fn defaults(quick: bool) -> Vec<Workload> {
    let mut names = Vec::new();
    for tls in ["", "-tls"] {
        names.extend(EXCHANGES.iter().map(|name| format!("{name}{tls}")));
        if !quick {
            names.extend(GIGABYTES.iter().map(|name| format!("{name}{tls}")));
        }
    }
    names.extend(LOCAL.iter().map(|name| (*name).to_owned()));
    parsed(&names)
}

/// What a word stands for that names several.
pub(crate) fn group(name: &str) -> Option<Vec<Workload>> {
    let tls = match name {
        "http" => "",
        "https" => "-tls",
        "fs" => return Some(parsed(&["fs-put-4k".to_owned(), "fs-get-1m".to_owned()])),
        _ => return None,
    };
    Some(parsed(&EXCHANGES.iter().chain(GIGABYTES).map(|name| format!("{name}{tls}")).collect::<Vec<_>>()))
}

fn parsed(names: &[String]) -> Vec<Workload> {
    names.iter().map(|name| Workload::parse(name).expect("the lists above hold names")).collect()
}

/// Long enough to be measured (about half a second for the floor's neighbours), short enough for many rounds. What is
/// in flight divides all of it, so that every worker does the same.
pub(crate) fn size(workload: &Workload, quick: bool) -> Sized {
    let (warmup, ops) = match (workload.action, workload.bytes) {
        (Action::Put | Action::Get, ..=16_384) => (1_024, 12_800),
        (Action::Put | Action::Get, ..=262_144) => (512, 6_400),
        (Action::Put | Action::Get, ..=1_048_576) => (64, 1_024),
        (Action::Put | Action::Get, _) => (8, 48),
        (Action::Multipart | Action::MultipartCopied, _) => (1, 1),
        (Action::List, _) => (1, 2),
        (Action::Sign, _) => (10_000, 200_000),
        (Action::FsPut, _) => (32, 256),
        (Action::FsGet, _) => (64, 1_024),
    };
    let in_flight = workload.in_flight as u64;
    let whole = |number: u64| number.div_ceil(in_flight) * in_flight;
    let ops = if quick { (ops / 8).max(1) } else { ops };
    Sized { workload: workload.clone(), warmup: whole(warmup), ops: whole(ops) }
}
