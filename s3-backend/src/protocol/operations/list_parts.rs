//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>

use super::{
    Action, AnswerBody, Condition, Effect, Element, Error, ErrorKind, Key, Operation, Place, Refusal,
    Request, ResponseHead, Result, is_truncated, number, root,
};
use crate::protocol::checksum::Crc64Nvme;
use crate::protocol::limits::xml_bytes_max;
use crate::protocol::memory::Need;
use crate::protocol::request::Method;
use object_storage::{ETag, PageToken, Part, PartNumber, PartsPage, UploadId};

pub(crate) struct ListParts<'a> {
    pub(crate) key: &'a Key,
    pub(crate) upload_id: &'a UploadId,
    pub(crate) page: Option<&'a PageToken>,
    /// How many to ask for, at most [`LIST_PAGE_MAX`](object_storage::limits::LIST_PAGE_MAX). The answer may take as much memory as they need.
    pub(crate) parts_max: usize,
}

/// Parts, and what the store says of their bytes.
#[derive(Debug)]
pub(crate) struct ListedParts {
    pub(crate) page: PartsPage,
    /// Whether this upload was begun with checksums of the kind that we send.
    pub(crate) takes_crc64nvme: bool,
    /// One for each part of the page.
    pub(crate) checksums: Vec<Option<Crc64Nvme>>,
}

impl Action for ListParts<'_> {
    type Output = ListedParts;
    const OPERATION: Operation = Operation::ListParts;

    fn key(&self) -> Option<&Key> {
        Some(self.key)
    }

    fn effect(&self) -> Effect {
        Effect::Read
    }

    fn request(&self, place: &Place) -> Result<Request> {
        let marker = match self.page {
            None => None,
            Some(token) => Some(token.as_str().parse::<u16>().map_err(|_| {
                Error::new(ErrorKind::InvalidInput, Self::OPERATION, "the page token is not of this listing")
                    .with_key(self.key)
            })?),
        };
        let request = place.object(Self::OPERATION, self.key, Method::Get)?;
        Ok(request
            .query("uploadId", self.upload_id.as_str())
            .query("max-parts", self.parts_max.to_string())
            .query_if("part-number-marker", marker.map(|marker| marker.to_string())))
    }

    fn body(&self) -> AnswerBody {
        AnswerBody::Xml
    }

    fn answer_bytes_max(&self) -> usize {
        xml_bytes_max(self.parts_max)
    }

    fn need(&self) -> Need {
        Need::Bytes(self.answer_bytes_max() as u64)
    }

    fn read(&self, _: &Place, head: &ResponseHead, body: &[u8]) -> Result<ListedParts, Refusal> {
        let root = root(head, body, "ListPartsResult", Condition::Other)?;
        let part = |entry: &Element| {
            let number =
                u16::try_from(number(entry.text_of("PartNumber"))?).ok().and_then(PartNumber::new)?;
            let etag = ETag::from_header(entry.text_of("ETag")?).ok()?;
            Some(Part::new(number, etag, super::number(entry.text_of("Size"))?))
        };
        let checksums = root.children_named("Part").map(|entry| {
            entry.text_of("ChecksumCRC64NVME").and_then(|text| Crc64Nvme::parse(text.trim().as_bytes()))
        });
        let checksums: Vec<Option<Crc64Nvme>> = checksums.collect();
        let takes_crc64nvme =
            root.text_of("ChecksumAlgorithm").is_some_and(|algorithm| algorithm.trim() == "CRC64NVME");
        let parts: Option<Vec<Part>> = root.children_named("Part").map(part).collect();
        let parts = parts.ok_or_else(|| Refusal::violation(head, "a part without number, tag or size"))?;
        if parts.len() > self.parts_max {
            return Err(Refusal::violation(head, "more parts than were asked for"));
        }
        // SeaweedFS names a part as often as it was sent. Twice the same says the same; two that differ say nothing.
        let (parts, checksums): (Vec<Part>, Vec<_>) = {
            let mut both: Vec<_> = parts.into_iter().zip(checksums).collect();
            both.dedup();
            both.into_iter().unzip()
        };
        if !parts.windows(2).all(|pair| pair[0].number < pair[1].number) {
            return Err(Refusal::violation(head, "the parts are not in order of their numbers"));
        }
        let after = self.page.and_then(|page| page.as_str().parse::<u16>().ok()).unwrap_or(0);
        if parts.first().is_some_and(|first| first.number.get() <= after) {
            return Err(Refusal::violation(head, "the parts begin before the page asked for"));
        }
        // The last part of the page is the marker of the next one, whether or not the answer repeats it.
        let next = match (is_truncated(&root, "NextPartNumberMarker"), parts.last()) {
            (false, _) => None,
            (true, Some(last)) => Some(PageToken::new(last.number.to_string())),
            (true, None) => return Err(Refusal::violation(head, "more is to come after an empty page")),
        };
        Ok(ListedParts { page: PartsPage::new(parts, next), takes_crc64nvme, checksums })
    }
}

#[cfg(test)]
mod tests {
    use object_storage::limits::LIST_PAGE_MAX;

    use super::super::testing::{head, key, place};
    use super::*;

    #[test]
    fn parts_are_read_in_order_or_not_at_all() {
        let key = key("k");
        let upload_id = UploadId::new("u");
        let list = ListParts { key: &key, upload_id: &upload_id, page: None, parts_max: LIST_PAGE_MAX };
        let read = |inside: &str| {
            let body = format!("<ListPartsResult>{inside}</ListPartsResult>");
            list.read(&place(""), &head(200, &[]), body.as_bytes())
        };
        let part = |number: &str| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>\"t\"</ETag><Size>5</Size></Part>")
        };
        let listed =
            read(&format!("{}{}<IsTruncated>true</IsTruncated>", part("2"), part("9"))).expect("a page");
        assert!(!listed.takes_crc64nvme && listed.checksums == [None, None]);
        let page = listed.page;
        assert_eq!(page.parts.len(), 2);
        assert_eq!(page.next, Some(PageToken::new("9")));
        let described =
            part("1").replace("<Size>", "<ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME><Size>");
        let listed = read(&format!("<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>{described}"));
        let listed = listed.expect("a page");
        assert!(listed.takes_crc64nvme);
        assert_eq!(listed.checksums, [Crc64Nvme::parse(b"rosUhgp5mIg=")]);
        assert!(read(&format!("{}{}", part("9"), part("2"))).is_err());
        let twice = read(&format!("{}{}{}", part("2"), part("2"), part("9"))).expect("a page").page;
        assert_eq!(twice.parts.len(), 2, "named twice, and the same");
        assert!(read(&format!("{}{}", part("2"), part("2").replace("5<", "6<"))).is_err(), "two that differ");
        assert!(read(&part("0")).is_err());
        assert!(read(&part("10001")).is_err());
        assert!(read("<IsTruncated>true</IsTruncated>").is_err());
        let parts = |to: u32| (1..=to).map(|number| part(&number.to_string())).collect::<String>();
        assert_eq!(read(&parts(1000)).expect("a page").page.parts.len(), 1000);
        assert!(read(&parts(1001)).is_err());
    }

    #[test]
    fn who_wants_to_know_whether_there_is_any_part_asks_for_one_and_keeps_no_more() {
        let key = key("k");
        let upload_id = UploadId::new("u");
        let list = ListParts { key: &key, upload_id: &upload_id, page: None, parts_max: 1 };
        let request = list.request(&place("")).expect("a request");
        assert!(request.query.iter().any(|(name, value)| (*name, &**value) == ("max-parts", "1")));
        assert!(list.answer_bytes_max() < 100 * 1024);
        let all = ListParts { parts_max: LIST_PAGE_MAX, ..list };
        assert_eq!(all.answer_bytes_max(), xml_bytes_max(LIST_PAGE_MAX));
    }
}
