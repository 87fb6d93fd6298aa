//! Three doors, one value; and what each complaint says.

use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::key::Key;
use crate::limits::MIB;

fn toml(object: &str) -> Result<StorageConfig> {
    let text = format!("[system.storage]\nkind = \"object\"\n[system.storage.object]\n{object}\n");
    let config = StorageConfig::from_toml(&text);
    // Deserialize goes the same way, so every test of the file is a test of embedding too.
    #[derive(serde::Deserialize)]
    struct Server {
        system: System,
    }
    #[derive(serde::Deserialize)]
    struct System {
        storage: StorageConfig,
    }
    match (&config, ::toml::from_str::<Server>(&text)) {
        (Ok(config), Ok(server)) => assert_eq!(*config, server.system.storage),
        // What is no TOML at all is refused before this crate is asked.
        (Err(error), Err(_)) if error.message().starts_with("line ") => {}
        (Err(error), Err(embedded)) => assert_eq!(embedded.message(), error.message()),
        (config, embedded) => panic!("{config:?}, but embedded {}", embedded.is_ok()),
    }
    config
}

/// The complaint, after checking that it is one for the operator.
fn complaint(result: Result<StorageConfig>) -> String {
    let error = result.expect_err("should be refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    let message = error.message().to_owned();
    assert!(message.contains(": ") && message.contains("; "), "place, fault and advice: {message}");
    assert!(!message.contains('\n'), "one line: {message}");
    message
}

#[test]
fn every_option_means_the_same_through_file_url_and_builder() {
    type Set = fn(ObjectConfigBuilder) -> ObjectConfigBuilder;
    let base = |b: ObjectConfigBuilder| b.endpoint("https://store.example:9000/s3/");
    // The line of the file, its value in a URL, and the call of the builder.
    let options: &[(&str, &str, Set)] = &[
        ("service = 's3'", "service=s3", |b| b.service(Service::S3)),
        ("region = 'eu_west-1'", "region=eu_west-1", |b| b.region("eu_west-1")),
        ("url_style = 'auto'", "url_style=auto", |b| b),
        ("url_style = 'path'", "url_style=path", |b| b.url_style(UrlStyle::Path)),
        ("url_style = 'virtual-host'", "url_style=virtual-host", |b| b.url_style(UrlStyle::VirtualHost)),
        ("allow_http = true", "allow_http=true", |b| b.allow_http(true)),
        ("profile = 'a b'", "profile=a%20b", |b| b.profile("a b")),
        ("anonymous = true", "anonymous=true", |b| b.anonymous(true)),
        ("anonymous = 'false'", "anonymous=false", |b| b.anonymous(false)),
        ("multipart_part_size = 16777216", "multipart_part_size=16777216", |b| {
            b.multipart_part_size(16 * MIB)
        }),
        ("multipart_part_size = '16 MiB'", "multipart_part_size=16%20MiB", |b| {
            b.multipart_part_size(16 * MIB)
        }),
        ("memory_limit = 67108864", "memory_limit=67108864", |b| b.memory_limit(64 * MIB)),
        ("memory_limit = '64 MiB'", "memory_limit=64MiB", |b| b.memory_limit(64 * MIB)),
        ("memory_limit = '256 MiB'", "memory_limit=256%20MiB", |b| b.memory_limit(256 * MIB)),
        ("tls_roots = 'webpki'", "tls_roots=webpki", |b| b.tls_roots(TlsRoots::Webpki)),
        ("tls_roots = 'system'", "tls_roots=system", |b| b.tls_roots(TlsRoots::System)),
        ("ca_file = '/a+b/é.pem'", "ca_file=/a+b/%C3%A9.pem", |b| b.ca_file("/a+b/é.pem")),
        ("ca_file = '/x'\ntls_roots = 'ca-file'", "tls_roots=ca-file&ca_file=/x", |b| b.ca_file("/x")),
        ("user_agent = 'a&b=c/1'", "user_agent=a%26b=c/1", |b| b.user_agent("a&b=c/1")),
        ("proxy = 'http://proxy:3128'", "proxy=http://proxy:3128", |b| b.proxy("http://proxy:3128/")),
        ("connect_timeout = '1s'", "connect_timeout=1s", |b| b.connect_timeout(Duration::from_secs(1))),
        ("send_timeout = '20 s'", "send_timeout=20s", |b| b.send_timeout(Duration::from_secs(20))),
        ("head_timeout = '250ms'", "head_timeout=250ms", |b| b.head_timeout(Duration::from_millis(250))),
        ("body_timeout = '1m'", "body_timeout=60s", |b| b.body_timeout(Duration::from_secs(60))),
        ("complete_timeout = '1h'", "complete_timeout=60m", |b| {
            b.complete_timeout(Duration::from_secs(3600))
        }),
        ("operation_timeout = '30s'", "operation_timeout=30s", |b| {
            b.operation_timeout(Duration::from_secs(30))
        }),
        ("attempts_max = 3", "attempts_max=3", |b| b.attempts_max(3)),
        ("attempts_max = '3'", "attempts_max=3", |b| b.attempts_max(3)),
        ("conditional_put = false", "conditional_put=false", |b| b.conditional_put(false)),
        ("conditional_complete = true", "conditional_complete=true", |b| b.conditional_complete(true)),
        ("conditional_copy = false", "conditional_copy=false", |b| b.conditional_copy(false)),
        ("conditional_delete = true", "conditional_delete=true", |b| b.conditional_delete(true)),
        ("ordered_list = true", "ordered_list=true", |b| b.ordered_list(true)),
        ("transport = 'cyper'", "transport=cyper", |b| b.transport(Transport::Cyper)),
        ("transport = 'direct'", "transport=direct", |b| b.transport(Transport::Direct)),
        ("payload_signing = 'always'", "payload_signing=always", |b| {
            b.payload_signing(PayloadSigning::Always)
        }),
        ("payload_signing = 'never'", "payload_signing=never", |b| b.payload_signing(PayloadSigning::Never)),
        ("payload_signing = 'auto'", "payload_signing=auto", |b| b.payload_signing(PayloadSigning::Auto)),
        ("checksums = 'off'", "checksums=off", |b| b.checksums(Checksums::Off)),
        ("checksums = 'when-required'", "checksums=when-required", |b| b.checksums(Checksums::WhenRequired)),
        ("checksums = 'when-supported'", "checksums=when-supported", |b| {
            b.checksums(Checksums::WhenSupported)
        }),
    ];
    let plain = base(StorageConfig::object("bucket").prefix("a/b")).build().expect("valid");
    for (line, query, set) in options {
        let file = toml(&format!(
            "bucket = 'bucket'\nprefix = 'a/b/'\nendpoint = 'https://store.example:9000/s3'\n{line}"
        ));
        let file = file.expect(line);
        let url = format!("s3://bucket/a/b?endpoint=https://store.example:9000/s3&{query}");
        assert_eq!(file, StorageConfig::from_url(&url).expect(&url), "{line}");
        let built = set(base(StorageConfig::object("bucket").prefix("a/b"))).build().expect(line);
        assert_eq!(file, built, "{line}");
        let says_the_default = [
            "service",
            "url_style = 'auto'",
            "url_style = 'path'",
            "allow_http",
            "anonymous = 'false'",
            "transport = 'direct'",
            "payload_signing = 'auto'",
            "checksums = 'when-supported'",
            "memory_limit = '256 MiB'",
        ];
        let is_default =
            says_the_default.iter().any(|name| line.starts_with(name)) || *line == "tls_roots = 'system'";
        assert_eq!(file == plain, is_default, "an option that is set must not be lost: {line}");
    }
    for field in fields::OBJECT_FIELDS.iter().filter(|field| field.in_url == fields::InUrl::Yes) {
        let tested = field.name == "endpoint" || options.iter().any(|(line, ..)| line.contains(field.name));
        assert!(tested, "{} is missing in this test", field.name);
    }
}

#[test]
fn keys_come_through_file_and_builder_alike() {
    let file =
        toml("bucket = 'bucket'\naccess_key_id = 'AK'\nsecret_access_key = 'S/+='\nsession_token = 'T='")
            .expect("valid");
    let built =
        StorageConfig::object("bucket").access_key_id("AK").secret_access_key("S/+=").session_token("T=");
    assert_eq!(file, built.build().expect("valid"));
    let ObjectCredentials::Keys(keys) = file.as_object().expect("object").credentials() else {
        panic!("keys were given");
    };
    assert_eq!(keys.access_key_id(), "AK");
    assert_eq!(keys.secret_access_key().expose_secret(), "S/+=");
    assert_eq!(keys.session_token().map(Secret::expose_secret), Some("T="));
}

#[test]
fn fs_and_memory_mean_the_same_through_every_door() {
    let file = |lines: &str| StorageConfig::from_toml(lines).expect(lines);
    let fs = "[system.storage]\nkind='fs'\n[system.storage.fs]\nroot='/a b/ä'\n";
    let built = StorageConfig::fs("/a b/ä").build().expect("valid");
    assert_eq!(file(fs), built);
    assert_eq!(StorageConfig::from_url("file:///a%20b/%C3%A4").expect("valid"), built);
    assert_eq!(StorageConfig::from_url("file://localhost/a%20b/ä/").expect("valid"), built);

    let scratch = StorageConfig::fs("/a b/ä").durability(Durability::None).build().expect("valid");
    assert_ne!(scratch, built);
    assert_eq!(file(&format!("{fs}durability='none'")), scratch);
    assert_eq!(StorageConfig::from_url("file:///a%20b/ä?durability=none").expect("valid"), scratch);
    assert_eq!(file(&format!("{fs}durability='full'")), built);

    assert_eq!(file("system.storage.kind = 'memory'"), StorageConfig::memory());
    assert_eq!("memory:///".parse::<StorageConfig>().expect("valid"), StorageConfig::memory());
}

#[test]
fn what_was_left_out_has_the_documented_default() {
    let config = StorageConfig::object("bucket").build().expect("valid");
    let object = config.as_object().expect("object");
    assert_eq!((object.service(), object.bucket(), object.prefix()), (Service::S3, "bucket", None));
    assert_eq!((object.region(), object.endpoint(), object.proxy()), (None, None, None));
    assert_eq!(object.url_style(), UrlStyle::VirtualHost);
    assert_eq!(object.credentials(), &ObjectCredentials::Chain);
    assert_eq!((object.multipart_part_size(), object.memory_limit()), (8 * MIB, 256 * MIB));
    assert_eq!((object.tls_roots(), object.ca_file(), object.user_agent()), (TlsRoots::System, None, None));
    assert_eq!(object.timeouts(), &Timeouts::default());
    assert_eq!((object.attempts_max(), object.conditions()), (8, Conditions::default()));
}

#[test]
fn memory_is_enough_for_a_part_and_a_body_and_by_default_for_four_parts() {
    let limit =
        |b: ObjectConfigBuilder| b.build().expect("valid").as_object().expect("object").memory_limit();
    let bucket = || StorageConfig::object("bucket");
    assert_eq!(limit(bucket().multipart_part_size(40 * MIB)), 256 * MIB);
    assert_eq!(limit(bucket().multipart_part_size(64 * MIB)), (4 * 64 + 96) * MIB);
    assert_eq!(limit(bucket().multipart_part_size(5 * 1024 * MIB)), (4 * 5 * 1024 + 96) * MIB);
    let least = 5 * MIB + BODY_WINDOW_BYTES;
    assert_eq!(limit(bucket().multipart_part_size(5 * MIB).memory_limit(least)), least);
    assert_eq!(limit(bucket().memory_limit(u64::MAX)), u64::MAX);
    complaint(bucket().multipart_part_size(5 * MIB).memory_limit(least - 1).build());
}

#[test]
fn the_bucket_goes_where_a_certificate_and_a_host_name_allow_it() {
    let style = |b: ObjectConfigBuilder| b.build().expect("valid").as_object().expect("object").url_style();
    assert_eq!(style(StorageConfig::object("bucket")), UrlStyle::VirtualHost);
    assert_eq!(style(StorageConfig::object("my.bucket")), UrlStyle::Path);
    assert_eq!(style(StorageConfig::object("bucket").endpoint("https://store")), UrlStyle::Path);
    assert_eq!(style(StorageConfig::object("Old_Bucket").endpoint("https://store")), UrlStyle::Path);
}

#[test]
fn a_prefix_loses_the_slash_that_joins_it() {
    for url in ["s3://bucket/a%20b/c+d", "s3://bucket/a%20b/c+d/"] {
        let config = StorageConfig::from_url(url).expect(url);
        assert_eq!(
            config.as_object().and_then(ObjectConfig::prefix).map(Key::as_str),
            Some("a b/c+d"),
            "{url}"
        );
    }
    for url in ["s3://bucket", "s3://bucket/", "s3://bucket?", "S3://bucket/?region=x"] {
        let config = StorageConfig::from_url(url).expect(url);
        assert_eq!(config.as_object().expect("object").prefix(), None, "{url}");
    }
}

#[test]
fn tables_of_kinds_not_chosen_may_be_incomplete_but_not_wrong() {
    let with = |rest: &str| StorageConfig::from_toml(&format!("[system.storage]\nkind='memory'\n{rest}"));
    assert_eq!(
        with("[system.storage.fs]\n[system.storage.object]\nregion='x'").expect("valid"),
        StorageConfig::Memory
    );
    assert!(complaint(with("[system.storage.object]\nbuket='x'")).contains("\"buket\" is unknown"));
    assert!(complaint(with("[system.storage.fs]\ndurability=3")).contains("system.storage.fs.durability"));
}

#[test]
fn the_rest_of_the_document_is_somebody_elses() {
    let text = "[http]\nport = 1\nwhen = 1979-05-27T07:32:00Z\nratio = 1.5\nlist = [1, {a = 2}]\n\
                [system]\npath = 'x'\n[system.storage]\nkind = 'memory'\n[[other]]\nx = -1\n";
    assert_eq!(StorageConfig::from_toml(text).expect("valid"), StorageConfig::Memory);
}

#[test]
fn other_formats_than_toml_are_read_too() {
    let read = |text: &str| serde_json::from_str::<StorageConfig>(text);
    let config =
        read(r#"{"kind":"object","fs":null,"object":{"bucket":"bucket","region":null,"attempts_max":3}}"#);
    let built = StorageConfig::object("bucket").attempts_max(3).build().expect("valid");
    assert_eq!(config.expect("valid"), built);
    let twice = read(r#"{"kind":"memory","kind":"fs"}"#).expect_err("twice").to_string();
    assert!(twice.contains("twice") && twice.contains("remove one"), "{twice}");
}

#[test]
fn a_file_that_cannot_work_is_told_what_to_write() {
    let cases: &[(&str, &[&str])] = &[
        ("", &["there is no table [system]", "kind = \"fs\""]),
        ("[system]", &["there is no table [system.storage]", "kind = \"fs\""]),
        ("system = 3", &["system: it is a number, not a table"]),
        ("system.storage = 3", &["system.storage: it is a number, not a table", "write [system.storage]"]),
        ("[system.storage]", &["system.storage.kind: it is missing", "\"fs\", \"object\" or \"memory\""]),
        ("system.storage.kind = 's3'", &["kind: \"s3\" is unknown", "\"fs\", \"object\" or \"memory\""]),
        ("system.storage.kind = 1", &["kind: it is a number, not text"]),
        ("system.storage.kind = 'fs'", &["needs the table [system.storage.fs]", "root = "]),
        ("system.storage.kind = 'object'", &["needs the table [system.storage.object]", "bucket = "]),
        ("system.storage = { kind = 'memory', memory = {} }", &["\"memory\" is unknown", "kind, fs, object"]),
        ("system.storage = { kind = 'object', bucket = 'b' }", &["move it into [system.storage.object]"]),
        ("system.storage = { kind = 'fs', root = 'b' }", &["move it into [system.storage.fs]"]),
        (
            "system.storage = { kind = 'fs', fs = 3 }",
            &["system.storage.fs: it is a number", "[system.storage.fs]"],
        ),
        (
            "system.storage = { kind = 'fs', fs = {} }",
            &["system.storage.fs.root: it is missing", "give a directory"],
        ),
        ("system.storage = { kind = 'fs', fs = {root = ''} }", &["root: it is empty", "give a directory"]),
        ("system.storage = { kind = 'fs', fs = {root = '/'} }", &["root of the whole file system"]),
        ("system.storage = { kind = 'fs', fs = {root = \"a\\u0000\"} }", &["holds a NUL"]),
        ("system.storage = { kind = 'fs', fs = {path = 'x'} }", &["\"path\" is unknown", "root, durability"]),
        (
            "system.storage = { kind = 'fs', fs = {root = 'x', durability = 'some'} }",
            &["\"full\" or \"none\""],
        ),
        ("a = 1\nb = = 2", &["line 2: this is not TOML", "mend the file"]),
    ];
    for (text, parts) in cases {
        let message = complaint(StorageConfig::from_toml(text));
        for part in *parts {
            assert!(message.contains(part), "{text}\n{message}\nlacks {part}");
        }
    }
}

#[test]
fn an_object_store_that_cannot_work_is_told_what_to_write() {
    // Lines beside the bucket; where it hurts; what is wrong; what to do.
    let long = format!("prefix = '{}'", "p".repeat(513));
    let cases: &[(&str, &str, &str, &str)] = &[
        ("buket = 'x'", "object", "\"buket\" is unknown", "known here are service, bucket, prefix, region"),
        ("service = 'gcs'", "object.service", "\"gcs\" is unknown", "write \"s3\""),
        ("region = ''", "object.region", "cannot be a region", "eu-central-1"),
        ("region = 'a.evil/'", "object.region", "cannot be a region", "eu-central-1"),
        ("region = 3", "object.region", "a number, not text", "in quotes"),
        ("prefix = ''", "object.prefix", "it is empty", "leave it out"),
        ("prefix = '/a'", "object.prefix", "begins with '/'", "without a / in front"),
        ("prefix = 'a//'", "object.prefix", "ends with '/'", "write it as"),
        ("prefix = 'a/../b'", "object.prefix", "'.' or '..'", "write it as"),
        (&long, "object.prefix", "513 bytes", "shorter"),
        ("url_style = 'host'", "object.url_style", "\"host\" is unknown", "\"virtual-host\""),
        ("allow_http = 'yes'", "object.allow_http", "neither true nor false", "write true or false"),
        ("allow_http = 1", "object.allow_http", "a number, not true or false", "write true or false"),
        (
            "endpoint = 'store:9000'",
            "object.endpoint",
            "does not begin with http:// or https://",
            "https://s3",
        ),
        ("endpoint = 'https:/store'", "object.endpoint", "does not begin with", "https://s3"),
        ("endpoint = 'ftp://store'", "object.endpoint", "does not begin with", "https://s3"),
        ("endpoint = 'https://u:p@store'", "object.endpoint", "a user or a password", "remove it"),
        ("endpoint = 'https://@store'", "object.endpoint", "a user or a password", "remove it"),
        ("endpoint = 'https://store?x'", "object.endpoint", "a query or a fragment", "https://s3"),
        ("endpoint = 'https://store/#'", "object.endpoint", "a query or a fragment", "https://s3"),
        ("endpoint = 'https://store/a/../b'", "object.endpoint", "dot segment", "plain path"),
        ("endpoint = 'https://store/a/.'", "object.endpoint", "dot segment", "plain path"),
        ("endpoint = 'https://store/a//b'", "object.endpoint", "`//`", "plain path"),
        ("endpoint = 'https://store/%2e%2e'", "object.endpoint", "dot segment", "plain path"),
        ("endpoint = 'https://store//a'", "object.endpoint", "`//`", "plain path"),
        ("endpoint = 'https://store//'", "object.endpoint", "`//`", "plain path"),
        ("endpoint = 'https://store/a%20b'", "object.endpoint", "something else", "plain path"),
        ("endpoint = 'https:///store'", "object.endpoint", "no host", "https://s3"),
        ("endpoint = 'https://store:0'", "object.endpoint", "port 0", "https://s3"),
        ("endpoint = 'https://store:99999'", "object.endpoint", "not an address", "https://s3"),
        ("endpoint = 'https://st ore'", "object.endpoint", "a blank", "https://s3"),
        ("endpoint = 'https:\\\\store'", "object.endpoint", "a backslash", "https://s3"),
        ("endpoint = 'http://store'", "object.endpoint", "not encrypted", "allow_http = true"),
        ("endpoint = 'http://127.0.0.1.evil'", "object.endpoint", "not encrypted", "allow_http = true"),
        (
            "endpoint = 'http://localhost'\ntls_roots = 'system'",
            "object.tls_roots",
            "nothing would be verified",
            "leave this out",
        ),
        (
            "endpoint = 'http://localhost'\nca_file = '/x'",
            "object.ca_file",
            "nothing would be verified",
            "https://",
        ),
        (
            "url_style = 'virtual-host'\nendpoint = 'https://10.0.0.1'",
            "object.url_style",
            "of numbers",
            "\"path\"",
        ),
        (
            "url_style = 'virtual-host'\nendpoint = 'https://[::1]'",
            "object.url_style",
            "of numbers",
            "\"path\"",
        ),
        (
            "access_key_id = 'AK'",
            "object.secret_access_key",
            "missing while access_key_id is set",
            "set both",
        ),
        ("secret_access_key = 'S'", "object.access_key_id", "missing while secret_access_key", "set both"),
        ("session_token = 'T'", "object.access_key_id", "missing while session_token", "set both"),
        (
            "access_key_id = ''\nsecret_access_key = 'S'",
            "object.access_key_id",
            "it is empty",
            "leave it out",
        ),
        (
            "access_key_id = 'A K'\nsecret_access_key = 'S'",
            "object.access_key_id",
            "a blank",
            "paste it again",
        ),
        (
            "access_key_id = 'AK'\nsecret_access_key = \"S\\n\"",
            "object.secret_access_key",
            "a blank",
            "paste it again",
        ),
        (
            "access_key_id = 'AK'\nsecret_access_key = 'S'\nsession_token = 'é'",
            "object.session_token",
            "another character",
            "paste it again",
        ),
        ("access_key_id = 1", "object.access_key_id", "a number, not text", "in quotes"),
        (
            "access_key_id = 'AK'\nsecret_access_key = 'S'\nprofile = 'p'",
            "object.access_key_id",
            "not both",
            "remove the keys",
        ),
        ("profile = ' '", "object.profile", "cannot be the name", "~/.aws/credentials"),
        ("profile = '[p]'", "object.profile", "cannot be the name", "~/.aws/credentials"),
        ("anonymous = true\nprofile = 'p'", "object.anonymous", "no use for profile", "remove one"),
        (
            "anonymous = true\naccess_key_id = 'AK'",
            "object.anonymous",
            "no use for access_key_id",
            "remove one",
        ),
        ("multipart_part_size = 5242879", "object.multipart_part_size", "5 MiB to 5 GiB", "8 MiB"),
        ("multipart_part_size = '6 GiB'", "object.multipart_part_size", "5 MiB to 5 GiB", "8 MiB"),
        ("multipart_part_size = -1", "object.multipart_part_size", "-1 bytes cannot be", "8 MiB"),
        ("multipart_part_size = '8 MB'", "object.multipart_part_size", "1000s or 1024s", "8 MiB"),
        (
            "memory_limit = '8 MiB'",
            "object.memory_limit",
            "do not hold one part",
            "make multipart_part_size smaller",
        ),
        ("memory_limit = '1 MiB'", "object.memory_limit", "do not hold one part", "at least 8912896"),
        (
            "memory_limit = '64 MiB'\nmultipart_part_size = '64 MiB'",
            "object.memory_limit",
            "67108864 bytes do not hold",
            "at least 67633152",
        ),
        ("memory_limit = -1", "object.memory_limit", "-1 bytes cannot be", "8 MiB"),
        ("memory_limit = 'all'", "object.memory_limit", "does not begin with a digit", "8 MiB"),
        ("multipart_part_size = 8.5", "object.multipart_part_size", "a number with a fraction", "8 MiB"),
        ("tls_roots = 'ca-file'", "object.tls_roots", "there is none", "set ca_file"),
        ("tls_roots = 'none'", "object.tls_roots", "\"none\" is unknown", "\"webpki\""),
        ("ca_file = ''", "object.ca_file", "it is empty", "PEM file"),
        ("user_agent = ''", "object.user_agent", "cannot be sent", "my-server/1.2"),
        ("user_agent = \"a\\r\\nx: y\"", "object.user_agent", "cannot be sent", "my-server/1.2"),
        ("proxy = 'https://proxy'", "object.proxy", "does not begin with http://", "3128"),
        ("proxy = 'http://u:p@proxy'", "object.proxy", "a user or a password", "remove it"),
        ("proxy = 'http://proxy/x'", "object.proxy", "it has a path", "host and port only"),
        ("head_timeout = 3", "object.head_timeout", "a number, not a duration with its unit", "\"3s\""),
        ("head_timeout = '3'", "object.head_timeout", "it has no unit", "\"3s\""),
        ("body_timeout = '0s'", "object.body_timeout", "not above zero", "leave it out"),
        ("complete_timeout = '24h'", "object.complete_timeout", "below a day", "leave it out"),
        (
            "head_timeout = '2m'",
            "object.head_timeout",
            "longer than operation_timeout",
            "lengthen operation_timeout",
        ),
        (
            "operation_timeout = '4s'",
            "object.send_timeout",
            "longer than operation_timeout",
            "shorten this one",
        ),
        ("attempts_max = 0", "object.attempts_max", "0 is not 1 to 100", "1 sends everything once"),
        ("attempts_max = 101", "object.attempts_max", "101 is not 1 to 100", "operation_timeout"),
        ("attempts_max = -1", "object.attempts_max", "not a whole number in range", "such as 8"),
        ("attempts_max = 'x'", "object.attempts_max", "not a whole number in range", "such as 8"),
        ("attempts_max = [8]", "object.attempts_max", "a list", "such as 8"),
        ("conditional_put = {}", "object.conditional_put", "a table", "true or false"),
        ("bucket = 'x'", "line", "duplicate key", "mend the file"),
    ];
    for (line, place, what, advice) in cases {
        let message = complaint(toml(&format!("bucket = 'bucket'\n{line}")).map_err(|error| {
            assert!(!error.message().contains("u:p"), "an address may hold a password: {error}");
            error
        }));
        for part in [place, what, advice] {
            assert!(message.contains(part), "{line}\n{message}\nlacks {part}");
        }
    }
}

#[test]
fn a_bucket_follows_the_rules_of_where_it_is() {
    for name in ["abc", "my-bucket.v2", "0a0", &"b".repeat(63), "point-abc123-s3alias"] {
        assert!(StorageConfig::object(name).build().is_ok(), "{name}");
    }
    let long = "b".repeat(64);
    let never = ["", "ab", "a/b", "a b", "bucket:1", "bücket", "..", "...", "arn:aws:s3:::b", "a\0b", "b@c"];
    let not_on_aws =
        ["Bucket", "my_bucket", "-abc", "abc.", "a..b", "a.-b", "10.0.0.1", "xn--a", "x--x-s3", &long];
    for name in never.into_iter().chain(not_on_aws) {
        let message = complaint(StorageConfig::object(name).build());
        assert!(message.starts_with("system.storage.object.bucket: "), "{message}");
    }
    for name in never {
        assert!(StorageConfig::object(name).endpoint("https://store").build().is_err(), "{name}");
    }
    for name in not_on_aws {
        let builder = StorageConfig::object(name).endpoint("https://store");
        assert!(builder.clone().build().is_ok(), "{name}");
        let message = complaint(builder.url_style(UrlStyle::VirtualHost).build());
        assert!(message.contains("cannot be part of a host name"), "{message}");
    }
    assert!(StorageConfig::object("b".repeat(256)).endpoint("https://store").build().is_err());
    let dotted = StorageConfig::object("my.bucket").url_style(UrlStyle::VirtualHost);
    assert!(complaint(dotted.build()).contains("certificate"));
    assert!(complaint(toml("")).contains("bucket: it is missing"));
}

#[test]
fn plain_http_stays_on_this_machine_unless_allowed() {
    for host in ["localhost", "LOCALHOST:80", "a.localhost", "127.0.0.1:9000", "127.9.9.9", "[::1]:1"] {
        let builder = StorageConfig::object("bucket").endpoint(format!("http://{host}"));
        assert!(builder.build().is_ok(), "{host}");
    }
    for host in ["store", "localhost.evil", "10.0.0.1", "[::2]", "0.0.0.0"] {
        let builder = StorageConfig::object("bucket").endpoint(format!("HTTP://{host}"));
        assert!(builder.clone().build().is_err(), "{host}");
        assert!(builder.allow_http(true).build().is_ok(), "{host}");
    }
}

#[test]
fn a_url_that_cannot_work_is_told_what_to_write() {
    let cases: &[(&str, &str, &str)] = &[
        ("", "no scheme", "s3://bucket/prefix"),
        ("/var/lib", "no scheme", "file:///directory"),
        ("file:/var", "no scheme", "file:///directory"),
        ("s3a://bucket", "scheme is unknown", "s3://bucket/prefix"),
        ("https://bucket.s3.amazonaws.com", "scheme is unknown", "s3://bucket/prefix"),
        ("s3://", "names no bucket", "s3://bucket/prefix"),
        ("s3:///prefix", "names no bucket", "s3://bucket/prefix"),
        ("s3://AK:SK@bucket", "a user or a password", "URLs get printed"),
        ("s3://bucket:9000", "a port after the bucket", "?endpoint="),
        ("s3://bucket/a b", "a blank", "%20"),
        ("s3://bucket/a#b", "a fragment", "%23"),
        ("s3://bucket/%", "two hexadecimal digits", "%25"),
        ("s3://bucket/%4", "two hexadecimal digits", "%25"),
        ("s3://bucket/%zz", "two hexadecimal digits", "%25"),
        ("s3://bucket/%ff", "not UTF-8", "UTF-8"),
        ("s3://bucket//a", "begins with '/'", "without a / in front"),
        ("s3://bucket/%00", "control character", "write it as"),
        ("s3://buc%2Fket", "\"buc/ket\"", "give the name"),
        ("s3://bucket?reegion=x", "\"reegion\" is unknown", "known here are service, region, endpoint"),
        ("s3://bucket?region", "not name=value", "?name=value"),
        ("s3://bucket?&region=x", "not name=value", "?name=value"),
        ("s3://bucket?region=x&region=x", "region stands there twice", "remove one"),
        ("s3://bucket?bucket=x", "before the query", "s3://bucket/prefix"),
        ("s3://bucket?prefix=x", "before the query", "s3://bucket/prefix"),
        ("s3://bucket?access_key_id=AK", "must not stand in a URL", "profile="),
        ("s3://bucket?secret_access_key=SK", "must not stand in a URL", "profile="),
        ("s3://bucket?session_token=SK", "must not stand in a URL", "profile="),
        ("s3://bucket?head_timeout=3", "no unit", "\"3s\""),
        ("file://host/dir", "names a host", "three slashes"),
        ("file://", "names no directory", "file:///"),
        ("file:///", "root of the whole file system", "give a directory"),
        ("file:///a/../b", "`.` or `..`", "as it is"),
        ("file:///a/%2e%2e/b", "`.` or `..`", "as it is"),
        ("file:///a?root=/b", "before the query", "file:///directory"),
        ("file:///a?sync=no", "\"sync\" is unknown", "known here are durability"),
        ("memory://name", "neither name nor settings", "memory:///"),
        ("memory:///?a=b", "neither name nor settings", "memory:///"),
    ];
    for (url, what, advice) in cases {
        let message = complaint(StorageConfig::from_url(url));
        for part in [what, advice] {
            assert!(message.contains(part), "{url}\n{message}\nlacks {part}");
        }
        assert!(!message.contains("SK"), "{message}");
    }
}

/// What must never be seen, whatever is done with it.
const CANARY: &str = "cAnArY0xS3cr3t";

#[test]
fn no_formatter_and_no_complaint_shows_a_secret() {
    let keys = format!("access_key_id='{CANARY}'\nsecret_access_key='{CANARY}'\nsession_token='{CANARY}'");
    let builder = StorageConfig::object("bucket")
        .access_key_id(CANARY)
        .secret_access_key(CANARY)
        .session_token(CANARY)
        .endpoint(format!("https://user:{CANARY}@store"))
        .proxy(format!("http://user:{CANARY}@proxy"));
    let mut seen = format!("{builder:?}{:#?}", builder.clone().build());
    let config = toml(&format!("bucket='bucket'\n{keys}")).expect("valid");
    let _ = write!(seen, "{config}{config:?}{config:#?}");
    for broken in [
        format!("secret_access_key = {CANARY}"),
        format!("secret_access_key = '{CANARY}"),
        format!("secret_access_key = \"{CANARY}\\q\""),
        format!("secret_access_key = ['{CANARY}']"),
        format!("secret_access_key = {{ value = '{CANARY}' }}"),
        format!("{keys}\nprofile = 'p'"),
        format!("{keys}\nanonymous = true"),
        format!("{keys}\nsecret_access_key = '{CANARY}'"),
        format!("{keys} {CANARY}"),
        format!("secret_access_key = '{CANARY} '\naccess_key_id = '{CANARY}'"),
        format!("endpoint = 'https://user:{CANARY}@store'"),
        format!("endpoint = 'user:{CANARY}@store'"),
        format!("endpoint = 'https://store?X-Amz-Signature={CANARY}'"),
        format!("proxy = 'http://{CANARY}:{CANARY}@proxy'"),
    ] {
        let error = toml(&format!("bucket='bucket'\n{broken}")).expect_err(&broken);
        let _ = write!(seen, "{error}{error:?}{error:#?}");
    }
    for url in [
        format!("s3://{CANARY}:{CANARY}@bucket"),
        format!("s3://bucket?secret_access_key={CANARY}"),
        format!("s3://bucket?session_token={CANARY}"),
        format!("s3://bucket?secret={CANARY}"),
        format!("s3://bucket?endpoint=https://a:{CANARY}@store"),
        format!("s3x://{CANARY}"),
    ] {
        let error = StorageConfig::from_url(&url).expect_err(&url);
        let _ = write!(seen, "{error}{error:?}{error:#?}");
    }
    assert!(!seen.contains(CANARY), "{seen}");
}

#[test]
fn a_starting_server_can_say_what_it_stores_where() {
    let shown = |url: &str| StorageConfig::from_url(url).expect(url).to_string();
    assert_eq!(shown("memory:///"), "memory: nothing outlives the process");
    assert_eq!(shown("file:///a"), "files in /a, durable");
    assert!(shown("file:///a?durability=none").contains("NOT durable"));
    assert_eq!(
        shown("s3://bucket/a/b?region=eu-central-1"),
        "object store s3://bucket/a/b at AWS, bucket in the host, region eu-central-1, keys from the credential \
         chain, trusting the system's certificates"
    );
    assert_eq!(
        shown("s3://bucket?endpoint=http://127.0.0.1:9000&profile=p&proxy=http://proxy:1"),
        "object store s3://bucket at http://127.0.0.1:9000/, bucket in the path, region not configured, keys from \
         profile \"p\", not encrypted, through http://proxy:1/"
    );
}

#[test]
fn a_configuration_crosses_threads() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    check::<StorageConfig>();
    check::<ObjectConfigBuilder>();
}

/// Writes everything but unreserved characters as `%XX`.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut url, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02x}");
        }
        url
    })
}

fn prefix() -> impl Strategy<Value = String> {
    "[^/\\p{C}]{1,20}(/[^/\\p{C}]{1,20}){0,3}"
        .prop_filter("a prefix that is a key", |text| Key::parse(text).is_ok())
}

proptest! {
    #[test]
    fn what_is_written_into_a_url_is_read_from_it(
        prefix in proptest::option::of(prefix()),
        ca_file in proptest::option::of("/[^\\p{Cc}]{1,30}"),
        user_agent in proptest::option::of("[!-~]([ -~]{0,20}[!-~])?"),
        profile in proptest::option::of("[a-z+&=%#?/ ]{0,8}[a-z]".prop_filter("no blank edges", |p| p.trim() == p)),
        part_bytes in 5 * MIB..=5 * 1024 * MIB,
        millis in 5_000u64..86_400_000,
        attempts in 1u32..=100,
        flag in any::<bool>(),
        host in "[a-z]{1,8}(:[1-9][0-9]{0,3})?(/[a-zA-Z0-9_~-]{1,8}){0,2}",
    ) {
        let mut builder = StorageConfig::object("Bucket_1")
            .endpoint(format!("https://{host}"))
            .multipart_part_size(part_bytes)
            .operation_timeout(Duration::from_millis(millis + 5000))
            .complete_timeout(Duration::from_millis(millis))
            .head_timeout(Duration::from_millis(millis))
            .attempts_max(attempts)
            .conditional_copy(flag);
        let mut url = format!(
            "s3://Bucket_1/{}?endpoint={}&multipart_part_size={part_bytes}&operation_timeout={}ms\
             &complete_timeout={millis}ms&head_timeout={millis}ms&attempts_max={attempts}&conditional_copy={flag}",
            encode(prefix.as_deref().unwrap_or("")), encode(&format!("https://{host}")), millis + 5000,
        );
        if let Some(prefix) = prefix {
            builder = builder.prefix(prefix);
        }
        if let Some(file) = ca_file {
            let _ = write!(url, "&ca_file={}", encode(&file));
            builder = builder.ca_file(file);
        }
        if let Some(agent) = user_agent {
            let _ = write!(url, "&user_agent={}", encode(&agent));
            builder = builder.user_agent(agent);
        }
        if let Some(profile) = profile {
            let _ = write!(url, "&profile={}", encode(&profile));
            builder = builder.profile(profile);
        }
        match builder.build() {
            Ok(built) => prop_assert_eq!(StorageConfig::from_url(&url).expect(&url), built),
            // Only the last seconds of the day are out of range.
            Err(_) => prop_assert!(millis + 5000 >= 86_400_000, "{}", url),
        }
    }

    #[test]
    fn no_text_makes_a_door_panic(
        text in any::<String>(),
        form in "(s3|file|memory)://[ -~é😀%]{0,40}",
        line in "[ -~]{0,60}",
        value in any::<String>(),
    ) {
        let _ = StorageConfig::from_url(&text);
        let _ = StorageConfig::from_url(&form);
        let _ = StorageConfig::from_toml(&text);
        let _ = toml(&line);
        for field in fields::OBJECT_FIELDS {
            let _ = toml(&format!("{} = {value:?}", field.name));
            let _ = StorageConfig::from_url(&format!("s3://bucket?{}={value}", field.name));
            let mut builder = StorageConfig::object("bucket");
            let raw = raw::Raw::Text(value.clone().into());
            if field.set("t", raw, &mut builder).is_ok() {
                let _ = builder.build();
            }
        }
        let _ = StorageConfig::fs(&value).build();
        let _ = StorageConfig::object(value).build();
    }
}
