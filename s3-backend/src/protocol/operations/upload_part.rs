//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html>

use super::{Action, Effect, Key, Operation, Place, Refusal, Request, ResponseHead, Result, outcome};
use crate::protocol::request::Method;
use object_storage::{Part, PartNumber, Payload, UploadId};

pub(crate) struct UploadPart<'a> {
    pub(crate) key: &'a Key,
    pub(crate) upload_id: &'a UploadId,
    pub(crate) number: PartNumber,
    pub(crate) payload: Payload,
}

impl Action for UploadPart<'_> {
    type Output = Part;
    const OPERATION: Operation = Operation::UploadPart;

    fn key(&self) -> Option<&Key> {
        Some(self.key)
    }

    fn effect(&self) -> Effect {
        Effect::Repeatable
    }

    fn request(&self, place: &Place) -> Result<Request> {
        let request = place.object(Self::OPERATION, self.key, Method::Put)?;
        Ok(request
            .query("partNumber", self.number.to_string())
            .query("uploadId", self.upload_id.as_str())
            .payload(self.payload.clone()))
    }

    fn read(&self, _: &Place, head: &ResponseHead, _: &[u8]) -> Result<Part, Refusal> {
        Ok(Part::new(self.number, outcome(head)?.etag, self.payload.len()))
    }
}
