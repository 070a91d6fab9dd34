//! Channel identification (Q.931 section 4.5.13) on primary rate lines: which timeslots.
//!
//! ```text
//! | 1, explicit, 1 (PRI), 0, exclusive, D, selection (2) | [interface, ext] | 1, coding (2), map, 0011 | slots ...
//! ```

use super::element::{Element, id};

/// Set in the first octet on primary rate lines.
const PRIMARY: u8 = 0x20;
const EXPLICIT: u8 = 0x40;
const EXCLUSIVE: u8 = 0x08;
const D_CHANNEL: u8 = 0x04;
/// Selection: none, as given in what follows, (reserved), any.
const FOLLOWS: u8 = 1;
const ANY: u8 = 3;
/// B channels, ITU-T's coding.
const B_CHANNELS: u8 = 0x03;
const MAP: u8 = 0x10;

/// A set of timeslots as a map: bit n is timeslot n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Bit n is timeslot n.
    pub bits: u32,
    /// Octets on the wire: 3 for T1, where the lowest bit is timeslot 1; 4 for E1, where it is timeslot 0.
    pub octets: u8,
}

impl Slots {
    fn read(octets: &[u8]) -> Option<Slots> {
        let bits = octets.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet));
        match octets.len() {
            3 => Some(Slots { bits: bits << 1, octets: 3 }),
            4 => Some(Slots { bits, octets: 4 }),
            _ => None,
        }
    }

    fn write(self) -> impl Iterator<Item = u8> {
        let (bits, skip) = if self.octets == 3 { (self.bits >> 1, 1) } else { (self.bits, 0) };
        bits.to_be_bytes().into_iter().skip(skip)
    }
}

/// Which timeslots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// None.
    None,
    /// Any.
    Any,
    /// The D channel itself: a call without a timeslot.
    D,
    /// These, by number; at least one.
    Numbers(Vec<u8>),
    /// These, as a map.
    Map(Slots),
    /// The interface as a whole (RESTART, SERVICE).
    Interface,
}

/// Timeslots that are asked for, offered or agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The interface by its number; `None` is the one with the D channel.
    pub interface: Option<u8>,
    /// These or none; else they are a wish.
    pub exclusive: bool,
    /// Which.
    pub choice: Choice,
}

impl Channel {
    /// One timeslot.
    pub fn slot(interface: Option<u8>, number: u8, exclusive: bool) -> Channel {
        Channel { interface, exclusive, choice: Choice::Numbers(vec![number]) }
    }

    /// Any timeslot.
    pub fn any() -> Channel {
        Channel { interface: None, exclusive: false, choice: Choice::Any }
    }

    /// The numbers of the timeslots; none for an interface as a whole.
    pub fn numbers(&self) -> Vec<u8> {
        match &self.choice {
            Choice::Numbers(numbers) => numbers.clone(),
            Choice::Map(slots) => (0..32).filter(|slot| slots.bits >> slot & 1 != 0).collect(),
            Choice::None | Choice::Any | Choice::D | Choice::Interface => Vec::new(),
        }
    }

    /// The timeslot, where there is exactly one.
    pub fn single(&self) -> Option<u8> {
        match self.numbers()[..] {
            [number] => Some(number),
            _ => None,
        }
    }
}

impl Element for Channel {
    const ID: u8 = id::CHANNEL_IDENTIFICATION;

    fn read(contents: &[u8]) -> Option<Channel> {
        let (&first, rest) = contents.split_first()?;
        if first & PRIMARY == 0 {
            return None;
        }
        let (interface, rest) = match (first & EXPLICIT, rest) {
            (0, rest) => (None, rest),
            (_, [interface, rest @ ..]) if interface & 0x80 != 0 => (Some(interface & 0x7f), rest),
            _ => return None,
        };
        let choice = match (first & D_CHANNEL, first & 3) {
            (0, 0) => Choice::None,
            (0, FOLLOWS) => slots(rest)?,
            (0, ANY) => Choice::Any,
            (D_CHANNEL, _) => Choice::D,
            _ => return None,
        };
        Some(Channel { interface, exclusive: first & EXCLUSIVE != 0, choice })
    }

    fn write(&self, contents: &mut Vec<u8>) {
        let selection = match self.choice {
            Choice::None => 0,
            Choice::Any => ANY,
            Choice::D => D_CHANNEL,
            Choice::Numbers(_) | Choice::Map(_) | Choice::Interface => FOLLOWS,
        };
        let explicit = if self.interface.is_some() { EXPLICIT } else { 0 };
        let exclusive = if self.exclusive { EXCLUSIVE } else { 0 };
        contents.push(0x80 | PRIMARY | explicit | exclusive | selection);
        contents.extend(self.interface.map(|interface| 0x80 | interface));
        match &self.choice {
            Choice::Numbers(numbers) => {
                contents.push(0x80 | B_CHANNELS);
                contents.extend(numbers.iter().map(|number| number & 0x7f));
                // The last one ends the list.
                contents.last_mut().into_iter().for_each(|last| *last |= 0x80);
            }
            Choice::Map(slots) => {
                contents.push(0x80 | MAP | B_CHANNELS);
                contents.extend(slots.write());
            }
            Choice::None | Choice::Any | Choice::D | Choice::Interface => {}
        }
    }
}

/// Octets 3.2 and 3.3.
fn slots(octets: &[u8]) -> Option<Choice> {
    match octets {
        [] => Some(Choice::Interface),
        [kind, map @ ..] if kind & 0x7f == MAP | B_CHANNELS => Slots::read(map).map(Choice::Map),
        [kind, numbers @ ..] if kind & 0x7f == B_CHANNELS && !numbers.is_empty() => {
            let last = numbers.iter().position(|octet| octet & 0x80 != 0).unwrap_or(numbers.len() - 1);
            Some(Choice::Numbers(numbers.iter().take(last + 1).map(|octet| octet & 0x7f).collect()))
        }
        _ => None,
    }
}
