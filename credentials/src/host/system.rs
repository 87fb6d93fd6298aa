//! The real environment, files, clock and dice: the only place of the crate that reaches for them.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::LocalBoxFuture;

use super::{Clock, Environment, FileContent, Files, Random};

/// The variables of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    #[expect(clippy::disallowed_methods, reason = "this is the door that the others are sent to")]
    fn var(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

/// The files of this machine, read with blocking calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFiles;

impl Files for SystemFiles {
    fn read<'a>(&'a self, path: &'a Path, bytes_max: usize) -> LocalBoxFuture<'a, io::Result<FileContent>> {
        Box::pin(async move { read(path, bytes_max) })
    }

    fn write_private<'a>(&'a self, path: &'a Path, bytes: &'a [u8]) -> LocalBoxFuture<'a, io::Result<()>> {
        Box::pin(async move { write_private(path, bytes) })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "small local files, read at start and when keys are refreshed; the crate knows no runtime to hand them to"
)]
fn read(path: &Path, bytes_max: usize) -> io::Result<FileContent> {
    let file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    // Room for the whole file at once: a buffer that grows leaves copies of secrets behind. The length
    // is only a guess (/dev/null, pipes), so the read is limited on its own.
    let room = usize::try_from(metadata.len()).unwrap_or(bytes_max).min(bytes_max).saturating_add(1);
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let mut content = zeroize::Zeroizing::new(Vec::with_capacity(room));
    file.take(limit).read_to_end(&mut content)?;
    if content.len() > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let content = FileContent { bytes: content, unix_mode: None };
    #[cfg(unix)]
    let content = content.with_unix_mode(std::os::unix::fs::MetadataExt::mode(&metadata));
    Ok(content)
}

#[expect(clippy::disallowed_methods, reason = "as for reading; one small file when a token was refreshed")]
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{:016x}.tmp", fastrand::u64(..)));
    let temporary = Path::new(&temporary);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(temporary)?;
    let written =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(temporary, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _: io::Result<()> = std::fs::remove_file(temporary);
    }
    written
}

/// The clock of this machine. It cannot wait, for want of a runtime: a transport wraps it and adds
/// [`sleep`](Clock::sleep).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the clock that gets injected")]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that gets injected")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        START.elapsed()
    }
}

/// The dice of this thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn bits(&self) -> u64 {
        fastrand::u64(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let content = read(path, 1 << 20).unwrap();
        assert!(content.bytes().starts_with(b"[package]"));
        assert_eq!(read(path, content.bytes().len()).unwrap().bytes(), content.bytes());
        let error = read(path, content.bytes().len() - 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn what_is_not_there_or_no_file_is_an_error() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(read(&folder.join("absent"), 10).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(read(folder, 10).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_replaced_whole_and_read_by_its_owner_only() {
        let folder = std::env::temp_dir().join(format!("credentials-{:016x}", fastrand::u64(..)));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("token");
        write_private(&path, b"old").unwrap();
        write_private(&path, b"new").unwrap();
        let content = read(&path, 10).unwrap();
        assert_eq!((content.bytes(), content.unix_mode().unwrap() & 0o777), (&b"new"[..], 0o600));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        assert!(write_private(&folder, b"x").is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn an_endless_file_ends_at_the_limit() {
        assert_eq!(read(Path::new("/dev/zero"), 4096).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read(Path::new("/dev/null"), 4096).unwrap().bytes(), b"");
    }
}
