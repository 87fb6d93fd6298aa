//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>

use super::get_object::{described, length, read_conditions};
use super::{Action, Effect, Key, Operation, Place, Refusal, Request, ResponseHead, Result, header};
use crate::protocol::request::Method;
use object_storage::{HeadOptions, HeadOutcome};

pub(crate) struct HeadObject<'a> {
    pub(crate) key: &'a Key,
    pub(crate) options: HeadOptions,
}

impl Action for HeadObject<'_> {
    type Output = HeadOutcome;
    const OPERATION: Operation = Operation::HeadObject;

    fn key(&self) -> Option<&Key> {
        Some(self.key)
    }

    fn effect(&self) -> Effect {
        Effect::Read
    }

    fn request(&self, place: &Place) -> Result<Request> {
        let request = place.object(Self::OPERATION, self.key, Method::Head)?;
        Ok(read_conditions(request, &self.options.conditions))
    }

    fn read(&self, _: &Place, head: &ResponseHead, _: &[u8]) -> Result<HeadOutcome, Refusal> {
        let mut meta = described(self.key, head, &self.options.conditions)?;
        meta.size = length(head)?;
        Ok(HeadOutcome::new(meta, header::attributes(&head.headers)))
    }
}
