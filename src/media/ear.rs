//! An ear for digits, in the form in which one side says them.
//!
//! Sound that is a digit is said to the other side as one, and not beside it.

use std::time::Duration;

use crate::media::dtmf::Key;
use crate::media::dtmf::detect::{self, Detector};
use crate::media::dtmf::event::Reader;
use crate::media::playout::Played;
use crate::media::speech::{Said, Speech};
use crate::session::Digits;
use crate::time::Instant;

/// Digits are listened for in parts of this length.
const LISTENING: Duration = Duration::from_millis(10);

/// How one side's digits are recognised.
#[derive(Debug)]
pub enum Ear {
    /// Events are read.
    Events(Box<Reader>),
    /// Its sound is listened to; the key that was heard last, while it is held.
    Tones(Box<Detector>, Option<Key>, usize),
    /// Its digits come in signalling, or are tones to both sides.
    Deaf,
}

impl Ear {
    /// For digits that are said in one way and heard in another, beside sound of `rate` Hz.
    pub fn new(from: Digits, to: Digits, rate: u32) -> Ear {
        match from {
            Digits::Events(events) => Ear::Events(Box::new(Reader::new(events.clock_rate, rate))),
            Digits::Tones if to != Digits::Tones => {
                Ear::Tones(Box::new(Detector::new(rate)), None, LISTENING.as_millis() as usize * rate as usize / 1000)
            }
            Digits::Tones | Digits::Info => Ear::Deaf,
        }
    }

    /// When [`Ear::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        match self {
            Ear::Events(reader) => reader.due(),
            Ear::Tones(..) | Ear::Deaf => None,
        }
    }

    /// Does what is due though nothing came.
    pub fn tick(&mut self, now: Instant, speech: &mut Speech, out: &mut impl FnMut(Said<'_>)) {
        if let Ear::Events(reader) = self {
            reader.tick(now, &mut |key| speech.key(key, out));
        }
    }

    /// Something is heard: a digit in it is said as one, all else as it is.
    pub fn hear(&mut self, played: &Played<'_>, now: Instant, speech: &mut Speech, out: &mut impl FnMut(Said<'_>)) {
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
