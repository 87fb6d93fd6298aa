//! Making and removing a bucket of one's own, for programs that test a store:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html> and its neighbours.

use super::{
    Action, AnswerBody, Effect, ErrorKind, Key, Operation, Place, Refusal, Request, ResponseHead, Result, xml,
};
use crate::protocol::request::Method;
use object_storage::Payload;

pub(crate) struct CreateBucket<'a> {
    pub(crate) region: &'a str,
}

impl Action for CreateBucket<'_> {
    type Output = ();
    const OPERATION: Operation = Operation::CreateBucket;

    fn key(&self) -> Option<&Key> {
        None
    }

    fn effect(&self) -> Effect {
        // A second attempt would be told that the bucket is there, which may be its own doing or somebody else's.
        Effect::Conditional
    }

    fn request(&self, place: &Place) -> Result<Request> {
        let request = place.bucket(Method::Put);
        // The first region has no name here: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucketConfiguration.html
        if self.region == "us-east-1" {
            return Ok(request);
        }
        let region = xml::escape(self.region);
        let body = format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        );
        Ok(request.header("content-type", "application/xml").payload(Payload::from(body)))
    }

    fn body(&self) -> AnswerBody {
        AnswerBody::Empty
    }

    fn read(&self, _: &Place, _: &ResponseHead, _: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    fn excuse(&self, mut refusal: Refusal) -> Result<(), Refusal> {
        if matches!(refusal.answer.code.as_str(), "BucketAlreadyExists" | "BucketAlreadyOwnedByYou") {
            refusal.kind = ErrorKind::AlreadyExists;
        }
        Err(refusal)
    }
}

pub(crate) struct DeleteBucket;

impl Action for DeleteBucket {
    type Output = ();
    const OPERATION: Operation = Operation::DeleteBucket;

    fn key(&self) -> Option<&Key> {
        None
    }

    fn effect(&self) -> Effect {
        Effect::Repeatable
    }

    fn request(&self, place: &Place) -> Result<Request> {
        Ok(place.bucket(Method::Delete))
    }

    fn body(&self) -> AnswerBody {
        AnswerBody::Empty
    }

    fn read(&self, _: &Place, _: &ResponseHead, _: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    fn excuse(&self, refusal: Refusal) -> Result<(), Refusal> {
        if refusal.answer.code == "NoSuchBucket" { Ok(()) } else { Err(refusal) }
    }
}

/// Lets the bucket expire its objects and abandoned uploads after so many days.
pub(crate) struct PutBucketLifecycleConfiguration {
    pub(crate) days: u16,
}

impl Action for PutBucketLifecycleConfiguration {
    type Output = ();
    const OPERATION: Operation = Operation::PutBucketLifecycleConfiguration;

    fn key(&self) -> Option<&Key> {
        None
    }

    fn effect(&self) -> Effect {
        Effect::Repeatable
    }

    fn request(&self, place: &Place) -> Result<Request> {
        let days = self.days;
        let body = format!(
            "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Rule><ID>expire</ID>\
             <Filter><Prefix></Prefix></Filter><Status>Enabled</Status><Expiration><Days>{days}</Days></Expiration>\
             <AbortIncompleteMultipartUpload><DaysAfterInitiation>{days}</DaysAfterInitiation>\
             </AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>"
        );
        Ok(place
            .bucket(Method::Put)
            .query("lifecycle", "")
            .header("content-md5", content_md5(body.as_bytes()))
            .header("content-type", "application/xml")
            .payload(Payload::from(body)))
    }

    fn body(&self) -> AnswerBody {
        AnswerBody::Empty
    }

    fn read(&self, _: &Place, _: &ResponseHead, _: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }
}

/// The digest that S3 demands of this request: <https://www.rfc-editor.org/rfc/rfc1864>.
fn content_md5(body: &[u8]) -> String {
    use base64::Engine as _;
    use md5::Digest as _;
    base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(body))
}
