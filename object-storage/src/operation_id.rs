//! [`OperationId`]: what tells a write of ours from everybody else's.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

/// The identity of one write: 128 random bits that the store keeps with the object.
///
/// A write whose answer was lost has not failed: it may have been applied, or be so later. Its id is on the object
/// if it was, so [`resolve`](crate::ObjectStorage::resolve) can tell, in this process or after a restart: write the
/// id down, as the text that [`Display`](fmt::Display) gives and [`FromStr`] reads, before the write begins.
///
/// One id names one write: these bytes, under this key, under this condition. Repeating exactly that with the same
/// id is safe at any time; using it for anything else makes the answers worthless.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(u128);

thread_local! {
    /// A keyed hash and a count. The key of every thread comes from the operating system, so that ids of different
    /// threads and machines are unrelated. (A generator with 64 bits of state has only that many streams: a fleet
    /// that makes ids for years would see two of them meet.)
    static SOURCE: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0));
}

impl OperationId {
    /// An id that nobody else has: two random ones are the same with a chance of 1 in 2^128. No system call, and
    /// nothing is allocated.
    ///
    /// Two copies of one running program make the same ids: a process that forks and goes on without `exec`, a virtual
    /// machine that is started twice from one snapshot. They must choose ids themselves.
    #[must_use]
    pub fn random() -> OperationId {
        SOURCE.with(|(hash, count)| {
            let number = count.get();
            count.set(number.wrapping_add(1));
            let half = |which: u128| u128::from(hash.hash_one(u128::from(number) << 1 | which));
            OperationId((half(0) << 64) | half(1))
        })
    }

    /// The id of these bits: for programs and simulations that make their own.
    #[must_use]
    pub const fn from_bits(bits: u128) -> OperationId {
        OperationId(bits)
    }

    /// Its bits.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand: it is written once for every put, and formatting a number took five times as long.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0.to_be_bytes()) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        f.write_str(str::from_utf8(&text).expect("digits are ASCII"))
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationId({self})")
    }
}

/// A text that is not 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidOperationId;

impl fmt::Display for InvalidOperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an operation id is 32 lower-case hexadecimal digits")
    }
}

impl std::error::Error for InvalidOperationId {}

impl FromStr for OperationId {
    type Err = InvalidOperationId;

    fn from_str(text: &str) -> Result<OperationId, InvalidOperationId> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match u128::from_str_radix(text, 16) {
            Ok(bits) if digits && text.len() == 32 => Ok(OperationId(bits)),
            _ => Err(InvalidOperationId),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_survives_being_written_down_and_only_in_one_spelling() {
        for id in [OperationId::from_bits(0), OperationId::from_bits(0xab), OperationId::random()] {
            let text = id.to_string();
            assert_eq!(text.len(), 32);
            assert_eq!(text.parse(), Ok(id));
        }
        let short = "ab";
        let capital = "000000000000000000000000000000AB";
        let signed = "+00000000000000000000000000000ab";
        for bad in ["", short, capital, signed, "0000000000000000000000000000000é"] {
            assert_eq!(bad.parse::<OperationId>(), Err(InvalidOperationId), "{bad:?}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test is about other threads")]
    fn no_two_are_the_same_on_whatever_thread() {
        let some = || (0..1000).map(|_| OperationId::random()).collect::<Vec<_>>();
        let others: Vec<_> = (0..4).map(|_| std::thread::spawn(some)).collect();
        let mut all: HashSet<OperationId> = some().into_iter().collect();
        for other in others {
            all.extend(other.join().expect("no panic"));
        }
        assert_eq!(all.len(), 5000);
    }
}
