//! What holds of everything here that reads what others wrote - keys, tags, configurations, page tokens, files on disk -
//! whatever the bytes: the entries of the fuzz targets in `fuzz/`, and of the tests that replay their corpora. Every one
//! of them panics if anything is wrong.

mod config;
#[cfg(feature = "memory")]
mod listing;
#[cfg(test)]
mod tests;
mod words;

pub use config::config;
#[cfg(feature = "memory")]
pub use listing::listing;
pub use words::words;

#[cfg(feature = "fs")]
pub use crate::fs::fuzzing::{footer, names};
