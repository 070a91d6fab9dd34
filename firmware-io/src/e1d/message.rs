//! The messages of osmo-e1d (its `proto.h`): one a packet, a header of eight octets in the machine's own byte order,
//! then the payload.
//!
//! ```text
//! magic 01e1 | length of all | type | interface | line | timeslot | payload
//! ```

use crate::line::Alarms;

const MAGIC: u16 = 0x01e1;
const HEADER: usize = 8;
/// No packet is longer.
pub(super) const LONGEST: usize = 4096;
/// "Not given", in a header's filter.
const ANY: u8 = 0xff;
const ANSWER: u8 = 0x80;

/// How a timeslot is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Mode {
    Off = 0,
    /// Octets, as a stream.
    Raw = 0x10,
    /// HDLC frames without FCS, a packet each.
    HdlcFcs = 0x11,
}

/// How a line is used, where that is one timeslot a channel.
pub(super) const CHANNELIZED: u8 = 0x20;
/// Takes a timeslot away from who has it.
const FORCE: u8 = 0x80;

/// What we ask. An answer repeats nothing but the type: one question at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// How is the line used? Number, mode, status.
    Line { interface: u8, line: u8 },
    /// How are all its timeslots used?
    Timeslots { interface: u8, line: u8 },
    /// A descriptor for this one, please; a stream in pieces of so many octets.
    Open { interface: u8, line: u8, timeslot: u8, mode: Mode, force: bool, piece: u16 },
}

/// An answer to [`Request::Open`], and a 32nd of one to [`Request::Timeslots`]: number, mode, flags, size, status.
pub(super) const TIMESLOT: usize = 6;

impl Request {
    fn command(self) -> u8 {
        match self {
            Request::Line { .. } => 1,
            Request::Timeslots { .. } => 2,
            Request::Open { .. } => 4,
        }
    }

    /// The type of its answer.
    pub(super) fn answer(self) -> u8 {
        self.command() | ANSWER
    }

    pub(super) fn write(self) -> Vec<u8> {
        match self {
            Request::Line { interface, line } | Request::Timeslots { interface, line } => {
                packet([self.command(), interface, line, ANY], &[])
            }
            Request::Open { interface, line, timeslot, mode, force, piece } => {
                let [low, high] = piece.to_ne_bytes();
                let flags = if force { FORCE } else { 0 };
                packet([self.command(), interface, line, timeslot], &[mode as u8, flags, low, high])
            }
        }
    }
}

/// A packet of either side.
pub(super) fn packet(head: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = (HEADER + payload.len()) as u16;
    [&MAGIC.to_ne_bytes()[..], &length.to_ne_bytes(), &head, payload].concat()
}

/// What came from the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u8,
    pub(super) interface: u8,
    pub(super) line: u8,
    pub(super) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// `None` when it is none of this protocol.
    pub(super) fn read(packet: &'a [u8]) -> Option<Message<'a>> {
        let (header, payload) = packet.split_first_chunk::<HEADER>()?;
        let [m0, m1, l0, l1, kind, interface, line, _] = *header;
        let good = u16::from_ne_bytes([m0, m1]) == MAGIC && usize::from(u16::from_ne_bytes([l0, l1])) == packet.len();
        good.then_some(Message { kind, interface, line, payload })
    }

    /// The alarm that it says begins (or ends) on a line; from version 0.7 on, and told to every client.
    pub(super) fn alarm(&self) -> Option<(Alarms, bool)> {
        let alarm = match self.kind & !1 {
            0x40 => Alarms::LOS,
            0x42 => Alarms::AIS,
            0x44 => Alarms::RAI,
            0x46 => Alarms::LOF,
            _ => return None,
        };
        Some((alarm, self.kind & 1 == 0))
    }

    /// Is it no answer, but told by the daemon on its own?
    pub(super) fn is_event(&self) -> bool {
        self.kind & 0xc0 == 0x40
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn packets_are_the_daemons_own() {
        let open = Request::Open { interface: 0, line: 0, timeslot: 5, mode: Mode::Raw, force: false, piece: 160 };
        assert_eq!(open.write(), [0xe1, 1, 12, 0, 4, 0, 0, 5, 0x10, 0, 160, 0]);
        assert_eq!(Request::Line { interface: 1, line: 2 }.write(), [0xe1, 1, 8, 0, 1, 1, 2, 0xff]);
        // As osmo-e1d 0.4 answers.
        let answer = [0xe1, 1, 14, 0, 0x84, 0, 0, 0, 5, 0x10, 0, 0, 0, 0xa5];
        let message = Message::read(&answer).unwrap();
        assert_eq!((message.kind, message.payload), (open.answer(), &answer[8..]));
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        let good = packet([0x80, 0, 0, 0], &[1, 2]);
        assert!(Message::read(&good).is_some());
        assert_eq!(Message::read(&good[..9]), None, "shorter than it says");
        assert_eq!(Message::read(&[&good[..], &[0]].concat()), None, "longer than it says");
        assert_eq!(Message::read(&[0; 8]), None, "no magic");
        bolero::check!().with_type::<Vec<u8>>().for_each(|packet| _ = Message::read(packet));
    }

    #[test]
    fn events_are_alarms() {
        for (kind, expected) in [
            (0x40, Some((Alarms::LOS, true))),
            (0x41, Some((Alarms::LOS, false))),
            (0x45, Some((Alarms::RAI, false))),
            (0x46, Some((Alarms::LOF, true))),
            (0x7f, None),
        ] {
            let packet = packet([kind, 0, 0, 0], &[]);
            let message = Message::read(&packet).unwrap();
            assert!(message.is_event());
            assert_eq!(message.alarm(), expected, "{kind:x}");
        }
    }
}
