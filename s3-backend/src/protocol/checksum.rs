//! Checksums of objects: what a write says of its bytes, and what the bytes of a read are compared with.
//!
//! Writes carry a [`Crc64Nvme`]. It is S3's own default, the cheapest to compute, and those of the parts of an upload
//! give that of the object without a second look at the bytes. Reads are compared with whatever of CRC64NVME, CRC32C,
//! CRC32 and SHA-256 the store has kept, the cheapest first. SHA-1 is left alone: nothing here can compute it, and a
//! reader that cannot compare is told nothing wrong.
//!
//! Only a checksum of *all bytes* of an object says something about them. That of a multipart upload may be one over
//! the checksums of the parts ("composite"), whose sizes a reader does not know: it is not used. Nor is any with a
//! range, for which S3 sends none and other stores that of the whole object.
//!
//! See [Checking object integrity](https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use md5::Md5;
use object_storage::Payload;
use sha2::{Digest as _, Sha256};

use super::header::BadHeader;
use super::headers::Headers;

/// The header field of the checksum that writes carry.
pub(crate) const CRC64NVME_HEADER: &str = "x-amz-checksum-crc64nvme";

/// What the header fields of checksums begin with.
const HEADER_PREFIX: &[u8] = b"x-amz-checksum-";

/// The polynomial of CRC-64/NVME, its lowest power in the highest bit, as all numbers here have it.
const POLYNOMIAL: u64 = 0x9a6c_9329_ac4b_c9b5;

/// The CRC-64/NVME of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crc64Nvme(u64);

impl Crc64Nvme {
    /// That of a payload. One that has kept it is not looked at; others are gone through once, where they lie: a payload
    /// of 5 GiB keeps the shard busy for about a quarter of a second.
    pub(crate) fn of(payload: &Payload) -> Crc64Nvme {
        if let Some(crc) = payload.crc64_nvme() {
            return Crc64Nvme(crc);
        }
        match payload.chunks() {
            [only] => Crc64Nvme(crc_fast::crc64_nvme(only)),
            chunks => {
                let mut digest = crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme);
                chunks.iter().for_each(|chunk| digest.update(chunk));
                Crc64Nvme(digest.finalize())
            }
        }
    }

    /// As headers and XML have it: Base64 of the eight bytes, the highest first.
    pub(crate) fn text(self) -> String {
        str::from_utf8(&self.base64()).expect("Base64 is ASCII").to_owned()
    }

    /// The characters of [`text`](Self::text).
    pub(super) fn base64(self) -> [u8; 12] {
        let mut text = [0; 12];
        STANDARD.encode_slice(self.0.to_be_bytes(), &mut text).expect("eight bytes make twelve characters");
        text
    }

    /// Reads what [`text`](Self::text) writes, and nothing else.
    pub(crate) fn parse(text: &[u8]) -> Option<Crc64Nvme> {
        decode(text).map(|bytes| Crc64Nvme(u64::from_be_bytes(bytes)))
    }
}

/// The value of `content-md5` for a payload: what every store compares, also where it takes no checksum. It takes some 20 ms for
/// 8 MiB, fifty times as long as the CRC.
pub(crate) fn content_md5(payload: &Payload) -> String {
    let mut md5 = Md5::new();
    payload.chunks().iter().for_each(|chunk| md5.update(chunk));
    STANDARD.encode(md5.finalize())
}

/// The checksum of bytes that follow one another, from those of the pieces.
///
/// A CRC is a polynomial over the field of two elements, modulo the one above. To put `n` bytes behind what it is of
/// means to multiply it by `x` to the power of `8n`; then the checksum of those bytes is added, which is an exclusive
/// or. A piece costs 2 µs, and 0.07 if it is as long as the one before, as parts are; by squaring matrices, as crc-fast does
/// it, 200 µs, and an upload has up to 10,000 parts.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    crc: u64,
    /// The last length, and `x` to the power of eight times that.
    shift: Option<(u64, u64)>,
}

impl Joined {
    /// Puts a piece of `bytes` bytes behind what is there.
    pub(crate) fn push(&mut self, piece: Crc64Nvme, bytes: u64) {
        let shift = match self.shift {
            Some((length, shift)) if length == bytes => shift,
            _ => shift_by(bytes),
        };
        self.shift = Some((bytes, shift));
        self.crc = product(self.crc, shift) ^ piece.0;
    }

    /// The checksum of all of it.
    pub(crate) fn finish(&self) -> Crc64Nvme {
        Crc64Nvme(self.crc)
    }
}

/// `x` to the power of eight times `bytes`.
fn shift_by(mut bytes: u64) -> u64 {
    // The powers 0 and 8.
    let (mut power, mut square) = (1 << 63, 1 << 55);
    while bytes > 0 {
        if bytes & 1 == 1 {
            power = product(power, square);
        }
        square = product(square, square);
        bytes >>= 1;
    }
    power
}

/// The product of two polynomials.
fn product(a: u64, mut b: u64) -> u64 {
    let mut sum = 0;
    for bit in (0..u64::BITS).rev() {
        if (a >> bit) & 1 == 1 {
            sum ^= b;
        }
        // Once more times x.
        b = (b >> 1) ^ if b & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    sum
}

/// A checksum over all bytes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    Crc64Nvme(Crc64Nvme),
    Crc32c(u32),
    Crc32(u32),
    Sha256([u8; 32]),
}

/// The names in header fields of those that can be compared, the cheapest first.
const NAMES: [&[u8]; 4] = [b"crc64nvme", b"crc32c", b"crc32", b"sha256"];

impl Checksum {
    /// The checksum that an answer states of all bytes of its object, if it states one that can be compared.
    ///
    /// # Errors
    ///
    /// When the one that would be compared is none: something has happened to the answer.
    pub(crate) fn stated(headers: &Headers) -> Result<Option<Checksum>, BadHeader> {
        let mut cheapest: Option<(usize, &[u8])> = None;
        for (name, value) in headers.iter() {
            let Some((prefix, name)) = name.split_at_checked(HEADER_PREFIX.len()) else { continue };
            // S3 writes it just so; of what others write, nearly all is told by one character.
            if prefix != HEADER_PREFIX
                && (!prefix[6].eq_ignore_ascii_case(&HEADER_PREFIX[6])
                    || !prefix.eq_ignore_ascii_case(HEADER_PREFIX))
            {
                continue;
            }
            if name.eq_ignore_ascii_case(b"type") && value.eq_ignore_ascii_case(b"COMPOSITE") {
                return Ok(None);
            }
            // A composite one ends in the number of parts, as in `…==-3`. Stores also say "none" by saying nothing.
            if value.is_empty() || value.contains(&b'-') {
                continue;
            }
            let rank = NAMES.iter().position(|known| name.eq_ignore_ascii_case(known));
            if let Some(rank) = rank
                && cheapest.is_none_or(|(before, _)| rank < before)
            {
                cheapest = Some((rank, value));
            }
        }
        let Some((rank, value)) = cheapest else { return Ok(None) };
        let checksum = match rank {
            0 => Crc64Nvme::parse(value).map(Checksum::Crc64Nvme),
            1 => decode(value).map(|bytes| Checksum::Crc32c(u32::from_be_bytes(bytes))),
            2 => decode(value).map(|bytes| Checksum::Crc32(u32::from_be_bytes(bytes))),
            _ => decode(value).map(Checksum::Sha256),
        };
        checksum.map(Some).ok_or(BadHeader("x-amz-checksum-*"))
    }

    /// Compares bytes that are all here.
    ///
    /// # Errors
    ///
    /// When they are not the ones that this is the checksum of.
    pub(crate) fn verify(self, bytes: &[u8]) -> Result<(), Mismatch> {
        let narrow = |crc| u32::try_from(crc).expect("a CRC-32 has 32 bits");
        let found = match self {
            Checksum::Crc64Nvme(_) => Checksum::Crc64Nvme(Crc64Nvme(crc_fast::crc64_nvme(bytes))),
            Checksum::Crc32c(_) => {
                Checksum::Crc32c(narrow(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes)))
            }
            Checksum::Crc32(_) => {
                Checksum::Crc32(narrow(crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, bytes)))
            }
            Checksum::Sha256(_) => Checksum::Sha256(Sha256::digest(bytes).into()),
        };
        self.compare(found)
    }

    /// Compares bytes as they come.
    pub(crate) fn check(self) -> Check {
        let crc = |algorithm| Running::Crc(crc_fast::Digest::new(algorithm));
        let running = match self {
            Checksum::Crc64Nvme(_) => crc(CrcAlgorithm::Crc64Nvme),
            Checksum::Crc32c(_) => crc(CrcAlgorithm::Crc32Iscsi),
            Checksum::Crc32(_) => crc(CrcAlgorithm::Crc32IsoHdlc),
            Checksum::Sha256(_) => Running::Sha256(Sha256::new()),
        };
        Check { stated: self, running }
    }

    fn compare(self, found: Checksum) -> Result<(), Mismatch> {
        if self == found { Ok(()) } else { Err(Mismatch { stated: self, found }) }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Checksum::Crc64Nvme(crc) => write!(f, "CRC64NVME {}", crc.text()),
            Checksum::Crc32c(crc) => write!(f, "CRC32C {}", STANDARD.encode(crc.to_be_bytes())),
            Checksum::Crc32(crc) => write!(f, "CRC32 {}", STANDARD.encode(crc.to_be_bytes())),
            Checksum::Sha256(hash) => write!(f, "SHA256 {}", STANDARD.encode(hash)),
        }
    }
}

/// Bytes that are being compared.
pub(crate) struct Check {
    stated: Checksum,
    running: Running,
}

enum Running {
    Crc(crc_fast::Digest),
    Sha256(Sha256),
}

impl Check {
    /// The next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.running {
            Running::Crc(digest) => digest.update(bytes),
            Running::Sha256(hash) => hash.update(bytes),
        }
    }

    /// What is found after the last byte.
    ///
    /// # Errors
    ///
    /// When the bytes are not the ones that the checksum is of.
    pub(crate) fn finish(self) -> Result<(), Mismatch> {
        let narrow = |crc| u32::try_from(crc).expect("a CRC-32 has 32 bits");
        let found = match (self.running, self.stated) {
            (Running::Sha256(hash), _) => Checksum::Sha256(hash.finalize().into()),
            (Running::Crc(digest), Checksum::Crc32c(_)) => Checksum::Crc32c(narrow(digest.finalize())),
            (Running::Crc(digest), Checksum::Crc32(_)) => Checksum::Crc32(narrow(digest.finalize())),
            (Running::Crc(digest), _) => Checksum::Crc64Nvme(Crc64Nvme(digest.finalize())),
        };
        self.stated.compare(found)
    }
}

/// Bytes that are not the ones a checksum is of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    stated: Checksum,
    found: Checksum,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store states {}, and what came has {}", self.stated, self.found)
    }
}

/// Base64 of exactly `N` bytes.
fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    // The longest is SHA-256: 44 characters, for which the decoder wants room for 33 bytes.
    let mut room = [0; 33];
    let length = STANDARD.decode_slice(text, &mut room).ok()?;
    room[..length].try_into().ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    /// What everybody computes to show that it is the same checksum.
    const CHECK: &[u8] = b"123456789";

    fn crc(bytes: &[u8]) -> Crc64Nvme {
        Crc64Nvme::of(&Payload::from(bytes.to_vec()))
    }

    fn stated(headers: &[(&str, &str)]) -> Result<Option<Checksum>, BadHeader> {
        Checksum::stated(&Headers::from(headers))
    }

    #[test]
    fn the_check_values_are_the_published_ones() {
        assert_eq!(crc(CHECK), Crc64Nvme(0xae8b_1486_0a79_9888));
        assert_eq!(crc(CHECK).text(), "rosUhgp5mIg=");
        assert_eq!(Crc64Nvme::parse(b"rosUhgp5mIg="), Some(crc(CHECK)));
        assert_eq!(crc(b"").text(), "AAAAAAAAAAA=");
        for (name, value) in [
            ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
            ("X-Amz-Checksum-Crc32c", "4waSgw=="),
            ("x-amz-checksum-crc32", "y/Q5Jg=="),
            ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
        ] {
            let checksum = stated(&[(name, value)]).expect("sensible").expect("one that is known");
            assert!(checksum.to_string().ends_with(value), "{checksum}");
            assert_eq!(checksum.verify(CHECK), Ok(()), "{name}");
            let wrong = checksum.verify(b"123456780").expect_err("another last byte");
            assert!(wrong.to_string().contains(value), "{wrong}");
            for cut in 0..CHECK.len() {
                let mut check = checksum.check();
                check.update(&CHECK[..cut]);
                check.update(&CHECK[cut..]);
                assert_eq!(check.finish(), Ok(()), "{name} in two pieces");
                let mut check = checksum.check();
                check.update(&CHECK[..cut]);
                assert!(check.finish().is_err(), "{name} cut at {cut}");
            }
        }
    }

    #[test]
    fn only_a_checksum_of_all_bytes_is_compared() {
        let full = ("x-amz-checksum-type", "FULL_OBJECT");
        let composite = ("x-amz-checksum-type", "COMPOSITE");
        let crc = ("x-amz-checksum-crc32", "y/Q5Jg==");
        assert_eq!(stated(&[]), Ok(None));
        assert_eq!(stated(&[full]), Ok(None));
        assert!(matches!(stated(&[crc]), Ok(Some(_))));
        assert!(matches!(stated(&[full, crc]), Ok(Some(_))));
        assert_eq!(stated(&[crc, composite]), Ok(None));
        assert_eq!(stated(&[("x-amz-checksum-crc32", "y/Q5Jg==-2")]), Ok(None));
        assert_eq!(stated(&[("x-amz-checksum-crc32", "")]), Ok(None));
        assert_eq!(stated(&[("x-amz-checksum-sha1", "nonsense")]), Ok(None));
        assert_eq!(stated(&[("x-amz-checksum-xxhash9", "nonsense")]), Ok(None));
    }

    #[test]
    fn the_cheapest_is_compared_and_one_that_is_none_is_not_passed_over() {
        let sha = ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=");
        let crc = ("x-amz-checksum-crc64nvme", "rosUhgp5mIg=");
        assert!(matches!(stated(&[sha, crc]), Ok(Some(Checksum::Crc64Nvme(_)))));
        for bad in ["rosUhgp5mIg", "rosUhgp5mIh=", "rosUhgp5", "y/Q5Jg==", "ros!hgp5mIg=", &"A".repeat(500)] {
            assert!(stated(&[("x-amz-checksum-crc64nvme", bad), sha]).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_checksums_of_the_parts_give_that_of_the_object(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            repeated in 0usize..4,
        ) {
            let mut joined = Joined::default();
            let mut whole = Payload::new();
            for part in parts.iter().flat_map(|part| std::iter::repeat_n(part, 1 + repeated)) {
                joined.push(crc(part), part.len() as u64);
                whole.push(Bytes::from(part.clone()));
            }
            prop_assert_eq!(joined.finish(), Crc64Nvme::of(&whole));
            prop_assert_eq!(joined.finish(), crc(&whole.to_bytes()));
        }

        #[test]
        fn no_header_panics(name in "(crc64nvme|crc32c?|sha256|type)", value in "[A-Za-z0-9+/=-]{0,50}") {
            let _ = stated(&[(&format!("x-amz-checksum-{name}"), &value)]);
        }
    }

    #[test]
    fn pieces_of_any_length_can_be_joined() {
        // Zeros behind something, as many as would take long to go through.
        let zeros = vec![0u8; 1 << 20];
        let mut joined = Joined::default();
        joined.push(crc(b"x"), 1);
        joined.push(crc(&zeros), 1 << 20);
        assert_eq!(joined.finish(), crc(&[&b"x"[..], &zeros].concat()));
        let (mut at_once, mut in_two) = (Joined::default(), Joined::default());
        at_once.push(crc(b"x"), 5 << 40);
        in_two.push(crc(b"x"), 1);
        assert_eq!(at_once.finish(), in_two.finish(), "there was nothing before");
        assert_eq!(product(shift_by(5 << 40), shift_by(7)), shift_by((5 << 40) + 7));
    }
}
