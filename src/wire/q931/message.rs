//! A message (Q.931 section 4): protocol discriminator, call reference, type, elements.

use std::fmt;

use super::dialect::Maintenance;
use super::element::{Element, Elements, Raw};

/// Call control (section 4.2).
pub(super) const CALL_CONTROL: u8 = 0x08;
/// This bit of a call reference says that it goes to the side that chose it.
const TO_ORIGIN: u16 = 0x8000;

/// Which call of a D channel is meant (section 4.3). Leading zeros count for nothing, so one octet reads like two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// 15 bits, chosen by the side that began the call; 0 is the interface as a whole.
    pub value: u16,
    /// The message goes to the side that chose it (the flag is set).
    pub to_origin: bool,
}

impl Reference {
    /// The interface as a whole: RESTART, SERVICE.
    pub const GLOBAL: Reference = Reference { value: 0, to_origin: false };

    /// The reference as the other side writes it.
    #[must_use]
    pub fn reply(self) -> Reference {
        Reference { to_origin: !self.to_origin, ..self }
    }

    /// Is it the interface as a whole?
    pub fn is_global(self) -> bool {
        self.value == 0
    }

    /// Of the two octets that are written.
    pub(super) fn of(both: u16) -> Reference {
        Reference { value: both & !TO_ORIGIN, to_origin: both & TO_ORIGIN != 0 }
    }

    fn read(octets: &[u8]) -> Option<Reference> {
        match *octets {
            [octet] => Some(Reference { value: u16::from(octet & 0x7f), to_origin: octet & 0x80 != 0 }),
            [high, low] => Some(Reference::of(u16::from_be_bytes([high, low]))),
            _ => None,
        }
    }

    pub(super) fn octets(self) -> [u8; 2] {
        (self.value & !TO_ORIGIN | if self.to_origin { TO_ORIGIN } else { 0 }).to_be_bytes()
    }
}

/// What a message is (Q.931 table 4-2, Q.932 table 8-1; SERVICE: AT&T TR 41459, Telcordia SR-4994).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the standard's names")]
pub enum Kind {
    Alerting,
    CallProceeding,
    Progress,
    Setup,
    Connect,
    SetupAck,
    ConnectAck,
    UserInformation,
    SuspendReject,
    ResumeReject,
    Hold,
    Suspend,
    Resume,
    HoldAck,
    SuspendAck,
    ResumeAck,
    HoldReject,
    Retrieve,
    RetrieveAck,
    RetrieveReject,
    Disconnect,
    Restart,
    Release,
    RestartAck,
    ReleaseComplete,
    Segment,
    Facility,
    Register,
    Notify,
    StatusEnquiry,
    CongestionControl,
    Information,
    Status,
    /// A timeslot goes in or out of service.
    Service(Maintenance),
    ServiceAck(Maintenance),
    /// None that is known here: its code, 0 for a national one.
    Other(u8),
}

const KINDS: &[(u8, Kind, &str)] = &[
    (0x01, Kind::Alerting, "ALERTING"),
    (0x02, Kind::CallProceeding, "CALL PROCEEDING"),
    (0x03, Kind::Progress, "PROGRESS"),
    (0x05, Kind::Setup, "SETUP"),
    (0x07, Kind::Connect, "CONNECT"),
    (0x0d, Kind::SetupAck, "SETUP ACKNOWLEDGE"),
    (0x0f, Kind::ConnectAck, "CONNECT ACKNOWLEDGE"),
    (0x20, Kind::UserInformation, "USER INFORMATION"),
    (0x21, Kind::SuspendReject, "SUSPEND REJECT"),
    (0x22, Kind::ResumeReject, "RESUME REJECT"),
    (0x24, Kind::Hold, "HOLD"),
    (0x25, Kind::Suspend, "SUSPEND"),
    (0x26, Kind::Resume, "RESUME"),
    (0x28, Kind::HoldAck, "HOLD ACKNOWLEDGE"),
    (0x2d, Kind::SuspendAck, "SUSPEND ACKNOWLEDGE"),
    (0x2e, Kind::ResumeAck, "RESUME ACKNOWLEDGE"),
    (0x30, Kind::HoldReject, "HOLD REJECT"),
    (0x31, Kind::Retrieve, "RETRIEVE"),
    (0x33, Kind::RetrieveAck, "RETRIEVE ACKNOWLEDGE"),
    (0x37, Kind::RetrieveReject, "RETRIEVE REJECT"),
    (0x45, Kind::Disconnect, "DISCONNECT"),
    (0x46, Kind::Restart, "RESTART"),
    (0x4d, Kind::Release, "RELEASE"),
    (0x4e, Kind::RestartAck, "RESTART ACKNOWLEDGE"),
    (0x5a, Kind::ReleaseComplete, "RELEASE COMPLETE"),
    (0x60, Kind::Segment, "SEGMENT"),
    (0x62, Kind::Facility, "FACILITY"),
    (0x64, Kind::Register, "REGISTER"),
    (0x6e, Kind::Notify, "NOTIFY"),
    (0x75, Kind::StatusEnquiry, "STATUS ENQUIRY"),
    (0x79, Kind::CongestionControl, "CONGESTION CONTROL"),
    (0x7b, Kind::Information, "INFORMATION"),
    (0x7d, Kind::Status, "STATUS"),
];

impl Kind {
    pub(super) fn of(code: u8) -> Kind {
        KINDS.iter().find(|(known, ..)| *known == code).map_or(Kind::Other(code), |(_, kind, _)| *kind)
    }

    /// The message type's octet.
    pub fn code(self) -> u8 {
        match self {
            Kind::Service(dialect) => dialect.service(),
            Kind::ServiceAck(dialect) => dialect.service_ack(),
            Kind::Other(code) => code,
            kind => KINDS.iter().find(|(_, known, _)| *known == kind).map_or(0, |(code, ..)| *code),
        }
    }

    /// The protocol discriminator that goes with it.
    pub fn discriminator(self) -> u8 {
        match self {
            Kind::Service(dialect) | Kind::ServiceAck(dialect) => dialect.discriminator(),
            _ => CALL_CONTROL,
        }
    }

    /// As the standard writes it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Service(_) => "SERVICE",
            Kind::ServiceAck(_) => "SERVICE ACKNOWLEDGE",
            kind => KINDS.iter().find(|(_, known, _)| *known == kind).map_or("unknown message", |(.., name)| *name),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Other(code) => write!(f, "{} {code:#04x}", self.name()),
            _ => f.write_str(self.name()),
        }
    }
}

/// Octets that section 5.8.1 to 5.8.3.1 wants ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The discriminator is of another protocol.
    #[error("it is of another protocol (discriminator {0:#04x})")]
    Protocol(u8),
    /// It ends before its type.
    #[error("it is too short")]
    Short,
    /// The call reference's length is none that a primary rate line uses.
    #[error("its call reference is malformed")]
    Reference,
}

/// A message as it was received: a view of its octets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The call it is about.
    pub reference: Reference,
    /// What it is.
    pub kind: Kind,
    elements: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads what Q.921 delivered.
    pub fn read(octets: &'a [u8]) -> Result<Message<'a>, Unreadable> {
        let [discriminator, rest @ ..] = octets else { return Err(Unreadable::Short) };
        let maintenance = Maintenance::of(*discriminator);
        if *discriminator != CALL_CONTROL && maintenance.is_none() {
            return Err(Unreadable::Protocol(*discriminator));
        }
        let [length, rest @ ..] = rest else { return Err(Unreadable::Short) };
        if !matches!(length, 1 | 2) {
            return Err(Unreadable::Reference);
        }
        let (reference, rest) = rest.split_at_checked(usize::from(*length)).ok_or(Unreadable::Short)?;
        let reference = Reference::read(reference).ok_or(Unreadable::Reference)?;
        let [code, elements @ ..] = rest else { return Err(Unreadable::Short) };
        let kind = maintenance.map_or_else(|| Kind::of(*code), |dialect| dialect.kind(*code));
        Ok(Message { reference, kind, elements })
    }

    /// Its elements in their order, of all codesets.
    pub fn elements(&self) -> Elements<'a> {
        Elements::of(self.elements)
    }

    /// All elements of codeset 0 with this identifier that have contents: an empty one counts as absent (section 4.5.1).
    pub fn raw(&self, id: u8) -> impl Iterator<Item = Raw<'a>> + use<'a> {
        self.elements().filter(move |raw| raw.is(id))
    }

    /// The first element of this kind (section 5.8.5.2: further ones are ignored), if it is valid.
    pub fn get<E: Element>(&self) -> Option<E> {
        self.raw(E::ID).next().and_then(|raw| raw.read())
    }

    /// All valid elements of a kind that may be repeated.
    pub fn all<E: Element>(&self) -> impl Iterator<Item = E> + use<'a, E> {
        self.raw(E::ID).filter_map(|raw| raw.read())
    }
}

impl fmt::Debug for Message<'_> {
    /// Without contents: these name people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reference { value, to_origin } = self.reference;
        write!(f, "{} {value}{}", self.kind, if to_origin { "*" } else { "" })?;
        self.elements().try_for_each(|raw| write!(f, " {:02x}", raw.id))
    }
}
