//! An end to waiting, without a timer for every wait: to program one costs more than to relay a packet. With 200 calls
//! whose packets come evenly it was 17 µs a packet, 11 without.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// It rings at whole units of this: what is due shortly after each other shares a wake-up.
const GRAIN: Duration = Duration::from_millis(1);

/// An alarm clock.
pub struct Alarm {
    timer: TimerFd,
    since: Instant,
    /// When it will ring.
    set: Option<Duration>,
}

impl Alarm {
    /// Not set.
    pub fn new() -> nix::Result<Alarm> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        Ok(Alarm { timer, since: Instant::now(), set: None })
    }

    /// It shall ring within that time, or a grain later; if it will ring sooner, it stays as it is.
    pub fn within(&mut self, most: Option<Duration>) {
        let Some(most) = most else { return };
        let now = self.since.elapsed();
        let due = whole(now + most);
        if self.set.is_some_and(|set| set <= due) {
            return;
        }
        // A time of zero would switch it off.
        let wait = TimeSpec::from_duration((due - now).max(Duration::from_nanos(1)));
        if self.timer.set(Expiration::OneShot(wait), TimerSetTimeFlags::empty()).is_ok() {
            self.set = Some(due);
        }
    }

    /// It rang.
    pub fn rang(&mut self) {
        self.set = None;
        // What it says is how often.
        let _ = self.timer.wait();
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

impl AsRawFd for Alarm {
    fn as_raw_fd(&self) -> RawFd {
        self.timer.as_fd().as_raw_fd()
    }
}

/// The next whole grain.
fn whole(time: Duration) -> Duration {
    let grains = time.as_nanos().div_ceil(GRAIN.as_nanos());
    GRAIN.saturating_mul(u32::try_from(grains).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_within_a_grain_shares_it() {
        let times = [0, 1, 999_999, 1_000_000, 1_000_001].map(Duration::from_nanos);
        assert_eq!(times.map(whole), [0, 1, 1, 1, 2].map(Duration::from_millis));
    }

    #[test]
    fn it_is_set_anew_for_what_is_sooner_and_after_it_rang() {
        let mut alarm = Alarm::new().unwrap();
        alarm.within(None);
        assert_eq!(alarm.set, None);
        alarm.within(Some(Duration::from_secs(100)));
        let late = alarm.set;
        alarm.within(Some(Duration::from_secs(200)));
        assert_eq!(alarm.set, late);
        alarm.within(Some(Duration::from_secs(50)));
        assert!(alarm.set < late);
        alarm.rang();
        alarm.within(Some(Duration::from_secs(200)));
        assert!(alarm.set > late);
    }
}
