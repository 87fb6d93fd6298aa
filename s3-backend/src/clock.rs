//! The only place of this crate that looks at a clock.

use std::time::{Instant, SystemTime};

/// For measuring how long something takes.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver's clock; everything else takes the time as an argument"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// For signing: what time it is for everybody.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver's clock; everything else takes the time as an argument"
)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}
