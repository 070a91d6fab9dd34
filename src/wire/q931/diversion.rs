//! Who was called before, in a facility: divertingLegInformation2 of ETSI (EN 300 207) and QSIG (ECMA-174).
//!
//! ```text
//! 30 { 02 counter, 0a reason, [80 first reason, QSIG's], [a1 { who diverted last }], [a2 { who was called first }] }
//! who: a0 { number } | 81 restricted | 82 not available | a3 { number, restricted }
//! number: 80 digits (unknown) | a1 { 0a type of number, 12 digits } (E.164) | a5 likewise (private)
//! ```

use super::facility::{Facility, Profile};
use super::number::{Number, NumberType, Plan, Presentation, Reason, Redirecting, Shown};
use super::rose::{Component, Operation, Value, sequence, value};
use crate::private::Private;

/// ETSI's number of the operation.
const ETSI: u8 = 15;
/// QSIG's number of the operation.
const QSIG: u8 = 21;
const ENUMERATED: u8 = 0x0a;
const NUMERIC_STRING: u8 = 0x12;
const FIRST_REASON: u8 = 0x80;
const LAST: u8 = 0xa1;
const FIRST: u8 = 0xa2;

/// The call was diverted on its way here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diversion {
    /// Who was called last.
    pub last: Option<Redirecting>,
    /// Who was called first, where that is somebody else.
    pub first: Option<Redirecting>,
}

impl Diversion {
    /// What a facility says of it.
    pub fn read(facility: &Facility) -> Option<Diversion> {
        let profile = facility.profile()?;
        let expected = match profile {
            Profile::Supplementary => ETSI,
            Profile::Networking => QSIG,
            Profile::ReleaseLink => return None,
        };
        facility.components().find_map(|component| match component {
            Component::Invoke { operation, mut argument, .. } if operation == Operation::Local(expected.into()) => {
                argument.next().map(diversion)
            }
            _ => None,
        })
    }

    /// The facility that tells it; `private`: from one private exchange to another (QSIG).
    pub fn facility(&self, id: u8, private: bool) -> Facility {
        let reason =
            |from: &Option<Redirecting>| enumerated(from.as_ref().and_then(|from| from.reason).unwrap_or_default());
        let counter = value(0x02, &[self.last.iter().chain(&self.first).count().max(1) as u8]);
        let last_reason = value(ENUMERATED, &[reason(&self.last)]);
        let first_reason = self.first.as_ref().filter(|_| private).map(|_| value(FIRST_REASON, &[reason(&self.first)]));
        let who = |tag, from: &Option<Redirecting>| {
            from.as_ref().map(|from| value(tag, &presented(from))).unwrap_or_default()
        };
        let (last, first) = (who(LAST, &self.last), who(FIRST, &self.first));
        let argument = sequence(&[&counter, &last_reason, &first_reason.unwrap_or_default(), &last, &first]);
        if private {
            Facility::networking(true, &Component::invoke(id, QSIG, &argument))
        } else {
            Facility::supplementary(&Component::invoke(id, ETSI, &argument))
        }
    }
}

fn presented(Redirecting { number, shown, .. }: &Redirecting) -> Vec<u8> {
    let digits = value(NUMERIC_STRING, number.digits.get().as_bytes());
    let kind = value(ENUMERATED, &[number.kind.0 & 7]);
    match shown.unwrap_or_default().presentation {
        Presentation::Allowed => value(0xa0, &value(0xa1, &[kind, digits].concat())),
        Presentation::Restricted => value(0x81, &[]),
        Presentation::Unavailable | Presentation::Reserved => value(0x82, &[]),
    }
}

/// Both count reasons alike.
const REASONS: [(u8, Reason); 6] = [
    (0, Reason::UNKNOWN),
    (1, Reason::UNCONDITIONAL),
    (2, Reason::BUSY),
    (3, Reason::NO_ANSWER),
    (4, Reason::DEFLECTED),
    (5, Reason::DEFLECTED),
];

fn enumerated(reason: Reason) -> u8 {
    REASONS.iter().find(|(_, known)| *known == reason).map_or(0, |(code, _)| *code)
}

fn reason(value: Option<Value>) -> Option<Reason> {
    let code = value?.number();
    Some(
        REASONS
            .iter()
            .find(|(known, _)| Some(i64::from(*known)) == code)
            .map_or(Reason::UNKNOWN, |(_, reason)| *reason),
    )
}

fn diversion(argument: Value) -> Diversion {
    let tagged = |tag| argument.inside().find(|value| value.tag == tag);
    let who = |tag, why: Option<Reason>| tagged(tag).map(|value| redirecting(value.inside().next(), why));
    let last = who(LAST, reason(tagged(ENUMERATED)).or(Some(Reason::UNKNOWN)));
    Diversion { last, first: who(FIRST, reason(tagged(FIRST_REASON))) }
}

fn redirecting(presented: Option<Value>, reason: Option<Reason>) -> Redirecting {
    let number = |value: Value| value.inside().next().and_then(party);
    let (number, presentation) = match presented {
        Some(value @ Value { tag: 0xa0, .. }) => (number(value), Presentation::Allowed),
        Some(value @ Value { tag: 0xa3, .. }) => (number(value), Presentation::Restricted),
        Some(Value { tag: 0x81, .. }) => (None, Presentation::Restricted),
        _ => (None, Presentation::Unavailable),
    };
    let shown = Some(Shown { presentation, ..Shown::default() });
    Redirecting { number: number.unwrap_or_default(), shown, reason }
}

fn party(value: Value) -> Option<Number> {
    let (kind, plan, digits) = match value.tag {
        0x80 => (NumberType::UNKNOWN, Plan::UNKNOWN, value.contents),
        0xa1 | 0xa5 => {
            let kind = value.inside().find(|value| value.tag == ENUMERATED).and_then(Value::number)?;
            let digits = value.inside().find(|value| value.tag == NUMERIC_STRING)?.contents;
            let plan = if value.tag == 0xa1 { Plan::ISDN } else { Plan::PRIVATE };
            (NumberType(u8::try_from(kind).ok()? & 7), plan, digits)
        }
        _ => return None,
    };
    let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_graphic()))?;
    Some(Number { kind, plan, digits: Private(digits.to_owned()) })
}
