//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>

use super::{
    Action, Condition, Effect, Key, Operation, Place, PutOutcome, Refusal, Request, ResponseHead, Result,
    attribute_headers, condition_of, conditions, effect_of, outcome,
};
use crate::protocol::request::Method;
use object_storage::{Payload, PutOptions};

pub(crate) struct PutObject<'a> {
    pub(crate) key: &'a Key,
    pub(crate) payload: Payload,
    pub(crate) options: PutOptions,
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

    fn request(&self, place: &Place) -> Result<Request> {
        let request = place.written(Self::OPERATION, self.key, Method::Put)?.payload(self.payload.clone());
        Ok(attribute_headers(conditions(request, &self.options.mode), &self.options.attributes))
    }

    fn read(&self, _: &Place, head: &ResponseHead, _: &[u8]) -> Result<PutOutcome, Refusal> {
        outcome(head)
    }
}

#[cfg(test)]
mod tests {
    use object_storage::{ETag, ErrorKind, PutMode};

    use super::super::testing::{head, key, place};
    use super::*;

    fn put(mode: PutMode, key: &Key) -> PutObject<'_> {
        PutObject { key, payload: Payload::from("x"), options: mode.into() }
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
    fn a_key_too_long_with_its_prefix_is_never_sent() {
        let key = key(&"k".repeat(1024));
        let error = put(PutMode::Overwrite, &key).request(&place("p/")).expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
