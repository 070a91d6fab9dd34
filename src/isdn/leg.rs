//! A call on the line as a leg: the six words of [`crate::leg`] in those of [`super::call`], and back.
//!
//! The line owns its calls; this is what stands between one of them and the call of the house. The timeslot's sound is there as
//! soon as both ends agreed on it, so whatever changes in mid-call is granted here: the far end of a line cannot be put on
//! hold, it hears silence or music.

use std::time::Duration;

use super::call::{self, Access, Setup};
use crate::cause::{Cause, Guilty, Release};
use crate::config::{self, Switches};
use crate::leg::{self, Diversion, Diverted, Fork, Order, Outcome, Parties, Party, Stage, Told, Wish, Word};
use crate::private::Private;
use crate::session::{Digit, Direction, Stream};
use crate::wire::q931::{
    self, Bearer, Calling, Connected, Name, Number, NumberType, OriginalCalled, Plan, Presentation, Reason,
    Redirecting, Screening, Shown, Side, UserUser,
};

/// How long a digit is pressed of which only the name is told.
const DIGIT: Duration = Duration::from_millis(160);
/// More digits than any exchange takes; one with more is refused here, before it is cut elsewhere and calls somebody.
const MOST_DIGITS: usize = 32;

/// How numbers are written on a line: the country whose national numbers it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    /// Its code, `1` or `49`; without one, national numbers stay as they are.
    pub country: String,
}

impl Numbering {
    /// That of a line.
    pub fn of(span: &config::Span) -> Numbering {
        Numbering { country: span.country.clone() }
    }

    /// A user as a number: `+` makes it international, or national in the line's own country. Escaped or not, only what a
    /// telephone can dial is left.
    pub fn number(&self, user: &str) -> Number {
        let user = user.split(';').next().unwrap_or_default();
        let digits = |text: &str| dialled(&text.replace("%23", "#").replace("%2A", "*").replace("%2a", "*"));
        let (kind, rest) = match user.strip_prefix('+') {
            None => (NumberType::UNKNOWN, user),
            Some(global) => match global.strip_prefix(&self.country).filter(|_| !self.country.is_empty()) {
                Some(national) => (NumberType::NATIONAL, national),
                None => (NumberType::INTERNATIONAL, global),
            },
        };
        Number::new(kind, digits(rest))
    }

    /// A number as a user: what a line sends cannot end the user part of a URI.
    pub fn user(&self, number: &Number) -> String {
        let digits = dialled(number.digits.get());
        match number.kind {
            _ if digits.is_empty() || number.plan == Plan::PRIVATE => digits,
            NumberType::INTERNATIONAL => format!("+{digits}"),
            NumberType::NATIONAL if !self.country.is_empty() => format!("+{}{digits}", self.country),
            _ => digits,
        }
    }
}

fn dialled(text: &str) -> String {
    text.chars().filter(|c| matches!(c, '0'..='9' | '*' | '#' | 'A'..='D')).collect()
}

/// A name that cannot end a header.
fn printable(name: Private<String>) -> Private<String> {
    Private(name.0.chars().filter(|c| !c.is_control()).collect())
}

fn enclosed(told: leg::UserUser) -> call::Order {
    call::Order::Enclose(UserUser(told))
}

/// Octet 3a of a number of ours.
fn shown(side: Side, withheld: bool, user: &str) -> Option<Shown> {
    let screening = if side == Side::Network { Screening::Network } else { Screening::NotScreened };
    let presentation = match (withheld, user.is_empty()) {
        (true, _) => Presentation::Restricted,
        (false, true) => Presentation::Unavailable,
        (false, false) => Presentation::Allowed,
    };
    Some(Shown { presentation, screening })
}

/// Q.952's reasons. Where several mean the same to us, the first is the one that we write.
const REASONS: [(Reason, Diverted); 7] = [
    (Reason::UNKNOWN, Diverted::Unknown),
    (Reason::BUSY, Diverted::Busy),
    (Reason::NO_ANSWER, Diverted::NoAnswer),
    (Reason::UNCONDITIONAL, Diverted::Always),
    (Reason::DEFLECTED, Diverted::Deflected),
    (Reason::OUT_OF_ORDER, Diverted::OutOfReach),
    (Reason::FORWARDED, Diverted::Always),
];

fn redirecting(access: &Access, numbering: &Numbering, from: &Diversion) -> Redirecting {
    let user = from.party.number.get();
    let reason = REASONS.iter().find(|(_, why)| *why == from.why).map(|(reason, _)| *reason);
    Redirecting { number: numbering.number(user), shown: shown(access.side, from.party.withheld, user), reason }
}

/// Who was called before, the first one first.
fn diversions(numbering: &Numbering, setup: &Setup) -> Vec<Diversion> {
    // Networks name who was called first also where nobody else was called before.
    let another = |first: &&Redirecting| setup.redirecting.as_ref().is_none_or(|last| last.number != first.number);
    let first = setup.original.as_ref().map(|OriginalCalled(from)| from).filter(another);
    let told = |from: &Redirecting| {
        let withheld = from.shown.unwrap_or_default().presentation == Presentation::Restricted;
        let why = REASONS.iter().find(|(reason, _)| Some(*reason) == from.reason);
        let number = Private(numbering.user(&from.number));
        let party = Party { number, withheld, ..Party::default() };
        Diversion { party, why: why.map_or(Diverted::Unknown, |(_, why)| *why) }
    };
    first.into_iter().chain(&setup.redirecting).map(told).collect()
}

/// One leg on a line.
#[derive(Debug)]
pub struct Leg {
    side: Side,
    numbering: Numbering,
    /// How its sound goes: known before the far end says anything that is heard.
    bearer: Option<Stream>,
    told: Option<Stream>,
    /// What the far end told ahead of the word that it belongs to.
    ahead: Told,
    over: bool,
}

impl Leg {
    /// A leg that calls `parties`, and the SETUP that its call begins with; or why nobody can be called under that number.
    pub fn outgoing(
        access: &Access,
        numbering: &Numbering,
        switches: &Switches,
        parties: &Parties,
    ) -> Result<(Leg, Setup), Release> {
        let called = numbering.number(parties.called.get());
        if !(1..=MOST_DIGITS).contains(&called.digits.get().len()) {
            let why = "the called number is none that a telephone line takes";
            return Err(Release::new(Guilty::Peer, Cause::INCOMPLETE, why));
        }
        let mut setup = Setup::new(Bearer::speech(access.law), called);
        let (calling, name) = (parties.calling.get(), parties.name.get());
        let shown = shown(access.side, parties.withheld, calling);
        setup.calling = Some(Calling { number: numbering.number(calling), shown });
        setup.name = (!name.is_empty()).then(|| Name {
            party: q931::Party::Calling,
            text: parties.name.clone(),
            restricted: parties.withheld,
        });
        if switches.forward_call_history {
            let mut told = parties.diversions.iter().map(|from| redirecting(access, numbering, from));
            setup.original = told.next().filter(|_| parties.diversions.len() > 1).map(OriginalCalled);
            setup.redirecting = parties.diversions.last().map(|from| redirecting(access, numbering, from));
        }
        setup.user_user = parties.user_user.clone().map(UserUser);
        Ok((Leg::new(access, numbering, None), setup))
    }

    /// The leg of a SETUP that came with a timeslot whose sound goes by `bearer`: who calls whom, and what can be spoken.
    pub fn incoming(access: &Access, numbering: &Numbering, setup: &Setup, bearer: Stream) -> (Leg, Parties, Wish) {
        let presentation = setup.calling.as_ref().map(|calling| calling.shown.unwrap_or_default().presentation);
        let withheld = presentation == Some(Presentation::Restricted);
        let calling = setup.calling.as_ref().filter(|_| !withheld).map(|calling| numbering.user(&calling.number));
        let name = setup.name.clone().filter(|name| !name.restricted && !withheld).map(|name| name.text);
        let parties = Parties {
            called: Private(numbering.user(&setup.called)),
            calling: Private(calling.unwrap_or_default()),
            name: printable(name.unwrap_or_default()),
            withheld,
            diversions: diversions(numbering, setup),
            user_user: setup.user_user.clone().map(|UserUser(told)| told),
            referral: None,
        };
        let wish = Wish { codecs: vec![access.law], direction: Direction::SendRecv, comfort_noise: false };
        (Leg::new(access, numbering, Some(bearer)), parties, wish)
    }

    fn new(access: &Access, numbering: &Numbering, bearer: Option<Stream>) -> Leg {
        let (side, numbering) = (access.side, numbering.clone());
        Leg { side, numbering, bearer, told: None, ahead: Told::default(), over: false }
    }

    /// What the call says: orders for the line, and what can be answered at once.
    pub fn order(&mut self, order: Order, line: &mut Vec<call::Order>, words: &mut Vec<Word>) {
        if self.over {
            return;
        }
        match order {
            Order::Progress { stage, terms, told, .. } => {
                line.extend(told.user_user.map(enclosed));
                line.extend(match (stage, &terms) {
                    (Stage::Ringing, terms) => Some(call::Order::Alert { audible: terms.is_some() }),
                    (Stage::InBand, Some(_)) => Some(call::Order::Progress),
                    (Stage::InBand | Stage::Other(_), _) => None,
                });
                words.extend(terms.and_then(|terms| self.media(terms.direction)));
            }
            Order::Answer { terms, told, .. } => {
                line.push(call::Order::Answer(Box::new(self.answer(*told))));
                words.extend(self.media(terms.direction));
            }
            Order::Release(release) => {
                self.over = true;
                line.extend(release.user_user().cloned().map(enclosed));
                line.push(call::Order::Release { cause: release.cause, tones: false });
            }
            Order::Change(terms) => {
                self.told = self.stream(terms.direction);
                words.extend(self.told.clone().map(Word::Changed));
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
                let media = self.stream(Direction::SendRecv).filter(|_| audible);
                self.told = media.clone().or(self.told.take());
                let told = Box::new(Told { user_user: self.ahead.user_user.take(), ..self.ahead.clone() });
                words.push(Word::Progress { stage, fork, media, told });
            }
            call::Word::Answer(answer) => {
                self.told = self.stream(Direction::SendRecv);
                let told = Box::new(self.answered(*answer));
                words.extend(self.told.clone().map(|media| Word::Answer { fork, media, told }));
            }
            call::Word::Name(name) => self.named(name),
            call::Word::UserUser(UserUser(told)) => self.ahead.user_user = Some(told),
            call::Word::Digits(digits) => {
                words.extend(digits.0.chars().filter_map(Digit::of).map(|digit| Word::Digit(digit, DIGIT)));
            }
            call::Word::Released(release) => {
                self.over = true;
                words.push(Word::Released(release));
            }
            call::Word::Setup(_) | call::Word::Proceeding | call::Word::Notice(_) | call::Word::Facility(_) => {}
        }
    }

    /// Who answered, as the line is told.
    fn answer(&self, told: Told) -> call::Answer {
        let Told { party, user_user } = told;
        let user_user = user_user.map(UserUser);
        let Some(Party { number, name, withheld }) = party else {
            return call::Answer { user_user, ..Default::default() };
        };
        let shown = shown(self.side, withheld, number.get());
        let connected = Some(Connected { number: self.numbering.number(number.get()), shown });
        let named = !name.get().is_empty();
        let name = named.then_some(Name { party: q931::Party::Connected, text: name, restricted: withheld });
        call::Answer { connected, name, user_user }
    }

    /// Who answered, as the line says.
    fn answered(&mut self, answer: call::Answer) -> Told {
        let call::Answer { connected, name, user_user } = answer;
        name.into_iter().for_each(|name| self.named(name));
        let known = self.ahead.party.take().unwrap_or_default();
        let withheld = connected
            .as_ref()
            .is_some_and(|connected| connected.shown.unwrap_or_default().presentation == Presentation::Restricted);
        let number = connected.filter(|_| !withheld).map(|connected| self.numbering.user(&connected.number));
        let party = Party { number: Private(number.unwrap_or_default()), withheld, ..known };
        let party = Some(party).filter(|party| *party != Party::default());
        Told { party, user_user: user_user.map(|UserUser(told)| told) }
    }

    /// The name of who rings or answered.
    fn named(&mut self, name: Name) {
        if matches!(name.party, q931::Party::Called | q931::Party::Connected) && !name.restricted {
            self.ahead.party.get_or_insert_default().name = printable(name.text);
        }
    }

    /// Its sound goes this way from now on.
    pub fn agreed(&mut self, bearer: Stream, words: &mut Vec<Word>) {
        let direction = self.told.as_ref().map(|told| told.direction);
        self.bearer = Some(bearer);
        words.extend(direction.and_then(|direction| self.media(direction)));
    }

    /// Is it over? The line may still have to say goodbye.
    pub fn is_over(&self) -> bool {
        self.over
    }

    fn stream(&self, direction: Direction) -> Option<Stream> {
        Some(Stream { direction, ..self.bearer.clone()? })
    }

    /// A caller's leg says what was agreed, once.
    fn media(&mut self, direction: Direction) -> Option<Word> {
        let stream = self.stream(direction);
        let news = self.told != stream;
        self.told.clone_from(&stream);
        stream.filter(|_| news).map(Word::Media)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::Words;
    use crate::config::TrunkKind;
    use crate::leg::Terms;
    use crate::session::{Codec, Remote, Timeslot};
    use crate::sip::leg::tests::trunk;
    use crate::wire::q931::Dialect;

    fn toward(port: u16, direction: Direction) -> Stream {
        Stream {
            direction,
            ..Stream::new(Remote::Timeslot(Timeslot { number: port as u8, ..Timeslot::default() }), Codec::Pcmu)
        }
    }

    fn terms(direction: Direction) -> Terms {
        let local = ([127, 0, 0, 1], 9).into();
        Terms { local, codecs: vec![Codec::Pcmu], direction, telephone_event: false, comfort_noise: false }
    }

    fn access(side: Side) -> Access {
        Access::new(side, Dialect::Ni2, Codec::Pcmu)
    }

    /// Does the trunk tell who was called before?
    fn switches(forward_call_history: bool) -> Switches {
        Switches { forward_call_history, ..trunk(TrunkKind::Isdn).switches }
    }

    fn called(side: Side) -> Leg {
        let parties = Parties { called: Private("2060".into()), ..Parties::default() };
        Leg::outgoing(&access(side), &Numbering::default(), &switches(false), &parties).unwrap().0
    }

    fn caller() -> Leg {
        let setup = Setup::new(Bearer::speech(Codec::Pcmu), Number::new(NumberType::UNKNOWN, "2060"));
        Leg::incoming(&access(Side::User), &Numbering::default(), &setup, toward(4003, Direction::SendRecv)).0
    }

    fn heard(leg: &mut Leg, word: call::Word) -> Vec<Word> {
        let mut words = Vec::new();
        leg.heard(word, &mut words);
        words
    }

    fn ordered(leg: &mut Leg, order: Order) -> (Vec<call::Order>, Vec<Word>) {
        let (mut line, mut words) = (Vec::new(), Vec::new());
        leg.order(order, &mut line, &mut words);
        (line, words)
    }

    #[test]
    fn numbers_change_their_form_and_not_their_meaning() {
        let home = |country: &str| Numbering { country: country.into() };
        for (country, user, kind, digits, back) in [
            ("1", "+13125556789", NumberType::NATIONAL, "3125556789", "+13125556789"),
            ("1", "+496912345", NumberType::INTERNATIONAL, "496912345", "+496912345"),
            ("49", "+496912345", NumberType::NATIONAL, "6912345", "+496912345"),
            ("", "+13125556789", NumberType::INTERNATIONAL, "13125556789", "+13125556789"),
            ("1", "2160;phone-context=x", NumberType::UNKNOWN, "2160", "2160"),
            ("1", "*70#", NumberType::UNKNOWN, "*70#", "*70#"),
            ("1", "%2A70%23", NumberType::UNKNOWN, "*70#", "*70#"),
            ("1", "", NumberType::UNKNOWN, "", ""),
        ] {
            let number = home(country).number(user);
            assert_eq!((number.kind, number.digits.get().as_str()), (kind, digits), "{user}");
            assert_eq!(home(country).user(&number), back, "{user}");
        }
        let local = Number::new(NumberType::SUBSCRIBER, "5556789");
        assert_eq!(home("1").user(&local), "5556789");
        let foul = Number::new(NumberType::UNKNOWN, "20;x=@6\r\n0");
        assert_eq!(home("1").user(&foul), "2060");
        assert_eq!(printable(Private("A\r\nl: \u{85}é".into())).0, "Al: é");
        let private = Number { plan: Plan::PRIVATE, ..Number::new(NumberType::INTERNATIONAL, "7206") };
        assert_eq!(home("1").user(&private), "7206");
    }

    #[test]
    fn a_number_that_no_line_takes_is_refused() {
        for called in ["", "conference;x=1", &"1".repeat(33)] {
            let parties = Parties { called: Private(called.into()), ..Parties::default() };
            let leg = Leg::outgoing(&access(Side::User), &Numbering::default(), &switches(false), &parties);
            assert_eq!(leg.unwrap_err().final_status(), 484, "{called}");
        }
    }

    #[test]
    fn who_wants_not_to_be_shown_is_not_shown_on_either_side() {
        let numbering = Numbering { country: "1".into() };
        let parties = |withheld| Parties {
            called: Private("+14255550100".into()),
            calling: Private("+12065550123".into()),
            name: Private("Alice".into()),
            withheld,
            ..Parties::default()
        };
        for (withheld, side, screening) in
            [(false, Side::User, Screening::NotScreened), (true, Side::Network, Screening::Network)]
        {
            let (_, setup) = Leg::outgoing(&access(side), &numbering, &switches(false), &parties(withheld)).unwrap();
            let shown = setup.calling.clone().unwrap().shown.unwrap();
            assert_eq!((shown.presentation == Presentation::Restricted, shown.screening), (withheld, screening));
            assert_eq!(setup.name.clone().unwrap().restricted, withheld);
            let (_, back, wish) =
                Leg::incoming(&access(side.other()), &numbering, &setup, toward(4003, Direction::SendRecv));
            let known = if withheld {
                Parties { calling: Private::default(), name: Private::default(), ..parties(true) }
            } else {
                parties(false)
            };
            assert_eq!(back, known);
            assert_eq!(wish, Wish { codecs: vec![Codec::Pcmu], direction: Direction::SendRecv, comfort_noise: false });
        }
    }

    #[test]
    fn who_was_called_before_is_told_to_lines_that_want_it_and_heard_from_all() {
        let numbering = Numbering { country: "1".into() };
        let from = |number: &str, withheld, why| Diversion {
            party: Party { number: Private(number.into()), withheld, ..Party::default() },
            why,
        };
        let parties = |diversions: &[Diversion]| Parties {
            called: Private("+14255550100".into()),
            diversions: diversions.to_vec(),
            user_user: Some(Private(b"\x04hello".to_vec())),
            ..Parties::default()
        };
        let first = from("+12065550101", false, Diverted::Always);
        let last = from("+496912345", true, Diverted::Busy);
        for diversions in [vec![], vec![last.clone()], vec![first, last]] {
            let told = parties(&diversions);
            for wanted in [false, true] {
                let (_, setup) = Leg::outgoing(&access(Side::User), &numbering, &switches(wanted), &told).unwrap();
                let (_, back, _) =
                    Leg::incoming(&access(Side::Network), &numbering, &setup, toward(4003, Direction::SendRecv));
                let expected = if wanted { &diversions[..] } else { &[] };
                assert_eq!(back.diversions, expected);
                assert_eq!(back.user_user, told.user_user);
            }
        }
        // One diversion, told twice.
        let mut setup = Setup::new(Bearer::speech(Codec::Pcmu), Number::new(NumberType::UNKNOWN, "2060"));
        let twice = Redirecting { number: numbering.number("2061"), shown: None, reason: Some(Reason::FORWARDED) };
        (setup.original, setup.redirecting) = (Some(OriginalCalled(twice.clone())), Some(twice));
        assert_eq!(diversions(&numbering, &setup), [from("2061", false, Diverted::Always)]);
    }

    #[test]
    fn a_line_that_is_called_says_how_far_it_is_in_our_words() {
        let mut leg = called(Side::User);
        leg.agreed(toward(4005, Direction::SendRecv), &mut Vec::new());
        let fork = Fork::default();
        let ringing = call::Word::Progress { ringing: true, audible: false };
        assert_eq!(heard(&mut leg, call::Word::Proceeding), []);
        assert_eq!(
            heard(&mut leg, ringing),
            [Word::Progress { stage: Stage::Ringing, fork, media: None, told: Box::default() }]
        );
        let stream = toward(4005, Direction::SendRecv);
        let audible = call::Word::Progress { ringing: false, audible: true };
        let media = Some(stream.clone());
        assert_eq!(
            heard(&mut leg, audible),
            [Word::Progress { stage: Stage::InBand, fork, media, told: Box::default() }]
        );
        assert_eq!(
            heard(&mut leg, call::Word::Answer(Box::default())),
            [Word::Answer { fork, media: stream, told: Box::default() }]
        );
        let mut words = Vec::new();
        leg.agreed(toward(4006, Direction::SendRecv), &mut words);
        assert_eq!(words, [Word::Media(toward(4006, Direction::SendRecv))]);
        let busy = Release::new(Guilty::Network, Cause::BUSY, "");
        assert_eq!(heard(&mut leg, call::Word::Released(busy.clone())), [Word::Released(busy)]);
        assert_eq!(ordered(&mut leg, Order::Change(terms(Direction::SendRecv))), (vec![], vec![]));
    }

    #[test]
    fn a_line_that_calls_hears_the_far_end_and_is_told_its_stream_once() {
        let mut leg = caller();
        let progress = |stage, terms| Order::Progress { stage, fork: Fork::default(), terms, told: Box::default() };
        let stream = toward(4003, Direction::SendRecv);
        assert_eq!(ordered(&mut leg, progress(Stage::Other(181), None)), (vec![], vec![]));
        let rings = call::Order::Alert { audible: false };
        assert_eq!(ordered(&mut leg, progress(Stage::Ringing, None)), (vec![rings], vec![]));
        let heard = ordered(&mut leg, progress(Stage::InBand, Some(terms(Direction::SendRecv))));
        assert_eq!(heard, (vec![call::Order::Progress], vec![Word::Media(stream)]));
        let answer = Order::Answer { terms: terms(Direction::SendRecv), fork: Fork::default(), told: Box::default() };
        assert_eq!(ordered(&mut leg, answer), (vec![call::Order::Answer(Box::default())], vec![]));
    }

    #[test]
    fn who_answers_is_told_both_ways_with_what_users_tell_each_other() {
        let numbering = Numbering { country: "1".into() };
        let setup = Setup::new(Bearer::speech(Codec::Pcmu), Number::new(NumberType::UNKNOWN, "2060"));
        let party = |withheld| Party {
            number: Private(if withheld { String::new() } else { "+14255550100".into() }),
            name: Private("Bob".into()),
            withheld,
        };
        let user_user = Some(Private(b"\x04hi".to_vec()));
        for withheld in [false, true] {
            let (mut near, _, _) =
                Leg::incoming(&access(Side::User), &numbering, &setup, toward(4003, Direction::SendRecv));
            let told = Box::new(Told { party: Some(party(withheld)), user_user: user_user.clone() });
            let order = Order::Answer { terms: terms(Direction::SendRecv), fork: Fork::default(), told: told.clone() };
            let (orders, _) = ordered(&mut near, order);
            let [call::Order::Answer(answer)] = &orders[..] else { panic!("{orders:?}") };
            assert_eq!(answer.connected.clone().unwrap().shown.unwrap().screening, Screening::NotScreened);
            let mut far = Leg::new(&access(Side::Network), &numbering, Some(toward(4003, Direction::SendRecv)));
            let words = heard(&mut far, call::Word::Answer(answer.clone()));
            let [Word::Answer { told: back, .. }] = &words[..] else { panic!("{words:?}") };
            let name = Private(if withheld { String::new() } else { "Bob".into() });
            assert_eq!(**back, Told { party: Some(Party { name, ..party(withheld) }), ..*told });
        }
        // A name and a word while it rings; nobody's number in the answer.
        let mut leg = called(Side::User);
        leg.agreed(toward(4005, Direction::SendRecv), &mut Vec::new());
        let name = Name { party: q931::Party::Called, text: Private("Bob".into()), restricted: false };
        assert_eq!(heard(&mut leg, call::Word::Name(name)), []);
        assert_eq!(heard(&mut leg, call::Word::UserUser(UserUser(Private(b"\x04hi".to_vec())))), []);
        let words = heard(&mut leg, call::Word::Progress { ringing: true, audible: false });
        let bob = Some(Party { name: Private("Bob".into()), ..Party::default() });
        assert!(
            matches!(&words[..], [Word::Progress { told, .. }] if **told == Told { party: bob.clone(), user_user })
        );
        let nobody = Connected { number: Number::new(NumberType::UNKNOWN, ""), shown: None };
        let answer = call::Answer { connected: Some(nobody), ..Default::default() };
        let words = heard(&mut leg, call::Word::Answer(Box::new(answer)));
        assert!(matches!(&words[..], [Word::Answer { told, .. }] if **told == Told { party: bob, user_user: None }));
        // The last word.
        let bye = Release::normal("").with_words(Words { user_user: Some(Private(vec![4])), ..Words::default() });
        let (orders, _) = ordered(&mut leg, Order::Release(bye));
        assert!(matches!(orders[..], [call::Order::Enclose(_), call::Order::Release { .. }]));
    }

    #[test]
    fn holding_is_granted_here_and_the_line_hears_nothing_of_it() {
        let mut leg = caller();
        let hold = ordered(&mut leg, Order::Change(terms(Direction::SendOnly)));
        assert_eq!(hold, (vec![], vec![Word::Changed(toward(4003, Direction::SendOnly))]));
        let passage = crate::leg::Passage { number: Private("1".into()), token: String::new(), referred_by: None };
        let (line, words) = ordered(&mut leg, Order::Refer(Box::new(passage)));
        assert!(line.is_empty() && matches!(words[..], [Word::Referred(Outcome::Refused(_))]));
        let digits = heard(&mut leg, call::Word::Digits(Private("1#".into())));
        assert_eq!(digits.len(), 2);
        let (line, words) = ordered(&mut leg, Order::Release(Release::refused(486, None, "")));
        assert_eq!((line, words), (vec![call::Order::Release { cause: Cause::BUSY, tones: false }], vec![]));
        assert_eq!(heard(&mut leg, call::Word::Digits(Private("1".into()))), []);
    }
}
