//! The STS of SeaweedFS: roles that can be assumed with keys or with a token, and what they may do.
//!
//! Its sessions are real: the keys that it hands out work with their token only, until they expire, and for what the
//! role allows. What it does differently from AWS: S3 calls expired and damaged tokens `InvalidAccessKeyId`, a wrong
//! signature is refused by S3's `Error` document on the STS port too, a token that is not believed is an
//! `InvalidParameterValue`, and `DurationSeconds` is the only way to more than the configured length of a session.

use std::time::Duration;

use serde_json::json;

/// What the STS is to be like.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sts {
    /// How long a session lasts for which nobody asks for another length; whole seconds.
    pub session: Duration,
    /// Whose tokens can be exchanged for keys: the issuer's URL, with its keys at `/jwks`.
    pub issuer: Option<String>,
}

impl Sts {
    /// A role that may do everything, for whoever has keys.
    pub const WRITER: &'static str = "arn:aws:iam::000000000000:role/writer";
    /// One that may only read and list.
    pub const READER: &'static str = "arn:aws:iam::000000000000:role/reader";
    /// One that may do everything, for whoever has a token.
    pub const WEB: &'static str = "arn:aws:iam::000000000000:role/web";
    /// One that nobody may have.
    pub const CLOSED: &'static str = "arn:aws:iam::000000000000:role/closed";
    /// For whom tokens must be made out.
    pub const AUDIENCE: &'static str = "sts.amazonaws.com";

    /// Sessions of this length, and no tokens.
    #[must_use]
    pub fn new(session: Duration) -> Sts {
        Sts { session, issuer: None }
    }

    /// The same, with tokens of this issuer.
    #[must_use]
    pub fn with_issuer(mut self, url: impl Into<String>) -> Sts {
        self.issuer = Some(url.into());
        self
    }

    pub(super) fn config(&self) -> String {
        let providers: Vec<_> = self
            .issuer
            .iter()
            .map(|issuer| {
                json!({"name": "tests", "type": "oidc", "enabled": true, "config": {
                    "issuer": issuer,
                    "clientId": Sts::AUDIENCE,
                    "jwksUri": format!("{issuer}/jwks"),
                }})
            })
            .collect();
        let role = |arn: &str, principal, action, policy| {
            json!({
                "roleName": arn.rsplit('/').next(),
                "roleArn": arn,
                "trustPolicy": {"Version": "2012-10-17", "Statement": [
                    {"Effect": "Allow", "Principal": principal, "Action": [action]},
                ]},
                "attachedPolicies": [policy],
            })
        };
        let policy = |name, actions| {
            json!({"name": name, "document": {"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": actions, "Resource": ["*"]},
            ]}})
        };
        let everybody = || json!({"AWS": "*"});
        let nobody = json!({"AWS": "arn:aws:iam::000000000000:user/nobody"});
        json!({
            "sts": {
                "tokenDuration": format!("{}s", self.session.as_secs()),
                "maxSessionLength": "1h",
                "issuer": "tests",
                // Worth nothing: the server listens on the loopback only.
                "signingKey": "dGVzdHMtc2lnbmluZy1rZXktb2YtMzItY2hhcmFjdGVycw==",
                "providers": providers,
            },
            "policy": {"defaultEffect": "Deny", "storeType": "memory"},
            "roles": [
                role(Sts::WRITER, everybody(), "sts:AssumeRole", "all"),
                role(Sts::READER, everybody(), "sts:AssumeRole", "read"),
                role(Sts::CLOSED, nobody, "sts:AssumeRole", "all"),
                role(Sts::WEB, json!({"Federated": "tests"}), "sts:AssumeRoleWithWebIdentity", "all"),
            ],
            "policies": [
                policy("all", json!(["s3:*"])),
                policy("read", json!(["s3:GetObject", "s3:HeadObject", "s3:ListBucket"])),
            ],
        })
        .to_string()
    }
}
