//! Any bytes, read as an XML answer. CONTRIBUTING.md says how to run it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| s3_backend::fuzzing::xml(bytes));
