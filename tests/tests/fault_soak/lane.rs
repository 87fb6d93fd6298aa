//! [`Lane`]: one operation after another on keys that nobody else touches, each judged by a model of what may be there.

use std::sync::atomic::{AtomicUsize, Ordering};

use object_storage::{
    ByteRange, CompleteOptions, CopyOptions, DeleteOptions, Error, ErrorKind, GetOptions, HeadOptions, Key,
    ListOptions, MultipartOptions, ObjectStorage, ObjectStorageExt as _, PartNumber, Payload, PutMode,
    PutOutcome, Result,
};

use crate::model::{Content, Slot, bytes_of, content_of};

/// What every key begins with.
pub(crate) const PREFIX: &str = "soak/";

const SLOTS: usize = 8;

/// What was done, and what was wrong.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) operations: usize,
    pub(crate) ok: usize,
    pub(crate) refused: usize,
    pub(crate) indeterminate: usize,
    pub(crate) acknowledged: usize,
    pub(crate) compared: usize,
    pub(crate) open: usize,
    pub(crate) still_open: usize,
    pub(crate) swept: usize,
    pub(crate) wrong: Vec<String>,
}

impl Report {
    pub(crate) fn add(&mut self, other: Report) {
        self.operations += other.operations;
        self.ok += other.ok;
        self.refused += other.refused;
        self.indeterminate += other.indeterminate;
        self.acknowledged += other.acknowledged;
        self.compared += other.compared;
        self.open += other.open;
        self.still_open += other.still_open;
        self.swept += other.swept;
        self.wrong.extend(other.wrong);
    }
}

#[derive(Debug)]
pub(crate) struct Lane {
    number: usize,
    random: fastrand::Rng,
    next: Content,
    keys: Vec<Key>,
    slots: Vec<Slot>,
    pub(crate) report: Report,
}

impl Lane {
    pub(crate) fn new(seed: u64, number: usize) -> Lane {
        let key = |slot| Key::parse(&format!("{PREFIX}{number:02}/{slot}")).expect("a key");
        Lane {
            number,
            random: fastrand::Rng::with_seed(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9)),
            next: (number as u64) << 32,
            keys: (0..SLOTS).map(key).collect(),
            slots: (0..SLOTS).map(|_| Slot::empty()).collect(),
            report: Report::default(),
        }
    }

    pub(crate) async fn run(
        mut self,
        store: &dyn ObjectStorage,
        operations: usize,
        done: &AtomicUsize,
    ) -> Lane {
        for _ in 0..operations {
            self.step(store).await;
            self.report.operations += 1;
            done.fetch_add(1, Ordering::Relaxed);
        }
        self
    }

    /// Whether the model has an object under this key.
    pub(crate) fn expects(&self, key: &str) -> bool {
        let slot = self.keys.iter().position(|own| own.as_str() == key);
        slot.is_some_and(|slot| self.slots[slot].can_be_something())
    }

    /// Reads every key: it holds what it may, and that is then certain.
    pub(crate) async fn settle(&mut self, store: &dyn ObjectStorage) {
        self.report.open += self.slots.iter().filter(|slot| slot.certain().is_none()).count();
        for slot in 0..SLOTS {
            self.get(store, slot).await;
        }
        self.report.still_open += self.slots.iter().filter(|slot| slot.certain().is_none()).count();
    }

    async fn step(&mut self, store: &dyn ObjectStorage) {
        let slot = self.random.usize(..SLOTS);
        match self.random.u32(..100) {
            0..20 => self.put(store, slot, PutMode::Overwrite).await,
            20..34 => self.put(store, slot, PutMode::Create).await,
            34..46 => match self.slots[slot].tag.clone() {
                Some(tag) => self.put(store, slot, PutMode::Match(tag)).await,
                None => self.get(store, slot).await,
            },
            46..64 => self.get(store, slot).await,
            64..68 => self.range(store, slot).await,
            68..72 => self.head(store, slot).await,
            72..78 => self.delete(store, slot).await,
            78..82 => self.delete_match(store, slot).await,
            82..86 => self.batch(store).await,
            86..91 => self.copy(store, slot).await,
            91..93 => self.list(store).await,
            93 => self.sweep(store).await,
            _ => self.multipart(store, slot).await,
        }
    }

    fn wrong(&mut self, slot: usize, what: &str) {
        let line = format!("{}: {what}; it may be {:?}", self.keys[slot], self.slots[slot]);
        self.report.wrong.push(line);
    }

    fn count<T>(&mut self, result: &Result<T>) {
        match result {
            Ok(_) => self.report.ok += 1,
            Err(error) if error.is_indeterminate() => self.report.indeterminate += 1,
            Err(_) => self.report.refused += 1,
        }
    }

    fn content(&mut self) -> Content {
        self.next += 1;
        self.next
    }

    /// What a write under a key left there.
    fn written(
        &mut self,
        slot: usize,
        content: Option<Content>,
        result: Result<Option<PutOutcome>>,
        mode: &PutMode,
    ) {
        self.count(&result);
        match result {
            Ok(outcome) => {
                self.report.acknowledged += 1;
                if *mode == PutMode::Create && !self.slots[slot].can_be(None) {
                    self.wrong(slot, "created where there was an object");
                }
                self.slots[slot].is(content, outcome.map(|outcome| outcome.etag));
            }
            Err(error) if error.is_indeterminate() => self.slots[slot].may_be(content),
            Err(error) => {
                let lied = match (error.kind(), mode) {
                    (ErrorKind::AlreadyExists, PutMode::Create) => !self.slots[slot].can_be_something(),
                    // The tag is that of what is certainly there.
                    (ErrorKind::PreconditionFailed | ErrorKind::NotFound, PutMode::Match(_)) => true,
                    _ => false,
                };
                if lied {
                    self.wrong(slot, &format!("{mode:?} gave {error:?}"));
                }
            }
        }
    }

    async fn put(&mut self, store: &dyn ObjectStorage, slot: usize, mode: PutMode) {
        let content = self.content();
        let result = store.put(&self.keys[slot], bytes_of(content).into(), mode.clone().into()).await;
        self.written(slot, Some(content), result.map(Some), &mode);
    }

    async fn get(&mut self, store: &dyn ObjectStorage, slot: usize) {
        let got = async {
            let got = store.get(&self.keys[slot], GetOptions::default()).await?;
            let tag = got.meta.etag.clone();
            Ok::<_, Error>((got.body.bytes().await?, tag))
        };
        let result = got.await;
        self.count(&result);
        let (content, tag) = match result {
            Ok((bytes, tag)) => match content_of(&bytes) {
                Some(content) => (Some(content), tag),
                None => return self.wrong(slot, &format!("{} bytes of nobody", bytes.len())),
            },
            Err(error) if error.is_not_found() => (None, None),
            Err(_) => return,
        };
        self.report.compared += 1;
        if !self.slots[slot].can_be(content) {
            return self.wrong(slot, &format!("holds {content:?}"));
        }
        self.slots[slot].is(content, tag);
    }

    async fn range(&mut self, store: &dyn ObjectStorage, slot: usize) {
        let Some(Some(content)) = self.slots[slot].certain() else { return };
        let bytes = bytes_of(content);
        let end = self.random.u64(1..=bytes.len() as u64);
        let start = self.random.u64(..end);
        let options = GetOptions::default().with_range(ByteRange::Bounded(start..end));
        let got = async { store.get(&self.keys[slot], options).await?.body.bytes().await };
        let result = got.await;
        self.count(&result);
        let wanted = usize::try_from(start).expect("small")..usize::try_from(end).expect("small");
        match result {
            Ok(got) if got == bytes.slice(wanted) => self.report.compared += 1,
            Ok(_) => self.wrong(slot, "a range has other bytes"),
            Err(error) if error.is_not_found() => self.wrong(slot, "nothing is there"),
            Err(_) => {}
        }
    }

    async fn head(&mut self, store: &dyn ObjectStorage, slot: usize) {
        let Some(certain) = self.slots[slot].certain() else { return };
        let result = store.head(&self.keys[slot], HeadOptions::default()).await;
        self.count(&result);
        let size = certain.map(|content| bytes_of(content).len() as u64);
        match result {
            Ok(head) if Some(head.meta.size) != size => self.wrong(slot, "a head gave another size"),
            Err(error) if error.is_not_found() && size.is_some() => self.wrong(slot, "nothing is there"),
            _ => {}
        }
    }

    async fn delete(&mut self, store: &dyn ObjectStorage, slot: usize) {
        let result = store.delete(&self.keys[slot], DeleteOptions::default()).await;
        self.written(slot, None, result.map(|()| None), &PutMode::Overwrite);
    }

    async fn delete_match(&mut self, store: &dyn ObjectStorage, slot: usize) {
        let Some(tag) = self.slots[slot].tag.clone() else { return };
        let options = DeleteOptions::default().with_if_match(tag.clone());
        let result = store.delete(&self.keys[slot], options).await;
        self.written(slot, None, result.map(|()| None), &PutMode::Match(tag));
    }

    async fn batch(&mut self, store: &dyn ObjectStorage) {
        let first = self.random.usize(..SLOTS - 2);
        let results = store.delete_many(&self.keys[first..first + 3]).await;
        match results {
            Ok(results) => {
                for (slot, result) in (first..).zip(results) {
                    self.written(slot, None, result.map(|()| None), &PutMode::Overwrite);
                }
            }
            Err(error) => self.wrong(first, &format!("a batch failed as a whole: {error:?}")),
        }
    }

    async fn copy(&mut self, store: &dyn ObjectStorage, to: usize) {
        let from = (to + 1) % SLOTS;
        let Some(certain) = self.slots[from].certain() else { return };
        let result = store.copy(&self.keys[from], &self.keys[to], CopyOptions::default()).await;
        match (certain, result) {
            (Some(content), Err(error)) if error.is_not_found() => {
                self.wrong(from, &format!("nothing to copy where {content} is"));
            }
            (Some(content), result) => self.written(to, Some(content), result.map(Some), &PutMode::Overwrite),
            (None, Ok(_)) => self.wrong(from, "copied what is not there"),
            (None, Err(_)) => self.report.refused += 1,
        }
    }

    async fn list(&mut self, store: &dyn ObjectStorage) {
        let prefix = format!("{PREFIX}{:02}/", self.number);
        let result = store.list_page(&ListOptions::prefix(prefix), None).await;
        self.count(&result);
        let Ok(page) = result else { return };
        for slot in 0..SLOTS {
            let is_there = page.objects.iter().any(|object| object.key == self.keys[slot]);
            let lied = match is_there {
                true => !self.slots[slot].can_be_something(),
                false => !self.slots[slot].can_be(None),
            };
            if lied {
                self.wrong(slot, &format!("a list says {is_there}"));
            }
        }
    }

    /// Aborts what was left behind so far, which would otherwise fill the server. All of it is: nothing else is under
    /// way here.
    async fn sweep(&mut self, store: &dyn ObjectStorage) {
        let result = store.list_uploads(&format!("{PREFIX}{:02}/", self.number)).await;
        self.count(&result);
        for orphan in result.unwrap_or_default() {
            let aborted = match store.resume_multipart_upload(&orphan.key, &orphan.upload_id) {
                Ok(upload) => upload.abort().await,
                Err(error) => Err(error),
            };
            self.count(&aborted);
            self.report.swept += usize::from(aborted.is_ok());
        }
    }

    /// Begin, two parts, and complete; or abort, or walk away.
    async fn multipart(&mut self, store: &dyn ObjectStorage, slot: usize) {
        let content = self.content();
        let began = store.create_multipart_upload(&self.keys[slot], MultipartOptions::default()).await;
        self.count(&began);
        let Ok(upload) = began else { return };
        let payload = Payload::from(bytes_of(content));
        let middle = payload.len() / 2;
        let halves = [payload.slice(0..middle), payload.slice(middle..payload.len())];
        let mut parts = Vec::new();
        for (number, half) in (1..).zip(halves) {
            let number = PartNumber::new(number).expect("1 or 2");
            match upload.upload_part(number, half).await {
                Ok(part) => parts.push(part),
                // Left for the sweep.
                Err(_) => return,
            }
        }
        match self.random.u32(..10) {
            0 => {}
            1 => {
                let result = upload.abort().await;
                self.count(&result);
            }
            _ => {
                let result = upload.complete(&parts, CompleteOptions::default()).await;
                self.written(slot, Some(content), result.map(Some), &PutMode::Overwrite);
            }
        }
    }
}
