//! One history: three clients in a process that dies now and then, over one store; and the judge, who knows all.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_util::future::join_all;
use object_storage::testing::{Fault, Faults, FaultyStorage};
use object_storage::{
    ErrorKind, InMemoryStorage, Key, MultipartOptions, ObjectStorage, ObjectStorageExt, OperationId,
    PartNumber, PutMode, Resolution,
};

use crate::client::{Client, Ended, Rule, Write, entries, try_again, yield_now};

const CLIENTS: usize = 3;
const STEPS: usize = 8;

/// A history that takes more polls hangs.
const POLLS_MAX: usize = 1_000_000;

/// What came of a history, or of many.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<String>,
    /// The faults, and the writes.
    pub(crate) story: String,
    pub(crate) calls: u64,
    pub(crate) faults: u64,
    pub(crate) crashes: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) cleared_up: u64,
}

impl Verdict {
    pub(crate) fn add(&mut self, other: &Verdict) {
        self.calls += other.calls;
        self.faults += other.faults;
        self.crashes += other.crashes;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.cleared_up += other.cleared_up;
    }
}

/// What outlives a crash: the clients' journals and what they have told others.
#[derive(Default)]
struct Disk {
    /// How many writes were begun.
    tokens: Cell<u64>,
    /// Begun, and nothing known of it.
    open: RefCell<BTreeMap<u64, Write>>,
    /// How each write ended, by token.
    ended: RefCell<BTreeMap<u64, (Write, Ended)>>,
    /// How many steps each client has behind it.
    steps: RefCell<[usize; CLIENTS]>,
    cleared_up: Cell<u64>,
}

impl Disk {
    /// Writes down what is about to be written.
    fn begin(&self, make: impl FnOnce(u64) -> Write) -> (u64, Write) {
        let token = self.tokens.get();
        self.tokens.set(token + 1);
        let write = make(token);
        self.open.borrow_mut().insert(token, write.clone());
        (token, write)
    }

    fn end(&self, token: u64, write: Write, ended: Ended) {
        self.open.borrow_mut().remove(&token);
        self.ended.borrow_mut().insert(token, (write, ended));
    }
}

/// Runs the history of this seed over the reference, with a rule broken or none.
pub(crate) fn run(seed: u64, broken: Option<Rule>) -> Verdict {
    drive(run_over(Rc::new(InMemoryStorage::new()), seed, broken))
}

/// The same over any store, which is empty.
pub(crate) async fn run_over(inner: Rc<dyn ObjectStorage>, seed: u64, broken: Option<Rule>) -> Verdict {
    // From calm to rough: of a thousand calls each fault meets 5 to 65.
    let per_mille = 5 + u32::try_from(seed % 7).expect("small") * 10;
    let faults = Faults::new(seed)
        .with_every_fault(per_mille)
        .with_rate(Fault::CrashBefore, 4)
        .with_rate(Fault::CrashAfter, 8)
        .with_late_calls(1..=40)
        .with_outage(60..75);
    let store = FaultyStorage::new(Rc::clone(&inner), faults);
    let disk = Disk::default();
    let mut crashes = 0;
    while store.until_crash(process(&store, &disk, seed, broken)).await.is_none() {
        crashes += 1;
    }
    store.settle().await;
    let ended = disk.ended.take();
    let violations = judge(&*inner, &ended).await;
    let story: String =
        ended.iter().map(|(token, (write, ended))| format!("  {token} {}: {ended:?}\n", write.key)).collect();
    let acknowledged = ended.values().filter(|(_, ended)| *ended == Ended::Applied).count() as u64;
    Verdict {
        violations,
        story: format!("{store}\n{story}"),
        calls: store.calls(),
        faults: store.injected().len() as u64,
        crashes,
        acknowledged,
        refused: ended.len() as u64 - acknowledged,
        cleared_up: disk.cleared_up.get(),
    }
}

/// One life of the process: what was open is brought to an end, then every client goes on.
async fn process(store: &FaultyStorage, disk: &Disk, seed: u64, broken: Option<Rule>) {
    let client = Client { store, broken };
    let open: Vec<_> = disk.open.borrow().clone().into_iter().collect();
    for (token, write) in open {
        if broken == Some(Rule::JournalIsRedriven) {
            disk.end(token, write, Ended::NotApplied);
            continue;
        }
        put(&client, disk, token, write, true).await;
    }
    join_all((0..CLIENTS).map(|number| {
        let client = &client;
        async move {
            while disk.steps.borrow()[number] < STEPS {
                let step = disk.steps.borrow()[number];
                // The same step again after a crash: it is chosen by its number.
                let die =
                    (seed ^ (step as u64) << 8 ^ number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                match die % 6 {
                    0 | 1 => append(client, disk).await,
                    2 | 3 => claim(client, disk).await,
                    4 => upload(client, disk).await,
                    _ => once(client, disk).await,
                }
                disk.steps.borrow_mut()[number] += 1;
                yield_now().await;
            }
        }
    }))
    .await;
}

async fn put(client: &Client<'_>, disk: &Disk, token: u64, write: Write, begun: bool) -> Ended {
    let put = client.put(&write, begun).await;
    disk.cleared_up.set(disk.cleared_up.get() + u64::from(put.cleared_up));
    disk.end(token, write, put.ended.clone());
    put.ended
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("a key")
}

fn write(token: u64, key: Key, content: String, mode: PutMode, write_once: bool) -> Write {
    Write { id: OperationId::from_bits(u128::from(token) + 1), key, content, mode, write_once }
}

/// Appends to the list that all clients share, by compare-and-swap.
async fn append(client: &Client<'_>, disk: &Disk) {
    loop {
        let (list, mode) = match client.get(&key("list")).await {
            Some((list, etag)) => (list, PutMode::Match(etag)),
            None => (String::new(), PutMode::Create),
        };
        let (token, write) =
            disk.begin(|token| write(token, key("list"), format!("{list}{token};"), mode, false));
        if put(client, disk, token, write, false).await == Ended::Applied {
            return;
        }
    }
}

/// Takes the next slot of a log, of which each is written once.
async fn claim(client: &Client<'_>, disk: &Disk) {
    loop {
        let slots = client.read(|| client.store.list_all("log/")).await.expect("listed");
        let slot = key(&format!("log/{:04}", slots.len()));
        let (token, write) = disk.begin(|token| write(token, slot, token.to_string(), PutMode::Create, true));
        if put(client, disk, token, write, false).await == Ended::Applied {
            return;
        }
    }
}

/// Puts an object under a name of its own, without a condition, and reads it back.
async fn once(client: &Client<'_>, disk: &Disk) {
    let (token, write) = disk.begin(|token| {
        let name = key(&format!("once/{token}"));
        write(token, name, token.to_string(), PutMode::Overwrite, true)
    });
    let (name, content) = (write.key.clone(), write.content.clone());
    if put(client, disk, token, write, false).await == Ended::Applied && client.broken.is_none() {
        let read = client.get(&name).await;
        assert_eq!(read.map(|(read, _)| read), Some(content), "what was acknowledged is read back");
    }
}

/// Uploads an object in parts, under a name of its own.
async fn upload(client: &Client<'_>, disk: &Disk) {
    let (token, write) = disk.begin(|token| {
        let name = key(&format!("upload/{token}"));
        write(token, name, token.to_string(), PutMode::Create, true)
    });
    // Whichever of the two happens, the object is the same and bears the same id; a crash in between leaves it to the
    // re-drive, which is a put.
    let ended = try_upload(client, &write).await;
    match ended {
        Some(ended) => disk.end(token, write, ended),
        None => {
            put(client, disk, token, write, true).await;
        }
    }
}

/// `None` when it is not known, or not done, and a put shall decide it.
async fn try_upload(client: &Client<'_>, write: &Write) -> Option<Ended> {
    let options = MultipartOptions::default().with_operation_id(write.id);
    let upload = client.store.create_multipart_upload(&write.key, options).await.ok()?;
    let part = loop {
        match upload.upload_part(PartNumber::FIRST, write.content.clone().into()).await {
            Ok(part) => break part,
            Err(error) if try_again(&error) || error.is_indeterminate() => yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    };
    loop {
        let error = match upload.complete(std::slice::from_ref(&part), write.mode.clone().into()).await {
            Ok(_) => return Some(Ended::Applied),
            Err(error) => error,
        };
        if error.is_indeterminate() {
            assert_eq!(error.operation_id(), Some(write.id));
            let found = client.read(|| client.store.resolve(&write.key, write.id)).await.expect("told");
            return matches!(found, Resolution::Applied(_)).then_some(Ended::Applied);
        }
        assert!(try_again(&error), "{error:?}");
        yield_now().await;
    }
}

/// Compares what is there with what the clients were told.
async fn judge(inner: &dyn ObjectStorage, ended: &BTreeMap<u64, (Write, Ended)>) -> Vec<String> {
    let mut violations = Vec::new();
    let list = match inner.get_bytes(&key("list")).await {
        Ok(list) => String::from_utf8_lossy(&list).into_owned(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            String::new()
        }
    };
    let listed: Vec<&str> = entries(&list).collect();
    if listed.iter().collect::<BTreeSet<_>>().len() != listed.len() {
        violations.push(format!("an entry is in the list twice: {list}"));
    }
    let mut objects = BTreeMap::new();
    for meta in inner.list_all("").await.expect("listed") {
        let content = inner.get_bytes(&meta.key).await.expect("listed, so there");
        objects.insert(meta.key, String::from_utf8_lossy(&content).into_owned());
    }
    for (token, (write, ended)) in ended {
        let is_there = match write.key.as_str() {
            "list" => listed.contains(&token.to_string().as_str()),
            _ => objects.get(&write.key) == Some(&write.content),
        };
        match (ended, is_there) {
            (Ended::Applied, false) => violations.push(format!("acknowledged and lost: {token} {write:?}")),
            (Ended::NotApplied, true) => violations.push(format!("refused and there: {token} {write:?}")),
            _ => {}
        }
    }
    let known = |content: &str| ended.keys().any(|token| token.to_string() == content);
    for (key, content) in &objects {
        if key.as_str() != "list" && !known(content) {
            violations.push(format!("nobody wrote {key:?} = {content}"));
        }
    }
    violations.extend(
        listed.iter().filter(|entry| !known(entry)).map(|entry| format!("nobody appended {entry:?}")),
    );
    violations
}

/// Polls until it is over: nothing here waits for anything but to be polled again.
fn drive<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
    panic!("not over after {POLLS_MAX} polls");
}
