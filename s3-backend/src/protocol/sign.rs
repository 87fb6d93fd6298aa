//! Signing: [`Request`] to [`SignedRequest`], by header fields.
//!
//! Every attempt is signed afresh, with the time of that attempt. Every header field is signed. The payload is where
//! anybody could change it on the way: over plain http to another machine.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::iter;
use std::rc::Rc;
use std::time::SystemTime;

use credentials::sigv4::{
    AUTHORIZATION_BYTES, CanonicalRequest, PayloadHash, SignError, Signer, SigningStyle, UNSIGNED_PAYLOAD,
    canonical_query_into,
};
use credentials::{Credentials, Identity};
use object_storage::Payload;
use sha2::{Digest, Sha256};

use super::request::{Field, Request, Signature, SignedRequest};

/// Signs the requests of one shard to one store.
pub(crate) struct Signing {
    region: String,
    /// The value of `host`.
    authority: String,
    /// Whether the payload's hash is signed too.
    payloads: bool,
    /// The signer of the keys that were used last: the key that it derives from them holds for a day.
    signer: RefCell<Option<Rc<Signer>>>,
    /// Memory for signatures, of requests that were sent.
    spare: RefCell<Vec<Vec<u8>>>,
}

/// How many signatures' memory is kept: as many as a busy shard has requests in flight, at half a KiB each.
const SPARE_MAX: usize = 64;

impl Signing {
    pub(crate) fn new(region: String, authority: String, payloads: bool) -> Signing {
        Signing { region, authority, payloads, signer: RefCell::default(), spare: RefCell::default() }
    }

    /// The same for another region.
    pub(crate) fn in_region(&self, region: &str) -> Signing {
        Signing::new(region.to_owned(), self.authority.clone(), self.payloads)
    }

    /// The region that is signed for.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// Signs `request` at `now`; an anonymous identity leaves it unsigned.
    ///
    /// # Errors
    ///
    /// When the clock or the region makes no signature possible.
    pub(crate) fn sign<'a>(
        &self,
        request: &'a Request,
        identity: &'a Identity,
        now: SystemTime,
    ) -> Result<SignedRequest<'a>, SignError> {
        let mut target = Cow::Borrowed(&*request.path);
        if !request.query.is_empty() {
            let mut pairs: Vec<(&str, &str)> =
                request.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let target = target.to_mut();
            target.push('?');
            canonical_query_into(&mut pairs, target);
        }
        let Some(keys) = identity.credentials() else {
            return Ok(SignedRequest { request, target, signature: None });
        };
        let signer = self.signer(keys);
        let date = signer.date(now)?;
        let payload_hash = match self.payloads {
            true => hash_of(&request.payload),
            false => Cow::Borrowed(UNSIGNED_PAYLOAD),
        };
        let token = keys.session_token().map(|token| token.expose_secret());

        let own = [
            ("host", self.authority.as_bytes()),
            ("x-amz-content-sha256", payload_hash.as_bytes()),
            ("x-amz-date", date.as_ref()),
            ("x-amz-security-token", token.unwrap_or_default().as_bytes()),
        ];
        let own = if token.is_some() { &own[..] } else { &own[..3] };
        let mut authorization = self.spare.borrow_mut().pop().unwrap_or_default();
        authorization.clear();
        authorization.reserve(AUTHORIZATION_BYTES);
        let canonical = CanonicalRequest {
            method: request.method.to_str(),
            path: &request.path,
            query: if request.query.is_empty() { "" } else { &target[request.path.len() + 1..] },
            headers: in_order(&request.headers, own),
            payload_hash: &payload_hash,
        };
        signer.authorize(canonical, &date, &mut authorization)?;
        Ok(SignedRequest {
            request,
            target,
            signature: Some(Signature { date, payload_hash, token, authorization }),
        })
    }

    /// Takes back what was sent, for its memory.
    pub(crate) fn sent(&self, signed: SignedRequest<'_>) {
        let mut spare = self.spare.borrow_mut();
        if let (Some(signature), true) = (signed.signature, spare.len() < SPARE_MAX) {
            spare.push(signature.authorization);
        }
    }

    fn signer(&self, keys: &Credentials) -> Rc<Signer> {
        let mut signer = self.signer.borrow_mut();
        match &*signer {
            Some(signer) if signer.credentials().same_keys(keys) => Rc::clone(signer),
            _ => {
                let new = Rc::new(Signer::new(keys.clone(), &*self.region, "s3", SigningStyle::S3));
                *signer = Some(Rc::clone(&new));
                new
            }
        }
    }
}

/// Without the memory of signatures: they may still be used for some minutes.
impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing")
            .field("region", &self.region)
            .field("authority", &self.authority)
            .field("payloads", &self.payloads)
            .finish_non_exhaustive()
    }
}

/// The fields of a request and those of its signature, both in the order of their names, as one.
fn in_order<'a>(
    mut given: &'a [Field],
    mut own: &'a [(&'a str, &'a [u8])],
) -> impl Iterator<Item = (&'a str, Cow<'a, [u8]>)> {
    iter::from_fn(move || {
        if let [(name, value), rest @ ..] = given
            && own.first().is_none_or(|(next, _)| **name < **next)
        {
            given = rest;
            return Some((&**name, value.canonical()));
        }
        let ((name, value), rest) = own.split_first()?;
        own = rest;
        Some((*name, Cow::Borrowed(*value)))
    })
}

fn hash_of(payload: &Payload) -> Cow<'static, str> {
    let mut hash = Sha256::new();
    for chunk in payload.chunks() {
        hash.update(chunk);
    }
    PayloadHash::Sha256(hash.finalize().into()).text()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use credentials::{Secret, SourceName};
    use proptest::prelude::*;

    use super::super::request::Method;
    use super::*;

    fn keys(token: Option<&str>) -> Identity {
        let keys = Credentials::builder("AKIDEXAMPLE", Secret::new("wJalrXUtnFEMI"))
            .session_token(token.map(Secret::new))
            .build(SourceName::Inline);
        Identity::Keys(keys.expect("well-formed keys"))
    }

    fn signing(payloads: bool) -> Signing {
        Signing::new("eu-west-1".to_owned(), "h.example".to_owned(), payloads)
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn field(signed: &SignedRequest<'_>, name: &str) -> Option<String> {
        let mut value = None;
        signed.for_each_header(|found, text| {
            if found == name {
                value = Some(String::from_utf8_lossy(text).into_owned());
            }
        });
        value
    }

    #[test]
    fn headers_and_query_are_signed_and_the_path_is_untouched() {
        let request = Request::new(Method::Put, "/b/a%20b".to_owned())
            .query("uploadId", "x y")
            .query("partNumber", "7")
            .header("x-amz-meta-b", "2  3".to_owned())
            .header("if-none-match", "*");
        let identity = keys(Some("TOKEN"));
        let signed = signing(false).sign(&request, &identity, at(1_767_323_045)).expect("signed");
        assert_eq!(signed.target, "/b/a%20b?partNumber=7&uploadId=x%20y");
        assert_eq!(field(&signed, "x-amz-date").as_deref(), Some("20260102T030405Z"));
        assert_eq!(field(&signed, "x-amz-security-token").as_deref(), Some("TOKEN"));
        assert_eq!(field(&signed, "x-amz-content-sha256").as_deref(), Some("UNSIGNED-PAYLOAD"));
        assert_eq!(field(&signed, "x-amz-meta-b").as_deref(), Some("2  3"));
        let authorization = field(&signed, "authorization").expect("signed");
        let names = "SignedHeaders=host;if-none-match;x-amz-content-sha256;x-amz-date;x-amz-meta-b;x-amz-security-token,";
        assert!(authorization.contains(names), "{authorization}");
        assert!(!format!("{signed:?}").contains("TOKEN"));
    }

    #[test]
    fn a_payload_that_could_be_changed_on_the_way_is_signed() {
        let mut payload = Payload::from("ab");
        payload.push("c".into());
        let request = Request::new(Method::Put, "/b/k".to_owned()).payload(payload);
        let identity = keys(None);
        let signed = signing(true).sign(&request, &identity, at(1)).expect("signed");
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(field(&signed, "x-amz-content-sha256").as_deref(), Some(of_abc));
    }

    #[test]
    fn other_keys_are_signed_with_as_soon_as_they_come() {
        let request = Request::new(Method::Get, "/b/k".to_owned());
        let signing = signing(false);
        let authorization = |identity: &Identity| {
            let signed = signing.sign(&request, identity, at(7)).expect("signed");
            field(&signed, "authorization").expect("signed")
        };
        let (one, other) = (keys(None), keys(Some("T")));
        let first = authorization(&one);
        assert_ne!(authorization(&other), first);
        assert_eq!(authorization(&one), first);
    }

    #[test]
    fn a_signature_that_was_sent_is_not_printed() {
        let request = Request::new(Method::Get, "/b/k".to_owned());
        let (signing, identity) = (signing(false), keys(None));
        let signed = signing.sign(&request, &identity, at(7)).expect("signed");
        let signature = field(&signed, "authorization").expect("signed");
        signing.sent(signed);
        let printed = format!("{signing:?}");
        let as_numbers = format!("{:?}", signature.as_bytes());
        for begin in [&signature[..16], as_numbers[..60].trim_matches('[')] {
            assert!(!printed.contains(begin), "{printed}");
        }
    }

    #[test]
    fn nobody_signs_nothing() {
        let request = Request::new(Method::Get, "/b".to_owned()).query("prefix", "a b");
        let signed = signing(true).sign(&request, &Identity::Anonymous, at(0)).expect("sendable");
        assert_eq!(signed.target, "/b?prefix=a%20b");
        signed.for_each_header(|name, _| panic!("{name}"));
    }
    proptest! {
        /// The other way to sign takes the header fields as they come, and sorts and trims them itself.
        #[test]
        fn fields_are_signed_in_order_however_they_come(
            fields in prop::collection::hash_map(
                "(a|if-match|x-amz-(checksum|copy|meta|mp|t)-[a-c]{1,2}|z)",
                "[!-~]{1,4}( {1,3}[!-~]{1,4})?",
                0..6,
            ),
            token in prop::option::of("[!-~]{1,40}"),
            second in 0u64..4_000_000_000,
        ) {
            let identity = keys(token.as_deref());
            let mut request = Request::new(Method::Put, "/b/k".to_owned());
            let mut other = http::Request::put("http://h.example/b/k");
            for (name, value) in fields {
                other = other.header(&name, &value);
                request = request.header(name, value);
            }
            let signed = signing(false).sign(&request, &identity, at(second)).expect("signed");
            let mut other = other.body(()).expect("a request").into_parts().0;
            let keys = identity.credentials().expect("keys").clone();
            let signer = Signer::new(keys, "eu-west-1", "s3", SigningStyle::S3);
            signer.sign(&mut other, &PayloadHash::Unsigned, at(second)).expect("signed");
            signed.for_each_header(|name, value| assert_eq!(other.headers[name], value));
            prop_assert!(request.headers.is_sorted_by(|(one, _), (next, _)| one < next));
        }
    }
}
