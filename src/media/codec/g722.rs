//! G.722 (ITU-T Rec. G.722, 11/88, mode 1): 64 kbit/s, an octet for every two samples at 16 kHz.
//!
//! ```text
//! sound -> two half-bands (24-tap QMF) -> lower: 6 bits ADPCM, upper: 2 bits ADPCM -> octet
//! ```
//!
//! Both half-bands are predicted by the same two-pole, six-zero filter ([`Band`]); encoder and decoder adapt it alike,
//! from what was sent. At 8 kHz only the lower half-band is worked, without the QMF: half the cost, and the sound of a
//! telephone line has nothing above it.
//!
//! Over a lost packet the decoder's filters stand still. Made to adapt to the sound that is heard in its place they come no
//! nearer to the encoder's: PESQ does not tell the two apart.

use super::{CodecError, Malformed};

/// QMF pairs worked at once.
const BLOCK: usize = 160;
/// Coefficients of one phase of the QMF (table 11).
const QMF: [i16; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];
/// Pairs of samples that the QMF remembers.
const HISTORY: usize = QMF.len() - 1;

/// The lower band's quantiser: by magnitude in units of the scale factor / 4096, how many of its decision levels (table 14,
/// Q6) are not above. Beyond the last level it stays the same.
const LEVELS: [u8; 2920] = {
    let decisions = [
        0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219,
        1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
    ];
    let mut levels = [0; 2920];
    let (mut at, mut level) = (0, 0);
    while at < levels.len() {
        if level < decisions.len() && decisions[level] == at {
            level += 1;
        }
        levels[at] = level as u8;
        at += 1;
    }
    levels
};
/// Inverse quantiser of six bits (table 17, QQ6 with sign).
const INVERSE_6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576,
    -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040,
    -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
    4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
/// Inverse quantiser of the four bits that the lower band's filter adapts to (QQ4 with sign).
const INVERSE_4: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];
/// Inverse quantiser of the upper band's two bits (QQ2 with sign).
const INVERSE_2: [i32; 4] = [-7408, -1616, 7408, 1616];
/// Steps of the lower band's logarithmic scale factor, by its four bits (WL of RIL4).
const STEPS_4: [i32; 16] = [-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60];
/// The same by group of the quantiser's levels, for who has just quantised: what the filter adapts to, without its sign, and
/// the step.
const GROUPS: [(i32, i32); 8] =
    [(0, -60), (1200, -30), (2584, 58), (4240, 172), (6288, 334), (8968, 538), (12896, 1198), (20456, 3042)];
/// Steps of the upper band's, by its two bits (WH of RIH2).
const STEPS_2: [i32; 4] = [798, -214, 798, -214];
/// The inverse logarithm (ILB): 2048 times 2 to the power of n/32.
const INVERSE_LOG: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025,
    3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
/// A half-band's scale factor by its logarithm / 64.
struct Scale {
    /// The highest logarithm.
    most: i32,
    linear: [i32; 512],
}
static LOWER_SCALE: Scale = Scale::new(18432, 8);
static UPPER_SCALE: Scale = Scale::new(22528, 10);
/// 2 to the power of 40 over the lower band's scale factor, rounded up: times the one, then shifted, is divided by the other,
/// exactly as far as the quantiser's levels reach.
static RECIPROCALS: [u64; 512] = {
    let mut reciprocals = [0; 512];
    let mut at = 0;
    while at as i32 <= LOWER_SCALE.most >> 6 {
        reciprocals[at] = (1 << 40) / LOWER_SCALE.linear[at] as u64 + 1;
        at += 1;
    }
    reciprocals
};

impl Scale {
    /// SCALEL, SCALEH, once for all.
    const fn new(most: i32, shift: i32) -> Scale {
        let mut linear = [0; 512];
        let mut at = 0;
        while at as i32 <= most >> 6 {
            let mantissa = INVERSE_LOG[at & 31];
            let down = shift - (at as i32 >> 5);
            linear[at] = if down < 0 { mantissa << -down } else { mantissa >> down } << 2;
            at += 1;
        }
        Scale { most, linear }
    }
}

/// The upper band's code for nothing: its reconstruction is zero once the scale factor has come down.
const UPPER_SILENCE: u8 = 0b11;

/// Limits of a half-band's samples (LIMIT).
fn limit(value: i32) -> i32 {
    value.clamp(-16384, 16383)
}

/// What 16 bits hold.
fn saturate(value: i32) -> i32 {
    value.clamp(-32768, 32767)
}

/// The product of a signal or a coefficient with a fraction of 32768.
fn times(value: i32, fraction: i32) -> i32 {
    (value * fraction) >> 15
}

/// The adaptive predictor and scale factor of one half-band (blocks 3 and 4, the same on both ends).
#[derive(Clone, Debug)]
struct Band {
    /// The prediction of the next sample (SL, SH), and the zeros' part of it.
    prediction: i32,
    zeros_part: i32,
    /// The scale factor: linear (DET) and logarithmic (NB).
    scale: i32,
    log_scale: i32,
    /// Coefficients (AL, BL) and past signals, newest first: twice the quantised difference (DLT), partially reconstructed
    /// (PLT), twice the reconstructed (RLT).
    poles: [i32; 2],
    zeros: [i32; 6],
    differences: [i32; 6],
    partials: [i32; 2],
    last: i32,
}

impl Band {
    fn new(scale: i32) -> Band {
        Band {
            prediction: 0,
            zeros_part: 0,
            scale,
            log_scale: 0,
            poles: [0; 2],
            zeros: [0; 6],
            differences: [0; 6],
            partials: [0; 2],
            last: 0,
        }
    }

    /// Block 3: the scale factor after a code whose step is `step`.
    fn rescale(&mut self, step: i32, scale: &Scale) {
        self.log_scale = (times(self.log_scale, 32512) + step).clamp(0, scale.most);
        self.scale = scale.linear[(self.log_scale >> 6) as usize & 511];
    }

    /// Block 4: the filter after the quantised difference `difference`. Each sample waits for the one before: what is kept
    /// is kept as the next one needs it.
    #[inline(always)]
    fn adapt(&mut self, difference: i32) {
        let reconstructed = saturate(self.prediction + difference);
        let partial = saturate(self.zeros_part + difference);
        self.adapt_poles(partial);
        self.adapt_zeros(difference);
        let reconstructed = saturate(2 * reconstructed);
        let poles_part = times(self.poles[0], reconstructed) + times(self.poles[1], self.last);
        self.last = reconstructed;
        self.prediction = saturate(saturate(poles_part) + self.zeros_part);
    }

    /// UPPOL2, UPPOL1.
    #[inline(always)]
    fn adapt_poles(&mut self, partial: i32) {
        let [first, second] = self.poles;
        let same = |past: i32| (partial < 0) == (past < 0);
        let gain = saturate(4 * first);
        let gain = saturate(if same(self.partials[0]) { -gain } else { gain }) >> 7;
        let step = if same(self.partials[1]) { 128 } else { -128 };
        let second = (gain + step + times(second, 32512)).clamp(-12288, 12288);
        let step = if same(self.partials[0]) { 192 } else { -192 };
        let most = 15360 - second;
        self.poles = [(step + times(first, 32640)).clamp(-most, most), second];
        self.partials = [partial, self.partials[0]];
    }

    /// UPZERO, FILTEZ.
    #[inline(always)]
    fn adapt_zeros(&mut self, difference: i32) {
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, past) in self.zeros.iter_mut().zip(&self.differences) {
            // The sign of the product, as the mask 0 or -1.
            let sign = (difference ^ past) >> 31;
            *zero = ((step ^ sign) - sign) + times(*zero, 32640);
        }
        // As one value: a part of it that is written alone would have to be waited for.
        let [first, second, third, fourth, fifth, _] = self.differences;
        self.differences = [saturate(2 * difference), first, second, third, fourth, fifth];
        let parts: [i32; 6] = std::array::from_fn(|at| times(self.zeros[at], self.differences[at]));
        // No sum leaves 16 bits where not even that of all magnitudes does.
        let magnitudes: i32 = parts.iter().map(|part| part.abs()).sum();
        self.zeros_part = match magnitudes <= 32767 {
            true => parts.iter().sum(),
            // From the oldest on, each sum within 16 bits, as the Recommendation has it.
            false => parts.iter().rev().fold(0, |sum, part| saturate(sum + part)),
        };
    }
}

/// The lower half-band, 0 to 4 kHz.
#[derive(Clone, Debug)]
struct Lower(Band);

impl Lower {
    fn new() -> Lower {
        Lower(Band::new(32))
    }

    fn encode(&mut self, sample: i32) -> u8 {
        let error = saturate(sample - self.0.prediction);
        let magnitude = if error < 0 { !error } else { error };
        // The largest decision that, times the scale factor / 4096 and rounded down, is not above the magnitude.
        let reciprocal = RECIPROCALS[(self.0.log_scale >> 6) as usize & 511];
        let decision = ((((magnitude + 1) << 12) - 1) as u64 * reciprocal) >> 40;
        let level = LEVELS[(decision as usize).min(LEVELS.len() - 1)];
        // What the code says to who decodes it, without the way through the code.
        let (multiple, step) = GROUPS[usize::from((level + 1) >> 2) & 7];
        let sign = error >> 31;
        self.adapt((multiple ^ sign) - sign, step);
        match (error < 0, level) {
            (false, _) => 62 - level,
            (true, 1..=2) => 64 - level,
            (true, _) => 34 - level,
        }
    }

    fn decode(&mut self, code: u8) -> i32 {
        let sample = limit(self.0.prediction + times(self.0.scale, INVERSE_6[usize::from(code & 63)]));
        let code = usize::from(code >> 2 & 15);
        self.adapt(INVERSE_4[code], STEPS_4[code]);
        sample
    }

    fn adapt(&mut self, multiple: i32, step: i32) {
        let difference = times(self.0.scale, multiple);
        self.0.rescale(step, &LOWER_SCALE);
        self.0.adapt(difference);
    }
}

/// The upper half-band, 4 to 8 kHz.
#[derive(Clone, Debug)]
struct Upper(Band);

impl Upper {
    fn new() -> Upper {
        Upper(Band::new(8))
    }

    fn encode(&mut self, sample: i32) -> u8 {
        let error = saturate(sample - self.0.prediction);
        let magnitude = if error < 0 { !error } else { error };
        let outer = magnitude >= (564 * self.0.scale) >> 12;
        let code = if error < 0 { 1 } else { 3 } - u8::from(outer);
        self.adapt(code);
        code
    }

    fn decode(&mut self, code: u8) -> i32 {
        let sample = limit(self.0.prediction + times(self.0.scale, INVERSE_2[usize::from(code & 3)]));
        self.adapt(code);
        sample
    }

    fn adapt(&mut self, code: u8) {
        let code = usize::from(code & 3);
        let difference = times(self.0.scale, INVERSE_2[code]);
        self.0.rescale(STEPS_2[code], &UPPER_SCALE);
        self.0.adapt(difference);
    }
}

/// One QMF: even and odd samples of the past, and the two sums of each new pair.
#[derive(Clone, Debug)]
struct Filter {
    history: [[i16; HISTORY]; 2],
}

impl Filter {
    fn new() -> Filter {
        Filter { history: [[0; HISTORY]; 2] }
    }

    /// For each pair: the sum over the first samples, and that over the second ones with the coefficients reversed.
    fn run(&mut self, pairs: impl ExactSizeIterator<Item = [i16; 2]>, mut each: impl FnMut(usize, i32, i32)) {
        let count = pairs.len().min(BLOCK);
        let mut lines = [[0; HISTORY + BLOCK]; 2];
        for (line, history) in lines.iter_mut().zip(&self.history) {
            line[..HISTORY].copy_from_slice(history);
        }
        for (at, [first, second]) in pairs.take(BLOCK).enumerate() {
            lines[0][HISTORY + at] = first;
            lines[1][HISTORY + at] = second;
        }
        let [first, second] = &lines;
        for (at, (first, second)) in first.windows(QMF.len()).zip(second.windows(QMF.len())).take(count).enumerate() {
            let (mut sum, mut reversed) = (0, 0);
            for tap in 0..QMF.len() {
                sum += i32::from(first[tap]) * i32::from(QMF[tap]);
                reversed += i32::from(second[tap]) * i32::from(QMF[QMF.len() - 1 - tap]);
            }
            each(at, sum, reversed);
        }
        for (history, line) in self.history.iter_mut().zip(&lines) {
            history.copy_from_slice(&line[count..count + HISTORY]);
        }
    }
}

/// Sound to octets. At 16 kHz two samples an octet, at 8 kHz one.
#[derive(Clone, Debug)]
pub struct Encoder {
    lower: Lower,
    /// `None` at 8 kHz.
    upper: Option<(Upper, Filter)>,
}

impl Encoder {
    /// For sound with an upper half-band (16 kHz) or without (8 kHz).
    pub fn new(wide: bool) -> Encoder {
        Encoder { lower: Lower::new(), upper: wide.then(|| (Upper::new(), Filter::new())) }
    }

    /// Encodes; how many octets of `payload`. An odd last sample at 16 kHz is left out.
    pub fn encode(&mut self, sound: &[i16], payload: &mut [u8]) -> Result<usize, CodecError> {
        let octets = if self.upper.is_some() { sound.len() / 2 } else { sound.len() };
        let payload = payload.get_mut(..octets).ok_or(CodecError::Room)?;
        let Some((upper, filter)) = &mut self.upper else {
            for (octet, sample) in payload.iter_mut().zip(sound) {
                *octet = UPPER_SILENCE << 6 | self.lower.encode(i32::from(*sample) >> 1);
            }
            return Ok(octets);
        };
        for (sound, payload) in sound.chunks(2 * BLOCK).zip(payload.chunks_mut(BLOCK)) {
            filter.run(sound.as_chunks().0.iter().copied(), |at, sum, reversed| {
                let lower = self.lower.encode(limit((reversed + sum) >> 14));
                let upper = upper.encode(limit((reversed - sum) >> 14));
                if let Some(octet) = payload.get_mut(at) {
                    *octet = upper << 6 | lower;
                }
            });
        }
        Ok(octets)
    }
}

/// Octets to sound. At 16 kHz two samples an octet, at 8 kHz one.
#[derive(Clone, Debug)]
pub struct Decoder {
    lower: Lower,
    /// `None` at 8 kHz.
    upper: Option<(Upper, Filter)>,
}

impl Decoder {
    /// For sound with its upper half-band (16 kHz) or without (8 kHz).
    pub fn new(wide: bool) -> Decoder {
        Decoder { lower: Lower::new(), upper: wide.then(|| (Upper::new(), Filter::new())) }
    }

    /// How many samples a payload is.
    pub fn samples(&self, payload: &[u8]) -> usize {
        if self.upper.is_some() { 2 * payload.len() } else { payload.len() }
    }

    /// Decodes; how many samples, which must fit into `sound`.
    pub fn decode(&mut self, payload: &[u8], sound: &mut [i16]) -> Result<usize, Malformed> {
        let samples = self.samples(payload);
        let sound = sound.get_mut(..samples).ok_or(Malformed)?;
        let Some((upper, filter)) = &mut self.upper else {
            for (sample, octet) in sound.iter_mut().zip(payload) {
                *sample = (self.lower.decode(*octet) << 1) as i16;
            }
            return Ok(samples);
        };
        let (pairs, _) = sound.as_chunks_mut::<2>();
        for (payload, pairs) in payload.chunks(BLOCK).zip(pairs.chunks_mut(BLOCK)) {
            let bands = payload.iter().map(|octet| {
                let (lower, upper) = (self.lower.decode(*octet), upper.decode(octet >> 6));
                // Two numbers of 15 bits: their sum and difference fit into 16.
                [(lower + upper) as i16, (lower - upper) as i16]
            });
            filter.run(bands, |at, sum, reversed| {
                if let Some(pair) = pairs.get_mut(at) {
                    *pair = [saturate(reversed >> 11) as i16, saturate(sum >> 11) as i16];
                }
            });
        }
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A triangle that slides through all frequencies, noise of all loudnesses, and full-scale chatter: 3 x 8000 samples.
    fn trial() -> Vec<i16> {
        let mut noise = 1u32;
        let mut random = move || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 16) as i16
        };
        let mut phase = 0u32;
        let mut triangle = |at: u32| {
            phase = phase.wrapping_add(at * 270_000);
            ((phase >> 15) as u16 as i16).wrapping_abs().wrapping_mul(2).wrapping_sub(i16::MAX) / 2
        };
        let slide = (0..8000).map(&mut triangle).collect::<Vec<_>>();
        let loud = (0..8000).map(|at| random() >> (at / 500 % 16)).collect::<Vec<_>>();
        let chatter = (0..8000).map(|at| if random() > (at % 600) as i16 * 50 { i16::MAX } else { i16::MIN });
        [slide, loud, chatter.collect()].concat()
    }

    /// FNV-1a.
    fn digest(octets: impl IntoIterator<Item = u8>) -> u64 {
        octets
            .into_iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3))
    }

    fn encode(wide: bool, sound: &[i16], frame: usize) -> Vec<u8> {
        let mut encoder = Encoder::new(wide);
        let mut payload = vec![0; sound.len()];
        let mut octets = 0;
        for sound in sound.chunks(frame) {
            octets += encoder.encode(sound, &mut payload[octets..]).unwrap();
        }
        payload.truncate(octets);
        payload
    }

    fn decode(wide: bool, payload: &[u8], frame: usize) -> Vec<i16> {
        let mut decoder = Decoder::new(wide);
        let mut sound = vec![0; 2 * payload.len()];
        let mut samples = 0;
        for payload in payload.chunks(frame) {
            samples += decoder.decode(payload, &mut sound[samples..]).unwrap();
        }
        sound.truncate(samples);
        sound
    }

    /// The figures are those of the ITU-T's own program (G.191, STL 2023: encg722, decg722 in mode 1) on the same samples
    /// and octets.
    #[test]
    fn octets_and_samples_are_the_recommendations() {
        for frame in [160, 320, 958] {
            let payload = encode(true, &trial(), frame);
            assert_eq!(digest(payload.iter().copied()), 0xf33c_6748_94e9_30b8);
            let sound = decode(true, &payload, frame / 2);
            assert_eq!(digest(sound.iter().flat_map(|sample| sample.to_le_bytes())), 0xb49a_bddd_16c9_01f3);
        }
        // No encoder sends these: filters are driven to their limits.
        let wild: Vec<u8> = (0..200u32).flat_map(|at| [(at.wrapping_mul(2_654_435_761) >> 24) as u8; 100]).collect();
        let sound = decode(true, &wild, 160);
        assert_eq!(digest(sound.iter().flat_map(|sample| sample.to_le_bytes())), 0xc072_2c55_ea09_b462);
    }

    /// 1 kHz at a tenth of full scale.
    fn tone(rate: usize) -> Vec<i16> {
        let sample = |at: usize| (at as f64 / rate as f64 * 1000.0 * std::f64::consts::TAU).sin() * 3277.0;
        (0..rate / 2).map(|at| sample(at) as i16).collect()
    }

    /// Energy at 1 kHz and of all the rest, per sample.
    fn energies(sound: &[i16], rate: usize) -> (f64, f64) {
        let count = sound.len() as f64;
        let turn = |at: usize| at as f64 / rate as f64 * 1000.0 * std::f64::consts::TAU;
        let part = |wave: fn(f64) -> f64| {
            sound.iter().enumerate().map(|(at, sample)| f64::from(*sample) * wave(turn(at))).sum::<f64>() / count
        };
        let tone = 2.0 * (part(f64::sin).powi(2) + part(f64::cos).powi(2));
        (tone, sound.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / count - tone)
    }

    #[test]
    fn either_rate_understands_the_other() {
        for (from, to) in [(true, true), (true, false), (false, true), (false, false)] {
            let rate = |wide| if wide { 16_000 } else { 8000 };
            let payload = encode(from, &tone(rate(from)), rate(from) / 50);
            let sound = decode(to, &payload, 160);
            let (heard, noise) = energies(&sound[rate(to) / 10..rate(to) * 2 / 5], rate(to));
            let (level, quiet) = (heard / (3277.0 * 3277.0 / 2.0), heard / noise);
            assert!((0.95..1.05).contains(&level) && quiet > 1000.0, "{from} to {to}: {level} {quiet}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(matches!(Encoder::new(true).encode(&[0; 320], &mut [0; 159]), Err(CodecError::Room)));
        assert_eq!(Decoder::new(true).decode(&[0; 160], &mut [0; 319]), Err(Malformed));
        assert!(matches!(Encoder::new(true).encode(&[0; 321], &mut [0; 160]), Ok(160)));
    }

    #[test]
    fn any_octets_are_sound() {
        bolero::check!().with_type::<(bool, Vec<u8>)>().for_each(|(wide, payload)| {
            let samples = if *wide { 2 * payload.len() } else { payload.len() };
            assert_eq!(decode(*wide, payload, 160).len(), samples);
        });
    }
}
