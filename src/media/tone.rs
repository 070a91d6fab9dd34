//! The tones of the world's networks (ITU-T E.180 and its supplement 2): ringing, busy, congestion, special information.
//!
//! The national figures are the supplement's as open telephony toolkits give them, not read from its own table. Where those
//! list several for a country (Australia, South Africa) the first is taken; France's congestion is their guess.

use std::f32::consts::TAU;

use Pitch::{Modulated, One, Silence, Two};

/// What sounds during one step of a tone. Hz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pitch {
    /// Nothing.
    Silence,
    /// A sine.
    One(u16),
    /// Two sines, equally loud.
    Two(u16, u16),
    /// A sine that swells and fades so often.
    Modulated(u16, u16),
}

/// A step's sound and its length in milliseconds.
pub type Step = (Pitch, u16);

/// Steps that repeat for ever.
pub type Cadence = &'static [Step];

/// The tones of one country that differ from country to country.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tones {
    /// As the configuration names it: ISO 3166, but `uk`.
    pub country: &'static str,
    /// The called telephone rings.
    pub ring: Cadence,
    /// The called line is busy.
    pub busy: Cadence,
    /// The network is.
    pub congestion: Cadence,
}

/// Words follow that say why: the same everywhere (E.180).
pub const SPECIAL_INFORMATION: Cadence = &[(One(950), 330), (One(1400), 330), (One(1800), 330), (Silence, 1000)];

/// The tones of this country.
pub fn of(country: &str) -> Option<&'static Tones> {
    COUNTRIES.iter().find(|tones| tones.country.eq_ignore_ascii_case(country))
}

/// All that we know.
#[rustfmt::skip]
pub const COUNTRIES: [Tones; 24] = [
    Tones { country: "us", ring: &[(Two(440, 480), 2000), (Silence, 4000)], busy: AMERICAN_BUSY, congestion: AMERICAN_CONGESTION },
    Tones { country: "ca", ring: &[(Two(440, 480), 2000), (Silence, 4000)], busy: AMERICAN_BUSY, congestion: AMERICAN_CONGESTION },
    Tones { country: "uk", ring: BRITISH_RING, busy: &[(One(400), 375), (Silence, 375)],
        congestion: &[(One(400), 400), (Silence, 350), (One(400), 225), (Silence, 525)] },
    Tones { country: "de", ring: RING, busy: &[(One(425), 480), (Silence, 480)], congestion: &[(One(425), 240), (Silence, 240)] },
    Tones { country: "fr", ring: &[(One(440), 1500), (Silence, 3500)], busy: &[(One(440), 500), (Silence, 500)],
        congestion: &[(One(440), 250), (Silence, 250)] },
    Tones { country: "nl", ring: RING, busy: BUSY, congestion: &[(One(425), 250), (Silence, 250)] },
    Tones { country: "be", ring: &[(One(425), 1000), (Silence, 3000)], busy: BUSY, congestion: &[(One(425), 167), (Silence, 167)] },
    Tones { country: "ch", ring: RING, busy: BUSY, congestion: CONGESTION },
    Tones { country: "at", ring: &[(One(440), 1000), (Silence, 5000)], busy: &[(One(440), 400), (Silence, 400)],
        congestion: &[(One(440), 200), (Silence, 200)] },
    Tones { country: "it", ring: RING, busy: BUSY, congestion: CONGESTION },
    Tones { country: "es", ring: &[(One(425), 1500), (Silence, 3000)], busy: CONGESTION,
        congestion: &[(One(425), 200), (Silence, 200), (One(425), 200), (Silence, 200), (One(425), 200), (Silence, 600)] },
    Tones { country: "se", ring: &[(One(425), 1000), (Silence, 5000)], busy: &[(One(425), 250), (Silence, 250)],
        congestion: &[(One(425), 250), (Silence, 750)] },
    Tones { country: "no", ring: RING, busy: BUSY, congestion: CONGESTION },
    Tones { country: "dk", ring: RING, busy: BUSY, congestion: CONGESTION },
    Tones { country: "fi", ring: RING, busy: &[(One(425), 300), (Silence, 300)], congestion: CONGESTION },
    Tones { country: "pl", ring: RING, busy: BUSY, congestion: BUSY },
    Tones { country: "cz", ring: RING, busy: &[(One(425), 330), (Silence, 330)], congestion: &[(One(425), 165), (Silence, 165)] },
    Tones { country: "au", ring: &[(Two(413, 438), 400), (Silence, 200), (Two(413, 438), 400), (Silence, 2000)],
        busy: &[(One(425), 375), (Silence, 375)], congestion: &[(One(425), 375), (Silence, 375)] },
    Tones { country: "nz", ring: BRITISH_RING, busy: &[(One(400), 500), (Silence, 500)], congestion: &[(One(400), 250), (Silence, 250)] },
    Tones { country: "jp", ring: &[(Modulated(400, 15), 1000), (Silence, 2000)], busy: &[(One(400), 500), (Silence, 500)],
        congestion: &[(One(400), 500), (Silence, 500)] },
    Tones { country: "in", ring: &[(Modulated(400, 25), 400), (Silence, 200), (Modulated(400, 25), 400), (Silence, 2000)],
        busy: &[(One(400), 750), (Silence, 750)], congestion: &[(One(400), 250), (Silence, 250)] },
    Tones { country: "br", ring: RING, busy: &[(One(425), 250), (Silence, 250)],
        congestion: &[(One(425), 250), (Silence, 250), (One(425), 750), (Silence, 250)] },
    Tones { country: "mx", ring: RING, busy: &[(One(425), 250), (Silence, 250)], congestion: &[(One(425), 250), (Silence, 250)] },
    Tones { country: "za", ring: &[(Modulated(400, 33), 400), (Silence, 200), (Modulated(400, 33), 400), (Silence, 2000)],
        busy: &[(One(400), 500), (Silence, 500)], congestion: &[(One(400), 250), (Silence, 250)] },
];

const RING: Cadence = &[(One(425), 1000), (Silence, 4000)];
const BUSY: Cadence = &[(One(425), 500), (Silence, 500)];
const CONGESTION: Cadence = &[(One(425), 200), (Silence, 200)];
const BRITISH_RING: Cadence = &[(Two(400, 450), 400), (Silence, 200), (Two(400, 450), 400), (Silence, 2000)];
const AMERICAN_BUSY: Cadence = &[(Two(480, 620), 500), (Silence, 500)];
const AMERICAN_CONGESTION: Cadence = &[(Two(480, 620), 250), (Silence, 250)];

/// Peak of a sine of -10 dBm0, E.180's nominal level, in 16-bit samples.
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

    /// The last of its sound, falling to silence.
    pub fn end(&mut self, sound: &mut [i16]) {
        let length = sound.len() as f32;
        for (index, sample) in sound.iter_mut().enumerate() {
            *sample = (self.next() * (1.0 - (index + 1) as f32 / length)) as i16;
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

    #[test]
    fn it_ends_softly_in_the_middle_of_a_step() {
        let mut generator = Generator::new(RING, 8000);
        let mut sound = [0; 1600];
        generator.read(&mut sound);
        let mut last = [0; 160];
        generator.end(&mut last);
        assert!(power(&last[..40]) > 100.0 * power(&last[140..]));
        assert_eq!(last[159], 0);
    }

    #[test]
    fn a_country_is_found_in_any_case() {
        assert_eq!(of("DE").map(|tones| tones.busy), Some(&[(One(425), 480), (Silence, 480)][..]));
        assert!(of("xx").is_none());
    }
}
