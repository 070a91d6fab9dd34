//! Two calls of a line become one in the exchange: what is asked for that in facilities, and answered.
//!
//! ```text
//! two B-channel transfer (Telcordia GR-2865)      91 a1 { id, 06 1.2.840.10005.0.8, 30 { 02 reference of the other call } }
//! explicit call transfer (EN 300 369-1)           91 a1 { id, 06 0.4.0.369.1.4 }: result 30 { .., 02 link }
//!                                                 91 a1 { id, 06 0.4.0.369.1.1, 02 link of the other call }
//! release link trunk (DMS-100)                    11 be a1 { 1, 02 1 } in SETUP: result 30 { .., 80 link }
//!                                                 11 be a1 { 2, 02 2, 30 { 80 link of the other call, 81 0 } }
//! call transfer, path replacement (ECMA-178, 176) 9f a1 { id, 02 12, 30 { 0a end, number, .. } }, to both calls
//!                                                 9f a1 { id, 02 4, 30 { 12 identity, number } }, passed on between them
//! ```

use std::fmt;

use super::dialect::Dialect;
use super::facility::{Facility, Profile};
use super::message::Reference;
use super::rose::{Component, Operation, Value, Values, sequence, value, whole};

/// 1.2.840.10005.0.8
const TWO_B_CHANNEL: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x15, 0x00, 0x08];
/// 0.4.0.369.1.1
const EXPLICIT: [u8; 6] = [0x04, 0x00, 0x82, 0x71, 0x01, 0x01];
/// 0.4.0.369.1.4
const LINK_REQUEST: [u8; 6] = [0x04, 0x00, 0x82, 0x71, 0x01, 0x04];
const CANDIDATE: u8 = 1;
/// The DMS-100's number of the operation, under which it also answers it.
pub const THIRD_PARTY: u8 = 2;
const PATH_REPLACE_PROPOSE: u8 = 4;
const TRANSFER_COMPLETE: u8 = 12;

const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
const NUMERIC_STRING: u8 = 0x12;
/// A number that is not available (ECMA-178, PresentedNumberScreened).
const NOT_AVAILABLE: [u8; 2] = [0x82, 0x00];
/// A number of an unknown plan (ECMA-176, PartyNumber).
const UNKNOWN_PLAN: u8 = 0x80;

/// What an exchange has to join two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Two B-channel transfer.
    TwoBChannel,
    /// Explicit call transfer.
    Explicit,
    /// Release link trunk.
    ReleaseLink,
    /// Call transfer by join, then path replacement.
    PathReplacement,
}

impl Dialect {
    /// How two calls are joined.
    pub fn scheme(self) -> Scheme {
        match self {
            Dialect::Ni2 | Dialect::Ess5 | Dialect::Ess4 => Scheme::TwoBChannel,
            Dialect::EuroIsdn => Scheme::Explicit,
            Dialect::Dms100 => Scheme::ReleaseLink,
            Dialect::Qsig => Scheme::PathReplacement,
        }
    }

    /// What the SETUP of a call has to say that may be joined with another later.
    pub fn candidate(self) -> Option<Facility> {
        (self.scheme() == Scheme::ReleaseLink).then(|| Ask::Candidate.facility(CANDIDATE))
    }
}

/// What is asked in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Join it with the call of this reference, as who asks writes it.
    Join(Reference),
    /// By which link can the call be named?
    Link,
    /// Join it with the call of this link.
    JoinLink(i64),
    /// SETUP of a release link trunk: by which link can the call be named?
    Candidate,
    /// Join it with the candidate of this link.
    ThirdParty(i64),
    /// It was transferred, as the first or second of two: replace its path.
    Complete {
        /// The first.
        primary: bool,
    },
    /// The path shall be replaced; `identity` names the call to who said so.
    Propose {
        /// Up to four digits.
        identity: u16,
    },
}

impl Ask {
    /// The facility that asks it.
    pub fn facility(self, id: u8) -> Facility {
        match self {
            Ask::Join(Reference { value, to_origin }) => {
                // A whole number of 16 bits with a sign, which is the flag.
                let reference = Reference { value, to_origin }.octets();
                let other = whole(i16::from_be_bytes(reference).into());
                supplementary(id, &TWO_B_CHANNEL, &sequence(&[&other]))
            }
            Ask::Link => supplementary(id, &LINK_REQUEST, &[]),
            Ask::JoinLink(link) => supplementary(id, &EXPLICIT, &whole(link)),
            // The switch takes the identifier for the operation.
            Ask::Candidate => Facility::release_link(&Component::invoke(CANDIDATE, CANDIDATE, &[])),
            Ask::ThirdParty(link) => {
                let argument = sequence(&[&tagged(0x80, link), &tagged(0x81, 0)]);
                Facility::release_link(&Component::invoke(THIRD_PARTY, THIRD_PARTY, &argument))
            }
            Ask::Complete { primary } => {
                let end = value(ENUMERATED, &[u8::from(!primary)]);
                Facility::networking(
                    true,
                    &Component::invoke(id, TRANSFER_COMPLETE, &sequence(&[&end, &NOT_AVAILABLE])),
                )
            }
            Ask::Propose { identity } => {
                let identity = value(NUMERIC_STRING, identity.to_string().as_bytes());
                let argument = sequence(&[&identity, &value(UNKNOWN_PLAN, &[])]);
                Facility::networking(true, &Component::invoke(id, PATH_REPLACE_PROPOSE, &argument))
            }
        }
    }

    /// The result that answers it; `link`: where one was asked for.
    pub fn result(self, id: i64, link: i64) -> Facility {
        let link_request = Operation::Global(&LINK_REQUEST);
        let indication = Operation::from(CANDIDATE);
        match self {
            Ask::Link => Facility::supplementary(&Component::result(id, Some((link_request, &whole(link))))),
            Ask::Candidate => Facility::release_link(&Component::result(id, Some((indication, &tagged(0x80, link))))),
            ask => ask.framed(&Component::result(id, None)),
        }
    }

    /// The error that answers it.
    pub fn error(self, id: i64, error: u8) -> Facility {
        self.framed(&Component::error(id, error))
    }

    fn framed(self, component: &[u8]) -> Facility {
        match self {
            Ask::Join(_) | Ask::Link | Ask::JoinLink(_) => Facility::supplementary(component),
            Ask::Candidate | Ask::ThirdParty(_) => Facility::release_link(component),
            Ask::Complete { .. } | Ask::Propose { .. } => Facility::networking(true, component),
        }
    }

    fn read(profile: Profile, operation: Operation, mut argument: Values) -> Option<Ask> {
        let local = |number: u8| operation == Operation::from(number);
        let global = |object: &'static [u8]| operation == Operation::Global(object);
        match profile {
            Profile::ReleaseLink if local(CANDIDATE) => Some(Ask::Candidate),
            Profile::ReleaseLink if local(THIRD_PARTY) => {
                argument.next()?.inside().next().and_then(Value::number).map(Ask::ThirdParty)
            }
            Profile::Networking if local(TRANSFER_COMPLETE) => {
                let end = argument.next()?.inside().next().and_then(Value::number)?;
                Some(Ask::Complete { primary: end == 0 })
            }
            Profile::Networking if local(PATH_REPLACE_PROPOSE) => {
                let identity = argument.next()?.inside().next().filter(|value| value.tag == NUMERIC_STRING)?;
                let identity = std::str::from_utf8(identity.contents).ok()?.parse().ok()?;
                Some(Ask::Propose { identity })
            }
            // National ISDN is seen to write it in either profile.
            Profile::Networking | Profile::Supplementary if global(&TWO_B_CHANNEL) => {
                let number = argument.next()?.inside().next().filter(|value| value.tag == INTEGER)?.number()?;
                // Whatever its sign says, its last 16 bits are the reference.
                Some(Ask::Join(Reference::of(number as u16)))
            }
            Profile::Supplementary if global(&LINK_REQUEST) => Some(Ask::Link),
            Profile::Supplementary if global(&EXPLICIT) => argument.next()?.number().map(Ask::JoinLink),
            _ => None,
        }
    }
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done; the link, where one was asked for.
    Done(Option<i64>),
    /// Not done.
    Refused(Refusal),
}

/// Why two calls are not joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An error by its number (Q.950; DMS-100).
    Error(i64),
    /// An error by an object, which is not known here.
    Other,
    /// It was not understood.
    Rejected,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Refusal::Error(0) => "the line is not subscribed to it",
            Refusal::Error(1) => "the network rejects it",
            Refusal::Error(3) => "it is not available",
            Refusal::Error(7) => "a call is not in the state for it",
            Refusal::Error(9) => "a call goes the wrong way for it",
            Refusal::Error(10) => "another service of the call forbids it",
            Refusal::Error(11 | 19) => "the exchange has no room for it",
            Refusal::Error(16) => "the exchange could not connect the two",
            Refusal::Error(17) => "the exchange does not know the other call",
            Refusal::Error(18) => "it is not allowed on this line",
            Refusal::Error(number) => return write!(f, "error {number}"),
            Refusal::Other => "for a reason that is not known here",
            Refusal::Rejected => "it does not understand what it is asked",
        };
        f.write_str(text)
    }
}

/// A component about joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Something is asked, and answered under this number.
    Ask(i64, Ask),
    /// What was asked under this number is answered; without one, something was.
    Answer(Option<i64>, Answer),
}

/// What a facility says about joining. Answers of other services look alike: who asked knows by the number.
pub fn said(facility: &Facility) -> impl Iterator<Item = Said> {
    let profile = facility.profile();
    facility.components().filter_map(move |component| match component {
        Component::Invoke { id, operation, argument } => Some(Said::Ask(id, Ask::read(profile?, operation, argument)?)),
        Component::Result { id, result } => {
            let link = result.and_then(|(_, mut values)| values.next()).and_then(Value::number);
            Some(Said::Answer(Some(id), Answer::Done(link)))
        }
        Component::Error { id, error } => {
            let why = match error {
                Operation::Local(number) => Refusal::Error(number),
                Operation::Global(_) => Refusal::Other,
            };
            Some(Said::Answer(Some(id), Answer::Refused(why)))
        }
        Component::Reject { id } => Some(Said::Answer(id, Answer::Refused(Refusal::Rejected))),
    })
}

fn supplementary(id: u8, object: &[u8], argument: &[u8]) -> Facility {
    Facility::supplementary(&Component::invoke(id, Operation::Global(object), argument))
}

/// A whole number under another tag.
fn tagged(tag: u8, number: i64) -> Vec<u8> {
    let mut octets = whole(number);
    octets[0] = tag;
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::Private;

    fn octets(facility: &Facility) -> String {
        facility.0.get().iter().map(|octet| format!("{octet:02x}")).collect()
    }

    fn reference(value: u16, to_origin: bool) -> Reference {
        Reference { value, to_origin }
    }

    #[test]
    fn each_question_is_written_as_its_standard_has_it_and_read_again() {
        for (ask, written) in [
            (Ask::Join(reference(5, false)), "91a111020110".to_owned() + "06072a8648ce150008" + "3003020105"),
            (Ask::Join(reference(5, true)), "91a112020110".to_owned() + "06072a8648ce150008" + "300402028005"),
            (Ask::Join(reference(200, false)), "91a112020110".to_owned() + "06072a8648ce150008" + "3004020200c8"),
            (Ask::Link, "91a10b020110".to_owned() + "0606040082710104"),
            (Ask::JoinLink(300), "91a10f020110".to_owned() + "0606040082710101" + "0202012c"),
            (Ask::Candidate, "11bea106020101020101".to_owned()),
            (Ask::ThirdParty(0x01_0203), "11bea110020102020102".to_owned() + "300880030102038101" + "00"),
            (Ask::Complete { primary: true }, "9faa068001008201008b0100a10d02011002010c30050a01008200".to_owned()),
            (Ask::Complete { primary: false }, "9faa068001008201008b0100a10d02011002010c30050a01018200".to_owned()),
            (Ask::Propose { identity: 42 }, "9faa068001008201008b0100a10e02011002010430061202343280".to_owned() + "00"),
        ] {
            let facility = ask.facility(16);
            assert_eq!(octets(&facility), written, "{ask:?}");
            let read: Vec<Said> = said(&facility).collect();
            assert!(matches!(read[..], [Said::Ask(1 | 2 | 16, again)] if again == ask), "{read:?}");
        }
    }

    #[test]
    fn answers_find_their_question_and_say_why_not() {
        let read = |facility: &Facility| said(facility).collect::<Vec<_>>();
        for (ask, link) in [(Ask::Link, Some(7)), (Ask::Candidate, Some(7)), (Ask::JoinLink(7), None)] {
            assert_eq!(read(&ask.result(16, 7)), [Said::Answer(Some(16), Answer::Done(link))], "{ask:?}");
        }
        let join = Ask::Join(reference(5, false));
        assert_eq!(octets(&join.result(16, 0)), "91a203020110");
        let refused = |why| Said::Answer(Some(16), Answer::Refused(why));
        assert_eq!(read(&join.error(16, 3)), [refused(Refusal::Error(3))]);
        let other = |hex: &[u8]| Facility(Private(hex.to_vec()));
        let object = other(&[0x91, 0xa3, 0x0b, 2, 1, 16, 6, 6, 4, 0, 0x82, 0x71, 1, 21]);
        assert_eq!(read(&object), [refused(Refusal::Other)]);
        let rejected = other(&[0x91, 0xa4, 6, 2, 1, 16, 0x81, 1, 1]);
        assert_eq!(read(&rejected), [refused(Refusal::Rejected)]);
        let nothing = other(&[0x91, 0xa4, 5, 5, 0, 0x81, 1, 1]);
        assert_eq!(read(&nothing), [Said::Answer(None, Answer::Refused(Refusal::Rejected))]);
    }

    #[test]
    fn references_are_read_as_whole_numbers_of_any_length() {
        for number in [&[0x02, 0x02, 0x00, 0x05][..], &[0x02, 0x01, 0x05], &[0x02, 0x03, 0x00, 0x00, 0x05]] {
            let argument = sequence(&[number, &value(0x04, &[0, 0, 0, 1])]);
            let facility = supplementary(1, &TWO_B_CHANNEL, &argument);
            assert_eq!(said(&facility).next(), Some(Said::Ask(1, Ask::Join(reference(5, false)))));
        }
        let facility = supplementary(1, &TWO_B_CHANNEL, &sequence(&[&[0x02, 0x03, 0x00, 0x80, 0x05]]));
        assert_eq!(said(&facility).next(), Some(Said::Ask(1, Ask::Join(reference(5, true)))));
    }
}
