//! What a caller gets, and what becomes of an answer: the refresh table, as a value that has no clock.

use std::time::{Duration, SystemTime};

use super::options::CacheOptions;
use crate::chain::{CredentialsError, Fetched};
use crate::credentials::{Credentials, Identity};
use crate::explain;
use crate::provider::Retry;

/// Keys of sources that cannot extend them are replaced this long before they expire.
const MARGIN: Duration = Duration::from_secs(10);

/// The least time between two attempts that brought nothing.
const FLOOR: Duration = Duration::from_secs(1);

/// How long an error that asking again will not cure is given to everybody: this, and up to four seconds
/// more.
const ERROR_LEAST: Duration = Duration::from_secs(1);
const ERROR_SPREAD: Duration = Duration::from_secs(4);

/// What time it is, twice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// For expiry: a machine that slept must not use what died meanwhile.
    pub(super) wall: SystemTime,
    /// For back-off, since any instant: setting the clock neither hammers the source nor freezes us.
    pub(super) steady: Duration,
}

/// Which fetch; later ones have larger numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Flight(u64);

/// All that a cache knows.
#[derive(Debug, Default)]
pub(super) struct State {
    held: Option<Held>,
    /// What the identity was that another took the place of, if that ever happened.
    changed_from: Option<String>,
    /// A service refused what is held.
    refused: bool,
    /// The source is left alone until then.
    rests_until: Option<Duration>,
    /// When the source answered last, if it failed.
    failed_at: Option<Duration>,
    failure: Option<Failure>,
    /// The fetch under way.
    flight: Option<Flight>,
    /// The last fetch that was begun, and the last that ended by itself.
    begun: Flight,
    landed: Flight,
    /// How much earlier this process refreshes than others, within 0 and 1; drawn once.
    jitter: Option<f64>,
}

/// What is given out.
#[derive(Debug, Clone)]
struct Held {
    identity: Identity,
    /// The source can be used on past expiry while it is in trouble.
    eligible: bool,
    expiry: Option<Expiry>,
}

#[derive(Debug, Clone, Copy)]
struct Expiry {
    /// From then on, refreshed beside its use.
    advisory: SystemTime,
    /// From then on, refreshed before its use.
    mandatory: SystemTime,
    at: SystemTime,
}

/// An error that is given out instead of asking again.
#[derive(Debug, Clone)]
struct Failure {
    error: CredentialsError,
    until: Duration,
    /// Raised although there are keys.
    final_: bool,
}

/// What to do for a caller who wants keys.
#[derive(Debug)]
pub(super) enum Decision {
    /// Give it what is held.
    Use(Identity),
    /// The same, and have the source asked, unless somebody is doing so.
    Refresh(Identity),
    /// Have the source asked, or wait for who is doing so, and look again.
    Wait,
    /// Give it this error.
    Fail(CredentialsError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fresh,
    Advisory,
    Mandatory,
}

impl Held {
    fn phase(&self, wall: SystemTime) -> Phase {
        match &self.expiry {
            Some(expiry) if wall >= expiry.mandatory => Phase::Mandatory,
            Some(expiry) if wall >= expiry.advisory => Phase::Advisory,
            _ => Phase::Fresh,
        }
    }

    /// Whether these keys may not be given out any more, whatever the source's trouble.
    fn is_dead(&self, wall: SystemTime) -> bool {
        !self.eligible && self.expiry.is_some_and(|expiry| wall >= expiry.at)
    }
}

/// The table.
pub(super) fn decide(now: Now, state: &State, options: &CacheOptions) -> Decision {
    let failure = state.failure.as_ref().filter(|failure| now.steady < failure.until);
    let Some(held) = &state.held else {
        return failure.map_or(Decision::Wait, |failure| Decision::Fail(failure.error.clone()));
    };
    if let Some(failure) = failure
        && (failure.final_ || held.is_dead(now.wall))
    {
        return Decision::Fail(failure.error.clone());
    }
    let phase = if state.refused { Phase::Mandatory } else { held.phase(now.wall) };
    if phase != Phase::Fresh && state.rests(now, options) && !held.is_dead(now.wall) {
        return Decision::Use(held.identity.clone());
    }
    match phase {
        Phase::Fresh => Decision::Use(held.identity.clone()),
        Phase::Advisory => Decision::Refresh(held.identity.clone()),
        Phase::Mandatory => Decision::Wait,
    }
}

impl State {
    /// What [`decide`] would say to use while nothing is amiss, for the fast path, and until when; `None`: for ever.
    pub(super) fn fresh(&self, wall: SystemTime) -> Option<(&Identity, Option<SystemTime>)> {
        let held = self.held.as_ref()?;
        let amiss = self.refused || self.failure.is_some() || held.phase(wall) != Phase::Fresh;
        let until = held.expiry.map(|expiry| expiry.advisory.min(expiry.mandatory));
        (!amiss).then_some((&held.identity, until))
    }

    fn rests(&self, now: Now, options: &CacheOptions) -> bool {
        let insists = self.refused
            && options
                .insist_after
                .zip(self.failed_at)
                .is_some_and(|(after, failed_at)| now.steady >= failed_at + after);
        self.rests_until.is_some_and(|until| now.steady < until) && !insists
    }

    /// Whether nothing is held, in which case a source may answer with keys that have expired.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_none()
    }

    pub(super) fn identity(&self) -> Option<&Identity> {
        self.held.as_ref().map(|held| &held.identity)
    }

    pub(super) fn changed_from(&self) -> Option<&str> {
        self.changed_from.as_deref()
    }

    pub(super) fn flight(&self) -> Option<Flight> {
        self.flight
    }

    /// Begins a fetch, unless one is under way.
    pub(super) fn begin(&mut self) -> Option<Flight> {
        if self.flight.is_some() {
            return None;
        }
        self.begun = Flight(self.begun.0 + 1);
        self.flight = Some(self.begun);
        self.flight
    }

    /// A fetch ended without an answer: its task was dropped, or panicked, or is given up. The next
    /// caller asks anew; after a panic while there are keys not before the back-off is over.
    pub(super) fn abandon(&mut self, flight: Flight, panicked: Option<(Now, f64)>, options: &CacheOptions) {
        if self.flight != Some(flight) {
            return;
        }
        self.flight = None;
        if let Some((now, draw)) = panicked
            && self.held.is_some()
        {
            self.rest(now, draw, options);
        }
    }

    /// A fetch ended with an answer. `draw` lies within 0 and 1.
    pub(super) fn land(
        &mut self,
        now: Now,
        options: &CacheOptions,
        flight: Flight,
        draw: f64,
        answer: Result<Fetched, CredentialsError>,
    ) {
        if self.flight == Some(flight) {
            self.flight = None;
        }
        if flight < self.landed {
            // Given up, overtaken, and back after all: what the later one brought is newer.
            return;
        }
        self.landed = flight;
        match answer {
            Ok(fetched) => self.replace(now, options, draw, fetched),
            Err(error) => self.failed(now, options, draw, error),
        }
    }

    fn replace(&mut self, now: Now, options: &CacheOptions, draw: f64, fetched: Fetched) {
        let same = self.refused && same_keys(&fetched.identity, self.identity());
        // The source stands by keys that a service refuses: whoever is wrong, asking for every request
        // does not help.
        self.rests_until = same.then(|| now.steady + FLOOR);
        let jitter = *self.jitter.get_or_insert(options.jitter.unwrap_or(draw));
        let expires_at = fetched.identity.credentials().and_then(Credentials::expires_at);
        let expiry = expires_at.map(|at| Expiry::new(now.wall, at, fetched.eligible, jitter, options));
        if let Some(before) = self.identity()
            && !same_owner(before, &fetched.identity)
        {
            self.changed_from = Some(explain::owner(before));
        }
        self.held = Some(Held { identity: fetched.identity, eligible: fetched.eligible, expiry });
        self.refused = false;
        self.failed_at = None;
        self.failure = None;
    }

    fn failed(&mut self, now: Now, options: &CacheOptions, draw: f64, error: CredentialsError) {
        self.failed_at = Some(now.steady);
        if error.retry() == Retry::NonRecoverable {
            let until = now.steady + ERROR_LEAST + ERROR_SPREAD.mul_f64(draw);
            self.failure = Some(Failure { error, until, final_: true });
            self.rests_until = None;
            return;
        }
        let eligible = self.held.as_ref().is_some_and(|held| held.eligible);
        if eligible {
            self.failure = None;
            self.rest(now, draw, options);
        } else {
            self.failure = Some(Failure { error, until: now.steady + FLOOR, final_: false });
            self.rests_until = Some(now.steady + FLOOR);
        }
    }

    fn rest(&mut self, now: Now, draw: f64, options: &CacheOptions) {
        let (least, most) = options.backoff;
        self.rests_until = Some(now.steady + least + most.saturating_sub(least).mul_f64(draw));
        self.failed_at = Some(now.steady);
    }

    /// What a caller gets who waited for `flight`; `None` if it ended without an answer. Unlike
    /// [`decide`] this never asks again, so that waiting ends however slowly a waiter gets its turn.
    pub(super) fn settle(&self, now: Now, flight: Flight) -> Option<Result<Identity, CredentialsError>> {
        if self.landed < flight {
            return None;
        }
        match (&self.failure, &self.held) {
            (Some(failure), None) => Some(Err(failure.error.clone())),
            (Some(failure), Some(held)) if failure.final_ || held.is_dead(now.wall) => {
                Some(Err(failure.error.clone()))
            }
            (_, Some(held)) if !held.is_dead(now.wall) => Some(Ok(held.identity.clone())),
            _ => None,
        }
    }

    /// A service refused the keys with this id.
    pub(super) fn refuse(&mut self, access_key_id: &str) {
        if key_id(self.identity()) == Some(access_key_id) {
            self.refused = true;
        }
    }

    /// When the source is asked next, if somebody wants keys then; `None` for never.
    pub(super) fn next_refresh(&self, now: Now, options: &CacheOptions) -> Option<SystemTime> {
        let held = self.held.as_ref()?;
        let due = match (&held.expiry, self.refused) {
            (_, true) => now.wall,
            (Some(expiry), false) => expiry.advisory.max(now.wall),
            (None, false) => return None,
        };
        let rested = self.rests_until.filter(|_| self.rests(now, options));
        let rested = rested.and_then(|until| now.wall.checked_add(until.saturating_sub(now.steady)));
        Some(rested.map_or(due, |rested| due.max(rested)))
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }
}

impl Expiry {
    fn new(wall: SystemTime, at: SystemTime, eligible: bool, jitter: f64, options: &CacheOptions) -> Expiry {
        let lifetime = at.duration_since(wall).unwrap_or_default();
        let before = |window: Duration| at.checked_sub(window).unwrap_or(SystemTime::UNIX_EPOCH);
        if eligible {
            let windows = options.windows(lifetime);
            let early = windows.advisory.mul_f64(jitter.clamp(0.0, 1.0) / 10.0);
            Expiry { advisory: before(windows.advisory + early), mandatory: before(windows.mandatory), at }
        } else {
            let from = before(MARGIN.min(lifetime / 2));
            Expiry { advisory: from, mandatory: from, at }
        }
    }
}

/// When keys that are fetched now would be refreshed, for reports.
pub(super) fn refresh_of(fetched: &Fetched, now: Now, options: &CacheOptions) -> Option<SystemTime> {
    let at = fetched.identity.credentials()?.expires_at()?;
    let jitter = options.jitter.unwrap_or_default();
    Some(Expiry::new(now.wall, at, fetched.eligible, jitter, options).advisory)
}

fn same_keys(one: &Identity, other: Option<&Identity>) -> bool {
    match (one.credentials(), other.and_then(Identity::credentials)) {
        (Some(one), Some(other)) => one.is_same(other) && one.expires_at() == other.expires_at(),
        _ => false,
    }
}

/// Whether both act as the same user or role, as far as their sources tell. Key ids differ with every refresh.
fn same_owner(one: &Identity, other: &Identity) -> bool {
    match (one.credentials(), other.credentials()) {
        (Some(one), Some(other)) => {
            one.source() == other.source()
                && one.account_id() == other.account_id()
                && one.via() == other.via()
        }
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn key_id(identity: Option<&Identity>) -> Option<&str> {
    identity.and_then(Identity::credentials).map(Credentials::access_key_id)
}
