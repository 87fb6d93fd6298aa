//! Clients that keep to the documented rules, over a store that goes wrong in every way there is: nothing that was
//! acknowledged is lost, and nothing shows up that was not written. Clients that break one rule are noticed.

mod client;
mod world;
#[cfg(feature = "writer")]
mod writer;

use client::Rule;
use world::{Verdict, run};

/// How many seeds every `cargo test` runs. The long run says another number in `OBJECT_STORAGE_TESTS_SEEDS`.
const SEEDS: u64 = 1000;

/// Within how many seeds a broken rule must show.
const SEEDS_UNTIL_CAUGHT: u64 = 100;

fn seeds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how whoever runs the tests chooses")]
    let said = std::env::var("OBJECT_STORAGE_TESTS_SEEDS");
    said.map_or(SEEDS, |said| said.parse().expect("a number of seeds"))
}

#[test]
fn whoever_keeps_to_the_rules_loses_nothing_and_sees_no_phantom() {
    let mut all = Verdict::default();
    for seed in 0..seeds() {
        let verdict = run(seed, None);
        assert!(verdict.violations.is_empty(), "{}\n{}", verdict.violations.join("\n"), verdict.story);
        all.add(&verdict);
    }
    println!(
        "{} seeds, {} calls, {} faults, {} crashes: {} writes acknowledged, {} refused, {} cleared up after a doubt",
        seeds(),
        all.calls,
        all.faults,
        all.crashes,
        all.acknowledged,
        all.refused,
        all.cleared_up
    );
    // What did not happen was not tested.
    assert!(all.faults > 20 * seeds() && all.crashes > seeds() / 2 && all.cleared_up > 3 * seeds());
}

/// The same over files: there is no other store whose dropped futures leave work half done.
#[cfg(feature = "fs")]
#[test]
fn whoever_keeps_to_the_rules_loses_nothing_on_disk_either() {
    use object_storage::{CompioFsStorage, Durability, FsOptions};

    let root = tempfile::tempdir().expect("a directory of its own");
    compio::runtime::Runtime::new().expect("a runtime").block_on(async {
        for seed in 0..seeds() / 20 {
            let options = FsOptions::default().with_durability(Durability::None);
            let store = CompioFsStorage::open(root.path().join(seed.to_string()), options).await;
            let verdict = world::run_over(std::rc::Rc::new(store.expect("a store")), seed, None).await;
            assert!(verdict.violations.is_empty(), "{}\n{}", verdict.violations.join("\n"), verdict.story);
        }
    });
}

#[test]
fn whoever_breaks_a_rule_is_caught() {
    for rule in Rule::ALL {
        let caught = (0..SEEDS_UNTIL_CAUGHT).find(|seed| !run(*seed, Some(rule)).violations.is_empty());
        println!("{rule:?}: {caught:?}");
        assert!(caught.is_some(), "{rule:?} is not caught");
    }
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 0..10 {
        assert_eq!(run(seed, None).story, run(seed, None).story);
    }
}
