//! One direction of a call whose two sides speak differently.
//!
//! ```text
//! packet -> playout (order, loss, decoder) -> sound at the narrower side's rate -> packetizer (encoder) -> packet
//! ```
//!
//! It keeps the pace of the packets that come: one in order leaves at once.

use std::time::Duration;

use crate::media::codec::comfort_noise::Generator;
use crate::media::codec::{CodecError, common_rate};
use crate::media::packetize::{Packet, Packetizer};
use crate::media::peer::{Heard, Kind};
use crate::media::playout::{Played, Playout};
use crate::session::{Codec, Stream};
use crate::time::{Instant, soonest};

/// The noise of a pause is made in frames of this length.
const NOISE: Duration = Duration::from_millis(20);
/// Frames that are caught up when we were late.
const MOST_BEHIND: u128 = 5;

/// What a transcoder was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Task {
    from: Codec,
    to: Codec,
    packet_ms: u8,
    noise: bool,
}

impl Task {
    fn of(from: &Stream, to: &Stream) -> Task {
        Task { from: from.codec, to: to.codec, packet_ms: to.ptime_ms, noise: to.comfort_noise.is_some() }
    }
}

/// One direction.
pub struct Transcoder {
    task: Task,
    playout: Playout,
    speech: Speech,
}

/// What is said: the other side's sound, or the noise of its pause.
struct Speech {
    packetizer: Packetizer,
    /// The peer hears the noise of pauses from us, for it takes no description of them.
    noise: Option<Noise>,
    generator: Generator,
    sound: Box<[i16]>,
}

/// A pause that is being filled.
#[derive(Clone, Copy, Debug)]
struct Noise {
    place: u64,
    due: Instant,
}

impl Transcoder {
    /// What `from` says becomes what `to` understands. A missing packet is waited for at most for `patience`.
    pub fn new(from: &Stream, to: &Stream, patience: Duration) -> Result<Transcoder, CodecError> {
        let rate = common_rate(from.codec, to.codec);
        let speech = Speech {
            packetizer: Packetizer::new(to, rate)?,
            noise: None,
            generator: Generator::new(rate),
            sound: vec![0; NOISE.as_millis() as usize * rate as usize / 1000].into_boxed_slice(),
        };
        Ok(Transcoder { task: Task::of(from, to), playout: Playout::new(from.codec, rate, patience)?, speech })
    }

    /// May it go on when the sides have agreed on this?
    pub fn suits(&self, from: &Stream, to: &Stream) -> bool {
        self.task == Task::of(from, to)
    }

    /// A packet came; what is to be said now goes to `out`.
    pub fn hear(&mut self, heard: &Heard, payload: &[u8], now: Instant, out: &mut impl FnMut(Packet<'_>)) {
        let speech = &mut self.speech;
        self.playout.hear(heard, payload, now, &mut |played| speech.say(&played, now, out));
    }

    /// Does what is due though no packet came.
    pub fn tick(&mut self, now: Instant, out: &mut impl FnMut(Packet<'_>)) {
        let speech = &mut self.speech;
        self.playout.play(now, &mut |played| speech.say(&played, now, out));
        speech.fill(now, out);
    }

    /// When [`Transcoder::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        soonest(self.playout.due(), self.speech.noise.map(|noise| noise.due))
    }
}

impl Speech {
    fn say(&mut self, played: &Played<'_>, now: Instant, out: &mut impl FnMut(Packet<'_>)) {
        match *played {
            Played::Sound(place, sound) => {
                self.noise = None;
                self.packetizer.sound(place, sound, out);
            }
            Played::Other(Kind::Noise, _, place, payload) if !self.packetizer.takes_noise() => {
                self.generator.hear(payload);
                self.noise.get_or_insert(Noise { place, due: now });
                self.fill(now, out);
            }
            Played::Other(kind, marker, place, payload) => self.packetizer.pass(kind, marker, place, payload, out),
        }
    }

    /// Goes on with the noise of a pause, at our own pace; what was missed for long is left out.
    fn fill(&mut self, now: Instant, out: &mut impl FnMut(Packet<'_>)) {
        while let Some(noise) = self.noise.as_mut().filter(|noise| noise.due <= now) {
            let place = noise.place;
            let behind = now.since(noise.due).as_micros() / NOISE.as_micros();
            let steps = if behind > MOST_BEHIND { behind as u32 } else { 1 };
            noise.place += self.sound.len() as u64 * u64::from(steps);
            noise.due = noise.due + NOISE * steps;
            self.generator.fill(&mut self.sound);
            self.packetizer.sound(place, &self.sound, out);
        }
    }
}

#[cfg(test)]
mod tests;
