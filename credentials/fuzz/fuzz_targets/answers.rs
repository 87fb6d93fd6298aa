//! Any bytes, answered by a service or a program that is asked for keys. CONTRIBUTING.md says how to run it.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../answers.rs"]
mod answers;
#[path = "../world.rs"]
mod world;

fuzz_target!(|bytes: &[u8]| answers::check(bytes));
