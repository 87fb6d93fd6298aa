//! [`RingFile`]: reading and writing at an offset through io_uring, without copying what is written.
//!
//! The operations are submitted by themselves. compio's `File` cannot be made of a descriptor that was opened
//! with our rules, and its `AsyncFd` reads and writes regular files at offset 0 every time, as io_uring takes no
//! offset for that and not for "where the file stands".

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use compio::BufResult;
use compio::buf::IntoInner;
use compio::driver::ToSharedFd;
use compio::driver::op::{ReadAt, WriteAt, WriteVectoredAt};
use compio::runtime::{fd::AsyncFd, submit};

/// The most chunks that are written by one operation; the kernel takes 1,024.
const CHUNKS_MAX: usize = 256;
/// A chunk of this many bytes is worth an operation of its own.
const LARGE_CHUNK_BYTES: usize = 64 * 1024;

/// An open file, attached to the runtime of this shard.
#[derive(Debug)]
pub(super) struct RingFile(AsyncFd<Arc<File>>);

impl RingFile {
    pub(super) fn new(file: Arc<File>) -> io::Result<RingFile> {
        AsyncFd::new(file).map(RingFile)
    }

    /// Writes the chunks one after the other from offset 0 on. Runs of small ones share an operation.
    pub(super) async fn write_all(&self, chunks: &[Bytes]) -> io::Result<()> {
        let mut chunks = chunks.to_vec();
        // Taken from the end.
        chunks.reverse();
        let mut at = 0;
        while let Some(first) = chunks.last() {
            let small = chunks
                .iter()
                .rev()
                .take(CHUNKS_MAX)
                .take_while(|chunk| chunk.len() < LARGE_CHUNK_BYTES)
                .count();
            let fd = self.0.to_shared_fd();
            let written = if small > 1 {
                let run: Vec<Bytes> = chunks.iter().rev().take(small).cloned().collect();
                submit(WriteVectoredAt::new(fd, at, run)).await.0
            } else {
                submit(WriteAt::new(fd, at, first.clone())).await.0
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    drop_front(&mut chunks, written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads into the whole of `buffer`, as far as one read goes, and cuts it to what was read: empty at the end
    /// of the file.
    pub(super) async fn read_at(&self, mut buffer: BytesMut, at: u64) -> io::Result<BytesMut> {
        loop {
            let room = buffer.len();
            let BufResult(read, operation) = submit(ReadAt::new(self.0.to_shared_fd(), at, buffer)).await;
            buffer = operation.into_inner();
            match read {
                // The kernel was offered the capacity, which may be more than the length.
                Ok(read) => {
                    buffer.truncate(read.min(room));
                    return Ok(buffer);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Drops so many bytes from the chunks, of which the last comes first.
fn drop_front(chunks: &mut Vec<Bytes>, mut bytes: usize) {
    while bytes > 0 {
        let first = chunks.last_mut().expect("no more is written than there is");
        let dropped = bytes.min(first.len());
        first.advance(dropped);
        bytes -= dropped;
        if first.is_empty() {
            chunks.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_write_goes_on_where_it_ended() {
        let mut chunks = ["ef", "d", "abc"].map(|chunk| Bytes::from_static(chunk.as_bytes())).to_vec();
        drop_front(&mut chunks, 2);
        assert_eq!(chunks, ["ef", "d", "c"]);
        drop_front(&mut chunks, 2);
        assert_eq!(chunks, ["ef"]);
        drop_front(&mut chunks, 2);
        assert!(chunks.is_empty());
    }
}
