//! Speech of µ-law at our own pace, over networks that delay, lose and count time differently: judged by PESQ beside the
//! plain buffer, which plays 60 ms later, fills a packet's time with silence when it runs out and drops a packet when it
//! is full.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panic and prints its table")]

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::Duration;

use demarc::media::codec::{Decoder, Encoder};
use demarc::media::pace::PacedPlayout;
use demarc::media::peer::{Heard, Kind};
use demarc::random::Random;
use demarc::session::{Codec, Opus};
use demarc::time::Instant;
use demarc::wire::rtp::Header;
use serde_json::json;

#[path = "../tests/lab/mod.rs"]
mod lab;

use lab::Lab;

/// Samples of 20 ms.
const FRAME: usize = 160;
const TICK: u64 = 20_000;
const SPEECH: [&str; 3] = ["demo-instruct", "demo-congrats", "demo-abouttotry"];
/// Packets that the plain buffer waits for at first, and that it holds.
const PLAIN: (usize, usize) = (3, 6);

/// By how much a score may be less, for a delay that is not the same for all networks.
const UNHEARD: f64 = 0.05;

/// A network and the peer's clock.
struct Network {
    name: &'static str,
    /// Of a packet, microseconds.
    most_delay: u64,
    /// Packets of a thousand.
    lost: u64,
    /// By how much the peer's clock is faster than ours.
    ppm: i64,
}

const NETWORKS: [Network; 6] = [
    Network { name: "clean", most_delay: 500, lost: 0, ppm: 0 },
    Network { name: "clock 3000 ppm fast", most_delay: 500, lost: 0, ppm: 3000 },
    Network { name: "clock 3000 ppm slow", most_delay: 500, lost: 0, ppm: -3000 },
    Network { name: "jitter to 40 ms", most_delay: 40_000, lost: 0, ppm: 0 },
    Network { name: "jitter to 80 ms", most_delay: 80_000, lost: 0, ppm: 0 },
    Network { name: "jitter to 40 ms, 2 % lost", most_delay: 40_000, lost: 20, ppm: 100 },
];

fn main() {
    let lab = Lab::new();
    let mut rows = String::new();
    println!("{:28}   ours  plain   PESQ, mean of {} pieces; our delay at the end", "speech at our pace", SPEECH.len());
    for network in &NETWORKS {
        let (mut sums, mut delay) = ([0.0; 2], Duration::ZERO);
        for piece in SPEECH {
            let Some(source) = lab::speech(&lab, piece) else { return };
            let packets = code(&lab::samples(&source));
            let arrivals = arrivals(packets.len(), network);
            let (ours, its_delay) = ours(&packets, &arrivals);
            delay = delay.max(its_delay);
            for (sum, sound) in sums.iter_mut().zip([ours, plain(&packets, &arrivals)]) {
                let Some(verdict) = lab::pesq(&source, &lab::recording(&lab, "paced", &sound)) else { return };
                *sum += verdict.pesq / SPEECH.len() as f64;
            }
        }
        let [ours, plain] = sums;
        println!("{:28} {ours:6.3} {plain:6.3}   {} ms", network.name, delay.as_millis());
        let row = json!({
            "name": format!("pace_{}", network.name.replace([' ', ',', '%'], "_")), "unit": "PESQ (MOS), more is better",
            "ours": ours, "rival": "plain buffer of 60 ms", "rival_value": plain, "ratio": ours / plain,
            "target": (plain - UNHEARD) / plain, "met": ours >= plain - UNHEARD, "delay_ms": delay.as_millis() as u64,
            "runs": SPEECH.len(),
        });
        rows += &format!("{row}\n");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("pace.jsonl"), rows).unwrap();
}

fn code(speech: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(Codec::Pcmu, 8000, &Opus::default()).unwrap();
    let mut payload = [0; FRAME];
    let frames = speech.chunks_exact(FRAME);
    frames.map(|frame| encoder.encode(frame, &mut payload).map(|octets| payload[..octets].to_vec()).unwrap()).collect()
}

/// When which packet comes, microseconds.
fn arrivals(packets: usize, network: &Network) -> Vec<(u64, usize)> {
    let mut random = Random::test(7);
    let mut arrivals: Vec<_> = (0..packets)
        .map(|number| {
            let sent = number as u64 * (TICK as i64 - TICK as i64 * network.ppm / 1_000_000) as u64;
            (sent + random.below(network.most_delay), number, random.below(1000) < network.lost)
        })
        .filter(|(_, _, lost)| !lost)
        .map(|(at, number, _)| (at, number))
        .collect();
    arrivals.sort_unstable();
    arrivals
}

fn ours(packets: &[Vec<u8>], arrivals: &[(u64, usize)]) -> (Vec<i16>, Duration) {
    let mut playout = PacedPlayout::new(Codec::Pcmu, 8000, Duration::from_millis(120)).unwrap();
    let mut delay = Duration::ZERO;
    let sound = play(packets.len(), arrivals, |now, came, sound| {
        for (at, number) in came {
            let (sequence, timestamp) = (*number as u16, (*number * FRAME) as u32);
            let header =
                Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 1, length: 12, padded: false };
            let heard =
                Heard { kind: Kind::Sound, header, payload: 0..FRAME, first: playout.delay(Instant::START).is_none() };
            playout.hear(&heard, &packets[*number], Instant::at(Duration::from_micros(*at)), &mut |_| {});
        }
        let now = Instant::at(Duration::from_micros(now));
        if !came.is_empty() {
            delay = playout.delay(now).unwrap_or_default();
        }
        playout.tick(now, sound, &mut |_| {});
    });
    (sound, delay)
}

fn plain(packets: &[Vec<u8>], arrivals: &[(u64, usize)]) -> Vec<i16> {
    let mut decoder = Decoder::new(Codec::Pcmu, 8000).unwrap();
    let (mut waiting, mut playing, mut next) = (VecDeque::new(), false, 0);
    play(packets.len(), arrivals, |_, came, sound| {
        waiting.extend(came.iter().map(|(_, number)| *number).filter(|number| *number >= next));
        waiting.make_contiguous().sort_unstable();
        while waiting.len() > PLAIN.1 {
            waiting.pop_front();
        }
        playing |= waiting.len() >= PLAIN.0;
        match if playing { waiting.pop_front() } else { None } {
            None => sound.fill(0),
            Some(number) => {
                next = number + 1;
                decoder.decode(&packets[number], sound).unwrap();
            }
        }
    })
}

/// All ticks, each with what came since the last one.
fn play(packets: usize, arrivals: &[(u64, usize)], mut tick: impl FnMut(u64, &[(u64, usize)], &mut [i16])) -> Vec<i16> {
    let (mut sound, mut rest) = (vec![0; (packets + packets / 200 + 10) * FRAME], arrivals);
    for (number, sound) in sound.chunks_mut(FRAME).enumerate() {
        let now = number as u64 * TICK + 7000;
        let (came, later) = rest.split_at(rest.partition_point(|(at, _)| *at <= now));
        tick(now, came, sound);
        rest = later;
    }
    sound
}
