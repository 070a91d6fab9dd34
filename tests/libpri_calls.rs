//! Calls with libpri as the far end, in virtual time: both roles, every switch type, both ways, and a line that loses frames.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use demarc::cause::Cause;
use demarc::isdn::call::{Access, Call, Order, Output, Setup, Timeslot, Word, stray};
use demarc::isdn::link::{self, Link, Parameters};
use demarc::private::Private;
use demarc::random::Random;
use demarc::session::Codec;
use demarc::time::Instant;
use demarc::wire::q931::{
    Bearer, Calling, Channel, Dialect, Kind, Message, Name, Number, NumberType, Party, Shown, Side,
};

mod lab;

use lab::{Libpri, Said};

/// How long a frame is under way, milliseconds.
const WAY: u64 = 5;
/// Longer than any call takes to come up or to end, T309 and its like included.
const LONG: u64 = 200_000;

/// A D channel of ours that knows one call at a time, libpri, and the line between them.
struct Line {
    link: Link,
    access: Arc<Access>,
    call: Option<Call>,
    libpri: Libpri,
    now: u64,
    loss: u64,
    random: Random,
    under_way: VecDeque<(u64, bool, Vec<u8>)>,
    /// What libpri told its user, and what our call told the other leg, since [`Line::forget`].
    events: Vec<String>,
    words: Vec<String>,
    freed: Vec<Timeslot>,
}

impl Line {
    fn new(side: Side, dialect: Dialect, loss: u64, seed: u64) -> Option<Line> {
        let far = if side == Side::User { "network" } else { "user" };
        let (libpri, said) = Libpri::start(far, dialect.name())?;
        let law = if matches!(dialect, Dialect::EuroIsdn | Dialect::Qsig) { Codec::Pcma } else { Codec::Pcmu };
        let mut line = Line {
            link: Link::new(side, Parameters::default()),
            access: Arc::new(Access::new(side, dialect, law)),
            call: None,
            libpri,
            now: 0,
            loss,
            random: Random::test(seed),
            under_way: VecDeque::new(),
            events: Vec::new(),
            words: Vec::new(),
            freed: Vec::new(),
        };
        line.heard(said);
        let mut out = Vec::new();
        line.link.line_up(at(0), &mut out);
        line.carry(out);
        line.run(15_000);
        Some(line)
    }

    fn put(&mut self, to_us: bool, octets: Vec<u8>) {
        if self.random.below(100) >= self.loss {
            self.under_way.push_back((self.now + WAY, to_us, octets));
        }
    }

    fn heard(&mut self, said: Vec<Said>) {
        for said in said {
            match said {
                Said::Frame(octets) => self.put(true, octets),
                Said::Event(event) => {
                    let hangs_up = event.starts_with("disconnect");
                    self.events.push(event);
                    if hangs_up {
                        // Its user hangs up as well.
                        let call = self.event("disconnect", "call").unwrap();
                        self.libpri_orders(&format!("hangup {call} 16"));
                    }
                }
                Said::Complaint(text) => assert!(self.loss > 0, "libpri complains: {text}"),
            }
        }
    }

    fn carry(&mut self, out: Vec<link::Output>) {
        for output in out {
            match output {
                link::Output::Frame(octets) => self.put(false, octets),
                link::Output::Data(octets) => self.message(&octets),
                link::Output::Up | link::Output::Reset { .. } => self.told(Call::link_up),
                link::Output::Down(_) => self.told(Call::link_down),
                link::Output::Fault(_) => {}
            }
        }
    }

    fn told(&mut self, what: fn(&mut Call, Instant, &mut Vec<Output>)) {
        let mut out = Vec::new();
        self.call.iter_mut().for_each(|call| what(call, at(self.now), &mut out));
        self.perform(out);
    }

    fn message(&mut self, octets: &[u8]) {
        let message = Message::read(octets).unwrap();
        assert_eq!(message.flaw(self.access.side.other()), None, "{message:?}");
        let mut out = Vec::new();
        match &mut self.call {
            Some(call) if call.reference() == message.reference.reply() => {
                call.receive(at(self.now), &message, &mut out)
            }
            None if message.kind == Kind::Setup => {
                let slot = message.get().unwrap();
                self.call = Some(Call::incoming(at(self.now), self.access.clone(), &message, slot, &mut out).unwrap());
            }
            // libpri restarts timeslots when its link comes up.
            _ => out.extend(stray(&message, self.access.side).map(Output::Message)),
        }
        self.perform(out);
    }

    fn perform(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Message(octets) => {
                    let mut frames = Vec::new();
                    let _ = self.link.send(at(self.now), octets, &mut frames);
                    self.carry(frames);
                }
                Output::Word(word) => self.words.push(told(&word)),
                Output::Timeslot(Timeslot::Agreed(channel)) => self.words.push(format!("slot {:?}", channel.numbers())),
                Output::Timeslot(fate) => self.freed.push(fate),
                Output::Fault(fault) => assert!(self.loss > 0, "{fault}"),
            }
        }
        self.call.take_if(|call| call.is_over());
    }

    fn run(&mut self, until: u64) {
        loop {
            let ms = |at: Instant| u64::try_from(at.since_start().as_millis()).unwrap();
            let ours = [self.link.timeout(), self.call.as_ref().and_then(Call::timeout)].map(|at| at.map(ms));
            let frame = self.under_way.front().map(|(at, ..)| *at);
            let next = [ours[0], ours[1], self.libpri.due, frame].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            let said = self.libpri.at(self.now);
            self.heard(said);
            let mut out = Vec::new();
            self.link.tick(at(self.now), &mut out);
            self.carry(out);
            self.told(|call, now, out| call.tick(now, out));
            if frame == Some(next)
                && let Some((_, to_us, octets)) = self.under_way.pop_front()
            {
                if to_us {
                    let mut out = Vec::new();
                    self.link.receive(at(self.now), &octets, &mut out);
                    self.carry(out);
                } else {
                    let said = self.libpri.hears(&octets);
                    self.heard(said);
                }
            }
        }
        self.now = until;
        let said = self.libpri.at(until);
        self.heard(said);
    }

    /// Until something is so; did it become so?
    fn until(&mut self, limit: u64, so: impl Fn(&Line) -> bool) -> bool {
        let end = self.now + limit;
        while !so(self) && self.now < end {
            self.run(self.now + 20);
        }
        so(self)
    }

    fn orders(&mut self, order: Order) {
        let mut out = Vec::new();
        self.call.iter_mut().for_each(|call| call.order(at(self.now), order.clone(), &mut out));
        self.perform(out);
    }

    fn libpri_orders(&mut self, order: &str) {
        let said = self.libpri.order(order);
        self.heard(said);
    }

    /// The value of a key in the latest event of this name.
    fn event(&self, name: &str, key: &str) -> Option<String> {
        let event = self.events.iter().rev().find(|event| event.split(' ').next() == Some(name))?;
        event.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
    }

    fn happened(&self, name: &str) -> bool {
        self.events.iter().any(|event| event.split(' ').next() == Some(name))
    }

    fn forget(&mut self) {
        self.events.clear();
        self.words.clear();
        self.freed.clear();
    }

    /// We call libpri. Did both talk?
    fn we_call(&mut self, setup: &Setup, reference: u16) -> bool {
        let mut out = Vec::new();
        let channel = Channel::slot(None, 3, true);
        self.call = Some(Call::outgoing(at(self.now), self.access.clone(), reference, channel, setup, &mut out));
        self.perform(out);
        if !self.until(20_000, |line| line.happened("ring")) {
            return false;
        }
        let call = self.event("ring", "call").unwrap();
        for order in ["proceeding", "alerting", "answer"] {
            self.libpri_orders(&format!("{order} {call}"));
            self.run(self.now + 50);
        }
        self.until(20_000, |line| line.call.as_ref().is_none_or(Call::is_active));
        self.call.as_ref().is_some_and(Call::is_active)
    }

    /// libpri calls us. Did both talk?
    fn libpri_calls(&mut self) -> bool {
        self.libpri_orders("dial 5 exclusive 4255550100 2065550123");
        if !self.until(20_000, |line| line.words.iter().any(|word| word.starts_with("Setup"))) {
            return false;
        }
        self.orders(Order::Alert { audible: false });
        self.run(self.now + 50);
        self.orders(Order::Answer(Box::default()));
        self.until(20_000, |line| line.happened("answer") && line.call.as_ref().is_none_or(Call::is_active))
            && self.call.is_some()
    }
}

fn at(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

fn told(word: &Word) -> String {
    match word {
        Word::Setup(setup) => {
            let calling = setup.calling.as_ref().map_or("nobody", |calling| calling.number.digits.get());
            format!("Setup {} from {calling}", setup.called.digits.get())
        }
        Word::Progress { ringing, audible } => format!("Progress {ringing} {audible}"),
        Word::Answer(_) => "Answer".to_owned(),
        Word::Released(release) => format!("Released {}", release.cause.0),
        word => format!("{word:?}").split('(').next().unwrap().to_owned(),
    }
}

fn setup(law: Codec) -> Setup {
    let calling = Number::new(NumberType::NATIONAL, "2065550123");
    Setup {
        calling: Some(Calling { number: calling, shown: Some(Shown::default()) }),
        name: Some(Name { party: Party::Calling, text: Private("Alice".to_owned()), restricted: false }),
        ..Setup::new(Bearer::speech(law), Number::new(NumberType::NATIONAL, "4255550100"))
    }
}

#[test]
fn calls_go_both_ways_from_either_end_in_every_dialect() {
    for (dialect, side) in
        Dialect::ALL.into_iter().flat_map(|dialect| [(dialect, Side::User), (dialect, Side::Network)])
    {
        let Some(mut line) = Line::new(side, dialect, 0, 1) else { return };
        let setup = setup(line.access.law);
        line.forget();
        assert!(line.we_call(&setup, 1), "{dialect:?} {side:?}: {:?} {:?}", line.events, line.words);
        let words = ["slot [3]", "Proceeding", "Progress true false", "Answer"];
        let heard: Vec<&String> = line.words.iter().filter(|word| *word != "Facility").collect();
        assert_eq!(heard, words, "{dialect:?} {side:?}");
        let ring = ["called", "calling", "channel"].map(|key| line.event("ring", key).unwrap());
        assert_eq!(ring, ["4255550100", "2065550123", "3"], "{dialect:?} {side:?}");
        // Names that come in SETUP, or on its display.
        let in_setup = side == Side::Network && dialect != Dialect::Ni2
            || matches!((dialect, side), (Dialect::Ni2 | Dialect::Qsig, _));
        assert_eq!(line.event("ring", "name").as_deref() == Some("Alice"), in_setup, "{dialect:?} {side:?}");
        line.orders(Order::Release { cause: Cause::NORMAL, tones: false });
        assert!(line.until(1000, |line| line.call.is_none() && line.happened("disconnect")));
        assert_eq!(line.freed, [Timeslot::Freed]);

        line.run(line.now + 1000);
        line.forget();
        assert!(line.libpri_calls(), "{dialect:?} {side:?}: {:?} {:?}", line.events, line.words);
        assert_eq!(line.words, ["Setup 4255550100 from 2065550123"], "{dialect:?} {side:?}");
        assert!(line.happened("proceeding") && line.happened("ringing"));
        let call = line.event("answer", "call").unwrap();
        line.libpri_orders(&format!("hangup {call} 17"));
        assert!(line.until(1000, |line| line.call.is_none() && line.happened("hangup")), "{:?}", line.events);
        assert_eq!(
            (line.words.last().map(String::as_str), &line.freed[..]),
            (Some("Released 17"), &[Timeslot::Freed][..])
        );

        // A call that is refused.
        line.forget();
        line.libpri_orders("dial 5 exclusive 4255550100 2065550123");
        line.run(line.now + 100);
        line.orders(Order::Release { cause: Cause::UNALLOCATED, tones: false });
        assert!(line.until(1000, |line| line.call.is_none()));
        line.run(line.now + 1000);
        let cause = line.event("disconnect", "cause").or(line.event("hangup", "cause"));
        assert_eq!(cause.as_deref(), Some("1"), "{:?}", line.events);
    }
}

#[test]
fn no_call_is_left_behind_on_a_line_that_loses_frames() {
    for side in [Side::User, Side::Network] {
        for loss in [10, 30] {
            let (mut talked, mut unsure, mut calls) = (0, 0, 0);
            for seed in 0..10 {
                let Some(mut line) = Line::new(side, Dialect::Ni2, loss, seed) else { return };
                for reference in 1..=6 {
                    line.forget();
                    let connected = if reference % 2 == 0 {
                        line.libpri_calls()
                    } else {
                        line.we_call(&setup(Codec::Pcmu), reference)
                    };
                    talked += u32::from(connected);
                    line.run(line.now + 3000);
                    line.orders(Order::Release { cause: Cause::NORMAL, tones: false });
                    assert!(line.until(LONG, |line| line.call.is_none()), "seed {seed}: {:?}", line.call);
                    calls += 1;
                    unsure += line.freed.iter().filter(|fate| **fate == Timeslot::Unsure).count();
                    line.run(line.now + 60_000);
                }
            }
            println!("{side:?}, {loss} % lost: {talked} of {calls} calls were answered, {unsure} ended unsure");
            assert!(talked * 2 > calls);
        }
    }
}

#[test]
fn after_an_outage_both_ends_agree_on_what_is_left() {
    for side in [Side::User, Side::Network] {
        let Some(mut line) = Line::new(side, Dialect::Ni2, 0, 1) else { return };
        assert!(line.we_call(&setup(Codec::Pcmu), 1));
        // libpri answers what we ask.
        line.told(|call, now, out| call.enquire(now, out));
        line.run(line.now + 20_000);
        assert!(line.call.as_ref().is_some_and(Call::is_active), "{:?}", line.words);
        // libpri gives its calls up after 6 s without a link, we wait for 90; then we ask, and hear that it forgot.
        line.forget();
        line.loss = 100;
        line.run(line.now + 40_000);
        assert!(line.call.as_ref().is_some_and(Call::is_active), "{:?}", line.words);
        line.loss = 1;
        assert!(line.until(30_000, |line| line.call.is_none()), "{:?}", line.call);
        println!("{side:?}: libpri told {:?}, our call {:?}, its timeslot {:?}", line.events, line.words, line.freed);
        assert!(matches!(line.freed[..], [Timeslot::Freed]));
    }
}
