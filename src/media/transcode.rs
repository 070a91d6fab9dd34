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
use crate::media::ear::Ear;
use crate::media::peer::Heard;
use crate::media::playout::Playout;
use crate::media::speech::{Said, Speech};
use crate::session::{Codec, Counters, Digit, Digits, Stream};
use crate::time::{Instant, soonest};

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
            playout: Playout::new(from.codec, rate, patience)?.toward(to.codec),
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
        ear.tick(now, speech, out);
        speech.tick(now, playout.place(now), out);
    }

    /// What went wrong on the way here.
    pub fn count(&self, counters: &mut Counters) {
        counters.concealed = self.playout.troubles().lost;
    }

    /// How long sound waits here, on average of late.
    pub fn wait(&self) -> Duration {
        self.playout.wait()
    }

    /// When [`Transcoder::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        [self.ear.due(), self.speech.due()].into_iter().fold(self.playout.due(), soonest)
    }
}

#[cfg(test)]
mod tests;
