//! One run of one contender, and whether it did what it says.

use std::path::Path;
use std::process::{Command, Stdio};

use measure::{Action, LIST_KEYS, Report};

use crate::build::Place;
use crate::contenders::Contender;
use crate::responder::{Counts, Responder};
use crate::workloads::Sized;

/// A contender says with this exit code that it cannot take part.
const UNAVAILABLE: i32 = 3;

#[derive(Debug)]
pub(crate) struct Round<'a> {
    pub(crate) task: &'a Sized,
    pub(crate) place: &'a Place,
    pub(crate) scratch: &'a Path,
    pub(crate) responder: &'a Responder,
    pub(crate) core: usize,
}

impl Round<'_> {
    /// The inner error: why it does not take part.
    pub(crate) fn run(&self, contender: &Contender) -> Result<Result<Report, String>, String> {
        let (task, workload) = (self.task, &self.task.workload);
        let name = contender.name;
        let directory = self.scratch.join("objects");
        std::fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        self.responder.counts()?;
        let endpoint = if workload.tls { &self.responder.https } else { &self.responder.http };
        let output = Command::new(self.place.program(contender.package))
            .args(["--core", &self.core.to_string()])
            .args(["--workload", &workload.name])
            .args(["--variant", contender.variant])
            .args(["--endpoint", endpoint])
            .args(["--warmup", &task.warmup.to_string()])
            .args(["--ops", &task.ops.to_string()])
            .arg("--ca")
            .arg(&self.responder.ca)
            .arg("--directory")
            .arg(&directory)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        std::fs::remove_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.code() == Some(UNAVAILABLE) {
            return Ok(Err(said));
        }
        if !output.status.success() {
            return Err(format!("{name} failed at {}: {said}", workload.name));
        }
        let report: Report = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("{name} printed no report: {error}"))?;
        let counts = self.responder.counts()?;
        self.check(&report, &counts)
            .map_err(|why| format!("{name} did not do its work at {}: {why}", workload.name))?;
        Ok(Ok(report))
    }

    /// Compares what the contender claims with what the responder saw.
    fn check(&self, report: &Report, counts: &Counts) -> Result<(), String> {
        let workload = &self.task.workload;
        // It does fewer than it was asked for when it is slow.
        let ops = report.warmup + report.ops;
        let bytes = ops * workload.bytes as u64;
        let same = |what: &str, claimed: u64, counted: u64| {
            let message =
                || format!("{what}: {claimed} claimed or asked for, {counted} counted in {counts:?}");
            if claimed == counted { Ok(()) } else { Err(message()) }
        };
        let mut others = counts.others;
        match workload.action {
            Action::Put => {
                same("puts", ops, counts.puts)?;
                same("bytes asked for", bytes, report.moved)?;
                same("bytes", report.moved, counts.put_bytes)?;
                others += counts.gets + counts.list_pages + counts.creates + counts.parts + counts.completes;
            }
            Action::Get => {
                same("gets", ops, counts.gets)?;
                same("bytes asked for", bytes, report.moved)?;
                same("bytes", report.moved, counts.get_bytes)?;
                others += counts.puts + counts.list_pages + counts.creates + counts.parts + counts.completes;
            }
            Action::Multipart | Action::MultipartCopied => {
                same("uploads begun", ops, counts.creates)?;
                same("uploads completed", ops, counts.completes)?;
                same("bytes asked for", bytes, report.moved)?;
                same("bytes", report.moved, counts.part_bytes)?;
                others += counts.gets + counts.list_pages + counts.puts;
            }
            Action::List => {
                same("keys asked for", ops * LIST_KEYS, report.moved)?;
                same("keys", report.moved, counts.list_keys)?;
                others += counts.gets + counts.puts + counts.creates + counts.parts + counts.completes;
            }
            Action::FsPut | Action::FsGet => same("bytes", bytes, report.moved)?,
            Action::Sign => {}
        }
        same("other requests", 0, others)
    }
}
