//! Bounds on what a server can make us hold, each with its arithmetic.

use std::time::Duration;

/// The largest error document that is read, in bytes, and the largest document about one thing only, as creating and
/// completing an upload answer with. Real ones have a few hundred.
pub(crate) const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;

/// The largest XML answer that is read, in bytes: 1,000 keys of 1,024 bytes, each byte percent-encoded to three,
/// are 3.1 MiB, and as much again for the rest of each entry.
pub(crate) const XML_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What one entry of such an answer may have, in bytes.
const XML_ENTRY_BYTES_MAX: usize = 8 * 1024;

/// The largest answer that names so many things, in bytes: an eighth of [`XML_BYTES_MAX`] need not be kept free for a page
/// of ten.
pub(crate) fn xml_bytes_max(entries: usize) -> usize {
    entries.saturating_mul(XML_ENTRY_BYTES_MAX).saturating_add(ERROR_BODY_BYTES_MAX).min(XML_BYTES_MAX)
}

/// How long the body of an answer whose head has said everything is read, so that its connection can be used again.
/// A new connection costs less than waiting longer.
pub(crate) const DRAIN_TIME_MAX: Duration = Duration::from_millis(100);

/// How often an operation is tried again because bytes did not arrive as they were sent: policy for a fault of one
/// connection or one machine on the way. What is damaged three times on three connections will be a fourth time.
pub(crate) const CORRUPT_RETRIES_MAX: u32 = 2;

/// The deepest nesting of an XML answer. S3's own go 4 deep.
pub(crate) const XML_DEPTH_MAX: usize = 32;

/// The most elements of an XML answer: 1,000 entries of at most 16 elements, doubled.
pub(crate) const XML_ELEMENTS_MAX: usize = 32_000;

/// The most characters of a server's message that an error shows.
pub(crate) const MESSAGE_CHARS_MAX: usize = 256;

/// The most characters of a server's error code or request id that an error shows.
pub(crate) const CODE_CHARS_MAX: usize = 96;

/// The most characters of one word of a server's text that an error shows. Signatures have 64 and session tokens more;
/// nothing that a server says in words has.
pub(crate) const WORD_CHARS_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_answer_grows_with_what_was_asked_for_up_to_a_whole_page() {
        assert_eq!(xml_bytes_max(1), 72 * 1024);
        assert_eq!(xml_bytes_max(10), 144 * 1024);
        assert_eq!(
            [1_000, 10_000, usize::MAX].map(xml_bytes_max),
            [8_064 * 1024, XML_BYTES_MAX, XML_BYTES_MAX]
        );
    }
}
