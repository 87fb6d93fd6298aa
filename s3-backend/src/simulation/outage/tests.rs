//! Ten minutes of every kind of outage: what is sent meanwhile, and what happens at its end.

use super::*;

/// What retries and looks may add.
const RATIO_MAX: f64 = 1.1;

/// By then the shard must serve as before.
const RECOVERY_MAX: Duration = Duration::from_secs(5);

/// Whether an attempt may wait in vain for the whole limit on an answer. A task that began such a wait just before the end
/// of the outage cannot do anything until it is over, whatever its client does.
fn may_be_silent(outage: Outage) -> bool {
    matches!(outage, Outage::Silence | Outage::Mixture)
}

/// Runs one scenario and says what is wrong with it.
fn check(outage: Outage, load: Load, seed: u64) {
    let ours = Scenario::of_seed(outage, load, Client::Ours, seed).run();
    let line = format!("seed {seed}: {outage}, {load}: {ours:?}");
    println!("{line}");
    let (requests, held_up) = match load {
        Load::Arrivals(_) => (ours.operations, false),
        Load::Tasks { .. } => {
            let once = Scenario::of_seed(outage, load, Client::Once, seed).run();
            (once.requests, may_be_silent(outage))
        }
    };
    assert!(quotient(ours.requests, requests) <= RATIO_MAX, "{requests} are sent once; {line}");
    assert!(ours.ratio_of_tried() <= RATIO_MAX, "{line}");
    let limit = if held_up { object_storage::config::HEAD_TIMEOUT_DEFAULT } else { RECOVERY_MAX };
    assert!(ours.recovered.is_some_and(|after| after <= limit), "{line}");
    assert!(ours.at_ease.is_some_and(|after| after <= limit), "{line}");
}

#[test]
fn an_outage_is_not_made_worse_and_its_end_is_noticed() {
    for seed in 0..20 {
        let outage = Outage::ALL[usize::try_from(seed % 5).expect("below five")];
        // Each outage meets each load, mixed work and creations.
        check(outage, Load::ALL[usize::try_from(seed / 5 % 3).expect("below three")], seed);
    }
}

#[test]
fn many_who_wait_for_their_turn_do_not_keep_each_other_from_it() {
    // Once each got its turn when its time was nearly over, so that nobody was served any more, nor the limit raised.
    let latency = Duration::from_millis(100);
    let (outage, load, work) = (Outage::SlowDown, Load::Arrivals(1000), Work::Mixed);
    let toll = Scenario { outage, load, work, latency, client: Client::Ours, seed: 0 }.run();
    assert!(toll.recovered.is_some_and(|after| after <= RECOVERY_MAX), "{toll:?}");
}

#[test]
fn a_small_load_is_added_to_by_a_bounded_number() {
    // A hundred retries of what was throttled and fifty of the rest, looks for ten seconds, and one in fifty of both.
    for (outage, seed) in Outage::ALL.into_iter().zip(1..) {
        let load = Load::Tasks { tasks: 4, think: Duration::from_secs(1) };
        let toll = Scenario::of_seed(outage, load, Client::Ours, seed).run();
        let more = toll.requests - toll.tried;
        assert!(more <= 105 + 40 + toll.operations / 25, "{outage}: {toll:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_outage() {
    for seed in 0..4 {
        let scenario = |seed| Scenario::of_seed(Outage::Mixture, Load::ALL[1], Client::Ours, seed);
        assert_eq!(scenario(seed).run(), scenario(seed).run());
        assert_ne!(scenario(seed).run().digest, scenario(seed + 4).run().digest);
    }
}
