//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html>

use super::{Action, AnswerBody, Effect, Key, Operation, Place, Refusal, Request, ResponseHead, Result};
use crate::protocol::request::Method;
use object_storage::UploadId;

pub(crate) struct AbortMultipartUpload<'a> {
    pub(crate) key: &'a Key,
    pub(crate) upload_id: &'a UploadId,
}

impl Action for AbortMultipartUpload<'_> {
    type Output = ();
    const OPERATION: Operation = Operation::AbortMultipartUpload;

    fn key(&self) -> Option<&Key> {
        Some(self.key)
    }

    fn effect(&self) -> Effect {
        Effect::Repeatable
    }

    fn request(&self, place: &Place) -> Result<Request> {
        let request = place.object(Self::OPERATION, self.key, Method::Delete)?;
        Ok(request.query("uploadId", self.upload_id.as_str()))
    }

    fn body(&self) -> AnswerBody {
        AnswerBody::Empty
    }

    fn read(&self, _: &Place, _: &ResponseHead, _: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    fn excuse(&self, refusal: Refusal) -> Result<(), Refusal> {
        if refusal.answer.code == "NoSuchUpload" { Ok(()) } else { Err(refusal) }
    }
}
