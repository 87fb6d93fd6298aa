//! The URL door: `s3://bucket/prefix?region=...`, `file:///dir`, `memory:///`.

use super::StorageConfig;
use super::builder::{FsConfigBuilder, ObjectConfigBuilder};
use super::fields::{FS_FIELDS, Field, InUrl, OBJECT_FIELDS, names};
use super::problem::{FS, OBJECT, problem, shown};
use super::raw::Raw;
use crate::error::{Error, Result};

/// The known forms; ends the complaints about what a URL begins with.
const FORMS: &str = "write s3://bucket/prefix?region=eu-central-1, file:///directory or memory:///";

/// Reads a storage URL. Not with a general parser, which would join `..` segments and drop tabs before anybody
/// could object.
///
/// The complaints show names of options and values of harmless ones, never the URL: what was put into it by
/// mistake may be a key.
pub(super) fn from_url(text: &str) -> Result<StorageConfig> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(wrong("it holds a blank or a control character", "write a blank as %20"));
    }
    if text.contains('#') {
        return Err(wrong("it has a fragment", "write a # that belongs to a value as %23"));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(wrong("it has no scheme", FORMS));
    };
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, path) = before.find('/').map_or((before, ""), |slash| before.split_at(slash));
    if host.contains('@') {
        let advice = "remove them: URLs get printed; name a profile=, or put the keys into the file or the environment";
        return Err(wrong("it holds a user or a password", advice));
    }
    match scheme.to_ascii_lowercase().as_str() {
        "s3" => object(host, path, query),
        "file" => fs(host, path, query),
        "memory" => memory(host, path, query),
        _ => Err(wrong("its scheme is unknown", FORMS)),
    }
}

fn wrong(what: &str, advice: &str) -> Error {
    problem("storage URL", what, advice)
}

fn object(host: &str, path: &str, query: &str) -> Result<StorageConfig> {
    if host.contains(':') {
        return Err(wrong(
            "there is a port after the bucket",
            "give the store's address as ?endpoint=https://host:port",
        ));
    }
    if host.is_empty() {
        return Err(wrong("it names no bucket", FORMS));
    }
    let prefix = decode(path.strip_prefix('/').unwrap_or(path))?;
    let builder = ObjectConfigBuilder {
        bucket: Some(decode(host)?),
        prefix: Some(prefix).filter(|prefix| !prefix.is_empty()),
        ..Default::default()
    };
    read(OBJECT, OBJECT_FIELDS, query, builder)?.build()
}

fn fs(host: &str, path: &str, query: &str) -> Result<StorageConfig> {
    if !host.is_empty() && host != "localhost" {
        return Err(wrong(
            "it names a host",
            "write three slashes and the directory from the root: file:///var/lib/objects",
        ));
    }
    if path.is_empty() {
        return Err(wrong("it names no directory", "write file:///var/lib/my-server/objects"));
    }
    let root = decode(path)?;
    if root.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(wrong("a segment of its path is `.` or `..`", "write the directory as it is"));
    }
    let builder = FsConfigBuilder { root: Some(root.into()), durability: None };
    read(FS, FS_FIELDS, query, builder)?.build()
}

fn memory(host: &str, path: &str, query: &str) -> Result<StorageConfig> {
    if host.is_empty() && matches!(path, "" | "/") && query.is_empty() {
        return Ok(StorageConfig::Memory);
    }
    Err(wrong("a store in memory has neither name nor settings", "write memory:///"))
}

/// Reads a query into a builder.
fn read<B>(path: &str, fields: &[Field<B>], query: &str, mut builder: B) -> Result<B> {
    let mut seen: Vec<&str> = Vec::new();
    for pair in query.split('&').filter(|_| !query.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(wrong("a part of its query is not name=value", "write ?name=value&name=value"));
        };
        let known = || names(fields, |field| field.in_url == InUrl::Yes);
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            let what = format!("the option {} is unknown", shown(name));
            return Err(wrong(&what, &format!("known here are {}", known())));
        };
        match field.in_url {
            InUrl::Yes => {}
            InUrl::InPath => {
                let what = format!("{name} stands before the query, not in it");
                return Err(wrong(&what, FORMS));
            }
            InUrl::Secret => {
                let what = format!("{name} must not stand in a URL, because URLs get printed");
                return Err(wrong(
                    &what,
                    "name a profile=, or put the keys into the file or the environment",
                ));
            }
        }
        if seen.contains(&field.name) {
            return Err(wrong(&format!("{name} stands there twice"), "remove one"));
        }
        seen.push(field.name);
        field.set(path, Raw::Text(decode(value)?.into()), &mut builder)?;
    }
    Ok(builder)
}

/// Resolves `%20` and its like, once. A `+` is a `+`: it is part of file names, and only forms of web pages
/// mean a blank by it.
fn decode(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (rest.next().and_then(hex), rest.next().and_then(hex)) else {
            return Err(wrong("a % is not followed by two hexadecimal digits", "write a % itself as %25"));
        };
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes)
        .map_err(|_| wrong("what its %-escapes stand for is not UTF-8", "write it in UTF-8"))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
