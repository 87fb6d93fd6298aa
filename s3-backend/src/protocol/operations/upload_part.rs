//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html>

use super::{Action, Effect, Key, Operation, Place, Refusal, Request, ResponseHead, Result, kept, outcome};
use crate::protocol::checksum::{CRC64NVME_HEADER, Crc64Nvme};
use crate::protocol::memory::Need;
use crate::protocol::request::Method;
use object_storage::{Part, PartNumber, Payload, UploadId};

pub(crate) struct UploadPart<'a> {
    pub(crate) key: &'a Key,
    pub(crate) upload_id: &'a UploadId,
    pub(crate) number: PartNumber,
    pub(crate) payload: Payload,
    /// That of the payload, computed once for all attempts; `None`: it is neither sent nor expected.
    pub(crate) checksum: Option<Crc64Nvme>,
    /// The value of `content-md5`, which every upload takes, where no checksum can be sent.
    pub(crate) md5: Option<String>,
}

/// A part that was taken.
#[derive(Debug)]
pub(crate) struct SentPart {
    pub(crate) part: Part,
    /// An earlier attempt was sent too and had no answer: it may land later.
    pub(crate) maybe_again: bool,
}

impl Action for UploadPart<'_> {
    type Output = SentPart;
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
            .header_if("content-md5", self.md5.clone())
            .header_if(CRC64NVME_HEADER, self.checksum)
            .payload(self.payload.clone()))
    }

    fn need(&self) -> Need {
        Need::Bytes(self.payload.len())
    }

    fn read(&self, _: &Place, head: &ResponseHead, _: &[u8]) -> Result<SentPart, Refusal> {
        kept(head, self.checksum)?;
        let part = Part::new(self.number, outcome(head)?.etag, self.payload.len());
        Ok(SentPart { part, maybe_again: false })
    }

    fn doubt(&self, sent: SentPart) -> SentPart {
        SentPart { maybe_again: true, ..sent }
    }
}
