//! [`Prepared`]: an operation of the product as it is, under one type for all of them.

use std::time::Duration;

use object_storage::config::Checksums;
use object_storage::{
    CompleteOptions, DeleteOptions, ETag, GetOptions, Key, OperationId, Part, Payload, PutMode, PutOptions,
    PutOutcome, UploadId,
};

use super::store::Answer;
use crate::protocol::error::Refusal;
use crate::protocol::exchange::{Ended, Exchange, Seen, Trace};
use crate::protocol::operations::{
    Action, AnswerBody, CompleteMultipartUpload, DeleteObject, GetObject, Look, Place, PutObject,
    speaks_for_the_store,
};
use crate::protocol::request::Request;
use crate::protocol::retry::RetryPolicy;

/// The names that operations borrow.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) place: Place,
    pub(super) keys: Vec<Key>,
    pub(super) uploads: Vec<UploadId>,
    pub(super) parts: Vec<Part>,
}

/// What an operation gives.
#[derive(Debug)]
pub(super) enum Output {
    Written(PutOutcome),
    Seen(Seen),
    Deleted,
}

pub(super) enum Prepared<'n> {
    Look(Look<'n>),
    Get(GetObject<'n>),
    Put(PutObject<'n>),
    Complete(CompleteMultipartUpload<'n>),
    Delete(DeleteObject<'n>),
}

impl<'n> Prepared<'n> {
    pub(super) fn look(names: &'n Names, key: usize) -> Prepared<'n> {
        Prepared::Look(Look { key: &names.keys[key] })
    }

    pub(super) fn get(names: &'n Names, key: usize) -> Prepared<'n> {
        Prepared::Get(GetObject {
            key: &names.keys[key],
            options: GetOptions::default(),
            checksums: Checksums::Off,
        })
    }

    /// `given`: whether the caller chose the id, as those do who want to know after a crash.
    pub(super) fn put(
        names: &'n Names,
        key: usize,
        mode: PutMode,
        id: OperationId,
        given: bool,
        write_once: bool,
        content: u32,
    ) -> Prepared<'n> {
        let mut options = PutOptions::from(mode);
        options.operation_id = given.then_some(id);
        options.write_once = write_once;
        let payload = Payload::from(content.to_string());
        Prepared::Put(PutObject { key: &names.keys[key], payload, options, checksum: None, stamp: Some(id) })
    }

    pub(super) fn complete(
        names: &'n Names,
        key: usize,
        upload: usize,
        mode: PutMode,
        id: OperationId,
        write_once: bool,
    ) -> Prepared<'n> {
        let mut options = CompleteOptions::from(mode);
        options.write_once = write_once;
        Prepared::Complete(CompleteMultipartUpload {
            key: &names.keys[key],
            upload_id: &names.uploads[upload],
            parts: &names.parts,
            options,
            digest: None,
            stamp: Some(id),
            driven_before: false,
            sent: None,
        })
    }

    pub(super) fn delete(names: &'n Names, key: usize, tag: ETag) -> Prepared<'n> {
        let mut options = DeleteOptions::default();
        options.if_match = Some(tag);
        Prepared::Delete(DeleteObject { key: &names.keys[key], options })
    }

    pub(super) fn request(&self, place: &Place) -> Request {
        let request = match self {
            Prepared::Look(action) => action.request(place),
            Prepared::Get(action) => action.request(place),
            Prepared::Put(action) => action.request(place),
            Prepared::Complete(action) => action.request(place),
            Prepared::Delete(action) => action.request(place),
        };
        request.expect("plain names can be sent")
    }

    pub(super) fn exchange(&self, policy: RetryPolicy, replayed: bool) -> Exchange<Output> {
        match self {
            Prepared::Look(action) => exchange(action, policy, replayed),
            Prepared::Get(action) => exchange(action, policy, replayed),
            Prepared::Put(action) => exchange(action, policy, replayed),
            Prepared::Complete(action) => exchange(action, policy, replayed),
            Prepared::Delete(action) => exchange(action, policy, replayed),
        }
    }

    /// Reads an answer, as the driver does.
    pub(super) fn read(&self, place: &Place, answer: &Answer) -> Ended<Output> {
        match self {
            Prepared::Look(action) => read(action, place, answer, true, |(_, seen)| Output::Seen(seen)),
            Prepared::Get(action) => read(action, place, answer, false, |opened| {
                Output::Seen(Seen { etag: opened.meta.etag, version: None, id: written_by(&answer.body) })
            }),
            Prepared::Put(action) => read(action, place, answer, false, Output::Written),
            Prepared::Complete(action) => read(action, place, answer, false, Output::Written),
            Prepared::Delete(action) => read(action, place, answer, false, |()| Output::Deleted),
        }
    }
}

/// The write that a content comes from.
fn written_by(content: &str) -> Option<OperationId> {
    let content: u128 = content.parse().ok()?;
    Some(OperationId::from_bits(content + 1))
}

/// How long one operation may try, as the product has it by default.
pub(super) const TIME_MAX: Duration = Duration::from_secs(60);

fn exchange<A: Action>(action: &A, policy: RetryPolicy, replayed: bool) -> Exchange<Output> {
    let trace = Trace { replayed, ..action.trace() };
    Exchange::new(A::OPERATION, action.key().cloned(), action.effect(), trace, policy)
}

fn read<A: Action>(
    action: &A,
    place: &Place,
    answer: &Answer,
    is_head: bool,
    output: impl Fn(A::Output) -> Output,
) -> Ended<Output> {
    let (head, body) = (&answer.head, answer.body.as_bytes());
    let read = if !matches!(head.status, 200 | 201 | 204) {
        Err(Refusal::read(head, body, action.condition(), is_head))
    } else if action.body() == AnswerBody::Empty
        && let Err(refusal) = speaks_for_the_store(head, body)
    {
        return Ended::Refused(refusal);
    } else {
        action.read(place, head, body)
    };
    match read.or_else(|refusal| action.excuse(refusal)) {
        Ok(done) => Ended::Done(output(done)),
        Err(refusal) => Ended::Refused(refusal),
    }
}
