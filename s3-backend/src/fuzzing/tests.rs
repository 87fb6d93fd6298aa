//! Replays the corpora of the fuzz targets.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::*;

#[path = "../../../credentials/fuzz/replay.rs"]
mod replay;

/// Somebody who calls himself `s3.test`.
pub(crate) fn identity() -> TlsIdentity {
    let params = rcgen::CertificateParams::new(vec!["s3.test".to_owned()]).expect("a name");
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    TlsIdentity::new(certificate.der(), &key.serialize_der())
}

fn replay(target: &str, files_min: usize, check: fn(&[u8])) {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target].iter().collect();
    replay::replay(&folder, files_min, check);
}

#[test]
fn any_xml_is_read_within_its_bounds_and_read_back_or_refused() {
    replay("xml", 25, xml);
}

#[test]
fn any_answer_is_believed_only_for_what_was_asked() {
    replay("answers", 40, answers);
}

#[test]
fn any_bytes_are_the_same_answer_however_they_are_cut() {
    replay("http", 40, http);
}

#[test]
fn a_server_is_heard_to_say_what_it_said_and_nothing_else() {
    replay("tls", 12, |bytes| {
        static IDENTITY: OnceLock<TlsIdentity> = OnceLock::new();
        tls(IDENTITY.get_or_init(identity), bytes);
    });
}
