//! Where programs are, and how they get there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::contenders::Contender;

/// The folders of this workspace.
#[derive(Debug)]
pub(crate) struct Place {
    /// Where the manifest is.
    pub(crate) root: PathBuf,
    target: PathBuf,
}

impl Place {
    pub(crate) fn find() -> Result<Place, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no folder above the runner's")?;
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let target = this.parent().and_then(Path::parent).ok_or("the program is in no target directory")?;
        Ok(Place { root: root.to_owned(), target: target.to_owned() })
    }

    pub(crate) fn program(&self, package: &str) -> PathBuf {
        self.target.join("release").join(package)
    }

    /// A new empty directory on the disk that is built on, so that files are synced to a disk.
    pub(crate) fn scratch(&self) -> Result<PathBuf, String> {
        let path = self.target.join(format!("bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    pub(crate) fn results(&self, whole: bool) -> PathBuf {
        if whole { self.root.join("results") } else { self.target.join("results") }
    }

    /// Builds the responder and the contenders, each by itself: built together, cargo would give all of them the
    /// union of their features, and with it one rival's TLS provider to another.
    pub(crate) fn build(&self, contenders: &[&Contender]) -> Result<(), String> {
        let packages: BTreeSet<&str> =
            contenders.iter().map(|contender| contender.package).chain(["responder"]).collect();
        for package in packages {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut command = Command::new(cargo);
            // What `cargo run` says of this program is none of the builds' business; some would begin anew over it.
            for (name, _) in std::env::vars_os() {
                let text = name.to_string_lossy();
                if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                    command.env_remove(&name);
                }
            }
            let status = command
                .args(["build", "--release", "--locked", "--quiet", "--package", package, "--manifest-path"])
                .arg(self.root.join("Cargo.toml"))
                .arg("--target-dir")
                .arg(&self.target)
                .status()
                .map_err(|error| format!("cargo: {error}"))?;
            if !status.success() {
                return Err(format!("{package} does not build"));
            }
        }
        Ok(())
    }
}
