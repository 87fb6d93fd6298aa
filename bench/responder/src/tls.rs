//! The certificate, made afresh at every start, and sessions under it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::connection;

/// Makes an authority and a certificate for 127.0.0.1, and writes the authority's to `ca`.
///
/// One cipher suite, so that no contender is cheaper for having preferred another.
pub(crate) fn config(ca: &Path) -> io::Result<Arc<ServerConfig>> {
    let issued = || -> Result<_, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate()?;
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?
            .signed_by(&key, &Issuer::new(authority, authority_key))?;
        Ok((authority_pem, leaf.der().clone(), key))
    };
    let (authority, leaf, key) = issued().map_err(io::Error::other)?;
    std::fs::write(ca, authority)?;
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![leaf], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
        .map_err(io::Error::other)?;
    Ok(Arc::new(config))
}

pub(crate) fn session(config: Arc<ServerConfig>) -> io::Result<Box<ServerConnection>> {
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    connection::bound(&mut session);
    Ok(Box::new(session))
}
