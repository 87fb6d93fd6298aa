//! The options of every operation: what may be left out, and what it then means.
//!
//! All are `#[non_exhaustive]` with a `Default`, so that later fields break nobody:
//! `PutOptions::default().with_mode(PutMode::Create)`.

use crate::attributes::Attributes;
use crate::object::ETag;
use crate::operation_id::OperationId;
use crate::range::{ByteRange, RangePolicy};

/// Under which condition a write takes effect.
///
/// On S3 these are the [conditional writes] `If-None-Match: *` and `If-Match`.
///
/// [conditional writes]: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PutMode {
    /// Whatever is there is replaced: the last writer wins. A repeated attempt can bring old bytes back
    /// over a newer write by somebody else, so names that several write need `Create` or `Match`.
    #[default]
    Overwrite,
    /// Only if nothing is there; otherwise `AlreadyExists`. Of many writers exactly one wins.
    Create,
    /// Only if the object still has this tag; otherwise `PreconditionFailed`, or `NotFound` when it is gone
    /// (some dialects of S3 say `PreconditionFailed` for that too).
    Match(ETag),
}

/// Options of [`put`](crate::ObjectStorage::put).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PutOptions {
    /// The condition of the write.
    pub mode: PutMode,
    /// Content headers and user metadata to keep with the object.
    pub attributes: Attributes,
    /// The id of this write, kept with the object where no reader sees it; the store makes one when left out.
    ///
    /// A program that must know the outcome also after a crash chooses it itself and writes it down first. Putting
    /// the same again with the same id (a *re-drive*) is safe: under a condition, a write that was applied before
    /// is `Ok` again, with the tag it has, as long as the object is still that version.
    pub operation_id: Option<OperationId>,
    /// The caller's word that nobody ever deletes or overwrites an object of this name (slots of a log, names with
    /// a hash in them). With `Create` somebody else's object then proves that ours was not stored, and a put whose
    /// answer was lost can end as `AlreadyExists` instead of `Indeterminate`.
    pub write_once: bool,
}

impl PutOptions {
    /// The same options with this condition.
    #[must_use]
    pub fn with_mode(mut self, mode: PutMode) -> PutOptions {
        self.mode = mode;
        self
    }

    /// The same options with these attributes.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> PutOptions {
        self.attributes = attributes;
        self
    }

    /// The same options for the write of this id.
    #[must_use]
    pub fn with_operation_id(mut self, id: OperationId) -> PutOptions {
        self.operation_id = Some(id);
        self
    }

    /// The same options for a name under which nothing is ever deleted or overwritten.
    #[must_use]
    pub fn with_write_once(mut self) -> PutOptions {
        self.write_once = true;
        self
    }
}

impl From<PutMode> for PutOptions {
    fn from(mode: PutMode) -> PutOptions {
        PutOptions::default().with_mode(mode)
    }
}

/// Conditions of a read: [RFC 9110, section 13](https://www.rfc-editor.org/rfc/rfc9110#name-conditional-requests).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadConditions {
    /// Only if the object has this tag; otherwise `PreconditionFailed`.
    pub if_match: Option<ETag>,
    /// Only if the object has another tag; otherwise `NotModified`.
    pub if_none_match: Option<ETag>,
}

/// Options of [`get`](crate::ObjectStorage::get).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GetOptions {
    /// Which bytes; the whole object when left out.
    pub range: Option<ByteRange>,
    /// What happens when the range reaches beyond the object.
    pub range_policy: RangePolicy,
    /// Conditions on the version that is read.
    pub conditions: ReadConditions,
}

impl GetOptions {
    /// The same options for these bytes.
    #[must_use]
    pub fn with_range(mut self, range: impl Into<ByteRange>) -> GetOptions {
        self.range = Some(range.into());
        self
    }

    /// The same options with this policy for ranges that reach beyond the object.
    #[must_use]
    pub fn with_range_policy(mut self, policy: RangePolicy) -> GetOptions {
        self.range_policy = policy;
        self
    }

    /// The same options, for this version only.
    #[must_use]
    pub fn with_if_match(mut self, etag: ETag) -> GetOptions {
        self.conditions.if_match = Some(etag);
        self
    }

    /// The same options, unless this version is there.
    #[must_use]
    pub fn with_if_none_match(mut self, etag: ETag) -> GetOptions {
        self.conditions.if_none_match = Some(etag);
        self
    }
}

/// Options of [`head`](crate::ObjectStorage::head).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HeadOptions {
    /// Conditions on the version that is looked at.
    pub conditions: ReadConditions,
}

impl HeadOptions {
    /// The same options, for this version only.
    #[must_use]
    pub fn with_if_match(mut self, etag: ETag) -> HeadOptions {
        self.conditions.if_match = Some(etag);
        self
    }

    /// The same options, unless this version is there.
    #[must_use]
    pub fn with_if_none_match(mut self, etag: ETag) -> HeadOptions {
        self.conditions.if_none_match = Some(etag);
        self
    }
}

/// Options of [`list_page`](crate::ObjectStorage::list_page).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListOptions {
    /// Only keys that begin with this string. A plain string: `a/b` also lists `a/bc`.
    pub prefix: String,
    /// Keys that hold this string after the prefix are rolled up into one common prefix each.
    pub delimiter: Option<String>,
    /// Only keys after this string, in byte order.
    pub start_after: Option<String>,
    /// The most entries of a page, 1 to 1,000; 1,000 when left out. Other numbers are `InvalidInput`.
    pub page_size: Option<usize>,
}

impl ListOptions {
    /// All keys that begin with this string.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> ListOptions {
        ListOptions { prefix: prefix.into(), ..ListOptions::default() }
    }

    /// The same options, rolling up at this delimiter, usually `/`. An empty delimiter is none.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: impl Into<String>) -> ListOptions {
        self.delimiter = Some(delimiter.into()).filter(|delimiter| !delimiter.is_empty());
        self
    }

    /// The same options, for keys after this string only.
    #[must_use]
    pub fn with_start_after(mut self, key: impl Into<String>) -> ListOptions {
        self.start_after = Some(key.into());
        self
    }

    /// The same options with this many entries a page.
    #[must_use]
    pub fn with_page_size(mut self, entries: usize) -> ListOptions {
        self.page_size = Some(entries);
        self
    }
}

/// Options of [`delete`](crate::ObjectStorage::delete).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Only if the object has this tag; otherwise `PreconditionFailed`, or `NotFound` (or `Indeterminate`) when it is
    /// gone.
    pub if_match: Option<ETag>,
}

impl DeleteOptions {
    /// The same options, for this version only.
    #[must_use]
    pub fn with_if_match(mut self, etag: ETag) -> DeleteOptions {
        self.if_match = Some(etag);
        self
    }
}

/// Options of [`copy`](crate::ObjectStorage::copy).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CopyOptions {
    /// The condition on the destination.
    pub mode: PutMode,
    /// The condition on the source: only this version of it; otherwise `PreconditionFailed`.
    pub source_if_match: Option<ETag>,
    /// The attributes of the destination; those of the source when left out.
    ///
    /// Only a copy with attributes of its own bears an id of its own: if the answer to a conditional one is lost, that
    /// tells whether it was applied, where a plain copy is `Indeterminate`.
    pub attributes: Option<Attributes>,
}

impl CopyOptions {
    /// The same options with this condition on the destination.
    #[must_use]
    pub fn with_mode(mut self, mode: PutMode) -> CopyOptions {
        self.mode = mode;
        self
    }

    /// The same options, copying this version of the source only.
    #[must_use]
    pub fn with_source_if_match(mut self, etag: ETag) -> CopyOptions {
        self.source_if_match = Some(etag);
        self
    }

    /// The same options, giving the destination attributes of its own.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> CopyOptions {
        self.attributes = Some(attributes);
        self
    }
}

/// Options of [`create_multipart_upload`](crate::ObjectStorage::create_multipart_upload).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MultipartOptions {
    /// Content headers and user metadata to keep with the object.
    pub attributes: Attributes,
    /// The id of the write that completing the upload will be, kept with the object where no reader sees it; the
    /// store makes one when left out. Uploading the same again with the same id is safe as it is with
    /// [`PutOptions::operation_id`]: completing it under a condition is `Ok` if an earlier upload of this id was
    /// completed and its object is still there. (On S3 the later upload then stays, to be swept.)
    pub operation_id: Option<OperationId>,
}

impl MultipartOptions {
    /// The same options with these attributes.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Attributes) -> MultipartOptions {
        self.attributes = attributes;
        self
    }

    /// The same options for the write of this id.
    #[must_use]
    pub fn with_operation_id(mut self, id: OperationId) -> MultipartOptions {
        self.operation_id = Some(id);
        self
    }
}

/// Options of [`complete`](crate::MultipartUpload::complete).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CompleteOptions {
    /// The condition of the write, judged when the parts are joined.
    pub mode: PutMode,
    /// As [`PutOptions::write_once`].
    pub write_once: bool,
}

impl CompleteOptions {
    /// The same options with this condition.
    #[must_use]
    pub fn with_mode(mut self, mode: PutMode) -> CompleteOptions {
        self.mode = mode;
        self
    }

    /// The same options for a name under which nothing is ever deleted or overwritten.
    #[must_use]
    pub fn with_write_once(mut self) -> CompleteOptions {
        self.write_once = true;
        self
    }
}

impl From<PutMode> for CompleteOptions {
    fn from(mode: PutMode) -> CompleteOptions {
        CompleteOptions::default().with_mode(mode)
    }
}

/// Options of [`list_multipart_uploads_page`](crate::ObjectStorage::list_multipart_uploads_page).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListUploadsOptions {
    /// Only uploads to keys that begin with this string.
    pub prefix: String,
    /// The most entries of a page, 1 to 1,000; 1,000 when left out. Other numbers are `InvalidInput`.
    pub page_size: Option<usize>,
}

impl ListUploadsOptions {
    /// All uploads to keys that begin with this string.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> ListUploadsOptions {
        ListUploadsOptions { prefix: prefix.into(), page_size: None }
    }

    /// The same options with this many entries a page.
    #[must_use]
    pub fn with_page_size(mut self, entries: usize) -> ListUploadsOptions {
        self.page_size = Some(entries);
        self
    }
}
