//! Sound from one rate to another, for sound files and mixtures; codecs work at the rate they are asked for.
//!
//! It is worked in blocks of about 10 ms (as long as the ratio of the rates needs), by the Fourier transform: what is above
//! the lower rate's half is cut, nothing else is changed. What is short of a block waits for more.

use std::time::Duration;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, ResamplerConstructionError, WindowFunction};
use thiserror::Error;

/// Blocks a second, where the rates allow.
const BLOCKS_A_SECOND: usize = 100;
/// The longest block, as parts of a second: rates that have next to nothing in common need long ones.
const LONGEST_BLOCK: usize = 5;

/// We are misconfigured: there is no way between these rates.
#[derive(Debug, Error)]
pub enum RateError {
    /// The rates, Hz.
    #[error("no way from {0} Hz to {1} Hz")]
    Apart(u32, u32),
    /// What the library says.
    #[error("cannot resample: {0}")]
    Refused(#[from] ResamplerConstructionError),
}

/// From one rate to another.
#[derive(Debug)]
pub struct Resampler {
    /// `None` when the rates are equal.
    work: Option<Box<Work>>,
}

#[derive(Debug)]
struct Work {
    fft: Fft<f32>,
    /// A block, of which so many samples are there.
    input: Vec<f32>,
    waiting: usize,
    output: Vec<f32>,
    /// Of the input, Hz.
    rate: u32,
}

impl Resampler {
    /// From `from` Hz to `to` Hz. Allocates all that it will need.
    pub fn new(from: u32, to: u32) -> Result<Resampler, RateError> {
        if from == to {
            return Ok(Resampler { work: None });
        }
        let apart = (from as usize) / greatest_common_divisor(from, to).max(1) as usize;
        if from == 0 || to == 0 || apart > from as usize / LONGEST_BLOCK {
            return Err(RateError::Apart(from, to));
        }
        let block = (from as usize / BLOCKS_A_SECOND).next_multiple_of(apart);
        let fft = Fft::new_custom(from as usize, to as usize, block, 1, 1, WindowFunction::Blackman, FixedSync::Both)?;
        let (input, output) = (vec![0.0; fft.input_frames_max()], vec![0.0; fft.output_frames_max()]);
        Ok(Resampler { work: Some(Box::new(Work { fft, input, waiting: 0, output, rate: from })) })
    }

    /// The most that [`Resampler::process`] writes for so many samples.
    pub fn room(&self, samples: usize) -> usize {
        self.work.as_ref().map_or(samples, |work| (work.waiting + samples) / work.input.len() * work.output.len())
    }

    /// Takes all of `sound` and writes what is ready; how many samples. `resampled` needs [`Resampler::room`]: what it has no
    /// room for is lost.
    pub fn process(&mut self, sound: &[i16], resampled: &mut [i16]) -> usize {
        let Some(work) = &mut self.work else {
            let length = sound.len().min(resampled.len());
            resampled[..length].copy_from_slice(&sound[..length]);
            return length;
        };
        let mut written = 0;
        for sample in sound {
            work.input[work.waiting] = f32::from(*sample);
            work.waiting += 1;
            if work.waiting == work.input.len() {
                written += work.block(&mut resampled[written..]);
            }
        }
        written
    }

    /// How much later sound leaves than it entered, not counting what waits for a whole block.
    pub fn delay(&self) -> Duration {
        self.work.as_ref().map_or(Duration::ZERO, |work| {
            // The middle of the filter, which is as long as a block.
            Duration::from_secs_f64((work.input.len() / 2) as f64 / f64::from(work.rate))
        })
    }
}

impl Work {
    /// Works the block that is complete.
    fn block(&mut self, resampled: &mut [i16]) -> usize {
        self.waiting = 0;
        let (from, to) = (self.input.len(), self.output.len());
        let (Ok(input), Ok(mut output)) =
            (InterleavedSlice::new(&self.input, 1, from), InterleavedSlice::new_mut(&mut self.output, 1, to))
        else {
            return 0;
        };
        if self.fft.process_into_buffer(&input, &mut output, None).is_err() {
            return 0;
        }
        for (sample, value) in resampled.iter_mut().zip(&self.output) {
            // A float becomes the nearest number of 16 bits.
            *sample = value.round() as i16;
        }
        to.min(resampled.len())
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u32; 3] = [8000, 16_000, 48_000];

    fn tone_at(time: f64, hertz: f64) -> f64 {
        (time * hertz * std::f64::consts::TAU).sin() * 10_000.0
    }

    /// A second of it.
    fn tone(hertz: f64, rate: u32) -> Vec<i16> {
        (0..rate).map(|at| tone_at(f64::from(at) / f64::from(rate), hertz) as i16).collect()
    }

    fn resample(resampler: &mut Resampler, sound: &[i16], frame: usize) -> Vec<i16> {
        let mut resampled = Vec::new();
        for sound in sound.chunks(frame) {
            let mut out = vec![0; resampler.room(sound.len())];
            assert_eq!(resampler.process(sound, &mut out), out.len());
            resampled.extend(out);
        }
        resampled
    }

    /// In parts of the tone's amplitude.
    fn level(sound: &[i16]) -> f64 {
        let squares = sound.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
        (2.0 * squares / sound.len() as f64).sqrt() / 10_000.0
    }

    #[test]
    fn a_tone_stays_what_it_is_later_by_the_delay() {
        for from in [8000, 11_025, 16_000, 22_050, 44_100, 48_000] {
            for to in RATES {
                let mut resampler = Resampler::new(from, to).unwrap();
                let resampled = resample(&mut resampler, &tone(400.0, from), 333);
                let delay = resampler.delay().as_secs_f64();
                let off = |(at, sample): (usize, &i16)| {
                    (f64::from(*sample) - tone_at(at as f64 / f64::from(to) - delay, 400.0)).abs()
                };
                let begun = resampled.iter().enumerate().skip(to as usize / 10);
                let worst = begun.map(off).fold(0.0, f64::max);
                assert!(worst <= 30.0 && resampled.len() > to as usize * 9 / 10, "{from} to {to}: off by {worst}");
                assert!(resampler.delay() <= Duration::from_millis(20), "{from} to {to}");
            }
        }
    }

    #[test]
    fn speech_passes_and_what_would_fold_over_is_cut() {
        for (from, to, hertz, expected) in [
            (8000, 16_000, 3400.0, 0.95..1.05),
            (8000, 48_000, 3400.0, 0.95..1.05),
            (48_000, 8000, 3400.0, 0.95..1.05),
            (16_000, 8000, 3300.0, 0.95..1.05),
            (16_000, 8000, 4400.0, 0.0..0.01),
            (48_000, 8000, 5000.0, 0.0..0.01),
            (44_100, 8000, 4400.0, 0.0..0.01),
            (48_000, 16_000, 9000.0, 0.0..0.01),
        ] {
            let sound = resample(&mut Resampler::new(from, to).unwrap(), &tone(hertz, from), 160);
            let level = level(&sound[sound.len() / 4..]);
            assert!(expected.contains(&level), "{hertz} Hz from {from} to {to}: {level}");
        }
    }

    #[test]
    fn packets_come_out_whole_at_our_own_rates() {
        for (from, to) in RATES.into_iter().flat_map(|from| RATES.map(|to| (from, to))) {
            let mut resampler = Resampler::new(from, to).unwrap();
            for milliseconds in [10, 20, 30, 40, 60] {
                let sound = vec![1; from as usize / 1000 * milliseconds];
                let mut resampled = vec![0; 48 * 60];
                assert_eq!(resampler.process(&sound, &mut resampled), to as usize / 1000 * milliseconds);
            }
        }
    }

    #[test]
    fn full_scale_is_clipped_not_wrapped() {
        let square: Vec<i16> = (0..8000).map(|at| if at / 40 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let sound = resample(&mut Resampler::new(8000, 48_000).unwrap(), &square, 160);
        let wrapped = sound.windows(2).filter(|pair| (i32::from(pair[0]) - i32::from(pair[1])).abs() > 40_000).count();
        assert_eq!((wrapped, sound.iter().max()), (0, Some(&i16::MAX)));
    }

    #[test]
    fn rates_with_nothing_in_common_are_refused() {
        for (from, to) in [(0, 8000), (8000, 0), (44_101, 48_000), (1, 8000)] {
            assert!(matches!(Resampler::new(from, to), Err(RateError::Apart(..))), "{from} to {to}");
        }
    }
}
