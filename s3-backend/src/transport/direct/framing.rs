//! [`Decoder`]: the body of an answer out of the bytes of its connection, which it cuts but never copies.

use bytes::{Buf, Bytes};

use super::head::{Framing, NotHttp};

/// The longest line of a chunk's size with its extensions, in bytes. Nobody sends extensions.
const SIZE_LINE_BYTES_MAX: u64 = 256;

/// The most bytes of trailers. S3 sends none unless asked for; they are skipped.
const TRAILERS_BYTES_MAX: u64 = 16 * 1024;

/// Takes a body out of what follows its head.
#[derive(Debug)]
pub(super) struct Decoder(State);

#[derive(Debug)]
enum State {
    /// So many bytes are still to come.
    Length(u64),
    Close,
    Chunked(Chunked),
}

#[derive(Debug)]
enum Chunked {
    /// In the line that states the size of a chunk.
    Size {
        size: u64,
        digits: u32,
        line_bytes: u64,
        in_extension: bool,
    },
    /// In its bytes.
    Data {
        left: u64,
    },
    /// Behind them, where `\r\n` stands.
    DataEnd {
        returned: bool,
    },
    /// Behind the last chunk: lines up to an empty one.
    Trailers {
        line_bytes: u64,
        bytes: u64,
    },
    Done,
}

impl Chunked {
    const START: Chunked = Chunked::Size { size: 0, digits: 0, line_bytes: 0, in_extension: false };
}

impl Decoder {
    pub(super) fn new(framing: Framing) -> Decoder {
        Decoder(match framing {
            Framing::Length(length) => State::Length(length),
            Framing::Close => State::Close,
            Framing::Chunked => State::Chunked(Chunked::START),
        })
    }

    /// Whether the body is over.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.0, State::Length(0) | State::Chunked(Chunked::Done))
    }

    /// How many bytes of the body are still to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self.0 {
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// Whether the end of the connection is the end of the body.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self.0, State::Close)
    }

    /// The next bytes of the body that `input` holds, taken from its front. `None`: it holds none, and more of the
    /// connection is needed unless the body is over.
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, NotHttp> {
        match &mut self.0 {
            State::Length(left) => Ok(take(input, left)),
            State::Close => Ok((!input.is_empty()).then(|| std::mem::take(input))),
            State::Chunked(chunked) => chunked.next(input),
        }
    }
}

/// At most `left` bytes, which are then no longer left.
fn take(input: &mut Bytes, left: &mut u64) -> Option<Bytes> {
    let bytes = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= bytes as u64;
    (bytes > 0).then(|| input.split_to(bytes))
}

impl Chunked {
    fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, NotHttp> {
        loop {
            if let Chunked::Data { left } = self {
                let piece = take(input, left);
                if *left == 0 {
                    *self = Chunked::DataEnd { returned: false };
                }
                if piece.is_some() {
                    return Ok(piece);
                }
            }
            if matches!(self, Chunked::Done) || input.is_empty() {
                return Ok(None);
            }
            if !matches!(self, Chunked::Data { .. }) {
                self.read(input.get_u8())?;
            }
        }
    }

    /// One byte of what stands between the chunks.
    fn read(&mut self, byte: u8) -> Result<(), NotHttp> {
        match self {
            Chunked::Size { size, digits, line_bytes, in_extension } => {
                *line_bytes += 1;
                if *line_bytes > SIZE_LINE_BYTES_MAX {
                    return Err(NotHttp("the line of a chunk's size does not end"));
                }
                match char::from(byte).to_digit(16) {
                    Some(digit) if !*in_extension => {
                        *digits += 1;
                        let longer = size.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit)));
                        *size = longer.ok_or(NotHttp("a chunk has an impossible size"))?;
                    }
                    _ if *digits == 0 => return Err(NotHttp("a chunk has no size")),
                    _ if byte == b'\n' => {
                        *self = match *size {
                            0 => Chunked::Trailers { line_bytes: 0, bytes: 0 },
                            left => Chunked::Data { left },
                        };
                    }
                    _ if matches!(byte, b';' | b' ' | b'\t' | b'\r') => *in_extension = true,
                    _ if *in_extension => {}
                    _ => return Err(NotHttp("a chunk's size is no number")),
                }
            }
            Chunked::DataEnd { returned } => match byte {
                b'\r' if !*returned => *returned = true,
                b'\n' => *self = Chunked::START,
                _ => return Err(NotHttp("a chunk is longer than its size")),
            },
            Chunked::Trailers { line_bytes, bytes } => {
                *bytes += 1;
                if *bytes > TRAILERS_BYTES_MAX {
                    return Err(NotHttp("its trailers do not end"));
                }
                match byte {
                    b'\r' => {}
                    b'\n' if *line_bytes == 0 => *self = Chunked::Done,
                    b'\n' => *line_bytes = 0,
                    _ => *line_bytes += 1,
                }
            }
            Chunked::Data { .. } | Chunked::Done => unreachable!("bytes of the body are not read one by one"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The body in these pieces of a connection, and what is left over behind it.
    fn decode(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>, bool), NotHttp> {
        let mut decoder = Decoder::new(framing);
        let (mut body, mut rest) = (Vec::new(), Vec::new());
        for piece in pieces {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(bytes) = decoder.next(&mut piece)? {
                assert!(!bytes.is_empty());
                body.extend_from_slice(&bytes);
            }
            rest.extend_from_slice(&piece);
        }
        Ok((body, rest, decoder.is_done()))
    }

    #[test]
    fn a_length_is_kept_to_the_byte() {
        let whole = decode(Framing::Length(5), &[b"hel", b"", b"lo!", b"?"]).expect("HTTP");
        assert_eq!(whole, (b"hello".to_vec(), b"!?".to_vec(), true));
        assert!(!decode(Framing::Length(5), &[b"hell"]).expect("HTTP").2);
        assert!(decode(Framing::Length(0), &[]).expect("HTTP").2);
        assert_eq!(decode(Framing::Close, &[b"a", b"b"]).expect("HTTP"), (b"ab".to_vec(), vec![], false));
    }

    #[test]
    fn chunks_are_joined_and_what_stands_between_them_is_not() {
        let text = b"4;x=\"y\"\r\nWiki\r\n5 \r\npedia\r\n0\r\nA: b\r\nC: d\r\n\r\nnext";
        assert_eq!(decode(Framing::Chunked, &[text]), Ok((b"Wikipedia".to_vec(), b"next".to_vec(), true)));
        for cut in 0..text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(
                decode(Framing::Chunked, &[a, b]).map(|(body, ..)| body),
                Ok(b"Wikipedia".to_vec()),
                "{cut}"
            );
        }
    }

    #[test]
    fn chunks_that_make_no_sense_are_refused() {
        let endless = [&b"1;"[..], &[b'x'; 300]].concat();
        let trailers = [&b"0\r\n"[..], &vec![b'x'; 20_000]].concat();
        for bad in [
            &b"\r\n"[..],
            b"x\r\n",
            b"-1\r\n",
            b"1\r\nab\r\n",
            b"1\r\na\r\r\n",
            b"11111111111111111\r\n",
            b"1g\r\n",
            &endless,
            &trailers,
        ] {
            assert!(decode(Framing::Chunked, &[bad]).is_err(), "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn chunks_come_out_as_they_went_in(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..80), 0..8),
            cuts in prop::collection::vec(0usize..700, 0..6),
        ) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(Framing::Chunked, &pieces), Ok((chunks.concat(), vec![], true)));
        }

        #[test]
        fn no_bytes_panic_or_make_more_than_there_is(bytes: Vec<u8>) {
            if let Ok((body, rest, _)) = decode(Framing::Chunked, &[&bytes]) {
                prop_assert!(body.len() + rest.len() <= bytes.len());
            }
        }
    }
}
