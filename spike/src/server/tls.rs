//! A certificate authority that lives as long as the server, and the one certificate that it signs.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// What the server presents and what its clients must trust.
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    pub(super) ca_pem: String,
}

impl Tls {
    /// A certificate for 127.0.0.1, localhost, `domain` and the buckets under it.
    pub(super) fn new(domain: Option<&str>) -> io::Result<Self> {
        let ca_key = KeyPair::generate().map_err(io::Error::other)?;
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        ca.distinguished_name.push(DnType::CommonName, "spike test authority");
        let ca_pem = ca.self_signed(&ca_key).map_err(io::Error::other)?.pem();

        let mut names = vec!["localhost".to_owned()];
        names.extend(domain.into_iter().flat_map(|domain| [domain.to_owned(), format!("*.{domain}")]));
        let mut leaf = CertificateParams::new(names).map_err(io::Error::other)?;
        leaf.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let leaf_key = KeyPair::generate().map_err(io::Error::other)?;
        let leaf = leaf.signed_by(&leaf_key, &Issuer::new(ca, ca_key)).map_err(io::Error::other)?;

        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        // Named, not taken from the process: a client in the same process may install its own or none.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key))
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), ca_pem })
    }
}
