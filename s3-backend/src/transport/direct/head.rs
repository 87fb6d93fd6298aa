//! The head of an answer: from bytes to [`ResponseHead`], and what it says about the bytes behind it.

use std::mem::MaybeUninit;

use httparse::{ParserConfig, Status};

use crate::protocol::header::decimal;
use crate::protocol::headers::{Headers, field};
use crate::protocol::request::ResponseHead;

/// The most header fields of an answer. S3's have about ten; user metadata, whose 2 KiB are split into as many
/// fields as the writer liked, may make a hundred of them.
const FIELDS_MAX: usize = 256;

/// The most of them that usually come. Room for more is on the stack only where it is needed: whatever lies at the far end
/// of it is in no cache.
const FIELDS_USUAL: usize = 24;

/// The longest head of an answer, in bytes: twice what common servers accept as the head of a request.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The most interim answers (100 Continue, 103 Early Hints) before the real one.
pub(super) const INTERIM_MAX: u32 = 16;

/// A head, read.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) head: ResponseHead,
    /// Its length, in bytes: behind it the body begins.
    pub(super) bytes: usize,
    pub(super) framing: Framing,
    /// Whether the connection may be used again once the body was read.
    pub(super) reusable: bool,
}

/// Where the body of an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// An answer that is not HTTP/1.1, or one whose end nobody can be sure of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotHttp(pub(super) &'static str);

/// Where the head in `bytes` ends, if it does. `seen` bytes of it were looked through in vain before.
pub(super) fn is_whole(bytes: &[u8], seen: usize) -> bool {
    // The mark has four bytes at most, the last one of them new.
    let fresh = &bytes[seen.saturating_sub(3).min(bytes.len())..];
    fresh.windows(2).any(|pair| pair == b"\n\n") || fresh.windows(3).any(|three| three == b"\n\r\n")
}

/// Reads the head at the front of `bytes`; `None` when it is not all there yet. `to_head`: whether it answers HEAD,
/// whose answers have no body whatever they say.
pub(super) fn parse(bytes: &[u8], to_head: bool) -> Result<Option<Parsed>, NotHttp> {
    match parse_fields::<FIELDS_USUAL>(bytes, to_head) {
        Err(TOO_MANY_FIELDS) => parse_fields::<FIELDS_MAX>(bytes, to_head),
        parsed => parsed,
    }
}

const TOO_MANY_FIELDS: NotHttp = NotHttp("it has too many header fields");

/// Reads a head of at most `N` fields.
#[inline(never)]
fn parse_fields<const N: usize>(bytes: &[u8], to_head: bool) -> Result<Option<Parsed>, NotHttp> {
    let mut fields = [const { MaybeUninit::uninit() }; N];
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(TOO_MANY_FIELDS),
        Err(httparse::Error::Version) => return Err(NotHttp("it is not HTTP/1.1")),
        Err(_) => return Err(NotHttp("it is not HTTP")),
    };
    let (Some(version), Some(status)) = (response.version, response.code) else {
        return Err(NotHttp("it is not HTTP"));
    };
    let mut hop = Hop::default();
    for found in response.headers.iter() {
        if Hop::may_be_about(found.name) {
            hop.note(found.name, found.value)?;
        }
    }
    let at = |part: &[u8]| part.as_ptr().addr() - bytes.as_ptr().addr();
    let fields = response.headers.iter().map(|found| {
        let name = found.name.as_bytes();
        field(at(name), name.len(), at(found.value), found.value.len())
    });
    let headers = Headers::of_head(&bytes[..length], fields);
    let framing = hop.framing(status, to_head)?;
    // A 204 that announces a body may send it too, in front of the next answer.
    let announces = status == 204 && (hop.codings > 0 || hop.length.is_some_and(|length| length > 0));
    let reusable = framing != Framing::Close && !announces && hop.keeps_alive(version);
    Ok(Some(Parsed { head: ResponseHead { status, headers }, bytes: length, framing, reusable }))
}

/// What a head says about its own connection, noted as its fields go by.
#[derive(Debug, Default)]
struct Hop {
    length: Option<u64>,
    codings: u32,
    chunked: bool,
    says_close: bool,
    says_keep_alive: bool,
}

impl Hop {
    /// Whether a field has to be [noted](Self::note), by its length alone: nearly all are others.
    fn may_be_about(name: &str) -> bool {
        matches!(name.len(), 10 | 14 | 17)
    }

    fn note(&mut self, name: &str, value: &[u8]) -> Result<(), NotHttp> {
        match name.len() {
            10 if name.eq_ignore_ascii_case("connection") => {
                for word in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    self.says_close |= word.eq_ignore_ascii_case(b"close");
                    self.says_keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                let stated = decimal(value).ok_or(NotHttp("its Content-Length is no length"))?;
                if self.length.is_some_and(|length| length != stated) {
                    return Err(NotHttp("it states two lengths"));
                }
                self.length = Some(stated);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                self.codings += 1;
                self.chunked = value.eq_ignore_ascii_case(b"chunked");
            }
            _ => {}
        }
        Ok(())
    }

    /// See [RFC 9112, section 6.3](https://www.rfc-editor.org/rfc/rfc9112#section-6.3). What could be understood in two
    /// ways is refused: somebody in between may have understood it in the other.
    fn framing(&self, status: u16, to_head: bool) -> Result<Framing, NotHttp> {
        if self.codings > 0 && self.length.is_some() {
            return Err(NotHttp("it states a length and a transfer coding"));
        }
        if to_head || matches!(status, 100..=199 | 204 | 304) {
            return Ok(Framing::Length(0));
        }
        match (self.codings, self.length) {
            (0, Some(length)) => Ok(Framing::Length(length)),
            (0, None) => Ok(Framing::Close),
            (1, _) if self.chunked => Ok(Framing::Chunked),
            (1, _) => Err(NotHttp("its transfer coding is unknown")),
            _ => Err(NotHttp("it states two transfer codings")),
        }
    }

    /// See [RFC 9112, section 9.3](https://www.rfc-editor.org/rfc/rfc9112#section-9.3).
    ///
    /// A transfer coding in HTTP/1.0 is [faulty framing](https://www.rfc-editor.org/rfc/rfc9112#section-6.1-15), after
    /// which nobody knows where the next answer begins.
    fn keeps_alive(&self, minor_version: u8) -> bool {
        !self.says_close && (minor_version >= 1 || (self.says_keep_alive && self.codings == 0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Parsed {
        parse(text.as_bytes(), false).expect("HTTP").expect("whole")
    }

    fn refused(text: &str) -> NotHttp {
        parse(text.as_bytes(), false).expect_err(text)
    }

    #[test]
    fn a_head_says_where_its_body_ends() {
        let head = parsed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\nhello");
        assert_eq!((head.framing, head.reusable, head.head.status), (Framing::Length(5), true, 200));
        assert_eq!(head.head.headers.text("etag"), Some("\"a\""));
        assert_eq!(head.bytes, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n".len());
        assert_eq!(parsed("HTTP/1.1 200 \r\nTransfer-Encoding: Chunked\r\n\r\n").framing, Framing::Chunked);
        let close = parsed("HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!((close.framing, close.reusable), (Framing::Close, false));
        for status in [100, 103, 204, 304] {
            let text = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
            assert_eq!(parsed(&text).framing, Framing::Length(0), "{status}");
        }
        let to_head =
            parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true).expect("HTTP").expect("whole");
        assert_eq!(to_head.framing, Framing::Length(0));
    }

    #[test]
    fn what_could_be_understood_in_two_ways_is_refused() {
        for fields in [
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: ",
            "Content-Length: 99999999999999999999",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ] {
            refused(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"));
        }
        assert_eq!(
            parsed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n").framing,
            Framing::Length(5)
        );
        refused("HTTP/2.0 200 OK\r\n\r\n");
        refused("SSH-2.0-OpenSSH_9.2p1\r\n\r\n");
        for fields in [FIELDS_USUAL, FIELDS_USUAL + 1, FIELDS_MAX] {
            let many = parsed(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(fields)));
            assert_eq!(many.head.headers.iter().filter(|field| *field == (b"a", b"b")).count(), fields);
        }
        let many = "a: b\r\n".repeat(FIELDS_MAX + 1);
        assert_eq!(refused(&format!("HTTP/1.1 200 OK\r\n{many}\r\n")).0, "it has too many header fields");
    }

    #[test]
    fn a_connection_is_used_again_only_where_both_sides_mean_it() {
        let cases = [
            ("HTTP/1.1", "Content-Length: 0", true),
            ("HTTP/1.1", "Content-Length: 0\r\nConnection: Close", false),
            ("HTTP/1.1", "Content-Length: 0\r\nConnection: x, close", false),
            ("HTTP/1.0", "Content-Length: 0", false),
            ("HTTP/1.0", "Content-Length: 0\r\nConnection: keep-alive", true),
            ("HTTP/1.0", "Transfer-Encoding: chunked\r\nConnection: keep-alive", false),
        ];
        for (version, fields, reusable) in cases {
            assert_eq!(
                parsed(&format!("{version} 200 OK\r\n{fields}\r\n\r\n")).reusable,
                reusable,
                "{fields}"
            );
        }
        for (fields, reusable) in
            [("Content-Length: 0", true), ("Content-Length: 5", false), ("Transfer-Encoding: chunked", false)]
        {
            let text = format!("HTTP/1.1 204 No Content\r\n{fields}\r\n\r\n");
            assert_eq!(parsed(&text).reusable, reusable, "{fields}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_a_cut_head_is_never_whole(bytes: Vec<u8>, cut in 0usize..60) {
            let _any = parse(&bytes, false);
            let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\n";
            let cut = cut.min(text.len() - 1);
            prop_assert!(!is_whole(&text[..cut], 0));
            prop_assert!(is_whole(text, cut));
            prop_assert!(parse(&text[..cut], false).is_ok_and(|head| head.is_none()));
        }

        #[test]
        fn fields_are_what_stands_between_the_blanks_of_their_lines(
            fields in prop::collection::vec(
                ("[a-cX-Z_.!-]{1,20}", "[ \\t]{0,3}", "[a:\" \té]{0,12}", "\r?\n"),
                0..2 * FIELDS_USUAL,
            ),
        ) {
            let mut text = b"HTTP/1.1 200 OK\r\n".to_vec();
            for (name, blanks, value, end) in &fields {
                text.extend([name, ":", blanks, value, end].into_iter().flat_map(str::bytes));
            }
            text.extend_from_slice(b"\r\n");
            let headers = parse(&text, false).expect("HTTP").expect("whole").head.headers;
            let found: Vec<_> = headers.iter().collect();
            let written = fields.iter().map(|(name, _, value, _)| (name.as_bytes(), value.trim_ascii().as_bytes()));
            prop_assert_eq!(found, written.collect::<Vec<_>>());
        }
    }
}
