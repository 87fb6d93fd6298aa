//! A server that looks like S3 to its clients and does as little as it can: bodies are drained and counted, answers
//! are made beforehand. One thread, one core, one epoll loop; plain and TLS.
//!
//! It prints its two addresses and lives until its standard input is closed. `GET /-/counts` tells what it was asked
//! since the last time, so that a contender's claims can be checked.

mod answer;
mod body;
mod connection;
mod counts;
mod listing;
mod request;
mod server;
mod tls;

use std::path::PathBuf;

use rustix::thread::{CpuSet, sched_setaffinity};

fn main() {
    let mut core = None;
    let mut ca = None;
    let mut arguments = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match name.as_str() {
            "--core" => core = value.parse().ok(),
            "--ca" => ca = Some(PathBuf::from(value)),
            _ => {}
        }
    }
    let Some(ca) = ca else {
        eprintln!(
            "usage: responder --ca FILE [--core N]\n  FILE: where to write the certificate that clients trust"
        );
        std::process::exit(2);
    };
    if let Some(core) = core {
        let mut cores = CpuSet::new();
        cores.set(core);
        if let Err(error) = sched_setaffinity(None, &cores) {
            eprintln!("core {core} is not to be had: {error}");
            std::process::exit(1);
        }
    }
    if let Err(error) = server::serve(&ca) {
        eprintln!("responder: {error}");
        std::process::exit(1);
    }
}
