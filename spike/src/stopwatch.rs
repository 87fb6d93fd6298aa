//! The clocks of this program, which is no product code: it dates its runs and times its scenarios.

use std::time::Instant;

/// The moment, for measuring how long something takes.
#[expect(clippy::disallowed_methods, reason = "a program that reports times must look at the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A name for this run that no other has: the time in UTC and a few random digits. Fits bucket names.
pub(crate) fn run_id() -> String {
    #[expect(clippy::disallowed_methods, reason = "the name of a run tells when it was")]
    let now = jiff::Timestamp::now();
    format!("{}-{:06x}", now.strftime("%Y%m%dt%H%M%S"), fastrand::u32(..1 << 24))
}
