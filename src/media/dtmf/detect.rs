//! DTMF heard in sound (ITU-T Q.24): blocks of 12.75 ms, each judged by Goertzel's algorithm.
//!
//! A block is a digit when one row and one column stand out, are about equally loud, and hold nearly all of the block's
//! energy: speech has more in it than two sines. Two such blocks in a row begin a digit, two without it end it.

use std::f32::consts::TAU;

use super::tone::{COLUMNS, KEYS, ROWS};
use crate::session::Digit;

/// Microseconds of a block: as many samples at 8 kHz as tell 697 Hz from 770.
const BLOCK: u32 = 12_750;
/// The least mean square of a tone that counts: about -35 dBm0.
const QUIETEST: f32 = 7.0e4;
/// The column may be louder than the row by 8 dB, the row louder than the column by 4 dB (Q.24 asks for less).
const TWIST: (f32, f32) = (6.31, 2.51);
/// The next strongest of a group lies this far below the strongest: 8 dB.
const STANDOUT: f32 = 6.31;
/// The share of a block's energy that both tones hold at least.
const PURE: f32 = 0.82;

/// What a detector hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// No digit.
    Nothing,
    /// Perhaps a digit begins: the next block tells.
    Doubt,
    /// This digit sounds; it began so many samples before the end of what was given.
    Digit(Digit, usize),
}

/// Listens for digits.
#[derive(Clone, Debug)]
pub struct Detector {
    coefficients: [f32; 8],
    states: [(f32, f32); 8],
    energy: f32,
    block: usize,
    filled: usize,
    last: Option<Digit>,
    sounding: Option<Digit>,
    misses: u8,
    /// Samples since the digit that sounds, or may sound, began.
    since: usize,
}

impl Detector {
    /// For sound of `rate` Hz.
    pub fn new(rate: u32) -> Detector {
        let coefficient = |hertz: f32| 2.0 * (TAU * hertz / rate.max(1) as f32).cos();
        let mut coefficients = [0.0; 8];
        coefficients.iter_mut().zip(ROWS.into_iter().chain(COLUMNS)).for_each(|(at, hertz)| *at = coefficient(hertz));
        Detector {
            coefficients,
            states: [(0.0, 0.0); 8],
            energy: 0.0,
            block: (u64::from(rate) * u64::from(BLOCK) / 1_000_000).max(1) as usize,
            filled: 0,
            last: None,
            sounding: None,
            misses: 0,
            since: 0,
        }
    }

    /// Listens to what comes next; what is heard at its end.
    pub fn hear(&mut self, sound: &[i16]) -> Heard {
        for sample in sound {
            let sample = f32::from(*sample);
            self.energy += sample * sample;
            for (state, coefficient) in self.states.iter_mut().zip(self.coefficients) {
                *state = (sample + coefficient * state.0 - state.1, state.0);
            }
            self.filled += 1;
            self.since += 1;
            if self.filled == self.block {
                self.judge();
            }
        }
        match (self.sounding, self.last) {
            (Some(digit), _) => Heard::Digit(digit, self.since),
            (None, Some(_)) => Heard::Doubt,
            (None, None) => Heard::Nothing,
        }
    }

    fn judge(&mut self) {
        let found = self.digit();
        self.states = [(0.0, 0.0); 8];
        (self.energy, self.filled) = (0.0, 0);
        match (self.sounding, found) {
            (Some(sounding), Some(found)) if sounding == found => self.misses = 0,
            (Some(_), _) => {
                self.misses += 1;
                if self.misses == 2 {
                    (self.sounding, self.misses) = (None, 0);
                }
            }
            (None, Some(found)) if self.last == Some(found) => {
                self.sounding = Some(found);
            }
            (None, Some(_)) => self.since = self.block,
            (None, None) => {}
        }
        self.last = found;
    }

    /// The digit that this block is.
    fn digit(&self) -> Option<Digit> {
        let power = |at: usize| {
            let ((now, before), coefficient) = (self.states[at], self.coefficients[at]);
            now * now + before * before - coefficient * now * before
        };
        let (row, rows) = strongest([0, 1, 2, 3].map(power));
        let (column, columns) = strongest([4, 5, 6, 7].map(power));
        // The power of a full block of one sine is its mean square, times half of the block's length squared.
        let scale = (self.block * self.block) as f32 / 2.0;
        let loud = rows.0.min(columns.0) / scale > QUIETEST;
        let alike = columns.0 < rows.0 * TWIST.0 && rows.0 < columns.0 * TWIST.1;
        let clear = rows.0 > rows.1 * STANDOUT && columns.0 > columns.1 * STANDOUT;
        let pure = (rows.0 + columns.0) * 2.0 / self.block as f32 > PURE * self.energy;
        let key = KEYS[row * 4 + column];
        if loud && alike && clear && pure { Digit::of(key) } else { None }
    }
}

/// Which is the strongest; its strength, and that of the next.
fn strongest(powers: [f32; 4]) -> (usize, (f32, f32)) {
    let mut best = (0, (powers[0], 0.0));
    for (at, power) in powers.into_iter().enumerate().skip(1) {
        best = match power > best.1.0 {
            true => (at, (power, best.1.0)),
            false => (best.0, (best.1.0, best.1.1.max(power))),
        };
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::dtmf::tone::Generator;
    use crate::random::Random;

    /// All digits heard in this sound, in frames of `frame` samples.
    fn heard(rate: u32, sound: &[i16], frame: usize) -> String {
        let mut detector = Detector::new(rate);
        let (mut digits, mut before) = (String::new(), Heard::Nothing);
        for part in sound.chunks(frame) {
            let now = detector.hear(part);
            if let (Heard::Digit(digit, _), Heard::Nothing | Heard::Doubt) = (now, before) {
                digits.push(digit.key());
            }
            before = now;
        }
        digits
    }

    fn dial(rate: u32, tone_ms: usize, pause_ms: usize) -> Vec<i16> {
        let unit = rate as usize / 1000;
        let mut sound = vec![0; 40 * unit];
        for key in KEYS {
            let mut tone = vec![0; tone_ms * unit];
            Generator::new(Digit::of(key).unwrap(), rate).read(&mut tone);
            sound.extend(tone);
            sound.extend(vec![0; pause_ms * unit]);
        }
        sound
    }

    /// Two sines with deviating frequencies and levels, and noise.
    fn pair(shift: f32, levels: (f32, f32), noise: f32) -> Vec<i16> {
        let mut random = Random::test(5);
        let wave = |hertz: f32, at: usize| (TAU * hertz * (1.0 + shift) / 8000.0 * at as f32).sin();
        (0..1600)
            .map(|at| {
                let hiss = random.below(2001) as f32 / 1000.0 - 1.0;
                (levels.0 * wave(ROWS[1], at) + levels.1 * wave(COLUMNS[1], at) + noise * hiss) as i16
            })
            .collect()
    }

    #[test]
    fn every_digit_is_heard_once_at_every_rate_and_frame() {
        for rate in [8000, 16_000, 48_000] {
            for (tone, pause) in [(50, 50), (100, 100), (70, 40), (500, 300)] {
                for frame in [80, 160, 240] {
                    let expected: String = KEYS.iter().collect();
                    assert_eq!(heard(rate, &dial(rate, tone, pause), frame), expected, "{rate} {tone}/{pause} {frame}");
                }
            }
        }
    }

    #[test]
    fn a_digit_is_said_to_have_begun_where_it_began() {
        let mut detector = Detector::new(8000);
        let mut tone = vec![0; 800];
        Generator::new(Digit::of('5').unwrap(), 8000).read(&mut tone);
        detector.hear(&[0; 170]);
        let Heard::Digit(_, since) = detector.hear(&tone[..320]) else { panic!("not heard after 40 ms") };
        assert!((250..=330).contains(&since), "{since} samples ago, really 320");
    }

    #[test]
    fn what_q24_asks_for_is_heard() {
        let (one, soft) = (8000.0, 300.0);
        for (name, sound) in [
            ("frequencies off by 1.5 %", pair(0.015, (one, one), 0.0)),
            ("and the other way", pair(-0.015, (one, one), 0.0)),
            ("the column 6 dB louder", pair(0.0, (one / 2.0, one), 0.0)),
            ("the row 3 dB louder", pair(0.0, (one, one * 0.75), 0.0)),
            ("20 dB over noise", pair(0.0, (one, one), 1400.0)),
            ("very soft", pair(0.0, (soft * 2.0, soft * 2.0), 0.0)),
        ] {
            assert_eq!(heard(8000, &sound, 160), "5", "{name}");
        }
        for (name, sound) in [
            ("frequencies off by 4 %", pair(0.04, (one, one), 0.0)),
            ("a lone tone", pair(0.0, (one, 0.0), 0.0)),
            ("the row 8 dB louder", pair(0.0, (one, one * 0.4), 0.0)),
            ("noise as loud", pair(0.0, (one, one), 14_000.0)),
            ("too soft", pair(0.0, (60.0, 60.0), 0.0)),
        ] {
            assert_eq!(heard(8000, &sound, 160), "", "{name}");
        }
    }

    #[test]
    fn a_short_burst_is_no_digit_and_a_short_gap_does_not_double_one() {
        let tone = |samples: usize| {
            let mut sound = vec![0; samples];
            Generator::new(Digit::of('7').unwrap(), 8000).read(&mut sound);
            sound
        };
        let burst = [vec![0; 200], tone(150), vec![0; 400]].concat();
        assert_eq!(heard(8000, &burst, 160), "");
        let gapped = [tone(400), vec![0; 80], tone(400), vec![0; 400]].concat();
        assert_eq!(heard(8000, &gapped, 160), "7");
    }
}
