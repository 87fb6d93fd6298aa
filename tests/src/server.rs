//! What every server that is started for tests needs: where it comes from, that it goes, and to be missed aloud.

#![expect(
    clippy::disallowed_methods,
    reason = "a test harness, which starts servers: it blocks, reads the environment and files"
)]

pub(crate) mod install;
pub(crate) mod process;
pub(crate) mod skip;
