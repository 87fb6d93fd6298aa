//! The bytes of the object, made where they are needed and never kept: the same seed gives the same bytes.

use bytes::{Bytes, BytesMut};

const BLOCK_BYTES: usize = 64 * 1024;

/// The least and the most bytes of one write.
const WRITE_BYTES_MIN: f64 = 3.0;
const WRITE_BYTES_MAX: f64 = 3.0 * 1024.0 * 1024.0;

/// An endless stream of bytes that do not compress. How it is cut does not change it.
pub(super) struct Noise {
    random: fastrand::Rng,
    block: Box<[u8; BLOCK_BYTES]>,
    used: usize,
}

impl Noise {
    pub(super) fn new(seed: u64) -> Noise {
        let block = vec![0; BLOCK_BYTES].try_into().expect("it has that length");
        Noise { random: fastrand::Rng::with_seed(seed), block, used: BLOCK_BYTES }
    }

    /// The next so many bytes.
    pub(super) fn take(&mut self, len: usize) -> Bytes {
        let mut taken = BytesMut::with_capacity(len);
        while taken.len() < len {
            let next = self.next(len - taken.len());
            taken.extend_from_slice(next);
        }
        taken.freeze()
    }

    /// Whether the next bytes are these.
    pub(super) fn matches(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let next = self.next(bytes.len());
            let (head, rest) = bytes.split_at(next.len());
            if head != next {
                return false;
            }
            bytes = rest;
        }
        true
    }

    /// The next bytes, at most so many and at least one.
    fn next(&mut self, len_max: usize) -> &[u8] {
        if self.used == BLOCK_BYTES {
            self.random.fill(&mut self.block[..]);
            self.used = 0;
        }
        let from = self.used;
        self.used = BLOCK_BYTES.min(from + len_max);
        &self.block[from..self.used]
    }
}

/// The sizes of writes that add up to `bytes`: from 3 bytes to 3 MiB, every power of two as likely as another, so
/// that there are many small ones and yet an end.
pub(super) fn write_sizes(seed: u64, bytes: u64) -> impl Iterator<Item = usize> {
    // Not the numbers that the bytes are made of.
    let mut random = fastrand::Rng::with_seed(!seed);
    let mut left = bytes;
    std::iter::from_fn(move || {
        let size = WRITE_BYTES_MIN * (WRITE_BYTES_MAX / WRITE_BYTES_MIN).powf(random.f64());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "3 to 3 MiB")]
        let size = left.min(size as u64) as usize;
        left -= size as u64;
        (size > 0).then_some(size)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_the_same_however_they_are_cut() {
        let whole = Noise::new(7).take(300_000);
        let mut cut = Noise::new(7);
        let mut at = 0;
        for len in write_sizes(1, 300_000) {
            assert!(cut.matches(&whole[at..at + len]));
            at += len;
        }
        assert_eq!(at, 300_000);
        assert!(!Noise::new(7).matches(&Noise::new(8).take(10)));
        let mut shifted = Noise::new(7);
        shifted.take(1);
        assert!(!shifted.matches(&whole[..100]));
    }

    #[test]
    fn writes_have_3_bytes_to_3_mib() {
        let sizes: Vec<usize> = write_sizes(5, 1 << 30).collect();
        let (_last, others) = sizes.split_last().expect("some");
        assert!(others.iter().all(|size| (3..=3 << 20).contains(size)));
        assert!(others.iter().any(|size| *size < 10) && others.iter().any(|size| *size > 2 << 20));
    }
}
