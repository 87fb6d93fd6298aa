//! When a request may go ahead: the `If-*` headers of reads, writes, deletes and copies, with AWS's answers.

use hyper::HeaderMap;
use hyper::header::{ETAG, HeaderValue, LAST_MODIFIED};
use s3s::dto::{ETag, ETagCondition, Timestamp, TimestampFormat};
use s3s::{S3ErrorCode, S3Result, s3_error};

use super::store::Object;

/// What must hold of the object under the key before a write replaces it.
#[derive(Debug, Default)]
pub(super) struct WriteConditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
}

impl WriteConditions {
    /// The conditions as headers carry them, for CopyObject, whose s3s input does not have them.
    pub(super) fn from_headers(headers: &HeaderMap) -> S3Result<Self> {
        let read = |name: &str| {
            headers
                .get(name)
                .map(|value| ETagCondition::parse_http_header(value.as_bytes()))
                .transpose()
                .map_err(|_| s3_error!(InvalidArgument, "{name} is neither an entity tag nor *"))
        };
        Ok(WriteConditions { if_match: read("if-match")?, if_none_match: read("if-none-match")? })
    }

    /// Whether `current` may be replaced.
    ///
    /// S3 knows two forms, `If-None-Match: *` and `If-Match: "etag"`; the others answer 501 NotImplemented.
    /// If-Match on an absent key is 404 NoSuchKey, not 412.
    pub(super) fn check(&self, current: Option<&Object>) -> S3Result<()> {
        match (&self.if_match, &self.if_none_match) {
            (None, None) => Ok(()),
            (None, Some(ETagCondition::Any)) => match current {
                None => Ok(()),
                Some(_) => Err(failed()),
            },
            (Some(ETagCondition::ETag(wanted)), None) => match current {
                None => Err(S3ErrorCode::NoSuchKey.into()),
                Some(object) if is(wanted, object) => Ok(()),
                Some(_) => Err(failed()),
            },
            _ => Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented"
            )),
        }
    }
}

/// Whether `current` may be deleted: `*` asks that it exists, an entity tag that it is that one.
///
/// A condition on an absent key is 404 NoSuchKey; without a condition a delete always succeeds.
pub(super) fn check_delete(if_match: Option<&ETagCondition>, current: Option<&Object>) -> S3Result<()> {
    match (if_match, current) {
        (None, _) | (Some(ETagCondition::Any), Some(_)) => Ok(()),
        (Some(_), None) => Err(S3ErrorCode::NoSuchKey.into()),
        (Some(ETagCondition::ETag(wanted)), Some(object)) if is(wanted, object) => Ok(()),
        (Some(ETagCondition::ETag(_)), Some(_)) => Err(failed()),
    }
}

/// What must hold of an object before it is read or copied from.
#[derive(Debug, Default)]
pub(super) struct ReadConditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

/// How a read that the caller need not repeat is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unchanged {
    /// GET and HEAD answer 304.
    NotModified,
    /// A copy source answers 412.
    PreconditionFailed,
}

impl ReadConditions {
    /// RFC 9110 section 13.2.2: an entity tag, when given, decides alone; the date beside it is ignored.
    pub(super) fn check(&self, object: &Object, unchanged: Unchanged) -> S3Result<()> {
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !holds(condition, object) => return Err(failed()),
            (None, Some(date)) if object.modified > *date => return Err(failed()),
            _ => {}
        }
        let same = match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) => holds(condition, object),
            (None, Some(date)) => object.modified <= *date,
            (None, None) => false,
        };
        match unchanged {
            _ if !same => Ok(()),
            Unchanged::PreconditionFailed => Err(failed()),
            Unchanged::NotModified => {
                let mut error = s3_error!(NotModified);
                error.set_headers(validators(object));
                Err(error)
            }
        }
    }
}

fn holds(condition: &ETagCondition, object: &Object) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => is(wanted, object),
    }
}

fn is(wanted: &ETag, object: &Object) -> bool {
    wanted.as_strong() == Some(&object.etag)
}

fn failed() -> s3s::S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

/// The headers that a 304 repeats.
fn validators(object: &Object) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let etag =
        HeaderValue::from_str(&format!("\"{}\"", object.etag)).expect("our entity tags are hexadecimal");
    headers.insert(ETAG, etag);
    let mut date = Vec::new();
    if object.modified.format(TimestampFormat::HttpDate, &mut date).is_ok()
        && let Ok(date) = HeaderValue::from_bytes(&date)
    {
        headers.insert(LAST_MODIFIED, date);
    }
    headers
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn object(etag: &str, modified_secs: u64) -> Object {
        Object { etag: etag.into(), modified: at(modified_secs), ..Object::default() }
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(secs))
    }

    fn tag(etag: &str) -> Option<ETagCondition> {
        Some(ETagCondition::ETag(ETag::Strong(etag.into())))
    }

    fn code<T: std::fmt::Debug>(result: S3Result<T>) -> String {
        result.unwrap_err().code().as_str().to_owned()
    }

    #[test]
    fn a_create_is_refused_once_the_key_exists() {
        let create = WriteConditions { if_none_match: Some(ETagCondition::Any), ..Default::default() };
        assert!(create.check(None).is_ok());
        assert_eq!(code(create.check(Some(&object("a", 1)))), "PreconditionFailed");
    }

    #[test]
    fn compare_and_swap_distinguishes_changed_from_absent() {
        let swap = WriteConditions { if_match: tag("a"), ..Default::default() };
        assert!(swap.check(Some(&object("a", 1))).is_ok());
        assert_eq!(code(swap.check(Some(&object("b", 1)))), "PreconditionFailed");
        assert_eq!(code(swap.check(None)), "NoSuchKey");
    }

    #[test]
    fn write_conditions_that_s3_does_not_know_are_refused_not_ignored() {
        let any = WriteConditions { if_match: Some(ETagCondition::Any), ..Default::default() };
        assert_eq!(code(any.check(Some(&object("a", 1)))), "NotImplemented");
        let other = WriteConditions { if_none_match: tag("a"), ..Default::default() };
        assert_eq!(code(other.check(None)), "NotImplemented");
        let both = WriteConditions { if_match: tag("a"), if_none_match: Some(ETagCondition::Any) };
        assert_eq!(code(both.check(None)), "NotImplemented");
    }

    #[test]
    fn a_weak_tag_never_matches() {
        let weak = ETagCondition::ETag(ETag::Weak("a".into()));
        let swap = WriteConditions { if_match: Some(weak), ..Default::default() };
        assert_eq!(code(swap.check(Some(&object("a", 1)))), "PreconditionFailed");
    }

    #[test]
    fn a_conditional_delete_of_an_absent_key_is_not_found() {
        assert!(check_delete(None, None).is_ok());
        assert_eq!(code(check_delete(tag("a").as_ref(), None)), "NoSuchKey");
        assert_eq!(code(check_delete(Some(&ETagCondition::Any), None)), "NoSuchKey");
        assert_eq!(code(check_delete(tag("a").as_ref(), Some(&object("b", 1)))), "PreconditionFailed");
        assert!(check_delete(tag("b").as_ref(), Some(&object("b", 1))).is_ok());
    }

    #[test]
    fn an_entity_tag_outranks_the_date_beside_it() {
        let stored = object("a", 100);
        let reads = |conditions: ReadConditions| conditions.check(&stored, Unchanged::NotModified);
        let ok =
            ReadConditions { if_match: tag("a"), if_unmodified_since: Some(at(1)), ..Default::default() };
        assert!(reads(ok).is_ok());
        let ok = ReadConditions {
            if_none_match: tag("b"),
            if_modified_since: Some(at(200)),
            ..Default::default()
        };
        assert!(reads(ok).is_ok());
        let same =
            ReadConditions { if_none_match: tag("a"), if_modified_since: Some(at(1)), ..Default::default() };
        assert_eq!(code(reads(same)), "NotModified");
    }

    #[test]
    fn dates_decide_when_no_entity_tag_is_given() {
        let stored = object("a", 100);
        let since = |secs| ReadConditions { if_modified_since: Some(at(secs)), ..Default::default() };
        assert!(since(99).check(&stored, Unchanged::NotModified).is_ok());
        assert_eq!(code(since(100).check(&stored, Unchanged::NotModified)), "NotModified");
        assert_eq!(code(since(100).check(&stored, Unchanged::PreconditionFailed)), "PreconditionFailed");
        let until = |secs| ReadConditions { if_unmodified_since: Some(at(secs)), ..Default::default() };
        assert!(until(100).check(&stored, Unchanged::NotModified).is_ok());
        assert_eq!(code(until(99).check(&stored, Unchanged::NotModified)), "PreconditionFailed");
    }
}
