//! [`Payload`]: the bytes of one write, owned, cheap to clone, never joined.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use crc_fast::CrcAlgorithm;

/// The bytes of one put or part: a few [`Bytes`] in order.
///
/// Cloning clones reference counts, so that an attempt can be repeated; no store joins or copies the
/// chunks on the way to the kernel unless its documentation says so.
#[derive(Clone, Default)]
pub struct Payload {
    chunks: Chunks,
    len: u64,
    /// The CRC-64/NVME of all chunks, of a payload that keeps one. Only [`push`](Payload::push) goes on with it, where
    /// it adds a chunk, so that it cannot be that of anything else.
    crc: Option<u64>,
}

/// Most payloads are one chunk, and need no memory but its own; the list of the others is shared by clones.
#[derive(Clone, Default)]
enum Chunks {
    #[default]
    None,
    One(Bytes),
    Many(Arc<Vec<Bytes>>),
}

/// Payloads are equal when they have the same chunks, whether or not they keep a checksum.
impl PartialEq for Payload {
    fn eq(&self, other: &Payload) -> bool {
        self.chunks() == other.chunks()
    }
}

impl Eq for Payload {}

impl Payload {
    /// A payload without bytes.
    #[must_use]
    pub fn new() -> Payload {
        Payload::default()
    }

    /// A payload without bytes that computes its CRC-64/NVME as it is filled: the bytes are looked at when they are
    /// pushed, while they are in the cache of whoever has just made or copied them, and not once more when they are
    /// sent. 0.01 ms per MiB then, for 0.05 ms out of memory.
    #[cfg(any(feature = "writer", test))]
    pub(crate) fn with_crc64_nvme() -> Payload {
        Payload { crc: Some(0), ..Payload::default() }
    }

    /// The CRC-64/NVME of the bytes, where it was computed as they were gathered; stores that state it
    /// ([`Capabilities::states_crc64_nvme`](crate::Capabilities)) compute it themselves where it is `None`.
    ///
    /// Payloads from a [`BufferedMultipartWriter`](crate::BufferedMultipartWriter) have one. Nobody can give a payload
    /// one that is not its own. Clones keep it, slices have none.
    #[must_use]
    pub fn crc64_nvme(&self) -> Option<u64> {
        self.crc
    }

    /// Adds bytes at the end, without copying them. Empty chunks are dropped.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.len += chunk.len() as u64;
            self.crc = self.crc.map(|crc| crc_of_more(crc, &chunk));
            self.chunks = match std::mem::take(&mut self.chunks) {
                Chunks::None => Chunks::One(chunk),
                Chunks::One(first) => Chunks::Many(Arc::new(vec![first, chunk])),
                Chunks::Many(mut chunks) => {
                    Arc::make_mut(&mut chunks).push(chunk);
                    Chunks::Many(chunks)
                }
            };
        }
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunks in order; none is empty.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        match &self.chunks {
            Chunks::None => &[],
            Chunks::One(chunk) => std::slice::from_ref(chunk),
            Chunks::Many(chunks) => chunks,
        }
    }

    /// The chunks in order; none is empty.
    #[must_use]
    pub fn into_chunks(self) -> Vec<Bytes> {
        match self.chunks {
            Chunks::None => Vec::new(),
            Chunks::One(chunk) => vec![chunk],
            Chunks::Many(chunks) => Arc::unwrap_or_clone(chunks),
        }
    }

    /// The bytes of `range`, sharing memory with this payload.
    ///
    /// # Panics
    ///
    /// When the range does not lie within the payload: that is a bug of the caller.
    #[must_use]
    pub fn slice(&self, range: Range<u64>) -> Payload {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "{range:?} lies within {} bytes",
            self.len
        );
        let mut out = Payload::new();
        let mut at = 0;
        for chunk in self.chunks() {
            let end = at + chunk.len() as u64;
            let from = range.start.clamp(at, end);
            let to = range.end.clamp(at, end);
            if from < to {
                out.push(chunk.slice(within(from - at)..within(to - at)));
            }
            at = end;
        }
        out
    }

    /// All bytes in one piece: without a copy when there is at most one chunk, else joined.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks() {
            [] => Bytes::new(),
            [only] => only.clone(),
            many => {
                let mut joined = BytesMut::with_capacity(within(self.len));
                many.iter().for_each(|chunk| joined.extend_from_slice(chunk));
                joined.freeze()
            }
        }
    }
}

/// The CRC-64/NVME of what `crc` is of and `more` behind it.
fn crc_of_more(crc: u64, more: &[u8]) -> u64 {
    // It begins with all ones, and ends by inverting: inverted back, it is as it was before the end.
    let mut digest = crc_fast::Digest::new_with_init_state(CrcAlgorithm::Crc64Nvme, !crc);
    digest.update(more);
    digest.finalize()
}

/// An offset inside memory that exists, which therefore fits `usize`.
fn within(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset within memory fits usize")
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes in {} chunks)", self.len, self.chunks().len())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Payload {
        let mut payload = Payload::new();
        payload.push(bytes);
        payload
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Payload {
        Bytes::from(text).into()
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Payload {
        Bytes::from_static(bytes).into()
    }
}

impl<const N: usize> From<&'static [u8; N]> for Payload {
    fn from(bytes: &'static [u8; N]) -> Payload {
        Bytes::from_static(bytes).into()
    }
}

impl From<&'static str> for Payload {
    fn from(text: &'static str) -> Payload {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl FromIterator<Bytes> for Payload {
    fn from_iter<I: IntoIterator<Item = Bytes>>(chunks: I) -> Payload {
        let mut payload = Payload::new();
        chunks.into_iter().for_each(|chunk| payload.push(chunk));
        payload
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_slice_of_a_payload_is_the_slice_of_its_bytes(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8),
            a in 0u64..200,
            b in 0u64..200,
        ) {
            let payload: Payload = chunks.iter().cloned().map(Bytes::from).collect();
            let joined: Vec<u8> = chunks.concat();
            prop_assert_eq!(payload.len(), joined.len() as u64);
            prop_assert_eq!(&payload.to_bytes()[..], &joined[..]);
            let from = a.min(b).min(payload.len());
            let to = a.max(b).min(payload.len());
            let slice = payload.slice(from..to);
            prop_assert_eq!(slice.len(), to - from);
            prop_assert_eq!(&slice.to_bytes()[..], &joined[within(from)..within(to)]);
            prop_assert!(slice.chunks().iter().all(|chunk| !chunk.is_empty()));
        }

        #[test]
        fn a_checksum_that_is_kept_is_that_of_the_bytes(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..8),
        ) {
            let mut payload = Payload::with_crc64_nvme();
            for end in 0..chunks.len() {
                payload.push(Bytes::from(chunks[end].clone()));
                prop_assert_eq!(payload.crc64_nvme(), Some(crc_fast::crc64_nvme(&chunks[..=end].concat())));
            }
            let mut longer = payload.clone();
            longer.push(Bytes::from_static(b"more"));
            prop_assert_ne!(longer.crc64_nvme(), payload.crc64_nvme());
            prop_assert_eq!(payload.crc64_nvme(), Some(crc_fast::crc64_nvme(&chunks.concat())));
            prop_assert_eq!(payload.slice(0..payload.len()).crc64_nvme(), None);
            prop_assert_eq!(payload.into_chunks().into_iter().collect::<Payload>().crc64_nvme(), None);
        }
    }

    #[test]
    fn the_checksum_is_the_published_one_and_of_nothing_zero() {
        let mut payload = Payload::with_crc64_nvme();
        assert_eq!(payload.crc64_nvme(), Some(0));
        payload.push(Bytes::from_static(b"123456789"));
        assert_eq!(payload.crc64_nvme(), Some(0xae8b_1486_0a79_9888));
        assert_eq!(
            Payload::from("123456789").crc64_nvme(),
            None,
            "who hands over bytes pays for no checksum"
        );
    }
}
