//! What the media plane shall do for a call: a plain value.
//!
//! Signalling declares the wanted [`Session`]; the engine applies the difference. A call has two
//! [`Stream`]s, one a side; each says where its peer is, what is spoken there and under which keys.
//! The engine opens the ports first ([`MediaOrder::Open`]), because an offer names them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

mod codec;
mod counters;
mod digits;
mod keys;
mod sound;

pub use codec::{Codec, Opus};
pub use counters::{Counters, Mos};
pub use digits::{Digit, Digits, TelephoneEvent};
pub use keys::{Keys, Mki, Srtp, Suite, Suites};
pub use sound::Sound;

use crate::hop::SpanId;
use crate::private::Secret;
use crate::tone::Cadence;

/// The engine's name for a call's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// One of the two sides of a call: `A` called, `B` was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The caller's side.
    A,
    /// The called side.
    B,
}

impl Side {
    /// Both, in order.
    pub const BOTH: [Side; 2] = [Side::A, Side::B];

    /// The opposite side.
    pub fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    /// 0 for A, 1 for B.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Which way sound goes, seen from us (RFC 3264 section 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// From us only.
    SendOnly,
    /// To us only.
    RecvOnly,
    /// Neither: Microsoft's form of hold.
    Inactive,
}

impl Direction {
    /// Do we send?
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Do we receive?
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// From what we send and receive.
    pub fn of(sends: bool, receives: bool) -> Direction {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// The same seen from the other end.
    #[must_use]
    pub fn reversed(self) -> Direction {
        Direction::of(self.receives(), self.sends())
    }

    /// What both allow.
    #[must_use]
    pub fn and(self, other: Direction) -> Direction {
        Direction::of(self.sends() && other.sends(), self.receives() && other.receives())
    }

    /// The SDP attribute's name.
    pub fn attribute(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }
}

/// What one end of ICE is known by (RFC 8445 section 5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The username fragment.
    pub fragment: String,
    /// The password.
    pub password: Secret<String>,
}

/// ICE on one side: the peer checks the ways to us and nominates one; we are lite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ice {
    /// Ours; others are an ICE restart.
    pub local: Credentials,
    /// The peer's; others beside the same of ours are another peer that took the same offer.
    pub remote: Credentials,
}

/// Where the peer's media is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// In packets, at these addresses.
    Rtp(Addresses),
    /// On a timeslot, whose bearer the engine is given beside the session. Its codec is the line's law; nothing else of a
    /// [`Stream`] that is about packets has a meaning then.
    Timeslot(Timeslot),
}

impl Remote {
    /// Where packets go.
    pub fn addresses(self) -> Option<Addresses> {
        match self {
            Remote::Rtp(addresses) => Some(addresses),
            Remote::Timeslot(_) => None,
        }
    }
}

/// Where a peer takes packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// RTP.
    pub rtp: SocketAddr,
    /// RTCP; equal to `rtp` when both share the port (RFC 5761).
    pub rtcp: SocketAddr,
}

/// What is done with the sound of a timeslot; nothing of it while a modem or a fax is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeslot {
    /// The line.
    pub span: SpanId,
    /// Its number, as the line counts: 1 to 24 on a T1, 1 to 31 on an E1.
    pub number: u8,
    /// By how much what comes from the line is made louder, dB.
    pub receive_gain: i8,
    /// By how much what goes to the line is made louder, dB.
    pub transmit_gain: i8,
    /// How late an echo is taken out: by the card where its bearer says so, else by our own canceller.
    pub canceller: Option<Tail>,
}

/// How late an echo may be that is taken out (ITU-T G.168).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tail {
    /// 64 ms.
    Ms64,
    /// 128 ms.
    Ms128,
}

/// When a silent peer counts as gone: no packet that proves the peer alive for `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// How long (30 s by Microsoft's rule).
    pub limit: Duration,
}

/// One side of a call as agreed by its offer and answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Where to send; packets from elsewhere are counted and dropped.
    pub remote: Remote,
    /// When the peer checks the ways to us, it is where its checks come from, and not at `remote`.
    pub ice: Option<Box<Ice>>,
    /// May the peer's address differ from what it signalled (NAT)? Then the first authenticated
    /// packet decides.
    pub latch: bool,
    /// Which way sound goes, seen from us.
    pub direction: Direction,
    /// The codec spoken.
    pub codec: Codec,
    /// Payload type of `codec` on this side.
    pub payload_type: u8,
    /// What the peer asked of our Opus; of no meaning with another codec.
    pub opus: Opus,
    /// How the peer sends and hears digits.
    pub digits: Digits,
    /// Payload type of comfort noise (RFC 3389) on this side.
    pub comfort_noise: Option<u8>,
    /// Packet time that the peer asked for, in milliseconds.
    pub ptime_ms: u8,
    /// Keys; `None` is plain RTP.
    pub srtp: Option<Srtp>,
    /// Watch for a dead peer, as the trunk's switches say for a live or held call.
    pub watch: Option<Watch>,
}

impl Stream {
    /// The least: in the clear, both ways, packets of 20 ms, digits as tones, no pauses, nobody watched.
    pub fn new(remote: Remote, codec: Codec) -> Stream {
        Stream {
            remote,
            ice: None,
            latch: false,
            direction: Direction::SendRecv,
            codec,
            payload_type: codec.payload_type(),
            opus: Opus::default(),
            digits: Digits::Tones,
            comfort_noise: None,
            ptime_ms: 20,
            srtp: None,
            watch: None,
        }
    }
}

/// What a peer hears from ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Play {
    /// A tone, while nothing is heard from the other side (RFC 3960 section 3.2).
    Tone(Cadence),
    /// This sound over and over, while nothing is heard from the other side.
    Music(Arc<Sound>),
    /// This sound once, in place of whatever the other side says meanwhile.
    Announcement(Arc<Sound>),
}

/// The media of a call; a side is `None` until its peer's address is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Indexed by [`Side::index`].
    pub sides: [Option<Stream>; 2],
    /// What the peer of each side hears from ourselves; it acts only where we may send.
    pub plays: [Option<Play>; 2],
}

/// What signalling tells the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaOrder {
    /// Open a pair of ports (RTP even, RTCP odd) for each side; answered by
    /// [`MediaReport::Opened`] or [`MediaReport::Refused`].
    Open(SessionId),
    /// From now on, this.
    Apply(SessionId, Box<Session>),
    /// Press this digit for so long, as if it came from this side.
    Press(SessionId, Side, Digit, Duration),
    /// The call is over: ports come home; answered by [`MediaReport::Closed`].
    Close(SessionId),
}

/// What the engine tells signalling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaReport {
    /// The RTP ports of both sides, indexed by [`Side::index`]; RTCP is one above.
    Opened(SessionId, [u16; 2]),
    /// No ports: the range is used up or cannot be bound; the text says which.
    Refused(SessionId, String),
    /// The timeslot of this side cannot be opened; the text says which and why.
    Unopened(SessionId, Side, String),
    /// Nothing came from this side for as long as its watch allows.
    Silent(SessionId, Side, Duration),
    /// The peer of this side has pressed a digit for so long, which the other side hears of in signalling.
    Digit(SessionId, Side, Digit, Duration),
    /// On the line of this side something begins to talk that is no person.
    Machine(SessionId, Side, Machine),
    /// How the call's media stands, every 5 s.
    Counted(SessionId, [Counters; 2]),
    /// How late a media thread was for its deadlines in the last second.
    Late(Late),
    /// The end, with the last counters.
    Closed(SessionId, [Counters; 2]),
}

/// How late deadlines were met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// Of 99 in a hundred, at most.
    pub most: Duration,
    /// Of all.
    pub worst: Duration,
}

/// What talks on a line and is no person: its sound is to be left untouched (ITU-T G.168 clause 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// A modem answers.
    Modem,
    /// A fax talks.
    Fax,
}

impl Machine {
    /// In a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Machine::Modem => "a modem",
            Machine::Fax => "a fax",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_a_pair_of_switches() {
        assert_eq!(Direction::SendOnly.reversed(), Direction::RecvOnly);
        assert_eq!(Direction::SendRecv.and(Direction::RecvOnly), Direction::RecvOnly);
        assert_eq!(Direction::SendOnly.and(Direction::RecvOnly), Direction::Inactive);
    }
}
