//! Playing one cell in one way, and judging what came of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use object_storage::config::{Transport, UrlStyle};
use object_storage::{ErrorKind, HeadOptions, Key, ObjectStorage as _};
use s3_backend::S3Storage;
use tests::fault_proxy::{Act, Attempt, FaultProxy, Rule, S3Operation, Setup, Stage};
use tests::matrix::{Cell, Ends, Op, Play, Said, Strike, Times};
use tests::scripted::tls::{Authority, Flaw};
use tests::scripted::{Blackhole, Nobody};

use crate::killed;
use crate::world::{Failed, Look, Target, World, open, timeouts, trusting};

/// What came of a play.
#[derive(Debug)]
pub(crate) enum Played {
    /// What is meant.
    Meant,
    /// What is true, and accepted until more is done about it.
    ForNow,
    /// Something else.
    Wrong(String),
}

/// Certificates of two authorities, of which clients know one.
pub(crate) struct Certificates {
    known: Authority,
    unknown: Authority,
    _directory: tempfile::TempDir,
    ca: PathBuf,
}

impl Certificates {
    pub(crate) fn new() -> Certificates {
        let directory = tempfile::tempdir().expect("a directory");
        let known = Authority::new();
        let ca = known.pem_file(directory.path());
        Certificates { known, unknown: Authority::new(), _directory: directory, ca }
    }

    fn of(&self, strike: &Strike) -> Option<Arc<rustls::ServerConfig>> {
        match strike {
            Strike::Certificate(Some(flaw)) => Some(self.known.server(*flaw)),
            Strike::Certificate(None) => Some(self.unknown.server(Flaw::None)),
            Strike::Handshake(_) => Some(self.known.server(Flaw::None)),
            _ => None,
        }
    }
}

/// The most requests besides those of the operation itself: looking up what became of it.
const LOOKING_UP_MAX: usize = 8;

/// What is in the store is looked at this long after everything is over once more: late writes come late.
const LATE: Duration = Duration::from_millis(30);

#[expect(clippy::too_many_arguments, reason = "everything that a play depends on")]
pub(crate) async fn play(
    target: &Target,
    transport: Transport,
    direct: &S3Storage,
    certificates: &Certificates,
    cell: &Cell,
    play: &Play,
    times: Times,
    ends: &Ends,
    name: &str,
) -> Played {
    let judged = judge(target, transport, direct, certificates, cell, play, times, ends, name).await;
    judged.unwrap_or_else(Played::Wrong)
}

fn rules(cell: &Cell, strike: &Strike, times: Times) -> Vec<Rule> {
    let attempt = match times {
        Times::Once => Attempt::Nth(1),
        Times::Always => Attempt::Every,
    };
    let operation = Some(cell.op.on_the_wire());
    match strike {
        Strike::Proxy(stage, act) => vec![Rule { operation, attempt, stage: *stage, act: act.clone() }],
        Strike::Dropped(stage) | Strike::Killed(stage) => {
            vec![Rule { operation, attempt, stage: *stage, act: Act::Stall }]
        }
        Strike::Handshake(act) => {
            vec![Rule { operation: None, attempt, stage: Stage::Connected, act: act.clone() }]
        }
        Strike::Stale(act) => {
            let operation = Some(S3Operation::HeadObject);
            vec![Rule { operation, attempt, stage: Stage::Over, act: act.clone() }]
        }
        Strike::Nobody | Strike::Blackhole | Strike::NoName | Strike::Certificate(_) => Vec::new(),
    }
}

#[expect(clippy::too_many_arguments, reason = "everything that a play depends on")]
async fn judge(
    target: &Target,
    transport: Transport,
    direct: &S3Storage,
    certificates: &Certificates,
    cell: &Cell,
    play: &Play,
    times: Times,
    ends: &Ends,
    name: &str,
) -> Result<Played, String> {
    let world = World::set_up(direct, cell, name).await.map_err(|error| format!("setting up: {error:?}"))?;
    let tls = certificates.of(&play.strike);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let receive_buffer = (cell.fault.id == "F10").then_some(4096);
    let setup = Setup { rules: rules(cell, &play.strike, times), tls, receive_buffer, ..Setup::default() };
    let proxy = FaultProxy::new(target.address, setup);
    let (nobody, blackhole) = match play.strike {
        Strike::Nobody => (Some(Nobody::new()), None),
        Strike::Blackhole => (None, Some(Blackhole::new())),
        _ => (None, None),
    };
    let address = match (&nobody, &blackhole) {
        (Some(nobody), _) => nobody.address(),
        (_, Some(blackhole)) => blackhole.address(),
        _ => proxy.address(),
    };
    let endpoint = match play.strike {
        Strike::NoName => "http://nowhere.invalid:9".to_owned(),
        _ => format!("{scheme}://{address}"),
    };
    let config = target.config(endpoint, transport).allow_http(true).url_style(UrlStyle::Path);
    let ca = (scheme == "https").then_some(certificates.ca.as_path());
    let store = open(trusting(timeouts(config, play.is_silence), ca)).await;

    if let Strike::Stale(_) = play.strike {
        // It fills the pool. There is no such object.
        let primer = Key::parse(&format!("{name}/primer")).expect("a key");
        let _not_found = store.head(&primer, HeadOptions::default()).await;
        compio::time::sleep(Duration::from_millis(60)).await;
    }
    let said: Said = match play.strike {
        Strike::Dropped(stage) => {
            drop_at(&world, &store, &proxy, stage).await?;
            Some(ErrorKind::Indeterminate)
        }
        Strike::Killed(stage) => {
            let mut child = killed::spawn(target, transport, &proxy.address().to_string(), &world);
            let reached = reached(&proxy, stage).await;
            child.kill();
            if !reached {
                return Err("the proxy was never reached".to_owned());
            }
            Some(ErrorKind::Indeterminate)
        }
        _ => match world.run(&store).await {
            Ok(()) => None,
            Err(Failed::Error(error)) => Some(error.kind()),
            Err(Failed::Lied(how)) => return Err(format!("BROKEN PROMISE: {how}")),
        },
    };

    let looked = world.look(direct).await.map_err(|error| format!("looking: {error:?}"))?;
    let is_read = cell.op.effect(false) == tests::matrix::Effect::Read;
    check(said, is_read, &looked)?;
    // What was held back comes now, and what else may come late.
    let released = proxy.release().map_err(|error| format!("releasing: {error}"))?;
    compio::time::sleep(LATE).await;
    let late = world.look(direct).await.map_err(|error| format!("looking again: {error:?}"))?;
    check(said, is_read, &late).map_err(|why| format!("later ({released:?} were released): {why}"))?;
    if released.is_empty() && looked != late {
        return Err(format!("said {said:?}, looked {looked:?} and then {late:?}"));
    }

    let requests = proxy.count(cell.op.on_the_wire());
    let requests = match play.strike {
        // The one that filled the pool was a HEAD too.
        Strike::Stale(_) if cell.op.on_the_wire() == S3Operation::HeadObject => requests - 1,
        _ => requests,
    };
    if !ends.requests.contains(&requests) {
        return Err(format!("said {said:?} after {requests} requests, not {:?}", ends.requests));
    }
    let others = proxy.passed().len() - proxy.count(cell.op.on_the_wire());
    if others > LOOKING_UP_MAX {
        return Err(format!("{others} requests besides its own"));
    }
    if cell.op == Op::Part && said.is_none() && !matches!(play.name, "weak") {
        let is_good = world.complete_part(direct).await;
        if !is_good.map_err(|error| format!("completing with the part: {error:?}"))? {
            return Err("BROKEN PROMISE: the part has other bytes".to_owned());
        }
    }
    world.clean_up(direct).await.map_err(|error| format!("cleaning up: {error:?}"))?;
    match said {
        said if ends.meant.contains(&said) => Ok(Played::Meant),
        said if ends.today.contains(&said) => Ok(Played::ForNow),
        said => {
            Err(format!("said {said:?} after {requests} requests, not {:?} or {:?}", ends.meant, ends.today))
        }
    }
}

/// The promise of the library.
fn check(said: Said, is_read: bool, looked: &Look) -> Result<(), String> {
    let is_kept = match (said, looked) {
        (_, Look::Else(_)) => false,
        (_, looked) if is_read => *looked == Look::Before,
        (None, looked) => *looked == Look::After,
        (Some(ErrorKind::Indeterminate), _) => true,
        (Some(_), looked) => *looked == Look::Before,
    };
    if is_kept {
        Ok(())
    } else {
        Err(format!("BROKEN PROMISE: said {said:?}, and in the store it is {looked:?}"))
    }
}

/// Drops the operation while the proxy holds it up.
async fn drop_at(world: &World, store: &S3Storage, proxy: &FaultProxy, stage: Stage) -> Result<(), String> {
    let (run, wait) = (std::pin::pin!(world.run(store)), std::pin::pin!(reached(proxy, stage)));
    match select(run, wait).await {
        Either::Left((result, _)) => Err(format!("it ended before it was dropped: {result:?}")),
        Either::Right((true, _)) => Ok(()),
        Either::Right((false, _)) => Err("the proxy was never reached".to_owned()),
    }
}

/// Waits, a few seconds at most, until the proxy holds a request up at this stage.
async fn reached(proxy: &FaultProxy, stage: Stage) -> bool {
    for _ in 0..2000 {
        let passed = proxy.passed();
        let is_reached = match stage {
            Stage::Answered => passed.iter().any(|passed| passed.struck && !passed.answered.is_empty()),
            _ => passed.iter().any(|passed| passed.struck),
        };
        compio::time::sleep(Duration::from_millis(if is_reached { 10 } else { 5 })).await;
        if is_reached {
            return true;
        }
    }
    false
}
