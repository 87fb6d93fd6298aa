//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>

use super::list_objects_v2::check_page_size;
use super::{
    Action, AnswerBody, Condition, Effect, Error, ErrorKind, Key, Operation, Place, Refusal, Request,
    ResponseHead, Result, is_truncated, list_time, root, upload_id,
};
use crate::protocol::header;
use crate::protocol::limits::xml_bytes_max;
use crate::protocol::memory::Need;
use crate::protocol::request::Method;
use object_storage::limits::LIST_PAGE_MAX;
use object_storage::{ListUploadsOptions, PageToken, UploadInfo, UploadsPage};

pub(crate) struct ListMultipartUploads<'a> {
    pub(crate) options: &'a ListUploadsOptions,
    pub(crate) page: Option<&'a PageToken>,
}

/// Between key and upload id in a page token. The last one counts: ids hold no newline.
const SEPARATOR: char = '\n';

// Keys are not asked for in encoded form: SeaweedFS says that it encodes them and does not, and nothing could tell
// `a+b` from `a b` then. Uploads are begun with keys that XML can carry.
impl ListMultipartUploads<'_> {
    fn page_size(&self) -> usize {
        self.options.page_size.unwrap_or(LIST_PAGE_MAX)
    }
}

impl Action for ListMultipartUploads<'_> {
    type Output = UploadsPage;
    const OPERATION: Operation = Operation::ListMultipartUploads;

    fn key(&self) -> Option<&Key> {
        None
    }

    fn effect(&self) -> Effect {
        Effect::Read
    }

    fn request(&self, place: &Place) -> Result<Request> {
        check_page_size(Self::OPERATION, self.options.page_size)?;
        let markers = match self.page {
            None => None,
            Some(token) => Some(token.as_str().rsplit_once(SEPARATOR).ok_or_else(|| {
                Error::new(ErrorKind::InvalidInput, Self::OPERATION, "the page token is not of this listing")
            })?),
        };
        let request = place.bucket(Method::Get);
        Ok(request
            .query("uploads", "")
            .query("prefix", format!("{}{}", place.prefix, self.options.prefix))
            .query("max-uploads", self.page_size().to_string())
            .query_if("key-marker", markers.map(|(key, _)| key))
            .query_if("upload-id-marker", markers.map(|(_, id)| id).filter(|id| !id.is_empty())))
    }

    fn body(&self) -> AnswerBody {
        AnswerBody::Xml
    }

    fn answer_bytes_max(&self) -> usize {
        xml_bytes_max(self.page_size())
    }

    fn need(&self) -> Need {
        Need::Bytes(self.answer_bytes_max() as u64)
    }

    fn read(&self, place: &Place, head: &ResponseHead, body: &[u8]) -> Result<UploadsPage, Refusal> {
        let root = root(head, body, "ListMultipartUploadsResult", Condition::Other)?;
        let violation = |message: &str| Refusal::violation(head, message);
        let mut uploads = Vec::new();
        for entry in root.children_named("Upload") {
            let key = entry.text_of("Key").and_then(|full| place.own(full));
            let id = upload_id(entry.text_of("UploadId"));
            let (Some(key), Some(id)) = (key, id) else {
                return Err(violation("an upload without key or id"));
            };
            if !key.as_str().starts_with(&self.options.prefix) {
                return Err(violation("a key outside of the prefix asked for"));
            }
            uploads.push(UploadInfo::new(key, id, list_time(entry.text_of("Initiated"))));
        }
        if uploads.len() > self.page_size() {
            return Err(violation("more uploads than a page may hold"));
        }
        let marker = |name: &str| root.text_of(name).filter(|text| !text.is_empty());
        // Where the answer leaves the key out (SeaweedFS names the id only), the last entry is where to go on.
        let last = root.children_named("Upload").last().and_then(|entry| entry.text_of("Key"));
        let next = match (is_truncated(&root, "NextKeyMarker"), marker("NextKeyMarker").or(last)) {
            (false, _) => None,
            (true, Some(key)) => {
                let id = marker("NextUploadIdMarker").unwrap_or_default();
                if id.contains(SEPARATOR) {
                    return Err(violation("a marker that is no upload id"));
                }
                let next = PageToken::new(format!("{key}{SEPARATOR}{id}"));
                if self.page == Some(&next) {
                    return Err(violation("the next page is the same page again"));
                }
                Some(next)
            }
            (true, None) => return Err(violation("more is to come and the answer does not say how to ask")),
        };
        // By this clock `Initiated` was set, or by one beside it.
        Ok(UploadsPage::new(uploads, next).with_as_of(header::date(&head.headers)))
    }
}
