//! What a receiver makes of the bits that frame a line, and of the check over each block (ITU-T G.704, G.706; ANSI T1.403, T1.231).
//!
//! ```text
//!              framing                            out of frame              in frame again          a block of the CRC
//! T1 (ESF)     a bit of each fourth frame         2 of 6 are wrong (3 ms)   24 on end are right     24 frames
//! E1           7 bits of each second timeslot 0   3 on end are wrong        2 on end are right      8 frames
//! ```
//!
//! A check that misses an error, and framing that is found in the wrong place, are not simulated.

use crate::line::Line;

/// The receiver of one direction.
#[derive(Debug)]
pub(super) struct Framer {
    line: Line,
    /// In the multiframe, from 0.
    frame: u8,
    /// Whether the last framing patterns were wrong, the newest in bit 0.
    wrong: u32,
    in_frame: bool,
    /// An error was in this block.
    bad_block: bool,
}

/// What is wrong in a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Errors {
    /// Those of its framing bits that are turned over, the first in the highest bit: one on a T1, timeslot 0 on an E1.
    pub(super) first: u8,
    /// Any of its bits is.
    pub(super) any: bool,
}

impl Framer {
    pub(super) fn new(line: Line) -> Framer {
        Framer { line, frame: 0, wrong: 0, in_frame: true, bad_block: false }
    }

    pub(super) fn is_in_frame(&self) -> bool {
        self.in_frame
    }

    /// The next frame; how many framing errors and bad blocks that makes.
    pub(super) fn frame(&mut self, errors: Errors) -> u64 {
        let (pattern, frames) = match self.line {
            Line::T1 => ((self.frame % 4 == 3).then_some(errors.first & 0x80 != 0), 24),
            Line::E1 => (self.frame.is_multiple_of(2).then_some(errors.first & 0x7f != 0), 8),
        };
        self.bad_block |= errors.any;
        if let Some(wrong) = pattern {
            self.wrong = self.wrong << 1 | u32::from(wrong);
            self.in_frame = match (self.line, self.in_frame) {
                (Line::T1, true) => (self.wrong & 0x3f).count_ones() < 2,
                (Line::T1, false) => self.wrong & 0xff_ffff == 0,
                (Line::E1, true) => self.wrong & 0b111 != 0b111,
                (Line::E1, false) => self.wrong & 0b11 == 0,
            };
        }
        self.frame = (self.frame + 1) % frames;
        let block = self.frame == 0 && std::mem::take(&mut self.bad_block);
        u64::from(pattern == Some(true)) + u64::from(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames with framing that is wrong (`x`) or right, each with as many good ones behind it as have none; whether it is in
    /// frame after each, and all errors.
    fn told(line: Line, patterns: &str) -> (String, u64) {
        let mut framer = Framer::new(line);
        let (mut seen, mut errors) = (String::new(), 0);
        let gap = if line == Line::T1 { 3 } else { 1 };
        for pattern in patterns.chars() {
            let wrong = Errors { first: 0xff, any: true };
            let framing = if pattern == 'x' { wrong } else { Errors::default() };
            // On a T1 the fourth frame has the bit, on an E1 the first of two.
            let frames = (0..=gap).map(|at| at == if line == Line::T1 { gap } else { 0 });
            errors += frames.map(|has| framer.frame(if has { framing } else { Errors::default() })).sum::<u64>();
            seen.push(if framer.is_in_frame() { '-' } else { 'o' });
        }
        (seen, errors)
    }

    #[test]
    fn frames_are_lost_and_found_as_the_standards_say() {
        let (out, good) = ("o".repeat(24), ".".repeat(25));
        assert_eq!(told(Line::T1, &format!("......x.....x.x{good}")), (format!("{}{out}--", "-".repeat(14)), 5));
        assert_eq!(told(Line::T1, "x.......x......."), ("----------------".into(), 4));
        assert_eq!(told(Line::E1, ".xx.xxxx.x..xx.."), ("------ooooo-----".into(), 13));
    }

    #[test]
    fn an_error_beside_the_framing_is_seen_by_the_check_once_a_block() {
        for (line, frames) in [(Line::T1, 24), (Line::E1, 8)] {
            let mut framer = Framer::new(line);
            let beside = Errors { first: 0, any: true };
            let errors: u64 = (0..3 * frames).map(|_| framer.frame(beside)).sum();
            assert_eq!((errors, framer.is_in_frame()), (3, true));
        }
    }
}
