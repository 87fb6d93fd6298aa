//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>

use super::list_objects_v2::check_page_size;
use super::{
    Action, AnswerBody, Condition, Effect, Encoding, Error, ErrorKind, Key, Operation, Place, Refusal,
    Request, ResponseHead, Result, is_truncated, list_time, root,
};
use crate::protocol::request::Method;
use object_storage::limits::LIST_PAGE_MAX;
use object_storage::{ListUploadsOptions, PageToken, UploadId, UploadInfo, UploadsPage};

pub(crate) struct ListMultipartUploads<'a> {
    pub(crate) options: &'a ListUploadsOptions,
    pub(crate) page: Option<&'a PageToken>,
}

/// Between key and upload id in a page token: no key holds a newline.
const SEPARATOR: char = '\n';

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
            Some(token) => Some(token.as_str().split_once(SEPARATOR).ok_or_else(|| {
                Error::new(ErrorKind::InvalidInput, Self::OPERATION, "the page token is not of this listing")
            })?),
        };
        let request = place.bucket(Self::OPERATION, Method::Get)?;
        Ok(request
            .query("uploads", "")
            .query("encoding-type", "url")
            .query("prefix", format!("{}{}", place.prefix, self.options.prefix))
            .query("max-uploads", self.options.page_size.unwrap_or(LIST_PAGE_MAX).to_string())
            .query_if("key-marker", markers.map(|(key, _)| key))
            .query_if("upload-id-marker", markers.map(|(_, id)| id).filter(|id| !id.is_empty())))
    }

    fn body(&self) -> AnswerBody {
        AnswerBody::Xml
    }

    fn read(&self, place: &Place, head: &ResponseHead, body: &[u8]) -> Result<UploadsPage, Refusal> {
        let root = root(head, body, "ListMultipartUploadsResult", Condition::Other)?;
        let encoding = Encoding::of(&root);
        let violation = |message: &str| Refusal::violation(head, message);
        let mut uploads = Vec::new();
        for entry in root.children_named("Upload") {
            let full = entry.text_of("Key").and_then(|text| encoding.decode(text));
            let key = full.as_deref().and_then(|full| place.own(full));
            let id = entry.text_of("UploadId").map(str::trim).filter(|id| !id.is_empty());
            let (Some(key), Some(id)) = (key, id) else {
                return Err(violation("an upload without key or id"));
            };
            if !key.as_str().starts_with(&self.options.prefix) {
                return Err(violation("a key outside of the prefix asked for"));
            }
            uploads.push(UploadInfo::new(key, UploadId::new(id), list_time(entry.text_of("Initiated"))));
        }
        let next = if is_truncated(&root, "NextKeyMarker") {
            let key = root
                .text_of("NextKeyMarker")
                .and_then(|text| encoding.decode(text))
                .filter(|key| !key.is_empty());
            let id = root.text_of("NextUploadIdMarker").unwrap_or_default();
            let Some(key) = key else {
                return Err(violation("more is to come and the answer does not say how to ask"));
            };
            if key.contains(SEPARATOR) {
                return Err(violation("a marker that is no key"));
            }
            let next = PageToken::new(format!("{key}{SEPARATOR}{id}"));
            if self.page == Some(&next) {
                return Err(violation("the next page is the same page again"));
            }
            Some(next)
        } else {
            None
        };
        Ok(UploadsPage::new(uploads, next))
    }
}
