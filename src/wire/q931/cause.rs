//! Cause (Q.931 section 4.5.12, Q.850).
//!
//! ```text
//! | ext, coding standard (2), 0, location (4) | [recommendation] | 1, value (7) | diagnostics ...
//! ```

use super::element::{Element, id};
use crate::cause::Cause as Value;

/// Where something happened, seen from who is told (Q.850 section 2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location(pub u8);

impl Location {
    /// At the user.
    pub const USER: Location = Location(0);
    /// In the private network of the near user.
    pub const PRIVATE_NEAR: Location = Location(1);
    /// In the public network of the near user.
    pub const PUBLIC_NEAR: Location = Location(2);
    /// In a transit network.
    pub const TRANSIT: Location = Location(3);
    /// In the public network of the far user.
    pub const PUBLIC_FAR: Location = Location(4);
    /// In the private network of the far user.
    pub const PRIVATE_FAR: Location = Location(5);
    /// In an international network.
    pub const INTERNATIONAL: Location = Location(7);
    /// In a network beyond, which speaks another language.
    pub const BEYOND: Location = Location(10);
}

/// Whose codes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Coding(pub u8);

impl Coding {
    /// ITU-T's.
    pub const ITU: Coding = Coding(0);
    /// ISO's or another international body's.
    pub const ISO: Coding = Coding(1);
    /// The nation's.
    pub const NATIONAL: Coding = Coding(2);
    /// The network's.
    pub const NETWORK: Coding = Coding(3);

    /// Octet 3 of a cause and of a progress indicator, extension bit set.
    pub(super) fn with(self, location: Location) -> u8 {
        0x80 | (self.0 & 3) << 5 | location.0 & 0x0f
    }

    pub(super) fn of(octet: u8) -> (Coding, Location) {
        (Coding(octet >> 5 & 3), Location(octet & 0x0f))
    }
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Whose codes.
    pub coding: Coding,
    /// Where.
    pub location: Location,
    /// Octet 3a: whose recommendation; none means Q.931.
    pub recommendation: Option<u8>,
    /// What.
    pub value: Value,
    /// More of it: identifiers of elements, a message's type, a timer's name in IA5 (Q.850 section 2.2.6).
    pub diagnostics: Vec<u8>,
}

impl Cause {
    /// A cause as this box says it.
    pub fn new(location: Location, value: Value) -> Cause {
        Cause { coding: Coding::ITU, location, recommendation: None, value, diagnostics: Vec::new() }
    }

    /// The same with diagnostics.
    #[must_use]
    pub fn about(self, diagnostics: impl Into<Vec<u8>>) -> Cause {
        Cause { diagnostics: diagnostics.into(), ..self }
    }
}

impl Element for Cause {
    const ID: u8 = id::CAUSE;

    fn read(contents: &[u8]) -> Option<Cause> {
        let (&first, rest) = contents.split_first()?;
        let (recommendation, rest) = match (first & 0x80, rest) {
            (0, [recommendation, rest @ ..]) => (Some(recommendation & 0x7f), rest),
            (_, rest) => (None, rest),
        };
        let (&value, diagnostics) = rest.split_first()?;
        let (coding, location) = Coding::of(first);
        Some(Cause { coding, location, recommendation, value: Value(value & 0x7f), diagnostics: diagnostics.to_vec() })
    }

    fn write(&self, contents: &mut Vec<u8>) {
        let first = self.coding.with(self.location);
        match self.recommendation {
            Some(recommendation) => contents.extend([first & 0x7f, 0x80 | recommendation]),
            None => contents.push(first),
        }
        contents.push(0x80 | self.value.0);
        contents.extend_from_slice(&self.diagnostics);
    }
}
