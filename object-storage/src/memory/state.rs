//! [`State`]: the objects and uploads of one store, and what every operation does to them.
//!
//! Plain values: no lock, no clock, no future. Whoever holds the state has it to themselves.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::time::SystemTime;

use crate::attributes::Attributes;
use crate::body::Body;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::{Key, KeyRule};
use crate::limits::PUT_BYTES_MAX;
use crate::listing::{Listing, check_page_size, foreign_token};
use crate::object::{ETag, GetOutcome, HeadOutcome, ObjectMeta, PutOutcome};
use crate::operation_id::OperationId;
use crate::options::{
    CopyOptions, DeleteOptions, GetOptions, HeadOptions, ListOptions, ListUploadsOptions, MultipartOptions,
    PutMode, PutOptions, ReadConditions,
};
use crate::payload::Payload;
use crate::range::InvalidRange;
use crate::storage::{ListPage, PageToken, Resolution, UploadId, UploadInfo, UploadsPage};

use super::upload::Upload;

#[derive(Default)]
pub(super) struct State {
    /// Ordered, because listings are.
    objects: BTreeMap<Key, Object>,
    pub(super) uploads: HashMap<UploadId, Upload>,
    /// How many tags and ids were given out.
    names_given: u64,
}

#[derive(Clone)]
pub(super) struct Object {
    pub(super) payload: Payload,
    pub(super) attributes: Attributes,
    pub(super) etag: ETag,
    pub(super) last_modified: SystemTime,
    /// The write that it comes from.
    operation_id: OperationId,
}

impl Object {
    fn meta(&self, key: &Key) -> ObjectMeta {
        let mut meta = ObjectMeta::new(key.clone(), self.payload.len());
        meta.etag = Some(self.etag.clone());
        meta.last_modified = Some(self.last_modified);
        meta
    }
}

/// Says what went wrong with one operation on one key.
#[derive(Clone, Copy)]
pub(super) struct Failure<'a> {
    pub(super) operation: Operation,
    pub(super) key: &'a Key,
}

impl Failure<'_> {
    pub(super) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, self.operation, message).with_key(self.key)
    }

    /// Somebody else may have stored such a key; no store here does.
    fn check_written_key(&self) -> Result<()> {
        match self.key.broken_rule() {
            Some(rule @ KeyRule::ControlCharacter) => {
                Err(self.error(ErrorKind::InvalidInput, format!("the key is not written: {rule}")))
            }
            _ => Ok(()),
        }
    }

    fn check_size(&self, len: u64) -> Result<()> {
        if len <= PUT_BYTES_MAX {
            return Ok(());
        }
        let message =
            format!("{len} bytes in one write, {PUT_BYTES_MAX} are allowed: use a multipart upload");
        Err(self.error(ErrorKind::InvalidInput, message))
    }
}

impl State {
    /// A tag or id that this store never gave before, 32 hex digits: half of them random, so that nobody
    /// builds upon the order, half of them a count, so that none can repeat.
    pub(super) fn new_name(&mut self) -> String {
        self.names_given += 1;
        format!("{:016x}{:016x}", fastrand::u64(..), self.names_given)
    }

    pub(super) fn new_etag(&mut self) -> ETag {
        ETag::parse(&self.new_name()).expect("hex digits are a tag")
    }

    /// The object as readers see it, if the conditions hold.
    fn read(&self, key: &Key, conditions: &ReadConditions, operation: Operation) -> Result<&Object> {
        let failure = Failure { operation, key };
        let object =
            self.objects.get(key).ok_or_else(|| failure.error(ErrorKind::NotFound, "no such object"))?;
        if conditions.if_match.as_ref().is_some_and(|wanted| *wanted != object.etag) {
            return Err(failure.error(ErrorKind::PreconditionFailed, "another version is there"));
        }
        if conditions.if_none_match.as_ref() == Some(&object.etag) {
            return Err(failure.error(ErrorKind::NotModified, "this version is still there"));
        }
        Ok(object)
    }

    /// Whether a write to the key may take effect now.
    pub(super) fn check_mode(&self, mode: &PutMode, failure: Failure<'_>) -> Result<()> {
        let current = self.objects.get(failure.key).map(|object| &object.etag);
        match (mode, current) {
            (PutMode::Overwrite, _) | (PutMode::Create, None) => Ok(()),
            (PutMode::Create, Some(_)) => {
                Err(failure.error(ErrorKind::AlreadyExists, "an object is already there"))
            }
            (PutMode::Match(_), None) => {
                Err(failure.error(ErrorKind::NotFound, "there is no object to match"))
            }
            (PutMode::Match(wanted), Some(current)) if wanted == current => Ok(()),
            (PutMode::Match(_), Some(_)) => {
                Err(failure.error(ErrorKind::PreconditionFailed, "another version is there"))
            }
        }
    }

    /// Puts an object in place; every check is behind us.
    pub(super) fn store(
        &mut self,
        key: &Key,
        payload: Payload,
        attributes: Attributes,
        operation_id: OperationId,
        now: SystemTime,
    ) -> PutOutcome {
        let etag = self.new_etag();
        let object = Object { payload, attributes, etag: etag.clone(), last_modified: now, operation_id };
        self.objects.insert(key.clone(), object);
        PutOutcome::new(etag)
    }

    pub(super) fn put(
        &mut self,
        key: &Key,
        payload: Payload,
        options: PutOptions,
        now: SystemTime,
    ) -> Result<PutOutcome> {
        let failure = Failure { operation: Operation::PutObject, key };
        failure.check_written_key()?;
        failure.check_size(payload.len())?;
        if let Err(refused) = self.check_mode(&options.mode, failure) {
            // A re-drive of what was applied before is applied.
            let before = options.operation_id.and_then(|id| self.applied(key, id));
            return before.ok_or(refused);
        }
        let operation_id = options.operation_id.unwrap_or_else(OperationId::random);
        Ok(self.store(key, payload, options.attributes, operation_id, now))
    }

    /// What the write `id` stored, if it is still there.
    pub(super) fn applied(&self, key: &Key, id: OperationId) -> Option<PutOutcome> {
        let object = self.objects.get(key).filter(|object| object.operation_id == id)?;
        Some(PutOutcome::new(object.etag.clone()))
    }

    pub(super) fn resolve(&self, key: &Key, id: OperationId) -> Resolution {
        match self.applied(key, id) {
            Some(outcome) => Resolution::Applied(outcome),
            None => Resolution::NotThere { current: self.objects.get(key).map(|object| object.meta(key)) },
        }
    }

    pub(super) fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        let failure = Failure { operation: Operation::GetObject, key };
        let refuse = |invalid: InvalidRange| {
            let kind = match invalid {
                InvalidRange::Empty => ErrorKind::InvalidInput,
                InvalidRange::NotSatisfiable => ErrorKind::RangeNotSatisfiable,
            };
            failure.error(kind, invalid.to_string())
        };
        // An empty range is a mistake of the caller, whatever is stored.
        options.range.as_ref().map_or(Ok(()), |range| range.check()).map_err(refuse)?;
        let object = self.read(key, &options.conditions, failure.operation)?;
        let size = object.payload.len();
        let range = match &options.range {
            None => 0..size,
            Some(range) => range.resolve(size, options.range_policy).map_err(refuse)?,
        };
        let body = Body::from_payload(object.payload.slice(range.clone()));
        Ok(GetOutcome::new(object.meta(key), object.attributes.clone(), range, body))
    }

    pub(super) fn head(&self, key: &Key, options: &HeadOptions) -> Result<HeadOutcome> {
        let object = self.read(key, &options.conditions, Operation::HeadObject)?;
        Ok(HeadOutcome::new(object.meta(key), object.attributes.clone()))
    }

    pub(super) fn list_page(&self, options: &ListOptions, page: Option<&PageToken>) -> Result<ListPage> {
        let listing = Listing::new(options, page)?;
        let walk = self.objects.range::<str, _>((listing.begin(), Bound::Unbounded));
        let listed = listing.page(walk, |(key, _)| key.as_str());
        let objects = listed.objects.iter().map(|(key, object)| object.meta(key)).collect();
        Ok(ListPage::new(objects, listed.common_prefixes, listed.next))
    }

    pub(super) fn delete(&mut self, key: &Key, options: &DeleteOptions) -> Result<()> {
        if let Some(wanted) = &options.if_match {
            let failure = Failure { operation: Operation::DeleteObject, key };
            self.check_mode(&PutMode::Match(wanted.clone()), failure)?;
        }
        self.objects.remove(key);
        Ok(())
    }

    pub(super) fn copy(
        &mut self,
        from: &Key,
        to: &Key,
        options: CopyOptions,
        now: SystemTime,
    ) -> Result<PutOutcome> {
        let on_target = Failure { operation: Operation::CopyObject, key: to };
        on_target.check_written_key()?;
        let on_source = ReadConditions { if_match: options.source_if_match, if_none_match: None };
        let source = self.read(from, &on_source, Operation::CopyObject)?;
        Failure { operation: Operation::CopyObject, key: from }.check_size(source.payload.len())?;
        self.check_mode(&options.mode, on_target)?;
        let payload = source.payload.clone();
        // As on S3, where the id is metadata: whoever keeps the source's keeps its id too.
        let (attributes, operation_id) = match options.attributes {
            Some(attributes) => (attributes, OperationId::random()),
            None => (source.attributes.clone(), source.operation_id),
        };
        Ok(self.store(to, payload, attributes, operation_id, now))
    }

    pub(super) fn create_upload(
        &mut self,
        key: &Key,
        options: MultipartOptions,
        now: SystemTime,
    ) -> Result<UploadId> {
        Failure { operation: Operation::CreateMultipartUpload, key }.check_written_key()?;
        let upload_id = UploadId::new(&self.new_name());
        let operation_id = options.operation_id.unwrap_or_else(OperationId::random);
        let upload = Upload::new(key.clone(), options.attributes, operation_id, now);
        self.uploads.insert(upload_id.clone(), upload);
        Ok(upload_id)
    }

    /// Uploads by key, then by id. A token is the id, 32 digits, and then the key of the last one shown.
    pub(super) fn list_uploads_page(
        &self,
        options: &ListUploadsOptions,
        page: Option<&PageToken>,
        now: SystemTime,
    ) -> Result<UploadsPage> {
        let page_size = check_page_size(options.page_size, Operation::ListMultipartUploads)?;
        let after = match page {
            None => None,
            Some(token) => {
                let last = token.as_str().split_at_checked(32).map(|(id, key)| (key, id));
                let own = |(key, id): &(&str, &str)| {
                    key.starts_with(&options.prefix) && !key.is_empty() && is_hex(id)
                };
                Some(last.filter(own).ok_or_else(|| foreign_token(Operation::ListMultipartUploads))?)
            }
        };
        let mut uploads: Vec<_> = self
            .uploads
            .iter()
            .map(|(id, upload)| ((upload.key.as_str(), id.as_str()), id, upload))
            .filter(|(place, ..)| {
                place.0.starts_with(&options.prefix) && after.is_none_or(|after| *place > after)
            })
            .collect();
        uploads.sort_by_key(|(place, ..)| *place);
        let more = uploads.len() > page_size;
        uploads.truncate(page_size);
        let next =
            uploads.last().filter(|_| more).map(|((key, id), ..)| PageToken::new(format!("{id}{key}")));
        let info = |(_, id, upload): (_, &UploadId, &Upload)| {
            UploadInfo::new(upload.key.clone(), id.clone(), Some(upload.initiated))
        };
        Ok(UploadsPage::new(uploads.into_iter().map(info).collect(), next).with_as_of(Some(now)))
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}
