//! The only reading of time for the machines.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use crate::clock::{Reading, Standing, Trust};
use crate::time::{Instant, Now};

/// Both clocks of the operating system, the monotonic one counted from the start of the process, the time of day
/// corrected while the true time is known. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    start: tokio::time::Instant,
    standing: watch::Receiver<Standing>,
}

impl Clock {
    /// Begins to count; the time of day is the system's.
    pub fn start() -> Clock {
        Clock::corrected().0
    }

    /// Begins to count; what is sent corrects the time of day.
    pub fn corrected() -> (Clock, watch::Sender<Standing>) {
        let (sender, standing) = watch::channel(Standing::default());
        (Clock { start: tokio::time::Instant::now(), standing }, sender)
    }

    /// Both clocks now.
    pub fn now(&self) -> Now {
        let Reading { mono, raw, system } = self.reading();
        match self.standing.borrow().truth {
            Some(truth) => Now { mono, wall: truth.wall(raw), error: Some(truth.error(raw)) },
            None => Now { mono, wall: system, error: None },
        }
    }

    /// The clocks now, as the system has them.
    pub fn reading(&self) -> Reading {
        let mono = self.start.elapsed();
        // Every Linux has it; one that had not would be bent by who disciplines its clock.
        let raw = clock_gettime(ClockId::CLOCK_MONOTONIC_RAW).map_or(mono, Duration::from);
        Reading { mono: Instant::at(mono), raw, system: jiff::Timestamp::now() }
    }

    /// How the time of day stands.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Waits until the NTP servers have been heard; returns at once when there are none.
    pub async fn judged(&self) {
        let mut standing = self.standing.clone();
        // Nobody who could still say something: what there is holds.
        let _ = standing.wait_for(|standing| standing.servers.is_empty() || standing.trust != Trust::None).await;
    }

    /// Waits until a deadline; for ever without one.
    pub async fn until(&self, deadline: Option<Instant>) {
        match deadline {
            Some(at) => tokio::time::sleep_until(self.start + at.since_start()).await,
            None => std::future::pending().await,
        }
    }

    /// A limit from now on.
    pub fn after(&self, pause: Duration) -> Instant {
        self.now().mono + pause
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::start()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_servers_the_time_is_the_systems() {
        let now = Clock::start().now();
        assert_eq!(now.error, None);
        assert!(jiff::Timestamp::now().duration_since(now.wall).as_secs() < 5);
    }
}
