//! Any bytes, as a name on disk and as a key. CONTRIBUTING.md says how to run it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| object_storage::fuzzing::names(bytes));
