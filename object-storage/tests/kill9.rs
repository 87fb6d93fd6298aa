//! Kills a process that writes to a `CompioFsStorage`, at any moment, 200 times, and looks at what is left.
//!
//! The child is this test binary again, told by the environment what to do. It prints a line for every write
//! that was acknowledged; after `kill -9` every line must be true, every object whole, and every write that was
//! not acknowledged done or not done. The seed is printed; `KILL9_SEED` replays its choices, though not the
//! kernel's.
#![cfg(feature = "fs")]
#![expect(clippy::disallowed_methods, reason = "a test with processes, their environment, clocks and files")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fastrand::Rng;
use object_storage::{
    CompioFsStorage, CompleteOptions, CopyOptions, DeleteOptions, Durability, ErrorKind, FsOptions, Key,
    MultipartOptions, ObjectStorage, ObjectStorageExt, PartNumber, Payload, PutMode,
};

const ROUNDS: u32 = 200;
/// A new directory every so many rounds; in between, each child finds what the killed one left.
const ROUNDS_PER_DIRECTORY: u32 = 20;
/// The longest life of a child after it has opened the store.
const LIFE_MAX: Duration = Duration::from_millis(100);

const ROOT: &str = "KILL9_ROOT";
const ROUND: &str = "KILL9_ROUND";
const SEED: &str = "KILL9_SEED";
/// Begins each line of a child that is meant for its parent.
const MARK: &str = "kill9:";

fn key(text: &str) -> Key {
    Key::parse(text).expect("an everyday key")
}

/// Contents that tell what they are: key, sequence number, filling, checksum.
fn contents(key: &str, sequence: u64, bytes: usize) -> Vec<u8> {
    let mut contents = format!("{key} {sequence} {bytes}\n").into_bytes();
    let begin = contents.len();
    contents.resize(begin + bytes, 0);
    Rng::with_seed(sequence).fill(&mut contents[begin..]);
    let sum = checksum(&contents);
    contents.extend(sum.to_le_bytes());
    contents
}

/// The sequence number of contents that are whole and belong to this key.
fn sequence_of(key: &str, contents: &[u8]) -> Option<u64> {
    let (data, sum) = contents.split_last_chunk::<8>()?;
    let line = data.split(|byte| *byte == b'\n').next()?;
    let words: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let [named, sequence, bytes] = words.as_slice() else { return None };
    let whole = *named == key
        && checksum(data) == u64::from_le_bytes(*sum)
        && bytes.parse() == Ok(data.len() - line.len() - 1);
    sequence.parse().ok().filter(|_| whole)
}

/// In the manner of FNV-1a, eight bytes at a time: quick enough in a build without optimisation.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    words
        .chain(rest.iter().map(|byte| u64::from(*byte)))
        .fold(bytes.len() as u64, |sum, word| (sum ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23))
}

// ---- the child --------------------------------------------------------------------------------------------

/// Does nothing in an ordinary run of the tests.
#[test]
fn the_child_that_is_killed() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let number =
        |name| std::env::var(name).ok().and_then(|text| text.parse().ok()).expect("set by the parent");
    let (round, seed): (u64, u64) = (number(ROUND), number(SEED));
    compio::runtime::Runtime::new().expect("a runtime").block_on(work_until_killed(
        Path::new(&root),
        round,
        seed,
    ));
}

fn options(round: u64) -> FsOptions {
    // A kill takes nothing out of the page cache; half of the rounds sync anyway, for the moments in between.
    FsOptions::default().with_durability(if round.is_multiple_of(2) {
        Durability::Full
    } else {
        Durability::None
    })
}

fn tell(line: &str) {
    // One write to the pipe, so that no line is cut.
    std::io::stdout().write_all(format!("{MARK} {line}\n").as_bytes()).expect("the parent reads");
}

async fn work_until_killed(root: &Path, round: u64, seed: u64) {
    let store = CompioFsStorage::open(root, options(round)).await.expect("opens");
    tell("ready");
    let mut rng = Rng::with_seed(seed ^ (round << 32));
    let mut fork = || rng.fork();
    futures_util::join!(
        create(&store, round, fork()),
        overwrite(&store, "overwrite/a", fork()),
        overwrite(&store, "overwrite/b", fork()),
        swap(&store, "swap", fork()),
        swap(&store, "swap/below", fork()),
        upload(&store, round, fork()),
        delete(&store, round, fork()),
        copy(&store, round, fork()),
    );
}

/// Small ones are written in one piece, large ones through the ring.
fn some_bytes(rng: &mut Rng) -> usize {
    match rng.u8(..16) {
        0 => rng.usize(1_048_577..1_300_000),
        1..8 => rng.usize(60_000..200_000),
        _ => rng.usize(..4096),
    }
}

/// Cuts contents into a few chunks.
fn payload(contents: Vec<u8>, rng: &mut Rng) -> Payload {
    let mut rest = bytes::Bytes::from(contents);
    let mut payload = Payload::new();
    for _ in 0..rng.usize(..3) {
        payload.push(rest.split_to(rng.usize(..=rest.len())));
    }
    payload.push(rest);
    payload
}

async fn create(store: &CompioFsStorage, round: u64, mut rng: Rng) {
    for sequence in 1.. {
        // In new directories and in old ones.
        let name = format!("create/{round}/{}/{sequence}", sequence % 5);
        let payload = payload(contents(&name, sequence, some_bytes(&mut rng)), &mut rng);
        store.put_if_absent(&key(&name), payload).await.expect("created");
        tell(&format!("have {name} {sequence}"));
    }
}

async fn current(store: &CompioFsStorage, name: &str) -> u64 {
    match store.get_bytes(&key(name)).await {
        Ok(contents) => sequence_of(name, &contents).expect("whole"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
            0
        }
    }
}

async fn overwrite(store: &CompioFsStorage, name: &str, mut rng: Rng) {
    for sequence in current(store, name).await + 1.. {
        let payload = payload(contents(name, sequence, some_bytes(&mut rng)), &mut rng);
        store.put_bytes(&key(name), payload).await.expect("stored");
        tell(&format!("have {name} {sequence}"));
    }
}

async fn swap(store: &CompioFsStorage, name: &str, mut rng: Rng) {
    if !store.exists(&key(name)).await.expect("looked") {
        store.put_if_absent(&key(name), contents(name, 1, 10)).await.expect("created");
    }
    loop {
        let sequence = current(store, name).await + 1;
        let etag = store.head_meta(&key(name)).await.expect("there").etag.expect("a tag");
        let payload = payload(contents(name, sequence, some_bytes(&mut rng)), &mut rng);
        store.put_if_match(&key(name), payload, &etag).await.expect("nobody else writes here");
        tell(&format!("have {name} {sequence}"));
    }
}

async fn upload(store: &CompioFsStorage, round: u64, mut rng: Rng) {
    for sequence in 1.. {
        let name = format!("upload/{round}/{sequence}");
        // Mostly one part, as most moments of an upload are those of its small steps.
        let bytes = if rng.u8(..6) == 0 { 5 * 1024 * 1024 + 1000 } else { some_bytes(&mut rng) };
        let mut rest = bytes::Bytes::from(contents(&name, sequence, bytes));
        let upload =
            store.create_multipart_upload(&key(&name), MultipartOptions::default()).await.expect("begun");
        let mut parts = Vec::new();
        let mut number = PartNumber::FIRST;
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(5 * 1024 * 1024));
            parts.push(upload.upload_part(number, part.into()).await.expect("sent"));
            number = number.next().expect("few parts");
        }
        upload.complete(&parts, CompleteOptions::from(PutMode::Create)).await.expect("joined");
        tell(&format!("have {name} {sequence}"));
    }
}

async fn delete(store: &CompioFsStorage, round: u64, mut rng: Rng) {
    for sequence in 1.. {
        let name = format!("delete/{round}/{sequence}");
        store.put_bytes(&key(&name), contents(&name, sequence, rng.usize(..1000))).await.expect("stored");
        tell(&format!("have {name} {sequence}"));
        // From here on it may be gone at any moment.
        tell(&format!("may-go {name} 0"));
        store.delete(&key(&name), DeleteOptions::default()).await.expect("deleted");
        tell(&format!("gone {name} 0"));
    }
}

async fn copy(store: &CompioFsStorage, round: u64, mut rng: Rng) {
    let name = format!("copy/{round}");
    store.put_bytes(&key(&name), contents(&name, 1, some_bytes(&mut rng))).await.expect("stored");
    for sequence in 1.. {
        let to = format!("copied/{round}/{sequence}");
        store
            .copy(&key(&name), &key(&to), CopyOptions::default().with_mode(PutMode::Create))
            .await
            .expect("copied");
        tell(&format!("copied {to} {round}"));
    }
}

// ---- the parent -------------------------------------------------------------------------------------------

/// What a child said was so.
#[derive(Debug, Default)]
struct Acknowledged {
    /// The last sequence number of each object.
    have: BTreeMap<String, u64>,
    may_go: BTreeSet<String>,
    gone: BTreeSet<String>,
    copied: BTreeSet<String>,
    lines: usize,
}

impl Acknowledged {
    fn read(lines: &str) -> Acknowledged {
        let mut acknowledged = Acknowledged::default();
        for line in lines.lines().filter_map(|line| Some(line.split_once(MARK)?.1)) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [what, name, number] = words.as_slice() else { continue };
            let name = (*name).to_owned();
            acknowledged.lines += 1;
            match *what {
                "have" => drop(acknowledged.have.insert(name, number.parse().expect("a number"))),
                "may-go" => drop(acknowledged.may_go.insert(name)),
                "gone" => drop(acknowledged.gone.insert(name)),
                "copied" => drop(acknowledged.copied.insert(name)),
                other => panic!("the child says {other:?}"),
            }
        }
        acknowledged
    }
}

/// A child that does not outlive a failed test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run_and_kill(root: &Path, round: u64, seed: u64, rng: &mut Rng) -> String {
    let mut child = Killed(
        Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "the_child_that_is_killed", "--nocapture", "--test-threads", "1"])
            .envs([
                (ROOT, root.as_os_str().to_owned()),
                (ROUND, round.to_string().into()),
                (SEED, seed.to_string().into()),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts"),
    );
    let mut output = BufReader::new(child.0.stdout.take().expect("piped"));
    let mut lines = String::new();
    // One in eight is killed around its start.
    if rng.u8(..8) > 0 {
        while !lines.contains("ready") {
            assert_ne!(
                output.read_line(&mut lines).expect("readable"),
                0,
                "the child ended by itself: {lines}"
            );
        }
    }
    std::thread::sleep(LIFE_MAX.mul_f64(rng.f64()));
    assert!(child.0.try_wait().expect("a child of ours").is_none(), "the child ended by itself");
    child.0.kill().expect("killed");
    output.read_to_string(&mut lines).expect("readable");
    child.0.wait().expect("ended");
    lines
}

/// Opens the store, and again until nothing is left to sweep: the kernel ends a killed process's operations in
/// the ring a moment after the process, and until then they hold their files, and the locks on them.
async fn open_and_sweep(root: &Path) -> CompioFsStorage {
    let sweep_all = FsOptions::default().with_durability(Durability::None).with_sweep_after(Duration::ZERO);
    for _ in 0..500 {
        let store = CompioFsStorage::open(root, sweep_all).await.expect("opens");
        if std::fs::read_dir(root.join("%tmp")).expect("there").next().is_none() {
            return store;
        }
        compio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("temporary files of a killed process are not swept");
}

/// Looks at everything that is left. `known` is what was there before, and then what is there now.
async fn check(root: &Path, said: &Acknowledged, known: &mut BTreeMap<String, u64>) {
    let store = open_and_sweep(root).await;
    let mut found = BTreeMap::new();
    for meta in store.list_all("").await.expect("the listing is whole") {
        let name = meta.key.as_str();
        let got =
            store.get_bytes(&meta.key).await.unwrap_or_else(|error| panic!("listed and not read: {error:?}"));
        assert!(meta.etag.is_some() && meta.size == got.len() as u64, "{meta:?}");
        let named = match name.strip_prefix("copied/").and_then(|rest| rest.split_once('/')) {
            Some((round, _)) => format!("copy/{round}"),
            None => name.to_owned(),
        };
        let sequence = sequence_of(&named, &got).unwrap_or_else(|| panic!("{name} is not whole"));
        found.insert(name.to_owned(), sequence);
    }

    for name in &said.gone {
        assert!(!found.contains_key(name), "{name} was deleted");
    }
    for (name, acknowledged) in &said.have {
        match found.get(name) {
            Some(sequence) => assert!(
                (*acknowledged..=acknowledged + 1).contains(sequence),
                "{name}: acknowledged {acknowledged}, found {sequence}"
            ),
            None => assert!(said.may_go.contains(name), "{name} was acknowledged and is lost"),
        }
    }
    for name in &said.copied {
        assert!(found.contains_key(name), "{name} was copied and is lost");
    }
    for (name, before) in known.iter() {
        let now = found.get(name).unwrap_or_else(|| panic!("{name} was there before and is lost"));
        assert!(now >= before, "{name} went back from {before} to {now}");
    }

    let uploads = store.list_uploads("").await.expect("the uploads are whole");
    for upload in uploads {
        let upload =
            store.resume_multipart_upload(&upload.key, &upload.upload_id).expect("an upload of ours");
        upload.abort().await.expect("given up");
    }
    assert_eq!(std::fs::read_dir(root.join("%uploads")).expect("there").count(), 0);

    // What will not be written again has been looked at, and would only make the next look longer.
    let once = |name: &String| !name.starts_with("overwrite/") && !name.starts_with("swap");
    let done: Vec<Key> = found.keys().filter(|name| once(name)).map(|name| key(name)).collect();
    assert!(store.delete_many(&done).await.expect("tried").iter().all(Result::is_ok));
    found.retain(|name, _| !once(name));
    *known = found;
}

#[test]
fn two_hundred_kills_lose_nothing_that_was_acknowledged_and_leave_nothing_half() {
    if std::env::var(ROOT).is_ok() {
        return;
    }
    let seed =
        std::env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("{SEED}={seed}");
    let mut rng = Rng::with_seed(seed);
    let runtime = compio::runtime::Runtime::new().expect("a runtime");
    let (mut lines, mut unfinished) = (0, 0);
    for directory in 0..ROUNDS / ROUNDS_PER_DIRECTORY {
        // Below target/: a real disk, where /tmp may be memory.
        let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        let mut known = BTreeMap::new();
        for round in 0..ROUNDS_PER_DIRECTORY {
            let round = u64::from(directory * ROUNDS_PER_DIRECTORY + round);
            let said = Acknowledged::read(&run_and_kill(root.path(), round, seed, &mut rng));
            lines += said.lines;
            unfinished += usize::from(
                std::fs::read_dir(root.path().join("%tmp")).is_ok_and(|mut tmp| tmp.next().is_some()),
            );
            runtime.block_on(check(root.path(), &said, &mut known));
        }
    }
    println!("{ROUNDS} kills, {lines} acknowledged steps, {unfinished} times a file was being written");
    assert!(lines > 1000, "the children got to do something");
    assert!(unfinished > 20, "the kills came in the middle of something");
}
