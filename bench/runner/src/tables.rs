//! The results as text: who costs how much, how ours stand, and everything that was counted.

use std::fmt::Write;

use crate::contenders::Role;
use crate::format::{number, ratio, table};
use crate::results::{OfWorkload, Results};

const NOTHING: &str = "-";

pub(crate) fn tables(results: &Results) -> String {
    let conditions = &results.conditions;
    let mut text = format!(
        "# Results\n\n{}, {} cores, Linux {}, {}. {} rounds, all contenders in turn in each. The client is bound to one \
         core, the responder to another. Load average at the beginning: {}.\n\n",
        conditions.cpu,
        conditions.cores,
        conditions.kernel,
        conditions.rustc,
        conditions.rounds,
        conditions.load
    );
    for (name, about) in &conditions.contenders {
        writeln!(text, "- `{name}`: {about}").expect("a String takes everything");
    }
    text += "\n## CPU time of an operation\n\nMicroseconds of the client, user and system together; the minimum over the \
             rounds.\n\n";
    text += &matrix(results);
    text += "\n## Ours beside the floor and the best rival\n\nRatios of CPU time, of minimums and of medians.\n\n";
    text += &standing(results);
    text += "\n## Everything counted\n";
    for workload in &results.workloads {
        write!(text, "\n### {}\n\n{}", workload.name, details(workload)).expect("a String takes everything");
    }
    text
}

fn matrix(results: &Results) -> String {
    let names: Vec<&String> = results.conditions.contenders.iter().map(|(name, _)| name).collect();
    let names: Vec<&String> =
        names.into_iter().filter(|name| results.workloads.iter().any(|of| of.get(name).is_some())).collect();
    let mut rows = vec![vec!["workload".to_owned()]];
    rows[0].extend(names.iter().map(|name| (*name).clone()));
    for workload in &results.workloads {
        let mut row = vec![workload.name.clone()];
        row.extend(names.iter().map(|name| match workload.get(name) {
            Some(of) => number(of.cpu().min),
            None => NOTHING.to_owned(),
        }));
        rows.push(row);
    }
    table(&rows)
}

fn standing(results: &Results) -> String {
    let head = ["workload", "ours", "to floor", "median", "to best rival", "median", "best rival"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for workload in &results.workloads {
        for ours in workload.contenders.iter().filter(|of| of.role == Role::Ours) {
            let beside = |other: Option<&crate::results::OfContender>| match other {
                Some(other) => {
                    [ratio(ours.cpu().min / other.cpu().min), ratio(ours.cpu().median / other.cpu().median)]
                }
                None => [NOTHING.to_owned(), NOTHING.to_owned()],
            };
            let rival = workload.best_rival();
            let mut row = vec![workload.name.clone(), ours.name.to_owned()];
            row.extend(beside(workload.floor()));
            row.extend(beside(rival));
            row.push(rival.map_or(NOTHING, |rival| rival.name).to_owned());
            rows.push(row);
        }
    }
    table(&rows)
}

fn details(workload: &OfWorkload) -> String {
    let head = [
        "contender",
        "CPU µs",
        "median",
        "max",
        "wall µs",
        "ops/s",
        "sleeps",
        "peak MiB",
        "allocations",
        "allocated KiB",
        "to floor",
        "to best rival",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for of in &workload.contenders {
        let cpu = of.cpu();
        let beside = |other: Option<&crate::results::OfContender>| {
            other.map_or(NOTHING.to_owned(), |other| ratio(cpu.min / other.cpu().min))
        };
        rows.push(vec![
            of.name.to_owned(),
            number(cpu.min),
            number(cpu.median),
            number(cpu.max),
            number(of.wall().median),
            number(of.ops_a_second().median),
            number(of.sleeps().median),
            number(of.memory_peak_mib().median),
            number(of.allocations().median),
            number(of.allocated_bytes().median / 1_024.0),
            beside(workload.floor()),
            beside(workload.best_rival()),
        ]);
    }
    table(&rows)
}
