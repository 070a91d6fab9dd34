//! The media threads' clock: monotonic, read once per wake-up.
//!
//! NTP times in sender reports are the time of day at the engine's start plus what the monotonic
//! clock counted since: a step of the system's clock must not tear a round trip apart.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::time::Instant;

/// Seconds from 1900, where NTP counts from, to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// A moment on both scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For deadlines.
    pub at: Instant,
    /// NTP format: seconds since 1900 in the upper 32 bits.
    pub ntp: u64,
}

impl Moment {
    /// The middle 32 bits of the NTP time: what reports refer to, in 1/65536 s.
    pub fn short_ntp(self) -> u32 {
        (self.ntp >> 16) as u32
    }
}

/// Reads the time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
    ntp: u64,
}

impl Clock {
    /// A clock that stands at zero now.
    pub fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: std::time::Instant::now(), ntp: ntp(wall).wrapping_add(NTP_TO_UNIX << 32) }
    }

    /// The processor's time that the calling thread has taken.
    pub fn spent() -> Duration {
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
    }

    /// This moment.
    pub fn now(&self) -> Moment {
        let elapsed = self.start.elapsed();
        Moment { at: Instant::at(elapsed), ntp: self.ntp.wrapping_add(ntp(elapsed)) }
    }
}

/// A duration in NTP format.
fn ntp(duration: Duration) -> u64 {
    (duration.as_secs() << 32) | ((u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_second_is_half_of_the_lower_word() {
        assert_eq!(ntp(Duration::from_millis(2500)), (2 << 32) | (1 << 31));
        let moment = Moment { at: Instant::START, ntp: 0x0001_0002_0003_0004 };
        assert_eq!(moment.short_ntp(), 0x0002_0003);
    }
}
