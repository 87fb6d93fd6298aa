//! [`ByteRange`]: which bytes of an object a get asks for, and what that means for an object of a given size.

use std::ops::Range;

/// Which bytes of an object to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From `start` (inclusive) to `end` (exclusive), in bytes.
    Bounded(Range<u64>),
    /// Everything from this byte on.
    From(u64),
    /// The last so many bytes.
    Suffix(u64),
}

/// What happens when a [`ByteRange`] reaches beyond the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RangePolicy {
    /// `RangeNotSatisfiable`, unless every byte asked for exists. The answer holds just those bytes.
    #[default]
    Exact,
    /// The bytes that exist, as HTTP has it. `RangeNotSatisfiable` when there is none of them.
    Clamped,
}

/// Why a range gives no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidRange {
    /// The range asks for no byte at all, or ends before it begins. No store was asked: HTTP cannot say it.
    Empty,
    /// The range lies outside the object, wholly or (with [`RangePolicy::Exact`]) in part.
    NotSatisfiable,
}

impl std::fmt::Display for InvalidRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            InvalidRange::Empty => "the range holds no byte",
            InvalidRange::NotSatisfiable => "the range lies outside the object",
        })
    }
}

impl std::error::Error for InvalidRange {}

impl ByteRange {
    /// Refuses a range that no object can satisfy: an empty one.
    ///
    /// # Errors
    ///
    /// [`InvalidRange::Empty`].
    pub fn check(&self) -> Result<(), InvalidRange> {
        match self {
            ByteRange::Bounded(range) if range.start >= range.end => Err(InvalidRange::Empty),
            ByteRange::Suffix(0) => Err(InvalidRange::Empty),
            _ => Ok(()),
        }
    }

    /// The bytes this means in an object of `size` bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidRange`] when the policy allows no answer.
    pub fn resolve(&self, size: u64, policy: RangePolicy) -> Result<Range<u64>, InvalidRange> {
        self.check()?;
        let (asked, exists) = match self {
            ByteRange::Bounded(range) => (range.clone(), range.start.min(size)..range.end.min(size)),
            ByteRange::From(start) => (*start..size.max(*start), (*start).min(size)..size),
            ByteRange::Suffix(last) => {
                let exists = size.saturating_sub(*last)..size;
                // A suffix longer than the object begins before its first byte.
                let asked = if *last > size { 0..size + 1 } else { exists.clone() };
                (asked, exists)
            }
        };
        if exists.is_empty() || (policy == RangePolicy::Exact && exists != asked) {
            return Err(InvalidRange::NotSatisfiable);
        }
        Ok(exists)
    }

    /// The value of the HTTP `Range` header, as in `bytes=0-99`.
    ///
    /// # Errors
    ///
    /// [`InvalidRange::Empty`]: HTTP has no way to ask for nothing.
    pub fn to_header(&self) -> Result<String, InvalidRange> {
        self.check()?;
        Ok(match self {
            ByteRange::Bounded(range) => format!("bytes={}-{}", range.start, range.end - 1),
            ByteRange::From(start) => format!("bytes={start}-"),
            ByteRange::Suffix(last) => format!("bytes=-{last}"),
        })
    }
}

impl From<Range<u64>> for ByteRange {
    fn from(range: Range<u64>) -> ByteRange {
        ByteRange::Bounded(range)
    }
}

impl From<std::ops::RangeFrom<u64>> for ByteRange {
    fn from(range: std::ops::RangeFrom<u64>) -> ByteRange {
        ByteRange::From(range.start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::RangePolicy::{Clamped, Exact};
    use super::*;

    #[test]
    fn exact_gives_all_or_nothing_and_clamped_gives_what_exists() {
        let no = Err(InvalidRange::NotSatisfiable);
        assert_eq!(ByteRange::Bounded(0..10).resolve(10, Exact), Ok(0..10));
        assert_eq!(ByteRange::Bounded(0..11).resolve(10, Exact), no);
        assert_eq!(ByteRange::Bounded(0..11).resolve(10, Clamped), Ok(0..10));
        assert_eq!(ByteRange::Bounded(10..11).resolve(10, Clamped), no);
        assert_eq!(ByteRange::From(9).resolve(10, Exact), Ok(9..10));
        assert_eq!(ByteRange::From(10).resolve(10, Exact), no);
        assert_eq!(ByteRange::From(11).resolve(10, Clamped), no);
        assert_eq!(ByteRange::Suffix(3).resolve(10, Exact), Ok(7..10));
        assert_eq!(ByteRange::Suffix(11).resolve(10, Exact), no);
        assert_eq!(ByteRange::Suffix(11).resolve(10, Clamped), Ok(0..10));
        assert_eq!(ByteRange::Suffix(1).resolve(0, Clamped), no);
        assert_eq!(ByteRange::Suffix(0).resolve(10, Clamped), Err(InvalidRange::Empty));
        assert_eq!(ByteRange::Bounded(5..5).resolve(10, Clamped), Err(InvalidRange::Empty));
        assert_eq!(ByteRange::Suffix(u64::MAX).resolve(u64::MAX - 1, Clamped), Ok(0..u64::MAX - 1));
    }

    proptest! {
        #[test]
        fn what_is_resolved_exists_and_is_never_empty(a in 0u64..50, b in 0u64..50, size in 0u64..50, form in 0..3) {
            let range = match form { 0 => ByteRange::Bounded(a..b), 1 => ByteRange::From(a), _ => ByteRange::Suffix(a) };
            let exact = range.resolve(size, Exact);
            let clamped = range.resolve(size, Clamped);
            if let Ok(got) = &clamped {
                prop_assert!(got.start < got.end && got.end <= size);
            }
            // What exact admits, clamped gives too, and the same.
            if exact.is_ok() {
                prop_assert_eq!(exact, clamped);
            }
        }
    }
}
