//! The pitch period of sound: the lag at which its end resembles what was before, as speech and tones repeat themselves.
//!
//! What is lost is concealed with a period, and sound is made longer or shorter by one: neither is heard as a break.

/// The shortest and longest period, milliseconds (200 and 66 Hz). Of a higher pitch several periods are found as one.
pub const SHORTEST: usize = 5;
/// As above.
pub const LONGEST: usize = 15;
/// The end that is compared with what was before it, milliseconds.
pub const WINDOW: usize = 20;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pitch {
    /// Samples.
    pub period: usize,
    /// How much the end resembles what was a period before: 1 when both are alike, 0 when they have nothing in common.
    pub likeness: f32,
}

/// The pitch at the end of `sound`, which has `unit` samples a millisecond and is [`LONGEST`] and [`WINDOW`] long at
/// least: else nothing resembles anything.
pub fn find(sound: &[f32], unit: usize) -> Pitch {
    let (shortest, longest) = (SHORTEST * unit, LONGEST * unit);
    let stride = (unit / 4).max(1);
    let coarse = best(sound, (shortest..=longest).step_by(stride), unit, stride).period;
    let near = coarse.saturating_sub(stride - 1).max(shortest)..=(coarse + stride - 1).min(longest);
    best(sound, near, unit, 1)
}

fn best(sound: &[f32], periods: impl Iterator<Item = usize>, unit: usize, stride: usize) -> Pitch {
    periods
        .map(|period| Pitch { period, likeness: likeness(sound, period, WINDOW * unit, stride) })
        .reduce(|best, one| if one.likeness > best.likeness { one } else { best })
        .unwrap_or(Pitch { period: LONGEST * unit, likeness: 0.0 })
}

fn likeness(sound: &[f32], period: usize, window: usize, stride: usize) -> f32 {
    let Some(first) = sound.len().checked_sub(window + period) else { return 0.0 };
    let (before, recent) = (&sound[first..first + window], &sound[first + period..]);
    let (mut product, mut energy, mut energy_before) = (0.0f32, 1.0f32, 1.0f32);
    for (a, b) in recent.iter().zip(before).step_by(stride) {
        product += a * b;
        energy += a * a;
        energy_before += b * b;
    }
    product / (energy * energy_before).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: usize, hertz: f32) -> Vec<f32> {
        let step = std::f32::consts::TAU * hertz / rate as f32;
        (0..rate / 20).map(|at| 1000.0 * (step * at as f32).sin()).collect()
    }

    #[test]
    fn the_period_of_a_tone_or_a_few_of_them_is_found() {
        for rate in [8000, 16_000, 48_000] {
            for hertz in [70.0, 100.0, 130.0, 199.0, 400.0, 440.0, 1000.0] {
                let found = find(&tone(rate, hertz), rate / 1000);
                let periods = found.period as f32 * hertz / rate as f32;
                let off = (periods - periods.round()).abs() * rate as f32 / hertz;
                assert!(off <= 1.0 && found.likeness > 0.9, "{rate} {hertz}: {found:?}, {periods} periods");
            }
        }
    }

    #[test]
    fn noise_and_too_little_sound_resemble_nothing() {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as f32 - 32_768.0
        };
        let noise: Vec<f32> = (0..400).map(|_| next()).collect();
        assert!(find(&noise, 8).likeness < 0.6);
        assert_eq!(find(&noise[..100], 8).likeness, 0.0);
        assert_eq!(find(&[0.0; 400], 8).likeness, 0.0);
    }
}
