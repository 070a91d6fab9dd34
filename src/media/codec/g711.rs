//! G.711: sound to µ-law and A-law, back, and from law to law.
//!
//! What each does to one sample is written once, without a branch and in lanes that stay 16 bits wide wherever they
//! can; [`Kernels`] are the loops around it. Sound has G.711's 14 (µ) or 13 (A) bits at the upper end of 16. The
//! reference is the ITU-T software tool library (G.191): a negative sample counts by its one's complement.
//!
//! Decoding keeps all that encoding needs to find the same code again, so sound that nobody changes passes octet for octet
//! whatever way it takes. For that µ-law's negative zero is heard as the negative sample nearest to zero, a quarter of the
//! law's own unit; and what shall be said in the other law is heard as that law's tables say.

pub use firmware_io::Law;

use crate::media::kernels::{Kernels, kernels};

/// Encodes as many samples as there is room for.
pub fn encode(law: Law, sound: &[i16], codes: &mut [u8]) {
    Kernels::best().encode(law, sound, codes);
}

/// Decodes as many codes as there is room for.
pub fn decode(law: Law, codes: &[u8], sound: &mut [i16]) {
    Kernels::best().decode(law, codes, sound);
}

/// Decodes as many codes of the law `from` as there is room for, as codes of the other: encoding finds what
/// [`convert`] makes of them.
pub fn decode_converted(from: Law, codes: &[u8], sound: &mut [i16]) {
    Kernels::best().decode_converted(from, codes, sound);
}

/// Makes codes of the law `from` codes of the other, in place (G.711 tables 3 and 4).
pub fn convert(from: Law, codes: &mut [u8]) {
    Kernels::best().convert(from, codes);
}

kernels! {
    /// As the function [`encode`].
    encode(law: Law, sound: &[i16], codes: &mut [u8]) {
        match law {
            Law::Mu => each(sound, codes, encode_mu),
            Law::A => each(sound, codes, encode_a),
        }
    }
    /// As the function [`decode`].
    decode(law: Law, codes: &[u8], sound: &mut [i16]) {
        match law {
            Law::Mu => each(codes, sound, decode_mu),
            Law::A => each(codes, sound, decode_a),
        }
    }
    /// As the function [`decode_converted`].
    decode_converted(from: Law, codes: &[u8], sound: &mut [i16]) {
        match from {
            Law::Mu => each(codes, sound, |code| decode_a(mu_to_a(code))),
            Law::A => each(codes, sound, |code| decode_mu(a_to_mu(code))),
        }
    }
    /// As the function [`convert`].
    convert(from: Law, codes: &mut [u8]) {
        match from {
            Law::Mu => codes.iter_mut().for_each(|code| *code = mu_to_a(*code)),
            Law::A => codes.iter_mut().for_each(|code| *code = a_to_mu(*code)),
        }
    }
}

#[inline(always)]
fn each<From: Copy, To>(from: &[From], to: &mut [To], step: impl Fn(From) -> To) {
    from.iter().zip(to).for_each(|(from, to)| *to = step(*from));
}

/// Inverted even bits of an A-law code (G.711 table 1a, note 2).
const EVEN: u8 = 0x55;
const SIGN: u8 = 0x80;
/// Of µ-law.
const NEGATIVE_ZERO: u8 = 0x7f;

#[inline(always)]
fn encode_mu(sample: i16) -> u8 {
    // 132 is what makes the segments powers of two; where it saturates, G.711 clips.
    let biased = magnitude(sample).saturating_add(132);
    (!(segments(biased, 3) - 16) ^ (sample >> 15 & 0x80)) as u8
}

#[inline(always)]
fn encode_a(sample: i16) -> u8 {
    (segments(magnitude(sample), 4) ^ (!sample >> 15 & 0x80)) as u8 ^ EVEN
}

#[inline(always)]
fn magnitude(sample: i16) -> i16 {
    sample ^ (sample >> 15)
}

/// The law's curve over a positive sample: segments of 16 steps, each step twice as wide as in the segment before.
/// The curve is concave: it is the lowest of its segments' lines at every point. The upper four segments are the lower
/// four, seen from 16 times as far.
#[inline(always)]
fn segments(sample: i16, finest: u32) -> i16 {
    let far = sample >= 256 << finest;
    let near = if far { sample >> 4 } else { sample };
    let line = |segment: i16| (near >> (finest + segment as u32)) + 16 * segment;
    line(0).min(line(1)).min(line(2).min(line(3))) + if far { 64 } else { 0 }
}

#[inline(always)]
fn decode_mu(code: u8) -> i16 {
    signed(code, power(u32::from(!code & 0x7f)) - 132) - i16::from(code == NEGATIVE_ZERO)
}

#[inline(always)]
fn decode_a(code: u8) -> i16 {
    let code = code ^ EVEN;
    let power = power(u32::from(code & 0x7f));
    // The lowest segment is a straight line on to 0, twice as steep: below where they meet it is the lower one.
    signed(code, power.min(power.saturating_add(power - 256)))
}

/// The middle of a step in a curve of powers of two: (16.5 + step % 16) * 2^(3 + step / 16). Those are the exponent
/// and the mantissa of a float.
#[inline(always)]
fn power(step: u32) -> i16 {
    let value = f32::from_bits((step << 19) + (134 << 23) + (1 << 18));
    // Beyond 2^23 the units of a float are ones: its lowest bits are the whole number, at the price of an addition.
    (value + 8_388_608.0).to_bits() as i16
}

/// In both laws the upper bit, once inversions are undone, says positive.
#[inline(always)]
fn signed(code: u8, magnitude: i16) -> i16 {
    let negative = !(i16::from(code as i8) >> 15);
    (magnitude ^ negative) - negative
}

/// G.711 table 3: one step of A-law for a step of µ-law, but for those places where the laws' segments do not meet.
#[inline(always)]
fn mu_to_a(code: u8) -> u8 {
    let step = !code & 0x7f;
    let halved = step.min(15).div_ceil(2);
    let skipped = beyond(step, 32, 4) + beyond(step, 47, 2) + beyond(step, 63, 1) + beyond(step, 80, 1);
    (step - halved + skipped) ^ EVEN ^ (code & SIGN)
}

/// G.711 table 4.
#[inline(always)]
fn a_to_mu(code: u8) -> u8 {
    let code = code ^ EVEN;
    let step = code & 0x7f;
    let doubled = 1 + step.min(7);
    let merged =
        beyond(step, 24, 7).div_ceil(2) + beyond(step, 44, 3).div_ceil(2) + beyond(step, 62, 1) + beyond(step, 79, 1);
    !(step + doubled - merged) ^ (!code & SIGN)
}

/// How far `step` is beyond `bound`, `most` at most.
#[inline(always)]
fn beyond(step: u8, bound: u8, most: u8) -> u8 {
    step.saturating_sub(bound).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table 2a with figure 1: a sample of 14 bits, biased by 33; the segment is where its leading one stands.
    fn encoded_mu(sample: i16) -> u8 {
        let (sign, magnitude) = if sample < 0 { (0, !sample) } else { (0x80, sample) };
        let biased = u32::from(magnitude as u16 / 4 + 33).min(0x1fff);
        let segment = biased.ilog2() - 5;
        let step = (biased >> (segment + 1)) & 15;
        !((segment << 4 | step) as u8) & 0x7f | sign
    }

    /// Table 1a: 2048 decision values a sign, the lowest two segments alike.
    fn encoded_a(sample: i16) -> u8 {
        let (sign, magnitude) = if sample < 0 { (0, !sample) } else { (0x80, sample) };
        let value = u32::from(magnitude as u16 / 16);
        let segment = value.max(8).ilog2() - 3;
        let step = if segment == 0 { value } else { (value >> (segment - 1)) & 15 | segment << 4 };
        (step as u8 | sign) ^ 0x55
    }

    /// Table 2a, column 8: the middle between two decision values.
    fn decoded_mu(code: u8) -> i32 {
        let (segment, step) = (u32::from(!code >> 4 & 7), i32::from(!code & 15));
        let value = (2 * step + 33) * (1 << segment) - 33;
        if code == 0x7f { -1 } else { 4 * if code & 0x80 == 0 { -value } else { value } }
    }

    /// Table 1a, column 8.
    fn decoded_a(code: u8) -> i32 {
        let code = code ^ 0x55;
        let (segment, step) = (u32::from(code >> 4 & 7), i32::from(code & 15));
        let value = if segment == 0 { 2 * step + 1 } else { (2 * step + 33) << (segment - 1) };
        8 * if code & 0x80 == 0 { -value } else { value }
    }

    /// Table 3: the number of the A-law value for each number of a µ-law value from 0.
    const MU_TO_A: [u8; 128] = [
        1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
        25, 27, 29, 31, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 46, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58,
        59, 60, 61, 62, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 82, 83, 84, 85, 86, 87, 88,
        89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112,
        113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128,
    ];

    /// Table 4: the number of the µ-law value for each number of an A-law value from 1.
    const A_TO_MU: [u8; 128] = [
        1, 3, 5, 7, 9, 11, 13, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 32, 33, 33, 34,
        34, 35, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 48, 49, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58,
        59, 60, 61, 62, 63, 64, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 80, 81, 82, 83, 84,
        85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109,
        110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127,
    ];

    fn samples() -> Vec<i16> {
        (i16::MIN..=i16::MAX).collect()
    }

    fn codes() -> Vec<u8> {
        (0..=255).collect()
    }

    #[test]
    fn every_sample_is_encoded_as_defined() {
        for kernels in Kernels::all() {
            for (law, defined) in [(Law::Mu, encoded_mu as fn(i16) -> u8), (Law::A, encoded_a)] {
                let mut found = vec![0; 65_536];
                kernels.encode(law, &samples(), &mut found);
                let wrong = samples().into_iter().zip(found).find(|(sample, code)| defined(*sample) != *code);
                assert_eq!(wrong, None, "{law:?} {kernels}");
            }
        }
    }

    #[test]
    fn every_code_is_decoded_as_defined() {
        for kernels in Kernels::all() {
            for (law, defined) in [(Law::Mu, decoded_mu as fn(u8) -> i32), (Law::A, decoded_a)] {
                let mut found = vec![0; 256];
                kernels.decode(law, &codes(), &mut found);
                let wrong = codes().into_iter().zip(found).find(|(code, sample)| defined(*code) != i32::from(*sample));
                assert_eq!(wrong, None, "{law:?} {kernels}");
            }
        }
    }

    #[test]
    fn what_is_decoded_is_encoded_as_it_was() {
        for kernels in Kernels::all() {
            for (law, other) in [(Law::Mu, Law::A), (Law::A, Law::Mu)] {
                let (mut sound, mut again) = ([0; 256], [0; 256]);
                kernels.decode(law, &codes(), &mut sound);
                kernels.encode(law, &sound, &mut again);
                assert_eq!(again[..], codes(), "{law:?} {kernels}");
                let mut converted = codes();
                kernels.convert(law, &mut converted);
                kernels.decode_converted(law, &codes(), &mut sound);
                kernels.encode(other, &sound, &mut again);
                assert_eq!(again[..], converted, "{law:?} to {other:?} {kernels}");
            }
        }
    }

    #[test]
    fn every_code_is_converted_as_the_tables_say() {
        let to_a = |code: u8| (MU_TO_A[usize::from(!code & 0x7f)] - 1) ^ 0x55 ^ (code & 0x80);
        let to_mu = |code: u8| !A_TO_MU[usize::from((code ^ 0x55) & 0x7f)] & 0x7f | (code & 0x80);
        for kernels in Kernels::all() {
            let [mut a, mut mu] = [codes(), codes()];
            kernels.convert(Law::Mu, &mut a);
            kernels.convert(Law::A, &mut mu);
            assert_eq!(a, codes().into_iter().map(to_a).collect::<Vec<_>>(), "{kernels}");
            assert_eq!(mu, codes().into_iter().map(to_mu).collect::<Vec<_>>(), "{kernels}");
        }
    }

    #[test]
    fn another_library_agrees() {
        use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};
        let (mut mu, mut a) = (vec![0; 65_536], vec![0; 65_536]);
        encode(Law::Mu, &samples(), &mut mu);
        encode(Law::A, &samples(), &mut a);
        assert!(samples().iter().zip(&mu).all(|(sample, code)| encode_ulaw(*sample) == *code));
        assert!(samples().iter().zip(&a).all(|(sample, code)| encode_alaw(*sample) == *code));
        let (mut mu, mut a) = (vec![0; 256], vec![0; 256]);
        decode(Law::Mu, &codes(), &mut mu);
        decode(Law::A, &codes(), &mut a);
        assert!(codes().iter().zip(&mu).all(|(code, sample)| *code == 0x7f || decode_ulaw(*code) == *sample));
        assert!(codes().iter().zip(&a).all(|(code, sample)| decode_alaw(*code) == *sample));
    }

    #[test]
    fn any_length_leaves_the_rest_alone() {
        for kernels in Kernels::all() {
            for length in 0..100 {
                let mut coded = [7; 100];
                kernels.encode(Law::A, &vec![-1; length], &mut coded);
                assert_eq!(coded, std::array::from_fn(|at| if at < length { 0x55 } else { 7 }));
                let mut sound = vec![9; length];
                kernels.decode(Law::Mu, &[0xff; 100], &mut sound);
                assert_eq!(sound, vec![0; length]);
            }
        }
    }
}
