//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>

use super::{
    Action, AnswerBody, Condition, Effect, Key, Operation, Place, PutOutcome, Refusal, Request, ResponseHead,
    Result, attribute_headers, condition_of, conditions, effect_of, root, stamp, trace_of, with_version,
};
use crate::protocol::address::encode_path;
use crate::protocol::exchange::{Proof, Trace};
use crate::protocol::request::Method;
use object_storage::{CopyOptions, ETag, OperationId, PutMode};

pub(crate) struct CopyObject<'a> {
    pub(crate) from: &'a Key,
    pub(crate) to: &'a Key,
    pub(crate) options: CopyOptions,
    /// What the copy is stamped with if it has attributes of its own; else it bears the stamp of its source.
    pub(crate) stamp: OperationId,
}

impl CopyObject<'_> {
    fn own_stamp(&self) -> Option<OperationId> {
        self.options.attributes.as_ref().map(|_| self.stamp)
    }
}

impl Action for CopyObject<'_> {
    type Output = PutOutcome;
    const OPERATION: Operation = Operation::CopyObject;

    fn key(&self) -> Option<&Key> {
        Some(self.to)
    }

    fn effect(&self) -> Effect {
        effect_of(&self.options.mode)
    }

    fn condition(&self) -> Condition {
        match condition_of(&self.options.mode) {
            // 412 may then be about either side, and "already exists" would be a guess.
            Condition::Create if self.options.source_if_match.is_some() => Condition::Other,
            condition => condition,
        }
    }

    fn trace(&self) -> Trace {
        let stamp = self.own_stamp();
        let proof = stamp.filter(|_| self.options.mode != PutMode::Overwrite).map(Proof::Id);
        trace_of(&self.options.mode, stamp, proof)
    }

    fn found(&self, outcome: PutOutcome) -> Option<PutOutcome> {
        Some(outcome)
    }

    fn request(&self, place: &Place) -> Result<Request> {
        // A header could carry what no URL can; but what cannot be read must not be copied either.
        place.object(Self::OPERATION, self.from, Method::Get)?;
        let source = place.full(Self::OPERATION, self.from)?;
        let source = format!("/{}/{}", encode_path(place.address.bucket()), encode_path(source.as_str()));
        let request = place
            .written(Self::OPERATION, self.to, Method::Put)?
            .header("x-amz-copy-source", source)
            .header_if(
                "x-amz-copy-source-if-match",
                self.options.source_if_match.as_ref().map(ETag::to_header),
            );
        let request = conditions(request, &self.options.mode);
        Ok(match &self.options.attributes {
            None => request,
            Some(attributes) => {
                let request = request.header("x-amz-metadata-directive", "REPLACE");
                attribute_headers(stamp(request, self.own_stamp()), attributes)
            }
        })
    }

    fn body(&self) -> AnswerBody {
        AnswerBody::Xml
    }

    fn read(&self, _: &Place, head: &ResponseHead, body: &[u8]) -> Result<PutOutcome, Refusal> {
        // S3 may answer 200 before it has copied, and put a later failure into the body.
        let root = root(head, body, "CopyObjectResult", self.condition())?;
        let etag = root.text_of("ETag").and_then(|text| ETag::from_header(text).ok());
        let etag = etag.ok_or_else(|| Refusal::violation(head, "the answer to a write names no ETag"))?;
        Ok(with_version(PutOutcome::new(etag), head))
    }
}

#[cfg(test)]
mod tests {
    use object_storage::ErrorKind;

    use super::super::testing::{head, key, place};
    use super::*;

    #[test]
    fn a_copy_that_failed_late_is_not_a_copy() {
        let stamp = OperationId::from_bits(1);
        let (from, to) = (key("a b"), key("c"));
        let copy = CopyObject { from: &from, to: &to, options: CopyOptions::default(), stamp };
        let read = |body: &str| copy.read(&place(""), &head(200, &[]), body.as_bytes());
        assert!(read("<CopyObjectResult><ETag>&quot;t&quot;</ETag></CopyObjectResult>").is_ok());
        let late = read("\n \n<?xml version=\"1.0\"?><Error><Code>InternalError</Code></Error>");
        assert_eq!(late.expect_err("late").kind, ErrorKind::Unavailable);
        assert!(read("").is_err());
        assert!(read("<CopyObjectResult></CopyObjectResult>").is_err());
        let request = copy.request(&place("p/")).expect("sendable");
        assert_eq!(request.headers, [("x-amz-copy-source".into(), "/bucket/p/a%20b".into())]);
    }

    #[test]
    fn a_source_that_no_url_can_carry_is_refused_as_a_get_of_it_is() {
        let stamp = OperationId::from_bits(1);
        let (from, to) = (key("a/../b"), key("c"));
        let copy = CopyObject { from: &from, to: &to, options: CopyOptions::default(), stamp };
        let refused = copy.request(&place("p/")).expect_err("refused");
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
    }
}
