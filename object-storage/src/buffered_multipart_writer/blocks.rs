//! [`Blocks`]: blocks whose bytes the store has, waiting to be filled again. Fresh memory costs a page fault every
//! 4 KiB, which is as much as all the copying.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::BytesMut;

use super::cutter::BLOCK_BYTES_MAX;

/// The idle blocks of one writer, all of [`BLOCK_BYTES_MAX`]: smaller ones are not worth it. Clones are the same
/// blocks: the uploader's side of the window puts them in, the cutter takes them out.
#[derive(Clone, Default)]
pub(super) struct Blocks {
    idle: Rc<RefCell<Vec<BytesMut>>>,
}

impl Blocks {
    /// The memory of the idle blocks, in bytes.
    pub(super) fn held(&self) -> u64 {
        self.idle.borrow().len() as u64 * BLOCK_BYTES_MAX
    }

    /// An empty block, if there is one.
    pub(super) fn take(&self) -> Option<BytesMut> {
        self.idle.borrow_mut().pop()
    }

    /// Takes back the blocks of a part that is stored. One of which a slice is alive anywhere, in a store that keeps
    /// what it was given or sends it still, is not filled again: it is let go, and freed with its last slice.
    ///
    /// `at_rest`: no other part is under way. No more are idle then than this part had, so that a writer that stands
    /// still does not sit on its whole window, and one that has come to long writes on none.
    pub(super) fn give_back(&self, used: Vec<BytesMut>, at_rest: bool) {
        let whole = usize::try_from(BLOCK_BYTES_MAX).expect("a block fits into memory");
        let mut idle = self.idle.borrow_mut();
        let idle_max = if at_rest { used.len() } else { usize::MAX };
        idle.extend(used.into_iter().filter_map(|mut block| block.try_reclaim(whole).then_some(block)));
        idle.truncate(idle_max);
    }

    /// Frees what is more than so many bytes.
    pub(super) fn keep_at_most(&self, bytes: u64) {
        let blocks = usize::try_from(bytes / BLOCK_BYTES_MAX).unwrap_or(usize::MAX);
        self.idle.borrow_mut().truncate(blocks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block that was filled and sealed: its handle, and its bytes.
    fn used() -> (BytesMut, bytes::Bytes) {
        let mut block = BytesMut::zeroed(usize::try_from(BLOCK_BYTES_MAX).expect("small"));
        let bytes = block.split().freeze();
        (block, bytes)
    }

    #[test]
    fn a_block_is_idle_only_when_no_slice_of_it_is_left() {
        let blocks = Blocks::default();
        let (first, bytes) = used();
        let address = bytes.as_ptr();
        let (second, kept) = used();
        let last_byte = kept.slice(kept.len() - 1..);
        drop((bytes, kept));
        blocks.give_back(vec![first, second], false);
        assert_eq!(blocks.held(), BLOCK_BYTES_MAX);
        let again = blocks.take().expect("nobody has it");
        assert_eq!((again.as_ptr(), again.len(), again.capacity() as u64), (address, 0, BLOCK_BYTES_MAX));
        assert!(blocks.take().is_none(), "somebody has the other");
        assert!(last_byte.is_unique(), "and is the only one who has");
    }

    #[test]
    fn at_rest_no_more_blocks_are_idle_than_the_last_part_had() {
        let blocks = Blocks::default();
        let given_back = |count: usize, at_rest| {
            blocks.give_back((0..count).map(|_| used().0).collect(), at_rest);
            blocks.held() / BLOCK_BYTES_MAX
        };
        assert_eq!([given_back(2, false), given_back(3, false)], [2, 5]);
        assert_eq!([given_back(3, true), given_back(1, true), given_back(0, true)], [3, 1, 0]);
    }
}
