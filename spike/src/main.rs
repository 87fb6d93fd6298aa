//! `spike`: runs every scenario against a store and says which promises it keeps. `spike --help` says how.

mod big_object;
mod cli;
mod exit;
mod explain;
mod interrupt;
mod report;
mod run;
mod scenario;
mod scenarios;
mod serve;
mod stopwatch;
mod sweep;
mod target;

use std::fmt::Display;
use std::io::Write;

use credentials::Host;
use spike::refresh::Refresh;

use crate::big_object::BigObject;
use crate::cli::{Command, HELP};
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::report::Table;
use crate::run::Run;
use crate::sweep::Sweep;

fn main() {
    let exit = match cli::parse(std::env::args_os().skip(1)) {
        Ok(command) => obey(command),
        Err(usage) => complain(&usage),
    };
    std::process::exit(exit.code());
}

/// Says why nothing could be done.
fn complain(problem: &dyn Display) -> Exit {
    // Whoever closed standard error does not want to know.
    let _ = writeln!(std::io::stderr(), "spike: {problem}\n(spike --help)");
    Exit::Unusable
}

fn obey(command: Command) -> Exit {
    let host = Host::system();
    let table = Table::new(&host);
    match command {
        Command::Help => table.line(HELP.trim_end()),
        Command::Version => table.line(concat!("spike ", env!("CARGO_PKG_VERSION"))),
        Command::List => {
            for scenario in scenarios::ALL {
                table.line(&format!("{:<22}{}", scenario.name, scenario.about));
            }
        }
        Command::Refresh { quick } => return refresh(quick, &table),
        Command::Serve(options) => return serve::serve(&options),
        Command::Run { store, scenarios, json, limit, keys_are_paths } => {
            return speaking_to_stores(async |interrupt: &Interrupt| {
                let id = stopwatch::run_id();
                match store.store(&id).await {
                    Ok(store) => {
                        let run = Run { id, store, scenarios, json, limit, keys_are_paths };
                        run::run(&run, &host, interrupt).await
                    }
                    Err(usage) => complain(&usage),
                }
            });
        }
        Command::BigObject { store, bytes, seed, memory_bytes_max } => {
            return speaking_to_stores(async |interrupt: &Interrupt| {
                let run = stopwatch::run_id();
                match store.store(&run).await {
                    Ok(store) => {
                        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
                        let task = BigObject { run, store, bytes, seed, memory_bytes_max };
                        big_object::big_object(&task, &table, interrupt).await
                    }
                    Err(usage) => complain(&usage),
                }
            });
        }
        Command::Sweep { store, older_than, dry_run } => {
            return on_a_runtime(async {
                match store.store("sweep").await {
                    Ok(Some(store)) if !store.create_bucket => {
                        sweep::sweep(&Sweep { store, older_than, dry_run }, &table).await
                    }
                    Ok(Some(_)) => complain(&"a bucket that --create-bucket makes has nothing to sweep"),
                    Ok(None) => complain(&"which store? --bucket NAME, or --url URL"),
                    Err(usage) => complain(&usage),
                }
            });
        }
        Command::Credentials { store, json } => {
            return on_a_runtime(async {
                match store.config().await {
                    Ok(config) => explain::explain(&config, json, &table).await,
                    Err(usage) => complain(&usage),
                }
            });
        }
    }
    Exit::Passed
}

/// Keys that live for a minute, used for five; or the same within seconds.
fn refresh(quick: bool, table: &Table) -> Exit {
    let plan = if quick { Refresh::seconds() } else { Refresh::five_minutes() };
    table
        .line(&format!("{} shards write for {:?}, with keys of {:?}", plan.shards, plan.time, plan.lifetime));
    match spike::refresh::refresh(&plan) {
        Err(error) => complain(&error),
        Ok(happened) => {
            table.line(&happened.to_string());
            let problems = happened.problems(&plan);
            problems.iter().for_each(|problem| table.line(&format!("FAILED: {problem}")));
            if problems.is_empty() { Exit::Passed } else { Exit::Failed }
        }
    }
}

/// Runs a command that makes something in a store, and must be told when it is to remove it early.
fn speaking_to_stores(work: impl AsyncFnOnce(&Interrupt) -> Exit) -> Exit {
    // Before the runtime, which starts threads.
    match Interrupt::watch() {
        Ok(interrupt) => on_a_runtime(work(&interrupt)),
        Err(error) => complain(&format!("signals cannot be watched: {error}")),
    }
}

fn on_a_runtime(work: impl Future<Output = Exit>) -> Exit {
    match spike::shard::runtime(None) {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => complain(&format!("no compio runtime, which needs io_uring or epoll: {error}")),
    }
}
