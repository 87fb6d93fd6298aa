//! The URI of a service that hands out keys: parsed once, strictly, and tied to addresses that were
//! checked.
//!
//! Whatever answers there decides as whom this program acts, and gets to see its token. So nothing is
//! accepted that two parsers could read differently, and the connection goes to the very addresses that
//! were checked: a name that is looked up twice can have two answers.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;

use super::attempts::bounded;
use crate::host::Host;
use crate::provider::{ProviderError, ProviderErrorKind, Retry, SourceName};

/// A name has this long to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// An absolute http or https URI without user name and fragment.
#[derive(Clone)]
pub(super) struct Target {
    uri: Uri,
    /// `http://host:port`: the part that may be printed. Paths and queries of these services are secret.
    origin: String,
    place: Place,
    https: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Address(IpAddr),
    Name(String),
}

impl Target {
    /// The error says what is wrong and quotes nothing.
    pub(super) fn parse(text: &str) -> Result<Target, &'static str> {
        // The `http` crate drops fragments; others take `\` for `/`.
        if text.contains('#') {
            return Err("has a fragment (`#`)");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('\\') {
            return Err("contains a blank, a control character, a backslash or something outside ASCII");
        }
        let uri: Uri = text.parse().map_err(|_| "is not a URI")?;
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err("does not begin with http:// or https://"),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err("has a user name (`@`) before the host");
        }
        let place = place(authority)?;
        let scheme = if https { "https" } else { "http" };
        let origin = format!("{scheme}://{authority}");
        Ok(Target { uri, origin, place, https })
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn is_https(&self) -> bool {
        self.https
    }

    /// The addresses to connect to, every one of them `allowed`; a name is looked up here, once.
    pub(super) async fn addresses(
        &self,
        host: &Host,
        allowed: fn(IpAddr) -> bool,
    ) -> Result<Vec<IpAddr>, AddressError> {
        let addresses = match &self.place {
            Place::Address(address) => vec![*address],
            Place::Name(name) => match bounded(host, RESOLVE_TIMEOUT, host.resolve(name)).await {
                Some(resolved) => resolved.map_err(AddressError::NotResolved)?,
                None => return Err(AddressError::NotResolved(io::ErrorKind::TimedOut.into())),
            },
        };
        // `::ffff:127.0.0.1` is 127.0.0.1, for the check as for the kernel.
        let addresses: Vec<IpAddr> = addresses.iter().map(IpAddr::to_canonical).collect();
        if !addresses.iter().copied().all(allowed) {
            return Err(AddressError::NotAllowed);
        }
        Ok(addresses)
    }

    /// The address, where the URI has one instead of a name.
    pub(super) fn literal(&self) -> Option<IpAddr> {
        match &self.place {
            Place::Address(address) => Some(address.to_canonical()),
            Place::Name(_) => None,
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

#[derive(Debug)]
pub(super) enum AddressError {
    NotResolved(io::Error),
    NotAllowed,
}

/// The name of a target has no addresses.
pub(super) fn not_resolved(provider: SourceName, target: &Target, error: io::Error) -> ProviderError {
    let origin = target.origin();
    if error.kind() == io::ErrorKind::Unsupported {
        let message =
            format!("the host of {origin} is a name, and this program resolves none for credentials");
        return ProviderError::unsupported(provider, "name resolution", message)
            .with_hint("write the address in place of the name");
    }
    let message = format!("the host of {origin} cannot be resolved");
    ProviderError::new(provider, ProviderErrorKind::Connect, Retry::Transient, message).with_source(error)
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn place(authority: &str) -> Result<Place, &'static str> {
    let (host, port, bracketed) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("has a bracket that does not close")?;
            (host, port, true)
        }
        None => match authority.find(':') {
            Some(at) => (&authority[..at], &authority[at..], false),
            None => (authority, "", false),
        },
    };
    let port_is_good = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse::<u16>().is_ok_and(|port| port != 0)
        });
    if !port_is_good {
        return Err("has a port that is not a number from 1 to 65535");
    }
    if bracketed {
        let address: Ipv6Addr = host.parse().map_err(|_| "has brackets around something other than IPv6")?;
        return Ok(Place::Address(address.into()));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Place::Address(address.into()));
    }
    let is_name = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if !is_name {
        return Err("has a host that is neither an address nor a name");
    }
    Ok(Place::Name(host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for evil in [
            "",
            "/",
            "127.0.0.1",
            "//127.0.0.1/x",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "http://",
            "http:///x",
            "http:/127.0.0.1/",
            "http://127.0.0.1@evil",
            "http://127.0.0.1@evil/x",
            "http://a:b@127.0.0.1/",
            "http://@127.0.0.1/",
            "http://127.0.0.1#@evil/",
            "http://127.0.0.1\\@evil/",
            "http://127.0.0.1/x#y",
            "http://127.0.0.1 /",
            " http://127.0.0.1/",
            "http://127.0.0.1/\r\nHost: evil",
            "http://127.0.0.1\0.evil/",
            "http://127.0.0.1:99999/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:/",
            "http://127.0.0.1:+80/",
            "http://127.0.0.1:80:80/",
            "http://127.0.0.1%2eevil/",
            "http://[127.0.0.1]/",
            "http://[::1",
            "http://[::1]evil/",
            "http://[::1%25lo]/",
            "http://[fe80::1%eth0]/",
            "http://::1/",
            "http://loc\u{e4}lhost/",
            "http://\u{ff11}27.0.0.1/",
        ] {
            assert!(Target::parse(evil).is_err(), "{evil:?}");
        }
        for (good, origin) in [
            ("http://127.0.0.1", "http://127.0.0.1"),
            ("http://localhost:8080/x?y=z", "http://localhost:8080"),
            ("https://[::1]:1/x@y", "https://[::1]:1"),
        ] {
            assert_eq!(Target::parse(good).unwrap().origin(), origin);
        }
    }
}
