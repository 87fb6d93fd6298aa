//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html>

use super::{
    Action, AnswerBody, Condition, Effect, Key, Operation, Place, Refusal, Request, ResponseHead, Result,
    attribute_headers, root, stamp, upload_id,
};
use crate::protocol::exchange::Trace;
use crate::protocol::request::Method;
use object_storage::{MultipartOptions, OperationId, UploadId};

pub(crate) struct CreateMultipartUpload<'a> {
    pub(crate) key: &'a Key,
    pub(crate) options: MultipartOptions,
    /// Whether parts and object are to have checksums.
    pub(crate) checksums: bool,
    /// What the object will be stamped with.
    pub(crate) stamp: OperationId,
}

/// An upload that was begun.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) id: UploadId,
    /// An earlier attempt may have begun another one, whose id nobody knows.
    pub(crate) maybe_another: bool,
}

impl Action for CreateMultipartUpload<'_> {
    type Output = Begun;
    const OPERATION: Operation = Operation::CreateMultipartUpload;

    fn key(&self) -> Option<&Key> {
        Some(self.key)
    }

    fn effect(&self) -> Effect {
        // A lost answer leaves an empty upload behind, which no reader sees.
        Effect::Repeatable
    }

    fn trace(&self) -> Trace {
        Trace { id: Some(self.stamp), ..Trace::default() }
    }

    fn request(&self, place: &Place) -> Result<Request> {
        let request = place.written(Self::OPERATION, self.key, Method::Post)?.query("uploads", "");
        let request = attribute_headers(stamp(request, Some(self.stamp)), &self.options.attributes);
        if !self.checksums {
            return Ok(request);
        }
        // Of all bytes, not of the checksums of the parts: so a reader can compare.
        Ok(request
            .header("x-amz-checksum-algorithm", "CRC64NVME")
            .header("x-amz-checksum-type", "FULL_OBJECT"))
    }

    fn body(&self) -> AnswerBody {
        AnswerBody::Xml
    }

    fn read(&self, _: &Place, head: &ResponseHead, body: &[u8]) -> Result<Begun, Refusal> {
        let root = root(head, body, "InitiateMultipartUploadResult", Condition::Other)?;
        let id = upload_id(root.text_of("UploadId"))
            .ok_or_else(|| Refusal::violation(head, "the answer names no upload id"))?;
        Ok(Begun { id, maybe_another: false })
    }

    fn doubt(&self, output: Begun) -> Begun {
        Begun { maybe_another: true, ..output }
    }
}
