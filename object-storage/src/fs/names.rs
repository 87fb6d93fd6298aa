//! How a key becomes a path below the root, and back. Pure: no file is touched here.
//!
//! | key | file |
//! |---|---|
//! | `a` | `a` |
//! | `a/b` | `a%d/b` |
//! | `50%` | `50%25` |
//! | 300 times `x` | 240 times `x`, then `%c/`, then 60 times `x` |
//!
//! A segment of the key is written as it is, except for `%`, which becomes `%25`. A `%` that is not followed by
//! two hexadecimal digits is therefore ours: `%d` ends the name of a directory, so that the objects `a` and
//! `a/b` live side by side; `%c` ends the name of a directory that holds the rest of names too long for one
//! file name (Linux allows 255 bytes); `%tmp`, `%lock` and `%uploads` are the store's own. No key can become
//! one of them.
//!
//! Every path has one spelling: a name that [`segment_of`] cannot turn back into a segment that gives the same
//! name was made by somebody else.

use crate::key::Key;

/// The directory of files that are being written.
pub(super) const TMP: &str = "%tmp";
/// The directory of the files whose locks keep compare and replace together.
pub(super) const LOCK: &str = "%lock";
/// The directory of the multipart uploads.
pub(super) const UPLOADS: &str = "%uploads";

/// The longest piece of an encoded name, in bytes: 255, which is what Linux file systems take, without room for
/// the markers, and with some left for file systems that count a little differently.
const PIECE_BYTES_MAX: usize = 240;

/// Ends the name of a directory that stands for a segment followed by `/`.
const DIRECTORY: &str = "%d";
/// Ends the name of a directory that stands for the beginning of a long segment.
const CONTINUED: &str = "%c";

/// A directory that file systems of the ext family put into their root. An object of this name is spelled
/// `%6Cost+found`, the one case where another byte than `%` is escaped.
const LOST_AND_FOUND: &str = "lost+found";

/// Where the object of a key lives, relative to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// The directories from the root downwards.
    pub(super) directories: Vec<String>,
    /// The name of the file in the last of them.
    pub(super) file: String,
}

impl Location {
    /// The place of an everyday key. Verbatim keys have none: the caller refuses them first.
    pub(super) fn of(key: &Key) -> Location {
        assert!(!key.is_verbatim(), "verbatim keys are refused before they reach a path");
        let mut directories = Vec::new();
        let mut segments = key.as_str().split('/').peekable();
        loop {
            let segment = segments.next().expect("a key has at least one segment");
            if segments.peek().is_none() {
                let file = push_segment(segment, &mut directories);
                return Location { directories, file };
            }
            let last = push_segment(segment, &mut directories);
            directories.push(last + DIRECTORY);
        }
    }

    /// The path of the directory that holds the file, empty for the root.
    pub(super) fn directory(&self) -> String {
        self.directories.join("/")
    }

    /// The path of the file.
    pub(super) fn path(&self) -> String {
        join(&self.directory(), &self.file)
    }
}

/// The path of the directory that holds all keys beginning with `prefix`, which is empty or ends with `/`;
/// `None` when no everyday key can begin so.
pub(super) fn directory_of_prefix(prefix: &str) -> Option<String> {
    let Some(prefix) = prefix.strip_suffix('/') else {
        assert!(prefix.is_empty(), "the caller cuts the prefix after a slash");
        return Some(String::new());
    };
    Key::parse(prefix).ok()?;
    let mut directories = Vec::new();
    for segment in prefix.split('/') {
        let last = push_segment(segment, &mut directories);
        directories.push(last + DIRECTORY);
    }
    Some(directories.join("/"))
}

/// One path below another; the root is the empty path.
pub(super) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// What a name found in a directory stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The file of an object: the (rest of the) last segment of its key.
    Object(String),
    /// A directory for the keys that go on after this segment and a `/`.
    Directory(String),
    /// A directory for the rest of segments that begin so.
    Continued(String),
    /// Nothing that this store has written.
    Foreign,
}

/// Reads a name found in a directory.
pub(super) fn meaning_of(name: &[u8]) -> Meaning {
    let Ok(name) = std::str::from_utf8(name) else { return Meaning::Foreign };
    let (encoded, meaning): (_, fn(String) -> Meaning) = if let Some(encoded) = name.strip_suffix(DIRECTORY) {
        (encoded, Meaning::Directory)
    } else if let Some(encoded) = name.strip_suffix(CONTINUED) {
        (encoded, Meaning::Continued)
    } else {
        (name, Meaning::Object)
    };
    match segment_of(encoded) {
        Some(segment) => meaning(segment),
        None => Meaning::Foreign,
    }
}

/// Whether a segment that was put together from `beginning`, the names of the `%c` directories above, and a
/// last piece would be written in just these pieces.
pub(super) fn is_written_so(beginning: &[String], last: &str) -> bool {
    if beginning.is_empty() && last.len() * 3 <= PIECE_BYTES_MAX {
        // Too short to be cut, however much of it is escaped.
        return true;
    }
    let mut pieces = Vec::new();
    let segment = beginning.concat() + last;
    let file = push_segment(&segment, &mut pieces);
    file == encode(last)
        && pieces.len() == beginning.len()
        && pieces.iter().zip(beginning).all(|(piece, begun)| *piece == encode(begun) + CONTINUED)
}

/// Puts the `%c` directories of a segment onto `directories` and returns its last piece.
fn push_segment(segment: &str, directories: &mut Vec<String>) -> String {
    let whole = encode(segment);
    if whole.len() <= PIECE_BYTES_MAX {
        return whole;
    }
    let mut piece = String::new();
    for char in segment.chars() {
        let bytes = if char == '%' { 3 } else { char.len_utf8() };
        if piece.len() + bytes > PIECE_BYTES_MAX {
            directories.push(piece + CONTINUED);
            piece = String::new();
        }
        push_char(char, &mut piece);
    }
    if piece == LOST_AND_FOUND { encode(&piece) } else { piece }
}

/// The name of a segment, of any length.
fn encode(segment: &str) -> String {
    if segment == LOST_AND_FOUND {
        return format!("%6C{}", &LOST_AND_FOUND[1..]);
    }
    if !segment.contains('%') {
        // As nearly all are.
        return segment.to_owned();
    }
    let mut name = String::with_capacity(segment.len() + 2);
    segment.chars().for_each(|char| push_char(char, &mut name));
    name
}

fn push_char(char: char, name: &mut String) {
    match char {
        '%' => name.push_str("%25"),
        other => name.push(other),
    }
}

/// The segment whose name this is, if we would have written it so.
fn segment_of(name: &str) -> Option<String> {
    if !name.contains('%') {
        // As nearly all are; the long way below comes to the same.
        return (!name.is_empty() && name != LOST_AND_FOUND).then(|| name.to_owned());
    }
    let mut segment = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        segment.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3)?;
        segment.push(match code {
            "25" => '%',
            "6C" => 'l',
            _ => return None,
        });
        rest = &rest[at + 3..];
    }
    segment.push_str(rest);
    (!segment.is_empty() && encode(&segment) == name).then_some(segment)
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;
    use crate::limits::KEY_BYTES_MAX;

    fn path_of(key: &str) -> String {
        Location::of(&Key::parse(key).expect("an everyday key")).path()
    }

    /// Reads a path the way a listing does.
    fn key_of(path: &str) -> Option<String> {
        let mut key = String::new();
        let mut begun: Vec<String> = Vec::new();
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            match meaning_of(name.as_bytes()) {
                Meaning::Continued(piece) => begun.push(piece),
                Meaning::Directory(last) => {
                    is_written_so(&begun, &last).then_some(())?;
                    key.push_str(&begun.concat());
                    key.push_str(&last);
                    key.push('/');
                    begun.clear();
                }
                Meaning::Object(last) => {
                    (names.peek().is_none() && is_written_so(&begun, &last)).then_some(())?;
                    return Some(key + &begun.concat() + &last);
                }
                Meaning::Foreign => return None,
            }
        }
        None
    }

    #[test]
    fn the_table_in_the_documentation_is_true() {
        assert_eq!(path_of("a"), "a");
        assert_eq!(path_of("a/b"), "a%d/b");
        assert_eq!(path_of("50%"), "50%25");
        assert_eq!(path_of("lost+found"), "%6Cost+found");
        assert_eq!(path_of("lost+found/x"), "%6Cost+found%d/x");
        assert_eq!(path_of(&"x".repeat(300)), format!("{}%c/{}", "x".repeat(240), "x".repeat(60)));
        assert_eq!(path_of(&"x".repeat(240)), "x".repeat(240));
    }

    #[test]
    fn our_own_names_and_other_spellings_are_nobodys_keys() {
        for name in
            [TMP, LOCK, UPLOADS, "%d", "%c", "a%", "a%2", "a%2f", "%61", "a%25%x", "lost+found", "%6c"]
        {
            assert_eq!(meaning_of(name.as_bytes()), Meaning::Foreign, "{name}");
        }
        assert_eq!(meaning_of(b"\xff"), Meaning::Foreign);
        // A name cut where we would not have cut it would be a second spelling of the same key.
        assert_eq!(key_of("x%c/x"), None);
        assert_eq!(meaning_of("a%25d".as_bytes()), Meaning::Object("a%d".to_owned()));
    }

    fn any_key() -> impl Strategy<Value = String> {
        let segment = prop_oneof![
            "[a-c%.+ é😀]{1,6}",
            "[a%😀]{200,330}",
            Just("lost+found".to_owned()),
            Just("%d".to_owned()),
            Just("%tmp".to_owned()),
            Just("%25".to_owned()),
        ];
        prop::collection::vec(segment, 1..5)
            .prop_map(|segments| segments.join("/"))
            .prop_filter("an everyday key", |key| Key::parse(key).is_ok())
    }

    proptest! {
        #[test]
        fn every_key_has_a_path_of_its_own_that_stays_below_the_root(a in any_key(), b in any_key()) {
            let path = path_of(&a);
            prop_assert_eq!(key_of(&path), Some(a.clone()));
            prop_assert_eq!(path == path_of(&b), a == b);
            prop_assert!(Path::new(&path).components().all(|part| matches!(part, Component::Normal(_))));
            prop_assert!(path.split('/').all(|name| (1..=255).contains(&name.len())));
            prop_assert!(![TMP, LOCK, UPLOADS].contains(&path.split('/').next().expect("first")));
        }

        #[test]
        fn no_file_is_ever_where_another_key_needs_a_directory(a in any_key(), b in any_key()) {
            let (a, b) = (path_of(&a), path_of(&b));
            let below = format!("{a}/");
            prop_assert!(!b.starts_with(&below));
        }

        #[test]
        fn what_is_found_in_a_directory_never_panics(name in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = meaning_of(&name);
        }

        #[test]
        fn every_spelling_that_is_read_is_the_one_we_write(path in "[a%25d6Cc/]{1,20}") {
            if let Some(key) = key_of(&path)
                && Key::parse(&key).is_ok()
            {
                prop_assert_eq!(path_of(&key), path);
            }
        }
    }

    #[test]
    fn the_longest_keys_fit_into_a_path() {
        for key in
            ["%".repeat(KEY_BYTES_MAX), "%/".repeat(KEY_BYTES_MAX / 2 - 1) + "%", "x/".repeat(511) + "xx"]
        {
            // PATH_MAX, with its final NUL.
            assert!(path_of(&key).len() < 4096, "{}", path_of(&key).len());
        }
    }
}
