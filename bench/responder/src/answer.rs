//! What is answered, and what of it is still to be sent.

use std::collections::HashMap;
use std::io::{IoSlice, Write};

use crate::counts::Counts;
use crate::listing::{KEYS_A_PAGE, Listing};
use crate::request::{Method, Request};

/// When everything was last modified.
pub(crate) const MOMENT: &str = "2026-01-01T00:00:00.000Z";

/// What objects consist of, over and over. As large as fits the core's cache beside the read buffer.
const BLOCK_BYTES: usize = 256 << 10;

/// About what S3 sends with every answer.
const COMMON: &[u8] = b"x-amz-id-2: MzRISOwyjmnupC8zqKtpRNXCXhvuSQmf\r\n\
    x-amz-request-id: C3D13FE58DE4C810\r\n\
    Server: responder\r\n";

const ETAG: &[u8] = b"ETag: \"9b2cf535f27731c974343645a3985328\"\r\n";

/// Everything that connections share.
pub(crate) struct Site {
    block: Vec<u8>,
    /// CRC64NVME of objects by their size, as header lines.
    checksums: HashMap<u64, String>,
    listing: Listing,
    date: String,
    pub(crate) counts: Counts,
}

/// An answer on its way.
#[derive(Default)]
pub(crate) struct Output {
    head: Vec<u8>,
    head_sent: usize,
    body: Body,
    body_at: u64,
    body_end: u64,
}

#[derive(Clone, Copy, Default)]
enum Body {
    #[default]
    None,
    /// The block, repeated.
    Block,
    Page(usize),
}

impl Site {
    pub(crate) fn new() -> Site {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let block = (0..BLOCK_BYTES).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        });
        let date = http_date(rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec);
        Site {
            block: block.collect(),
            checksums: HashMap::new(),
            listing: Listing::new(),
            date: format!("Date: {date}\r\n"),
            counts: Counts::default(),
        }
    }

    /// Answers `request`, whose body held `len` bytes of payload.
    pub(crate) fn answer(&mut self, request: &Request, len: u64, output: &mut Output) {
        if request.admin {
            let text = std::mem::take(&mut self.counts).json();
            return self.text(&text, output);
        }
        match request.method {
            Method::Put if request.query.contains("partNumber=") => {
                self.counts.parts += 1;
                self.counts.part_bytes += len;
                self.stored(request, output);
            }
            Method::Put => {
                self.counts.puts += 1;
                self.counts.put_bytes += len;
                self.stored(request, output);
            }
            Method::Get if request.query.contains("list-type=2") => {
                self.counts.list_pages += 1;
                self.counts.list_keys += KEYS_A_PAGE as u64;
                let (page, opening) = Listing::opening(&request.query);
                let rest = self.listing.page(page).len() as u64;
                self.open(b"200 OK", opening.len() as u64 + rest, output);
                output.push_head(b"Content-Type: application/xml\r\n\r\n");
                output.push_head(opening.as_bytes());
                output.body(Body::Page(page), 0, rest);
            }
            Method::Get | Method::Head => self.object(request, output),
            Method::Post if request.query.contains("uploadId=") => {
                self.counts.completes += 1;
                let xml = format!(
                    "<CompleteMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                     <Location>http://127.0.0.1/bench/{key}</Location><Bucket>bench</Bucket><Key>{key}</Key>\
                     <ETag>&quot;9b2cf535f27731c974343645a3985328-128&quot;</ETag>\
                     </CompleteMultipartUploadResult>",
                    key = request.key
                );
                self.text(&xml, output);
            }
            Method::Post => {
                self.counts.creates += 1;
                let xml = format!(
                    "<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                     <Bucket>bench</Bucket><Key>{}</Key><UploadId>upload-1</UploadId>\
                     </InitiateMultipartUploadResult>",
                    request.key
                );
                self.text(&xml, output);
            }
            Method::Delete => {
                self.counts.others += 1;
                output.push_head(b"HTTP/1.1 204 No Content\r\n");
                output.push_head(COMMON);
                output.push_head(b"\r\n");
            }
        }
    }

    fn stored(&self, request: &Request, output: &mut Output) {
        self.open(b"200 OK", 0, output);
        output.push_head(ETAG);
        output.push_head(&request.echo);
        output.push_head(b"\r\n");
    }

    fn text(&self, text: &str, output: &mut Output) {
        self.open(b"200 OK", text.len() as u64, output);
        output.push_head(b"Content-Type: application/xml\r\n\r\n");
        output.push_head(text.as_bytes());
    }

    fn object(&mut self, request: &Request, output: &mut Output) {
        let size = request.key.strip_prefix("get-").and_then(|size| size.parse::<u64>().ok());
        let Some(size) = size else {
            self.counts.others += 1;
            self.open(b"404 Not Found", 0, output);
            return output.push_head(b"\r\n");
        };
        let (first, last) = match request.range {
            Some((first, last)) => (first.min(size), last.map_or(size, |last| (last + 1).min(size))),
            None => (0, size),
        };
        let whole = request.range.is_none();
        self.open(if whole { b"200 OK" } else { b"206 Partial Content" }, last - first, output);
        if !whole {
            write!(output.head, "Content-Range: bytes {first}-{}/{size}\r\n", last.saturating_sub(1))
                .expect("a Vec takes everything");
        }
        output.push_head(ETAG);
        output.push_head(
            b"Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n\
            Content-Type: application/octet-stream\r\n",
        );
        if request.wants_checksum && whole {
            output.push_head(self.checksum(size).as_bytes());
        }
        output.push_head(b"\r\n");
        if request.method == Method::Head {
            self.counts.others += 1;
        } else {
            self.counts.gets += 1;
            self.counts.get_bytes += last - first;
            output.body(Body::Block, first, last);
        }
    }

    fn open(&self, status: &[u8], len: u64, output: &mut Output) {
        output.push_head(b"HTTP/1.1 ");
        output.push_head(status);
        output.push_head(b"\r\n");
        output.push_head(COMMON);
        output.push_head(self.date.as_bytes());
        write!(output.head, "Content-Length: {len}\r\n").expect("a Vec takes everything");
    }

    fn checksum(&mut self, size: u64) -> &str {
        let block = &self.block;
        self.checksums.entry(size).or_insert_with(|| {
            let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
            let mut left = size;
            while left > 0 {
                let len = left.min(block.len() as u64);
                digest.update(&block[..len as usize]);
                left -= len;
            }
            format!(
                "x-amz-checksum-crc64nvme: {}\r\nx-amz-checksum-type: FULL_OBJECT\r\n",
                base64(digest.finalize().to_be_bytes())
            )
        })
    }
}

impl Output {
    pub(crate) fn push_head(&mut self, bytes: &[u8]) {
        self.head.extend_from_slice(bytes);
    }

    fn body(&mut self, body: Body, first: u64, end: u64) {
        self.body = body;
        self.body_at = first;
        self.body_end = end;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head_sent == self.head.len() && self.body_at == self.body_end
    }

    /// What to send next, in as many slices as there is room for; how many there are.
    pub(crate) fn slices<'a>(&'a self, site: &'a Site, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let head = &self.head[self.head_sent..];
        if !head.is_empty() {
            slices[0] = IoSlice::new(head);
            used = 1;
        }
        let (source, mut at, end): (&[u8], u64, u64) = match self.body {
            Body::None => (&[], 0, 0),
            Body::Block => (&site.block, self.body_at, self.body_end),
            Body::Page(page) => (site.listing.page(page), self.body_at, self.body_end),
        };
        while at < end && used < slices.len() {
            let from = (at % source.len() as u64) as usize;
            let len = (source.len() - from).min((end - at) as usize);
            slices[used] = IoSlice::new(&source[from..from + len]);
            at += len as u64;
            used += 1;
        }
        used
    }

    /// Forgets what was sent.
    pub(crate) fn advance(&mut self, sent: usize) {
        let of_head = sent.min(self.head.len() - self.head_sent);
        self.head_sent += of_head;
        self.body_at += (sent - of_head) as u64;
        if self.is_empty() {
            self.head.clear();
            self.head_sent = 0;
            self.body(Body::None, 0, 0);
        }
    }
}

fn base64(bytes: [u8; 8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u128::from(u64::from_be_bytes(bytes)) << 2;
    let mut text: String =
        (0..11).rev().map(|at| char::from(ALPHABET[(bits >> (6 * at)) as usize & 63])).collect();
    text.push('=');
    text
}

/// As RFC 9110 has it: <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7>.
fn http_date(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [(&str, i64); 12] = [
        ("Jan", 31),
        ("Feb", 28),
        ("Mar", 31),
        ("Apr", 30),
        ("May", 31),
        ("Jun", 30),
        ("Jul", 31),
        ("Aug", 31),
        ("Sep", 30),
        ("Oct", 31),
        ("Nov", 30),
        ("Dec", 31),
    ];
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut left) = (1970, days);
    while left >= 365 + i64::from(leap(year)) {
        left -= 365 + i64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    loop {
        let len = MONTHS[month].1 + i64::from(month == 1 && leap(year));
        if left < len {
            break;
        }
        left -= len;
        month += 1;
    }
    format!(
        "{}, {:02} {} {year} {:02}:{:02}:{:02} GMT",
        DAYS[days.rem_euclid(7) as usize],
        left + 1,
        MONTHS[month].0,
        time / 3_600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_wants_it() {
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(1_709_210_096), "Thu, 29 Feb 2024 12:34:56 GMT");
    }

    #[test]
    fn eight_bytes_become_twelve_letters() {
        assert_eq!(base64(*b"\0\x10\x83\x10\x51\x87\x20\x92"), "ABCDEFGHIJI=");
        assert_eq!(base64([0xff; 8]), "//////////8=");
    }
}
