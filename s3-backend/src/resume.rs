//! The body of a get: when it breaks off, the rest is asked for.
//!
//! What comes out are the bytes as the store sent them, in order and of one version. Whoever checks them against a
//! checksum does so behind this.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use object_storage::config::Checksums;
use object_storage::{Error, ErrorKind, Key, Operation, Result};

use crate::driver::{Driver, kind_of};
use crate::memory::Held;
use crate::protocol::error::Class;
use crate::protocol::operations::{GetObject, Opened};
use crate::protocol::resume::Rest;
use crate::transport::{Cause, Chunks, ReadFailure};

struct Reading {
    driver: Rc<Driver>,
    key: Key,
    rest: Rest,
    body: Chunks,
    /// Memory for what was read and not handed out; `None`: everything was.
    held: Option<Held>,
}

/// The bytes of an opened object. A body that breaks off, stalls or ends early is asked for again from there, with the
/// tag of the answer that it belongs to, within the retry policy and its budget.
pub(crate) fn chunks(
    driver: Rc<Driver>,
    key: Key,
    opened: &Opened,
    body: Chunks,
    held: Option<Held>,
) -> impl Stream<Item = Result<Bytes>> + 'static {
    let rest = Rest::new(opened.range.clone(), opened.meta.etag.clone(), driver.attempts_max);
    stream::try_unfold(Reading { driver, key, rest, body, held }, |mut reading| async move {
        loop {
            let failure = match reading.body.next().await {
                Some(Ok(chunk)) => {
                    reading.rest.arrived(chunk.len());
                    if reading.rest.is_empty() {
                        // It may lie around for long.
                        reading.held = None;
                    }
                    return Ok(Some((chunk, reading)));
                }
                None if reading.rest.is_empty() => return Ok(None),
                None => ReadFailure {
                    cause: Cause::Connection,
                    message: "the body ended before its length".to_owned(),
                },
                Some(Err(failure)) => failure,
            };
            // Boxed: it is large, and hardly ever needed.
            reading = Box::pin(reading.resumed(failure)).await?;
        }
    })
}

impl Reading {
    /// The same with a body that goes on where the last one broke off.
    async fn resumed(mut self, failure: ReadFailure) -> Result<Reading> {
        // What breaks the protocol is not asked for again: it would be believed the second time.
        let again = match failure.cause {
            Cause::Timeout | Cause::Connection => self.rest.broke(),
            Cause::Certificate | Cause::Malformed => None,
        };
        let error = self.error(kind_of(failure.cause), failure.message);
        let Some((options, nth)) = again else { return Err(error) };
        let Some(pause) = self.driver.pause(Class::Transient, nth) else { return Err(error) };
        if pause > Duration::ZERO {
            compio::time::sleep(pause).await;
        }
        // The connection is not used again; nobody waits for what may still come over it.
        self.body = Chunks::Whole(None);
        let opened =
            self.driver.reopen(&GetObject { key: &self.key, options, checksums: Checksums::Off }).await;
        let (opened, body) = opened.map_err(|cause| {
            let message = "the body broke off, and the rest of the same version could not be had";
            self.error(cause.kind(), message.to_owned()).with_source(cause)
        })?;
        assert_eq!(opened.range, *self.rest.range(), "an answer with another range is refused");
        self.body = body;
        Ok(self)
    }

    fn error(&self, kind: ErrorKind, message: String) -> Error {
        Error::new(kind, Operation::GetObject, message).with_key(&self.key)
    }
}
