//! Configurations, as people may write them.

use crate::config::{StorageConfig, TIMEOUT_LIMIT};
use crate::error::{ErrorKind, Result};
use crate::limits::{PART_BYTES_MAX, PART_BYTES_MIN};

/// The longest complaint, in bytes: some of them list all options.
const COMPLAINT_BYTES_MAX: usize = 4096;

/// Any bytes, read as a TOML document and as a URL.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let document = StorageConfig::from_toml(text);
    judge(&document);
    if document.is_ok() && !text.contains('\r') && !text.contains("\"\"\"") && !text.contains("'''") {
        let returned = StorageConfig::from_toml(&text.replace('\n', "\r\n"));
        assert_eq!(returned.ok(), document.ok(), "with carriage returns");
    }
    let url = StorageConfig::from_url(text);
    judge(&url);
    if let Ok(config) = url {
        let upper =
            text.split_once("://").map(|(scheme, rest)| format!("{}://{rest}", scheme.to_uppercase()));
        let again = StorageConfig::from_url(&upper.expect("it has a scheme"));
        assert_eq!(again.expect("schemes are written in any case"), config);
    }
}

fn judge(read: &Result<StorageConfig>) {
    let config = match read {
        Ok(config) => config,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Config);
            let shown = error.to_string();
            assert!(shown.len() <= COMPLAINT_BYTES_MAX, "{shown}");
            assert!(!shown.chars().any(char::is_control), "{shown:?}");
            return;
        }
    };
    let line = config.to_string();
    assert!(!line.chars().any(char::is_control), "{line:?} is not one line");
    let StorageConfig::Object(object) = config else { return };
    assert!((PART_BYTES_MIN..=PART_BYTES_MAX).contains(&object.multipart_part_size()));
    assert!(object.prefix().is_none_or(|prefix| !prefix.is_verbatim()), "{:?}", object.prefix());
    let timeouts = object.timeouts();
    for timeout in [timeouts.connect, timeouts.send, timeouts.head, timeouts.body, timeouts.complete] {
        assert!(!timeout.is_zero() && timeout < TIMEOUT_LIMIT);
    }
    if let Some(endpoint) = object.endpoint() {
        assert!(endpoint.username().is_empty() && endpoint.password().is_none(), "{endpoint}");
        assert!(endpoint.query().is_none() && endpoint.fragment().is_none(), "{endpoint}");
        assert!(endpoint.host_str().is_some_and(|host| !host.is_empty()), "{endpoint}");
    }
}
