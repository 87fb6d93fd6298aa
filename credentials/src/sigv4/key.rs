//! What is the same in every signature of a day, and of a second, computed once for each.

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderValue;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::date::AmzDate;
use super::hash::{BLOCK_BYTES, Keyed, State, padding, through};
use super::{ALGORITHM, SignError};
use crate::credentials::Credentials;

/// The key of one day. Its hash states are wiped when it goes.
pub(super) struct DayKey {
    scope: String,
    /// The value of `authorization` up to the names of the signed headers.
    pub(super) prefix: String,
    day: Keyed,
    second: Second,
}

/// The text to sign of one second, but for the request's hash.
struct Second {
    date: AmzDate,
    /// The state behind the whole blocks before the hash.
    state: State,
    /// The blocks from there on, with padding and room for the hash: that of the last request stays.
    rest: [u8; 3 * BLOCK_BYTES],
    hash_at: usize,
    /// How much of them there is.
    rest_bytes: usize,
}

impl DayKey {
    pub(super) fn new(
        credentials: &Credentials,
        region: &str,
        service: &str,
        date: AmzDate,
    ) -> Result<DayKey, SignError> {
        let scope = format!("{}/{region}/{service}/aws4_request", date.day());
        let id = credentials.access_key_id();
        let prefix = format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders=");
        HeaderValue::from_str(&prefix).map_err(|_| SignError::Scope)?;
        let key = derive(credentials.secret_access_key().expose_secret(), date.day(), region, service);
        let day = Keyed::new(&key);
        let second = Second::new(&day, date, &scope);
        Ok(DayKey { scope, prefix, day, second })
    }

    /// Whether it holds at `date`; if so it is ready to sign for that second.
    pub(super) fn turn_to(&mut self, date: &AmzDate) -> bool {
        if self.second.date == *date {
            return true;
        }
        if self.second.date.day() != date.day() {
            return false;
        }
        self.second = Second::new(&self.day, *date, &self.scope);
        true
    }

    /// The signature of the request with this hash, in hexadecimal, at the moment that was turned to.
    pub(super) fn sign(&mut self, hash: &[u8; 64]) -> [u8; 32] {
        let Second { state, rest, hash_at, rest_bytes, .. } = &mut self.second;
        rest[*hash_at..][..hash.len()].copy_from_slice(hash);
        self.day.finish(state, &rest[..*rest_bytes])
    }
}

impl Second {
    fn new(day: &Keyed, date: AmzDate, scope: &str) -> Second {
        let text = format!("{ALGORITHM}\n{date}\n{scope}\n");
        let (whole, start) = text.as_bytes().split_at(text.len() - text.len() % BLOCK_BYTES);
        let mut state = day.inner.clone();
        through(&mut state, whole);
        // A block was the key's.
        let (padding, padding_bytes) = padding(BLOCK_BYTES + text.len() + 64);
        let mut rest = [0; 3 * BLOCK_BYTES];
        let hash_at = start.len();
        let rest_bytes = hash_at + 64 + padding_bytes;
        rest[..hash_at].copy_from_slice(start);
        rest[hash_at + 64..rest_bytes].copy_from_slice(&padding[..padding_bytes]);
        Second { date, state, rest, hash_at, rest_bytes }
    }
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html#derive-signing-key>
pub(super) fn derive(secret: &str, day: &str, region: &str, service: &str) -> Zeroizing<[u8; 32]> {
    let mut first = Zeroizing::new(String::with_capacity("AWS4".len() + secret.len()));
    first.push_str("AWS4");
    first.push_str(secret);
    let day_key = hmac(first.as_bytes(), day.as_bytes());
    let region_key = hmac(&day_key[..], region.as_bytes());
    let service_key = hmac(&region_key[..], service.as_bytes());
    hmac(&service_key[..], b"aws4_request")
}

fn hmac(key: &[u8], data: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    Zeroizing::new(mac.finalize().into_bytes().into())
}
