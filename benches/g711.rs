//! G.711 in Gsample/s: every path that this machine has, and the crate audio-codec-algorithms in the same run.
//!
//! CPU time of this thread over packets of 160 samples, all contenders in turn, the median of the rounds. Keeps a JSON
//! line for each path and work.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::hint::black_box;
use std::time::Duration;

use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};
use demarc::media::codec::g711::Law;
use demarc::media::kernels::Kernels;
use nix::time::{ClockId, clock_gettime};

const PACKET: usize = 160;
const PACKETS: u32 = 20_000;
const ROUNDS: usize = 21;

/// What is measured: a name, the target in Gsample/s of AVX2 and of the portable path, ours, and the crate's.
struct Work {
    name: &'static str,
    targets: [f64; 2],
    ours: fn(Kernels, &mut Sound),
    rival: fn(&mut Sound),
}

/// Noise, in every form.
struct Sound {
    samples: [i16; PACKET],
    codes: [u8; PACKET],
}

const WORKS: [Work; 6] = [
    Work {
        name: "g711_mu_encode",
        targets: [8.0, 1.5],
        ours: |kernels, sound| kernels.encode(Law::Mu, &sound.samples, &mut sound.codes),
        rival: |sound| each(&sound.samples, &mut sound.codes, encode_ulaw),
    },
    Work {
        name: "g711_a_encode",
        targets: [8.0, 1.5],
        ours: |kernels, sound| kernels.encode(Law::A, &sound.samples, &mut sound.codes),
        rival: |sound| each(&sound.samples, &mut sound.codes, encode_alaw),
    },
    Work {
        name: "g711_mu_decode",
        targets: [8.0, 1.5],
        ours: |kernels, sound| kernels.decode(Law::Mu, &sound.codes, &mut sound.samples),
        rival: |sound| each(&sound.codes, &mut sound.samples, decode_ulaw),
    },
    Work {
        name: "g711_a_decode",
        targets: [8.0, 1.5],
        ours: |kernels, sound| kernels.decode(Law::A, &sound.codes, &mut sound.samples),
        rival: |sound| each(&sound.codes, &mut sound.samples, decode_alaw),
    },
    Work {
        name: "g711_mu_to_a",
        targets: [8.0, 1.5],
        ours: |kernels, sound| kernels.convert(Law::Mu, &mut sound.codes),
        rival: |sound| sound.codes.iter_mut().for_each(|code| *code = encode_alaw(decode_ulaw(*code))),
    },
    Work {
        name: "g711_a_to_mu",
        targets: [8.0, 1.5],
        ours: |kernels, sound| kernels.convert(Law::A, &mut sound.codes),
        rival: |sound| sound.codes.iter_mut().for_each(|code| *code = encode_ulaw(decode_alaw(*code))),
    },
];

fn each<From: Copy, To>(from: &[From], to: &mut [To], step: impl Fn(From) -> To) {
    from.iter().zip(to).for_each(|(from, to)| *to = step(*from));
}

fn noise() -> Sound {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    Sound { samples: std::array::from_fn(|_| next() as i16), codes: std::array::from_fn(|_| next() as u8) }
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a CPU clock").into()
}

/// Gsample/s.
fn speed(sound: &mut Sound, mut once: impl FnMut(&mut Sound)) -> f64 {
    let start = cpu();
    for _ in 0..PACKETS {
        once(black_box(sound));
    }
    PACKET as f64 * f64::from(PACKETS) / (cpu() - start).as_nanos() as f64
}

fn median(mut speeds: Vec<f64>) -> f64 {
    speeds.sort_by(f64::total_cmp);
    speeds[speeds.len() / 2]
}

fn main() {
    let paths = Kernels::all();
    let mut rows = String::new();
    println!("{:36} {}   audio-codec-algorithms 0.8", format!("Gsample/s, packets of {PACKET}"), names(&paths));
    for work in WORKS {
        let (mut ours, mut rival) = (vec![Vec::new(); paths.len()], Vec::new());
        for _ in 0..ROUNDS {
            for (path, speeds) in paths.iter().zip(&mut ours) {
                speeds.push(speed(&mut noise(), |sound| (work.ours)(*path, sound)));
            }
            rival.push(speed(&mut noise(), work.rival));
        }
        let rival = median(rival);
        print!("{:36}", work.name);
        for (path, speeds) in paths.iter().zip(ours) {
            let (speed, target) = (median(speeds), work.targets[usize::from(path.to_string() == "portable")]);
            print!(" {speed:8.1}");
            rows += &format!(
                "{{\"name\":\"{}_{path}\",\"unit\":\"Gsample/s\",\"ours\":{speed:.2},\
                 \"rival\":\"audio-codec-algorithms 0.8\",\"rival_value\":{rival:.2},\"ratio\":{:.2},\
                 \"target\":{target},\"met\":{},\"runs\":{ROUNDS}}}\n",
                work.name,
                speed / rival,
                speed >= target
            );
        }
        println!("   {rival:8.2}");
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    let kept = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("g711.jsonl"), rows));
    if let Err(fault) = kept {
        eprintln!("g711: the rows are not kept: {fault}");
    }
}

fn names(paths: &[Kernels]) -> String {
    paths.iter().map(|path| format!("{path:>8}")).collect::<Vec<_>>().join(" ")
}
