//! `bench`: builds the contenders, starts the responder, runs everything in turns, and makes the table and the plot.

mod age;
mod build;
mod conditions;
mod contenders;
mod format;
mod options;
mod plot;
mod responder;
mod results;
mod round;
mod tables;
mod workloads;

use std::path::Path;
use std::process::ExitCode;

use conditions::Conditions;
use options::Options;
use responder::Responder;
use results::Results;
use round::Round;

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<(), String> {
    let Some(options) = Options::from_args()? else {
        print!("{}", options::help());
        return Ok(());
    };
    let place = build::Place::find()?;
    // Before the builds, which would be all that it shows.
    let conditions = conditions::conditions(&place, &options)?;
    place.build(&options.contenders)?;
    let scratch = place.scratch()?;
    let result = match options.age {
        Some(requests) => age::age(&options, &place, &scratch, requests),
        None => run(&options, &place, &scratch, conditions),
    };
    std::fs::remove_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
    result
}

fn run(
    options: &Options,
    place: &build::Place,
    scratch: &Path,
    conditions: Conditions,
) -> Result<(), String> {
    let responder = Responder::start(place, &scratch.join("ca.pem"), options.responder_core)?;
    let out = options.out.clone().unwrap_or_else(|| place.results(options.is_whole()));
    let mut results = Results::new(conditions);
    for workload in &options.workloads {
        let task = workloads::size(workload, options.quick);
        let round = Round { task: &task, place, scratch, responder: &responder, core: options.client_core };
        let mut taking_part = options.contenders.clone();
        if !workload.is_remote() {
            // Forms of one program differ in how they speak to the responder.
            taking_part.dedup_by_key(|contender| contender.package);
        }
        for number in 1..=options.rounds {
            eprintln!("{:<26} round {number} of {}", workload.name, options.rounds);
            let mut leaving = Vec::new();
            for contender in &taking_part {
                match round.run(contender)? {
                    Ok(report) => results.add(workload, contender, report),
                    Err(why) => {
                        let why: String = why.chars().take(120).collect();
                        eprintln!("    {} does not take part: {why}", contender.name);
                        leaving.push(contender.name);
                    }
                }
            }
            taking_part.retain(|contender| !leaving.contains(&contender.name));
        }
        // After each workload, so that a run that is ended early was not for nothing.
        keep(&results, &out)?;
    }
    print!("{}", tables::tables(&results));
    eprintln!("table.md, results.json and plot.svg are in {}", out.display());
    Ok(())
}

fn keep(results: &Results, out: &Path) -> Result<(), String> {
    let write = |name: &str, contents: &str| {
        std::fs::create_dir_all(out)
            .and_then(|()| std::fs::write(out.join(name), contents))
            .map_err(|error| format!("{}: {error}", out.join(name).display()))
    };
    write("table.md", &tables::tables(results))?;
    write("results.json", &results.json())?;
    write("plot.svg", &plot::plot(results))
}
