//! Anything happens to a line: frames of any octets, messages in good frames, alarms, orders, time that passes. Octets say what;
//! fuzzers and property tests make them up.
//!
//! At its far end stand data links that work, and nobody who thinks: RESTART and STATUS ENQUIRY are answered as they must be,
//! and all else is made up.

use std::collections::VecDeque;

use super::*;
use crate::cause::Cause;
use crate::isdn::link::Link;
use crate::isdn::timeslots::{Carrier, Counting, Use};
use crate::session::Codec;
use crate::wire::q921::Side;
use crate::wire::q931::{
    self, Bearer, Builder, CallState, Called, Channel, Dialect, Maintenance, Number, NumberType, Restart,
};

pub(super) const T1: Span = Span { carrier: Carrier::T1, interface: 0, signalling: true, counting: Counting::Timeslot };
const E1: Span = Span { carrier: Carrier::E1, ..T1 };
const NFAS: [Span; 3] = [T1, Span { interface: 1, ..T1 }, Span { interface: 2, signalling: false, ..T1 }];
pub(super) const KINDS: [Kind; 18] = [
    Kind::Setup,
    Kind::SetupAck,
    Kind::CallProceeding,
    Kind::Alerting,
    Kind::Progress,
    Kind::Connect,
    Kind::ConnectAck,
    Kind::Disconnect,
    Kind::Release,
    Kind::ReleaseComplete,
    Kind::Restart,
    Kind::RestartAck,
    Kind::Status,
    Kind::StatusEnquiry,
    Kind::Information,
    Kind::Facility,
    Kind::Service(Maintenance::National),
    Kind::ServiceAck(Maintenance::National),
];
/// The reference of the far end's call that nobody else means.
const QUIET: Reference = Reference { value: 0x7001, to_origin: false };
/// Its timeslot.
const SLOT: u8 = 2;
/// More frames than this for one event are an endless talk.
const MOST: usize = 20_000;

/// What of the octets is left.
struct Feed<'a>(&'a [u8]);

impl<'a> Feed<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn some(&mut self, count: u8) -> &'a [u8] {
        let (some, rest) = self.0.split_at(usize::from(count).min(self.0.len()));
        self.0 = rest;
        some
    }
}

struct Rig {
    line: Line,
    far: Vec<Link>,
    up: Vec<bool>,
    now: Instant,
    out: Vec<Output>,
    /// Calls that were told and not taken back.
    calls: BTreeSet<CallId>,
}

impl Rig {
    /// All spans up, timeslots restarted.
    fn new(kind: u8) -> Rig {
        let side = if kind & 1 == 0 { Side::User } else { Side::Network };
        let (dialect, spans) = match kind / 2 % 4 {
            0 => (Dialect::Ni2, vec![T1]),
            1 => (Dialect::Ess5, NFAS.to_vec()),
            2 => (Dialect::EuroIsdn, vec![E1]),
            _ => (Dialect::Qsig, vec![Span { counting: Counting::Logical, ..E1 }]),
        };
        let law = Codec::from(spans[0].carrier.law());
        let access = Access { listens: kind & 0x80 != 0, ..Access::new(side, dialect, law) };
        let far = spans.iter().map(|_| Link::new(side.other(), Parameters::default())).collect();
        let up = vec![false; spans.len()];
        let line = Line::new(Terms::new(Arc::new(access), spans));
        let mut rig = Rig { line, far, up, now: Instant::START, out: Vec::new(), calls: BTreeSet::new() };
        (0..rig.up.len()).for_each(|span| rig.alarm(span, true));
        rig.pass(Duration::from_secs(10));
        rig
    }

    /// Frames both ways until all is said.
    fn carry(&mut self, from: usize, said: Vec<link::Output>) {
        let mut coming: VecDeque<(usize, link::Output)> = said.into_iter().map(|said| (from, said)).collect();
        for _ in 0..MOST {
            for output in std::mem::take(&mut self.out) {
                match output {
                    Output::Frame { span, octets } => {
                        let mut said = Vec::new();
                        self.far[span].receive(self.now, &octets, &mut said);
                        coming.extend(said.into_iter().map(|said| (span, said)));
                    }
                    Output::Word { call, word: call::Word::Setup(_) } => assert!(self.calls.insert(call), "told twice"),
                    Output::Word { call, word: call::Word::Released(_) } => {
                        assert!(self.calls.remove(&call), "{call:?} was taken back twice");
                    }
                    Output::Word { call, .. } => {
                        assert!(self.calls.contains(&call), "{call:?} says a word after its end")
                    }
                    Output::Bearer { call, slot } => assert_eq!(self.line.slot_of(call), Some(slot)),
                    Output::Message { .. } | Output::Over(_) | Output::Report(_) | Output::Joined { .. } => {}
                }
            }
            match coming.pop_front() {
                Some((span, link::Output::Frame(octets))) => {
                    self.line.receive(self.now, span, &octets, &mut self.out);
                }
                Some((span, link::Output::Data(octets))) => {
                    let answer = Message::read(&octets).ok().and_then(|message| answer(&message));
                    let mut said = Vec::new();
                    if let Some(answer) = answer {
                        // A link that fell meanwhile carries none.
                        let _ = self.far[span].send(self.now, answer, &mut said);
                    }
                    coming.extend(said.into_iter().map(|said| (span, said)));
                }
                Some(_) => {}
                None => return self.check(),
            }
        }
        panic!("they never stop");
    }

    /// No timeslot is lost, none is two calls'.
    fn check(&self) {
        let spans = &self.line.terms.spans;
        let all: usize = spans.iter().map(|span| usize::from(span.carrier.timeslots())).sum();
        assert_eq!(self.line.timeslots().count(), all);
        for (slot, _) in self.line.timeslots() {
            let call = self.line.call_on(slot);
            assert_eq!(
                call.and_then(|call| self.line.slot_of(call)),
                call.map(|_| slot),
                "{slot:?} is held by {call:?}"
            );
        }
        for (id, entry) in &self.line.calls {
            if let Some(slot) = entry.slot {
                assert_eq!(self.line.call_on(slot), Some(*id));
            }
            assert_eq!(self.line.references.get(&entry.call.reference()), Some(id));
        }
        assert_eq!(self.line.references.len(), self.line.calls.len());
    }

    fn act(&mut self, act: impl FnOnce(&mut Line, Instant, &mut Vec<Output>)) {
        act(&mut self.line, self.now, &mut self.out);
        self.carry(0, Vec::new());
    }

    fn alarm(&mut self, span: usize, up: bool) {
        let Some(is) = self.up.get_mut(span) else { return };
        if std::mem::replace(is, up) == up {
            return;
        }
        let mut said = Vec::new();
        match up {
            true => {
                self.line.span_up(self.now, span, &mut self.out);
                self.far[span].line_up(self.now, &mut said);
            }
            false => {
                self.line.span_down(self.now, span, &mut self.out);
                self.far[span].line_down(&mut said);
            }
        }
        if !self.line.terms.spans[span].signalling {
            said.clear();
        }
        self.carry(span, said);
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let far = self.far.iter().filter_map(Link::timeout).min();
            let Some(due) = soonest(self.line.timeout(), far).filter(|due| *due <= until) else { break };
            self.now = self.now.max(due);
            for span in 0..self.far.len() {
                let mut said = Vec::new();
                self.far[span].tick(self.now, &mut said);
                self.carry(span, said);
            }
            self.act(|line, now, out| line.tick(now, out));
        }
        self.now = until;
    }

    /// The far end says a message on a D channel that is up.
    fn says(&mut self, span: usize, message: Vec<u8>) {
        let mut said = Vec::new();
        if self.line.terms.spans[span].signalling && self.far[span].send(self.now, message, &mut said).is_ok() {
            self.carry(span, said);
        }
    }

    fn place(&mut self) {
        let called = Number::new(NumberType::NATIONAL, "3125550100");
        let setup = Setup::new(Bearer::speech(self.line.terms.access.law), called);
        let placed = self.line.place(self.now, setup, &mut self.out);
        self.calls.extend(placed);
        self.carry(0, Vec::new());
    }

    /// Something that nobody but other calls should mind.
    fn something(&mut self, feed: &mut Feed<'_>) -> Option<()> {
        let (what, which) = (feed.next()?, feed.next()?);
        let call = self.calls.iter().nth(usize::from(which) % self.calls.len().max(1)).copied();
        let call = call.filter(|call| !self.is_quiet(*call));
        match what % 8 {
            0 => self.place(),
            1..=4 => {
                let kind = KINDS[usize::from(which) % KINDS.len()];
                let flag = feed.next()?;
                let reference = Reference { value: u16::from(flag & 7), to_origin: flag & 8 != 0 };
                let mut message = Builder::new(reference, kind).octets();
                let length = feed.next()?;
                message.extend(feed.some(length));
                if !touches(&message) {
                    self.says(usize::from(flag >> 7) % self.far.len(), message);
                }
            }
            5 => {
                let order = match which >> 5 {
                    0 | 1 => Order::Alert { audible: which & 1 == 0 },
                    2 => Order::Progress,
                    3..=5 => Order::Answer(Box::default()),
                    _ => Order::Release { cause: Cause(which & 0x7f), tones: which & 1 == 0 },
                };
                if let (Order::Release { .. }, Some(call)) = (&order, call) {
                    self.calls.remove(&call);
                }
                call.into_iter().for_each(|call| self.act(|line, now, out| line.order(now, call, order.clone(), out)));
            }
            6 => {
                let other = self.calls.iter().find(|other| Some(**other) != call && !self.is_quiet(**other)).copied();
                if let (Some(call), Some(other)) = (call, other) {
                    self.act(|line, now, out| _ = line.join(now, [call, other], out));
                }
            }
            _ => self.pass(Duration::from_millis(u64::from(which).pow(2))),
        }
        Some(())
    }

    /// The same, or something that nobody is safe from.
    fn anything(&mut self, feed: &mut Feed<'_>) -> Option<()> {
        let (what, which) = (feed.next()?, feed.next()?);
        let span = usize::from(which) % self.far.len();
        let slot = Slot { span, timeslot: feed.next()? % 33 };
        match what % 8 {
            0 => self.alarm(span, which & 0x80 != 0),
            1 => {
                let frame = feed.some(which);
                self.line.receive(self.now, span, frame, &mut self.out);
                self.carry(span, Vec::new());
            }
            2 => self.act(|line, now, out| line.block(now, slot, which & 0x80 != 0, out)),
            3 if which & 0x80 == 0 => self.act(|line, now, out| line.restart(now, What::Slot(slot), out)),
            3 => self.act(|line, now, out| line.restart(now, What::Span(span), out)),
            4 => self.says(span, feed.some(which).to_vec()),
            _ => self.something(feed)?,
        }
        Some(())
    }

    fn is_quiet(&self, call: CallId) -> bool {
        self.line.reference(call).is_some_and(|reference| reference == QUIET.reply())
    }
}

/// What every far end answers.
fn answer(message: &Message) -> Option<Vec<u8>> {
    let reply = message.reference.reply();
    match message.kind {
        Kind::Restart => {
            let answer = Builder::new(reply, Kind::RestartAck).with_all(&message.get::<Channel>());
            Some(answer.with_all(&message.get::<Restart>()).octets())
        }
        Kind::StatusEnquiry => {
            let cause = q931::Cause::new(q931::Location::USER, Cause::STATUS_ENQUIRY);
            Some(Builder::new(reply, Kind::Status).with(&cause).with(&CallState(10)).octets())
        }
        _ => None,
    }
}

/// Is it about the line as a whole, or the quiet call?
fn touches(message: &[u8]) -> bool {
    let reference = Message::read(message).ok().map(|message| message.reference);
    reference.is_some_and(|reference| reference.is_global() || reference.value == QUIET.value)
}

/// Whatever happens, no timeslot is lost, and a far end that begins anew finds all of them idle.
pub fn anything(octets: &[u8]) {
    let mut feed = Feed(octets);
    let Some(kind) = feed.next() else { return };
    let mut rig = Rig::new(kind);
    while rig.anything(&mut feed).is_some() {}
    for span in 0..rig.up.len() {
        rig.alarm(span, true);
        for timeslot in 1..=31 {
            rig.act(|line, now, out| line.block(now, Slot { span, timeslot }, false, out));
        }
    }
    rig.pass(Duration::from_secs(120));
    let active = rig.line.signalling.active();
    assert!(active.is_some(), "the D channel stays down");
    rig.says(active.unwrap_or(0), Builder::new(Reference::GLOBAL, Kind::Restart).with(&Restart::All).octets());
    rig.pass(Duration::from_secs(300));
    let used: Vec<_> =
        rig.line.slots.bearers(None).filter(|slot| rig.line.slots.used(*slot) != Some(Use::Idle)).collect();
    assert_eq!((used, rig.line.calls.len(), rig.line.joins.len()), (Vec::new(), 0, 0));
    assert_eq!(rig.line.free(), rig.line.slots.bearers(None).count());
}

/// Whatever is said of other calls, one that is up stays up.
pub fn other_calls(octets: &[u8]) {
    let mut feed = Feed(octets);
    let Some(kind) = feed.next() else { return };
    let mut rig = Rig::new(kind);
    let slot = Slot { span: 0, timeslot: SLOT };
    let setup = Builder::new(QUIET, Kind::Setup)
        .with(&Bearer::speech(rig.line.terms.access.law))
        .with(&rig.line.slots.channel(slot, true))
        .with(&Called(Number::new(NumberType::NATIONAL, "4255550100")));
    rig.says(0, setup.octets());
    let call = rig.line.call_on(slot);
    let Some(call) = call else { panic!("it is not taken") };
    rig.act(|line, now, out| line.order(now, call, Order::Answer(Box::default()), out));
    rig.says(0, Builder::new(QUIET, Kind::ConnectAck).octets());
    while rig.something(&mut feed).is_some() {
        assert!(rig.line.slot_of(call) == Some(slot) && rig.line.slots.used(slot) == Some(Use::In(call)));
    }
    assert!(rig.calls.contains(&call));
}
