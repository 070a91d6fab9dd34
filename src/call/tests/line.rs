//! Calls between the Microsoft side and a line, whose far end is an exchange of our own making.

use std::sync::Arc;

use firmware_io::Alarms;

use super::*;
use crate::call::{FromSpan, SpanOrder, Way};
use crate::cause::Cause;
use crate::hop::SpanId;
use crate::isdn::call::{Access, Answer, Order, Setup, Word};
use crate::isdn::line::{Line, Output as Said, Terms};
use crate::isdn::timeslots::{CallId, Carrier, Counting, Hunt, Slot, Span};
use crate::private::Private;
use crate::session::{Codec, Machine, Remote};
use crate::wire::q931::transfer::{self, Ask, Said as Asked};
use crate::wire::q931::{self, Bearer, Dialect, NumberType};

pub(super) const SPAN: SpanId = SpanId(1);
const LINE: &str = "[Gateway4]\nKind=isdn\nSpan=Span1\nVoiceRoutes=LineRoute\n[Span1]\nCountryCode=1\n";
const ROUTES: &str = "[HybridVoiceRoutes]\nLineRoute=^\\+1312\n";

/// The exchange at the far end of [Span1].
pub(super) struct Exchange {
    pub line: Line,
    words: Vec<(CallId, Word)>,
}

impl Exchange {
    fn new(dialect: Dialect) -> Exchange {
        let access = Access::new(q931::Side::Network, dialect, Codec::Pcmu);
        let span = Span { carrier: Carrier::T1, interface: 0, signalling: true, counting: Counting::Timeslot };
        let terms = Terms { hunt: Hunt::Ascending, ..Terms::new(Arc::new(access), vec![span]) };
        Exchange { line: Line::new(terms), words: Vec::new() }
    }
}

/// Calls to +1312 go to the line.
fn line_first() -> String {
    INI.replace("[HybridVoiceRoutes]\n", ROUTES)
}

impl World {
    /// A world with a line, which comes up.
    fn with_line() -> World {
        World::with_line_set("")
    }

    /// The same, with this line in the section of the line.
    fn with_line_set(key: &str) -> World {
        World::with_line_where("", &format!("{key}\n"))
    }

    /// The same with more lines in `[Lync]`, and more sections.
    fn with_line_where(lync: &str, more: &str) -> World {
        let ini = line_first().replace("[Lync]\n", &format!("[Lync]\n{lync}"));
        World::with_the_line(&format!("{more}{ini}"))
    }

    /// A world with a line that takes the calls of `LineRoute`; what `ini` begins with is of the line's section.
    fn with_the_line(ini: &str) -> World {
        World::with_the_line_of("", ini)
    }

    /// A world with a line whose gateway has these keys as well.
    fn with_the_line_of(keys: &str, ini: &str) -> World {
        let line = LINE.replace("[Span1]", &format!("{keys}[Span1]"));
        let config = read(&format!("{line}{ini}"));
        let dialect = config.spans[0].dialect;
        let mut world = World::with(config);
        world.exchange = Some(Exchange::new(dialect));
        world.alarms(Alarms::NONE);
        world.pass(seconds(2));
        world.seen();
        world
    }

    /// Both ends of the cable see these alarms.
    fn alarms(&mut self, alarms: Alarms) {
        self.on_line(|line, now, out| match alarms.is_empty() {
            true => line.span_up(now, 0, out),
            false => line.span_down(now, 0, out),
        });
        self.happens(Event::Span(SPAN, FromSpan::Alarms(alarms)));
    }

    /// Something happens at the far end of the line.
    pub(super) fn on_line(&mut self, act: impl FnOnce(&mut Line, Instant, &mut Vec<Said>)) {
        let mut out = Vec::new();
        let Some(exchange) = &mut self.exchange else { return };
        act(&mut exchange.line, self.now.mono, &mut out);
        for said in out {
            match said {
                Said::Frame { octets, .. } => self.coming.push_back(Event::Span(SPAN, FromSpan::Frame(octets))),
                Said::Word { call, word } => {
                    self.log.push(format!("line:{}", named(&word)));
                    exchange.words.push((call, word));
                }
                Said::Bearer { .. } | Said::Report(_) | Said::Message { .. } | Said::Over(_) | Said::Joined { .. } => {}
            }
        }
    }

    fn exchange_says(&mut self, call: CallId, order: Order) {
        self.on_line(|line, now, out| line.order(now, call, order, out));
        self.run();
    }

    fn exchange_calls(&mut self, from: &str, to: &str) -> CallId {
        self.exchange_sends(|setup, number| {
            (setup.called, setup.calling) = (number(to), Some(q931::Calling { number: number(from), shown: None }));
        })
    }

    fn exchange_sends(&mut self, fill: impl FnOnce(&mut Setup, fn(&str) -> q931::Number)) -> CallId {
        let number = |digits: &str| q931::Number::new(NumberType::NATIONAL, digits);
        let mut setup = Setup::new(Bearer::speech(Codec::Pcmu), number(""));
        fill(&mut setup, number);
        let mut call = None;
        self.on_line(|line, now, out| call = line.place(now, setup, out).ok());
        self.run();
        call.unwrap()
    }

    /// Lync calls somebody on the line, who answers.
    fn talks_on_line(&mut self) -> (Id, CallId) {
        let a = self.invite(LYNC, &secret("0 8"));
        let call = self.on_exchange();
        self.exchange_says(call, answer());
        self.ack(a, "");
        (a, call)
    }

    /// The call that came to the exchange last.
    fn on_exchange(&self) -> CallId {
        let words = &self.exchange.as_ref().unwrap().words;
        words.iter().rev().find_map(|(call, word)| matches!(word, Word::Setup(_)).then_some(*call)).unwrap()
    }

    /// Each call's messages, ours with `>`, on the line with their cause.
    fn ladders(&self) -> Vec<String> {
        let mut ladders: Vec<(Arc<str>, String)> = Vec::new();
        for report in &self.reports {
            let (call, way, what) = match report {
                Report::Message { call, way, message, .. } => {
                    let method = String::from_utf8_lossy(message.cseq_method().unwrap_or_default()).into_owned();
                    (call, way, message.status().map_or(method, |status| status.to_string()))
                }
                Report::Signal { call, way, octets, span } => {
                    assert_eq!(*span, SPAN);
                    let message = q931::Message::read(octets.get()).unwrap();
                    let cause = message.get::<q931::Cause>().map(|cause| format!(" {}", cause.value.0));
                    (call, way, format!("{}{}", message.kind, cause.unwrap_or_default()))
                }
                _ => continue,
            };
            let row = format!("{}{what}", if *way == Way::Sent { '>' } else { '<' });
            match ladders.iter_mut().find(|(id, _)| id == call) {
                Some((_, rows)) => *rows += &format!(" {row}"),
                None => ladders.push((call.clone(), row)),
            }
        }
        ladders.into_iter().map(|(_, rows)| rows).collect()
    }

    fn timeslots(&self) -> Vec<Option<u8>> {
        let sides = &self.sessions.values().next_back().unwrap().sides;
        let number = |stream: &Option<Stream>| match stream.as_ref()?.remote {
            Remote::Timeslot(timeslot) => Some(timeslot.number),
            Remote::Rtp(_) => None,
        };
        sides.iter().map(number).collect()
    }

    /// Nothing is left, at either end of the line.
    fn line_rests(&mut self) {
        self.pass(seconds(60));
        assert_eq!((self.switch.live_calls(), self.began), (0, self.ended));
        assert!(self.ports.values().all(|ports| *ports == Ports::Closed), "ports never came home");
        let line = &self.exchange.as_ref().unwrap().line;
        assert_eq!(line.free(), 23);
        assert!(self.snapshot().spans[0].timeslots[..23].iter().all(|slot| slot.state == "idle"));
    }
}

fn named(word: &Word) -> String {
    match word {
        Word::Setup(setup) => {
            let calling = setup.calling.as_ref().map_or("nobody", |calling| calling.number.digits.get());
            format!("Setup({} {})", setup.called.digits.get(), calling)
        }
        Word::Progress { ringing, audible } => format!("Progress({ringing},{audible})"),
        Word::Answer(_) => "Answer".into(),
        Word::Released(release) => format!("Released({})", release.cause.0),
        word => format!("{word:?}").split(['(', ' ', '{']).next().unwrap_or_default().to_owned(),
    }
}

fn answer() -> Order {
    Order::Answer(Box::default())
}

#[test]
fn lync_calls_out_on_a_line_and_hangs_up() {
    let mut world = World::with_line();
    let a = world.invite(LYNC, &secret("0 8"));
    assert_eq!(world.seen(), "lync:100 line:Setup(3125556789 3125550100) open");
    let call = world.on_exchange();
    world.exchange_says(call, Order::Alert { audible: true });
    assert_eq!(world.seen(), "lync:183+sdp");
    assert_eq!(world.timeslots(), [None, Some(23)]);
    world.exchange_says(call, answer());
    assert_eq!(world.seen(), "lync:200+sdp");
    world.ack(a, "");
    assert_eq!(world.snapshot().spans[0].timeslots[22].state, "out");
    world.ask(a, Method::Bye, "", "");
    assert_eq!(world.seen(), "line:Released(16) close");
    world.line_rests();
}

#[test]
fn a_line_calls_lync() {
    let mut world = World::with_line();
    let call = world.exchange_calls("2065550123", "4255550100");
    assert_eq!(world.seen(), "line:Proceeding lync:INVITE+sdp open");
    let lync = world.rung(LYNC);
    let invite = world.asked(lync, Method::Invite);
    assert!(invite.uri().unwrap().user() == Some("+14255550100"), "{invite:?}");
    assert_eq!(invite.address(Name::From).unwrap().uri.user(), Some("+12065550123"));
    world.answer(lync, 180, "");
    assert_eq!(world.seen(), "line:Progress(true,false)");
    world.answer(lync, 200, &secret("0"));
    assert_eq!(world.seen(), "line:Answer lync:ACK");
    assert_eq!(world.timeslots(), [Some(1), None]);
    world.exchange_says(call, Order::Release { cause: Cause::NORMAL, tones: false });
    assert!(world.seen().contains("lync:BYE"));
    assert_eq!(world.end(), "answered 16 by caller");
    world.line_rests();
}

/// What an INVITE says of who was called before, the line hears where its trunk tells it, and back.
#[test]
fn who_was_called_before_goes_both_ways_and_so_does_what_users_tell_each_other() {
    let told = "ForwardCallHistory=True\n";
    let mut world = World::with_line_where(told, &format!("[Gateway4]\n{told}"));
    let history = "History-Info: <sip:+13125550177@sip.pstnhub.microsoft.com;user=phone?Reason=SIP;cause=486;text=\"x\">;index=1\n";
    let more = format!("{history}User-to-User: 04616263;encoding=hex\n");
    let a = world.invite_to(LYNC, "+13125556789", &more, &secret("0 8"));
    let setup = heard(&world, |word| if let Word::Setup(setup) = word { Some(setup.clone()) } else { None });
    let from = setup.redirecting.unwrap();
    assert_eq!((from.number.digits.get().as_str(), from.reason), ("3125550177", Some(q931::Reason::BUSY)));
    assert_eq!((setup.original, setup.user_user.unwrap().0.get().as_slice()), (None, &b"\x04abc"[..]));
    world.cancel(a);
    world.line_rests();

    let mut setup = Setup::new(Bearer::speech(Codec::Pcmu), q931::Number::new(NumberType::NATIONAL, "4255550100"));
    let redirecting = |digits: &str, reason| q931::Redirecting {
        number: q931::Number::new(NumberType::NATIONAL, digits),
        shown: None,
        reason: Some(reason),
    };
    setup.original = Some(q931::OriginalCalled(redirecting("3125550101", q931::Reason::UNCONDITIONAL)));
    setup.redirecting = Some(redirecting("3125550102", q931::Reason::NO_ANSWER));
    setup.user_user = Some(q931::UserUser(Private(b"\x04hi".to_vec())));
    world.on_line(|line, now, out| assert!(line.place(now, setup, out).is_ok()));
    world.run();
    let lync = world.rung(LYNC);
    let invite = world.asked(lync, Method::Invite);
    let history: Vec<String> =
        invite.all(Name::HistoryInfo).map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    let us = "ms1.contoso.com;user=phone";
    let expected = [
        format!("<sip:+13125550101@{us}?Reason=SIP%3Bcause%3D302>;index=1"),
        format!("<sip:+13125550102@{us};cause=302?Reason=SIP%3Bcause%3D408>;index=1.1;mp=1"),
        format!("<sip:+14255550100@{us};cause=408>;index=1.1.1;mp=1.1"),
    ];
    assert_eq!(history, expected);
    assert_eq!(invite.text(Name::UserToUser), Some("046869;encoding=hex;purpose=isdn-uui"));
    world.answer(lync, 486, "");
    world.line_rests();
}

/// The last word to the exchange that this reads.
fn heard<T>(world: &World, read: impl Fn(&Word) -> Option<T>) -> T {
    world.exchange.as_ref().unwrap().words.iter().rev().find_map(|(_, word)| read(word)).unwrap()
}

#[test]
fn who_answers_and_what_users_tell_goes_both_ways() {
    let mut world = World::with_line_where("ForwardPAI=True\n", "[Span1]\nSwitch=euroisdn\n");
    let says = |octet| q931::UserUser(Private(vec![4, octet]));
    let a = world.invite(LYNC, &secret("0 8"));
    let call = world.on_exchange();
    world.exchange_says(call, Order::Enclose(says(1)));
    world.exchange_says(call, Order::Alert { audible: false });
    assert_eq!(world.told(a, 180).text(Name::UserToUser), Some("0401;encoding=hex;purpose=isdn-uui"));
    let number = q931::Number::new(NumberType::NATIONAL, "3125550199");
    let connected = Some(q931::Connected { number, shown: None });
    world.exchange_says(call, Order::Answer(Box::new(Answer { connected, user_user: Some(says(2)), name: None })));
    let answer = world.told(a, 200);
    assert_eq!(answer.text(Name::PAssertedIdentity), Some("<sip:+13125550199@ms1.contoso.com;user=phone>"));
    assert_eq!(answer.text(Name::UserToUser), Some("0402;encoding=hex;purpose=isdn-uui"));
    world.ack(a, "");
    world.exchange_says(call, Order::Enclose(says(3)));
    world.exchange_says(call, Order::Release { cause: Cause::NORMAL, tones: false });
    assert_eq!(world.asked(a, Method::Bye).text(Name::UserToUser), Some("0403;encoding=hex;purpose=isdn-uui"));
    world.line_rests();

    world.exchange_calls("2065550123", "4255550100");
    let lync = world.rung(LYNC);
    let who = "P-Asserted-Identity: \"Bob\" <sip:+14255550199@contoso.com;user=phone>\nPrivacy: id\n";
    world.reply(lync, Method::Invite, 200, "far", &format!("{who}User-to-User: 0404\n"), &secret("0"));
    let answer = heard(&world, |word| if let Word::Answer(answer) = word { Some(answer.clone()) } else { None });
    let connected = answer.connected.unwrap();
    assert_eq!((connected.number.kind, connected.number.digits.get().as_str()), (NumberType::NATIONAL, "4255550199"));
    assert_eq!(connected.shown.unwrap().presentation, q931::Presentation::Restricted);
    assert_eq!(answer.user_user, Some(says(4)));
    world.ask(lync, Method::Bye, "User-to-User: 0405;purpose=isdn-uui\n", "");
    let last =
        heard(&world, |word| if let Word::Released(release) = word { release.user_user().cloned() } else { None });
    assert_eq!(last.get(), &[4, 5]);
    world.line_rests();
}

#[test]
fn a_calls_ladder_has_both_legs_to_the_last_message_in_their_order() {
    let mut world = World::with_line();
    let (a, _) = world.talks_on_line();
    world.ask(a, Method::Bye, "", "");
    world.exchange_calls("2065550123", "4255550100");
    let lync = world.rung(LYNC);
    world.answer(lync, 486, "");
    world.line_rests();
    assert_eq!(
        world.ladders(),
        [
            "<INVITE >100 >SETUP <CALL PROCEEDING <CONNECT >CONNECT ACKNOWLEDGE >200 <ACK <BYE >DISCONNECT 16 >200 <RELEASE 16 \
             >RELEASE COMPLETE",
            "<SETUP >CALL PROCEEDING >INVITE <486 >ACK >DISCONNECT 17 <RELEASE 17 >RELEASE COMPLETE",
        ]
    );
}

#[test]
fn a_call_that_an_exchange_is_slow_with_is_waited_for_and_no_silence_ends_one() {
    let mut world = World::with_line();
    let a = world.invite(LYNC, &secret("0 8"));
    let call = world.on_exchange();
    world.pass(seconds(25));
    assert_eq!(world.seen(), "lync:100 line:Setup(3125556789 3125550100) open");
    world.exchange_says(call, answer());
    world.ack(a, "");
    let session = world.sessions.values().next().unwrap();
    let watched = session.sides.iter().map(|stream| stream.as_ref().unwrap().watch.is_some()).collect::<Vec<_>>();
    assert_eq!(watched, [true, false]);
}

#[test]
fn a_d_channel_that_nobody_answers_on_a_good_line_is_an_alarm() {
    let mut world = World::with_line();
    let alarms =
        |world: &World| world.snapshot().alarms.iter().map(|alarm| alarm.text.what.to_string()).collect::<Vec<_>>();
    assert_eq!(alarms(&world), [""; 0]);
    let exchange = world.exchange.take();
    world.pass(seconds(60));
    let [trunk, line] = &alarms(&world)[..] else { panic!("{:?}", alarms(&world)) };
    assert!(
        line.starts_with("the D channel of Span1 is down: ") && trunk.starts_with("Gateway4 is down: "),
        "{line} {trunk}"
    );
    world.exchange = exchange;
    world.alarms(Alarms::LOS);
    let [_, line] = &alarms(&world)[..] else { panic!("{:?}", alarms(&world)) };
    assert!(line.starts_with("Span1 is in alarm: "), "the cause, not what follows from it: {line}");
    world.alarms(Alarms::NONE);
    world.pass(seconds(10));
    assert_eq!(alarms(&world), [""; 0]);
}

#[test]
fn a_fax_on_the_line_is_heard_in_g711() {
    let mut world = World::with_line();
    let a = world.invite(LYNC, &secret("9"));
    let call = world.on_exchange();
    world.exchange_says(call, answer());
    world.ack(a, "");
    assert_eq!(world.media(), "srtp G722 sendrecv | plain PCMU sendrecv");
    world.seen();
    let fax = MediaReport::Machine(*world.sessions.keys().next().unwrap(), Side::B, Machine::Fax);
    world.media_says(fax.clone());
    assert_eq!(world.seen(), "lync:INVITE+sdp");
    world.answer(a, 200, &secret("0"));
    assert_eq!(world.media(), "srtp PCMU sendrecv | plain PCMU sendrecv");
    assert_eq!(world.notes("a fax is heard, which G722 would spoil").len(), 1);
    world.seen();
    world.media_says(fax.clone());
    assert_eq!(world.seen(), "", "it has what it needs");
    world.ask(a, Method::Bye, "", "");
    world.line_rests();
}

#[test]
fn what_the_exchange_refuses_lync_hears_as_a_status() {
    for (cause, status) in [(Cause::BUSY, 486), (Cause::UNALLOCATED, 404), (Cause::NO_ANSWER, 480)] {
        let mut world = World::with_line();
        let a = world.invite(LYNC, &secret("0 8"));
        let call = world.on_exchange();
        world.exchange_says(call, Order::Release { cause, tones: false });
        let reason = world.told(a, status).value(Name::Reason).unwrap().to_vec();
        assert!(String::from_utf8_lossy(&reason).contains(&format!("cause={}", cause.0)));
        world.line_rests();
    }
}

/// The line that calls is told by the rules of the trunk that refuses, and so is who calls the line.
#[test]
fn rules_change_what_a_line_refuses_and_what_it_is_told() {
    let rules = "[ResponseCodeRules A]\nBusy=486 => 486/34\nAbsent=0/20 => 480/19\n";
    let named = "ResponseCodeRules=A\n";
    let world = || World::with_line_where(named, &format!("{rules}[Gateway4]\n{named}"));
    let mut called = world();
    called.exchange_calls("2065550123", "4255550100");
    called.answer(called.rung(LYNC), 486, "");
    assert!(called.seen().contains("line:Released(34)"));
    called.line_rests();

    let mut world = world();
    let a = world.invite(LYNC, &secret("0 8"));
    let call = world.on_exchange();
    world.exchange_says(call, Order::Release { cause: Cause(20), tones: false });
    assert!(header(world.told(a, 480), Name::Reason).contains("cause=19"));
    world.line_rests();
}

#[test]
fn who_hangs_up_while_it_rings_leaves_the_line_free() {
    let mut world = World::with_line();
    let a = world.invite(LYNC, &secret("0 8"));
    let call = world.on_exchange();
    world.exchange_says(call, Order::Alert { audible: false });
    world.seen();
    world.cancel(a);
    assert!(world.seen().contains("line:Released(16)"));
    world.line_rests();
}

#[test]
fn a_d_channel_that_cannot_stand_by_is_an_alarm_before_it_is_needed() {
    let mut world = World::with_line_set("Interface=0\n[Span2]\nDChannel=backup Span1\nInterface=1");
    let alarms =
        |world: &mut World| world.snapshot().alarms.iter().map(|alarm| alarm.subject.clone()).collect::<Vec<_>>();
    assert_eq!(alarms(&mut world), ["Span2"], "its cable is not there yet");
    world.happens(Event::Span(SpanId(2), FromSpan::Alarms(Alarms::NONE)));
    assert_eq!(alarms(&mut world), [""; 0]);
    world.pass(seconds(6));
    let snapshot = world.snapshot();
    let alarm = &snapshot.alarms[0];
    assert!(alarm.subject == "Span2" && alarm.text.what.contains("does not stand by"), "{alarm:?}");
    let stands_by = |span: usize| (snapshot.spans[span].d_channel, snapshot.spans[span].d_channel_stands_by);
    assert_eq!([stands_by(0), stands_by(1)], [(Some("up"), false), (Some("establishing"), false)]);
}

#[test]
fn a_caller_may_dial_digit_by_digit_where_the_line_is_set_so() {
    let mut world = World::with_line_set("Overlap=10");
    let call = world.exchange_sends(|setup, number| (setup.called, setup.complete) = (number("4255"), false));
    for digits in ["5501", "0"] {
        assert!(!world.seen().contains("lync:INVITE"));
        world.exchange_says(call, Order::Digits { digits: Private(digits.into()), whole: false });
        world.pass(seconds(10));
    }
    assert!(!world.seen().contains("lync:INVITE"));
    world.exchange_says(call, Order::Digits { digits: Private("0".into()), whole: false });
    assert!(world.seen().contains("lync:INVITE"));
    let a = world.rung(LYNC);
    let invite = world.asked(a, Method::Invite);
    assert_eq!(invite.uri().unwrap().user(), Some("+14255550100"));
}

#[test]
fn the_tone_behind_a_refusal_is_heard_where_the_line_is_set_so() {
    for (set, at_once, after_t306) in [("", "lync:486", ""), ("DisconnectTones=True", "lync:183", "lync:486")] {
        let mut world = World::with_line_set(set);
        world.invite(LYNC, &secret("0 8"));
        let call = world.on_exchange();
        world.seen();
        world.exchange_says(call, Order::Release { cause: Cause::BUSY, tones: true });
        assert!(world.seen().contains(at_once), "{set}");
        world.pass(seconds(40));
        assert!(world.seen().contains(after_t306), "{set}");
        world.line_rests();
    }
}

#[test]
fn a_timeslot_that_one_end_alone_held_for_busy_is_counted_once_it_is_healed() {
    let mut world = World::with_line();
    let (a, _) = world.talks_on_line();
    // Nothing of the exchange's comes through while Lync hangs up, and for long after.
    let exchange = world.exchange.take();
    world.ask(a, Method::Bye, "", "");
    world.pass(seconds(60));
    assert_eq!(world.snapshot().spans[0].healed_timeslots, 0);
    world.exchange = exchange;
    world.pass(seconds(120));
    assert_eq!(world.snapshot().spans[0].healed_timeslots, 1);
}

#[test]
fn a_full_line_is_passed_over() {
    let mut world = World::with_line();
    for _ in 0..23 {
        world.invite(LYNC, &secret("0 8"));
    }
    assert_eq!(world.exchange.as_ref().unwrap().line.free(), 0);
    world.seen();
    world.invite(LYNC, &secret("0 8"));
    let seen = world.seen();
    assert!(!seen.contains("Setup") && seen.contains("gw1:INVITE"), "{seen}");
}

#[test]
fn a_pulled_cable_ends_its_calls_and_is_told_and_the_next_call_goes_elsewhere() {
    let mut world = World::with_line();
    let (_, _call) = world.talks_on_line();
    world.seen();
    world.alarms(Alarms::LOS);
    assert!(world.seen().contains("lync:BYE"));
    assert_eq!(world.end(), "answered 27 by called");
    let snapshot = world.snapshot();
    assert_eq!((snapshot.spans[0].up, &snapshot.spans[0].alarms[..]), (false, &["LOS"][..]));
    assert!(snapshot.alarms.iter().any(|alarm| alarm.subject == "Span1"), "{:?}", snapshot.alarms);
    assert_eq!(snapshot.trunks.iter().find(|trunk| trunk.name == "Gateway4").unwrap().up, Some(false));
    world.invite(LYNC, &secret("0 8"));
    assert!(world.seen().contains("gw1:INVITE"));

    world.alarms(Alarms::NONE);
    world.pass(seconds(5));
    assert_eq!(world.snapshot().trunks.iter().find(|trunk| trunk.name == "Gateway4").unwrap().up, Some(true));
    world.seen();
    world.invite(LYNC, &secret("0 8"));
    assert!(world.seen().contains("line:Setup"));
}

#[test]
fn a_card_that_goes_away_ends_its_calls_and_is_used_again_when_it_is_back() {
    let mut world = World::with_line();
    let a = world.invite(LYNC, &secret("0 8"));
    let call = world.on_exchange();
    world.exchange_says(call, answer());
    world.ack(a, "");
    world.seen();
    world.happens(Event::Span(SPAN, FromSpan::Gone("the line's card or driver is gone".to_owned())));
    assert!(world.seen().contains("lync:BYE"));
    assert_eq!(world.end(), "answered 27 by called");
    let alarms = world.snapshot().alarms;
    let alarm = alarms.iter().find(|alarm| alarm.subject == "Span1").unwrap();
    assert!(alarm.text.what.contains("Span1 is not there: the line's card or driver is gone"), "{alarm:?}");
    world.invite(LYNC, &secret("0 8"));
    assert!(world.seen().contains("gw1:INVITE"));

    // The exchange saw nothing but a far end that was silent and begins anew.
    world.pass(seconds(30));
    world.happens(Event::Span(SPAN, FromSpan::Alarms(Alarms::NONE)));
    world.pass(seconds(5));
    assert!(world.snapshot().alarms.iter().all(|alarm| alarm.subject != "Span1"));
    assert_eq!(world.exchange.as_ref().unwrap().line.free(), 23, "it has forgotten the call as well");
    world.seen();
    world.invite(LYNC, &secret("0 8"));
    assert!(world.seen().contains("line:Setup"));
}

#[test]
fn a_timeslot_that_cannot_be_opened_ends_its_call_at_both_ends_and_says_why() {
    let why = || "timeslot 23 of Span1 cannot be opened: timeslot 23 is in use".to_owned();
    for answered in [false, true] {
        let mut world = World::with_line();
        let a = world.invite(LYNC, &secret("0 8"));
        let call = world.on_exchange();
        world.exchange_says(call, Order::Alert { audible: true });
        if answered {
            world.exchange_says(call, answer());
            world.ack(a, "");
        }
        world.seen();
        let session = *world.sessions.keys().next().unwrap();
        world.happens(Event::Media(MediaReport::Unopened(session, Side::B, why())));
        let seen = world.seen();
        assert!(seen.contains("line:Released(47)") && seen.contains("close"), "{seen}");
        assert!(seen.contains(if answered { "lync:BYE" } else { "lync:503" }), "{seen}");
        assert!(world.end().ends_with(" 47 by us"));
        let told = |report: &&Report| matches!(report, Report::Ended(end) if end.release.why.contains(&why()));
        assert_eq!(world.reports.iter().filter(told).count(), 1);
        world.line_rests();
    }
}

#[test]
fn a_blocked_timeslot_gets_no_call() {
    let mut world = World::with_line();
    for timeslot in 2..=23 {
        world.happens(Event::SpanOrder(SPAN, SpanOrder::Block(timeslot)));
    }
    assert_eq!(world.snapshot().spans[0].timeslots[22].state, "blocked-near");
    world.invite(LYNC, &secret("0 8"));
    let call = world.on_exchange();
    assert_eq!(world.exchange.as_ref().unwrap().line.slot_of(call), Some(Slot { span: 0, timeslot: 1 }));
    world.happens(Event::SpanOrder(SPAN, SpanOrder::Unblock(23)));
    world.pass(seconds(1));
    assert_eq!(world.snapshot().spans[0].timeslots[22].state, "idle");
}

#[test]
fn a_line_that_an_operator_takes_down_loses_its_calls_and_has_its_alarms_when_it_is_let_up() {
    let mut world = World::with_line();
    let (_a, _call) = world.talks_on_line();
    world.seen();
    world.happens(Event::Span(SPAN, FromSpan::Forced(true)));
    assert!(world.seen().contains("lync:BYE"));
    let shown = |world: &World| {
        let span = world.snapshot().spans.swap_remove(0);
        (span.up, span.forced_down, span.why)
    };
    assert_eq!(shown(&world), (false, true, "an operator took it down".to_owned()));
    // The line's own alarms come and go meanwhile.
    for alarms in [Alarms::RAI, Alarms::NONE, Alarms::LOS] {
        world.happens(Event::Span(SPAN, FromSpan::Alarms(alarms)));
        assert!(!shown(&world).0);
    }
    world.happens(Event::Span(SPAN, FromSpan::Forced(false)));
    assert_eq!(shown(&world), (false, false, String::new()));
    world.happens(Event::Span(SPAN, FromSpan::Alarms(Alarms::NONE)));
    assert!(shown(&world).0);
}

#[test]
fn a_line_without_a_gateway_refuses_its_calls() {
    let mut world = World::with(read(&format!("{INI}[Span1]\n")));
    world.exchange = Some(Exchange::new(Dialect::Ni2));
    world.alarms(Alarms::NONE);
    world.pass(seconds(2));
    world.seen();
    world.exchange_calls("2065550123", "4255550100");
    assert!(world.seen().contains("line:Released(27)"));
}

#[test]
fn a_reload_that_changes_a_line_ends_its_calls() {
    let mut world = World::with_line();
    let (_a, _call) = world.talks_on_line();
    world.seen();
    world.reload(ini(&[]));
    assert!(world.seen().contains("lync:BYE"));
}

#[test]
fn a_reload_that_changes_what_the_next_call_hears_ends_none() {
    let mut world = World::with_line();
    let (a, call) = world.talks_on_line();
    let now = world.timeslots();
    world.seen();
    let (line, routes) = (&LINE.replace("CountryCode=1", "CountryCode=49\nHunt=ascending\nEchoTail=off"), ROUTES);
    world.reload(read(&format!("{line}{}", INI.replace("[HybridVoiceRoutes]\n", routes))));
    assert_eq!((world.seen().as_str(), world.timeslots()), ("", now));
    world.exchange_says(call, Order::Release { cause: Cause::NORMAL, tones: false });
    assert!(world.seen().contains("lync:BYE"));
    world.told(a, 200);
    world.invite(LYNC, &secret("0 8"));
    assert!(world.seen().contains("Setup(13125556789 "), "with the code of what is another country now");
    let second = world.on_exchange();
    assert_eq!(world.exchange.as_ref().unwrap().line.slot_of(second).map(|slot| slot.timeslot), Some(1));
}

#[test]
fn a_call_that_comes_to_a_line_too_late_is_told_so() {
    // The two gateways come first, and both are out of order.
    let mut world = World::with_the_line(&format!("{INI}LineRoute=^\\+1312\n"));
    let a = world.invite(LYNC, &secret("0 8"));
    let first = world.rung(GW1);
    world.answer(first, 503, "");
    let second = world.rung(GW2);
    world.reload(ini(&[]));
    world.answer(second, 503, "");
    world.told(a, 503);
    assert_eq!(world.notes("a reload took the line away").len(), 1);
    world.rest();
}

impl World {
    /// The line has called Lync, whose user sends the caller on to a number on the line: both calls, at the exchange.
    fn transferred_to_the_line(keys: &str) -> (World, [CallId; 2]) {
        let mut world = World::with_the_line_of(keys, &line_first());
        let caller = world.exchange_calls("2065550123", "4255550100");
        let lync = world.rung(LYNC);
        world.answer(lync, 200, &secret("0"));
        world.seen();
        world.ask(lync, Method::Refer, "Refer-To: <sip:+13125556789@ms1.contoso.com>\n", "");
        assert_eq!(world.seen(), "line:Setup(3125556789 2065550123) lync:NOTIFY=100");
        let target = world.on_exchange();
        world.exchange_says(target, answer());
        (world, [caller, target])
    }

    /// The pool sends a call that it was asked for back to us.
    fn spiral(&mut self, pool: Id, body: &str) -> Id {
        let invite = self.asked(pool, Method::Invite);
        let as_who = (invite.text(Name::From).unwrap().to_owned(), invite.call_id().unwrap().to_owned());
        self.invite_as(LYNC, as_who, "+13125556789", "", body)
    }

    /// What is asked of the exchange, by the number that its answer has, and in which call.
    fn asked_of_exchange(&self) -> Option<(CallId, i64, Ask)> {
        let words = &self.exchange.as_ref().unwrap().words;
        let (call, Word::Facility(facility)) = words.last()? else { return None };
        transfer::said(facility).find_map(|said| match said {
            Asked::Ask(number, ask) => Some((*call, number, ask)),
            Asked::Answer(..) => None,
        })
    }

    /// What came of each try to shorten a call.
    fn shortened(&self) -> Vec<&'static str> {
        let result = |report: &Report| match report {
            Report::Shortened { result, .. } => Some(result.text()),
            _ => None,
        };
        self.reports.iter().filter_map(result).collect()
    }
}

#[test]
fn a_call_that_a_transfer_left_on_one_line_is_joined_by_its_exchange() {
    let (mut world, [caller, target]) = World::transferred_to_the_line("LineTransfer=auto\n");
    assert_eq!(world.seen(), "line:Facility lync:NOTIFY=200! lync:BYE");
    assert_eq!(world.timeslots(), [Some(1), Some(23)]);
    let (call, number, ask) = world.asked_of_exchange().unwrap();
    assert_eq!(call, caller);
    let other = world.exchange.as_ref().unwrap().line.reference(target).unwrap();
    assert_eq!(ask, Ask::Join(other.reply()));
    world.exchange_says(caller, Order::Facility(ask.result(number, 0)));
    assert_eq!(world.seen(), "", "it still has to end both");
    for call in [caller, target] {
        world.exchange_says(call, Order::Release { cause: Cause::NORMAL, tones: false });
    }
    assert!(world.seen().contains("close"));
    assert_eq!(world.end(), "answered 16 by us");
    assert_eq!((world.shortened(), world.notes("transferred on the line").len()), (vec!["reached"], 1));
    world.line_rests();
}

#[test]
fn a_consulted_target_on_the_line_is_joined_as_well() {
    let mut world = World::with_the_line_of("LineTransfer=auto\n", &line_first());
    let caller = world.exchange_calls("2065550123", "4255550100");
    let first = world.rung(LYNC);
    world.answer(first, 200, &secret("0"));
    let second = world.invite(LYNC, &secret("0"));
    let target = world.on_exchange();
    world.exchange_says(target, answer());
    world.ack(second, "");
    world.seen();
    world.refers_to_call(first, "+13125556789@ms1.contoso.com", second);
    let seen = world.seen();
    assert!(seen.contains("line:Facility"), "{seen}");
    let (call, number, ask) = world.asked_of_exchange().unwrap();
    assert_eq!(call, caller);
    world.exchange_says(call, Order::Facility(ask.result(number, 0)));
    world.exchange_says(target, Order::Release { cause: Cause::NORMAL, tones: false });
    assert_eq!(world.shortened(), ["reached"]);
    world.line_rests();
}

#[test]
fn a_call_that_the_exchange_does_not_join_stays_and_nobody_hears_anything() {
    let (mut world, [caller, target]) = World::transferred_to_the_line("LineTransfer=auto\n");
    let (_, number, ask) = world.asked_of_exchange().unwrap();
    world.seen();
    world.exchange_says(caller, Order::Facility(ask.error(number, 0)));
    assert_eq!((world.seen().as_str(), world.timeslots()), ("", vec![Some(1), Some(23)]));
    assert_eq!((world.shortened(), world.notes("not subscribed").len()), (vec!["failed"], 1));
    world.exchange_says(target, Order::Release { cause: Cause::NORMAL, tones: false });
    world.line_rests();

    let (mut world, [caller, _]) = World::transferred_to_the_line("LineTransfer=auto\n");
    world.seen();
    world.pass(seconds(11));
    assert_eq!((world.seen().as_str(), world.shortened()), ("", vec!["failed"]));
    world.exchange_says(caller, Order::Release { cause: Cause::NORMAL, tones: false });
    world.line_rests();
}

#[test]
fn who_hangs_up_while_the_exchange_is_asked_ends_the_call() {
    for first in [0, 1] {
        let (mut world, calls) = World::transferred_to_the_line("LineTransfer=auto\n");
        world.seen();
        world.exchange_says(calls[first], Order::Release { cause: Cause::NORMAL, tones: false });
        assert!(world.seen().contains("line:Released(16)"));
        assert_eq!(world.end(), if first == 0 { "answered 16 by caller" } else { "answered 16 by called" });
        assert_eq!(world.shortened(), ["abandoned"]);
        world.line_rests();
    }
}

#[test]
fn nobody_is_asked_unless_the_trunk_allows_it() {
    for keys in ["", "LineTransfer=no\n"] {
        let (mut world, [caller, _]) = World::transferred_to_the_line(keys);
        assert_eq!(world.seen(), "lync:NOTIFY=200! lync:BYE");
        world.exchange_says(caller, Order::Release { cause: Cause::NORMAL, tones: false });
        assert!(world.shortened().is_empty());
        world.line_rests();
    }
}

/// The pool finds that the target is a number, and sends the call back to us.
#[test]
fn a_call_that_a_transfer_left_on_one_line_by_way_of_the_pool_is_joined_as_well() {
    for joins in [true, false] {
        let mut world = World::with_the_line_of("LineTransfer=auto\n", &line_first());
        let caller = world.exchange_calls("2065550123", "4255550100");
        let alice = world.rung(LYNC);
        world.answer(alice, 200, &secret("0"));
        world.ask(alice, Method::Refer, "Refer-To: <sip:+13125556789@contoso.com;user=phone>\n", "");
        let pool = world.rung(LYNC);
        let back = world.spiral(pool, &secret("0"));
        let target = world.on_exchange();
        world.exchange_says(target, answer());
        world.ack(back, "");
        world.seen();
        world.answer(pool, 200, &secret("0"));
        let (call, number, ask) = world.asked_of_exchange().unwrap();
        assert_eq!(call, caller);
        world.seen();
        let answer = if joins { ask.result(number, 0) } else { ask.error(number, 0) };
        world.exchange_says(caller, Order::Facility(answer));
        assert_eq!(world.snapshot().calls.len(), 2);
        world.exchange_says(target, Order::Release { cause: Cause::NORMAL, tones: false });
        if joins {
            assert_eq!((world.shortened(), world.notes("transferred on the line").len()), (vec!["reached"], 2));
            assert!(world.snapshot().calls.is_empty());
        } else {
            assert_eq!((world.shortened(), world.notes("not subscribed").len()), (vec!["failed"], 2));
            world.exchange_says(caller, Order::Release { cause: Cause::NORMAL, tones: false });
        }
        world.line_rests();
    }
}
