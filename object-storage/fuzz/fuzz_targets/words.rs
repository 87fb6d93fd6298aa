//! Any bytes, as a key, a tag, an operation id, an attribute, a range. CONTRIBUTING.md says how to run it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| object_storage::fuzzing::words(bytes));
