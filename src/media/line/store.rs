//! The elastic store between two lines (ITU-T G.810): octets of one wait until the other takes them.
//!
//! Lines with one clock leave as much in it for ever. Where clocks differ it fills or empties, and a frame of 125 µs is left
//! out or said twice: a slip, one in a block at most. Both lines come in blocks: what has come of the next one counts as if it
//! waited, so that nothing slips because their blocks pass each other.

use crate::media::echo::BLOCK;
use crate::time::Instant;

/// Octets that shall wait when a block is taken: it, what may not be here yet of the next, and what may be late.
const WANTED: usize = 2 * BLOCK + 2 * SLACK;
/// By how many octets it may be more or less: wake-ups are not that punctual.
const SLACK: usize = 16;
/// Octets that can wait.
const ROOM: usize = 8 * BLOCK;

/// Octets of another line that wait.
#[derive(Clone, Debug)]
pub struct Store {
    octets: [u8; ROOM],
    filled: usize,
    /// Octets were taken before these.
    flowing: bool,
    /// When the last block came.
    put: Instant,
    slips: u64,
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}

impl Store {
    /// Empty.
    pub fn new() -> Store {
        Store { octets: [0; ROOM], filled: 0, flowing: false, put: Instant::START, slips: 0 }
    }

    /// Frames said twice or left out so far.
    pub fn slips(&self) -> u64 {
        self.slips
    }

    /// A block comes from the other line. What there is no room for is left out.
    pub fn put(&mut self, block: &[u8; BLOCK], now: Instant) {
        let taken = block.len().min(ROOM - self.filled);
        self.octets[self.filled..self.filled + taken].copy_from_slice(&block[..taken]);
        self.filled += taken;
        self.slips += (block.len() - taken) as u64;
        self.put = now;
    }

    /// The block that is to be said now; `false` when there is none. Silence is said until enough waits.
    pub fn take(&mut self, block: &mut [u8; BLOCK], silence: u8, now: Instant) -> bool {
        let coming = (now.since(self.put).as_micros() as usize / 125).min(BLOCK);
        if !self.flowing && self.filled > 0 {
            self.flowing = true;
            let pause = WANTED.saturating_sub(self.filled + coming);
            self.octets.copy_within(..self.filled, pause);
            self.octets[..pause].fill(silence);
            self.filled += pause;
        }
        if self.filled < BLOCK {
            self.flowing = false;
            return false;
        }
        block.copy_from_slice(&self.octets[..BLOCK]);
        let taken = match self.filled + coming {
            few if few < WANTED - SLACK => BLOCK - 1,
            many if many > WANTED + SLACK => BLOCK + 1,
            _ => BLOCK,
        };
        let taken = taken.min(self.filled);
        self.slips += u64::from(taken != BLOCK);
        self.octets.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(nanoseconds: u64) -> Instant {
        Instant::at(Duration::from_nanos(nanoseconds))
    }

    /// What slips, and how many blocks are silent, when the line that takes is slower by so much.
    fn slips(seconds: u64, ppm: i64) -> (u64, u64) {
        let (mut store, mut silent) = (Store::new(), 0);
        let (mut next_in, mut next_out) = (0, 1_000_000);
        while next_out < seconds * 1_000_000_000 {
            if next_in <= next_out {
                store.put(&[1; BLOCK], at(next_in));
                next_in += 5_000_000;
            } else {
                silent += u64::from(!store.take(&mut [0; BLOCK], 0, at(next_out)));
                next_out += 5_000_000u64.saturating_add_signed(5 * ppm);
            }
        }
        (store.slips(), silent)
    }

    #[test]
    fn lines_of_one_clock_never_slip() {
        assert_eq!(slips(600, 0), (0, 0));
    }

    #[test]
    fn a_difference_of_clocks_is_as_many_frames() {
        for ppm in [50, -50, 5, -5, 1000, -1000] {
            let (slips, silent) = slips(600, ppm);
            // 8,000 frames a second.
            let expected = 600 * 8000 * ppm.unsigned_abs() / 1_000_000;
            let most = 20 + expected / 500;
            assert!(
                slips.abs_diff(expected) <= most && silent == 0,
                "{ppm} ppm: {slips} of {expected}, {silent} silent"
            );
        }
    }

    #[test]
    fn whoever_is_served_first_nothing_slips() {
        let mut store = Store::new();
        let mut block = [0; BLOCK];
        for round in 0..1000 {
            let now = at(5_000_000 * round);
            if round % 3 == 0 {
                store.put(&[1; BLOCK], now);
                store.take(&mut block, 0, now);
            } else {
                assert!(store.take(&mut block, 0, now));
                store.put(&[1; BLOCK], now);
            }
        }
        assert_eq!(store.slips(), 0);
    }

    #[test]
    fn octets_keep_their_order_behind_a_pause() {
        let mut store = Store::new();
        let mut block = [9; BLOCK];
        assert!(!store.take(&mut block, 7, at(0)) && block == [9; BLOCK], "nothing came");
        let said: Vec<u8> = (0..200).collect();
        let mut heard = Vec::new();
        for (round, part) in said.chunks_exact(BLOCK).enumerate() {
            store.put(part.try_into().unwrap(), at(5_000_000 * round as u64));
            assert!(store.take(&mut block, 7, at(5_000_000 * round as u64)));
            heard.extend(block);
        }
        assert_eq!(heard[..WANTED - BLOCK], [7; WANTED - BLOCK]);
        assert_eq!(heard[WANTED - BLOCK..], said[..200 - WANTED + BLOCK]);
    }

    #[test]
    fn what_nobody_takes_is_counted() {
        let mut store = Store::new();
        (0..20).for_each(|round| store.put(&[1; BLOCK], at(5_000_000 * round)));
        assert_eq!(store.slips(), (20 * BLOCK - ROOM) as u64);
    }
}
