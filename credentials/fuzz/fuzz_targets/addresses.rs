//! Any text, as the address of a service that is asked for keys. CONTRIBUTING.md says how to run it.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../addresses.rs"]
mod addresses;
#[path = "../world.rs"]
mod world;

fuzz_target!(|bytes: &[u8]| addresses::check(bytes));
