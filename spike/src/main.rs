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
mod target;

use std::fmt::Display;
use std::io::Write;

use credentials::Host;

use crate::big_object::BigObject;
use crate::cli::{Command, HELP};
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::report::Table;
use crate::run::Run;

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
        Command::Credentials { store, json } => {
            return on_a_runtime(async {
                match store.config().await {
                    Ok(config) => explain::explain(&config, json, &host, &table).await,
                    Err(usage) => complain(&usage),
                }
            });
        }
    }
    Exit::Passed
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
    match compio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => complain(&format!("no compio runtime, which needs io_uring or epoll: {error}")),
    }
}
