//! What a shard keeps for itself: it ends as soon as the cache would not give it out.

use crate::source::Answer::{Keys, Lasting};
use crate::source::{HOUR, MINUTE, SECOND, eligible, id};

#[test]
fn there_is_nothing_to_keep_before_the_source_was_asked() {
    let stage = eligible([Lasting]);
    assert!(stage.cache.lease(&stage.host).is_none());
    stage.get();
    let lease = stage.cache.lease(&stage.host).unwrap();
    assert_eq!((&*id(lease.identity()), lease.fresh_for()), ("key-1", None));
    stage.time.pass(1000 * HOUR);
    assert!(stage.cache.holds(&lease));
}

#[test]
fn what_is_about_to_be_refreshed_is_kept_until_then() {
    let stage = eligible([Keys(HOUR)]);
    stage.get();
    stage.time.pass(MINUTE);
    let lease = stage.cache.lease(&stage.host).unwrap();
    let fresh_for = lease.fresh_for().unwrap();
    stage.time.pass(fresh_for - SECOND);
    assert!(stage.cache.lease(&stage.host).is_some());
    stage.time.pass(SECOND);
    assert!(stage.cache.lease(&stage.host).is_none());
    stage.get();
    assert!(!stage.cache.holds(&lease), "others have taken its place");
    assert_eq!(id(stage.cache.lease(&stage.host).unwrap().identity()), "key-2");
}

#[test]
fn keys_that_a_service_refused_are_kept_by_nobody() {
    let stage = eligible([Lasting]);
    stage.get();
    let lease = stage.cache.lease(&stage.host).unwrap();
    stage.cache.invalidate("key-1");
    assert!(!stage.cache.holds(&lease) && stage.cache.lease(&stage.host).is_none());
    stage.get();
    assert!(stage.cache.lease(&stage.host).is_some());
}
