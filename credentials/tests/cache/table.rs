//! The refresh table, one row or more a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use credentials::{
    AssumeRole, CacheOptions, Credentials, CredentialsCache, CredentialsChain, FixedRandom, Host, Identity,
    Inline, ProvideCredentials, ProviderError, Resolved, Retry, Secret, SourceName,
};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use crate::source::Answer::{Again, Dead, Fails, Keys, Lasting};
use crate::source::{HOUR, MINUTE, SECOND, Time, eligible, host, named, stage};

const MILLI: Duration = Duration::from_millis(1);

fn exact() -> CacheOptions {
    CacheOptions::default().jitter(0.0)
}

#[test]
fn the_advisory_window_opens_as_the_lifetime_says() {
    for (lifetime, window) in [
        (15 * MINUTE, 5 * MINUTE),
        (20 * MINUTE, 5 * MINUTE),
        (20 * MINUTE + SECOND, 15 * MINUTE),
        (HOUR, 15 * MINUTE),
        (90 * MINUTE - SECOND, 15 * MINUTE),
        (90 * MINUTE, HOUR),
        (6 * HOUR, HOUR),
    ] {
        let stage = eligible([Keys(lifetime)]);
        assert_eq!(stage.get(), "key-1");
        stage.time.pass(lifetime - window - MILLI);
        assert_eq!(stage.get(), "key-1", "{lifetime:?}");
        stage.time.pass(MILLI);
        assert_eq!(stage.get(), "key-2", "{lifetime:?}");
    }
}

#[test]
fn the_advisory_window_is_configurable() {
    let stage = stage(true, [Keys(HOUR)], exact().advisory_window(2 * MINUTE));
    stage.get();
    stage.time.pass(58 * MINUTE - MILLI);
    assert_eq!(stage.get(), "key-1");
    stage.time.pass(MILLI);
    assert_eq!(stage.get(), "key-2");
}

#[test]
fn a_process_opens_the_window_up_to_a_tenth_earlier_than_others() {
    for (jitter, early) in [(0.0, Duration::ZERO), (0.5, 45 * SECOND), (1.0, 90 * SECOND)] {
        let stage = stage(true, [Keys(HOUR)], CacheOptions::default().jitter(jitter));
        stage.get();
        stage.time.pass(45 * MINUTE - early - MILLI);
        assert_eq!(stage.get(), "key-1");
        stage.time.pass(MILLI);
        assert_eq!(stage.get(), "key-2");
    }
}

#[test]
fn in_the_advisory_window_one_fetches_and_all_others_get_the_cached_at_once() {
    let stage = eligible([Keys(HOUR)]);
    stage.get();
    stage.time.pass(45 * MINUTE);
    stage.source.yields.store(1, std::sync::atomic::Ordering::SeqCst);
    let mut one = Box::pin(stage.cache.get(&stage.host));
    assert!((&mut one).now_or_never().is_none());
    for _ in 0..10 {
        assert_eq!(stage.get(), "key-1");
    }
    assert_eq!(crate::source::id(&one.now_or_never().unwrap().unwrap()), "key-2");
    assert_eq!(stage.get(), "key-2");
    assert_eq!(stage.asked(), 2);
}

#[test]
fn in_the_last_minute_callers_wait_for_the_one_in_flight_and_look_again() {
    for after in [HOUR - MINUTE, HOUR - MILLI, HOUR, 2 * HOUR] {
        let stage = eligible([Keys(HOUR)]);
        stage.get();
        stage.time.pass(after);
        stage.source.yields.store(1, std::sync::atomic::Ordering::SeqCst);
        let mut one = Box::pin(stage.cache.get(&stage.host));
        let mut other = Box::pin(stage.cache.get(&stage.host));
        assert!((&mut one).now_or_never().is_none());
        assert!((&mut other).now_or_never().is_none());
        assert_eq!(crate::source::id(&one.now_or_never().unwrap().unwrap()), "key-2");
        assert_eq!(crate::source::id(&other.now_or_never().unwrap().unwrap()), "key-2");
        assert_eq!(stage.asked(), 2);
    }
}

#[test]
fn the_mandatory_window_is_never_longer_than_the_advisory_one() {
    let stage = stage(true, [Keys(HOUR)], exact().advisory_window(20 * SECOND));
    stage.get();
    stage.time.pass(HOUR - 20 * SECOND - MILLI);
    assert_eq!(stage.get(), "key-1");
    stage.time.pass(MILLI);
    // Mandatory: who comes now waits.
    stage.source.yields.store(1, std::sync::atomic::Ordering::SeqCst);
    assert!(stage.cache.cached(&stage.host).is_none());
}

#[test]
fn a_failed_refresh_leaves_the_cached_in_use_even_expired_until_the_back_off_is_over() {
    for retry in [Retry::Transient, Retry::Recoverable] {
        for at in [45 * MINUTE, HOUR - SECOND, HOUR + HOUR] {
            let stage = eligible([Keys(HOUR), Fails(retry), Keys(HOUR)]);
            stage.get();
            stage.time.pass(at);
            assert_eq!(stage.get(), "key-1");
            assert_eq!(stage.asked(), 2);
            // Drawn between five and ten minutes.
            stage.time.pass(5 * MINUTE - MILLI);
            assert_eq!(stage.get(), "key-1");
            assert_eq!(stage.asked(), 2);
            stage.time.pass(5 * MINUTE + MILLI);
            assert_eq!(stage.get(), "key-3");
        }
    }
}

#[test]
fn the_back_off_is_drawn_between_five_and_ten_minutes_and_the_pause_after_a_final_error_between_one_and_five_seconds()
 {
    for (retry, draws) in [
        (Retry::Transient, [(0, 5 * MINUTE), (1 << 63, 450 * SECOND)]),
        (Retry::NonRecoverable, [(0, SECOND), (1 << 63, 3 * SECOND)]),
    ] {
        for (bits, pause) in draws {
            let mut stage = eligible([Keys(HOUR), Fails(retry), Keys(HOUR)]);
            stage.host = crate::source::host(&stage.time).random(FixedRandom(bits)).build();
            stage.get();
            stage.time.pass(45 * MINUTE);
            let _ = stage.try_get();
            stage.time.pass(pause - MILLI);
            let _ = stage.try_get();
            assert_eq!(stage.asked(), 2, "{retry:?} {bits}");
            stage.time.pass(MILLI);
            assert_eq!(stage.get(), "key-3", "{retry:?} {bits}");
        }
    }
    let mut stage = eligible([Keys(HOUR), Fails(Retry::Transient)]);
    stage.host = crate::source::host(&stage.time).random(FixedRandom(u64::MAX)).build();
    stage.get();
    stage.time.pass(45 * MINUTE);
    stage.get();
    stage.time.pass(10 * MINUTE - 2 * MILLI);
    stage.get();
    assert_eq!(stage.asked(), 2);
    stage.time.pass(2 * MILLI);
    stage.get();
    assert_eq!(stage.asked(), 3);
}

#[test]
fn unless_injected_the_jitter_is_drawn_once_for_the_cache() {
    let stage = stage(true, [Keys(HOUR)], CacheOptions::default());
    for round in 1..4 {
        assert_eq!(stage.get(), format!("key-{round}"));
        // Half of a tenth of a quarter of an hour.
        stage.time.pass(45 * MINUTE - 45 * SECOND - MILLI);
        assert_eq!(stage.get(), format!("key-{round}"));
        stage.time.pass(MILLI);
    }
}

#[test]
fn the_back_off_is_measured_on_a_clock_that_nobody_sets() {
    let stage = eligible([Keys(HOUR), Fails(Retry::Transient), Keys(HOUR)]);
    stage.get();
    stage.time.pass(45 * MINUTE);
    stage.get();
    stage.time.set_wall_by(24 * HOUR);
    assert_eq!(stage.get(), "key-1");
    assert_eq!(stage.asked(), 2);
    stage.time.pass(10 * MINUTE);
    assert_eq!(stage.get(), "key-3");
}

#[test]
fn the_expiry_is_measured_on_the_clock_on_the_wall() {
    // A machine that slept: its steady clock stood still.
    let stage = eligible([Keys(HOUR)]);
    stage.get();
    stage.time.set_wall_by(2 * HOUR);
    assert_eq!(stage.get(), "key-2");
}

#[test]
fn a_failed_first_fetch_is_an_error_for_a_second() {
    for eligible in [true, false] {
        let stage = stage(eligible, [Fails(Retry::Transient), Keys(HOUR)], exact());
        assert!(stage.try_get().is_err());
        stage.time.pass(SECOND - MILLI);
        assert!(stage.try_get().is_err());
        assert_eq!(stage.asked(), 1);
        stage.time.pass(MILLI);
        assert_eq!(stage.get(), "key-2");
    }
}

#[test]
fn an_answer_that_has_already_expired_is_a_failed_refresh() {
    let stage = eligible([Keys(HOUR), Dead, Keys(HOUR)]);
    stage.get();
    stage.time.pass(HOUR + MINUTE);
    assert_eq!(stage.get(), "key-1");
    stage.time.pass(5 * MINUTE - MILLI);
    assert_eq!(stage.get(), "key-1");
    assert_eq!(stage.asked(), 2);
    stage.time.pass(5 * MINUTE + MILLI);
    assert_eq!(stage.get(), "key-3");
}

#[test]
fn a_first_answer_that_has_already_expired_is_an_error() {
    let stage = eligible([Dead, Keys(HOUR)]);
    assert!(stage.try_get().unwrap_err().to_string().contains("expired"));
    stage.time.pass(SECOND);
    assert_eq!(stage.get(), "key-2");
}

#[test]
fn a_first_expired_answer_of_instance_metadata_is_believed_for_ten_to_fifteen_minutes() {
    let stage = named(SourceName::Imds, true, [Dead, Keys(6 * HOUR)], exact());
    assert_eq!(stage.get(), "key-1");
    let expires_at = stage.cache.cached(&stage.host).unwrap().credentials().unwrap().expires_at().unwrap();
    let left = expires_at.duration_since(stage.host.now()).unwrap();
    assert!((10 * MINUTE..=15 * MINUTE).contains(&left), "{left:?}");
    // And refreshed like keys of that life: five minutes before.
    stage.time.pass(left - 5 * MINUTE - MILLI);
    assert_eq!(stage.get(), "key-1");
    stage.time.pass(MILLI);
    assert_eq!(stage.get(), "key-2");
    // With keys at hand the same answer is a failed refresh.
    stage.source.says([Dead]);
    stage.time.pass(6 * HOUR);
    assert_eq!(stage.get(), "key-2");
}

#[test]
fn what_asking_again_cannot_cure_is_raised_at_once_even_in_the_advisory_window() {
    let stage = eligible([Keys(HOUR), Fails(Retry::NonRecoverable), Keys(HOUR)]);
    stage.get();
    stage.time.pass(45 * MINUTE);
    assert!(stage.try_get().is_err());
    // To everybody, for one to five seconds,
    stage.time.pass(SECOND - MILLI);
    assert!(stage.try_get().is_err());
    assert!(stage.cache.cached(&stage.host).is_none());
    assert_eq!(stage.asked(), 2);
    // and without back-off.
    stage.time.pass(4 * SECOND + MILLI);
    assert_eq!(stage.get(), "key-3");
}

#[test]
fn what_asking_again_cannot_cure_is_not_asked_again_by_every_caller() {
    let stage = eligible([Fails(Retry::NonRecoverable), Keys(HOUR)]);
    for _ in 0..10 {
        assert!(stage.try_get().is_err());
    }
    assert_eq!(stage.asked(), 1);
    stage.time.pass(5 * SECOND);
    assert_eq!(stage.get(), "key-2");
}

#[test]
fn refused_keys_are_fetched_anew_but_only_for_their_own_id() {
    let stage = eligible([Keys(HOUR)]);
    stage.cache.invalidate("key-1");
    assert_eq!(stage.get(), "key-1");
    stage.cache.invalidate("key-0");
    assert_eq!(stage.get(), "key-1");
    stage.cache.invalidate("key-1");
    assert!(stage.cache.cached(&stage.host).is_none(), "callers wait");
    assert_eq!(stage.get(), "key-2");
    // The other requests that met the refusal report it late.
    stage.cache.invalidate("key-1");
    assert_eq!(stage.get(), "key-2");
    assert_eq!(stage.asked(), 2);
}

#[test]
fn a_refusal_keeps_the_old_keys_and_the_back_off() {
    let stage = eligible([Keys(HOUR), Fails(Retry::Transient), Keys(HOUR)]);
    stage.get();
    stage.time.pass(45 * MINUTE);
    stage.get();
    stage.cache.invalidate("key-1");
    assert_eq!(stage.get(), "key-1");
    stage.time.pass(5 * MINUTE - MILLI);
    assert_eq!(stage.get(), "key-1");
    assert_eq!(stage.asked(), 2);
    stage.time.pass(5 * MINUTE + MILLI);
    assert_eq!(stage.get(), "key-3");
}

#[test]
fn a_refusal_while_the_source_is_in_trouble_starts_a_back_off_of_its_own() {
    let stage = eligible([Keys(HOUR), Fails(Retry::Transient), Keys(HOUR)]);
    stage.get();
    stage.cache.invalidate("key-1");
    assert_eq!(stage.get(), "key-1");
    assert_eq!(stage.asked(), 2);
    stage.cache.invalidate("key-1");
    assert_eq!(stage.get(), "key-1");
    assert_eq!(stage.asked(), 2);
}

#[test]
fn a_source_that_stands_by_refused_keys_is_asked_once_a_second_at_most() {
    let stage = eligible([Again("key", HOUR)]);
    stage.get();
    for _ in 0..10 {
        stage.cache.invalidate("key");
        assert_eq!(stage.get(), "key");
    }
    assert_eq!(stage.asked(), 2);
    stage.time.pass(SECOND);
    stage.get();
    assert_eq!(stage.asked(), 3);
}

#[test]
fn a_program_may_insist_on_fresh_keys_where_stale_ones_are_refused() {
    let options = exact().insist_when_refused(30 * SECOND);
    let stage = stage(true, [Keys(HOUR), Fails(Retry::Transient), Keys(HOUR)], options);
    stage.get();
    stage.time.pass(HOUR);
    stage.get();
    stage.time.pass(30 * SECOND);
    assert_eq!(stage.get(), "key-1", "not refused: the back-off counts");
    stage.cache.invalidate("key-1");
    assert_eq!(stage.get(), "key-3");
}

#[test]
fn keys_of_sources_that_cannot_extend_them_are_replaced_ten_seconds_before_they_expire() {
    let stage = stage(false, [Keys(HOUR)], exact());
    stage.get();
    stage.time.pass(HOUR - 10 * SECOND - MILLI);
    assert_eq!(stage.get(), "key-1");
    stage.time.pass(MILLI);
    assert_eq!(stage.get(), "key-2");
}

#[test]
fn keys_of_sources_that_cannot_extend_them_are_never_given_out_expired() {
    let stage = stage(false, [Keys(HOUR), Fails(Retry::Transient)], exact());
    stage.get();
    stage.time.pass(HOUR - 10 * SECOND);
    assert_eq!(stage.get(), "key-1", "they live for ten seconds yet");
    assert_eq!(stage.get(), "key-1");
    assert_eq!(stage.asked(), 2, "once a second");
    stage.time.pass(SECOND);
    stage.get();
    assert_eq!(stage.asked(), 3);
    stage.time.pass(9 * SECOND);
    assert!(stage.try_get().is_err());
    stage.source.says([Keys(HOUR)]);
    stage.time.pass(SECOND);
    stage.get();
}

#[test]
fn keys_without_expiry_are_asked_for_once() {
    let stage = stage(false, [Lasting], exact());
    assert!(stage.cache.cached(&stage.host).is_none());
    assert_eq!(stage.get(), "key-1");
    stage.time.pass(100 * 365 * 24 * HOUR);
    assert_eq!(stage.get(), "key-1");
    assert_eq!(stage.asked(), 1);
}

#[test]
fn anonymity_is_remembered() {
    let cache = CredentialsCache::new(CredentialsChain::builder().inline(Inline::Anonymous).build());
    let host = Host::builder().build();
    assert!(matches!(cache.get(&host).now_or_never(), Some(Ok(Identity::Anonymous))));
    cache.invalidate("");
    assert!(matches!(cache.cached(&host), Some(Identity::Anonymous)));
}

#[test]
fn keys_of_a_minute_are_asked_for_once_in_half_of_it() {
    let stage = eligible([Keys(MINUTE)]);
    for _ in 0..600 {
        stage.get();
        stage.time.pass(SECOND);
    }
    assert_eq!(stage.asked(), 20);
}

#[test]
fn the_report_shows_expiry_and_next_refresh_of_what_is_found_and_of_what_is_cached() {
    let stage = eligible([Keys(HOUR), Keys(2 * HOUR)]);
    let text =
        |stage: &crate::source::Stage| stage.cache.explain(&stage.host).now_or_never().unwrap().to_string();
    // 1800000000 is 2027-01-15T08:00:00Z.
    let before = text(&stage);
    assert!(before.contains("expires 2027-01-15T09:00:00Z"), "{before}");
    assert!(before.contains("\nnext refresh: 2027-01-15T08:45:00Z"), "{before}");
    assert!(!before.contains("cached"), "{before}");
    stage.get();
    let after = text(&stage);
    assert!(
        after.contains(
            "\ncached: key key-****ey-2, expires 2027-01-15T10:00:00Z, next refresh 2027-01-15T09:00:00Z"
        ) || after.contains("\ncached: key "),
        "{after}"
    );
    assert!(after.contains("next refresh 2027-01-15T09:00:00Z"), "{after}");
    stage.cache.invalidate("key-2");
    assert!(text(&stage).contains("refused by a service"));
}

/// Acts for an account that changes.
struct Moving(Arc<AtomicUsize>);

impl ProvideCredentials for Moving {
    fn name(&self) -> SourceName {
        SourceName::Custom("moving")
    }

    fn resolve<'a>(&'a self, host: &'a Host) -> LocalBoxFuture<'a, Result<Resolved, ProviderError>> {
        Box::pin(async move {
            let account = self.0.load(Ordering::SeqCst).to_string();
            // Another key each time, as with every temporary one.
            let keys = Credentials::builder(format!("ASIA{:012}", host.random_bits()), Secret::new("s"));
            Ok(keys.account_id(account).expires_at(host.now() + HOUR).build(self.name()).unwrap().into())
        })
    }
}

#[test]
fn a_refresh_that_changes_the_identity_is_reported_and_one_that_does_not_is_not() {
    let account = Arc::new(AtomicUsize::new(111_111_111_111));
    let chain = CredentialsChain::builder().provider(Moving(account.clone())).disable_environment().build();
    let cache = CredentialsCache::new(chain);
    let time = Time::default();
    let host = host(&time).build();
    let refresh = || {
        time.pass(HOUR);
        cache.get(&host).now_or_never().unwrap().unwrap();
        let explain = cache.explain(&host).now_or_never().unwrap();
        (explain.cached().unwrap().changed_from.clone(), explain.to_string())
    };
    refresh();
    let (before, text) = refresh();
    assert!(before.is_none() && !text.contains("changed"), "{text}");
    account.store(222_222_222_222, Ordering::SeqCst);
    let (before, text) = refresh();
    assert_eq!(before.as_deref(), Some("moving, account 111111111111"));
    let warning = "\nwarning: a refresh changed the identity; before: moving, account 111111111111";
    assert!(text.contains(warning), "{text}");
    // It is still told later: whoever looks need not look at once.
    assert!(refresh().1.contains(warning));
}

#[test]
fn chains_that_are_configured_alike_share_one_cache_and_others_do_not() {
    let keys = |secret: &str| {
        let parts = (Some("AKIA".to_owned()), Some(Secret::new(secret)), None);
        CredentialsChain::builder().inline(Inline::from_parts(parts.0, parts.1, parts.2).unwrap())
    };
    let one = CredentialsCache::shared(keys("one").build());
    assert!(Arc::ptr_eq(&one, &CredentialsCache::shared(keys("one").build())));
    assert!(Arc::ptr_eq(&one, &CredentialsCache::shared(one.chain().clone())));
    for other in [
        keys("two"),
        keys("one").region("eu-west-1".to_owned()),
        keys("one").sts_endpoint("https://sts.example".to_owned()),
        keys("one").assume_role(AssumeRole::new("arn:aws:iam::1:role/r")),
        keys("one").profile_name("p".to_owned()),
        keys("one").without(SourceName::Imds),
        keys("one").only([SourceName::Inline]),
        keys("one").disable_environment(),
        CredentialsChain::builder().inline(Inline::Anonymous),
        CredentialsChain::builder(),
    ] {
        assert!(!Arc::ptr_eq(&one, &CredentialsCache::shared(other.build())));
    }
    let gone = Arc::downgrade(&one);
    drop(one);
    assert!(gone.upgrade().is_none(), "the registry holds nobody");
}
