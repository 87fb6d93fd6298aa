//! What was asked of the server, for tests that promise how many requests there were, or that there was none.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::Uri;

/// The log keeps this many requests and drops the oldest: at some 200 bytes each, 13 MB.
const REQUESTS_MAX: usize = 65_536;

/// One request as it arrived, without what could sign another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The HTTP method.
    pub method: String,
    /// The path as it was on the wire, percent-encoded.
    pub path: String,
    /// The query as it was on the wire, less the values of signature, credential and session token.
    pub query: Option<String>,
    /// The `Host` header.
    pub host: Option<String>,
    /// S3's name for it, as `PutObject`; `None` if it was refused before that was known, which a wrong
    /// signature is.
    pub operation: Option<String>,
    /// The HTTP status of the answer; `None` while there is none, and for good if the client went away.
    pub status: Option<u16>,
}

/// Shared by the server's thread and those that look at it.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    requests: VecDeque<Request>,
    /// How many were dropped from the front, so that a ticket finds its own.
    dropped: u64,
    counts: BTreeMap<String, u64>,
}

impl Log {
    pub(super) fn arrived<B>(&self, request: &hyper::Request<B>) -> Ticket {
        let host = request.headers().get(hyper::header::HOST).and_then(|host| host.to_str().ok());
        let entry = Request {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: redacted(request.uri()),
            host: host.map(str::to_owned),
            operation: None,
            status: None,
        };
        let mut entries = self.lock();
        if entries.requests.len() == REQUESTS_MAX {
            entries.requests.pop_front();
            entries.dropped += 1;
        }
        entries.requests.push_back(entry);
        let number = entries.dropped + entries.requests.len() as u64 - 1;
        Ticket { log: self.clone(), number }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.lock().requests.iter().cloned().collect()
    }

    pub(super) fn count(&self, operation: &str) -> u64 {
        self.lock().counts.get(operation).copied().unwrap_or_default()
    }

    pub(super) fn clear(&self) {
        let mut entries = self.lock();
        entries.dropped += entries.requests.len() as u64;
        entries.requests.clear();
        entries.counts.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Every change is complete when it is made; a panic elsewhere leaves nothing half done here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way from a request in progress to its entry. Travels as a request extension.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    log: Log,
    number: u64,
}

impl Ticket {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn operation(&self, name: &str) {
        *self.log.lock().counts.entry(name.to_owned()).or_default() += 1;
        self.update(|request| request.operation = Some(name.to_owned()));
    }

    pub(super) fn answered(&self, status: u16) {
        self.update(|request| request.status = Some(status));
    }

    fn update(&self, change: impl FnOnce(&mut Request)) {
        let mut entries = self.log.lock();
        let index = self.number.checked_sub(entries.dropped).and_then(|index| usize::try_from(index).ok());
        if let Some(request) = index.and_then(|index| entries.requests.get_mut(index)) {
            change(request);
        }
    }
}

fn redacted(uri: &Uri) -> Option<String> {
    let kept = uri.query()?.split('&').map(|pair| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let secret = ["x-amz-signature", "x-amz-credential", "x-amz-security-token"]
            .iter()
            .any(|secret| name.eq_ignore_ascii_case(secret));
        if secret { format!("{name}=") } else { pair.to_owned() }
    });
    Some(kept.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str) -> hyper::Request<()> {
        hyper::Request::builder().uri(uri).body(()).unwrap()
    }

    #[test]
    fn what_could_sign_another_request_is_not_kept() {
        let log = Log::default();
        log.arrived(&request(
            "/b/k?X-Amz-Credential=AK%2F2&X-Amz-Signature=0f&X-Amz-Security-Token=T&partNumber=1",
        ));
        let query = log.requests().remove(0).query.unwrap();
        assert_eq!(query, "X-Amz-Credential=&X-Amz-Signature=&X-Amz-Security-Token=&partNumber=1");
    }

    #[test]
    fn a_long_log_drops_its_oldest_and_still_finds_its_own() {
        let log = Log::default();
        let first = log.arrived(&request("/first"));
        for _ in 0..REQUESTS_MAX {
            log.arrived(&request("/more"));
        }
        let last = log.arrived(&request("/last"));
        first.answered(200);
        last.operation("GetObject");
        last.answered(404);
        let requests = log.requests();
        assert_eq!(requests.len(), REQUESTS_MAX);
        assert_eq!(
            (requests.last().unwrap().path.as_str(), requests.last().unwrap().status),
            ("/last", Some(404))
        );
        assert_eq!(requests.iter().filter(|request| request.status.is_some()).count(), 1);
        assert_eq!(log.count("GetObject"), 1);
        log.clear();
        last.answered(200);
        assert!(log.requests().is_empty());
    }
}
