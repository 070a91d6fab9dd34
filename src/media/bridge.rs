//! The media of one call: two peers, and a way from each to the other.
//!
//! No I/O: datagrams come in with the time, what is to be sent or told goes to the caller's sink.
//! What a packet is done with is decided when the [`Session`] is applied, not when the packet comes.

use std::net::SocketAddr;
use std::time::Duration;

use crate::media::clock::Moment;
use crate::media::peer::{Channel, Kind, Outgoing, Peer};
use crate::media::socket::{BUFFER, Datagram};
use crate::random::Random;
use crate::session::{Counters, MediaReport, Session, SessionId, Side};
use crate::time::{Instant, soonest};

/// Time between two [`MediaReport::Counted`].
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// What is done with the packets of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// They are counted and go no further: a side is not agreed, or held.
    Closed,
    /// Both sides speak the same codec: payloads are passed on under the other side's payload types.
    Relay { sound: u8, event: Option<u8>, noise: Option<u8> },
    /// The codecs differ. Here the transcoder will stand; until then such packets are malformed.
    Transcode,
}

impl Way {
    fn between(from: &Peer, to: &Peer) -> Way {
        match (from.stream(), to.stream()) {
            (Some(from), Some(to)) if from.direction.receives() && to.direction.sends() => {
                if from.codec != to.codec {
                    return Way::Transcode;
                }
                let event = to.digits.events().map(|events| events.payload_type);
                Way::Relay { sound: to.payload_type, event, noise: to.comfort_noise }
            }
            _ => Way::Closed,
        }
    }

    fn is_relay(self) -> bool {
        matches!(self, Way::Relay { .. })
    }
}

/// What a bridge wants done.
#[derive(Debug)]
pub enum Output<'a> {
    /// Send this from a port of this side.
    Send(Side, Channel, SocketAddr, &'a [u8]),
    /// Tell signalling.
    Report(MediaReport),
}

/// The media of one call.
pub struct Bridge {
    id: SessionId,
    peers: [Peer; 2],
    /// Indexed by the side that packets come from.
    ways: [Way; 2],
    count_due: Instant,
}

impl Bridge {
    /// Nothing agreed yet.
    pub fn new(id: SessionId, random: &mut Random, now: Instant) -> Bridge {
        let peers = [Peer::new(random), Peer::new(random)];
        Bridge { id, peers, ways: [Way::Closed; 2], count_due: now + COUNT_INTERVAL }
    }

    /// Its name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// From now on, this.
    pub fn apply(&mut self, session: &Session, now: Instant, random: &mut Random) {
        for side in Side::BOTH {
            self.peers[side.index()].apply(session.sides[side.index()].as_ref(), now, random);
        }
        for side in Side::BOTH {
            let (from, to) = self.pair(side);
            let way = Way::between(from, to);
            if way.is_relay() && !self.ways[side.index()].is_relay() {
                self.pair(side).1.cut();
            }
            self.ways[side.index()] = way;
        }
    }

    fn pair(&mut self, from: Side) -> (&mut Peer, &mut Peer) {
        let [a, b] = &mut self.peers;
        match from {
            Side::A => (a, b),
            Side::B => (b, a),
        }
    }

    /// A datagram on the RTP port of `side`; what of it goes out on the RTP port of the other side.
    pub fn rtp(&mut self, side: Side, mut datagram: Datagram<'_>, now: Moment) -> Option<Outgoing> {
        let way = self.ways[side.index()];
        let (from, to) = self.pair(side);
        let heard = from.rtp(&mut datagram, now)?;
        let payload_type = match way {
            Way::Closed => return None,
            Way::Transcode => {
                from.refuse();
                return None;
            }
            Way::Relay { sound, event, noise } => match heard.kind {
                Kind::Sound => Some(sound),
                Kind::Event => event,
                Kind::Noise => noise,
            },
        };
        match payload_type {
            Some(payload_type) => to.say(&heard, payload_type, datagram.buffer, now.at),
            None => {
                to.skip(&heard);
                None
            }
        }
    }

    /// A datagram on the RTCP port of `side`.
    pub fn rtcp(&mut self, side: Side, mut datagram: Datagram<'_>, now: Moment) {
        self.peers[side.index()].rtcp(&mut datagram, now);
    }

    /// When [`Bridge::tick`] has something to do.
    pub fn due(&self) -> Instant {
        let peers = soonest(self.peers[0].due(), self.peers[1].due());
        peers.map_or(self.count_due, |due| due.min(self.count_due))
    }

    /// Does what is due: reports to the peers, the watch, the counters.
    pub fn tick(&mut self, now: Moment, random: &mut Random, mut sink: impl FnMut(Output<'_>)) {
        let mut buffer = [0; BUFFER];
        for side in Side::BOTH {
            let peer = &mut self.peers[side.index()];
            if let Some(report) = peer.report(now, random, &mut buffer) {
                send(side, report, &buffer, &mut sink);
            }
            if let Some(silence) = peer.silence(now.at) {
                sink(Output::Report(MediaReport::Silent(self.id, side, silence)));
            }
        }
        if self.count_due <= now.at {
            self.count_due = now.at + COUNT_INTERVAL;
            sink(Output::Report(MediaReport::Counted(self.id, self.counters())));
        }
    }

    /// The end: says goodbye to both peers and gives the last counters.
    pub fn close(&mut self, now: Moment, mut sink: impl FnMut(Output<'_>)) {
        let mut buffer = [0; BUFFER];
        for side in Side::BOTH {
            if let Some(goodbye) = self.peers[side.index()].goodbye(now, &mut buffer) {
                send(side, goodbye, &buffer, &mut sink);
            }
        }
        sink(Output::Report(MediaReport::Closed(self.id, self.counters())));
    }

    fn counters(&self) -> [Counters; 2] {
        [self.peers[0].counters(), self.peers[1].counters()]
    }
}

fn send(
    side: Side,
    (channel, outgoing): (Channel, Outgoing),
    buffer: &[u8; BUFFER],
    sink: &mut impl FnMut(Output<'_>),
) {
    sink(Output::Send(side, channel, outgoing.to, &buffer[outgoing.octets]));
}

#[cfg(test)]
mod tests;
