//! Keys that live for two seconds serve four shards for nine: no operation fails, and each refresh is one question.

use spike::refresh::{Refresh, refresh};

#[test]
fn shards_write_on_while_keys_are_refreshed_refused_and_not_to_be_had() {
    let plan = Refresh::seconds();
    let happened = refresh(&plan).expect("servers, threads and runtimes");
    assert_eq!(happened.problems(&plan), Vec::<String>::new(), "{happened:?}");
}
