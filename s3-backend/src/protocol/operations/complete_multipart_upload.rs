//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>

use std::cell::Cell;
use std::fmt::Write as _;

use super::{
    Action, AnswerBody, Condition, Effect, Key, Operation, Place, PutOutcome, Refusal, Request, ResponseHead,
    Result, condition_of, conditions, kept_as, root, trace_of, with_version,
};
use crate::protocol::checksum::{CRC64NVME_HEADER, Crc64Nvme, Joined};
use crate::protocol::exchange::{Proof, Trace};
use crate::protocol::memory::Need;
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
    /// What is known of the bytes; `None`: nothing is said of them.
    pub(crate) digest: Option<PartsDigest>,
    /// What the upload was stamped with when it was begun; `None` when that was done elsewhere.
    pub(crate) stamp: Option<OperationId>,
    /// Whether the caller chose that id, and so may have completed another upload of it before.
    pub(crate) driven_before: bool,
    /// Set when the first attempt is sent, for whoever drops the future.
    pub(crate) sent: Option<&'a Cell<bool>>,
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

    fn sending(&self) {
        if let Some(sent) = self.sent {
            sent.set(true);
        }
    }

    fn condition(&self) -> Condition {
        condition_of(&self.options.mode)
    }

    fn trace(&self) -> Trace {
        let mode = &self.options.mode;
        let proof = self.stamp.map(Proof::Id).or_else(|| joined_tag(self.parts).map(Proof::Tag));
        Trace {
            driven_before: self.driven_before,
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
        let whole = self.whole();
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

    fn need(&self) -> Need {
        // A tag with its quotes, and what stands around it and a checksum.
        const ENTRY_BYTES: usize = 128;
        let entries = self.parts.iter().map(|part| part.etag.as_str().len() + ENTRY_BYTES);
        Need::Bytes(entries.sum::<usize>() as u64)
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
        let complete = CompleteMultipartUpload {
            key: &key,
            upload_id: &upload_id,
            parts: &parts,
            options,
            digest: None,
            stamp: None,
            driven_before: false,
            sent: None,
        };
        let read = |body: &str| complete.read(&place(""), &head(200, &[]), body.as_bytes());

        let good =
            read("  <CompleteMultipartUploadResult><ETag>\"x-1\"</ETag></CompleteMultipartUploadResult>");
        assert_eq!(good.expect("applied").etag.as_str(), "x-1");
        let late = read("<Error><Code>InternalError</Code></Error>").expect_err("late");
        assert_eq!(late.class, Class::Transient);
        let refused = read("<Error><Code>PreconditionFailed</Code></Error>").expect_err("late");
        assert_eq!((refused.kind, refused.class), (ErrorKind::AlreadyExists, Class::Definite));
        for (cut, class) in [
            ("", Class::Garbled),
            ("<CompleteMultipartUploadResult><ETag>\"x", Class::Garbled),
            ("<CompleteMultipartUploadResult/>", Class::Violation),
        ] {
            assert_eq!(read(cut).expect_err("cut").class, class, "{cut:?}");
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
            stamp: None,
            driven_before: false,
            sent: None,
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
        assert_eq!(request.headers, [kind.clone(), whole, full, size.clone()]);
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
