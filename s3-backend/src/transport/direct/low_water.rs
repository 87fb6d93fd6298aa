//! [`LowWater`]: how much must have come before a socket wakes its reader.
//!
//! A body of 8 MiB comes in some hundred packets; woken for each, a reader spends more on waking than on reading.

use std::io;

use compio::net::TcpStream;
use nix::libc;
use nix::sys::socket::SetSockOpt;
use nix::{setsockopt_impl, sockopt_impl};

/// A large body wakes its reader for this much at a time, in bytes: a fifth below what a read takes, so that the
/// kernel's own window does not close first.
const WAKE_BYTES: usize = 200 * 1024;

sockopt_impl!(
    /// `SO_RCVLOWAT`. (Neither socket2 nor rustix has it.)
    ReceiveLowWater,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_RCVLOWAT,
    usize
);

/// What a socket waits for now.
#[derive(Debug)]
pub(super) struct LowWater(usize);

impl LowWater {
    /// As a new socket has it: for anything.
    pub(super) fn new() -> LowWater {
        LowWater(1)
    }

    /// Waits for more at a time if at least `to_come` bytes are still to come, and never for more than that. Changed at
    /// the beginning and at the end of a large body, not in between.
    ///
    /// # Errors
    ///
    /// The socket is of no use any more: it might wait for what never comes.
    pub(super) fn expect(&mut self, socket: &TcpStream, to_come: u64) -> io::Result<()> {
        let to_come = usize::try_from(to_come).unwrap_or(usize::MAX);
        let wanted = match to_come {
            // Woken once or twice in any case.
            0..WAKE_BYTES if self.0 == 1 => 1,
            to_come => to_come.clamp(1, WAKE_BYTES),
        };
        if wanted != self.0 {
            ReceiveLowWater.set(socket, &wanted).map_err(io::Error::from)?;
            self.0 = wanted;
        }
        Ok(())
    }
}
