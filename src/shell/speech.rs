//! Speech-like sound of our own making, in frames of 20 ms of G.711 that a listener knows again by
//! their octets: so that a frame's way through the box can be timed, and a missing one named.
//!
//! Pulses of the vocal cords through three formants, about four syllables to the second, pauses
//! between the words; under all of it a little noise, so that no two frames are alike.

use std::collections::HashMap;
use std::f64::consts::PI;
use std::time::Duration;

use crate::random::Random;
use crate::time::Instant;

/// Samples a second.
const RATE: f64 = 8000.0;
/// Samples, and octets, of a frame.
pub const FRAME: usize = 160;
/// A frame's length.
pub const PACE: Duration = Duration::from_millis(20);
/// A frame in which nobody speaks.
pub const SILENCE: Frame = [0xff; FRAME];

/// 20 ms of G.711 µ-law.
pub type Frame = [u8; FRAME];

/// Formants of five vowels in Hz, as in a textbook's table of an average voice.
const VOWELS: [[f64; 3]; 5] = [
    [730.0, 1090.0, 2440.0],
    [530.0, 1840.0, 2480.0],
    [270.0, 2290.0, 3010.0],
    [570.0, 840.0, 2410.0],
    [300.0, 870.0, 2240.0],
];
const BANDWIDTHS: [f64; 3] = [80.0, 100.0, 140.0];
/// Of the loudest sample, and of the noise, in units of 16-bit samples.
const PEAK: f64 = 14_000.0;
const NOISE: f64 = 60.0;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// About 115 Hz.
    Low,
    /// About 210 Hz.
    High,
}

impl Voice {
    fn pitch(self) -> f64 {
        match self {
            Voice::Low => 115.0,
            Voice::High => 210.0,
        }
    }
}

/// Something to say.
#[derive(Debug)]
pub struct Speech {
    frames: Vec<Frame>,
    known: HashMap<Frame, usize>,
}

impl Speech {
    /// This many frames, other ones at each draw.
    pub fn new(voice: Voice, frames: usize, random: &mut Random) -> Speech {
        let samples = samples(voice, frames * FRAME, random);
        let frames: Vec<Frame> =
            samples.chunks_exact(FRAME).map(|chunk| std::array::from_fn(|at| mu_law(chunk[at]))).collect();
        let known = frames.iter().enumerate().map(|(number, frame)| (*frame, number)).collect();
        Speech { frames, known }
    }

    /// How many frames it has.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// A frame by its number.
    pub fn frame(&self, number: usize) -> Option<&Frame> {
        self.frames.get(number)
    }

    /// The number of a frame that was heard.
    pub fn recognise(&self, payload: &[u8]) -> Option<usize> {
        self.known.get(<&Frame>::try_from(payload).ok()?).copied()
    }
}

/// When each frame of a speech passed a place; the first time counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times(Vec<Option<Instant>>);

impl Times {
    /// For a speech of this many frames, none of which has passed.
    pub fn new(frames: usize) -> Times {
        Times(vec![None; frames])
    }

    /// A frame passes.
    pub fn note(&mut self, number: usize, at: Instant) {
        if let Some(time) = self.0.get_mut(number) {
            time.get_or_insert(at);
        }
    }
}

/// How a speech came through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// Frames that were said.
    pub said: usize,
    /// Of these, frames that were heard and recognised.
    pub heard: usize,
    /// From mouth to ear: the median.
    pub delay: Duration,
    /// Interarrival jitter at the end (RFC 3550 section 6.4.1).
    pub jitter: Duration,
}

impl Passage {
    /// From when each frame was said and heard.
    pub fn measure(said: &Times, heard: &Times) -> Passage {
        let pairs = || said.0.iter().zip(&heard.0).filter_map(|(said, heard)| Some(((*said)?, (*heard)?)));
        let delays: Vec<Duration> = pairs().map(|(said, heard)| heard.since(said)).collect();
        Passage {
            said: said.0.iter().flatten().count(),
            heard: delays.len(),
            delay: median(delays.clone()),
            jitter: jitter(&delays),
        }
    }

    /// The share that did not come through, 0 to 1; all of it when nothing was said.
    pub fn lost(&self) -> f64 {
        if self.said == 0 { 1.0 } else { 1.0 - self.heard as f64 / self.said as f64 }
    }
}

fn median(mut delays: Vec<Duration>) -> Duration {
    delays.sort_unstable();
    delays.get(delays.len() / 2).copied().unwrap_or_default()
}

fn jitter(delays: &[Duration]) -> Duration {
    delays.windows(2).fold(Duration::ZERO, |jitter, pair| {
        let change = pair[0].abs_diff(pair[1]);
        if change > jitter { jitter + (change - jitter) / 16 } else { jitter - (jitter - change) / 16 }
    })
}

/// µ-law of a linear sample (ITU-T G.711): sign, position of the highest bit, the four bits after
/// it, all inverted.
fn mu_law(sample: i16) -> u8 {
    const BIAS: u16 = 0x84;
    const LOUDEST: u16 = 0x7fff - BIAS;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.unsigned_abs().min(LOUDEST) + BIAS;
    let segment = 8 - magnitude.leading_zeros() as u8;
    let step = (magnitude >> (segment + 3)) as u8 & 0x0f;
    !(sign | segment << 4 | step)
}

/// Linear speech.
fn samples(voice: Voice, count: usize, random: &mut Random) -> Vec<i16> {
    let mut tract = Tract::default();
    let mut sound = Vec::with_capacity(count);
    while sound.len() < count {
        syllable(voice, &mut tract, &mut sound, random);
    }
    let loudest = sound.iter().fold(1.0, |loudest: f64, sample| loudest.max(sample.abs()));
    let linear = |sample: &f64| (sample / loudest * PEAK + NOISE * uniform(random)) as i16;
    sound[..count].iter().map(linear).collect()
}

/// One syllable and the pause after it.
fn syllable(voice: Voice, tract: &mut Tract, sound: &mut Vec<f64>, random: &mut Random) {
    tract.shape(&VOWELS[random.below(VOWELS.len() as u64) as usize]);
    let length = RATE * (0.2 + 0.05 * uniform(random));
    let pitch = voice.pitch() * (1.0 + 0.15 * uniform(random));
    let mut phase = 0.0;
    for at in 0..length as usize {
        let through = at as f64 / length;
        phase += pitch * (1.1 - 0.2 * through) / RATE;
        let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
        phase -= pulse;
        let breath = 0.02 * uniform(random);
        sound.push(tract.pass((pulse + breath) * (PI * through).sin()));
    }
    let pause = if random.below(4) == 0 { 0.2 } else { 0.03 };
    sound.extend((0..(RATE * pause) as usize).map(|_| tract.pass(0.0)));
}

/// Between -1 and 1.
fn uniform(random: &mut Random) -> f64 {
    random.u64() as f64 / u64::MAX as f64 * 2.0 - 1.0
}

/// Three resonances in a row.
#[derive(Default)]
struct Tract([Resonance; 3]);

impl Tract {
    fn shape(&mut self, formants: &[f64; 3]) {
        for (resonance, (formant, bandwidth)) in self.0.iter_mut().zip(formants.iter().zip(BANDWIDTHS)) {
            resonance.tune(*formant, bandwidth);
        }
    }

    fn pass(&mut self, sample: f64) -> f64 {
        self.0.iter_mut().fold(sample, |sample, resonance| resonance.pass(sample))
    }
}

/// A two-pole filter with unity gain at 0 Hz.
#[derive(Default)]
struct Resonance {
    first: f64,
    second: f64,
    last: [f64; 2],
}

impl Resonance {
    fn tune(&mut self, formant: f64, bandwidth: f64) {
        let radius = (-PI * bandwidth / RATE).exp();
        self.first = 2.0 * radius * (2.0 * PI * formant / RATE).cos();
        self.second = -radius * radius;
    }

    fn pass(&mut self, sample: f64) -> f64 {
        let gain = 1.0 - self.first - self.second;
        let out = gain * sample + self.first * self.last[0] + self.second * self.last[1];
        self.last = [out, self.last[0]];
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// G.711 table 2a read backwards.
    fn linear(octet: u8) -> i32 {
        let octet = !octet;
        let magnitude = ((i32::from(octet & 0x0f) << 3 | 0x84) << (octet >> 4 & 7)) - 0x84;
        if octet & 0x80 == 0 { magnitude } else { -magnitude }
    }

    #[test]
    fn mu_law_is_that_of_the_recommendation() {
        for (sample, octet) in [(0, 0xff), (-8, 0x7e), (8, 0xfe), (32_767, 0x80), (i16::MIN, 0x00)] {
            assert_eq!(mu_law(sample), octet, "of {sample}");
        }
        for sample in i16::MIN..=i16::MAX {
            let octet = mu_law(sample);
            let half_a_step = 4 << (!octet >> 4 & 7);
            let error = linear(octet).abs_diff(i32::from(sample).clamp(-32_635, 32_635));
            assert!(error <= half_a_step, "{sample} is off by {error}");
        }
    }

    #[test]
    fn every_frame_is_recognised_and_nothing_else() {
        let mut random = Random::test(711);
        let [low, high] = [Voice::Low, Voice::High].map(|voice| Speech::new(voice, 250, &mut random));
        for number in 0..low.len() {
            assert_eq!(low.recognise(low.frame(number).unwrap()), Some(number));
            assert_eq!(low.recognise(high.frame(number).unwrap()), None, "another's voice");
        }
        let mut scratched = *low.frame(7).unwrap();
        scratched[80] ^= 1;
        assert_eq!(low.recognise(&scratched), None);
        assert_eq!(low.recognise(&SILENCE), None);
        assert_eq!(low.recognise(&low.frame(7).unwrap()[..80]), None, "half a frame");
    }

    /// Loud and quiet frames in turn, between a whisper and overload: what distinguishes speech from
    /// a tone, and what a codec or a level meter on the way reacts to.
    #[test]
    fn it_has_the_rhythm_of_speech() {
        let speech = Speech::new(Voice::Low, 250, &mut Random::test(711));
        let level = |frame: &Frame| {
            let power = frame.iter().map(|octet| f64::from(linear(*octet)).powi(2)).sum::<f64>() / FRAME as f64;
            power.sqrt()
        };
        let levels: Vec<f64> = speech.frames.iter().map(level).collect();
        let loud = levels.iter().filter(|level| **level > 500.0).count();
        let quiet = levels.iter().filter(|level| **level < 120.0).count();
        assert!(loud > 100 && quiet > 20, "{loud} loud and {quiet} quiet frames");
        let onsets = levels.windows(2).filter(|pair| pair[0] < 500.0 && pair[1] >= 500.0).count();
        assert!((10..=30).contains(&onsets), "{onsets} syllables in 5 s");
    }

    /// A line that delays frame n by `delay(n)` ms and loses it at `None`.
    fn pass(frames: usize, delay: impl Fn(usize) -> Option<u32>) -> Passage {
        let (mut said, mut heard) = (Times::new(frames), Times::new(frames));
        for number in 0..frames {
            let at = Instant::START + PACE * number as u32;
            said.note(number, at);
            if let Some(delay) = delay(number) {
                heard.note(number, at + MILLISECOND * delay);
                heard.note(number, at + MILLISECOND * (delay + 500));
            }
        }
        Passage::measure(&said, &heard)
    }

    #[test]
    fn delay_and_loss_are_measured_as_they_were() {
        let steady = pass(100, |_| Some(7));
        assert_eq!(steady, Passage { said: 100, heard: 100, delay: 7 * MILLISECOND, jitter: Duration::ZERO });
        assert_eq!(steady.lost(), 0.0);
        let lossy = pass(100, |number| (number % 10 != 3).then_some(40));
        assert_eq!((lossy.said, lossy.heard, lossy.delay), (100, 90, 40 * MILLISECOND));
        assert!((lossy.lost() - 0.1).abs() < 1e-9);
        let outlier = pass(100, |number| Some(if number == 50 { 900 } else { 5 }));
        assert_eq!(outlier.delay, 5 * MILLISECOND, "one late frame does not move the median");
        assert!(outlier.jitter > Duration::ZERO);
    }

    #[test]
    fn jitter_settles_where_the_change_from_frame_to_frame_is() {
        let swinging = pass(400, |number| Some(10 + 8 * (number as u32 % 2)));
        assert!(swinging.jitter.abs_diff(8 * MILLISECOND) < MILLISECOND / 100, "{:?}", swinging.jitter);
    }

    #[test]
    fn silence_is_not_a_good_call() {
        assert_eq!(Passage::measure(&Times::new(0), &Times::new(0)).lost(), 1.0);
        assert_eq!(pass(10, |_| None).lost(), 1.0);
    }
}
