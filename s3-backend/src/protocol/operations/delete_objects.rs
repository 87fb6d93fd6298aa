//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>

use std::collections::HashMap;

use super::{
    Action, AnswerBody, Condition, Effect, Element, Error, ErrorKind, Key, Operation, Place, Refusal,
    Request, ResponseHead, Result, root,
};
use crate::protocol::limits::xml_bytes_max;
use crate::protocol::memory::Need;
use crate::protocol::request::Method;
use object_storage::limits::DELETE_KEYS_MAX;
use object_storage::{Answer, Payload};
use rusty_s3::actions::ObjectIdentifier;

pub(crate) struct DeleteObjects<'a> {
    /// 1 to 1,000 keys, each once.
    pub(crate) keys: &'a [Key],
    /// What rusty-s3 shapes the body for.
    pub(crate) shape: &'a rusty_s3::Bucket,
}

/// What stands around a key in the body, in bytes.
const ENTRY_BYTES: usize = 64;

impl Action for DeleteObjects<'_> {
    /// What became of each key, in the order of `keys`.
    type Output = Vec<Result<()>>;
    const OPERATION: Operation = Operation::DeleteObjects;

    fn key(&self) -> Option<&Key> {
        None
    }

    fn effect(&self) -> Effect {
        Effect::Repeatable
    }

    fn request(&self, place: &Place) -> Result<Request> {
        assert!((1..=DELETE_KEYS_MAX).contains(&self.keys.len()), "the caller splits at {DELETE_KEYS_MAX}");
        let mut objects = Vec::with_capacity(self.keys.len());
        for key in self.keys {
            objects.push(ObjectIdentifier::new(place.full(Self::OPERATION, key)?.as_str().to_owned()));
        }
        let action = rusty_s3::actions::DeleteObjects::new(self.shape, None, objects.iter());
        let (body, content_md5) = action.body_with_md5();
        Ok(place
            .bucket(Method::Post)
            .query("delete", "")
            .header("content-md5", content_md5)
            .header("content-type", "application/xml")
            .payload(Payload::from(body)))
    }

    fn body(&self) -> AnswerBody {
        AnswerBody::Xml
    }

    fn answer_bytes_max(&self) -> usize {
        xml_bytes_max(self.keys.len())
    }

    fn need(&self) -> Need {
        let keys: usize = self.keys.iter().map(|key| key.as_str().len() + ENTRY_BYTES).sum();
        Need::Bytes((keys + self.answer_bytes_max()) as u64)
    }

    fn read(&self, place: &Place, head: &ResponseHead, body: &[u8]) -> Result<Vec<Result<()>>, Refusal> {
        let root = root(head, body, "DeleteResult", Condition::Other)?;
        let mut said: HashMap<Key, Result<()>> = HashMap::new();
        for entry in &root.children {
            let result = match entry.name.as_str() {
                "Deleted" => Ok(()),
                // Gone is gone.
                "Error" if entry.text_of("Code") == Some("NoSuchKey") => Ok(()),
                "Error" => Err(entry),
                _ => continue,
            };
            let key = entry.text_of("Key").and_then(|text| place.own(text));
            let Some(key) = key.filter(|key| self.keys.contains(key)) else {
                return Err(Refusal::violation(head, "the answer names a key that was not asked for"));
            };
            let mut result = result.map_err(|entry| failed(head, entry).with_key(&key));
            // An answer that says one thing and the other says nothing.
            if said.get(&key).is_some_and(|before| before.is_ok() != result.is_ok()) {
                result = Err(doubtful(head, &key, "the answer contradicts itself"));
            }
            // Of two failures the first stays: the second may be our own word for a contradiction.
            match said.get(&key) {
                Some(Err(before)) if before.is_indeterminate() => {}
                _ => drop(said.insert(key, result)),
            }
        }
        Ok(self
            .keys
            .iter()
            .map(|key| {
                said.remove(key)
                    .unwrap_or_else(|| Err(doubtful(head, key, "the answer does not mention the key")))
            })
            .collect())
    }

    fn doubt(&self, output: Vec<Result<()>>) -> Vec<Result<()>> {
        let message = "an earlier attempt may have deleted the key, or do so later";
        let unknown = |key: &Key, error: Error| {
            Error::new(ErrorKind::Indeterminate, Self::OPERATION, message).with_key(key).with_source(error)
        };
        let of_each = self.keys.iter().zip(output);
        of_each.map(|(key, result)| result.map_err(|error| unknown(key, error))).collect()
    }
}

/// What S3 says of one key. Whether it was done is known: S3 answers for each key by itself.
fn failed(head: &ResponseHead, entry: &Element) -> Error {
    let refusal = Refusal::read_late(head, entry, Condition::Other);
    let kind = match refusal.class {
        crate::protocol::error::Class::Definite => refusal.kind,
        _ => ErrorKind::Indeterminate,
    };
    Error::new(kind, Operation::DeleteObjects, refusal.message).with_answer(refusal.answer)
}

fn doubtful(head: &ResponseHead, key: &Key, message: &str) -> Error {
    let request_id = head.headers.text("x-amz-request-id").unwrap_or_default();
    Error::new(ErrorKind::Indeterminate, Operation::DeleteObjects, message)
        .with_key(key)
        .with_answer(Answer::new(head.status, "", request_id))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{head, key, place};
    use super::*;

    fn shape() -> rusty_s3::Bucket {
        let endpoint = "http://127.0.0.1:9000".parse().expect("a URL");
        rusty_s3::Bucket::new(endpoint, rusty_s3::UrlStyle::Path, "bucket", "r").expect("a bucket")
    }

    fn read(body: &str) -> Result<Vec<Result<()>>, String> {
        let keys = [key("a&b"), key("x"), key("y")];
        let shape = shape();
        let action = DeleteObjects { keys: &keys, shape: &shape };
        action.read(&place("p/"), &head(200, &[]), body.as_bytes()).map_err(|refusal| refusal.message)
    }

    #[test]
    fn every_key_is_judged_by_its_own_entry() {
        let body = "<DeleteResult><Deleted><Key>p/a&amp;b</Key></Deleted>\
                    <Error><Key>p/x</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>";
        let results = read(body).expect("an answer");
        assert!(results[0].is_ok());
        assert_eq!(results[1].as_ref().expect_err("denied").kind(), ErrorKind::PermissionDenied);
        assert_eq!(results[2].as_ref().expect_err("not mentioned").kind(), ErrorKind::Indeterminate);
    }

    #[test]
    fn a_refusal_of_one_key_does_not_deny_an_earlier_attempt() {
        let keys = [key("a&b"), key("x")];
        let shape = shape();
        let denied = Error::new(ErrorKind::PermissionDenied, Operation::DeleteObjects, "no");
        let results = DeleteObjects { keys: &keys, shape: &shape }.doubt(vec![Ok(()), Err(denied)]);
        assert!(results[0].is_ok());
        assert!(results[1].as_ref().expect_err("unknown").is_indeterminate());
    }

    #[test]
    fn a_key_that_was_not_asked_for_is_a_violation_and_not_a_panic() {
        assert!(read("<DeleteResult><Deleted><Key>p/z</Key></Deleted></DeleteResult>").is_err());
        assert!(read("<DeleteResult><Deleted></Deleted></DeleteResult>").is_err());
        assert!(read("<Error><Code>InternalError</Code></Error>").is_err());
    }

    #[test]
    fn the_body_carries_full_keys_and_a_digest() {
        let keys = [key("a&b")];
        let shape = shape();
        let request = DeleteObjects { keys: &keys, shape: &shape }.request(&place("p/")).expect("sendable");
        let body = String::from_utf8(request.payload.to_bytes().to_vec()).expect("XML");
        assert!(body.contains("p/a&amp;b"), "{body}");
        assert!(request.headers.iter().any(|(name, _)| name == "content-md5"));
    }
}
