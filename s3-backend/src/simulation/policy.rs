//! [`Policy`]: what the clients believe. One is the product's; the others are what is believed elsewhere, or what
//! suggests itself, each with one thing wrong, kept to show that the simulation notices.

use std::fmt;
use std::str::FromStr;

/// What clients believe, and what they believe it of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// The product as it is.
    Sound,
    /// Conditional writes are retried, and the answer to the last attempt is that of the operation.
    BlindRetry,
    /// "Another id is on it, so ours lost", under names whose objects are replaced.
    AnotherId,
    /// Writes without a condition, retried as the product does, are taken for linearizable. (The product says that
    /// they are not.)
    Overwrite,
    /// 409 is taken for the end although an earlier attempt may have been applied.
    Conflict,
    /// "An object is there, so it worked."
    ObjectExists,
    /// The product over a store whose tags come back when the content does.
    RepeatingTags,
    /// "Nothing is there, so nothing was applied."
    Absence,
    /// "The version it was to replace is still there, so it was not applied."
    OldVersion,
    /// "503 means that nothing happened."
    Throttled,
    /// "After the restart it was not there, so it was not applied."
    NotThere,
    /// The product under names that are deleted and created again, which its documentation warns of.
    ReusedNames,
    /// The product on an object that is replaced often, behind something that sends requests twice, others in between,
    /// and passes the second answer on.
    Replays,
}

impl Policy {
    /// Every policy that must be caught.
    pub const MUTANTS: [Policy; 12] = [
        Policy::BlindRetry,
        Policy::AnotherId,
        Policy::Overwrite,
        Policy::Conflict,
        Policy::ObjectExists,
        Policy::RepeatingTags,
        Policy::Absence,
        Policy::OldVersion,
        Policy::Throttled,
        Policy::NotThere,
        Policy::ReusedNames,
        Policy::Replays,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Policy::Sound => "sound",
            Policy::BlindRetry => "blind-retry",
            Policy::AnotherId => "another-id",
            Policy::Overwrite => "overwrite",
            Policy::Conflict => "conflict",
            Policy::ObjectExists => "object-exists",
            Policy::RepeatingTags => "repeating-tags",
            Policy::Absence => "absence",
            Policy::OldVersion => "old-version",
            Policy::Throttled => "throttled",
            Policy::NotThere => "not-there",
            Policy::ReusedNames => "reused-names",
            Policy::Replays => "replays",
        }
    }

    /// What is believed.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Policy::Sound => "the product",
            Policy::BlindRetry => "conditional writes are retried and the last answer is believed",
            Policy::AnotherId => "\"another id is on it, so ours lost\"",
            Policy::Overwrite => {
                "\"an overwrite is idempotent, so retry it\" (documented as last writer wins)"
            }
            Policy::Conflict => "409 is believed although an earlier attempt may have been applied",
            Policy::ObjectExists => "\"an object is there, so it worked\"",
            Policy::RepeatingTags => "the product over tags that repeat with the content",
            Policy::Absence => "\"nothing is there, so nothing was applied\"",
            Policy::OldVersion => "\"the old version is still there, so it was not applied\"",
            Policy::Throttled => "\"503 means that nothing happened\"",
            Policy::NotThere => "after a restart, \"not there\" is taken for \"not applied\"",
            Policy::ReusedNames => "the product, names deleted and created again (documented)",
            Policy::Replays => {
                "the product, a hot object behind a proxy that replays and passes the second answer on"
            }
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPolicy;

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Policy, UnknownPolicy> {
        let mut all = std::iter::once(Policy::Sound).chain(Policy::MUTANTS);
        all.find(|policy| policy.name() == text).ok_or(UnknownPolicy)
    }
}
