//! The handle of one multipart upload, which remembers the checksums of its parts.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use object_storage::limits::{LIST_PAGE_MAX, PART_BYTES_MAX};
use object_storage::{
    CompleteOptions, ETag, Error, ErrorKind, Key, LocalBoxFuture, MultipartUpload, Operation, OperationId,
    PageToken, Part, PartNumber, PartsPage, Payload, PutMode, PutOutcome, Result, UploadId,
};

use crate::driver::Driver;
use crate::protocol::checksum::{Crc64Nvme, content_md5};
use crate::protocol::operations::{
    AbortMultipartUpload, CompleteMultipartUpload, ListParts, PartsDigest, UploadPart,
};
use crate::reaper::{Reaper, Stage, Upload};

#[derive(Debug)]
pub(crate) struct S3MultipartUpload {
    upload: Rc<Upload>,
    reaper: Rc<Reaper>,
    /// The id that the upload was begun with; `None` when that was done elsewhere.
    operation_id: Option<OperationId>,
    /// Whether the caller chose it.
    given: bool,
    /// Whether the store honours conditions on completion.
    conditional: bool,
    /// Whether the upload was begun with checksums of the kind that we send. S3 refuses them in any other upload; of
    /// one that somebody resumes it is known once its parts were listed, and until then their MD5 is sent instead.
    checksums: Cell<bool>,
    /// What is known of the parts: from sending them, or from listing them. At most 10,000.
    parts: RefCell<BTreeMap<PartNumber, Sent>>,
}

/// A part as the store has it.
#[derive(Debug)]
struct Sent {
    etag: ETag,
    size: u64,
    checksum: Crc64Nvme,
}

impl S3MultipartUpload {
    pub(crate) fn new(
        upload: Rc<Upload>,
        reaper: Rc<Reaper>,
        operation_id: Option<OperationId>,
        given: bool,
        conditional: bool,
        checksums: bool,
    ) -> S3MultipartUpload {
        let (checksums, parts) = (Cell::new(checksums), RefCell::default());
        S3MultipartUpload { upload, reaper, operation_id, given, conditional, checksums, parts }
    }

    fn driver(&self) -> &Driver {
        &self.upload.driver
    }

    fn remember(&self, part: &Part, checksum: Crc64Nvme) {
        let sent = Sent { etag: part.etag.clone(), size: part.size, checksum };
        self.parts.borrow_mut().insert(part.number, sent);
    }

    /// The checksum of this very part, if it is known.
    fn checksum_of(&self, part: &Part) -> Option<Crc64Nvme> {
        let parts = self.parts.borrow();
        let sent = parts.get(&part.number)?;
        (sent.etag == part.etag && sent.size == part.size).then_some(sent.checksum)
    }

    fn refuse(&self, operation: Operation, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, operation, message).with_key(&self.upload.key)
    }

    /// Whether the store refuses this because it was shut down, and nothing is left of the upload: its shutdown has
    /// aborted it, and who still cleans up after it may be told so.
    fn was_seen_to(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::ShutDown && self.upload.stage() == Stage::Over
    }

    fn check(&self, parts: &[Part], mode: &PutMode) -> Result<()> {
        let operation = Operation::CompleteMultipartUpload;
        if parts.is_empty() {
            return Err(self.refuse(operation, ErrorKind::InvalidInput, "there are no parts to join"));
        }
        if !parts.windows(2).all(|pair| pair[0].number < pair[1].number) {
            return Err(self.refuse(operation, ErrorKind::InvalidInput, "the parts do not ascend by number"));
        }
        if *mode != PutMode::Overwrite && !self.conditional {
            let message =
                "this endpoint is not known to honour conditions on completion (`conditional_complete`)";
            return Err(self.refuse(operation, ErrorKind::Unsupported, message));
        }
        Ok(())
    }
}

impl MultipartUpload for S3MultipartUpload {
    fn key(&self) -> &Key {
        &self.upload.key
    }

    fn upload_id(&self) -> &UploadId {
        &self.upload.id
    }

    fn upload_part(&self, number: PartNumber, payload: Payload) -> LocalBoxFuture<'_, Result<Part>> {
        Box::pin(async move {
            if payload.len() > PART_BYTES_MAX {
                let message = "a part holds at most 5 GiB";
                return Err(self.refuse(Operation::UploadPart, ErrorKind::InvalidInput, message));
            }
            let checksum = self.checksums.get().then(|| Crc64Nvme::of(&payload));
            let (key, upload_id) = (&self.upload.key, &self.upload.id);
            let without = checksum.is_none() && self.driver().sends_checksums();
            let md5 = without.then(|| content_md5(&payload));
            let part = UploadPart { key, upload_id, number, payload, checksum, md5 };
            let sending = self.upload.sending_part();
            let sent = self.driver().run(&part).await;
            if !sent.as_ref().map_or_else(Error::is_indeterminate, |sent| sent.maybe_again) {
                sending.settled();
            }
            let part = sent?.part;
            if let Some(checksum) = checksum {
                self.remember(&part, checksum);
            }
            Ok(part)
        })
    }

    fn complete<'a>(
        &'a self,
        parts: &'a [Part],
        options: CompleteOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move {
            self.check(parts, &options.mode)?;
            let digest = self.driver().sends_checksums();
            let digest = digest.then(|| PartsDigest::new(parts, |part| self.checksum_of(part)));
            let (key, upload_id, stamp) = (&self.upload.key, &self.upload.id, self.operation_id);
            let driven_before = self.given;
            let completing = self.reaper.completing(&self.upload);
            let sent = Some(completing.sent());
            let complete = CompleteMultipartUpload {
                key,
                upload_id,
                parts,
                options,
                digest,
                stamp,
                driven_before,
                sent,
            };
            let completed = self.driver().run(&complete).await;
            match &completed {
                Ok(_) => completing.completed(),
                Err(error) if error.is_indeterminate() => drop(completing),
                Err(_) => completing.refused(),
            }
            completed
        })
    }

    fn abort(&self) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let (key, upload_id) = (&self.upload.key, &self.upload.id);
            match self.driver().run(&AbortMultipartUpload { key, upload_id }).await {
                Err(error) if self.was_seen_to(&error) => return Ok(()),
                ended => ended?,
            }
            // Else there may be parts of it again.
            if self.upload.is_settled() {
                self.reaper.over(&self.upload, true);
            }
            Ok(())
        })
    }

    fn list_parts_page<'a>(&'a self, page: Option<&'a PageToken>) -> LocalBoxFuture<'a, Result<PartsPage>> {
        Box::pin(async move {
            let (key, upload_id) = (&self.upload.key, &self.upload.id);
            let list = ListParts { key, upload_id, page, parts_max: LIST_PAGE_MAX };
            let listed = match self.driver().run(&list).await {
                Err(error) if self.was_seen_to(&error) => {
                    return Err(self.refuse(Operation::ListParts, ErrorKind::NotFound, "the upload is over"));
                }
                listed => listed?,
            };
            if listed.takes_crc64nvme && self.driver().sends_checksums() {
                self.checksums.set(true);
                for (part, checksum) in listed.page.parts.iter().zip(listed.checksums) {
                    // What we know from sending is worth more than what we are told.
                    if let (Some(checksum), None) = (checksum, self.checksum_of(part)) {
                        self.remember(part, checksum);
                    }
                }
            }
            Ok(listed.page)
        })
    }

    fn abort_on_drop(&self) -> bool {
        self.reaper.tie(&self.upload);
        true
    }
}

impl Drop for S3MultipartUpload {
    fn drop(&mut self) {
        self.reaper.dropped(&self.upload);
    }
}
