//! `spike` itself: every scenario against every store, one after the other, whatever goes wrong in between.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::Duration;

use credentials::Host;
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use object_storage::config::Transport;
use object_storage::{Error, StorageConfig};

use crate::complain;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::report::{Entry, Progress, StoreReport, Summary, Table, write_json};
use crate::scenario::{Failure, Outcome, Scenario};
use crate::stopwatch;
use crate::target::Target;

/// What is to be run.
pub(crate) struct Run {
    pub(crate) id: String,
    /// The store to try; `None` for the three that need no set-up.
    pub(crate) store: Option<Store>,
    pub(crate) scenarios: Vec<&'static Scenario>,
    pub(crate) json: Option<PathBuf>,
    /// The longest that one scenario may take.
    pub(crate) limit: Duration,
    /// Whether the store is known to keep keys as paths, so that some come back changed.
    pub(crate) keys_are_paths: bool,
}

/// A store that was named on the command line.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) config: StorageConfig,
    /// Whether the bucket of `config` is to be made and removed again.
    pub(crate) create_bucket: bool,
}

impl Store {
    pub(crate) async fn open(&self, run: &str) -> Result<Target, Error> {
        let name = match &self.config {
            StorageConfig::Fs(_) => "fs",
            StorageConfig::Memory => "memory",
            _ => "s3",
        };
        match self.create_bucket {
            true => Target::with_own_bucket(&self.config, run).await,
            false => Target::existing(name, &self.config, run).await,
        }
    }
}

/// What one run has come to so far.
#[derive(Default)]
struct Results {
    entries: Vec<Entry>,
    warnings: Vec<String>,
}

/// Runs everything and reports it.
pub(crate) async fn run(run: &Run, host: &Host, interrupt: &Interrupt) -> Exit {
    let begun = stopwatch::now();
    let (table, progress) = (Table::new(host), Progress::new());
    let targets = match open(run).await {
        Ok(targets) => targets,
        Err(error) => return complain(&error),
    };
    for target in &targets {
        table.line(&format!("{:<10}{}", target.name, target.description));
    }
    table.line(&format!("{:<10}{}\n", "run", run.id));

    let mut results = Results::default();
    let ended = {
        let work = std::pin::pin!(every_scenario(run, &targets, &table, &progress, &mut results));
        match select(work, std::pin::pin!(interrupt.came())).await {
            Either::Left((Ok(()), _)) => Ok(None),
            Either::Left((Err(error), _)) => Err(error),
            Either::Right(((), _)) => {
                Ok(Some("interrupted: the scenarios after the last line were not run".to_owned()))
            }
        }
    };
    progress.clear();
    let mut left_behind = false;
    for target in &targets {
        let problem = target.clean_up(&progress).await.err();
        left_behind |= problem.is_some();
        results.warnings.extend(problem);
    }
    progress.clear();
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return complain(&error),
    };
    let interrupted = ended.is_some();
    results.warnings.extend(ended);

    let took = stopwatch::now() - begun;
    let summary = Summary::of(&results.entries);
    table.summary(summary, took);
    for warning in &results.warnings {
        table.line(&format!("warning: {warning}"));
    }
    if let Some(path) = &run.json {
        let stores: Vec<StoreReport> = targets
            .iter()
            .map(|target| StoreReport { name: target.name.into(), description: target.description.clone() })
            .collect();
        if let Err(error) =
            write_json(path, &run.id, &stores, &results.entries, &results.warnings, took).await
        {
            return complain(&format!("{} cannot be written: {error}", path.display()));
        }
    }
    match summary {
        _ if interrupted => Exit::Interrupted,
        Summary { failed: 0, .. } if !left_behind => Exit::Passed,
        _ => Exit::Failed,
    }
}

async fn open(run: &Run) -> Result<Vec<Target>, Error> {
    Ok(match &run.store {
        Some(store) => vec![store.open(&run.id).await?],
        None => vec![
            Target::s3_in_process(&run.id, Transport::Direct).await?,
            Target::s3_in_process(&run.id, Transport::Cyper).await?,
            Target::scratch_directory(&run.id).await?,
            Target::memory(&run.id).await?,
        ],
    })
}

/// The part that a signal may cut short.
async fn every_scenario(
    run: &Run,
    targets: &[Target],
    table: &Table,
    progress: &Progress,
    results: &mut Results,
) -> Result<(), Error> {
    for target in targets {
        if let Some(warning) = target.create_bucket().await? {
            table.line(&format!("warning: {warning}\n"));
            results.warnings.push(warning);
        }
    }
    table.head();
    let all = run.scenarios.len() * targets.len();
    for scenario in &run.scenarios {
        for target in targets {
            let number = results.entries.len() + 1;
            progress.begin(format_args!("[{number}/{all}] {} on {}", scenario.name, target.name));
            let begun = stopwatch::now();
            let outcome = one_scenario(scenario, target, progress, run).await;
            let took = stopwatch::now() - begun;
            let entry = Entry { scenario: scenario.name, store: target.name.into(), outcome, took };
            progress.clear();
            table.entry(&entry);
            results.entries.push(entry);
        }
    }
    Ok(())
}

/// One scenario to its end, to its time limit, or to its panic.
async fn one_scenario(scenario: &Scenario, target: &Target, progress: &Progress, run: &Run) -> Outcome {
    let mut context = target.context(scenario.name, progress);
    context.keys_are_paths = run.keys_are_paths;
    // A scenario that panicked is over; what it shares with others is the store, which must bear being left alone.
    let work = AssertUnwindSafe((scenario.run)(&context)).catch_unwind();
    match compio::time::timeout(run.limit, work).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(Failure(format!("the scenario panicked: {}", panic_text(&*panic)))),
        Err(_) => Err(Failure(format!("not done after {} s (--timeout allows more)", run.limit.as_secs()))),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use futures_util::future::LocalBoxFuture;

    use super::*;
    use crate::scenario::{Context, Verdict, failure, passed};

    type Work = for<'a> fn(&'a Context) -> LocalBoxFuture<'a, Outcome>;

    /// How these scenarios end, run one after the other against memory.
    fn outcomes(works: &[Work]) -> Vec<Outcome> {
        let run = Run {
            id: "test".to_owned(),
            store: None,
            scenarios: Vec::new(),
            json: None,
            limit: Duration::from_millis(50),
            keys_are_paths: false,
        };
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let target = Target::memory(&run.id).await.expect("opened");
            let mut outcomes = Vec::new();
            for work in works {
                let scenario = Scenario { name: "test", about: "", run: *work };
                outcomes.push(one_scenario(&scenario, &target, &Progress::new(), &run).await);
            }
            outcomes
        })
    }

    #[test]
    fn neither_a_panic_nor_a_scenario_without_end_stops_the_others() {
        let outcomes = outcomes(&[
            |_| Box::pin(async { panic!("number {}", 7) }),
            |_| Box::pin(std::future::pending()),
            |_| Box::pin(async { Err(failure("on purpose")) }),
            |_| Box::pin(async { passed("all of it") }),
        ]);
        let failed =
            |outcome: &Outcome, with: &str| matches!(outcome, Err(Failure(why)) if why.contains(with));
        assert!(failed(&outcomes[0], "panicked: number 7"), "{outcomes:?}");
        assert!(failed(&outcomes[1], "not done after"), "{outcomes:?}");
        assert!(failed(&outcomes[2], "on purpose"), "{outcomes:?}");
        assert!(matches!(&outcomes[3], Ok(Verdict::Passed(checked)) if checked == "all of it"));
    }
}
