//! The elements of a message (Q.931 section 4.5), and those that are a value of a single octet or opaque.

use crate::private::Private;

/// Identifiers of codeset 0 (Q.931 table 4-3, Q.932 table 8-2).
#[allow(missing_docs, reason = "the standard's names")]
pub mod id {
    /// SERVICE messages only.
    pub const CHANGE_STATUS: u8 = 0x01;
    pub const BEARER_CAPABILITY: u8 = 0x04;
    pub const CAUSE: u8 = 0x08;
    pub const CALL_IDENTITY: u8 = 0x10;
    pub const CALL_STATE: u8 = 0x14;
    pub const CHANNEL_IDENTIFICATION: u8 = 0x18;
    pub const FACILITY: u8 = 0x1c;
    pub const PROGRESS_INDICATOR: u8 = 0x1e;
    pub const NETWORK_SPECIFIC_FACILITIES: u8 = 0x20;
    pub const NOTIFICATION_INDICATOR: u8 = 0x27;
    pub const DISPLAY: u8 = 0x28;
    pub const KEYPAD_FACILITY: u8 = 0x2c;
    pub const CONNECTED_NUMBER: u8 = 0x4c;
    pub const CALLING_PARTY_NUMBER: u8 = 0x6c;
    pub const CALLED_PARTY_NUMBER: u8 = 0x70;
    pub const ORIGINAL_CALLED_NUMBER: u8 = 0x73;
    pub const REDIRECTING_NUMBER: u8 = 0x74;
    pub const RESTART_INDICATOR: u8 = 0x79;
    pub const LOW_LAYER_COMPATIBILITY: u8 = 0x7c;
    pub const HIGH_LAYER_COMPATIBILITY: u8 = 0x7d;
    pub const USER_USER: u8 = 0x7e;
    /// Of a single octet.
    pub const SENDING_COMPLETE: u8 = 0xa1;

    /// What is known, and not used here.
    pub(in super::super) const UNUSED: &[u8] = &[
        CALL_IDENTITY,
        NETWORK_SPECIFIC_FACILITIES,
        0x29, // date/time
        0x32, // information request
        0x34, // signal
        0x36, // switchhook
        0x37, // generic digits (national)
        0x38, // feature activation
        0x39, // feature indication
        0x3a, // service profile identification
        0x3b, // endpoint identifier
        0x40, // information rate
        0x42, // end-to-end transit delay
        0x43, // transit delay selection and indication
        0x44, // packet layer binary parameters
        0x45, // packet layer window size
        0x46, // packet size
        0x47, // closed user group
        0x4a, // reverse charging indication
        0x4d, // connected subaddress
        0x6d, // calling party subaddress
        0x71, // called party subaddress
        0x76, // redirection number
        0x78, // transit network selection
        0x7f, // escape for extension
        0xa0, // more data
    ];
}

/// What a code means depends on the codeset (section 4.5.3): 0 is ITU-T's, 4 ISO's, 5 national, 6 the network's, 7 the user's.
const SHIFT: u8 = 0x90;
const KEEPS_CODESET: u8 = 0x08;
const SINGLE_OCTET: u8 = 0x80;

/// An element as it was received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Whose code `id` is.
    pub codeset: u8,
    /// What it is. Elements of one octet have bit 8 set.
    pub id: u8,
    /// What follows the length.
    pub contents: &'a [u8],
    /// The message ended within it.
    pub cut: bool,
}

impl Raw<'_> {
    /// Is it this element of codeset 0, and not empty?
    pub fn is(&self, id: u8) -> bool {
        self.codeset == 0 && self.id == id && !(self.contents.is_empty() && id & SINGLE_OCTET == 0)
    }

    /// As a value; `None` when its contents are not what they have to be.
    pub fn read<E: Element>(&self) -> Option<E> {
        if self.cut { None } else { E::read(self.contents) }
    }
}

/// The elements of a message in their order; shifts of the codeset are followed and not told.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    locked: u8,
    /// For the next element alone.
    once: Option<u8>,
}

impl<'a> Elements<'a> {
    pub(super) fn of(octets: &'a [u8]) -> Elements<'a> {
        Elements { rest: octets, locked: 0, once: None }
    }

    /// Locking shifts go up only (section 4.5.3); 0 is reached by one-time shifts.
    fn shift(&mut self, octet: u8) {
        let codeset = octet & 7;
        if octet & KEEPS_CODESET != 0 {
            self.once = Some(codeset);
        } else if codeset > self.locked {
            self.locked = codeset;
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        loop {
            let (&[first], rest) = self.rest.split_first_chunk()?;
            self.rest = rest;
            if first & 0xf0 == SHIFT {
                self.shift(first);
                continue;
            }
            let codeset = self.once.take().unwrap_or(self.locked);
            if first & SINGLE_OCTET != 0 {
                return Some(Raw { codeset, id: first, contents: &[], cut: false });
            }
            let Some((&[length], rest)) = rest.split_first_chunk() else {
                return Some(Raw { codeset, id: first, contents: &[], cut: true });
            };
            let (contents, rest) = rest.split_at(rest.len().min(length.into()));
            self.rest = rest;
            return Some(Raw { codeset, id: first, contents, cut: contents.len() < length.into() });
        }
    }
}

/// An element of codeset 0 as a value.
pub trait Element: Sized {
    /// Its identifier.
    const ID: u8;

    /// Reads its contents; `None` is section 5.8's "content error".
    fn read(contents: &[u8]) -> Option<Self>;

    /// Appends its contents.
    fn write(&self, contents: &mut Vec<u8>);
}

/// No digits will follow (section 4.5.27).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendingComplete;

impl Element for SendingComplete {
    const ID: u8 = id::SENDING_COMPLETE;

    fn read(_: &[u8]) -> Option<SendingComplete> {
        Some(SendingComplete)
    }

    fn write(&self, _: &mut Vec<u8>) {}
}

/// What shall be restarted (section 4.5.25).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The timeslots that the channel identification names.
    Channels,
    /// One interface.
    Interface,
    /// All interfaces of the D channel.
    All,
}

impl Element for Restart {
    const ID: u8 = id::RESTART_INDICATOR;

    fn read(contents: &[u8]) -> Option<Restart> {
        match contents.first()? & 7 {
            0 => Some(Restart::Channels),
            6 => Some(Restart::Interface),
            7 => Some(Restart::All),
            _ => None,
        }
    }

    fn write(&self, contents: &mut Vec<u8>) {
        contents.push(match self {
            Restart::Channels => 0x80,
            Restart::Interface => 0x86,
            Restart::All => 0x87,
        });
    }
}

/// Something that happened to the other party (section 4.5.22): suspended 0, resumed 1, remote hold 0x79 ...
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification(pub u8);

impl Element for Notification {
    const ID: u8 = id::NOTIFICATION_INDICATOR;

    fn read(contents: &[u8]) -> Option<Notification> {
        contents.first().map(|octet| Notification(octet & 0x7f))
    }

    fn write(&self, contents: &mut Vec<u8>) {
        contents.push(0x80 | self.0);
    }
}

/// Of a timeslot in SERVICE messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeStatus {
    /// It may be used.
    InService,
    /// It is being tested.
    Maintenance,
    /// It must not be used.
    OutOfService,
}

impl Element for ChangeStatus {
    const ID: u8 = id::CHANGE_STATUS;

    fn read(contents: &[u8]) -> Option<ChangeStatus> {
        match contents.first()? & 0x0f {
            0 => Some(ChangeStatus::InService),
            1 => Some(ChangeStatus::Maintenance),
            2 => Some(ChangeStatus::OutOfService),
            _ => None,
        }
    }

    /// Bit 7: it is about a channel, or all of them.
    fn write(&self, contents: &mut Vec<u8>) {
        contents.push(0xc0 | *self as u8);
    }
}

/// Elements of which only the whole is known.
macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident = $id:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub Private<Vec<u8>>);

        impl Element for $name {
            const ID: u8 = $id;

            fn read(contents: &[u8]) -> Option<$name> {
                Some($name(Private(contents.to_vec())))
            }

            fn write(&self, contents: &mut Vec<u8>) {
                contents.extend_from_slice(self.0.get());
            }
        }
    )*};
}

opaque! {
    /// What users tell each other (section 4.5.30): protocol discriminator and text, passed as it is.
    UserUser = id::USER_USER;
    /// What was pressed on a telephone (section 4.5.18): IA5 digits.
    Keypad = id::KEYPAD_FACILITY;
    /// Telephony, fax ... (section 4.5.17), passed as it is.
    CompatibilityHigh = id::HIGH_LAYER_COMPATIBILITY;
    /// What the far end's equipment speaks (section 4.5.19), passed as it is.
    CompatibilityLow = id::LOW_LAYER_COMPATIBILITY;
}
