//! Names to addresses, on the blocking pool of the runtime.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use compio::time::timeout;
use credentials::Dns;
use futures_util::future::LocalBoxFuture;

use crate::transport::addresses_of;

/// The system's resolver is asked for no longer than this. (It goes on by itself; that cannot be stopped.)
const RESOLVE_MAX: Duration = Duration::from_secs(2);

pub(super) struct Names;

impl Dns for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> LocalBoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            timeout(RESOLVE_MAX, addresses_of(name))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    }
}
