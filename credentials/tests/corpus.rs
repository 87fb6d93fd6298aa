//! Replays the corpora of the fuzz targets, and says of some files what must come out.
//!
//! A file that crashed a fuzz target joins its corpus under a name that says what it is about.

use std::path::PathBuf;

use credentials::profile::{FileKind, ParseProblem, ProfileFile};

#[path = "../fuzz/addresses.rs"]
mod addresses;
#[path = "../fuzz/answers.rs"]
mod answers;
#[path = "../fuzz/invariants.rs"]
mod invariants;
#[path = "../fuzz/replay.rs"]
mod replay;
#[path = "../fuzz/world.rs"]
mod world;

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target].iter().collect()
}

#[expect(clippy::disallowed_methods, reason = "a test reads its own data, and nothing waits for it")]
fn bytes(name: &str) -> Vec<u8> {
    let path = folder("profile").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn any_profile_file_is_read_or_refused_as_it_must_be() {
    replay::replay(&folder("profile"), 30, invariants::check);
}

#[test]
fn any_answer_gives_keys_that_can_be_used_or_an_error_without_secrets() {
    replay::replay(&folder("answers"), 30, answers::check);
}

#[test]
fn any_address_is_refused_or_is_where_the_request_goes() {
    replay::replay(&folder("addresses"), 30, addresses::check);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    use ParseProblem as P;
    for (name, line, problem) in [
        ("header-unclosed", 1, P::UnclosedSection),
        ("header-unclosed-at-end", 3, P::UnclosedSection),
        ("long-open-brackets", 1, P::UnclosedSection),
        ("header-text-behind", 1, P::TextAfterSection),
        ("header-two-in-a-line", 1, P::TextAfterSection),
        ("header-nested-brackets", 1, P::TextAfterSection),
        ("header-closing-only", 1, P::BeforeFirstSection),
        ("property-before-section", 2, P::BeforeFirstSection),
        ("continuation-before-section", 2, P::BeforeFirstSection),
        ("mark-bom-twice", 1, P::BeforeFirstSection),
        ("bytes-nul-only", 1, P::BeforeFirstSection),
        ("other-format-json", 1, P::BeforeFirstSection),
        ("other-format-exports", 1, P::BeforeFirstSection),
        ("property-no-equals", 3, P::NoEquals),
        ("property-equals-in-comment", 2, P::NoEquals),
        ("error-below-ignored-section", 3, P::NoEquals),
        ("property-empty-key", 2, P::EmptyKey),
        ("continuation-below-header", 4, P::NothingToContinue),
        ("comment-indented-first", 2, P::NothingToContinue),
        ("nested-no-equals", 4, P::NestedNoEquals),
        ("nested-comment", 3, P::NestedNoEquals),
        ("nested-empty-key", 3, P::NestedEmptyKey),
        // To others a lone carriage return ends a line; here it is text behind the header.
        ("line-ends-cr-only", 1, P::TextAfterSection),
        ("bytes-not-utf8", 3, P::NotUtf8),
        ("bytes-utf8-cut", 2, P::NotUtf8),
        ("bytes-surrogate", 2, P::NotUtf8),
        ("bytes-not-utf8-below-an-error", 3, P::NotUtf8),
        ("mark-utf16", 1, P::NotUtf8),
    ] {
        for kind in [FileKind::Config, FileKind::Credentials] {
            let error = ProfileFile::parse(name, kind, &bytes(name)).unwrap_err();
            assert_eq!((error.file.as_str(), error.line, error.problem), (name, line, problem));
        }
    }
}

#[test]
fn what_is_well_formed_is_read() {
    use FileKind::{Config, Credentials};
    for (name, kind, profile, key, value) in [
        ("comment-places", Config, "default", "a", Some("v")),
        ("comment-places", Config, "default", "b", Some("v;kept")),
        ("comment-indented-continues", Config, "default", "a", Some("1\n# kept\n; kept too")),
        ("comment-between-continuations", Config, "default", "a", Some("1\n2\n3")),
        ("continuation-lines", Config, "default", "a", Some("1\n2\n3 # kept\n= 4")),
        ("default-twin-first", Config, "default", "b", Some("2")),
        ("default-twin-first", Config, "default", "a", None),
        ("default-twin-first", Credentials, "default", "a", Some("1")),
        ("duplicate-sections", Config, "x", "a", Some("2")),
        ("duplicate-sections", Credentials, "x", "b", Some("1")),
        ("duplicate-keys", Config, "default", "region", Some("c")),
        ("property-equals", Config, "default", "a", Some("b = c")),
        ("property-empty-value", Config, "default", "a", None),
        ("line-ends-crlf", Config, "default", "a", Some("1\n2")),
        ("line-ends-mixed", Config, "default", "b", Some("2\r")),
        ("line-end-missing", Config, "default", "a", Some("1")),
        ("mark-bom", Config, "default", "a", Some("b")),
        ("bytes-nul", Config, "default", "a", Some("b\0c")),
        ("aws-credentials", Credentials, "default", "aws_access_key_id", Some("AKIAIOSFODNN7EXAMPLE")),
        ("aws-config-roles", Config, "deploy", "source_profile", Some("base")),
        (
            "aws-config-process",
            Config,
            "vault",
            "credential_process",
            Some("\"/opt/bin/my vault\" --json 'role a'"),
        ),
    ] {
        let file = ProfileFile::parse(name, kind, &bytes(name)).unwrap();
        let profiles = invariants::profiles(kind, file);
        assert_eq!(profiles[profile].get(key).cloned().flatten().as_deref(), value, "{name}: {key}");
    }
}

#[test]
fn warnings_stop_where_they_stop_helping() {
    let file = ProfileFile::parse("f", FileKind::Config, &bytes("many-warnings")).unwrap();
    let texts: Vec<String> = file.warnings().iter().map(ToString::to_string).collect();
    // 32 about lines, then one about the file.
    assert_eq!(texts.len(), 33);
    assert!(texts[0].starts_with("f:1: section ignored"), "{}", texts[0]);
    assert!(texts[32].starts_with("f: [default] ignored"), "{}", texts[32]);
}
