//! Mixed operations from four shards through a proxy that commits every fault to one request in a hundred: everything
//! acknowledged must be there, nothing refused may be, and nothing may be left open or behind.
//!
//! A short run with every `cargo test`. The long one, and one seed again:
//!
//! ```sh
//! cargo test -p tests --test fault_soak -- --operations 50000
//! cargo test -p tests --test fault_soak -- --operations 2000 --seed 4711
//! ```
//!
//! Also `--server seaweedfs`, `--transport cyper`, `--per-mille 10`. A seed repeats what is asked and which faults are
//! dealt out, not the order in which threads meet them.

#![expect(clippy::print_stdout, reason = "a program whose result is what it prints")]
#![expect(
    clippy::disallowed_methods,
    reason = "a program of its own: it has threads, a clock and looks at its memory"
)]

#[path = "fault_soak/lane.rs"]
mod lane;
#[path = "fault_soak/model.rs"]
mod model;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use object_storage::config::Transport;
use object_storage::{ObjectStorageExt as _, StorageConfig};
use spike::server::{Server, ServerOptions};
use tests::fault_proxy::{Act, Chance, FaultProxy, Rewrite, Setup, Stage};
use tests::scripted::Answer;
use tests::seaweedfs::SeaweedFs;

use crate::lane::{Lane, PREFIX, Report};

/// Threads with a runtime and a store of their own.
const SHARDS: usize = 4;

/// Each shard runs so many sequences of operations at once, so that one that waits does not keep the others.
const LANES_OF_SHARD: usize = 8;

/// What a run of the length that documents it may grow by, beyond a quarter: what allocators keep.
const GROWTH_BYTES_MAX: usize = 8 << 20;

/// Shorter runs say nothing about memory.
const OPERATIONS_FOR_MEMORY: usize = 20_000;

struct Arguments {
    operations: usize,
    seed: u64,
    per_mille: u32,
    transport: Transport,
    seaweedfs: bool,
}

impl Arguments {
    fn read() -> Arguments {
        let mut all = Arguments {
            operations: 2000,
            seed: fastrand::u64(..),
            per_mille: 10,
            transport: tests::transport(),
            seaweedfs: false,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().expect("a value after the option");
            match word.as_str() {
                "--operations" => all.operations = value().parse().expect("a number"),
                "--seed" => all.seed = value().parse().expect("a number"),
                "--per-mille" => all.per_mille = value().parse().expect("a number"),
                "--transport" if value() == "cyper" => all.transport = Transport::Cyper,
                "--server" => all.seaweedfs = value() == "seaweedfs",
                // What the test runner passes on is not for us.
                _ => {}
            }
        }
        all
    }
}

/// Every kind of fault that leaves the store and its answers honest in the end. Those that do not (a flipped bit
/// under a right length, a request held back for minutes) are played one by one, in the matrix.
fn faults() -> Vec<(Stage, Act)> {
    let error = |status, code: &str| Act::Answer(Answer::error(status, code));
    vec![
        (Stage::Connected, Act::Reset),
        (Stage::Connected, Act::Close),
        (Stage::Head, Act::Reset),
        (Stage::Body(1000), Act::Reset),
        (Stage::Body(1000), Act::Close),
        (Stage::Request, Act::Reset),
        (Stage::Request, Act::Stall),
        (Stage::Request, Act::Pause(Duration::from_millis(20))),
        (Stage::Request, error(500, "InternalError")),
        (Stage::Request, error(503, "SlowDown")),
        (Stage::Request, error(409, "ConditionalRequestConflict")),
        (Stage::Request, error(400, "ExpiredToken")),
        (Stage::Request, error(403, "AccessDenied")),
        (Stage::Request, Act::Answer(Answer::html(502))),
        (Stage::Answered, Act::Reset),
        (Stage::Answered, Act::Close),
        (Stage::Answered, Act::Stall),
        (Stage::Answered, error(500, "InternalError")),
        (Stage::Answered, error(503, "SlowDown")),
        (Stage::Answered, Act::Answer(Answer::html(504))),
        (Stage::Answered, Act::Twice(1)),
        (Stage::Answered, Act::Drip(4096, Duration::from_millis(1))),
        (Stage::Answered, Act::Rewrite(Rewrite::Lengthen(100))),
        (Stage::AnswerHead(500), Act::Reset),
        (Stage::AnswerHead(500), Act::Close),
        (Stage::AnswerBody(500), Act::Reset),
        (Stage::AnswerBody(500), Act::Close),
        (Stage::Over, Act::Close),
        (Stage::Over, Act::Reset),
    ]
}

/// The server behind: in a process of its own, so that what it keeps is not taken for what the client keeps.
enum Behind {
    Child(Child),
    SeaweedFs,
}

impl Drop for Behind {
    fn drop(&mut self) {
        if let Behind::Child(child) = self {
            // It ends by itself when its input does; this waits for that.
            drop(child.stdin.take());
            let _ended = child.wait();
        }
    }
}

const SERVE: &str = "--serve-for-the-soak";

/// The server's process: says its port, and ends with its input.
fn serve() -> ExitCode {
    let options =
        ServerOptions { min_part_size: 1, buckets: vec!["soak".into()], ..ServerOptions::default() };
    let server = Server::start(options).expect("a server");
    println!("{}", server.port());
    let _ended = std::io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

fn start() -> (Child, u16) {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    let mut child =
        command.arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
    let mut line = String::new();
    let output = child.stdout.take().expect("a pipe");
    BufReader::new(output).read_line(&mut line).expect("a line");
    (child, line.trim().parse().expect("a port"))
}

fn main() -> ExitCode {
    if std::env::args().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    if std::env::args().any(|arg| arg == SERVE) {
        return serve();
    }
    let arguments = Arguments::read();
    println!(
        "seed {}: {} operations, {SHARDS} shards, {} kinds of faults at {} in 1,000 each",
        arguments.seed,
        arguments.operations,
        faults().len(),
        arguments.per_mille
    );
    let keys = ServerOptions::default();
    let (_behind, port, id, secret) = if arguments.seaweedfs {
        let Some(server) = SeaweedFs::shared() else { return ExitCode::SUCCESS };
        server.create_bucket("soak");
        let (id, secret) = (SeaweedFs::ACCESS_KEY_ID.to_owned(), SeaweedFs::SECRET_ACCESS_KEY.to_owned());
        (Behind::SeaweedFs, server.port(), id, secret)
    } else {
        let (child, port) = start();
        (Behind::Child(child), port, keys.access_key_id, keys.secret_access_key)
    };
    let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let chance = Chance { seed: arguments.seed, per_mille_of_each: arguments.per_mille, faults: faults() };
    let proxy = FaultProxy::new(upstream, Setup { chance: Some(chance), ..Setup::default() });
    let config = |address: SocketAddr| {
        // An attempt that is given up while the server still works on it lands late, and an overwrite that lands late
        // brings old bytes back, as the docs of `put` say. So the limit is long beside what the server takes.
        let limit = Duration::from_millis(if arguments.seaweedfs { 5000 } else { 700 });
        let config = StorageConfig::object("soak")
            .endpoint(format!("http://{address}"))
            .region("us-east-1")
            .access_key_id(id.as_str())
            .secret_access_key(secret.as_str())
            .conditional_delete(true)
            .transport(arguments.transport)
            .connect_timeout(limit)
            .head_timeout(limit)
            .body_timeout(limit)
            .complete_timeout(limit);
        config.build().expect("a good configuration")
    };
    let (through, direct) = (config(proxy.address()), config(upstream));
    let factory = s3_backend::factory(&through).expect("a factory");

    let started = Instant::now();
    let done = AtomicUsize::new(0);
    let mut resident = Vec::new();
    let mut struck = 0;
    let of_lane = arguments.operations.div_ceil(SHARDS * LANES_OF_SHARD);
    let lanes: Vec<Lane> = thread::scope(|scope| {
        let shards: Vec<_> = (0..SHARDS)
            .map(|shard| {
                let (factory, done, seed) = (factory.clone(), &done, arguments.seed);
                scope.spawn(move || {
                    compio::runtime::Runtime::new().expect("a runtime").block_on(async move {
                        let store = factory.open().await.expect("a store");
                        let numbers = shard * LANES_OF_SHARD..(shard + 1) * LANES_OF_SHARD;
                        let lanes = numbers.map(|number| Lane::new(seed, number).run(&*store, of_lane, done));
                        futures_util::future::join_all(lanes).await
                    })
                })
            })
            .collect();
        let mut next = arguments.operations / 4;
        while shards.iter().any(|shard| !shard.is_finished()) {
            thread::sleep(Duration::from_millis(50));
            if done.load(Ordering::Relaxed) >= next {
                next += arguments.operations / 4;
                resident.push(resident_bytes());
                struck += proxy.struck();
                proxy.forget();
            }
        }
        shards.into_iter().flat_map(|shard| shard.join().expect("a shard panicked")).collect()
    });
    struck += proxy.struck();
    proxy.calm();

    // The faults have stopped: everything is settled by looking, and what was left behind is swept up.
    let (report, strangers, orphans, left) =
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let store = s3_backend::factory(&direct).expect("a factory").open().await.expect("a store");
            let mut report = Report::default();
            let mut strangers: Vec<String> = Vec::new();
            for object in store.list_all(PREFIX).await.expect("listed") {
                strangers.push(object.key.as_str().to_owned());
            }
            for mut lane in lanes {
                lane.settle(&*store).await;
                strangers.retain(|key| !lane.expects(key));
                report.add(lane.report);
            }
            let orphans = store.list_uploads(PREFIX).await.expect("listed");
            for orphan in &orphans {
                let upload =
                    store.resume_multipart_upload(&orphan.key, &orphan.upload_id).expect("an upload");
                upload.abort().await.expect("aborted");
            }
            let left = store.list_uploads(PREFIX).await.expect("listed").len();
            (report, strangers, orphans.len(), left)
        });

    let seconds = started.elapsed().as_secs_f64();
    let mib: Vec<String> = resident.iter().map(|bytes| format!("{} MiB", bytes >> 20)).collect();
    println!(
        "{} operations in {seconds:.1} s, {struck} requests met a fault: {} Ok, {} refused, {} Indeterminate",
        report.operations, report.ok, report.refused, report.indeterminate
    );
    println!(
        "{} acknowledged writes, {} reads compared; {} objects were open when the faults stopped and {} are now; \
         {} phantoms; {} uploads swept on the way, {orphans} in the end, {left} left; resident at each quarter: {}",
        report.acknowledged,
        report.compared,
        report.open,
        report.still_open,
        strangers.len(),
        report.swept,
        mib.join(", ")
    );
    let mut wrong = report.wrong;
    wrong.extend(strangers.iter().map(|key| format!("{key} is there and nobody put it")));
    if left > 0 || report.still_open > 0 {
        wrong.push(format!("{left} uploads and {} objects are left open", report.still_open));
    }
    if let (Some(first), Some(last)) = (resident.first(), resident.last())
        && arguments.operations >= OPERATIONS_FOR_MEMORY
        && *last > first + first / 4 + GROWTH_BYTES_MAX
    {
        wrong.push(format!("memory grew from {first} to {last} bytes"));
    }
    for line in &wrong {
        println!("WRONG (seed {}): {line}", arguments.seed);
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the process holds in memory, in bytes: the client's part and the proxy's.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}
