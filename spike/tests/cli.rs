//! The program as its users meet it: run from outside, judged by what it prints and how it ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Longer than anything here takes, shorter than anybody waits.
const PATIENCE: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(20);

/// The program, without anything of this machine's that could change what it does.
fn spike(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spike"));
    command.args(arguments).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    ended(spike(arguments).output().expect("spike starts"))
}

fn ended(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// `spike serve` in a process of its own. Dropping it ends it.
struct Served {
    child: Child,
    said: Value,
}

impl Served {
    fn start(options: &[&str]) -> Served {
        let mut arguments = vec!["serve", "--json", "--until-stdin-closes"];
        arguments.extend(options);
        let mut child =
            spike(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("spike starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        Served { said: serde_json::from_str(&line).expect("JSON"), child }
    }

    fn text(&self, name: &str) -> &str {
        self.said[name].as_str().expect("text")
    }

    /// The program, with keys that this server knows.
    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = spike(arguments);
        command
            .env("AWS_ACCESS_KEY_ID", self.text("access_key_id"))
            .env("AWS_SECRET_ACCESS_KEY", self.text("secret_access_key"))
            .env("AWS_REGION", self.text("region"));
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        ended(self.client(arguments).output().expect("spike starts"))
    }

    /// How many keys and uploads there are, according to another run of the program: it says what it would have
    /// to leave alone. Here: the bucket can be told to be empty only by looking.
    fn keys(&self) -> usize {
        use object_storage::ObjectStorageExt;
        self.with_store(async |store| {
            let objects = store.list_all("").await.expect("listed").len();
            objects + store.list_uploads("").await.expect("listed").len()
        })
    }

    fn with_store<T>(&self, work: impl AsyncFnOnce(&dyn object_storage::ObjectStorage) -> T) -> T {
        use object_storage::StorageConfig;
        let config = StorageConfig::object(self.text("bucket"))
            .endpoint(self.text("endpoint"))
            .region(self.text("region"))
            .access_key_id(self.text("access_key_id"))
            .secret_access_key(self.text("secret_access_key"))
            .build()
            .expect("valid");
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            work(&*s3_backend::factory(&config).expect("built in").open().await.expect("opened")).await
        })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const EVERYTHING: [&str; 3] = ["--conditional-copy", "--conditional-delete", "--ordered-list"];

#[test]
fn without_arguments_every_scenario_passes_on_every_store() {
    let (code, table, errors) = run(&[]);
    assert_eq!((code, errors.as_str()), (0, ""), "{table}");
    let (_, names, _) = run(&["--list"]);
    for name in names.lines().map(|line| line.split(' ').next().expect("a word")) {
        for store in ["s3", "s3/cyper", "fs", "memory"] {
            let row = table.lines().find(|line| {
                let mut words = line.split_whitespace();
                words.next() == Some(name) && words.next() == Some(store)
            });
            let result = row.and_then(|row| row.split_whitespace().nth(2));
            assert_eq!(result, Some("passed"), "{name} on {store}\n{table}");
        }
    }
    assert!(table.contains(" 0 failed, 0 unsupported"), "{table}");
    assert!(!table.contains('\x1b'), "colours without a terminal");
    assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
}

#[test]
fn the_help_is_help_and_the_version_a_version() {
    let (code, help, errors) = run(&["--help"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    for word in ["--endpoint URL", "--create-bucket", "EXIT CODE", "AWS_ACCESS_KEY_ID", "big-object", "serve"]
    {
        assert!(help.contains(word), "{word}");
    }
    let (code, version, _) = run(&["--version"]);
    assert_eq!((code, version.trim()), (0, concat!("spike ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn what_cannot_work_ends_with_2_and_says_what_to_do() {
    for (arguments, advice) in [
        (&["--buckt", "b"][..], "did you mean bucket?"),
        (&["--secret-access-key", "s3cr3t"], "AWS_SECRET_ACCESS_KEY"),
        (&["--endpoint", "http://127.0.0.1:1"], "--bucket NAME"),
        (&["--only", "no-such-scenario"], "--list"),
        (&["--bucket", "b", "--url", "memory:///"], "--bucket"),
        (&["--url", "memory:///", "--create-bucket"], "--endpoint"),
        (&["--endpoint", "http://store.example.com", "--bucket", "bucket"], "allow_http"),
        (&["--bucket", "bucket", "--part-size", "4MiB"], "5"),
        (&["--config", "no-such-file.toml"], "no-such-file.toml"),
        (&["big-object", "--only", "copy"], "`spike` does"),
    ] {
        let (code, out, errors) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {errors}");
        assert!(errors.contains(advice), "{arguments:?}: {errors}");
        assert!(!errors.contains("s3cr3t"), "{errors}");
    }
}

#[test]
fn only_the_chosen_scenarios_run_and_json_says_what_the_table_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let json = directory.path().join("results.json");
    let json_text = json.to_str().expect("UTF-8");
    let (code, table, _) =
        run(&["--only", "copy,put-and-get", "--only", "hostile-keys", "--json", json_text]);
    assert_eq!(code, 0, "{table}");
    let document = read_json(&json);
    assert_eq!(document["summary"]["passed"], 12);
    assert_eq!(document["summary"]["failed"], 0);
    assert_eq!(document["stores"].as_array().expect("stores").len(), 4);
    let scenarios = document["scenarios"].as_array().expect("scenarios");
    assert_eq!(scenarios.len(), 12);
    for entry in scenarios {
        assert_eq!(entry["result"], "passed");
        assert!(entry["seconds"].as_f64().expect("a number") >= 0.0);
        assert!(!entry["detail"].as_str().expect("text").is_empty());
    }
}

#[test]
fn a_bucket_of_others_is_left_as_it_was_found() {
    let served = Served::start(&[]);
    let endpoint = served.text("endpoint");
    let mut arguments = vec!["--endpoint", endpoint, "--bucket", "spike", "--prefix", "some/where"];
    arguments.extend(EVERYTHING);
    let (code, table, errors) = served.run(&arguments);
    assert_eq!(code, 0, "{table}{errors}");
    assert!(table.contains(" 0 failed, 0 unsupported"), "{table}");
    assert_eq!(served.keys(), 0);
}

#[test]
fn what_a_store_is_not_said_to_honour_is_refused_and_called_unsupported() {
    let served = Served::start(&[]);
    let endpoint = served.text("endpoint");
    let arguments =
        ["--endpoint", endpoint, "--bucket", "spike", "--no-conditional-put", "--no-conditional-complete"];
    let (code, table, errors) = served.run(&arguments);
    assert_eq!(code, 0, "{table}{errors}");
    assert!(table.contains(" 0 failed, 5 unsupported"), "{table}");
    assert_eq!(served.keys(), 0);
}

#[test]
fn https_with_an_authority_of_its_own_and_the_bucket_in_the_host() {
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    let ca = ca.to_str().expect("UTF-8");
    let served = Served::start(&["--tls-ca", ca]);
    let by_name = served.text("endpoint_by_name");
    assert!(by_name.starts_with("https://s3.localhost:"), "{by_name}");
    let mut arguments =
        vec!["--endpoint", by_name, "--bucket", "spike", "--virtual-host-style", "--ca-file", ca];
    arguments.extend(EVERYTHING);
    let (code, table, errors) = served.run(&arguments);
    assert_eq!(code, 0, "{table}{errors}");
    assert!(table.contains(" 0 failed, 0 unsupported"), "{table}");

    // Without the authority nobody is spoken to, and every scenario says why.
    let url = format!("s3://spike?endpoint={by_name}&tls_roots=webpki&attempts_max=1");
    let (code, table, _) = served.run(&["--url", &url, "--only", "put-and-get"]);
    assert_eq!(code, 1, "{table}");
    assert!(table.contains("certificate"), "{table}");
}

#[test]
fn a_bucket_of_its_own_is_gone_afterwards() {
    let served = Served::start(&[]);
    let endpoint = served.text("endpoint");
    let mut arguments = vec!["--endpoint", endpoint, "--create-bucket", "--only", "put-and-get,foreign-keys"];
    arguments.extend(EVERYTHING);
    let (code, table, errors) = served.run(&arguments);
    assert_eq!(code, 0, "{table}{errors}");
    assert!(!table.contains("warning"), "{table}");
    assert!(table.contains("/x at the root"), "its own bucket may hold any key: {table}");
    let bucket = bucket_of(&table);
    let (code, table, _) =
        served.run(&["--endpoint", endpoint, "--bucket", &bucket, "--only", "put-and-get"]);
    assert_eq!(code, 1, "the bucket is still there: {table}");
    assert!(table.contains("NoSuchBucket"), "{table}");
}

#[test]
fn an_interrupted_run_removes_what_it_made() {
    let served = Served::start(&[]);
    let endpoint = served.text("endpoint");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = served
            .client(&["--endpoint", endpoint, "--bucket", "spike"])
            .stdout(Stdio::null())
            .spawn()
            .expect("spike starts");
        // In the midst of it, when there is something to remove.
        wait_until(|| served.keys() > 50);
        kill(Pid::from_raw(child.id().try_into().expect("an id")), signal).expect("it runs");
        let mut status = None;
        wait_until(|| {
            status = child.try_wait().expect("ours");
            status.is_some()
        });
        assert_eq!(status.and_then(|status| status.code()), Some(130), "{signal}");
        assert_eq!(served.keys(), 0, "{signal}");
    }
}

#[test]
fn an_interrupted_run_removes_its_bucket() {
    let served = Served::start(&[]);
    let endpoint = served.text("endpoint");
    let mut child = served
        .client(&["--endpoint", endpoint, "--create-bucket", "--bucket", "mine"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("spike starts");
    let mut lines =
        BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("UTF-8"));
    let bucket = bucket_of(&lines.next().expect("what it is run against"));
    assert!(bucket.starts_with("mine-"), "{bucket}");
    let begun = lines.find(|line| line.starts_with("put-and-get"));
    assert!(begun.is_some(), "the bucket is there and in use");
    kill(Pid::from_raw(child.id().try_into().expect("an id")), Signal::SIGINT).expect("it runs");
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().expect("ours").code(), Some(130), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("interrupted")), "{rest:?}");
    let (_, table, _) = served.run(&["--endpoint", endpoint, "--bucket", &bucket, "--only", "put-and-get"]);
    assert!(table.contains("NoSuchBucket"), "{table}");
}

#[test]
fn uploads_left_behind_are_named_and_swept_and_young_ones_spared() {
    use object_storage::{Key, MultipartOptions};
    let served = Served::start(&[]);
    served.with_store(async |store| {
        for key in ["jobs/1", "jobs/2", "other/3"] {
            let key = Key::parse(key).expect("a key");
            store.create_multipart_upload(&key, MultipartOptions::default()).await.expect("begun");
        }
    });
    let sweep = |options: &[&str]| {
        let mut arguments =
            vec!["sweep", "--endpoint", served.text("endpoint"), "--bucket", served.text("bucket")];
        arguments.extend(options);
        served.run(&arguments)
    };
    let (code, out, err) = sweep(&["--older-than", "1d"]);
    assert_eq!(
        (code, out.trim_end()),
        (0, "uploads: 3 found, 0 aborted, 3 not old enough, 0 failed"),
        "{err}"
    );
    let (code, out, _) = sweep(&["--prefix", "jobs", "--older-than", "0s", "--dry-run"]);
    assert_eq!((code, out.lines().count()), (0, 3), "{out}");
    assert!(out.ends_with("uploads: 2 found, 2 would be aborted, 0 not old enough\n"), "{out}");
    let (code, out, _) = sweep(&["--prefix", "jobs", "--older-than", "0s"]);
    assert_eq!((code, out.trim_end()), (0, "uploads: 2 found, 2 aborted, 0 not old enough, 0 failed"));
    let (code, out, _) = sweep(&["--older-than", "0s"]);
    assert_eq!((code, out.trim_end()), (0, "uploads: 1 found, 1 aborted, 0 not old enough, 0 failed"));
    let (code, _, err) = run(&["sweep", "--older-than", "1d"]);
    assert!(code == 2 && err.contains("--bucket NAME"), "{err}");
}

#[test]
fn a_big_object_comes_back_within_the_memory_allowed() {
    let (code, out, errors) =
        run(&["big-object", "--size", "64MiB", "--seed", "4711", "--max-memory", "100MiB"]);
    assert_eq!(code, 0, "{out}{errors}");
    assert!(out.contains("seed 4711") && out.contains("passed: byte for byte"), "{out}");
    let (code, out, _) = run(&["big-object", "--size", "16MiB", "--max-memory", "1MiB"]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("FAILED: byte for byte"), "{out}");
}

#[test]
fn credentials_are_explained_and_never_shown() {
    let mut command = spike(&["credentials", "--json"]);
    command.env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE12345678").env("AWS_SECRET_ACCESS_KEY", "s3cr3t-s3cr3t");
    let (code, out, errors) = ended(command.output().expect("spike starts"));
    assert_eq!(code, 0, "{out}{errors}");
    assert!(!out.contains("s3cr3t") && !out.contains("AKIDEXAMPLE12345678"), "{out}");
    let document: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(document["used"]["source"], "env", "{out}");
    let (code, out, _) = run(&["credentials"]);
    assert_eq!(code, 1, "no source gives keys: {out}");
}

#[test]
fn a_directory_or_memory_can_be_named_by_url() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("file://{}/objects", directory.path().display());
    let (code, table, errors) = run(&["--url", &url, "--only", "put-and-get,list-many-keys"]);
    assert_eq!(code, 0, "{table}{errors}");
    let (code, table, errors) = run(&["--url", "memory:///", "--only", "put-and-get"]);
    assert_eq!(code, 0, "{table}{errors}");
}

/// The bucket in the line that says what the run is against.
fn bucket_of(text: &str) -> String {
    let (_, rest) = text.split_once("s3://").expect("the store is named");
    rest.split([' ', '/']).next().expect("a name").to_owned()
}

fn read_json(path: &Path) -> Value {
    #[expect(clippy::disallowed_methods, reason = "a test waits for nothing else")]
    let text = std::fs::read_to_string(path).expect("written");
    serde_json::from_str(&text).expect("JSON")
}

#[expect(clippy::disallowed_methods, reason = "a test on a thread of its own waits by the clock")]
fn wait_until(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "this takes too long");
        std::thread::sleep(STEP);
    }
}
