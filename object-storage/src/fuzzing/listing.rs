//! Listings of a store of known keys, as somebody asks for them: by any prefix, from any token.

use futures_util::FutureExt;

use crate::error::ErrorKind;
use crate::ext::ObjectStorageExt;
use crate::key::Key;
use crate::memory::InMemoryStorage;
use crate::options::{ListOptions, ListUploadsOptions};
use crate::storage::{ObjectStorage, PageToken};

/// What is there, in byte order.
const KEYS: [&str; 12] =
    ["a", "a/", "a/b", "a/b/c", "a/b/d", "a//b", "ab", "b", "b\u{0}c", "b/../c", "é/ü", "\u{10ffff}"];

thread_local! {
    static STORE: InMemoryStorage = store();
}

fn store() -> InMemoryStorage {
    let store = InMemoryStorage::new();
    for text in KEYS {
        let key = Key::verbatim(text).expect("a key");
        // Of those that no store writes there are none.
        let _written = store.put_bytes(&key, "x").now_or_never().expect("it never waits");
    }
    store
}

/// Lines: prefix, delimiter, start-after, page size, token. An empty one says nothing of it.
pub fn listing(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let mut line = || lines.next().filter(|line| !line.is_empty()).map(str::to_owned);
    let options = ListOptions {
        prefix: line().unwrap_or_default(),
        delimiter: line(),
        start_after: line(),
        page_size: line().and_then(|line| line.parse().ok()),
    };
    let token = line().map(PageToken::new);
    STORE.with(|store| {
        let all = page_by_page(store, &options, None);
        let some = page_by_page(store, &options, token.as_ref());
        assert!(all.is_some() || some.is_none(), "a token does not mend options");
        if let (Some(all), Some(some)) = (all, some) {
            let from = all.len() - some.len();
            assert_eq!(all[from..], some, "a token gives the rest of the listing, or nothing");
        }
        let uploads = ListUploadsOptions { prefix: options.prefix.clone(), ..ListUploadsOptions::default() };
        match store.list_multipart_uploads_page(&uploads, token.as_ref()).now_or_never().expect("no wait") {
            Ok(page) => assert!(page.uploads.is_empty() && page.next.is_none()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput),
        }
    });
}

/// Every entry of a listing from `token` on, in the order of the pages; `None` if it is refused.
fn page_by_page(
    store: &InMemoryStorage,
    options: &ListOptions,
    token: Option<&PageToken>,
) -> Option<Vec<String>> {
    let mut entries: Vec<String> = Vec::new();
    let mut token = token.cloned();
    // One page each at worst, and the last may be empty.
    for pages in 0.. {
        assert!(pages <= KEYS.len(), "pages without end");
        let page = match store.list_page(options, token.as_ref()).now_or_never().expect("it never waits") {
            Ok(page) => page,
            Err(error) => {
                assert_eq!((error.kind(), pages), (ErrorKind::InvalidInput, 0), "{error}");
                return None;
            }
        };
        let objects = page.objects.iter().map(|object| object.key.as_str());
        assert!(objects.clone().all(|key| KEYS.contains(&key)), "keys that are not there");
        let mut shown: Vec<&str> = objects.chain(page.common_prefixes.iter().map(String::as_str)).collect();
        assert!(shown.iter().all(|shown| shown.starts_with(&options.prefix)));
        assert!(options.page_size.is_none_or(|size| shown.len() <= size));
        shown.sort_unstable();
        entries.extend(shown.into_iter().map(str::to_owned));
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert!(entries.is_sorted_by(|one, next| one < next), "out of order, or twice: {entries:?}");
    Some(entries)
}
