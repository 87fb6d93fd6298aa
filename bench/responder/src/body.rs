//! Request bodies: where they end, and how much payload was in them.

use std::io;

/// A body being thrown away.
#[derive(Debug)]
pub(crate) struct Drain {
    framing: Framing,
    /// Payload so far.
    len: u64,
}

#[derive(Debug)]
enum Framing {
    Counted { left: u64 },
    Chunked(Chunk),
}

/// Where in a chunked body we are.
#[derive(Debug)]
enum Chunk {
    Size {
        size: u64,
        extension: bool,
    },
    Data {
        left: u64,
    },
    /// The line break after the data.
    End,
    /// The lines after the last chunk; `line` bytes of the current one were seen.
    Trailer {
        line: u64,
    },
}

/// What became of a body.
pub(crate) enum Drained<'a> {
    /// It goes on.
    More,
    /// It ended, with this much payload; what follows is the next request.
    Done { rest: &'a [u8], len: u64 },
}

impl Drain {
    pub(crate) fn counted(len: u64) -> Drain {
        Drain { framing: Framing::Counted { left: len }, len: 0 }
    }

    pub(crate) fn chunked() -> Drain {
        Drain { framing: Framing::Chunked(Chunk::Size { size: 0, extension: false }), len: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.framing, Framing::Counted { left: 0 })
    }

    pub(crate) fn take<'a>(&mut self, mut bytes: &'a [u8]) -> io::Result<Drained<'a>> {
        let chunk = match &mut self.framing {
            Framing::Counted { left } => {
                let taken = (bytes.len() as u64).min(*left);
                *left -= taken;
                self.len += taken;
                let rest = &bytes[taken as usize..];
                return Ok(if *left == 0 { Drained::Done { rest, len: self.len } } else { Drained::More });
            }
            Framing::Chunked(chunk) => chunk,
        };
        while let Some(&byte) = bytes.first() {
            match chunk {
                Chunk::Data { left } => {
                    let taken = (bytes.len() as u64).min(*left);
                    *left -= taken;
                    self.len += taken;
                    bytes = &bytes[taken as usize..];
                    if *left == 0 {
                        *chunk = Chunk::End;
                    }
                    continue;
                }
                Chunk::Size { size, extension } => match byte {
                    b'\n' if *size == 0 => *chunk = Chunk::Trailer { line: 0 },
                    b'\n' => *chunk = Chunk::Data { left: *size },
                    b'\r' => {}
                    b';' => *extension = true,
                    _ if *extension => {}
                    digit => {
                        let digit = char::from(digit).to_digit(16);
                        let digit = digit.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
                        *size = (*size << 4) | u64::from(digit);
                    }
                },
                Chunk::End => {
                    if byte == b'\n' {
                        *chunk = Chunk::Size { size: 0, extension: false };
                    }
                }
                Chunk::Trailer { line } => match byte {
                    b'\n' if *line == 0 => return Ok(Drained::Done { rest: &bytes[1..], len: self.len }),
                    b'\n' => *line = 0,
                    b'\r' => {}
                    _ => *line += 1,
                },
            }
            bytes = &bytes[1..];
        }
        Ok(Drained::More)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] = b"5;x=1\r\nhello\r\n1\r\n!\r\n0\r\nx-amz-checksum-crc32: abc\r\n\r\nGET";

    #[test]
    fn a_chunked_body_ends_after_its_trailers_wherever_it_is_cut() {
        for cut in 0..CHUNKED.len() {
            let mut drain = Drain::chunked();
            let rest = match drain.take(&CHUNKED[..cut]).unwrap() {
                Drained::Done { rest, len } => {
                    assert_eq!(len, 6);
                    [rest, &CHUNKED[cut..]].concat()
                }
                Drained::More => match drain.take(&CHUNKED[cut..]).unwrap() {
                    Drained::Done { rest, len } => {
                        assert_eq!(len, 6);
                        rest.to_vec()
                    }
                    Drained::More => panic!("it ended"),
                },
            };
            assert_eq!(rest, b"GET");
        }
    }

    #[test]
    fn a_counted_body_leaves_what_follows() {
        let mut drain = Drain::counted(3);
        assert!(matches!(drain.take(b"ab").unwrap(), Drained::More));
        let Drained::Done { rest, len } = drain.take(b"cd").unwrap() else { panic!("it ended") };
        assert_eq!((rest, len), (&b"d"[..], 3));
    }
}
