//! An echo path that is learned: a filter of partitioned blocks in the frequency domain.
//!
//! ```text
//! what the line hears ─▶ spectra of this block and those before ──┬─▶ steady path ─▶ echo, taken from what comes back
//!                                                                 └─▶ eager path ──▶ error, from which it learns
//! ```
//!
//! 1. The eager path is a Kalman filter: each bin of each partition knows in how much doubt it is, so that it learns as
//!    fast as noise lets it, and the few partitions that hold an echo first.
//! 2. Whoever talks at the near end misleads it all the same. What is cancelled comes from the steady path, which takes
//!    over the eager one once that has been better for a while.
//! 3. A path that changed leaves an error that resembles the echo no longer there; talk at the near end does not. Then both
//!    begin anew. While no echo was ever found, the eager path is put in doubt again from time to time.
//! 4. It learns twice a block, from windows half a block apart: speech is learned in half of the time.
//! 5. A tone says nothing about other frequencies: nothing is learned from it.

#![allow(clippy::needless_range_loop, reason = "lanes that are counted become vectors")]

use std::array;

use super::transform::{BLOCK, Bins, LANES, Spectrum, WINDOW};
use crate::media::codec::prediction::{correlation, reflections, unforeseen};
use crate::media::kernels::{Kernels, kernels};

/// The doubt of a path of which nothing is known: of the order of the loudest hybrid's echo.
const UNKNOWN: f32 = 0.1;
/// What a path drifts by in a block: a share of itself, and a little everywhere.
const DRIFT: (f32, f32) = (1e-3, 1e-6);
/// Half of an error's window is empty, and windows overlap: the share of the doubt that is in it, and the share of a window's
/// teaching that is new. Found by trial.
const SHARE: (f32, f32) = (0.8, 0.35);
/// How much of the error's power of earlier blocks counts as noise.
const MEMORY: f32 = 0.9;
/// The power of each bin's noise at least: G.711's own.
const QUIETEST: f32 = 400.0;
/// The eager path takes over when its error is this share of the steady one's for so many blocks.
const BETTER: (f32, u32) = (0.85, 3);
/// A path was found when it leaves this share of what comes back.
const FOUND: f32 = 0.2;
/// The mean square below which there is nothing to be learned: -57 dBm0.
const SILENT: f32 = 1000.0;
/// Blocks after which a path that finds no echo is put in doubt again.
const PATIENCE: u32 = 200;

/// A path: a spectrum for each block of the tail, the nearest first.
type Path = Vec<Spectrum>;
/// By so much the windows overlap from which is learned: half a block.
const HALF: usize = BLOCK / 2;

/// The filter of one line.
#[derive(Clone, Debug)]
pub struct Filter {
    kernels: Kernels,
    /// What the line heard, up to now.
    out: [f32; WINDOW + HALF],
    /// What came back, up to now.
    back: [f32; BLOCK + HALF],
    /// Windows that end now, and half a block earlier.
    heard: Ring,
    earlier: Ring,
    tone: Tone,
    steady: Path,
    eager: Eager,
    watch: Watch,
}

impl Filter {
    /// Knows nothing; for a tail of so many blocks. Allocates all that blocks will need.
    pub fn new(kernels: Kernels, blocks: usize) -> Filter {
        // The first transform makes its tables: not on the way of a block.
        let none = vec![Spectrum::of(kernels, &[0.0; WINDOW]); blocks.max(1)];
        let ring = Ring { spectra: none.clone(), newest: 0 };
        Filter {
            kernels,
            out: [0.0; WINDOW + HALF],
            back: [0.0; BLOCK + HALF],
            heard: ring.clone(),
            earlier: ring,
            tone: Tone::default(),
            steady: none.clone(),
            eager: Eager { doubt: vec![Bins([UNKNOWN; LANES]); none.len()], path: none, noise: Bins::ZERO },
            watch: Watch::default(),
        }
    }

    /// What the line hears now.
    pub fn hear(&mut self, out: &[f32; BLOCK]) {
        self.out.copy_within(BLOCK.., 0);
        self.out[WINDOW + HALF - BLOCK..].copy_from_slice(out);
        let window = |from: usize| array::from_fn(|at| self.out[from + at]);
        self.earlier.push(Spectrum::of(self.kernels, &window(0)));
        self.heard.push(Spectrum::of(self.kernels, &window(HALF)));
        self.tone.hear(&window(HALF));
    }

    /// The echo in what comes back while [`Filter::hear`]'s last block goes out.
    pub fn echo(&mut self, back: &[f32; BLOCK]) -> [f32; BLOCK] {
        self.back.copy_within(BLOCK.., 0);
        self.back[HALF..].copy_from_slice(back);
        let echo = self.heard.echo(self.kernels, &self.steady);
        if !self.tone.sounds() {
            let earlier = array::from_fn(|at| self.back[at]);
            self.eager.learn(self.kernels, &self.earlier, &earlier);
            let error = self.eager.learn(self.kernels, &self.heard, back);
            let out = array::from_fn(|at| self.out[WINDOW + HALF - BLOCK + at]);
            let verdict = self.watch.judge(&out, back, &echo, &error);
            self.obey(verdict);
        } else if !self.watch.found {
            // Before it was known for a tone, it was learned from.
            self.obey(Verdict::BeginAnew);
        }
        echo
    }

    fn obey(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Keep => {}
            Verdict::TakeOver => self.steady.copy_from_slice(&self.eager.path),
            Verdict::Doubt => self.eager.doubt(),
            Verdict::BeginAnew => {
                self.steady.fill(Spectrum::ZERO);
                self.eager.path.fill(Spectrum::ZERO);
                self.eager.doubt();
            }
        }
    }
}

/// What the line heard: a spectrum for each block of the tail.
#[derive(Clone, Debug)]
struct Ring {
    spectra: Vec<Spectrum>,
    newest: usize,
}

impl Ring {
    fn push(&mut self, spectrum: Spectrum) {
        self.newest = self.newest.checked_sub(1).unwrap_or(self.spectra.len() - 1);
        self.spectra[self.newest] = spectrum;
    }

    /// The newest and those before, and the rest, which is older.
    fn parts(&self) -> (&[Spectrum], &[Spectrum]) {
        let (older, newer) = self.spectra.split_at(self.newest);
        (newer, older)
    }

    /// Its echo on a path.
    fn echo(&self, kernels: Kernels, path: &[Spectrum]) -> [f32; BLOCK] {
        let (newer, older) = self.parts();
        let mut sum = Spectrum::ZERO;
        kernels.add_echo(newer, path, &mut sum);
        kernels.add_echo(older, &path[newer.len()..], &mut sum);
        let window = sum.window(kernels);
        array::from_fn(|at| window[BLOCK + at])
    }
}

/// The path that learns.
#[derive(Clone, Debug)]
struct Eager {
    path: Path,
    doubt: Vec<Bins>,
    /// Of its error.
    noise: Bins,
}

impl Eager {
    /// The step of Kalman's filter, then each partition is made to fit a block again; the error before.
    fn learn(&mut self, kernels: Kernels, heard: &Ring, back: &[f32; BLOCK]) -> [f32; BLOCK] {
        let echo = heard.echo(kernels, &self.path);
        let error = array::from_fn(|at| back[at] - echo[at]);
        let mut window = [0.0; WINDOW];
        window[BLOCK..].copy_from_slice(&error);
        let mut weighed = Spectrum::of(kernels, &window);
        let (newer, older) = heard.parts();
        let (newer_doubt, older_doubt) = self.doubt.split_at_mut(newer.len());
        let (newer_path, older_path) = self.path.split_at_mut(newer.len());
        let (mut variance, mut rate) = (Bins::ZERO, Bins::ZERO);
        kernels.add_doubt(newer, newer_doubt, &mut variance);
        kernels.add_doubt(older, older_doubt, &mut variance);
        kernels.weigh(&variance, &mut self.noise, &mut rate, &mut weighed);
        kernels.learn(newer, &weighed, &rate, newer_doubt, newer_path);
        kernels.learn(older, &weighed, &rate, older_doubt, older_path);
        for spectrum in &mut self.path {
            let mut window = spectrum.window(kernels);
            window[BLOCK..].fill(0.0);
            *spectrum = Spectrum::of(kernels, &window);
        }
        error
    }

    /// What it knows may be wrong.
    fn doubt(&mut self) {
        self.doubt.iter_mut().for_each(|bins| bins.0.iter_mut().for_each(|doubt| *doubt = doubt.max(UNKNOWN)));
    }
}

/// Is what the line hears a tone, or a pair of them?
#[derive(Clone, Copy, Debug, Default)]
struct Tone {
    power: f32,
    /// Blocks for which it has been one.
    blocks: u32,
}

impl Tone {
    /// A predictor foresees all but this share.
    const UNFORESEEN: f32 = 0.03;
    /// It is as loud as 5 ms before, within 0.5 dB.
    const ALIKE: f32 = 1.12;
    /// A vowel may be like that for some blocks.
    const ENOUGH: u32 = 8;

    fn hear(&mut self, window: &[f32; WINDOW]) {
        let correlation = correlation::<5>(window.iter().copied());
        let before = std::mem::replace(&mut self.power, correlation[0]);
        let alike = self.power < Tone::ALIKE * before && before < Tone::ALIKE * self.power;
        let tone = alike && unforeseen(&reflections(&correlation)) < Tone::UNFORESEEN;
        self.blocks = if tone { self.blocks + 1 } else { 0 };
    }

    fn sounds(&self) -> bool {
        self.blocks >= Tone::ENOUGH
    }
}

/// What becomes of the paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    /// The eager path is better.
    TakeOver,
    /// The eager path may have missed something.
    Doubt,
    /// The path has changed.
    BeginAnew,
}

/// Mean powers, by which paths are judged.
#[derive(Clone, Debug, Default)]
struct Watch {
    out: Mean,
    back: Mean,
    /// What the steady path leaves.
    left: Mean,
    /// What the eager path leaves.
    error: Mean,
    echo: Mean,
    /// What the steady path leaves, times the echo.
    likeness: f32,
    /// Blocks for which the eager path has been better.
    better: u32,
    /// Blocks since the last doubt.
    rest: u32,
    found: bool,
}

impl Watch {
    fn judge(&mut self, out: &[f32; BLOCK], back: &[f32; BLOCK], echo: &[f32; BLOCK], error: &[f32; BLOCK]) -> Verdict {
        let left: [f32; BLOCK] = array::from_fn(|at| back[at] - echo[at]);
        self.out.hear(out);
        self.back.hear(back);
        self.left.hear(&left);
        self.error.hear(error);
        self.echo.hear(echo);
        self.likeness.approach(product(&left, echo), Mean::SLOW);
        self.rest += 1;
        self.found |= self.left.long < FOUND * self.back.long && self.back.long > SILENT;
        let better = self.error.now < BETTER.0 * self.left.now && self.error.now < self.back.now;
        self.better = if better { self.better + 1 } else { 0 };
        if self.found && self.has_changed() {
            *self = Watch { out: self.out, back: self.back, ..Watch::default() };
            Verdict::BeginAnew
        } else if self.better >= BETTER.1 {
            self.better = 0;
            self.left.now = self.error.now;
            Verdict::TakeOver
        } else if !self.found && self.rest > PATIENCE && self.finds_nothing() {
            self.rest = 0;
            Verdict::Doubt
        } else {
            Verdict::Keep
        }
    }

    /// Most of what came back is left, and resembles the echo turned upside down.
    fn has_changed(&self) -> bool {
        let alike = self.likeness < 0.0 && self.likeness.powi(2) > 0.25 * self.left.long * self.echo.long;
        alike && self.left.long > 0.6 * self.back.long
    }

    /// Something comes back that may be an echo.
    fn finds_nothing(&self) -> bool {
        let sounds = self.back.now > SILENT && self.out.long > self.back.long;
        sounds && self.echo.long < 0.01 * self.back.long && self.error.now > 0.5 * self.back.now
    }
}

/// Mean squares.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    /// Over 20 ms.
    now: f32,
    /// Over 250 ms.
    long: f32,
}

impl Mean {
    const FAST: f32 = 0.25;
    const SLOW: f32 = 0.02;

    fn hear(&mut self, block: &[f32; BLOCK]) {
        let power = product(block, block);
        self.now.approach(power, Mean::FAST);
        self.long.approach(self.now, Mean::SLOW);
    }
}

trait Approach {
    fn approach(&mut self, value: f32, part: f32);
}

impl Approach for f32 {
    fn approach(&mut self, value: f32, part: f32) {
        *self += (value - *self) * part;
    }
}

/// The mean of two blocks' product.
fn product(a: &[f32; BLOCK], b: &[f32; BLOCK]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() / BLOCK as f32
}

kernels! {
    /// The echo of what was heard on a path, added to a sum.
    add_echo(heard: &[Spectrum], path: &[Spectrum], sum: &mut Spectrum) {
        let (mut re, mut im) = (sum.re.0, sum.im.0);
        for (x, w) in heard.iter().zip(path) {
            for lane in 0..LANES {
                re[lane] += x.re.0[lane] * w.re.0[lane] - x.im.0[lane] * w.im.0[lane];
            }
            for lane in 0..LANES {
                im[lane] += x.re.0[lane] * w.im.0[lane] + x.im.0[lane] * w.re.0[lane];
            }
        }
        (sum.re.0, sum.im.0) = (re, im);
    }
    /// How strong an error a path in doubt leaves, added to a sum.
    add_doubt(heard: &[Spectrum], doubt: &[Bins], sum: &mut Bins) {
        let mut total = sum.0;
        for (x, doubt) in heard.iter().zip(doubt) {
            for lane in 0..LANES {
                total[lane] += (x.re.0[lane] * x.re.0[lane] + x.im.0[lane] * x.im.0[lane]) * doubt.0[lane];
            }
        }
        sum.0 = total;
    }
    /// Takes an error into the noise, and divides it by all of its variance: the less is certain, the less is learned. An
    /// error that is louder than the noise so far is noise at once, for so begins talk at the near end.
    weigh(variance: &Bins, noise: &mut Bins, rate: &mut Bins, error: &mut Spectrum) {
        for lane in 0..LANES {
            let power = error.re.0[lane] * error.re.0[lane] + error.im.0[lane] * error.im.0[lane];
            noise.0[lane] = MEMORY * noise.0[lane] + (1.0 - MEMORY) * power;
            rate.0[lane] = 1.0 / (SHARE.0 * variance.0[lane] + noise.0[lane].max(power) + QUIETEST);
            error.re.0[lane] *= rate.0[lane];
            error.im.0[lane] *= rate.0[lane];
        }
    }
    /// Corrects a path by a weighed error, and its doubt with it.
    learn(heard: &[Spectrum], error: &Spectrum, rate: &Bins, doubt: &mut [Bins], path: &mut [Spectrum]) {
        for ((x, doubt), w) in heard.iter().zip(doubt).zip(path) {
            for lane in 0..LANES {
                let (x_re, x_im, e_re, e_im) = (x.re.0[lane], x.im.0[lane], error.re.0[lane], error.im.0[lane]);
                let before = doubt.0[lane];
                let re = w.re.0[lane] + before * (x_re * e_re + x_im * e_im);
                let im = w.im.0[lane] + before * (x_re * e_im - x_im * e_re);
                let learned = SHARE.1 * before * (x_re * x_re + x_im * x_im) * rate.0[lane];
                doubt.0[lane] = before - before * learned + DRIFT.0 * (re * re + im * im) + DRIFT.1;
                w.re.0[lane] = re;
                w.im.0[lane] = im;
            }
        }
    }
}
