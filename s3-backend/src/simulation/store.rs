//! [`Store`]: what S3 promises, as a few lines: requests are carried out one at a time, each whole or not at all. It
//! reads the requests that the product makes, and answers with what the product reads.

use std::time::Duration;

use object_storage::OperationId;

use super::{KEYS, REGISTER};
use crate::protocol::header::OPERATION_ID;
use crate::protocol::headers::Headers;
use crate::protocol::request::{Method, Request, ResponseHead};

/// An answer, head and body.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) head: ResponseHead,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn error(status: u16, code: &str) -> Answer {
        let body = format!("<Error><Code>{code}</Code></Error>");
        Answer { head: ResponseHead { status, headers: Headers::default() }, body }
    }

    pub(super) fn good(status: u16, fields: &[(&str, &str)]) -> Answer {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.push(name.as_bytes(), value.as_bytes());
        }
        Answer { head: ResponseHead { status, headers }, body: String::new() }
    }

    /// A good answer that something in between has made a page of.
    pub(super) fn garbled() -> Answer {
        Answer { body: "<html>welcome</html>".to_owned(), ..Answer::good(200, &[]) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) id: Option<OperationId>,
    pub(super) tag: String,
    content: u32,
}

#[derive(Debug)]
struct Upload {
    id: OperationId,
    content: u32,
    /// The tag of what it became.
    joined: Option<String>,
}

/// The truth.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) objects: [Option<Version>; KEYS],
    uploads: Vec<(String, Upload)>,
    tags: u32,
    /// Whether a tag is a digest of the content, and so comes back with it.
    repeating_tags: bool,
    /// Whether a completion that is repeated is answered as the first was, as on AWS.
    repeats_complete: bool,
    /// What was applied, in this order. Only to explain what the history shows.
    pub(super) applied: Vec<(OperationId, Duration)>,
}

impl Store {
    pub(super) fn new(first: OperationId, repeating_tags: bool, repeats_complete: bool) -> Store {
        let mut store = Store {
            objects: [const { None }; KEYS],
            uploads: Vec::new(),
            tags: 0,
            repeating_tags,
            repeats_complete,
            applied: Vec::new(),
        };
        store.write(REGISTER, Some(first), 0, Duration::ZERO);
        store
    }

    /// An upload of one part.
    pub(super) fn begin_upload(&mut self, name: &str, id: OperationId, content: u32) {
        self.uploads.push((name.to_owned(), Upload { id, content, joined: None }));
    }

    pub(super) fn tag(&self, key: usize) -> Option<&str> {
        self.objects[key].as_ref().map(|version| version.tag.as_str())
    }

    fn write(&mut self, key: usize, id: Option<OperationId>, content: u32, now: Duration) -> String {
        self.tags += 1;
        let tag = if self.repeating_tags { format!("c{content}") } else { format!("t{}", self.tags) };
        self.objects[key] = Some(Version { id, tag: tag.clone(), content });
        self.applied.extend(id.map(|id| (id, now)));
        tag
    }

    /// Carries a request out.
    pub(super) fn arrive(&mut self, request: &Request, now: Duration) -> Answer {
        let key = key_of(request);
        match request.method {
            Method::Head => match &self.objects[key] {
                None => Answer::good(404, &[]),
                Some(version) => {
                    let id = version.id.map(|id| id.to_string()).unwrap_or_default();
                    let tag = quoted(&version.tag);
                    Answer::good(200, &[("content-length", "1"), ("etag", &tag), (OPERATION_ID, &id)])
                }
            },
            Method::Put => self.refuses(key, request).unwrap_or_else(|| {
                let id = header(request, OPERATION_ID).and_then(|text| text.parse().ok());
                let content = request.payload.to_bytes();
                let content = std::str::from_utf8(&content).ok().and_then(|text| text.parse().ok());
                let tag = self.write(key, id, content.expect("the content is a number"), now);
                Answer::good(200, &[("etag", &quoted(&tag))])
            }),
            Method::Delete => match self.refuses(key, request) {
                Some(refusal) => refusal,
                None => {
                    self.objects[key] = None;
                    Answer::good(204, &[])
                }
            },
            Method::Post => self.complete(key, request, now),
            Method::Get => match &self.objects[key] {
                None => Answer::error(404, "NoSuchKey"),
                Some(version) => {
                    let body = version.content.to_string();
                    let (length, tag) = (body.len().to_string(), quoted(&version.tag));
                    Answer { body, ..Answer::good(200, &[("content-length", &length), ("etag", &tag)]) }
                }
            },
        }
    }

    fn complete(&mut self, key: usize, request: &Request, now: Duration) -> Answer {
        let (_, name) = request.query.first().expect("a completion names its upload");
        let at = self.uploads.iter().position(|(known, _)| known == name).expect("it was begun");
        if let Some(tag) = &self.uploads[at].1.joined {
            return if self.repeats_complete { joined(tag) } else { Answer::error(404, "NoSuchUpload") };
        }
        if let Some(refusal) = self.refuses(key, request) {
            return refusal;
        }
        let (id, content) = (self.uploads[at].1.id, self.uploads[at].1.content);
        let tag = self.write(key, Some(id), content, now);
        let answer = joined(&tag);
        self.uploads[at].1.joined = Some(tag);
        answer
    }

    /// What is said when the condition does not hold.
    fn refuses(&self, key: usize, request: &Request) -> Option<Answer> {
        if header(request, "if-none-match").is_some() && self.objects[key].is_some() {
            return Some(Answer::error(412, "PreconditionFailed"));
        }
        let wanted = header(request, "if-match")?;
        match self.tag(key) {
            None => Some(Answer::error(404, "NoSuchKey")),
            Some(tag) if quoted(tag) != wanted => Some(Answer::error(412, "PreconditionFailed")),
            Some(_) => None,
        }
    }
}

fn joined(tag: &str) -> Answer {
    let tag = format!(
        "<CompleteMultipartUploadResult><ETag>&quot;{tag}&quot;</ETag></CompleteMultipartUploadResult>"
    );
    Answer { body: tag, ..Answer::good(200, &[]) }
}

fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_ref())
}

/// The last segment of the path is the number of the key.
fn key_of(request: &Request) -> usize {
    let segment = request.path.rsplit('/').next().unwrap_or_default();
    segment.parse().expect("keys are numbers here")
}

/// Whether a request carries a condition on what it writes.
pub(super) fn is_conditional(request: &Request) -> bool {
    header(request, "if-match").or_else(|| header(request, "if-none-match")).is_some()
}
