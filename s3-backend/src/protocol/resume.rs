//! [`Rest`]: what of a body is still to come, and how often it may be asked for again. A value.
//!
//! The rest is asked for as a range of the very version that the first answer named: two versions are never spliced.

use std::ops::Range;

use object_storage::{ETag, GetOptions};

/// The part of a body that has not come yet.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    range: Range<u64>,
    /// Without it nobody can tell whether the rest belongs to what has come.
    etag: Option<ETag>,
    attempts_max: u32,
    /// How often it broke off since so many bytes had come.
    breaks: u32,
    /// Bytes that came since `breaks` was last 0.
    came: u64,
}

/// After so many bytes earlier breaks are forgiven: a body of a terabyte outlives many connections, while one that
/// breaks off again and again without getting further ends.
const FORGIVEN_AFTER_BYTES: u64 = 8 << 20;

impl Rest {
    /// All of the body: the bytes `range` of the object of this tag. It is asked for at most `attempts_max` times, the
    /// first included, per 8 MiB.
    pub(crate) fn new(range: Range<u64>, etag: Option<ETag>, attempts_max: u32) -> Rest {
        Rest { range, etag, attempts_max, breaks: 0, came: 0 }
    }

    /// Whether everything has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The bytes of the object that are missing.
    pub(crate) fn range(&self) -> &Range<u64> {
        &self.range
    }

    /// So many bytes came. (More than are missing is for the body to notice, which counts them too.)
    pub(crate) fn arrived(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.range.start = self.range.start.saturating_add(bytes).min(self.range.end);
        self.came = self.came.saturating_add(bytes);
        if self.came >= FORGIVEN_AFTER_BYTES {
            (self.breaks, self.came) = (0, 0);
        }
    }

    /// It broke off. How to ask for what is missing, and for the how manieth time in a row; `None`: it is over.
    pub(crate) fn broke(&mut self) -> Option<(GetOptions, u32)> {
        self.breaks += 1;
        if self.is_empty() || self.breaks >= self.attempts_max {
            return None;
        }
        let options = GetOptions::default().with_range(self.range.clone());
        Some((options.with_if_match(self.etag.clone()?), self.breaks))
    }
}

#[cfg(test)]
mod tests {
    use object_storage::ByteRange;

    use super::*;

    fn rest(attempts_max: u32) -> Rest {
        Rest::new(100..1 << 30, ETag::parse("t").ok(), attempts_max)
    }

    #[test]
    fn what_is_missing_is_asked_for_of_the_same_version() {
        let mut rest = rest(3);
        rest.arrived(50);
        let (options, nth) = rest.broke().expect("once more");
        assert_eq!(options.range, Some(ByteRange::Bounded(150..1 << 30)));
        assert_eq!((options.conditions.if_match.expect("pinned").as_str(), nth), ("t", 1));
    }

    #[test]
    fn it_ends_unless_it_gets_further() {
        let mut rest = rest(3);
        assert!(rest.broke().is_some() && rest.broke().is_some() && rest.broke().is_none());
        rest.arrived(8 << 20);
        assert!(rest.broke().is_some());
        rest.arrived(1);
        assert!(rest.broke().is_some() && rest.broke().is_none(), "one byte at a time is no progress");
    }

    #[test]
    fn without_a_tag_or_with_nothing_missing_nothing_is_asked() {
        assert!(Rest::new(0..10, None, 3).broke().is_none());
        let mut done = Rest::new(0..10, ETag::parse("t").ok(), 3);
        done.arrived(11);
        assert!(done.is_empty() && done.broke().is_none());
        assert!(Rest::new(0..10, ETag::parse("t").ok(), 1).broke().is_none());
    }
}
