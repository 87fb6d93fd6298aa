//! What is the same in every signature of a day, and of a second, computed once for each.

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderValue;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::date::AmzDate;
use super::{ALGORITHM, SignError};
use crate::credentials::Credentials;

/// The key of one day. Its hash states are wiped when it goes.
pub(super) struct DayKey {
    date: AmzDate,
    scope: String,
    /// The value of `authorization` up to the names of the signed headers.
    pub(super) prefix: String,
    /// The inner and outer state behind the key's own block: two blocks less to hash than from the key.
    day: Hmac<Sha256>,
    /// The same behind all that precedes the request's hash in the text to sign: one block less again.
    second: Hmac<Sha256>,
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
        let day = keyed(&key[..]);
        let second = until_hash(&day, &date, &scope);
        Ok(DayKey { date, scope, prefix, day, second })
    }

    /// Whether it holds at `date`; if so it is ready to sign for that second.
    pub(super) fn turn_to(&mut self, date: &AmzDate) -> bool {
        if self.date == *date {
            return true;
        }
        if self.date.day() != date.day() {
            return false;
        }
        self.date = *date;
        self.second = until_hash(&self.day, date, &self.scope);
        true
    }

    /// The signature of the request with this hash, in hexadecimal, at the moment that was turned to.
    pub(super) fn sign(&self, hash: &[u8; 64]) -> [u8; 32] {
        let mut mac = self.second.clone();
        mac.update(hash);
        mac.finalize().into_bytes().into()
    }
}

fn until_hash(day: &Hmac<Sha256>, date: &AmzDate, scope: &str) -> Hmac<Sha256> {
    let mut mac = day.clone();
    for part in [ALGORITHM, "\n", date.as_str(), "\n", scope, "\n"] {
        mac.update(part.as_bytes());
    }
    mac
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
    let mut mac = keyed(key);
    mac.update(data);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length")
}
