//! One packet in twenty of G.711 is lost: how does speech sound with our concealment, with spandsp's, and with silence in
//! place of what is lost? Judged by PESQ, the mean of several draws over several pieces of speech; then the same with
//! losses that come in bursts, and with G.722, whose decoder goes on from a state that the encoder has left. (spandsp, which
//! has a concealment of sound and none of G.722, is given sound whose decoder lost nothing.)

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panic and prints its table")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use demarc::media::codec::{Decoder, Encoder};
use demarc::random::Random;
use demarc::session::{Codec, Opus};
use serde_json::{Value, json};

#[path = "../tests/lab/mod.rs"]
mod lab;

use lab::Lab;

/// Samples of 20 ms.
const FRAME: usize = 160;
/// Packets lost of a hundred.
const LOSS: u64 = 5;
const DRAWS: u64 = 4;
const SPEECH: [&str; 3] = ["demo-instruct", "demo-congrats", "demo-abouttotry"];
/// By how much it must sound better than silence.
const GAIN: f64 = 0.3;

/// How losses fall.
#[derive(Clone, Copy)]
enum Losses {
    /// Each packet alone.
    Scattered,
    /// Two or three in a row, as a busy radio loses them.
    Bursts,
}

fn main() {
    let lab = Lab::new();
    let mut rows = Vec::new();
    for (codec, losses, name) in [
        (Codec::Pcmu, Losses::Scattered, "scattered"),
        (Codec::Pcmu, Losses::Bursts, "in bursts"),
        (Codec::G722, Losses::Scattered, "of G722 scattered"),
    ] {
        println!(
            "{LOSS} % of 20 ms packets of {} lost, {name}: mean PESQ of {DRAWS} draws each of {} pieces",
            codec.name(),
            SPEECH.len()
        );
        let Some([ours, spandsp, silence]) = judge(&lab, codec, losses) else { return };
        println!("  ours {ours:.3}, spandsp {spandsp:.3}, silence {silence:.3}");
        rows.push(line(name, ours, "silence", silence, GAIN));
        // Only for G.711 it has the same to go on.
        rows.extend((codec == Codec::Pcmu).then(|| line(name, ours, "spandsp", spandsp, 0.0)));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&folder).unwrap();
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(folder.join("concealment.jsonl"), rows).unwrap();
}

/// Ours beside a rival's score, of which it asks so much more.
fn line(name: &str, ours: f64, rival: &str, value: f64, gain: f64) -> Value {
    let met = ours >= value + gain;
    println!("  beside {rival}: {:+.3}, at least {gain:+.3}: {}", ours - value, if met { "met" } else { "missed" });
    json!({
        "name": format!("concealment_{}_{rival}", name.replace(' ', "_")), "unit": "PESQ (MOS), more is better",
        "ours": ours, "rival": rival, "rival_value": value, "ratio": ours / value, "target": (value + gain) / value, "met": met,
        "runs": DRAWS * SPEECH.len() as u64,
    })
}

/// The mean scores of our concealment, spandsp's, and silence.
fn judge(lab: &Lab, codec: Codec, losses: Losses) -> Option<[f64; 3]> {
    let mut sums = [0.0; 3];
    for piece in SPEECH {
        let source = lab::speech(lab, piece)?;
        let coded = code(codec, &lab::samples(&source));
        let decoded = decode(codec, &coded, &vec![true; coded.len()], |_, _| {});
        let whole = lab::recording(lab, "coded", &decoded);
        for draw in 0..DRAWS {
            let arrived = arrivals(coded.len(), losses, draw);
            let recordings = [
                lab::recording(
                    lab,
                    "ours",
                    &decode(codec, &coded, &arrived, |decoder, sound| decoder.conceal(None, sound)),
                ),
                spandsp(lab, &whole, &arrived)?,
                lab::recording(lab, "silence", &decode(codec, &coded, &arrived, |_, _| {})),
            ];
            for (sum, recording) in sums.iter_mut().zip(recordings) {
                *sum += lab::pesq(&source, &recording)?.pesq;
            }
        }
    }
    Some(sums.map(|sum| sum / (DRAWS * SPEECH.len() as u64) as f64))
}

fn code(codec: Codec, speech: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(codec, 8000, &Opus::default()).unwrap();
    let mut payload = [0; FRAME];
    let frames = speech.chunks_exact(FRAME);
    frames.map(|frame| encoder.encode(frame, &mut payload).map(|octets| payload[..octets].to_vec()).unwrap()).collect()
}

fn arrivals(packets: usize, losses: Losses, draw: u64) -> Vec<bool> {
    let mut random = Random::test(draw + 1);
    let mut lost = false;
    (0..packets)
        .map(|_| {
            let chance = match (losses, lost) {
                (Losses::Scattered, _) => LOSS * 10,
                // Of a burst, the next is lost as well with 0.6: 2.5 on average.
                (Losses::Bursts, true) => 600,
                (Losses::Bursts, false) => 21,
            };
            lost = random.below(1000) < chance;
            !lost
        })
        .collect()
}

/// What is heard, with this in place of what did not arrive: silence if that does nothing.
fn decode(
    codec: Codec,
    packets: &[Vec<u8>],
    arrived: &[bool],
    lost: impl Fn(&mut Decoder, &mut [i16; FRAME]),
) -> Vec<i16> {
    let mut decoder = Decoder::new(codec, 8000).unwrap();
    let mut heard = Vec::new();
    for (packet, arrived) in packets.iter().zip(arrived) {
        let mut sound = [0; FRAME];
        match arrived {
            true => _ = decoder.decode(packet, &mut sound).unwrap(),
            false => lost(&mut decoder, &mut sound),
        }
        heard.extend(sound);
    }
    heard
}

fn spandsp(lab: &Lab, whole: &Path, arrived: &[bool]) -> Option<PathBuf> {
    let pattern: String = arrived.iter().map(|arrived| if *arrived { '+' } else { '-' }).collect();
    let heard = lab.path("spandsp.wav");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/spandsp_plc.py");
    let done = Command::new("python3").arg(script).arg(whole).arg(pattern).arg(&heard).output().ok()?;
    if !done.status.success() {
        println!(
            "skipped: there is no spandsp (apt-get install libspandsp2): {}",
            String::from_utf8_lossy(&done.stderr)
        );
        return None;
    }
    Some(heard)
}
