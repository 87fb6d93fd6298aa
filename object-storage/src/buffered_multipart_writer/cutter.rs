//! [`Cutter`]: takes writes of any size and cuts them into parts. Values in, values out: no store, no task.

use bytes::{Bytes, BytesMut};

use crate::limits::KIB;
use crate::payload::Payload;
use crate::storage::PartNumber;

use super::blocks::Blocks;
use super::part_sizes::PartSizes;

/// Writes shorter than this are copied, in bytes; longer ones are kept as they are.
///
/// Copying this much takes 2 to 3 µs (measured, fresh memory included), not much more than one piece more costs
/// on its way through buffers, TLS records and the kernel. A part of
/// 8 MiB then holds at most 512 kept pieces with 512 runs of copied ones in between: the 1,024 buffers that one
/// vectored send takes.
pub(super) const COPY_BELOW_BYTES: usize = 16 * 1024;

/// The smallest and the largest block into which short writes are copied, in bytes.
///
/// A block is as large as what the part holds already, so that a small object costs little memory and a part
/// of 8 MiB made of short writes is some 40 blocks. Above 256 KiB nothing is gained, and one block is the most
/// that a part wastes.
const BLOCK_BYTES_MIN: u64 = 8 * KIB;
pub(super) const BLOCK_BYTES_MAX: u64 = 256 * KIB;

/// Bytes on their way into parts.
///
/// A part is cut when it is full and more bytes come, or at the latest when it is full and not the first: an
/// object that just fills one part needs no multipart upload.
pub(super) struct Cutter {
    sizes: PartSizes,
    /// Whether parts are to know their checksum.
    checksums: bool,
    /// Of the part being filled, from 1.
    number: u16,
    /// The size of the part being filled, in bytes.
    size: u64,
    /// What the part holds, before what is in `block`.
    filled: Payload,
    /// The open block: short writes, and room for more.
    block: BytesMut,
    /// Whether the open block is one of [`BLOCK_BYTES_MAX`], to be used again.
    block_is_whole: bool,
    /// Such blocks of the part that are behind us, now empty handles of the memory that its payload holds.
    used: Vec<BytesMut>,
    /// What the part occupies: kept pieces, and blocks with the room that is left in them.
    held: u64,
    /// Blocks of earlier parts, to be filled again.
    idle: Blocks,
}

/// A part to be uploaded.
#[derive(Debug)]
pub(super) struct CutPart {
    pub(super) number: PartNumber,
    pub(super) payload: Payload,
    /// Handles of the whole blocks into which its bytes were copied, by which these can be
    /// [given back](Blocks::give_back) when the payload is dropped.
    pub(super) blocks: Vec<BytesMut>,
    /// The memory that is freed when payload and blocks are dropped, in bytes; a little more than the payload's
    /// length.
    pub(super) held: u64,
}

/// What was left when the writes were over.
#[derive(Debug)]
pub(super) enum Rest {
    /// All there ever was: fits into one put.
    Whole(CutPart),
    /// The last part, shorter than the others.
    Last(CutPart),
    /// Nothing: the part before was the last.
    Nothing,
}

impl Cutter {
    /// `checksums`: parts know their CRC-64/NVME, computed as they are filled. `idle`: blocks to use first.
    pub(super) fn new(sizes: PartSizes, checksums: bool, idle: Blocks) -> Cutter {
        Cutter {
            sizes,
            checksums,
            number: 1,
            size: sizes.size(1),
            filled: empty(checksums),
            block: BytesMut::new(),
            block_is_whole: false,
            used: Vec::new(),
            held: 0,
            idle,
        }
    }

    /// The size of the part being filled, in bytes.
    pub(super) fn part_size(&self) -> u64 {
        self.size
    }

    /// The memory occupied, in bytes: at most [`part_size`](Cutter::part_size) and one block.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// How many bytes can come at least without any further memory.
    pub(super) fn spare(&self) -> u64 {
        block_room(&self.block).min(self.room())
    }

    /// Takes bytes without copying them, unless they are few.
    pub(super) fn push(&mut self, mut bytes: Bytes, parts: &mut Vec<CutPart>) {
        while !bytes.is_empty() {
            self.cut_if_full(parts);
            let piece = bytes.split_to(bytes.len().min(clamped(self.room())));
            if piece.len() < COPY_BELOW_BYTES {
                self.fill(&piece);
            } else {
                self.seal();
                self.held += piece.len() as u64;
                self.filled.push(piece);
            }
        }
        self.cut_if_not_first(parts);
    }

    /// Takes bytes by copying them.
    pub(super) fn copy(&mut self, mut bytes: &[u8], parts: &mut Vec<CutPart>) {
        while !bytes.is_empty() {
            self.cut_if_full(parts);
            let (piece, rest) = bytes.split_at(bytes.len().min(clamped(self.room())));
            self.fill(piece);
            bytes = rest;
        }
        self.cut_if_not_first(parts);
    }

    /// Ends the last part.
    pub(super) fn finish(&mut self) -> Rest {
        match self.number {
            1 => Rest::Whole(self.cut()),
            _ if self.len() == 0 => Rest::Nothing,
            _ => Rest::Last(self.cut()),
        }
    }

    /// The bytes that the part holds.
    fn len(&self) -> u64 {
        self.filled.len() + self.block.len() as u64
    }

    /// The bytes that the part still takes.
    fn room(&self) -> u64 {
        self.size - self.len()
    }

    /// Copies bytes that the part has room for.
    fn fill(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if block_room(&self.block) == 0 {
                self.put_away_block();
                self.block = self.new_block();
                let capacity = self.block.capacity() as u64;
                self.block_is_whole = capacity == BLOCK_BYTES_MAX;
                self.held += capacity;
            }
            let (fits, rest) = bytes.split_at(bytes.len().min(clamped(block_room(&self.block))));
            self.block.extend_from_slice(fits);
            bytes = rest;
        }
    }

    /// An idle block where the part has room for all of it, so that none is wasted; else fresh memory.
    fn new_block(&self) -> BytesMut {
        let room = self.room();
        (room >= BLOCK_BYTES_MAX).then(|| self.idle.take()).flatten().unwrap_or_else(|| {
            let wanted = self.len().clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX).min(room);
            BytesMut::with_capacity(clamped(wanted))
        })
    }

    /// Ends the block. Its handle goes with the part if it is to be used again.
    fn put_away_block(&mut self) {
        self.seal();
        let block = std::mem::take(&mut self.block);
        if std::mem::take(&mut self.block_is_whole) {
            self.used.push(block);
        }
    }

    /// Puts what the block holds behind what is filled. The room left in the block stays of use: it is the same
    /// memory, so that short writes between long ones do not cost a block each.
    fn seal(&mut self) {
        if !self.block.is_empty() {
            self.filled.push(self.block.split().freeze());
        }
    }

    fn cut_if_full(&mut self, parts: &mut Vec<CutPart>) {
        if self.room() == 0 {
            let part = self.cut();
            parts.push(part);
        }
    }

    /// Only the first part waits for what comes after it; holding back a later one would only lose time.
    fn cut_if_not_first(&mut self, parts: &mut Vec<CutPart>) {
        if self.number > 1 {
            self.cut_if_full(parts);
        }
    }

    fn cut(&mut self) -> CutPart {
        // What is left of the block is given up: kept for the next part it would hold memory that was
        // counted as freed with this one.
        self.put_away_block();
        let number = PartNumber::new(self.number).expect("the writer refuses bytes beyond the last part");
        let part = CutPart {
            number,
            payload: std::mem::replace(&mut self.filled, empty(self.checksums)),
            blocks: std::mem::take(&mut self.used),
            held: std::mem::take(&mut self.held),
        };
        self.number += 1;
        self.size = self.sizes.size(self.number);
        part
    }
}

fn empty(checksums: bool) -> Payload {
    if checksums { Payload::with_crc64_nvme() } else { Payload::new() }
}

fn block_room(block: &BytesMut) -> u64 {
    (block.capacity() - block.len()) as u64
}

/// A number of bytes that is only ever compared with the length of a buffer.
fn clamped(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::buffered_multipart_writer::tests::{MIB, pattern};

    /// One write: so many bytes, owned or borrowed.
    #[derive(Clone, Copy, Debug)]
    enum Write {
        Owned(usize),
        Borrowed(usize),
    }

    impl Write {
        fn len(self) -> usize {
            match self {
                Write::Owned(len) | Write::Borrowed(len) => len,
            }
        }
    }

    fn any_write() -> impl Strategy<Value = Write> {
        let len = prop_oneof![
            4 => 0usize..10,
            2 => COPY_BELOW_BYTES - 2..COPY_BELOW_BYTES + 2,
            1 => 0usize..3 * MIB,
        ];
        (len, any::<bool>())
            .prop_map(|(len, owned)| if owned { Write::Owned(len) } else { Write::Borrowed(len) })
    }

    fn cut_all(cutter: &mut Cutter, writes: &[Write], source: &Bytes) -> Vec<CutPart> {
        let mut parts = Vec::new();
        let mut at = 0;
        for write in writes {
            let bytes = source.slice(at..at + write.len());
            at += write.len();
            match write {
                Write::Owned(_) => cutter.push(bytes, &mut parts),
                Write::Borrowed(_) => cutter.copy(&bytes, &mut parts),
            }
            assert!(cutter.held() <= cutter.part_size() + BLOCK_BYTES_MAX);
        }
        parts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_writes_come_out_as_the_same_bytes_in_equal_parts(
            writes in prop::collection::vec(any_write(), 0..40),
            size in prop_oneof![Just(20 * KIB), Just(MIB as u64), Just(5 * MIB as u64)],
            checksums: bool,
        ) {
            let source = pattern(writes.iter().map(|write| write.len()).sum());
            let mut cutter = Cutter::new(PartSizes::Equal(size), checksums, Blocks::default());
            let mut parts = cut_all(&mut cutter, &writes, &source);
            for part in &parts {
                prop_assert_eq!(part.payload.len(), size);
                prop_assert!(part.held <= size + BLOCK_BYTES_MAX);
            }
            match cutter.finish() {
                Rest::Whole(part) => {
                    prop_assert!(parts.is_empty());
                    prop_assert_eq!(part.payload.len(), source.len() as u64);
                    parts.push(part);
                }
                Rest::Last(part) => {
                    prop_assert!((1..size).contains(&part.payload.len()));
                    parts.push(part);
                }
                Rest::Nothing => prop_assert!(parts.len() > 1),
            }
            for part in &parts {
                let crc = checksums.then(|| crc_fast::crc64_nvme(&part.payload.to_bytes()));
                prop_assert_eq!(part.payload.crc64_nvme(), crc);
            }
            prop_assert!(parts.iter().map(|part| part.number.get()).eq((1..).take(parts.len())));
            let all: Payload = parts.into_iter().flat_map(|part| part.payload.into_chunks()).collect();
            prop_assert!(all.to_bytes() == source);
            prop_assert_eq!(cutter.held(), 0);
        }
    }

    #[test]
    fn a_long_write_is_not_copied_not_even_when_it_is_cut() {
        let size = 5 * MIB as u64;
        let source = pattern(12 * MIB);
        let mut cutter = Cutter::new(PartSizes::Equal(size), false, Blocks::default());
        let mut parts = Vec::new();
        cutter.push(source.clone(), &mut parts);
        let Rest::Last(last) = cutter.finish() else { panic!("two parts were cut") };
        parts.push(last);
        let mut at = 0;
        for part in &parts {
            let [chunk] = part.payload.chunks() else { panic!("{part:?} is one piece") };
            assert_eq!(chunk.as_ptr(), source[at..].as_ptr());
            assert_eq!(part.held, part.payload.len());
            at += chunk.len();
        }
        assert_eq!(at, source.len());
    }

    #[test]
    fn a_short_slice_does_not_hold_the_memory_it_was_cut_from() {
        let huge = Bytes::from(vec![7; MIB]);
        let mut cutter = Cutter::new(PartSizes::Equal(5 * MIB as u64), false, Blocks::default());
        cutter.push(huge.slice(5..8), &mut Vec::new());
        assert!(huge.is_unique());
    }

    #[test]
    fn short_writes_between_long_ones_share_a_block() {
        let long = Bytes::from(vec![1; COPY_BELOW_BYTES]);
        let mut cutter = Cutter::new(PartSizes::Equal(5 * MIB as u64), false, Blocks::default());
        for _ in 0..100 {
            cutter.push(Bytes::from_static(b"abc"), &mut Vec::new());
            cutter.push(long.clone(), &mut Vec::new());
        }
        assert!(cutter.held() <= 100 * COPY_BELOW_BYTES as u64 + BLOCK_BYTES_MAX, "{} bytes", cutter.held());
    }

    #[test]
    fn a_block_does_not_outlive_the_part_it_was_counted_with() {
        let mut cutter = Cutter::new(PartSizes::Equal(5 * MIB as u64), false, Blocks::default());
        let mut parts = Vec::new();
        cutter.push(Bytes::from_static(b"abc"), &mut parts);
        assert!(cutter.spare() > 0);
        cutter.push(Bytes::from(vec![0; 5 * MIB - 3 + COPY_BELOW_BYTES]), &mut parts);
        assert_eq!((parts.len(), cutter.spare(), cutter.held()), (1, 0, COPY_BELOW_BYTES as u64));
    }

    #[test]
    fn a_part_is_copied_into_the_blocks_of_one_that_is_gone() {
        let size = 5 * MIB as u64;
        let idle = Blocks::default();
        let mut cutter = Cutter::new(PartSizes::Equal(size), false, idle.clone());
        let source = pattern(6 * MIB);
        let mut parts = Vec::new();
        cutter.copy(&source, &mut parts);
        let addresses = |part: &CutPart| -> Vec<_> {
            part.payload
                .chunks()
                .iter()
                .filter(|chunk| chunk.len() == 256 * 1024)
                .map(|chunk| chunk.as_ptr())
                .collect()
        };
        let first = parts.remove(0);
        let before = addresses(&first);
        drop(first.payload);
        idle.give_back(first.blocks, true);
        assert_eq!(idle.held(), before.len() as u64 * BLOCK_BYTES_MAX);
        cutter.copy(&source[MIB..], &mut parts);
        let second = parts.remove(0);
        assert!(second.payload.to_bytes() == [&source[5 * MIB..], &source[MIB..5 * MIB]].concat());
        assert_eq!(second.held, size, "no block was opened that the part had no room for");
        let again = addresses(&second).iter().filter(|block| before.contains(block)).count();
        assert!(again + 6 >= before.len(), "{again} of {} blocks were used again", before.len());
    }

    #[test]
    fn three_byte_writes_fill_a_part_with_few_blocks_and_no_waste() {
        let size = 8 * MIB as u64;
        let mut cutter = Cutter::new(PartSizes::Equal(size), false, Blocks::default());
        let mut parts = Vec::new();
        while parts.is_empty() {
            cutter.push(Bytes::from_static(b"abc"), &mut parts);
        }
        assert!(parts[0].payload.chunks().len() <= 40, "{:?}", parts[0].payload);
        assert_eq!(parts[0].held, size);
    }

    #[test]
    fn a_first_part_that_is_just_full_waits_and_a_later_one_does_not() {
        let size = 5 * MIB as u64;
        let mut cutter = Cutter::new(PartSizes::Equal(size), false, Blocks::default());
        let mut parts = Vec::new();
        cutter.push(Bytes::from(vec![0; 5 * MIB]), &mut parts);
        assert!(parts.is_empty(), "it may be all");
        cutter.push(Bytes::from(vec![0; 5 * MIB]), &mut parts);
        assert_eq!(parts.len(), 2);
        assert!(matches!(cutter.finish(), Rest::Nothing));
    }

    #[test]
    fn parts_grow_as_the_sizes_say() {
        let mut cutter = Cutter::new(PartSizes::Growing(5 * MIB as u64), false, Blocks::default());
        let source = Bytes::from(vec![0; 10 * MIB]);
        let mut parts = Vec::new();
        while parts.len() < 502 {
            cutter.push(source.clone(), &mut parts);
        }
        assert_eq!(parts[499].payload.len(), 5 * MIB as u64);
        assert_eq!(parts[500].payload.len(), 10 * MIB as u64);
    }
}
