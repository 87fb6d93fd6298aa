//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>

use std::ops::Range;

use super::{
    Action, AnswerBody, Attributes, Effect, Error, ErrorKind, Key, Operation, Place, Refusal, Request,
    ResponseHead, Result, header,
};
use crate::protocol::checksum::Checksum;
use crate::protocol::memory::Need;
use crate::protocol::request::Method;
use object_storage::config::Checksums;
use object_storage::{GetOptions, ObjectMeta, RangePolicy, ReadConditions};

pub(crate) struct GetObject<'a> {
    pub(crate) key: &'a Key,
    pub(crate) options: GetOptions,
    pub(crate) checksums: Checksums,
}

/// A get whose answer was checked; the body is still to come, and holds the bytes of `range`.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) meta: ObjectMeta,
    pub(crate) attributes: Attributes,
    pub(crate) range: Range<u64>,
    /// What the store says of all these bytes, if they are to be compared with it.
    pub(crate) checksum: Option<Checksum>,
}

impl Action for GetObject<'_> {
    type Output = Opened;
    const OPERATION: Operation = Operation::GetObject;

    fn key(&self) -> Option<&Key> {
        Some(self.key)
    }

    fn effect(&self) -> Effect {
        Effect::Read
    }

    fn request(&self, place: &Place) -> Result<Request> {
        let range = match &self.options.range {
            Some(range) => Some(range.to_header().map_err(|invalid| {
                Error::new(ErrorKind::InvalidInput, Self::OPERATION, invalid.to_string()).with_key(self.key)
            })?),
            None => None,
        };
        let request = place.object(Self::OPERATION, self.key, Method::Get)?.header_if("range", range);
        // Nothing is kept of parts of an object, so nothing could be said about a range.
        let whole = self.options.range.is_none() && self.checksums == Checksums::WhenSupported;
        let request = request.header_if("x-amz-checksum-mode", whole.then_some("ENABLED"));
        Ok(read_conditions(request, &self.options.conditions))
    }

    fn body(&self) -> AnswerBody {
        AnswerBody::Object
    }

    fn need(&self) -> Need {
        Need::Window
    }

    fn read(&self, _: &Place, head: &ResponseHead, _: &[u8]) -> Result<Opened, Refusal> {
        let mut meta = described(self.key, head, &self.options.conditions)?;
        let length = length(head)?;
        let (range, size) = match &self.options.range {
            None if head.status == 200 => (0..length, length),
            None => {
                return Err(Refusal::violation(head, "the whole object was asked for and a part of it came"));
            }
            Some(_) if head.status != 206 => {
                return Err(Refusal::violation(head, "a range was asked for and the answer is not 206"));
            }
            Some(asked) => {
                let (range, size) = header::content_range(&head.headers).map_err(|_| {
                    Refusal::violation(head, "a 206 without a Content-Range that makes sense")
                })?;
                if asked.resolve(size, RangePolicy::Clamped).as_ref() != Ok(&range) {
                    let message =
                        format!("bytes {}..{} of {size} are not the ones asked for", range.start, range.end);
                    return Err(Refusal::violation(head, message));
                }
                if range.end - range.start != length {
                    return Err(Refusal::violation(
                        head,
                        "Content-Range and Content-Length contradict each other",
                    ));
                }
                asked.resolve(size, self.options.range_policy).map_err(|outside| {
                    Refusal::concluded(
                        head,
                        ErrorKind::RangeNotSatisfiable,
                        format!("{outside} of {size} bytes"),
                    )
                })?;
                (range, size)
            }
        };
        meta.size = size;
        // A range of all bytes is compared too, where a store says what they are.
        let checksum = match range == (0..size) && self.checksums != Checksums::Off {
            true => Checksum::stated(&head.headers).map_err(|bad| {
                Refusal::corrupt(head, format!("the answer's header {} makes no sense", bad.0))
            })?,
            false => None,
        };
        Ok(Opened { meta, attributes: header::attributes(&head.headers), range, checksum })
    }

    fn verify(&self, head: &ResponseHead, opened: &Opened, body: &[u8]) -> Result<(), Refusal> {
        match opened.checksum {
            // One of another length is found wrong by its length.
            Some(checksum) if body.len() as u64 == opened.range.end => checksum
                .verify(body)
                .map_err(|mismatch| Refusal::corrupt(head, format!("not the stored bytes: {mismatch}"))),
            _ => Ok(()),
        }
    }
}

pub(super) fn read_conditions(request: Request, conditions: &ReadConditions) -> Request {
    request
        .header_if("if-match", conditions.if_match.as_ref().map(object_storage::ETag::to_header))
        .header_if("if-none-match", conditions.if_none_match.as_ref().map(object_storage::ETag::to_header))
}

/// Key, tag and time from the headers, after checking that the conditions hold: a store that ignored one shows it
/// by the tag it sends.
pub(super) fn described(
    key: &Key,
    head: &ResponseHead,
    conditions: &ReadConditions,
) -> Result<ObjectMeta, Refusal> {
    let etag = header::etag(&head.headers)
        .map_err(|bad| Refusal::violation(head, format!("the answer's header {} makes no sense", bad.0)))?;
    if let Some(wanted) = &conditions.if_match {
        if etag.is_none() {
            return Err(Refusal::violation(head, "a version was asked for and the answer names none"));
        }
        if etag.as_ref() != Some(wanted) {
            return Err(Refusal::concluded(head, ErrorKind::PreconditionFailed, "another version is there"));
        }
    }
    if conditions.if_none_match.is_some() && conditions.if_none_match == etag {
        return Err(Refusal::concluded(head, ErrorKind::NotModified, "this version is still there"));
    }
    let mut meta = ObjectMeta::new(key.clone(), 0);
    meta.etag = etag;
    meta.last_modified = header::last_modified(&head.headers);
    Ok(meta)
}

/// The length of the body, which every answer of S3 states.
pub(super) fn length(head: &ResponseHead) -> Result<u64, Refusal> {
    match header::content_length(&head.headers) {
        Ok(Some(length)) => Ok(length),
        _ => Err(Refusal::violation(head, "the answer does not state its length")),
    }
}

#[cfg(test)]
mod tests {
    use object_storage::ETag;

    use super::super::testing::{head, key, place};
    use super::*;

    fn read(options: GetOptions, status: u16, headers: &[(&str, &str)]) -> Result<Opened, ErrorKind> {
        let key = key("k");
        let get = GetObject { key: &key, options, checksums: Checksums::WhenSupported };
        get.read(&place(""), &head(status, headers), b"").map_err(|refusal| refusal.kind)
    }

    fn range(range: Range<u64>) -> GetOptions {
        GetOptions::default().with_range(range)
    }

    #[test]
    fn a_range_that_was_ignored_shifted_or_cut_is_never_data() {
        let protocol = ErrorKind::Protocol;
        let cases: &[(u16, &str, &str)] = &[
            (200, "10", "bytes 0-9/100"),
            (206, "10", "bytes 1-10/100"),
            (206, "9", "bytes 0-8/100"),
            (206, "9", "bytes 0-9/100"),
            (206, "10", "bytes 0-9/*"),
            (206, "10", "nonsense"),
            (206, "11", "bytes 0-10/100"),
        ];
        for (status, length, content_range) in cases {
            let headers = [("content-length", *length), ("content-range", *content_range)];
            assert_eq!(read(range(0..10), *status, &headers).map(|_| ()), Err(protocol), "{content_range}");
        }
        assert_eq!(read(range(0..10), 206, &[("content-length", "10")]).map(|_| ()), Err(protocol));
        let whole = [("content-length", "10"), ("content-range", "bytes 0-9/100")];
        assert_eq!(read(GetOptions::default(), 206, &whole).map(|_| ()), Err(protocol));
        assert_eq!(read(GetOptions::default(), 200, &[]).map(|_| ()), Err(protocol));
        assert_eq!(
            read(range(0..10), 206, &whole).map(|opened| (opened.range, opened.meta.size)),
            Ok((0..10, 100))
        );
    }

    #[test]
    fn exact_refuses_what_the_store_clamped() {
        let clamped = [("content-length", "5"), ("content-range", "bytes 5-9/10")];
        assert_eq!(read(range(5..20), 206, &clamped).map(|_| ()), Err(ErrorKind::RangeNotSatisfiable));
        let options = range(5..20).with_range_policy(RangePolicy::Clamped);
        assert_eq!(read(options, 206, &clamped).map(|opened| opened.range), Ok(5..10));
    }

    #[test]
    fn a_condition_that_the_store_ignored_is_kept_all_the_same() {
        let tag = |text: &str| ETag::parse(text).expect("a tag");
        let answer = [("content-length", "1"), ("etag", "\"b\"")];
        let options = GetOptions::default().with_if_match(tag("a"));
        assert_eq!(read(options.clone(), 200, &answer).map(|_| ()), Err(ErrorKind::PreconditionFailed));
        assert_eq!(read(options, 200, &[("content-length", "1")]).map(|_| ()), Err(ErrorKind::Protocol));
        let options = GetOptions::default().with_if_none_match(tag("b"));
        assert_eq!(read(options, 200, &answer).map(|_| ()), Err(ErrorKind::NotModified));
    }
    #[test]
    fn a_checksum_is_asked_for_and_believed_only_of_the_whole_object() {
        let key = key("k");
        let cell = |options: &GetOptions, checksums, status, headers: &[(&str, &str)]| {
            let get = GetObject { key: &key, options: options.clone(), checksums };
            let asked = get.request(&place("")).expect("sendable").headers;
            let asked =
                asked.iter().any(|(name, value)| name == "x-amz-checksum-mode" && **value == *"ENABLED");
            let opened = get.read(&place(""), &head(status, headers), b"").expect("opened");
            (asked, opened.checksum.is_some())
        };
        let crc = ("x-amz-checksum-crc64nvme", "rosUhgp5mIg=");
        let whole = [("content-length", "9"), crc];
        let part = [("content-length", "9"), ("content-range", "bytes 0-8/10"), crc];
        let all_of_it = [("content-length", "9"), ("content-range", "bytes 0-8/9"), crc];
        let all = GetOptions::default();
        assert_eq!(cell(&all, Checksums::WhenSupported, 200, &whole), (true, true));
        assert_eq!(cell(&all, Checksums::WhenRequired, 200, &whole), (false, true));
        assert_eq!(cell(&all, Checksums::Off, 200, &whole), (false, false));
        assert_eq!(cell(&range(0..9), Checksums::WhenSupported, 206, &all_of_it), (false, true));
        assert_eq!(cell(&range(0..9), Checksums::Off, 206, &all_of_it), (false, false));
        for checksums in [Checksums::WhenSupported, Checksums::WhenRequired, Checksums::Off] {
            assert_eq!(cell(&range(0..9), checksums, 206, &part), (false, false));
        }
    }

    #[test]
    fn a_flipped_bit_in_a_body_that_came_whole_is_not_data() {
        let key = key("k");
        let get =
            GetObject { key: &key, options: GetOptions::default(), checksums: Checksums::WhenSupported };
        let answer = head(200, &[("content-length", "9"), ("x-amz-checksum-crc64nvme", "rosUhgp5mIg=")]);
        let opened = get.read(&place(""), &answer, b"").expect("opened");
        assert!(get.verify(&answer, &opened, b"123456789").is_ok());
        let refusal = get.verify(&answer, &opened, b"123456788").expect_err("another byte");
        assert_eq!(refusal.kind, ErrorKind::Corrupt);
        let garbled = head(200, &[("content-length", "9"), ("x-amz-checksum-crc64nvme", "rosUhgp5mIg")]);
        let refusal = get.read(&place(""), &garbled, b"").map(drop).expect_err("garbled");
        assert_eq!(refusal.kind, ErrorKind::Corrupt);
    }
}
