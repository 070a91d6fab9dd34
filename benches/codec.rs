//! What codecs cost and how they sound: CPU for a packet of 20 ms, both ways, at each rate and complexity; and Opus
//! toward and from a telephone line beside libopus as rtpengine sets it.
//!
//! The speech is a telephone's, 30 s of it. CPU is the thread's own; of each figure the best of `RUNS` (5) counts, for
//! neighbours only ever add. `rtpengine` here is its codec alone: Opus in two channels at 48 kHz, 32 kbit/s, complexity 10,
//! as its Debian package asks of libavcodec; resampling and G.711 are left out on both sides.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panic and prints its table")]

use std::fs;
use std::path::{Path, PathBuf};

use demarc::media::codec::{Decoder, Encoder, MOST_SAMPLES};
use demarc::media::resample::Resampler;
use demarc::session::{Codec, Opus};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

#[path = "../tests/lab/mod.rs"]
mod lab;

use lab::Lab;

/// The most that Opus may cost, in units of rtpengine's codec. What else a packet costs widens the difference.
const COST: f64 = 0.4;
/// By how much PESQ of one and the same sound varies with its alignment.
const INAUDIBLE: f64 = 0.01;

fn main() {
    let lab = Lab::new();
    let Some(source) = lab::speech(&lab, "demo-instruct") else { return };
    let speech = lab::samples(&source);
    let runs = std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(5);
    println!("µs of CPU for 20 ms of speech, best of {runs} runs\n");
    println!("{:<34}{:>8}{:>8}{:>10}", "", "encode", "decode", "bit/s");
    for (codec, rate, complexity) in cases() {
        let way = Way { codec, rate, complexity };
        let cost = way.cost(&resample(&speech, 8000, rate), runs);
        println!("{:<34}{:>8.2}{:>8.2}{:>10}", way.name(), cost.encode, cost.decode, cost.bits);
    }
    resampling(&speech, runs);
    let rows = beside_rtpengine(&lab, &source, &speech, runs);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("codec.jsonl"), rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
}

fn cases() -> Vec<(Codec, u32, u8)> {
    let mut cases =
        vec![(Codec::Pcmu, 8000, 0), (Codec::Pcma, 8000, 0), (Codec::G722, 8000, 0), (Codec::G722, 16_000, 0)];
    for rate in [8000, 16_000, 48_000] {
        cases.extend([0, 2, 3, 4, 5, 8, 10].map(|complexity| (Codec::Opus, rate, complexity)));
    }
    cases
}

struct Way {
    codec: Codec,
    rate: u32,
    complexity: u8,
}

struct Cost {
    /// µs.
    encode: f64,
    /// µs.
    decode: f64,
    bits: usize,
}

impl Way {
    fn name(&self) -> String {
        let name = format!("{} at {} Hz", self.codec.name(), self.rate);
        if self.codec == Codec::Opus { format!("{name}, complexity {}", self.complexity) } else { name }
    }

    fn encode(&self, sound: &[i16]) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(self.codec, self.rate, &Opus::default()).unwrap();
        encoder.complexity(self.complexity);
        packets(sound, self.rate as usize / 50, |frame, payload| encoder.encode(frame, payload).unwrap())
    }

    fn decode(&self, packets: &[Vec<u8>]) -> Vec<i16> {
        let mut decoder = Decoder::new(self.codec, self.rate).unwrap();
        sound(packets, |packet, heard| decoder.decode(packet, heard).unwrap())
    }

    fn cost(&self, sound: &[i16], runs: usize) -> Cost {
        let packets = self.encode(sound);
        let octets: usize = packets.iter().map(Vec::len).sum();
        Cost {
            encode: best(runs, packets.len(), || self.encode(sound)),
            decode: best(runs, packets.len(), || self.decode(&packets)),
            bits: octets * 8 * 50 / packets.len(),
        }
    }
}

fn packets(sound: &[i16], frame: usize, mut encode: impl FnMut(&[i16], &mut [u8]) -> usize) -> Vec<Vec<u8>> {
    let mut payload = [0; 1500];
    let mut one = |frame| {
        let octets = encode(frame, &mut payload);
        payload[..octets].to_vec()
    };
    sound.chunks_exact(frame).map(&mut one).collect()
}

fn sound(packets: &[Vec<u8>], mut decode: impl FnMut(&[u8], &mut [i16]) -> usize) -> Vec<i16> {
    let (mut heard, mut sound) = ([0; 2 * MOST_SAMPLES], Vec::with_capacity(2 * 48 * 1000 * 31));
    for packet in packets {
        let samples = decode(packet, &mut heard);
        sound.extend_from_slice(&heard[..samples]);
    }
    sound
}

fn resample(sound: &[i16], from: u32, to: u32) -> Vec<i16> {
    let mut resampler = Resampler::new(from, to).unwrap();
    let mut resampled = vec![0; resampler.room(sound.len())];
    resampler.process(sound, &mut resampled);
    resampled
}

/// The thread's CPU time in µs.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    time.tv_sec() as f64 * 1e6 + time.tv_nsec() as f64 / 1e3
}

/// µs of `work` by each of `count`.
fn best<T>(runs: usize, count: usize, mut work: impl FnMut() -> T) -> f64 {
    let mut once = || {
        let start = cpu();
        std::hint::black_box(work());
        cpu() - start
    };
    (0..runs).map(|_| once()).fold(f64::INFINITY, f64::min) / count as f64
}

fn resampling(speech: &[i16], runs: usize) {
    println!("\nµs of CPU to resample 20 ms");
    for (from, to) in [(8000, 16_000), (16_000, 8000), (8000, 48_000), (48_000, 8000), (16_000, 48_000), (44_100, 8000)]
    {
        let sound = resample(speech, 8000, from);
        let mut resampler = Resampler::new(from, to).unwrap();
        let mut resampled = vec![0; resampler.room(from as usize)];
        let packet = from as usize / 50;
        let cost = best(runs, sound.len() / packet, || {
            sound.chunks_exact(packet).map(|sound| resampler.process(sound, &mut resampled)).sum::<usize>()
        });
        println!("{from:>8} to {to:<8}{cost:>8.2}, later by {:.1} ms", resampler.delay().as_secs_f64() * 1000.0);
    }
}

/// libopus as rtpengine sets it.
struct Rtpengine {
    encoder: opus::Encoder,
    decoder: opus::Decoder,
}

impl Rtpengine {
    fn new() -> Rtpengine {
        let mut encoder = opus::Encoder::new(48_000, opus::Channels::Stereo, opus::Application::Audio).unwrap();
        encoder.set_bitrate(opus::Bitrate::Bits(32_000)).unwrap();
        encoder.set_complexity(10).unwrap();
        Rtpengine { encoder, decoder: opus::Decoder::new(48_000, opus::Channels::Stereo).unwrap() }
    }

    fn encode(&mut self, sound: &[i16]) -> Vec<Vec<u8>> {
        packets(sound, 2 * 960, |frame, payload| self.encoder.encode(frame, payload).unwrap())
    }

    fn decode(&mut self, packets: &[Vec<u8>]) -> Vec<i16> {
        sound(packets, |packet, heard| 2 * self.decoder.decode(packet, heard, false).unwrap())
    }
}

fn beside_rtpengine(lab: &Lab, source: &Path, speech: &[i16], runs: usize) -> Vec<Value> {
    let both: Vec<i16> = resample(speech, 8000, 48_000).into_iter().flat_map(|sample| [sample; 2]).collect();
    let theirs = Rtpengine::new().encode(&both);
    let their_encode = best(runs, theirs.len(), || Rtpengine::new().encode(&both));
    let their_decode = best(runs, theirs.len(), || Rtpengine::new().decode(&theirs));
    let way = Way { codec: Codec::Opus, rate: 8000, complexity: demarc::media::codec::opus::complexity(8000) };
    let cost = way.cost(speech, runs);
    // Decoded by us is what rtpengine's kind of peer sends: 48 kHz, two channels.
    let our_decode = best(runs, theirs.len(), || way.decode(&theirs));
    println!("\nOpus and a telephone line, beside rtpengine's settings");
    println!("encode {:.1}, its {their_encode:.1}; decode {our_decode:.1}, its {their_decode:.1} µs", cost.encode);
    let (ours, rival_cost) = ((cost.encode + our_decode) / 2.0, (their_encode + their_decode) / 2.0);
    let ratio = ours / rival_cost;
    println!("a packet, one way as the other: {ours:.1} µs, {ratio:.2} times {rival_cost:.1}, at most {COST}");
    let mut rows = vec![json!({
        "name": "codec_opus_pcmu", "unit": "µs of CPU a packet of 20 ms", "ours": ours,
        "rival": "libopus as rtpengine sets it", "rival_value": rival_cost, "ratio": ratio, "target": COST,
        "met": ratio <= COST, "runs": runs,
    })];
    let left: Vec<i16> = Rtpengine::new().decode(&theirs).into_iter().step_by(2).collect();
    let rival = pesq(lab, source, &resample(&left, 48_000, 8000));
    println!("PESQ: rtpengine's settings {}", rival.map_or("unknown".to_owned(), |rival| format!("{rival:.2}")));
    for complexity in [0, 2, 3, 4, 5, 8, 10] {
        let way = Way { complexity, ..way };
        let ours = pesq(lab, source, &way.decode(&way.encode(speech)));
        let (Some(ours), Some(rival)) = (ours, rival) else { break };
        let met = ours >= rival - INAUDIBLE;
        println!("  {}: {ours:.2}, {}", way.name(), if met { "no worse" } else { "worse" });
        rows.push(json!({
            "name": format!("codec_opus_pesq_complexity_{complexity}"), "unit": "PESQ (MOS), more is better", "ours": ours,
            "rival": "libopus as rtpengine sets it", "rival_value": rival, "ratio": ours / rival, "target": 1.0, "met": met,
            "runs": 1,
        }));
    }
    rows
}

fn pesq(lab: &Lab, source: &Path, heard: &[i16]) -> Option<f64> {
    let heard: PathBuf = lab::recording(lab, "heard", heard);
    lab::pesq(source, &heard).map(|verdict| verdict.pesq)
}
