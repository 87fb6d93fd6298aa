//! Memory to read into: small for heads and small objects, medium and large for bodies, and these used again once
//! nobody looks at them any more. And memory for TLS, for all connections of a shard.
//!
//! A fresh buffer of 256 KiB costs more in page faults than the system calls that fill it. What was read is handed out
//! as slices of the buffer; when the last of them is dropped, the buffer is as good as new.

use std::cell::{RefCell, RefMut};
use std::mem;
use std::rc::Rc;

use bytes::BytesMut;

use super::tls_machine::{Outgoing as Records, sealed_bytes_max};

/// What a connection is ready to read while it waits for an answer, in bytes: the head of any answer of S3, and a
/// small object with it.
pub(super) const SMALL_BYTES: usize = 16 * 1024;

/// The largest body that needs no large buffer, in bytes: of those there are not enough for many at once.
pub(super) const MEDIUM_BYTES: usize = 64 * 1024;

/// The size of a medium buffer, in bytes: the head of an answer and such a body, so that both can come in one read. A
/// connection over which one has come reads into these from then on; 64 idle ones hold 5 MiB at most.
pub(super) const MEDIUM_ROOM_BYTES: usize = MEDIUM_BYTES + SMALL_BYTES;

/// The size of a large buffer, in bytes.
pub(super) const LARGE_BYTES: usize = 256 * 1024;

/// The most large buffers that are kept: 4 MiB for one shard, four bodies read at once by somebody who looks at one
/// piece while the next arrives, and as much again.
const KEPT_MAX: usize = 16;

/// The most medium buffers that are kept: 2.5 MiB for one shard, for the pieces that its readers look at while their
/// connections listen into others.
const MEDIUM_KEPT_MAX: usize = 32;

/// The most buffers of records that are kept, of some 260 KiB at most: one for those that send one after the other, and
/// some for those whose records did not fit into the socket and are with the kernel. 1 MiB for one shard.
const RECORDS_KEPT_MAX: usize = 4;

/// The buffers of one shard that are not in use, or not known to be. Cloning gives another handle.
#[derive(Clone, Default)]
pub(super) struct Buffers(Rc<Kept>);

#[derive(Default)]
struct Kept {
    medium: Shelf<MEDIUM_ROOM_BYTES, MEDIUM_KEPT_MAX>,
    large: Shelf<LARGE_BYTES, KEPT_MAX>,
    /// The last one used is the next, while it is in the cache.
    records: RefCell<Vec<Records>>,
    /// What is received and decrypted at once.
    scratch: RefCell<Vec<u8>>,
}

/// At most `MAX` buffers of at least `BYTES` each. The last one kept is taken first, while it is in the cache.
#[derive(Default)]
struct Shelf<const BYTES: usize, const MAX: usize>(RefCell<Vec<BytesMut>>);

impl<const BYTES: usize, const MAX: usize> Shelf<BYTES, MAX> {
    /// An empty buffer of at least this size.
    fn take(&self, bytes: usize) -> BytesMut {
        // Of one size, so that each can be used for all.
        let whole = BYTES.max(bytes);
        let mut kept = self.0.borrow_mut();
        let free = kept.iter_mut().rposition(|buffer| buffer.try_reclaim(whole));
        // Or the rest of one that somebody looks at: who keeps many short pieces keeps no whole buffer for each.
        match free.or_else(|| kept.iter_mut().rposition(|buffer| buffer.try_reclaim(bytes))) {
            Some(at) => kept.remove(at),
            None => BytesMut::with_capacity(whole),
        }
    }

    fn keep(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut kept = self.0.borrow_mut();
        if kept.len() < MAX {
            kept.push(buffer);
        }
    }
}

/// Where TLS decrypts to.
pub(super) struct Plain {
    pub(super) buffer: BytesMut,
    large: bool,
}

impl Buffers {
    /// Somewhere to decrypt so many bytes to; it is empty.
    pub(super) fn plain(&self, bytes: usize) -> Plain {
        let large = bytes > MEDIUM_ROOM_BYTES;
        let buffer = if large { self.0.large.take(bytes) } else { self.0.medium.take(bytes) };
        Plain { buffer, large }
    }

    /// Takes it back, of use again when nobody looks at what is in it.
    pub(super) fn keep_plain(&self, plain: Plain) {
        if plain.large { self.0.large.keep(plain.buffer) } else { self.0.medium.keep(plain.buffer) }
    }

    /// Memory to be used for a moment, the same for all connections. What a connection with TLS has read itself and this
    /// go into one large buffer when decrypted.
    pub(super) fn scratch(&self) -> RefMut<'_, [u8]> {
        let mut scratch = self.0.scratch.borrow_mut();
        scratch.resize(LARGE_BYTES - sealed_bytes_max(SMALL_BYTES), 0);
        RefMut::map(scratch, |scratch| &mut scratch[..])
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
    /// The connection's own buffer, while `buffer` is a large one.
    own: Option<BytesMut>,
    /// Whether its own is a medium one.
    medium: bool,
}

impl Room {
    /// Makes room for `bytes` more behind what is in the buffer; says for how many there is room then.
    pub(super) fn make(&mut self, buffers: &Buffers, bytes: usize) -> usize {
        let fits_medium = self.own.is_none() && bytes + self.buffer.len() <= MEDIUM_ROOM_BYTES;
        let wants_medium = fits_medium && (self.medium || bytes > sealed_bytes_max(SMALL_BYTES));
        let bytes = match wants_medium {
            true => bytes.max(MEDIUM_ROOM_BYTES.saturating_sub(self.buffer.len())),
            false => bytes,
        };
        let buffer = &mut self.buffer;
        if buffer.capacity() - buffer.len() >= bytes || buffer.try_reclaim(bytes) {
            return bytes;
        }
        if fits_medium && !wants_medium {
            buffer.reserve(bytes);
            return bytes;
        }
        let mut next = match wants_medium {
            true => buffers.0.medium.take(bytes + buffer.len()),
            false => buffers.0.large.take(bytes + buffer.len()),
        };
        next.extend_from_slice(buffer);
        let before = mem::replace(buffer, next);
        if wants_medium {
            // A small one is of no use to those who want more.
            if mem::replace(&mut self.medium, true) {
                buffers.0.medium.keep(before);
            }
        } else if self.own.is_some() {
            buffers.0.large.keep(before);
        } else {
            self.own = Some(before);
        }
        bytes
    }

    /// Gives the large buffer back. What is in it goes into the connection's own.
    pub(super) fn shrink(&mut self, buffers: &Buffers) {
        if let Some(mut own) = self.own.take() {
            own.clear();
            own.extend_from_slice(&self.buffer);
            buffers.0.large.keep(mem::replace(&mut self.buffer, own));
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
    fn short_pieces_that_are_kept_share_their_buffers() {
        let buffers = Buffers::default();
        let pieces: Vec<bytes::Bytes> = (0..10_000u32)
            .map(|number| {
                let mut plain = buffers.plain(150);
                assert!(plain.buffer.is_empty());
                plain.buffer.extend_from_slice(&number.to_le_bytes().repeat(25));
                let piece = plain.buffer.split().freeze();
                buffers.keep_plain(plain);
                piece
            })
            .collect();
        let whole = |piece: &bytes::Bytes| piece.as_ptr().addr() / MEDIUM_ROOM_BYTES;
        let buffers: std::collections::HashSet<_> = pieces.iter().map(whole).collect();
        assert!(buffers.len() < 40, "{} buffers for 1 MB", buffers.len());
        for (number, piece) in (0u32..).zip(&pieces) {
            assert!(
                piece.chunks(4).all(|bytes| bytes == number.to_le_bytes()),
                "what is kept stays as it was"
            );
        }
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

    #[test]
    fn a_connection_that_met_a_medium_body_has_room_for_the_next_at_once_and_takes_no_more_memory() {
        let buffers = Buffers::default();
        let mut room = Room::default();
        assert_eq!(room.make(&buffers, SMALL_BYTES), SMALL_BYTES);
        let sealed = sealed_bytes_max(SMALL_BYTES);
        assert_eq!(room.make(&buffers, sealed), sealed, "a small answer over TLS is a small answer");
        room.buffer.resize(SMALL_BYTES, 0);
        let mut body = room.buffer.split().freeze();
        assert!(room.make(&buffers, 40_000) > MEDIUM_BYTES);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..20 {
            assert!(room.make(&buffers, SMALL_BYTES) > MEDIUM_BYTES);
            seen.insert(room.buffer.as_ptr());
            room.buffer.resize(MEDIUM_BYTES, 0);
            // The one before is dropped while the connection listens already.
            let next = room.buffer.split().freeze();
            room.make(&buffers, SMALL_BYTES);
            drop(mem::replace(&mut body, next));
        }
        assert!(seen.len() <= 3, "{} buffers for one reader", seen.len());
    }
}
