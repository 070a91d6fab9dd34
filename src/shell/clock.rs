//! The only reading of time for the machines.

use std::time::Duration;

use crate::time::{Instant, Now};

/// Both clocks of the operating system, counted from the start of the process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    /// Begins to count.
    pub fn start() -> Clock {
        Clock { start: tokio::time::Instant::now() }
    }

    /// Both clocks now.
    pub fn now(self) -> Now {
        Now { mono: Instant::at(self.start.elapsed()), wall: jiff::Timestamp::now() }
    }

    /// Waits until a deadline; for ever without one.
    pub async fn until(self, deadline: Option<Instant>) {
        match deadline {
            Some(at) => tokio::time::sleep_until(self.start + at.since_start()).await,
            None => std::future::pending().await,
        }
    }

    /// A limit from now on.
    pub fn after(self, pause: Duration) -> Instant {
        self.now().mono + pause
    }
}
