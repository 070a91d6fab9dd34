//! Bearer capability (Q.931 section 4.5.5): what the timeslot shall carry.
//!
//! ```text
//! | 1, coding (2), transfer capability (5) | 1, mode (2), rate (5) | [multiplier] | 1, 01, layer 1 (5) | ...
//! ```

use super::element::{Element, id};
use crate::session::Codec;

/// Information transfer capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transfer(pub u8);

impl Transfer {
    /// Speech.
    pub const SPEECH: Transfer = Transfer(0x00);
    /// 64 kbit/s untouched.
    pub const UNRESTRICTED: Transfer = Transfer(0x08);
    /// 56 kbit/s.
    pub const RESTRICTED: Transfer = Transfer(0x09);
    /// 3.1 kHz audio: fax, modem, speech.
    pub const AUDIO: Transfer = Transfer(0x10);
    /// 7 kHz audio, or unrestricted with tones.
    pub const WIDEBAND: Transfer = Transfer(0x11);
    /// Video.
    pub const VIDEO: Transfer = Transfer(0x18);
}

/// User information layer 1 protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layer1(pub u8);

impl Layer1 {
    /// G.711 µ-law.
    pub const MU_LAW: Layer1 = Layer1(2);
    /// G.711 A-law.
    pub const A_LAW: Layer1 = Layer1(3);
}

/// Circuit mode at 64 kbit/s.
const CIRCUIT_64: u8 = 0x10;
/// Rates that a multiplier follows.
const MULTIRATE: u8 = 0x18;

/// What a call is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Bits 6 and 7 of its first octet; 0 is ITU-T's.
    pub coding: u8,
    /// What is carried.
    pub transfer: Transfer,
    /// Transfer mode and rate: 0x10 is circuit mode at 64 kbit/s.
    pub rate: u8,
    /// So many timeslots.
    pub multiplier: Option<u8>,
    /// How sound is coded.
    pub layer1: Option<Layer1>,
    /// What follows, as it is.
    pub more: Vec<u8>,
}

impl Bearer {
    /// A telephone call over a line of this companding law.
    pub fn speech(law: Codec) -> Bearer {
        Bearer::circuit(Transfer::SPEECH, law)
    }

    /// 3.1 kHz audio over a line of this companding law.
    pub fn audio(law: Codec) -> Bearer {
        Bearer::circuit(Transfer::AUDIO, law)
    }

    fn circuit(transfer: Transfer, law: Codec) -> Bearer {
        let layer1 = if law == Codec::Pcma { Layer1::A_LAW } else { Layer1::MU_LAW };
        Bearer { coding: 0, transfer, rate: CIRCUIT_64, multiplier: None, layer1: Some(layer1), more: Vec::new() }
    }

    /// Can a telephone take part?
    pub fn is_sound(&self) -> bool {
        let transfer = matches!(self.transfer, Transfer::SPEECH | Transfer::AUDIO | Transfer::WIDEBAND);
        transfer && self.rate == CIRCUIT_64
    }
}

impl Element for Bearer {
    const ID: u8 = id::BEARER_CAPABILITY;

    fn read(contents: &[u8]) -> Option<Bearer> {
        let [first, rate, rest @ ..] = contents else { return None };
        let rate = rate & 0x7f;
        let (multiplier, rest) = match (rate, rest) {
            (MULTIRATE, [multiplier, rest @ ..]) => (Some(multiplier & 0x7f), rest),
            (MULTIRATE, []) => return None,
            (_, rest) => (None, rest),
        };
        // Its extension bit belongs to what follows: octets 5a to 5d are kept with it.
        let (layer1, more) = match rest {
            [layer1, more @ ..] if layer1 & 0xe0 == 0xa0 => (Some(Layer1(layer1 & 0x1f)), more),
            more => (None, more),
        };
        let (coding, transfer) = (first >> 5 & 3, Transfer(first & 0x1f));
        Some(Bearer { coding, transfer, rate, multiplier, layer1, more: more.to_vec() })
    }

    fn write(&self, contents: &mut Vec<u8>) {
        contents.extend([0x80 | self.coding << 5 | self.transfer.0, 0x80 | self.rate]);
        contents.extend(self.multiplier.map(|multiplier| 0x80 | multiplier));
        contents.extend(self.layer1.map(|layer1| 0xa0 | layer1.0));
        contents.extend_from_slice(&self.more);
    }
}
