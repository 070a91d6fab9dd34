//! Digits before judges that are not ours: multimon-ng reads our tones, and recorded speech holds no digit for our
//! detector.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::process::Command;

use demarc::media::codec::g711::{self, Law};
use demarc::media::dtmf::detect::{Detector, Heard};
use demarc::media::dtmf::tone::{Generator, KEYS};
use demarc::media::resample::Resampler;
use demarc::session::Digit;
use lab::Lab;

/// The rate that multimon-ng wants.
const ITS_RATE: u32 = 22_050;

/// All digits, each for so many milliseconds, as a telephone line in G.711 carries them.
fn dialled(tone_ms: usize, pause_ms: usize) -> Vec<i16> {
    let mut sound = vec![0; 800];
    for key in KEYS {
        let mut generator = Generator::new(Digit::of(key).unwrap(), 8000);
        let (mut tone, mut fall) = (vec![0; 8 * tone_ms], [0; 16]);
        generator.read(&mut tone);
        generator.end(&mut fall);
        sound.extend(tone);
        sound.extend(fall);
        sound.extend(vec![0; 8 * pause_ms]);
    }
    let mut codes = vec![0; sound.len()];
    g711::encode(Law::Mu, &sound, &mut codes);
    g711::decode(Law::Mu, &codes, &mut sound);
    sound
}

#[test]
fn another_receiver_reads_our_tones() {
    if !lab::installed("multimon-ng", "multimon-ng") {
        return;
    }
    let lab = Lab::new();
    for (tone, pause) in [(100, 100), (60, 60)] {
        let narrow = dialled(tone, pause);
        let mut resampler = Resampler::new(8000, ITS_RATE).unwrap();
        let mut sound = vec![0; resampler.room(narrow.len())];
        let length = resampler.process(&narrow, &mut sound);
        let octets: Vec<u8> = sound[..length].iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let file = lab.write("dialled.raw", octets);
        let done = Command::new("multimon-ng").args(["-q", "-t", "raw", "-a", "DTMF"]).arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&done.stdout);
        let read: String = text.lines().filter_map(|line| line.strip_prefix("DTMF: ")).collect();
        assert_eq!(read, KEYS.iter().collect::<String>(), "{tone} ms tones, {pause} ms pauses");
    }
}

#[test]
fn nobody_talks_a_digit() {
    let lab = Lab::new();
    for prompt in ["demo-congrats", "demo-abouttotry", "demo-thanks", "demo-moreinfo"] {
        let Some(speech) = lab::speech(&lab, prompt) else { return };
        let (mut detector, mut digits) = (Detector::new(8000), 0);
        for part in lab::samples(&speech).chunks(80) {
            digits += usize::from(matches!(detector.hear(part), Heard::Digit(..)));
        }
        assert_eq!(digits, 0, "{prompt}");
    }
}
