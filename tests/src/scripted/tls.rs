//! Certificates for the scripted server: good ones, and one for every way to be bad.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate authority that nobody else knows.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// How a certificate is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is not.
    None,
    /// It has expired.
    Expired,
    /// It is for later.
    NotYet,
    /// It is for another host.
    WrongName,
    /// It vouches for itself.
    SelfSigned,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    ///
    /// When no key can be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "every call makes another key")]
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of this test");
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Writes its certificate into a PEM file of this directory.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a test's own thread, before anything runs on it")]
    pub fn pem_file(&self, directory: &Path) -> PathBuf {
        let file = directory.join("ca.pem");
        std::fs::write(&file, self.0.pem()).expect("the test's own directory");
        file
    }

    /// TLS for `localhost` and 127.0.0.1 with a certificate of this authority, or one with a flaw.
    ///
    /// # Panics
    ///
    /// When no key can be made.
    #[must_use]
    pub fn server(&self, flaw: Flaw) -> Arc<ServerConfig> {
        let names = match flaw {
            Flaw::WrongName => vec!["elsewhere.example".to_owned()],
            _ => vec!["localhost".to_owned(), "bucket.localhost".to_owned(), "127.0.0.1".to_owned()],
        };
        let mut params = CertificateParams::new(names).expect("good names");
        match flaw {
            Flaw::Expired => params.not_after = rcgen::date_time_ymd(2001, 1, 1),
            Flaw::NotYet => params.not_before = rcgen::date_time_ymd(3000, 1, 1),
            _ => {}
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = match flaw {
            Flaw::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &self.0),
        };
        let chain = vec![CertificateDer::from(certificate.expect("a certificate"))];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the ring provider speaks TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("the key belongs to the certificate");
        Arc::new(config)
    }
}
