//! Tones as sound: a cadence is played at E.180's level, each step rising from silence and falling back to it.

use std::f32::consts::TAU;

use crate::tone::{
    Cadence,
    Pitch::{self, Modulated, One, Silence, Two},
};

/// Peak of a sine of -10 dBm0, the nominal level of E.180, in 16-bit samples: G.711's 0 dBm0 is a sine 3.14 dB below full
/// scale.
const LOUDNESS: f32 = 7217.0;
/// How deep a modulated tone fades.
const DEPTH: f32 = 0.9;
/// Milliseconds of rising and of falling: a step would click.
const RAMP: u64 = 5;

/// A tone that sounds until nothing more is read.
#[derive(Clone, Copy, Debug)]
pub struct Generator {
    cadence: Cadence,
    rate: u64,
    step: usize,
    /// Samples of the step that are read.
    position: u64,
}

impl Generator {
    /// This cadence from its beginning, at `rate` Hz.
    pub fn new(cadence: Cadence, rate: u32) -> Generator {
        Generator { cadence, rate: u64::from(rate.max(1)), step: 0, position: 0 }
    }

    /// The next of its sound.
    pub fn read(&mut self, sound: &mut [i16]) {
        for sample in sound {
            *sample = self.next() as i16;
        }
    }

    fn next(&mut self) -> f32 {
        let Some((pitch, length)) = self.cadence.get(self.step).copied() else { return 0.0 };
        let length = (u64::from(length) * self.rate / 1000).max(1);
        let ramp = (RAMP * self.rate / 1000).max(1);
        let edge = self.position.min(length - 1 - self.position);
        let sample = self.sound(pitch) * (edge as f32 / ramp as f32).min(1.0);
        self.position += 1;
        if self.position == length {
            (self.step, self.position) = ((self.step + 1) % self.cadence.len(), 0);
        }
        sample
    }

    fn sound(&self, pitch: Pitch) -> f32 {
        match pitch {
            Silence => 0.0,
            One(tone) => LOUDNESS * self.sine(tone),
            Two(low, high) => LOUDNESS * (self.sine(low) + self.sine(high)) / 2f32.sqrt(),
            // Divided by its own root mean square: as loud as the others.
            Modulated(tone, by) => {
                LOUDNESS * self.sine(tone) * (1.0 + DEPTH * self.sine(by)) / (1.0 + DEPTH * DEPTH / 2.0).sqrt()
            }
        }
    }

    /// Counted in whole periods, so that its frequency is exact however long it sounds.
    fn sine(&self, frequency: u16) -> f32 {
        let turned = u64::from(frequency) * self.position % self.rate;
        (TAU * turned as f32 / self.rate as f32).sin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::{COUNTRIES, SPECIAL_INFORMATION};

    fn whole(cadence: Cadence, rate: u32) -> Vec<i16> {
        let length: u32 = cadence.iter().map(|(_, length)| u32::from(*length) * rate / 1000).sum();
        let mut sound = vec![0; length as usize];
        Generator::new(cadence, rate).read(&mut sound);
        sound
    }

    fn all() -> impl Iterator<Item = Cadence> {
        let national = COUNTRIES.iter().flat_map(|tones| [tones.ring, tones.busy, tones.congestion]);
        national.chain([SPECIAL_INFORMATION])
    }

    fn power(sound: &[i16]) -> f64 {
        sound.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / sound.len() as f64
    }

    /// The share of a sound's power that is at `frequency`.
    fn share(sound: &[i16], frequency: u16, rate: u32) -> f64 {
        let turn = std::f64::consts::TAU * f64::from(frequency) / f64::from(rate);
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (index, sample) in sound.iter().enumerate() {
            real += f64::from(*sample) * (turn * index as f64).cos();
            imaginary += f64::from(*sample) * (turn * index as f64).sin();
        }
        2.0 * (real * real + imaginary * imaginary) / (sound.len() as f64).powi(2) / power(sound)
    }

    #[test]
    fn every_step_sounds_as_its_row_says() {
        for rate in [8000, 16_000] {
            for cadence in all() {
                let sound = whole(cadence, rate);
                let mut rest = &sound[..];
                for (pitch, length) in cadence {
                    let (step, later) = rest.split_at(usize::from(*length) * rate as usize / 1000);
                    rest = later;
                    match *pitch {
                        Silence => assert!(step.iter().all(|sample| *sample == 0), "{cadence:?}"),
                        One(tone) => assert!(share(step, tone, rate) > 0.9, "{cadence:?}"),
                        Two(low, high) => {
                            for tone in [low, high] {
                                assert!((share(step, tone, rate) - 0.5).abs() < 0.1, "{cadence:?}");
                            }
                        }
                        Modulated(tone, by) => {
                            let sides = share(step, tone - by, rate) + share(step, tone + by, rate);
                            assert!((share(step, tone, rate) - 0.71).abs() < 0.1, "{cadence:?}");
                            assert!((sides - 0.29).abs() < 0.1, "{cadence:?}: {sides}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_tone_is_as_loud_as_the_recommendation_says() {
        // 0 dBm0 is a sine 3.14 dB below full scale.
        let reference = (f64::from(i16::MAX)).powi(2) / 2.0 * 10f64.powf(-0.314);
        for cadence in all() {
            let length = usize::from(cadence[0].1) * 8;
            let level = 10.0 * (power(&whole(cadence, 8000)[..length]) / reference).log10();
            assert!((level + 10.0).abs() < 0.7, "{level} dBm0: {cadence:?}");
        }
    }

    #[test]
    fn no_step_begins_or_ends_with_a_click() {
        for cadence in all() {
            let sound = whole(cadence, 48_000);
            let mut edge = 0;
            for (_, length) in cadence {
                assert!(sound[edge..edge + 48].iter().all(|sample| sample.abs() < 2100), "{cadence:?}");
                assert_eq!(sound[edge], 0);
                edge += usize::from(*length) * 48;
                assert_eq!(sound[edge - 1], 0);
            }
        }
    }

    #[test]
    fn the_pieces_in_which_it_is_read_are_not_heard() {
        let cadence = COUNTRIES[2].congestion;
        let mut pieces = vec![0; 24_000];
        let mut generator = Generator::new(cadence, 8000);
        pieces.chunks_mut(77).for_each(|piece| generator.read(piece));
        let once = whole(cadence, 8000);
        assert_eq!(pieces[..12_000], once);
        assert_eq!(pieces[12_000..], once);
    }
}
