//! The results for machines: one JSON document, written whole to a file.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::{Entry, Summary};

#[derive(Serialize)]
struct Document<'a> {
    spike: &'static str,
    run: &'a str,
    seconds: f64,
    stores: &'a [StoreReport],
    summary: Summary,
    /// Why scenarios are missing, or something was left behind; empty when all went well.
    warnings: &'a [String],
    scenarios: Vec<Row<'a>>,
}

/// A store that was tried.
#[derive(Debug, Serialize)]
pub(crate) struct StoreReport {
    pub(crate) name: String,
    pub(crate) description: String,
}

#[derive(Serialize)]
struct Row<'a> {
    scenario: &'static str,
    store: &'a str,
    /// `passed`, `unsupported` or `failed`.
    result: String,
    seconds: f64,
    /// What was checked, or why not, or what went wrong.
    detail: &'a str,
}

/// Writes the results to `path`, replacing what is there.
pub(crate) async fn write_json(
    path: &Path,
    run: &str,
    stores: &[StoreReport],
    entries: &[Entry],
    warnings: &[String],
    took: Duration,
) -> std::io::Result<()> {
    let scenarios = entries
        .iter()
        .map(|entry| Row {
            scenario: entry.scenario,
            store: &entry.store,
            result: entry.result().to_lowercase(),
            seconds: entry.took.as_secs_f64(),
            detail: entry.detail(),
        })
        .collect();
    let document = Document {
        spike: env!("CARGO_PKG_VERSION"),
        run,
        seconds: took.as_secs_f64(),
        stores,
        summary: Summary::of(entries),
        warnings,
        scenarios,
    };
    let mut text = serde_json::to_string_pretty(&document).map_err(std::io::Error::other)?;
    text.push('\n');
    compio::fs::write(path, text).await.0
}
