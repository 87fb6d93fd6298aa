//! Memory to read into: small for heads and small objects, large for bodies, and the large used again once nobody
//! looks at it any more. And memory to encrypt into, for all connections of a shard.
//!
//! A fresh buffer of 256 KiB costs more in page faults than the system calls that fill it. What was read is handed out
//! as slices of the buffer; when the last of them is dropped, the buffer is as good as new.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;

use bytes::BytesMut;

use super::tls_machine::Outgoing as Records;

/// What a connection is ready to read while it waits for an answer, in bytes: the head of any answer of S3, and a
/// small object with it.
pub(super) const SMALL_BYTES: usize = 16 * 1024;

/// What a connection's own buffer may grow to, in bytes: an object of this size costs no large buffer, of which there
/// are not enough for many at once. 64 idle connections hold 5 MiB at most.
pub(super) const MEDIUM_BYTES: usize = 64 * 1024;

/// The size of a large buffer, in bytes.
pub(super) const LARGE_BYTES: usize = 256 * 1024;

/// The most large buffers that are kept: 4 MiB for one shard, four bodies read at once by somebody who looks at one
/// piece while the next arrives, and as much again.
const KEPT_MAX: usize = 16;

/// The most buffers of records that are kept, of some 260 KiB at most: one for those that send one after the other, and
/// some for those whose records did not fit into the socket and are with the kernel. 1 MiB for one shard.
const RECORDS_KEPT_MAX: usize = 4;

/// The large buffers of one shard that are not in use, or not known to be. Cloning gives another handle.
#[derive(Clone, Default)]
pub(super) struct Buffers(Rc<Kept>);

#[derive(Default)]
struct Kept {
    large: RefCell<VecDeque<BytesMut>>,
    /// The last one used is the next, while it is in the cache.
    records: RefCell<Vec<Records>>,
}

impl Buffers {
    /// An empty buffer of at least this size.
    fn take(&self, bytes: usize) -> BytesMut {
        let mut kept = self.0.large.borrow_mut();
        for _ in 0..kept.len() {
            let Some(mut buffer) = kept.pop_front() else { break };
            if buffer.try_reclaim(bytes) {
                return buffer;
            }
            kept.push_back(buffer);
        }
        // Of one size, so that each can be used for all.
        BytesMut::with_capacity(LARGE_BYTES.max(bytes))
    }

    fn keep(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut kept = self.0.large.borrow_mut();
        if kept.len() < KEPT_MAX {
            kept.push_back(buffer);
        }
    }

    /// Somewhere to encrypt into; it is empty.
    pub(super) fn records(&self) -> Records {
        self.0.records.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes it back, after its records were sent.
    pub(super) fn keep_records(&self, mut records: Records) {
        records.clear();
        let mut kept = self.0.records.borrow_mut();
        if kept.len() < RECORDS_KEPT_MAX {
            kept.push(records);
        }
    }
}

/// What a connection reads into.
#[derive(Default)]
pub(super) struct Room {
    pub(super) buffer: BytesMut,
    /// The connection's own small buffer, while `buffer` is a large one.
    small: Option<BytesMut>,
}

impl Room {
    /// Makes room for `bytes` more behind what is in the buffer.
    pub(super) fn make(&mut self, buffers: &Buffers, bytes: usize) {
        let buffer = &mut self.buffer;
        if buffer.capacity() - buffer.len() >= bytes || buffer.try_reclaim(bytes) {
            return;
        }
        if self.small.is_none() && bytes <= MEDIUM_BYTES {
            buffer.reserve(bytes);
            return;
        }
        let mut large = buffers.take(bytes + buffer.len());
        large.extend_from_slice(buffer);
        let before = mem::replace(buffer, large);
        match self.small {
            Some(_) => buffers.keep(before),
            None => self.small = Some(before),
        }
    }

    /// Gives the large buffer back. What is in it goes into the small one.
    pub(super) fn shrink(&mut self, buffers: &Buffers) {
        if let Some(mut small) = self.small.take() {
            small.clear();
            small.extend_from_slice(&self.buffer);
            buffers.keep(mem::replace(&mut self.buffer, small));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_is_used_again_when_its_slices_are_gone() {
        let buffers = Buffers::default();
        let mut room = Room::default();
        room.make(&buffers, SMALL_BYTES);
        room.buffer.extend_from_slice(b"rest");
        room.make(&buffers, LARGE_BYTES - 4);
        assert_eq!(&room.buffer[..], b"rest");
        let memory = room.buffer.as_ptr();
        let slice = room.buffer.split().freeze();
        room.shrink(&buffers);
        assert!(room.buffer.is_empty());

        let mut second = Room::default();
        second.make(&buffers, LARGE_BYTES);
        assert_ne!(second.buffer.as_ptr(), memory, "somebody still looks at it");
        drop(slice);
        let mut third = Room::default();
        third.make(&buffers, LARGE_BYTES);
        assert_eq!(third.buffer.as_ptr(), memory);
    }

    #[test]
    fn the_records_of_one_request_lie_where_those_of_the_last_one_lay() {
        let buffers = Buffers::default();
        let mut records = buffers.records();
        records.append(&mut Records::from(vec![1; 100]));
        let memory = records.as_slice().as_ptr();
        buffers.keep_records(records);
        let mut again = buffers.records();
        assert!(again.is_empty());
        assert!(buffers.records().is_empty(), "another one sends at the same time");
        again.append(&mut Records::from(vec![2; 100]));
        assert_eq!(again.as_slice(), [2; 100]);
        assert_eq!(again.as_slice().as_ptr(), memory);
        for _ in 0..2 * RECORDS_KEPT_MAX {
            buffers.keep_records(Records::default());
        }
        assert_eq!(buffers.0.records.borrow().len(), RECORDS_KEPT_MAX);
    }

    #[test]
    fn reading_on_while_a_piece_is_looked_at_takes_another_buffer_and_then_the_first_again() {
        let buffers = Buffers::default();
        let mut room = Room::default();
        let mut seen = std::collections::HashSet::new();
        let mut piece = bytes::Bytes::new();
        for _ in 0..20 {
            room.make(&buffers, LARGE_BYTES);
            seen.insert(room.buffer.as_ptr());
            room.buffer.resize(LARGE_BYTES, 0);
            let next = room.buffer.split().freeze();
            drop(mem::replace(&mut piece, next));
        }
        assert!(seen.len() <= 3, "{} buffers for one reader", seen.len());
    }
}
