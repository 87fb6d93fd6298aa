//! What may be shown of key ids and URLs in logs, errors and reports.

/// Characters of an access key id that stay visible at each end.
const VISIBLE_EACH_END: usize = 4;

/// An id shows its ends only if at least as many characters again stay hidden: `2 * 4 + 8`.
/// AWS ids have 16 to 128 characters; the short ids of other stores (`minioadmin`) are often guessable
/// from a part, and are hidden whole.
const MASKABLE_CHARS_MIN: usize = 16;

/// The first and last four characters of an access key id, as `AKIA****MPLE`; ids of fewer than 16
/// characters are hidden completely.
#[must_use]
pub fn mask_access_key_id(id: &str) -> String {
    let chars: Vec<char> = id.chars().map(printable).collect();
    if chars.len() < MASKABLE_CHARS_MIN {
        return "****".to_owned();
    }
    let head = chars[..VISIBLE_EACH_END].iter();
    let tail = chars[chars.len() - VISIBLE_EACH_END..].iter();
    head.chain(['*'; 4].iter()).chain(tail).collect()
}

/// A URL without what may be secret in it: user name and password, query and fragment.
///
/// Signed URLs carry the signature and the session token in the query, so it goes completely. The text
/// need not be a valid URL: where the authority makes no sense (a password with a `/` in it, say)
/// everything behind the scheme is hidden. Control characters are replaced, so that a URL cannot forge
/// a log line.
///
/// ```
/// use credentials::redact_url;
/// assert_eq!(redact_url("https://me:pw@host:9000/a/b?X-Amz-Signature=1#x"), "https://host:9000/a/b");
/// ```
#[must_use]
pub fn redact_url(url: &str) -> String {
    let visible = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match visible.find("://") {
        Some(at) => visible.split_at(at + 3),
        None => ("", visible),
    };
    let path_at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_at);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // "user:pa/ss@host" and "user:pa?ss@host" look like a host with a strange port.
    let port_is_number = match host.rsplit_once(':') {
        Some((_, port)) => host.ends_with(']') || port.bytes().all(|b| b.is_ascii_digit()),
        None => true,
    };
    let text = if port_is_number { format!("{scheme}{host}{path}") } else { format!("{scheme}***") };
    text.chars().map(printable).collect()
}

fn printable(c: char) -> char {
    if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ids_show_their_ends_and_short_ids_nothing() {
        assert_eq!(mask_access_key_id("AKIAIOSFODNN7EXAMPLE"), "AKIA****MPLE");
        assert_eq!(mask_access_key_id("0123456789abcdef"), "0123****cdef");
        for short in ["", "a", "minioadmin", "0123456789abcde"] {
            assert_eq!(mask_access_key_id(short), "****");
        }
        assert_eq!(mask_access_key_id("ééééééééééééééééé"), "éééé****éééé");
    }

    #[test]
    fn a_url_keeps_host_and_path_only() {
        for (url, shown) in [
            ("https://host/a?X-Amz-Signature=deadbeef", "https://host/a"),
            ("https://user:password@host:9000/a#frag", "https://host:9000/a"),
            ("https://user@host", "https://host"),
            ("https://a@b@host/x", "https://host/x"),
            ("https://host/bucket/a@b", "https://host/bucket/a@b"),
            ("http://[::1]:9000/x", "http://[::1]:9000/x"),
            ("http://[::1]/x", "http://[::1]/x"),
            ("user:password@host/x", "host/x"),
            ("http://user:pa/ss@host/", "http://***"),
            ("http://user:pa?ss@host/", "http://***"),
            ("http://h/a\r\nFAKE", "http://h/a\u{fffd}\u{fffd}FAKE"),
            ("", ""),
        ] {
            assert_eq!(redact_url(url), shown, "{url:?}");
        }
    }
}
