//! What the kernel says of the system's clock (adjtimex(2)): read, never set.
#![allow(unsafe_code)]

use std::io;
use std::time::Duration;

/// The system's clock, as whoever disciplines it has told the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemClock {
    /// Is it disciplined by somebody (chrony, systemd-timesyncd, ntpd)?
    pub synchronised: bool,
    /// The most that it may be wrong by, as far as the kernel was told.
    pub most_error: Duration,
}

impl SystemClock {
    /// Asks the kernel.
    pub fn read() -> io::Result<SystemClock> {
        // SAFETY: `timex` holds integers only, for which zero is a value; without modes nothing is changed.
        let mut timex: libc::timex = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live value that the kernel fills.
        let state = unsafe { libc::adjtimex(&raw mut timex) };
        if state < 0 {
            return Err(io::Error::last_os_error());
        }
        let synchronised = state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0;
        let most_error = Duration::from_micros(u64::try_from(timex.maxerror).unwrap_or(0));
        Ok(SystemClock { synchronised, most_error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        // Sandboxes may forbid the question, and then say so.
        match SystemClock::read() {
            Ok(clock) => assert!(!clock.synchronised || clock.most_error < Duration::from_secs(17)),
            Err(fault) => assert_eq!(fault.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
