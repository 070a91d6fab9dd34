//! One direction of a call whose two sides speak differently.
//!
//! ```text
//! packet -> playout (order, loss, decoder) -> sound at the narrower side's rate -> packetizer (encoder) -> packet
//! ```
//!
//! It keeps the pace of the packets that come: one in order leaves at once.

use crate::media::codec::{CodecError, common_rate};
use crate::media::packetize::{Packet, Packetizer};
use crate::media::peer::{Heard, Kind};
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
    /// What `from` says becomes what `to` understands.
    pub fn new(from: &Stream, to: &Stream) -> Result<Transcoder, CodecError> {
        let rate = common_rate(from.codec, to.codec);
        Ok(Transcoder {
            task: Task::of(from, to),
            playout: Playout::new(from.codec, rate)?,
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
        self.playout.hear(heard, payload, now, &mut |played| match played {
            Played::Sound(place, sound) => packetizer.sound(place, sound, out),
            Played::Other(Kind::Event, marker, place, payload) => {
                packetizer.pass(Kind::Event, marker, place, payload, out);
            }
            Played::Other(kind, marker, place, payload) => packetizer.pass(kind, marker, place, payload, out),
        });
    }
}
