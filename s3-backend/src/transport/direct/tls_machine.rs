//! TLS as a machine: ciphertext in, plaintext out. It owns no socket, keeps no time, and never waits.
//!
//! The record layer is rustls's (its unbuffered API); this file feeds it, bounds it, and decides which bytes share a
//! record. What happens to one byte, as of rustls 0.23.46:
//!
//! - **In**: read from the socket into `incoming`, decrypted there, copied by rustls into a `Vec` of its own (the
//!   API is named after decryption in place, but hands out copies), and copied once more, while in cache, to the end
//!   of `plain`. The second copy (0.2 ms per 8 MiB, measured) buys plaintext without gaps in the very buffer a
//!   connection without TLS would read into, and ciphertext that always lands in the same warm memory.
//! - **Out**: copied by rustls into a `Vec`, encrypted there, and copied to the end of [`Outgoing`]. Only bytes that
//!   share a record with another piece are copied once more before.

use std::error::Error as StdError;
use std::fmt;
use std::mem;
use std::sync::Arc;

use bytes::BytesMut;
use compio::buf::IoBuf;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{AlertDescription, ClientConfig};

use crate::transport::Cause;

/// What one record holds at most, in bytes of plaintext (RFC 8446, 5.1). Pieces that are a multiple of it leave in
/// full records, without a copy before encryption.
pub(super) const RECORD_PLAIN_BYTES_MAX: usize = 16 * 1024;

/// What a record adds to its plaintext: a header of 5 bytes, a tag of 16, and either the inner content type (1 byte,
/// TLS 1.3) or an explicit nonce (8 bytes, AES-GCM in TLS 1.2).
const RECORD_OVERHEAD_BYTES_MAX: usize = 5 + 8 + 16;

/// A record's header: content type, version, length.
const RECORD_HEADER_BYTES: usize = 5;

/// What one record takes at most, in bytes (RFC 5246, 6.2.3; RFC 8446 allows less).
pub(super) const RECORD_BYTES_MAX: usize = RECORD_HEADER_BYTES + RECORD_PLAIN_BYTES_MAX + 2048;

/// How much ciphertext may come in a row without one byte of plaintext, the unfinished record at its end included:
/// the whole handshake, or tickets and key updates between two answers. rustls takes handshake messages of up to 64
/// KiB; a certificate chain has 2 to 10 KiB, a ticket less than 2 KiB. Twice the largest message is plenty.
const SILENT_BYTES_MAX: usize = 128 * 1024;

/// One TLS connection from the client's side, TLS 1.2 or 1.3.
///
/// After a [`TlsFailure`] it is of no further use: every call fails.
///
/// What it holds between calls is bounded: rustls's state, and at most [`SILENT_BYTES_MAX`] of a handshake message
/// that is not complete (none, with every server that is known to exist).
pub(super) struct TlsMachine {
    connection: UnbufferedClientConnection,
    /// Whole records that rustls has seen and wants to see again: a handshake message spread over several records, of
    /// which some are still to come. rustls remembers where in the buffer its parts are, and panics when asked to go
    /// on with a buffer that ends before them; and encryption has to ask, while `incoming` may be with the kernel.
    held: Vec<u8>,
    /// Bytes that came since the last plaintext, without those that wait in `incoming` or `held`.
    silent_bytes: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Handshaking,
    Open,
    /// The server has said `close_notify`: it sends nothing more.
    PeerClosed,
    /// By a failure, or by our own `close_notify`.
    Ended,
}

/// Whether the handshake is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handshake {
    /// Send what there is to send, then read more.
    Read,
    /// Send what there is to send; requests may follow in the same write.
    Done,
}

/// Whether more can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decrypted {
    /// All whole records are decrypted. An end of the stream after this is a truncation: the caller knows whether an
    /// answer was due.
    Open,
    /// The server has ended the stream in good order; nothing that follows counts.
    Closed,
}

impl TlsMachine {
    /// A connection to `name`, not begun. `config` says whom to trust and remembers sessions: machines that share it
    /// resume each other's.
    ///
    /// # Errors
    ///
    /// The configuration is impossible: no cipher suite, no randomness. Trying again changes nothing.
    pub(super) fn new(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<TlsMachine, TlsFailure> {
        let connection = UnbufferedClientConnection::new(config, name)?;
        Ok(TlsMachine { connection, held: Vec::new(), silent_bytes: 0, state: State::Handshaking })
    }

    /// Goes on with the handshake, as far as `incoming` reaches; call it with nothing in `incoming` to begin.
    ///
    /// What is left in `incoming`, less than one record (18 KiB), stays there to be read on to. All that is appended
    /// to `out` must be sent, after a failure too (as well as it goes): the server is told why.
    ///
    /// # Errors
    ///
    /// [`TlsFailure::cause`] tells a server that is not to be trusted from a broken stream. No request can have been
    /// sent.
    pub(super) fn handshake(
        &mut self,
        incoming: &mut BytesMut,
        out: &mut Outgoing,
    ) -> Result<Handshake, TlsFailure> {
        let mut early = BytesMut::new();
        let left = self.process(incoming, &mut early, out)?;
        keep_last(incoming, left);
        if !early.is_empty() {
            // What answers no request must not be taken for the answer to the first.
            return Err(self.refuse("the server sent data before it was asked"));
        }
        Ok(if self.state == State::Handshaking { Handshake::Read } else { Handshake::Done })
    }

    /// Encrypts `pieces`, one after the other, into whole records at the end of `out`.
    ///
    /// Pieces share records: all but the last record are full. So the head of a request and a small payload leave in
    /// one record, and no more than one record's worth is copied wherever a piece ends and another goes on.
    ///
    /// # Errors
    ///
    /// The connection has failed before, or is closed, or its keys are used up. `out` is as it was.
    ///
    /// # Panics
    ///
    /// When the handshake is not done.
    pub(super) fn encrypt(&mut self, pieces: &[&[u8]], out: &mut Outgoing) -> Result<(), TlsFailure> {
        assert!(self.state != State::Handshaking, "a request is sent after the handshake");
        let total = pieces.iter().map(|piece| piece.len()).sum();
        out.room(sealed_bytes_max(total));
        let before = out.filled_bytes;
        let sealed = self.seal_all(pieces, total, out);
        if sealed.is_err() {
            out.filled_bytes = before;
        }
        sealed
    }

    /// Decrypts every whole record in `incoming` to the end of `plain`; an unfinished one stays, moved to the front.
    ///
    /// `plain` grows by less than `incoming` is long. What is left in `incoming` is less than one record (18 KiB).
    /// Tickets and key updates are dealt with; what is appended to `out` is to be sent, at the latest before the next
    /// request.
    ///
    /// # Errors
    ///
    /// The stream is broken or tampered with, or the server broke it off with an alert. What was appended to `plain`
    /// is authentic; what would have followed is lost. What was appended to `out` should be sent: it says why.
    ///
    /// # Panics
    ///
    /// When the handshake is not done.
    pub(super) fn decrypt(
        &mut self,
        incoming: &mut BytesMut,
        plain: &mut BytesMut,
        out: &mut Outgoing,
    ) -> Result<Decrypted, TlsFailure> {
        let (decrypted, left) = self.decrypt_slice(incoming, plain, out)?;
        keep_last(incoming, left);
        Ok(decrypted)
    }

    /// As [`decrypt`](Self::decrypt), but moves nothing: says how many bytes at the end of `incoming` make no whole
    /// record yet. They are as they were.
    pub(super) fn decrypt_slice(
        &mut self,
        incoming: &mut [u8],
        plain: &mut BytesMut,
        out: &mut Outgoing,
    ) -> Result<(Decrypted, usize), TlsFailure> {
        assert!(self.state != State::Handshaking, "an answer is read after the handshake");
        let left = self.process(incoming, plain, out)?;
        Ok((if self.state == State::PeerClosed { Decrypted::Closed } else { Decrypted::Open }, left))
    }

    /// Says that nothing more will be sent, if that can still be said: before the handshake is done, or after a
    /// failure, it does nothing.
    pub(super) fn close_notify(&mut self, out: &mut Outgoing) {
        if !matches!(self.state, State::Open | State::PeerClosed) {
            return;
        }
        // Best effort: who hangs up is not interested in why it could not be said.
        let _ = self.write(out, |mut traffic, room| traffic.queue_close_notify(room));
        self.state = State::Ended;
    }

    /// Feeds `incoming` to rustls until it wants more; says how many bytes of its end are still to be fed.
    fn process(
        &mut self,
        incoming: &mut [u8],
        plain: &mut BytesMut,
        out: &mut Outgoing,
    ) -> Result<usize, TlsFailure> {
        match self.state {
            State::Ended => return Err(self.refuse("the connection has ended before")),
            State::PeerClosed => return Ok(0),
            State::Handshaking | State::Open => {}
        }
        // Counted before rustls sees them: it joins messages where they lie, over the headers of later records.
        let new = whole_records(incoming);
        if self.held.is_empty() {
            return self.feed(incoming, new, plain, out);
        }
        if new == 0 {
            return self.check_left(incoming.len());
        }
        let mut all = mem::take(&mut self.held);
        let seen = all.len() + new;
        all.extend_from_slice(incoming);
        self.feed(&mut all, seen, plain, out)
    }

    /// [`process`](Self::process) with what was held back, where the whole records end at `seen`. On a slice that moves,
    /// so that the cost is linear.
    fn feed(
        &mut self,
        incoming: &mut [u8],
        seen: usize,
        plain: &mut BytesMut,
        out: &mut Outgoing,
    ) -> Result<usize, TlsFailure> {
        let mut begin = 0;
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.connection.process_tls_records(&mut incoming[begin..]);
            let mut stop = false;
            let mut spoken = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = match record {
                            Ok(record) => record,
                            Err(error) => return Err(self.failed(error, out)),
                        };
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                        spoken = true;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => append(data, out),
                // In `out` it is as good as transmitted: the caller sends that, or gives the connection up.
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::BlockedHandshake) => stop = true,
                Ok(ConnectionState::WriteTraffic(_)) => {
                    if self.state == State::Handshaking {
                        self.state = State::Open;
                        self.silent_bytes = 0;
                    }
                    stop = true;
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.state = State::PeerClosed;
                    return Ok(0);
                }
                Ok(_) => return Err(self.refuse("the TLS library is in a state it has for servers only")),
                Err(error) => return Err(self.failed(error, out)),
            }
            begin += discard;
            self.silent_bytes = if spoken { 0 } else { self.silent_bytes + discard };
            if stop {
                break;
            }
        }
        if begin < seen {
            self.held.extend_from_slice(&incoming[begin..seen]);
            begin = seen;
        }
        self.check_left(incoming.len() - begin)
    }

    /// Returns `left`, the bytes that wait for the rest of their record: less than [`RECORD_BYTES_MAX`].
    fn check_left(&mut self, left: usize) -> Result<usize, TlsFailure> {
        if left >= RECORD_BYTES_MAX {
            // rustls, which says so as well, has not been shown it yet: it waits for the rest of a message.
            return Err(self.refuse("the server sends a record that is too long"));
        }
        if self.silent_bytes + self.held.len() + left > SILENT_BYTES_MAX {
            return Err(self.refuse("the server sends TLS messages without end"));
        }
        Ok(left)
    }

    /// Encrypts `pieces`, which have `left` bytes.
    fn seal_all(&mut self, pieces: &[&[u8]], mut left: usize, out: &mut Outgoing) -> Result<(), TlsFailure> {
        let mut joined = mem::take(&mut out.joined);
        joined.clear();
        for piece in pieces {
            let mut piece = *piece;
            left -= piece.len();
            if !joined.is_empty() {
                let (fits, rest) = piece.split_at(piece.len().min(RECORD_PLAIN_BYTES_MAX - joined.len()));
                joined.extend_from_slice(fits);
                piece = rest;
                if joined.len() == RECORD_PLAIN_BYTES_MAX {
                    self.seal(&joined, out)?;
                    joined.clear();
                }
            }
            // What does not fill a record waits for what follows, if something does.
            let short = if left == 0 { 0 } else { piece.len() % RECORD_PLAIN_BYTES_MAX };
            let (now, later) = piece.split_at(piece.len() - short);
            self.seal(now, out)?;
            joined.extend_from_slice(later);
        }
        self.seal(&joined, out)?;
        joined.clear();
        out.joined = joined;
        Ok(())
    }

    /// Encrypts one slice: full records, and a short one at its end.
    fn seal(&mut self, plain: &[u8], out: &mut Outgoing) -> Result<(), TlsFailure> {
        if plain.is_empty() {
            return Ok(());
        }
        out.room(sealed_bytes_max(plain.len()));
        self.write(out, |mut traffic, room| traffic.encrypt(plain, room))
    }

    /// Writes to the end of `out` as soon as rustls lets us: what it has to say itself goes first.
    fn write(
        &mut self,
        out: &mut Outgoing,
        mut write: impl FnMut(
            rustls::unbuffered::WriteTraffic<'_, ClientConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsFailure> {
        if self.state == State::Ended {
            return Err(self.refuse("the connection has ended before"));
        }
        loop {
            // All of `held` was seen before: nothing new can come of it.
            match self.connection.process_tls_records(&mut self.held).state {
                Ok(ConnectionState::EncodeTlsData(data)) => append(data, out),
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::WriteTraffic(traffic)) => match write(traffic, out.room(0)) {
                    Ok(written) => {
                        out.filled_bytes += written;
                        return Ok(());
                    }
                    // Something of rustls's own goes along (a key update); it is still to be written.
                    Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                        out.room(required_size);
                    }
                    Err(EncryptError::EncryptExhausted) => {
                        return Err(self.refuse("the connection has used up its keys"));
                    }
                },
                Ok(_) => return Err(self.refuse("the connection is closed")),
                Err(error) => return Err(self.failed(error, out)),
            }
        }
    }

    /// Gives the connection up, and appends the alert that tells the server.
    fn failed(&mut self, error: rustls::Error, out: &mut Outgoing) -> TlsFailure {
        self.state = State::Ended;
        // Only what is ready is asked for: rustls hands it out before it looks at the buffer, which is empty here.
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(data)) => append(data, out),
                _ => break,
            }
        }
        TlsFailure::Tls(error)
    }

    /// Gives the connection up for a reason of ours.
    fn refuse(&mut self, why: &'static str) -> TlsFailure {
        self.state = State::Ended;
        TlsFailure::Refused(why)
    }
}

impl fmt::Debug for TlsMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMachine").field("state", &self.state).finish_non_exhaustive()
    }
}

/// How long the records of so much plaintext are at most, in bytes, when encrypted in one call: what to reserve.
pub(super) const fn sealed_bytes_max(plain_bytes: usize) -> usize {
    plain_bytes + plain_bytes.div_ceil(RECORD_PLAIN_BYTES_MAX) * RECORD_OVERHEAD_BYTES_MAX
}

/// Moves the last `left` bytes to the front; the others go.
fn keep_last(incoming: &mut BytesMut, left: usize) {
    let begin = incoming.len() - left;
    incoming.copy_within(begin.., 0);
    incoming.truncate(left);
}

/// How many bytes the complete records at the front of `bytes` have.
fn whole_records(bytes: &[u8]) -> usize {
    let mut whole = 0;
    while let Some(&[_, _, _, high, low]) = bytes[whole..].first_chunk::<RECORD_HEADER_BYTES>() {
        let end = whole + RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]));
        if end > bytes.len() {
            break;
        }
        whole = end;
    }
    whole
}

/// Appends what rustls has encoded.
fn append(mut data: EncodeTlsData<'_, ClientConnectionData>, out: &mut Outgoing) {
    let mut needed = 0;
    loop {
        match data.encode(out.room(needed)) {
            Ok(written) => {
                out.filled_bytes += written;
                return;
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                needed = required_size;
            }
            Err(EncodeError::AlreadyEncoded) => return,
        }
    }
}

/// Ciphertext on its way out: a buffer to be used again and again. It goes to the kernel as it is.
///
/// rustls writes to initialized memory only; this is zeroed once, when it grows, and not for every use (which would
/// cost 0.1 ms per 8 MiB, a tenth of the encryption).
#[derive(Default)]
pub(super) struct Outgoing {
    memory: Vec<u8>,
    filled_bytes: usize,
    /// Where pieces are joined to a record.
    joined: Vec<u8>,
}

impl Outgoing {
    /// What is to be sent.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.memory[..self.filled_bytes]
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.filled_bytes == 0
    }

    /// Forgets what is to be sent; the memory stays.
    pub(super) fn clear(&mut self) {
        self.filled_bytes = 0;
    }

    /// Takes over what is to be sent from another, which is empty then.
    pub(super) fn append(&mut self, other: &mut Outgoing) {
        let bytes = other.filled_bytes;
        self.room(bytes)[..bytes].copy_from_slice(other.as_slice());
        self.filled_bytes += bytes;
        other.clear();
    }

    /// How much memory it holds, in bytes.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.memory.capacity() + self.joined.capacity()
    }

    /// All that is free, at least so much.
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        let end = self.filled_bytes + bytes;
        if end > self.memory.len() {
            self.memory.resize(end, 0);
        }
        &mut self.memory[self.filled_bytes..]
    }
}

#[cfg(test)]
impl From<Vec<u8>> for Outgoing {
    fn from(memory: Vec<u8>) -> Outgoing {
        Outgoing { filled_bytes: memory.len(), memory, joined: Vec::new() }
    }
}

impl IoBuf for Outgoing {
    fn as_init(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("filled_bytes", &self.filled_bytes).finish_non_exhaustive()
    }
}

/// Why a connection is of no further use.
#[derive(Debug)]
pub(super) enum TlsFailure {
    /// rustls says so.
    Tls(rustls::Error),
    /// The server does what we do not put up with, or the connection had failed or ended before.
    Refused(&'static str),
}

impl TlsFailure {
    /// [`Cause::Certificate`] if trying again changes nothing: the server is not who it should be, or speaks no TLS
    /// that is safe. [`Cause::Connection`] for everything else.
    pub(super) fn cause(&self) -> Cause {
        use rustls::Error;
        match self {
            TlsFailure::Tls(
                Error::InvalidCertificate(_)
                | Error::NoCertificatesPresented
                | Error::UnsupportedNameType
                | Error::PeerIncompatible(_)
                | Error::AlertReceived(
                    AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity,
                ),
            ) => Cause::Certificate,
            TlsFailure::Tls(_) | TlsFailure::Refused(_) => Cause::Connection,
        }
    }
}

impl From<rustls::Error> for TlsFailure {
    fn from(error: rustls::Error) -> TlsFailure {
        TlsFailure::Tls(error)
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsFailure::Tls(error) => write!(f, "TLS: {error}"),
            TlsFailure::Refused(why) => write!(f, "TLS: {why}"),
        }
    }
}

impl StdError for TlsFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            TlsFailure::Tls(error) => Some(error),
            TlsFailure::Refused(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
