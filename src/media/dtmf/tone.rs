//! DTMF as sound (ITU-T Q.23): two sines, the higher a little louder.

use std::f32::consts::TAU;

use crate::session::Digit;

/// Hz, by row of the keypad.
pub const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
/// Hz, by column.
pub const COLUMNS: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
/// The keypad, row by row.
pub const KEYS: [char; 16] = ['1', '2', '3', 'A', '4', '5', '6', 'B', '7', '8', '9', 'C', '*', '0', '#', 'D'];

/// Peaks in 16-bit samples: -8 and -6 dBm0 (0 dBm0 is a sine of 3.14 dB below full scale).
const LOUDNESS: (f32, f32) = (9_086.0, 11_438.0);
/// Milliseconds of rising at the beginning: a step would click.
const RAMP: u32 = 2;

/// A digit that sounds until nothing more is read.
#[derive(Clone, Copy, Debug)]
pub struct Generator {
    steps: (f32, f32),
    phases: (f32, f32),
    ramp: f32,
    loudness: f32,
}

impl Generator {
    /// This digit at `rate` Hz.
    pub fn new(digit: Digit, rate: u32) -> Generator {
        let key = KEYS.iter().position(|key| *key == digit.key()).unwrap_or(0);
        let rate = rate.max(1) as f32;
        let steps = (TAU * ROWS[key / 4] / rate, TAU * COLUMNS[key % 4] / rate);
        Generator { steps, phases: (0.0, 0.0), ramp: 1000.0 / (rate * RAMP as f32), loudness: 0.0 }
    }

    /// The next of its sound.
    pub fn read(&mut self, sound: &mut [i16]) {
        for sample in sound {
            self.loudness = (self.loudness + self.ramp).min(1.0);
            *sample = self.next();
        }
    }

    /// The last of its sound, falling to silence.
    pub fn end(&mut self, sound: &mut [i16]) {
        for sample in sound {
            self.loudness = (self.loudness - self.ramp).max(0.0);
            *sample = self.next();
        }
    }

    fn next(&mut self) -> i16 {
        let (row, column) = &mut self.phases;
        *row = (*row + self.steps.0) % TAU;
        *column = (*column + self.steps.1) % TAU;
        (self.loudness * (LOUDNESS.0 * row.sin() + LOUDNESS.1 * column.sin())) as i16
    }
}
