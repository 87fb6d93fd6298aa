//! What is asked of STS, within its limits, so that a typing mistake is told before anything is sent.

use std::time::UNIX_EPOCH;

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::host::Host;
use crate::secret::Secret;
use crate::sigv4::uri_encode_into;

/// A role and how to take it on. A value that exists keeps STS's limits.
pub(crate) struct Role {
    arn: String,
    session_name: Option<String>,
    external_id: Option<Secret>,
    duration_s: Option<u32>,
}

/// The settings as written.
#[derive(Default)]
pub(crate) struct RoleParts<'a> {
    pub(crate) arn: &'a str,
    pub(crate) session_name: Option<&'a str>,
    pub(crate) external_id: Option<&'a str>,
    pub(crate) duration_s: Option<&'a str>,
}

/// A setting beyond the limits of STS. Never holds its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoleProblem {
    /// The key of a profile that holds it.
    pub(crate) key: &'static str,
    pub(crate) problem: &'static str,
}

impl Role {
    pub(crate) fn parse(parts: &RoleParts<'_>) -> Result<Role, RoleProblem> {
        let problem = |key, problem| Err(RoleProblem { key, problem });
        let RoleParts { arn, session_name, external_id, duration_s } = parts;
        let visible = arn.bytes().all(|byte| byte.is_ascii_graphic());
        if !(20..=2048).contains(&arn.len()) || !arn.starts_with("arn:") || !visible {
            return problem("role_arn", "is not the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME");
        }
        let made_of = |text: &str, signs: &[u8]| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || signs.contains(&byte))
        };
        if session_name.is_some_and(|name| !(2..=64).contains(&name.len()) || !made_of(name, b"_+=,.@-")) {
            return problem("role_session_name", "must have 2 to 64 letters, digits or signs of _+=,.@-");
        }
        if external_id.is_some_and(|id| !(2..=1224).contains(&id.len()) || !made_of(id, b"_+=,.@:/-")) {
            return problem("external_id", "must have 2 to 1224 letters, digits or signs of _+=,.@:/-");
        }
        let duration_s = match duration_s.map(str::parse::<u32>) {
            None => None,
            Some(Ok(seconds)) if (900..=43_200).contains(&seconds) => Some(seconds),
            Some(_) => return problem("duration_seconds", "must be a number of seconds from 900 to 43200"),
        };
        Ok(Role {
            arn: (*arn).to_owned(),
            session_name: session_name.map(str::to_owned),
            external_id: external_id.map(Secret::new),
            duration_s,
        })
    }

    pub(crate) fn arn(&self) -> &str {
        &self.arn
    }

    pub(super) fn external_id(&self) -> Option<&str> {
        self.external_id.as_ref().map(Secret::expose_secret)
    }

    /// The name under which the session appears in audit logs; one of our own if none is configured.
    pub(super) fn session_name(&self, host: &Host) -> String {
        self.session_name.clone().unwrap_or_else(|| {
            let millis = host.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            // 15 + 8 + 1 + 13 characters, the time ending in the year 2286.
            format!("object-storage-{:08x}-{millis}", host.random_bits() >> 32)
        })
    }

    /// The body of the request: AssumeRole, or AssumeRoleWithWebIdentity if there is a token. Wiped when
    /// its last clone goes.
    pub(super) fn form(&self, session_name: &str, token: Option<&str>) -> Bytes {
        let action = if token.is_some() { "AssumeRoleWithWebIdentity" } else { "AssumeRole" };
        let duration = self.duration_s.map(|seconds| seconds.to_string());
        let external_id = self.external_id().filter(|_| token.is_none());
        let fields = [
            ("Action", Some(action)),
            ("Version", Some("2011-06-15")),
            ("RoleArn", Some(&self.arn[..])),
            ("RoleSessionName", Some(session_name)),
            ("ExternalId", external_id),
            ("DurationSeconds", duration.as_deref()),
            ("WebIdentityToken", token),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        // Room for all of it: a buffer that grows leaves copies of the token behind.
        let room = fields.clone().map(|(name, value)| name.len() + 2 + 3 * value.len()).sum();
        let mut body = Zeroizing::new(String::with_capacity(room));
        for (name, value) in fields {
            if !body.is_empty() {
                body.push('&');
            }
            body.push_str(name);
            body.push('=');
            uri_encode_into(value, false, &mut body);
        }
        Bytes::from_owner(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:iam::123456789012:role/r";

    fn problem(parts: RoleParts<'_>) -> &'static str {
        Role::parse(&parts).err().map_or("", |problem| problem.key)
    }

    #[test]
    fn the_limits_of_sts_are_ours() {
        let good = || RoleParts { arn: ARN, ..RoleParts::default() };
        assert_eq!(problem(good()), "");
        let long = format!("{ARN}{}", "x".repeat(2048));
        for arn in ["", "arn:short", "role/of-some-length-and-more", &long, "arn:aws:iam::1:role/a b c d"] {
            assert_eq!(problem(RoleParts { arn, ..good() }), "role_arn", "{arn}");
        }
        let at = |len| "x".repeat(len);
        for (len, ok) in [(1, false), (2, true), (64, true), (65, false)] {
            assert_eq!(problem(RoleParts { session_name: Some(&at(len)), ..good() }).is_empty(), ok);
        }
        for (len, ok) in [(1, false), (2, true), (1224, true), (1225, false)] {
            assert_eq!(problem(RoleParts { external_id: Some(&at(len)), ..good() }).is_empty(), ok);
        }
        for (text, ok) in
            [("899", false), ("900", true), ("43200", true), ("43201", false), ("1h", false), ("-1", false)]
        {
            assert_eq!(problem(RoleParts { duration_s: Some(text), ..good() }).is_empty(), ok, "{text}");
        }
        for odd in ["a b", "a/b", "a:b", "a&b=c", "é\u{e9}", "a\nb"] {
            assert_eq!(problem(RoleParts { session_name: Some(odd), ..good() }), "role_session_name");
        }
        assert_eq!(problem(RoleParts { external_id: Some("a/b:c"), ..good() }), "");
        assert_eq!(problem(RoleParts { external_id: Some("a b"), ..good() }), "external_id");
    }

    #[test]
    fn values_cannot_add_fields() {
        let parts = RoleParts {
            arn: "arn:aws:iam::1:role/a&Action=x",
            duration_s: Some("900"),
            ..RoleParts::default()
        };
        let role = Role::parse(&parts).unwrap();
        assert_eq!(
            role.form("me", Some("t=&+ é")),
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa%26Action%3Dx\
             &RoleSessionName=me&DurationSeconds=900&WebIdentityToken=t%3D%26%2B%20%C3%A9"
        );
    }

    #[test]
    fn a_session_has_a_name_that_sts_takes() {
        let role = Role::parse(&RoleParts { arn: ARN, ..RoleParts::default() }).unwrap();
        let name = role.session_name(&Host::builder().build());
        assert_eq!(problem(RoleParts { arn: ARN, session_name: Some(&name), ..RoleParts::default() }), "");
    }
}
