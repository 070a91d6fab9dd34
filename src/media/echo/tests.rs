//! The tests of ITU-T G.168 that can be put as an assertion, in its order, and what fax and modem calls ask for.

use super::*;
use crate::media::codec::g711::{self, Law};
use crate::random::Random;

/// As loud as people talk: -10 dBm0.
const FAR: f32 = -10.0;

/// Through G.711, as on a line.
fn coded(law: Law, sound: &[f32]) -> Vec<f32> {
    let samples: Vec<i16> = sound.iter().map(|sample| *sample as i16).collect();
    let (mut codes, mut heard) = (vec![0; samples.len()], vec![0; samples.len()]);
    g711::encode(law, &samples, &mut codes);
    g711::decode(law, &codes, &mut heard);
    heard.into_iter().map(f32::from).collect()
}

/// What is left of `back` while the line hears `out`.
fn cancelled(canceller: &mut Canceller, out: &[f32], back: &[f32]) -> Vec<f32> {
    let block = |sound: &[f32]| std::array::from_fn::<i16, BLOCK, _>(|at| sound[at] as i16);
    let mut left = Vec::new();
    for (out, back) in out.chunks_exact(BLOCK).zip(back.chunks_exact(BLOCK)) {
        let mut back = block(back);
        canceller.cancel(&block(out), &mut back);
        left.extend(back.map(f32::from));
    }
    left
}

fn mixed(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// dB that were taken away in this part.
fn taken(echo: &[f32], left: &[f32], part: std::ops::Range<usize>) -> f32 {
    g168::level(&echo[part.clone()]) - g168::level(&left[part])
}

/// One period of the composite source signal.
const PERIOD: usize = 2800;
const SECOND: usize = 8000;

#[test]
fn every_path_is_cancelled_by_30_db_within_a_second() {
    for (tail, late, law) in [(Tail::Ms128, 890, Law::Mu), (Tail::Ms64, 0, Law::A), (Tail::Ms64, 380, Law::Mu)] {
        for (number, (name, ..)) in g168::PATHS.iter().enumerate() {
            let out = coded(law, &g168::composite(SECOND + PERIOD, FAR, 1.0, 3));
            let back = coded(law, &g168::echo(&out, &g168::path(number, 6.0, late)));
            let left = cancelled(&mut Canceller::new(tail).linear(), &out, &back);
            let taken = taken(&back, &left, SECOND..SECOND + PERIOD);
            assert!(taken >= 30.0, "{name} {tail:?} {late} samples late: {taken} dB");
        }
    }
}

#[test]
fn what_the_filter_leaves_gives_way_to_the_lines_own_noise() {
    for (hiss, most) in [(-70.0, -64.0), (-50.0, -46.0)] {
        let mut out = vec![0.0; SECOND];
        out.extend(coded(Law::Mu, &g168::composite(2 * SECOND, FAR, 1.0, 3)));
        let noise = g168::composite(4 * SECOND * 2, hiss, 1.0, 9);
        // Of that signal the noise alone, without its gaps.
        let noise: Vec<f32> =
            noise.chunks(PERIOD).flat_map(|period| period.iter().skip(389).take(1600).copied()).collect();
        let back = mixed(&g168::echo(&out, &g168::path(2, 8.0, 100)), &noise);
        let left = cancelled(&mut Canceller::new(Tail::Ms64), &out, &back);
        let heard = g168::level(&left[2 * SECOND..]);
        assert!((hiss - 3.0..most).contains(&heard), "{heard} dBm0 beside noise of {hiss}");
    }
}

#[test]
fn double_talk_neither_misleads_nor_is_cut() {
    let talk = SECOND..2 * SECOND;
    for near in [-10.0, -16.0, -4.0] {
        let out = coded(Law::Mu, &g168::composite(3 * SECOND, FAR, 1.0, 3));
        let echo = g168::echo(&out, &g168::path(1, 6.0, 200));
        let mut said = vec![0.0; out.len()];
        said[talk.clone()].copy_from_slice(&g168::composite(SECOND + 900, near, 0.75, 7)[900..]);
        let back = coded(Law::Mu, &mixed(&echo, &said));
        let mut canceller = Canceller::new(Tail::Ms64).linear();
        let left = cancelled(&mut canceller, &out, &back);
        let rest: Vec<f32> = left.iter().zip(&said).map(|(left, said)| left - said).collect();
        // A loud talker's own quantisation counts as rest too.
        let during = taken(&echo, &rest, talk.clone());
        assert!(during > 24.0 - (near - FAR).max(0.0), "{during} dB while the near end talks at {near} dBm0");
        let after = taken(&echo, &rest, 2 * SECOND..2 * SECOND + PERIOD);
        assert!(after > 30.0, "{after} dB after the near end talked at {near} dBm0");
        let whole = cancelled(&mut Canceller::new(Tail::Ms64), &out, &back);
        let cut = g168::level(&said[talk.clone()]) - g168::level(&whole[talk.clone()]);
        assert!(cut.abs() < 1.0, "the near end lost {cut} dB");
    }
}

#[test]
fn a_path_that_changes_is_learned_anew() {
    for (before, after) in [((0, 400), (3, 80)), ((4, 40), (4, 300))] {
        let out = coded(Law::A, &g168::composite(4 * SECOND, FAR, 1.0, 3));
        let echoes = [before, after].map(|(number, late)| g168::echo(&out, &g168::path(number, 6.0, late)));
        let back = coded(Law::A, &[&echoes[0][..2 * SECOND], &echoes[1][2 * SECOND..]].concat());
        let left = cancelled(&mut Canceller::new(Tail::Ms64).linear(), &out, &back);
        assert!(taken(&back, &left, 2 * SECOND - PERIOD..2 * SECOND) > 30.0);
        // Louder than before the echo never becomes for long, and a second later it is gone.
        let at_first = taken(&back, &left, 2 * SECOND..2 * SECOND + SECOND / 2);
        let later = taken(&back, &left, 3 * SECOND + 2400..4 * SECOND);
        assert!(at_first > -4.0 && later > 27.0, "{at_first} {later}");
    }
}

#[test]
fn an_echo_that_appears_late_is_found_and_one_that_goes_leaves_none_of_our_making() {
    let out = coded(Law::Mu, &g168::composite(5 * SECOND, FAR, 1.0, 3));
    let mut back = g168::echo(&out, &g168::path(5, 6.0, 120));
    back[..2 * SECOND].fill(0.0);
    back[4 * SECOND..].fill(0.0);
    let left = cancelled(&mut Canceller::new(Tail::Ms64).linear(), &out, &back);
    let found = taken(&back, &left, 3 * SECOND + SECOND / 2..4 * SECOND);
    assert!(found > 28.0, "{found}");
    let (soon, later) = (g168::level(&left[4 * SECOND..][SECOND / 2..]), g168::level(&left[..2 * SECOND]));
    assert!(soon < -37.0 && later < -60.0, "{soon} {later} dBm0 where there is no echo");
}

#[test]
fn tones_teach_nothing_wrong() {
    let voice = g168::composite(SECOND + PERIOD, FAR, 1.0, 3);
    for hertz in g168::TONES {
        let tone = g168::tone(SECOND / 2, FAR, hertz);
        for (before, after) in [(&voice[..], &voice[..PERIOD]), (&[], &voice)] {
            let out = coded(Law::Mu, &[before, &tone, after].concat());
            let back = coded(Law::Mu, &g168::echo(&out, &g168::path(7, 6.0, 100)));
            let left = cancelled(&mut Canceller::new(Tail::Ms64).linear(), &out, &back);
            let taken = taken(&back, &left, out.len() - PERIOD..out.len());
            assert!(taken > 29.0, "{hertz:?} after {} samples of a voice: {taken} dB", before.len());
        }
    }
}

#[test]
fn who_talks_alone_is_not_touched() {
    let said = coded(Law::Mu, &g168::composite(SECOND, FAR, 0.8, 5));
    let heard = cancelled(&mut Canceller::new(Tail::Ms128), &vec![0.0; SECOND], &said);
    assert_eq!(heard, said);
}

#[test]
fn all_loops_cancel_alike() {
    let out = g168::composite(SECOND, FAR, 1.0, 3);
    let back = g168::echo(&out, &g168::path(3, 6.0, 60));
    let left: Vec<_> = Kernels::all()
        .into_iter()
        .map(|kernels| cancelled(&mut Canceller::with(kernels, Tail::Ms64).linear(), &out, &back))
        .collect();
    for other in &left {
        let apart = left[0].iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart <= 2.0, "{apart}");
    }
}

#[test]
fn any_sound_leaves_a_canceller_that_works() {
    bolero::check!().with_type::<Vec<(i16, i16, u8)>>().with_iterations(60).for_each(|steps| {
        let mut canceller = Canceller::new(Tail::Ms64);
        for (out, back, kind) in steps.iter().take(40) {
            let wave = |value: i16| std::array::from_fn(|at| if kind & 1 << (at % 8) == 0 { value } else { !value });
            let mut back = wave(*back);
            canceller.cancel(&wave(*out), &mut back);
        }
        let said = [500; BLOCK];
        let mut heard = said;
        (0..40).for_each(|_| {
            heard = said;
            canceller.cancel(&[0; BLOCK], &mut heard);
        });
        assert_eq!(heard, said);
    });
}

/// An answer tone: its phase turns so far every so many samples.
fn answer(samples: usize, dbm0: f32, hertz: f32, turn: f32, every: usize, swell: f32) -> Vec<f32> {
    let amplitude = g168::amplitude(dbm0) * std::f32::consts::SQRT_2;
    (0..samples)
        .map(|at| {
            let turned =
                std::f64::consts::TAU * f64::from(hertz) * at as f64 / 8000.0 + f64::from(turn) * (at / every) as f64;
            let swelling = 1.0 + swell * (std::f32::consts::TAU * 15.0 * at as f32 / 8000.0).sin();
            amplitude * swelling * turned.sin() as f32
        })
        .collect()
}

/// Bits at 300 bit/s in V.21, channel 2.
fn v21(bits: impl Iterator<Item = bool>, dbm0: f32) -> Vec<f32> {
    let amplitude = g168::amplitude(dbm0) * std::f32::consts::SQRT_2;
    let (mut phase, mut sound) = (0.0f32, Vec::new());
    for (at, bit) in bits.enumerate() {
        while sound.len() < (at + 1) * SECOND / 300 {
            phase =
                (phase + std::f32::consts::TAU * if bit { 1650.0 } else { 1850.0 } / 8000.0) % std::f32::consts::TAU;
            sound.push(amplitude * phase.sin());
        }
    }
    sound
}

/// What is heard, and after how many milliseconds, when this sounds in one direction.
fn disabled(sound: &[f32], direction: usize) -> Option<(Machine, usize)> {
    let mut disabler = Disabler::new();
    sound.chunks_exact(BLOCK).enumerate().find_map(|(at, block)| {
        let mut blocks = [&[0.0; BLOCK]; 2];
        blocks[direction] = block.try_into().unwrap();
        disabler.hear(blocks).map(|why| (why, 5 * (at + 1)))
    })
}

#[test]
fn an_answer_tone_with_reversals_is_a_modem_and_nothing_else_is() {
    use std::f32::consts::PI;
    let every = 3600;
    for direction in [0, 1] {
        for (name, sound) in [
            ("plain", answer(2 * SECOND, -12.0, 2100.0, PI, every, 0.0)),
            ("21 Hz high", answer(2 * SECOND, -12.0, 2121.0, PI, every, 0.0)),
            ("21 Hz low", answer(2 * SECOND, -12.0, 2079.0, PI, every, 0.0)),
            ("as soft as may be", answer(2 * SECOND, -31.0, 2100.0, PI, every, 0.0)),
            ("V.8, swelling at 15 Hz", answer(2 * SECOND, -12.0, 2100.0, PI, every, 0.2)),
            ("turned by 160 degrees", answer(2 * SECOND, -12.0, 2100.0, 160.0f32.to_radians(), every, 0.0)),
            ("every 425 ms", answer(2 * SECOND, -12.0, 2100.0, PI, 3400, 0.0)),
            ("every 475 ms", answer(2 * SECOND, -12.0, 2100.0, PI, 3800, 0.0)),
            ("shifted within a block", answer(2 * SECOND, -12.0, 2100.0, PI, every, 0.0)[17..].to_vec()),
        ] {
            let found = disabled(&coded(Law::Mu, &sound), direction);
            assert!(matches!(found, Some((Machine::Modem, ..=1000))), "{name}: {found:?}");
        }
        for (name, sound) in [
            ("no reversals: a fax's, or an old modem's", answer(4 * SECOND, -12.0, 2100.0, 0.0, every, 0.0)),
            ("the same swelling", answer(4 * SECOND, -12.0, 2100.0, 0.0, every, 0.2)),
            ("turned by 100 degrees", answer(4 * SECOND, -12.0, 2100.0, 100.0f32.to_radians(), every, 0.0)),
            ("every 300 ms", answer(4 * SECOND, -12.0, 2100.0, PI, 2400, 0.0)),
            ("60 Hz off", answer(4 * SECOND, -12.0, 2230.0, PI, every, 0.0)),
            ("too soft", answer(4 * SECOND, -40.0, 2100.0, PI, every, 0.0)),
            ("talk", g168::composite(10 * SECOND, FAR, 1.0, 3)),
            ("digits", g168::tone(4 * SECOND, FAR, (941.0, 1633.0))),
            (
                "V.21 with a frame's bits",
                v21((0..900u32).map(|at| at.wrapping_mul(2_654_435_769) >> 16 & 1 == 0), -12.0),
            ),
        ] {
            assert_eq!(disabled(&coded(Law::Mu, &sound), direction), None, "{name}");
        }
    }
}

#[test]
fn flags_in_v21_are_a_fax() {
    let flags = |count: usize| (0..count).map(|at| !matches!(at % 8, 0 | 7));
    for level in [-12.0, -30.0] {
        for skip in [0, 13, 31] {
            let preamble = v21(flags(300), level);
            let found = disabled(&coded(Law::A, &preamble[skip..]), 1);
            assert!(matches!(found, Some((Machine::Fax, ..=400))), "{found:?}");
        }
    }
    let called: Vec<f32> =
        [answer(3 * SECOND, -12.0, 2100.0, 0.0, SECOND, 0.0), vec![0.0; 600], v21(flags(300), -12.0)].concat();
    assert!(matches!(disabled(&called, 1), Some((Machine::Fax, 3075..=3500))), "after the plain answer tone");
}

#[test]
fn what_is_left_untouched_passes_as_it_is_until_it_has_been_silent() {
    let mut canceller = Canceller::new(Tail::Ms64);
    let out = g168::composite(2 * SECOND, FAR, 1.0, 3);
    let echo = g168::echo(&out, &g168::path(0, 6.0, 30));
    cancelled(&mut canceller, &out, &echo);
    let answering = answer(SECOND, -12.0, 2100.0, std::f32::consts::PI, 3600, 0.0);
    cancelled(&mut canceller, &vec![0.0; SECOND], &answering);
    assert_eq!(canceller.untouched(), Some(Machine::Modem));
    let data: Vec<f32> = mixed(&out, &echo).iter().map(|sample| sample.trunc()).collect();
    assert_eq!(cancelled(&mut canceller, &out, &data), data, "modems' own sound");
    let silence =
        |canceller: &mut Canceller, ms: usize| _ = cancelled(canceller, &vec![0.0; 8 * ms], &vec![0.0; 8 * ms]);
    silence(&mut canceller, 150);
    assert_eq!(canceller.untouched(), Some(Machine::Modem), "a short pause");
    cancelled(&mut canceller, &out[..800], &data[..800]);
    silence(&mut canceller, 200);
    assert_eq!(canceller.untouched(), Some(Machine::Modem), "the pause is counted anew");
    silence(&mut canceller, 100);
    assert_eq!(canceller.untouched(), None);
    let left = cancelled(&mut canceller, &out, &echo);
    assert!(taken(&echo, &left, 0..PERIOD) > 25.0, "what was known is known again");
    let mut random = Random::test(1);
    let quiet: Vec<f32> = (0..SECOND).map(|_| random.below(5) as f32).collect();
    cancelled(&mut canceller, &v21((0..200).map(|at| !matches!(at % 8, 0 | 7)), -12.0)[..5320], &quiet[..5320]);
    assert_eq!(canceller.untouched(), Some(Machine::Fax));
    silence(&mut canceller, 6500);
    assert_eq!(canceller.untouched(), Some(Machine::Fax), "a fax waits for an answer");
    silence(&mut canceller, 600);
    assert_eq!(canceller.untouched(), None);
}
