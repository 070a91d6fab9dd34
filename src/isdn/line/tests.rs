//! Ladders against a scripted far end, then two lines on a bad cable.

use std::collections::VecDeque;

use super::fuzz::{KINDS, T1};
use super::*;
use crate::cause::Cause;
use crate::isdn::call::Word;
use crate::isdn::link::Link;
use crate::isdn::timeslots::Carrier;
use crate::private::Private;
use crate::random::Random;
use crate::session::Codec;
use crate::wire::q921::Side;
use crate::wire::q931::transfer::{self, Answer, Ask, Said};
use crate::wire::q931::{
    self, Bearer, Builder, CallState, Called, ChangeStatus, Channel, Choice, Dialect, Facility, Number, NumberType,
    Restart, id,
};

mod join;

fn ms(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

fn at(span: usize, timeslot: u8) -> Slot {
    Slot { span, timeslot }
}

fn setup() -> Setup {
    Setup::new(Bearer::speech(Codec::Pcmu), Number::new(NumberType::NATIONAL, "3125550100"))
}

fn terms(side: Side, dialect: Dialect, spans: &[Span]) -> Terms {
    let access = Arc::new(Access::new(side, dialect, Codec::Pcmu));
    Terms { hunt: Hunt::Ascending, exclusive: false, ..Terms::new(access, spans.to_vec()) }
}

/// A message as the ladders write it: `CALL PROCEEDING 1* slot 3`. The star is the flag of the reference, a slot with an
/// exclamation mark is exclusive, one with a dot has its interface in front.
fn shown(message: &Message) -> String {
    let Reference { value, to_origin } = message.reference;
    let mut text = format!("{} {value}{}", message.kind.name(), if to_origin { "*" } else { "" });
    if let Some(channel) = message.get::<Channel>() {
        let interface = channel.interface.map(|interface| format!("{interface}.")).unwrap_or_default();
        let which = match channel.choice {
            Choice::D => "D".to_owned(),
            Choice::Interface => "all".to_owned(),
            _ => channel.single().map_or("any".to_owned(), |number| number.to_string()),
        };
        text += &format!(" slot {interface}{which}{}", if channel.exclusive { "!" } else { "" });
    }
    if let Some(cause) = message.get::<q931::Cause>() {
        text += &format!(" cause {}", cause.value.0);
    }
    if let Some(state) = message.get::<CallState>() {
        text += &format!(" state {}", state.0);
    }
    if let Some(restart) = message.get::<Restart>() {
        text += &format!(" restart {}", format!("{restart:?}").to_lowercase());
    }
    for said in message.all().flat_map(|facility: Facility| transfer::said(&facility).collect::<Vec<_>>()) {
        text += &match said {
            Said::Ask(_, Ask::Join(Reference { value, to_origin })) => {
                format!(" join {value}{}", if to_origin { "*" } else { "" })
            }
            Said::Ask(_, Ask::Link | Ask::Candidate) => " link?".to_owned(),
            Said::Ask(_, Ask::JoinLink(link) | Ask::ThirdParty(link)) => format!(" join link {link}"),
            Said::Ask(_, Ask::Complete { .. }) => " transferred".to_owned(),
            Said::Ask(_, Ask::Propose { identity }) => format!(" propose {identity}"),
            Said::Answer(_, Answer::Done(_)) => " done".to_owned(),
            Said::Answer(_, Answer::Refused(why)) => format!(" {why}"),
        };
    }
    if let Some(status) = message.get::<ChangeStatus>() {
        text += &format!(" status {}", status as u8);
    }
    text
}

/// The other way.
fn written(text: &str) -> Vec<u8> {
    let kind = KINDS.into_iter().filter(|kind| text.starts_with(kind.name())).max_by_key(|kind| kind.name().len());
    let kind = kind.unwrap();
    let mut words = text[kind.name().len()..].split_whitespace();
    let reference = words.next().unwrap();
    let value = reference.trim_end_matches('*').parse().unwrap();
    let mut message = Builder::new(Reference { value, to_origin: reference.ends_with('*') }, kind);
    if kind == Kind::Setup {
        message = message.with(&Bearer::speech(Codec::Pcmu)).with(&Called(setup().called));
    }
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        let code = || value.parse::<u8>().unwrap();
        message = match key {
            "slot" => message.with(&channel(value)),
            "cause" => message.with(&q931::Cause::new(q931::Location::USER, Cause(code()))),
            "state" => message.with(&CallState(code())),
            "restart" => message.with(&match value {
                "channels" => Restart::Channels,
                "interface" => Restart::Interface,
                _ => Restart::All,
            }),
            _ => message.with(&if value == "0" { ChangeStatus::InService } else { ChangeStatus::OutOfService }),
        };
    }
    message.octets()
}

fn channel(text: &str) -> Channel {
    let (exclusive, text) = (text.ends_with('!'), text.trim_end_matches('!'));
    let (interface, which) = text.split_once('.').map_or((None, text), |(interface, which)| (Some(interface), which));
    let choice = match which {
        "any" => Choice::Any,
        "all" => Choice::Interface,
        "D" => Choice::D,
        number => Choice::Numbers(vec![number.parse().unwrap()]),
    };
    Channel { interface: interface.map(|interface| interface.parse().unwrap()), exclusive, choice }
}

/// A line, and data links without layer 3 on the far end of each of its spans.
struct Ladder {
    line: Line,
    far: Vec<Link>,
    now: Instant,
    told: Vec<String>,
    /// What the ladders of calls show.
    traced: Vec<String>,
    out: Vec<Output>,
}

impl Ladder {
    fn new(terms: Terms) -> Ladder {
        let far = terms.spans.iter().map(|_| Link::new(terms.access.side.other(), Parameters::default())).collect();
        Ladder {
            line: Line::new(terms),
            far,
            now: Instant::START,
            told: Vec::new(),
            traced: Vec::new(),
            out: Vec::new(),
        }
    }

    /// All spans up, their timeslots restarted.
    fn up(side: Side, dialect: Dialect, spans: &[Span]) -> Ladder {
        let mut t = Ladder::new(terms(side, dialect, spans));
        for span in 0..spans.len() {
            t.span_up(span);
        }
        while let Some(restart) = t.told.iter().position(|told| told.starts_with("RESTART")) {
            let restart = t.told.remove(restart).replace("RESTART 0", "RESTART ACKNOWLEDGE 0*");
            t.far(&restart);
        }
        t.told.clear();
        t.traced.clear();
        t
    }

    fn t1(side: Side) -> Ladder {
        Ladder::up(side, Dialect::Ni2, &[T1])
    }

    fn span_up(&mut self, span: usize) {
        let mut said = Vec::new();
        self.line.span_up(self.now, span, &mut self.out);
        self.far[span].line_up(self.now, &mut said);
        self.carry(span, said);
    }

    fn span_down(&mut self, span: usize) {
        self.line.span_down(self.now, span, &mut self.out);
        self.far[span].line_down(&mut Vec::new());
        self.carry(span, Vec::new());
    }

    /// Frames both ways until all is said.
    fn carry(&mut self, span: usize, said: Vec<link::Output>) {
        let mut to_us: VecDeque<(usize, Vec<u8>)> = VecDeque::new();
        let heard = |told: &mut Vec<String>, to_us: &mut VecDeque<_>, span, said: Vec<link::Output>| {
            for said in said {
                match said {
                    link::Output::Frame(octets) => to_us.push_back((span, octets)),
                    link::Output::Data(octets) => told.push(shown(&Message::read(&octets).unwrap())),
                    _ => {}
                }
            }
        };
        heard(&mut self.told, &mut to_us, span, said);
        loop {
            for output in std::mem::take(&mut self.out) {
                let text = match output {
                    Output::Frame { span, octets } => {
                        let mut said = Vec::new();
                        self.far[span].receive(self.now, &octets, &mut said);
                        heard(&mut self.told, &mut to_us, span, said);
                        continue;
                    }
                    // Nothing above hears of them.
                    Output::Word { word: Word::Facility(_), .. } => continue,
                    Output::Word { call, word } => format!("{}: {}", call.0, word_shown(&word)),
                    Output::Bearer { call, slot } => format!("{}: has {}.{}", call.0, slot.span, slot.timeslot),
                    Output::Report(Report::Link { .. } | Report::Interrupted) => continue,
                    Output::Message { .. } | Output::Over(_) => {
                        self.traced.push(traced(&output));
                        continue;
                    }
                    Output::Joined { calls: [a, b], outcome: Ok(()) } => format!("{}, {}: joined", a.0, b.0),
                    Output::Joined { calls: [a, b], outcome: Err(why) } => format!("{}, {}: {why}", a.0, b.0),
                    Output::Report(report) => report_shown(&report),
                };
                self.told.push(text);
            }
            let Some((span, octets)) = to_us.pop_front() else { break };
            self.line.receive(self.now, span, &octets, &mut self.out);
        }
    }

    /// The far end says a message on the first span.
    fn far(&mut self, message: &str) {
        self.far_on(0, message);
    }

    fn far_on(&mut self, span: usize, message: &str) {
        let mut said = Vec::new();
        self.far[span].send(self.now, written(message), &mut said).unwrap();
        self.carry(span, said);
    }

    fn act(&mut self, act: impl FnOnce(&mut Line, Instant, &mut Vec<Output>)) {
        act(&mut self.line, self.now, &mut self.out);
        self.carry(0, Vec::new());
    }

    fn place(&mut self) {
        self.act(|line, now, out| {
            line.place(now, setup(), out).unwrap();
        });
    }

    fn orders(&mut self, call: u32, order: Order) {
        self.act(|line, now, out| line.order(now, CallId(call), order, out));
    }

    fn hangs_up(&mut self, call: u32) {
        self.orders(call, Order::Release { cause: Cause::NORMAL, tones: false });
    }

    /// All that was said until then, and nothing else.
    #[track_caller]
    fn sees(&mut self, at: u64, expected: &str) {
        self.run(at);
        assert_eq!(std::mem::take(&mut self.told).join("; "), expected, "at {at} ms");
    }

    fn run(&mut self, at: u64) {
        loop {
            let far = self.far.iter().filter_map(Link::timeout).min();
            let Some(due) = soonest(self.line.timeout(), far).filter(|due| *due <= ms(at)) else { break };
            self.now = self.now.max(due);
            for span in 0..self.far.len() {
                let mut said = Vec::new();
                self.far[span].tick(self.now, &mut said);
                self.carry(span, said);
            }
            self.line.tick(self.now, &mut self.out);
            self.carry(0, Vec::new());
        }
        self.now = ms(at);
    }

    fn view(&self, timeslot: u8) -> &'static str {
        self.line.timeslots().find(|(slot, _)| *slot == at(0, timeslot)).unwrap().1.name()
    }
}

/// `1 > SETUP 1 slot 1`: the call, who speaks, the message.
fn traced(output: &Output) -> String {
    match output {
        Output::Message { call, sent, octets } => {
            let call = call.map_or("line".to_owned(), |call| call.0.to_string());
            let way = if *sent { '>' } else { '<' };
            format!("{call} {way} {}", shown(&Message::read(octets).unwrap()))
        }
        Output::Over(call) => format!("{} over", call.0),
        _ => String::new(),
    }
}

fn word_shown(word: &Word) -> String {
    match word {
        Word::Setup(_) => "setup".into(),
        Word::Proceeding => "proceeding".into(),
        Word::Progress { .. } => "progress".into(),
        Word::Answer(_) => "answer".into(),
        Word::Released(release) => format!("released {}", release.cause.0),
        word => format!("{word:?}"),
    }
}

fn report_shown(report: &Report) -> String {
    let slots = |slots: &[Slot]| match slots {
        [slot] => format!("{}.{}", slot.span, slot.timeslot),
        slots => slots.len().to_string(),
    };
    match report {
        Report::Restarted { by, slots: which } => format!("restarted by {by:?}: {}", slots(which)),
        Report::Healed(slot) => format!("healed {}", slots(&[*slot])),
        Report::Glare { slot, winner } => format!("glare on {}: {winner:?}", slots(&[*slot])),
        Report::Blocked { slot, end, blocked } => format!("blocked {} {end:?} {blocked}", slots(&[*slot])),
        Report::RestartUnanswered(what) => format!("unanswered {what:?}"),
        Report::Call { fault, .. } => format!("fault: {fault}"),
        report => format!("{report:?}"),
    }
}

#[test]
fn when_a_span_comes_up_its_timeslots_are_restarted_and_calls_go_out_behind_that() {
    let mut t = Ladder::new(terms(Side::User, Dialect::Ni2, &[T1]));
    assert_eq!(t.line.place(t.now, setup(), &mut Vec::new()), Err(Unplaced::Down));
    t.span_up(0);
    t.place();
    t.sees(0, "Up; RESTART 0 restart interface; SETUP 1 slot 1");
    t.far("RESTART ACKNOWLEDGE 0* restart interface");
    t.far("CALL PROCEEDING 1* slot 1!");
    t.sees(0, "restarted by Near: 23; 2: has 0.1; 2: proceeding");
}

#[test]
fn a_call_of_ours_takes_a_timeslot_and_gives_it_back() {
    let mut t = Ladder::t1(Side::User);
    t.place();
    t.sees(0, "SETUP 1 slot 1");
    assert_eq!((t.view(1), t.line.free()), ("setup", 22));
    t.far("CALL PROCEEDING 1*");
    t.far("CONNECT 1*");
    t.sees(0, "1: has 0.1; 1: proceeding; CONNECT ACKNOWLEDGE 1; 1: answer");
    assert_eq!(
        (t.view(1), t.line.call_on(at(0, 1)), t.line.slot_of(CallId(1))),
        ("out", Some(CallId(1)), Some(at(0, 1)))
    );
    t.hangs_up(1);
    t.far("RELEASE 1*");
    t.sees(0, "DISCONNECT 1 cause 16; RELEASE COMPLETE 1");
    assert_eq!((t.view(1), t.line.free(), t.line.calls.len(), t.line.references.len()), ("idle", 23, 0, 0));
}

#[test]
fn call_references_begin_anywhere_begin_anew_and_pass_over_those_in_use() {
    let mut line = Line::new(terms(Side::User, Dialect::Ni2, &[T1])).with_references_after(32_765);
    assert_eq!([line.next_reference(), line.next_reference(), line.next_reference()], [32_766, 32_767, 1]);
    line.references.insert(Reference { value: 2, to_origin: false }, CallId(7));
    assert_eq!([line.next_reference(), line.next_reference()], [3, 4]);
}

#[test]
fn a_calls_ladder_has_all_its_messages_and_an_end() {
    let mut t = Ladder::t1(Side::Network);
    t.place();
    t.far("SETUP 1 slot 5!");
    t.far("CALL PROCEEDING 1* slot 1!");
    t.far("STATUS ENQUIRY 9");
    t.far("RESTART 0 slot 5! restart channels");
    t.far("RELEASE COMPLETE 1* cause 17");
    t.hangs_up(1);
    assert_eq!(
        t.traced.join("; "),
        "1 > SETUP 1 slot 1; 2 < SETUP 1 slot 5!; 2 > CALL PROCEEDING 1* slot 5!; 1 < CALL PROCEEDING 1* slot 1!; \
         line < STATUS ENQUIRY 9; line > STATUS 9* cause 30 state 0; line < RESTART 0 slot 5! restart channels; 2 over; \
         line > RESTART ACKNOWLEDGE 0* slot 5! restart channels; 1 < RELEASE COMPLETE 1* cause 17; 1 over"
    );
}

#[test]
fn a_refused_call_is_in_no_ladder_and_what_cannot_be_sent_in_none() {
    let mut t = Ladder::t1(Side::Network);
    t.far("SETUP 1 slot 24!");
    assert_eq!(t.traced.join("; "), "line < SETUP 1 slot 24!; line > RELEASE COMPLETE 1* cause 44");
    t.place();
    t.traced.clear();
    t.act(|line, now, out| line.want(now, false, out));
    t.hangs_up(1);
    assert_eq!(t.traced, ["1 over"]);
}

#[test]
fn attempts_on_several_timeslots_share_a_ladder() {
    let mut t = Ladder::t1(Side::User);
    t.place();
    t.far("DISCONNECT 1* cause 44");
    t.far("CALL PROCEEDING 2* slot 2!");
    t.far("DISCONNECT 2* cause 17");
    t.far("RELEASE COMPLETE 2*");
    assert_eq!(
        t.traced.join("; "),
        "1 > SETUP 1 slot 1; 1 < DISCONNECT 1* cause 44; 1 > SETUP 2 slot 2; 1 > RELEASE 1 cause 44; \
         1 < CALL PROCEEDING 2* slot 2!; 1 < DISCONNECT 2* cause 17; 1 > RELEASE 2 cause 17; 1 < RELEASE COMPLETE 2*"
    );
    t.far("RELEASE COMPLETE 1*");
    assert_eq!(t.traced[8..], ["1 < RELEASE COMPLETE 1*", "1 over"]);
}

#[test]
fn the_far_end_gives_another_timeslot_where_ours_was_a_wish() {
    let mut t = Ladder::t1(Side::User);
    t.place();
    t.far("CALL PROCEEDING 1* slot 7!");
    t.sees(0, "SETUP 1 slot 1; 1: has 0.7; 1: proceeding");
    assert_eq!([t.view(1), t.view(7)], ["blocked-unsure", "setup"]);
    t.place();
    t.far("CALL PROCEEDING 2* slot 7!");
    t.sees(0, "SETUP 2 slot 2; 2: released 6; DISCONNECT 2 cause 6; 2: proceeding");
}

#[test]
fn calls_of_the_far_end_get_what_they_ask_for_or_another_or_are_refused() {
    let mut t = Ladder::t1(Side::Network);
    t.far("SETUP 1 slot 5!");
    t.sees(0, "1: has 0.5; CALL PROCEEDING 1* slot 5!; 1: setup");
    t.far("SETUP 2 slot 5!");
    t.sees(0, "STATUS ENQUIRY 1*; RELEASE COMPLETE 2* cause 44");
    t.far("SETUP 3 slot 5");
    t.far("SETUP 4 slot any");
    t.sees(0, "2: has 0.1; CALL PROCEEDING 3* slot 1!; 2: setup; 3: has 0.2; CALL PROCEEDING 4* slot 2!; 3: setup");
    for reference in 5..25 {
        t.far(&format!("SETUP {reference}"));
    }
    t.told.clear();
    t.far("SETUP 30");
    t.sees(0, "RELEASE COMPLETE 30* cause 34");
    assert_eq!(t.line.place(t.now, setup(), &mut Vec::new()), Err(Unplaced::Full));
    t.far("RELEASE COMPLETE 1 cause 16");
    t.orders(2, Order::Answer(Box::default()));
    t.sees(0, "1: released 16; CONNECT 3*");
    assert_eq!([t.view(5), t.view(1), t.view(24)], ["idle", "in", "dchannel"]);
}

#[test]
fn a_call_whose_last_word_was_lost_gives_way_to_the_next_one() {
    let mut t = Ladder::t1(Side::User);
    t.far("SETUP 1 slot 5!");
    t.hangs_up(1);
    t.told.clear();
    t.far("SETUP 2 slot 5!");
    t.sees(0, "2: has 0.5; CALL PROCEEDING 2* slot 5!; 2: setup");
    t.far("RELEASE 1");
    t.far("RELEASE COMPLETE 2");
    t.sees(0, "RELEASE COMPLETE 1* cause 81; 2: released 31");
    assert_eq!((t.view(5), t.line.free()), ("idle", 23));
}

#[test]
fn in_glare_the_exchange_has_the_timeslot_and_gives_our_call_another() {
    let mut t = Ladder::t1(Side::User);
    t.place();
    t.far("SETUP 1 slot 1!");
    t.sees(0, "SETUP 1 slot 1; glare on 0.1: Far; 2: has 0.1; CALL PROCEEDING 1* slot 1!; 2: setup");
    t.far("CALL PROCEEDING 1* slot 2!");
    t.sees(0, "1: has 0.2; 1: proceeding");
    assert_eq!([t.line.slot_of(CallId(1)), t.line.slot_of(CallId(2))], [Some(at(0, 2)), Some(at(0, 1))]);
}

#[test]
fn in_glare_a_call_that_the_exchange_refuses_is_placed_again() {
    let mut t = Ladder::t1(Side::User);
    t.place();
    t.far("SETUP 1 slot 1!");
    t.told.clear();
    t.far("RELEASE COMPLETE 1* cause 44");
    t.sees(0, "SETUP 2 slot 2");
    t.far("CONNECT 2* slot 2!");
    t.sees(0, "1: has 0.2; CONNECT ACKNOWLEDGE 2; 1: answer");
    assert_eq!(t.line.calls.len(), 2);
}

#[test]
fn in_glare_an_exchange_that_insists_on_the_same_timeslot_gets_one_call_of_the_two() {
    let mut t = Ladder::t1(Side::User);
    t.place();
    t.far("SETUP 1 slot 1!");
    t.told.clear();
    t.far("ALERTING 1*");
    t.sees(0, "1: released 6; DISCONNECT 1 cause 6; 1: progress");
    assert_eq!(t.line.slot_of(CallId(2)), Some(at(0, 1)));
}

#[test]
fn in_glare_we_as_the_exchange_keep_the_timeslot() {
    let mut t = Ladder::t1(Side::Network);
    t.place();
    t.far("SETUP 1 slot 1!");
    t.far("SETUP 2 slot 1");
    t.sees(
        0,
        "SETUP 1 slot 1; glare on 0.1: Near; RELEASE COMPLETE 1* cause 44; glare on 0.1: Near; 2: has 0.2; \
         CALL PROCEEDING 2* slot 2!; 2: setup",
    );
    t.far("CALL PROCEEDING 1* slot 1!");
    t.sees(0, "1: has 0.1; 1: proceeding");
}

#[test]
fn a_timeslot_that_the_far_end_holds_for_busy_is_passed_over_and_healed() {
    let mut t = Ladder::t1(Side::User);
    t.place();
    t.far("RELEASE COMPLETE 1* cause 44");
    t.far("CONNECT 2* slot 2!");
    t.sees(0, "SETUP 1 slot 1; SETUP 2 slot 2; 1: has 0.2; CONNECT ACKNOWLEDGE 2; 1: answer");
    assert_eq!(t.view(1), "blocked-unsure");
    t.sees(59_999, "");
    t.sees(60_000, "RESTART 0 slot 1! restart channels");
    t.far("RESTART ACKNOWLEDGE 0* slot 1! restart channels");
    t.sees(60_000, "restarted by Near: 0.1; healed 0.1");
    assert_eq!(t.view(1), "idle");
}

#[test]
fn three_refused_timeslots_are_enough() {
    let mut t = Ladder::t1(Side::User);
    t.place();
    (1..4).for_each(|reference| t.far(&format!("RELEASE COMPLETE {reference}* cause 44")));
    t.sees(0, "SETUP 1 slot 1; SETUP 2 slot 2; SETUP 3 slot 3; 1: released 44");
    assert_eq!((t.line.calls.len(), t.line.free()), (0, 21));
}

#[test]
fn the_far_ends_restart_ends_calls_without_a_word() {
    let mut t = Ladder::t1(Side::User);
    t.far("SETUP 1 slot 3!");
    t.place();
    t.far("CONNECT 1*");
    t.told.clear();
    t.far("SERVICE 0 slot 9! status 2");
    t.far("RESTART 0 slot 3! restart channels");
    t.sees(
        0,
        "blocked 0.9 Far true; SERVICE ACKNOWLEDGE 0* slot 9! status 2; 1: released 41; \
         RESTART ACKNOWLEDGE 0* slot 3! restart channels; restarted by Far: 0.3",
    );
    t.far("RESTART 0 restart interface");
    t.sees(0, "2: released 41; blocked 0.9 Far false; RESTART ACKNOWLEDGE 0* restart interface; restarted by Far: 23");
    t.far("RESTART 0 restart all");
    t.sees(0, "RESTART ACKNOWLEDGE 0* restart all; restarted by Far: 23");
    assert_eq!((t.line.free(), t.line.calls.len()), (23, 0));
    t.far("RESTART 0 slot 24! restart channels");
    t.far("RESTART 0 slot 3!");
    t.far("STATUS 0 cause 30 state 0");
    t.far("CONNECT 0");
    t.sees(0, "STATUS 0* cause 82 state 0; STATUS 0* cause 96 state 0; STATUS 0* cause 81 state 0");
}

#[test]
fn a_restart_without_an_answer_leaves_the_timeslot_out_and_is_tried_again() {
    let mut t = Ladder::t1(Side::User);
    t.act(|line, now, out| line.restart(now, What::Slot(at(0, 4)), out));
    assert_eq!((t.view(4), t.line.free()), ("setup", 22));
    t.sees(239_999, "RESTART 0 slot 4! restart channels; RESTART 0 slot 4! restart channels");
    t.run(240_000);
    assert_eq!(t.told.remove(0), "unanswered Slot(Slot { span: 0, timeslot: 4 })");
    t.sees(240_000, "RESTART 0 slot 4! restart channels");
    t.far("RESTART ACKNOWLEDGE 0* slot 4! restart channels");
    t.sees(240_000, "restarted by Near: 0.4; healed 0.4");
    assert_eq!(t.line.free(), 23);
}

#[test]
fn a_blocked_timeslot_is_told_where_the_dialect_has_a_word_for_it_and_keeps_its_call() {
    let mut t = Ladder::t1(Side::User);
    t.far("SETUP 1 slot 3!");
    t.told.clear();
    for timeslot in [1, 3] {
        t.act(|line, now, out| line.block(now, at(0, timeslot), true, out));
    }
    t.far("SERVICE ACKNOWLEDGE 0* slot 1! status 2");
    t.far("SERVICE ACKNOWLEDGE 0* slot 3! status 2");
    t.sees(0, "blocked 0.1 Near true; SERVICE 0 slot 1! status 2; blocked 0.3 Near true; SERVICE 0 slot 3! status 2");
    t.far("SETUP 2 slot 1!");
    t.far("RELEASE COMPLETE 1 cause 16");
    t.sees(0, "RELEASE COMPLETE 2* cause 44; 1: released 16");
    assert_eq!([t.view(1), t.view(3)], ["blocked-near", "blocked-near"]);
    t.far("RESTART 0 slot 1! restart channels");
    t.sees(0, "RESTART ACKNOWLEDGE 0* slot 1! restart channels; restarted by Far: 0.1; SERVICE 0 slot 1! status 2");
    t.act(|line, now, out| line.block(now, at(0, 1), false, out));
    t.run(239_999);
    assert_eq!(t.told.split_off(0).len(), 3);
    t.sees(240_000, "NoticeUnanswered(Slot { span: 0, timeslot: 1 })");
    assert_eq!(t.view(1), "idle");

    let mut t = Ladder::up(Side::User, Dialect::EuroIsdn, &[Span { carrier: Carrier::E1, ..T1 }]);
    t.act(|line, now, out| line.block(now, at(0, 1), true, out));
    t.far("SETUP 1 slot 1!");
    t.sees(0, "blocked 0.1 Near true; RELEASE COMPLETE 1* cause 44");
}

#[test]
fn calls_outlive_their_d_channel_for_t309_and_the_far_end_is_asked_about_them() {
    let mut t = Ladder::t1(Side::User);
    t.place();
    t.far("CONNECT 1*");
    t.place();
    t.told.clear();
    let mut said = Vec::new();
    t.far[0].release(t.now, &mut said);
    t.carry(0, said);
    t.sees(0, "Down(Disconnected); 2: released 27");
    t.run(80_000);
    t.told.clear();
    let (now, mut said) = (t.now, Vec::new());
    t.far[0].establish(now, &mut said);
    t.carry(0, said);
    // The timeslot of the call that was being set up.
    t.sees(80_000, "Up; STATUS ENQUIRY 1; RESTART 0 slot 2! restart channels");
    t.far("STATUS 1* cause 30 state 10");
    t.far("RESTART ACKNOWLEDGE 0* slot 2! restart channels");
    t.sees(80_000, "restarted by Near: 0.2; healed 0.2");
    assert_eq!(t.view(1), "out");

    let mut said = Vec::new();
    t.far[0].release(t.now, &mut said);
    t.carry(0, said);
    t.run(169_999);
    t.told.clear();
    t.sees(170_000, "fault: timer T309 ran out: the far end did not answer in time; 1: released 27");
    assert_eq!((t.view(1), t.line.calls.len()), ("blocked-unsure", 0));
}

#[test]
fn an_alarm_ends_the_calls_of_its_span_at_once() {
    let mut t = Ladder::t1(Side::User);
    t.place();
    t.far("CONNECT 1*");
    t.told.clear();
    t.span_down(0);
    t.sees(5_000, "Down(Line); 1: released 27");
    assert_eq!((t.line.free(), t.line.calls.len()), (0, 0));
    t.span_up(0);
    t.sees(5_000, "Up; RESTART 0 restart interface");
    t.far("RESTART ACKNOWLEDGE 0* restart interface");
    t.sees(5_000, "restarted by Near: 23");
    assert_eq!(t.line.free(), 23);
}

/// D channels on spans 0 and 1, none on span 2.
fn nfas() -> [Span; 3] {
    [T1, Span { interface: 1, ..T1 }, Span { interface: 2, signalling: false, ..T1 }]
}

#[test]
fn the_backup_d_channel_takes_over_and_calls_go_on() {
    let mut t = Ladder::up(Side::User, Dialect::Ni2, &nfas());
    assert_eq!(t.line.free(), 23 + 23 + 24);
    t.far("SETUP 1 slot 2.24!");
    t.far("SETUP 2 slot 0.1!");
    t.sees(
        0,
        "1: has 2.24; CALL PROCEEDING 1* slot 2.24!; 1: setup; 2: has 0.1; CALL PROCEEDING 2* slot 0.1!; 2: setup",
    );
    t.orders(1, Order::Answer(Box::default()));
    t.far("CONNECT ACKNOWLEDGE 1");
    t.told.clear();
    t.span_down(0);
    t.sees(
        0,
        "ChangedOver { span: 1 }; SERVICE 0 slot 1.D! status 0; STATUS ENQUIRY 1*; 2: released 27; DISCONNECT 2* cause 27",
    );
    t.far_on(1, "SERVICE ACKNOWLEDGE 0* slot 1.D! status 0");
    t.far_on(1, "STATUS 1 cause 30 state 10");
    t.far_on(1, "RELEASE 2");
    t.sees(0, "RELEASE COMPLETE 2*");
    assert_eq!((t.line.free(), t.line.slot_of(CallId(1))), (23 + 23, Some(at(2, 24))));
    t.span_up(0);
    t.sees(0, "RESTART 0 slot 0.all! restart interface");
    t.far_on(1, "RESTART ACKNOWLEDGE 0* slot 0.all! restart interface");
    t.sees(0, "restarted by Near: 23");
    t.far_on(0, "SERVICE 0 slot 0.D! status 0");
    t.place();
    t.far_on(0, "CALL PROCEEDING 1*");
    t.sees(0, "SERVICE ACKNOWLEDGE 0* slot 0.D! status 0; SETUP 1 slot 0.1; 3: has 0.1; 3: proceeding");
    t.span_down(2);
    t.sees(0, "1: released 27; DISCONNECT 1* cause 27");
}

#[test]
fn a_call_of_which_nothing_is_heard_is_asked_after_and_ended_when_the_far_end_forgot_it() {
    let mut t = Ladder::t1(Side::User);
    t.place();
    t.far("CONNECT 1*");
    t.told.clear();
    t.sees(599_999, "");
    t.sees(600_000, "STATUS ENQUIRY 1");
    t.far("STATUS 1* cause 30 state 10");
    t.sees(1_199_999, "");
    t.sees(1_200_000, "STATUS ENQUIRY 1");
    t.far("STATUS 1* cause 30 state 0");
    t.sees(1_200_000, "fault: the far end has the call in state 0, here it is in 10; 1: released 101");
    assert_eq!((t.view(1), t.line.free()), ("idle", 23));
}

#[test]
fn messages_to_no_call_get_what_the_standard_says() {
    let mut t = Ladder::t1(Side::User);
    t.far("CONNECT 9*");
    t.far("RELEASE 9");
    t.far("RELEASE COMPLETE 9");
    t.far("SETUP 9*");
    t.far("STATUS ENQUIRY 9");
    t.sees(0, "RELEASE COMPLETE 9 cause 81; RELEASE COMPLETE 9* cause 81; STATUS 9* cause 30 state 0");
    let mut said = Vec::new();
    t.far[0].send(t.now, vec![9, 9, 9], &mut said).unwrap();
    t.carry(0, said);
    t.sees(0, "Unreadable(Protocol(9))");
}

/// Two lines, and between them a cable that loses frames.
struct Cable {
    ends: [Line; 2],
    now: Instant,
    loss: u64,
    random: Random,
    under_way: VecDeque<(Instant, usize, usize, Vec<u8>)>,
    /// Calls that were told to their ends and not taken back.
    open: [BTreeSet<CallId>; 2],
    answered: usize,
    healed: usize,
    /// Nothing passes on the D channel of this span.
    cut: Option<usize>,
}

impl Cable {
    fn new(dialect: Dialect, hunt: Hunt, spans: &[Span], loss: u64, seed: u64) -> Cable {
        let end = |side| Line::new(Terms { hunt, ..terms(side, dialect, spans) });
        let mut cable = Cable {
            ends: [end(Side::User), end(Side::Network)],
            now: Instant::START,
            loss,
            random: Random::test(seed),
            under_way: VecDeque::new(),
            open: Default::default(),
            answered: 0,
            healed: 0,
            cut: None,
        };
        (0..spans.len()).for_each(|span| cable.line(span, true));
        cable
    }

    fn line(&mut self, span: usize, up: bool) {
        self.under_way.retain(|(_, _, on, _)| *on != span);
        for end in 0..2 {
            self.act(end, |line, now, out| match up {
                true => line.span_up(now, span, out),
                false => line.span_down(now, span, out),
            });
        }
    }

    fn act(&mut self, end: usize, act: impl FnOnce(&mut Line, Instant, &mut Vec<Output>)) {
        let mut out = Vec::new();
        act(&mut self.ends[end], self.now, &mut out);
        for output in out {
            match output {
                Output::Frame { span, .. } if self.cut == Some(span) => {}
                Output::Frame { .. } if self.random.below(100) < self.loss => {}
                Output::Frame { span, octets } => {
                    self.under_way.push_back((self.now + Duration::from_millis(5), 1 - end, span, octets));
                }
                Output::Word { call, word: Word::Setup(_) } => {
                    assert!(self.open[end].insert(call));
                }
                Output::Word { call, word: Word::Released(_) } => {
                    assert!(self.open[end].remove(&call), "{call:?} was released twice");
                }
                Output::Word { word: Word::Answer(_), .. } => self.answered += 1,
                Output::Report(Report::Healed(_)) => self.healed += 1,
                _ => {}
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let timer = (0..2).filter_map(|end| self.ends[end].timeout()).min();
            let frame = self.under_way.front().map(|(at, ..)| *at);
            let Some(next) = soonest(timer, frame).filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            if frame == Some(next)
                && let Some((_, end, span, octets)) = self.under_way.pop_front()
            {
                self.act(end, |line, now, out| line.receive(now, span, &octets, out));
            } else {
                (0..2).for_each(|end| self.act(end, |line, now, out| line.tick(now, out)));
            }
        }
        self.now = until;
    }

    fn place(&mut self, end: usize) {
        let mut placed = None;
        self.act(end, |line, now, out| placed = line.place(now, setup(), out).ok());
        self.open[end].extend(placed);
    }

    fn some_call(&mut self, end: usize) -> Option<CallId> {
        let place = self.random.below(self.open[end].len().max(1) as u64) as usize;
        self.open[end].iter().nth(place).copied()
    }

    fn hang_up(&mut self) {
        for end in 0..2 {
            for call in std::mem::take(&mut self.open[end]) {
                let release = Order::Release { cause: Cause::NORMAL, tones: false };
                self.act(end, |line, now, out| line.order(now, call, release, out));
            }
        }
    }

    fn something(&mut self) {
        let end = self.random.below(2) as usize;
        let call = self.some_call(end);
        let slot =
            at(self.random.below(self.ends[end].terms.spans.len() as u64) as usize, 1 + self.random.below(24) as u8);
        let choice = self.random.below(100);
        match (choice, call) {
            (0..40, _) => self.place(end),
            (40..70, Some(call)) => {
                self.act(end, |line, now, out| line.order(now, call, Order::Answer(Box::default()), out));
            }
            (70..92, Some(call)) => {
                self.open[end].remove(&call);
                let release = Order::Release { cause: Cause::NORMAL, tones: false };
                self.act(end, |line, now, out| line.order(now, call, release, out));
            }
            (92..94, _) => self.act(end, |line, now, out| line.block(now, slot, true, out)),
            (94..96, _) => self.act(end, |line, now, out| line.block(now, slot, false, out)),
            (96..98, _) => self.act(end, |line, now, out| line.restart(now, What::Slot(slot), out)),
            (98, _) if choice == 98 && self.random.below(4) == 0 => {
                self.line(slot.span, false);
                let pause = self.random.below(5000);
                self.run(Duration::from_millis(pause));
                self.line(slot.span, true);
            }
            _ => {}
        }
    }
}

#[test]
fn both_ends_leave_a_d_channel_that_died_without_an_alarm_and_calls_go_on() {
    let mut cable = Cable::new(Dialect::Ni2, Hunt::Opposite, &nfas(), 0, 1);
    cable.run(Duration::from_secs(10));
    cable.place(0);
    cable.run(Duration::from_secs(1));
    let [ours, theirs] = [0, 1].map(|end| cable.some_call(end).unwrap());
    cable.act(1, |line, now, out| line.order(now, theirs, Order::Answer(Box::default()), out));
    cable.run(Duration::from_secs(1));
    for (cut, left) in [(0, 1), (1, 0)] {
        cable.cut = Some(cut);
        cable.run(Duration::from_secs(40));
        assert_eq!(cable.ends.each_ref().map(|end| end.signalling.active()), [Some(left); 2]);
        assert_eq!((cable.open[0].contains(&ours), cable.open[1].contains(&theirs)), (true, true));
        cable.place(1);
        cable.run(Duration::from_secs(1));
        let news = cable.open[0].last().copied().unwrap();
        cable.act(0, |line, now, out| line.order(now, news, Order::Answer(Box::default()), out));
        cable.cut = None;
        cable.run(Duration::from_secs(10));
    }
    assert_eq!((cable.answered, cable.open[0].len()), (3, 3));
}

#[test]
fn whatever_happens_both_ends_agree_on_every_timeslot_in_the_end() {
    for (name, spans, dialect) in [("T1", vec![T1], Dialect::Ni2), ("NFAS", nfas().to_vec(), Dialect::Ess5)] {
        for (hunt, loss) in [(Hunt::Opposite, 0), (Hunt::Ascending, 0), (Hunt::LeastRecent, 10), (Hunt::Opposite, 30)] {
            let (mut answered, mut healed) = (0, 0);
            for seed in 0..20 {
                let mut cable = Cable::new(dialect, hunt, &spans, loss, seed);
                cable.run(Duration::from_secs(10));
                for _ in 0..300 {
                    let pause = cable.random.below(400);
                    cable.run(Duration::from_millis(pause));
                    cable.something();
                }
                cable.loss = 0;
                cable.hang_up();
                // A SETUP may still be on its way.
                cable.run(Duration::from_secs(60));
                cable.hang_up();
                for end in 0..2 {
                    let slots: Vec<Slot> = cable.ends[end].slots.bearers(None).collect();
                    for slot in slots {
                        cable.act(end, |line, now, out| line.block(now, slot, false, out));
                    }
                }
                cable.run(Duration::from_secs(900));
                let all = cable.ends[0].slots.bearers(None).count();
                for end in &cable.ends {
                    let left: Vec<_> =
                        end.timeslots().filter(|(_, view)| ![View::Idle, View::DChannel].contains(view)).collect();
                    assert_eq!(left, [], "{name}, {hunt:?}, {loss} %, seed {seed}");
                    assert_eq!((end.free(), end.calls.len(), end.references.len()), (all, 0, 0));
                }
                (answered, healed) = (answered + cable.answered, healed + cable.healed);
            }
            println!("{name}, {hunt:?}, {loss} % lost: {answered} calls answered, {healed} timeslots healed");
            assert!(answered > if loss == 30 { 20 } else { 400 });
        }
    }
}

#[test]
fn any_messages_leave_a_line_that_takes_calls() {
    bolero::check!().with_type::<(bool, Vec<(u8, Vec<u8>)>)>().with_iterations(2000).for_each(|(network, messages)| {
        let mut t = Ladder::t1(if *network { Side::Network } else { Side::User });
        for (kind, octets) in messages {
            // Most of them about calls that could be there, with elements that could be.
            let kind = KINDS[usize::from(*kind) % KINDS.len()];
            let mut message = vec![kind.discriminator(), 2, 0, octets.len() as u8 & 3, kind.code()];
            message.extend(octets);
            for message in [message, octets.clone()] {
                let mut said = Vec::new();
                if t.far[0].send(t.now, message, &mut said).is_ok() {
                    t.carry(0, said);
                }
            }
            let _ = t.line.place(t.now, setup(), &mut t.out);
            t.carry(0, Vec::new());
        }
        t.far("RESTART 0 restart interface");
        t.told.clear();
        t.far("SETUP 77 slot 5!");
        assert!(t.told.iter().any(|told| told.starts_with("CALL PROCEEDING 77* slot 5!")), "{:?}", t.told);
    });
}

#[test]
fn anything_leaves_a_line_whole() {
    let octets = bolero::produce::<Vec<u8>>().with().len(0..800usize);
    bolero::check!().with_generator(octets).with_iterations(150).for_each(|octets| fuzz::anything(octets));
}

#[test]
fn what_is_said_of_other_calls_leaves_a_call_alone() {
    let octets = bolero::produce::<Vec<u8>>().with().len(0..800usize);
    bolero::check!().with_generator(octets).with_iterations(150).for_each(|octets| fuzz::other_calls(octets));
}
