//! Keys that live for two seconds serve four shards for nine: no operation fails, and each refresh is one question.

use std::time::Duration;

use spike::refresh::{Refresh, refresh};

#[test]
fn shards_write_on_while_keys_are_refreshed_refused_and_not_to_be_had() {
    let plan = Refresh::seconds();
    let happened = refresh(&plan).expect("servers, threads and runtimes");
    assert_eq!(happened.failures, Vec::<String>::new(), "{happened:?}");
    assert!(happened.operations > 1000, "{happened:?}");
    // Half of their life goes by between two refreshes, a tenth of the window less for the jitter.
    let between = plan.lifetime / 2 - plan.lifetime / 20;
    let shortest = happened.shortest.expect("several refreshes");
    assert!(shortest >= between - Duration::from_millis(100), "{happened:?}");
    let refreshes = plan.time.as_millis() / between.as_millis();
    assert!((4..=u64::try_from(refreshes).expect("few") + 2).contains(&happened.issued), "{happened:?}");
    // Once when the outage began and then no sooner than the back-off allows.
    assert!((1..=6).contains(&happened.in_vain), "{happened:?}");
    // The store did refuse keys, and that cost at most one more attempt of what was under way.
    assert!((1..=8).contains(&happened.refused), "{happened:?}");
}
