//! What holds of names and files on disk, whoever made them.

use super::footer::Footer;
use super::names::{Location, Meaning, meaning_of};
use crate::key::Key;

/// Any bytes, read as a file of ours: data, and what stands behind it.
pub fn footer(bytes: &[u8]) {
    let read = |bytes: &[u8]| Footer::split(Vec::from(bytes));
    let Ok((found, data)) = read(bytes) else {
        assert!(read(&[bytes, b"x"].concat()).is_err(), "a byte more makes no file of ours");
        return;
    };
    assert!(bytes.starts_with(&data), "the data are the beginning of the file");
    let written = [&data[..], &found.encode(data.len() as u64)].concat();
    assert_eq!(read(&written), Ok((found, data.clone())), "what is written is read back");
    // The checksum covers it all but the magic, which is compared.
    for at in data.len()..bytes.len() {
        let mut bent = Vec::from(bytes);
        bent[at] ^= 1 << (at % 8);
        assert!(read(&bent).is_err(), "byte {at} was bent");
    }
    // (The data may be such a file themselves.)
    for cut in data.len() + 1..bytes.len() {
        assert!(read(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    assert!(data.is_empty() || read(&bytes[1..]).is_err(), "its first byte is missing");
}

/// Any bytes: a name found in a directory, and a key.
pub fn names(bytes: &[u8]) {
    for name in bytes.split(|&byte| byte == b'/') {
        let (meaning, marker) = match meaning_of(name) {
            Meaning::Object(segment) => (segment, ""),
            Meaning::Directory(segment) => (segment, "%d"),
            Meaning::Continued(segment) => (segment, "%c"),
            Meaning::Foreign => continue,
        };
        assert!(!meaning.is_empty() && meaning.len() <= name.len());
        assert!(!matches!(name, b"%tmp" | b"%lock" | b"%uploads"), "our own names are nobody's");
        // Short ones, which are in one piece, are spelled just so.
        if meaning.len() <= 80
            && marker.is_empty()
            && let Ok(key) = Key::parse(&meaning)
        {
            let Location { directories, file } = Location::of(&key);
            assert_eq!((directories.len(), file.as_bytes()), (0, name), "another spelling of {key:?}");
        }
    }
    let Some(key) = std::str::from_utf8(bytes).ok().and_then(|text| Key::parse(text).ok()) else { return };
    let Location { directories, file } = Location::of(&key);
    let mut read = String::new();
    for name in &directories {
        match meaning_of(name.as_bytes()) {
            Meaning::Directory(segment) => read.extend([&segment, "/"]),
            Meaning::Continued(piece) => read.push_str(&piece),
            other => panic!("{name:?} of {key:?} is {other:?}"),
        }
    }
    assert!(directories.iter().chain([&file]).all(|name| name.len() <= 255 && !name.contains('/')));
    match meaning_of(file.as_bytes()) {
        Meaning::Object(last) => assert_eq!(read + &last, key.as_str()),
        other => panic!("{file:?} of {key:?} is {other:?}"),
    }
}
