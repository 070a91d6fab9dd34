//! Who was called before, in a facility: divertingLegInformation2 of ETSI (EN 300 207) and QSIG (ECMA-174).
//!
//! ```text
//! 30 { 02 counter, 0a reason, ..., a1 { a0 { number } | 81 restricted | 82 not available | a3 { number, restricted } } }
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

/// The call was diverted on its way here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diversion(pub Redirecting);

impl Diversion {
    /// What a facility says of it.
    pub fn read(facility: &Facility) -> Option<Diversion> {
        let expected = match facility.profile()? {
            Profile::Supplementary => ETSI,
            Profile::Networking => QSIG,
            Profile::ReleaseLink => return None,
        };
        facility.components().find_map(|component| match component {
            Component::Invoke { operation, mut argument, .. } if operation == Operation::Local(expected.into()) => {
                argument.next().and_then(diversion)
            }
            _ => None,
        })
    }

    /// The facility that tells it; `private`: from one private exchange to another (QSIG).
    pub fn facility(&self, id: u8, private: bool) -> Facility {
        let Diversion(Redirecting { number, shown, reason }) = self;
        let digits = value(NUMERIC_STRING, number.digits.get().as_bytes());
        let kind = value(ENUMERATED, &[number.kind.0 & 7]);
        let party = value(0xa1, &[kind, digits].concat());
        let presented = match shown.unwrap_or_default().presentation {
            Presentation::Allowed => value(0xa0, &party),
            Presentation::Restricted => value(0x81, &[]),
            Presentation::Unavailable | Presentation::Reserved => value(0x82, &[]),
        };
        let reason = value(ENUMERATED, &[enumerated(reason.unwrap_or_default())]);
        let argument = sequence(&[&value(0x02, &[1]), &reason, &value(0xa1, &presented)]);
        if private {
            Facility::networking(true, &Component::invoke(id, QSIG, &argument))
        } else {
            Facility::supplementary(&Component::invoke(id, ETSI, &argument))
        }
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

fn diversion(argument: Value) -> Option<Diversion> {
    let code = argument.inside().find(|value| value.tag == ENUMERATED).and_then(Value::number);
    let reason = REASONS.iter().find(|(known, _)| Some(i64::from(*known)) == code).map(|(_, reason)| *reason);
    let presented = argument.inside().find(|value| value.tag == 0xa1).and_then(|value| value.inside().next());
    let (number, presentation) = match presented {
        Some(value @ Value { tag: 0xa0, .. }) => (party(value.inside().next()?)?, Presentation::Allowed),
        Some(value @ Value { tag: 0xa3, .. }) => (party(value.inside().next()?)?, Presentation::Restricted),
        Some(Value { tag: 0x81, .. }) => (Number::default(), Presentation::Restricted),
        _ => (Number::default(), Presentation::Unavailable),
    };
    let shown = Shown { presentation, ..Shown::default() };
    Some(Diversion(Redirecting { number, shown: Some(shown), reason: reason.or(Some(Reason::UNKNOWN)) }))
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
