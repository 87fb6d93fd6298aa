//! The listing: 100,000 keys, made once.

use std::fmt::Write;

use crate::answer::MOMENT;

const PAGES: usize = 100;
pub(crate) const KEYS_A_PAGE: usize = 1_000;

pub(crate) struct Listing {
    /// What stands in each page from its first key to its end.
    pages: Vec<String>,
}

impl Listing {
    pub(crate) fn new() -> Listing {
        let page = |page: usize| {
            let mut text = String::new();
            for key in page * KEYS_A_PAGE..(page + 1) * KEYS_A_PAGE {
                write!(
                    text,
                    "<Contents><Key>list/{key:08}</Key><LastModified>{MOMENT}</LastModified>\
                     <ETag>&quot;9b2cf535f27731c974343645a3985328&quot;</ETag><Size>4096</Size>\
                     <StorageClass>STANDARD</StorageClass></Contents>"
                )
                .expect("a String takes everything");
            }
            text + "</ListBucketResult>"
        };
        Listing { pages: (0..PAGES).map(page).collect() }
    }

    pub(crate) fn page(&self, page: usize) -> &[u8] {
        self.pages[page].as_bytes()
    }

    /// Which page a query asks for, and what stands in it before the first key.
    pub(crate) fn opening(query: &str) -> (usize, String) {
        let parameter =
            |wanted: &str| query.split('&').find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix('='));
        let page = parameter("continuation-token")
            .and_then(|token| token.strip_prefix("page").unwrap_or(token).parse().ok());
        let page: usize = page.filter(|page| *page < PAGES).unwrap_or(0);
        let mut text = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bench</Name>",
        );
        let prefix = parameter("prefix").unwrap_or("").replace("%2F", "/");
        write!(
            text,
            "<Prefix>{prefix}</Prefix><KeyCount>{KEYS_A_PAGE}</KeyCount><MaxKeys>{KEYS_A_PAGE}</MaxKeys>"
        )
        .expect("a String takes everything");
        if parameter("encoding-type").is_some() {
            text.push_str("<EncodingType>url</EncodingType>");
        }
        if page + 1 < PAGES {
            write!(
                text,
                "<NextContinuationToken>page{}</NextContinuationToken><IsTruncated>true</IsTruncated>",
                page + 1
            )
            .expect("a String takes everything");
        } else {
            text.push_str("<IsTruncated>false</IsTruncated>");
        }
        (page, text)
    }
}
