//! One file per S3 action: what is sent, and what the answer must be to be believed.

mod abort_multipart_upload;
mod buckets;
mod complete_multipart_upload;
mod copy_object;
mod create_multipart_upload;
mod delete_object;
mod delete_objects;
mod get_object;
mod head_object;
mod list_multipart_uploads;
mod list_objects_v2;
mod list_parts;
mod look;
mod put_object;
mod upload_part;

pub(crate) use abort_multipart_upload::AbortMultipartUpload;
pub(crate) use buckets::{CreateBucket, DeleteBucket, PutBucketLifecycleConfiguration};
pub(crate) use complete_multipart_upload::{CompleteMultipartUpload, PartsDigest};
pub(crate) use copy_object::CopyObject;
pub(crate) use create_multipart_upload::{Begun, CreateMultipartUpload};
pub(crate) use delete_object::DeleteObject;
pub(crate) use delete_objects::DeleteObjects;
pub(crate) use get_object::{GetObject, Opened};
pub(crate) use head_object::HeadObject;
pub(crate) use list_multipart_uploads::ListMultipartUploads;
pub(crate) use list_objects_v2::ListObjectsV2;
pub(crate) use list_parts::ListParts;
pub(crate) use look::Look;
pub(crate) use put_object::PutObject;
pub(crate) use upload_part::UploadPart;

use object_storage::limits::KEY_BYTES_MAX;
use object_storage::{
    Attributes, Error, ErrorKind, Key, KeyRule, Operation, OperationId, PutMode, PutOutcome, Result, UploadId,
};
use percent_encoding::percent_decode_str;

use super::address::Address;
use super::checksum::{CRC64NVME_HEADER, Crc64Nvme};
use super::error::{Condition, Refusal};
use super::exchange::{Effect, Proof, Trace};
use super::header::{self, METADATA_PREFIX};
use super::limits::ERROR_BODY_BYTES_MAX;
use super::memory::Need;
use super::request::{Method, Request, ResponseHead};
use super::xml::{self, Element};

/// One S3 action as a value: everything that is to be asked, and how the answer is read.
pub(crate) trait Action {
    /// What a good answer gives.
    type Output;

    /// The action's name.
    const OPERATION: Operation;

    /// The key it is about, as the caller knows it.
    fn key(&self) -> Option<&Key>;

    /// What it does to the store.
    fn effect(&self) -> Effect;

    /// The condition it carries on what is written.
    fn condition(&self) -> Condition {
        Condition::Other
    }

    /// What tells this write from everybody else's.
    fn trace(&self) -> Trace {
        Trace::default()
    }

    /// The output of an operation that was found out to have been applied: for those whose trace holds a proof.
    fn found(&self, _: PutOutcome) -> Option<Self::Output> {
        None
    }

    /// The request. An error means that it cannot be sent.
    fn request(&self, place: &Place) -> Result<Request>;

    /// An attempt is sent from now on.
    fn sending(&self) {}

    /// What the body of a good answer holds.
    fn body(&self) -> AnswerBody {
        AnswerBody::Ignored
    }

    /// The longest document that a good answer may be, in bytes.
    fn answer_bytes_max(&self) -> usize {
        ERROR_BODY_BYTES_MAX
    }

    /// What is kept in memory for it, from its beginning to its end.
    fn need(&self) -> Need {
        Need::Nothing
    }

    /// Reads an answer with a status of success. `body` is empty unless [`Action::body`] asks for it.
    fn read(&self, place: &Place, head: &ResponseHead, body: &[u8]) -> Result<Self::Output, Refusal>;

    /// Looks at a body that came whole with its head, before any of it is handed on.
    fn verify(&self, _head: &ResponseHead, _output: &Self::Output, _body: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    /// A good answer to a later attempt, when an earlier one may have been carried out: takes back what it says was
    /// not done, because that is true of the later attempt only.
    fn doubt(&self, output: Self::Output) -> Self::Output {
        output
    }

    /// A refusal that is as good as success (what was to be deleted is not there).
    fn excuse(&self, refusal: Refusal) -> Result<Self::Output, Refusal> {
        Err(refusal)
    }
}

/// What the body of a good answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerBody {
    /// Nothing that matters; the headers say it all.
    Ignored,
    /// Nothing, as the headers do: a page of a proxy or portal shows itself by having something to say.
    Empty,
    /// An XML document, read whole.
    Xml,
    /// The object: handed to the caller as it comes.
    Object,
}

/// Where our keys live: a bucket and a prefix in it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: Address,
    /// Empty, or text that stands before every key.
    pub(crate) prefix: String,
}

impl Place {
    /// The key as the bucket knows it.
    pub(crate) fn full(&self, operation: Operation, key: &Key) -> Result<Key> {
        self.check_length(operation, key)?;
        if self.prefix.is_empty() {
            return Ok(key.clone());
        }
        Key::verbatim(&format!("{}{key}", self.prefix)).map_err(|invalid| Error::from(invalid).with_key(key))
    }

    fn check_length(&self, operation: Operation, key: &Key) -> Result<()> {
        if self.prefix.len() + key.as_str().len() <= KEY_BYTES_MAX {
            return Ok(());
        }
        let message =
            format!("with the prefix {:?} the key is longer than {KEY_BYTES_MAX} bytes", self.prefix);
        Err(Error::new(ErrorKind::InvalidInput, operation, message).with_key(key))
    }

    /// The key as the caller knows it; `None` when the bucket's key does not lie under our prefix, or is no key.
    fn own(&self, full: &str) -> Option<Key> {
        Key::verbatim(full.strip_prefix(&self.prefix)?).ok()
    }

    /// A request that writes the object under `key`. Refuses control characters: such a key breaks every tool
    /// that meets it in a list.
    fn written(&self, operation: Operation, key: &Key, method: Method) -> Result<Request> {
        // Printable ASCII holds none.
        let odd = key.as_str().bytes().fold(false, |odd, byte| odd | !matches!(byte, b' '..=b'~'));
        if odd && key.broken_rule() == Some(KeyRule::ControlCharacter) {
            let message = format!("{key:?} is not written: {}", KeyRule::ControlCharacter);
            return Err(Error::new(ErrorKind::InvalidInput, operation, message).with_key(key));
        }
        self.object(operation, key, method)
    }

    /// A request for the object under `key`.
    fn object(&self, operation: Operation, key: &Key, method: Method) -> Result<Request> {
        self.check_length(operation, key)?;
        let path = self.address.object_path(&self.prefix, key).map_err(|problem| {
            Error::new(ErrorKind::Unsupported, operation, problem.to_string())
                .with_key(key)
                .with_source(problem)
        })?;
        Ok(Request::new(method, path))
    }

    /// A request for the bucket itself.
    fn bucket(&self, method: Method) -> Request {
        Request::new(method, self.address.bucket_path())
    }
}

/// The headers of a conditional write: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>.
fn conditions(request: Request, mode: &PutMode) -> Request {
    match mode {
        PutMode::Overwrite => request,
        PutMode::Create => request.header("if-none-match", "*"),
        PutMode::Match(etag) => request.header("if-match", etag.to_header()),
    }
}

fn condition_of(mode: &PutMode) -> Condition {
    match mode {
        PutMode::Overwrite => Condition::Other,
        PutMode::Create => Condition::Create,
        PutMode::Match(_) => Condition::Match,
    }
}

fn effect_of(mode: &PutMode) -> Effect {
    match mode {
        PutMode::Overwrite => Effect::Repeatable,
        PutMode::Create | PutMode::Match(_) => Effect::Conditional,
    }
}

/// The trace of a write under this condition.
fn trace_of(mode: &PutMode, id: Option<OperationId>, proof: Option<Proof>) -> Trace {
    let replaces = match mode {
        PutMode::Match(etag) => Some(etag.clone()),
        PutMode::Overwrite | PutMode::Create => None,
    };
    Trace { id, proof, replaces, ..Trace::default() }
}

/// Stamps what is written with the id of the write. Signed like every header: who strips it breaks the signature.
fn stamp(request: Request, id: Option<OperationId>) -> Request {
    request.header_if(header::OPERATION_ID, id)
}

fn attribute_headers(mut request: Request, attributes: &Attributes) -> Request {
    for (header, value) in attributes.headers() {
        request = request.header(header.name(), value.to_owned());
    }
    for (name, value) in attributes.user_metadata() {
        request = request.header(format!("{METADATA_PREFIX}{name}"), value.to_owned());
    }
    request
}

/// The outcome of a write whose tag comes in a header.
fn outcome(head: &ResponseHead) -> Result<PutOutcome, Refusal> {
    let etag = match header::etag(&head.headers) {
        Ok(Some(etag)) => etag,
        Ok(None) => return Err(Refusal::violation(head, "the answer to a write names no ETag")),
        Err(bad) => {
            return Err(Refusal::violation(head, format!("the answer's header {} makes no sense", bad.0)));
        }
    };
    Ok(with_version(PutOutcome::new(etag), head))
}

/// Compares the checksum of what the store has kept with that of what was sent. A store that names none is believed:
/// it may know no checksums.
fn kept(head: &ResponseHead, sent: Option<Crc64Nvme>) -> Result<(), Refusal> {
    kept_as(head, sent, head.headers.get(CRC64NVME_HEADER))
}

fn kept_as(head: &ResponseHead, sent: Option<Crc64Nvme>, named: Option<&[u8]>) -> Result<(), Refusal> {
    match (sent, named) {
        (None, _) | (_, None | Some(b"")) => Ok(()),
        // There is one text for every checksum.
        (Some(sent), Some(named)) if named == sent.base64() => Ok(()),
        (Some(sent), Some(named)) => match Crc64Nvme::parse(named) {
            Some(kept) if kept == sent => Ok(()),
            Some(kept) => {
                let (sent, kept) = (sent.text(), kept.text());
                Err(Refusal::corrupt(head, format!("CRC64NVME {sent} was sent and {kept} was stored")))
            }
            None => Err(Refusal::corrupt(head, "the checksum of what was stored makes no sense")),
        },
    }
}

fn with_version(mut outcome: PutOutcome, head: &ResponseHead) -> PutOutcome {
    outcome.version = head.headers.text("x-amz-version-id").map(str::to_owned);
    outcome
}

/// The root of an XML answer, which must have this name. `<Error>` with a status of success is a late refusal.
fn root(head: &ResponseHead, body: &[u8], name: &str, condition: Condition) -> Result<Element, Refusal> {
    match xml::parse(body) {
        Ok(root) if root.name == name => Ok(root),
        Ok(root) if root.name == "Error" => Err(Refusal::read_late(head, &root, condition)),
        Ok(root) => {
            let found: String = root.name.chars().take(40).collect();
            Err(Refusal::garbled(head, format!("the answer is a {found:?}, not a {name}")))
        }
        Err(bad) => Err(Refusal::garbled(head, bad.to_string())),
    }
}

/// Whether a success without a header to prove it can come from the store: with no body, or with a document (some
/// stores send one where S3 sends none) that is not an error.
pub(crate) fn speaks_for_the_store(head: &ResponseHead, body: &[u8]) -> Result<(), Refusal> {
    match xml::parse(body) {
        Err(xml::BadXml::Empty) => Ok(()),
        Ok(root) if root.name == "Error" => Err(Refusal::read_late(head, &root, Condition::Other)),
        Ok(root) if !root.name.eq_ignore_ascii_case("html") => Ok(()),
        _ => Err(Refusal::violation(head, "a page was answered where a store says nothing")),
    }
}

/// How a listing encodes its keys.
#[derive(Clone, Copy)]
struct Encoding {
    url: bool,
}

impl Encoding {
    /// What the answer says of itself: we always ask for `url`, and not every store does it.
    fn of(root: &Element) -> Encoding {
        Encoding {
            url: root.text_of("EncodingType").is_some_and(|encoding| encoding.eq_ignore_ascii_case("url")),
        }
    }

    /// The text behind the encoding, decoded once. `None` when it does not decode to UTF-8.
    fn decode(self, text: &str) -> Option<String> {
        if !self.url {
            return Some(text.to_owned());
        }
        // S3 encodes as forms do: a space is a plus, a plus is %2B.
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    }
}

/// The time in a listing, as in `2009-10-12T17:50:30.000Z`; text that is no time counts as none.
fn list_time(text: Option<&str>) -> Option<std::time::SystemTime> {
    text?.trim().parse::<jiff::Timestamp>().ok().map(std::time::SystemTime::from)
}

/// The longest upload id that is accepted, in bytes. AWS's have about 128.
const UPLOAD_ID_BYTES_MAX: usize = 1024;

/// The id of an upload in an XML answer; text that cannot be one counts as none.
fn upload_id(text: Option<&str>) -> Option<UploadId> {
    let id = text?.trim();
    let sensible = (1..=UPLOAD_ID_BYTES_MAX).contains(&id.len()) && !id.chars().any(char::is_control);
    sensible.then(|| UploadId::new(id))
}

/// A number in an XML answer.
fn number(text: Option<&str>) -> Option<u64> {
    text?.trim().parse().ok()
}

/// Whether an answer says that more follows. One that does not say it, but how to ask for more, means it.
fn is_truncated(root: &Element, marker: &str) -> bool {
    match root.text_of("IsTruncated") {
        Some(text) => text.trim().eq_ignore_ascii_case("true"),
        None => root.text_of(marker).is_some_and(|marker| !marker.is_empty()),
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! What the tests of the operations share.

    use object_storage::config::UrlStyle;

    use super::*;

    pub(crate) fn place(prefix: &str) -> Place {
        let endpoint = "http://127.0.0.1:9000".parse().expect("a URL");
        let address = Address::new(&endpoint, "bucket", UrlStyle::Path).expect("an address");
        Place { address, prefix: prefix.to_owned() }
    }

    pub(crate) fn head(status: u16, headers: &[(&str, &str)]) -> ResponseHead {
        ResponseHead { status, headers: headers.into() }
    }

    pub(crate) fn key(text: &str) -> Key {
        Key::verbatim(text).expect("a key")
    }
}
