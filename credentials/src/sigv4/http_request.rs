//! The canonical form of a request that is at hand as one of the `http` crate: whatever its URI and headers
//! look like, and not in a hurry.

use std::collections::BTreeMap;

use http::header::HOST;
use http::{HeaderMap, Uri};
use zeroize::Zeroizing;

use super::encoding::{canonical_query_into, decode, uri_encode_into};
use super::{SignError, SigningStyle};

/// Never signed: the signature's own header, and what proxies and HTTP implementations may change.
const UNSIGNED: [&str; 13] = [
    "authorization",
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
];

/// Names in order, each with its values: trimmed, runs of blanks as one, several joined by a comma.
pub(super) fn canonical_headers<'a>(
    headers: &'a HeaderMap,
    uri: &Uri,
) -> Result<BTreeMap<&'a str, Zeroizing<String>>, SignError> {
    let mut canonical: BTreeMap<&str, Zeroizing<String>> = BTreeMap::new();
    for (name, value) in headers {
        let name = name.as_str();
        if UNSIGNED.contains(&name) {
            continue;
        }
        // What is not ASCII has no canonical form that all agree on; it is signed as Latin-1 would read.
        let value = match value.to_str() {
            Ok(text) => Zeroizing::new(text.to_owned()),
            Err(_) => Zeroizing::new(value.as_bytes().iter().copied().map(char::from).collect()),
        };
        let mut line = canonical.remove(name).unwrap_or_default();
        line.reserve(value.len() + 1);
        if !line.is_empty() {
            line.push(',');
        }
        for (index, word) in value.split([' ', '\t']).filter(|word| !word.is_empty()).enumerate() {
            if index > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
        canonical.insert(name, line);
    }
    if !canonical.contains_key(HOST.as_str()) {
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(SignError::NoHost)?;
        let port = uri
            .port_u16()
            .filter(|&port| !matches!((uri.scheme_str(), port), (Some("https"), 443) | (Some("http"), 80)));
        let host = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        canonical.insert("host", Zeroizing::new(host));
    }
    Ok(canonical)
}

/// Names and values encoded afresh and sorted as encoded.
pub(super) fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name.as_bytes()), decode(value.as_bytes())))
        .collect();
    let mut canonical = String::with_capacity(3 * query.len());
    canonical_query_into(&mut pairs, &mut canonical);
    canonical
}

/// The path encoded afresh, as the style wants it.
pub(super) fn canonical_path(path: &str, style: SigningStyle) -> String {
    let mut canonical = String::with_capacity(3 * path.len());
    match style {
        SigningStyle::S3 => uri_encode_into(decode(path.as_bytes()), true, &mut canonical),
        SigningStyle::General => uri_encode_into(normalise(path), true, &mut canonical),
    }
    canonical
}

/// The path without empty, `.` and `..` segments.
fn normalise(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut text = format!("/{}", segments.join("/"));
    if text.len() > 1 && ["/", "/.", "/.."].iter().any(|end| path.ends_with(end)) {
        text.push('/');
    }
    text
}
