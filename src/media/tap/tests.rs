//! Two directions in virtual time, and what the file holds.

use std::io::Cursor;

use super::*;
use crate::media::codec::{Encoder, ticks};
use crate::session::Opus;

const RATE: u32 = 16_000;

fn ms(milliseconds: u64) -> Instant {
    Instant::at(Duration::from_millis(milliseconds))
}

/// A peer that says a tone.
struct Voice {
    course: Course,
    codec: Codec,
    hertz: f64,
    encoder: Encoder,
}

impl Voice {
    fn new(course: Course, codec: Codec, hertz: f64) -> Voice {
        let encoder = Encoder::new(codec, codec.sound_rate().min(RATE), &Opus::default()).unwrap();
        Voice { course, codec, hertz, encoder }
    }

    /// 20 ms that come at this time.
    fn says(&mut self, tap: &mut Tap, at: u64) {
        let rate = self.codec.sound_rate().min(RATE);
        let frame = rate as usize / 50;
        let number = at as usize / 20;
        let sample =
            |at: usize| ((number * frame + at) as f64 / f64::from(rate) * self.hertz * std::f64::consts::TAU).sin();
        let sound: Vec<i16> = (0..frame).map(|at| (sample(at) * 8000.0) as i16).collect();
        let mut payload = [0; 1400];
        let octets = self.encoder.encode(&sound, &mut payload).unwrap();
        let place =
            Position { sequence: number as u16, timestamp: ticks(self.codec, rate, number * frame), first: false };
        let tapped = Tapped { course: self.course, codec: self.codec, kind: Kind::Sound, place, at: ms(at) };
        tap.pass(tapped, &payload[..octets]);
    }
}

/// Both tracks.
pub(crate) fn tracks(file: &[u8]) -> [Vec<i16>; 2] {
    let mut reader = hound::WavReader::new(file).unwrap();
    assert_eq!(reader.spec().channels, 2);
    let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    [0, 1].map(|track| samples.iter().skip(track).step_by(2).copied().collect())
}

/// How loud a tone is, of a full one of 8000.
pub(crate) fn tone(sound: &[i16], rate: u32, hertz: f64) -> f64 {
    let turn = std::f64::consts::TAU * hertz / f64::from(rate);
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (at, sample) in sound.iter().enumerate() {
        let (sin, cos) = (turn * at as f64).sin_cos();
        (real, imaginary) = (real + f64::from(*sample) * cos, imaginary + f64::from(*sample) * sin);
    }
    2.0 * f64::hypot(real, imaginary) / sound.len().max(1) as f64 / 8000.0
}

#[test]
fn both_directions_lie_side_by_side_with_silence_where_nothing_was_said() {
    let mut file = Vec::new();
    let (mut tap, mut recorder) = recording(Cursor::new(&mut file), RATE).unwrap();
    let mut said = Voice::new(Course::Received, Codec::Pcma, 400.0);
    let mut heard = Voice::new(Course::Sent, Codec::G722, 1000.0);
    // The one speaks in the first and third second, the other in the second and third.
    for at in (0..3000).step_by(20) {
        if at / 1000 != 1 {
            said.says(&mut tap, at);
        }
        if at / 1000 != 0 {
            heard.says(&mut tap, at + 3);
        }
        assert!(recorder.work().unwrap());
    }
    drop(tap);
    assert!(!recorder.work().unwrap(), "the tap has ended");
    let recorded = recorder.finish().unwrap();
    assert_eq!(recorded.missed, 0);
    let [left, right] = tracks(&file);
    let second = RATE as usize;
    assert_eq!(recorded.length.as_millis() as usize, left.len() * 1000 / second);
    assert!((3000..3200).contains(&recorded.length.as_millis()), "{recorded:?}");
    for (number, wanted) in [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]].into_iter().enumerate() {
        let inner = number * second + second / 5..(number + 1) * second - second / 20;
        let found = [tone(&left[inner.clone()], RATE, 400.0), tone(&right[inner.clone()], RATE, 1000.0)];
        assert!((0..2).all(|track| (found[track] - wanted[track]).abs() < 0.1), "second {number}: {found:?}");
        let strange = [tone(&left[inner.clone()], RATE, 1000.0), tone(&right[inner], RATE, 400.0)];
        assert!(strange.iter().all(|level| *level < 0.02), "{strange:?}");
    }
    // The one stops when the other begins: so it is in the file.
    let stops = second + left[second..2 * second].iter().rposition(|sample| sample.abs() > 4000).unwrap_or(0);
    let begins = right.iter().position(|sample| sample.abs() > 4000).unwrap_or(0);
    assert!(stops.abs_diff(begins) < second / 20, "{stops} {begins}");
}

#[test]
fn a_codec_that_changes_goes_on_in_the_same_track() {
    let mut file = Vec::new();
    let (mut tap, recorder) = recording(Cursor::new(&mut file), RATE).unwrap();
    for (codec, begin) in [(Codec::Pcmu, 0), (Codec::Opus, 1000), (Codec::G722, 2000)] {
        let mut voice = Voice::new(Course::Received, codec, 400.0);
        (begin..begin + 1000).step_by(20).for_each(|at| voice.says(&mut tap, at));
    }
    drop(tap);
    let mut recorder = recorder;
    assert!(!recorder.work().unwrap());
    recorder.finish().unwrap();
    let [left, right] = tracks(&file);
    for second in 0..3 {
        let level = tone(&left[second * 16_000 + 4000..second * 16_000 + 15_000], RATE, 400.0);
        assert!((0.85..1.1).contains(&level), "second {second}: {level}");
    }
    assert!(right.iter().all(|sample| *sample == 0));
}

#[test]
fn what_the_recorder_has_no_room_for_is_counted_and_the_rest_is_right() {
    let mut file = Vec::new();
    let (mut tap, mut recorder) = recording(Cursor::new(&mut file), 8000).unwrap();
    let mut voice = Voice::new(Course::Sent, Codec::Pcmu, 400.0);
    (0..30_000).step_by(20).for_each(|at| voice.says(&mut tap, at));
    recorder.work().unwrap();
    (30_000..32_000).step_by(20).for_each(|at| voice.says(&mut tap, at));
    drop(tap);
    let recorded = recorder.finish().unwrap();
    assert_eq!(recorded.missed, 500);
    assert!((31_900..32_200).contains(&recorded.length.as_millis()), "{recorded:?}");
    let [_, right] = tracks(&file);
    let level = |from: usize, to: usize| tone(&right[from * 8..to * 8], 8000, 400.0);
    assert!(level(1000, 19_000) > 0.9 && level(20_500, 29_500) < 0.01 && level(30_500, 31_900) > 0.9);
}

#[test]
fn a_tap_whose_recorder_has_gone_does_no_harm() {
    let (mut tap, recorder) = recording(Cursor::new(Vec::new()), 8000).unwrap();
    drop(recorder);
    let mut voice = Voice::new(Course::Sent, Codec::Pcmu, 400.0);
    (0..60_000).step_by(20).for_each(|at| voice.says(&mut tap, at));
}
