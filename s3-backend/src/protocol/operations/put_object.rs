//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>

use super::{
    Action, Condition, Effect, Key, Operation, Place, PutOutcome, Refusal, Request, ResponseHead, Result,
    attribute_headers, condition_of, conditions, effect_of, kept, outcome, stamp, trace_of,
};
use crate::protocol::checksum::{CRC64NVME_HEADER, Crc64Nvme};
use crate::protocol::exchange::{Proof, Trace};
use crate::protocol::memory::Need;
use crate::protocol::request::Method;
use object_storage::{OperationId, Payload, PutMode, PutOptions};

pub(crate) struct PutObject<'a> {
    pub(crate) key: &'a Key,
    pub(crate) payload: Payload,
    pub(crate) options: PutOptions,
    /// That of the payload, computed once for all attempts; `None`: it is neither sent nor expected.
    pub(crate) checksum: Option<Crc64Nvme>,
    /// What the object is stamped with; `None` in a URL that others will use.
    pub(crate) stamp: Option<OperationId>,
}

impl Action for PutObject<'_> {
    type Output = PutOutcome;
    const OPERATION: Operation = Operation::PutObject;

    fn key(&self) -> Option<&Key> {
        Some(self.key)
    }

    fn effect(&self) -> Effect {
        effect_of(&self.options.mode)
    }

    fn condition(&self) -> Condition {
        condition_of(&self.options.mode)
    }

    fn trace(&self) -> Trace {
        let mode = &self.options.mode;
        // An overwrite is repeated until it succeeds: there is no refusal to be doubted.
        let proof = self.stamp.filter(|_| *mode != PutMode::Overwrite).map(Proof::Id);
        Trace {
            driven_before: self.options.operation_id.is_some(),
            write_once: self.options.write_once && *mode == PutMode::Create,
            ..trace_of(mode, self.stamp, proof)
        }
    }

    fn found(&self, outcome: PutOutcome) -> Option<PutOutcome> {
        Some(outcome)
    }

    fn request(&self, place: &Place) -> Result<Request> {
        let request = place.written(Self::OPERATION, self.key, Method::Put)?.payload(self.payload.clone());
        let request = conditions(attribute_headers(request, &self.options.attributes), &self.options.mode);
        Ok(stamp(request.header_if(CRC64NVME_HEADER, self.checksum), self.stamp))
    }

    fn need(&self) -> Need {
        Need::Bytes(self.payload.len())
    }

    fn read(&self, _: &Place, head: &ResponseHead, _: &[u8]) -> Result<PutOutcome, Refusal> {
        kept(head, self.checksum)?;
        outcome(head)
    }
}

#[cfg(test)]
mod tests {
    use object_storage::{ETag, ErrorKind};

    use super::super::testing::{head, key, place};
    use super::*;
    use crate::protocol::error::Class;

    fn put(mode: PutMode, key: &Key) -> PutObject<'_> {
        PutObject { key, payload: Payload::from("x"), options: mode.into(), checksum: None, stamp: None }
    }

    #[test]
    fn the_condition_goes_out_quoted_once() {
        let key = key("k");
        let etag = ETag::parse("abc").expect("a tag");
        let request = put(PutMode::Match(etag), &key).request(&place("p/")).expect("sendable");
        assert_eq!(request.path, "/bucket/p/k");
        assert_eq!(request.headers, [("if-match".into(), "\"abc\"".into())]);
        let request = put(PutMode::Create, &key).request(&place("")).expect("sendable");
        assert_eq!(request.headers, [("if-none-match".into(), "*".into())]);
    }

    #[test]
    fn the_stamp_goes_out_as_metadata() {
        let key = key("k");
        let put = PutObject { stamp: Some(OperationId::from_bits(0xab)), ..put(PutMode::Overwrite, &key) };
        let request = put.request(&place("")).expect("sendable");
        let id = "000000000000000000000000000000ab";
        assert_eq!(request.headers, [("x-amz-meta-operation-id".into(), id.into())]);
    }

    #[test]
    fn a_write_without_a_tag_in_its_answer_is_not_believed() {
        let key = key("k");
        let put = put(PutMode::Overwrite, &key);
        assert!(put.read(&place(""), &head(200, &[]), b"").is_err());
        assert!(put.read(&place(""), &head(200, &[("etag", "\"\"")]), b"").is_err());
        let outcome = put.read(&place(""), &head(200, &[("etag", "\"t\""), ("x-amz-version-id", "v")]), b"");
        let outcome = outcome.expect("applied");
        assert_eq!((outcome.etag.as_str(), outcome.version.as_deref()), ("t", Some("v")));
    }

    #[test]
    fn what_the_store_says_it_has_kept_is_compared_with_what_was_sent() {
        let key = key("k");
        let put = PutObject {
            checksum: Some(Crc64Nvme::of(&Payload::from("123456789"))),
            ..put(PutMode::Overwrite, &key)
        };
        let request = put.request(&place("")).expect("sendable");
        assert_eq!(request.headers, [(CRC64NVME_HEADER.into(), "rosUhgp5mIg=".into())]);
        let read = |put: &PutObject<'_>, crc: &str| {
            let answer = head(200, &[("etag", "\"t\""), (CRC64NVME_HEADER, crc)]);
            put.read(&place(""), &answer, b"").map(drop).map_err(|refusal| refusal.class)
        };
        assert_eq!(read(&put, "rosUhgp5mIg="), Ok(()));
        assert_eq!(read(&put, ""), Ok(()));
        for wrong in ["AAAAAAAAAAA=", "rosUhgp5mIg", "y/Q5Jg=="] {
            assert_eq!(read(&put, wrong), Err(Class::Corrupt), "{wrong}");
        }
        assert_eq!(read(&PutObject { checksum: None, ..put }, "AAAAAAAAAAA="), Ok(()));
    }

    #[test]
    fn a_key_too_long_with_its_prefix_is_never_sent() {
        let key = key(&"k".repeat(1024));
        let error = put(PutMode::Overwrite, &key).request(&place("p/")).expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
