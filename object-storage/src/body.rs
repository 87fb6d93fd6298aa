//! [`Body`]: the bytes of a get, pulled chunk by chunk, counted as they come.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{LocalBoxStream, Stream};

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::payload::Payload;

/// The bytes of one get: a stream of chunks whose total length is known and checked.
///
/// Nothing is read ahead without bound: a body that is not pulled does not fill memory. Dropping it unread is
/// always allowed; an S3 store then closes the connection unless little is left of it.
///
/// A body that ends early is an error (`Corrupt`), and so is one that goes on beyond its length (`Protocol`);
/// after an error it is over.
///
/// Where the store keeps a checksum of the whole object, all bytes are compared with it when the last of them are here:
/// if they are not the stored ones, an error (`Corrupt`) comes instead of the last chunk. Whoever uses chunks before
/// the end has come, uses bytes that nobody has verified.
pub struct Body {
    /// `None`: nothing comes but what is held.
    chunks: Option<LocalBoxStream<'static, Result<Bytes>>>,
    /// Read from the stream and not handed out yet.
    held: Bytes,
    len: u64,
    /// Bytes that the stream still owes.
    owed: u64,
    over: bool,
}

/// The most that [`Body::bytes`] reserves before the first byte has come, in bytes: a length that a broken
/// server claims must not allocate memory by itself.
const RESERVE_BYTES_MAX: usize = 8 * 1024 * 1024;

impl Body {
    /// A body of `len` bytes that come from `chunks`. The length is enforced while it is read.
    #[must_use]
    pub fn from_stream(len: u64, chunks: impl Stream<Item = Result<Bytes>> + 'static) -> Body {
        Body { chunks: Some(Box::pin(chunks)), held: Bytes::new(), len, owed: len, over: false }
    }

    /// A body of `len` bytes that is here already. The length is enforced while it is read, as that of a stream is.
    #[must_use]
    pub fn from_chunk(len: u64, chunk: Bytes) -> Body {
        if chunk.len() as u64 != len {
            return Body::from_stream(len, futures_util::stream::once(std::future::ready(Ok(chunk))));
        }
        Body { chunks: None, held: chunk, len, owed: 0, over: true }
    }

    /// A body that is all in memory.
    #[must_use]
    pub fn from_payload(payload: Payload) -> Body {
        let len = payload.len();
        Body::from_stream(len, futures_util::stream::iter(payload.into_chunks().into_iter().map(Ok)))
    }

    /// The number of bytes of the whole body, read or not.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the body holds no byte at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of bytes that were not handed out yet.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.owed + self.held.len() as u64
    }

    /// The next chunk, never empty; `None` once every byte was handed out.
    ///
    /// Dropping this future loses no byte: the next call goes on where this one stood.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout` when the store stopped answering, and the rest could not be had from it either
    /// (S3 is asked again from where the body broke off, as often as the retry policy says). `PreconditionFailed` or
    /// `NotFound` when the object was replaced or deleted by the time the rest was asked for: two versions are never
    /// joined, get it anew.
    /// `Corrupt` when the body ended early or is not what was stored, `Protocol` when it did not end: do not use what
    /// came.
    pub async fn next_chunk(&mut self) -> Option<Result<Bytes>> {
        self.next().await
    }

    /// All bytes in one piece; without a copy when they came in one chunk.
    ///
    /// # Errors
    ///
    /// As [`next_chunk`](Body::next_chunk). The bytes that came are dropped.
    pub async fn bytes(mut self) -> Result<Bytes> {
        let Some(first) = self.next().await.transpose()? else { return Ok(Bytes::new()) };
        if self.remaining() == 0 {
            self.expect_end().await?;
            return Ok(first);
        }
        let rest = usize::try_from(self.remaining()).unwrap_or(usize::MAX);
        let mut joined = BytesMut::with_capacity(first.len() + rest.min(RESERVE_BYTES_MAX));
        joined.put(first);
        while let Some(chunk) = self.next().await {
            joined.put(chunk?);
        }
        Ok(joined.freeze())
    }

    /// Fills the caller's buffer as far as buffer and body reach, and returns it with the number of bytes read.
    /// What does not fit stays for the next call. `0` means that the body is over (or the buffer has no room).
    ///
    /// Dropping this future loses the buffer and the bytes already in it.
    ///
    /// # Errors
    ///
    /// As [`next_chunk`](Body::next_chunk); the buffer comes back all the same.
    pub async fn read_into<B: BufMut>(&mut self, mut buffer: B) -> (Result<usize>, B) {
        let mut read = 0;
        while buffer.has_remaining_mut() {
            match self.next().await {
                None => break,
                Some(Err(error)) => return (Err(error), buffer),
                Some(Ok(mut chunk)) => {
                    let fits = chunk.len().min(buffer.remaining_mut());
                    buffer.put_slice(&chunk[..fits]);
                    chunk.advance(fits);
                    read += fits;
                    self.held = chunk;
                }
            }
        }
        (Ok(read), buffer)
    }

    /// Pulls the end of the stream, so that a store can take its connection back, and a byte too many is seen.
    async fn expect_end(&mut self) -> Result<()> {
        match self.next().await {
            None => Ok(()),
            Some(Err(error)) => Err(error),
            Some(Ok(_)) => unreachable!("the count admits no byte beyond the length"),
        }
    }

    fn fail(&mut self, kind: ErrorKind, message: String) -> Poll<Option<Result<Bytes>>> {
        self.over = true;
        Poll::Ready(Some(Err(Error::new(kind, Operation::GetObject, message))))
    }
}

impl Stream for Body {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let this = &mut *self;
        if !this.held.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut this.held))));
        }
        while !this.over {
            let Some(chunks) = &mut this.chunks else { break };
            match std::task::ready!(chunks.poll_next_unpin(cx)) {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) if chunk.len() as u64 > this.owed => {
                    let message = format!("the body goes on beyond its {} bytes", this.len);
                    return this.fail(ErrorKind::Protocol, message);
                }
                Some(Ok(chunk)) => {
                    this.owed -= chunk.len() as u64;
                    return Poll::Ready(Some(Ok(chunk)));
                }
                Some(Err(error)) => {
                    this.over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None if this.owed > 0 => {
                    let message = format!("the body ended {} bytes short of {}", this.owed, this.len);
                    return this.fail(ErrorKind::Corrupt, message);
                }
                None => this.over = true,
            }
        }
        Poll::Ready(None)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes, {} to come)", self.len, self.remaining())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::stream;

    use super::*;

    fn body(len: u64, chunks: &[&'static str]) -> Body {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        Body::from_stream(len, stream::iter(chunks))
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("nothing here waits")
    }

    #[test]
    fn a_body_that_ends_early_is_corrupt_and_one_that_does_not_end_breaks_the_protocol() {
        assert_eq!(now(body(5, &["ab"]).bytes()).expect_err("short").kind(), ErrorKind::Corrupt);
        assert_eq!(now(body(3, &["ab", "cd"]).bytes()).expect_err("long").kind(), ErrorKind::Protocol);
        assert_eq!(
            now(body(2, &["ab", "cd"]).bytes()).expect_err("long at a seam").kind(),
            ErrorKind::Protocol
        );
        assert_eq!(&now(body(4, &["ab", "", "cd"]).bytes()).expect("whole")[..], b"abcd");
        assert!(now(body(0, &[]).bytes()).expect("empty").is_empty());
    }

    #[test]
    fn a_callers_buffer_is_filled_across_chunks_and_comes_back() {
        let mut body = body(5, &["ab", "cde"]);
        let mut room = [0u8; 4];
        let (read, _) = now(body.read_into(&mut room[..]));
        assert_eq!(read.expect("four bytes"), 4);
        assert_eq!(&room, b"abcd");
        assert_eq!(body.remaining(), 1);
        let (read, rest) = now(body.read_into(Vec::new().limit(9)));
        assert_eq!(read.expect("one byte"), 1);
        assert_eq!(rest.into_inner(), b"e");
        let (read, _) = now(body.read_into(Vec::new()));
        assert_eq!(read.expect("over"), 0);
    }
}
