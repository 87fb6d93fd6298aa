//! One set of keys for the whole process: the refresh table, row by row, and who asks when many want keys.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a surprise is a failed test")]

mod lease;
mod source;
mod table;
mod threads;
mod waiting;
