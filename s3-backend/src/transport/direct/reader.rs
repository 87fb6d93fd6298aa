//! [`Reader`]: the reads of one socket, one after the other, in the same memory.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use compio::BufResult;
use compio::buf::{IoBuf, Slice};
use compio::io::AsyncRead;
use compio::net::TcpStream;

/// How a read ended, with the buffer that it was given.
pub(super) type Read = BufResult<usize, Slice<BytesMut>>;

/// Reads, one at a time. A box for each of them would cost an allocation for every answer.
pub(super) trait Reader {
    /// Begins to read `room` bytes behind what is in the buffer. A read that is under way is given up.
    fn begin(&mut self, buffer: BytesMut, room: usize);

    /// The end of the read that was begun last, once.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Read>;
}

/// The reads of this socket.
pub(super) fn reader(socket: TcpStream) -> Box<dyn Reader> {
    let read = move |buffer: BytesMut, room: usize| {
        let socket = socket.clone();
        async move {
            let (mut socket, at) = (&socket, buffer.len());
            socket.read(buffer.slice(at..at + room)).await
        }
    };
    Box::new(Reads { read, under_way: Box::pin(None) })
}

struct Reads<M, F> {
    read: M,
    under_way: Pin<Box<Option<F>>>,
}

impl<M: Fn(BytesMut, usize) -> F, F: Future<Output = Read>> Reader for Reads<M, F> {
    fn begin(&mut self, buffer: BytesMut, room: usize) {
        let read = (self.read)(buffer, room);
        self.under_way.as_mut().set(Some(read));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let read = self.under_way.as_mut().as_pin_mut().expect("a read has begun");
        read.poll(cx)
    }
}
