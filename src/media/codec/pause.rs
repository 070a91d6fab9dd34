//! What leaves in a pause: comfort noise in place of sound, when the peer agreed on it (RFC 3389 section 4).
//!
//! 1. Sound goes out as it is, until the detector hears noise and its hangover is over.
//! 2. Then goes a description of the noise, at once. What was heard during the hangover is in it.
//! 3. Another follows when the noise has changed, and in any case from time to time: the first may have been lost.

use std::time::Duration;

use super::comfort_noise::{Analyzer, Payload};
use super::vad::{Activity, Vad};

/// Descriptions of a changing noise are not closer together.
const CHANGE: Duration = Duration::from_millis(200);
/// Descriptions of the same noise are not further apart.
const REPEAT: Duration = Duration::from_secs(2);

/// What is to be sent for a frame of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The sound.
    Sound,
    /// This as comfort noise.
    Noise(Payload),
    /// Nothing; time goes on.
    Nothing,
}

/// One direction's pauses.
#[derive(Clone, Debug)]
pub struct Pauses {
    rate: u32,
    vad: Vad,
    analyzer: Analyzer,
    pause: Option<Pause>,
    /// Was the last frame sound?
    spoken: bool,
}

/// The pause that we are in.
#[derive(Clone, Copy, Debug)]
struct Pause {
    told: Payload,
    /// Since it was told.
    since: Duration,
}

impl Pauses {
    /// Nothing heard; `rate` in Hz.
    pub fn new(rate: u32) -> Pauses {
        Pauses { rate, vad: Vad::new(rate), analyzer: Analyzer::new(rate), pause: None, spoken: false }
    }

    /// Takes the next frame, 10 to 60 ms of sound.
    pub fn hear(&mut self, sound: &[i16]) -> Sent {
        let activity = self.vad.hear(sound);
        if activity == Activity::Sound {
            (self.pause, self.spoken) = (None, true);
            return Sent::Sound;
        }
        if std::mem::take(&mut self.spoken) {
            self.analyzer.begin();
        }
        self.analyzer.hear(sound);
        if activity == Activity::Tail {
            return Sent::Sound;
        }
        let length = Duration::from_micros(sound.len() as u64 * 1_000_000 / u64::from(self.rate.max(1)));
        self.describe(length)
    }

    fn describe(&mut self, frame: Duration) -> Sent {
        let found = self.analyzer.payload();
        let due = self.pause.as_mut().is_none_or(|pause| {
            pause.since += frame;
            pause.since >= REPEAT || pause.since >= CHANGE && pause.told.differs(&found)
        });
        if !due {
            return Sent::Nothing;
        }
        self.pause = Some(Pause { told: found, since: Duration::ZERO });
        Sent::Noise(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::comfort_noise::Generator;

    const FRAME: usize = 160;

    fn noise(frames: usize, level: u8) -> Vec<i16> {
        let mut generator = Generator::new(8000);
        generator.hear(&[level, 80]);
        let mut sound = vec![0; frames * FRAME];
        generator.fill(&mut sound);
        sound
    }

    fn tone(frames: usize) -> Vec<i16> {
        (0..frames * FRAME).map(|at| ((at as f32 * 0.7).sin() * 9000.0) as i16).collect()
    }

    /// Each kind of answer in a row once, with how often.
    fn heard(pauses: &mut Pauses, sound: &[i16]) -> Vec<(&'static str, usize)> {
        let mut found: Vec<(&str, usize)> = Vec::new();
        for frame in sound.chunks_exact(FRAME) {
            let kind = match pauses.hear(frame) {
                Sent::Sound => "sound",
                Sent::Noise(_) => "noise",
                Sent::Nothing => "nothing",
            };
            match found.last_mut().filter(|last| last.0 == kind) {
                Some(last) => last.1 += 1,
                None => found.push((kind, 1)),
            }
        }
        found
    }

    #[test]
    fn a_pause_is_told_at_its_beginning_and_every_two_seconds() {
        let mut pauses = Pauses::new(8000);
        heard(&mut pauses, &noise(200, 60));
        assert_eq!(heard(&mut pauses, &tone(50)), [("sound", 50)]);
        // The step from the last sample of sound is heard in the first frame of noise.
        assert_eq!(
            heard(&mut pauses, &noise(240, 60)),
            [
                ("sound", 11),
                ("noise", 1),
                ("nothing", 99),
                ("noise", 1),
                ("nothing", 99),
                ("noise", 1),
                ("nothing", 28)
            ]
        );
        assert_eq!(heard(&mut pauses, &tone(1)), [("sound", 1)]);
    }

    #[test]
    fn the_noise_told_is_that_of_the_pause_and_not_of_the_word_before() {
        let mut pauses = Pauses::new(8000);
        heard(&mut pauses, &noise(200, 60));
        heard(&mut pauses, &tone(50));
        let sound = noise(12, 60);
        let last = sound.chunks_exact(FRAME).map(|frame| pauses.hear(frame)).last();
        let Some(Sent::Noise(payload)) = last else { panic!("{last:?}") };
        assert!(payload.octets()[0].abs_diff(60) <= 2, "{payload:?}");
        assert_eq!(payload.octets().len(), 9);
    }

    #[test]
    fn a_noise_that_fades_is_told_step_by_step() {
        let mut pauses = Pauses::new(8000);
        heard(&mut pauses, &noise(300, 45));
        let mut told = Vec::new();
        let mut silent = 100;
        for frame in noise(100, 58).chunks_exact(FRAME) {
            match pauses.hear(frame) {
                Sent::Noise(payload) => {
                    assert!(silent >= 9, "closer than 200 ms");
                    told.push(payload.octets()[0]);
                    silent = 0;
                }
                Sent::Nothing => silent += 1,
                Sent::Sound => panic!("noise is noise"),
            }
        }
        assert!(told.len() <= 4 && told.last().is_some_and(|level| level.abs_diff(58) <= 2), "{told:?}");
    }
}
