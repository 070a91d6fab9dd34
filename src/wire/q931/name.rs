//! Names of parties in a facility: QSIG (ECMA-164) and National ISDN (Telcordia GR-1367).
//!
//! ```text
//! operation 0 calling, 1 called, 2 connected, 3 busy; argument: Name, or a sequence that begins with it
//! Name: 80 text | a1 { 04 text, .. } may be shown · 82, a3 likewise restricted · 84 not available · 87 restricted
//! ```

use super::display::latin;
use super::facility::{Facility, Profile};
use super::rose::{Component, Operation, Value, string_in, text, value};
use crate::private::Private;

/// The operations' numbers as an object of ECMA's: 1.3.12.9.n.
const ECMA: [u8; 3] = [0x2b, 0x0c, 0x09];
/// "Information follows" of National ISDN: 1.2.840.10005.0.4; the name comes in a FACILITY of its own.
const FOLLOWS: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x15, 0x00, 0x04];
/// Octets of a name (ECMA-164).
const LONGEST: usize = 50;

/// Whose name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The caller.
    Calling,
    /// Who rings.
    Called,
    /// Who answered.
    Connected,
    /// Who is busy.
    Busy,
}

impl Party {
    const ALL: [Party; 4] = [Party::Calling, Party::Called, Party::Connected, Party::Busy];

    fn of(operation: Operation) -> Option<Party> {
        let number = match operation {
            Operation::Local(number) => usize::try_from(number).ok()?,
            Operation::Global([rest @ .., number]) if *rest == ECMA => usize::from(*number),
            Operation::Global(_) => return None,
        };
        Party::ALL.get(number).copied()
    }
}

/// A party's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Whose.
    pub party: Party,
    /// ISO 8859-1; empty where it is not available.
    pub text: Private<String>,
    /// It must not be shown.
    pub restricted: bool,
}

impl Name {
    /// The name that a facility tells.
    pub fn read(facility: &Facility) -> Option<Name> {
        facility.profile().filter(|profile| *profile == Profile::Networking)?;
        facility.components().find_map(|component| match component {
            Component::Invoke { operation, mut argument, .. } => {
                let party = Party::of(operation)?;
                let value = argument.next()?;
                let value = if value.tag == 0x30 { value.inside().next()? } else { value };
                let (text, restricted) = name(value)?;
                Some(Name { party, text: Private(text), restricted })
            }
            _ => None,
        })
    }

    /// Does this facility say that a name follows?
    pub fn follows(facility: &Facility) -> bool {
        let says = |component| match component {
            Component::Invoke { operation: Operation::Global(object), .. } => *object == FOLLOWS,
            _ => false,
        };
        facility.components().any(says)
    }

    /// "Information follows", as National ISDN's SETUP says it.
    pub fn announcement(id: u8) -> Facility {
        let unknown = value(0x0a, &[0]);
        Facility::networking(false, &Component::invoke(id, Operation::Global(&FOLLOWS), &unknown))
    }

    /// The facility that tells this name; `private`: from one private exchange to another (QSIG).
    pub fn facility(&self, id: u8, private: bool) -> Facility {
        let text: Vec<u8> = latin(self.text.get()).take(LONGEST).collect();
        let tag = match (text.is_empty(), self.restricted) {
            (true, false) => 0x84,
            (true, true) => 0x87,
            (false, false) => 0x80,
            (false, true) => 0x82,
        };
        let component = Component::invoke(id, self.party as u8, &value(tag, &text));
        Facility::networking(private, &component)
    }
}

fn name(value: Value) -> Option<(String, bool)> {
    match value.tag {
        0x80 => Some((text(value), false)),
        0x82 => Some((text(value), true)),
        0xa1 => string_in(value).map(|value| (text(value), false)),
        0xa3 => string_in(value).map(|value| (text(value), true)),
        0x84 => Some((String::new(), false)),
        0x87 => Some((String::new(), true)),
        _ => None,
    }
}
