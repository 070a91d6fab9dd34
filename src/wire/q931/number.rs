//! Called, calling, connected and redirecting number (Q.931 sections 4.5.8 and 4.5.10, Q.951, Q.952).
//!
//! ```text
//! | ext, type (3), plan (4) | [ext, presentation (2), 000, screening (2)] | [1, 000, reason (4)] | digits, IA5 ...
//! ```

use super::element::{Element, id};
use crate::private::Private;

/// Type of number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NumberType(pub u8);

impl NumberType {
    /// Nothing is known: as it would be dialled.
    pub const UNKNOWN: NumberType = NumberType(0);
    /// With country code, without prefix.
    pub const INTERNATIONAL: NumberType = NumberType(1);
    /// With area code, without prefix.
    pub const NATIONAL: NumberType = NumberType(2);
    /// The network's own: operator and the like.
    pub const NETWORK: NumberType = NumberType(3);
    /// Local, without prefix.
    pub const SUBSCRIBER: NumberType = NumberType(4);
    /// A short code.
    pub const ABBREVIATED: NumberType = NumberType(6);
}

/// Numbering plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan(pub u8);

impl Plan {
    /// Nothing is known.
    pub const UNKNOWN: Plan = Plan(0);
    /// E.164.
    pub const ISDN: Plan = Plan(1);
    /// National.
    pub const NATIONAL: Plan = Plan(8);
    /// Of a private network.
    pub const PRIVATE: Plan = Plan(9);
}

/// Digits and what they count from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Number {
    /// Type of number.
    pub kind: NumberType,
    /// Numbering plan.
    pub plan: Plan,
    /// IA5: digits, `*`, `#` and whatever the network sends.
    pub digits: Private<String>,
}

impl Number {
    /// A number of the ISDN plan.
    pub fn new(kind: NumberType, digits: impl Into<String>) -> Number {
        Number { kind, plan: Plan::ISDN, digits: Private(digits.into()) }
    }

    fn first(&self) -> u8 {
        (self.kind.0 & 7) << 4 | self.plan.0 & 0x0f
    }

    fn of(first: u8, digits: &[u8]) -> Option<Number> {
        let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_graphic()));
        let (kind, plan) = (NumberType(first >> 4 & 7), Plan(first & 0x0f));
        Some(Number { kind, plan, digits: Private(digits?.to_owned()) })
    }
}

/// May the number be shown?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Presentation {
    /// It may.
    #[default]
    Allowed,
    /// The number's owner wants it hidden.
    Restricted,
    /// There is none, for reasons of interworking.
    Unavailable,
    /// A code without meaning.
    Reserved,
}

/// Who vouches for the number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Screening {
    /// The user wrote it.
    #[default]
    NotScreened,
    /// The user wrote it, and it is his.
    Passed,
    /// The user wrote it, and it is not his.
    Failed,
    /// The network wrote it.
    Network,
}

/// Octet 3a. Where it is absent the number is allowed and nobody vouches for it, as in its default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// May it be shown?
    pub presentation: Presentation,
    /// Who vouches for it?
    pub screening: Screening,
}

impl Shown {
    fn of(octet: u8) -> Shown {
        let presentation = match octet >> 5 & 3 {
            0 => Presentation::Allowed,
            1 => Presentation::Restricted,
            2 => Presentation::Unavailable,
            _ => Presentation::Reserved,
        };
        let screening = match octet & 3 {
            0 => Screening::NotScreened,
            1 => Screening::Passed,
            2 => Screening::Failed,
            _ => Screening::Network,
        };
        Shown { presentation, screening }
    }

    fn octet(self) -> u8 {
        (self.presentation as u8) << 5 | self.screening as u8
    }
}

/// Why a call was redirected (Q.952).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reason(pub u8);

impl Reason {
    /// Nothing is known.
    pub const UNKNOWN: Reason = Reason(0);
    /// Busy.
    pub const BUSY: Reason = Reason(1);
    /// No answer.
    pub const NO_ANSWER: Reason = Reason(2);
    /// Deflected.
    pub const DEFLECTED: Reason = Reason(4);
    /// The called equipment is out of order.
    pub const OUT_OF_ORDER: Reason = Reason(9);
    /// Forwarded by the called equipment.
    pub const FORWARDED: Reason = Reason(10);
    /// Always.
    pub const UNCONDITIONAL: Reason = Reason(15);
}

/// Called party number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called(pub Number);

/// Calling party number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calling {
    /// The number; it may have no digits.
    pub number: Number,
    /// May it be shown, and who vouches for it?
    pub shown: Option<Shown>,
}

/// Connected number: who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The number; it may have no digits.
    pub number: Number,
    /// May it be shown, and who vouches for it?
    pub shown: Option<Shown>,
}

/// Redirecting number: who was called before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirecting {
    /// The number; it may have no digits.
    pub number: Number,
    /// May it be shown, and who vouches for it?
    pub shown: Option<Shown>,
    /// Why the call went on.
    pub reason: Option<Reason>,
}

/// Original called number: who was called first, where more than one was called before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalCalled(pub Redirecting);

/// What stands in front of the digits: octets 3, 3a, 3b.
type Head = (u8, Option<u8>, Option<u8>);

/// As many octets as their extension bits say, at most three are understood; then the digits.
fn head(contents: &[u8]) -> Option<(Head, &[u8])> {
    match *contents {
        [first @ 0x80..=0xff, ref digits @ ..] => Some(((first, None, None), digits)),
        [first, second @ 0x80..=0xff, ref digits @ ..] => Some(((first, Some(second), None), digits)),
        [first, second, third @ 0x80..=0xff, ref digits @ ..] => Some(((first, Some(second), Some(third)), digits)),
        _ => None,
    }
}

/// Writes the octets with the extension bit on the last, then the digits.
fn write(contents: &mut Vec<u8>, number: &Number, more: [Option<u8>; 2]) {
    contents.push(number.first());
    contents.extend(more.into_iter().flatten());
    contents.last_mut().into_iter().for_each(|last| *last |= 0x80);
    contents.extend(number.digits.get().bytes());
}

impl Element for Called {
    const ID: u8 = id::CALLED_PARTY_NUMBER;

    fn read(contents: &[u8]) -> Option<Called> {
        let ((first, ..), digits) = head(contents)?;
        Number::of(first, digits).map(Called)
    }

    fn write(&self, contents: &mut Vec<u8>) {
        write(contents, &self.0, [None, None]);
    }
}

impl Element for Calling {
    const ID: u8 = id::CALLING_PARTY_NUMBER;

    fn read(contents: &[u8]) -> Option<Calling> {
        let ((first, shown, _), digits) = head(contents)?;
        Some(Calling { number: Number::of(first, digits)?, shown: shown.map(Shown::of) })
    }

    fn write(&self, contents: &mut Vec<u8>) {
        write(contents, &self.number, [self.shown.map(Shown::octet), None]);
    }
}

impl Element for Connected {
    const ID: u8 = id::CONNECTED_NUMBER;

    fn read(contents: &[u8]) -> Option<Connected> {
        let Calling { number, shown } = Calling::read(contents)?;
        Some(Connected { number, shown })
    }

    fn write(&self, contents: &mut Vec<u8>) {
        write(contents, &self.number, [self.shown.map(Shown::octet), None]);
    }
}

impl Element for Redirecting {
    const ID: u8 = id::REDIRECTING_NUMBER;

    fn read(contents: &[u8]) -> Option<Redirecting> {
        let ((first, shown, reason), digits) = head(contents)?;
        let reason = reason.map(|octet| Reason(octet & 0x0f));
        Some(Redirecting { number: Number::of(first, digits)?, shown: shown.map(Shown::of), reason })
    }

    /// A reason stands behind octet 3a alone.
    fn write(&self, contents: &mut Vec<u8>) {
        let shown = self.shown.or(self.reason.map(|_| Shown::default()));
        write(contents, &self.number, [shown.map(Shown::octet), self.reason.map(|reason| reason.0)]);
    }
}

impl Element for OriginalCalled {
    const ID: u8 = id::ORIGINAL_CALLED_NUMBER;

    fn read(contents: &[u8]) -> Option<OriginalCalled> {
        Redirecting::read(contents).map(OriginalCalled)
    }

    fn write(&self, contents: &mut Vec<u8>) {
        self.0.write(contents);
    }
}
