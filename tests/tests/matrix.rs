//! Every cell of the matrix of faults and operations, before two servers and over two transports, with a proxy in
//! between that commits the faults. Prints `N/N cells` for each of the four; fails when a cell does not hold and it
//! is not known why.
//!
//! `cargo test -p tests --test matrix -- F08 PUTabs direct` plays what contains all of the words; with `--why` it says
//! also of cells that are known not to hold what came of them.

#![expect(clippy::print_stdout, reason = "a program whose result is what it prints")]

#[path = "matrix/killed.rs"]
mod killed;
#[path = "matrix/known.rs"]
mod known;
#[path = "matrix/play.rs"]
mod play;
#[path = "matrix/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use futures_util::StreamExt as _;
use futures_util::stream;
use object_storage::config::Transport;
use spike::server::{Server, ServerOptions};
use tests::matrix::{Cell, Times, cells, plays};
use tests::seaweedfs::SeaweedFs;

use crate::play::{Certificates, Played, play};
use crate::world::Target;

/// Nearly all of a cell's time is spent waiting.
const AT_ONCE: usize = 48;

fn main() -> ExitCode {
    if let Some(done) = killed::run() {
        return done;
    }
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if std::env::args().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let in_process = Server::start(ServerOptions { min_part_size: 1, ..ServerOptions::default() });
    let in_process = in_process.expect("a server inside the process");
    let keys = ServerOptions::default();
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut targets = vec![Target {
        name: "in-process",
        address: loopback(in_process.port()),
        bucket: "bucket".to_owned(),
        region: keys.region,
        access_key_id: keys.access_key_id,
        secret_access_key: keys.secret_access_key,
        copies_conditionally: true,
    }];
    if let Some(seaweedfs) = SeaweedFs::shared() {
        seaweedfs.create_bucket("matrix");
        targets.push(Target {
            name: "SeaweedFS",
            address: loopback(seaweedfs.port()),
            bucket: "matrix".to_owned(),
            region: SeaweedFs::REGION.to_owned(),
            access_key_id: SeaweedFs::ACCESS_KEY_ID.to_owned(),
            secret_access_key: SeaweedFs::SECRET_ACCESS_KEY.to_owned(),
            copies_conditionally: false,
        });
    }
    let mut failed = false;
    for target in &targets {
        for transport in [Transport::Direct, Transport::Cyper] {
            failed |= !run(target, transport, &words);
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn name_of(transport: Transport) -> &'static str {
    match transport {
        Transport::Cyper => "cyper",
        _ => "direct",
    }
}

/// What became of a cell.
#[derive(Default)]
struct Tally {
    plays: usize,
    /// Plays that ended in what is only accepted for now.
    for_now: usize,
    wrong: Vec<String>,
}

fn run(target: &Target, transport: Transport, words: &[String]) -> bool {
    let started = now();
    let side = format!("{} {}", target.name, name_of(transport));
    let certificates = Certificates::new();
    let all = cells();
    let wanted = |cell: &&Cell| {
        let text = format!("{side} {} {}", cell.fault.id, cell.op.name());
        words.iter().all(|word| text.split(' ').any(|part| part == word))
    };
    let applicable: Vec<Cell> =
        all.iter().copied().filter(Cell::is_applicable).filter(|c| wanted(&c)).collect();
    let (elsewhere, here): (Vec<&Cell>, Vec<&Cell>) =
        applicable.iter().partition(|cell| cell.elsewhere().is_some());
    let (unplayable, here): (Vec<&Cell>, Vec<&Cell>) =
        here.into_iter().partition(|cell| known::server_cannot_play(target, cell).is_some());

    let mut jobs = Vec::new();
    for cell in &here {
        for (number, play) in plays(cell).into_iter().enumerate() {
            for (times, ends) in [(Times::Once, play.once.clone()), (Times::Always, play.always.clone())] {
                if let Some(ends) = ends {
                    jobs.push((**cell, number, play.clone(), times, ends));
                }
            }
        }
    }
    // Those that wait for a limit go first, all together.
    jobs.sort_by_key(|(_, _, play, _, _)| !play.is_silence);
    let runtime = compio::runtime::Runtime::new().expect("a runtime");
    let mut tally: BTreeMap<(&str, &str), Tally> = BTreeMap::new();
    let done = runtime.block_on(async {
        let direct = target.direct().await;
        let (direct, certificates) = (&direct, &certificates);
        let played = jobs.into_iter().map(|(cell, number, what, times, ends)| async move {
            let name =
                format!("{}/{}/{}/{number}/{times:?}", name_of(transport), cell.fault.id, cell.op.name());
            let row = format!("{} {} ({}, {times:?})", cell.fault.id, cell.op.name(), what.name);
            (
                cell,
                row,
                play(target, transport, direct, certificates, &cell, &what, times, &ends, &name).await,
            )
        });
        stream::iter(played).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await
    });
    for (cell, row, played) in done {
        let tally = tally.entry((cell.fault.id, cell.op.name())).or_default();
        tally.plays += 1;
        match played {
            Played::Meant => {}
            Played::ForNow => tally.for_now += 1,
            Played::Wrong(why) => tally.wrong.push(format!("{row}: {why}")),
        }
    }

    let (mut passed, mut unexpected) = (0, 0);
    let mut explained: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for cell in &here {
        let tally = &tally[&(cell.fault.id, cell.op.name())];
        match known::does_not_hold(target, transport, cell) {
            known if tally.wrong.is_empty() => {
                passed += 1;
                if let Some(why) = known {
                    println!("  holds now: {} {}, of which was said: {why}", cell.fault.id, cell.op.name());
                }
            }
            Some(why) => {
                explained.entry(why).or_default().push(format!("{} {}", cell.fault.id, cell.op.name()));
                for wrong in tally.wrong.iter().filter(|_| std::env::args().any(|arg| arg == "--why")) {
                    println!("  not held: {wrong}");
                }
            }
            None => {
                unexpected += 1;
                for wrong in &tally.wrong {
                    println!("  WRONG {side}: {wrong}");
                }
            }
        }
    }
    for cell in &unplayable {
        let why = known::server_cannot_play(target, cell).unwrap_or_default();
        explained.entry(why).or_default().push(format!("{} {}", cell.fault.id, cell.op.name()));
    }
    let plays: usize = tally.values().map(|tally| tally.plays).sum();
    let for_now: usize = tally.values().map(|tally| tally.for_now).sum();
    println!(
        "{side}: {passed}/{} cells ({plays} plays, {for_now} of them ended as they may for now; {} cells are played \
         elsewhere) in {:.1} s",
        here.len() + unplayable.len(),
        elsewhere.len(),
        started.elapsed().as_secs_f64()
    );
    for (why, cells) in explained {
        println!("  not held, {}: {why}: {}", cells.len(), cells.join(", "));
    }
    unexpected == 0
}

#[expect(clippy::disallowed_methods, reason = "the time that the tests take")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
