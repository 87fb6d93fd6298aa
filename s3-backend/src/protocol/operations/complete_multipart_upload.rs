//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>

use std::fmt::Write as _;

use super::{
    Action, AnswerBody, Condition, Effect, Key, Operation, Place, PutOutcome, Refusal, Request, ResponseHead,
    Result, condition_of, conditions, root, with_version,
};
use crate::protocol::request::Method;
use crate::protocol::xml::escape;
use object_storage::{CompleteOptions, ETag, Part, Payload, UploadId};

pub(crate) struct CompleteMultipartUpload<'a> {
    pub(crate) key: &'a Key,
    pub(crate) upload_id: &'a UploadId,
    /// At least one, ascending by number.
    pub(crate) parts: &'a [Part],
    pub(crate) options: CompleteOptions,
}

impl Action for CompleteMultipartUpload<'_> {
    type Output = PutOutcome;
    const OPERATION: Operation = Operation::CompleteMultipartUpload;

    fn key(&self) -> Option<&Key> {
        Some(self.key)
    }

    fn effect(&self) -> Effect {
        // Also when unconditional: its own success makes the upload vanish, and a second attempt would be told
        // that there is none.
        Effect::Conditional
    }

    fn condition(&self) -> Condition {
        condition_of(&self.options.mode)
    }

    fn request(&self, place: &Place) -> Result<Request> {
        let mut body =
            String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        for part in self.parts {
            let etag = escape(&part.etag.to_header());
            write!(body, "<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", part.number)
                .expect("a String takes everything");
        }
        body.push_str("</CompleteMultipartUpload>");
        let request = place
            .object(Self::OPERATION, self.key, Method::Post)?
            .query("uploadId", self.upload_id.as_str())
            .header("content-type", "application/xml")
            .payload(Payload::from(body));
        Ok(conditions(request, &self.options.mode))
    }

    fn body(&self) -> AnswerBody {
        AnswerBody::Xml
    }

    fn read(&self, _: &Place, head: &ResponseHead, body: &[u8]) -> Result<PutOutcome, Refusal> {
        // S3 may answer 200 before it has joined the parts, and put a later failure into the body. Look inside
        // before believing the status.
        let root = root(head, body, "CompleteMultipartUploadResult", self.condition())?;
        let etag = root.text_of("ETag").and_then(|text| ETag::from_header(text).ok());
        let etag = etag.ok_or_else(|| Refusal::violation(head, "the answer to a write names no ETag"))?;
        Ok(with_version(PutOutcome::new(etag), head))
    }
}

#[cfg(test)]
mod tests {
    use object_storage::{ErrorKind, PartNumber, PutMode};

    use super::super::testing::{head, key, place};
    use super::*;
    use crate::protocol::error::Class;

    #[test]
    fn a_200_is_believed_only_for_what_it_says_inside() {
        let key = key("k");
        let upload_id = UploadId::new("u&1");
        let parts = [Part::new(PartNumber::FIRST, ETag::parse("t").expect("a tag"), 1)];
        let options = PutMode::Create.into();
        let complete = CompleteMultipartUpload { key: &key, upload_id: &upload_id, parts: &parts, options };
        let read = |body: &str| complete.read(&place(""), &head(200, &[]), body.as_bytes());

        let good =
            read("  <CompleteMultipartUploadResult><ETag>\"x-1\"</ETag></CompleteMultipartUploadResult>");
        assert_eq!(good.expect("applied").etag.as_str(), "x-1");
        let late = read("<Error><Code>InternalError</Code></Error>").expect_err("late");
        assert_eq!(late.class, Class::Transient);
        let refused = read("<Error><Code>PreconditionFailed</Code></Error>").expect_err("late");
        assert_eq!((refused.kind, refused.class), (ErrorKind::AlreadyExists, Class::Definite));
        for cut in ["", "<CompleteMultipartUploadResult><ETag>\"x", "<CompleteMultipartUploadResult/>"] {
            assert_eq!(read(cut).expect_err("cut").class, Class::Violation, "{cut:?}");
        }

        let request = complete.request(&place("")).expect("sendable");
        let body = String::from_utf8(request.payload.to_bytes().to_vec()).expect("XML");
        assert!(body.contains("<PartNumber>1</PartNumber><ETag>&quot;t&quot;</ETag>"), "{body}");
        assert_eq!(request.query, [("uploadId", "u&1".to_owned())]);
    }
}
