//! SHA-256 of a text that stands in one piece, and its keyed form from states that are kept.
//!
//! Straight on the compression function. The usual objects gather blocks from pieces and wipe themselves
//! byte by byte; for texts as short as ours that took as long as the hashing.

use sha2::block_api::compress256;
use zeroize::Zeroizing;

/// What the compression function takes at once.
pub(super) const BLOCK_BYTES: usize = 64;

/// What goes from block to block. Behind a key's block it is as good as the key, for one day.
pub(super) type State = Zeroizing<[u32; 8]>;

/// FIPS 180-4, 5.3.3.
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The end of the hash's own text: a bit, zeros up to the block's last eight bytes, the length in bits.
pub(super) fn padding(text_bytes: usize) -> ([u8; 2 * BLOCK_BYTES], usize) {
    let length_at = BLOCK_BYTES - (text_bytes + 8) % BLOCK_BYTES;
    let mut padding = [0; 2 * BLOCK_BYTES];
    padding[0] = 0x80;
    padding[length_at..length_at + 8].copy_from_slice(&(text_bytes as u64 * 8).to_be_bytes());
    (padding, length_at + 8)
}

/// The hash of what was padded behind its end.
pub(super) fn sha256(padded: &[u8]) -> [u8; 32] {
    let mut state = START;
    through(&mut state, padded);
    bytes(&state)
}

/// HMAC behind the key's own block, inside and outside: two blocks less to hash than from the key.
pub(super) struct Keyed {
    pub(super) inner: State,
    outer: State,
}

impl Keyed {
    pub(super) fn new(key: &[u8; 32]) -> Keyed {
        let behind = |pad: u8| {
            let mut block = Zeroizing::new([pad; BLOCK_BYTES]);
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = Zeroizing::new(START);
            through(&mut state, &block[..]);
            state
        };
        Keyed { inner: behind(0x36), outer: behind(0x5c) }
    }

    /// The code of the text that ends with `padded`, padded; `state` stands behind what precedes that.
    pub(super) fn finish(&self, state: &State, padded: &[u8]) -> [u8; 32] {
        let mut inner = state.clone();
        through(&mut inner, padded);
        let mut block = [0; BLOCK_BYTES];
        block[..32].copy_from_slice(&bytes(&inner));
        block[32] = 0x80;
        block[BLOCK_BYTES - 8..].copy_from_slice(&((BLOCK_BYTES as u64 + 32) * 8).to_be_bytes());
        let mut outer = self.outer.clone();
        through(&mut outer, &block);
        bytes(&outer)
    }
}

/// Puts whole blocks behind what the state stands for.
pub(super) fn through(state: &mut [u32; 8], text: &[u8]) {
    let (blocks, rest) = text.as_chunks();
    assert!(rest.is_empty(), "only whole blocks are hashed");
    compress256(state, blocks);
}

fn bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    fn padded(text: &[u8], before: usize) -> Vec<u8> {
        let (padding, bytes) = padding(before + text.len());
        [text, &padding[..bytes]].concat()
    }

    proptest! {
        #[test]
        fn a_text_in_one_piece_has_the_hash_of_any_other(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let expected: [u8; 32] = Sha256::digest(&text).into();
            prop_assert_eq!(sha256(&padded(&text, 0)), expected);
        }

        #[test]
        fn a_kept_state_gives_the_code_of_the_whole_text(
            key: [u8; 32],
            blocks in 0usize..3,
            rest in prop::collection::vec(any::<u8>(), 0..150),
        ) {
            let start = vec![7; blocks * BLOCK_BYTES];
            let keyed = Keyed::new(&key);
            let mut state = keyed.inner.clone();
            through(&mut state, &start);
            let code = keyed.finish(&state, &padded(&rest, BLOCK_BYTES + start.len()));
            let mut other = Hmac::<Sha256>::new_from_slice(&key).expect("keys of any length are taken");
            other.update(&start);
            other.update(&rest);
            let expected: [u8; 32] = other.finalize().into_bytes().into();
            prop_assert_eq!(code, expected);
        }
    }
}
