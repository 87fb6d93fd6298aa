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
        command => return on_a_runtime(command, &host, &table),
    }
    Exit::Passed
}

/// The commands that speak to stores.
fn on_a_runtime(command: Command, host: &Host, table: &Table) -> Exit {
    // Before the runtime, which starts threads.
    let interrupt = match Interrupt::watch() {
        Ok(interrupt) => interrupt,
        Err(error) => return complain(&format!("signals cannot be watched: {error}")),
    };
    let runtime = match compio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("no compio runtime, which needs io_uring or epoll: {error}")),
    };
    runtime.block_on(async {
        let id = stopwatch::run_id();
        match command {
            Command::Run { store, scenarios, json, limit, keys_are_paths } => match store.store(&id).await {
                Ok(store) => {
                    let run = Run { id, store, scenarios, json, limit, keys_are_paths };
                    run::run(&run, host, &interrupt).await
                }
                Err(usage) => complain(&usage),
            },
            Command::BigObject { store, bytes, seed, memory_bytes_max } => match store.store(&id).await {
                Ok(store) => {
                    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
                    let task = BigObject { run: id, store, bytes, seed, memory_bytes_max };
                    big_object::big_object(&task, table, &interrupt).await
                }
                Err(usage) => complain(&usage),
            },
            Command::Credentials { store, json } => match store.config().await {
                Ok(config) => explain::explain(&config, json, host, table).await,
                Err(usage) => complain(&usage),
            },
            Command::Serve(_) | Command::List | Command::Help | Command::Version => Exit::Passed,
        }
    })
}
