//! [`Exit`]: how the program ends, for scripts.

/// What the exit code says. The help lists the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything that was to be checked holds.
    Passed,
    /// Something does not hold.
    Failed,
    /// The command line or the set-up cannot work; nothing was checked.
    Unusable,
    /// Ctrl-C or SIGTERM; what was made has been removed if the store let us.
    Interrupted,
}

impl Exit {
    pub(crate) fn code(self) -> i32 {
        match self {
            Exit::Passed => 0,
            Exit::Failed => 1,
            Exit::Unusable => 2,
            // 128 and the number of SIGINT, as shells have it.
            Exit::Interrupted => 130,
        }
    }
}
