//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>

use std::fmt::Write as _;

use super::{
    Action, AnswerBody, Condition, Effect, Key, Operation, Place, PutOutcome, Refusal, Request, ResponseHead,
    Result, condition_of, conditions, root, trace_of, with_version,
};
use crate::protocol::exchange::{Proof, Trace};
use crate::protocol::request::Method;
use crate::protocol::xml::escape;
use md5::{Digest as _, Md5};
use object_storage::{CompleteOptions, ETag, OperationId, Part, Payload, PutMode, UploadId};

pub(crate) struct CompleteMultipartUpload<'a> {
    pub(crate) key: &'a Key,
    pub(crate) upload_id: &'a UploadId,
    /// At least one, ascending by number.
    pub(crate) parts: &'a [Part],
    pub(crate) options: CompleteOptions,
    /// What the upload was stamped with when it was begun; `None` when that was done elsewhere.
    pub(crate) stamp: Option<OperationId>,
}

/// The tag that AWS gives to what is joined from these parts: the MD5 of their MD5s, and their number. `None` when a
/// part's tag is no MD5. (Where S3 encrypts with a key of its own the tags are no MD5s although they look alike; then
/// the object's does not match either, and proves nothing.)
fn joined_tag(parts: &[Part]) -> Option<ETag> {
    let mut md5s = Vec::with_capacity(parts.len() * 16);
    for part in parts {
        let digits = part.etag.as_str();
        let hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let md5 = u128::from_str_radix(digits, 16).ok().filter(|_| hex)?;
        md5s.extend_from_slice(&md5.to_be_bytes());
    }
    let mut tag = String::with_capacity(38);
    for byte in Md5::digest(&md5s) {
        write!(tag, "{byte:02x}").expect("a String takes everything");
    }
    write!(tag, "-{}", parts.len()).expect("a String takes everything");
    ETag::parse(&tag).ok()
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

    fn trace(&self) -> Trace {
        let mode = &self.options.mode;
        let proof = self.stamp.map(Proof::Id).or_else(|| joined_tag(self.parts).map(Proof::Tag));
        Trace {
            write_once: self.options.write_once && *mode == PutMode::Create,
            ..trace_of(mode, self.stamp, proof)
        }
    }

    fn found(&self, outcome: PutOutcome) -> Option<PutOutcome> {
        Some(outcome)
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
    use object_storage::{ErrorKind, PartNumber};

    use super::super::testing::{head, key, place};
    use super::*;
    use crate::protocol::error::Class;

    #[test]
    fn the_tag_of_what_is_joined_is_computed_as_aws_does() {
        let part = |tag: &str| Part::new(PartNumber::FIRST, ETag::parse(tag).expect("a tag"), 1);
        // Of the empty text and of "a"; then `printf $BOTH | xxd -r -p | md5sum`.
        let parts = [part("d41d8cd98f00b204e9800998ecf8427e"), part("0cc175b9c0f1b6a831c399e269772661")];
        let tag = joined_tag(&parts).expect("both are MD5s");
        assert_eq!(tag.as_str(), "68083ea43d0307eecfa2b4749f19df15-2");
        assert_eq!(joined_tag(&[part("new")]), None);
        assert_eq!(joined_tag(&[part(&format!("+{}", "0".repeat(31)))]), None);
    }

    #[test]
    fn a_200_is_believed_only_for_what_it_says_inside() {
        let key = key("k");
        let upload_id = UploadId::new("u&1");
        let parts = [Part::new(PartNumber::FIRST, ETag::parse("t").expect("a tag"), 1)];
        let options = PutMode::Create.into();
        let complete =
            CompleteMultipartUpload { key: &key, upload_id: &upload_id, parts: &parts, options, stamp: None };
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
