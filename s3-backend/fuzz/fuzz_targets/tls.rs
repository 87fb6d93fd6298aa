//! Somebody between a TLS server and us, who does as the bytes say. CONTRIBUTING.md says how to run it.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use s3_backend::fuzzing::{TlsIdentity, tls};

fuzz_target!(|bytes: &[u8]| {
    static IDENTITY: OnceLock<TlsIdentity> = OnceLock::new();
    tls(IDENTITY.get_or_init(identity), bytes);
});

fn identity() -> TlsIdentity {
    let params = rcgen::CertificateParams::new(vec!["s3.test".to_owned()]).expect("a name");
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    TlsIdentity::new(certificate.der(), &key.serialize_der())
}
