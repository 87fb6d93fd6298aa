//! [`ObjectStorageExt`]: the short forms of what [`ObjectStorage`] can do, for every store.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

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
use crate::sweep::{SweepReport, sweep};

/// Ranges of one object that lie closer together than this are fetched in one request, in bytes.
///
/// A request costs about as much as the transfer of this much: 1 MiB at 100 MiB/s is 10 ms, a first byte
/// from S3 takes 10 to 30 ms.
pub const COALESCE_GAP_BYTES: u64 = MIB;

/// Ranges are not joined into one request of more than this, in bytes, because it is held in memory whole.
///
/// At 16 MiB the gap is a sixteenth of what is transferred. A single longer range is fetched as it is.
pub const COALESCED_BYTES_MAX: u64 = 16 * MIB;

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
    /// [`COALESCE_GAP_BYTES`] share a request of at most [`COALESCED_BYTES_MAX`]; requests are made one after the
    /// other. Besides the answer, one request's bytes are held in memory.
    ///
    /// When the object is replaced in between, the answer is `PreconditionFailed`, never a mixture; `Protocol` when
    /// the store names no tag by which a mixture could be ruled out.
    async fn get_ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let spans = coalesce(ranges, COALESCE_GAP_BYTES, COALESCED_BYTES_MAX);
        let mut version: Option<ETag> = None;
        let mut answer: Vec<Option<Bytes>> = vec![None; ranges.len()];
        for span in &spans {
            let mut options = GetOptions::default().with_range(span.clone());
            options.conditions.if_match = version.clone();
            let got = self.get(key, options).await?;
            version = version.or(got.meta.etag);
            if version.is_none() && spans.len() > 1 {
                let message = "the store names no tag, so several requests may meet several versions";
                return Err(Error::new(ErrorKind::Protocol, Operation::GetObject, message).with_key(key));
            }
            let bytes = got.body.bytes().await?;
            for (range, slot) in ranges.iter().zip(&mut answer).filter(|(_, slot)| slot.is_none()) {
                *slot = cut(span, &bytes, range);
            }
        }
        let whole = |bytes: Option<Bytes>| bytes.expect("every range that is not empty lies within a span");
        Ok(ranges
            .iter()
            .zip(answer)
            .map(|(range, bytes)| if range.is_empty() { Bytes::new() } else { whole(bytes) })
            .collect())
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
        Lister { storage: self, options, next: Next::First, held: VecDeque::new(), last: None }
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

    /// Aborts the uploads to keys that begin with `prefix` and were begun `older_than` ago or longer: what writers
    /// that were killed have left. A day is usual. Zero takes every upload, also those of writers at work, which then
    /// fail; nothing that was completed is ever lost.
    ///
    /// The age goes by the store's own clock, to a second or so. Each upload is aborted until it is seen to be gone,
    /// eight at a time, page by page. What fails is in the report, and the others go on. Uploads that others begin or
    /// abort meanwhile do no harm.
    ///
    /// Dropping the future leaves the rest as it was: call it again.
    ///
    /// # Errors
    ///
    /// Those of [`list_multipart_uploads_page`](ObjectStorage::list_multipart_uploads_page), when nothing could be
    /// listed. Everything else is in the report.
    async fn sweep_uploads(&self, prefix: &str, older_than: Duration) -> Result<SweepReport> {
        sweep(self, prefix, older_than).await
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
    /// The last key seen, in a store that promises to list in order.
    last: Option<Key>,
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
    /// Those of [`list_page`](ObjectStorage::list_page), and `Protocol` when the store names the same page again, or
    /// breaks the order it promises ([`Capabilities::ordered_list`](crate::Capabilities)): such a listing may leave
    /// keys out, or never end.
    pub async fn next_page(&mut self) -> Result<Option<ListPage>> {
        let token = match &self.next {
            Next::First => None,
            Next::Page(token) => Some(token),
            Next::Over => return Ok(None),
        };
        let page = self.storage.list_page(&self.options, token).await?;
        if self.storage.capabilities().ordered_list {
            let keys = self.last.iter().chain(page.objects.iter().map(|object| &object.key));
            if !keys.is_sorted_by(|before, after| before < after) {
                let message = "the listing is not in order of its keys";
                return Err(Error::new(ErrorKind::Protocol, Operation::ListObjects, message));
            }
            self.last = page.objects.last().map(|object| object.key.clone()).or(self.last.take());
        }
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

/// The spans to fetch: in order, covering every non-empty range. Ranges apart by at most `gap` bytes share one,
/// unless it would grow beyond `bytes_max`.
fn coalesce(ranges: &[Range<u64>], gap: u64, bytes_max: u64) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
    sorted.sort_by_key(|range| range.start);
    let mut spans: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match spans.last_mut() {
            Some(last) if range.end <= last.end => {}
            Some(last)
                if range.start <= last.end.saturating_add(gap) && range.end - last.start <= bytes_max =>
            {
                last.end = range.end;
            }
            _ => spans.push(range),
        }
    }
    spans
}

/// The bytes of `range` out of `bytes`, those of `span`, if it lies within.
///
/// They share memory with the span when that wastes little, and are copied out of it when the range is small:
/// a kept slice must not hold a whole span in memory.
fn cut(span: &Range<u64>, bytes: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    if range.is_empty() || range.start < span.start || span.end < range.end {
        return None;
    }
    let offset = |at: u64| usize::try_from(at - span.start).expect("an offset within memory fits usize");
    let slice = bytes.slice(offset(range.start)..offset(range.end));
    Some(if slice.len() * 2 >= bytes.len() { slice } else { BytesMut::from(&slice[..]).freeze() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_range_comes_out_of_a_span_and_spans_stay_within_their_bound(
            ranges in prop::collection::vec((0u64..1000, 0u64..100), 0..20),
            gap in 0u64..50,
            bytes_max in 1u64..300,
        ) {
            let ranges: Vec<_> = ranges.iter().map(|(start, len)| *start..start + len).collect();
            let spans = coalesce(&ranges, gap, bytes_max);
            for span in &spans {
                prop_assert!(span.end - span.start <= bytes_max || ranges.contains(span), "{span:?}");
            }
            for pair in spans.windows(2) {
                let apart = pair[0].end + gap < pair[1].start;
                prop_assert!(apart || pair[1].end - pair[0].start > bytes_max, "{pair:?}");
            }
            let content = |range: &Range<u64>| range.clone().map(|at| (at % 251) as u8).collect::<Bytes>();
            for range in ranges.iter().filter(|range| !range.is_empty()) {
                let found = spans.iter().find_map(|span| cut(span, &content(span), range));
                prop_assert_eq!(found, Some(content(range)));
            }
        }
    }

    #[test]
    fn a_byte_here_and_there_does_not_fetch_everything_in_between_at_once() {
        let ranges: Vec<_> = (0..1000).map(|at| at * MIB..at * MIB + 1).collect();
        let spans = coalesce(&ranges, COALESCE_GAP_BYTES, COALESCED_BYTES_MAX);
        assert!(spans.iter().all(|span| span.end - span.start <= COALESCED_BYTES_MAX), "{spans:?}");
    }
}
