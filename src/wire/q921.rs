//! Frames of a D channel's data link (ITU-T Q.921 section 3), modulo 128, without flags and FCS.
//!
//! ```text
//! octet 1          2          3            4          5...
//! | SAPI C/R 0 | TEI  1 | N(S)     0 | N(R) P   | information |  I
//! | SAPI C/R 0 | TEI  1 | 0000 SS 01 | N(R) P/F |                RR, RNR, REJ
//! | SAPI C/R 0 | TEI  1 | MMM P/F MM 11 |       | information |  SABME, DM, UI, DISC, UA, FRMR, XID
//! ```

/// The management entity's and layer 3's access point on a primary rate line.
pub const CALL_CONTROL: Address = Address { sapi: 0, tei: 0 };

/// Which end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The customer's.
    User,
    /// The exchange's.
    Network,
}

impl Side {
    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Side::User => "user",
            Side::Network => "network",
        }
    }

    /// The far end's.
    pub fn other(self) -> Side {
        match self {
            Side::User => Side::Network,
            Side::Network => Side::User,
        }
    }
}

/// What a frame is to its receiver (section 3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It asks or tells.
    Command,
    /// It answers.
    Response,
}

/// Which link of the D channel a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Service access point, 0 to 63: 0 is call control.
    pub sapi: u8,
    /// Terminal endpoint, 0 to 127.
    pub tei: u8,
}

impl Address {
    /// The address that a frame begins with, if it is one (two octets, extended once).
    pub fn read(octets: &[u8]) -> Option<Address> {
        match octets {
            [first, second, ..] if first & 1 == 0 && second & 1 == 1 => {
                Some(Address { sapi: first >> 2, tei: second >> 1 })
            }
            _ => None,
        }
    }
}

/// The control field (section 3.4). `poll` is P in commands, F in responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Numbered information.
    I {
        /// N(S): its number.
        sent: u8,
        /// N(R): the number that its sender waits for.
        received: u8,
        /// P.
        poll: bool,
    },
    /// Supervision of numbered information.
    S {
        /// RR, RNR or REJ.
        kind: Supervisory,
        /// N(R): the number that its sender waits for.
        received: u8,
        /// P or F.
        poll: bool,
    },
    /// All without numbers.
    U {
        /// Which.
        kind: Unnumbered,
        /// P or F.
        poll: bool,
    },
}

/// Supervisory frames (section 3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervisory {
    /// Receive ready.
    Rr,
    /// Receive not ready.
    Rnr,
    /// Reject: send again from N(R).
    Rej,
}

/// Unnumbered frames (section 3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnumbered {
    /// Set asynchronous balanced mode extended: up, from the beginning.
    Sabme,
    /// Disconnected mode: no.
    Dm,
    /// Unnumbered information.
    Ui,
    /// Disconnect.
    Disc,
    /// Unnumbered acknowledgement: yes.
    Ua,
    /// Frame reject: what you sent is against the rules.
    Frmr,
    /// Exchange identification.
    Xid,
}

impl Supervisory {
    const ALL: [(Supervisory, u8); 3] = [(Supervisory::Rr, 0x01), (Supervisory::Rnr, 0x05), (Supervisory::Rej, 0x09)];
}

/// P/F where the control field is one octet.
const POLL: u8 = 0x10;

impl Unnumbered {
    const ALL: [(Unnumbered, u8); 7] = [
        (Unnumbered::Sabme, 0x6f),
        (Unnumbered::Dm, 0x0f),
        (Unnumbered::Ui, 0x03),
        (Unnumbered::Disc, 0x43),
        (Unnumbered::Ua, 0x63),
        (Unnumbered::Frmr, 0x87),
        (Unnumbered::Xid, 0xaf),
    ];

    /// The only role that it can have; XID has both.
    pub fn role(self) -> Option<Role> {
        match self {
            Unnumbered::Sabme | Unnumbered::Ui | Unnumbered::Disc => Some(Role::Command),
            Unnumbered::Dm | Unnumbered::Ua | Unnumbered::Frmr => Some(Role::Response),
            Unnumbered::Xid => None,
        }
    }

    fn may_inform(self) -> bool {
        matches!(self, Unnumbered::Ui | Unnumbered::Frmr | Unnumbered::Xid)
    }
}

/// Why octets are no frame. The far end sent them so: what the line damages, its FCS finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotAFrame {
    /// Shorter than its fields, or the address is not two octets long.
    #[error("it is cut short, or its address is not two octets long")]
    Address,
    /// The control field means nothing (Q.921 table 5).
    #[error("its control field is not defined")]
    Undefined,
    /// It carries information where none may be.
    #[error("it carries information that it must not carry")]
    Informed,
    /// A supervisory frame that is not four octets long.
    #[error("its length is wrong")]
    Size,
}

/// A frame, the information in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which link.
    pub address: Address,
    /// C/R as it stands in the frame; [`Frame::role`] says what it means.
    pub bit: bool,
    /// What it is.
    pub control: Control,
    /// What it carries.
    pub information: &'a [u8],
}

impl<'a> Frame<'a> {
    /// A frame that `from` sends without information.
    pub fn new(from: Side, role: Role, address: Address, control: Control) -> Frame<'a> {
        Frame { address, bit: (from == Side::Network) == (role == Role::Command), control, information: &[] }
    }

    /// Reads a frame from its first octet to its last before the FCS.
    pub fn read(octets: &'a [u8]) -> Result<Frame<'a>, NotAFrame> {
        let address = Address::read(octets).ok_or(NotAFrame::Address)?;
        let (bit, rest) = match octets {
            [first, _, rest @ ..] => (first & 2 != 0, rest),
            _ => return Err(NotAFrame::Address),
        };
        let (control, information) = control(rest)?;
        Ok(Frame { address, bit, control, information })
    }

    /// Command or response, when it comes from `from` (section 3.3.2).
    pub fn role(&self, from: Side) -> Role {
        if self.bit == (from == Side::Network) { Role::Command } else { Role::Response }
    }

    /// The octets to send.
    pub fn write(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(4 + self.information.len());
        octets.extend([self.address.sapi << 2 | u8::from(self.bit) << 1, self.address.tei << 1 | 1]);
        match self.control {
            Control::I { sent, received, poll } => octets.extend([sent << 1, received << 1 | u8::from(poll)]),
            Control::S { kind, received, poll } => {
                octets.extend(code(&Supervisory::ALL, kind));
                octets.push(received << 1 | u8::from(poll));
            }
            Control::U { kind, poll } => {
                octets.extend(code(&Unnumbered::ALL, kind).map(|code| code | if poll { POLL } else { 0 }));
            }
        }
        octets.extend_from_slice(self.information);
        octets
    }
}

fn code<T: Copy + PartialEq>(table: &[(T, u8)], kind: T) -> Option<u8> {
    table.iter().find(|(entry, _)| *entry == kind).map(|(_, code)| *code)
}

fn kind<T: Copy>(table: &[(T, u8)], code: u8) -> Result<T, NotAFrame> {
    table.iter().find(|(_, entry)| *entry == code).map(|(kind, _)| *kind).ok_or(NotAFrame::Undefined)
}

fn control(octets: &[u8]) -> Result<(Control, &[u8]), NotAFrame> {
    match octets {
        [] => Err(NotAFrame::Address),
        [sent, rest @ ..] if sent & 1 == 0 => match rest {
            [number, information @ ..] => {
                Ok((Control::I { sent: sent >> 1, received: number >> 1, poll: number & 1 == 1 }, information))
            }
            [] => Err(NotAFrame::Size),
        },
        [first, rest @ ..] if first & 3 == 1 => {
            let kind = kind(&Supervisory::ALL, *first)?;
            match rest {
                [number] => Ok((Control::S { kind, received: number >> 1, poll: number & 1 == 1 }, &[])),
                _ => Err(NotAFrame::Size),
            }
        }
        [first, information @ ..] => {
            let kind = kind(&Unnumbered::ALL, first & !POLL)?;
            if !information.is_empty() && !kind.may_inform() {
                return Err(NotAFrame::Informed);
            }
            Ok((Control::U { kind, poll: first & POLL != 0 }, information))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const TRACES: [&str; 7] = [
        include_str!("../../tests/vectors/q931/4ess.txt"),
        include_str!("../../tests/vectors/q931/5ess.txt"),
        include_str!("../../tests/vectors/q931/dms100.txt"),
        include_str!("../../tests/vectors/q931/euroisdn.txt"),
        include_str!("../../tests/vectors/q931/ni1.txt"),
        include_str!("../../tests/vectors/q931/ni2.txt"),
        include_str!("../../tests/vectors/q931/qsig.txt"),
    ];

    /// Calls between two libpris, traced at the network's side: who sent each frame, and its octets.
    pub(crate) fn libpri() -> impl Iterator<Item = Vec<(Side, Vec<u8>)>> {
        let frame = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            (if words[2] == "tx" { Side::Network } else { Side::User }, octets(words[3]))
        };
        TRACES.into_iter().map(move |trace| trace.lines().map(frame).collect())
    }

    fn octets(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn frames_of_the_standard_read_and_write_as_they_are_drawn() {
        use Role::{Command, Response};
        let u = |kind, poll| Control::U { kind, poll };
        let s = |kind, received, poll| Control::S { kind, received, poll };
        for (hex, from, role, control) in [
            ("00017f", Side::User, Command, u(Unnumbered::Sabme, true)),
            ("02017f", Side::Network, Command, u(Unnumbered::Sabme, true)),
            ("000173", Side::Network, Response, u(Unnumbered::Ua, true)),
            ("020173", Side::User, Response, u(Unnumbered::Ua, true)),
            ("000153", Side::User, Command, u(Unnumbered::Disc, true)),
            ("02011f", Side::User, Response, u(Unnumbered::Dm, true)),
            ("02010f", Side::User, Response, u(Unnumbered::Dm, false)),
            ("0201af", Side::Network, Command, u(Unnumbered::Xid, false)),
            ("02010101", Side::User, Response, s(Supervisory::Rr, 0, true)),
            ("02010103", Side::Network, Command, s(Supervisory::Rr, 1, true)),
            ("000105fe", Side::Network, Response, s(Supervisory::Rnr, 127, false)),
            ("02010908", Side::User, Response, s(Supervisory::Rej, 4, false)),
            ("0001fe03", Side::User, Command, Control::I { sent: 127, received: 1, poll: true }),
        ] {
            let frame = Frame::new(from, role, CALL_CONTROL, control);
            assert_eq!(frame.write(), octets(hex), "{frame:?}");
            assert_eq!(Frame::read(&octets(hex)), Ok(frame), "{hex}");
            assert_eq!((frame.role(from), frame.role(from.other()) == role), (role, false));
        }
        let broadcast = Frame {
            address: Address { sapi: 63, tei: 127 },
            information: &[0x0f, 1, 2, 1, 0xff],
            ..Frame::new(Side::User, Command, CALL_CONTROL, u(Unnumbered::Ui, false))
        };
        assert_eq!(broadcast.write(), octets("fcff030f010201ff"));
        assert_eq!(Frame::read(&broadcast.write()), Ok(broadcast));
    }

    #[test]
    fn what_is_no_frame_says_why() {
        for (hex, why) in [
            ("", NotAFrame::Address),
            ("00", NotAFrame::Address),
            ("0001", NotAFrame::Address),
            ("01017f", NotAFrame::Address),
            ("00007f", NotAFrame::Address),
            ("00010d00", NotAFrame::Undefined),
            ("0001f1", NotAFrame::Undefined),
            ("0001ff", NotAFrame::Undefined),
            ("00017f00", NotAFrame::Informed),
            ("00017308", NotAFrame::Informed),
            ("000100", NotAFrame::Size),
            ("000101", NotAFrame::Size),
            ("0001010000", NotAFrame::Size),
        ] {
            assert_eq!(Frame::read(&octets(hex)), Err(why), "{hex}");
        }
    }

    #[test]
    fn what_libpri_sent_is_written_again_octet_for_octet() {
        for (from, octets) in libpri().flatten() {
            let frame = Frame::read(&octets).unwrap();
            assert_eq!(frame.write(), octets);
            let role = match frame.control {
                Control::I { .. } => Role::Command,
                Control::S { .. } => Role::Response,
                Control::U { kind, .. } => kind.role().unwrap(),
            };
            assert_eq!(frame.role(from), role, "{frame:?}");
        }
    }

    #[test]
    fn any_octets_are_a_frame_that_is_written_back_or_none() {
        bolero::check!().for_each(|octets: &[u8]| {
            if let Ok(frame) = Frame::read(octets) {
                assert_eq!(frame.write(), octets);
            }
        });
    }
}
