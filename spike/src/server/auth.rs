//! Who may ask. s3s verifies the signature; here is what AWS demands of a signed request beyond that.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::requests::Ticket;

/// The identity that the server knows, and the temporary keys it was told of.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) session_token: Option<String>,
    pub(super) region: String,
    pub(super) issued: Issued,
}

/// Temporary keys by their id, as STS would issue them. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Issued(Arc<Mutex<BTreeMap<String, Session>>>);

struct Session {
    secret_access_key: String,
    session_token: String,
    expired: bool,
}

impl Issued {
    pub(super) fn issue(&self, access_key_id: &str, secret_access_key: &str, session_token: &str) {
        let session = Session {
            secret_access_key: secret_access_key.to_owned(),
            session_token: session_token.to_owned(),
            expired: false,
        };
        self.lock().insert(access_key_id.to_owned(), session);
    }

    pub(super) fn expire(&self, access_key_id: &str) {
        if let Some(session) = self.lock().get_mut(access_key_id) {
            session.expired = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl S3Auth for Identity {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key_id {
            return Ok(SecretKey::from(self.secret_access_key.as_str()));
        }
        if let Some(session) = self.issued.lock().get(access_key) {
            return Ok(SecretKey::from(session.secret_access_key.as_str()));
        }
        Err(s3_error!(
            InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records."
        ))
    }
}

#[async_trait::async_trait]
impl S3Access for Identity {
    async fn check(&self, request: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = request.s3_op().name().to_owned();
        if let Some(ticket) = request.extensions_mut().get::<Ticket>() {
            ticket.operation(&operation);
        }
        let Some(credentials) = request.credentials() else {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        };
        let access_key_id = credentials.access_key.clone();
        self.check_signed(&access_key_id, request.uri(), request.headers())
    }
}

impl Identity {
    /// Region, session token, and that the signature covers what it must.
    fn check_signed(&self, access_key_id: &str, uri: &Uri, headers: &HeaderMap) -> S3Result<()> {
        let signed = Signed::read(uri, headers)?;
        if signed.region != self.region {
            let code = if signed.presigned {
                S3ErrorCode::AuthorizationQueryParametersError
            } else {
                S3ErrorCode::AuthorizationHeaderMalformed
            };
            let message = format!(
                "The authorization header is malformed; the region '{}' is wrong; expecting '{}'",
                signed.region, self.region
            );
            return Err(S3Error::with_message(code, message));
        }
        self.check_token(access_key_id, signed.token.as_deref())?;
        let unsigned = headers.keys().find(|name| {
            let name = name.as_str();
            name.starts_with("x-amz-")
                && !(signed.presigned && name == "x-amz-content-sha256")
                && !signed.headers.split(';').any(|signed| signed == name)
        });
        match unsigned {
            None => Ok(()),
            Some(name) => Err(s3_error!(
                AccessDenied,
                "There were headers present in the request which were not signed: {name}"
            )),
        }
    }
}

impl Identity {
    fn check_token(&self, access_key_id: &str, token: Option<&str>) -> S3Result<()> {
        let issued = self.issued.lock();
        let session = issued.get(access_key_id);
        let expected = session.map_or(self.session_token.as_deref(), |session| Some(&session.session_token));
        if token != expected {
            return Err(s3_error!(InvalidToken, "The provided token is malformed or otherwise invalid."));
        }
        match session {
            Some(session) if session.expired => {
                Err(s3_error!(ExpiredToken, "The provided token has expired."))
            }
            _ => Ok(()),
        }
    }
}

/// What a version 4 signature says it covers, from the `Authorization` header or from the query.
struct Signed<'a> {
    presigned: bool,
    region: Cow<'a, str>,
    headers: Cow<'a, str>,
    token: Option<Cow<'a, str>>,
}

impl<'a> Signed<'a> {
    fn read(uri: &'a Uri, headers: &'a HeaderMap) -> S3Result<Self> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let query = |wanted: &str| {
            let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.into_iter().find(|(name, _)| *name == wanted)?;
            Some(percent_decode_str(value).decode_utf8_lossy())
        };
        let presigned = query("X-Amz-Signature").is_some();
        let (scope, signed, token) = if presigned {
            (query("X-Amz-Credential"), query("X-Amz-SignedHeaders"), query("X-Amz-Security-Token"))
        } else {
            // Version 2 signatures, which s3s knows too, end here.
            let fields = header("authorization").and_then(|value| value.strip_prefix("AWS4-HMAC-SHA256"));
            let field = |wanted: &str| {
                let fields = fields?.split(',').filter_map(|field| field.trim().split_once('='));
                fields.into_iter().find(|(name, _)| *name == wanted).map(|(_, value)| Cow::Borrowed(value))
            };
            (field("Credential"), field("SignedHeaders"), header("x-amz-security-token").map(Cow::Borrowed))
        };
        // AKIA.../20260102/us-east-1/s3/aws4_request, where the key itself may hold a slash.
        let region = scope.as_deref().and_then(|scope| scope.rsplit('/').nth(2)).map(str::to_owned);
        match (region, signed) {
            (Some(region), Some(headers)) => {
                Ok(Signed { presigned, region: Cow::Owned(region), headers, token })
            }
            _ => Err(s3_error!(
                InvalidRequest,
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn identity(session_token: Option<&str>) -> Identity {
        Identity {
            access_key_id: "AK".into(),
            secret_access_key: "SK".into(),
            session_token: session_token.map(str::to_owned),
            region: "us-east-1".into(),
            issued: Issued::default(),
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn outcome(identity: &Identity, uri: &str, pairs: &[(&'static str, &'static str)]) -> String {
        match identity.check_signed("AK", &uri.parse().unwrap(), &headers(pairs)) {
            Ok(()) => "ok".into(),
            Err(error) => error.code().as_str().into(),
        }
    }

    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=AK/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=0";

    #[test]
    fn every_amz_header_must_be_signed() {
        let identity = identity(None);
        let date = ("x-amz-date", "20260102T000000Z");
        assert_eq!(outcome(&identity, "/", &[("authorization", SIGNED), date]), "ok");
        let smuggled = ("x-amz-meta-a", "1");
        assert_eq!(outcome(&identity, "/", &[("authorization", SIGNED), date, smuggled]), "AccessDenied");
    }

    #[test]
    fn the_region_of_the_signature_must_be_the_servers() {
        let elsewhere = Identity { region: "eu-west-1".into(), ..identity(None) };
        assert_eq!(outcome(&elsewhere, "/", &[("authorization", SIGNED)]), "AuthorizationHeaderMalformed");
    }

    #[test]
    fn a_session_token_must_be_there_and_right() {
        let identity = identity(Some("t/o+k=="));
        let uri = |token: &str| {
            format!(
                "/?X-Amz-Signature=0&X-Amz-Credential=AK%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-SignedHeaders=host{token}"
            )
        };
        assert_eq!(outcome(&identity, &uri("&X-Amz-Security-Token=t%2Fo%2Bk%3D%3D"), &[]), "ok");
        assert_eq!(outcome(&identity, &uri("&X-Amz-Security-Token=other"), &[]), "InvalidToken");
        assert_eq!(outcome(&identity, &uri(""), &[]), "InvalidToken");
    }

    #[test]
    fn a_token_that_a_long_lived_key_does_not_have_is_refused() {
        let signed = SIGNED.replace("x-amz-date", "x-amz-security-token");
        let mut headers = headers(&[("x-amz-security-token", "t")]);
        headers.insert("authorization", signed.parse().unwrap());
        let error = identity(None).check_signed("AK", &"/".parse().unwrap(), &headers).unwrap_err();
        assert_eq!(error.code().as_str(), "InvalidToken");
    }

    #[test]
    fn issued_keys_are_good_with_their_own_token_until_they_are_expired() {
        let identity = identity(None);
        identity.issued.issue("TEMP", "SK", "token");
        assert!(identity.check_token("TEMP", Some("token")).is_ok());
        let code = |token| identity.check_token("TEMP", token).unwrap_err().code().as_str().to_owned();
        assert_eq!(code(Some("other")), "InvalidToken");
        assert_eq!(code(None), "InvalidToken");
        identity.issued.expire("TEMP");
        assert_eq!(code(Some("token")), "ExpiredToken");
        assert!(identity.check_token("AK", None).is_ok());
    }

    #[test]
    fn version_2_signatures_are_not_supported() {
        assert_eq!(outcome(&identity(None), "/", &[("authorization", "AWS AK:c2ln")]), "InvalidRequest");
    }
}
