//! [`Connection`]: one socket, what was read from it and not used yet, and the read that waits on it.
//!
//! A connection always has a read under way, also while it lies idle: so that it hears at once that the other side
//! has closed, or says something nobody asked for, and is then not used again; and so that an answer is heard that
//! comes while the request is still being sent.

mod at_once;
mod opened;
mod sealed;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use compio::BufResult;
use compio::buf::{IntoInner, IoBuf, IoVectoredBuf};
use compio::io::AsyncWrite;
use compio::net::TcpStream;
use object_storage::Payload;

use self::at_once::at_once;
use super::buffers::{Buffers, Room, SMALL_BYTES};
use super::low_water::LowWater;
use super::reader::{Read, Reader, reader};
use super::tls_machine::{Handshake, Outgoing as Records, RECORD_BYTES_MAX, TlsFailure, TlsMachine};
use crate::transport::Cause;

/// The most pieces that one write names; the kernel takes 1,024.
const PIECES_MAX: usize = 256;

/// The longest payload that is copied behind the head of its request, in bytes, so that both leave in a plain write. A
/// page costs as much to copy as the kernel takes longer over a list of pieces.
pub(super) const JOINED_BYTES_MAX: u64 = 1024;

/// The longest request that is handed to the kernel past the ring, in bytes. A longer one lets the other tasks of the
/// shard have their turn between its pieces.
const AT_ONCE_BYTES_MAX: u64 = 128 * 1024;

/// A connection to the store, or to a proxy that hands on to it.
pub(super) struct Connection {
    socket: TcpStream,
    tls: Option<Box<TlsMachine>>,
    reader: Box<dyn Reader>,
    reading: Reading,
    /// Where the socket is read into; of TLS it keeps what makes no whole record yet.
    raw: Room,
    /// What the other side said, in order. No piece is empty.
    heard: VecDeque<Bytes>,
    /// The other side will say nothing more: what was heard is all there is.
    ended: bool,
    /// It broke behind what was heard last, which is said when that was taken.
    broken: Option<Broken>,
    /// Records to be sent that are none of a request's: the handshake, and what TLS itself has to say.
    records: Records,
    /// Memory for the head of a request.
    head: Vec<u8>,
    buffers: Buffers,
    low_water: LowWater,
    /// When it was made, and how old it may become.
    pub(super) born: Instant,
    pub(super) age_max: Duration,
}

enum Reading {
    Not,
    Waiting,
    Done(Read),
}

/// What reading brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Something,
    /// The other side will say nothing more.
    End,
}

/// Why a connection is of no more use.
#[derive(Debug)]
pub(super) enum Broken {
    Io(io::Error),
    Tls(TlsFailure),
}

impl Broken {
    pub(super) fn cause(&self) -> Cause {
        match self {
            Broken::Io(_) => Cause::Connection,
            Broken::Tls(failure) => failure.cause(),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Io(error) => error.fmt(f),
            Broken::Tls(failure) => failure.fmt(f),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Io(error)
    }
}

impl From<TlsFailure> for Broken {
    fn from(failure: TlsFailure) -> Broken {
        Broken::Tls(failure)
    }
}

impl Connection {
    pub(super) fn new(socket: TcpStream, buffers: Buffers, born: Instant, age_max: Duration) -> Connection {
        Connection {
            reader: reader(socket.clone()),
            socket,
            tls: None,
            reading: Reading::Not,
            raw: Room::default(),
            heard: VecDeque::new(),
            ended: false,
            broken: None,
            records: Records::default(),
            head: Vec::new(),
            buffers,
            low_water: LowWater::new(),
            born,
            age_max,
        }
    }

    /// Speaks TLS from now on.
    ///
    /// # Errors
    ///
    /// When the other side cannot be trusted, or does not answer as TLS has it.
    pub(super) async fn secure(&mut self, mut tls: TlsMachine) -> Result<(), Broken> {
        if !self.heard.is_empty() {
            // Behind a proxy's answer nothing can have been said yet.
            return Err(
                io::Error::new(io::ErrorKind::InvalidData, "something was said before TLS began").into()
            );
        }
        loop {
            let step = tls.handshake(&mut self.raw.buffer, &mut self.records);
            // An alert that says why is worth sending even if the handshake failed.
            let sent = self.send_records().await;
            if step? == Handshake::Done {
                sent?;
                break;
            }
            sent?;
            let BufResult(read, buffer) = self.next_read(SMALL_BYTES).await;
            self.raw.buffer = buffer.into_inner();
            if read? == 0 {
                let message = "the connection ended during the TLS handshake";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message).into());
            }
        }
        self.tls = Some(Box::new(tls));
        self.decrypt(false)
    }

    /// Everything that was heard and not taken, in order.
    pub(super) fn heard(&mut self) -> &mut VecDeque<Bytes> {
        &mut self.heard
    }

    /// Begins to read, if that is not so already, in order to hear whatever comes next.
    pub(super) fn listen(&mut self) {
        if matches!(self.reading, Reading::Not) && !self.ended && self.broken.is_none() {
            self.begin(SMALL_BYTES);
        }
        self.look();
    }

    /// Whether a read is under way.
    pub(super) fn is_listening(&self) -> bool {
        !matches!(self.reading, Reading::Not)
    }

    /// Whether nothing was heard since [`listen`](Self::listen), not even the end: it can be used again.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.look();
        if matches!(self.reading, Reading::Done(_)) && self.tls.is_some() {
            // It may be a ticket for a later session, which servers send when they like.
            if self.finish().is_err() || self.ended {
                return false;
            }
            self.listen();
        }
        matches!(self.reading, Reading::Waiting) && self.heard.is_empty() && !self.ended
    }

    /// Lets the read under way begin or end, without waiting for it.
    fn look(&mut self) {
        if matches!(self.reading, Reading::Waiting) {
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(done) = self.reader.poll(&mut cx) {
                self.reading = Reading::Done(done);
            }
        }
    }

    fn begin(&mut self, room: usize) {
        let room = if self.tls.is_some() { opened::READ_BYTES } else { room };
        let room = self.raw.make(&self.buffers, room);
        self.reader.begin(mem::take(&mut self.raw.buffer), room);
        self.reading = Reading::Waiting;
    }

    async fn next_read(&mut self, room: usize) -> Read {
        if matches!(self.reading, Reading::Not) {
            self.begin(room);
        }
        if matches!(self.reading, Reading::Waiting) {
            let done = poll_fn(|cx| self.reader.poll(cx)).await;
            self.reading = Reading::Not;
            return done;
        }
        match mem::replace(&mut self.reading, Reading::Not) {
            Reading::Done(done) => done,
            _ => unreachable!("a read has just begun"),
        }
    }

    /// Waits until something more was heard, or the end. `room`: how much may come at once, in bytes, unless a read
    /// is under way.
    ///
    /// Dropping this future loses nothing.
    pub(super) async fn hear(&mut self, room: usize) -> Result<Heard, Broken> {
        poll_fn(|cx| self.poll_hear(room, cx)).await
    }

    /// `bytes` of what is heard next belong together, so that nobody need be woken for less. Zero: no more of it.
    ///
    /// # Errors
    ///
    /// The connection is of no use any more.
    pub(super) fn expect(&mut self, bytes: u64) -> io::Result<()> {
        // Of TLS, what comes is longer than what is heard of it; but a part of a record is heard only with the rest: it may
        // be here, or be all that a read brings, and then the next one must not wait for what never comes.
        let unheard = if self.tls.is_some() { RECORD_BYTES_MAX as u64 } else { 0 };
        self.low_water.expect(&self.socket, bytes.saturating_sub(unheard))
    }

    pub(super) fn poll_hear(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<Result<Heard, Broken>> {
        loop {
            if let Some(broken) = self.broken.take() {
                return Poll::Ready(Err(broken));
            }
            if self.ended {
                return Poll::Ready(Ok(Heard::End));
            }
            let before = self.heard.len();
            match &mut self.reading {
                Reading::Not => self.begin(room),
                Reading::Waiting => {
                    self.reading = Reading::Done(std::task::ready!(self.reader.poll(cx)));
                }
                Reading::Done(_) => match self.finish() {
                    // TLS's goodbye often comes with the last bytes: they are heard first, the end when asked again.
                    Ok(_) if self.heard.len() > before => return Poll::Ready(Ok(Heard::Something)),
                    // Of TLS a part of a record, or nothing for us; or the end.
                    Ok(_) => {}
                    // What came before it in the same read is as good as if it had come by itself: it may be an answer.
                    Err(broken) if self.heard.len() > before => {
                        self.broken = Some(broken);
                        return Poll::Ready(Ok(Heard::Something));
                    }
                    Err(broken) => return Poll::Ready(Err(broken)),
                },
            }
        }
    }

    /// Takes over what a read brought. After an error nothing more is read.
    fn finish(&mut self) -> Result<(), Broken> {
        let taken = self.take_over();
        self.ended |= taken.is_err();
        taken
    }

    fn take_over(&mut self) -> Result<(), Broken> {
        let Reading::Done(BufResult(read, buffer)) = mem::replace(&mut self.reading, Reading::Not) else {
            unreachable!("it is called when a read is done");
        };
        self.raw.buffer = buffer.into_inner();
        match read {
            Ok(0) if self.tls.is_some() => {
                // Without TLS's own goodbye anybody may have cut the connection.
                let message = "the connection was cut without a TLS close";
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, message).into())
            }
            Ok(0) => {
                self.ended = true;
                Ok(())
            }
            Ok(read) if self.tls.is_some() => self.decrypt(read == opened::READ_BYTES),
            Ok(_) => {
                self.heard.push_back(self.raw.buffer.split().freeze());
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives large buffers back: the connection is about to lie idle.
    pub(super) fn shrink(&mut self) {
        if matches!(self.reading, Reading::Not) {
            self.raw.shrink(&self.buffers);
        }
    }

    async fn send_records(&mut self) -> Result<(), Broken> {
        let mut at = 0;
        while at < self.records.as_slice().len() {
            let records = mem::take(&mut self.records);
            let mut socket = &self.socket;
            let BufResult(written, slice) = socket.write(records.slice(at..)).await;
            self.records = slice.into_inner();
            at += taken(written)?;
        }
        self.records.clear();
        Ok(())
    }

    /// Sends the head of a request and its payload while listening.
    ///
    /// `heard` looks at what was heard meanwhile, and may take from it; when it says so, or when the other side will say
    /// nothing more, sending ends, and the connection is of no use for another request.
    pub(super) async fn send(
        &mut self,
        mut head: Vec<u8>,
        payload: &Payload,
        heard: impl FnMut(&mut VecDeque<Bytes>) -> bool,
    ) -> Result<Sent, Broken> {
        match self.send_at_once(&mut head, payload)? {
            AtOnce::All => {
                self.keep_head_room(head);
                Ok(Sent::Wholly)
            }
            AtOnce::Some(at) => self.send_rest(head, payload, at, |_| {}, heard).await,
        }
    }

    /// Hands the kernel what it takes of a small request without waiting. A short payload is copied behind the head.
    ///
    /// # Errors
    ///
    /// The kernel took nothing, and the connection is of no more use.
    pub(super) fn send_at_once(&self, head: &mut Vec<u8>, payload: &Payload) -> io::Result<AtOnce> {
        let mut rest = payload.chunks();
        if is_joined(payload) {
            rest.iter().for_each(|chunk| head.extend_from_slice(chunk));
            rest = &[];
        }
        let total = head.len() as u64 + if rest.is_empty() { 0 } else { payload.len() };
        // Records are made, and sent, a window at a time.
        if self.tls.is_some() || total > AT_ONCE_BYTES_MAX {
            return Ok(AtOnce::Some(0));
        }
        let at = at_once(&self.socket, head, rest)?;
        Ok(if at as u64 == total { AtOnce::All } else { AtOnce::Some(at) })
    }

    /// Sends what [`send_at_once`](Self::send_at_once) has left of the same request, as [`send`](Self::send) does.
    ///
    /// `left` is told before the first write that bytes may have left from then on, and told otherwise if the kernel
    /// took none of it: what a write has done that was given up, nobody knows.
    pub(super) async fn send_rest(
        &mut self,
        head: Vec<u8>,
        payload: &Payload,
        at: usize,
        left: impl Fn(bool),
        mut heard: impl FnMut(&mut VecDeque<Bytes>) -> bool,
    ) -> Result<Sent, Broken> {
        let payload = if is_joined(payload) { Payload::new() } else { payload.clone() };
        let total = head.len() as u64 + payload.len();
        let mut out = Outgoing { head, payload, at };
        if self.tls.is_some() {
            let sent = self.send_sealed(&mut out, total, &left, &mut heard).await;
            self.keep_head_room(out.head);
            return sent;
        }
        while (out.at as u64) < total {
            let (at, write) = (out.at, write_vectored(self.socket.clone(), out));
            if at == 0 {
                left(true);
            }
            let BufResult(written, back) = match self.alongside(pin!(write), &mut heard).await? {
                Either::Heard(heard) => return Ok(Sent::Partly(heard)),
                Either::Done(done) => done,
            };
            let written = taken(written).inspect_err(|_| left(at > 0))?;
            out = back;
            out.at += written;
        }
        self.keep_head_room(out.head);
        Ok(Sent::Wholly)
    }

    /// Takes back what [`head_room`](Self::head_room) gave.
    pub(super) fn keep_head_room(&mut self, mut head: Vec<u8>) {
        head.clear();
        self.head = head;
    }

    /// Empty memory for the head of the next request. It comes back when that was sent.
    pub(super) fn head_room(&mut self) -> Vec<u8> {
        mem::take(&mut self.head)
    }

    /// Runs a write while listening.
    async fn alongside<W: Future>(
        &mut self,
        mut write: Pin<&mut W>,
        look: &mut impl FnMut(&mut VecDeque<Bytes>) -> bool,
    ) -> Result<Either<W::Output>, Broken> {
        poll_fn(|cx| {
            if let Poll::Ready(done) = write.as_mut().poll(cx) {
                return Poll::Ready(Ok(Either::Done(done)));
            }
            loop {
                match std::task::ready!(self.poll_hear(SMALL_BYTES, cx))? {
                    Heard::Something if !look(&mut self.heard) => {}
                    heard => return Poll::Ready(Ok(Either::Heard(heard))),
                }
            }
        })
        .await
    }

    /// Says goodbye as TLS wants it, as far as that needs no waiting. A connection without TLS just ends.
    pub(super) fn close(mut self: Box<Self>) {
        let Some(tls) = &mut self.tls else { return };
        let mut out = mem::take(&mut self.records);
        tls.close_notify(&mut out);
        let socket = self.socket.clone();
        // Nobody waits for it: the first look hands it to the kernel, which has room for a few bytes.
        let mut goodbye = Box::pin(async move {
            let mut socket = &socket;
            socket.write(out).await
        });
        let _sent = goodbye.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

/// How far a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Wholly,
    /// The other side spoke first.
    Partly(Heard),
}

/// How much of a request left without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtOnce {
    All,
    /// So many bytes, perhaps none.
    Some(usize),
}

enum Either<T> {
    Done(T),
    Heard(Heard),
}

/// Whether this payload leaves behind its head, in the same piece.
fn is_joined(payload: &Payload) -> bool {
    payload.len() <= JOINED_BYTES_MAX
}

/// How much a write took: something.
fn taken(written: io::Result<usize>) -> io::Result<usize> {
    match written? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}

async fn write_vectored(socket: TcpStream, out: Outgoing) -> BufResult<usize, Outgoing> {
    let mut socket = &socket;
    socket.write_vectored(out).await
}

/// A request on its way: the head and the payload's own memory, `at` bytes of which have left.
struct Outgoing {
    head: Vec<u8>,
    payload: Payload,
    at: usize,
}

impl Outgoing {
    /// The pieces that have not left, `bytes_max` at most.
    fn pieces(&self, bytes_max: usize) -> impl Iterator<Item = &[u8]> {
        let all = std::iter::once(&self.head[..]).chain(self.payload.chunks().iter().map(|chunk| &chunk[..]));
        let (mut skip, mut room) = (self.at, bytes_max);
        all.filter_map(move |piece| {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            let piece = &piece[skipped..];
            let piece = &piece[..piece.len().min(room)];
            room -= piece.len();
            (!piece.is_empty()).then_some(piece)
        })
    }
}

impl IoVectoredBuf for Outgoing {
    fn iter_slice(&self) -> impl Iterator<Item = &[u8]> {
        let chunks = self.payload.chunks();
        let (mut skip, mut next, mut left) = (self.at, 0, PIECES_MAX);
        // By hand: adapters around adapters took longer than the rest of the write.
        std::iter::from_fn(move || {
            while next <= chunks.len() && left > 0 {
                let piece = if next == 0 { &self.head[..] } else { &chunks[next - 1] };
                next += 1;
                if skip < piece.len() {
                    left -= 1;
                    return Some(&piece[std::mem::take(&mut skip)..]);
                }
                skip -= piece.len();
            }
            None
        })
    }
}
