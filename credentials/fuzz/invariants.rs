//! What holds for the profile parser whatever the bytes. Shared by the fuzz target and by
//! `credentials/tests/corpus.rs`, so that a replay checks all that fuzzing does.

use std::collections::BTreeMap;

use credentials::profile::{FileKind, ParseError, ParseProblem, ProfileFile, ProfileSet};

const FILE: &str = "dir/file";

/// The parser keeps 32 warnings about lines; one more is about the file.
const WARNINGS_MAX: usize = 33;

/// Profiles by name, values by key. A property with nothing or with nested properties has no value.
type Profiles = BTreeMap<String, BTreeMap<String, Option<String>>>;

/// Panics if anything is wrong with how these bytes are read.
pub(crate) fn check(bytes: &[u8]) {
    for kind in [FileKind::Config, FileKind::Credentials] {
        let read = ProfileFile::parse(FILE, kind, bytes);
        match &read {
            Ok(file) => warnings_are_few_and_located(file, bytes),
            Err(error) => the_error_is_the_first_one(error, kind, bytes),
        }
        let read = read.map(|file| profiles(kind, file));
        neither_mark_nor_line_ends_matter(&read, kind, bytes);
        if let Ok(profiles) = read {
            what_is_printed_is_read_back(&profiles, kind);
        }
    }
}

fn warnings_are_few_and_located(file: &ProfileFile, bytes: &[u8]) {
    let warnings = file.warnings();
    assert!(warnings.len() <= WARNINGS_MAX, "{} warnings", warnings.len());
    for warning in warnings {
        let text = warning.to_string();
        let rest = text.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(':')).expect("names the file");
        match rest.split_once(':').and_then(|(line, _)| line.parse::<usize>().ok()) {
            Some(line) => assert!((1..=line_count(bytes)).contains(&line), "{text}"),
            // Two sections are to blame for this one, wherever they stand.
            None => assert!(rest.starts_with(" [default] ignored"), "{text}"),
        }
    }
}

fn the_error_is_the_first_one(error: &ParseError, kind: FileKind, bytes: &[u8]) {
    assert_eq!(error.file, FILE);
    assert!((1..=line_count(bytes)).contains(&error.line), "{error}");
    assert!(error.to_string().starts_with(&format!("{FILE}:{}: ", error.line)), "{error}");
    let utf8 = std::str::from_utf8(bytes).is_ok();
    assert_eq!(error.problem != ParseProblem::NotUtf8, utf8, "{error}");
    if utf8 {
        let above: Vec<&[u8]> = bytes.split(|&b| b == b'\n').take(error.line - 1).collect();
        let above = ProfileFile::parse(FILE, kind, &above.join(&b'\n'));
        assert!(above.is_ok(), "{error}, and yet {above:?}");
    }
}

fn neither_mark_nor_line_ends_matter(read: &Result<Profiles, ParseError>, kind: FileKind, bytes: &[u8]) {
    let again = |bytes: &[u8]| ProfileFile::parse(FILE, kind, bytes).map(|file| profiles(kind, file));
    const MARK: &[u8] = "\u{feff}".as_bytes();
    if !bytes.starts_with(MARK) {
        assert_eq!(*read, again(&[MARK, bytes].concat()), "with a byte order mark");
    }
    // Of several carriage returns only the last belongs to the line's end.
    if !bytes.contains(&b'\r') {
        let lines: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
        assert_eq!(*read, again(&lines.join(&b"\r\n"[..])), "with carriage returns");
    }
}

fn what_is_printed_is_read_back(expected: &Profiles, kind: FileKind) {
    let printed = print(expected, kind);
    let file = ProfileFile::parse(FILE, kind, printed.as_bytes()).expect("what was printed is well formed");
    assert_eq!(file.warnings(), [], "{printed:?}");
    assert_eq!(profiles(kind, file), *expected, "{printed:?}");
}

fn print(profiles: &Profiles, kind: FileKind) -> String {
    let mut text = String::new();
    for (name, section) in profiles {
        let prefix = if kind == FileKind::Config { "profile " } else { "" };
        text += &format!("[{prefix}{name}]\r\n");
        for (key, value) in section {
            // No blank behind the `=`: it would make a comment of a value that starts with `#`. The
            // carriage returns keep those at the end of a value.
            let value = value.as_deref().unwrap_or_default().replace('\n', "\r\n ");
            text += &format!("{key}={value}\r\n");
        }
    }
    text
}

/// The profiles of a file, as its only reader sees them.
pub(crate) fn profiles(kind: FileKind, file: ProfileFile) -> Profiles {
    let set = match kind {
        FileKind::Config => ProfileSet::merge(file, ProfileFile::default()),
        FileKind::Credentials => ProfileSet::merge(ProfileFile::default(), file),
    };
    set.names()
        .map(|name| {
            let profile = set.profile(name).expect("it is among the names");
            let section = profile.keys().map(|key| (key.to_owned(), profile.get(key).map(str::to_owned)));
            (name.to_owned(), section.collect())
        })
        .collect()
}

fn line_count(bytes: &[u8]) -> usize {
    bytes.split(|&b| b == b'\n').count()
}
