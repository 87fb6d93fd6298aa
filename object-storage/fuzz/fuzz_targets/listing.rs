//! Any options and page token of a listing. CONTRIBUTING.md says how to run it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| object_storage::fuzzing::listing(bytes));
