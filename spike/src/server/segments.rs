//! The bytes of an object: a list of segments that is joined, sliced and streamed without copying.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use s3s::StdError;
use s3s::dto::StreamingBlob;
use s3s::stream::{ByteStream, RemainingLength};

/// Bytes in order, in as many pieces as they arrived in. Cloning is a reference count.
#[derive(Clone, Debug, Default)]
pub(super) struct Segments {
    list: Arc<[Bytes]>,
    len: u64,
}

impl Segments {
    pub(super) fn new(list: Vec<Bytes>) -> Self {
        let len = list.iter().map(|segment| segment.len() as u64).sum();
        Segments { list: list.into(), len }
    }

    /// One after the other, as the parts of a multipart upload are.
    pub(super) fn join<'a>(parts: impl IntoIterator<Item = &'a Segments>) -> Self {
        Segments::new(parts.into_iter().flat_map(|part| part.list.iter().cloned()).collect())
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.list.iter()
    }

    /// The bytes of `range`, which must lie within the length.
    pub(super) fn slice(&self, range: Range<u64>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "the range was checked against the length"
        );
        let mut segment_start = 0;
        let mut list = Vec::new();
        for segment in self.list.iter() {
            let segment_end = segment_start + segment.len() as u64;
            let from = range.start.max(segment_start);
            let to = range.end.min(segment_end);
            if from < to {
                let inside = |at: u64| {
                    usize::try_from(at - segment_start).expect("an offset inside a segment is a usize")
                };
                list.push(segment.slice(inside(from)..inside(to)));
            }
            segment_start = segment_end;
        }
        Segments::new(list)
    }

    /// Everything in one piece; copies unless there is only one segment.
    pub(super) fn to_bytes(&self) -> Bytes {
        match &*self.list {
            [] => Bytes::new(),
            [only] => only.clone(),
            many => many.concat().into(),
        }
    }

    pub(super) fn into_stream(self) -> StreamingBlob {
        StreamingBlob::new(SegmentStream { remaining: self.len, list: self.list, next: 0 })
    }
}

struct SegmentStream {
    list: Arc<[Bytes]>,
    next: usize,
    remaining: u64,
}

impl Stream for SegmentStream {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(segment) = self.list.get(self.next).cloned() else { return Poll::Ready(None) };
        self.next += 1;
        self.remaining -= segment.len() as u64;
        Poll::Ready(Some(Ok(segment)))
    }
}

impl ByteStream for SegmentStream {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.remaining)
            .map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_crosses_segments_and_copies_nothing() {
        let first = Bytes::from_static(b"abc");
        let all = Segments::new(vec![first.clone(), Bytes::from_static(b"defg"), Bytes::from_static(b"h")]);
        let middle = all.slice(1..6);
        assert_eq!(middle.to_bytes(), "bcdef");
        assert_eq!(middle.len(), 5);
        assert_eq!(middle.iter().next().unwrap().as_ptr(), first[1..].as_ptr());
        assert_eq!(all.slice(3..3).len(), 0);
        assert_eq!(all.slice(0..8).to_bytes(), "abcdefgh");
    }

    #[test]
    fn joined_parts_share_the_memory_of_the_parts() {
        let part = Segments::new(vec![Bytes::from_static(b"ab")]);
        let joined = Segments::join([&part, &part]);
        assert_eq!(joined.to_bytes(), "abab");
        assert_eq!(joined.iter().next().unwrap().as_ptr(), part.iter().next().unwrap().as_ptr());
    }
}
