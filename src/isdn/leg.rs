//! A call on the line as a leg: the six words of [`crate::leg`] in those of [`super::call`], and back.
//!
//! The line owns its calls; this is what stands between one of them and the call of the house. The timeslot's sound is there as
//! soon as both ends agreed on it, so whatever changes in mid-call is granted here: the far end of a line cannot be put on
//! hold, it hears silence or music.

use std::time::Duration;

use super::call::{self, Access, Setup};
use crate::cause::{Cause, Guilty, Release};
use crate::leg::{Fork, Order, Outcome, Parties, Stage, Wish, Word};
use crate::private::Private;
use crate::session::{Digit, Direction, Stream};
use crate::wire::q931::{
    Bearer, Calling, Channel, Name, Number, NumberType, Party, Plan, Presentation, Screening, Shown, Side,
};

/// How long a digit is pressed of which only the name is told.
const DIGIT: Duration = Duration::from_millis(160);

/// How numbers are written on a line: the country whose national numbers it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    /// Its code, `1` or `49`; without one, national numbers stay as they are.
    pub country: String,
}

impl Numbering {
    /// A user as a number: `+` makes it international, or national in the line's own country.
    pub fn number(&self, user: &str) -> Number {
        let user = user.split(';').next().unwrap_or_default();
        let digits =
            |text: &str| text.chars().filter(|c| c.is_ascii_digit() || matches!(c, '*' | '#')).collect::<String>();
        let (kind, rest) = match user.strip_prefix('+') {
            None => (NumberType::UNKNOWN, user),
            Some(global) => match global.strip_prefix(&self.country).filter(|_| !self.country.is_empty()) {
                Some(national) => (NumberType::NATIONAL, national),
                None => (NumberType::INTERNATIONAL, global),
            },
        };
        Number::new(kind, digits(rest))
    }

    /// A number as a user.
    pub fn user(&self, number: &Number) -> String {
        let digits = number.digits.get();
        match number.kind {
            _ if digits.is_empty() || number.plan == Plan::PRIVATE => digits.clone(),
            NumberType::INTERNATIONAL => format!("+{digits}"),
            NumberType::NATIONAL if !self.country.is_empty() => format!("+{}{digits}", self.country),
            _ => digits.clone(),
        }
    }
}

/// Which way the call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The line called.
    In,
    /// The line was called.
    Out,
}

/// One leg on a line.
#[derive(Debug)]
pub struct Leg {
    way: Way,
    channel: Channel,
    /// How sound goes through a timeslot.
    through: fn(&Channel) -> Stream,
    told: Option<Stream>,
    over: bool,
}

impl Leg {
    /// A leg that calls `parties`, and the SETUP that its call begins with.
    pub fn outgoing(
        access: &Access,
        numbering: &Numbering,
        parties: &Parties,
        channel: Channel,
        through: fn(&Channel) -> Stream,
    ) -> (Leg, Setup) {
        let mut setup = Setup::new(Bearer::speech(access.law), numbering.number(parties.called.get()));
        let (calling, name) = (parties.calling.get(), parties.name.get());
        let screening = if access.side == Side::Network { Screening::Network } else { Screening::NotScreened };
        let presentation = match (parties.withheld, calling.is_empty()) {
            (true, _) => Presentation::Restricted,
            (false, true) => Presentation::Unavailable,
            (false, false) => Presentation::Allowed,
        };
        let shown = Some(Shown { presentation, screening });
        setup.calling = Some(Calling { number: numbering.number(calling), shown });
        setup.name = (!name.is_empty()).then(|| Name {
            party: Party::Calling,
            text: parties.name.clone(),
            restricted: parties.withheld,
        });
        (Leg { way: Way::Out, channel, through, told: None, over: false }, setup)
    }

    /// The leg of a SETUP that came: who calls whom, and what can be spoken.
    pub fn incoming(
        access: &Access,
        numbering: &Numbering,
        setup: &Setup,
        channel: Channel,
        through: fn(&Channel) -> Stream,
    ) -> (Leg, Parties, Wish) {
        let presentation = setup.calling.as_ref().map(|calling| calling.shown.unwrap_or_default().presentation);
        let withheld = presentation == Some(Presentation::Restricted);
        let calling = setup.calling.as_ref().filter(|_| !withheld).map(|calling| numbering.user(&calling.number));
        let name = setup.name.clone().filter(|name| !name.restricted && !withheld).map(|name| name.text);
        let parties = Parties {
            called: Private(numbering.user(&setup.called)),
            calling: Private(calling.unwrap_or_default()),
            name: name.unwrap_or_default(),
            withheld,
            referral: None,
        };
        let wish = Wish { codecs: vec![access.law], direction: Direction::SendRecv, comfort_noise: false };
        (Leg { way: Way::In, channel, through, told: None, over: false }, parties, wish)
    }

    /// What the call says: orders for the line, and what can be answered at once.
    pub fn order(&mut self, order: Order, line: &mut Vec<call::Order>, words: &mut Vec<Word>) {
        if self.over {
            return;
        }
        match order {
            Order::Progress { stage, terms, .. } => {
                line.extend(match (stage, &terms) {
                    (Stage::Ringing, terms) => Some(call::Order::Alert { audible: terms.is_some() }),
                    (Stage::InBand, Some(_)) => Some(call::Order::Progress),
                    (Stage::InBand | Stage::Other(_), _) => None,
                });
                words.extend(terms.and_then(|terms| self.media(terms.direction)));
            }
            Order::Answer { terms, .. } => {
                line.push(call::Order::Answer(Box::default()));
                words.extend(self.media(terms.direction));
            }
            Order::Release(release) => {
                self.over = true;
                line.push(call::Order::Release { cause: release.cause, tones: false });
            }
            Order::Change(terms) => {
                let stream = self.stream(terms.direction);
                self.told = Some(stream.clone());
                words.push(Word::Changed(stream));
            }
            Order::Refer(_) => {
                let why = "this line cannot transfer calls by itself";
                let refused = Release::new(Guilty::Us, Cause::FACILITY_NOT_IMPLEMENTED, why);
                words.push(Word::Referred(Outcome::Refused(refused)));
            }
            // Digits are in the sound; nothing was asked that could be granted.
            Order::Digit(..) | Order::Grant(_) | Order::Deny(_) | Order::Transfer(_) => {}
        }
    }

    /// What the line says.
    pub fn heard(&mut self, word: call::Word, words: &mut Vec<Word>) {
        if self.over {
            return;
        }
        let fork = Fork::default();
        match word {
            call::Word::Progress { ringing, audible } => {
                let stage = if ringing { Stage::Ringing } else { Stage::InBand };
                let media = audible.then(|| self.stream(Direction::SendRecv));
                self.told = media.clone().or(self.told.take());
                words.push(Word::Progress { stage, fork, media });
            }
            call::Word::Answer(_) => {
                let media = self.stream(Direction::SendRecv);
                self.told = Some(media.clone());
                words.push(Word::Answer { fork, media });
            }
            call::Word::Digits(digits) => {
                words.extend(digits.0.chars().filter_map(Digit::of).map(|digit| Word::Digit(digit, DIGIT)));
            }
            call::Word::Released(release) => {
                self.over = true;
                words.push(Word::Released(release));
            }
            call::Word::Setup(_)
            | call::Word::Proceeding
            | call::Word::Name(_)
            | call::Word::Notice(_)
            | call::Word::Facility(_)
            | call::Word::UserUser(_) => {}
        }
    }

    /// Both ends agreed on this timeslot.
    pub fn agreed(&mut self, channel: Channel) {
        self.channel = channel;
    }

    /// Did the line call?
    pub fn is_caller(&self) -> bool {
        self.way == Way::In
    }

    fn stream(&self, direction: Direction) -> Stream {
        Stream { direction, ..(self.through)(&self.channel) }
    }

    /// A caller's leg says what was agreed, once.
    fn media(&mut self, direction: Direction) -> Option<Word> {
        let stream = self.stream(direction);
        let news = self.told.as_ref() != Some(&stream);
        self.told = Some(stream.clone());
        news.then_some(Word::Media(stream))
    }
}
