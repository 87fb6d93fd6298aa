//! What the program tells: rows of a table as scenarios end, a progress line meanwhile, and JSON for machines.

mod json;
mod progress;
mod table;

use std::time::Duration;

pub(crate) use json::{StoreReport, write_json};
pub(crate) use progress::Progress;
pub(crate) use table::{Table, seconds};

use crate::scenario::{Failure, Outcome, Verdict};

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) scenario: &'static str,
    pub(crate) store: String,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

impl Entry {
    /// The result in a word.
    pub(crate) fn result(&self) -> &'static str {
        match self.outcome {
            Ok(Verdict::Passed(_)) => "passed",
            Ok(Verdict::Unsupported(_)) => "unsupported",
            Err(_) => "FAILED",
        }
    }

    /// What was checked, or why not, or what went wrong.
    pub(crate) fn detail(&self) -> &str {
        match &self.outcome {
            Ok(Verdict::Passed(text) | Verdict::Unsupported(text)) | Err(Failure(text)) => text,
        }
    }
}

/// How many entries ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Summary {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) unsupported: usize,
}

impl Summary {
    pub(crate) fn of(entries: &[Entry]) -> Summary {
        let mut summary = Summary::default();
        for entry in entries {
            match entry.outcome {
                Ok(Verdict::Passed(_)) => summary.passed += 1,
                Ok(Verdict::Unsupported(_)) => summary.unsupported += 1,
                Err(_) => summary.failed += 1,
            }
        }
        summary
    }
}
