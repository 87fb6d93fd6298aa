//! [`FaultyUpload`]: an upload in parts, with faults.

use std::fmt;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

use crate::error::{Error, Operation, Result};
use crate::key::Key;
use crate::object::PutOutcome;
use crate::operation_id::OperationId;
use crate::options::{CompleteOptions, PutMode};
use crate::payload::Payload;
use crate::storage::{MultipartUpload, PageToken, Part, PartNumber, PartsPage, UploadId};

use super::faults::Call;
use super::trouble::{Trouble, Turn};

pub(super) struct FaultyUpload {
    inner: Rc<dyn MultipartUpload>,
    trouble: Rc<Trouble>,
    /// What the completed object bears; `None` when the upload was begun elsewhere.
    id: Option<OperationId>,
    /// Of the process that it belongs to.
    life: u64,
}

impl FaultyUpload {
    pub(super) fn new(
        inner: Rc<dyn MultipartUpload>,
        trouble: Rc<Trouble>,
        id: Option<OperationId>,
    ) -> FaultyUpload {
        let life = trouble.life();
        FaultyUpload { inner, trouble, id, life }
    }

    async fn begin(&self, operation: Operation, conditional: bool) -> Turn<'_> {
        self.trouble.begin(Call { operation, conditional, whole: false }, Some(self.key())).await
    }
}

impl fmt::Debug for FaultyUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyUpload({:?})", self.inner)
    }
}

impl MultipartUpload for FaultyUpload {
    fn key(&self) -> &Key {
        self.inner.key()
    }

    fn upload_id(&self) -> &UploadId {
        self.inner.upload_id()
    }

    fn upload_part(&self, number: PartNumber, payload: Payload) -> LocalBoxFuture<'_, Result<Part>> {
        Box::pin(async move {
            let turn = self.begin(Operation::UploadPart, false).await;
            turn.write(None, self.inner.upload_part(number, payload), None).await
        })
    }

    fn complete<'a>(
        &'a self,
        parts: &'a [Part],
        options: CompleteOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move {
            let conditional = options.mode != PutMode::Overwrite;
            let turn = self.begin(Operation::CompleteMultipartUpload, conditional).await;
            let late = turn.late(|| {
                let (inner, parts, options) = (Rc::clone(&self.inner), parts.to_vec(), options.clone());
                Box::pin(async move { drop(inner.complete(&parts, options).await) })
            });
            let completed = turn.write(self.id, self.inner.complete(parts, options), late).await;
            if completed.as_ref().is_err_and(Error::is_indeterminate) && turn.decision.leaves_doubt() {
                // Its parts may be an object, so dropping this handle must not abort it.
                self.trouble.keep(Rc::clone(&self.inner));
                self.trouble.doubt_upload();
            }
            completed
        })
    }

    fn abort(&self) -> LocalBoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let turn = self.begin(Operation::AbortMultipartUpload, false).await;
            let late = turn.late(|| {
                let inner = Rc::clone(&self.inner);
                Box::pin(async move { drop(inner.abort().await) })
            });
            turn.write(None, self.inner.abort(), late).await
        })
    }

    fn list_parts_page<'a>(&'a self, page: Option<&'a PageToken>) -> LocalBoxFuture<'a, Result<PartsPage>> {
        Box::pin(async move {
            let turn = self.begin(Operation::ListParts, false).await;
            turn.read(self.inner.list_parts_page(page)).await
        })
    }

    fn abort_on_drop(&self) -> bool {
        self.inner.abort_on_drop()
    }
}

impl Drop for FaultyUpload {
    fn drop(&mut self) {
        // Nobody aborts anything in a process that has died.
        if self.life != self.trouble.life() {
            self.trouble.keep(Rc::clone(&self.inner));
        }
    }
}
