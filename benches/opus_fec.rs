//! One packet in ten is lost: how does Opus sound with its in-band error correction, and how without? Speech of 30 s
//! toward a telephone line, at 8 kHz, judged by PESQ; the mean of several draws of which packets are lost.
//!
//! What the loss takes is brought back by the packet after it, unless that is lost as well. The bits for it are added: the
//! sender pays, not the speech.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panic and prints its table")]

use std::fs;
use std::path::Path;

use demarc::media::codec::{Decoder, Encoder};
use demarc::random::Random;
use demarc::session::{Codec, Opus};
use serde_json::json;

#[path = "../tests/lab/mod.rs"]
mod lab;

use lab::Lab;

const RATE: u32 = 8000;
/// Samples of 20 ms.
const FRAME: usize = 160;
const LOSS: u8 = 10;
const DRAWS: u64 = 5;
/// By how much it must sound better.
const GAIN: f64 = 0.4;

fn main() {
    let lab = Lab::new();
    let Some(source) = lab::speech(&lab, "demo-instruct") else { return };
    let speech = lab::samples(&source);
    println!("{LOSS} % of packets lost, Opus at {RATE} Hz, 20 ms, mean PESQ of {DRAWS} draws\n");
    let mut means = Vec::new();
    for fec in [true, false] {
        let packets = encode(&speech, fec);
        let mut verdicts = Vec::new();
        for draw in 0..DRAWS {
            let heard = lab::recording(&lab, "heard", &hear(&packets, draw));
            let Some(verdict) = lab::pesq(&source, &heard) else { return };
            verdicts.push(verdict.pesq);
        }
        let mean = verdicts.iter().sum::<f64>() / verdicts.len() as f64;
        let bits = packets.iter().map(Vec::len).sum::<usize>() * 8 * 50 / packets.len();
        println!("{:<12}{mean:>6.2}  {verdicts:?}, {bits} bit/s", if fec { "with FEC" } else { "without" });
        means.push(mean);
    }
    let [with, without] = means[..] else { return };
    let met = with - without >= GAIN;
    println!("{:.2} better, at least {GAIN}: {}", with - without, if met { "met" } else { "missed" });
    let row = json!({
        "name": "opus_fec_10_percent", "unit": "PESQ (MOS), more is better", "ours": with, "rival": "Opus without FEC",
        "rival_value": without, "ratio": with / without, "target": (without + GAIN) / without, "met": met, "runs": DRAWS,
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("opus_fec.jsonl"), format!("{row}\n")).unwrap();
}

fn encode(speech: &[i16], fec: bool) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(Codec::Opus, RATE, &Opus { fec, ..Opus::default() }).unwrap();
    encoder.expect_loss(LOSS);
    let mut payload = [0; 1500];
    let frames = speech.chunks_exact(FRAME);
    frames.map(|frame| encoder.encode(frame, &mut payload).map(|octets| payload[..octets].to_vec()).unwrap()).collect()
}

/// What is heard when a tenth of the packets, drawn at random, does not arrive.
fn hear(packets: &[Vec<u8>], draw: u64) -> Vec<i16> {
    let mut random = Random::test(draw);
    let arrived: Vec<bool> = packets.iter().map(|_| random.below(100) >= u64::from(LOSS)).collect();
    let mut decoder = Decoder::new(Codec::Opus, RATE).unwrap();
    let mut heard = Vec::new();
    for (at, packet) in packets.iter().enumerate() {
        let mut sound = [0; FRAME];
        if arrived[at] {
            decoder.decode(packet, &mut sound).unwrap();
        } else {
            let next = packets.get(at + 1).filter(|_| arrived[at + 1]);
            decoder.conceal(next.map(Vec::as_slice), &mut sound);
        }
        heard.extend(sound);
    }
    heard
}
