//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>

use std::fmt::Write as _;

use super::{
    Action, AnswerBody, Condition, Effect, Key, Operation, Place, PutOutcome, Refusal, Request, ResponseHead,
    Result, condition_of, conditions, kept_as, root, with_version,
};
use crate::protocol::checksum::{CRC64NVME_HEADER, Crc64Nvme, Joined};
use crate::protocol::request::Method;
use crate::protocol::xml::escape;
use object_storage::{CompleteOptions, ETag, Part, Payload, UploadId};

pub(crate) struct CompleteMultipartUpload<'a> {
    pub(crate) key: &'a Key,
    pub(crate) upload_id: &'a UploadId,
    /// At least one, ascending by number.
    pub(crate) parts: &'a [Part],
    pub(crate) options: CompleteOptions,
    /// What is known of the bytes; `None`: nothing is said of them.
    pub(crate) digest: Option<PartsDigest>,
}

/// What is known of the bytes of the parts, so that a store that joins others notices.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PartsDigest {
    /// Of each part, in the order of the parts, where it is known.
    parts: Vec<Option<Crc64Nvme>>,
    /// Of the object, if it is known of each part.
    whole: Option<Crc64Nvme>,
    /// The size of the object, in bytes.
    size: u64,
}

impl PartsDigest {
    /// `known` gives the checksum of a part.
    pub(crate) fn new(parts: &[Part], known: impl Fn(&Part) -> Option<Crc64Nvme>) -> PartsDigest {
        let checksums: Vec<Option<Crc64Nvme>> = parts.iter().map(known).collect();
        let mut joined = Joined::default();
        let mut all = true;
        for (part, checksum) in parts.iter().zip(&checksums) {
            match checksum {
                Some(checksum) if all => joined.push(*checksum, part.size),
                Some(_) => {}
                None => all = false,
            }
        }
        PartsDigest {
            parts: checksums,
            whole: all.then(|| joined.finish()),
            // More than a number holds is more than any store does: it will say so.
            size: parts.iter().fold(0, |size: u64, part| size.saturating_add(part.size)),
        }
    }
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
        let checksums = self.digest.iter().flat_map(|digest| &digest.parts).copied();
        for (part, checksum) in self.parts.iter().zip(checksums.chain(std::iter::repeat(None))) {
            let etag = escape(&part.etag.to_header());
            write!(body, "<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag>", part.number)
                .expect("a String takes everything");
            if let Some(checksum) = checksum {
                write!(body, "<ChecksumCRC64NVME>{}</ChecksumCRC64NVME>", checksum.text())
                    .expect("a String takes everything");
            }
            body.push_str("</Part>");
        }
        body.push_str("</CompleteMultipartUpload>");
        let whole = self.whole().map(Crc64Nvme::text);
        let request = place
            .object(Self::OPERATION, self.key, Method::Post)?
            .query("uploadId", self.upload_id.as_str())
            .header("content-type", "application/xml")
            .header_if("x-amz-mp-object-size", self.digest.as_ref().map(|digest| digest.size.to_string()))
            .header_if("x-amz-checksum-type", whole.is_some().then_some("FULL_OBJECT"))
            .header_if(CRC64NVME_HEADER, whole)
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
        kept_as(head, self.whole(), root.text_of("ChecksumCRC64NVME").map(|text| text.trim().as_bytes()))?;
        let etag = root.text_of("ETag").and_then(|text| ETag::from_header(text).ok());
        let etag = etag.ok_or_else(|| Refusal::violation(head, "the answer to a write names no ETag"))?;
        Ok(with_version(PutOutcome::new(etag), head))
    }
}

impl CompleteMultipartUpload<'_> {
    fn whole(&self) -> Option<Crc64Nvme> {
        self.digest.as_ref().and_then(|digest| digest.whole)
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
        let complete = CompleteMultipartUpload {
            key: &key,
            upload_id: &upload_id,
            parts: &parts,
            options,
            digest: None,
        };
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
    #[test]
    fn the_object_is_described_as_far_as_its_parts_are_known() {
        let key = key("k");
        let upload_id = UploadId::new("u");
        let part = |number| {
            let number = PartNumber::new(number).expect("a part number");
            Part::new(number, ETag::parse("t").expect("a tag"), if number.get() == 1 { 4 } else { 5 })
        };
        let parts = [part(1), part(3)];
        let crc = |text: &'static str| Crc64Nvme::of(&Payload::from(text));
        let complete = |known: fn(&Part) -> bool| CompleteMultipartUpload {
            key: &key,
            upload_id: &upload_id,
            parts: &parts,
            options: CompleteOptions::default(),
            digest: Some(PartsDigest::new(&parts, |part| {
                let crc = if part.number.get() == 1 { crc("1234") } else { crc("56789") };
                known(part).then_some(crc)
            })),
        };
        let size = ("x-amz-mp-object-size".into(), "9".into());
        let kind = ("content-type".into(), "application/xml".into());

        let known = complete(|_| true);
        let request = known.request(&place("")).expect("sendable");
        let full = ("x-amz-checksum-type".into(), "FULL_OBJECT".into());
        let whole = (CRC64NVME_HEADER.into(), "rosUhgp5mIg=".into());
        assert_eq!(request.headers, [kind.clone(), size.clone(), full, whole]);
        let body = String::from_utf8(request.payload.to_bytes().to_vec()).expect("XML");
        assert_eq!(body.matches("<ChecksumCRC64NVME>").count(), 2, "{body}");

        let partly = complete(|part| part.number.get() == 3);
        let request = partly.request(&place("")).expect("sendable");
        assert_eq!(request.headers, [kind, size]);
        let body = String::from_utf8(request.payload.to_bytes().to_vec()).expect("XML");
        assert_eq!(body.matches("<ChecksumCRC64NVME>").count(), 1, "{body}");

        let read = |complete: &CompleteMultipartUpload<'_>, crc: &str| {
            let body = format!(
                "<CompleteMultipartUploadResult><ETag>\"x\"</ETag>{crc}</CompleteMultipartUploadResult>"
            );
            let read = complete.read(&place(""), &head(200, &[]), body.as_bytes());
            read.map(drop).map_err(|refusal| refusal.class)
        };
        let other = "<ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>";
        assert_eq!(read(&known, "<ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME>"), Ok(()));
        assert_eq!(read(&known, ""), Ok(()));
        assert_eq!(read(&known, other), Err(Class::Corrupt));
        assert_eq!(read(&partly, other), Ok(()), "nobody knows better");
    }
}
