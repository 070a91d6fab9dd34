//! Linear prediction: what of a sound follows from what was just before.

/// Autocorrelation at 0 to `LAGS - 1` samples under a parabola (so that the ends do not count), per sample of power.
pub(in crate::media) fn correlation<const LAGS: usize>(sound: impl ExactSizeIterator<Item = f32>) -> [f32; LAGS] {
    let length = sound.len().max(1) as f32;
    let mut sums = [0.0; LAGS];
    let mut recent = [0.0; LAGS];
    for (at, sample) in sound.enumerate() {
        let from_middle = (at as f32 + 0.5) * 2.0 / length - 1.0;
        recent.copy_within(..LAGS - 1, 1);
        recent[0] = sample * (1.0 - from_middle * from_middle);
        for (sum, earlier) in sums.iter_mut().zip(recent) {
            *sum += recent[0] * earlier;
        }
    }
    // The parabola's own power is 8/15.
    sums.map(|sum| sum * 15.0 / 8.0 / length)
}

/// Levinson's recursion: the reflection coefficients of the all-pole filter `1 + k z^-1 + ..` with this
/// autocorrelation, each at the lag that it stands for; the one at 0 is 0.
pub(in crate::media) fn reflections<const LAGS: usize>(correlation: &[f32; LAGS]) -> [f32; LAGS] {
    let mut found = [0.0; LAGS];
    let mut filter = [0.0; LAGS];
    filter[0] = 1.0;
    // White noise 40 dB below keeps the recursion away from division by nothing.
    let mut left = correlation[0] * 1.0001 + 1e-3;
    for lag in 1..LAGS {
        let foreseen: f32 = (0..lag).map(|at| filter[at] * correlation[lag - at]).sum();
        let reflection = (-foreseen / left).clamp(-1.0, 1.0);
        let before = filter;
        for at in 1..=lag {
            filter[at] = before[at] + reflection * before[lag - at];
        }
        left *= (1.0 - reflection * reflection).max(1e-6);
        found[lag] = reflection;
    }
    found
}

/// The share of a sound's power that a filter with these coefficients does not foresee.
pub(in crate::media) fn unforeseen(reflections: &[f32]) -> f32 {
    reflections.iter().map(|reflection| 1.0 - reflection * reflection).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fading_resonance_gives_back_its_poles() {
        // 1 / (1 - 1.2 z^-1 + 0.7 z^-2): k2 = 0.7, k1 = -1.2 / (1 + k2).
        let (mut a, mut b, mut state) = (0.0, 0.0, 1u32);
        let sound: Vec<f32> = (0..20_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let next = 1.2 * a - 0.7 * b + (state as i32 >> 20) as f32;
                (a, b) = (next, a);
                next
            })
            .collect();
        let found = reflections::<5>(&correlation(sound.into_iter()));
        for (found, expected) in found.into_iter().zip([0.0, -0.706, 0.7, 0.0, 0.0]) {
            assert!((found - expected).abs() < 0.03, "{found} instead of {expected}");
        }
    }

    #[test]
    fn nothing_foresees_nothing() {
        assert_eq!(reflections::<5>(&correlation([0.0; 160].into_iter())), [0.0; 5]);
        assert_eq!(correlation::<3>([].into_iter()), [0.0; 3]);
        assert_eq!(unforeseen(&[0.0, 0.6, 0.0]), 0.64);
    }
}
