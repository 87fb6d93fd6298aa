//! Under what the numbers were taken. No date: it says nothing about them.

use std::process::Command;

use serde::Serialize;

use crate::build::Place;
use crate::options::Options;

#[derive(Debug, Serialize)]
pub(crate) struct Conditions {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    /// What else ran when this began: above 0.5, others were using the cores that are measured.
    pub(crate) load: f64,
    pub(crate) rounds: usize,
    /// Package and version, by contender.
    pub(crate) contenders: Vec<(String, String)>,
}

pub(crate) fn conditions(place: &Place, options: &Options) -> Result<Conditions, String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let cpuinfo = read("/proc/cpuinfo")?;
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let lock = std::fs::read_to_string(place.root.join("Cargo.lock")).map_err(|error| error.to_string())?;
    let rustc = Command::new("rustc").arg("--version").output().map_err(|error| format!("rustc: {error}"))?;
    let load = read("/proc/loadavg")?.split(' ').next().and_then(|load| load.parse().ok());
    let contenders = options.contenders.iter().map(|contender| {
        let versions =
            contender.versions.iter().map(|package| format!("{package} {}", version(&lock, package)));
        let versions: Vec<String> = versions.collect();
        let about = if versions.is_empty() { String::new() } else { format!(" ({})", versions.join(", ")) };
        (contender.name.to_owned(), format!("{}{about}", contender.about))
    });
    Ok(Conditions {
        cpu: model.map_or("unknown", |(_, name)| name).to_owned(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        rustc: String::from_utf8_lossy(&rustc.stdout).trim().to_owned(),
        load: load.unwrap_or(0.0),
        rounds: options.rounds,
        contenders: contenders.collect(),
    })
}

/// The highest version in the lock file, where entries stand in order of their version.
fn version(lock: &str, package: &str) -> String {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let found = lock.rsplit_once(&entry).and_then(|(_, rest)| rest.split('"').next());
    found.unwrap_or("unknown").to_owned()
}
