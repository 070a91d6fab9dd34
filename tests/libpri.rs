//! libpri, which has run in the field for twenty years, as the other end of the D channel; in virtual time.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use demarc::cause::Cause;
use demarc::isdn::call::{Access, Order, Setup, Word};
use demarc::isdn::line::{Line, Output, Report, Terms};
use demarc::isdn::link::{Condition, Link, Output as Linked, Parameters};
use demarc::isdn::restart::What;
use demarc::isdn::timeslots::{CallId, Carrier, Counting, End, Slot, Span, View};
use demarc::random::Random;
use demarc::session::Codec;
use demarc::time::Instant;
use demarc::wire::q931::{Bearer, Dialect, Number, NumberType, Side};

mod lab;

use lab::{Libpri, Said};

/// How long a frame is under way.
const WAY: u64 = 5;

/// Our end of the D channel.
trait Ours {
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
struct Cable<O: Ours> {
    ours: O,
    libpri: Libpri,
    now: u64,
    loss: u64,
    random: Random,
    under_way: VecDeque<(u64, To, Vec<u8>)>,
    /// What libpri told its user.
    events: Vec<String>,
    libpri_is_up: bool,
    /// What our end told.
    told: Vec<O::Output>,
    frames: u32,
}

impl<O: Ours> Cable<O> {
    fn new(ours: O, side: Side, switch: &str, loss: u64, seed: u64) -> Option<Cable<O>> {
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
                Said::Complaint(_) => {}
            }
        }
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut O, Instant, &mut Vec<O::Output>) -> T) -> T {
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
    fn orders(&mut self, order: &str) {
        let said = self.libpri.order(order);
        self.heard(said);
    }

    fn run(&mut self, until: u64) {
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
    fn comes(&mut self, limit: u64, so: impl Fn(&Cable<O>) -> bool) -> bool {
        let end = self.now + limit;
        while !so(self) && self.now < end {
            self.run(self.now + 5);
        }
        so(self)
    }

    /// A value of the last event of that name: `call=3`.
    fn last(&self, name: &str, key: &str) -> Option<&str> {
        let event = self.events.iter().rfind(|event| event.split(' ').next() == Some(name))?;
        event.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}

fn at(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

/// A STATUS ENQUIRY for a call that nobody knows.
const ENQUIRY: [u8; 5] = [8, 2, 0, 9, 0x75];

impl Cable<Link> {
    fn answers(&self) -> usize {
        self.told.iter().filter(|told| matches!(told, Linked::Data(_))).count()
    }

    fn both_are_up(&self) -> bool {
        self.ours.condition() == Condition::Up && self.libpri_is_up
    }

    fn asks(&mut self) {
        self.act(|link, now, out| link.send(now, ENQUIRY.to_vec(), out)).unwrap();
    }
}

#[test]
fn the_link_comes_up_on_either_side_and_lives_on_a_line_that_loses_frames() {
    for side in [Side::User, Side::Network] {
        for loss in [0, 10, 30] {
            let (mut slowest, mut frames, mut answers, mut interruptions) = (0, 0, 0, 0);
            for seed in 0..20 {
                let link = Link::new(side, Parameters::default());
                let Some(mut cable) = Cable::new(link, side, "ni2", loss, seed) else { return };
                assert!(cable.comes(60_000, Cable::both_are_up));
                slowest = slowest.max(cable.now);
                for _ in 0..20 {
                    if cable.ours.down().is_none() {
                        cable.asks();
                    }
                    cable.run(cable.now + 700);
                }
                cable.run(cable.now + 60_000);
                cable.loss = 0;
                assert!(cable.comes(30_000, Cable::both_are_up));
                let before = cable.answers();
                cable.asks();
                assert!(cable.comes(1_000, |cable| cable.answers() > before));
                frames += cable.frames;
                answers += cable.answers();
                assert!(cable.answers() <= 21);
                interruptions += cable.events.iter().filter(|event| *event == "down").count();
            }
            println!(
                "{side:?}, {loss} % lost: up after at most {slowest} ms; {frames} frames, {answers} answers, libpri saw \
                 the link down {interruptions} times"
            );
            assert!(loss > 0 || (slowest < 100 && interruptions == 0 && answers == 20 * 21));
        }
    }
}

const SWITCHES: [(&str, Dialect); 7] = [
    ("ni2", Dialect::Ni2),
    ("ni1", Dialect::Ni2),
    ("5ess", Dialect::Ess5),
    ("dms100", Dialect::Dms100),
    ("4ess", Dialect::Ess4),
    ("euroisdn", Dialect::EuroIsdn),
    ("qsig", Dialect::Qsig),
];

/// T1s, or E1s where the dialect is Europe's; the first one has the D channel.
fn line(side: Side, dialect: Dialect, spans: u8) -> Line {
    let (carrier, law) = match dialect {
        Dialect::EuroIsdn | Dialect::Qsig => (Carrier::E1, Codec::Pcma),
        _ => (Carrier::T1, Codec::Pcmu),
    };
    let span = |interface| Span { carrier, interface, signalling: interface == 0, counting: Counting::Timeslot };
    let access = Arc::new(Access::new(side, dialect, law));
    Line::new(Terms { exclusive: false, ..Terms::new(access, (0..spans).map(span).collect()) })
}

impl Cable<Line> {
    fn up(side: Side, switch: (&str, Dialect), loss: u64, seed: u64) -> Option<Cable<Line>> {
        Cable::group(side, switch, 1, loss, seed)
    }

    fn group(side: Side, (switch, dialect): (&str, Dialect), spans: u8, loss: u64, seed: u64) -> Option<Cable<Line>> {
        let mut cable = Cable::new(line(side, dialect, spans), side, switch, loss, seed)?;
        assert!(cable.comes(60_000, |cable| cable.ours.is_up() && cable.libpri_is_up));
        Some(cable)
    }

    fn calls(&mut self) -> CallId {
        let number = Number::new(NumberType::NATIONAL, "3125550100");
        let setup = Setup::new(Bearer::speech(Codec::Pcmu), number);
        self.act(|line, now, out| line.place(now, setup, out)).unwrap()
    }

    fn order(&mut self, call: CallId, order: Order) {
        self.act(|line, now, out| line.order(now, call, order, out));
    }

    fn hangs_up(&mut self, call: CallId) {
        self.order(call, Order::Release { cause: Cause::NORMAL, tones: false });
    }

    /// Did our call say this?
    fn said(&self, of: CallId, is: impl Fn(&Word) -> bool) -> bool {
        self.told.iter().any(|told| matches!(told, Output::Word { call, word } if *call == of && is(word)))
    }

    fn answered(&self, call: CallId) -> bool {
        self.said(call, |word| matches!(word, Word::Answer(_)))
    }

    fn released(&self, call: CallId) -> bool {
        self.said(call, |word| matches!(word, Word::Released(_)))
    }

    /// The call that libpri placed last.
    fn incoming(&self) -> Option<CallId> {
        self.told.iter().rev().find_map(|told| match told {
            Output::Word { call, word: Word::Setup(_) } => Some(*call),
            _ => None,
        })
    }

    fn reported(&self, is: impl Fn(&Report) -> bool) -> bool {
        self.told.iter().any(|told| matches!(told, Output::Report(report) if is(report)))
    }

    fn view(&self, timeslot: u8) -> View {
        self.ours.timeslots().find(|(slot, _)| slot.timeslot == timeslot).unwrap().1
    }

    fn all_idle(&self) -> bool {
        self.ours.timeslots().all(|(_, view)| [View::Idle, View::DChannel].contains(&view))
    }

    /// A call of ours: connected? Then hung up by us, or by libpri.
    fn out_and_down(&mut self, by_us: bool, patience: u64) -> bool {
        self.events.clear();
        let call = self.calls();
        let rang = self.comes(patience, |cable| cable.last("ring", "call").is_some() || cable.released(call));
        let Some(theirs) = self.last("ring", "call").map(str::to_owned).filter(|_| rang) else { return false };
        assert_eq!(self.last("ring", "called"), Some("3125550100"));
        for word in ["proceeding", "alerting", "answer"] {
            self.orders(&format!("{word} {theirs}"));
            self.run(self.now + 20);
        }
        let connected =
            self.comes(patience, |cable| cable.answered(call) || cable.released(call)) && self.answered(call);
        match by_us {
            true => self.hangs_up(call),
            false => self.orders(&format!("hangup {theirs} 16")),
        }
        assert!(self.comes(120_000, |cable| cable.ours.slot_of(call).is_none()), "{:?}", self.events);
        connected
    }

    /// A call of libpri's likewise.
    fn in_and_down(&mut self, by_us: bool, patience: u64) -> bool {
        self.told.clear();
        self.events.clear();
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
        assert!(self.comes(120_000, |cable| cable.ours.slot_of(call).is_none()), "{:?}", self.events);
        connected && self.last("answer", "call").is_some()
    }
}

#[test]
fn calls_go_up_and_down_on_either_side_of_every_switch() {
    for side in [Side::User, Side::Network] {
        for switch in SWITCHES {
            let Some(mut cable) = Cable::up(side, switch, 0, 1) else { return };
            cable.run(cable.now + 1000);
            assert!(cable.reported(|report| matches!(report, Report::Restarted { by: End::Near, .. })), "{switch:?}");
            for by_us in [true, false] {
                assert!(cable.out_and_down(by_us, 1000), "{side:?}, {switch:?}: {:?}", cable.events);
                assert!(cable.in_and_down(by_us, 1000), "{side:?}, {switch:?}: {:?}", cable.events);
            }
            assert!(cable.all_idle());
            assert!(!cable.reported(|report| matches!(report, Report::Call { .. })), "{:?}", cable.told);
        }
    }
}

#[test]
fn on_a_line_that_loses_frames_calls_take_longer_and_every_timeslot_comes_back() {
    for side in [Side::User, Side::Network] {
        for loss in [10, 30] {
            let (mut tried, mut connected, mut healed) = (0, 0, 0);
            for seed in 0..10 {
                let Some(mut cable) = Cable::up(side, SWITCHES[0], loss, seed) else { return };
                for round in 0..4 {
                    let up = |cable: &Cable<Line>| cable.ours.is_up() && cable.libpri_is_up;
                    tried += 2;
                    if cable.comes(60_000, up) {
                        connected += usize::from(cable.out_and_down(round % 2 == 0, 20_000));
                    }
                    if cable.comes(60_000, up) {
                        connected += usize::from(cable.in_and_down(round % 2 == 0, 20_000));
                    }
                }
                cable.loss = 0;
                assert!(cable.comes(600_000, Cable::all_idle), "seed {seed}: {:?}", cable.events);
                assert!(cable.out_and_down(true, 1000) && cable.in_and_down(false, 1000));
                healed += cable.told.iter().filter(|told| matches!(told, Output::Report(Report::Healed(_)))).count();
            }
            println!("{side:?}, {loss} % lost: {connected} of {tried} calls connected, {healed} timeslots healed");
            assert!(connected * 100 >= tried * if loss == 10 { 90 } else { 50 });
        }
    }
}

#[test]
fn calls_from_both_ends_for_one_timeslot_both_go_up() {
    for side in [Side::User, Side::Network] {
        for switch in SWITCHES {
            let Some(mut cable) = Cable::up(side, switch, 0, 1) else { return };
            cable.run(cable.now + 1000);
            cable.told.clear();
            let first = if side == Side::Network { 1 } else { cable.ours.timeslots().count() - 1 };
            let ours = cable.calls();
            cable.orders(&format!("dial {first} any 3125550199 3125550100"));
            let theirs = cable.last("dialled", "call").unwrap().to_owned();
            cable.run(cable.now + 100);
            let incoming = cable.incoming().unwrap();
            cable.order(incoming, Order::Answer(Box::default()));
            let rang = cable.last("ring", "call").unwrap().to_owned();
            // As the exchange, libpri's user has the last word on the timeslot.
            let free = if side == Side::User { " 9" } else { "" };
            cable.orders(&format!("proceeding {rang}{free}"));
            cable.orders(&format!("answer {rang}{free}"));
            cable.run(cable.now + 1000);
            let up = cable.events.iter().any(|event| event.starts_with(&format!("answer call={theirs}")));
            assert!(up, "{side:?} {switch:?}: {:?} {:?}", cable.events, cable.told);
            assert!(cable.answered(ours), "{side:?} {switch:?}: {:?} {:?}", cable.events, cable.told);
        }
    }
}

#[test]
fn restarts_and_blocked_timeslots_are_understood_both_ways() {
    for side in [Side::User, Side::Network] {
        // libpri's ni1 misreads SERVICE.
        for switch @ (_, dialect) in SWITCHES.into_iter().filter(|(name, _)| *name != "ni1") {
            let Some(mut cable) = Cable::up(side, switch, 0, 1) else { return };
            cable.run(cable.now + 1000);
            let slot = Slot { span: 0, timeslot: 5 };
            cable.told.clear();
            cable.orders("restart 5");
            cable.run(cable.now + 100);
            assert!(cable.last("restart-ack", "channel").is_some(), "{side:?} {switch:?}: {:?}", cable.events);
            assert!(cable.reported(|report| *report == Report::Restarted { by: End::Far, slots: vec![slot] }));
            cable.act(|line, now, out| line.restart(now, What::Slot(slot), out));
            cable.run(cable.now + 100);
            assert_eq!(cable.last("restart", "channel"), Some("5"));
            assert!(cable.reported(|report| *report == Report::Restarted { by: End::Near, slots: vec![slot] }));

            cable.act(|line, now, out| line.block(now, slot, true, out));
            cable.run(cable.now + 100);
            assert_eq!(cable.view(5), View::BlockedNear);
            if dialect.maintenance().is_none() {
                assert_eq!(cable.last("status", "channel"), None);
                continue;
            }
            assert_eq!((cable.last("status", "channel"), cable.last("status", "status")), (Some("5"), Some("2")));
            cable.orders("status 6 2");
            cable.run(cable.now + 100);
            assert_eq!(cable.view(6), View::BlockedFar, "{side:?} {switch:?}: {:?}", cable.events);
            assert_eq!(cable.last("status-ack", "channel"), Some("6"));
            cable.run(cable.now + 300_000);
            assert!(!cable.reported(|report| matches!(report, Report::NoticeUnanswered(_))), "{side:?} {switch:?}");
        }
    }
}

#[test]
fn a_call_outlives_an_interruption_of_the_data_link() {
    for side in [Side::User, Side::Network] {
        let Some(mut cable) = Cable::up(side, SWITCHES[0], 0, 1) else { return };
        cable.run(cable.now + 1000);
        cable.orders("timer T309 90000");
        let call = cable.calls();
        cable.run(cable.now + 50);
        let theirs = cable.last("ring", "call").unwrap().to_owned();
        cable.orders(&format!("answer {theirs}"));
        cable.run(cable.now + 50);
        assert!(cable.answered(call));
        cable.loss = 100;
        cable.run(cable.now + 40_000);
        assert!(!cable.ours.is_up() && !cable.libpri_is_up);
        cable.loss = 0;
        assert!(cable.comes(10_000, |cable| cable.ours.is_up() && cable.libpri_is_up));
        cable.run(cable.now + 60_000);
        assert!(!cable.released(call), "{:?}", cable.told);
        cable.hangs_up(call);
        cable.run(cable.now + 1000);
        assert!(cable.all_idle(), "{:?} {:?}", cable.ours.timeslots().collect::<Vec<_>>(), cable.events);
        assert!(!cable.reported(|report| matches!(report, Report::Call { .. })), "{:?}", cable.told);
    }
}

#[test]
fn a_box_that_starts_anew_in_the_midst_of_calls_finds_every_timeslot_usable() {
    for side in [Side::User, Side::Network] {
        for switch @ (_, dialect) in SWITCHES {
            let Some(mut cable) = Cable::up(side, switch, 0, 1) else { return };
            cable.run(cable.now + 1000);
            let call = cable.calls();
            cable.run(cable.now + 50);
            let theirs = cable.last("ring", "call").unwrap().to_owned();
            let slot = cable.ours.slot_of(call).unwrap().timeslot;
            cable.orders(&format!("answer {theirs}"));
            cable.run(cable.now + 50);
            assert!(cable.answered(call));
            cable.ours = line(side, dialect, 1);
            (cable.told, cable.events) = (Vec::new(), Vec::new());
            cable.act(Ours::start);
            assert!(cable.comes(10_000, |cable| cable.last("restart", "channel") == Some("-1")), "{:?}", cable.events);
            cable.run(cable.now + 10_000);
            let call = cable.calls();
            assert_eq!(cable.ours.slot_of(call).unwrap().timeslot, slot);
            assert!(cable.comes(1000, |cable| cable.last("ring", "call").is_some()), "{:?}", cable.events);
            cable.hangs_up(call);
            cable.run(cable.now + 1000);
            for by_us in [true, false] {
                assert!(cable.out_and_down(by_us, 1000), "{side:?} {switch:?}: {:?}", cable.events);
                assert!(cable.in_and_down(by_us, 1000), "{side:?} {switch:?}: {:?}", cable.events);
            }
        }
    }
}

#[test]
fn timeslots_of_several_spans_are_told_apart_on_one_d_channel() {
    for side in [Side::User, Side::Network] {
        for switch in SWITCHES.into_iter().filter(|(_, dialect)| !dialect.is_private()) {
            let Some(mut cable) = Cable::group(side, switch, 2, 0, 1) else { return };
            cable.run(cable.now + 1000);
            let restarted = |report: &Report| matches!(report, Report::Restarted { by: End::Near, .. });
            let count = |told: &&Output| matches!(told, Output::Report(report) if restarted(report));
            assert_eq!(cable.told.iter().filter(count).count(), 2, "{side:?} {switch:?}: {:?}", cable.events);
            // The user's end hunts from above.
            let last = cable.ours.timeslots().last().unwrap().0.timeslot;
            let expected = if side == Side::User { format!("1.{last}") } else { "0.1".to_owned() };
            let ours = cable.calls();
            cable.orders("dial 1.7 exclusive 3125550199 3125550100");
            cable.run(cable.now + 100);
            assert_eq!(cable.last("ring", "channel"), Some(&expected[..]), "{side:?} {switch:?}");
            let theirs = cable.incoming().unwrap();
            assert_eq!(cable.ours.slot_of(theirs), Some(Slot { span: 1, timeslot: 7 }));
            let rang = cable.last("ring", "call").unwrap().to_owned();
            cable.orders(&format!("answer {rang}"));
            cable.order(theirs, Order::Answer(Box::default()));
            cable.run(cable.now + 100);
            assert!(cable.answered(ours) && cable.last("answer", "call").is_some(), "{side:?} {switch:?}");
            cable.hangs_up(ours);
            cable.hangs_up(theirs);
            cable.run(cable.now + 1000);
            assert!(cable.all_idle());
        }
    }
}
