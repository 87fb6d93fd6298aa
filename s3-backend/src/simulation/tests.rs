//! The simulation as a test: a slice of what the program `simulate` runs, and proof that it notices.

use super::*;

/// A slice; the program runs a million.
const HISTORIES: u64 = 20_000;

/// Within how many seeds a wrong policy must be caught.
const SEEDS_TO_CATCH: u64 = 100;

#[test]
fn one_order_explains_what_every_client_was_told() {
    let simulation = Simulation::new(Policy::Sound);
    let mut counts = Counts::default();
    let mut faults = [0; FAULTS];
    for seed in 0..HISTORIES {
        let history = simulation.history(seed);
        if let Some(problem) = history.violation.or(history.lie) {
            panic!("seed {seed}: {problem}");
        }
        counts += history.counts;
        for (sum, count) in faults.iter_mut().zip(history.faults) {
            *sum += count;
        }
    }
    println!("{counts:?} {faults:?}");
    // That nothing is wrong says something only if much was tried and most of it got an answer.
    assert!(faults.iter().all(|&times| times > 1000), "{faults:?}");
    let calls = counts.applied + counts.refused + counts.indeterminate;
    assert!(counts.indeterminate * 4 < calls && counts.applied * 4 > calls, "{counts:?}");
}

#[test]
fn every_wrong_policy_is_caught() {
    for policy in Policy::MUTANTS {
        let simulation = Simulation::new(policy);
        let caught = (0..SEEDS_TO_CATCH).find(|&seed| simulation.history(seed).violation.is_some());
        println!("{policy}: seed {caught:?}");
        assert!(caught.is_some(), "{policy} goes unnoticed");
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    for policy in [Policy::Sound, Policy::BlindRetry, Policy::RepeatingTags] {
        let simulation = Simulation::new(policy);
        for seed in 0..200 {
            let (first, second) = (simulation.history(seed), Simulation::new(policy).history(seed));
            assert_eq!((first.hash, first.counts), (second.hash, second.counts), "{policy} {seed}");
            assert_eq!(first.violation, second.violation, "{policy} {seed}");
        }
        // Telling it changes nothing.
        assert_eq!(simulation.story(7).hash, simulation.history(7).hash);
        assert_ne!(simulation.history(7).hash, simulation.history(8).hash);
    }
}

// Seeds that once were lied to.

/// The first of two copies was stored, the second was told 409 and was heard; the attempts that followed never left, and
/// the put said that it had not been applied.
#[test]
fn seed_44496_a_replay_that_met_its_twin() {
    assert_eq!(Simulation::new(Policy::Sound).history(44_496).violation, None);
}
