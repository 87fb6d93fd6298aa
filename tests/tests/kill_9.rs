//! Kills a process that writes to S3, at any moment, and looks at what is left: everything acknowledged, byte for byte;
//! of what was under way the whole or nothing, with the truth told by its id; and after a sweep no upload.
//!
//! A short run with every `cargo test`. The long one, and one seed again:
//!
//! ```sh
//! cargo test -p tests --test kill_9 -- --kills 1000
//! cargo test -p tests --test kill_9 -- --kills 20 --seed 4711 --server seaweedfs
//! ```
//!
//! Also `--server in-process`, `--transport cyper`. A seed repeats what is written and when it is killed, not how far
//! the child, the server and the kernel have come by then.

#![expect(clippy::print_stdout, reason = "a program whose result is what it prints")]
#![expect(clippy::disallowed_methods, reason = "a program of its own, with processes, threads and a clock")]

#[path = "kill_9/child.rs"]
mod child;
#[path = "kill_9/contents.rs"]
mod contents;
#[path = "kill_9/verdict.rs"]
mod verdict;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use object_storage::config::Transport;
use object_storage::{ObjectStorage, StorageConfig};
use spike::server::{Server, ServerOptions};
use tests::seaweedfs::SeaweedFs;

use crate::contents::Line;
use crate::verdict::Verdict;

/// The longest life of a child after it has begun to write: some writers finish in it, and some do not.
const LIFE_MAX: Duration = Duration::from_millis(400);

const BUCKET: &str = "kill-9";
const PREFIX: &str = "killed/";
const CHILD: &str = "--child-to-be-killed";

struct Arguments {
    kills: u64,
    seed: u64,
    servers: Vec<&'static str>,
    transport: Transport,
}

impl Arguments {
    fn read() -> Arguments {
        let servers = vec!["in-process", "seaweedfs"];
        let (seed, transport) = (fastrand::u64(..), tests::transport());
        let mut all = Arguments { kills: 15, seed, servers, transport };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().expect("a value after the option");
            match word.as_str() {
                "--kills" => all.kills = value().parse().expect("a number"),
                "--seed" => all.seed = value().parse().expect("a number"),
                "--transport" if value() == "cyper" => all.transport = Transport::Cyper,
                "--server" => {
                    let wanted = value();
                    all.servers.retain(|server| *server == wanted);
                }
                // What the test runner passes on is not for us.
                _ => {}
            }
        }
        all
    }
}

/// Where the store is, told to the child in words.
#[derive(Clone)]
struct Place {
    endpoint: String,
    access_key_id: String,
    secret_access_key: String,
    transport: Transport,
}

impl Place {
    fn config(&self) -> StorageConfig {
        let config = StorageConfig::object(BUCKET)
            .endpoint(self.endpoint.as_str())
            .region("us-east-1")
            .access_key_id(self.access_key_id.as_str())
            .secret_access_key(self.secret_access_key.as_str())
            .transport(self.transport);
        config.build().expect("a good configuration")
    }

    async fn open(&self) -> Rc<dyn ObjectStorage> {
        s3_backend::factory(&self.config()).expect("a factory").open().await.expect("a store")
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if words.iter().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    if let Some(at) = words.iter().position(|word| word == CHILD) {
        return be_killed(&words[at + 1..]);
    }
    let arguments = Arguments::read();
    println!("seed {}: {} kills", arguments.seed, arguments.kills);
    let mut all_well = true;
    let share = arguments.kills.div_ceil(arguments.servers.len() as u64);
    for server in &arguments.servers {
        // The in-process server keeps everything in memory until it is dropped.
        let (_server, place) = match *server {
            "in-process" => {
                let options = ServerOptions { buckets: vec![BUCKET.into()], ..ServerOptions::default() };
                let place = Place {
                    endpoint: String::new(),
                    access_key_id: options.access_key_id.clone(),
                    secret_access_key: options.secret_access_key.clone(),
                    transport: arguments.transport,
                };
                let server = Server::start(options).expect("a server");
                let place = Place { endpoint: server.endpoint(), ..place };
                (Some(server), place)
            }
            _ => {
                let Some(server) = SeaweedFs::shared() else { continue };
                server.create_bucket(BUCKET);
                let place = Place {
                    endpoint: server.endpoint(),
                    access_key_id: SeaweedFs::ACCESS_KEY_ID.to_owned(),
                    secret_access_key: SeaweedFs::SECRET_ACCESS_KEY.to_owned(),
                    transport: arguments.transport,
                };
                (None, place)
            }
        };
        let started = Instant::now();
        let mut verdict = Verdict::default();
        for round in 0..share {
            let lines = one_life(&place, round, arguments.seed);
            compio::runtime::Runtime::new().expect("a runtime").block_on(async {
                verdict.judge(&*place.open().await, PREFIX, lines).await;
            });
            if let Some(server) = &_server {
                server.clear_requests();
            }
        }
        println!("{server}: {share} kills in {:.1} s: {verdict}", started.elapsed().as_secs_f64());
        for line in &verdict.wrong {
            println!("WRONG (seed {}): {line}", arguments.seed);
        }
        all_well &= verdict.wrong.is_empty();
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Lets a child write until its time has come. Gives every line that it said.
fn one_life(place: &Place, round: u64, seed: u64) -> Vec<Line> {
    let mut rng = fastrand::Rng::with_seed(seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let transport = if place.transport == Transport::Cyper { "cyper" } else { "direct" };
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg(CHILD).args([&place.endpoint, &place.access_key_id, &place.secret_access_key]);
    command.args([transport, &round.to_string(), &rng.u64(..).to_string()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a process");
    let output = child.stdout.take().expect("a pipe");
    let (begun, begins) = mpsc::channel();
    let reading = thread::spawn(move || {
        let mut lines = Vec::new();
        for line in BufReader::new(output).lines() {
            match Line::read(&line.expect("text")).expect("a line as agreed") {
                Line::Ready => begun.send(()).expect("the parent waits"),
                line => lines.push(line),
            }
        }
        lines
    });
    begins.recv_timeout(Duration::from_secs(60)).expect("the child begins to write");
    thread::sleep(Duration::from_micros(rng.u64(..u64::try_from(LIFE_MAX.as_micros()).expect("short"))));
    child.kill().expect("SIGKILL");
    let status = child.wait().expect("it is dead");
    let lines = reading.join().expect("read to the end");
    assert_eq!(status.code(), None, "the child ended by itself, in round {round} of seed {seed}");
    lines
}

fn be_killed(words: &[String]) -> ExitCode {
    let [endpoint, access_key_id, secret_access_key, transport, round, seed] = words else {
        return ExitCode::FAILURE;
    };
    let place = Place {
        endpoint: endpoint.clone(),
        access_key_id: access_key_id.clone(),
        secret_access_key: secret_access_key.clone(),
        transport: if transport == "cyper" { Transport::Cyper } else { Transport::Direct },
    };
    let (round, seed) = (round.parse().expect("a number"), seed.parse().expect("a number"));
    compio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(async { child::work_until_killed(place.open().await, PREFIX, round, seed).await });
    ExitCode::SUCCESS
}
