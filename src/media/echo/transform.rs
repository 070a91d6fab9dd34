//! A block of sound as a spectrum and back: Fourier's transform of 80 samples, by its definition.
//!
//! Folded around the middle it is two sums of 41 waves, whole vectors at a time: at this size that costs as little as
//! fast transforms do, and it is compiled for every set of instructions.

#![allow(clippy::needless_range_loop, reason = "lanes that are counted become vectors")]

use std::array;
use std::f32::consts::TAU;
use std::sync::LazyLock;

use crate::media::kernels::{Kernels, kernels};

/// Samples of a block: 5 ms at 8 kHz, of which packets of 10, 20 and 30 ms are made.
pub const BLOCK: usize = 40;
/// Samples of a transform: two blocks.
pub const WINDOW: usize = 2 * BLOCK;
/// Bins from 0 Hz to 4 kHz.
const BINS: usize = BLOCK + 1;
/// Lanes in which they lie: whole vectors of every machine.
pub const LANES: usize = 48;

/// A number for each bin; lanes beyond the last bin stay 0.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Bins(pub [f32; LANES]);

impl Bins {
    /// Nothing.
    pub const ZERO: Bins = Bins([0.0; LANES]);
}

/// Real and imaginary parts.
#[derive(Clone, Copy, Debug)]
pub struct Spectrum {
    /// Cosines.
    pub re: Bins,
    /// Sines.
    pub im: Bins,
}

impl Spectrum {
    /// Silence.
    pub const ZERO: Spectrum = Spectrum { re: Bins::ZERO, im: Bins::ZERO };

    /// Of a window.
    pub fn of(kernels: Kernels, window: &[f32; WINDOW]) -> Spectrum {
        let (mut even, mut odd) = ([0.0; BINS], [0.0; BINS]);
        (even[0], even[BLOCK]) = (window[0], window[BLOCK]);
        for at in 1..BLOCK {
            even[at] = window[at] + window[WINDOW - at];
            odd[at] = window[WINDOW - at] - window[at];
        }
        let mut found = Spectrum::ZERO;
        kernels.sum_waves(&WAVES, &even, &odd, &mut found);
        found
    }

    /// The window that it is of.
    pub fn window(&self, kernels: Kernels) -> [f32; WINDOW] {
        // Bins between the first and the last stand for their mirror images too.
        let weight = |bin: usize| if bin.is_multiple_of(BLOCK) { 1.0 } else { 2.0 } / WINDOW as f32;
        let even = array::from_fn(|bin| self.re.0[bin] * weight(bin));
        let odd = array::from_fn(|bin| self.im.0[bin] * weight(bin));
        let mut sums = Spectrum::ZERO;
        kernels.sum_waves(&WAVES, &even, &odd, &mut sums);
        array::from_fn(|at| match at <= BLOCK {
            true => sums.re.0[at] - sums.im.0[at],
            false => sums.re.0[WINDOW - at] + sums.im.0[WINDOW - at],
        })
    }
}

/// Cosines and sines: a row for each sample up to the middle, a column for each bin.
#[derive(Debug)]
pub struct Waves {
    cosines: [Bins; BINS],
    sines: [Bins; BINS],
}

static WAVES: LazyLock<Waves> = LazyLock::new(|| {
    let rows = |wave: fn(f64) -> f64| {
        let value = |row: usize, column: usize| {
            let turned = (row * column % WINDOW) as f64 / WINDOW as f64;
            if column < BINS { wave(f64::from(TAU) * turned) as f32 } else { 0.0 }
        };
        array::from_fn(|row| Bins(array::from_fn(|column| value(row, column))))
    };
    Waves { cosines: rows(f64::cos), sines: rows(f64::sin) }
});

kernels! {
    /// The sums of all cosines and of all sines, each row as strong as it is told.
    sum_waves(waves: &Waves, even: &[f32; BINS], odd: &[f32; BINS], sums: &mut Spectrum) {
        let (mut re, mut im) = ([0.0f32; LANES], [0.0f32; LANES]);
        for row in 0..BINS {
            for lane in 0..LANES {
                re[lane] += even[row] * waves.cosines[row].0[lane];
            }
            for lane in 0..LANES {
                im[lane] += odd[row] * waves.sines[row].0[lane];
            }
        }
        (sums.re.0, sums.im.0) = (re, im);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn noise() -> [f32; WINDOW] {
        let mut random = Random::test(3);
        array::from_fn(|_| random.below(2001) as f32 - 1000.0)
    }

    #[test]
    fn a_spectrum_is_what_the_definition_says() {
        let window = noise();
        for kernels in Kernels::all() {
            let found = Spectrum::of(kernels, &window);
            for bin in 0..LANES {
                let wave = |at: usize| f64::from(TAU) * (at * bin) as f64 / WINDOW as f64;
                let sum = |of: fn(f64) -> f64| -> f64 {
                    window.iter().enumerate().map(|(at, sample)| f64::from(*sample) * of(wave(at))).sum()
                };
                let (re, im) = if bin < BINS { (sum(f64::cos), -sum(f64::sin)) } else { (0.0, 0.0) };
                assert!((f64::from(found.re.0[bin]) - re).abs() < 0.1, "{kernels} {bin}");
                assert!((f64::from(found.im.0[bin]) - im).abs() < 0.1, "{kernels} {bin}");
            }
        }
    }

    #[test]
    fn and_back() {
        let window = noise();
        for kernels in Kernels::all() {
            let back = Spectrum::of(kernels, &window).window(kernels);
            assert!(window.iter().zip(back).all(|(sample, back)| (sample - back).abs() < 0.01), "{kernels}");
        }
    }
}
