//! [`Verified`]: the body of a get, compared with what the store says of it before its end is believed.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use object_storage::{Error, ErrorKind, Key, Operation, Result};

use crate::protocol::checksum::Check;
use crate::transport::Transport;

/// Chunks on their way, of which the last is handed out only if all of them together are what the store has kept.
/// Otherwise an error stands in its place. Nothing waits longer for that: which chunk is the last one is known by the
/// length.
pub(crate) struct Verified<S> {
    chunks: S,
    /// `None` once it has been looked at.
    check: Option<Check>,
    /// Bytes that are still to come. Whether they come, and no more, is for [`Body`](object_storage::Body) to say.
    owed: u64,
    key: Key,
    transport: Rc<dyn Transport>,
}

impl<S> Verified<S> {
    /// Compares `length` bytes of `chunks`. When they turn out wrong, `transport` hears of it.
    pub(crate) fn new(
        chunks: S,
        check: Check,
        length: u64,
        key: Key,
        transport: Rc<dyn Transport>,
    ) -> Verified<S> {
        Verified { chunks, check: Some(check), owed: length, key, transport }
    }

    /// Compares, if nothing is owed any more.
    fn look(&mut self) -> Result<()> {
        if self.owed > 0 {
            return Ok(());
        }
        let Some(check) = self.check.take() else { return Ok(()) };
        check.finish().map_err(|mismatch| {
            self.transport.forget_idle();
            let message = format!("not the stored bytes: {mismatch}");
            Error::new(ErrorKind::Corrupt, Operation::GetObject, message).with_key(&self.key)
        })
    }
}

impl<S: Stream<Item = Result<Bytes>> + Unpin> Stream for Verified<S> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let next = match std::task::ready!(this.chunks.poll_next_unpin(cx)) {
            Some(Ok(chunk)) => {
                if let (Some(check), true) = (&mut this.check, chunk.len() as u64 <= this.owed) {
                    check.update(&chunk);
                    this.owed -= chunk.len() as u64;
                }
                Some(this.look().map(|()| chunk))
            }
            // An empty object has no last chunk.
            None => this.look().err().map(Err),
            failed => failed,
        };
        Poll::Ready(next)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::LocalBoxFuture;
    use futures_util::stream;
    use object_storage::Body;

    use super::*;
    use crate::protocol::checksum::Checksum;
    use crate::protocol::headers::Headers;
    use crate::protocol::request::SignedRequest;
    use crate::transport::{Response, SendFailure, StageLimits};

    #[derive(Debug, Default)]
    struct Idle(std::cell::Cell<u32>);

    impl Transport for Idle {
        fn send<'a>(
            &'a self,
            _: &'a SignedRequest<'a>,
            _: &'a StageLimits,
        ) -> LocalBoxFuture<'a, Result<Response, SendFailure>> {
            unreachable!("nothing is sent here")
        }

        fn future_bytes(&self, _: &SignedRequest<'_>, _: &StageLimits) -> usize {
            0
        }

        fn forget_idle(&self) {
            self.0.set(self.0.get() + 1);
        }
    }

    /// What a reader gets of these chunks, which should be `length` bytes with this checksum.
    fn read(length: u64, crc: &str, chunks: &[&'static str]) -> (Vec<u8>, Option<ErrorKind>, u32) {
        let headers = Headers::from([("x-amz-checksum-crc64nvme", crc)]);
        let checksum = Checksum::stated(&headers).expect("sensible").expect("known");
        let key = Key::parse("k").expect("a key");
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        let transport = Rc::new(Idle::default());
        let verified =
            Verified::new(stream::iter(chunks), checksum.check(), length, key, Rc::<Idle>::clone(&transport));
        let mut body = Body::from_stream(length, verified);
        let (mut came, mut failed) = (Vec::new(), None);
        while let Some(chunk) = body.next_chunk().now_or_never().expect("nothing waits") {
            match chunk {
                Ok(chunk) => came.extend_from_slice(&chunk),
                Err(error) => failed = Some(error.kind()),
            }
        }
        (came, failed, transport.0.get())
    }

    #[test]
    fn the_last_chunk_comes_only_if_all_of_them_are_right() {
        let crc = "rosUhgp5mIg=";
        assert_eq!(read(9, crc, &["123", "456", "789"]), (b"123456789".to_vec(), None, 0));
        assert_eq!(read(9, crc, &["", "123456789", ""]), (b"123456789".to_vec(), None, 0));
        assert_eq!(read(9, crc, &["123", "457", "789"]), (b"123457".to_vec(), Some(ErrorKind::Corrupt), 1));
        assert_eq!(read(9, crc, &["123456788"]), (Vec::new(), Some(ErrorKind::Corrupt), 1));
        assert_eq!(read(0, "AAAAAAAAAAA=", &[]), (Vec::new(), None, 0));
        assert_eq!(read(0, crc, &[]), (Vec::new(), Some(ErrorKind::Corrupt), 1));
    }

    #[test]
    fn a_wrong_length_is_found_as_it_is_without_a_checksum() {
        let crc = "rosUhgp5mIg=";
        assert_eq!(read(9, crc, &["123", "456"]), (b"123456".to_vec(), Some(ErrorKind::Corrupt), 0));
        assert_eq!(read(9, crc, &["123", "4567890"]), (b"123".to_vec(), Some(ErrorKind::Protocol), 0));
        assert_eq!(read(9, crc, &["123456789", "0"]).1, Some(ErrorKind::Protocol));
    }
}
