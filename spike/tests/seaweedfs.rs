//! The program against SeaweedFS, a server that none of us wrote: over http, over https, and with the bucket in the
//! host.

use std::process::{Command, Stdio};

use tests::seaweedfs::{Options, SeaweedFs};

/// Every scenario against this server, with these options more.
fn every_scenario_passes(server: &SeaweedFs, options: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_spike"))
        .args(["--endpoint", &server.endpoint(), "--region", SeaweedFs::REGION])
        // It honours If-Match on delete, and keeps keys as paths of its filer.
        .args(["--conditional-delete", "--keys-are-paths"])
        .args(options)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("AWS_ACCESS_KEY_ID", SeaweedFs::ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SeaweedFs::SECRET_ACCESS_KEY)
        .stdin(Stdio::null())
        .output()
        .expect("spike starts");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{table}{}", String::from_utf8_lossy(&output.stderr));
    assert!(table.contains(" 0 failed, 2 unsupported"), "{table}");
    assert!(!table.contains("left behind"), "{table}");
}

#[test]
fn over_http_in_a_bucket_of_its_own() {
    let Some(server) = SeaweedFs::shared() else { return };
    every_scenario_passes(server, &["--create-bucket"]);
}

#[test]
fn over_https_with_its_own_authority_and_the_bucket_in_path_or_host() {
    let options = Options::default().with_tls().with_domain("s3.localhost");
    let Some(server) = SeaweedFs::start(&options) else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    #[expect(clippy::disallowed_methods, reason = "a test waits for nothing else")]
    std::fs::write(&ca, server.ca_pem().expect("it serves https")).expect("written");
    let ca = ca.to_str().expect("UTF-8");
    server.create_bucket("certified");
    for style in ["--path-style", "--virtual-host-style"] {
        every_scenario_passes(&server, &["--bucket", "certified", "--ca-file", ca, style]);
    }
}
