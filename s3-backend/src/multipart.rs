//! The handle of one multipart upload.

use std::rc::Rc;

use object_storage::limits::PART_BYTES_MAX;
use object_storage::{
    CompleteOptions, Error, ErrorKind, Key, LocalBoxFuture, MultipartUpload, Operation, OperationId,
    PageToken, Part, PartNumber, PartsPage, Payload, PutMode, PutOutcome, Result, UploadId,
};

use crate::driver::Driver;
use crate::protocol::operations::{AbortMultipartUpload, CompleteMultipartUpload, ListParts, UploadPart};

#[derive(Debug)]
pub(crate) struct S3MultipartUpload {
    pub(crate) driver: Rc<Driver>,
    pub(crate) key: Key,
    pub(crate) upload_id: UploadId,
    /// The id that the upload was begun with; `None` when that was done elsewhere.
    pub(crate) operation_id: Option<OperationId>,
    /// Whether the store honours conditions on completion.
    pub(crate) conditional: bool,
}

impl S3MultipartUpload {
    fn refuse(&self, operation: Operation, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, operation, message).with_key(&self.key)
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
        &self.key
    }

    fn upload_id(&self) -> &UploadId {
        &self.upload_id
    }

    fn upload_part(&self, number: PartNumber, payload: Payload) -> LocalBoxFuture<'_, Result<Part>> {
        Box::pin(async move {
            if payload.len() > PART_BYTES_MAX {
                let message = "a part holds at most 5 GiB";
                return Err(self.refuse(Operation::UploadPart, ErrorKind::InvalidInput, message));
            }
            self.driver.run(&UploadPart { key: &self.key, upload_id: &self.upload_id, number, payload }).await
        })
    }

    fn complete<'a>(
        &'a self,
        parts: &'a [Part],
        options: CompleteOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move {
            self.check(parts, &options.mode)?;
            let (key, upload_id, stamp) = (&self.key, &self.upload_id, self.operation_id);
            let action = CompleteMultipartUpload { key, upload_id, parts, options, stamp };
            self.driver.run(&action).await
        })
    }

    fn abort(&self) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.driver.run(&AbortMultipartUpload { key: &self.key, upload_id: &self.upload_id }).await
        })
    }

    fn list_parts_page<'a>(&'a self, page: Option<&'a PageToken>) -> LocalBoxFuture<'a, Result<PartsPage>> {
        Box::pin(async move {
            self.driver.run(&ListParts { key: &self.key, upload_id: &self.upload_id, page }).await
        })
    }
}
