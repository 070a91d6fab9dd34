//! The tone disabler hears what spandsp's modems and fax machines say first; and nothing, as the listener for digits, in what
//! people say.

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use std::fs;
use std::process::Command;

use demarc::media::dtmf::detect::{Detector, Heard};
use demarc::media::echo::BLOCK;
use demarc::media::echo::disabler::Disabler;
use demarc::session::Machine;

mod lab;

/// What spandsp says, or `None`, with the reason said, when it is not there.
fn spandsp(kind: &str) -> Option<Vec<f32>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/spandsp_tones.py");
    let said = Command::new("python3").args([script, kind]).output().ok()?;
    if !said.status.success() {
        lab::missing("no spandsp (apt-get install libspandsp2)");
        return None;
    }
    Some(said.stdout.chunks_exact(2).map(|octets| f32::from(i16::from_le_bytes([octets[0], octets[1]]))).collect())
}

#[test]
fn modems_and_faxes_are_told_from_what_only_sounds_like_them() {
    for (kind, expected) in [
        ("1", None),
        ("2", None),
        ("3", Some(Machine::Modem)),
        ("4", None),
        ("5", Some(Machine::Modem)),
        ("fax", Some(Machine::Fax)),
    ] {
        let Some(sound) = spandsp(kind) else { return };
        for direction in [0, 1] {
            let mut disabler = Disabler::new();
            let found = sound.chunks_exact(BLOCK).find_map(|block| {
                let mut blocks = [&[0.0; BLOCK]; 2];
                blocks[direction] = block.try_into().unwrap();
                disabler.hear(blocks)
            });
            assert_eq!(found, expected, "{kind}");
        }
    }
}

/// Asterisk's English prompts; seconds of them that are listened to.
const PROMPTS: &str = "/usr/share/asterisk/sounds/en_US_f_Allison";
const ENOUGH: usize = 300;

#[test]
fn talk_is_neither_a_digit_nor_a_modem_nor_a_fax() {
    let Ok(folder) = fs::read_dir(PROMPTS) else {
        lab::missing("no prompts (apt-get install asterisk-core-sounds-en-wav)");
        return;
    };
    let mut prompts: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
    prompts.sort();
    let mut heard = 0;
    for prompt in prompts.iter().filter(|path| path.extension().is_some_and(|kind| kind == "wav")) {
        let mut file = hound::WavReader::open(prompt).unwrap();
        let sound: Vec<i16> = file.samples().map(Result::unwrap).collect();
        let (mut digits, mut disabler) = (Detector::new(8000), Disabler::new());
        for block in sound.chunks_exact(BLOCK) {
            assert_eq!(digits.hear(block), Heard::Nothing, "{}", prompt.display());
            let block = std::array::from_fn(|at| f32::from(block[at]));
            assert_eq!(disabler.hear([&block, &[0.0; BLOCK]]), None, "{}", prompt.display());
        }
        heard += sound.len();
        if heard > ENOUGH * 8000 {
            return;
        }
    }
    panic!("{} seconds are too few", heard / 8000);
}
