//! Whether what a killed process has left is what it said, and what may be of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use object_storage::{
    ErrorKind, Key, ObjectStorage, ObjectStorageExt as _, OperationId, PutMode, PutOptions, Resolution,
};

use crate::contents::{Line, contents, sequence_of};

/// A server may still be at work on what it had read when the process was killed.
const LANDED_AFTER: Duration = Duration::from_millis(100);

/// How often a look is repeated when an object lands in the middle of it.
const LOOKS_MAX: u32 = 50;

#[derive(Default)]
pub(crate) struct Verdict {
    acknowledged: usize,
    /// Under way when the kill came, and there.
    applied: usize,
    /// Under way when the kill came, and not there.
    absent: usize,
    resolved: usize,
    driven_again: usize,
    swept: usize,
    /// What was under way when a kill came, and was not there afterwards. A server may carry it out whenever it likes, so
    /// these names are not used again.
    open: BTreeMap<String, Attempt>,
    landed_late: usize,
    pub(crate) wrong: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged writes compared; of those under way {} had been applied whole and {} not at all; \
             {} resolved by their id, {} driven again; {} landed later; {} uploads swept; {} wrong",
            self.acknowledged,
            self.applied,
            self.absent,
            self.resolved,
            self.driven_again,
            self.landed_late,
            self.swept,
            self.wrong.len()
        )
    }
}

/// One thing that the child wanted to write.
struct Attempt {
    sequence: u64,
    bytes: usize,
    id: Option<OperationId>,
    is_acknowledged: bool,
    /// It was found, after the kill or later.
    is_seen: bool,
}

fn key(name: &str) -> Key {
    Key::parse(name).expect("an everyday key")
}

async fn get(storage: &dyn ObjectStorage, name: &str) -> Option<Bytes> {
    match storage.get_bytes(&key(name)).await {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{error:?}"),
    }
}

impl Verdict {
    /// Judges one life, and cleans up after it.
    pub(crate) async fn judge(&mut self, storage: &dyn ObjectStorage, prefix: &str, lines: Vec<Line>) {
        compio::time::sleep(LANDED_AFTER).await;
        let mut names: BTreeMap<String, Vec<Attempt>> = BTreeMap::new();
        for line in lines {
            match line {
                Line::Ready => {}
                Line::Trying { name, sequence, bytes, id } => {
                    let attempt = Attempt { sequence, bytes, id, is_acknowledged: false, is_seen: false };
                    names.entry(name).or_default().push(attempt);
                }
                Line::Acknowledged { name, sequence } => {
                    let attempts = names.get_mut(&name).expect("it was tried");
                    let attempt = attempts.last_mut().filter(|attempt| attempt.sequence == sequence);
                    attempt.expect("it was the last").is_acknowledged = true;
                    self.acknowledged += 1;
                }
            }
        }
        for (name, attempts) in &names {
            if name.contains("/swap/") {
                self.swapped(storage, name, attempts).await;
            } else {
                self.created(storage, name, &attempts[0]).await;
            }
        }
        let listed = async || -> BTreeSet<String> {
            let objects = storage.list_all(prefix).await.expect("listed");
            objects.into_iter().map(|object| object.key.as_str().to_owned()).collect()
        };
        let before = listed().await;
        for name in before.iter().filter(|name| !names.contains_key(*name) && !name.contains("/swap/")) {
            self.not_of_this_life(storage, name).await;
        }
        let swept = storage.sweep_uploads(prefix, Duration::ZERO).await.expect("swept");
        self.swept += swept.aborted;
        let left = storage.list_uploads(prefix).await.expect("listed");
        if !swept.is_clean() || !left.is_empty() {
            self.wrong.push(format!("{left:?} are left by {swept:?}"));
        }
        if listed().await != before {
            self.wrong.push("the sweep took objects, or gave some".to_owned());
        }
        // What was driven again stays: nothing may take its place. The others would fill the memory of the server.
        let is_over = |name: &&String| {
            let is_acknowledged = names.get(*name).is_some_and(|attempts| attempts[0].is_acknowledged);
            !name.contains("/swap/") && (is_acknowledged || !name.contains("/create/"))
        };
        let over: Vec<Key> = before.iter().filter(is_over).map(|name| key(name)).collect();
        for deleted in storage.delete_many(&over).await.expect("deleted") {
            deleted.expect("deleted");
        }
        for (name, mut attempts) in names {
            let is_seen = before.contains(&name);
            if let Some(attempt) = attempts.pop().filter(|attempt| !attempt.is_acknowledged) {
                self.open.insert(name, Attempt { is_seen, ..attempt });
            }
        }
    }

    /// An object of an earlier life: what was under way then may have landed since, whole.
    async fn not_of_this_life(&mut self, storage: &dyn ObjectStorage, name: &str) {
        let Some(attempt) = self.open.get_mut(name) else {
            return self.wrong.push(format!("{name} is there and nobody put it"));
        };
        if attempt.is_seen {
            return;
        }
        attempt.is_seen = true;
        self.landed_late += 1;
        let expected = contents(name, attempt.sequence, attempt.bytes);
        if get(storage, name).await.is_none_or(|found| found != expected) {
            self.wrong.push(format!("{name} landed late, and not whole"));
        }
    }

    /// A name that was written once, under the condition that nothing is there.
    async fn created(&mut self, storage: &dyn ObjectStorage, name: &str, attempt: &Attempt) {
        let expected = contents(name, attempt.sequence, attempt.bytes);
        let Some(found) = self.settled(storage, name, attempt, |found| found.is_some()).await else { return };
        match &found {
            Some(found) if *found != expected => {
                self.wrong.push(format!("{name} has {} bytes that are not what was put", found.len()));
            }
            None if attempt.is_acknowledged => {
                self.wrong.push(format!("{name} was acknowledged and is not there"));
            }
            _ if attempt.is_acknowledged => {}
            Some(_) => self.applied += 1,
            None => self.absent += 1,
        }
        // To get it done: the same again, whatever became of the first.
        let Some(id) = attempt.id.filter(|_| !attempt.is_acknowledged && name.contains("/create/")) else {
            return;
        };
        let options = PutOptions::from(PutMode::Create).with_operation_id(id);
        match storage.put(&key(name), expected.clone().into(), options).await {
            Ok(_) => self.driven_again += 1,
            Err(error) => self.wrong.push(format!("{name} cannot be driven again: {error:?}")),
        }
        if get(storage, name).await.is_none_or(|found| found != expected) {
            self.wrong.push(format!("{name} was driven again and is not there"));
        }
    }

    /// A name that was written again and again, each time in place of the version before.
    async fn swapped(&mut self, storage: &dyn ObjectStorage, name: &str, attempts: &[Attempt]) {
        let last = attempts.last().expect("it was tried");
        let is_last =
            |found: Option<&Bytes>| found.and_then(|found| sequence_of(found)) == Some(last.sequence);
        let Some(found) = self.settled(storage, name, last, is_last).await else { return };
        let sequence = found.as_ref().map(|found| sequence_of(found));
        if sequence == Some(None) {
            self.wrong
                .push(format!("{name} has {} bytes that nobody put", found.map_or(0, |found| found.len())));
            return;
        }
        let sequence = sequence.flatten();
        let acknowledged =
            attempts.iter().filter(|attempt| attempt.is_acknowledged).map(|attempt| attempt.sequence);
        match (acknowledged.max(), sequence) {
            // The version that this life found.
            (None, _) if sequence.is_none_or(|found| found < attempts[0].sequence) => {}
            (_, Some(found)) if attempts.iter().any(|attempt| attempt.sequence == found) => {}
            (acknowledged, found) => {
                self.wrong.push(format!("{name}: {acknowledged:?} was acknowledged, and {found:?} is there"));
            }
        }
        if let (Some(acknowledged), Some(found)) =
            (attempts.iter().rfind(|attempt| attempt.is_acknowledged), sequence)
            && found < acknowledged.sequence
        {
            self.wrong.push(format!("{name}: {} was lost, {found} is there", acknowledged.sequence));
        }
        if !last.is_acknowledged {
            if sequence == Some(last.sequence) { self.applied += 1 } else { self.absent += 1 }
        }
    }

    /// What is under the name, once its id says the same as its bytes.
    async fn settled(
        &mut self,
        storage: &dyn ObjectStorage,
        name: &str,
        attempt: &Attempt,
        is_it: impl Fn(Option<&Bytes>) -> bool,
    ) -> Option<Option<Bytes>> {
        let mut said = None;
        for _ in 0..LOOKS_MAX {
            let found = get(storage, name).await;
            let Some(id) = attempt.id else { return Some(found) };
            let resolution = storage.resolve(&key(name), id).await.expect("answered");
            if matches!(resolution, Resolution::Applied(_)) == is_it(found.as_ref()) {
                self.resolved += usize::from(!attempt.is_acknowledged);
                return Some(found);
            }
            said = Some(resolution);
            compio::time::sleep(Duration::from_millis(20)).await;
        }
        self.wrong.push(format!("{name}: its id says {said:?}, and its bytes say otherwise"));
        None
    }
}
