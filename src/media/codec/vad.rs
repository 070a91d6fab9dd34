//! Voice activity detection by energy: is somebody speaking, or is this the noise of a pause?
//!
//! Sound is measured in blocks of 10 ms, as it is and as its first difference (where hissing consonants stand out of
//! low noise). Each measure has a noise floor of its own and is sound when it leaves that floor by a margin which
//! follows the noise's own unrest. A floor falls and wanders with the noise; it rises to a louder noise once nothing
//! quieter was heard for as long as nobody speaks without a gap. Tones never raise it: ringing, busy and music are
//! sound, however long they last.
//!
//! A frame is sound when one block in it is: no more of a talker's first word is lost than a block. After the last
//! block of sound a hangover keeps the ends of words.

use super::comfort_noise::level;
use super::prediction::{correlation, reflections, unforeseen};

/// Blocks in a second.
const BLOCKS: u32 = 100;
/// Blocks that still count as sound after the last one that was.
const HANGOVER: u32 = 20;
/// Blocks in half of the time in which every talker makes a gap.
const HALF_GAP: u32 = 75;
/// Blocks in the gap's time without a tone that it takes to know noise: voiced speech has few, a tone's edges fewer.
const TONELESS: u32 = 15;
/// dBov below which there is nothing worth sending; also of both laws' idle noise.
const QUIET: f32 = -66.0;
/// dB above the floor at which sound begins, at least and at most.
const MARGIN: (f32, f32) = (6.0, 12.0);
/// dB between the lowest block of noise and its mean, at most: beyond is quiet speech.
const SPAN: f32 = 5.0;
/// Sound is a tone when a predictor of four steps takes this many dB from its energy.
const TONE: f32 = 8.0;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Somebody speaks, or something sounds.
    Sound,
    /// Noise, but sound was shortly before.
    Tail,
    /// Noise.
    Noise,
}

/// The detector of one direction.
#[derive(Clone, Debug)]
pub struct Vad {
    /// Samples.
    block: usize,
    plain: Floor,
    sharp: Floor,
    last: i16,
    /// Blocks of hangover left.
    hangover: u32,
}

impl Vad {
    /// Takes everything but silence for sound until it knows the noise; `rate` in Hz.
    pub fn new(rate: u32) -> Vad {
        let block = (rate / BLOCKS).max(1) as usize;
        Vad { block, plain: Floor::new(), sharp: Floor::new(), last: 0, hangover: 0 }
    }

    /// Is it to be sent as sound?
    pub fn is_speech(&mut self, sound: &[i16]) -> bool {
        self.hear(sound) != Activity::Noise
    }

    /// What this frame, 10 to 60 ms long, is.
    pub fn hear(&mut self, sound: &[i16]) -> Activity {
        let tone = is_tone(sound);
        let (mut found, before) = (false, self.hangover);
        for block in sound.chunks_exact(self.block) {
            let (plain, sharp) = self.measure(block);
            let above = [self.plain.hear(plain, tone), self.sharp.hear(sharp, tone)];
            if plain > QUIET && above.contains(&true) {
                (found, self.hangover) = (true, HANGOVER);
            } else {
                self.hangover = self.hangover.saturating_sub(1);
            }
        }
        match (found, before) {
            (true, _) => Activity::Sound,
            (false, 0) => Activity::Noise,
            (false, _) => Activity::Tail,
        }
    }

    /// Levels of a block and of its first difference, dBov.
    fn measure(&mut self, block: &[i16]) -> (f32, f32) {
        let (mut plain, mut sharp) = (0.0, 0.0);
        for sample in block {
            plain += f32::from(*sample).powi(2);
            sharp += (f32::from(*sample) - f32::from(self.last)).powi(2);
            self.last = *sample;
        }
        let count = block.len() as f32;
        (level(plain / count), level(sharp / count))
    }
}

/// The noise in one measure, dBov.
#[derive(Clone, Debug)]
struct Floor {
    level: f32,
    /// Mean distance of noise from `level`, dB.
    unrest: f32,
    /// This half of the gap's time, and the half before.
    halves: [Half; 2],
    blocks: u32,
}

/// What was no tone in a half of the time in which every talker makes a gap.
#[derive(Clone, Copy, Debug)]
struct Half {
    lowest: f32,
    blocks: u32,
}

impl Half {
    const EMPTY: Half = Half { lowest: f32::MAX, blocks: 0 };
}

impl Floor {
    fn new() -> Floor {
        Floor { level: QUIET - MARGIN.0, unrest: 1.0, halves: [Half::EMPTY; 2], blocks: 0 }
    }

    /// Is the block above the floor?
    fn hear(&mut self, block: f32, tone: bool) -> bool {
        let above = block > self.level + (4.0 * self.unrest).clamp(MARGIN.0, MARGIN.1);
        let distance = block - self.level;
        // What is further up is not sound yet, but may be the edge of it.
        if distance < MARGIN.0 {
            let speed = if distance < 0.0 { 8.0 } else { 32.0 };
            self.level = (self.level + distance / speed).max(QUIET - MARGIN.0);
            self.unrest += (distance.abs().min(MARGIN.0) - self.unrest) / 32.0;
        }
        let [half, half_before] = &mut self.halves;
        if !tone {
            *half = Half { lowest: half.lowest.min(block), blocks: half.blocks + 1 };
        }
        self.blocks += 1;
        if self.blocks == HALF_GAP {
            if half.blocks + half_before.blocks >= TONELESS {
                let lowest = half.lowest.min(half_before.lowest);
                self.level = self.level.clamp(lowest, lowest + SPAN);
            }
            (self.blocks, self.halves) = (0, [Half::EMPTY, *half]);
        }
        above
    }
}

/// Does a short predictor foresee the sound? It is heard as its first difference, so that low noise, of which there is
/// much, is not mistaken for a tone.
fn is_tone(sound: &[i16]) -> bool {
    let difference = sound.windows(2).map(|pair| f32::from(pair[1]) - f32::from(pair[0]));
    let left = unforeseen(&reflections::<5>(&correlation(difference)));
    -10.0 * left.log10() > TONE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::comfort_noise::Generator;

    const FRAME: usize = 160;

    /// Noise of a level in -dBov and a first coefficient.
    fn noise(seconds: usize, level: u8, colour: u8) -> Vec<i16> {
        let mut generator = Generator::new(8000);
        generator.hear(&[level, colour]);
        let mut sound = vec![0; seconds * 8000];
        generator.fill(&mut sound);
        sound
    }

    /// Something like speech: words of voiced syllables (a glottal pulse through two resonances that wander) with a hiss
    /// here and there; words and the gaps between them last so many twentieths of a second. And which samples are words.
    fn speech(seconds: usize, word: usize, gap: usize) -> (Vec<i16>, Vec<bool>) {
        let (mut sound, mut spoken) = (Vec::new(), Vec::new());
        let mut hiss = noise(1, 32, 220).into_iter().cycle();
        let (mut first, mut second) = ([0.0f32; 2], [0.0f32; 2]);
        let mut pulse = 0;
        for at in 0..seconds * 8000 {
            let time = at as f32 / 8000.0;
            let in_word = (at / 400) % (word + gap) < word;
            let syllable = (at / 400) % 4;
            let loud = if in_word { [0.3, 1.0, 0.6, 0.2][syllable] } else { 0.0 };
            pulse += 1;
            let period = 60 + (10.0 * (time * 2.0).sin()) as i32;
            let source = if pulse >= period { 1.0 } else { 0.0 };
            if pulse >= period {
                pulse = 0;
            }
            let resonate = |state: &mut [f32; 2], input: f32, hertz: f32| {
                let turn = std::f32::consts::TAU * hertz / 8000.0;
                let next = input + 2.0 * 0.97 * turn.cos() * state[0] - 0.94 * state[1];
                *state = [next, state[0]];
                next
            };
            let low = resonate(&mut first, source, 500.0 + 200.0 * (time * 7.0).sin());
            let high = resonate(&mut second, source, 1600.0 + 500.0 * (time * 5.0).sin());
            let hissing = if in_word && (at / 400) % (word + gap) == 4 { f32::from(hiss.next().unwrap()) } else { 0.0 };
            sound.push((loud * (low + 0.5 * high) * 3000.0 + hissing) as i16);
            spoken.push(in_word);
        }
        (sound, spoken)
    }

    fn mixed(a: &[i16], b: &[i16]) -> Vec<i16> {
        a.iter().zip(b).map(|(a, b)| a.saturating_add(*b)).collect()
    }

    fn tone(seconds: usize, hertz: [f32; 2], level: f32) -> Vec<i16> {
        let amplitude = 32_124.0 * 10f32.powf(level / 20.0);
        let wave = |at: usize, hertz: f32| (std::f32::consts::TAU * hertz * at as f32 / 8000.0).sin();
        (0..seconds * 8000).map(|at| (amplitude * (wave(at, hertz[0]) + wave(at, hertz[1])) / 2.0) as i16).collect()
    }

    fn heard(vad: &mut Vad, sound: &[i16]) -> Vec<Activity> {
        sound.chunks_exact(FRAME).map(|frame| vad.hear(frame)).collect()
    }

    fn share(found: &[Activity], of: Activity) -> f32 {
        found.iter().filter(|activity| **activity == of).count() as f32 / found.len().max(1) as f32
    }

    #[test]
    fn noise_of_any_colour_is_noise_once_it_is_known() {
        for level in [35, 45, 55, 65, 75, 127] {
            for colour in [20, 60, 127, 200] {
                let mut vad = Vad::new(8000);
                let found = heard(&mut vad, &noise(13, level, colour));
                let late = share(&found[150..], Activity::Noise);
                assert!(late > 0.97, "-{level} dBov, colour {colour}: {late}");
            }
        }
    }

    /// Mean level of the words, dBov.
    fn spoken_level(sound: &[i16], spoken: &[bool]) -> f32 {
        let words: Vec<f32> =
            sound.iter().zip(spoken).filter(|(_, word)| **word).map(|(sample, _)| f32::from(*sample).powi(2)).collect();
        level(words.iter().sum::<f32>() / words.len() as f32)
    }

    /// Decibels of speech above noise, the share of words' frames that are sent, and that of pauses' which are not.
    #[test]
    fn speech_in_noise_is_sent_and_its_pauses_are_not() {
        let (speech, spoken) = speech(20, 20, 16);
        let speech_level = spoken_level(&speech, &spoken);
        for (snr, kept, saved) in
            [(50.0, 0.99, 0.7), (30.0, 0.99, 0.7), (20.0, 0.99, 0.7), (12.0, 0.95, 0.6), (6.0, 0.8, 0.6)]
        {
            for colour in [40, 127] {
                let mut vad = Vad::new(8000);
                let found = heard(&mut vad, &mixed(&speech, &noise(20, (snr - speech_level) as u8, colour)));
                let frames = spoken.chunks_exact(FRAME).map(|frame| frame[FRAME / 2]).zip(found).skip(200);
                let (words, pauses): (Vec<_>, Vec<_>) = frames.partition(|frame| frame.0);
                let noise = |frames: &[(bool, Activity)]| {
                    frames.iter().filter(|frame| frame.1 == Activity::Noise).count() as f32 / frames.len() as f32
                };
                let (sent, spared) = (1.0 - noise(&words), noise(&pauses));
                assert!(sent >= kept && spared >= saved, "{snr} dB, colour {colour}: {sent} sent, {spared} spared");
            }
        }
    }

    #[test]
    fn a_pause_after_a_talker_without_gaps_is_found() {
        for level in [65, 55, 45] {
            let (mut sound, _) = speech(10, 18, 2);
            sound.extend([0; 8000]);
            let found = heard(&mut Vad::new(8000), &mixed(&sound, &noise(11, level, 80)));
            assert_eq!(share(&found[..500], Activity::Noise), 0.0, "gaps of 100 ms are no pauses");
            assert_eq!(share(&found[512..], Activity::Noise), 1.0, "-{level} dBov");
        }
    }

    #[test]
    fn tones_are_sound_however_long_they_last() {
        for (hertz, level) in [
            ([440.0, 480.0], -20.0),
            ([350.0, 440.0], -16.0),
            ([480.0, 620.0], -27.0),
            ([425.0, 425.0], -30.0),
            ([1400.0, 1400.0], -30.0),
            ([697.0, 1209.0], -20.0),
            ([2100.0, 2100.0], -15.0),
        ] {
            let mut vad = Vad::new(8000);
            heard(&mut vad, &noise(4, 60, 100));
            let found = heard(&mut vad, &mixed(&tone(20, hertz, level), &noise(20, 60, 100)));
            assert_eq!(share(&found, Activity::Sound), 1.0, "{hertz:?}");
            let after = heard(&mut vad, &noise(2, 60, 100));
            assert!(share(&after[11..], Activity::Noise) > 0.95, "{hertz:?}");
        }
    }

    #[test]
    fn no_more_than_a_block_of_the_first_word_is_lost() {
        for onset in (0..FRAME).step_by(16) {
            let mut vad = Vad::new(8000);
            let hush = noise(4, 50, 100);
            heard(&mut vad, &hush);
            let mut sound = hush[..8 * FRAME].to_vec();
            for (sample, word) in sound[5 * FRAME + onset..].iter_mut().zip(tone(1, [180.0, 700.0], -25.0)) {
                *sample = sample.saturating_add(word);
            }
            let found = heard(&mut vad, &sound);
            let first = found.iter().position(|activity| *activity == Activity::Sound).unwrap() * FRAME;
            assert!(first <= 5 * FRAME + onset + 80, "a word that began at {onset} of its frame was sent from {first}");
        }
    }

    #[test]
    fn the_end_of_a_word_is_kept_for_200_ms() {
        let mut vad = Vad::new(8000);
        heard(&mut vad, &[0; 8000]);
        heard(&mut vad, &tone(1, [300.0, 900.0], -20.0));
        let found = heard(&mut vad, &[0; 3200]);
        assert_eq!(found.iter().filter(|activity| **activity == Activity::Tail).count(), 10);
        assert_eq!(share(&found[10..], Activity::Noise), 1.0);
    }

    #[test]
    fn silence_is_noise_from_the_beginning_at_every_rate() {
        for rate in [8000, 16_000, 48_000] {
            let mut vad = Vad::new(rate);
            assert!((0..100).all(|_| !vad.is_speech(&vec![0; rate as usize / 50])));
            assert!(!vad.is_speech(&[]));
        }
    }
}
