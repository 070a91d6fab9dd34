//! What a line says, toward packets: digits are found, the rest is cut into packets as it comes.

use std::time::Duration;

use crate::media::codec::g711::{self, Law};
use crate::media::codec::{CodecError, common_rate};
use crate::media::ear::Ear;
use crate::media::echo::BLOCK;
use crate::media::line::Block;
use crate::media::playout::Played;
use crate::media::speech::{Said, Speech};
use crate::session::{Codec, Digit, Digits, Stream};
use crate::time::Instant;

/// What it was made for.
type Task = (Codec, Digits, Digits, u8, bool);

/// One direction.
pub struct Inbound {
    task: Task,
    ear: Ear,
    speech: Speech,
    /// The line's law, when packets carry the other one.
    other_law: Option<Law>,
    /// Samples that were said.
    place: u64,
}

impl Inbound {
    /// What the line `from` says becomes what `to` understands.
    pub fn new(from: &Stream, to: &Stream) -> Result<Inbound, CodecError> {
        let rate = common_rate(from.codec, to.codec);
        let (ear, speech) = (Ear::new(from.digits, to.digits, rate), Speech::new(to, rate)?);
        let other_law = from.codec.law().filter(|own| to.codec.law().is_some_and(|law| law != *own));
        Ok(Inbound { task: task(from, to), ear, speech, other_law, place: 0 })
    }

    /// May it go on when the sides have agreed on this?
    pub fn suits(&self, from: &Stream, to: &Stream) -> bool {
        self.task == task(from, to)
    }

    /// The next block.
    pub fn hear(&mut self, block: &Block, now: Instant, out: &mut impl FnMut(Said<'_>)) {
        let Inbound { ear, speech, other_law, place, .. } = self;
        let mut sound = block.sound;
        if let Some(law) = other_law.filter(|_| block.as_it_came) {
            g711::decode_converted(law, &block.octets, &mut sound);
        }
        speech.set_steady(block.untouched);
        match block.untouched {
            true => speech.sound(*place, &sound, out),
            false => ear.hear(&Played::Sound(*place, &sound), now, speech, out),
        }
        *place += BLOCK as u64;
        speech.tick(now, *place, out);
    }

    /// This sound is not to be heard.
    pub fn skip(&mut self, samples: usize) {
        self.place += samples as u64;
    }

    /// The peer that is spoken to loses so many packets of a hundred, and the thread is so busy, in percent.
    pub fn adapt(&mut self, loss: u8, load: u8) {
        self.speech.adapt(loss, load);
    }

    /// Signalling wants this digit pressed, as if it came from the line.
    pub fn press(&mut self, digit: Digit, length: Duration) {
        self.speech.press(digit, length);
    }
}

fn task(from: &Stream, to: &Stream) -> Task {
    (to.codec, from.digits, to.digits, to.ptime_ms, to.comfort_noise.is_some())
}
