//! The daemon on lines of DAHDI's: runs in the guest of `make test-dahdi`, whose spans 1 and 2 are a looped T1, 3 and 4 a
//! looped E1. The first of each is the daemon's; at the second is libpri, over the kernel's HDLC.
//!
//! The tests share the guest's lines, so they run one after the other. Time in the guest counts its instructions: however
//! busy this machine is, what is due comes in time.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use firmware_io::Span as _;
use firmware_io::dahdi::{Buffers, Dahdi};
use serde_json::{Value, json};

mod lab;

use lab::dahdi::{E1, FarEnd, Pair, SOON, T1, value};
use lab::sequence::{Sequence, repeat, talk};
use lab::{Demarc, Dialog, Lab, Peer, Sdp, Setup, get, seconds, until};

/// How long is spoken.
const TALK: Duration = Duration::from_secs(4);
/// The timeslot that libpri asks for.
const TIMESLOT: u8 = 3;
/// Where the telephone hears: `Sdp::plain` says so.
const RTP_PORT: u16 = 30_000;
/// One of the kernel's alarm bits.
const LOSS_OF_SIGNAL: u32 = 8;

/// The daemon between a Microsoft side and libpri, its link up and its timeslots restarted.
struct Stage {
    pair: Pair,
    /// The lines of the configuration that say which end it is of which switch.
    end: String,
    demarc: Demarc,
    lync: Peer,
    far: FarEnd,
    _lab: Lab,
}

impl Stage {
    /// `side` is the daemon's.
    fn new(pair: Pair, switch: &str, side: &str) -> Stage {
        let lab = Lab::new();
        let lync = Peer::lync(&lab);
        let mut setup = Setup::new(lync.address, &[]);
        setup.srtp = "NotSupported";
        setup.codecs = if pair.line == "T1" { "PCMU" } else { "PCMA" };
        let end = end(switch, side);
        setup.more = format!(
            "\n[Gateway1]\nKind=isdn\nSpan=Span1\nVoiceRoutes=LocalRoute\n\n[Span1]\nDriver=dahdi\nDevice={}\nLine={}\n\
             CountryCode=1\nEchoTail=off\n{end}",
            pair.near, pair.line
        );
        let demarc = setup.start(&lab);
        let far = FarEnd::start(&pair, other(side), switch);
        let mut stage = Stage { pair, end, demarc, lync, far, _lab: lab };
        stage.comes_up();
        stage
    }

    /// Another switch, or the other side of one, by a reload.
    fn becomes(&mut self, switch: &str, side: &str) {
        self.far.stop();
        let old = std::mem::replace(&mut self.end, end(switch, side));
        self.reload(&old, &self.end);
        self.far = FarEnd::start(&self.pair, other(side), switch);
        self.comes_up();
    }

    /// The same configuration with other lines in the place of these.
    fn reload(&self, old: &str, new: &str) {
        let text = std::fs::read_to_string(&self.demarc.file).unwrap();
        std::fs::write(&self.demarc.file, text.replace(old, new)).unwrap();
        let (code, said, complaint) = self.demarc.ask(&["reload"]);
        assert_eq!(code, 0, "{said} {complaint}");
    }

    fn comes_up(&mut self) {
        self.far.hears("up");
        self.far.hears("restart");
    }

    /// A call to the far end, until it is answered; its number there.
    fn calls(&mut self) -> (Dialog, i64) {
        let mut call = self.invite();
        let ring = self.far.hears("ring");
        assert!(ring.contains("called=3125550123"), "{ring}");
        let (number, timeslot) = (value(&ring, "call"), value(&ring, "channel"));
        for order in ["proceeding", "alerting", "answer"] {
            self.far.order(&format!("{order} {number} {timeslot}"));
        }
        let answer = self.lync.expect_within("200 INVITE", SOON);
        call.acknowledge(&answer);
        (call, number)
    }

    fn invite(&self) -> Dialog {
        let link = self.lync.connect(self.demarc.lync);
        self.lync.call(&link, "+13125550123", &Sdp::plain(self.lync.host, "sendrecv"))
    }

    fn is_refused(&mut self) {
        let mut call = self.invite();
        let refusal = self.lync.expect_within("503 INVITE", SOON);
        call.acknowledge_refusal(&refusal);
    }

    /// A call from the far end, until it is answered; its number there.
    fn called(&mut self) -> i64 {
        self.far.order(&format!("dial {TIMESLOT} exclusive 3125550100 3125556789"));
        let number = self.far.hears_number("dialled", "call");
        let invite = self.lync.expect_within("INVITE", SOON);
        assert!(invite.uri().contains("+13125550100"), "{}", invite.uri());
        invite.answer(180, "Ringing", "");
        self.far.hears("ringing");
        invite.answer(200, "OK", &Sdp::plain(self.lync.host, "sendrecv"));
        self.lync.expect_within("ACK", SOON);
        assert_eq!(self.far.hears_of("answer", number, "channel"), i64::from(TIMESLOT));
        number
    }

    /// We are hung up on.
    fn is_over(&mut self) {
        self.lync.expect_within("BYE", SOON).answer(200, "OK", "");
        self.demarc.idle_within(SOON);
    }

    /// The Microsoft side hangs up.
    fn hangs_up(&mut self, (mut call, number): (Dialog, i64)) {
        call.request("BYE", "", "");
        self.lync.expect_within("200 BYE", SOON);
        assert_eq!(self.far.hears_of("disconnect", number, "cause"), 16);
        self.demarc.idle_within(SOON);
    }

    fn far_hangs_up(&mut self, number: i64) {
        self.far.order(&format!("hangup {number} 16"));
        self.is_over();
        self.far.hears("hangup");
    }

    /// The line as operators see it.
    fn span(&self) -> Value {
        let (status, text) = get(self.demarc.web, "/api/spans").unwrap();
        assert_eq!(status, 200);
        serde_json::from_str::<Value>(&text).unwrap()[0].take()
    }

    fn alarms(&self) -> String {
        get(self.demarc.web, "/api/alarms").unwrap().1
    }

    #[track_caller]
    fn span_comes_to(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        until(SOON, what, || Some(self.span()).filter(&so))
    }

    fn timeslot(&self) -> Value {
        self.span()["timeslots"][usize::from(TIMESLOT) - 1]["state"].take()
    }

    #[track_caller]
    fn timeslot_comes_to(&self, state: &str) {
        until(SOON, &format!("the timeslot is shown as {state}"), || (self.timeslot() == state).then_some(()));
    }

    /// An order of the operator's; what it says.
    fn order(&self, words: &[&str]) -> String {
        let (code, said, complaint) = self.demarc.ask(&[&["spans"], words].concat());
        println!("  demarc spans {}: {}{}", words.join(" "), said.trim_end(), complaint.trim_end());
        assert_eq!(code, 0, "{said} {complaint}");
        said
    }
}

fn end(switch: &str, side: &str) -> String {
    format!("Switch={switch}\nSide={side}\n")
}

fn other(side: &str) -> &'static str {
    if side == "user" { "network" } else { "user" }
}

/// A call whose octets are compared on their ways from the line to the RTP and back.
fn every_octet_crosses(pair: Pair, switch: &str, payload_type: u8) {
    let mut stage = Stage::new(pair, switch, "user");
    let telephone = UdpSocket::bind((stage.lync.host, RTP_PORT)).unwrap();
    let number = stage.called();
    let mut far = Dahdi::open(pair.far).unwrap();
    far.buffers(Buffers { count: 32, octets: 160 });
    let bearer = far.bearer(far.line().timeslot(TIMESLOT).unwrap()).unwrap();
    let hearing = thread::spawn(move || repeat(&telephone, payload_type, TALK));
    let (said, came_back) = talk(bearer, TALK);
    let heard = hearing.join().unwrap();
    let (there, back) = (Sequence::find(&said, &heard), Sequence::find(&said, &came_back));
    println!("  {}: of {} octets said {there} came by RTP; {back} came back", pair.line, said.len());
    assert_eq!((there.gaps, back.gaps), (0, 0));
    assert_eq!(there.changed, 0);
    assert!(there.octets > 16_000 && back.octets > 8_000);
    stage.far_hangs_up(number);
}

#[test]
#[ignore = "runs in DAHDI's guest: make test-dahdi"]
fn every_octet_crosses_a_t1() {
    every_octet_crosses(T1, "ni2", 0);
}

#[test]
#[ignore = "runs in DAHDI's guest: make test-dahdi"]
fn every_octet_crosses_an_e1() {
    every_octet_crosses(E1, "euroisdn", 8);
}

#[test]
#[ignore = "runs in DAHDI's guest: make test-dahdi"]
fn calls_go_both_ways_on_either_side_of_every_switch() {
    for (pair, switches) in [(T1, &["ni2", "5ess", "dms100", "4ess"][..]), (E1, &["euroisdn", "qsig"])] {
        let mut stage = Stage::new(pair, switches[0], "user");
        for (switch, side) in switches.iter().flat_map(|switch| [(switch, "network"), (switch, "user")]) {
            println!("  {} {switch}, {side}", pair.line);
            stage.becomes(switch, side);
            let call = stage.calls();
            stage.hangs_up(call);
            let number = stage.called();
            stage.far_hangs_up(number);
        }
    }
}

#[test]
#[ignore = "runs in DAHDI's guest: make test-dahdi"]
fn an_alarm_ends_calls_and_passes() {
    let mut stage = Stage::new(T1, "ni2", "user");
    let is = |span: &Value, alarms: Value, up: bool| span["alarms"] == alarms && span["up"] == up;
    let _call = stage.calls();
    stage.pair.alarm(LOSS_OF_SIGNAL);
    stage.span_comes_to("LOS is shown", |span| is(span, json!(["LOS"]), false));
    assert_eq!(stage.demarc.metric_where("demarc_span_alarms", "alarm=\"LOS\""), 1.0);
    stage.is_over();
    stage.is_refused();

    stage.pair.alarm(0);
    stage.span_comes_to("LOS is shown no more", |span| is(span, json!([]), true));
    stage.far.hears("restart");
    let call = stage.calls();
    stage.hangs_up(call);
}

#[test]
#[ignore = "runs in DAHDI's guest: make test-dahdi"]
fn a_card_that_goes_away_and_comes_back_is_picked_up_again() {
    let mut stage = Stage::new(E1, "euroisdn", "user");
    let _calls = (stage.calls(), stage.called());
    let mut pulled = stage.pair.pull();
    stage.span_comes_to("the line is shown as gone", |span| span["up"] == false && span["why"] != "");
    stage.demarc.logs(&["Span1", "the D channel is down with its line"]);
    for _ in 0..2 {
        let bye = stage.lync.expect_within("BYE", SOON);
        bye.answer(200, "OK", "");
        assert!(bye.header("Reason").unwrap().contains("cause=27"), "{:?}", bye.header("Reason"));
    }
    stage.demarc.idle_within(SOON);
    stage.is_refused();
    assert!(stage.alarms().contains("Span1 is not there"), "{}", stage.alarms());

    pulled.plug();
    stage.span_comes_to("it is shown as not configured", |span| {
        span["why"].as_str().unwrap().contains("/etc/dahdi/system.conf")
    });
    drop(pulled);
    stage.span_comes_to("the line is there again", |span| span["up"] == true);
    stage.far.hears("restart");
    assert!(!stage.alarms().contains("Span1"), "{}", stage.alarms());
    let call = stage.calls();
    stage.hangs_up(call);
    let number = stage.called();
    stage.far_hangs_up(number);
}

#[test]
#[ignore = "runs in DAHDI's guest: make test-dahdi"]
fn a_call_on_a_span_that_is_shut_down_ends_with_the_reason() {
    let mut stage = Stage::new(T1, "ni2", "user");
    let shut_down = stage.pair.shut_down();
    let (_call, number) = stage.calls();
    assert_eq!(stage.far.hears_of("disconnect", number, "cause"), 47);
    stage.is_over();
    stage.demarc.logs(&["Span1", "/etc/dahdi/system.conf"]);

    drop(shut_down);
    let call = stage.calls();
    stage.hangs_up(call);
}

#[test]
#[ignore = "runs in DAHDI's guest: make test-dahdi"]
fn an_operators_orders_reach_the_exchange() {
    let mut stage = Stage::new(T1, "ni2", "user");
    let place = TIMESLOT.to_string();
    assert!(stage.order(&["block", "Span1", &place]).contains("Nothing was done"));
    assert_eq!(stage.timeslot(), "idle");

    stage.order(&["block", "Span1", &place, "--yes"]);
    let status = stage.far.hears("status");
    assert_eq!((value(&status, "channel"), value(&status, "status")), (i64::from(TIMESLOT), 2));
    stage.timeslot_comes_to("blocked-near");
    stage.order(&["unblock", "Span1", &place, "--yes"]);
    let status = stage.far.hears("status");
    assert_eq!((value(&status, "channel"), value(&status, "status")), (i64::from(TIMESLOT), 0));
    stage.timeslot_comes_to("idle");

    stage.called();
    stage.timeslot_comes_to("in");
    assert!(stage.order(&["restart", "Span1", &place]).contains("ends"));
    stage.order(&["restart", "Span1", &place, "--yes"]);
    assert_eq!(stage.far.hears_number("restart", "channel"), i64::from(TIMESLOT));
    stage.is_over();
    stage.timeslot_comes_to("idle");

    // The kernel's loop of spans knows no loop-backs.
    let (code, _, complaint) = stage.demarc.ask(&["spans", "loop", "Span1", "local", "--yes"]);
    assert_ne!(code, 0);
    assert!(complaint.contains("cannot do that"), "{complaint}");
}

#[test]
#[ignore = "runs in DAHDI's guest: make test-dahdi"]
fn broken_frames_are_counted_and_the_d_channel_comes_back() {
    let mut stage = Stage::new(T1, "ni2", "user");
    let bad = |span: &Value| span["counters"]["bad_hdlc_frames"].as_u64().unwrap();
    let before = bad(&stage.span());
    stage.far.stop();
    stage.pair.break_d_channel();
    let mut far = Dahdi::open(stage.pair.far).unwrap();
    talk(far.bearer(far.line().d_timeslot()).unwrap(), seconds(1));
    let span = stage.span_comes_to("broken frames are counted", |span| bad(span) > before + 10);
    println!("  {}", span["counters"]);
    stage.pair.mend_d_channel();
    stage.far = FarEnd::start(&stage.pair, "network", "ni2");
    stage.far.hears("up");
    let call = stage.calls();
    stage.hangs_up(call);
}
