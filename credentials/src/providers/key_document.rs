//! The JSON object in which containers and instance metadata hand out keys, and say why they do not.
//!
//! Names are matched whatever their case, because the services do not agree on it. The only copies made
//! of a value are wiped; its text is never part of an error.

use std::fmt;
use std::time::SystemTime;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::credentials::{Credentials, CredentialsPart};
use crate::provider::SourceName;
use crate::secret::Secret;

/// Codes are single words, the longest known has 35 letters.
const CODE_BYTES_MAX: usize = 64;

const NAMES: [&str; 6] = ["AccessKeyId", "SecretAccessKey", "Token", "Expiration", "AccountId", "Code"];

/// What was found, in the order of [`NAMES`].
#[derive(Default)]
pub(super) struct KeyDocument([Value; NAMES.len()]);

/// A value of the object.
#[derive(Default)]
enum Value {
    #[default]
    Absent,
    Text(Zeroizing<String>),
    /// A number, a list: nothing that any of the names may have.
    Other,
}

/// The name of the part that is missing or cannot be used; `body` for the whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable(pub(super) &'static str);

impl KeyDocument {
    pub(super) fn parse(body: &[u8]) -> Result<KeyDocument, Unusable> {
        // The error of serde_json quotes what it met.
        serde_json::from_slice(body).map_err(|_| Unusable("body"))
    }

    /// The code, if it is a single word as codes are. Anything else might be a text that quotes secrets.
    pub(super) fn code(&self) -> Option<&str> {
        let Value::Text(code) = &self.0[5] else { return None };
        let is_word = !code.is_empty()
            && code.len() <= CODE_BYTES_MAX
            && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_word.then_some(code.as_str())
    }

    /// Whether there is a code at all, usable or not.
    pub(super) fn has_code(&self) -> bool {
        !matches!(self.0[5], Value::Absent)
    }

    /// The keys. All but the account must be there: temporary keys do not work without their token, and
    /// keys without an expiry would never be refreshed.
    pub(super) fn into_parts(self) -> Result<Parts, Unusable> {
        let [id, secret, token, expiration, account, _] = self.0;
        let id = text(id, 0)?;
        let secret = text(secret, 1)?;
        let token = text(token, 2)?;
        let expiration = text(expiration, 3)?;
        let at: jiff::Timestamp = expiration.parse().map_err(|_| Unusable(NAMES[3]))?;
        let account_id = match account {
            Value::Absent => None,
            account => Some(text(account, 4)?),
        };
        Ok(Parts { id, secret, token, account_id, expires_at: SystemTime::from(at) })
    }
}

/// The parts of keys, present but not yet checked.
pub(super) struct Parts {
    id: Zeroizing<String>,
    secret: Zeroizing<String>,
    token: Zeroizing<String>,
    account_id: Option<Zeroizing<String>>,
    pub(super) expires_at: SystemTime,
}

impl Parts {
    /// `via`: the service that was asked, for reports.
    pub(super) fn build(mut self, source: SourceName, via: String) -> Result<Credentials, Unusable> {
        Credentials::builder(std::mem::take(&mut *self.id), Secret::new(std::mem::take(&mut *self.secret)))
            .session_token(Secret::new(std::mem::take(&mut *self.token)))
            .expires_at(self.expires_at)
            .account_id(self.account_id.as_mut().map(|id| std::mem::take(&mut **id)))
            .via(via)
            .build(source)
            .map_err(|invalid| {
                Unusable(match invalid.part {
                    CredentialsPart::AccessKeyId => NAMES[0],
                    CredentialsPart::SecretAccessKey => NAMES[1],
                    CredentialsPart::SessionToken => NAMES[2],
                    CredentialsPart::AccountId => NAMES[4],
                })
            })
    }
}

fn text(value: Value, index: usize) -> Result<Zeroizing<String>, Unusable> {
    match value {
        Value::Text(text) if !text.is_empty() => Ok(text),
        _ => Err(Unusable(NAMES[index])),
    }
}

/// The code in the body of an error answer, if it has one that can be shown.
pub(super) fn error_code(body: &[u8]) -> Option<String> {
    KeyDocument::parse(body).ok()?.code().map(str::to_owned)
}

impl<'de> Deserialize<'de> for KeyDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KeyDocument, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = KeyDocument;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KeyDocument, A::Error> {
                let mut document = KeyDocument::default();
                while let Some(Name(index)) = map.next_key()? {
                    let Some(index) = index else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    // Two of a kind: nobody can say which one is meant.
                    if !matches!(document.0[index], Value::Absent) {
                        return Err(serde::de::Error::custom("duplicate"));
                    }
                    document.0[index] = map.next_value()?;
                }
                Ok(document)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A name of the object, as an index into [`NAMES`]; `None` for one of no interest.
struct Name(Option<usize>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E>(self, text: &str) -> Result<Name, E> {
                Ok(Name(NAMES.iter().position(|name| name.eq_ignore_ascii_case(text))))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(Zeroizing::new(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Absent)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str =
        r#"{"AccessKeyId":"A","SecretAccessKey":"s","Token":"t","Expiration":"2030-01-31T12:00:00Z"}"#;

    fn keys(body: &str) -> Result<Credentials, Unusable> {
        KeyDocument::parse(body.as_bytes())?.into_parts()?.build(SourceName::Container, String::new())
    }

    #[test]
    fn names_are_found_in_any_case() {
        for body in [
            GOOD.to_owned(),
            GOOD.replace("AccessKeyId", "accessKeyId").replace("Token", "TOKEN"),
            GOOD.replace("Expiration", "expiration").replace("Secret", "secret"),
            GOOD.replace('{', r#"{"Type":"AWS-HMAC","x":[1,{"AccessKeyId":2}],"accountid":null,"#),
        ] {
            let keys = keys(&body).unwrap();
            assert_eq!((keys.access_key_id(), keys.account_id()), ("A", None), "{body}");
        }
        let with_account = GOOD.replace('{', r#"{"AccountId":"123456789012","#);
        assert_eq!(keys(&with_account).unwrap().account_id(), Some("123456789012"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for (body, field) in [
            (String::new(), "body"),
            ("null".to_owned(), "body"),
            ("[]".to_owned(), "body"),
            ("<html>".to_owned(), "body"),
            (GOOD.replace('}', ""), "body"),
            (format!("{GOOD}{GOOD}"), "body"),
            (format!("\u{feff}{GOOD}"), "body"),
            (GOOD.replace('{', &format!("{{\"Token\":{deep},")), "body"),
            (GOOD.replace('{', r#"{"token":"other","#), "body"),
            ("{}".to_owned(), "AccessKeyId"),
            (GOOD.replace("\"A\"", "null"), "AccessKeyId"),
            (GOOD.replace("\"A\"", "17"), "AccessKeyId"),
            (GOOD.replace("\"A\"", "\"A\\r\\nx: y\""), "AccessKeyId"),
            (GOOD.replace("\"s\"", "\"\""), "SecretAccessKey"),
            (GOOD.replace("\"s\"", "{\"a\":1}"), "SecretAccessKey"),
            (GOOD.replace("\"t\"", "\"\\u0000\""), "Token"),
            (GOOD.replace("\"t\"", "-1.5"), "Token"),
            (GOOD.replace("\"t\"", "[true]"), "Token"),
            (GOOD.replace("2030-01-31T12:00:00Z", "soon"), "Expiration"),
            (GOOD.replace("2030-01-31T12:00:00Z", "1800000000"), "Expiration"),
            (GOOD.replace("2030-01-31T12:00:00Z", ""), "Expiration"),
            (GOOD.replace('{', r#"{"AccountId":12,"#), "AccountId"),
            (GOOD.replace('{', r#"{"AccountId":"1 2","#), "AccountId"),
        ] {
            let short: String = body.chars().take(200).collect();
            assert_eq!(keys(&body).err(), Some(Unusable(field)), "{short}");
        }
    }

    #[test]
    fn only_a_single_word_is_a_code() {
        assert_eq!(error_code(br#"{"code":"AccessDenied","message":"m"}"#).as_deref(), Some("AccessDenied"));
        let long = format!(r#"{{"Code":"{}"}}"#, "x".repeat(CODE_BYTES_MAX + 1));
        for body in [r#"{"code":"a b"}"#, r#"{"code":"a\n"}"#, r#"{"code":""}"#, r#"{"code":4}"#, "x", &long]
        {
            assert_eq!(error_code(body.as_bytes()), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(KeyDocument::parse(&body));
        }

        #[test]
        fn no_damage_to_a_document_panics(at in 0..GOOD.len(), byte in any::<u8>()) {
            let mut body = GOOD.as_bytes().to_vec();
            body[at] = byte;
            if let Ok(parts) = KeyDocument::parse(&body).and_then(KeyDocument::into_parts) {
                drop(parts.build(SourceName::Imds, String::new()));
            }
        }
    }
}
