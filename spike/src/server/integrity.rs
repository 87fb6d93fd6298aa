//! Receiving a body: collected whole, hashed on the way, and compared with what the client said about it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hyper::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, TrailingHeaders, s3_error};

use super::segments::Segments;

/// The checksums S3 knows, by the name that headers and XML give them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(super) const ALL: [Algorithm; 5] =
        [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

    pub(super) fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    pub(super) fn parse(name: &str) -> S3Result<Self> {
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported"))
    }

    pub(super) fn header(self) -> String {
        format!("x-amz-checksum-{}", self.name().to_ascii_lowercase())
    }

    pub(super) fn value(self, checksum: &Checksum) -> Option<&str> {
        match self {
            Algorithm::Crc32 => checksum.checksum_crc32.as_deref(),
            Algorithm::Crc32c => checksum.checksum_crc32c.as_deref(),
            Algorithm::Crc64Nvme => checksum.checksum_crc64nvme.as_deref(),
            Algorithm::Sha1 => checksum.checksum_sha1.as_deref(),
            Algorithm::Sha256 => checksum.checksum_sha256.as_deref(),
        }
    }

    pub(super) fn set(self, checksum: &mut Checksum, value: Option<String>) {
        let field = match self {
            Algorithm::Crc32 => &mut checksum.checksum_crc32,
            Algorithm::Crc32c => &mut checksum.checksum_crc32c,
            Algorithm::Crc64Nvme => &mut checksum.checksum_crc64nvme,
            Algorithm::Sha1 => &mut checksum.checksum_sha1,
            Algorithm::Sha256 => &mut checksum.checksum_sha256,
        };
        *field = value;
    }

    /// The one checksum in `checksum`; more than one is refused, as S3 does.
    pub(super) fn declared_in(checksum: &Checksum) -> S3Result<Option<Self>> {
        let mut declared = Algorithm::ALL.into_iter().filter(|algorithm| algorithm.value(checksum).is_some());
        let first = declared.next();
        match declared.next() {
            None => Ok(first),
            Some(_) => Err(s3_error!(
                InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
            )),
        }
    }

    /// What this algorithm says of `chunks`, one after the other.
    pub(super) fn digest<'a>(self, chunks: impl IntoIterator<Item = &'a Bytes>) -> Checksum {
        let mut hasher = self.hasher();
        for chunk in chunks {
            hasher.update(chunk);
        }
        hasher.finalize()
    }

    fn hasher(self) -> ChecksumHasher {
        let mut hasher = ChecksumHasher::default();
        match self {
            Algorithm::Crc32 => hasher.crc32 = Some(Crc32::new()),
            Algorithm::Crc32c => hasher.crc32c = Some(Crc32c::new()),
            Algorithm::Crc64Nvme => hasher.crc64nvme = Some(Crc64Nvme::new()),
            Algorithm::Sha1 => hasher.sha1 = Some(Sha1::new()),
            Algorithm::Sha256 => hasher.sha256 = Some(Sha256::new()),
        }
        hasher
    }

    /// Compares what the client said with what arrived.
    pub(super) fn verify(self, said: &str, arrived: &Checksum) -> S3Result<()> {
        let arrived = self.value(arrived).expect("the checksum that is compared was computed");
        if said == arrived {
            Ok(())
        } else if said.len() != arrived.len() {
            Err(s3_error!(InvalidRequest, "Value for {} header is invalid.", self.header()))
        } else {
            Err(s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                self.name()
            ))
        }
    }
}

/// What the client said about a body before and after sending it.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) length: Option<i64>,
    pub(super) content_md5: Option<String>,
    pub(super) checksum: Checksum,
    /// `x-amz-sdk-checksum-algorithm`, or what `x-amz-trailer` announces.
    pub(super) algorithm: Option<String>,
    /// Computed when the client names none.
    pub(super) fallback: Option<Algorithm>,
    pub(super) trailers: Option<TrailingHeaders>,
}

/// A body that arrived whole and is what the client said it is.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) body: Segments,
    pub(super) md5: [u8; 16],
    pub(super) checksum: Checksum,
}

/// Bytes per segment. Each is allocated at its exact size: a slice of the connection's read buffer would keep
/// all of that buffer alive, which for small objects is a hundred times what they hold.
const SEGMENT_BYTES_MAX: usize = 1024 * 1024;

/// Collects `body`, hashing as it arrives.
///
/// # Errors
///
/// `IncompleteBody`, `BadDigest`, `InvalidDigest`, `XAmzContentSHA256Mismatch`, `SignatureDoesNotMatch` (of a
/// chunk): nothing was stored.
pub(super) async fn receive(body: Option<StreamingBlob>, declared: Declared) -> S3Result<Received> {
    let from_header = Algorithm::declared_in(&declared.checksum)?;
    let announced = declared.algorithm.as_deref().map(Algorithm::parse).transpose()?;
    let algorithm = from_header.or(announced).or(declared.fallback);

    let mut length_left = declared.length.and_then(|length| usize::try_from(length).ok());
    let mut md5 = Md5::new();
    let mut hasher = algorithm.map(Algorithm::hasher).unwrap_or_default();
    let mut segments = Segmenter::default();
    if let Some(mut body) = body {
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(broken)?;
            md5.update(&chunk);
            hasher.update(&chunk);
            segments.push(&chunk, length_left);
            length_left = length_left.map(|left| left.saturating_sub(chunk.len()));
        }
    }
    let md5: [u8; 16] = md5.finalize();
    let checksum = hasher.finalize();

    if let Some(said) = &declared.content_md5 {
        verify_md5(said, md5)?;
    }
    if let Some(algorithm) = algorithm {
        let in_trailer = declared.trailers.and_then(|trailers| {
            let header = algorithm.header();
            trailers
                .read(|map| map.get(&header).and_then(|value| value.to_str().ok()).map(str::to_owned))
                .flatten()
        });
        if let Some(said) = algorithm.value(&declared.checksum).or(in_trailer.as_deref()) {
            algorithm.verify(said, &checksum)?;
        } else if announced.is_some() {
            return Err(s3_error!(
                InvalidRequest,
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or \
                 x-amz-trailer headers were found."
            ));
        }
    }
    Ok(Received { body: segments.finish(), md5, checksum })
}

#[derive(Default)]
struct Segmenter {
    done: Vec<Bytes>,
    current: BytesMut,
}

impl Segmenter {
    /// Appends `chunk`; `length_left` counts it and what is still to come, where that is known.
    fn push(&mut self, chunk: &[u8], length_left: Option<usize>) {
        let mut rest = chunk;
        while !rest.is_empty() {
            if self.current.len() == self.current.capacity() {
                self.flush();
                let still_to_come = length_left.map_or(SEGMENT_BYTES_MAX, |left| {
                    left.saturating_sub(chunk.len() - rest.len()).max(rest.len())
                });
                self.current = BytesMut::with_capacity(still_to_come.min(SEGMENT_BYTES_MAX));
            }
            let room = self.current.capacity() - self.current.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.current.extend_from_slice(now);
            rest = later;
        }
    }

    fn flush(&mut self) {
        if !self.current.is_empty() {
            self.done.push(std::mem::take(&mut self.current).freeze());
        }
    }

    fn finish(mut self) -> Segments {
        self.flush();
        Segments::new(self.done)
    }
}

/// Why a body ended early. The error types are private to s3s, so their text is what there is to tell by.
fn broken(error: StdError) -> S3Error {
    let text = error.to_string();
    let code = if text.contains("Sha256Mismatch") {
        S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into())
    } else if text.contains("SignatureMismatch") {
        S3ErrorCode::SignatureDoesNotMatch
    } else {
        S3ErrorCode::IncompleteBody
    };
    let mut refusal = S3Error::with_message(code, "The body is not what the request said it would be");
    if refusal.status_code().is_none() {
        refusal.set_status_code(hyper::StatusCode::BAD_REQUEST);
    }
    refusal.set_source(error);
    refusal
}

fn verify_md5(said: &str, arrived: [u8; 16]) -> S3Result<()> {
    let said = STANDARD.decode(said).ok().filter(|bytes| bytes.len() == arrived.len());
    match said {
        None => Err(s3_error!(InvalidDigest, "The Content-MD5 you specified is not valid.")),
        Some(said) if said == arrived => Ok(()),
        Some(_) => Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received.")),
    }
}

/// What the headers of a request with an XML body say about that body, checked before s3s parses and drops it.
/// Travels as a request extension to the operations that insist on it.
#[derive(Clone, Debug)]
pub(super) enum XmlBody {
    Unchecked,
    Verified,
    Refused(S3ErrorCode),
}

impl XmlBody {
    pub(super) fn check(headers: &HeaderMap, body: &Bytes) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let mut outcome = XmlBody::Unchecked;
        let mut checks = Vec::new();
        if let Some(said) = text("content-md5") {
            checks.push(verify_md5(said, Md5::checksum(body)));
        }
        for algorithm in Algorithm::ALL {
            if let Some(said) = text(&algorithm.header()) {
                checks.push(algorithm.verify(said, &algorithm.digest([body])));
            }
        }
        for check in checks {
            match check {
                Ok(()) => outcome = XmlBody::Verified,
                Err(error) => return XmlBody::Refused(error.code().clone()),
            }
        }
        outcome
    }

    /// For operations whose body S3 accepts only with a checksum.
    pub(super) fn require(&self) -> S3Result<()> {
        match self {
            XmlBody::Verified => Ok(()),
            XmlBody::Refused(code) => Err(code.clone().into()),
            XmlBody::Unchecked => Err(s3_error!(
                InvalidRequest,
                "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
            )),
        }
    }
}

/// Lower-case hexadecimal, as entity tags are written.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn body(chunks: &[&'static [u8]]) -> Option<StreamingBlob> {
        let chunks: Vec<_> =
            chunks.iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk))).collect();
        Some(StreamingBlob::wrap(stream::iter(chunks)))
    }

    fn received(declared: Declared) -> Result<Received, String> {
        futures_util::FutureExt::now_or_never(receive(body(&[b"hel", b"lo"]), declared))
            .expect("the body is ready")
            .map_err(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn a_body_is_kept_in_segments_of_its_own_size() {
        let kept = received(Declared { length: Some(5), ..Default::default() }).unwrap();
        assert_eq!(kept.body.iter().collect::<Vec<_>>(), ["hello"]);
        assert_eq!(hex(&kept.md5), "5d41402abc4b2a76b9719d911017c592");

        let mut segments = Segmenter::default();
        let chunk = vec![7; SEGMENT_BYTES_MAX / 2 + 1];
        for part in 0..3 {
            segments.push(&chunk, Some(chunk.len() * (3 - part)));
        }
        let lengths: Vec<usize> = segments.finish().iter().map(Bytes::len).collect();
        assert_eq!(lengths, [SEGMENT_BYTES_MAX, SEGMENT_BYTES_MAX / 2 + 3]);
    }

    #[test]
    fn every_checksum_is_verified() {
        for (algorithm, right) in [
            (Algorithm::Crc32, "NhCmhg=="),
            (Algorithm::Crc32c, "mnG7TA=="),
            (Algorithm::Sha1, "qvTGHdzF6KLavt4PO0gs2a6pQ00="),
            (Algorithm::Sha256, "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="),
        ] {
            let mut checksum = Checksum::default();
            algorithm.set(&mut checksum, Some(right.into()));
            let kept = received(Declared { checksum: checksum.clone(), ..Default::default() }).unwrap();
            assert_eq!(algorithm.value(&kept.checksum), Some(right));

            let wrong = format!("A{}", &right[1..]);
            algorithm
                .set(&mut checksum, Some(if wrong == right { format!("B{}", &right[1..]) } else { wrong }));
            assert_eq!(received(Declared { checksum, ..Default::default() }).unwrap_err(), "BadDigest");
        }
    }

    #[test]
    fn the_crc64_of_the_standard_check_string_is_the_published_one() {
        let digest = Algorithm::Crc64Nvme.digest([&Bytes::from_static(b"123456789")]);
        let expected = STANDARD.encode(0xAE8B_1486_0A79_9888_u64.to_be_bytes());
        assert_eq!(Algorithm::Crc64Nvme.value(&digest), Some(expected.as_str()));
    }

    #[test]
    fn two_checksums_at_once_are_refused() {
        let checksum = Checksum {
            checksum_crc32: Some("NhCmhg==".into()),
            checksum_crc32c: Some("mnG7TA==".into()),
            ..Default::default()
        };
        assert_eq!(received(Declared { checksum, ..Default::default() }).unwrap_err(), "InvalidRequest");
    }

    #[test]
    fn a_content_md5_is_right_wrong_or_not_one_at_all() {
        let said = |text: &str| received(Declared { content_md5: Some(text.into()), ..Default::default() });
        assert!(said("XUFAKrxLKna5cZ2REBfFkg==").is_ok());
        assert_eq!(said("AAAAAAAAAAAAAAAAAAAAAA==").unwrap_err(), "BadDigest");
        assert_eq!(said("nonsense").unwrap_err(), "InvalidDigest");
    }
}
