//! `--age N`: one store of ours for N requests, and whether the last cost what the first did.

use std::path::Path;
use std::process::Command;

use crate::build::Place;
use crate::options::Options;
use crate::responder::Responder;

pub(crate) fn age(options: &Options, place: &Place, scratch: &Path, requests: u64) -> Result<(), String> {
    let responder = Responder::start(place, &scratch.join("ca.pem"), options.responder_core)?;
    let status = Command::new(place.program("age"))
        .args(["--core", &options.client_core.to_string()])
        .args(["--workload", "get-4k-32", "--variant", "", "--warmup", "0"])
        .args(["--endpoint", &responder.http, "--ops", &requests.to_string()])
        .status()
        .map_err(|error| format!("age does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("age ended with {status}")) }
}
