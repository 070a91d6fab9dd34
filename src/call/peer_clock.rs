//! A peer's clock, as the Date of its messages shows it: nobody is asked, nothing is sent.
//!
//! 1. Each Date is compared with our time. It is cut to the second and some messages are late or repeated, so the middle
//!    one of the last few counts, to a second.
//! 2. More than [`OFF`] away it is off, and said to be so; it is right again within half of that.

use jiff::{SignedDuration, Timestamp};

use crate::alarm::{Alarm, Severity};
use crate::identity::blame::{self, OFF};
use crate::time::{Instant, Now};

/// The Dates that count, and how many make a verdict.
const KEPT: usize = 7;
const ENOUGH: usize = 3;
/// A Date is its second's beginning: on average the message left half a second later.
const HALF_A_GRAIN: SignedDuration = SignedDuration::from_millis(500);

/// What is known of one peer's clock.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerClock {
    /// Its Date minus our time, in milliseconds; the oldest gives way.
    seen: [i64; KEPT],
    count: usize,
    heard: Option<Instant>,
    /// Since when it is off.
    off: Option<Instant>,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It is off by this much (positive: ahead of us).
    Off(SignedDuration),
    /// It is right again.
    Right,
}

impl PeerClock {
    /// A message carried this Date.
    pub fn heard(&mut self, now: Now, date: Timestamp) -> Option<News> {
        let offset = date.duration_since(now.wall) + HALF_A_GRAIN;
        self.seen[self.count % KEPT] = i64::try_from(offset.as_millis()).unwrap_or(i64::MAX);
        self.count += 1;
        self.heard = Some(now.mono);
        let offset = self.offset()?;
        let off = offset.abs() > if self.off.is_some() { OFF / 2 } else { OFF };
        if off == self.off.is_some() {
            return None;
        }
        self.off = off.then_some(now.mono);
        Some(if off { News::Off(offset) } else { News::Right })
    }

    /// Its time minus ours, to a second; `None` until enough was heard.
    pub fn offset(&self) -> Option<SignedDuration> {
        let mut all = self.seen;
        let seen = &mut all[..self.count.min(KEPT)];
        seen.sort_unstable();
        let middle = *seen.get(seen.len() / 2).filter(|_| self.count >= ENOUGH)?;
        let rounded = middle.saturating_add(500).div_euclid(1000);
        Some(SignedDuration::from_secs(rounded))
    }

    /// The same while it is off.
    pub fn off(&self) -> Option<SignedDuration> {
        self.offset().filter(|_| self.off.is_some())
    }

    /// What operators must know of it; `name` is the peer's.
    pub fn alarm(&self, now: Now, name: &str) -> Option<Alarm> {
        let text = blame::peer_is_off(name, self.offset()?);
        Some(Alarm::new(now, self.off?, Severity::Major, name, text))
    }

    /// When the last Date was heard.
    pub fn last_heard(&self) -> Option<Instant> {
        self.heard
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Hears Dates that are off by so many milliseconds, cut to the second as Dates are, a second apart.
    fn listen(clock: &mut PeerClock, offsets: &[i64]) -> Vec<News> {
        let mut now = Now::virtual_start().after(Duration::from_millis(730));
        let mut news = Vec::new();
        for offset in offsets {
            let sent = now.wall + SignedDuration::from_millis(*offset);
            let date = Timestamp::from_second(sent.as_second()).unwrap();
            news.extend(clock.heard(now, date));
            now = now.after(Duration::from_millis(1370));
        }
        news
    }

    fn seconds(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    #[test]
    fn offsets_are_known_to_a_second() {
        for (offset, expected) in [(0, 0), (30_000, 30), (-120_000, -120), (-18_000_000, -18_000), (400, 0)] {
            let mut clock = PeerClock::default();
            listen(&mut clock, &[offset; 7]);
            let seen = clock.offset().unwrap();
            assert!((seen - seconds(expected)).abs() <= seconds(1), "{offset}: {seen}");
        }
    }

    #[test]
    fn two_dates_are_not_enough() {
        let mut clock = PeerClock::default();
        assert_eq!(listen(&mut clock, &[30_000, 30_000]), []);
        assert_eq!(clock.offset(), None);
    }

    #[test]
    fn it_is_said_once_that_a_clock_is_off_and_once_that_it_is_right() {
        let mut clock = PeerClock::default();
        let [News::Off(by)] = listen(&mut clock, &[30_000; 20])[..] else { panic!("not off") };
        assert!((by - seconds(30)).abs() <= seconds(1));
        assert!(clock.off().is_some());
        assert_eq!(listen(&mut clock, &[0; 20]), [News::Right]);
        assert_eq!(clock.off(), None);
    }

    #[test]
    fn messages_that_come_late_do_not_count() {
        let mut clock = PeerClock::default();
        assert_eq!(listen(&mut clock, &[0, -31_000, 0, 0, -15_000, 0, -7_500, 0, 0]), []);
        assert!(clock.offset().unwrap().abs() <= seconds(1));
    }

    #[test]
    fn a_wild_date_is_no_overflow() {
        let mut clock = PeerClock::default();
        let now = Now::virtual_start();
        for _ in 0..9 {
            clock.heard(now, Timestamp::MIN);
            clock.heard(now, Timestamp::MAX);
        }
        assert!(clock.offset().is_some());
    }
}
