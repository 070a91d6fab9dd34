//! A telephone exchange: the far end of a line that has no other, and somebody to try a box against.
//!
//! ```text
//!  box                     exchange
//!   | -- SETUP ------------->|  the called number's last digits say what becomes of the call (`plan`),
//!   | <- CALL PROCEEDING ----|  played as steps: ring, answer, say, hang up, and some that no exchange should do
//!   | <- ALERTING -----------|
//!   | <- CONNECT ------------|
//!
//!   | <- SETUP --------------|  at its time, when somebody is to be called
//! ```
//!
//! It is a [`Line`] on the other side. The sound of a timeslot is told as what shall be heard there; who carries it out has the
//! bearers. Telephones can be lent out of it: their calls are told, and their sound is somebody else's.

mod join;
pub mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use self::plan::{Behaviour, Joins, Misdeed, RINGS, Step, Timed, behaviour};
use crate::cause::{Cause, Guilty, Release};
use crate::isdn::call::{Order, Setup, Word};
use crate::isdn::line::{self, Line, Report, Terms};
use crate::isdn::restart::What;
use crate::isdn::timeslots::{CallId, End, Slot};
use crate::private::Private;
use crate::session::Codec;
use crate::time::{Instant, soonest};
use crate::tone::{Cadence, Tones};
use crate::wire::q931::transfer;
use crate::wire::q931::{
    self, Bearer, Builder, Called, Calling, Kind, Name, Number, Party, Presentation, Reference, Screening, Shown,
};

/// The code of a message that no standard knows.
const UNKNOWN: Kind = Kind::Other(0x6f);
/// A call reference that is far from all that are given.
const NOBODYS: u16 = 0x5a5a;
/// Who calls back.
const OWN_NAME: &str = "Telephone exchange";

/// What is heard in a timeslot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// Nothing.
    Silence,
    /// A tone.
    Tone(Cadence),
    /// Somebody speaks.
    Speech,
    /// What was said there, octet for octet.
    Echo,
    /// What somebody says at a telephone that was lent out.
    Telephone(TelephoneId),
}

/// A telephone that was lent out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TelephoneId(pub usize);

/// What comes of a call into the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To the D channel of a span.
    Frame {
        /// Which.
        span: usize,
        /// Without FCS.
        octets: Vec<u8>,
    },
    /// This is heard in a timeslot from now on.
    Sound {
        /// Which timeslot.
        slot: Slot,
        /// What.
        says: Says,
    },
    /// Nobody uses the timeslot any more.
    Closed(Slot),
    /// Something happens to a telephone that was lent out.
    Telephone {
        /// Which.
        telephone: TelephoneId,
        /// What.
        news: News,
    },
    /// For operators.
    Report(Report),
}

/// What happens to a telephone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Calls can be made on the line: both ends have restarted its timeslots.
    InService,
    /// It is called, and rings.
    Called,
    /// It rings at the other end.
    Ringing,
    /// The call is up.
    Connected,
    /// The call is over.
    Ended(Release),
}

/// A call that the exchange makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Who is called.
    pub called: Number,
    /// Who calls.
    pub calling: Number,
    /// Under which name; none where it is empty.
    pub name: Private<String>,
    /// What is heard after the answer.
    pub says: Says,
    /// When the exchange hangs up after the answer; `None`: it does not.
    pub lasts: Option<Duration>,
}

/// A call that will be made.
#[derive(Clone, Debug)]
struct Planned {
    at: Instant,
    every: Option<Duration>,
    what: Placed,
}

/// A call that is there.
#[derive(Debug)]
struct Ongoing {
    slot: Option<Slot>,
    says: Says,
    steps: VecDeque<Timed>,
    /// When the next step is due.
    due: Option<Instant>,
    /// Both numbers, called and calling; calls of our own need none.
    parties: Option<(Number, Number)>,
    telephone: Option<TelephoneId>,
    joins: Joins,
}

/// An exchange at one end of a line.
#[derive(Debug)]
pub struct Exchange {
    line: Line,
    law: Codec,
    tones: &'static Tones,
    calls: BTreeMap<CallId, Ongoing>,
    planned: Vec<Planned>,
    /// The numbers of telephones that were lent out.
    lent: Vec<String>,
    /// Since the data link came up the box has acknowledged our RESTART.
    in_service: bool,
}

impl Exchange {
    /// An exchange whose spans are in alarm until [`Exchange::span`] says otherwise.
    pub fn new(terms: Terms, tones: &'static Tones) -> Exchange {
        let law = terms.access.law;
        let (calls, planned, lent) = (BTreeMap::new(), Vec::new(), Vec::new());
        Exchange { line: Line::new(terms), law, tones, calls, planned, lent, in_service: false }
    }

    /// Its line.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Lends out the telephone whose number ends with these digits.
    pub fn lend(&mut self, digits: &str, out: &mut Vec<Output>) -> TelephoneId {
        let telephone = TelephoneId(self.lent.len());
        self.lent.push(digits.to_owned());
        out.extend(self.in_service.then_some(Output::Telephone { telephone, news: News::InService }));
        telephone
    }

    /// A call will be made at this time, and again each time so long has passed.
    pub fn plan(&mut self, at: Instant, every: Option<Duration>, what: Placed) {
        self.planned.push(Planned { at, every, what });
    }

    /// When [`Exchange::tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        let steps = self.calls.values().map(|call| call.due);
        let planned = self.planned.iter().map(|planned| Some(planned.at));
        steps.chain(planned).fold(self.line.timeout(), soonest)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.line.timeout().is_some_and(|at| at <= now) {
            self.with_line(now, out, |line, said| line.tick(now, said));
        }
        let due = |call: &Ongoing| call.due.is_some_and(|at| at <= now);
        let ready: Vec<CallId> = self.calls.iter().filter(|(_, call)| due(call)).map(|(id, _)| *id).collect();
        for id in ready {
            self.play(now, id, out);
        }
        self.place_planned(now, out);
    }

    /// A frame from the D channel of a span.
    pub fn receive(&mut self, now: Instant, span: usize, octets: &[u8], out: &mut Vec<Output>) {
        self.with_line(now, out, |line, said| line.receive(now, span, octets, said));
    }

    /// A span is free of alarms, or not.
    pub fn span(&mut self, now: Instant, span: usize, up: bool, out: &mut Vec<Output>) {
        self.with_line(now, out, |line, said| match up {
            true => line.span_up(now, span, said),
            false => line.span_down(now, span, said),
        });
    }

    /// Somebody dials at a telephone that was lent out.
    pub fn dial(&mut self, now: Instant, telephone: TelephoneId, what: Placed, out: &mut Vec<Output>) {
        let says = Says::Telephone(telephone);
        self.place(now, Placed { says, ..what }, Some(telephone), out);
    }

    /// Somebody hangs up there.
    pub fn hang_up(&mut self, now: Instant, telephone: TelephoneId, out: &mut Vec<Output>) {
        let Some(id) = self.call_of(telephone) else { return };
        self.step(now, id, Step::Release { cause: Cause::NORMAL, tones: false }, out);
        self.over(id, Release::normal("this end hung up"), out);
    }

    fn call_of(&self, telephone: TelephoneId) -> Option<CallId> {
        self.calls.iter().find(|(_, call)| call.telephone == Some(telephone)).map(|(id, _)| *id)
    }

    // The line.

    fn with_line(&mut self, now: Instant, out: &mut Vec<Output>, act: impl FnOnce(&mut Line, &mut Vec<line::Output>)) {
        let mut said = Vec::new();
        act(&mut self.line, &mut said);
        for said in said {
            match said {
                line::Output::Frame { span, octets } => out.push(Output::Frame { span, octets }),
                line::Output::Report(report) => self.report(report, out),
                line::Output::Bearer { call, slot } => self.bearer(call, slot, out),
                line::Output::Word { call, word } => self.word(now, call, word, out),
                // The box has the ladders.
                line::Output::Message { .. } | line::Output::Over(_) | line::Output::Joined { .. } => {}
            }
        }
        self.give_back(out);
    }

    fn report(&mut self, report: Report, out: &mut Vec<Output>) {
        match report {
            Report::Restarted { by: End::Near, .. } if !self.in_service => {
                self.in_service = true;
                let all = (0..self.lent.len()).map(TelephoneId);
                out.extend(all.map(|telephone| Output::Telephone { telephone, news: News::InService }));
            }
            Report::Down(_) => self.in_service = false,
            _ => {}
        }
        out.push(Output::Report(report));
    }

    /// A call has this timeslot. One of the far end's is not known yet: its SETUP follows.
    fn bearer(&mut self, id: CallId, slot: Slot, out: &mut Vec<Output>) {
        let call = self.calls.entry(id).or_insert_with(|| Ongoing::new(None));
        if let Some(old) = call.slot.replace(slot).filter(|old| *old != slot) {
            out.push(Output::Closed(old));
        }
        out.push(Output::Sound { slot, says: call.says });
    }

    fn word(&mut self, now: Instant, id: CallId, word: Word, out: &mut Vec<Output>) {
        match word {
            Word::Setup(setup) => self.called(now, id, &setup, out),
            Word::Progress { ringing: true, .. } => self.tell(id, News::Ringing, out),
            Word::Answer(_) => {
                self.tell(id, News::Connected, out);
                self.begin(now, id, out);
            }
            Word::Released(release) => self.over(id, release, out),
            Word::Facility(facility) => {
                for said in transfer::said(&facility) {
                    self.asked_to_join(now, id, said, out);
                }
            }
            Word::Proceeding
            | Word::Progress { .. }
            | Word::Digits(_)
            | Word::Name(_)
            | Word::Notice(_)
            | Word::UserUser(_) => {}
        }
    }

    /// A timeslot is closed when its call gives it back, or is gone.
    fn give_back(&mut self, out: &mut Vec<Output>) {
        let line = &self.line;
        self.calls.retain(|id, call| {
            let has = line.slot_of(*id);
            if let Some(slot) = call.slot.filter(|slot| has != Some(*slot)) {
                out.push(Output::Closed(slot));
                call.slot = None;
            }
            line.knows(*id)
        });
    }

    // Calls to the exchange.

    fn called(&mut self, now: Instant, id: CallId, setup: &Setup, out: &mut Vec<Output>) {
        let digits = setup.called.digits.get();
        let lent = self.lent.iter().position(|number| digits.ends_with(number)).map(TelephoneId);
        let busy = lent.is_some_and(|telephone| self.call_of(telephone).is_some());
        let behaviour = match lent {
            Some(_) if busy => Behaviour::Refuse { cause: Cause::BUSY, tones: true },
            Some(telephone) => Behaviour::Answer { rings: RINGS, says: Says::Telephone(telephone), lasts: None },
            None => behaviour(digits),
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let calling = setup.calling.as_ref().map(|calling| calling.number.clone()).unwrap_or_default();
        call.parties = Some((setup.called.clone(), calling));
        call.telephone = lent.filter(|_| !busy);
        call.steps = behaviour.steps(self.tones).into();
        call.joins = behaviour.joins();
        self.tell(id, News::Called, out);
        for said in setup.facilities.iter().flat_map(transfer::said) {
            self.asked_to_join(now, id, said, out);
        }
        self.begin(now, id, out);
    }

    /// The steps of a call.
    fn begin(&mut self, now: Instant, id: CallId, out: &mut Vec<Output>) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.due = call.steps.front().map(|(wait, _)| now + *wait);
        }
        self.play(now, id, out);
    }

    fn play(&mut self, now: Instant, id: CallId, out: &mut Vec<Output>) {
        while let Some(call) = self.calls.get_mut(&id).filter(|call| call.due.is_some_and(|at| at <= now)) {
            let step = call.steps.pop_front();
            call.due = call.steps.front().map(|(wait, _)| now + *wait);
            if let Some((_, step)) = step {
                self.step(now, id, step, out);
            }
        }
    }

    fn step(&mut self, now: Instant, id: CallId, step: Step, out: &mut Vec<Output>) {
        match step {
            Step::Alert => self.order(now, id, Order::Alert { audible: true }, out),
            Step::Progress => self.order(now, id, Order::Progress, out),
            Step::Answer => {
                self.order(now, id, Order::Answer(Box::default()), out);
                self.tell(id, News::Connected, out);
            }
            Step::Say(says) => self.say(id, says, out),
            Step::Release { cause, tones } => {
                self.say(id, Says::Silence, out);
                self.order(now, id, Order::Release { cause, tones }, out);
            }
            Step::CallBack(after) => self.call_back(now + after, id),
            Step::Restart { whole } => {
                let Some(slot) = self.line.slot_of(id) else { return };
                let what = if whole { What::Span(slot.span) } else { What::Slot(slot) };
                self.with_line(now, out, |line, said| line.restart(now, what, said));
            }
            Step::Misbehave(misdeed) => self.misbehave(now, id, misdeed, out),
        }
    }

    fn order(&mut self, now: Instant, id: CallId, order: Order, out: &mut Vec<Output>) {
        self.with_line(now, out, |line, said| line.order(now, id, order, said));
    }

    fn say(&mut self, id: CallId, says: Says, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if std::mem::replace(&mut call.says, says) != says {
            out.extend(call.slot.map(|slot| Output::Sound { slot, says }));
        }
    }

    /// Nothing more happens in it; the timeslot may still be on its way back.
    fn over(&mut self, id: CallId, release: Release, out: &mut Vec<Output>) {
        self.tell(id, News::Ended(release), out);
        self.say(id, Says::Silence, out);
        if let Some(call) = self.calls.get_mut(&id) {
            (call.steps, call.due, call.telephone) = (VecDeque::new(), None, None);
        }
    }

    fn tell(&self, id: CallId, news: News, out: &mut Vec<Output>) {
        let telephone = self.calls.get(&id).and_then(|call| call.telephone);
        out.extend(telephone.map(|telephone| Output::Telephone { telephone, news }));
    }

    // Calls from the exchange.

    fn call_back(&mut self, at: Instant, id: CallId) {
        let Some((called, calling)) = self.calls.get(&id).and_then(|call| call.parties.clone()) else { return };
        let name = Private(OWN_NAME.to_owned());
        let what = Placed { called: calling, calling: called, name, says: Says::Echo, lasts: None };
        self.plan(at, None, what);
    }

    fn place_planned(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (due, later): (Vec<_>, Vec<_>) = self.planned.drain(..).partition(|planned| planned.at <= now);
        self.planned = later;
        for Planned { every, what, .. } in due {
            self.place(now, what.clone(), None, out);
            if let Some(every) = every.filter(|every| !every.is_zero()) {
                self.plan(now + every, Some(every), what);
            }
        }
    }

    fn place(&mut self, now: Instant, what: Placed, telephone: Option<TelephoneId>, out: &mut Vec<Output>) {
        let mut setup = Setup::new(Bearer::speech(self.law), what.called);
        let shown = Some(Shown { presentation: Presentation::Allowed, screening: Screening::Network });
        setup.calling = Some(Calling { number: what.calling, shown });
        let named = !what.name.get().is_empty();
        setup.name = named.then_some(Name { party: Party::Calling, text: what.name, restricted: false });
        let mut said = Vec::new();
        match self.line.place(now, setup, &mut said) {
            Ok(id) => {
                let hang_up = Step::Release { cause: Cause::NORMAL, tones: false };
                let end = what.lasts.map(|lasts| (lasts, hang_up));
                let mut call = Ongoing::new(telephone);
                call.steps = std::iter::once((Duration::ZERO, Step::Say(what.says))).chain(end).collect();
                self.calls.insert(id, call);
            }
            Err(why) => {
                let release = Release::new(Guilty::Us, Cause::NO_CIRCUIT, why.to_string());
                out.extend(telephone.map(|telephone| Output::Telephone { telephone, news: News::Ended(release) }));
            }
        }
        self.with_line(now, out, |_, all| all.extend(said));
    }

    // What no exchange should do.

    fn misbehave(&mut self, now: Instant, id: CallId, misdeed: Misdeed, out: &mut Vec<Output>) {
        let Some(reference) = self.line.reference(id) else { return };
        let cause = q931::Cause::new(q931::Location::USER, Cause::NORMAL);
        let message = match misdeed {
            Misdeed::Connect => Builder::new(reference, Kind::Connect),
            Misdeed::Setup => {
                Builder::new(reference, Kind::Setup).with(&Bearer::speech(self.law)).with(&Called(Number::default()))
            }
            Misdeed::Reference => Builder::new(Reference { value: NOBODYS, ..reference }, Kind::Connect),
            Misdeed::Message => Builder::new(reference, UNKNOWN),
            Misdeed::Release => Builder::new(reference, Kind::Release).with(&cause),
        };
        self.with_line(now, out, |line, said| line.say(now, message.octets(), said));
    }
}

impl Ongoing {
    fn new(telephone: Option<TelephoneId>) -> Ongoing {
        Ongoing {
            slot: None,
            says: Says::Silence,
            steps: VecDeque::new(),
            due: None,
            parties: None,
            telephone,
            joins: Joins::Gladly,
        }
    }
}
