//! The bodies of gets that do not end well.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};

use crate::body::Body;
use crate::error::{Error, ErrorKind, Result};

use super::faults::Fault;
use super::trouble::Turn;

/// The same body with what happens to it. One without bytes stays as it is: it came with the head of the answer.
pub(super) fn spoil(turn: &mut Turn<'_>, body: Body) -> Body {
    let Some(fault @ (Fault::BodyBreaksOff | Fault::BodyEndsEarly | Fault::BodyIsDamaged)) =
        turn.decision.fault
    else {
        return body;
    };
    if body.is_empty() {
        return body;
    }
    let len = body.len();
    let random = &mut turn.decision.random;
    // How many bytes come before it happens.
    let good = random.below(len);
    let (kind, message) = match (fault, random.below(2)) {
        (Fault::BodyIsDamaged, _) => (ErrorKind::Corrupt, "the object does not fit its checksum"),
        (_, 0) => (ErrorKind::Timeout, "the body stalled"),
        _ => (ErrorKind::Unavailable, "the body broke off"),
    };
    let damaged = (fault == Fault::BodyIsDamaged && good > 0).then(|| random.below(good));
    let error = turn.failure(kind, message);
    let begun = take(body, good, damaged);
    match fault {
        // The body itself notices.
        Fault::BodyEndsEarly => Body::from_stream(len, begun),
        _ => Body::from_stream(len, begun.chain(stream::once(async { Err(error) }))),
    }
}

/// That many bytes of a body, of which the one at `damaged` is another.
fn take(body: Body, bytes: u64, damaged: Option<u64>) -> impl Stream<Item = Result<Bytes>> + 'static {
    stream::unfold((body, 0), move |(mut body, at)| async move {
        if at >= bytes {
            return None;
        }
        let chunk: Result<Bytes, Error> = body.next_chunk().await?;
        let chunk = chunk.map(|mut chunk| {
            let left = usize::try_from(bytes - at).unwrap_or(usize::MAX);
            chunk.truncate(left);
            let damaged = damaged.and_then(|place| usize::try_from(place.checked_sub(at)?).ok());
            match damaged.filter(|place| *place < chunk.len()) {
                Some(place) => {
                    let mut copy = BytesMut::from(chunk);
                    copy[place] ^= 1;
                    copy.freeze()
                }
                None => chunk,
            }
        });
        let next = at + chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Some((chunk, (body, next)))
    })
}
