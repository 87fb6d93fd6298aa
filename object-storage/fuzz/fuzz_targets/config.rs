//! Any bytes, as a TOML document and as a URL. CONTRIBUTING.md says how to run it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| object_storage::fuzzing::config(bytes));
