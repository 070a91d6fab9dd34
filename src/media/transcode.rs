//! One direction of a call whose two sides speak differently.
//!
//! ```text
//! packet -> playout (order, loss, decoder) -> ear (digits) -> speech (digits, pauses, encoder) -> packet
//! ```
//!
//! Sound between them is at the narrower side's rate. It keeps the pace of the packets that come: one in order leaves at
//! once.

use std::time::Duration;

use crate::media::codec::{CodecError, common_rate};
use crate::media::dtmf::Key;
use crate::media::dtmf::detect::{self, Detector};
use crate::media::dtmf::event::Reader;
use crate::media::peer::Heard;
use crate::media::playout::{Played, Playout};
use crate::media::speech::{Said, Speech};
use crate::session::{Codec, Digit, Digits, Stream};
use crate::time::{Instant, soonest};

/// Digits are listened for in parts of this length.
const LISTENING: Duration = Duration::from_millis(10);

/// What a transcoder was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Task {
    codecs: [Codec; 2],
    digits: [Digits; 2],
    packet_ms: u8,
    noise: bool,
}

impl Task {
    fn of(from: &Stream, to: &Stream) -> Task {
        let (packet_ms, noise) = (to.ptime_ms, to.comfort_noise.is_some());
        Task { codecs: [from.codec, to.codec], digits: [from.digits, to.digits], packet_ms, noise }
    }
}

/// One direction.
pub struct Transcoder {
    task: Task,
    playout: Playout,
    ear: Ear,
    speech: Speech,
}

impl Transcoder {
    /// What `from` says becomes what `to` understands. A missing packet is waited for at most for `patience`.
    pub fn new(from: &Stream, to: &Stream, patience: Duration) -> Result<Transcoder, CodecError> {
        let rate = common_rate(from.codec, to.codec);
        Ok(Transcoder {
            task: Task::of(from, to),
            playout: Playout::new(from.codec, rate, patience)?,
            ear: Ear::new(from.digits, to.digits, rate),
            speech: Speech::new(to, rate)?,
        })
    }

    /// May it go on when the sides have agreed on this?
    pub fn suits(&self, from: &Stream, to: &Stream) -> bool {
        self.task == Task::of(from, to)
    }

    /// A packet came; what is to be said now goes to `out`.
    pub fn hear(&mut self, heard: &Heard, payload: &[u8], now: Instant, out: &mut impl FnMut(Said<'_>)) {
        let Transcoder { playout, ear, speech, .. } = self;
        playout.hear(heard, payload, now, &mut |played| ear.hear(&played, now, speech, out));
    }

    /// The peer that is spoken to loses so many packets of a hundred, and the thread is so busy, in percent.
    pub fn adapt(&mut self, loss: u8, load: u8) {
        self.speech.adapt(loss, load);
    }

    /// Signalling wants this digit pressed, as if it came from here.
    pub fn press(&mut self, digit: Digit, length: Duration) {
        self.speech.press(digit, length);
    }

    /// Does what is due though no packet came.
    pub fn tick(&mut self, now: Instant, out: &mut impl FnMut(Said<'_>)) {
        let Transcoder { playout, ear, speech, .. } = self;
        playout.play(now, &mut |played| ear.hear(&played, now, speech, out));
        if let Ear::Events(reader) = ear {
            reader.tick(now, &mut |key| speech.key(key, out));
        }
        speech.tick(now, playout.place(now), out);
    }

    /// When [`Transcoder::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        [self.ear.due(), self.speech.due()].into_iter().fold(self.playout.due(), soonest)
    }
}

/// How one side's digits are recognised.
#[derive(Debug)]
enum Ear {
    /// Events are read.
    Events(Box<Reader>),
    /// Its sound is listened to; the key that was heard last, while it is held.
    Tones(Box<Detector>, Option<Key>, usize),
    /// Its digits come in signalling, or are tones to both sides.
    Deaf,
}

impl Ear {
    fn new(from: Digits, to: Digits, rate: u32) -> Ear {
        match from {
            Digits::Events(events) => Ear::Events(Box::new(Reader::new(events.clock_rate, rate))),
            Digits::Tones if to != Digits::Tones => {
                Ear::Tones(Box::new(Detector::new(rate)), None, LISTENING.as_millis() as usize * rate as usize / 1000)
            }
            Digits::Tones | Digits::Info => Ear::Deaf,
        }
    }

    fn due(&self) -> Option<Instant> {
        match self {
            Ear::Events(reader) => reader.due(),
            Ear::Tones(..) | Ear::Deaf => None,
        }
    }

    fn hear(&mut self, played: &Played<'_>, now: Instant, speech: &mut Speech, out: &mut impl FnMut(Said<'_>)) {
        match (self, played) {
            (Ear::Tones(detector, held, part), Played::Sound(place, sound)) => {
                let places = (*place..).step_by(*part);
                for (place, sound) in places.zip(sound.chunks(*part)) {
                    listen(detector, held, place, sound, speech, out);
                }
            }
            (_, Played::Sound(place, sound)) => speech.sound(*place, sound, out),
            (Ear::Events(reader), Played::Event { timestamp, place, payload }) => {
                reader.packet(*timestamp, *place, payload, now, &mut |key| speech.key(key, out));
            }
            (_, Played::Event { .. }) => {}
            (_, Played::Noise(place, payload)) => speech.noise(*place, payload, now, out),
        }
    }
}

/// A part of the sound is a digit, or is passed on: never both.
fn listen(
    detector: &mut Detector,
    held: &mut Option<Key>,
    place: u64,
    sound: &[i16],
    speech: &mut Speech,
    out: &mut impl FnMut(Said<'_>),
) {
    let heard = detector.hear(sound);
    if let Some(key) = held.take_if(|key| !matches!(heard, detect::Heard::Digit(digit, _) if digit == key.digit)) {
        speech.key(Key { held: false, ..key }, out);
    }
    match heard {
        detect::Heard::Nothing => speech.sound(place, sound, out),
        detect::Heard::Doubt => {}
        detect::Heard::Digit(digit, since) => {
            let samples = since as u64;
            let began = (place + sound.len() as u64).saturating_sub(samples);
            let place = held.map_or(began, |key| key.place);
            *held = Some(Key { digit, place, samples, held: true });
            speech.key(Key { digit, place, samples, held: true }, out);
        }
    }
}

#[cfg(test)]
mod tests;
