//! The report that says which source gave the keys, or why none did.

use std::fmt;
use std::time::SystemTime;

use serde::Serialize;

use crate::credentials::Identity;
use crate::provider::SourceName;
use crate::redact::mask_access_key_id;
use crate::region::{Region, RegionError};

/// What every source of a chain answered. `Display` is a table for people, serde the same for machines.
/// Holds no secret; the key id is masked.
#[derive(Debug, Clone, Serialize)]
pub struct Explain {
    used: Option<UsedReport>,
    cached: Option<CachedReport>,
    sources: Vec<SourceReport>,
    region: RegionReport,
    warnings: Vec<String>,
}

/// The identity that was found.
#[derive(Debug, Clone, Serialize)]
pub struct UsedReport {
    /// The source that gave it.
    pub source: SourceName,
    /// Requests are sent unsigned.
    pub anonymous: bool,
    /// The masked key id; `None` if anonymous.
    pub access_key_id: Option<String>,
    /// The account, where the source tells.
    pub account_id: Option<String>,
    /// When the keys expire, RFC 3339 in UTC; `None` for keys that do not.
    pub expires_at: Option<String>,
    /// How the source came by it: the role and the STS that gave it, say.
    pub via: Option<String>,
    /// When a cache that fetched them now would ask again, RFC 3339 in UTC; `None` for never, and where
    /// no cache was asked.
    pub next_refresh: Option<String>,
}

/// What a cache holds.
#[derive(Debug, Clone, Serialize)]
pub struct CachedReport {
    /// The source that gave it; `None` if anonymous.
    pub source: Option<SourceName>,
    /// The masked key id; `None` if anonymous.
    pub access_key_id: Option<String>,
    /// When the keys expire, RFC 3339 in UTC; `None` for keys that do not.
    pub expires_at: Option<String>,
    /// When the source is asked next, should somebody need keys then; `None` for never.
    pub next_refresh: Option<String>,
    /// A service refused them.
    pub refused: bool,
    /// Source, account and role of the keys before, if a refresh brought another identity in place of theirs.
    pub changed_from: Option<String>,
}

/// What one source answered.
#[derive(Debug, Clone, Serialize)]
pub struct SourceReport {
    /// The source.
    pub source: SourceName,
    /// The answer in a word.
    pub status: Status,
    /// The answer in a line; may be empty.
    pub detail: String,
    /// What to do about a failure.
    pub hint: Option<String>,
}

/// A source's answer in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Its keys are used.
    Used,
    /// Not configured.
    Skipped,
    /// Configured, but could not deliver; the chain ended here.
    Failed,
    /// The chain had ended before, and nothing is known to be configured here.
    NotTried,
    /// The chain had ended before; this source is configured too.
    LowerPriority,
    /// The program does not want it.
    Off,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Used => "used",
            Status::Skipped => "skipped",
            Status::Failed => "FAILED",
            Status::NotTried | Status::LowerPriority => "not tried",
            Status::Off => "off",
        }
    }
}

/// The region and who says so, or why there is none.
#[derive(Debug, Clone, Serialize)]
pub struct RegionReport {
    /// The region.
    pub name: Option<String>,
    /// Who says so.
    pub origin: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
}

impl RegionReport {
    pub(crate) fn new(region: Result<Region, RegionError>) -> RegionReport {
        match region {
            Ok(region) => RegionReport {
                name: Some(region.name().to_owned()),
                origin: Some(region.origin().to_string()),
                error: None,
            },
            Err(error) => RegionReport { name: None, origin: None, error: Some(error.to_string()) },
        }
    }
}

impl Explain {
    pub(crate) fn new(
        identity: Option<&Identity>,
        sources: Vec<SourceReport>,
        region: RegionReport,
        warnings: Vec<String>,
    ) -> Explain {
        let source = sources.iter().find(|row| row.status == Status::Used).map(|row| row.source);
        let used = identity.zip(source).map(|(identity, source)| {
            let keys = identity.credentials();
            UsedReport {
                source,
                anonymous: keys.is_none(),
                access_key_id: keys.map(|keys| mask_access_key_id(keys.access_key_id())),
                account_id: keys.and_then(|keys| keys.account_id()).map(str::to_owned),
                expires_at: keys.and_then(|keys| keys.expires_at()).map(timestamp),
                via: keys.and_then(|keys| keys.via()).map(str::to_owned),
                next_refresh: None,
            }
        });
        Explain { used, cached: None, sources, region, warnings }
    }

    pub(crate) fn with_next_refresh(mut self, at: Option<SystemTime>) -> Explain {
        if let Some(used) = &mut self.used {
            used.next_refresh = at.map(timestamp);
        }
        self
    }

    pub(crate) fn with_cached(
        mut self,
        identity: &Identity,
        next_refresh: Option<SystemTime>,
        refused: bool,
        changed_from: Option<String>,
    ) -> Explain {
        let keys = identity.credentials();
        self.cached = Some(CachedReport {
            source: keys.map(|keys| keys.source()),
            access_key_id: keys.map(|keys| mask_access_key_id(keys.access_key_id())),
            expires_at: keys.and_then(|keys| keys.expires_at()).map(timestamp),
            next_refresh: next_refresh.map(timestamp),
            refused,
            changed_from,
        });
        self
    }

    /// The identity, if one was found.
    #[must_use]
    pub fn used(&self) -> Option<&UsedReport> {
        self.used.as_ref()
    }

    /// What the cache that was asked holds, which a report made anew does not change.
    #[must_use]
    pub fn cached(&self) -> Option<&CachedReport> {
        self.cached.as_ref()
    }

    /// Every source, in the order of the chain.
    #[must_use]
    pub fn sources(&self) -> &[SourceReport] {
        &self.sources
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &RegionReport {
        &self.region
    }

    /// What was passed over in the shared files.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl fmt::Display for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.sources.iter().find(|row| row.status == Status::Failed);
        match (&self.used, failed) {
            (Some(used), _) => write!(f, "credentials: from {}", used.source)?,
            (None, Some(row)) => write!(f, "credentials: {} is configured but failed", row.source)?,
            (None, None) => f.write_str("credentials: none found")?,
        }
        let name_width = self.sources.iter().map(|row| row.source.as_str().len()).max().unwrap_or(0);
        let status_width = self.sources.iter().map(|row| row.status.as_str().len()).max().unwrap_or(0);
        for SourceReport { source, status, detail, hint } in &self.sources {
            let detail = match status {
                Status::LowerPriority => format!("also configured but lower priority: {detail}"),
                Status::NotTried if detail.is_empty() && failed.is_some() => {
                    "the chain stops at the first configured source that fails".to_owned()
                }
                Status::NotTried if detail.is_empty() => "a source above has the keys".to_owned(),
                _ => one_line(detail),
            };
            let status = status.as_str();
            write!(f, "\n  {source:name_width$}  {status:status_width$}  {detail}")?;
            if let Some(hint) = hint {
                let indent = 2 + name_width + 2 + status_width + 2;
                write!(f, "\n{:indent$}hint: {}", "", one_line(hint))?;
            }
        }
        if let Some(at) = self.used.as_ref().and_then(|used| used.next_refresh.as_ref()) {
            write!(f, "\nnext refresh: {at}")?;
        }
        if let Some(cached) = &self.cached {
            write!(f, "\ncached: {}", cached.describe())?;
            if let Some(before) = &cached.changed_from {
                write!(f, "\nwarning: a refresh changed the identity; before: {}", one_line(before))?;
            }
        }
        match &self.region {
            RegionReport { name: Some(name), origin: Some(origin), .. } => {
                write!(f, "\nregion: {name}, from {origin}")?;
            }
            RegionReport { error, .. } => {
                write!(f, "\nregion: {}", one_line(error.as_deref().unwrap_or("unknown")))?;
            }
        }
        for warning in &self.warnings {
            write!(f, "\nwarning: {}", one_line(warning))?;
        }
        Ok(())
    }
}

impl CachedReport {
    fn describe(&self) -> String {
        let Some(id) = &self.access_key_id else { return "anonymous".to_owned() };
        let mut text = format!("key {id}");
        if self.refused {
            text += ", refused by a service";
        }
        match &self.expires_at {
            Some(at) => text += &format!(", expires {at}"),
            None => text += ", does not expire",
        }
        if let Some(at) = &self.next_refresh {
            text += &format!(", next refresh {at}");
        }
        text
    }
}

/// Names and paths come from anywhere; none of them may forge a row.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The row of a source that is used.
pub(crate) fn describe(identity: &Identity) -> String {
    let Some(keys) = identity.credentials() else {
        return "anonymous: requests are sent unsigned".to_owned();
    };
    let mut text = format!("key {}", mask_access_key_id(keys.access_key_id()));
    if keys.session_token().is_some() {
        text += ", with session token";
    }
    if let Some(account_id) = keys.account_id() {
        text += &format!(", account {account_id}");
    }
    match keys.expires_at() {
        Some(at) => text += &format!(", expires {}", timestamp(at)),
        None => text += ", does not expire",
    }
    if let Some(via) = keys.via() {
        text += &format!(", {via}");
    }
    text
}

/// As whom the keys act, as far as their source tells.
pub(crate) fn owner(identity: &Identity) -> String {
    let Some(keys) = identity.credentials() else { return "anonymous".to_owned() };
    let mut text = keys.source().to_string();
    if let Some(account_id) = keys.account_id() {
        text += &format!(", account {account_id}");
    }
    if let Some(via) = keys.via() {
        text += &format!(", {via}");
    }
    text
}

/// RFC 3339 in UTC.
pub(crate) fn timestamp(at: SystemTime) -> String {
    // SystemTime reaches further than the calendar of jiff, which ends with the year 9999.
    jiff::Timestamp::try_from(at).map_or_else(|_| "beyond the calendar".to_owned(), |at| at.to_string())
}
