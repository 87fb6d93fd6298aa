//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>, to find out which write an object comes from.

use super::get_object::{described, length};
use super::{Action, Effect, Key, Operation, Place, Refusal, Request, ResponseHead, Result, header};
use crate::protocol::exchange::Seen;
use crate::protocol::request::Method;
use object_storage::{ObjectMeta, ReadConditions};

/// A look at the object under a key.
pub(crate) struct Look<'a> {
    pub(crate) key: &'a Key,
}

impl Action for Look<'_> {
    type Output = (ObjectMeta, Seen);
    const OPERATION: Operation = Operation::HeadObject;

    fn key(&self) -> Option<&Key> {
        Some(self.key)
    }

    fn effect(&self) -> Effect {
        Effect::Read
    }

    fn request(&self, place: &Place) -> Result<Request> {
        place.object(Self::OPERATION, self.key, Method::Head)
    }

    fn read(&self, _: &Place, head: &ResponseHead, _: &[u8]) -> Result<(ObjectMeta, Seen), Refusal> {
        let mut meta = described(self.key, head, &ReadConditions::default())?;
        meta.size = length(head)?;
        let version = head.headers.text("x-amz-version-id").map(str::to_owned);
        let id = header::operation_id(&head.headers);
        let seen = Seen { etag: meta.etag.clone(), version, id };
        Ok((meta, seen))
    }
}

#[cfg(test)]
mod tests {
    use object_storage::OperationId;

    use super::super::testing::{head, key, place};
    use super::*;

    #[test]
    fn an_id_is_read_in_its_one_spelling_and_is_no_attribute() {
        let key = key("k");
        let id = OperationId::from_bits(0xab).to_string();
        let spellings = [(id.clone(), true), (id.to_uppercase(), false), (String::new(), false)];
        for (text, good) in spellings {
            let fields = [("content-length", "1"), ("etag", "\"t\""), ("X-Amz-Meta-Operation-Id", &*text)];
            let head = head(200, &fields);
            let (_, seen) = Look { key: &key }.read(&place(""), &head, b"").expect("an object");
            assert_eq!(seen.id, good.then(|| OperationId::from_bits(0xab)), "{text:?}");
            assert!(header::attributes(&head.headers).is_empty());
        }
    }
}
