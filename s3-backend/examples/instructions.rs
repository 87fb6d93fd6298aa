//! Makes puts of 4 KiB without what it is told to leave out, for a program that counts instructions:
//!
//! ```text
//! valgrind --tool=callgrind instructions PUTS nothing|checksum|id|machine|all
//! ```
//!
//! `bench/instructions` runs it and does the arithmetic.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use s3_backend::simulation::cost::{SmallPut, Without};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [puts, without] = &arguments[..] else { return ExitCode::FAILURE };
    let named = |name: &String| Without::ALL.into_iter().find(|without| without.to_string() == *name);
    let (Ok(puts), Some(without)) = (puts.parse(), named(without)) else { return ExitCode::FAILURE };
    let mut put = SmallPut::new(without);
    // A second has a date of its own, and a hundred puts.
    let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_785_542_400);
    for number in 0..puts {
        put.put(began + Duration::from_millis(number * 10));
    }
    ExitCode::SUCCESS
}
