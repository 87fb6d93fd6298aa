//! Names to addresses, on the blocking pool of the runtime; `*.localhost` without asking anybody.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use compio::net::ToSocketAddrsAsync;

/// The most addresses of one name that are tried: S3 answers with eight.
const ADDRESSES_MAX: usize = 16;

/// The addresses of a name, or the one that it is.
pub(crate) async fn addresses_of(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Some(addresses) = known(host) {
        return Ok(addresses);
    }
    // The port is put in by who connects.
    let found = (host, 0).to_socket_addrs_async().await?;
    Ok(found.take(ADDRESSES_MAX).map(|address| address.ip()).collect())
}

/// The addresses that need no lookup: literal ones, and the names below `localhost`, which mean this machine
/// ([RFC 6761, section 6.3](https://www.rfc-editor.org/rfc/rfc6761#section-6.3)) although not every system resolves
/// them. A store on this machine can so be addressed in virtual-host style.
fn known(host: &str) -> Option<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Some(vec![address]);
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    (name == "localhost" || name.ends_with(".localhost"))
        .then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_localhost_are_this_machine_and_nothing_that_looks_like_it_is() {
        let v4 = Some(IpAddr::from(Ipv4Addr::LOCALHOST));
        for name in ["localhost", "bucket.localhost", "a.b.LOCALHOST", "bucket.localhost."] {
            assert_eq!(known(name).and_then(|found| found.first().copied()), v4, "{name}");
        }
        for name in ["notlocalhost", "localhost.example", "bucket-localhost", ""] {
            assert_eq!(known(name), None, "{name}");
        }
        assert_eq!(known("::1"), Some(vec![Ipv6Addr::LOCALHOST.into()]));
    }
}
