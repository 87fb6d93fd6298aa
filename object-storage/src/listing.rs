//! [`Listing`]: which keys one page of a listing shows, decided over keys that come in byte order.
//!
//! Knows no store. Whoever can walk its keys in order, from [`Listing::begin`] on, can list as S3 does.

use std::ops::Bound;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::limits::LIST_PAGE_MAX;
use crate::options::ListOptions;
use crate::storage::PageToken;

/// One page to be made of a listing: the options, checked, and where the page before it ended.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    prefix: &'a str,
    delimiter: Option<&'a str>,
    start_after: Option<&'a str>,
    page_size: usize,
    resume: Resume<'a>,
}

/// How the page before ended. A token is one of these as text: `k` and the key, or `p` and the common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resume<'a> {
    /// There was none.
    Beginning,
    /// It ended with this key: go on after it.
    AfterKey(&'a str),
    /// It ended with this common prefix: go on after all keys that begin with it.
    AfterPrefix(&'a str),
}

/// The entries of a page, before they become what a store returns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listed<T> {
    /// The objects shown by themselves.
    pub(crate) objects: Vec<T>,
    /// The beginnings under which further keys lie.
    pub(crate) common_prefixes: Vec<String>,
    /// The next page, if there is anything on it.
    pub(crate) next: Option<PageToken>,
}

/// The page size asked for, or the largest when none was.
///
/// # Errors
///
/// `InvalidInput` outside 1 to 1,000.
pub(crate) fn check_page_size(page_size: Option<usize>, operation: Operation) -> Result<usize> {
    let size = page_size.unwrap_or(LIST_PAGE_MAX);
    if (1..=LIST_PAGE_MAX).contains(&size) {
        return Ok(size);
    }
    let message = format!("a page has 1 to {LIST_PAGE_MAX} entries, not {size}");
    Err(Error::new(ErrorKind::InvalidInput, operation, message))
}

/// The error for a token that this listing never gave out.
pub(crate) fn foreign_token(operation: Operation) -> Error {
    Error::new(ErrorKind::InvalidInput, operation, "the page token is not of this listing")
}

impl<'a> Listing<'a> {
    /// The page of `options` that `page` names, or the first.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: an impossible page size, or a token that these options cannot have given.
    pub(crate) fn new(options: &'a ListOptions, page: Option<&'a PageToken>) -> Result<Listing<'a>> {
        let mut listing = Listing {
            prefix: &options.prefix,
            delimiter: options.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()),
            start_after: options.start_after.as_deref(),
            page_size: check_page_size(options.page_size, Operation::ListObjects)?,
            resume: Resume::Beginning,
        };
        if let Some(token) = page {
            let resume = listing.read_token(token.as_str());
            listing.resume = resume.ok_or_else(|| foreign_token(Operation::ListObjects))?;
        }
        Ok(listing)
    }

    /// No key outside of this bound is on the page: where a store with an index may begin to walk.
    pub(crate) fn begin(&self) -> Bound<&'a str> {
        let after = match self.resume {
            // The keys under a common prefix begin with it, so the walk passes over them.
            Resume::AfterKey(text) | Resume::AfterPrefix(text) => Some(text),
            Resume::Beginning => None,
        };
        match after.max(self.start_after) {
            Some(after) if after >= self.prefix => Bound::Excluded(after),
            _ => Bound::Included(self.prefix),
        }
    }

    /// The page, out of `entries` in byte order of their keys. May begin anywhere before or at
    /// [`begin`](Self::begin); is read until the page is full and one entry more is known.
    pub(crate) fn page<T>(
        &self,
        entries: impl IntoIterator<Item = T>,
        key: impl for<'t> Fn(&'t T) -> &'t str,
    ) -> Listed<T> {
        let mut page = Listed { objects: Vec::new(), common_prefixes: Vec::new(), next: None };
        let mut last = String::new();
        for entry in entries {
            let key = key(&entry);
            if !self.wants(key) {
                if key > self.prefix && !key.starts_with(self.prefix) {
                    break;
                }
                continue;
            }
            let rolled_up = self.common_prefix(key);
            if rolled_up.is_some() && rolled_up == page.common_prefixes.last().map(String::as_str) {
                continue;
            }
            if page.objects.len() + page.common_prefixes.len() == self.page_size {
                page.next = Some(PageToken::new(last));
                break;
            }
            match rolled_up {
                Some(prefix) => {
                    last = format!("p{prefix}");
                    page.common_prefixes.push(prefix.to_owned());
                }
                None => {
                    last = format!("k{key}");
                    page.objects.push(entry);
                }
            }
        }
        page
    }

    /// Whether a key is part of this listing and was not part of the pages before.
    fn wants(&self, key: &str) -> bool {
        let unseen = match self.resume {
            Resume::Beginning => true,
            Resume::AfterKey(last) => key > last,
            Resume::AfterPrefix(last) => key > last && !key.starts_with(last),
        };
        unseen && key.starts_with(self.prefix) && self.start_after.is_none_or(|after| key > after)
    }

    /// The beginning of a wanted key up to and with the first delimiter after the prefix.
    fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter?;
        let at = key[self.prefix.len()..].find(delimiter)?;
        Some(&key[..self.prefix.len() + at + delimiter.len()])
    }

    /// What a token says, if a page of this listing can have ended so.
    fn read_token(&self, token: &'a str) -> Option<Resume<'a>> {
        let (resume, last) = match token.split_at_checked(1)? {
            ("k", key) => (Resume::AfterKey(key), key),
            ("p", prefix) => (Resume::AfterPrefix(prefix), prefix),
            _ => return None,
        };
        if !last.starts_with(self.prefix) {
            return None;
        }
        let possible = match (resume, self.common_prefix(last)) {
            (Resume::AfterKey(key), None) => self.start_after.is_none_or(|after| key > after),
            (Resume::AfterPrefix(prefix), Some(rolled_up)) => prefix == rolled_up,
            _ => false,
        };
        possible.then_some(resume)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn pages(keys: &BTreeSet<String>, options: &ListOptions) -> Vec<Listed<String>> {
        let mut pages: Vec<Listed<String>> = Vec::new();
        loop {
            let token = pages.last().and_then(|page| page.next.clone());
            let listing = Listing::new(options, token.as_ref()).expect("own token");
            let walk = keys.range::<str, _>((listing.begin(), Bound::Unbounded));
            pages.push(listing.page(walk.cloned(), |key| key));
            if pages.last().is_none_or(|page| page.next.is_none()) {
                return pages;
            }
        }
    }

    /// The whole listing at once, by the definition and without cleverness.
    fn model(keys: &BTreeSet<String>, options: &ListOptions) -> (Vec<String>, Vec<String>) {
        let (mut objects, mut prefixes) = (Vec::new(), BTreeSet::new());
        for key in keys {
            let Some(rest) = key.strip_prefix(&options.prefix) else { continue };
            if options.start_after.as_ref().is_some_and(|after| key <= after) {
                continue;
            }
            match options.delimiter.as_ref().and_then(|delimiter| rest.split_once(delimiter)) {
                Some((head, _)) => {
                    prefixes.insert(format!(
                        "{}{head}{}",
                        options.prefix,
                        options.delimiter.as_deref().unwrap()
                    ));
                }
                None => objects.push(key.clone()),
            }
        }
        (objects, prefixes.into_iter().collect())
    }

    #[test]
    fn a_token_of_another_listing_is_refused() {
        let rolled_up = ListOptions::prefix("a/").with_delimiter("/");
        for token in ["", "x", "kb/c", "ka/b/c", "pa/b", "pa/b/c/", "pa", "é"] {
            let token = PageToken::new(token);
            let refused = Listing::new(&rolled_up, Some(&token)).expect_err("foreign");
            assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{token:?}");
        }
        for token in ["ka/b", "pa/b/", "pa//"] {
            assert!(Listing::new(&rolled_up, Some(&PageToken::new(token))).is_ok(), "{token}");
        }
        let later = ListOptions::prefix("a/").with_start_after("a/m");
        assert!(Listing::new(&later, Some(&PageToken::new("ka/b"))).is_err());
    }

    #[test]
    fn a_page_has_between_one_and_a_thousand_entries() {
        for size in [0, 1001, usize::MAX] {
            let options = ListOptions::default().with_page_size(size);
            assert_eq!(Listing::new(&options, None).expect_err("size").kind(), ErrorKind::InvalidInput);
        }
    }

    proptest! {
        #[test]
        fn the_pages_together_are_the_listing(
            keys in prop::collection::btree_set("[ab/é-]{1,6}", 0..40),
            prefix in "[ab/é-]{0,2}",
            delimiter in prop::option::of(prop::sample::select(vec!["", "/", "a", "--", "é"])),
            start_after in prop::option::of("[ab/é-]{0,4}"),
            page_size in 1usize..6,
        ) {
            let mut options = ListOptions::prefix(prefix).with_page_size(page_size);
            options = match delimiter { Some(delimiter) => options.with_delimiter(delimiter), None => options };
            options.start_after = start_after;
            let pages = pages(&keys, &options);
            let (objects, prefixes) = model(&keys, &options);
            prop_assert_eq!(pages.iter().flat_map(|page| page.objects.clone()).collect::<Vec<_>>(), objects);
            prop_assert_eq!(pages.iter().flat_map(|page| page.common_prefixes.clone()).collect::<Vec<_>>(), prefixes);
            // Every page but the last is full, and the last is empty only when it is the first.
            let entries = |page: &Listed<String>| page.objects.len() + page.common_prefixes.len();
            let (last, full) = pages.split_last().expect("at least one page");
            prop_assert!(full.iter().all(|page| entries(page) == page_size));
            prop_assert!(entries(last) <= page_size && (entries(last) > 0 || full.is_empty()));
            // Beginning the walk at the very first key gives the same first page: the bound is only a short cut.
            let listing = Listing::new(&options, None).expect("valid options");
            prop_assert_eq!(&listing.page(keys.iter().cloned(), |key| key), &pages[0]);
        }
    }
}
