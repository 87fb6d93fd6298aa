//! `spike big-object`: an object far larger than memory goes up through the writer in writes of random sizes, and
//! comes back byte for byte; says how much memory that took.

mod child;
mod stream;

use std::fmt;
use std::rc::Rc;

use futures_util::future::{Either, select};
use object_storage::limits::MIB;
use object_storage::{BufferedMultipartWriter, BufferedMultipartWriterOptions, Error, GetOptions, Key};

use self::child::ServerProcess;
use self::stream::{Noise, write_sizes};
use crate::complain;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::report::{Progress, Table, seconds};
use crate::run::Store;
use crate::stopwatch;
use crate::target::Target;

/// What is to be sent, and what it may cost.
#[derive(Debug)]
pub(crate) struct BigObject {
    pub(crate) run: String,
    /// The store; `None` starts a server in a process of its own, so that only this side's memory is measured.
    pub(crate) store: Option<Store>,
    pub(crate) bytes: u64,
    /// Gives the bytes and the sizes of the writes.
    pub(crate) seed: u64,
    pub(crate) memory_bytes_max: u64,
}

/// Why it did not work out: the store, or the bytes.
enum Trouble {
    Store(Error),
    Other(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Store(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Store(error) => write!(f, "{error:?}"),
            Trouble::Other(text) => f.write_str(text),
        }
    }
}

/// Sends it, compares it, and reports.
pub(crate) async fn big_object(task: &BigObject, table: &Table, interrupt: &Interrupt) -> Exit {
    let (target, _server) = match open(task).await {
        Ok(opened) => opened,
        Err(trouble) => return complain(&trouble),
    };
    table.line(&target.description);
    table.line(&format!("{} MiB, seed {}", task.bytes / MIB, task.seed));
    let progress = Progress::new();
    let ended = {
        let work = async {
            if let Some(warning) = target.create_bucket().await? {
                table.line(&format!("warning: {warning}"));
            }
            there_and_back(task, &target, table, &progress).await
        };
        match select(std::pin::pin!(work), std::pin::pin!(interrupt.came())).await {
            Either::Left((ended, _)) => ended.map(|()| true),
            Either::Right(((), _)) => Ok(false),
        }
    };
    progress.clear();
    let memory = peak_memory_bytes().await;
    let cleaned = target.clean_up(&progress).await;
    progress.clear();
    if let Err(left) = cleaned {
        table.line(&format!("warning: {left}"));
    }
    match ended {
        Ok(true) => {}
        Ok(false) => return Exit::Interrupted,
        Err(trouble) => {
            table.line(&format!("FAILED: {trouble}"));
            return Exit::Failed;
        }
    }
    let Some(memory) = memory else {
        table.line("FAILED: this system does not say how much memory a process took (/proc/self/status)");
        return Exit::Failed;
    };
    let allowed = task.memory_bytes_max;
    let within = memory <= allowed;
    let verdict = if within { "passed" } else { "FAILED" };
    table.line(&format!(
        "{verdict}: byte for byte, peak memory {:.1} MiB, {} MiB allowed",
        memory as f64 / MIB as f64,
        allowed / MIB
    ));
    if within { Exit::Passed } else { Exit::Failed }
}

async fn open(task: &BigObject) -> Result<(Target, Option<ServerProcess>), Trouble> {
    match &task.store {
        Some(store) => Ok((store.open(&task.run).await?, None)),
        None => {
            let server =
                ServerProcess::start().map_err(|error| Trouble::Other(format!("no server: {error}")))?;
            let config = server.config()?;
            Ok((Target::existing("s3", &config, &task.run).await?, Some(server)))
        }
    }
}

async fn there_and_back(
    task: &BigObject,
    target: &Target,
    table: &Table,
    progress: &Progress,
) -> Result<(), Trouble> {
    let context = target.context("big-object", progress);
    let key = Key::parse(&format!("{}object", context.prefix)).map_err(Error::from)?;
    let begun = stopwatch::now();
    let writes = up(task, target, &key, progress).await?;
    let went_up = stopwatch::now();
    table.line(&rate("up", task.bytes, went_up - begun, &format!("{writes} writes of 3 B to 3 MiB")));
    let chunks = down(task, target, &key, progress).await?;
    table.line(&rate(
        "down",
        task.bytes,
        stopwatch::now() - went_up,
        &format!("{chunks} chunks, each compared"),
    ));
    Ok(())
}

/// Writes the object. Returns the number of writes.
async fn up(task: &BigObject, target: &Target, key: &Key, progress: &Progress) -> Result<u64, Trouble> {
    progress.begin(format_args!("up"));
    let options = BufferedMultipartWriterOptions::default();
    let mut writer = BufferedMultipartWriter::new(Rc::clone(&target.store), key.clone(), options)?;
    let mut noise = Noise::new(task.seed);
    let mut writes = 0;
    for len in write_sizes(task.seed, task.bytes) {
        writer.write(noise.take(len)).await?;
        writes += 1;
        progress.say(format_args!("{} of {} MiB", writer.accepted() / MIB, task.bytes / MIB));
    }
    writer.finish().await?;
    Ok(writes)
}

/// Reads the object and compares it with the same noise made anew. Returns the number of chunks.
async fn down(task: &BigObject, target: &Target, key: &Key, progress: &Progress) -> Result<u64, Trouble> {
    progress.begin(format_args!("down"));
    let mut body = target.store.get(key, GetOptions::default()).await?.body;
    if body.len() != task.bytes {
        return Err(Trouble::Other(format!("{} bytes came back", body.len())));
    }
    let mut noise = Noise::new(task.seed);
    let mut chunks = 0;
    while let Some(chunk) = body.next_chunk().await {
        let at = task.bytes - body.remaining();
        if !noise.matches(&chunk?) {
            return Err(Trouble::Other(format!("other bytes came back, before byte {at}")));
        }
        chunks += 1;
        progress.say(format_args!("{} of {} MiB", at / MIB, task.bytes / MIB));
    }
    Ok(chunks)
}

fn rate(way: &str, bytes: u64, took: std::time::Duration, how: &str) -> String {
    let rate = bytes as f64 / MIB as f64 / took.as_secs_f64();
    format!("{way:<5}{:>9}  {rate:>6.0} MiB/s  {how}", seconds(took))
}

/// The most memory that this process had resident at any time, in bytes: `VmHWM` of [proc_pid_status(5)].
///
/// [proc_pid_status(5)]: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
async fn peak_memory_bytes() -> Option<u64> {
    let status = compio::fs::read("/proc/self/status").await.ok()?;
    let status = String::from_utf8(status).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<u64>().ok()? * 1024)
}
