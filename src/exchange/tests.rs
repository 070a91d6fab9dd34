//! Ladders: a box's line on the user's side, the exchange on the other, no time on the way between them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::*;
use crate::isdn::call::Access;
use crate::isdn::timeslots::{Carrier, Counting, Span};
use crate::tone::{COUNTRIES, SPECIAL_INFORMATION};
use crate::wire::q931::transfer::Ask;
use crate::wire::q931::{Dialect, Message, NumberType, Side};

const T1: Span = Span { carrier: Carrier::T1, interface: 0, signalling: true, counting: Counting::Timeslot };
const TONES: &Tones = &COUNTRIES[0];

fn terms(side: Side, dialect: Dialect) -> Terms {
    Terms::new(Arc::new(Access { listens: true, ..Access::new(side, dialect, Codec::Pcmu) }), vec![T1])
}

fn number(digits: &str) -> Number {
    Number::new(NumberType::NATIONAL, digits)
}

/// A box's line and the exchange at its far end.
struct Ladder {
    line: Line,
    exchange: Exchange,
    dialect: Dialect,
    now: Instant,
    seen: Vec<String>,
    /// Q.931 both ways.
    messages: Vec<&'static str>,
}

impl Ladder {
    /// Both up, timeslots restarted.
    fn up() -> Ladder {
        Ladder::up_as(Dialect::Ni2)
    }

    fn up_as(dialect: Dialect) -> Ladder {
        let terms = |side| terms(side, dialect);
        let (line, exchange) = (Line::new(terms(Side::User)), Exchange::new(terms(Side::Network), TONES));
        let mut t = Ladder { line, exchange, dialect, now: Instant::START, seen: Vec::new(), messages: Vec::new() };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        t.line.span_up(t.now, 0, &mut ours);
        t.exchange.span(t.now, 0, true, &mut theirs);
        t.carry(ours, theirs);
        t.seen.clear();
        t
    }

    fn dial(digits: &str) -> Ladder {
        let mut t = Ladder::up();
        t.dials(digits);
        t
    }

    fn dials(&mut self, digits: &str) {
        let mut setup = Setup::new(Bearer::speech(Codec::Pcmu), number(digits));
        setup.calling = Some(Calling { number: number("4255550100"), shown: None });
        setup.facilities.extend(self.dialect.candidate());
        self.act(|line, now, out| {
            line.place(now, setup, out).unwrap();
        });
    }

    fn orders(&mut self, call: u32, order: Order) {
        self.act(|line, now, out| line.order(now, CallId(call), order, out));
    }

    fn hangs_up(&mut self) {
        self.orders(1, Order::Release { cause: Cause::NORMAL, tones: false });
    }

    fn act(&mut self, act: impl FnOnce(&mut Line, Instant, &mut Vec<line::Output>)) {
        let mut out = Vec::new();
        act(&mut self.line, self.now, &mut out);
        self.carry(out, Vec::new());
    }

    fn exchange(&mut self, act: impl FnOnce(&mut Exchange, Instant, &mut Vec<Output>)) {
        let mut out = Vec::new();
        act(&mut self.exchange, self.now, &mut out);
        self.carry(Vec::new(), out);
    }

    /// Frames both ways until all is said.
    fn carry(&mut self, from_line: Vec<line::Output>, from_exchange: Vec<Output>) {
        let (mut ours, mut theirs) = (VecDeque::from(from_line), VecDeque::from(from_exchange));
        loop {
            if let Some(output) = ours.pop_front() {
                match output {
                    line::Output::Frame { octets, .. } => {
                        self.messages.extend(message(&octets));
                        let mut out = Vec::new();
                        self.exchange.receive(self.now, 0, &octets, &mut out);
                        theirs.extend(out);
                    }
                    output => self.seen.extend(shown(&output)),
                }
            } else if let Some(output) = theirs.pop_front() {
                match output {
                    Output::Frame { octets, .. } => {
                        self.messages.extend(message(&octets));
                        let mut out = Vec::new();
                        self.line.receive(self.now, 0, &octets, &mut out);
                        ours.extend(out);
                    }
                    output => self.seen.extend(heard(&output)),
                }
            } else {
                return;
            }
        }
    }

    fn run(&mut self, until_ms: u64) {
        let until = Instant::START + Duration::from_millis(until_ms);
        while let Some(due) = soonest(self.line.timeout(), self.exchange.timeout()).filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.act(|line, now, out| line.tick(now, out));
            self.exchange(|exchange, now, out| exchange.tick(now, out));
        }
        self.now = until;
    }

    /// All that was seen until then, and nothing else.
    #[track_caller]
    fn sees(&mut self, until_ms: u64, expected: &str) {
        self.run(until_ms);
        assert_eq!(std::mem::take(&mut self.seen).join("; "), expected, "until {until_ms} ms");
    }
}

/// The message in an I frame.
fn message(frame: &[u8]) -> Option<&'static str> {
    let information = frame.get(4..).filter(|_| frame[2] & 1 == 0)?;
    Message::read(information).ok().map(|message| message.kind.name())
}

/// What the box is told.
fn shown(output: &line::Output) -> Option<String> {
    if let line::Output::Joined { outcome, .. } = output {
        return Some(outcome.map_or_else(|why| why.to_string(), |()| "joined".to_owned()));
    }
    let line::Output::Word { word, .. } = output else {
        let line::Output::Report(report) = output else { return None };
        return reported("box", report);
    };
    Some(match word {
        Word::Setup(setup) => {
            let calling = setup.calling.as_ref().map(|calling| calling.number.digits.get().clone());
            let name = setup.name.as_ref().map(|name| name.text.get().clone());
            let (calling, name) = (calling.unwrap_or_default(), name.unwrap_or_default());
            format!("called: {} by {calling} {name}", setup.called.digits.get())
        }
        Word::Proceeding => "proceeding".into(),
        Word::Progress { ringing, audible } => {
            format!("{}{}", if *ringing { "ringing" } else { "progress" }, if *audible { ", listen" } else { "" })
        }
        Word::Answer(_) => "answer".into(),
        Word::Released(release) => format!("released {}", release.cause.0),
        Word::Name(name) => format!("name: {}", name.text.get()),
        Word::Facility(_) => return None,
        word => format!("{word:?}"),
    })
}

/// What is heard on the line, and what happens at telephones.
fn heard(output: &Output) -> Option<String> {
    let name = |cadence: Cadence| match cadence {
        tone if tone == TONES.ring => "ring",
        tone if tone == TONES.busy => "busy",
        tone if tone == TONES.congestion => "congestion",
        tone if tone == SPECIAL_INFORMATION => "special",
        _ => "unknown",
    };
    match output {
        Output::Sound { slot, says: Says::Tone(cadence) } => {
            Some(format!("[{}: {} tone]", slot.timeslot, name(cadence)))
        }
        Output::Sound { slot, says } => Some(format!("[{}: {says:?}]", slot.timeslot).to_lowercase()),
        Output::Closed(slot) => Some(format!("[{} closed]", slot.timeslot)),
        Output::Telephone { news: News::Ended(release), .. } => Some(format!("telephone: ended {}", release.cause.0)),
        Output::Telephone { news, .. } => Some(format!("telephone: {news:?}").to_lowercase()),
        Output::Report(report) => reported("exchange", report),
        Output::Frame { .. } => None,
    }
}

fn reported(who: &str, report: &Report) -> Option<String> {
    match report {
        Report::Call { fault, .. } => Some(format!("{who}: {fault}")),
        Report::Restarted { by: End::Far, slots } => Some(format!("{who}: {} restarted", slots.len())),
        Report::Unreadable(_) | Report::Unsent(_) | Report::Glare { .. } => Some(format!("{who}: {report:?}")),
        _ => None,
    }
}

#[test]
fn a_number_rings_answers_and_speaks_until_the_caller_hangs_up() {
    let mut t = Ladder::dial("3125552003");
    t.sees(0, "[23: silence]; proceeding; ringing, listen; [23: ring tone]");
    t.sees(2999, "");
    t.sees(3000, "answer; [23: speech]");
    t.sees(60_000, "");
    t.hangs_up();
    t.sees(60_000, "[23: silence]; [23 closed]");
    assert_eq!((t.exchange.line().free(), t.exchange.calls.len()), (23, 0));
}

#[test]
fn every_other_number_says_back_what_it_hears() {
    let mut t = Ladder::dial("3125556789");
    t.sees(1000, "[23: silence]; proceeding; ringing, listen; [23: ring tone]; answer; [23: echo]");
}

#[test]
fn a_number_hangs_up_by_itself() {
    let mut t = Ladder::dial("3125554005");
    t.run(1000);
    t.seen.clear();
    t.sees(5999, "");
    t.sees(6000, "[23: silence]; released 16; [23 closed]");
}

#[test]
fn a_number_rings_until_nobody_waits_any_more() {
    let mut t = Ladder::dial("3125550000");
    t.sees(100_000, "[23: silence]; proceeding; ringing, listen; [23: ring tone]");
    t.sees(
        180_000,
        "box: timer T301 ran out: the far end did not answer in time; released 19; [23: silence]; [23 closed]",
    );
}

#[test]
fn refusals_come_with_every_cause() {
    for cause in [1, 17, 18, 20, 21, 27, 28, 34, 38, 41, 42, 47, 99] {
        let mut t = Ladder::dial(&format!("31255500{cause:02}"));
        t.sees(0, &format!("[23: silence]; proceeding; released {cause}; [23 closed]"));
    }
}

#[test]
fn refusals_can_be_listened_to() {
    for (cause, tone) in [(1, "special"), (17, "busy"), (34, "congestion"), (42, "congestion"), (21, "special")] {
        let mut t = Ladder::dial(&format!("31255510{cause:02}"));
        t.sees(29_999, &format!("[23: silence]; proceeding; progress, listen; [23: {tone} tone]"));
        t.sees(30_000, &format!("released {cause}; [23 closed]"));
    }
}

#[test]
fn a_busy_tone_alone_ends_nothing() {
    let mut t = Ladder::dial("3125551000");
    t.sees(60_000, "[23: silence]; proceeding; progress, listen; [23: busy tone]");
    t.hangs_up();
    t.sees(60_000, "[23: silence]; [23 closed]");
}

#[test]
fn an_announcement_is_heard_before_the_answer() {
    let mut t = Ladder::dial("3125555004");
    t.sees(0, "[23: silence]; proceeding; progress, listen; [23: special tone]");
    t.sees(1990, "[23: speech]");
    t.sees(5990, "answer");
}

#[test]
fn a_caller_is_called_back_with_number_and_name() {
    let mut t = Ladder::dial("3125556010");
    t.run(3999);
    t.seen.clear();
    t.sees(4000, "[23: silence]; released 16; [23 closed]");
    t.sees(13_999, "");
    t.sees(14_000, "called: 4255550100 by 3125556010 Telephone exchange; [1: silence]; name: Telephone exchange");
}

#[test]
fn somebody_is_called_on_schedule() {
    let mut t = Ladder::up();
    let what = Placed {
        called: number("4255550100"),
        calling: number("3125550199"),
        name: Private("JANE".to_owned()),
        says: Says::Speech,
        lasts: Some(Duration::from_secs(5)),
    };
    t.exchange.plan(Instant::START + Duration::from_secs(10), Some(Duration::from_secs(60)), what);
    t.sees(9999, "");
    t.sees(10_000, "called: 4255550100 by 3125550199 JANE; [1: silence]; name: JANE");
    t.orders(1, Order::Alert { audible: false });
    t.orders(1, Order::Answer(Box::default()));
    t.sees(14_999, "[1: speech]");
    t.sees(15_000, "[1: silence]; released 16; [1 closed]");
    t.sees(70_000, "called: 4255550100 by 3125550199 JANE; [1: silence]; name: JANE");
}

#[test]
fn a_timeslot_or_all_of_them_are_restarted_under_a_call() {
    for (digits, slots) in [("3125558000", 1), ("3125558001", 23)] {
        let mut t = Ladder::dial(digits);
        t.run(3999);
        t.seen.clear();
        t.sees(4000, &format!("[23: silence]; released 41; box: {slots} restarted; [23 closed]"));
        assert_eq!((t.line.free(), t.exchange.line().free()), (23, 23));
    }
}

#[test]
fn each_misdeed_is_answered_and_no_call_suffers_that_should_not() {
    for (digits, messages, goes_on) in [
        ("3125559001", "CONNECT; STATUS", true),
        ("3125559002", "SETUP", true),
        ("3125559003", "CONNECT; RELEASE COMPLETE", true),
        ("3125559004", "unknown message; STATUS", true),
        ("3125559005", "RELEASE; RELEASE COMPLETE", false),
    ] {
        let mut t = Ladder::dial(digits);
        t.run(3999);
        t.messages.clear();
        t.run(4000);
        assert_eq!(t.messages.join("; "), messages, "{digits}");
        let active = t.line.slot_of(CallId(1)).is_some() && t.exchange.line().slot_of(CallId(1)).is_some();
        assert_eq!(active, goes_on, "{digits}");
        t.dials("3125552000");
        t.run(4000);
        assert_eq!(t.seen.last().map(String::as_str), Some(if goes_on { "[22: speech]" } else { "[23: speech]" }));
    }
}

#[test]
fn a_telephone_that_is_lent_out_is_called_and_calls() {
    let mut t = Ladder::up();
    let mut out = Vec::new();
    let telephone = t.exchange.lend("5556789", &mut out);
    assert_eq!(out, [Output::Telephone { telephone, news: News::InService }]);
    t.dials("3125556789");
    t.sees(999, "[23: silence]; proceeding; telephone: called; ringing, listen; [23: ring tone]");
    t.sees(1000, "answer; telephone: connected; [23: telephone(telephoneid(0))]");
    t.dials("3125556789");
    t.sees(1000, "[22: silence]; proceeding; progress, listen; [22: busy tone]");
    t.exchange(|exchange, now, out| exchange.hang_up(now, telephone, out));
    t.sees(1000, "[23: silence]; released 16; telephone: ended 16; [23 closed]");
    let what = Placed {
        called: number("4255550100"),
        calling: number("3125556789"),
        name: Private(String::new()),
        says: Says::Silence,
        lasts: None,
    };
    t.exchange(|exchange, now, out| exchange.dial(now, telephone, what, out));
    t.sees(1000, "called: 4255550100 by 3125556789 ; [1: silence]");
    t.orders(3, Order::Alert { audible: false });
    t.orders(3, Order::Answer(Box::default()));
    t.sees(1000, "telephone: ringing; telephone: connected; [1: telephone(telephoneid(0))]");
    t.orders(3, Order::Release { cause: Cause::NORMAL, tones: false });
    t.sees(1000, "telephone: ended 16; [1: silence]; [1 closed]");
}

#[test]
fn a_telephone_learns_when_its_line_is_in_service() {
    let exchange = Exchange::new(terms(Side::Network, Dialect::Ni2), TONES);
    let mut t = Ladder { exchange, ..Ladder::up() };
    t.exchange(|exchange, _, out| {
        exchange.lend("5556789", out);
    });
    t.exchange(|exchange, now, out| exchange.span(now, 0, true, out));
    t.run(2000);
    assert_eq!(t.seen.iter().filter(|seen| *seen == "telephone: inservice").count(), 1, "{:?}", t.seen);
}

#[test]
fn an_alarm_ends_all_calls_and_their_sound() {
    let mut t = Ladder::dial("3125552000");
    t.run(0);
    t.seen.clear();
    t.exchange(|exchange, now, out| exchange.span(now, 0, false, out));
    t.sees(0, "[23: silence]; [23 closed]");
    assert!(t.exchange.calls.is_empty());
}

/// Two numbers are called, answered, and joined.
fn joined(dialect: Dialect, numbers: [&str; 2]) -> Ladder {
    let mut t = Ladder::up_as(dialect);
    numbers.into_iter().for_each(|number| t.dials(number));
    t.run(2000);
    t.seen.clear();
    t.act(|line, now, out| line.join(now, [CallId(1), CallId(2)], out).unwrap());
    t
}

#[test]
fn two_calls_are_joined_in_every_dialect() {
    for dialect in Dialect::ALL {
        let mut t = joined(dialect, ["3125552000", "3125553000"]);
        assert!(t.seen.contains(&"joined".to_owned()), "{dialect:?}: {:?}", t.seen);
        t.hangs_up();
        t.orders(2, Order::Release { cause: Cause::NORMAL, tones: false });
        t.run(2000);
        assert!(["[23 closed]", "[22 closed]"].iter().all(|closed| t.seen.iter().any(|seen| seen == closed)));
        assert_eq!((t.line.free(), t.exchange.line().free(), t.exchange.calls.len()), (23, 23, 0), "{dialect:?}");
    }
}

#[test]
fn numbers_that_are_not_joined_talk_on() {
    for (dialect, number, at, why) in [
        (Dialect::Ni2, "3125557001", 0, "the exchange refuses: the line is not subscribed to it"),
        (Dialect::EuroIsdn, "3125557001", 0, "the exchange refuses: the line is not subscribed to it"),
        (Dialect::Dms100, "3125557001", 0, "the exchange refuses: the line is not subscribed to it"),
        (Dialect::Qsig, "3125557001", 0, "the exchange refuses: the line is not subscribed to it"),
        (Dialect::Ni2, "3125557002", 10_000, "the exchange does not answer"),
        (Dialect::Qsig, "3125557002", 30_000, "the exchange does not answer"),
    ] {
        for numbers in [["3125552000", number], [number, "3125552000"]] {
            let mut t = joined(dialect, numbers);
            t.sees(2000 + at, why);
            t.sees(100_000, "");
            assert_eq!(t.exchange.calls.len(), 2, "{dialect:?}");
        }
    }
}

#[test]
fn a_call_that_nobody_has_is_not_joined() {
    let mut t = Ladder::dial("3125552000");
    t.run(1000);
    let nobodys = Reference { value: 99, to_origin: false };
    let orders =
        [Ask::Join(nobodys), Ask::JoinLink(99), Ask::JoinLink(-1), Ask::JoinLink(1), Ask::Propose { identity: 99 }];
    for ask in orders {
        t.orders(1, Order::Facility(ask.facility(20)));
    }
    t.sees(1000, "[23: silence]; proceeding; ringing, listen; [23: ring tone]; answer; [23: speech]");
    assert_eq!(t.exchange.calls.len(), 1);
}
