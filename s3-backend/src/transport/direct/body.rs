//! [`IncomingBody`]: the body of an answer, read piece by piece, and its connection given back at the end.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::Stream;

use super::buffers::{LARGE_BYTES, MEDIUM_BYTES, SMALL_BYTES};
use super::connection::Heard;
use super::framing::Decoder;
use super::pool::{Lease, Pool};
use crate::clock;
use crate::deadline::Watch;
use crate::transport::{Cause, ReadFailure};

/// A body on its way. Dropping it before its end closes its connection.
pub(super) struct IncomingBody {
    /// `None` after the end, or after a failure.
    lease: Option<Lease>,
    decoder: Decoder,
    reusable: bool,
    pool: Rc<Pool>,
    watch: Watch,
    silence_max: Duration,
    /// Whether the limit on silence is set.
    waiting: bool,
    /// It comes so slowly that every byte of it is listened for.
    slow: bool,
}

impl IncomingBody {
    pub(super) fn new(
        lease: Lease,
        decoder: Decoder,
        reusable: bool,
        pool: Rc<Pool>,
        watch: Watch,
        silence_max: Duration,
    ) -> IncomingBody {
        IncomingBody {
            lease: Some(lease),
            decoder,
            reusable,
            pool,
            watch,
            silence_max,
            waiting: false,
            slow: false,
        }
    }

    fn fail(&mut self, cause: Cause, message: String) -> Poll<Option<Result<Bytes, ReadFailure>>> {
        self.lease = None;
        Poll::Ready(Some(Err(ReadFailure { cause, message })))
    }

    /// Gives the connection back if it can be used again.
    fn finish(&mut self) {
        let Some(mut lease) = self.lease.take() else { return };
        // What follows a body was not asked for.
        if self.reusable && lease.connection.heard().is_empty() && lease.connection.expect(0).is_ok() {
            self.pool.give_back(lease);
        } else {
            lease.connection.close();
        }
    }
}

impl Stream for IncomingBody {
    type Item = Result<Bytes, ReadFailure>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let Some(lease) = &mut this.lease else { return Poll::Ready(None) };
            let connection = &mut lease.connection;
            while let Some(front) = connection.heard().front_mut() {
                match this.decoder.next(front) {
                    Ok(Some(piece)) => {
                        if front.is_empty() {
                            connection.heard().pop_front();
                        }
                        if this.decoder.is_done() {
                            this.finish();
                        }
                        return Poll::Ready(Some(Ok(piece)));
                    }
                    Ok(None) if front.is_empty() => {
                        connection.heard().pop_front();
                    }
                    Ok(None) => break,
                    Err(not_http) => return this.fail(Cause::Malformed, not_http.0.to_owned()),
                }
            }
            if this.decoder.is_done() {
                this.finish();
                return Poll::Ready(None);
            }
            if !this.waiting {
                // Half of it at first: what comes below the low water is not heard, and is no silence either.
                let limit = if this.slow { this.silence_max } else { this.silence_max / 2 };
                this.watch.until(clock::now() + limit);
                this.waiting = true;
            }
            let room = match this.decoder.left().map(usize::try_from) {
                Some(Ok(left)) if left <= MEDIUM_BYTES => left.max(SMALL_BYTES),
                _ => LARGE_BYTES,
            };
            if !connection.is_listening()
                && let Err(error) = connection.expect(this.decoder.left().filter(|_| !this.slow).unwrap_or(0))
            {
                return this.fail(Cause::Connection, error.to_string());
            }
            let mut hear = poll_fn(|cx| connection.poll_hear(room, cx));
            match std::task::ready!(this.watch.poll(Pin::new(&mut hear), cx)) {
                Ok(Ok(Heard::Something)) => this.waiting = false,
                Ok(Ok(Heard::End)) if this.decoder.ends_with_connection() => {
                    this.lease = None;
                    return Poll::Ready(None);
                }
                Ok(Ok(Heard::End)) => {
                    return this.fail(Cause::Connection, "the connection ended in the middle".to_owned());
                }
                Ok(Err(broken)) => return this.fail(broken.cause(), broken.to_string()),
                Err(_) if !this.slow => {
                    this.slow = true;
                    if let Err(error) = connection.expect(0) {
                        return this.fail(Cause::Connection, error.to_string());
                    }
                    this.watch.until(clock::now() + this.silence_max / 2);
                }
                Err(_) => {
                    let message = format!("the body stalled for {:?}", this.silence_max);
                    return this.fail(Cause::Timeout, message);
                }
            }
        }
    }
}
