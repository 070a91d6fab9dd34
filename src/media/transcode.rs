//! One direction of a call whose two sides speak differently.
//!
//! ```text
//! packet -> playout (order, loss, decoder) -> sound at the narrower side's rate -> packetizer (encoder) -> packet
//! ```
//!
//! It keeps the pace of the packets that come: one in order leaves at once.

use std::time::Duration;

use crate::media::codec::{CodecError, common_rate};
use crate::media::packetize::{Packet, Packetizer};
use crate::media::peer::Heard;
use crate::media::playout::{Played, Playout};
use crate::session::{Codec, Stream};
use crate::time::Instant;

/// What a transcoder was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Task {
    from: Codec,
    to: Codec,
    packet_ms: u8,
}

impl Task {
    fn of(from: &Stream, to: &Stream) -> Task {
        Task { from: from.codec, to: to.codec, packet_ms: to.ptime_ms }
    }
}

/// One direction.
pub struct Transcoder {
    task: Task,
    playout: Playout,
    packetizer: Packetizer,
}

impl Transcoder {
    /// What `from` says becomes what `to` understands. A missing packet is waited for at most for `patience`.
    pub fn new(from: &Stream, to: &Stream, patience: Duration) -> Result<Transcoder, CodecError> {
        let rate = common_rate(from.codec, to.codec);
        Ok(Transcoder {
            task: Task::of(from, to),
            playout: Playout::new(from.codec, rate, patience)?,
            packetizer: Packetizer::new(to, rate)?,
        })
    }

    /// May it go on when the sides have agreed on this?
    pub fn suits(&self, from: &Stream, to: &Stream) -> bool {
        self.task == Task::of(from, to)
    }

    /// A packet came; what is to be said now goes to `out`.
    pub fn hear(&mut self, heard: &Heard, payload: &[u8], now: Instant, out: &mut impl FnMut(Packet<'_>)) {
        let packetizer = &mut self.packetizer;
        self.playout.hear(heard, payload, now, &mut |played| say(packetizer, &played, out));
    }

    /// Does what is due though no packet came.
    pub fn tick(&mut self, now: Instant, out: &mut impl FnMut(Packet<'_>)) {
        let packetizer = &mut self.packetizer;
        self.playout.play(now, &mut |played| say(packetizer, &played, out));
    }

    /// When [`Transcoder::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.playout.due()
    }
}

fn say(packetizer: &mut Packetizer, played: &Played<'_>, out: &mut impl FnMut(Packet<'_>)) {
    match *played {
        Played::Sound(place, sound) => packetizer.sound(place, sound, out),
        Played::Other(kind, marker, place, payload) => packetizer.pass(kind, marker, place, payload, out),
    }
}

#[cfg(test)]
mod tests;
