//! An OpenID Connect provider, as far as an STS asks: it signs tokens and publishes the key to check them with.

#![expect(clippy::disallowed_methods, reason = "a test harness: tokens hold the time of day")]

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use serde_json::json;

use crate::scripted::{Answer, Server, answer};

const KEY_ID: &str = "tests-1";

/// A provider on a port of this machine. Dropping it ends the server; its tokens stay as good as their lifetime says
/// for whoever has fetched the key.
#[derive(Debug)]
pub struct Issuer {
    server: Server,
    key: KeyPair,
}

impl Issuer {
    /// One with a new key.
    ///
    /// # Panics
    ///
    /// When there is no port or no key to be had.
    #[must_use]
    pub fn start() -> Issuer {
        let key = KeyPair::generate().expect("a key of the curve P-256");
        // A point, uncompressed: 4, x, y.
        let (x, y) = key.der_bytes()[1..].split_at(32);
        let jwks = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]});
        let document = Answer::new(200).header("content-type", "application/json").body(jwks.to_string());
        Issuer { server: Server::always(answer(document)), key }
    }

    /// What it calls itself: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// A token made out for `audience`, which was good from a minute ago until `lifetime` after that.
    ///
    /// # Panics
    ///
    /// When the clock stands before 1970.
    #[must_use]
    pub fn token(&self, audience: &str, lifetime: Duration) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock that is set");
        let from = now.saturating_sub(Duration::from_secs(60));
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": KEY_ID});
        let claims = json!({
            "iss": self.url(), "aud": audience, "sub": "system:serviceaccount:tests:writer",
            "iat": from.as_secs(), "exp": (from + lifetime).as_secs(),
        });
        let encode = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(signed.as_bytes()).expect("the key signs");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(fixed(&signature)))
    }
}

/// The two numbers of a signature as JOSE has them, 32 bytes each, from the DER that X.509 has them in: a sequence of
/// two integers, all shorter than 128 bytes.
fn fixed(der: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    let mut rest = &der[2..];
    for half in out.chunks_mut(32) {
        let (integer, after) = rest[2..].split_at(rest[1].into());
        // An integer has a zero in front when its first bit is set, and no other zeros.
        let digits = integer.strip_prefix(&[0]).unwrap_or(integer);
        half[32 - digits.len()..].copy_from_slice(digits);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::fixed;

    #[test]
    fn short_and_padded_numbers_are_as_wide_as_all_others() {
        let mut der = vec![0x30, 0x27, 0x02, 0x02, 0x12, 0x34, 0x02, 0x21, 0x00];
        der.extend([0xff; 32]);
        let out = fixed(&der);
        assert_eq!(
            (&out[..30], &out[30..32], &out[32..]),
            (&[0; 30][..], &[0x12, 0x34][..], &[0xff; 32][..])
        );
    }
}
