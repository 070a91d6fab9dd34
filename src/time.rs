//! Time as the machines see it: a value that comes in as an argument.
//!
//! Two clocks, read together once per wake-up. Timers count on [`Now::mono`], which only ever moves
//! forward; whatever leaves the box (Date headers, certificates, records) uses [`Now::wall`].

use std::time::Duration;

/// A point on the monotonic clock, counted from the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// The start of the process: the zero of this clock.
    pub const START: Instant = Instant(Duration::ZERO);

    /// The instant that lies `elapsed` after the start.
    pub const fn at(elapsed: Duration) -> Instant {
        Instant(elapsed)
    }

    /// Time since the start of the process.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Time from `earlier` to here; zero when `earlier` is the later one.
    pub fn since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, by: Duration) -> Instant {
        Instant(self.0.saturating_add(by))
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For timers.
    pub mono: Instant,
    /// For everything that leaves the box: the corrected time of day.
    pub wall: jiff::Timestamp,
    /// What `wall` may be off; `None` while nobody vouches for it: it is the system's clock as it stands.
    pub error: Option<Duration>,
}

impl Now {
    /// A fixed beginning for virtual time: 2026-11-20 23:00:00 UTC.
    pub fn virtual_start() -> Now {
        Now { mono: Instant::START, wall: jiff::Timestamp::constant(1_795_215_600, 0), error: None }
    }

    /// Both clocks, later by `elapsed`.
    #[must_use]
    pub fn after(self, elapsed: Duration) -> Now {
        Now { mono: self.mono + elapsed, wall: self.wall.saturating_add(elapsed).unwrap_or(self.wall), ..self }
    }

    /// The same moment with the time of day wrong by `ahead`.
    #[must_use]
    pub fn skewed(self, ahead: Duration) -> Now {
        Now { wall: self.wall.saturating_add(ahead).unwrap_or(self.wall), ..self }
    }
}

/// The Date header's form (RFC 3261 section 20.17), always GMT.
pub fn sip_date(wall: jiff::Timestamp) -> String {
    wall.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The earlier of two deadlines; `None` is "never".
pub fn soonest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skewed_wall_clock_leaves_timers_alone() {
        let now = Now::virtual_start();
        let skewed = now.skewed(Duration::from_secs(30));
        assert_eq!(skewed.mono, now.mono);
        assert_eq!(sip_date(now.wall), "Fri, 20 Nov 2026 23:00:00 GMT");
        assert_eq!(sip_date(skewed.wall), "Fri, 20 Nov 2026 23:00:30 GMT");
    }

    #[test]
    fn the_soonest_deadline_wins_over_never() {
        let t = Instant::START + Duration::from_secs(1);
        assert_eq!(soonest(None, Some(t)), Some(t));
        assert_eq!(soonest(Some(t), Some(Instant::START)), Some(Instant::START));
        assert_eq!(soonest(None, None), None);
    }
}
