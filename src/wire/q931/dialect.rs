//! What switches write differently. Reading is the same for all: each understands everybody's habits.

use super::display::{Display, IA5};
use super::message::Kind;
use crate::private::Private;
use crate::wire::q921::Side;

/// Characters of a display.
const DISPLAYED: usize = 31;

/// The family of a switch (`Switch` of a span).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// National ISDN 2.
    Ni2,
    /// Lucent 5ESS, custom.
    Ess5,
    /// Nortel DMS-100, custom.
    Dms100,
    /// AT&T 4ESS.
    Ess4,
    /// ETSI (EN 300 403).
    EuroIsdn,
    /// Between private exchanges (ECMA-143).
    Qsig,
}

/// How a caller's name is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameIn {
    /// Not at all, but for the display.
    Nothing,
    /// In SETUP.
    Setup,
    /// In a FACILITY after CALL PROCEEDING; SETUP announces it.
    Facility,
}

/// The habits. Sources: EN 300 403-1 and ECMA-143, -164, -174 for the last two dialects; TR 41459, NIS A211-1, Telcordia
/// SR-4994 and GR-1367 for the others; for all of them what libpri 1.6.0 is seen to write (`tests/vectors/q931`).
impl Dialect {
    /// All, in the order of the manual.
    pub const ALL: [Dialect; 6] =
        [Dialect::Ni2, Dialect::Ess5, Dialect::Dms100, Dialect::Ess4, Dialect::EuroIsdn, Dialect::Qsig];

    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Ni2 => "ni2",
            Dialect::Ess5 => "5ess",
            Dialect::Dms100 => "dms100",
            Dialect::Ess4 => "4ess",
            Dialect::EuroIsdn => "euroisdn",
            Dialect::Qsig => "qsig",
        }
    }

    /// The dialect that the configuration names.
    pub fn named(name: &str) -> Option<Dialect> {
        Dialect::ALL.into_iter().find(|dialect| dialect.name().eq_ignore_ascii_case(name))
    }

    /// A text for the other end's display: displays go from the network to the user only, and private exchanges have none.
    /// Some networks take 34 octets at most, element and length included.
    pub fn display(self, from: Side, text: &str) -> Option<Display> {
        let charset = match self {
            Dialect::Ni2 | Dialect::Ess5 | Dialect::Dms100 | Dialect::Ess4 => Some(IA5),
            Dialect::EuroIsdn => None,
            Dialect::Qsig => return None,
        };
        let text = || Private(text.chars().take(DISPLAYED).collect());
        (from == Side::Network).then(|| Display { charset, text: text() })
    }

    /// How `side` tells a caller's name, apart from a display.
    pub fn name_in(self, side: Side) -> NameIn {
        match (self, side) {
            (Dialect::Ni2, Side::Network) => NameIn::Facility,
            (Dialect::Ni2, Side::User) | (Dialect::Qsig, _) => NameIn::Setup,
            (Dialect::Ess5 | Dialect::Dms100 | Dialect::Ess4 | Dialect::EuroIsdn, _) => NameIn::Nothing,
        }
    }

    /// Is it told in a facility who was called before, and not as an element?
    pub fn diverts_by_facility(self) -> bool {
        matches!(self, Dialect::EuroIsdn | Dialect::Qsig)
    }

    /// Does CONNECT say under which number it was answered?
    pub fn tells_who_answered(self) -> bool {
        matches!(self, Dialect::EuroIsdn | Dialect::Qsig)
    }

    /// Does SETUP say that its number is whole?
    pub fn says_sending_complete(self) -> bool {
        self == Dialect::EuroIsdn
    }

    /// May a channel identification name an interface?
    pub fn names_interfaces(self) -> bool {
        !self.is_private()
    }

    /// Is the line one between private exchanges?
    pub fn is_private(self) -> bool {
        self == Dialect::Qsig
    }

    /// How it writes SERVICE, if it has it.
    pub fn maintenance(self) -> Option<Maintenance> {
        match self {
            Dialect::Ni2 => Some(Maintenance::National),
            Dialect::Ess5 | Dialect::Dms100 | Dialect::Ess4 => Some(Maintenance::Att),
            Dialect::EuroIsdn | Dialect::Qsig => None,
        }
    }
}

/// The two ways of writing SERVICE: their message types are each other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Maintenance {
    /// AT&T's: discriminator 3.
    Att,
    /// National ISDN's: discriminator 0x43.
    National,
}

impl Maintenance {
    pub(super) fn of(discriminator: u8) -> Option<Maintenance> {
        [Maintenance::Att, Maintenance::National].into_iter().find(|way| way.discriminator() == discriminator)
    }

    pub(super) fn discriminator(self) -> u8 {
        match self {
            Maintenance::Att => 0x03,
            Maintenance::National => 0x43,
        }
    }

    pub(super) fn service(self) -> u8 {
        match self {
            Maintenance::Att => 0x0f,
            Maintenance::National => 0x07,
        }
    }

    pub(super) fn service_ack(self) -> u8 {
        match self {
            Maintenance::Att => 0x07,
            Maintenance::National => 0x0f,
        }
    }

    pub(super) fn kind(self, code: u8) -> Kind {
        match code {
            code if code == self.service() => Kind::Service(self),
            code if code == self.service_ack() => Kind::ServiceAck(self),
            code => Kind::Other(code),
        }
    }
}
