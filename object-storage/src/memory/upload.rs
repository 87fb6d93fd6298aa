//! [`InMemoryUpload`]: an upload in parts, and how the parts become an object.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::LocalBoxFuture;

use crate::attributes::Attributes;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::Key;
use crate::limits::{OBJECT_BYTES_MAX, PART_BYTES_MAX, PART_BYTES_MIN};
use crate::listing::foreign_token;
use crate::object::{ETag, PutOutcome};
use crate::operation_id::OperationId;
use crate::options::CompleteOptions;
use crate::payload::Payload;
use crate::storage::{MultipartUpload, PageToken, Part, PartNumber, PartsPage, UploadId};

use super::state::{Failure, State};
use super::{Client, InMemoryStorage, now};

/// The parts of a page of [`MultipartUpload::list_parts_page`]: as many as S3 shows.
const PARTS_PAGE_MAX: usize = 1000;

/// What the store knows of an upload that was neither completed nor aborted.
pub(super) struct Upload {
    pub(super) key: Key,
    attributes: Attributes,
    operation_id: OperationId,
    pub(super) initiated: SystemTime,
    parts: BTreeMap<PartNumber, StoredPart>,
    /// Whose handle it is tied to.
    tied_to: Option<Arc<Client>>,
}

struct StoredPart {
    etag: ETag,
    payload: Payload,
}

impl Upload {
    pub(super) fn new(
        key: Key,
        attributes: Attributes,
        operation_id: OperationId,
        initiated: SystemTime,
    ) -> Upload {
        Upload { key, attributes, operation_id, initiated, parts: BTreeMap::new(), tied_to: None }
    }

    pub(super) fn is_tied_to(&self, client: &Arc<Client>) -> bool {
        self.tied_to.as_ref().is_some_and(|tied_to| Arc::ptr_eq(tied_to, client))
    }

    /// The bytes of these parts, one after the other, if they may be joined so.
    fn join(&self, parts: &[Part], failure: Failure<'_>) -> Result<Payload> {
        let refuse = |message: String| Err(failure.error(ErrorKind::InvalidInput, message));
        let Some(last) = parts.last() else { return refuse("an object has at least one part".into()) };
        if !parts.is_sorted_by(|a, b| a.number < b.number) {
            return refuse("the parts do not ascend by number".into());
        }
        let mut joined = Payload::new();
        for part in parts {
            match self.parts.get(&part.number) {
                None => return refuse(format!("part {} was not uploaded", part.number)),
                Some(stored) if stored.etag != part.etag => {
                    return refuse(format!("part {} was replaced since", part.number));
                }
                Some(stored) if stored.payload.len() < PART_BYTES_MIN && part.number != last.number => {
                    let len = stored.payload.len();
                    return refuse(format!("part {} has {len} bytes, below {PART_BYTES_MIN}", part.number));
                }
                Some(stored) => stored.payload.chunks().iter().for_each(|chunk| joined.push(chunk.clone())),
            }
        }
        if joined.len() > OBJECT_BYTES_MAX {
            return refuse(format!("{} bytes, an object has at most {OBJECT_BYTES_MAX}", joined.len()));
        }
        Ok(joined)
    }
}

/// The handle of an upload. Any number may exist for one.
pub(super) struct InMemoryUpload {
    storage: InMemoryStorage,
    key: Key,
    upload_id: UploadId,
    /// Whether the upload is aborted when this is dropped.
    is_tied: Cell<bool>,
}

impl InMemoryUpload {
    pub(super) fn new(storage: InMemoryStorage, key: Key, upload_id: UploadId) -> InMemoryUpload {
        InMemoryUpload { storage, key, upload_id, is_tied: Cell::new(false) }
    }

    fn failure(&self, operation: Operation) -> Failure<'_> {
        Failure { operation, key: &self.key }
    }

    fn gone(&self, operation: Operation) -> Error {
        self.failure(operation)
            .error(ErrorKind::NotFound, "the upload was completed or aborted, or never begun")
    }

    /// The upload in the state; an id under another key names nothing.
    fn find<'s>(&self, state: &'s State, operation: Operation) -> Result<&'s Upload> {
        let upload = state.uploads.get(&self.upload_id).filter(|upload| upload.key == self.key);
        upload.ok_or_else(|| self.gone(operation))
    }

    fn store_part(&self, number: PartNumber, payload: Payload) -> Result<Part> {
        let operation = Operation::UploadPart;
        if payload.len() > PART_BYTES_MAX {
            let message = format!("{} bytes, a part has at most {PART_BYTES_MAX}", payload.len());
            return Err(self.failure(operation).error(ErrorKind::InvalidInput, message));
        }
        let mut state = self.storage.open(operation)?;
        self.find(&state, operation)?;
        let part = Part::new(number, state.new_etag(), payload.len());
        let upload = state.uploads.get_mut(&self.upload_id).expect("found above, under the same lock");
        upload.parts.insert(number, StoredPart { etag: part.etag.clone(), payload });
        Ok(part)
    }

    fn join(&self, parts: &[Part], options: &CompleteOptions) -> Result<PutOutcome> {
        let failure = self.failure(Operation::CompleteMultipartUpload);
        let mut state = self.storage.open(failure.operation)?;
        let joined = self.find(&state, failure.operation)?.join(parts, failure)?;
        let refused = state.check_mode(&options.mode, failure).err();
        let operation_id = state.uploads[&self.upload_id].operation_id;
        // A re-drive of what an earlier upload has stored is applied.
        let before = refused.as_ref().and_then(|_| state.applied(&self.key, operation_id));
        if let (Some(refused), None) = (refused, &before) {
            return Err(refused);
        }
        let upload = state.uploads.remove(&self.upload_id).expect("found above, under the same lock");
        if let Some(outcome) = before {
            return Ok(outcome);
        }
        Ok(state.store(&self.key, joined, upload.attributes, upload.operation_id, now()))
    }

    fn remove(&self) {
        let mut state = self.storage.state();
        if self.find(&state, Operation::AbortMultipartUpload).is_ok() {
            state.uploads.remove(&self.upload_id);
        }
    }

    fn list_parts(&self, page: Option<&PageToken>) -> Result<PartsPage> {
        let operation = Operation::ListParts;
        let after = match page {
            None => None,
            Some(token) => {
                let number = token.as_str().parse().ok().and_then(PartNumber::new);
                Some(number.ok_or_else(|| foreign_token(operation))?)
            }
        };
        let state = self.storage.state();
        let upload = self.find(&state, operation)?;
        let mut rest = upload.parts.iter().filter(|(number, _)| after.is_none_or(|after| **number > after));
        let part = |(number, stored): (&PartNumber, &StoredPart)| {
            Part::new(*number, stored.etag.clone(), stored.payload.len())
        };
        let parts: Vec<Part> = rest.by_ref().take(PARTS_PAGE_MAX).map(part).collect();
        let more = rest.next().is_some();
        let next = parts.last().filter(|_| more).map(|last| PageToken::new(last.number.to_string()));
        Ok(PartsPage::new(parts, next))
    }
}

impl fmt::Debug for InMemoryUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InMemoryUpload({:?}, {})", self.key, self.upload_id)
    }
}

impl MultipartUpload for InMemoryUpload {
    fn key(&self) -> &Key {
        &self.key
    }

    fn upload_id(&self) -> &UploadId {
        &self.upload_id
    }

    fn upload_part(&self, number: PartNumber, payload: Payload) -> LocalBoxFuture<'_, Result<Part>> {
        Box::pin(async move { self.store_part(number, payload) })
    }

    fn complete<'a>(
        &'a self,
        parts: &'a [Part],
        options: CompleteOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move { self.join(parts, &options) })
    }

    fn abort(&self) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.remove();
            Ok(())
        })
    }

    fn list_parts_page<'a>(&'a self, page: Option<&'a PageToken>) -> LocalBoxFuture<'a, Result<PartsPage>> {
        Box::pin(async move { self.list_parts(page) })
    }

    fn abort_on_drop(&self) -> bool {
        self.is_tied.set(true);
        if let Some(upload) = self.storage.state().uploads.get_mut(&self.upload_id)
            && upload.key == self.key
        {
            upload.tied_to = Some(Arc::clone(&self.storage.client));
        }
        true
    }
}

impl Drop for InMemoryUpload {
    fn drop(&mut self) {
        if self.is_tied.get() {
            self.remove();
        }
    }
}
