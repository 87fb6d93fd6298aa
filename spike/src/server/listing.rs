//! One page of a listing: byte order, plain string prefixes, any delimiter, and tokens that nobody can make up.

use std::collections::BTreeMap;
use std::ops::Bound;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::crypto::{Checksum as _, Crc32};
use s3s::{S3Result, s3_error};

/// A page never holds more than this, whatever `max-keys` asks for:
/// [ListObjectsV2](https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html).
pub(super) const KEYS_PER_PAGE_MAX: usize = 1000;

/// Which part of the keys is wanted.
#[derive(Debug, Default)]
pub(super) struct Query<'a> {
    pub(super) prefix: &'a str,
    pub(super) delimiter: Option<&'a str>,
    /// Everything up to here has been seen.
    pub(super) after: Option<Position>,
    /// Keys and common prefixes together.
    pub(super) max: usize,
}

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// At this key.
    Key(String),
    /// After every key that starts with this common prefix.
    Group(String),
}

/// A page in order: keys and, where a delimiter is given, what stands for many keys.
#[derive(Debug)]
pub(super) struct Page<'a, V> {
    pub(super) keys: Vec<(&'a str, &'a V)>,
    pub(super) groups: Vec<String>,
    /// There is more after this; absent on the last page.
    pub(super) next: Option<Position>,
}

/// The first `query.max` entries after `query.after`.
pub(super) fn page<'a, V>(map: &'a BTreeMap<String, V>, query: &Query<'_>) -> Page<'a, V> {
    let mut page = Page { keys: Vec::new(), groups: Vec::new(), next: None };
    let Some(start) = start(query) else { return page };
    // S3 calls an empty page complete: it would never end otherwise.
    if query.max == 0 {
        return page;
    }
    let mut last = None;
    let mut rest = map.range::<str, _>((as_deref(&start), Bound::Unbounded));
    while let Some((key, value)) = rest.next() {
        let Some(tail) = key.strip_prefix(query.prefix) else { break };
        if page.keys.len() + page.groups.len() == query.max {
            page.next = last;
            break;
        }
        match query.delimiter.and_then(|delimiter| Some(tail.find(delimiter)? + delimiter.len())) {
            None => {
                page.keys.push((key, value));
                last = Some(Position::Key(key.clone()));
            }
            Some(end) => {
                let group = &key[..query.prefix.len() + end];
                page.groups.push(group.to_owned());
                last = Some(Position::Group(group.to_owned()));
                match past(group) {
                    Some(next) => {
                        rest = map.range::<str, _>((Bound::Included(next.as_str()), Bound::Unbounded));
                    }
                    None => break,
                }
            }
        }
    }
    page
}

fn as_deref(bound: &Bound<String>) -> Bound<&str> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

/// The first place that may hold an entry, or `None` when there is none.
fn start(query: &Query<'_>) -> Option<Bound<String>> {
    let from_prefix = Bound::Included(query.prefix.to_owned());
    Some(match &query.after {
        Some(Position::Key(key)) if key.as_str() >= query.prefix => Bound::Excluded(key.clone()),
        Some(Position::Group(group)) if group.as_str() >= query.prefix => Bound::Included(past(group)?),
        _ => from_prefix,
    })
}

/// The smallest string greater than everything that starts with `prefix`. UTF-8 sorts as its characters do.
fn past(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // A range of characters steps over the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            text.push(next);
            return Some(text);
        }
    }
    None
}

/// A continuation token: opaque, and refused when it is not one that this bucket gave.
pub(super) fn token(bucket: &str, position: &Position) -> String {
    let (kind, key) = match position {
        Position::Key(key) => (b'k', key),
        Position::Group(group) => (b'g', group),
    };
    let mut bytes = vec![kind];
    bytes.extend_from_slice(key.as_bytes());
    let mut token = seal(bucket, &bytes).to_vec();
    token.extend_from_slice(&bytes);
    STANDARD.encode(token)
}

/// Reads what [`token`] wrote.
pub(super) fn read_token(bucket: &str, token: &str) -> S3Result<Position> {
    let wrong = || s3_error!(InvalidArgument, "The continuation token provided is incorrect");
    let bytes = STANDARD.decode(token).map_err(|_| wrong())?;
    let (given, rest) = bytes.split_at_checked(4).ok_or_else(wrong)?;
    if given != seal(bucket, rest) {
        return Err(wrong());
    }
    let (kind, key) = rest.split_first().ok_or_else(wrong)?;
    let key = String::from_utf8(key.to_vec()).map_err(|_| wrong())?;
    match kind {
        b'k' => Ok(Position::Key(key)),
        b'g' => Ok(Position::Group(key)),
        _ => Err(wrong()),
    }
}

fn seal(bucket: &str, bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc32::new();
    crc.update(bucket.as_bytes());
    crc.update(&[0]);
    crc.update(bytes);
    crc.finalize()
}

/// How many entries a page may hold, from what the request says.
pub(super) fn page_size(asked: Option<i32>, name: &str) -> S3Result<usize> {
    let Some(asked) = asked else { return Ok(KEYS_PER_PAGE_MAX) };
    let asked = usize::try_from(asked)
        .map_err(|_| s3_error!(InvalidArgument, "{name} must be an integer between 0 and 2147483647"))?;
    Ok(asked.min(KEYS_PER_PAGE_MAX))
}

/// How `encoding-type=url` writes a key: a form's encoding, so a space is `+`, with `/` left alone.
pub(super) fn url_encode(text: &str) -> String {
    const ESCAPED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/').remove(b' ');
    utf8_percent_encode(text, ESCAPED).to_string().replace(' ', "+")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(keys: &[&str]) -> BTreeMap<String, ()> {
        keys.iter().map(|key| ((*key).to_owned(), ())).collect()
    }

    /// Every entry of every page, to be compared as one string.
    fn walk(keys: &[&str], prefix: &str, delimiter: Option<&str>, max: usize) -> Vec<String> {
        let map = map(keys);
        let mut seen = Vec::new();
        let mut after = None;
        for _ in 0..100 {
            let page = page(&map, &Query { prefix, delimiter, after, max });
            assert!(page.keys.len() + page.groups.len() <= max);
            let mut entries: Vec<String> = page.keys.iter().map(|(key, ())| (*key).to_owned()).collect();
            entries.extend(page.groups);
            entries.sort();
            seen.extend(entries);
            match page.next {
                Some(next) => after = Some(read_token("b", &token("b", &next)).unwrap()),
                None => return seen,
            }
        }
        panic!("the listing does not end");
    }

    #[test]
    fn every_page_size_gives_the_same_listing() {
        let keys = ["a", "a/b", "a/c", "a//d", "b", "b/x/y", "c/", "c/1", "é/1", "é/2", "😀", "😀/1", "z"];
        for max in 1..keys.len() + 1 {
            assert_eq!(
                walk(&keys, "", Some("/"), max),
                ["a", "a/", "b", "b/", "c/", "z", "é/", "😀", "😀/"],
                "pages of {max}"
            );
            assert_eq!(walk(&keys, "a/", Some("/"), max), ["a//", "a/b", "a/c"], "pages of {max}");
            assert_eq!(walk(&keys, "", None, max).len(), keys.len(), "pages of {max}");
        }
    }

    #[test]
    fn a_prefix_is_a_string_not_a_folder_and_a_delimiter_is_any_string() {
        assert_eq!(walk(&["ab", "abc", "b"], "ab", None, 10), ["ab", "abc"]);
        assert_eq!(walk(&["x--1", "x--2", "x-3"], "", Some("--"), 10), ["x--", "x-3"]);
        assert_eq!(walk(&["x", "y"], "z", None, 10), Vec::<String>::new());
    }

    #[test]
    fn a_page_that_ends_with_the_last_key_is_the_last_page() {
        let map = map(&["a", "b"]);
        assert_eq!(page(&map, &Query { max: 2, ..Query::default() }).next, None);
        assert_eq!(page(&map, &Query { max: 0, ..Query::default() }).next, None);
        assert_eq!(page(&map, &Query { max: 1, ..Query::default() }).next, Some(Position::Key("a".into())));
    }

    #[test]
    fn a_start_inside_a_common_prefix_still_shows_what_is_left_of_it() {
        let map = map(&["a/1", "a/2", "b"]);
        let query = Query {
            delimiter: Some("/"),
            after: Some(Position::Key("a/1".into())),
            max: 9,
            ..Query::default()
        };
        assert_eq!(page(&map, &query).groups, ["a/"]);
    }

    #[test]
    fn the_end_of_a_prefix_steps_over_surrogates_and_the_last_character() {
        assert_eq!(past("a/").as_deref(), Some("a0"));
        assert_eq!(past("a\u{D7FF}").as_deref(), Some("a\u{E000}"));
        assert_eq!(past("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(past("\u{10FFFF}"), None);
    }

    #[test]
    fn a_made_up_or_borrowed_token_is_refused() {
        let position = Position::Group("a/".into());
        assert_eq!(read_token("b", &token("b", &position)).unwrap(), position);
        assert!(read_token("other", &token("b", &position)).is_err());
        for made_up in ["", "a", "YWJj", "!!!!", "AAAAAGthYmM="] {
            assert!(read_token("b", made_up).is_err(), "{made_up}");
        }
    }

    #[test]
    fn url_encoding_writes_a_space_as_plus_and_keeps_slashes() {
        assert_eq!(url_encode("a b+c%2F/é~*"), "a+b%2Bc%252F/%C3%A9%7E*");
    }
}
