//! What holds for whatever a variable names as the place that is asked for keys. Shared by the fuzz target and by
//! `credentials/tests/corpus.rs`.

use std::net::{IpAddr, Ipv4Addr};

use credentials::{HttpErrorKind, SourceName};

use crate::world::{MARK, Sent, World};

/// Panics if anything is wrong with where a request goes that was sent on account of this text.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // What a variable can hold; one that is empty is not set.
    if text.contains('\0') {
        return;
    }
    let token = format!("{MARK}.a.b");
    let nobody = || World::new(|_| Err(HttpErrorKind::Connect), &[]);
    for name in ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] {
        let world = nobody();
        let variables = [(name, text), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", &*token)];
        let _refused = world.ask(SourceName::Container, &variables, &[]);
        let ecs = Ipv4Addr::new(169, 254, 170, 2);
        for sent in &*world.sent.borrow() {
            let near = |address: &IpAddr| {
                let service = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
                address.is_loopback() || service.iter().any(|near| near.parse() == Ok(*address))
            };
            goes_where_it_says(sent);
            in_the_clear_only(sent, near);
            if name.contains("RELATIVE") {
                assert_eq!(sent.0.uri().host(), Some("169.254.170.2"));
                assert_eq!(sent.1.pin, Some(vec![ecs.into()]));
            }
        }
    }
    let world = nobody();
    let _refused = world.ask(SourceName::Imds, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", text)], &[]);
    for sent in &*world.sent.borrow() {
        goes_where_it_says(sent);
        assert!(sent.1.pin.is_some(), "a name that is looked up again");
    }
    for (endpoint, region) in [(text, "eu-west-1"), ("", text)] {
        let world = nobody();
        let variables = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r"),
            ("AWS_ENDPOINT_URL_STS", endpoint),
            ("AWS_REGION", region),
        ];
        let _refused = world.ask(SourceName::WebIdentity, &variables, &[("/t", &token)]);
        for sent in &*world.sent.borrow() {
            goes_where_it_says(sent);
            in_the_clear_only(sent, IpAddr::is_loopback);
            let host = sent.0.uri().host().expect("it was sent somewhere");
            let of_aws =
                [".amazonaws.com", ".amazonaws.com.cn", ".c2s.ic.gov", ".sc2s.sgov.gov", ".csp.hci.ic.gov"]
                    .into_iter()
                    .chain([".cloud.adc-e.uk", ".amazonaws.eu"]);
            assert!(
                !endpoint.is_empty() || of_aws.into_iter().any(|suffix| host.ends_with(suffix)),
                "{host}"
            );
        }
    }
}

/// A URI that nobody can read in two ways, and an address that is the one it names.
fn goes_where_it_says((request, options): &Sent) {
    let uri = request.uri();
    let authority = uri.authority().expect("an absolute URI").as_str();
    assert!(!authority.contains('@') && uri.scheme().is_some(), "{uri}");
    assert!(!uri.path().contains(['\\', '#', ' ']), "{uri}");
    let port = authority.strip_prefix(uri.host().unwrap_or_default()).unwrap_or(authority);
    let is_port = |port: &str| port.starts_with(':') && port[1..].parse().is_ok_and(|port: u16| port != 0);
    assert!(port.is_empty() || is_port(port), "{uri} goes to another port");
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    if let (Ok(address), Some(pin)) = (host.parse::<IpAddr>(), &options.pin) {
        assert_eq!(*pin, [address.to_canonical()], "{uri} goes elsewhere");
    }
}

/// Over http only to addresses that were looked at.
fn in_the_clear_only((request, options): &Sent, near: impl Fn(&IpAddr) -> bool) {
    if request.uri().scheme_str() != Some("https") {
        let pin = options.pin.as_ref().expect("no second look at the name");
        assert!(!pin.is_empty() && pin.iter().all(near), "a secret goes to {pin:?} in the clear");
    }
}
