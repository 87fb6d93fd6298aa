//! Sending over TLS: encrypt a window of the request, hand it to the kernel, and again.

use std::collections::VecDeque;
use std::pin::pin;

use bytes::Bytes;
use compio::BufResult;
use compio::buf::{IntoInner, IoBuf};
use compio::io::AsyncWrite;

use super::at_once::at_once;
use super::{Broken, Connection, Either, Outgoing, Sent, taken};

/// The most payload that is encrypted before it is sent, in bytes. Sixteen records: enough that their cost is that of
/// the encryption, and little beside what a core's own cache holds (1 to 2 MiB), from which the kernel then copies.
const ENCRYPT_BYTES: usize = 256 * 1024;

impl Connection {
    /// [`Connection::send`] where there is TLS.
    pub(super) async fn send_sealed(
        &mut self,
        out: &mut Outgoing,
        total: u64,
        left: &impl Fn(bool),
        heard: &mut impl FnMut(&mut VecDeque<Bytes>) -> bool,
    ) -> Result<Sent, Broken> {
        // Whether the kernel has taken anything.
        let mut begun = false;
        while (out.at as u64) < total {
            let Some(tls) = &mut self.tls else { unreachable!("TLS does not end before its connection") };
            let plain: Vec<&[u8]> = out.pieces(ENCRYPT_BYTES).collect();
            let bytes: usize = plain.iter().map(|piece| piece.len()).sum();
            let mut records = self.buffers.records();
            // What TLS itself had to say (an answer to a key update) goes first.
            records.append(&mut self.records);
            tls.encrypt(&plain, &mut records)?;
            drop(plain);
            out.at += bytes;
            let mut at = 0;
            if !begun {
                left(true);
                at = at_once(&self.socket, records.as_slice(), &[]).inspect_err(|_| left(false))?;
                begun = at > 0;
            }
            while at < records.as_slice().len() {
                let socket = self.socket.clone();
                let slice = records.slice(at..);
                let write = async move {
                    let mut socket = &socket;
                    socket.write(slice).await
                };
                let BufResult(written, back) = match self.alongside(pin!(write), heard).await? {
                    Either::Heard(heard) => return Ok(Sent::Partly(heard)),
                    Either::Done(done) => done,
                };
                at += taken(written).inspect_err(|_| left(begun))?;
                begun = true;
                records = back.into_inner();
            }
            self.buffers.keep_records(records);
        }
        Ok(Sent::Wholly)
    }
}
