//! The system's clock as the kernel runs it (adjtimex(2)): its state for everybody, a gentle push for who may.

#![allow(unsafe_code)]

use std::io;
use std::time::Duration;

/// What the kernel knows of the clock's discipline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Discipline {
    /// Somebody keeps it synchronised: chrony, timesyncd, ntpd, perhaps outside this container.
    pub synchronised: bool,
    /// What it may be off, by the word of who synchronises it.
    pub max_error: Duration,
    /// The correction of the oscillator, parts per million.
    pub frequency_ppm: f64,
}

/// Reads the state.
pub fn discipline() -> io::Result<Discipline> {
    let (state, timex) = adjust(0, 0)?;
    Ok(Discipline {
        synchronised: state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0,
        max_error: Duration::from_micros(u64::try_from(timex.maxerror).unwrap_or(0)),
        frequency_ppm: timex.freq as f64 / 65_536.0,
    })
}

/// Lets the clock run faster (or slower) by 500 ppm until it has gained (or lost) so many microseconds, as adjtime(3)
/// does. An order under way is replaced. Needs CAP_SYS_TIME.
pub fn slew(microseconds: i64) -> io::Result<()> {
    adjust(libc::ADJ_OFFSET_SINGLESHOT, microseconds).map(drop)
}

fn adjust(modes: libc::c_uint, offset: i64) -> io::Result<(libc::c_int, libc::timex)> {
    // SAFETY: timex is plain numbers, for which zero is a value.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    timex.modes = modes;
    timex.offset = offset as libc::c_long;
    // SAFETY: the kernel reads and writes the one struct that it is given, which lives here.
    let state = unsafe { libc::adjtimex(&mut timex) };
    if state < 0 { Err(io::Error::last_os_error()) } else { Ok((state, timex)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_may_read_the_state() {
        let state = discipline().unwrap();
        assert!(state.frequency_ppm.abs() <= 500.0, "{state:?}");
        assert!(!state.synchronised || state.max_error < Duration::from_secs(16), "{state:?}");
    }
}
