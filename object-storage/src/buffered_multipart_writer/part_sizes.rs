//! [`PartSizes`]: how large each part of an upload is.

use crate::limits::{GIB, MIB, OBJECT_BYTES_MAX, PART_BYTES_MAX, PARTS_MAX};

/// After so many parts the size doubles.
///
/// With parts of 8 MiB an object of up to 4 GiB is cut into equal parts.
const PARTS_PER_SIZE: u16 = 500;

/// Where doubling ends, in bytes, unless the first part is larger already.
///
/// From 5 MiB on the size doubles eight times: 500 x 5 MiB x (2^8 - 1) = 0.6 TiB in 4,000 parts; the other
/// 6,000 parts of 1 GiB hold 5.8 TiB. Together more than the 5 TiB of the largest object, while no part, and
/// with it the memory of the writer, is larger than it needs to be.
const GROWN_PART_BYTES_MAX: u64 = GIB;

/// Into how many parts an object of the expected size is cut at most: half of what S3 takes, so that the
/// object may turn out twice as large as expected.
const EXPECTED_PARTS_MAX: u64 = PARTS_MAX as u64 / 2;

/// The size of every part but the last, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartSizes {
    /// For objects of any size: the first parts have this size in bytes, later ones are larger.
    Growing(u64),
    /// For objects of about known size: every part has this size in bytes.
    Equal(u64),
}

impl PartSizes {
    /// Equal parts of at least `part_size` bytes, large enough for an object of `expected` bytes.
    pub(super) fn for_expected(expected: u64, part_size: u64) -> PartSizes {
        let needed = expected.div_ceil(EXPECTED_PARTS_MAX).next_multiple_of(MIB);
        PartSizes::Equal(needed.max(part_size).min(PART_BYTES_MAX))
    }

    /// The size of the part with this number (from 1), in bytes.
    pub(super) fn size(self, number: u16) -> u64 {
        match self {
            PartSizes::Growing(first) => part_size(number, first),
            PartSizes::Equal(size) => size,
        }
    }

    /// The most bytes that these parts hold, and an object may have.
    pub(super) fn object_bytes_max(self) -> u64 {
        match self {
            // The property test below: from every legal first size 10,000 parts hold the largest object.
            PartSizes::Growing(_) => OBJECT_BYTES_MAX,
            PartSizes::Equal(size) => (size * u64::from(PARTS_MAX)).min(OBJECT_BYTES_MAX),
        }
    }
}

/// The size of the part `number` (from 1) in bytes, when the first part has `first` bytes.
fn part_size(number: u16, first: u64) -> u64 {
    let doublings = number.saturating_sub(1) / PARTS_PER_SIZE;
    let grown = first.checked_shl(doublings.into()).expect("10,000 parts double 19 times at most");
    grown.min(GROWN_PART_BYTES_MAX).max(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::PART_BYTES_MIN;

    proptest! {
        #[test]
        fn ten_thousand_parts_hold_the_largest_object(first in PART_BYTES_MIN..=PART_BYTES_MAX) {
            let sizes: Vec<u64> = (1..=PARTS_MAX).map(|number| part_size(number, first)).collect();
            prop_assert!(sizes.iter().sum::<u64>() >= OBJECT_BYTES_MAX);
            prop_assert!(sizes.is_sorted());
            prop_assert_eq!(sizes[0], first);
            prop_assert!(sizes.iter().all(|size| (PART_BYTES_MIN..=PART_BYTES_MAX).contains(size)));
        }

        #[test]
        fn an_object_may_turn_out_twice_as_large_as_expected(
            expected in 0..=OBJECT_BYTES_MAX,
            part_size in PART_BYTES_MIN..=PART_BYTES_MAX,
        ) {
            let sizes = PartSizes::for_expected(expected, part_size);
            let size = sizes.size(1);
            prop_assert!((part_size..=PART_BYTES_MAX).contains(&size));
            prop_assert_eq!(sizes.size(PARTS_MAX), size);
            prop_assert!(sizes.object_bytes_max() >= (2 * expected).min(OBJECT_BYTES_MAX));
        }
    }

    #[test]
    fn the_smallest_first_size_suffices_too() {
        let held: u64 = (1..=PARTS_MAX).map(|number| part_size(number, PART_BYTES_MIN)).sum();
        assert!(held >= OBJECT_BYTES_MAX);
        assert_eq!(part_size(500, 8 * MIB), 8 * MIB);
        assert_eq!(part_size(501, 8 * MIB), 16 * MIB);
        assert_eq!(part_size(PARTS_MAX, 8 * MIB), GIB);
    }
}
