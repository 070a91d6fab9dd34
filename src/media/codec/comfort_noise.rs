//! Comfort noise (RFC 3389): what a pause sounds like, as a level and the shape of an all-pole filter.
//!
//! A payload is the level in -dBov, then any number of reflection coefficients in 258ths of 32768 from 127. Their sign,
//! which the RFC leaves to its references, is that of G.729: the filter is 1 + k z^-1 + .., so a falling
//! spectrum begins with a negative coefficient.
//!
//! [`Analyzer`] hears the noise of a pause and describes its mean; [`Generator`] plays a description and glides to the
//! next one.

use super::prediction::{correlation, reflections, unforeseen};

/// Coefficients that we send, and all that we heed of what we are sent.
const ORDER: usize = 8;
/// The sample that is 0 dBov: the largest of µ-law (RFC 3389 section 3.1).
const OVERLOAD: f32 = 32_124.0;
/// dBov of the quietest noise that can be told.
const QUIETEST: f32 = -127.0;
/// A noise with a spectrum; of sound at other rates only the level is told and heeded.
const SHAPED_RATE: u32 = 8000;
/// The shape of noise of which only the level is known: duller than white.
const PLAIN: [f32; ORDER] = [-0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
/// What keeps the synthesis filter's answers short.
const STEEPEST: f32 = 0.98;

/// The level of a mean square, dBov.
pub(super) fn level(mean_square: f32) -> f32 {
    (10.0 * (mean_square / (OVERLOAD * OVERLOAD)).log10()).max(QUIETEST)
}

/// A payload in the making or as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    octets: [u8; 1 + ORDER],
    length: usize,
}

impl Payload {
    /// As sent.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..self.length]
    }

    /// Would a listener hear the difference from this to the other?
    pub fn differs(&self, other: &Payload) -> bool {
        let apart = |at: usize| self.octets[at].abs_diff(other.octets[at]);
        // 3 dB, or a quarter of what the first two coefficients, which make the colour, can be.
        self.length != other.length || apart(0) >= 3 || apart(1) > 32 || apart(2) > 32
    }

    fn new(level: f32, reflections: &[f32]) -> Payload {
        let mut octets = [0; 1 + ORDER];
        octets[0] = (-level).round().clamp(0.0, 127.0) as u8;
        for (octet, reflection) in octets[1..].iter_mut().zip(reflections) {
            *octet = (127.0 + reflection * 32_768.0 / 258.0).round().clamp(0.0, 254.0) as u8;
        }
        Payload { octets, length: 1 + reflections.len().min(ORDER) }
    }
}

/// Describes the noise that it hears.
#[derive(Clone, Debug)]
pub struct Analyzer {
    rate: u32,
    frames: u32,
    /// Mean autocorrelation of the windowed frames, per sample.
    correlation: [f32; ORDER + 1],
}

impl Analyzer {
    /// The mean reaches this many frames back.
    const MEMORY: u32 = 16;

    /// Nothing heard; `rate` in Hz.
    pub fn new(rate: u32) -> Analyzer {
        Analyzer { rate, frames: 0, correlation: [0.0; ORDER + 1] }
    }

    /// What was heard so far belongs to another pause.
    pub fn begin(&mut self) {
        *self = Analyzer::new(self.rate);
    }

    /// Takes a frame of noise into the mean. A frame far below it ends a talker's fading: the mean begins there.
    pub fn hear(&mut self, sound: &[i16]) {
        if sound.is_empty() {
            return;
        }
        let found: [f32; ORDER + 1] = correlation(sound.iter().map(|sample| f32::from(*sample)));
        if found[0] < self.correlation[0] / 4.0 {
            self.frames = 0;
        }
        self.frames = (self.frames + 1).min(Analyzer::MEMORY);
        for (mean, found) in self.correlation.iter_mut().zip(found) {
            *mean += (found - *mean) / self.frames as f32;
        }
    }

    /// What was heard, on average.
    pub fn payload(&self) -> Payload {
        let level = level(self.correlation[0]);
        match self.rate {
            SHAPED_RATE => Payload::new(level, &reflections(&self.correlation)[1..]),
            _ => Payload::new(level, &[]),
        }
    }
}

/// Level and shape.
#[derive(Clone, Copy, Debug)]
struct Description {
    /// dBov.
    level: f32,
    reflections: [f32; ORDER],
}

impl Description {
    /// Any payload has a meaning; none at all is the quietest noise.
    fn read(payload: &[u8], rate: u32) -> Description {
        let (level, coefficients) =
            payload.split_first().map_or((QUIETEST, &payload[..0]), |(level, rest)| (-f32::from(level & 0x7f), rest));
        if rate != SHAPED_RATE || coefficients.is_empty() {
            return Description { level, reflections: PLAIN };
        }
        let mut reflections = [0.0; ORDER];
        for (reflection, octet) in reflections.iter_mut().zip(coefficients) {
            *reflection = (258.0 * (f32::from(*octet) - 127.0) / 32_768.0).clamp(-STEEPEST, STEEPEST);
        }
        Description { level, reflections }
    }

    /// A part of the way to `other`.
    fn approach(&mut self, other: &Description) {
        const PART: f32 = 0.25;
        self.level += (other.level - self.level) * PART;
        for (reflection, other) in self.reflections.iter_mut().zip(other.reflections) {
            *reflection += (other - *reflection) * PART;
        }
    }

    /// The excitation's root mean square that leaves the filter at the level.
    fn gain(&self) -> f32 {
        OVERLOAD * 10f32.powf(self.level / 20.0) * unforeseen(&self.reflections).sqrt()
    }
}

/// Plays the noise that a payload describes.
#[derive(Clone, Debug)]
pub struct Generator {
    rate: u32,
    playing: Option<Description>,
    wanted: Description,
    /// The lattice filter's state.
    state: [f32; ORDER + 1],
    noise: u32,
}

impl Generator {
    /// Plays near silence until it is told; `rate` in Hz.
    pub fn new(rate: u32) -> Generator {
        let wanted = Description { level: QUIETEST, reflections: PLAIN };
        Generator { rate, playing: None, wanted, state: [0.0; ORDER + 1], noise: 1 }
    }

    /// From now on, this; what plays already glides there. Any octets will do.
    pub fn hear(&mut self, payload: &[u8]) {
        self.wanted = Description::read(payload, self.rate);
        self.playing.get_or_insert(self.wanted);
    }

    /// Fills the whole slice.
    pub fn fill(&mut self, sound: &mut [i16]) {
        let step = (self.rate / 100).max(1) as usize;
        for part in sound.chunks_mut(step) {
            let mut playing = self.playing.unwrap_or(self.wanted);
            playing.approach(&self.wanted);
            let gain = playing.gain();
            for sample in part {
                let excitation = gain * self.draw();
                *sample = self.filter(excitation, &playing.reflections) as i16;
            }
            self.playing = self.playing.map(|_| playing);
        }
    }

    /// All-pole lattice: stable for any coefficients below 1, however they change.
    fn filter(&mut self, excitation: f32, reflections: &[f32; ORDER]) -> f32 {
        let mut forward = excitation;
        for stage in (0..ORDER).rev() {
            forward -= reflections[stage] * self.state[stage];
            self.state[stage + 1] = self.state[stage] + reflections[stage] * forward;
        }
        self.state[0] = forward;
        forward
    }

    /// Mean 0, variance 1, near to normal: noise for the ear, no more.
    fn draw(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..3 {
            self.noise = self.noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            sum += (self.noise as i32) as f32 / 2_147_483_648.0;
        }
        // Three draws from -1 to 1 have a variance of 1.
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(generator: &mut Generator, samples: usize) -> Vec<i16> {
        let mut sound = vec![0; samples];
        sound.chunks_mut(160).for_each(|frame| generator.fill(frame));
        sound
    }

    fn power(sound: &[i16]) -> f32 {
        level(sound.iter().map(|sample| f32::from(*sample).powi(2)).sum::<f32>() / sound.len() as f32)
    }

    fn analyzed(rate: u32, sound: &[i16]) -> Payload {
        let mut analyzer = Analyzer::new(rate);
        sound.chunks(rate as usize / 50).for_each(|frame| analyzer.hear(frame));
        analyzer.payload()
    }

    fn near(found: &[u8], expected: &[u8], by: u8) {
        let close = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= by);
        assert!(close, "{found:?} instead of {expected:?}");
    }

    #[test]
    fn what_is_played_is_analyzed_as_it_was_told() {
        for told in [
            [40, 127, 127, 127, 127, 127, 127, 127, 127],
            [55, 50, 150, 120, 130, 127, 127, 127, 127],
            [30, 30, 190, 127, 100, 140, 127, 120, 127],
            [70, 200, 127, 127, 127, 127, 127, 127, 127],
        ] {
            let mut generator = Generator::new(8000);
            generator.hear(&told);
            let found = analyzed(8000, &played(&mut generator, 16_000));
            near(&found.octets()[..1], &told[..1], 1);
            near(&found.octets()[1..], &told[1..], 16);
        }
    }

    #[test]
    fn a_dull_noise_begins_with_a_negative_coefficient() {
        let mut previous = 0.0;
        let mut generator = Generator::new(8000);
        generator.hear(&[30, 127]);
        let dull: Vec<i16> = played(&mut generator, 8000)
            .iter()
            .map(|sample| {
                previous += (f32::from(*sample) - previous) * 0.3;
                previous as i16
            })
            .collect();
        assert!(analyzed(8000, &dull).octets()[1] < 60);
    }

    #[test]
    fn the_level_is_that_of_the_payload_at_every_rate() {
        for rate in [8000, 16_000, 48_000] {
            for told in [20u8, 45, 60, 75] {
                let mut generator = Generator::new(rate);
                generator.hear(&[told]);
                let sound = played(&mut generator, rate as usize);
                assert!((power(&sound) + f32::from(told)).abs() < 1.0, "{} at {rate} for {told}", power(&sound));
                let found = analyzed(rate, &sound);
                assert!(found.octets()[0].abs_diff(told) <= 1 && (rate == 8000 || found.octets().len() == 1));
            }
        }
    }

    #[test]
    fn the_next_noise_is_glided_to() {
        let mut generator = Generator::new(8000);
        generator.hear(&[60]);
        played(&mut generator, 1600);
        generator.hear(&[40]);
        let levels: Vec<f32> = played(&mut generator, 1600).chunks(80).map(power).collect();
        assert!(levels[0] < -50.0 && levels[19] > -43.0, "{levels:?}");
        assert!(levels.windows(2).all(|pair| pair[1] - pair[0] < 8.0), "{levels:?}");
    }

    #[test]
    fn the_end_of_a_talkers_word_is_forgotten() {
        let mut generator = Generator::new(8000);
        generator.hear(&[15]);
        let mut sound = played(&mut generator, 320);
        let mut generator = Generator::new(8000);
        generator.hear(&[58]);
        sound.extend(played(&mut generator, 640));
        near(&analyzed(8000, &sound).octets()[..1], &[58], 2);
    }

    #[test]
    fn digital_silence_is_the_quietest_noise() {
        assert_eq!(analyzed(8000, &[0; 1600]).octets()[0], 127);
        let mut generator = Generator::new(8000);
        assert_eq!(played(&mut generator, 800), vec![0; 800]);
        generator.hear(&[]);
        assert_eq!(played(&mut generator, 800), vec![0; 800]);
    }

    #[test]
    fn any_payload_plays_no_louder_than_it_says() {
        bolero::check!().with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(first, second)| {
            let mut generator = Generator::new(8000);
            generator.hear(first);
            played(&mut generator, 160);
            generator.hear(second);
            let sound = played(&mut generator, 3200);
            let told = |payload: &[u8]| payload.first().map_or(QUIETEST, |octet| -f32::from(octet & 0x7f));
            assert!(power(&sound) < told(first).max(told(second)) + 15.0, "{first:?} {second:?} {}", power(&sound));
        });
    }
}
