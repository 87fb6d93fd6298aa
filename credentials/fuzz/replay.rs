//! Replays the corpus of a fuzz target, and then as many mutations of it as there is time for. Shared by the tests of
//! all crates that are fuzzed.
//!
//! libFuzzer finds its way by what it sees of the code. This does not, but runs wherever `cargo test` does, from what
//! people thought of and what was found before. `OBJECT_STORAGE_FUZZ_CASES` says how many mutations,
//! `OBJECT_STORAGE_FUZZ_SEED` which is the first: each is made from its own number.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Mutations of each corpus with every `cargo test`.
const CASES: u64 = 2_000;

/// The longest input that is made, in bytes.
const BYTES_MAX: usize = 8 * 1024;

/// What parsers have a meaning for, or have stumbled over.
const WORDS: [&[u8]; 28] = [
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b" ",
    b"\t",
    b"\"",
    b"'",
    b"\\",
    b"/",
    b"..",
    b"%2e%2e",
    b"%",
    b"&amp;",
    b"&#0;",
    b"<",
    b"</",
    b"]]>",
    b"=",
    b":",
    b"-1",
    b"0",
    b"4294967296",
    b"18446744073709551615",
    b"18446744073709551616",
];

/// Checks every file of `folder`, of which there must be at least `files_min` (a folder that is empty or misplaced must
/// not pass for a corpus), and then mutations of them.
pub(crate) fn replay(folder: &Path, files_min: usize, check: fn(&[u8])) {
    let corpus = corpus(folder);
    assert!(corpus.len() >= files_min, "only {} files in {}", corpus.len(), folder.display());
    for (name, bytes) in &corpus {
        case(&format!("the file {name}"), bytes, check);
    }
    let first = number_of("OBJECT_STORAGE_FUZZ_SEED").unwrap_or(0);
    let cases = number_of("OBJECT_STORAGE_FUZZ_CASES").unwrap_or(CASES);
    for seed in first..first.saturating_add(cases) {
        case(&format!("seed {seed}"), &mutated(&corpus, seed), check);
    }
}

fn case(what: &str, bytes: &[u8], check: fn(&[u8])) {
    if catch_unwind(AssertUnwindSafe(|| check(bytes))).is_err() {
        // To be kept under a name that says what it is about.
        panic!("{what}: b\"{}\"", bytes.escape_ascii());
    }
}

#[expect(clippy::disallowed_methods, reason = "a test reads its own data, and nothing waits for it")]
fn corpus(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).expect("the corpus is part of the repository");
    let mut corpus: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
            (name, std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        })
        .collect();
    corpus.sort();
    corpus
}

#[expect(clippy::disallowed_methods, reason = "a test is told by the environment how long to run")]
fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// One file of the corpus after one to six changes.
fn mutated(corpus: &[(String, Vec<u8>)], seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut bytes = corpus[dice.below(corpus.len())].1.clone();
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len() + 1);
        let end = at + dice.below(bytes.len() - at + 1).min(1 << dice.below(12));
        match dice.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = dice.byte(),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let piece = bytes[at..end].repeat(1 + dice.below(20));
                drop(bytes.splice(at..at, piece));
            }
            5 => {
                let other = &corpus[dice.below(corpus.len())].1;
                let from = dice.below(other.len() + 1);
                let to = from + dice.below(other.len() - from + 1);
                drop(bytes.splice(at..end, other[from..to].iter().copied()));
            }
            _ => drop(bytes.splice(at..at, WORDS[dice.below(WORDS.len())].iter().copied())),
        }
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

/// SplitMix64: the same numbers from the same seed, whatever becomes of any crate.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end as u64)).expect("less than a length")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}
