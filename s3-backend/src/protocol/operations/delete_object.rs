//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>

use super::{
    Action, AnswerBody, Condition, Effect, ErrorKind, Key, Operation, Place, Refusal, Request, ResponseHead,
    Result,
};
use crate::protocol::exchange::Trace;
use crate::protocol::request::Method;
use object_storage::DeleteOptions;

pub(crate) struct DeleteObject<'a> {
    pub(crate) key: &'a Key,
    pub(crate) options: DeleteOptions,
}

impl Action for DeleteObject<'_> {
    type Output = ();
    const OPERATION: Operation = Operation::DeleteObject;

    fn key(&self) -> Option<&Key> {
        Some(self.key)
    }

    fn effect(&self) -> Effect {
        if self.options.if_match.is_some() { Effect::Conditional } else { Effect::Repeatable }
    }

    fn condition(&self) -> Condition {
        if self.options.if_match.is_some() { Condition::Match } else { Condition::Other }
    }

    fn trace(&self) -> Trace {
        Trace { leaves_nothing: self.options.if_match.is_some(), ..Trace::default() }
    }

    fn request(&self, place: &Place) -> Result<Request> {
        let if_match = self.options.if_match.as_ref().map(object_storage::ETag::to_header);
        Ok(place.object(Self::OPERATION, self.key, Method::Delete)?.header_if("if-match", if_match))
    }

    fn body(&self) -> AnswerBody {
        AnswerBody::Empty
    }

    fn read(&self, _: &Place, _: &ResponseHead, _: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    fn excuse(&self, refusal: Refusal) -> Result<(), Refusal> {
        // Gone is gone; some stores say 404 for it. A missing bucket is another matter.
        let gone = refusal.kind == ErrorKind::NotFound && refusal.answer.code == "NoSuchKey";
        if gone && self.options.if_match.is_none() { Ok(()) } else { Err(refusal) }
    }
}
