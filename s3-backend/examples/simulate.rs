//! Simulates histories of several clients over a store that fails in every way, and checks each exactly:
//!
//! ```text
//! cargo run --release -p s3-backend --no-default-features --features simulation --example simulate -- \
//!     --histories 1000000 --seed 0 [--policy NAME] [--record FILE]
//! ```
//!
//! `--outage` prints what ten minutes of outage do, for 20 seeds from `--seed` on. `--story` tells the one history of `--seed` line by line. `--policy mutants` looks for the first seed that catches
//! each wrong policy. `--record` writes the result to a file.

#![expect(clippy::print_stdout, reason = "what a program finds goes to its standard output")]

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use s3_backend::simulation::outage::{Load, Outage, Row};
use s3_backend::simulation::{Counts, FAULTS, OPERATIONS, Policy, Simulation, fault_table};

/// Every wrong policy must be caught within so many seeds.
const SEEDS_TO_CATCH: u64 = 100;

/// How many histories show how often a wrong policy lies.
const HISTORIES_OF_MUTANTS: u64 = 10_000;

/// So many seeds of every outage and load.
const SEEDS_OF_OUTAGES: u64 = 20;

/// What a client may send in an outage for each request of one that does not retry.
const RATIO_MAX: f64 = 1.1;

struct Options {
    histories: u64,
    seed: u64,
    policy: Option<Policy>,
    story: bool,
    outage: bool,
    record: Option<String>,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        histories: 10_000,
        seed: 0,
        policy: Some(Policy::Sound),
        story: false,
        outage: false,
        record: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--story" {
            options.story = true;
            continue;
        }
        if name == "--outage" {
            options.outage = true;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{name} needs a number"));
        match name.as_str() {
            "--histories" => options.histories = number()?,
            "--seed" => options.seed = number()?,
            "--policy" if value == "mutants" => options.policy = None,
            "--policy" => {
                options.policy = Some(value.parse().map_err(|_| format!("there is no policy {value}"))?);
            }
            "--record" => options.record = Some(value),
            _ => return Err(format!("there is no option {name}")),
        }
    }
    Ok(options)
}

/// What a run of histories gave.
#[derive(Default)]
struct Totals {
    counts: Counts,
    faults: [u64; FAULTS],
    violations: u64,
    lies: u64,
    /// The first seed without an order that explains it.
    caught: Option<u64>,
    first: Option<(u64, String)>,
    hash: u64,
}

fn run(policy: Policy, seeds: std::ops::Range<u64>) -> Totals {
    let simulation = Simulation::new(policy);
    let mut totals = Totals::default();
    for seed in seeds {
        let history = simulation.history(seed);
        totals.counts += history.counts;
        for (sum, count) in totals.faults.iter_mut().zip(history.faults) {
            *sum += count;
        }
        totals.hash = (totals.hash ^ history.hash).wrapping_mul(0x0100_0000_01b3);
        if history.violation.is_some() {
            totals.violations += 1;
            totals.caught.get_or_insert(seed);
        }
        totals.lies += u64::from(history.lie.is_some());
        if let Some(problem) = history.violation.or(history.lie) {
            totals.first.get_or_insert((seed, problem));
        }
    }
    totals
}

fn percent(part: u64, whole: u64) -> String {
    let ten_thousandths = u128::from(part) * 1_000_000 / u128::from(whole.max(1));
    format!("{}.{:04} %", ten_thousandths / 10_000, ten_thousandths % 10_000)
}

/// The result as text that is the same wherever it is made.
fn report(policy: Policy, seed: u64, histories: u64, totals: &Totals) -> String {
    let mut out = String::new();
    let Counts { operations, attempts, applied, refused, indeterminate, resolved, open, .. } = totals.counts;
    let calls = applied + refused + indeterminate;
    let lines = [
        ("policy", format!("{policy}: {}", policy.meaning())),
        ("seeds", format!("{seed} to {}", seed + histories.max(1) - 1)),
        ("histories", format!("{histories} of {OPERATIONS} operations, each checked exactly")),
        (
            "**not linearizable**",
            format!("**{}** ({})", totals.violations, percent(totals.violations, histories)),
        ),
        ("a write said to be applied, or not, and the store knows better", totals.lies.to_string()),
        ("operations", operations.to_string()),
        ("requests sent", attempts.to_string()),
        ("calls of writes", format!("{calls}: {applied} applied, {refused} not applied")),
        ("of them `Indeterminate`", format!("{indeterminate} ({})", percent(indeterminate, calls))),
        ("found applied by `resolve`", resolved.to_string()),
        (
            "writes open in the end",
            format!("{open} ({}), those of dead clients included", percent(open, operations)),
        ),
        ("digest of all histories", format!("{:016x}", totals.hash)),
    ];
    out.push_str("| | |\n|---|---|\n");
    for (name, value) in lines {
        writeln!(out, "| {name} | {value} |").expect("a String takes everything");
    }
    out.push_str("\n| fault | per 1,000 attempts in usual weather | times |\n|---|---:|---:|\n");
    for ((what, per_mille), times) in fault_table().iter().zip(totals.faults) {
        writeln!(out, "| {what} | {per_mille} | {times} |").expect("a String takes everything");
    }
    out
}

/// Every wrong policy, and whether all were caught in time.
fn mutants() -> (String, bool) {
    let mut out = String::from(
        "| policy | what is believed | caught by seed | not linearizable |\n|---|---|---:|---:|\n",
    );
    let mut all_caught = true;
    for policy in Policy::MUTANTS {
        let totals = run(policy, 0..HISTORIES_OF_MUTANTS);
        all_caught &= totals.caught.is_some_and(|seed| seed < SEEDS_TO_CATCH);
        let seed = totals.caught.map_or("never".to_owned(), |seed| seed.to_string());
        let share = percent(totals.violations, HISTORIES_OF_MUTANTS);
        writeln!(out, "| {policy} | {} | {seed} | {share} |", policy.meaning())
            .expect("a String takes everything");
    }
    (out, all_caught)
}

/// Ten minutes of every kind of outage under every load, from this seed on, and whether no client made any of them worse.
fn outages(seed: u64) -> (String, bool) {
    let mut out = String::from(
        "| outage | load | requests, each operation sent once | ours | looks among them | ratio | per operation \
         tried | serves again | at ease | serves again, sent once |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let mut good = true;
    let time = |time: Option<Duration>| time.map_or("never".to_owned(), |time| format!("{time:?}"));
    for outage in Outage::ALL {
        for load in Load::ALL {
            let Row { once, ours, looks, ratio, ratio_of_tried, recovered, at_ease, once_recovered, .. } =
                Row::of(outage, load, seed..seed + SEEDS_OF_OUTAGES);
            good &= ratio <= RATIO_MAX && ratio_of_tried <= RATIO_MAX && recovered.is_some();
            let (recovered, at_ease) = (time(recovered), time(at_ease));
            let once_recovered = time(once_recovered);
            writeln!(
                out,
                "| {outage} | {load} | {once} | {ours} | {looks} | {ratio:.3} | {ratio_of_tried:.3} | {recovered} | \
                 {at_ease} | {once_recovered} |"
            )
            .expect("a String takes everything");
        }
    }
    (out, good)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            println!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    if options.outage {
        let (table, good) = outages(options.seed);
        println!("seeds {} to {}\n\n{table}", options.seed, options.seed + SEEDS_OF_OUTAGES - 1);
        return if good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let Some(policy) = options.policy else {
        let (table, all_caught) = mutants();
        println!("{table}");
        return if all_caught { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    };
    if options.story {
        let history = Simulation::new(policy).story(options.seed);
        println!("{}", history.log.join("\n"));
        println!("{}", history.violation.as_deref().unwrap_or("linearizable"));
        return ExitCode::SUCCESS;
    }
    #[expect(clippy::disallowed_methods, reason = "how long it took is told to whoever waits for it")]
    let began = std::time::Instant::now();
    let totals = run(policy, options.seed..options.seed + options.histories);
    let text = report(policy, options.seed, options.histories, &totals);
    println!("{text}");
    println!("in {:?}", began.elapsed());
    if let Some((seed, violation)) = &totals.first {
        println!("first: seed {seed}: {violation}");
    }
    let mut good = totals.violations == 0 && totals.lies == 0;
    if let Some(path) = options.record {
        let (table, all_caught) = mutants();
        println!("{table}");
        good &= all_caught;
        let (outages, unharmed) = outages(0);
        println!("{outages}");
        good &= unharmed;
        let text = document(&text, &table, &outages, options.seed, options.histories);
        #[expect(clippy::disallowed_methods, reason = "a program of one thread, at its end")]
        let written = std::fs::write(&path, text);
        if let Err(problem) = written {
            println!("{path}: {problem}");
            good = false;
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The file of the result.
fn document(report: &str, mutants: &str, outages: &str, seed: u64, histories: u64) -> String {
    format!(
        "# What the simulation found\n\n\
         Written by the program itself. The same command gives the same file on every machine:\n\n\
         ```sh\n\
         cargo run --release -p s3-backend --no-default-features --features simulation --example simulate -- \\\n  \
         --histories {histories} --seed {seed} --record s3-backend/SIMULATION.md\n\
         ```\n\n\
         Three or four clients run the product's operations and its state machine in virtual time over a store that\n\
         is linearizable by itself, with everything between them that a network and a proxy can do. They\n\
         compare-and-swap one hot object (by put and by completing an upload), create names that several want,\n\
         overwrite names of their own, delete under a condition, read, die, come back and ask `resolve`, and drive\n\
         again what is open. One order of all writes must explain everything they were told: `Ok` took effect during\n\
         the call, an error did not and never will, `Indeterminate` may take effect at any later time or never.\n\
         Nothing found in N histories bounds the rate of what was not found, of this model and these faults, at\n\
         about 3/N with 95 % confidence.\n\n\
         Not in it: the driver and the transports (the matrix in `tests/` has those), copies, lists, batches, the\n\
         parts of an upload, and a get's body that breaks off.\n\n\
         ## The product\n\n{report}\n\
         ## Policies that must be caught\n\n\
         Each within {SEEDS_TO_CATCH} seeds, so that the judge is known to notice; how often each lies, over\n\
         {HISTORIES_OF_MUTANTS} histories in rough weather. `overwrite`, `repeating-tags`, `reused-names` and\n\
         `replays` are the product itself where its promise does not hold, and its documentation says so.\n\n{mutants}\n\
         ## An outage of ten minutes\n\n\
         ```sh\n\
         cargo run --release -p s3-backend --no-default-features --features simulation --example simulate -- --outage\n\
         ```\n\n\
         One shard under load, in virtual time; after a minute its store refuses everything, for ten minutes. The shard\n\
         runs the product's operations, its machine, its budgets for retries and for looks, and its limit on concurrency,\n\
         with their defaults. It is compared with a client that sends every operation once, at once, and never looks at an\n\
         object, under the same load: the same arrivals, or the same tasks, each of which begins its next operation some\n\
         time after the last has ended. Where the store asks for less, ours holds operations back, and those that get no\n\
         turn within half of their time fail unsent; so the requests for each operation of which any was sent are told, too.\n\
         Seeds 0 to {}, the worst of each: half of them a third each of gets, overwrites and creations, half creations only,\n\
         of which each that is left in doubt wants a look; answers take 20 ms or 100 ms. \"Serves again\": from when on\n\
         after the outage as many operations succeed in each second as before, less a twentieth. \"At ease\": from when on of\n\
         the operations that begin all but a twentieth succeed within a second.\n\n{outages}\n\
         What is added in all, whatever the load: 50 retries that were saved up (100 of what was throttled), 5 looks and\n\
         those that were under way when the first failed, and one in fifty of each: less than a tenth from four operations a\n\
         second on.\n\n\
         In silence a task that asked just before the end waits for ten seconds, the limit on an answer, whoever its client is:\n\
         new operations are served at once.\n",
        SEEDS_OF_OUTAGES - 1
    )
}
