//! Runs both contenders in turns, each run a process of its own in a new directory, and prints the table.

use std::path::Path;
use std::process::Command;

use bench_fs::Work;

const CONTENDERS: [&str; 2] = ["ours", "object_store_fs"];

const USAGE: &str = "\
compare [OPTIONS] [WORK]...

  --rounds N      runs of each contender per work (7)
  --at-once N     operations in flight (1)
  --cores N       processor cores that a contender may use (1)
  --durability D  durable or volatile (durable)
  --below DIR     where the stores are made: a real disk (the directory of the programs)
  --scale F       multiplies the number of operations (1.0)

Works: put-4k-new put-4k-create put-4k-same put-1m-same get-4k get-1m get-1m-chunks (all)";

fn main() {
    let programs = std::env::current_exe().expect("this program");
    let programs = programs.parent().expect("its directory");
    let (mut rounds, mut at_once, mut cores, mut scale) = (7usize, "1".to_owned(), "1".to_owned(), 1.0f64);
    let mut durability = "durable".to_owned();
    let mut below = programs.to_owned();
    let mut works = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--help" {
            println!("{USAGE}");
            return;
        }
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} wants a value\n{USAGE}"));
        match arg.as_str() {
            "--rounds" => rounds = value().parse().expect("a number"),
            "--at-once" => at_once = value(),
            "--cores" => cores = value(),
            "--durability" => durability = value(),
            "--below" => below = value().into(),
            "--scale" => scale = value().parse().expect("a number"),
            name => match Work::ALL.into_iter().find(|(known, _)| *known == name) {
                Some(work) => works.push(work),
                None => panic!("{USAGE}"),
            },
        }
    }
    if works.is_empty() {
        works = Work::ALL.to_vec();
    }
    println!(
        "µs per operation, {durability}, {at_once} in flight, {cores} core(s), {rounds} rounds in turns\n"
    );
    println!(
        "| work | ours: CPU min / median | wall | object_store: CPU min / median | wall | ratio CPU | ratio wall |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, work) in works {
        let operations = match work {
            _ if work.is_put() && durability == "durable" => 400.0,
            Work::PutNew | Work::PutCreate | Work::PutSame | Work::GetSmall => 8000.0,
            Work::PutLarge | Work::GetWhole | Work::GetChunks => 1500.0,
        };
        let operations = ((operations * scale) as usize).max(1).to_string();
        let mut found: [Vec<[f64; 2]>; 2] = Default::default();
        for round in 0..rounds {
            for turn in 0..2 {
                let contender = (round + turn) % 2;
                let program = programs.join(CONTENDERS[contender]);
                let told = [name, &operations, &at_once, &durability, &cores];
                found[contender].push(run(&program, &told, &below));
            }
        }
        let [ours, theirs] = &found;
        let each = |found: &[[f64; 2]], at| {
            let (min, median) = min_and_median(found.iter().map(|run| run[at]));
            format!("{min:.1} / {median:.1}")
        };
        // Both runs of a round met about the same machine.
        let ratio = |at: usize| {
            let least = |found: &[[f64; 2]]| min_and_median(found.iter().map(|run| run[at])).0;
            let median =
                min_and_median(ours.iter().zip(theirs).map(|(ours, theirs)| ours[at] / theirs[at])).1;
            format!("{:.2} / {median:.2}", least(ours) / least(theirs))
        };
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} |",
            each(ours, 0),
            each(ours, 1),
            each(theirs, 0),
            each(theirs, 1),
            ratio(0),
            ratio(1)
        );
    }
}

fn run(program: &Path, told: &[&str], below: &Path) -> [f64; 2] {
    let directory = tempfile::tempdir_in(below).expect("a directory");
    let output = Command::new(program).args(told).arg(directory.path().join("store")).output().expect("runs");
    let printed = String::from_utf8(output.stdout).expect("a line");
    let mut numbers = printed.split_whitespace().map(|number| number.parse().expect("a number"));
    match (output.status.success(), numbers.next(), numbers.next()) {
        (true, Some(cpu), Some(wall)) => [cpu, wall],
        _ => panic!("{} {told:?}: {}", program.display(), String::from_utf8_lossy(&output.stderr)),
    }
}

fn min_and_median(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2])
}
