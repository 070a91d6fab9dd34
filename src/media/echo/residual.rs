//! The non-linear processor (ITU-T G.168 clause 8): what a filter leaves of an echo is quantisation noise and distortion, which
//! no filter foresees. While nobody talks at the near end it gives way to comfort noise.
//!
//! What is left is an echo's rest when it is no louder than the echo foretold, times what the filter has been leaving of
//! it; anything louder is talk at the near end, and passes at once and for a while. The noise of the near end is learned
//! while the line hears nothing.

use super::transform::BLOCK;
use crate::media::codec::comfort_noise::{Analyzer, Generator};

/// The share of the echo that is left, at most and at first: -10 dB.
const MOST_LEFT: f32 = 0.1;
/// By how much talk is louder than what is left: 6 dB.
const TALK: f32 = 4.0;
/// Blocks for which the near end is not interrupted once it talked: 100 ms.
const HANGOVER: u32 = 20;
/// The noise floor's mean square at first and at most: -58 and -40 dBm0.
const FLOOR: (f32, f32) = (400.0, 2.5e4);
/// How fast it rises in a block: 3.5 dB/s.
const RISE: f32 = 1.004;
/// By how much noise may be above its floor: 6 dB.
const NOISE: f32 = 4.0;
/// Blocks of noise that are described at once.
const DESCRIBED: u32 = 16;
/// The mean square that is nothing: less than the smallest step of G.711.
const NOTHING: f32 = 16.0;

/// The processor of one line.
#[derive(Clone, Debug)]
pub struct Residual {
    /// The mean square of the echo, falling slowly.
    echo: f32,
    /// The share of it that the filter leaves.
    left: f32,
    /// The mean square of the near end's noise.
    floor: f32,
    talking: u32,
    noise: Noise,
    /// The share of sound that passes, from 0 to 1.
    passing: f32,
}

impl Residual {
    /// Lets all pass until it knows better.
    pub fn new() -> Residual {
        Residual { echo: 0.0, left: MOST_LEFT, floor: FLOOR.0, talking: 0, noise: Noise::new(), passing: 1.0 }
    }

    /// Takes what is left of an echo out of `left`, a block from which `echo` was taken.
    pub fn suppress(&mut self, left: &[f32; BLOCK], echo: &[f32; BLOCK]) -> [i16; BLOCK] {
        let power = mean_square(left);
        self.echo = mean_square(echo).max(self.echo * 0.8);
        let suppressing = self.is_echo(power);
        if self.echo < NOTHING && power < NOISE * self.floor {
            self.noise.learn(left);
        }
        self.floor = if power < self.floor { power.max(NOTHING) } else { (self.floor * RISE).clamp(NOTHING, FLOOR.1) };
        self.glide(left, if suppressing { 0.0 } else { 1.0 })
    }

    fn is_echo(&mut self, power: f32) -> bool {
        if self.echo < NOTHING {
            self.talking = self.talking.saturating_sub(1);
            return false;
        }
        let talk = power > TALK * self.left * self.echo + NOISE * self.floor;
        self.talking = if talk { HANGOVER } else { self.talking.saturating_sub(1) };
        let share = power / self.echo;
        self.left =
            if share < self.left { self.left + (share - self.left) * 0.1 } else { (self.left * 1.01).min(MOST_LEFT) };
        self.talking == 0
    }

    /// From what passed to what shall pass, in a block: a step would click.
    fn glide(&mut self, left: &[f32; BLOCK], passing: f32) -> [i16; BLOCK] {
        let before = std::mem::replace(&mut self.passing, passing);
        let mut noise = [0; BLOCK];
        if before.min(passing) < 1.0 {
            self.noise.play(&mut noise);
        }
        std::array::from_fn(|at| {
            let part = before + (passing - before) * (at + 1) as f32 / BLOCK as f32;
            // As far as the type reaches: a cast saturates.
            (left[at] * part + f32::from(noise[at]) * (1.0 - part)).round() as i16
        })
    }
}

impl Default for Residual {
    fn default() -> Residual {
        Residual::new()
    }
}

/// The near end's noise.
#[derive(Clone, Debug)]
struct Noise {
    analyzer: Analyzer,
    generator: Generator,
    blocks: u32,
}

impl Noise {
    fn new() -> Noise {
        Noise { analyzer: Analyzer::new(8000), generator: Generator::new(8000), blocks: 0 }
    }

    fn learn(&mut self, block: &[f32; BLOCK]) {
        self.analyzer.hear(&block.map(|sample| sample as i16));
        self.blocks += 1;
        if self.blocks == DESCRIBED {
            self.blocks = 0;
            self.generator.hear(self.analyzer.payload().octets());
        }
    }

    fn play(&mut self, block: &mut [i16; BLOCK]) {
        self.generator.fill(block);
    }
}

fn mean_square(block: &[f32; BLOCK]) -> f32 {
    block.iter().map(|sample| sample * sample).sum::<f32>() / BLOCK as f32
}
