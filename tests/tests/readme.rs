//! What the README shows is compiled, run, and does what it says.
#![expect(clippy::disallowed_methods, reason = "a test: it may block")]

use std::path::{Path, PathBuf};
use std::process::Command;

use spike::server::{Server, ServerOptions};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// Runs an example in a directory of its own, and gives what it printed.
fn run(example: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let shown = std::fs::read_to_string(root().join("README.md")).expect("a README");
    let file = root().join("tests/examples").join(format!("{example}.rs"));
    let code = std::fs::read_to_string(&file).expect("an example");
    let code = &code[code.find("use ").expect("it uses something")..];
    assert!(shown.contains(code.trim()), "the README shows {}, word by word", file.display());

    let directory = tempfile::tempdir().expect("a directory");
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--package", "tests", "--example", example, "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .arg("--")
        .args(arguments)
        .current_dir(directory.path())
        .envs(environment.iter().copied())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_ten_line_program_stores_and_reads_a_file() {
    assert_eq!(run("hello", &[], &[]), "b\"hello\"\n");
}

#[test]
fn the_same_program_works_with_s3() {
    let server = Server::start(ServerOptions::default()).expect("a server");
    let keys = ServerOptions::default();
    let url = format!("s3://bucket/hello?region={}&endpoint={}", keys.region, server.endpoint());
    let environment =
        [("AWS_ACCESS_KEY_ID", &*keys.access_key_id), ("AWS_SECRET_ACCESS_KEY", &*keys.secret_access_key)];
    assert_eq!(run("hello_s3", &[&url], &environment), "b\"hello\"\n");
    assert_eq!(server.object_bytes("bucket", "hello/greetings/world").as_deref(), Some(&b"hello"[..]));
}
