//! Skipping tests aloud, or not at all.

use std::io::Write;

/// Says that tests are skipped and why, in one line that the test runner cannot swallow.
///
/// # Panics
///
/// When skipping is forbidden: with `CI=true` or `OBJECT_STORAGE_TESTS_NO_SKIP=1`.
pub(crate) fn tests(aloud: bool, which: &str, why: &str) {
    let binary = std::env::current_exe().ok();
    let binary = binary.as_deref().and_then(|exe| exe.file_stem()).unwrap_or_default().to_string_lossy();
    // Cargo adds a hash to the name.
    let binary = binary.rsplit_once('-').map_or(&*binary, |(name, _)| name);
    let line = format!("SKIPPED in {binary}: {which}: {why}").replace('\n', " ");
    let set = |name: &str, value: &str| std::env::var(name).is_ok_and(|is| is == value);
    assert!(!set("CI", "true") && !set("OBJECT_STORAGE_TESTS_NO_SKIP", "1"), "skipping is forbidden: {line}");
    if aloud {
        // The runner captures what macros print; this goes to the descriptor itself. If even that fails, there
        // is nobody left to tell.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}
