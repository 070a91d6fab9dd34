//! One direction of a cable: what becomes of eight frames between the one end's clock and the other's.
//!
//! The elastic store takes up what the clocks differ; a whole frame (125 µs) of difference is one controlled slip: a
//! frame left out or repeated (ITU-T G.822).

use super::framer::{Errors, Framer};
use crate::chance::Chance;
use crate::line::Line;

/// The octets of a frame, timeslot 1 first; a T1 uses the first 24.
pub(super) type Frame = [u8; 31];
/// A millisecond.
pub(super) type Chunk = [Frame; 8];

/// A frame's time.
const FRAME_NS: i64 = 125_000;
/// Frames the store has room for, and those that wait at the start: two chunks, since a fast end may take two in the very
/// millisecond in which a slow one puts none.
const ROOM: usize = 64;
const START: usize = 16;

/// What comes out of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Frames; with RAI in their framing or not.
    Framed { rai: bool },
    /// Ones.
    Ais,
    /// Pulses in which there is no framing.
    Unframed,
    /// No pulses.
    Nothing,
}

impl Signal {
    pub(super) fn is_framed(self) -> bool {
        matches!(self, Signal::Framed { .. })
    }
}

/// What happened to a chunk on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) bit_errors: u64,
    /// Framing that was wrong, and blocks that failed their check.
    pub(super) frame_errors: u64,
    pub(super) slips: u64,
}

#[derive(Debug)]
pub(super) struct Way {
    line: Line,
    store: [Frame; ROOM],
    put: usize,
    taken: usize,
    /// By how much the sender's clock has run before the receiver's since the last slip.
    ahead_ns: i64,
    signal: Signal,
    framer: Framer,
    chance: Chance,
    rate: f64,
    /// Good bits before the next bad one.
    good: u64,
    bit_errors: u64,
    frame_errors: u64,
}

impl Way {
    pub(super) fn new(line: Line, seed: u64) -> Way {
        Way {
            line,
            store: [[line.law().silence(); 31]; ROOM],
            put: START,
            taken: 0,
            ahead_ns: 0,
            signal: Signal::Framed { rai: false },
            framer: Framer::new(line),
            chance: Chance::new(seed),
            rate: 0.0,
            good: u64::MAX,
            bit_errors: 0,
            frame_errors: 0,
        }
    }

    /// What the receiver makes of what comes.
    pub(super) fn signal(&self) -> Signal {
        if self.signal.is_framed() && !self.framer.is_in_frame() { Signal::Unframed } else { self.signal }
    }

    /// A millisecond in which the sender's clock gained so many nanoseconds on the receiver's.
    pub(super) fn drift(&mut self, ns: i64) {
        self.ahead_ns += ns;
    }

    /// What the sender says in a millisecond by its own clock.
    pub(super) fn put(&mut self, mut chunk: Chunk, signal: Signal, error_rate: f64) {
        self.signal = signal;
        self.err(&mut chunk, error_rate);
        for frame in chunk {
            self.store[self.put % ROOM] = frame;
            self.put += 1;
        }
    }

    /// What the receiver hears in a millisecond by its own clock.
    pub(super) fn take(&mut self) -> (Chunk, Damage) {
        let mut slips = 0;
        if self.ahead_ns >= FRAME_NS {
            self.ahead_ns -= FRAME_NS;
            self.taken += 1;
            slips = 1;
        } else if self.ahead_ns <= -FRAME_NS {
            self.ahead_ns += FRAME_NS;
            self.taken -= 1;
            slips = 1;
        }
        let chunk = std::array::from_fn(|at| self.store[(self.taken + at) % ROOM]);
        self.taken += chunk.len();
        let [bit_errors, frame_errors] = [&mut self.bit_errors, &mut self.frame_errors].map(std::mem::take);
        match (self.signal.is_framed(), self.framer.is_in_frame()) {
            (true, true) => (chunk, Damage { bit_errors, frame_errors, slips }),
            // What a framer gives on when it finds no frames.
            (true, false) => ([[0xff; 31]; 8], Damage { bit_errors, ..Damage::default() }),
            (false, _) => ([[0xff; 31]; 8], Damage::default()),
        }
    }

    /// Turns bits over at the given rate.
    fn err(&mut self, chunk: &mut Chunk, rate: f64) {
        if rate != self.rate {
            self.rate = rate;
            self.good = self.chance.misses(rate);
        }
        // The framing bit of a T1, timeslot 0 of an E1: the first bits of each frame.
        let framing = if self.line == Line::T1 { 1 } else { 8 };
        let frame_bits = framing + 8 * u64::from(self.line.timeslots());
        let bits = chunk.len() as u64 * frame_bits;
        let mut errors = [Errors::default(); 8];
        while self.good < bits {
            let (frame, bit) = ((self.good / frame_bits) as usize, self.good % frame_bits);
            errors[frame].any = true;
            match bit.checked_sub(framing) {
                Some(bit) => chunk[frame][(bit / 8) as usize] ^= 0x80 >> (bit % 8),
                None => errors[frame].first ^= 0x80 >> bit,
            }
            self.bit_errors += 1;
            self.good = self.good.saturating_add(1).saturating_add(self.chance.misses(rate));
        }
        self.frame_errors += errors.into_iter().map(|errors| self.framer.frame(errors)).sum::<u64>();
        if self.good != u64::MAX {
            self.good -= bits;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMED: Signal = Signal::Framed { rai: false };

    #[test]
    fn bits_are_turned_over_at_the_rate_that_was_asked_for() {
        for rate in [1e-5, 1e-3, 0.1] {
            let mut way = Way::new(Line::E1, 3);
            let mut turned = 0;
            for _ in 0..2000 {
                way.put([[0; 31]; 8], FRAMED, rate);
                turned += way.take().1.bit_errors;
            }
            let expected = 2000.0 * 8.0 * 256.0 * rate;
            assert!((turned as f64 - expected).abs() < 5.0 * expected.sqrt(), "{turned} of {expected}");
        }
    }

    #[test]
    fn clocks_that_differ_slip_a_frame_at_a_time() {
        for (gain, next) in [(50, 2), (-50, 0)] {
            let mut way = Way::new(Line::T1, 0);
            let mut count = 0u8;
            let mut last = None;
            let mut slips = 0;
            for _ in 0..2500 {
                way.drift(gain);
                way.put(std::array::from_fn(|at| [count.wrapping_add(at as u8); 31]), FRAMED, 0.0);
                count = count.wrapping_add(8);
                let (chunk, damage) = way.take();
                slips += damage.slips;
                for [octet, ..] in chunk {
                    // The store's own silence comes first.
                    let step = last.map_or(1, |last| octet.wrapping_sub(last));
                    if slips == 1 && damage.slips == 1 && step != 1 {
                        assert_eq!(step, next, "one frame, once");
                    }
                    last = Some(octet);
                }
            }
            assert_eq!(slips, 1, "50 ppm are a frame in 2.5 s");
        }
    }
}
