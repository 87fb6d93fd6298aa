//! Any bytes, as a file of the fs store. CONTRIBUTING.md says how to run it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| object_storage::fuzzing::footer(bytes));
