//! What stands behind the data in a file of ours: tag, time and attributes, and how they are found again.
//!
//! ```text
//! data │ padding │ facts (JSON) │ data length u64 │ facts length u32 │ CRC-32 u32 │ "ObjStor1"
//! ```
//!
//! Numbers are little-endian; the CRC covers the facts and both lengths. The footer is part of the file, and not
//! an extended attribute or a file beside it, because one rename then publishes data and facts together on
//! every file system, and a copy of the file made by any tool carries everything. It comes last, so that data
//! begins at offset 0 and the length of the data need not be known before it has been written.
//!
//! A file that would be longer than one page and shorter than two is filled up to two, with zeros before the facts.
//! It takes as much of the disk either way, and Linux keeps, writes and awaits it as one piece then, not as two:
//! objects of 4 KiB, whose footer does not fit beside them, are the reason. Files without padding are read as well.
//!
//! The data itself has no checksum: a get of a range could not check it, and file systems or disks that are not
//! trusted with bytes are better mended below. A file that was cut, or extended, has no footer that fits.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::attributes::{Attributes, ContentHeader};
use crate::object::ETag;
use crate::operation_id::OperationId;

const MAGIC: &[u8; 8] = b"ObjStor1";
/// Lengths, checksum and magic, in bytes.
const TAIL_BYTES: usize = 8 + 4 + 4 + 8;
/// The largest facts, in bytes: 2 KiB of metadata in the shortest pieces, five headers and a key, each byte
/// escaped to two by JSON, stay far below.
const FACTS_BYTES_MAX: usize = 64 * 1024;
/// How much of the end of a file is read at first, in bytes: holds a footer with few attributes.
const GUESS_BYTES: usize = 512;

/// Of x86, and of most others.
const PAGE_BYTES: usize = 4096;

static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// The padding in a file that would be `bytes` long without it.
pub(super) fn padding(bytes: u64) -> &'static [u8] {
    match usize::try_from(bytes) {
        Ok(bytes) if (PAGE_BYTES + 1..2 * PAGE_BYTES).contains(&bytes) => &ZEROS[..2 * PAGE_BYTES - bytes],
        _ => &[],
    }
}

/// What the store knows about the data before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) etag: ETag,
    /// To the second, as S3 has it.
    pub(super) modified: SystemTime,
    pub(super) attributes: Attributes,
    /// The write that it comes from; `None` in files of the time before writes had ids, and in parts.
    pub(super) operation_id: Option<OperationId>,
    /// The key; kept only where the path does not say it, in the description of an upload.
    pub(super) key: Option<String>,
}

/// Why a file is not one of ours, or no longer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged(pub(super) &'static str);

/// As they are written, borrowed, and as they are read, owned.
#[derive(Serialize, Deserialize)]
struct Facts<S: Ord> {
    etag: S,
    /// Seconds since 1970.
    modified: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<S, S>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<S, S>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operation_id: Option<S>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<S>,
}

impl Footer {
    /// The bytes to be written behind `data_bytes` bytes of data and the padding.
    pub(super) fn encode(&self, data_bytes: u64) -> Vec<u8> {
        let operation_id = self.operation_id.map(|id| id.to_string());
        let facts = Facts {
            etag: self.etag.as_str(),
            modified: self.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            headers: self.attributes.headers().map(|(header, value)| (header.name(), value)).collect(),
            metadata: self.attributes.user_metadata().collect(),
            operation_id: operation_id.as_deref(),
            key: self.key.as_deref(),
        };
        let mut bytes = Vec::with_capacity(GUESS_BYTES);
        serde_json::to_writer(&mut bytes, &facts).expect("texts and numbers always have a JSON form");
        assert!(bytes.len() <= FACTS_BYTES_MAX, "attributes are bounded where they are set");
        let facts_bytes = u32::try_from(bytes.len()).expect("below FACTS_BYTES_MAX");
        bytes.extend_from_slice(&data_bytes.to_le_bytes());
        bytes.extend_from_slice(&facts_bytes.to_le_bytes());
        let crc = crc32(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(MAGIC);
        bytes
    }

    /// Reads the footer out of the end of a file of `file_bytes` bytes, along with the length of the data.
    /// Says how many bytes it needs when `end` holds too few.
    fn decode(end: &[u8], file_bytes: u64) -> Result<Decoded, Damaged> {
        let Some((body, magic)) = end.split_last_chunk::<8>() else {
            return Err(Damaged("the file is too short"));
        };
        if magic != MAGIC {
            return Err(Damaged("the file does not end as one that this store has written"));
        }
        let cut = Damaged("the footer is cut");
        let Some((covered, crc)) = body.split_last_chunk::<4>() else { return Err(cut) };
        let Some((lengths, facts_bytes)) = covered.split_last_chunk::<4>() else { return Err(cut) };
        let Some((facts, data_bytes)) = lengths.split_last_chunk::<8>() else { return Err(cut) };
        let data_bytes = u64::from_le_bytes(*data_bytes);
        let facts_bytes = u32::from_le_bytes(*facts_bytes) as usize;
        let footer_bytes = facts_bytes + TAIL_BYTES;
        let unpadded_bytes = data_bytes.saturating_add(footer_bytes as u64);
        let padded_bytes = unpadded_bytes.saturating_add(padding(unpadded_bytes).len() as u64);
        let fits = file_bytes == unpadded_bytes || file_bytes == padded_bytes;
        if facts_bytes > FACTS_BYTES_MAX || !fits {
            return Err(Damaged("the lengths in the footer do not add up to that of the file"));
        }
        if facts.len() < facts_bytes {
            return Ok(Decoded::Needs(footer_bytes));
        }
        let unneeded = facts.len() - facts_bytes;
        if crc32(&covered[unneeded..]) != u32::from_le_bytes(*crc) {
            return Err(Damaged("the checksum of the footer does not match"));
        }
        let facts: Facts<String> = serde_json::from_slice(&facts[unneeded..])
            .map_err(|_| Damaged("the facts in the footer cannot be read"))?;
        facts.into_footer().map(|footer| Decoded::Footer(footer, data_bytes))
    }

    /// Reads the footer of an open file of `file_bytes` bytes, and the length of the data before it.
    pub(super) fn read(file: &File, file_bytes: u64) -> io::Result<Result<(Footer, u64), Damaged>> {
        let mut end_bytes = GUESS_BYTES;
        loop {
            let end_len = usize::try_from(file_bytes).unwrap_or(usize::MAX).min(end_bytes);
            let mut end = vec![0; end_len];
            file.read_exact_at(&mut end, file_bytes - end_len as u64)?;
            match Footer::decode(&end, file_bytes) {
                Ok(Decoded::Footer(footer, data_bytes)) => return Ok(Ok((footer, data_bytes))),
                Ok(Decoded::Needs(bytes)) => end_bytes = bytes,
                Err(damaged) => return Ok(Err(damaged)),
            }
        }
    }

    /// Splits a whole file in memory into footer and data.
    pub(super) fn split(mut whole: Vec<u8>) -> Result<(Footer, Bytes), Damaged> {
        match Footer::decode(&whole, whole.len() as u64)? {
            Decoded::Footer(footer, data_bytes) => {
                whole.truncate(usize::try_from(data_bytes).expect("less than what is in memory"));
                Ok((footer, whole.into()))
            }
            Decoded::Needs(_) => Err(Damaged("the footer is cut")),
        }
    }
}

enum Decoded {
    Footer(Footer, u64),
    Needs(usize),
}

impl Facts<String> {
    fn into_footer(self) -> Result<Footer, Damaged> {
        let etag = ETag::parse(&self.etag).map_err(|_| Damaged("the tag in the footer is none"))?;
        let modified = UNIX_EPOCH
            .checked_add(Duration::from_secs(self.modified))
            .ok_or(Damaged("the time in the footer is none"))?;
        let odd = |_| Damaged("the attributes in the footer are none");
        let mut attributes = Attributes::new();
        for (name, value) in &self.headers {
            let header = ContentHeader::ALL.into_iter().find(|header| header.name() == name);
            let header = header.ok_or(Damaged("the footer names an unknown header"))?;
            attributes = attributes.with_header(header, value).map_err(odd)?;
        }
        for (name, value) in &self.metadata {
            attributes = attributes.with_metadata(name, value).map_err(odd)?;
        }
        let operation_id = self.operation_id.map(|id| id.parse()).transpose();
        let operation_id = operation_id.map_err(|_| Damaged("the operation id in the footer is none"))?;
        Ok(Footer { etag, modified, attributes, operation_id, key: self.key })
    }
}

/// The CRC-32 of IEEE 802.3 (that of gzip and PNG). Also chooses the lock of a key, so it must never change.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        let mut first = 0u32;
        while at < 256 {
            let mut value = first;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[at] = value;
            at += 1;
            first += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn footer() -> Footer {
        Footer {
            etag: ETag::parse("00ff").expect("a tag"),
            modified: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            attributes: Attributes::new()
                .with_header(ContentHeader::ContentType, "text/plain")
                .and_then(|attributes| attributes.with_metadata("a", "\"quoted\\\""))
                .expect("plain attributes"),
            operation_id: Some(OperationId::from_bits(7)),
            key: None,
        }
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn the_largest_attributes_fit() {
        let mut attributes = Attributes::new();
        for header in ContentHeader::ALL {
            attributes = attributes.with_header(header, &"\"".repeat(1024)).expect("printable");
        }
        for number in 0..334 {
            attributes = attributes.with_metadata(&format!("{number:05}"), "\"").expect("six bytes each");
        }
        let footer = Footer { attributes, key: Some("\u{fffd}".repeat(341)), ..footer() };
        let bytes = footer.encode(0);
        assert_eq!(Footer::split(bytes).expect("whole"), (footer, Bytes::new()));
    }

    proptest! {
        #[test]
        fn a_footer_is_found_behind_any_data(data in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut file = data.clone();
            file.extend(footer().encode(data.len() as u64));
            prop_assert_eq!(Footer::split(file), Ok((footer(), Bytes::from(data))));
        }

        #[test]
        fn files_of_nearly_two_pages_are_filled_up_and_read_with_and_without_that(bytes in 3900usize..8400) {
            let (data, footer) = (vec![7; bytes], footer());
            let end = footer.encode(bytes as u64);
            let unpadded = bytes + end.len();
            let padding = padding(unpadded as u64);
            let between = unpadded > PAGE_BYTES && unpadded < 2 * PAGE_BYTES;
            prop_assert_eq!(unpadded + padding.len(), if between { 2 * PAGE_BYTES } else { unpadded });
            prop_assert_eq!(Footer::split([&data, padding, &end].concat()), Ok((footer.clone(), data.clone().into())));
            prop_assert_eq!(Footer::split([&data[..], &end].concat()), Ok((footer, data.clone().into())));
            prop_assert!(Footer::split([&data, padding, &[0], &end].concat()).is_err());
            prop_assert!(Footer::split([&data[1..], padding, &end].concat()).is_err());
        }

        #[test]
        fn a_file_that_was_cut_extended_or_bent_in_its_footer_is_damaged(
            data in prop::collection::vec(any::<u8>(), 0..100),
            cut in 1usize..200,
            at in 0usize..150,
            flip in 1u8..,
        ) {
            let whole = [data.clone(), footer().encode(data.len() as u64)].concat();
            let mut short = whole.clone();
            short.truncate(whole.len().saturating_sub(cut));
            prop_assert!(Footer::split(short).is_err());
            prop_assert!(Footer::split([&b"x"[..], &whole].concat()).is_err());
            prop_assert!(Footer::split([&whole, &b"x"[..]].concat()).is_err());
            let mut bent = whole.clone();
            let at = data.len() + at % (whole.len() - data.len());
            bent[at] ^= flip;
            prop_assert!(Footer::split(bent).is_err());
        }

        #[test]
        fn random_bytes_are_damaged_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(Footer::split(bytes.clone()).is_err());
            prop_assert!(Footer::split([&bytes[..], MAGIC].concat()).is_err());
        }
    }
}
