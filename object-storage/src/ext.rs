//! [`ObjectStorageExt`]: the short forms of what [`ObjectStorage`] can do, for every store.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::Key;
use crate::limits::MIB;
use crate::object::{ETag, ObjectMeta, PutOutcome};
use crate::options::{
    DeleteOptions, GetOptions, HeadOptions, ListOptions, ListUploadsOptions, PutMode, PutOptions,
};
use crate::payload::Payload;
use crate::storage::{ListPage, ObjectStorage, PageToken, UploadInfo};

/// Ranges of one object that lie closer together than this are fetched in one request, in bytes.
///
/// A request costs about as much as the transfer of this much: 1 MiB at 100 MiB/s is 10 ms, a first byte
/// from S3 takes 10 to 30 ms.
pub const COALESCE_GAP_BYTES: u64 = MIB;

/// The short forms. Implemented for every [`ObjectStorage`]; errors are those of the method each one calls.
#[expect(async_fn_in_trait, reason = "stores are not Send, so their futures need not be")]
pub trait ObjectStorageExt: ObjectStorage {
    /// Stores an object, replacing what is there. See [`put`](ObjectStorage::put).
    async fn put_bytes(&self, key: &Key, payload: impl Into<Payload>) -> Result<PutOutcome> {
        self.put(key, payload.into(), PutOptions::default()).await
    }

    /// Stores an object if nothing is there: of many writers exactly one succeeds, the others get
    /// `AlreadyExists`. See [`PutMode::Create`].
    async fn put_if_absent(&self, key: &Key, payload: impl Into<Payload>) -> Result<PutOutcome> {
        self.put(key, payload.into(), PutMode::Create.into()).await
    }

    /// Replaces an object if it still has this tag: compare-and-swap. See [`PutMode::Match`].
    async fn put_if_match(&self, key: &Key, payload: impl Into<Payload>, etag: &ETag) -> Result<PutOutcome> {
        self.put(key, payload.into(), PutMode::Match(etag.clone()).into()).await
    }

    /// The whole object, in memory. See [`get`](ObjectStorage::get).
    async fn get_bytes(&self, key: &Key) -> Result<Bytes> {
        self.get(key, GetOptions::default()).await?.body.bytes().await
    }

    /// Just these bytes of the object; `RangeNotSatisfiable` unless all of them exist. An empty range that lies
    /// within the object's address space gives no bytes and makes no request.
    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.get(key, GetOptions::default().with_range(range)).await?.body.bytes().await
    }

    /// Several ranges of one version of the object, in the order asked. Ranges closer together than
    /// [`COALESCE_GAP_BYTES`] share a request; requests are made one after the other.
    ///
    /// When the object is replaced in between, the answer is `PreconditionFailed`, never a mixture.
    async fn get_ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut version: Option<ETag> = None;
        let mut fetched: Vec<(Range<u64>, Bytes)> = Vec::new();
        for span in coalesce(ranges, COALESCE_GAP_BYTES) {
            let mut options = GetOptions::default().with_range(span.clone());
            options.conditions.if_match = version.clone();
            let got = self.get(key, options).await?;
            version = version.or(got.meta.etag);
            fetched.push((span, got.body.bytes().await?));
        }
        Ok(ranges.iter().map(|range| cut(&fetched, range)).collect())
    }

    /// Size, tag and time of an object. See [`head`](ObjectStorage::head).
    async fn head_meta(&self, key: &Key) -> Result<ObjectMeta> {
        Ok(self.head(key, HeadOptions::default()).await?.meta)
    }

    /// Whether the object is there.
    async fn exists(&self, key: &Key) -> Result<bool> {
        match self.head(key, HeadOptions::default()).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object if it still has this tag. See [`delete`](ObjectStorage::delete).
    async fn delete_if_match(&self, key: &Key, etag: &ETag) -> Result<()> {
        self.delete(key, DeleteOptions::default().with_if_match(etag.clone())).await
    }

    /// A listing whose pages are pulled as they are needed.
    fn list(&self, options: ListOptions) -> Lister<'_, Self> {
        Lister { storage: self, options, next: Next::First, held: VecDeque::new() }
    }

    /// Every object whose key begins with `prefix`, in memory: for listings known to be small.
    async fn list_all(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        let mut lister = self.list(ListOptions::prefix(prefix));
        let mut objects = Vec::new();
        while let Some(page) = lister.next_page().await? {
            objects.extend(page.objects);
        }
        Ok(objects)
    }

    /// Every upload to a key that begins with `prefix` and was neither completed nor aborted.
    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UploadInfo>> {
        let options = ListUploadsOptions::prefix(prefix);
        let mut uploads = Vec::new();
        let mut next: Option<PageToken> = None;
        loop {
            let page = self.list_multipart_uploads_page(&options, next.as_ref()).await?;
            uploads.extend(page.uploads);
            next = match page.next {
                None => return Ok(uploads),
                token if token == next => return Err(stuck(Operation::ListMultipartUploads)),
                token => token,
            };
        }
    }
}

impl<S: ObjectStorage + ?Sized> ObjectStorageExt for S {}

/// A listing in progress. Dropping it, or the future of a step, loses nothing but the place.
#[derive(Debug)]
pub struct Lister<'a, S: ObjectStorage + ?Sized> {
    storage: &'a S,
    options: ListOptions,
    next: Next,
    held: VecDeque<ObjectMeta>,
}

#[derive(Debug)]
enum Next {
    First,
    Page(PageToken),
    Over,
}

impl<S: ObjectStorage + ?Sized> Lister<'_, S> {
    /// The next page; `None` after the last. After an error the same page can be asked for again.
    ///
    /// # Errors
    ///
    /// Those of [`list_page`](ObjectStorage::list_page), and `Protocol` when the store names the same page again.
    pub async fn next_page(&mut self) -> Result<Option<ListPage>> {
        let token = match &self.next {
            Next::First => None,
            Next::Page(token) => Some(token),
            Next::Over => return Ok(None),
        };
        let page = self.storage.list_page(&self.options, token).await?;
        self.next = match &page.next {
            None => Next::Over,
            // A store that hands out the page it was just asked for would keep a caller here for ever.
            Some(next) if Some(next) == token => return Err(stuck(Operation::ListObjects)),
            Some(next) => Next::Page(next.clone()),
        };
        Ok(Some(page))
    }

    /// The next object; `None` after the last. Common prefixes are skipped: use
    /// [`next_page`](Lister::next_page) to see them.
    ///
    /// # Errors
    ///
    /// Those of [`next_page`](Lister::next_page).
    pub async fn next(&mut self) -> Result<Option<ObjectMeta>> {
        while self.held.is_empty() {
            match self.next_page().await? {
                None => return Ok(None),
                Some(page) => self.held = page.objects.into(),
            }
        }
        Ok(self.held.pop_front())
    }
}

fn stuck(operation: Operation) -> Error {
    Error::new(ErrorKind::Protocol, operation, "the store names the page it was asked for as the next one")
}

/// The spans to fetch: sorted, apart by more than `gap` bytes, covering every non-empty range.
fn coalesce(ranges: &[Range<u64>], gap: u64) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
    sorted.sort_by_key(|range| range.start);
    let mut spans: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match spans.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => last.end = last.end.max(range.end),
            _ => spans.push(range),
        }
    }
    spans
}

/// The bytes of `range` out of the span that covers it.
///
/// They share memory with the span when that wastes little, and are copied out of it when the range is small:
/// a kept slice must not hold a whole span in memory.
fn cut(fetched: &[(Range<u64>, Bytes)], range: &Range<u64>) -> Bytes {
    if range.is_empty() {
        return Bytes::new();
    }
    let (span, bytes) = fetched
        .iter()
        .find(|(span, _)| span.start <= range.start && range.end <= span.end)
        .expect("every range that is not empty lies within a span");
    let offset = |at: u64| usize::try_from(at - span.start).expect("an offset within memory fits usize");
    let slice = bytes.slice(offset(range.start)..offset(range.end));
    if slice.len() * 2 >= bytes.len() { slice } else { BytesMut::from(&slice[..]).freeze() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_range_lies_within_one_span_and_spans_lie_apart(
            ranges in prop::collection::vec((0u64..1000, 0u64..100), 0..20),
            gap in 0u64..50,
        ) {
            let ranges: Vec<_> = ranges.iter().map(|(start, len)| *start..start + len).collect();
            let spans = coalesce(&ranges, gap);
            prop_assert!(spans.windows(2).all(|pair| pair[0].end + gap < pair[1].start));
            for range in ranges.iter().filter(|range| !range.is_empty()) {
                let within = |span: &Range<u64>| span.start <= range.start && range.end <= span.end;
                prop_assert_eq!(spans.iter().filter(|span| within(span)).count(), 1);
            }
            let fetched: Vec<_> = spans
                .iter()
                .map(|span| (span.clone(), span.clone().map(|at| (at % 251) as u8).collect::<Bytes>()))
                .collect();
            for range in &ranges {
                let expected: Bytes = range.clone().map(|at| (at % 251) as u8).collect();
                prop_assert_eq!(cut(&fetched, range), expected);
            }
        }
    }
}
