//! What [`credentials`] asks of this machine, on compio: HTTP, names, programs, time and tasks.

mod http;
mod names;
#[cfg(unix)]
mod processes;
mod trust;

use std::time::{Duration, SystemTime};

use credentials::{Clock, Host, SystemClock};
use futures_util::future::LocalBoxFuture;
use url::Url;

use self::http::CredentialsHttp;
use self::names::Names;
pub(crate) use self::trust::Trust;

/// This machine, for credentials: its environment and files, and over compio HTTP, name resolution,
/// programs, sleep, and tasks that outlive the request that started them.
///
/// Requests go over the transport's own TLS; certificates are those of the system, or of `AWS_CA_BUNDLE`. No proxy
/// is used, nor any redirect followed. A host belongs to the shard that made it, and may be used only inside that
/// shard's compio runtime.
#[must_use]
pub fn system_host() -> Host {
    host(None, Trust::of_system())
}

/// The same with a program's proxy, for the services that are reached over the internet, and its trust.
pub(crate) fn host(proxy: Option<Url>, trust: Trust) -> Host {
    let builder = Host::system()
        .to_builder()
        .clock(CompioClock)
        .dns(Names)
        .http(CredentialsHttp::new(proxy, trust))
        .spawner(|task| compio::runtime::spawn(task).detach());
    #[cfg(unix)]
    let builder = builder.processes(self::processes::Programs);
    builder.build()
}

/// The system's clock, which waits by the runtime's timers.
struct CompioClock;

impl Clock for CompioClock {
    fn now(&self) -> SystemTime {
        SystemClock.now()
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Option<LocalBoxFuture<'_, ()>> {
        Some(Box::pin(compio::time::sleep(duration)))
    }
}
