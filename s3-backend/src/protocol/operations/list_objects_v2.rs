//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>

use super::{
    Action, AnswerBody, Condition, Effect, Encoding, Error, ErrorKind, Key, Operation, Place, Refusal,
    Request, ResponseHead, Result, is_truncated, list_time, number, root,
};
use crate::protocol::limits::xml_bytes_max;
use crate::protocol::memory::Need;
use crate::protocol::request::Method;
use object_storage::limits::LIST_PAGE_MAX;
use object_storage::{ETag, ListOptions, ListPage, ObjectMeta, PageToken};

pub(crate) struct ListObjectsV2<'a> {
    pub(crate) options: &'a ListOptions,
    pub(crate) page: Option<&'a PageToken>,
}

impl ListObjectsV2<'_> {
    fn page_size(&self) -> usize {
        self.options.page_size.unwrap_or(LIST_PAGE_MAX)
    }
}

impl Action for ListObjectsV2<'_> {
    type Output = ListPage;
    const OPERATION: Operation = Operation::ListObjects;

    fn key(&self) -> Option<&Key> {
        None
    }

    fn effect(&self) -> Effect {
        Effect::Read
    }

    fn request(&self, place: &Place) -> Result<Request> {
        check_page_size(Self::OPERATION, self.options.page_size)?;
        let start_after = self.options.start_after.as_ref().map(|after| format!("{}{after}", place.prefix));
        let delimiter = self.options.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
        let request = place.bucket(Method::Get);
        Ok(request
            .query("list-type", "2")
            .query("encoding-type", "url")
            .query("prefix", format!("{}{}", place.prefix, self.options.prefix))
            .query("max-keys", self.page_size().to_string())
            .query_if("delimiter", delimiter)
            .query_if("start-after", start_after)
            .query_if("continuation-token", self.page.map(PageToken::as_str)))
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

    fn read(&self, place: &Place, head: &ResponseHead, body: &[u8]) -> Result<ListPage, Refusal> {
        let root = root(head, body, "ListBucketResult", Condition::Other)?;
        let encoding = Encoding::of(&root);
        let violation = |message: &str| Refusal::violation(head, message);
        let after = self.options.start_after.as_deref().unwrap_or_default();

        let mut objects = Vec::new();
        for contents in root.children_named("Contents") {
            let key = contents.text_of("Key").and_then(|text| encoding.decode(text));
            let Some(full) = key else { return Err(violation("an entry without a readable key")) };
            // The bare prefix itself ("logs/") is somebody's folder marker, not a key of ours.
            if !place.prefix.is_empty() && full == place.prefix {
                continue;
            }
            let Some(key) = place.own(&full) else { return Err(violation("a key that no listing may hold")) };
            if !key.as_str().starts_with(&self.options.prefix) {
                return Err(violation("a key outside of the prefix asked for"));
            }
            if !after.is_empty() && key.as_str() <= after {
                continue;
            }
            let size =
                number(contents.text_of("Size")).ok_or_else(|| violation("an entry without a size"))?;
            let mut meta = ObjectMeta::new(key, size);
            meta.etag = contents.text_of("ETag").and_then(|text| ETag::from_header(text).ok());
            meta.last_modified = list_time(contents.text_of("LastModified"));
            objects.push(meta);
        }

        let mut common_prefixes = Vec::new();
        for entry in root.children_named("CommonPrefixes") {
            let full = entry.text_of("Prefix").and_then(|text| encoding.decode(text));
            let own = full.as_deref().and_then(|full| full.strip_prefix(&place.prefix));
            match own {
                Some(own) if own.starts_with(&self.options.prefix) => common_prefixes.push(own.to_owned()),
                _ => return Err(violation("a common prefix outside of the prefix asked for")),
            }
        }
        if objects.len() + common_prefixes.len() > self.page_size() {
            return Err(violation("more entries than a page may hold"));
        }

        const TOKEN: &str = "NextContinuationToken";
        let next = match (is_truncated(&root, TOKEN), root.text_of(TOKEN)) {
            (false, _) => None,
            (true, Some(token)) if self.page.is_some_and(|page| page.as_str() == token) => {
                return Err(violation("the next page is the same page again"));
            }
            (true, Some(token)) if !token.is_empty() => Some(PageToken::new(token)),
            (true, _) => {
                return Err(violation("more is to come and the answer does not say how to ask for it"));
            }
        };
        Ok(ListPage::new(objects, common_prefixes, next))
    }
}

pub(super) fn check_page_size(operation: Operation, entries: Option<usize>) -> Result<()> {
    match entries {
        Some(entries) if !(1..=LIST_PAGE_MAX).contains(&entries) => {
            let message = format!("a page holds 1 to {LIST_PAGE_MAX} entries, not {entries}");
            Err(Error::new(ErrorKind::InvalidInput, operation, message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{head, place};
    use super::*;

    fn read(prefix: &str, options: &ListOptions, body: &str) -> Result<ListPage, String> {
        let list = ListObjectsV2 { options, page: None };
        list.read(&place(prefix), &head(200, &[]), body.as_bytes()).map_err(|refusal| refusal.message)
    }

    fn document(inside: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"x\">\
             <EncodingType>url</EncodingType>{inside}</ListBucketResult>"
        )
    }

    fn entry(key: &str) -> String {
        format!(
            "<Contents><Key>{key}</Key><Size>3</Size><ETag>&quot;t&quot;</ETag>\
             <LastModified>2009-10-12T17:50:30.000Z</LastModified></Contents>"
        )
    }

    #[test]
    fn keys_are_decoded_once_and_stripped_of_our_prefix() {
        let body = document(&format!(
            "{}{}{}<CommonPrefixes><Prefix>p%2Fdir%2F</Prefix></CommonPrefixes><IsTruncated>true</IsTruncated>\
             <NextContinuationToken>n</NextContinuationToken>",
            entry("p/"),
            entry("p%2Fa+b%2Bc%252F"),
            entry("p%2Fx%2F%2Fy%2F")
        ));
        let page = read("p/", &ListOptions::default(), &body).expect("a page");
        let keys: Vec<_> = page.objects.iter().map(|meta| meta.key.as_str()).collect();
        assert_eq!(keys, ["a b+c%2F", "x//y/"]);
        assert_eq!(page.objects[0].etag.as_ref().map(ETag::as_str), Some("t"));
        assert!(page.objects[0].last_modified.is_some());
        assert_eq!(page.common_prefixes, ["dir/"]);
        assert_eq!(page.next, Some(PageToken::new("n")));
    }

    #[test]
    fn a_listing_that_answers_another_question_is_refused() {
        let options = ListOptions::prefix("a");
        for inside in [
            entry("b"),
            entry(""),
            entry("%FF"),
            "<Contents><Size>1</Size></Contents>".to_owned(),
            "<Contents><Key>a</Key></Contents>".to_owned(),
            "<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>".to_owned(),
            "<IsTruncated>true</IsTruncated>".to_owned(),
        ] {
            assert!(read("", &options, &document(&inside)).is_err(), "{inside}");
        }
        let options = options.with_page_size(1);
        assert!(read("", &options, &document(&format!("{}{}", entry("a1"), entry("a2")))).is_err());
        assert!(read("", &options, "<ListAllMyBucketsResult/>").is_err());
        assert!(read("", &options, "").is_err());
    }

    #[test]
    fn a_store_that_does_not_encode_is_read_as_it_is() {
        let body = format!("<ListBucketResult>{}</ListBucketResult>", entry("a+b%2F"));
        let page = read("", &ListOptions::default(), &body).expect("a page");
        assert_eq!(page.objects[0].key.as_str(), "a+b%2F");
    }
}
