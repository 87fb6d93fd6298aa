//! A whole answer, put to everything that may have been asked.

use std::time::{Duration, SystemTime};

use object_storage::config::{Checksums, UrlStyle};
use object_storage::limits::LIST_PAGE_MAX;
use object_storage::{
    ByteRange, CompleteOptions, CopyOptions, DeleteOptions, ETag, GetOptions, HeadOptions, Key, ListOptions,
    ListUploadsOptions, MultipartOptions, OperationId, PageToken, Part, PartNumber, Payload, PutMode,
    PutOptions, RangePolicy, UploadId,
};

use crate::protocol::address::Address;
use crate::protocol::checksum::Crc64Nvme;
use crate::protocol::error::{Class, Condition, Refusal};
use crate::protocol::headers::Headers;
use crate::protocol::limits::{CODE_CHARS_MAX, ERROR_BODY_BYTES_MAX, MESSAGE_CHARS_MAX, XML_BYTES_MAX};
use crate::protocol::mend;
use crate::protocol::operations::{
    AbortMultipartUpload, Action, AnswerBody, CompleteMultipartUpload, CopyObject, CreateMultipartUpload,
    DeleteObject, DeleteObjects, GetObject, HeadObject, ListMultipartUploads, ListObjectsV2, ListParts, Look,
    PartsDigest, Place, PutObject, UploadPart, speaks_for_the_store,
};
use crate::protocol::request::{Method, ResponseHead};
use crate::protocol::retry::RetryPolicy;
use crate::transport::direct::fuzzing::head_of;

/// The longest message that is our own and not the server's, in characters.
const OWN_CHARS_MAX: usize = 160;

/// Any bytes as the answer to each operation: a head and a body, or a body alone.
pub fn answers(bytes: &[u8]) {
    let (head, body) = head_of(bytes).unwrap_or_else(|| {
        let mut headers = Headers::default();
        headers.push(b"content-length", bytes.len().to_string().as_bytes());
        (ResponseHead { status: 200, headers }, bytes)
    });
    for prefix in ["", "p/"] {
        let asked = Asked { place: place(prefix), head: &head, body };
        asked.lists();
        asked.uploads();
        asked.parts();
        asked.bulk_delete();
        asked.reads();
        asked.writes();
    }
}

struct Asked<'a> {
    place: Place,
    head: &'a ResponseHead,
    body: &'a [u8],
}

fn place(prefix: &str) -> Place {
    let endpoint = "http://127.0.0.1:9000".parse().expect("a URL");
    let address = Address::new(&endpoint, "bucket", UrlStyle::Path).expect("an address");
    Place { address, prefix: prefix.to_owned() }
}

fn key(text: &str) -> Key {
    Key::verbatim(text).expect("a key")
}

impl Asked<'_> {
    /// What the driver makes of the answer, without its I/O.
    fn put_to<A: Action>(&self, action: &A) -> Option<A::Output> {
        let request = action.request(&self.place).expect("sendable");
        let (head, condition) = (self.head, action.condition());
        let good = match head.status {
            200 | 201 | 204 => true,
            206 => action.body() == AnswerBody::Object,
            _ => false,
        };
        let read = if good {
            let body = match action.body() {
                AnswerBody::Ignored | AnswerBody::Object => &[],
                AnswerBody::Empty | AnswerBody::Xml => &self.body[..self.body.len().min(XML_BYTES_MAX)],
            };
            let proven = match action.body() {
                AnswerBody::Empty => speaks_for_the_store(head, body),
                _ => Ok(()),
            };
            proven.and_then(|()| action.read(&self.place, head, body))
        } else {
            let to_head = request.method == Method::Head;
            let body = &self.body[..self.body.len().min(ERROR_BODY_BYTES_MAX)];
            let refusal = Refusal::read(head, body, condition, to_head);
            let nobody_said_so =
                refusal.answer.code.is_empty() && !body.is_empty() && !matches!(head.status, 301 | 307 | 308);
            assert!(
                !nobody_said_so || !matches!(refusal.class, Class::Definite | Class::StaleKeys),
                "believed without an error document: {refusal:?}"
            );
            Err(refusal)
        };
        match read {
            Ok(output) => Some(action.doubt(output)),
            Err(refusal) => {
                fit_to_be_shown(&refusal);
                fit_to_be_acted_upon(&refusal);
                action.excuse(refusal).ok()
            }
        }
    }

    /// A key that a listing names can be asked for, or is refused: it never means another path.
    fn addressable(&self, key: &Key) {
        let Ok(full) = Key::verbatim(&format!("{}{key}", self.place.prefix)) else { return };
        if let Ok(path) = self.place.address.object_path("", &full) {
            assert!(self.place.address.url(&path).is_ok(), "{key:?}");
        }
    }

    fn lists(&self) {
        let token = PageToken::new("t");
        let mut some = ListOptions::default();
        (some.prefix, some.delimiter) = ("a".to_owned(), Some("/".to_owned()));
        (some.start_after, some.page_size) = (Some("a/b".to_owned()), Some(3));
        for (options, page) in [(ListOptions::default(), None), (some, Some(&token))] {
            let Some(found) = self.put_to(&ListObjectsV2 { options: &options, page }) else { continue };
            let page_size = options.page_size.unwrap_or(LIST_PAGE_MAX);
            assert!(found.objects.len() + found.common_prefixes.len() <= page_size);
            for object in &found.objects {
                assert!(object.key.as_str().starts_with(&options.prefix), "{:?}", object.key);
                assert!(options.start_after.as_deref().is_none_or(|after| object.key.as_str() > after));
                self.addressable(&object.key);
                object.etag.iter().for_each(comes_back);
            }
            assert!(found.common_prefixes.iter().all(|common| common.starts_with(&options.prefix)));
            if let Some(next) = &found.next {
                assert!(!next.as_str().is_empty() && page != Some(next), "the same page for ever");
                let again = ListObjectsV2 { options: &options, page: Some(next) };
                again.request(&self.place).expect("what a page says is good for the next");
            }
        }
    }

    fn uploads(&self) {
        let mut options = ListUploadsOptions::default();
        options.prefix = "a".to_owned();
        let token = PageToken::new("p/a\nid");
        for page in [None, Some(&token)] {
            let Some(found) = self.put_to(&ListMultipartUploads { options: &options, page }) else {
                continue;
            };
            for upload in &found.uploads {
                assert!(upload.key.as_str().starts_with(&options.prefix), "{:?}", upload.key);
                sensible_upload_id(&upload.upload_id);
            }
            if let Some(next) = &found.next {
                assert!(page != Some(next), "the same page for ever");
                let again = ListMultipartUploads { options: &options, page: Some(next) };
                again.request(&self.place).expect("what a page says is good for the next");
            }
        }
    }

    fn parts(&self) {
        let (key, upload_id) = (key("k"), UploadId::new("u"));
        for (page, after) in [(None, 0), (Some(PageToken::new("3")), 3)] {
            let list =
                ListParts { key: &key, upload_id: &upload_id, page: page.as_ref(), parts_max: LIST_PAGE_MAX };
            let Some(found) = self.put_to(&list) else { continue };
            let parts = &found.page.parts;
            assert_eq!(parts.len(), found.checksums.len());
            assert!(parts.iter().all(|part| part.number.get() > after));
            assert!(parts.windows(2).all(|pair| pair[0].number < pair[1].number));
            parts.iter().for_each(|part| comes_back(&part.etag));
            // Whatever it says, it can be put together again.
            let known: Vec<_> = parts.iter().zip(&found.checksums).collect();
            let digest = PartsDigest::new(parts, |part| {
                *known.iter().find(|(one, _)| one.number == part.number).expect("one of them").1
            });
            let complete = CompleteMultipartUpload {
                key: &key,
                upload_id: &upload_id,
                parts,
                options: CompleteOptions::default(),
                digest: Some(digest),
                stamp: None,
                driven_before: false,
                sent: None,
            };
            let body = complete.request(&self.place).expect("sendable").payload.to_bytes();
            crate::protocol::xml::parse(&body).expect("what we send is well-formed");
            let _proof = complete.trace();
            if let Some(next) = &found.page.next {
                assert_eq!(next.as_str(), parts.last().expect("not empty").number.to_string());
            }
        }
    }

    fn bulk_delete(&self) {
        let endpoint = "http://127.0.0.1:9000".parse().expect("a URL");
        let shape =
            rusty_s3::Bucket::new(endpoint, rusty_s3::UrlStyle::Path, "bucket", "r").expect("a bucket");
        let keys = [key("a"), key("a&b"), key("x y/é")];
        let Some(said) = self.put_to(&DeleteObjects { keys: &keys, shape: &shape }) else { return };
        assert_eq!(said.len(), keys.len());
        // Gone only if the answer says so of this very key: its text is there, at least in part.
        let named = |name: &[u8]| self.body.windows(name.len()).any(|window| window == name);
        for result in &said {
            assert!(result.is_err() || named(b"Key"), "gone, and never mentioned");
        }
    }

    fn reads(&self) {
        let key = key("k");
        let asked = [
            (None, RangePolicy::Exact),
            (Some(ByteRange::Bounded(5..10)), RangePolicy::Exact),
            (Some(ByteRange::Bounded(5..u64::MAX)), RangePolicy::Clamped),
            (Some(ByteRange::From(5)), RangePolicy::Clamped),
            (Some(ByteRange::Suffix(5)), RangePolicy::Clamped),
        ];
        for (range, policy) in asked {
            let mut options = GetOptions::default().with_range_policy(policy);
            options.range = range.clone();
            let get = GetObject { key: &key, options, checksums: Checksums::WhenSupported };
            let Some(opened) = self.put_to(&get) else { continue };
            let bytes = opened.range.end - opened.range.start;
            let stated = self.head.headers.text("content-length").and_then(|text| text.parse().ok());
            assert_eq!(stated, Some(bytes), "as many bytes as the body has");
            assert!(opened.range.end <= opened.meta.size);
            match &range {
                None => assert_eq!(opened.range, 0..opened.meta.size),
                Some(range) => assert_eq!(range.resolve(opened.meta.size, policy), Ok(opened.range.clone())),
            }
            opened.meta.etag.iter().for_each(comes_back);
            let verified = get.verify(self.head, &opened, self.body);
            if let (Err(refusal), true) = (&verified, self.body.len() as u64 == bytes) {
                fit_to_be_shown(refusal);
            }
        }
        let wanted = ETag::parse("wanted").expect("a tag");
        let pinned = GetOptions::default().with_if_match(wanted.clone());
        let get = GetObject { key: &key, options: pinned, checksums: Checksums::Off };
        assert!(self.put_to(&get).is_none_or(|opened| opened.meta.etag == Some(wanted)), "another version");
        let _ = self.put_to(&HeadObject { key: &key, options: HeadOptions::default() });
        let _ = self.put_to(&Look { key: &key });
    }

    fn writes(&self) {
        let (k, to, upload_id, stamp) = (key("k"), key("to"), UploadId::new("u"), OperationId::from_bits(7));
        let tag = || ETag::parse("t").expect("a tag");
        let checksum = Some(Crc64Nvme::of(&Payload::from("x")));
        for mode in [PutMode::Overwrite, PutMode::Create, PutMode::Match(tag())] {
            let options = PutOptions::from(mode.clone());
            let put =
                PutObject { key: &k, payload: Payload::from("x"), options, checksum, stamp: Some(stamp) };
            self.put_to(&put).iter().for_each(|outcome| comes_back(&outcome.etag));
            let mut options = CopyOptions::default();
            options.mode = mode.clone();
            let copy = CopyObject { from: &k, to: &to, options, stamp };
            self.put_to(&copy).iter().for_each(|outcome| comes_back(&outcome.etag));
            let mut options = CompleteOptions::default();
            options.mode = mode;
            let part = Part::new(PartNumber::new(1).expect("a number"), tag(), 1);
            let complete = CompleteMultipartUpload {
                key: &k,
                upload_id: &upload_id,
                parts: std::slice::from_ref(&part),
                options,
                digest: Some(PartsDigest::new(std::slice::from_ref(&part), |_| checksum)),
                stamp: Some(stamp),
                driven_before: false,
                sent: None,
            };
            self.put_to(&complete).iter().for_each(|outcome| comes_back(&outcome.etag));
        }
        let number = PartNumber::new(3).expect("a number");
        let payload = Payload::from("x");
        let part = UploadPart { key: &k, upload_id: &upload_id, number, payload, checksum, md5: None };
        assert!(self.put_to(&part).is_none_or(|sent| (sent.part.number, sent.part.size) == (number, 1)));
        let options = MultipartOptions::default();
        let create = CreateMultipartUpload { key: &k, options, checksums: true, stamp };
        self.put_to(&create).iter().for_each(|begun| sensible_upload_id(&begun.id));
        let mut if_match = DeleteOptions::default();
        if_match.if_match = Some(tag());
        for options in [DeleteOptions::default(), if_match] {
            let _ = self.put_to(&DeleteObject { key: &k, options });
        }
        let _ = self.put_to(&AbortMultipartUpload { key: &k, upload_id: &upload_id });
        for condition in [Condition::Other, Condition::Create, Condition::Match] {
            fit_to_be_shown(&Refusal::read(self.head, self.body, condition, true));
        }
    }
}

/// A tag is sent back as the very tag that it is.
fn comes_back(etag: &ETag) {
    let header = etag.to_header();
    assert!(header.bytes().all(|byte| matches!(byte, 0x21..=0x7e)), "{header:?}");
    assert_eq!(ETag::from_header(&header).as_ref(), Ok(etag));
}

fn sensible_upload_id(id: &UploadId) {
    let text = id.as_str();
    assert!(!text.is_empty() && text.len() <= 1024 && !text.chars().any(char::is_control), "{text:?}");
}

/// One line of bounded length.
fn fit_to_be_shown(refusal: &Refusal) {
    let Refusal { message, answer, .. } = refusal;
    assert!(message.chars().count() <= MESSAGE_CHARS_MAX + OWN_CHARS_MAX, "{message:?}");
    for text in [message, &answer.code, &answer.request_id] {
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    for text in [&answer.code, &answer.request_id] {
        assert!(text.chars().count() <= CODE_CHARS_MAX, "{text:?}");
    }
}

/// Whatever a server says of times and places leads to a bounded pause, a time, and a region that may stand in a name.
fn fit_to_be_acted_upon(refusal: &Refusal) {
    let policy = RetryPolicy { attempts_max: 8, time_max: Duration::from_secs(60) };
    for elapsed in [Duration::ZERO, Duration::from_secs(59)] {
        let pause = policy.pause(refusal.class, 1, elapsed, refusal.retry_after, 1.0);
        assert!(pause.is_none_or(|pause| elapsed + pause < policy.time_max));
    }
    let Some(aside) = refusal.aside.as_deref() else { return };
    assert!(aside.region.as_deref().is_none_or(|region| mend::region(region) == Some(region)));
    if let Some(date) = aside.date {
        let ours = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        if let Some(seconds) = mend::skew(date, ours, ours) {
            assert!(seconds.unsigned_abs() <= 24 * 60 * 60, "{seconds} s off");
            let _corrected = mend::shifted(ours, seconds);
        }
    }
}
