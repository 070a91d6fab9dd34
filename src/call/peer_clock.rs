//! A peer's clock, as the Date of its messages shows it: nobody is asked, nothing is sent.
//!
//! 1. Each Date is compared with our time. It is cut to the second and some messages are late or repeated, so the middle
//!    one of the last few counts, to a second.
//! 2. More than [`OFF`] away it is off, and said to be so; it is right again within half of that.
//! 3. Certificates are evidence too, where a handshake fails for their dates ([`Window`]): until a message comes by TLS from
//!    the same address, or nothing more was seen for [`LASTS`].
//! 4. A signed Referred-By is dated by who signed it, perhaps long before it is used: that date is shown beside, and makes
//!    no verdict here.

use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::alarm::{Alarm, Severity, Text};
use crate::identity::blame::{self, OFF};
use crate::identity::window::Window;
use crate::time::{Instant, Now};

/// The Dates that count, and how many make a verdict.
const KEPT: usize = 7;
const ENOUGH: usize = 3;
/// A Date is its second's beginning: on average the message left half a second later.
const HALF_A_GRAIN: SignedDuration = SignedDuration::from_millis(500);

/// How long a failed handshake counts.
const LASTS: Duration = Duration::from_secs(3600);

/// A handshake that failed for the dates of a certificate.
#[derive(Clone, Copy, Debug)]
struct Failed {
    window: Window,
    remote: IpAddr,
    /// The first and the last time.
    since: Instant,
    last: Instant,
}

/// What is known of one peer's clock.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerClock {
    /// Its Date minus our time, in milliseconds; the oldest gives way.
    seen: [i64; KEPT],
    count: usize,
    heard: Option<Instant>,
    /// Since when it is off.
    off: Option<Instant>,
    failed: Option<Failed>,
    /// The date of the last signed identity minus our time, and when it was heard.
    signed: Option<(SignedDuration, Instant)>,
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

    /// An identity came that was signed so long after our time (before it, if negative).
    pub fn signed(&mut self, now: Now, offset: SignedDuration) {
        self.signed = Some((offset, now.mono));
    }

    /// The last signed identity's date minus our time, and when it was heard.
    pub fn identity(&self) -> Option<(SignedDuration, Instant)> {
        self.signed
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

    /// A handshake failed for the dates of a certificate. Is that news?
    pub fn failed(&mut self, now: Now, remote: IpAddr, window: Window) -> bool {
        let known = self.failure(now).filter(|known| known.remote == remote);
        let since = known.map_or(now.mono, |known| known.since);
        self.failed = Some(Failed { window, remote, since, last: now.mono });
        known.is_none()
    }

    /// A message came by TLS from there. Is it news that this works?
    pub fn spoke(&mut self, remote: IpAddr) -> bool {
        self.failed.take_if(|known| known.remote == remote).is_some()
    }

    fn failure(&self, now: Now) -> Option<Failed> {
        self.failed.filter(|known| now.mono.since(known.last) < LASTS)
    }

    /// What certificates say of it; `name` is the peer's.
    pub fn window(&self, now: Now, name: &str) -> Option<Text> {
        Some(self.failure(now)?.window.text(name, now))
    }

    /// What operators must know of it.
    pub fn alarms(&self, now: Now, name: &str) -> impl Iterator<Item = Alarm> {
        let off = self.off.zip(self.offset()).map(|(since, offset)| (since, blame::peer_is_off(name, offset)));
        let failed = self.failure(now).map(|known| (known.since, known.window.text(name, now)));
        off.into_iter().chain(failed).map(move |(since, text)| Alarm::new(now, since, Severity::Major, name, text))
    }

    /// When the last Date was heard.
    pub fn last_heard(&self) -> Option<Instant> {
        self.heard
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_handshake_that_failed_counts_until_that_address_speaks_or_for_an_hour() {
        let (mut clock, now) = (PeerClock::default(), Now::virtual_start());
        let [one, other] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let window = Window::TheirsNotBegun { from: now.wall + SignedDuration::from_hours(1) };
        let alarms = |clock: &PeerClock, now| clock.alarms(now, "lync").count();
        assert!(clock.failed(now, one, window) && !clock.failed(now.after(LASTS / 2), one, window));
        assert!(!clock.spoke(other));
        let since = clock.alarms(now.after(LASTS), "lync").next().unwrap().age_seconds;
        assert_eq!(since, LASTS.as_secs_f64(), "the last one was half an hour ago");
        assert_eq!(alarms(&clock, now.after(LASTS * 3 / 2)), 0);
        assert!(clock.failed(now.after(LASTS * 2), one, window), "that is news again");
        assert!(clock.spoke(one) && !clock.spoke(one));
        assert_eq!(alarms(&clock, now.after(LASTS * 2)), 0);
    }
}
