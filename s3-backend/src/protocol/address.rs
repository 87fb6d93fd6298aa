//! [`Address`]: where a bucket is, and the URL of everything in it, built here and checked before it is signed.
//!
//! Paths are concatenated from encoded pieces, never joined: joining would take `//evil/x` for another host and
//! `a/../b` for `b`. Of what a URL parser would change nothing is sent; the tests ask the parser.

use credentials::sigv4::uri_encode_into;
use object_storage::Key;
use object_storage::config::UrlStyle;
use url::Url;

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    origin: Origin,
    /// What stands before the key: the endpoint's own path, and the bucket in path style. No slash at the end.
    base_path: String,
    /// The bucket's name.
    bucket: String,
}

/// Who is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) https: bool,
    /// A name, or an IP address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of the header `host`: with the port where it is not the scheme's own, an IPv6 address in brackets.
    pub(crate) authority: String,
}

impl Origin {
    fn of(url: &Url) -> Option<Origin> {
        let host = match url.host()? {
            url::Host::Domain(name) => name.to_owned(),
            url::Host::Ipv4(address) => address.to_string(),
            url::Host::Ipv6(address) => address.to_string(),
        };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let authority = format!("{}{port}", url.host_str()?);
        Some(Origin { https: url.scheme() == "https", host, port: url.port_or_known_default()?, authority })
    }

    /// Scheme, host and port as a URL has them, without a slash at the end.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }
}

/// A key or endpoint whose URL would not be what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CannotAddress(String);

impl std::fmt::Display for CannotAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CannotAddress {}

impl Address {
    /// The bucket `bucket` behind `endpoint`, an http or https URL whose path (if any) stands before the bucket.
    pub(crate) fn new(endpoint: &Url, bucket: &str, style: UrlStyle) -> Result<Address, CannotAddress> {
        let host =
            endpoint.host_str().ok_or_else(|| CannotAddress("the endpoint names no host".to_owned()))?;
        if style == UrlStyle::VirtualHost && !matches!(endpoint.host(), Some(url::Host::Domain(_))) {
            let problem =
                format!("{host} is an IP address, which cannot take a bucket in front: use path style");
            return Err(CannotAddress(problem));
        }
        let port = endpoint.port().map(|port| format!(":{port}")).unwrap_or_default();
        let scheme = endpoint.scheme();
        let path = endpoint.path().trim_end_matches('/');
        let (host, base_path) = match style {
            UrlStyle::VirtualHost => (format!("{bucket}.{host}"), path.to_owned()),
            _ => (host.to_owned(), format!("{path}/{}", encode_path(bucket))),
        };
        // From here on paths are put together without a parser, so what it makes of the start is checked once.
        let text = format!("{scheme}://{host}{port}{base_path}/");
        let url = unchanged(&text)?;
        let origin =
            Origin::of(&url).ok_or_else(|| CannotAddress("the endpoint names no host".to_owned()))?;
        Ok(Address { origin, base_path, bucket: bucket.to_owned() })
    }

    /// Who is spoken to.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The bucket's name.
    pub(crate) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The path of the bucket itself.
    pub(crate) fn bucket_path(&self) -> String {
        if self.base_path.is_empty() { "/".to_owned() } else { self.base_path.clone() }
    }

    /// The path of the object under `prefix` and `key`: every byte encoded, except for unreserved characters and slashes.
    ///
    /// Fails for keys that a URL cannot carry: those with `.` or `..` segments, which every URL parser (of a proxy,
    /// say) removes.
    pub(crate) fn object_path(&self, prefix: &str, key: &Key) -> Result<String, CannotAddress> {
        let key = key.as_str();
        // An escape of three bytes for some of the bytes: most keys have none.
        let mut path = String::with_capacity(self.base_path.len() + 1 + prefix.len() + key.len() + 16);
        path.push_str(&self.base_path);
        path.push('/');
        encode_path_into(prefix, &mut path);
        encode_path_into(key, &mut path);
        // Dots and slashes are what they were.
        let path_of_key = &path.as_bytes()[self.base_path.len()..];
        let dot_begins = path_of_key.windows(2).fold(false, |found, pair| found | (pair == b"/."));
        if dot_begins
            && path_of_key.split(|&byte| byte == b'/').any(|segment| matches!(segment, b"." | b".."))
        {
            let problem = "a URL cannot carry it: parsers remove `.` and `..` from a path";
            return Err(CannotAddress(problem.to_owned()));
        }
        Ok(path)
    }

    /// The URL of a path of this address.
    pub(crate) fn url(&self, path: &str) -> Result<Url, CannotAddress> {
        unchanged(&format!("{}{path}", self.origin.url()))
    }
}

/// The URL of this very text. If the parser changes anything of it, then host, port and path are not the ones asked
/// for.
fn unchanged(text: &str) -> Result<Url, CannotAddress> {
    match Url::parse(text) {
        Ok(url) if url.as_str() == text && url.username().is_empty() && url.password().is_none() => Ok(url),
        Ok(_) => Err(CannotAddress("a URL cannot carry it: the parser would change host or path".to_owned())),
        Err(error) => Err(CannotAddress(format!("it makes no URL: {error}"))),
    }
}

/// Percent-encodes everything but unreserved characters and slashes.
pub(crate) fn encode_path(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    encode_path_into(text, &mut path);
    path
}

/// What stands for itself in a path.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 128u8 {
        plain[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/');
        byte += 1;
    }
    plain
};

fn encode_path_into(text: &str, path: &mut String) {
    // Nearly every key is plain, and seen to be in a third of the time.
    if text.bytes().fold(true, |plain, byte| plain & PLAIN[usize::from(byte)]) {
        path.push_str(text);
    } else {
        uri_encode_into(text, true, path);
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    fn address(endpoint: &str, style: UrlStyle) -> Address {
        Address::new(&endpoint.parse().expect("a URL"), "bucket", style).expect("an address")
    }

    #[test]
    fn both_styles_and_a_path_before_the_bucket() {
        let key = Key::parse("a b+c%2F/é/😀").expect("plain");
        let encoded = "a%20b%2Bc%252F/%C3%A9/%F0%9F%98%80";
        let cases = [
            ("http://127.0.0.1:9000", UrlStyle::Path, "http://127.0.0.1:9000/bucket"),
            ("http://[::1]:9000/", UrlStyle::Path, "http://[::1]:9000/bucket"),
            ("https://gate.example/s3/", UrlStyle::Path, "https://gate.example/s3/bucket"),
            ("https://s3.example:443", UrlStyle::VirtualHost, "https://bucket.s3.example"),
            ("https://gate.example/s3", UrlStyle::VirtualHost, "https://bucket.gate.example/s3"),
        ];
        for (endpoint, style, base) in cases {
            let address = address(endpoint, style);
            let url = |path: &str| address.url(path).expect("sendable").to_string();
            assert_eq!(url(&address.object_path("", &key).expect("sendable")), format!("{base}/{encoded}"));
            assert_eq!(url(&address.bucket_path()).trim_end_matches('/'), base);
        }
        assert!(
            Address::new(&"http://10.0.0.1".parse().expect("a URL"), "b", UrlStyle::VirtualHost).is_err()
        );
        assert!(
            Address::new(&"http://s3.example".parse().expect("a URL"), "a_b@c", UrlStyle::VirtualHost)
                .is_err()
        );
    }

    #[test]
    fn a_foreign_key_stays_in_its_bucket_or_is_refused() {
        let address = address("http://127.0.0.1:9000", UrlStyle::Path);
        let url = |key: &str| address.object_path("", &Key::verbatim(key).expect(key));
        assert_eq!(url("//evil/x").as_deref(), Ok("/bucket///evil/x"));
        assert_eq!(url("/x").as_deref(), Ok("/bucket//x"));
        assert_eq!(url("a//b").as_deref(), Ok("/bucket/a//b"));
        assert_eq!(url("dir/").as_deref(), Ok("/bucket/dir/"));
        for key in ["../b/x", "a/../b", ".", "a/.", "..", "./a"] {
            assert!(url(key).is_err(), "{key}");
        }
    }

    proptest! {
        #[test]
        fn the_path_decodes_to_the_key_and_the_host_is_the_endpoint(text in "\\PC{1,40}", virtual_host: bool) {
            let style = if virtual_host { UrlStyle::VirtualHost } else { UrlStyle::Path };
            let address = address("https://s3.example:8333", style);
            if let Ok(key) = Key::verbatim(&text) {
                match address.object_path("", &key) {
                    Ok(path) => {
                        // What we put together is what a parser reads.
                        let url = address.url(&path).expect("a path of ours is never changed");
                        prop_assert_eq!(url.path(), &path);
                        let (host, base) =
                            if virtual_host { ("bucket.s3.example", "/") } else { ("s3.example", "/bucket/") };
                        prop_assert_eq!(url.host_str(), Some(host));
                        prop_assert_eq!(url.port(), Some(8333));
                        prop_assert_eq!(url.query(), None);
                        let path = percent_decode_str(url.path()).decode_utf8().expect("UTF-8").into_owned();
                        prop_assert_eq!(path, format!("{base}{text}"));
                    }
                    Err(_) => prop_assert!(key.is_verbatim(), "an everyday key is always sendable"),
                }
            }
        }
    }
}
