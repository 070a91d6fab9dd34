//! The echo canceller on the paths of ITU-T G.168: how much of the echo is taken within a second and after talk at the
//! near end, and how many lines a core carries; beside a plain NLMS filter, spandsp's canceller and Speex's (echo.c).
//!
//! µ-law both ways, the composite source signal at -20 dBm0 (spandsp's integers overflow at -10), an echo return loss of 6 dB, echoes 50 ms late, tails of 128 ms,
//! no non-linear processors. CPU time, the median of the paths; spandsp's is not told, for Debian's library writes lines about every
//! sample. Keeps a JSON line for each figure.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panic and prints its table")]

use std::fs;
use std::hint::black_box;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};

use demarc::media::codec::g711::{self, Law};
use demarc::media::echo::{BLOCK, Canceller, Tail};
use demarc::media::kernels::Kernels;
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

#[path = "../src/media/echo/g168.rs"]
#[allow(dead_code, reason = "tests take the rest")]
mod g168;
#[path = "../tests/lab/mod.rs"]
mod lab;

const SECOND: usize = 8000;
/// The period of the signal.
const PERIOD: usize = 2800;
/// When the near end talks.
const TALK: Range<usize> = 2 * SECOND..3 * SECOND;
const LENGTH: usize = 4 * SECOND;
const SPANDSP: &str = "spandsp";
/// How loud both ends are, dBm0.
const FAR: f32 = -20.0;
const NEAR: f32 = -23.0;
const TAPS: usize = 1024;
const LATE: usize = 400;
/// Lines a core carries at least, and dB within a second.
const TARGETS: (f64, f32) = (200.0, 30.0);

/// A call: what the line hears, the echo of it, what comes back.
struct Call {
    out: Vec<i16>,
    echo: Vec<i16>,
    back: Vec<i16>,
}

/// What became of calls: dB taken after a second and after talk, ns a sample.
#[derive(Clone, Debug, Default)]
struct Figures {
    taken: Vec<f32>,
    after_talk: Vec<f32>,
    cost: Vec<f64>,
}

impl Figures {
    fn add(&mut self, call: &Call, left: &[i16], ns: f64) {
        let taken = |part: Range<usize>| level(&call.echo[part.clone()]) - level(&left[part]);
        self.taken.push(taken(SECOND..SECOND + PERIOD));
        self.after_talk.push(taken(TALK.end + 400..TALK.end + 400 + PERIOD));
        self.cost.push(ns / LENGTH as f64);
    }

    /// How many lines a core carries.
    fn lines(&self) -> f64 {
        let mut costs = self.cost.clone();
        costs.sort_by(f64::total_cmp);
        1e9 / (costs[costs.len() / 2] * 8000.0)
    }
}

fn worst(figures: &[f32]) -> f32 {
    figures.iter().copied().fold(f32::MAX, f32::min)
}

fn mean(figures: &[f32]) -> f32 {
    figures.iter().sum::<f32>() / figures.len() as f32
}

fn level(sound: &[i16]) -> f32 {
    g168::level(&sound.iter().map(|sample| f32::from(*sample)).collect::<Vec<_>>())
}

fn coded(sound: &[f32]) -> Vec<i16> {
    let samples: Vec<i16> = sound.iter().map(|sample| *sample as i16).collect();
    let (mut codes, mut heard) = (vec![0; samples.len()], vec![0; samples.len()]);
    g711::encode(Law::Mu, &samples, &mut codes);
    g711::decode(Law::Mu, &codes, &mut heard);
    heard
}

fn call(path: usize) -> Call {
    let out = coded(&g168::composite(LENGTH, FAR, 1.0, 3));
    let heard: Vec<f32> = out.iter().map(|sample| f32::from(*sample)).collect();
    let echo = g168::echo(&heard, &g168::path(path, 6.0, LATE));
    let mut back = echo.clone();
    let near = g168::composite(LENGTH, NEAR, 0.75, 7);
    back[TALK].iter_mut().zip(&near[900..]).for_each(|(back, near)| *back += near);
    Call { echo: coded(&echo), back: coded(&back), out }
}

fn cpu() -> f64 {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    now.tv_sec() as f64 * 1e9 + now.tv_nsec() as f64
}

fn ours(kernels: Kernels, tail: Tail, calls: &[Call]) -> Figures {
    let mut figures = Figures::default();
    for call in calls {
        let mut canceller = Canceller::with(kernels, tail).linear();
        let mut left = call.back.clone();
        let start = cpu();
        for (out, back) in call.out.chunks_exact(BLOCK).zip(left.chunks_exact_mut(BLOCK)) {
            canceller.cancel(out.try_into().unwrap(), back.try_into().unwrap());
        }
        figures.add(call, &left, cpu() - start);
    }
    figures
}

/// The normalized least mean squares filter as one writes it, in the sums that a compiler makes vectors of; nothing keeps
/// it from what the near end says.
fn nlms(calls: &[Call]) -> Figures {
    let mut figures = Figures::default();
    for call in calls {
        let mut heard = vec![0.0f32; TAPS];
        heard.extend(call.out.iter().map(|sample| f32::from(*sample)));
        let (mut taps, mut left, mut energy) = (vec![0.0f32; TAPS], vec![0; LENGTH], 0.0f64);
        let start = cpu();
        for at in 0..LENGTH {
            let (gone, window) = (heard[at], &heard[at + 1..at + 1 + TAPS]);
            energy += f64::from(window[TAPS - 1]).powi(2) - f64::from(gone).powi(2);
            let mut sums = [0.0f32; 64];
            for (x, w) in window.chunks_exact(64).zip(taps.chunks_exact(64)) {
                sums.iter_mut().zip(x.iter().zip(w)).for_each(|(sum, (x, w))| *sum += x * w);
            }
            let error = f32::from(call.back[at]) - sums.iter().sum::<f32>();
            let step = error / (energy as f32 + 1e6);
            taps.iter_mut().zip(window).for_each(|(tap, x)| *tap += step * x);
            left[at] = error as i16;
        }
        figures.add(call, black_box(&left), cpu() - start);
    }
    figures
}

/// The libraries behind echo.c.
fn library(lab: &lab::Lab, program: &Path, name: &str, calls: &[Call]) -> Figures {
    let (line, left) = (lab.path("line.raw"), lab.path("left.raw"));
    let mut figures = Figures::default();
    for call in calls {
        let pairs = call.out.iter().zip(&call.back).flat_map(|(out, back)| [out.to_le_bytes(), back.to_le_bytes()]);
        fs::write(&line, pairs.flatten().collect::<Vec<_>>()).unwrap();
        let mut work = Command::new(program);
        let done = work.args([name, &TAPS.to_string()]).args([&line, &left]).stdout(Stdio::null()).output().unwrap();
        let ns: f64 = String::from_utf8_lossy(&done.stderr).trim().parse().unwrap();
        let samples = fs::read(&left).unwrap();
        let samples: Vec<i16> =
            samples.chunks_exact(2).map(|octets| i16::from_le_bytes([octets[0], octets[1]])).collect();
        figures.add(call, &samples, ns);
    }
    figures
}

fn built(lab: &lab::Lab) -> Option<std::path::PathBuf> {
    let (source, program) = (concat!(env!("CARGO_MANIFEST_DIR"), "/benches/echo.c"), lab.path("echo"));
    let arguments = ["-O2", source, "-lspandsp", "-lspeexdsp", "-lm", "-o"];
    let built = Command::new("cc").args(arguments).arg(&program).output();
    let there = built.is_ok_and(|built| built.status.success());
    if !there {
        lab::missing("no spandsp and Speex to compare with (apt-get install gcc libspandsp-dev libspeexdsp-dev)");
    }
    there.then_some(program)
}

fn print(name: &str, figures: &Figures) {
    let [taken, after] = [&figures.taken, &figures.after_talk].map(|taken| (worst(taken), mean(taken)));
    let lines = if name == SPANDSP { "-".to_owned() } else { format!("{:.0}", figures.lines()) };
    println!("{name:<22}{:>8.1}{:>8.1}{:>12.1}{:>8.1}{lines:>12}", taken.0, taken.1, after.0, after.1);
}

fn row(name: &str, unit: &str, ours: f64, rival: (&str, f64), target: Option<f64>) -> Value {
    json!({
        "name": name, "unit": unit, "ours": ours, "rival": rival.0, "rival_value": rival.1, "ratio": ours / rival.1,
        "target": target, "met": target.is_none_or(|target| ours >= target), "runs": g168::PATHS.len(),
    })
}

fn main() {
    let lab = lab::Lab::new();
    let calls: Vec<Call> = (0..g168::PATHS.len()).map(call).collect();
    println!("{:<22}{:>16}{:>20}", "", "dB after 1 s", "dB after talk");
    println!("{:<22}{:>8}{:>8}{:>12}{:>8}{:>12}", "128 ms", "worst", "mean", "worst", "mean", "lines/core");
    let all: Vec<_> = Kernels::all().into_iter().map(|kernels| (kernels, ours(kernels, Tail::Ms128, &calls))).collect();
    all.iter().for_each(|(kernels, figures)| print(&format!("ours, {kernels}"), figures));
    let ((_, scalar), (best, figures)) = (&all[0], &all[all.len() - 1]);
    print("ours, 64 ms", &ours(*best, Tail::Ms64, &calls));
    let lines = figures.lines();
    let mut rows = vec![
        row("echo_lines", "lines of 128 ms a core", lines, ("portable", scalar.lines()), Some(TARGETS.0)),
        row(
            "echo_worst",
            "dB within 1 s",
            worst(&figures.taken).into(),
            ("target", TARGETS.1.into()),
            Some(TARGETS.1.into()),
        ),
    ];
    let mut rivals = vec![("nlms", nlms(&calls))];
    if let Some(program) = built(&lab) {
        rivals.extend([SPANDSP, "speex"].map(|name| (name, library(&lab, &program, name, &calls))));
    }
    for (name, rival) in &rivals {
        print(name, rival);
        if *name != SPANDSP {
            rows.push(row(&format!("echo_lines_{name}"), "lines of 128 ms a core", lines, (name, rival.lines()), None));
        }
        let (ours, theirs) = (mean(&figures.taken).into(), mean(&rival.taken).into());
        rows.push(row(&format!("echo_taken_{name}"), "dB within 1 s, mean", ours, (name, theirs), None));
    }
    println!("SIMD beside portable: {:.1} times as many lines", lines / scalar.lines());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("echo.jsonl"), rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
}
