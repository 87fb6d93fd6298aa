//! What the settings of an object store must keep to, one function each.

use std::time::Duration;

use ::url::{Host, Url};

use super::object::BODY_WINDOW_BYTES;
use super::problem::{OBJECT, problem, shown};
use super::secret::Secret;
use super::timeouts::TIMEOUT_LIMIT;
use super::units::BYTES_ADVICE;
use crate::error::Error;
use crate::key::Key;
use crate::limits::{PART_BYTES_MAX, PART_BYTES_MIN};

/// The longest prefix, in bytes: half of what a key may have, so that the other half is left for keys.
pub(super) const PREFIX_BYTES_MAX: usize = 512;

/// The longest access key id, in bytes. AWS allows 128.
const ACCESS_KEY_ID_BYTES_MAX: usize = 256;
/// The longest secret access key, in bytes. AWS's have 40.
const SECRET_ACCESS_KEY_BYTES_MAX: usize = 4 * 1024;
/// The longest session token, in bytes. AWS's have about 2 KiB, and headers end at 64 KiB somewhere.
const SESSION_TOKEN_BYTES_MAX: usize = 32 * 1024;
/// The longest region, profile name and user agent, in bytes: longer ones are accidents.
const NAME_BYTES_MAX: usize = 256;

fn option(name: &str) -> String {
    format!("{OBJECT}.{name}")
}

/// The name of a bucket of AWS, after [its rules]; what is also fit to stand in a host name.
///
/// [its rules]: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
pub(super) fn aws_bucket(name: &str) -> Result<(), Error> {
    let advice = "give the name as the S3 console shows it, or set `endpoint` if the store is not AWS";
    let wrong = |what: &str| Err(problem(option("bucket"), format!("{} {what}", shown(name)), advice));
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(3..=63).contains(&name.len()) {
        return wrong("is not 3 to 63 characters long");
    }
    if !name.chars().all(|c| alphanumeric(c) || matches!(c, '-' | '.')) {
        return wrong("holds something else than lower-case letters, digits, hyphens and dots");
    }
    if !name.starts_with(alphanumeric) || !name.ends_with(alphanumeric) {
        return wrong("does not begin and end with a letter or digit");
    }
    if name.contains("..") || name.contains(".-") || name.contains("-.") {
        return wrong("has a dot next to another dot or a hyphen");
    }
    if name.parse::<std::net::Ipv4Addr>().is_ok() {
        return wrong("looks like an address");
    }
    if name.starts_with("xn--") {
        return wrong("begins with the reserved xn--");
    }
    if name.ends_with("--x-s3") || name.ends_with(".mrap") {
        return wrong("is a directory bucket or a multi-Region access point, which speak another dialect");
    }
    Ok(())
}

/// The name of a bucket of some other store, which may be of the older kind. It stands in the path.
pub(super) fn endpoint_bucket(name: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let harmless = name.chars().all(allowed) && !name.chars().all(|c| c == '.');
    if harmless && (3..=255).contains(&name.len()) {
        return Ok(());
    }
    Err(problem(
        option("bucket"),
        format!("{} cannot be the name of a bucket", shown(name)),
        "a name has 3 to 255 letters, digits, hyphens, dots and underscores; a path below it belongs into `prefix`",
    ))
}

/// The prefix as a key without its last `/`.
pub(super) fn prefix(text: &str) -> Result<Key, Error> {
    let advice = "write it as \"logs/a\" without a / in front, or leave it out";
    let path = option("prefix");
    if text.len() > PREFIX_BYTES_MAX {
        let what = format!("it has {} bytes, at most {PREFIX_BYTES_MAX} leave room for keys", text.len());
        return Err(problem(path, what, "choose a shorter one"));
    }
    Key::parse(text.strip_suffix('/').unwrap_or(text)).map_err(|invalid| {
        problem(path, format!("{}: {}", shown(text), invalid.rule()), advice).with_source(invalid)
    })
}

/// A region is part of a signature and of AWS's host names.
pub(super) fn region(text: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(allowed) {
        return Ok(());
    }
    let what = format!("{} cannot be a region", shown(text));
    Err(problem(
        option("region"),
        what,
        "write it as \"eu-central-1\", or leave it out to ask environment and profile",
    ))
}

/// The address of a store: http or https, a host, perhaps a port and a plain path, which loses its last `/`.
///
/// The complaints show nothing of the text: what does not belong there may well be a password.
pub(super) fn endpoint(text: &str) -> Result<Url, Error> {
    let mut url = http_url("endpoint", text, &["http", "https"], "https://s3.example.com:9000")?;
    // Look at what was written: the parser has joined dot segments by now, `%2e%2e` too. Escapes are refused
    // because servers disagree on whether a signature covers them encoded once or twice.
    let written = text.splitn(4, '/').nth(3).unwrap_or("");
    let written = written.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(written);
    let plain = |segment: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        !matches!(segment, "" | "." | "..") && segment.bytes().all(allowed)
    };
    if !written.is_empty() && !written.split('/').all(plain) {
        return Err(problem(
            option("endpoint"),
            "its path holds `//`, a dot segment, or something else than letters, digits and - . _ ~",
            "write a plain path such as https://host/s3, without the bucket",
        ));
    }
    url.set_path(written);
    Ok(url)
}

/// The address of a proxy: http, a host and a port.
pub(super) fn proxy(text: &str) -> Result<Url, Error> {
    let url = http_url("proxy", text, &["http"], "http://proxy.example.com:3128")?;
    if url.path() != "/" {
        return Err(problem(option("proxy"), "it has a path", "write scheme, host and port only"));
    }
    Ok(url)
}

fn http_url(name: &str, text: &str, schemes: &[&str], example: &str) -> Result<Url, Error> {
    let advice = format!("write it as {example}");
    let wrong = |what: &str| Err(problem(option(name), what, &advice));
    // The URL parser drops tabs and newlines, turns backslashes round, and accepts any number of slashes.
    // What needs such mending was not meant.
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return wrong("it holds a blank, a control character or a backslash");
    }
    let scheme = schemes.iter().find(|scheme| {
        let rest = text.get(..scheme.len()).filter(|begin| begin.eq_ignore_ascii_case(scheme));
        rest.is_some() && text[scheme.len()..].starts_with("://")
    });
    let Some(scheme) = scheme else {
        return wrong(&format!("it does not begin with {}://", schemes.join(":// or ")));
    };
    let rest = &text[scheme.len() + 3..];
    if rest.contains(['?', '#']) {
        return wrong("it has a query or a fragment");
    }
    let authority = rest.split('/').next().unwrap_or("");
    if authority.contains('@') {
        return Err(problem(
            option(name),
            "it holds a user or a password",
            "remove it; keys belong into `access_key_id` and `secret_access_key`, or into a profile",
        ));
    }
    let Ok(url) = Url::parse(text) else {
        return wrong("it is not an address");
    };
    if authority.is_empty() || url.port() == Some(0) {
        return wrong("it has no host, or port 0");
    }
    Ok(url)
}

/// Whether the address can only be this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether a bucket can stand in front of the host.
pub(super) fn has_host_name(url: &Url) -> bool {
    matches!(url.host(), Some(Host::Domain(_)))
}

pub(super) fn part_size(bytes: u64) -> Result<(), Error> {
    if (PART_BYTES_MIN..=PART_BYTES_MAX).contains(&bytes) {
        return Ok(());
    }
    let what = format!("{bytes} bytes are not 5 MiB to 5 GiB, between which S3 takes parts");
    Err(problem(option("multipart_part_size"), what, BYTES_ADVICE))
}

pub(super) fn memory_limit(bytes: u64, part_size: u64) -> Result<(), Error> {
    let least = part_size + BODY_WINDOW_BYTES;
    if bytes >= least {
        return Ok(());
    }
    let what = format!(
        "{bytes} bytes do not hold one part of multipart_part_size ({part_size} bytes) beside one open body \
         ({BODY_WINDOW_BYTES} bytes)"
    );
    let advice = match PART_BYTES_MIN + BODY_WINDOW_BYTES <= bytes {
        true => format!("write at least {least}, or make multipart_part_size smaller"),
        false => format!("write at least {least}"),
    };
    Err(problem(option("memory_limit"), what, advice))
}

pub(super) fn timeout(name: &str, duration: Duration) -> Result<Duration, Error> {
    if !duration.is_zero() && duration < TIMEOUT_LIMIT {
        return Ok(duration);
    }
    let what = format!("{duration:?} is not above zero and below a day");
    Err(problem(
        option(name),
        what,
        "choose a limit that somebody would wait for; leave it out for the default",
    ))
}

pub(super) fn access_key_id(secret: &Secret) -> Result<(), Error> {
    key_text("access_key_id", secret, ACCESS_KEY_ID_BYTES_MAX, |b| b.is_ascii_graphic())
}

pub(super) fn secret_access_key(secret: &Secret) -> Result<(), Error> {
    // It is never sent, so any text will do; blanks and newlines come from pasting.
    key_text("secret_access_key", secret, SECRET_ACCESS_KEY_BYTES_MAX, |b| !b.is_ascii_control() && b != b' ')
}

pub(super) fn session_token(secret: &Secret) -> Result<(), Error> {
    key_text("session_token", secret, SESSION_TOKEN_BYTES_MAX, |b| b.is_ascii_graphic())
}

fn key_text(
    name: &str,
    secret: &Secret,
    bytes_max: usize,
    allowed: impl Fn(u8) -> bool,
) -> Result<(), Error> {
    let text = secret.expose_secret();
    let what = if text.is_empty() {
        "it is empty"
    } else if text.len() > bytes_max {
        "it is far too long"
    } else if !text.bytes().all(allowed) {
        "it holds a blank or another character that no key has"
    } else {
        return Ok(());
    };
    Err(problem(option(name), what, "paste it again, or leave it out to use the environment or a profile"))
}

pub(super) fn profile(name: &str) -> Result<(), Error> {
    let blank = name.trim().is_empty() || name.trim() != name;
    if blank || name.len() > NAME_BYTES_MAX || name.chars().any(|c| c.is_control() || matches!(c, '[' | ']'))
    {
        let what = format!("{} cannot be the name of a profile", shown(name));
        return Err(problem(
            option("profile"),
            what,
            "give the name between the brackets of ~/.aws/credentials",
        ));
    }
    Ok(())
}

pub(super) fn user_agent(text: &str) -> Result<(), Error> {
    let sendable = text.bytes().all(|b| matches!(b, 0x20..=0x7e));
    if sendable && text.trim() == text && !text.is_empty() && text.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    let what = format!("{} cannot be sent as a header", shown(text));
    Err(problem(option("user_agent"), what, "write 1 to 256 characters of ASCII such as \"my-server/1.2\""))
}
