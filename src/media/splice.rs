//! One source toward the peer, whatever comes in on the other side.
//!
//! Receivers on Microsoft's side throttle changes of SSRC and sequence ([MS-RTP]), so a side has one
//! SSRC of ours for its whole life, and each source of the other side is spliced on with an offset that
//! then stays: its losses and its order remain visible.

use std::time::Duration;

use crate::media::srtp::Window;
use crate::session::Codec;
use crate::time::Instant;

/// A new source begins at least one packet after the last one.
const PACKET: Duration = Duration::from_millis(20);

/// Sequence number and timestamp of what is sent.
#[derive(Debug)]
pub struct Splice {
    clock_rate: u32,
    sent: Window,
    timestamp: u32,
    at: Option<Instant>,
    source: Option<Source>,
    first: u16,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

/// Where a packet lies in our stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its sequence number.
    pub sequence: u16,
    /// Its timestamp.
    pub timestamp: u32,
    /// It is the first of a newly spliced source.
    pub first: bool,
}

impl Splice {
    /// A stream that begins at these numbers. The sequence number begins in the lower half, so that
    /// a loss at the very beginning cannot hide the first rollover (RFC 3711 section 3.3.1).
    pub fn new(sequence: u16, timestamp: u32) -> Splice {
        let clock_rate = Codec::Pcmu.clock_rate();
        Splice { clock_rate, sent: Window::default(), timestamp, at: None, source: None, first: sequence & 0x7fff }
    }

    /// Timestamps from now on count at this rate, in Hz.
    pub fn count_at(&mut self, clock_rate: u32) {
        self.clock_rate = clock_rate;
    }

    /// Whatever comes next is spliced on anew: the source went on while nothing was relayed, or
    /// began again.
    pub fn cut(&mut self) {
        self.source = None;
    }

    /// The place of the packet `sequence`, `timestamp` of `ssrc`; `None` when that place is taken or long past.
    pub fn place(&mut self, ssrc: u32, sequence: u16, timestamp: u32, now: Instant) -> Option<Position> {
        let known = self.source.filter(|source| source.ssrc == ssrc);
        let source = known.unwrap_or_else(|| Source {
            ssrc,
            sequence: self.next().wrapping_sub(sequence),
            timestamp: self.timestamp_at(now).wrapping_sub(timestamp),
        });
        let sequence = sequence.wrapping_add(source.sequence);
        let timestamp = timestamp.wrapping_add(source.timestamp);
        let index = match self.sent.newest() {
            None => u64::from(sequence),
            Some(_) => self.sent.guess(sequence)?,
        };
        if !self.sent.is_fresh(index) {
            return None;
        }
        if self.sent.newest().is_none_or(|newest| newest < index) {
            (self.timestamp, self.at) = (timestamp, Some(now));
        }
        self.sent.note(index);
        self.source = Some(source);
        Some(Position { sequence, timestamp, first: known.is_none() })
    }

    /// A packet of `ssrc` that is not for the peer: it leaves no gap.
    pub fn skip(&mut self, ssrc: u32, sequence: u16) {
        let next = self.next();
        if let Some(source) = self.source.as_mut().filter(|source| source.ssrc == ssrc)
            && sequence.wrapping_add(source.sequence) == next
        {
            source.sequence = source.sequence.wrapping_sub(1);
        }
    }

    /// The timestamp that `now` has in our stream (RFC 3550 section 6.4.1).
    pub fn timestamp(&self, now: Instant) -> u32 {
        self.at.map_or(self.timestamp, |at| self.timestamp.wrapping_add(self.units(now.since(at))))
    }

    fn timestamp_at(&self, now: Instant) -> u32 {
        let step = |at| self.units(now.since(at).max(PACKET));
        self.at.map_or(self.timestamp, |at| self.timestamp.wrapping_add(step(at)))
    }

    fn next(&self) -> u16 {
        self.sent.newest().map_or(self.first, |newest| (newest as u16).wrapping_add(1))
    }

    fn units(&self, time: Duration) -> u32 {
        (time.as_micros() as u64 * u64::from(self.clock_rate) / 1_000_000) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::at(Duration::from_millis(milliseconds))
    }

    fn place(sequence: u16, timestamp: u32, first: bool) -> Option<Position> {
        Some(Position { sequence, timestamp, first })
    }

    #[test]
    fn losses_and_order_of_a_source_stay_visible() {
        let mut splice = Splice::new(100, 5000);
        assert_eq!(splice.place(1, 65534, 0, at(0)), place(100, 5000, true));
        assert_eq!(splice.place(1, 1, 480, at(60)), place(103, 5480, false), "two were lost");
        assert_eq!(splice.place(1, 0, 320, at(61)), place(102, 5320, false), "one was only late");
        assert_eq!(splice.place(1, 0, 320, at(62)), None, "and came twice");
    }

    #[test]
    fn a_new_source_goes_on_where_the_last_one_stopped() {
        let mut splice = Splice::new(0, 0);
        splice.place(1, 7, 0, at(0)).unwrap();
        splice.place(1, 8, 160, at(20)).unwrap();
        assert_eq!(splice.place(2, 40_000, 99, at(1020)), place(2, 160 + 8000, true));
        assert_eq!(splice.place(2, 40_001, 259, at(1040)), place(3, 160 + 8160, false));
        assert_eq!(splice.place(3, 0, 0, at(1041)), place(4, 160 + 8160 + 160, true), "never on top of the last");
    }

    #[test]
    fn a_new_source_counts_at_its_own_rate() {
        let mut splice = Splice::new(0, 0);
        splice.place(1, 7, 0, at(0)).unwrap();
        splice.cut();
        splice.count_at(48_000);
        assert_eq!(splice.place(1, 8, 5000, at(100)), place(1, 4800, true));
        assert_eq!(splice.place(1, 9, 5960, at(120)), place(2, 5760, false));
        assert_eq!(splice.timestamp(at(130)), 6240);
    }

    #[test]
    fn a_held_source_resumes_without_a_gap() {
        let mut splice = Splice::new(0, 0);
        splice.place(1, 1, 0, at(0)).unwrap();
        splice.cut();
        assert_eq!(splice.place(1, 5001, 160, at(100_000)), place(1, 800_000, true));
    }

    #[test]
    fn a_packet_that_is_not_for_the_peer_leaves_no_gap() {
        let mut splice = Splice::new(0, 0);
        splice.place(1, 1, 0, at(0)).unwrap();
        splice.skip(1, 2);
        assert_eq!(splice.place(1, 3, 320, at(40)), place(1, 320, false));
    }

    #[test]
    fn the_beginning_lies_in_the_lower_half() {
        assert_eq!(Splice::new(0xffff, 0).place(1, 1, 0, at(0)), place(0x7fff, 0, true));
    }

    #[test]
    fn the_report_time_runs_on_between_packets() {
        let mut splice = Splice::new(0, 1000);
        splice.place(1, 0, 0, at(0)).unwrap();
        assert_eq!(splice.timestamp(at(10)), 1080);
        splice.place(1, 2, 320, at(40)).unwrap();
        splice.place(1, 1, 160, at(45)).unwrap();
        assert_eq!(splice.timestamp(at(50)), 1400, "a late packet does not turn it back");
    }
}
