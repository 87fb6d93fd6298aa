//! Whom we trust: one rustls configuration, built once and shared by all shards. Cryptography is ring's, or with the
//! feature `aws-lc-rs` that library's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_storage::config::TlsRoots;
use object_storage::{Error, ErrorKind, Operation, Result};
use rustls::crypto::CryptoProvider;
#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as cryptography;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring as cryptography;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Which certificates are trusted.
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    pub(crate) base: TlsRoots,
    pub(crate) ca_file: Option<PathBuf>,
}

/// The TLS configuration. `roots` is `None` for an endpoint that speaks plain http: nothing is trusted then.
///
/// Reads certificates from disk: call it where blocking is allowed.
pub(crate) fn client_config(roots: Option<&Roots>) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(provider());
    // The program may have installed its own; ours is passed explicitly wherever it matters.
    if CryptoProvider::install_default((*provider).clone()).is_err() {
        // Another provider is the default of this process, and stays it.
    }
    let mut store = RootCertStore::empty();
    if let Some(roots) = roots {
        match roots.base {
            TlsRoots::System => add_system(&mut store)?,
            TlsRoots::Webpki => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            _ => {}
        }
        if let Some(file) = &roots.ca_file {
            add_file(&mut store, file)?;
        }
        if store.is_empty() {
            return Err(config("no certificate is trusted: set `ca_file` or `tls_roots`".to_owned()));
        }
    }
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| {
            config("the TLS provider has no protocol version in common with us".to_owned()).with_source(error)
        })?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The one provider of cryptography, chosen when compiled.
pub(super) fn provider() -> CryptoProvider {
    cryptography::default_provider()
}

fn add_system(store: &mut RootCertStore) -> Result<()> {
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        let advice = "install ca-certificates, or set `tls_roots = \"webpki\"`, or name a `ca_file`";
        return Err(config(format!("the system has no certificates to trust{why}: {advice}")));
    }
    Ok(())
}

/// A file that cannot be read, or holds a bad certificate or none, is an error: never "no roots".
fn add_file(store: &mut RootCertStore, file: &Path) -> Result<()> {
    let problem = |what: String| config(format!("ca_file {}: {what}", file.display()));
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| problem(error.to_string()))?;
    let mut added = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| problem(error.to_string()))?;
        store.add(certificate).map_err(|error| problem(error.to_string()))?;
        added += 1;
    }
    if added == 0 { Err(problem("it holds no certificate".to_owned())) } else { Ok(()) }
}

fn config(message: String) -> Error {
    Error::new(ErrorKind::Config, Operation::Open, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_an_error_and_never_no_roots() {
        let this_file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        for file in [this_file, PathBuf::from("/nonexistent/ca.pem")] {
            let roots = Roots { base: TlsRoots::CaFile, ca_file: Some(file) };
            assert_eq!(client_config(Some(&roots)).expect_err("no certificate").kind(), ErrorKind::Config);
        }
        let roots = Roots { base: TlsRoots::CaFile, ca_file: None };
        assert!(client_config(Some(&roots)).is_err());
        let roots = Roots { base: TlsRoots::Webpki, ca_file: None };
        assert!(client_config(Some(&roots)).is_ok());
        assert!(client_config(None).is_ok());
    }
}
