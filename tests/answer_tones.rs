//! The tone disabler hears what spandsp's modems and fax machines say first.

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use std::process::Command;

use demarc::media::echo::BLOCK;
use demarc::media::echo::disabler::{Disabler, Untouched};

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
        ("3", Some(Untouched::Modem)),
        ("4", None),
        ("5", Some(Untouched::Modem)),
        ("fax", Some(Untouched::Fax)),
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
