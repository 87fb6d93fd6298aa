//! [`compio::io::AsyncWrite`] for the writer, so that it can stand where a file or a socket stands.

use std::any::Any;
use std::io;

use bytes::Bytes;
use compio::buf::{BufResult, IoBuf, Slice};
use compio::io::AsyncWrite;

use crate::error::{Error, ErrorKind};

use super::BufferedMultipartWriter;

/// The bytes are copied into parts, because the buffer goes back to the caller; a [`Bytes`] (also one handed to
/// `write_all`) is recognised and shared instead, unless it is short.
///
/// Errors are those of the writer's own methods, as the inner error of an [`io::Error`].
impl AsyncWrite for BufferedMultipartWriter {
    /// Accepts at most half a part, and says how much. Dropping this future before it is ready accepts nothing.
    async fn write<T: IoBuf>(&mut self, buf: T) -> BufResult<usize, T> {
        let len = buf.buf_len().min(self.piece_bytes_max());
        let written = match shared(&buf) {
            Some(mut bytes) => {
                bytes.truncate(len);
                self.write_piece(bytes).await
            }
            None => self.copy_piece(&buf.as_init()[..len]).await,
        };
        BufResult(written.map(|()| len).map_err(io::Error::from), buf)
    }

    /// Says whether the upload has failed, and nothing else. **It makes nothing durable**: a part shorter than
    /// the others can only be the last, so a flush cannot send what is held. Only `shutdown` does.
    async fn flush(&mut self) -> io::Result<()> {
        Ok(self.check()?)
    }

    /// [`finish`](BufferedMultipartWriter::finish), whose outcome a further `finish` returns. May be called
    /// again.
    async fn shutdown(&mut self) -> io::Result<()> {
        self.finish().await?;
        Ok(())
    }
}

/// The buffer as `Bytes`, if that is what it is.
fn shared<T: IoBuf>(buf: &T) -> Option<Bytes> {
    let any: &dyn Any = buf;
    if let Some(bytes) = any.downcast_ref::<Bytes>() {
        return Some(bytes.clone());
    }
    let slice = any.downcast_ref::<Slice<Bytes>>()?;
    Some(slice.as_inner().slice_ref(slice.as_init()))
}

impl From<Error> for io::Error {
    /// Keeps the error as the inner one; the kind is the nearest that `io` has.
    fn from(error: Error) -> io::Error {
        let kind = match error.kind() {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
            ErrorKind::InvalidInput | ErrorKind::Config => io::ErrorKind::InvalidInput,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            ErrorKind::Unauthenticated | ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            ErrorKind::NoSpace => io::ErrorKind::StorageFull,
            ErrorKind::Corrupt => io::ErrorKind::InvalidData,
            // Never `Interrupted` or `WouldBlock`: those tell a caller to try again, and a writer that failed
            // once has failed.
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
