//! The cable between our end of a D channel and libpri's; it may lose frames.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use demarc::cause::Cause;
use demarc::isdn::call::{Access, Order, Setup, Word};
use demarc::isdn::line::{Line, Output, Report, Terms};
use demarc::isdn::link::{Link, Output as Linked};
use demarc::isdn::timeslots::{CallId, Carrier, Counting, Span, View};
use demarc::random::Random;
use demarc::session::Codec;
use demarc::time::Instant;
use demarc::wire::q931::{Bearer, Dialect, Number, NumberType, Side};

use super::{Libpri, Said};

/// How long a frame is under way.
const WAY: u64 = 5;

/// Our end of the D channel.
pub trait Ours {
    type Output;

    fn start(&mut self, now: Instant, out: &mut Vec<Self::Output>);
    fn timeout(&self) -> Option<Instant>;
    fn tick(&mut self, now: Instant, out: &mut Vec<Self::Output>);
    fn receive(&mut self, now: Instant, octets: &[u8], out: &mut Vec<Self::Output>);
    fn frame(output: Self::Output) -> Result<Vec<u8>, Self::Output>;
}

impl Ours for Link {
    type Output = Linked;

    fn start(&mut self, now: Instant, out: &mut Vec<Linked>) {
        self.line_up(now, out);
    }

    fn timeout(&self) -> Option<Instant> {
        self.timeout()
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Linked>) {
        self.tick(now, out);
    }

    fn receive(&mut self, now: Instant, octets: &[u8], out: &mut Vec<Linked>) {
        self.receive(now, octets, out);
    }

    fn frame(output: Linked) -> Result<Vec<u8>, Linked> {
        match output {
            Linked::Frame(octets) => Ok(octets),
            told => Err(told),
        }
    }
}

impl Ours for Line {
    type Output = Output;

    fn start(&mut self, now: Instant, out: &mut Vec<Output>) {
        let spans = self.timeslots().map(|(slot, _)| slot.span).max().map_or(0, |last| last + 1);
        (0..spans).for_each(|span| self.span_up(now, span, out));
    }

    fn timeout(&self) -> Option<Instant> {
        self.timeout()
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.tick(now, out);
    }

    fn receive(&mut self, now: Instant, octets: &[u8], out: &mut Vec<Output>) {
        self.receive(now, 0, octets, out);
    }

    fn frame(output: Output) -> Result<Vec<u8>, Output> {
        match output {
            Output::Frame { octets, .. } => Ok(octets),
            told => Err(told),
        }
    }
}

/// Which end of the cable a frame goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Us,
    Libpri,
}

/// Our end, libpri's, and between them a cable that loses frames.
pub struct Cable<O: Ours> {
    pub ours: O,
    libpri: Libpri,
    pub now: u64,
    pub loss: u64,
    random: Random,
    under_way: VecDeque<(u64, To, Vec<u8>)>,
    /// What libpri told its user.
    pub events: Vec<String>,
    pub libpri_is_up: bool,
    /// Of what it complained.
    pub complaints: Vec<String>,
    /// What our end told.
    pub told: Vec<O::Output>,
    pub frames: u32,
}

impl<O: Ours> Cable<O> {
    pub fn new(ours: O, side: Side, switch: &str, loss: u64, seed: u64) -> Option<Cable<O>> {
        let far = if side == Side::User { "network" } else { "user" };
        let (libpri, said) = Libpri::start(far, switch)?;
        let mut cable = Cable {
            ours,
            libpri,
            now: 0,
            loss,
            random: Random::test(seed),
            under_way: VecDeque::new(),
            events: Vec::new(),
            libpri_is_up: false,
            complaints: Vec::new(),
            told: Vec::new(),
            frames: 0,
        };
        cable.heard(said);
        cable.act(|ours, now, out| ours.start(now, out));
        Some(cable)
    }

    fn put(&mut self, to: To, octets: Vec<u8>) {
        self.frames += 1;
        if self.random.below(100) >= self.loss {
            self.under_way.push_back((self.now + WAY, to, octets));
        }
    }

    fn heard(&mut self, said: Vec<Said>) {
        for said in said {
            match said {
                Said::Frame(octets) => self.put(To::Us, octets),
                Said::Event(event) => {
                    if let "up" | "down" = &event[..] {
                        self.libpri_is_up = event == "up";
                    }
                    self.events.push(event);
                }
                Said::Complaint(text) => self.complaints.push(text),
            }
        }
    }

    pub fn act<T>(&mut self, act: impl FnOnce(&mut O, Instant, &mut Vec<O::Output>) -> T) -> T {
        let mut out = Vec::new();
        let done = act(&mut self.ours, at(self.now), &mut out);
        for output in out {
            match O::frame(output) {
                Ok(octets) => self.put(To::Libpri, octets),
                Err(told) => self.told.push(told),
            }
        }
        done
    }

    /// One of the orders that libpri's program knows.
    pub fn orders(&mut self, order: &str) {
        let said = self.libpri.order(order);
        self.heard(said);
    }

    pub fn run(&mut self, until: u64) {
        loop {
            let ours = self.ours.timeout().map(|at| at.since_start().as_millis() as u64);
            let frame = self.under_way.front().map(|(at, ..)| *at);
            let next = [ours, self.libpri.due, frame].into_iter().flatten().min().filter(|next| *next <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            let said = self.libpri.at(self.now);
            self.heard(said);
            self.act(|ours, now, out| ours.tick(now, out));
            if frame == Some(next)
                && let Some((_, to, octets)) = self.under_way.pop_front()
            {
                match to {
                    To::Us => self.act(|ours, now, out| ours.receive(now, &octets, out)),
                    To::Libpri => {
                        let said = self.libpri.hears(&octets);
                        self.heard(said);
                    }
                }
            }
        }
        self.now = until;
        let said = self.libpri.at(until);
        self.heard(said);
    }

    /// Until something is so, at most so long. Is it?
    pub fn comes(&mut self, limit: u64, so: impl Fn(&Cable<O>) -> bool) -> bool {
        let end = self.now + limit;
        while !so(self) && self.now < end {
            self.run(self.now + 5);
        }
        so(self)
    }

    /// What both ends told until now.
    pub fn forget(&mut self) {
        self.told.clear();
        self.events.clear();
    }

    /// A value of the last event of that name: `call=3`.
    pub fn last(&self, name: &str, key: &str) -> Option<&str> {
        let event = self.events.iter().rfind(|event| event.split(' ').next() == Some(name))?;
        event.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}

pub fn at(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

pub fn line(side: Side, dialect: Dialect, spans: u8) -> Line {
    Line::new(terms(side, dialect, spans))
}

/// T1s, or E1s where the dialect is Europe's; the first one has the D channel.
pub fn terms(side: Side, dialect: Dialect, spans: u8) -> Terms {
    let (carrier, law) = match dialect {
        Dialect::EuroIsdn | Dialect::Qsig => (Carrier::E1, Codec::Pcma),
        _ => (Carrier::T1, Codec::Pcmu),
    };
    let span = |interface| Span { carrier, interface, signalling: interface == 0, counting: Counting::Timeslot };
    let access = Arc::new(Access::new(side, dialect, law));
    Terms { exclusive: false, ..Terms::new(access, (0..spans).map(span).collect()) }
}

impl Cable<Line> {
    pub fn up(side: Side, switch: (&str, Dialect), loss: u64, seed: u64) -> Option<Cable<Line>> {
        Cable::group(side, switch, 1, loss, seed)
    }

    pub fn group(
        side: Side,
        (switch, dialect): (&str, Dialect),
        spans: u8,
        loss: u64,
        seed: u64,
    ) -> Option<Cable<Line>> {
        let mut cable = Cable::new(line(side, dialect, spans), side, switch, loss, seed)?;
        assert!(cable.comes(60_000, |cable| cable.ours.is_up() && cable.libpri_is_up));
        Some(cable)
    }

    pub fn calls(&mut self) -> CallId {
        let number = Number::new(NumberType::NATIONAL, "3125550100");
        self.places(Setup::new(Bearer::speech(Codec::Pcmu), number))
    }

    /// A call of ours that libpri has answered.
    pub fn talks(&mut self) -> CallId {
        let call = self.calls();
        self.run(self.now + 50);
        let theirs = self.last("ring", "call").unwrap().to_owned();
        self.orders(&format!("answer {theirs}"));
        self.run(self.now + 50);
        assert!(self.answered(call));
        call
    }

    pub fn places(&mut self, setup: Setup) -> CallId {
        self.act(|line, now, out| line.place(now, setup, out)).unwrap()
    }

    pub fn order(&mut self, call: CallId, order: Order) {
        self.act(|line, now, out| line.order(now, call, order, out));
    }

    pub fn hangs_up(&mut self, call: CallId) {
        self.order(call, Order::Release { cause: Cause::NORMAL, tones: false });
    }

    /// Did our call say this?
    pub fn said(&self, of: CallId, is: impl Fn(&Word) -> bool) -> bool {
        self.told.iter().any(|told| matches!(told, Output::Word { call, word } if *call == of && is(word)))
    }

    pub fn answered(&self, call: CallId) -> bool {
        self.said(call, |word| matches!(word, Word::Answer(_)))
    }

    pub fn released(&self, call: CallId) -> bool {
        self.said(call, |word| matches!(word, Word::Released(_)))
    }

    /// The call that libpri placed last.
    pub fn incoming(&self) -> Option<CallId> {
        self.told.iter().rev().find_map(|told| match told {
            Output::Word { call, word: Word::Setup(_) } => Some(*call),
            _ => None,
        })
    }

    pub fn reported(&self, is: impl Fn(&Report) -> bool) -> bool {
        self.told.iter().any(|told| matches!(told, Output::Report(report) if is(report)))
    }

    pub fn view(&self, timeslot: u8) -> View {
        self.ours.timeslots().find(|(slot, _)| slot.timeslot == timeslot).unwrap().1
    }

    pub fn all_idle(&self) -> bool {
        self.ours.timeslots().all(|(_, view)| [View::Idle, View::DChannel].contains(&view))
    }

    /// A call of ours: connected? Then hung up by us, or by libpri.
    pub fn out_and_down(&mut self, by_us: bool, patience: u64) -> bool {
        self.events.clear();
        let call = self.calls();
        let rang = self.comes(patience, |cable| cable.last("ring", "call").is_some() || cable.released(call));
        let Some(theirs) = self.last("ring", "call").map(str::to_owned).filter(|_| rang) else {
            self.hangs_up(call);
            self.ends(call);
            return false;
        };
        assert_eq!(self.last("ring", "called"), Some("3125550100"));
        self.takes(&theirs);
        let connected =
            self.comes(patience, |cable| cable.answered(call) || cable.released(call)) && self.answered(call);
        match by_us {
            true => self.hangs_up(call),
            false => self.orders(&format!("hangup {theirs} 16")),
        }
        self.ends(call);
        connected
    }

    /// libpri rings and answers.
    pub fn takes(&mut self, theirs: &str) {
        for word in ["proceeding", "alerting", "answer"] {
            self.orders(&format!("{word} {theirs}"));
            self.run(self.now + 20);
        }
    }

    #[track_caller]
    fn ends(&mut self, call: CallId) {
        assert!(self.comes(120_000, |cable| !cable.ours.knows(call)), "{:?}", self.events);
    }

    /// A call of libpri's likewise.
    pub fn in_and_down(&mut self, by_us: bool, patience: u64) -> bool {
        self.forget();
        self.orders("dial 3 any 3125550199 3125550100");
        let theirs = self.last("dialled", "call").unwrap().to_owned();
        if !self.comes(patience, |cable| cable.incoming().is_some()) {
            self.orders(&format!("hangup {theirs} 16"));
            return false;
        }
        let call = self.incoming().unwrap();
        self.order(call, Order::Alert { audible: false });
        self.run(self.now + 20);
        self.order(call, Order::Answer(Box::default()));
        let connected = self.comes(patience, |cable| cable.last("answer", "call").is_some() || cable.released(call));
        match by_us {
            true => self.hangs_up(call),
            false => self.orders(&format!("hangup {theirs} 16")),
        }
        self.ends(call);
        connected && self.last("answer", "call").is_some()
    }
}
