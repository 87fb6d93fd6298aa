//! [`BufferedMultipartWriterOptions`]: what a writer is told before its first byte.

use crate::attributes::Attributes;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::limits::{OBJECT_BYTES_MAX, PART_BYTES_MAX, PART_BYTES_MIN};
use crate::operation_id::OperationId;
use crate::options::PutMode;

use super::part_sizes::PartSizes;

/// Options of a [`BufferedMultipartWriter`](crate::BufferedMultipartWriter).
///
/// ```
/// use object_storage::{BufferedMultipartWriterOptions, PutMode};
///
/// let options = BufferedMultipartWriterOptions::default()
///     .with_part_size(16 * 1024 * 1024)
///     .with_concurrency(2)
///     .with_mode(PutMode::Create);
/// assert_eq!(options.concurrency, 2);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BufferedMultipartWriterOptions {
    /// The size of a part in bytes, 5 MiB to 5 GiB; when left out, the one that the store is configured with
    /// ([`Capabilities::multipart_part_size`](crate::Capabilities), 8 MiB unless set).
    /// Also the size up to which an object is stored by one put, without a multipart upload.
    pub part_size: Option<u64>,
    /// How many parts are uploaded at once, 1 to [`CONCURRENCY_MAX`](Self::CONCURRENCY_MAX);
    /// [`DEFAULT_CONCURRENCY`](Self::DEFAULT_CONCURRENCY) when left out. The writer holds at most one part more
    /// than this in memory. A store that limits what is uploaded at once ([`memory_limit`]) lets parts wait; the writer
    /// then holds them until it is their turn, and its writes wait.
    ///
    /// [`memory_limit`]: crate::config::ObjectConfig::memory_limit
    pub concurrency: usize,
    /// The condition under which the object is stored, judged when the writer finishes.
    pub mode: PutMode,
    /// Content headers and user metadata to keep with the object.
    pub attributes: Attributes,
    /// The id of the write that finishing is, kept with the object where no reader sees it; the store makes one when
    /// left out. As [`PutOptions::operation_id`](crate::PutOptions::operation_id): who must know the outcome also after
    /// a crash chooses it and writes it down first, and asks [`resolve`](crate::ObjectStorage::resolve) later.
    pub operation_id: Option<OperationId>,
    /// As [`PutOptions::write_once`](crate::PutOptions::write_once).
    pub write_once: bool,
    /// About how many bytes will come, at most 5 TiB, where that is known.
    ///
    /// With it all parts but the last have one size, chosen so that the object may turn out twice as large as
    /// expected; beyond 10,000 of these parts, writes are refused with `InvalidInput`. Without it the first 500
    /// parts have `part_size` bytes, and then the size doubles after every 500 parts up to 1 GiB, so that an
    /// object of any size can come. Some stores (Cloudflare R2) take equal parts only: for objects of more than
    /// 500 parts, tell them the size.
    pub expected_size: Option<u64>,
}

impl BufferedMultipartWriterOptions {
    /// How many parts are uploaded at once, unless another number is asked for. One connection to S3 carries
    /// 50 to 100 MiB/s; four of them fill a link of 2 to 3 Gbit/s.
    pub const DEFAULT_CONCURRENCY: usize = 4;

    /// The most parts that one writer uploads at once: at 100 MiB/s each they fill a link of 50 Gbit/s, and
    /// with the smallest parts they hold 325 MiB.
    pub const CONCURRENCY_MAX: usize = 64;

    /// The same options with parts of this size, in bytes.
    #[must_use]
    pub fn with_part_size(mut self, bytes: u64) -> BufferedMultipartWriterOptions {
        self.part_size = Some(bytes);
        self
    }

    /// The same options with this many parts at once.
    #[must_use]
    pub fn with_concurrency(mut self, parts: usize) -> BufferedMultipartWriterOptions {
        self.concurrency = parts;
        self
    }

    /// The same options with this condition.
    #[must_use]
    pub fn with_mode(mut self, mode: PutMode) -> BufferedMultipartWriterOptions {
        self.mode = mode;
        self
    }

    /// The same options with these attributes.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> BufferedMultipartWriterOptions {
        self.attributes = attributes;
        self
    }

    /// The same options for the write of this id.
    #[must_use]
    pub fn with_operation_id(mut self, id: OperationId) -> BufferedMultipartWriterOptions {
        self.operation_id = Some(id);
        self
    }

    /// The same options for a name under which nothing is ever deleted or overwritten.
    #[must_use]
    pub fn with_write_once(mut self) -> BufferedMultipartWriterOptions {
        self.write_once = true;
        self
    }

    /// The same options for about this many bytes.
    #[must_use]
    pub fn with_expected_size(mut self, bytes: u64) -> BufferedMultipartWriterOptions {
        self.expected_size = Some(bytes);
        self
    }

    /// How large the parts are, if these options can work at all. `configured` is what the store says, in bytes.
    pub(super) fn part_sizes(&self, configured: u64) -> Result<PartSizes> {
        let part_size = self.part_size.unwrap_or(configured);
        if !(PART_BYTES_MIN..=PART_BYTES_MAX).contains(&part_size) {
            return Err(refused(format!(
                "part_size is {part_size} bytes: S3 takes parts of {PART_BYTES_MIN} (5 MiB) to {PART_BYTES_MAX} (5 GiB)"
            )));
        }
        if !(1..=Self::CONCURRENCY_MAX).contains(&self.concurrency) {
            return Err(refused(format!(
                "concurrency is {}: it must lie within 1 to {}",
                self.concurrency,
                Self::CONCURRENCY_MAX
            )));
        }
        match self.expected_size {
            None => Ok(PartSizes::Growing(part_size)),
            Some(bytes) if bytes <= OBJECT_BYTES_MAX => Ok(PartSizes::for_expected(bytes, part_size)),
            Some(bytes) => Err(refused(format!(
                "expected_size is {bytes} bytes: an object has at most {OBJECT_BYTES_MAX} (5 TiB)"
            ))),
        }
    }
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::CreateMultipartUpload, message)
}

impl Default for BufferedMultipartWriterOptions {
    /// Four parts at once, of the size that the store is configured with, replacing what is there.
    fn default() -> BufferedMultipartWriterOptions {
        BufferedMultipartWriterOptions {
            part_size: None,
            concurrency: Self::DEFAULT_CONCURRENCY,
            mode: PutMode::default(),
            attributes: Attributes::default(),
            operation_id: None,
            write_once: false,
            expected_size: None,
        }
    }
}

impl From<PutMode> for BufferedMultipartWriterOptions {
    fn from(mode: PutMode) -> BufferedMultipartWriterOptions {
        BufferedMultipartWriterOptions::default().with_mode(mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MIB;

    #[test]
    fn options_that_no_store_would_take_are_refused_and_the_limit_is_named() {
        let options = BufferedMultipartWriterOptions::default;
        for (bad, limit) in [
            (options().with_part_size(PART_BYTES_MIN - 1), "5 MiB"),
            (options().with_part_size(PART_BYTES_MAX + 1), "5 GiB"),
            (options().with_concurrency(0), "1 to 64"),
            (options().with_concurrency(65), "1 to 64"),
            (options().with_expected_size(OBJECT_BYTES_MAX + 1), "5 TiB"),
        ] {
            let error = bad.part_sizes(8 * MIB).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains(limit), "{error}");
        }
        for good in [
            options(),
            options().with_part_size(PART_BYTES_MIN).with_concurrency(1),
            options().with_part_size(PART_BYTES_MAX).with_concurrency(64),
            options().with_expected_size(OBJECT_BYTES_MAX),
        ] {
            good.part_sizes(8 * MIB).expect("can work");
        }
    }
}
